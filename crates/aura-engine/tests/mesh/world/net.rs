//! The network between devices: dials, links in order, and what goes wrong with them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
};

use aura_engine::peer::{
    exchange,
    links::{Arrived, Attempt, Input, LinkId},
};
use aura_proto::{Code, PeerId, limits::SEND_QUEUE_BYTES_MAX, message::Message};

use super::{Event, Telling, World};

/// How long a dial waits for an address that does not answer.
const DIAL_TIMEOUT_MS: u64 = 3_000;
/// Longest time until the end of a dead link is told that it is dead, if it is told at all.
const RESET_MS_MAX: u64 = 300;

/// What travels.
pub(super) enum Parcel {
    Message(Message),
    End(Option<Code>, String),
}

/// A link between two; end 0 dialled it.
pub(super) struct Session {
    nodes: [usize; 2],
    is_open: [bool; 2],
    /// When the newest parcel for each end arrives.
    last_ms: [u64; 2],
    /// What waits for the way to each end.
    held_up: [VecDeque<Parcel>; 2],
    /// Bytes of entries on their way to each end.
    queued: [usize; 2],
    /// Nothing arrives any more, whoever knows.
    is_dead: bool,
}

pub(crate) struct Net {
    /// Of a hundred dials, and of a hundred messages of gossip or entries, how many fail; the latter with their link.
    pub(crate) lost_percent: u64,
    /// The same of what one node sends.
    pub(crate) lossy: BTreeMap<usize, u64>,
    /// How much longer what one node sends is under way, in milliseconds.
    pub(crate) slow_ms: BTreeMap<usize, u64>,
    /// On which side of a partition each node is.
    sides: Vec<u8>,
    /// Ways that are silent, from and to.
    silent: BTreeSet<(usize, usize)>,
    /// Who led a dial to whom.
    pub(crate) reached: BTreeSet<[usize; 2]>,
    listeners: BTreeMap<SocketAddr, usize>,
    sessions: BTreeMap<u64, Session>,
    session_last: u64,
    seed: u64,
}

impl Net {
    pub(super) fn new(count: usize, seed: u64) -> Self {
        Self {
            lost_percent: 0,
            lossy: BTreeMap::new(),
            slow_ms: BTreeMap::new(),
            sides: vec![0; count],
            silent: BTreeSet::new(),
            reached: BTreeSet::new(),
            listeners: BTreeMap::new(),
            sessions: BTreeMap::new(),
            session_last: 0,
            seed,
        }
    }

    pub(super) fn listen(&mut self, address: SocketAddr, n: usize) {
        self.listeners.insert(address, n);
    }

    pub(super) fn hush(&mut self, address: SocketAddr) {
        self.listeners.remove(&address);
    }

    fn has_way(&self, from: usize, to: usize) -> bool {
        self.sides[from] == self.sides[to] && !self.silent.contains(&(from, to))
    }

    fn base_ms(&self, a: usize, b: usize) -> u64 {
        let (a, b) = (a.min(b) as u64, a.max(b) as u64);
        2 + (a * 31 + b * 17 + self.seed * 7) % 60
    }

    /// Both ends of each session of a node that this node has open.
    pub(super) fn ends_of(&self, n: usize) -> Vec<(u64, usize)> {
        let ends = self.sessions.iter().flat_map(|(id, session)| {
            let is_own = |end: &usize| session.nodes[*end] == n && session.is_open[*end];
            (0..2).filter(is_own).map(move |end| (*id, end))
        });
        ends.collect()
    }

    pub(super) fn end_of(&self, session: u64, n: usize) -> Option<usize> {
        let nodes = self.sessions.get(&session)?.nodes;
        nodes.iter().position(|node| *node == n)
    }

    pub(super) fn other_of(&self, session: u64, n: usize) -> Option<usize> {
        let end = self.end_of(session, n)?;
        Some(self.sessions[&session].nodes[1 - end])
    }

    pub(super) fn close_end(&mut self, session: u64, end: usize) {
        let Some(known) = self.sessions.get_mut(&session) else {
            return;
        };
        known.is_open[end] = false;
        if known.is_open == [false; 2] {
            self.sessions.remove(&session);
        }
    }

    /// Bytes of entries on their way from a node.
    pub(super) fn queued(&self, session: u64, from: usize) -> usize {
        self.end_of(session, from)
            .map_or(0, |end| self.sessions[&session].queued[1 - end])
    }

    /// Sessions that exist at either end.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = [usize; 2]> {
        self.sessions.values().map(|session| session.nodes)
    }

    /// The other end of a link.
    pub(crate) fn is_between(&self, link: LinkId, a: usize, b: usize) -> bool {
        let session = self.sessions.get(&link.0);
        session.is_some_and(|session| session.nodes.contains(&a) && session.nodes.contains(&b))
    }
}

impl World {
    /// Each node is on one side from now on; between sides there is no way.
    pub(crate) fn part(&mut self, sides: Vec<u8>) {
        self.net.sides = sides;
        self.release();
    }

