//! The daemon's end of the links to other devices.
//!
//! Invariants:
//! - whom to dial, and when, is the machine's decision; here are sockets, tasks and files;
//! - a link says nothing of a log before the machine told that it is up;
//! - what others said of where they are is remembered, so that a device finds them while the Mothership is away.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use aura_engine::peer::{
    exchange::{self, Neighbour},
    links::{Arrived, Attempt, Input, Known, LinkId, Links, Output, Own},
    replica,
};
use aura_net::{
    Dialed, Incoming, LinkEvent, LinkHandle, Listener, Revoked,
    dial::DialError,
    dial::Dialer,
    link,
    listen::{Renewer, Slot},
    tls::{Expect, calendar},
};
use aura_proto::{
    Code, Entry, LogId, PeerId, Reach, codec,
    event::encode_push,
    limits::{PEERS_PER_MESSAGE_MAX, SEND_QUEUE_BYTES_MAX},
    message::{Heartbeat, Message, PeerCard, PeerQuery, PeerState, Role},
    reach::{Class, Locality, class_of},
    session::{Class as StreamClass, Side},
};
use aura_store::write_atomic;
use aura_trust::sign_reach;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::{
    Daemon, Event,
    wire::{BACKLOG_KIB, shares_of},
};
use crate::{book::Book, clock::random, identity};

/// How often the addresses of this device are looked at, in milliseconds.
const LOOK_MS: u64 = 5_000;

/// The file with the directory, below the home.
const DIRECTORY: &str = "team/directory";

/// What is remembered of where everybody is.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Directory {
    /// The counter of the last own announcement.
    counter: u64,
    /// The port on which this device listened last: others find it there while the Mothership is away.
    port: u16,
    /// Whether the Mothership was on this machine when it was reached last.
    is_local: bool,
    reaches: BTreeMap<PeerId, Reach>,
}

/// The outcome of a dial: the session, if there is one, and what became of each address.
pub(super) type Outcome = (Result<Box<Dialed>, String>, Vec<Attempt>);

/// One link to another device.
struct Thread {
    handle: LinkHandle,
    /// Counts against the caps of strangers until the peer has authenticated.
    slot: Option<Slot>,
    /// On which stream each log is spoken of, once the link is up.
    streams: BTreeMap<LogId, u32>,
    /// Logs whose stream was full.
    full: BTreeSet<LogId>,
    is_up: bool,
}

