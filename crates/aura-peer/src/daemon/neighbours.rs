//! The daemon's end of the links to other devices.
//!
//! Invariants:
//! - whom to dial, and when, is the machine's decision; here are sockets and tasks;
//! - what a link says waits on the link, not in memory, while there is too much to be handled.

mod circuits;
mod lan;
mod logs;
mod places;
mod routes;
mod witness;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use aura_engine::peer::{
    activity::Via,
    exchange,
    links::{Arrived, Attempt, Input, Known, LinkId, Links, Output, Own},
    routes::{self as way, Routes},
};
use aura_net::{
    DialError, Dialed, Dialer, Incoming, LinkEvent, LinkHandle, Revoked,
    lan::Lan,
    link,
    listen::{Renewer, Slot},
    tls::{Expect, calendar},
};
use aura_proto::{
    Code, LogId, PeerId,
    limits::PEERS_PER_MESSAGE_MAX,
    message::{Heartbeat, Message, PeerCard, PeerQuery, PeerState, Role},
    session::Side,
};

use aura_trust::Roster;

use super::{Daemon, Event};
use crate::clock::random;
pub(super) use circuits::Carrier;
use circuits::Circuits;
use places::Directory;
use routes::Letters;
pub(super) use routes::Wish;

/// The outcome of a dial: the session, if there is one, and what became of each address.
pub(super) type Outcome = (Result<Box<Dialed>, String>, Vec<Attempt>);

/// One link to another device.
struct Thread {
    handle: LinkHandle,
    /// Who is at the other end, once the machine says so.
    peer: Option<PeerId>,
    /// Counts against the caps of strangers until the peer has authenticated.
    slot: Option<Slot>,
    /// On which stream each log is spoken of, once the link is up.
    streams: BTreeMap<LogId, u32>,
    /// Logs whose stream was full.
    full: BTreeSet<LogId>,
    is_up: bool,
    /// What both sides understand.
    features: u64,
    /// Which other logs the other side asked for, while the team's log is not level with it.
    early: Option<BTreeMap<LogId, Message>>,
}

/// Everything about links to other devices.
pub(super) struct Neighbours {
    pub(super) machine: Links,
    threads: BTreeMap<LinkId, Thread>,
    circuits: Circuits,
    letters: Letters,
    /// Who looks for others on this network, and who passes on what it finds.
    lan: Option<(Lan, tokio::task::JoinHandle<()>)>,
    /// When it may be begun anew.
    lan_at_ms: u64,
    /// Who belonged when the books were told last.
    roster: Option<Arc<Roster>>,
    /// Who verified another history than this device, of which logs, and at which position.
    forks: BTreeMap<(PeerId, LogId), u64>,
    /// Of which of these people were told; once each, whatever is said later.
    forks_told: BTreeSet<(PeerId, LogId)>,
    /// Where others were found.
    found: BTreeMap<PeerId, Vec<SocketAddr>>,
    link_last: u64,
    /// Where this device is listened at, and how it gets a fresh certificate.
    door: Option<(SocketAddr, Renewer, tokio::task::JoinHandle<()>)>,
    /// When it is tried again to listen.
    door_at_ms: Option<u64>,
    /// Why this device cannot listen where it is set to.
    pub(in crate::daemon) door_why: Option<String>,
    /// Whom TLS refuses.
    removed: Arc<Mutex<BTreeSet<PeerId>>>,
    directory: Directory,
    /// Whether the machine has to hear of members anew.
    pub(super) is_stale: bool,
    look_at_ms: u64,
    /// Whether the directory is not on disk as it is.
    is_unsaved: bool,
    /// Who is asked whether it is there, and when it was asked, once there is a link.
    asked: BTreeMap<PeerId, Option<(u64, u64)>>,
    /// Round trips of who has answered, in milliseconds.
    pongs: BTreeMap<PeerId, u64>,
}

impl Neighbours {
    /// Whether TLS refuses a device.
    fn is_removed(&self, peer: PeerId) -> bool {
        let removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        removed.contains(&peer)
    }