    /// Nothing arrives that one node sends to the other.
    pub(crate) fn silence(&mut self, from: usize, to: usize) {
        self.net.silent.insert((from, to));
    }

    /// Every way is there again.
    pub(crate) fn heal(&mut self) {
        self.net.silent.clear();
        let count = self.nodes.len();
        self.part(vec![0; count]);
    }

    /// What was held up and has a way now goes on.
    fn release(&mut self) {
        let ids: Vec<u64> = self.net.sessions.keys().copied().collect();
        for (id, to) in ids.into_iter().flat_map(|id| [(id, 0), (id, 1)]) {
            let session = self.net.sessions.get_mut(&id).unwrap();
            let (from_node, to_node) = (session.nodes[1 - to], session.nodes[to]);
            let held_up = std::mem::take(&mut session.held_up[to]);
            if self.net.has_way(from_node, to_node) {
                // Until a sender tries again.
                let pause_ms = self.random.below(2_000);
                held_up
                    .into_iter()
                    .for_each(|parcel| self.put(id, to, parcel, pause_ms));
            } else if let Some(session) = self.net.sessions.get_mut(&id) {
                session.held_up[to] = held_up;
            }
        }
    }

    /// A link dies; its ends learn it, or one of them never does.
    pub(crate) fn kill(&mut self, session: u64) {
        let Some(known) = self
            .net
            .sessions
            .get_mut(&session)
            .filter(|known| !known.is_dead)
        else {
            return;
        };
        known.is_dead = true;
        let deaf = self.random.below(8);
        for end in (0..2).filter(|end| *end as u64 != deaf) {
            let at_ms = self.now_ms + self.random.below(RESET_MS_MAX);
            let parcel = Parcel::End(None, "reset".to_owned());
            self.later(at_ms, Event::Arrive(session, end, parcel));
        }
    }

    /// Some link dies.
    pub(crate) fn kill_any(&mut self) {
        let ids: Vec<u64> = self.net.sessions.keys().copied().collect();
        if !ids.is_empty() {
            let pick = self.random.pick(ids.len());
            self.kill(ids[pick]);
        }
    }

    pub(super) fn dial(&mut self, n: usize, peer: PeerId, addresses: &[SocketAddr]) {
        assert!((1..=8).contains(&addresses.len()));
        assert_ne!(peer, self.nodes[n].id, "nobody dials itself");
        assert!(
            self.nodes[n].table.contains_key(&peer),
            "members are dialled"
        );
        let is_lost = self.random.chance(self.net.lost_percent);
        let answers = |address: &&SocketAddr| {
            let there = self.net.listeners.get(address);
            there.is_some_and(|there| {
                let has_way = self.net.has_way(n, *there) && self.net.has_way(*there, n);
                self.nodes[*there].id == peer && has_way
            })
        };
        let winner = addresses.iter().find(answers).copied().filter(|_| !is_lost);
        let attempts = addresses.iter().map(|address| Attempt {
            address: *address,
            result: if Some(*address) == winner {
                "ok"
            } else {
                "timeout"
            }
            .to_owned(),
            ms: if Some(*address) == winner {
                5
            } else {
                DIAL_TIMEOUT_MS
            },
        });
        let attempts: Vec<_> = attempts.collect();
        let life = self.nodes[n].life;
        let Some(address) = winner else {
            let result = Err("no address answered".to_owned());
            let input = Input::Dialed {
                peer,
                result,
                attempts,
            };
            return self.later(self.now_ms + DIAL_TIMEOUT_MS, Event::Links(n, life, input));
        };
        self.connect(n, address, attempts);
    }

    /// A session of TLS: the dialler has it after two round trips, the other end half a trip later.
    fn connect(&mut self, n: usize, address: SocketAddr, attempts: Vec<Attempt>) {
        let there = self.net.listeners[&address];
        self.net.reached.insert([n, there]);
        self.net.session_last += 1;
        let id = self.net.session_last;
        let way_ms = self.net.base_ms(n, there) + self.random.below(5);
        let (here_ms, there_ms) = (self.now_ms + 4 * way_ms, self.now_ms + 5 * way_ms);
        self.net.sessions.insert(
            id,
            Session {
                nodes: [n, there],
                is_open: [true; 2],
                last_ms: [here_ms, there_ms],
                held_up: Default::default(),
                queued: [0; 2],
                is_dead: false,
            },
        );
        let mut exporter = [0; 32];
        exporter[..8].copy_from_slice(&id.to_be_bytes());
        let link = LinkId(id);
        let arrived = Arrived {
            link,
            exporter,
            address: Some(address),
            until_ms: u64::MAX,
        };
        let dialed = Input::Dialed {
            peer: self.nodes[there].id,
            result: Ok(arrived),
            attempts,
        };
        let accepted = Input::Accepted {
            link,
            peer: self.nodes[n].id,
            exporter,
            remote: Some(SocketAddr::from(([10, 9, 9, 9], 40_000))),
            until_ms: u64::MAX,
        };
        let lives = [self.nodes[n].life, self.nodes[there].life];
        self.later(here_ms, Event::Links(n, lives[0], dialed));
        self.later(there_ms, Event::Links(there, lives[1], accepted));
    }