/// Everything about links to other devices.
pub(super) struct Neighbours {
    pub(super) machine: Links,
    threads: BTreeMap<LinkId, Thread>,
    link_last: u64,
    /// Where this device is listened at, and how it gets a fresh certificate.
    door: Option<(SocketAddr, Renewer, tokio::task::JoinHandle<()>)>,
    /// Whom TLS refuses.
    removed: Arc<Mutex<BTreeSet<PeerId>>>,
    directory: Directory,
    /// Whether the machine has to hear of members anew.
    pub(super) is_stale: bool,
    look_at_ms: u64,
    /// Who is asked whether it is there, and when it was asked, once there is a link.
    asked: BTreeMap<PeerId, Option<(u64, u64)>>,
    /// Round trips of who has answered, in milliseconds.
    pongs: BTreeMap<PeerId, u64>,
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
        let own = Own {
            key: self.identity.key_again(),
            team: enrolment.team,
            team_name: enrolment.team_name,
            agent: concat!("aura/", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let seed = u64::from_be_bytes(random());
        let directory = self.read_directory();
        for (peer, reach) in &directory.reaches {
            if let Some(card) = self.peers.get_mut(peer) {
                card.reach = reach.clone();
            }
        }
        self.neighbours = Some(Neighbours {
            machine: Links::new(self.now(), own, self.settings.links(), seed),
            threads: BTreeMap::new(),
            link_last: 0,
            door: None,
            removed: Arc::default(),
            directory,
            is_stale: true,
            look_at_ms: 0,
            asked: BTreeMap::new(),
            pongs: BTreeMap::new(),
        });
        self.open_door();
    }

    /// Listens for others, unless nobody is to dial this device.
    fn open_door(&mut self) {
        let (settings, listen) = (self.settings.links(), self.settings.listen());
        let wanted = settings.direct && settings.visibility == aura_proto::Visibility::Open;
        let credentials = self.identity.credentials();
        let (Some(neighbours), Some(listen), Some(credentials), Some(enrolment)) = (
            &mut self.neighbours,
            listen.filter(|_| wanted),
            credentials,
            &self.identity.enrolment,
        ) else {
            return;
        };
        let removed = Arc::clone(&neighbours.removed);
        let revoked: Revoked = Arc::new(move |peer| {
            removed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(&peer)
        });
        let _guard = self.runtime.enter();
        let bind = |port: u16| {
            let at = SocketAddr::new(listen.ip(), port);
            Listener::bind(at, &credentials, enrolment.team, Arc::clone(&revoked))
        };
        let again = Some(neighbours.directory.port).filter(|_| listen.port() == 0);
        let bound = again.map_or_else(
            || bind(listen.port()),
            |port| bind(port).or_else(|_| bind(0)),
        );
        let mut listener = match bound {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), %listen, "no device can dial this one");
                return;
            }
        };
        let (local, renewer) = (listener.local(), listener.renewer());
        neighbours.directory.port = local.port();
        let events = self.sender.clone();
        let task = self.runtime.spawn(async move {
            while let Some(incoming) = listener.next().await {
                if events.send(Event::Incoming(Box::new(incoming))).is_err() {
                    return;
                }
            }
        });
        neighbours.door = Some((local, renewer, task));
    }

    /// A fresh certificate is shown from now on.
    pub(super) fn renew_door(&self) {
        let door = self
            .neighbours
            .as_ref()
            .and_then(|known| known.door.as_ref());
        if let (Some((_, renewer, _)), Some(credentials)) = (door, self.identity.credentials())
            && let Err(error) = renewer.renew(&credentials)
        {
            tracing::warn!(%error, "the door keeps its certificate");
        }
    }

    /// The Mothership was reached: on this machine or elsewhere.
    pub(super) fn mothership_is_at(&mut self, remote: Option<SocketAddr>) {
        let is_local = remote.is_some_and(|remote| remote.ip().is_loopback());
        if let Some(neighbours) = &mut self.neighbours
            && neighbours.directory.is_local != is_local
        {
            neighbours.directory.is_local = is_local;
            (neighbours.is_stale, neighbours.look_at_ms) = (true, 0);
            self.save_directory();
        }
    }

    fn locality(&self) -> Locality {
        let is_local = self
            .neighbours
            .as_ref()
            .is_some_and(|known| known.directory.is_local);
        if is_local {
            Locality::Machine
        } else {
            Locality::Network
        }
    }

    /// Tells where this device is, if that has changed.
    fn look_at_own_addresses(&mut self) {
        let now_ms = self.clock.mono_ms();
        let (locality, settings) = (self.locality(), self.settings.links());
        let announced = self.settings.announce();
        let Some(neighbours) = self
            .neighbours
            .as_mut()
            .filter(|known| known.look_at_ms <= now_ms)
        else {
            return;
        };
        neighbours.look_at_ms = now_ms + LOOK_MS;
        let addresses = match neighbours.door.as_ref().map(|(local, ..)| *local) {
            Some(_) if !announced.is_empty() => announced,
            Some(local) => own_addresses(local, locality),
            None => Vec::new(),
        };
        let me = self.identity.key.peer();
        let known = neighbours.directory.reaches.get(&me);
        let is_same = known.is_some_and(|known| {
            known.addresses == addresses && known.visibility == settings.visibility
        });
        let counter = neighbours.directory.counter;
        let counter = if is_same {
            counter
        } else {
            (counter + 1).max(self.clock.wall_ms() / 1_000)
        };
        let reach = Reach {
            counter,
            visibility: settings.visibility,
            addresses,
        };
        let is_told = self
            .control
            .as_ref()
            .is_some_and(|control| control.has_reach(counter));
        if is_same && is_told {
            return;
        }
        neighbours.directory.counter = counter;
        neighbours.directory.reaches.insert(me, reach.clone());
        let said = sign_reach(&self.identity.key, neighbours_team(&self.identity), reach);
        let now = aura_engine::Now {
            mono_ms: now_ms,
            wall_ms: self.clock.wall_ms(),
        };
        neighbours
            .machine
            .handle(now, Input::Announce(said.clone()));
        if let Some(control) = &mut self.control {
            control.set_reach(said);
        }
        self.save_directory();
        self.pump_control();
    }

    /// Where others were; one that cannot be read is told anew.
    fn read_directory(&self) -> Directory {
        let bytes = std::fs::read(self.home.join(DIRECTORY)).unwrap_or_default();
        codec::decode(&bytes).unwrap_or_default()
    }

    fn save_directory(&self) {
        let Some(neighbours) = &self.neighbours else {
            return;
        };
        let bytes = codec::encode(&neighbours.directory);
        if let Err(error) = write_atomic(&self.home.join(DIRECTORY), &bytes, 0o600) {
            tracing::warn!(error = %crate::chain(&error), "where others are is not remembered");
        }
    }

    /// Everybody with whom links are allowed.
    fn known(&self) -> Vec<Known> {
        let is_up = self
            .control
            .as_ref()
            .is_some_and(aura_engine::peer::control::Control::is_up);
        let locality = self.locality();
        let is_removed = |peer: PeerId| {
            self.team
                .as_ref()
                .is_some_and(|team| team.roster.is_removed(peer))
        };
        let known = |card: &PeerCard| Known {
            peer: card.peer,
            person: person_of(&card.name).to_owned(),
            reach: card.reach.clone(),
            addresses: card.reach.dialable(locality),
            is_online: is_up.then_some(card.state == PeerState::Online),
        };
        // The own entry only says whose device this is.
        let cards = self.peers.values().filter(|card| !is_removed(card.peer));
        cards.map(known).collect()
    }

    /// Brings the machine up to date, and carries out what it orders.
    pub(super) fn tend_links(&mut self) {
        self.look_at_own_addresses();
        if self.neighbours.as_ref().is_some_and(|known| known.is_stale) {
            let known = self.known();
            let removed: BTreeSet<PeerId> = match &self.team {
                Some(team) => self
                    .peers
                    .keys()
                    .copied()
                    .filter(|peer| team.roster.is_removed(*peer))
                    .collect(),
                None => BTreeSet::new(),
            };
            let now = self.now();
            if let Some(neighbours) = &mut self.neighbours {
                neighbours.is_stale = false;
                let mut gone = neighbours
                    .removed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                gone.extend(removed);
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
        self.pump_links();
        self.pump_exchanges();
    }

    /// When something about links is due, on the monotonic clock.
    pub(super) fn links_deadline(&self) -> Option<u64> {
        let neighbours = self.neighbours.as_ref()?;
        let books = self.desks.values().map(|desk| &desk.book);
        let books = books.chain(self.team.iter().map(|team| &team.book));
        let exchanges = books.filter_map(|book| book.exchange.deadline());
        exchanges.chain(neighbours.machine.deadline()).min()
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
                Output::Circuit { peer } => {
                    let result = Err("this Mothership passes nothing on".to_owned());
                    let attempts = Vec::new();
                    let now = self.now();
                    if let Some(neighbours) = &mut self.neighbours {
                        let input = Input::Dialed {
                            peer,
                            result,
                            attempts,
                        };
                        neighbours.machine.handle(now, input);
                    }
                }
                Output::Close { link, code, detail } => self.close_thread(link, code, &detail),
                Output::Send { link, message } => {
                    self.send_on(link, 0, &message);
                }
                Output::Up { link, peer, .. } => self.thread_up(link, peer),
                Output::Down { link, peer, detail } => self.thread_down(link, peer, detail),
                Output::Learned(said) => {
                    if let Some(card) = self.peers.get_mut(&said.peer) {
                        card.reach = said.reach;
                    }
                    self.remember_reaches();
                }
                Output::Ask(peers) => {
                    for peers in peers.chunks(PEERS_PER_MESSAGE_MAX) {
                        let peers = peers.to_vec();
                        self.send(0, &Message::PeerQuery(PeerQuery { peers }));
                    }
                }
                Output::Rtt { .. } => {}
            }
        }
    }

    /// Keeps where everybody is, for a start without the Mothership.
    pub(super) fn remember_reaches(&mut self) {
        let me = self.identity.key.peer();
        let Some(neighbours) = &mut self.neighbours else {
            return;
        };
        neighbours.is_stale = true;
        let reaches = &mut neighbours.directory.reaches;
        let before = reaches.len();
        reaches.retain(|peer, _| *peer == me || self.peers.contains_key(peer));
        let mut is_new = before != reaches.len();
        for card in self.peers.values().filter(|card| card.peer != me) {
            if reaches.get(&card.peer) != Some(&card.reach) {
                reaches.insert(card.peer, card.reach.clone());
                is_new = true;
            }
        }
        if is_new {
            self.save_directory();
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
        });
    }

    /// Drives a session; what it says comes as events.
    fn drive<S>(&mut self, stream: S, side: Side, slot: Option<Slot>) -> LinkId
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
    {
        let _guard = self.runtime.enter();
        let (handle, _, mut received) = link::spawn(stream, side, false, &[], self.clock);
        let Some(neighbours) = &mut self.neighbours else {
            return LinkId(0);
        };
        neighbours.link_last += 1;
        let id = LinkId(neighbours.link_last);
        let thread = Thread {
            handle,
            slot,
            streams: BTreeMap::new(),
            full: BTreeSet::new(),
            is_up: false,
        };
        neighbours.threads.insert(id, thread);
        let events = self.sender.clone();
        self.runtime.spawn(async move {
            let backlog = Arc::new(Semaphore::new(BACKLOG_KIB));
            while let Some(event) = received.recv().await {
                let backlog = Arc::clone(&backlog);
                let Ok(share) = backlog.acquire_many_owned(shares_of(&event)).await else {
                    return;
                };
                if events.send(Event::Thread(id, event, share)).is_err() {
                    return;
                }
            }
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
            LinkEvent::Closed {
                code,
                detail,
                by_peer,
            } => {
                if let Some(neighbours) = &mut self.neighbours {
                    neighbours.threads.remove(&link);
                }
                let code = by_peer.then_some(code);
                self.tell_links(Input::Closed { link, code, detail });
            }
        }
    }

    fn close_thread(&mut self, link: LinkId, code: Code, detail: &str) {
        if let Some(neighbours) = &mut self.neighbours
            && let Some(thread) = neighbours.threads.get(&link)
        {
            thread.handle.close(code, detail);
        }
    }

    fn send_on(&self, link: LinkId, stream: u32, message: &Message) -> Option<usize> {
        let thread = self.neighbours.as_ref()?.threads.get(&link)?;
        let (kind, payload) = message.encode();
        thread.handle.send(stream, kind, payload)
    }

    fn thread_up(&mut self, link: LinkId, peer: PeerId) {
        if let Some(neighbours) = &mut self.neighbours
            && let Some(thread) = neighbours.threads.get_mut(&link)
        {
            thread.handle.authenticated();
            (thread.slot, thread.is_up) = (None, true);
        }
        let is_asked = |known: &Neighbours| known.asked.contains_key(&peer);
        if self.neighbours.as_ref().is_some_and(is_asked) {
            self.ask_whether_there(peer);
        }
        for book in self.books() {
            book.meet(Neighbour(link.0));
        }
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
    pub(super) fn take_pong(&mut self, peer: PeerId) -> Option<u64> {
        let neighbours = self.neighbours.as_mut()?;
        neighbours.asked.remove(&peer);
        neighbours.pongs.remove(&peer)
    }

    /// Where this device says that it is.
    pub(super) fn announced(&self) -> Option<&Reach> {
        let known = &self.neighbours.as_ref()?.directory.reaches;
        known.get(&self.identity.key.peer())
    }

    fn thread_down(&mut self, link: LinkId, peer: PeerId, detail: String) {
        for book in self.books() {
            book.hear(exchange::Input::Down(Neighbour(link.0)));
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

    /// A repository was opened: neighbours that are linked already exchange it as well.
    pub(super) fn meet_again(&mut self, path: &std::path::Path) {
        let threads = self.neighbours.iter().flat_map(|known| &known.threads);
        let up: Vec<LinkId> = threads
            .filter(|(_, thread)| thread.is_up)
            .map(|(link, _)| *link)
            .collect();
        if let Some(desk) = self.desks.get_mut(path) {
            up.iter().for_each(|link| desk.book.meet(Neighbour(link.0)));
        }
    }

    fn books(&mut self) -> impl Iterator<Item = &mut Book> {
        let desks = self.desks.values_mut().map(|desk| &mut desk.book);
        desks.chain(self.team.iter_mut().map(|team| &mut team.book))
    }

    /// The Mothership was lost, or is there again.
    pub(super) fn alone(&mut self, is_alone: bool) {
        for book in self.books() {
            book.hear(exchange::Input::Alone(is_alone));
        }
        let is_up = !is_alone;
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.is_stale = true;
        }
        self.tell_links(Input::Control { is_up });
    }

    /// A message about a log goes to all who keep it: two clones of one repository keep one each.
    fn hear_of_log(&mut self, link: LinkId, message: Message) {
        let Some(log) = log_of(&message) else {
            return;
        };
        let from = Neighbour(link.0);
        for book in self.books().filter(|book| book.replica.log() == log) {
            let message = message.clone();
            book.hear(exchange::Input::Received { from, message });
        }
        self.pump_exchanges();
    }

    fn thread_drained(&mut self, link: LinkId) {
        let thread = self
            .neighbours
            .as_mut()
            .and_then(|known| known.threads.get_mut(&link));
        let Some(full) = thread.map(|thread| std::mem::take(&mut thread.full)) else {
            return;
        };
        for book in self
            .books()
            .filter(|book| full.contains(&book.replica.log()))
        {
            book.hear(exchange::Input::Drained(Neighbour(link.0)));
        }
        self.pump_exchanges();
    }

    /// Carries out what the logs have to say to neighbours.
    pub(super) fn pump_exchanges(&mut self) {
        if self.neighbours.is_none() {
            return;
        }
        for book in self.books() {
            book.tick_exchange();
        }
        loop {
            let mut outputs = Vec::new();
            for book in self.books() {
                let log = book.replica.log();
                while let Some(output) = book.exchange.poll() {
                    outputs.push((log, output));
                }
            }
            if outputs.is_empty() {
                break;
            }
            for (log, output) in outputs {
                self.exchanged(log, output);
            }
        }
        self.say_what_was_not_heard();
    }

    fn exchanged(&mut self, log: LogId, output: exchange::Output) {
        match output {
            exchange::Output::Close { neighbour, code } => {
                self.close_thread(LinkId(neighbour.0), code, "");
            }
            exchange::Output::Send { to, message } => {
                if let Some(stream) = self.stream_of(LinkId(to.0), log) {
                    self.send_on(LinkId(to.0), stream, &message);
                }
            }
            exchange::Output::Show {
                to,
                writer,
                first,
                last,
            } => {
                let entries = self.books().find(|book| book.replica.log() == log);
                let entries = entries
                    .map(|book| book.entries(writer, first, last))
                    .unwrap_or_default();
                let up_to = first + entries.len() as u64 - 1;
                let has_room = entries.is_empty() || self.show_entries(LinkId(to.0), log, &entries);
                let shown = exchange::Input::Shown {
                    to,
                    writer,
                    up_to,
                    has_room,
                };
                if let Some(book) = self.books().find(|book| book.replica.log() == log) {
                    book.hear(shown);
                }
            }
            exchange::Output::Hear { from, entries } => self.hear_entries(log, from, entries),
        }
    }

    /// Shows entries to a neighbour; whether its link takes more.
    fn show_entries(&mut self, link: LinkId, log: LogId, entries: &[Entry]) -> bool {
        let Some(stream) = self.stream_of(link, log) else {
            return true;
        };
        let run = encode_push(log, entries.iter().map(|entry| &entry.bytes()[..]));
        let queued = self.send_on(link, stream, &Message::Push(run));
        let is_full = queued.is_some_and(|queued| SEND_QUEUE_BYTES_MAX < queued);
        if is_full
            && let Some(neighbours) = &mut self.neighbours
            && let Some(thread) = neighbours.threads.get_mut(&link)
        {
            thread.full.insert(log);
        }
        !is_full
    }

    /// Takes what a neighbour showed, as far as whoever wrote it belongs to the team.
    // spec: peers/4.3
    fn hear_entries(&mut self, log: LogId, from: Neighbour, entries: Vec<Entry>) {
        let count = entries.len();
        let known: Vec<Entry> = match &self.team {
            // Whoever founds the team, or is new in it, is in the very log that says so.
            Some(_) if log == LogId::TEAM => entries,
            Some(team) => {
                let is_member = |entry: &Entry| team.roster.is_active(entry.header().writer.peer);
                entries.into_iter().filter(is_member).collect()
            }
            None => Vec::new(),
        };
        let is_less = known.len() < count;
        let input = || replica::Input::Heard {
            from: from.0,
            entries: known.clone(),
        };
        if log == LogId::TEAM {
            if let Some(team) = &mut self.team {
                team.feed(input(), &mut self.identity);
            }
            if let Some(neighbours) = &mut self.neighbours {
                neighbours.is_stale = true;
            }
        }
        let ring = &self.identity.ring;
        for desk in self
            .desks
            .values_mut()
            .filter(|desk| desk.book.replica.log() == log)
        {
            desk.feed(input(), ring);
            desk.settle(ring);
            if is_less {
                desk.book.hear(exchange::Input::NotHeard);
            }
        }
        self.flush();
    }

    /// Leaves neighbours that showed what is forged; what merely does not fit now may fit later.
    fn say_what_was_not_heard(&mut self) {
        let mut refused = Vec::new();
        for desk in self.desks.values_mut() {
            refused.append(&mut desk.not_heard);
        }
        if let Some(team) = &mut self.team {
            refused.append(&mut team.not_heard);
        }
        for (from, code, detail) in refused {
            tracing::debug!(from, %code, detail, "not taken from a neighbour");
            if matches!(code, Code::BAD_SIGNATURE | Code::WRONG_TEAM) {
                self.close_thread(LinkId(from), code, detail);
            }
        }
    }

    /// The stream on which a log is spoken of, opened when it is needed first.
    fn stream_of(&mut self, link: LinkId, log: LogId) -> Option<u32> {
        let thread = self.neighbours.as_mut()?.threads.get_mut(&link)?;
        if let Some(stream) = thread.streams.get(&log) {
            return Some(*stream);
        }
        let stream = thread.handle.open_stream(StreamClass::Patch).ok()?;
        thread.streams.insert(log, stream);
        Some(stream)
    }
}

fn neighbours_team(identity: &identity::Identity) -> aura_proto::TeamId {
    identity
        .enrolment
        .as_ref()
        .map_or(aura_proto::TeamId([0; 16]), |own| own.team)
}

/// Whose device it is: what stands before the sign in `alice/laptop` or `alice@laptop`.
fn person_of(name: &str) -> &str {
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

/// Where this device can be dialled, the nearest first.
fn own_addresses(local: SocketAddr, locality: Locality) -> Vec<SocketAddr> {
    let ips: Vec<IpAddr> = if local.ip().is_unspecified() {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        interfaces.iter().map(if_addrs::Interface::ip).collect()
    } else {
        vec![local.ip()]
    };
    let listens = |ip: &IpAddr| local.is_ipv6() || ip.is_ipv4();
    let addresses = ips
        .into_iter()
        .filter(listens)
        .map(|ip| SocketAddr::new(ip, local.port()));
    let classed = addresses.filter_map(|address| Some((class_of(address, locality)?, address)));
    let mut classed: Vec<(Class, SocketAddr)> = classed.collect();
    classed.sort();
    classed.dedup();
    let addresses = classed.into_iter().map(|(_, address)| address);
    addresses.take(aura_proto::limits::HINTS_MAX).collect()
}

/// Which log a message is about.
fn log_of(message: &Message) -> Option<LogId> {
    match message {
        Message::Subscribe(asked) => Some(asked.log),
        Message::Head(head) => Some(head.log),
        Message::Prune(prune) => Some(prune.log),
        Message::Push(run) => Some(LogId(*run.first_chunk()?)),
        _ => None,
    }
}