    /// What TLS asks.
    fn revoked(&self) -> Revoked {
        let removed = Arc::clone(&self.removed);
        Arc::new(move |peer| {
            let removed = removed.lock().unwrap_or_else(PoisonError::into_inner);
            removed.contains(&peer)
        })
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        if let Some((.., task)) = &self.door {
            task.abort();
        }
    }
}

impl Daemon {
    /// Begins to listen for other devices and to link with them.
    pub(super) fn enter_mesh(&mut self) {
        let Some(enrolment) = self.identity.enrolment.clone() else {
            return;
        };
        let routes = Routes::new(enrolment.team, self.identity.key.peer());
        let own = Own {
            key: self.identity.key_again(),
            team: enrolment.team,
            team_name: enrolment.team_name,
            agent: concat!("aura/", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let circuits = Circuits::new(enrolment.role == Role::Relay);
        let seed = u64::from_be_bytes(random());
        let directory = self.read_directory();
        self.neighbours = Some(Neighbours {
            machine: Links::new(self.now(), own, self.settings.links(), seed),
            threads: BTreeMap::new(),
            circuits,
            letters: Letters::new(routes),
            lan: None,
            lan_at_ms: 0,
            roster: None,
            forks: BTreeMap::new(),
            forks_told: BTreeSet::new(),
            found: BTreeMap::new(),
            link_last: 0,
            door: None,
            door_at_ms: None,
            door_why: None,
            removed: Arc::default(),
            directory,
            is_stale: true,
            look_at_ms: 0,
            is_unsaved: false,
            asked: BTreeMap::new(),
            pongs: BTreeMap::new(),
        });
        self.open_door();
    }

    /// Everybody with whom links are allowed; the own entry only says whose device this is.
    fn known(&self) -> Vec<Known> {
        let is_removed = |peer| {
            let team = self.team.as_ref();
            team.is_some_and(|team| team.roster.is_removed(peer))
        };
        let cards = self.peers.values().filter(|card| !is_removed(card.peer));
        cards.map(|card| self.known_of(card)).collect()
    }

    fn known_of(&self, card: &PeerCard) -> Known {
        let reach = self.reach_of(card);
        let is_up = self.is_control_up();
        Known {
            peer: card.peer,
            person: person_of(&card.name).to_owned(),
            addresses: {
                let mut addresses = reach.dialable(self.locality());
                let found = self.found_at(card.peer);
                let found: Vec<_> = found.filter(|at| !addresses.contains(at)).collect();
                addresses.extend(found);
                addresses
            },
            reach,
            is_online: is_up.then_some(card.state == PeerState::Online),
            is_relay: card.role == Role::Relay,
        }
    }

    /// A peer came or went: news of one, which a crowd that returns brings many times over.
    pub(super) fn tell_of(&mut self, peer: PeerId) {
        let is_current = |known: &Neighbours| !known.is_stale;
        if self.neighbours.as_ref().is_some_and(is_current)
            && let Some(card) = self.peers.get(&peer)
        {
            self.tell_links(Input::Peer(self.known_of(card)));
        }
    }

    /// Brings the machine up to date, and carries out what it orders.
    pub(super) fn tend_links(&mut self) {
        self.look_at_own_addresses();
        self.tend_door();
        self.tend_lan();
        self.tell_who_belongs();
        if self.neighbours.as_ref().is_some_and(|known| known.is_stale) {
            self.forget_removed();
            let known = self.known();
            let team = self.team.iter();
            let removed: BTreeSet<PeerId> = team.flat_map(|team| team.roster.removed()).collect();
            let now = self.now();
            if let Some(neighbours) = &mut self.neighbours {
                neighbours.is_stale = false;
                let mut gone = neighbours
                    .removed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *gone = removed;
                drop(gone);
                neighbours.machine.handle(now, Input::Peers(known));
            }
        }
        let now = self.now();
        if let Some(neighbours) = &mut self.neighbours
            && neighbours
                .machine
                .deadline()
                .is_some_and(|at| at <= now.mono_ms)
        {
            neighbours.machine.handle(now, Input::Tick);
        }
        self.show_heads();
        self.tick_circuits();
        self.tick_letters();
        self.pump_links();
        self.pump_exchanges();
    }

    /// Whoever the team's log removed is nobody's peer any more, whatever the Mothership says or said.
    fn forget_removed(&mut self) {
        let Some(team) = &self.team else {
            return;
        };
        let me = self.identity.key.peer();
        let is_gone =
            |peer: &PeerId, _: &mut PeerCard| *peer != me && team.roster.is_removed(*peer);
        let gone: Vec<PeerCard> = self
            .peers
            .extract_if(.., is_gone)
            .map(|(_, card)| card)
            .collect();
        for card in gone {
            let text = format!("{} was removed", card.name);
            self.emit("peer_gone", None, None, Some(card.name), text);
        }
    }

    /// When something about links is due, on the monotonic clock.
    pub(super) fn links_deadline(&self) -> Option<u64> {
        let neighbours = self.neighbours.as_ref()?;
        let books = self.desks.values().map(|desk| &desk.book);
        let books = books.chain(self.team.iter().map(|team| &team.book));
        let exchanges = books.filter_map(|book| book.exchange.deadline());
        let machines = [
            neighbours.machine.deadline(),
            neighbours.circuits.deadline(),
            neighbours.letters.deadline(),
            neighbours.door_at_ms,
        ];
        exchanges.chain(machines.into_iter().flatten()).min()
    }

    pub(super) fn tell_links(&mut self, input: Input) {
        let now = self.now();
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.machine.handle(now, input);
        }
        self.pump_links();
    }

    fn pump_links(&mut self) {
        while let Some(output) = self
            .neighbours
            .as_mut()
            .and_then(|known| known.machine.poll())
        {
            match output {
                Output::Dial { peer, addresses } => self.dial_peer(peer, addresses),
                Output::Circuit { peer, via } => self.ask_for_circuit(peer, via),
                Output::Close { link, code, detail } => self.close_thread(link, code, &detail),
                Output::Send { link, message } => {
                    self.send_on(link, 0, &message);
                }
                Output::Ready(link) => self.thread_ready(link),
                Output::Up {
                    link,
                    peer,
                    features,
                    ..
                } => self.thread_up(link, peer, features),
                Output::Down { link, peer, detail } => self.thread_down(link, peer, detail),
                Output::Learned(said) => self.learn(said),
                Output::Ask(peers) => {
                    for peers in peers.chunks(PEERS_PER_MESSAGE_MAX) {
                        let peers = peers.to_vec();
                        self.send(0, &Message::PeerQuery(PeerQuery { peers }));
                    }
                }
                Output::Heads { peer, heads } => self.compare_heads(peer, &heads),
                Output::Rtt { .. } => {}
            }
        }
    }

    fn dial_peer(&self, peer: PeerId, addresses: Vec<SocketAddr>) {
        let Some(credentials) = self.identity.credentials() else {
            return;
        };
        let events = self.sender.clone();
        self.runtime.spawn(async move {
            let expect = Expect {
                // Which role it has, the roster knows better than its certificate.
                role: Role::Member,
                peer: Some(peer),
            };
            let revoked: Revoked = Arc::new(|_| false);
            let addrs: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let dialer = Dialer::member(&credentials, expect, revoked, &calendar());
            let outcome: Outcome = match dialer {
                Err(error) => (Err(crate::chain(&error)), Vec::new()),
                Ok(dialer) => match dialer.race(&addrs).await {
                    Ok(dialed) => {
                        let attempts = attempts(&dialed.attempts);
                        (Ok(Box::new(dialed)), attempts)
                    }
                    Err(error) => {
                        let tried = match &error {
                            DialError::Nobody { attempts: tried } => attempts(tried),
                            DialError::Tls(_) => Vec::new(),
                        };
                        (Err(crate::chain(&error)), tried)
                    }
                },
            };
            events.send(Event::PeerDialed(peer, outcome)).ok();
        });
    }

    /// A dial has ended.
    pub(super) fn peer_dialed(&mut self, peer: PeerId, (result, attempts): Outcome) {
        let result = result.map(|dialed| {
            let dialed = *dialed;
            let address = dialed.stream.get_ref().0.peer_addr().ok();
            let link = self.drive(dialed.stream, Side::Client, None);
            Arrived {
                link,
                exporter: dialed.exporter,
                address,
                until_ms: dialed.identity.not_after_s.saturating_mul(1_000),
            }
        });
        self.tell_links(Input::Dialed {
            peer,
            result,
            attempts,
        });
    }

    /// Another device dialled this one.
    pub(super) fn dialled_by(&mut self, incoming: Incoming) {
        let (Some(identity), true) = (incoming.identity, self.neighbours.is_some()) else {
            return;
        };
        let link = self.drive(incoming.stream, Side::Server, Some(incoming.slot));
        self.tell_links(Input::Accepted {
            link,
            peer: identity.peer,
            exporter: incoming.exporter,
            remote: Some(incoming.remote),
            until_ms: identity.not_after_s.saturating_mul(1_000),
        });
    }

    /// Drives a session; what it says comes as events.
    fn drive<S>(&mut self, stream: S, side: Side, slot: Option<Slot>) -> LinkId
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
    {
        let _guard = self.runtime.enter();
        let (handle, _, received) = link::spawn(stream, side, false, &[], self.clock);
        let Some(neighbours) = &mut self.neighbours else {
            return LinkId(0);
        };
        neighbours.link_last += 1;
        let id = LinkId(neighbours.link_last);
        let thread = Thread {
            handle,
            peer: None,
            slot,
            streams: BTreeMap::new(),
            full: BTreeSet::new(),
            is_up: false,
            features: 0,
            early: None,
        };
        neighbours.threads.insert(id, thread);
        self.pass_on(received, move |event, share| {
            Event::Thread(id, event, share)
        });
        id
    }

    /// Something happened on a link to another device.
    pub(super) fn on_thread(&mut self, link: LinkId, event: LinkEvent) {
        match event {
            LinkEvent::Message {
                stream,
                kind,
                payload,
            } => match Message::decode(kind, payload) {
                Ok(message) if is_of_circuit(&message) => {
                    self.hear_of_circuit(Carrier::Relay(link), stream, message);
                }
                Ok(Message::Routed(routed)) if stream == 0 => self.hear_routed(link, routed),
                Ok(Message::Activity(words)) if stream == 0 => {
                    if self.thread_mut(link).is_some_and(|thread| thread.is_up) {
                        self.hear_of_activity(Via::Neighbour(link), &words);
                    }
                }
                Ok(message) if stream == 0 => {
                    if let Message::HeartbeatAck(ack) = &message {
                        self.answered(ack.nonce);
                    }
                    self.tell_links(Input::Received { link, message });
                }
                Ok(message) => self.hear_of_log(link, message),
                Err(error) => self.close_thread(link, Code::DECODE, &error.to_string()),
            },
            LinkEvent::Drained => self.thread_drained(link),
            LinkEvent::StreamReset { stream, code } => {
                self.circuit_reset(Carrier::Relay(link), stream, code);
            }
            LinkEvent::Closed {
                code,
                detail,
                by_peer,
            } => {
                if let Some(neighbours) = &mut self.neighbours {
                    neighbours.threads.remove(&link);
                }
                self.carrier_gone(Carrier::Relay(link));
                let code = by_peer.then_some(code);
                self.tell_links(Input::Closed { link, code, detail });
            }
        }
    }

    pub(super) fn close_thread(&mut self, link: LinkId, code: Code, detail: &str) {
        if let Some(neighbours) = &mut self.neighbours
            && let Some(thread) = neighbours.threads.get(&link)
        {
            thread.handle.close(code, detail);
        }
    }

    pub(super) fn send_on(&self, link: LinkId, stream: u32, message: &Message) -> Option<usize> {
        let thread = self.neighbours.as_ref()?.threads.get(&link)?;
        let (kind, payload) = message.encode();
        thread.handle.send(stream, kind, payload)
    }

    fn thread_ready(&mut self, link: LinkId) {
        if let Some(thread) = self.thread_mut(link) {
            thread.handle.authenticated();
            thread.slot = None;
        }
    }

    /// Whether a link is up, and its other side understands this.
    pub(super) fn has_feature(&self, link: LinkId, feature: u64) -> bool {
        let thread = self.neighbours.as_ref().and_then(|n| n.threads.get(&link));
        thread.is_some_and(|thread| thread.is_up && thread.features & feature == feature)
    }

    fn thread_up(&mut self, link: LinkId, peer: PeerId, features: u64) {
        if let Some(thread) = self.thread_mut(link) {
            (thread.is_up, thread.peer) = (true, Some(peer));
            thread.features = features;
        }
        self.tell_routes(way::Input::Up { peer, link });
        let is_asked = |known: &Neighbours| known.asked.contains_key(&peer);
        if self.neighbours.as_ref().is_some_and(is_asked) {
            self.ask_whether_there(peer);
        }
        self.meet(link);
        let name = crate::docs::name_of(&self.peers, peer);
        self.emit(
            "direct",
            None,
            None,
            Some(name.clone()),
            format!("linked with {name}"),
        );
    }

    /// Asks a device whether it is there, now or as soon as there is a link.
    pub(super) fn ask_whether_there(&mut self, peer: PeerId) {
        self.tell_links(Input::Want(peer));
        let now_ms = self.clock.mono_ms();
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        neighbours.pongs.remove(&peer);
        let link = neighbours.machine.link_to(peer);
        // Nonces of the machine count from 1.
        let nonce = u64::from_be_bytes(random()) | 1 << 63;
        neighbours.asked.insert(peer, link.map(|_| (nonce, now_ms)));
        if let Some(link) = link {
            let heads = Vec::new();
            self.send_on(link, 0, &Message::Heartbeat(Heartbeat { nonce, heads }));
        }
    }

    fn answered(&mut self, nonce: u64) {
        let now_ms = self.clock.mono_ms();
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        let mut asked = neighbours.asked.iter();
        let found = asked.find_map(|(peer, asked)| {
            let (own, sent_ms) = (*asked)?;
            (own == nonce).then_some((*peer, now_ms.saturating_sub(sent_ms)))
        });
        if let Some((peer, rtt_ms)) = found {
            neighbours.asked.remove(&peer);
            neighbours.pongs.insert(peer, rtt_ms);
        }
    }

    /// Whether a device that was asked has answered.
    pub(super) fn has_answered(&self, peer: PeerId) -> bool {
        let known = self.neighbours.as_ref();
        known.is_some_and(|known| known.pongs.contains_key(&peer))
    }

    /// The round trip of the answer, in milliseconds.
    pub(super) fn pong_of(&mut self, peer: PeerId) -> Option<u64> {
        let neighbours = self.neighbours.as_mut()?;
        neighbours.asked.remove(&peer);
        // Whoever else asked has the same answer.
        neighbours.pongs.get(&peer).copied()
    }

    fn thread_down(&mut self, link: LinkId, peer: PeerId, detail: String) {
        self.tell_routes(way::Input::Down(link));
        if let Some(neighbours) = &mut self.neighbours
            && let Some(thread) = neighbours.threads.get_mut(&link)
        {
            (thread.is_up, thread.early) = (false, None);
        }
        for book in self.books() {
            book.hear(exchange::Input::Down(link));
        }
        let name = crate::docs::name_of(&self.peers, peer);
        self.emit(
            "direct",
            None,
            None,
            Some(name.clone()),
            format!("no link with {name}: {detail}"),
        );
    }

    /// The Mothership was lost, or is there again; books find out by themselves.
    pub(super) fn mothership_is(&mut self, is_up: bool) {
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.is_stale = true;
        }
        self.tell_links(Input::Control { is_up });
    }
}

/// Whether a message is of a circuit.
pub(super) fn is_of_circuit(message: &Message) -> bool {
    matches!(
        message,
        Message::RelayClose(_)
            | Message::RelayCredit(_)
            | Message::RelayData(_)
            | Message::RelayOpen(_)
    )
}

/// Whose device it is: what stands before the sign in `alice/laptop` or `alice@laptop`.
pub(crate) fn person_of(name: &str) -> &str {
    name.split(['/', '@', '#']).next().unwrap_or(name)
}

fn attempts(tried: &[aura_net::Attempt]) -> Vec<Attempt> {
    let attempt = |attempt: &aura_net::Attempt| {
        Some(Attempt {
            address: attempt.addr.parse().ok()?,
            result: attempt.result.clone(),
            ms: attempt.ms,
        })
    };
    tried.iter().filter_map(attempt).collect()
}