    pub(super) fn send(&mut self, n: usize, link: LinkId, message: Message) {
        let Some(end) = self.net.end_of(link.0, n) else {
            return;
        };
        if !self.net.sessions[&link.0].is_open[end] {
            return;
        }
        self.count(n, &message);
        let is_eager = matches!(message, Message::Reach(_) | Message::Push(_));
        let lost_percent = self.net.lossy.get(&n).copied().unwrap_or(0);
        let lost_percent = lost_percent.max(self.net.lost_percent);
        if is_eager && self.random.chance(lost_percent) {
            return self.kill(link.0);
        }
        if let Message::Push(run) = &message {
            self.net.sessions.get_mut(&link.0).unwrap().queued[1 - end] += run.len();
        }
        self.carry(link.0, 1 - end, Parcel::Message(message));
    }

    fn count(&mut self, n: usize, message: &Message) {
        let kind = match message {
            Message::Hello(_) | Message::Auth(_) | Message::Welcome(_) => "handshake",
            Message::Heartbeat(_) | Message::HeartbeatAck(_) => "heartbeat",
            Message::Reach(words) => {
                let is_watched = |(peer, counter)| {
                    words
                        .iter()
                        .any(|word| word.peer == peer && word.reach.counter == counter)
                };
                if self.watched.is_some_and(is_watched) {
                    let at_ms = self.now_ms;
                    self.tellings.push(Telling { at_ms, from: n });
                }
                "reach"
            }
            Message::Subscribe(_) => "ask",
            Message::Head(_) => "head",
            Message::Push(_) => "entries",
            Message::Prune(_) => "prune",
            other => panic!("nobody says that here: {other:?}"),
        };
        *self.counts.messages.entry(kind).or_default() += 1;
    }

    /// Puts something on its way to one end, behind what is on its way already.
    pub(super) fn carry(&mut self, id: u64, to: usize, parcel: Parcel) {
        let Some(session) = self.net.sessions.get(&id) else {
            return;
        };
        let (from_node, to_node) = (session.nodes[1 - to], session.nodes[to]);
        if self.net.has_way(from_node, to_node) && session.held_up[to].is_empty() {
            return self.put(id, to, parcel, 0);
        }
        let held_up = &mut self.net.sessions.get_mut(&id).unwrap().held_up[to];
        held_up.push_back(parcel);
        self.counts.held_up_max = self.counts.held_up_max.max(held_up.len());
    }

    fn put(&mut self, id: u64, to: usize, parcel: Parcel, pause_ms: u64) {
        let Some(session) = self.net.sessions.get(&id) else {
            return;
        };
        let [a, b] = session.nodes;
        let slow_ms = self.net.slow_ms.get(&session.nodes[1 - to]);
        let way_ms = self.net.base_ms(a, b) + slow_ms.copied().unwrap_or(0);
        let at_ms = self.now_ms + pause_ms + way_ms + self.random.below(5);
        let last_ms = &mut self.net.sessions.get_mut(&id).unwrap().last_ms[to];
        *last_ms = at_ms.max(*last_ms);
        let at_ms = *last_ms;
        self.later(at_ms, Event::Arrive(id, to, parcel));
    }

    pub(super) fn arrive(&mut self, id: u64, end: usize, parcel: Parcel) {
        let Some(session) = self
            .net
            .sessions
            .get_mut(&id)
            .filter(|session| session.is_open[end])
        else {
            return;
        };
        let (n, from) = (session.nodes[end], session.nodes[1 - end]);
        let link = LinkId(id);
        match parcel {
            Parcel::End(code, detail) => {
                self.net.close_end(id, end);
                self.tell_links(n, Input::Closed { link, code, detail });
            }
            Parcel::Message(_) if session.is_dead => {}
            Parcel::Message(message) => {
                if let Message::Push(run) = &message {
                    session.queued[end] -= run.len();
                    let is_drained = session.queued[end] <= SEND_QUEUE_BYTES_MAX / 2;
                    self.count_push(from, n, run);
                    if is_drained {
                        self.drained(from, link);
                    }
                }
                let is_of_log = matches!(
                    message,
                    Message::Push(_) | Message::Head(_) | Message::Subscribe(_) | Message::Prune(_)
                );
                if is_of_log {
                    let from = link;
                    self.tell_exchange(n, exchange::Input::Received { from, message });
                } else {
                    self.tell_links(n, Input::Received { link, message });
                }
            }
        }
    }

    fn drained(&mut self, n: usize, link: LinkId) {
        let running = self.nodes[n].running.as_mut();
        if running.is_some_and(|running| running.full.remove(&link)) {
            self.tell_exchange(n, exchange::Input::Drained(link));
        }
    }
}
