//! A small world: machines, the network between them, and a clock that jumps.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use aura_engine::{
    Now,
    peer::links::{Arrived, Attempt, Input, Known, LinkId, Links, Output, Own, Settings, Way},
};
use aura_proto::{
    Code, PeerId, SignedReach, TeamId,
    message::Message,
    reach::{Locality, Reach, Visibility},
};
use aura_trust::{IdentityKey, sign_reach};

pub(crate) const TEAM: TeamId = TeamId([7; 16]);

/// How long a dial waits for an address that does not answer.
pub(crate) const DIAL_TIMEOUT_MS: u64 = 3_000;

pub(crate) struct Node {
    pub(crate) links: Links,
    pub(crate) id: PeerId,
    pub(crate) person: String,
    pub(crate) settings: Settings,
    pub(crate) word: SignedReach,
    /// What the shell knows of each member.
    pub(crate) table: BTreeMap<PeerId, Known>,
    pub(crate) is_control_up: bool,
    /// Every output with its moment.
    pub(crate) log: Vec<(u64, Output)>,
    /// The link to each peer by `Up` and `Down`.
    pub(crate) up: BTreeMap<PeerId, (LinkId, Way)>,
    /// `Down` of the link that was up, when no other one was.
    pub(crate) gaps: u32,
    next_link: u64,
    due_ms: Option<u64>,
}

#[derive(Clone, Copy)]
struct End {
    node: usize,
    other: usize,
    other_link: LinkId,
}

pub(crate) struct World {
    pub(crate) now_ms: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) ids: BTreeMap<PeerId, usize>,
    /// Who answers where.
    pub(crate) listeners: BTreeMap<SocketAddr, usize>,
    /// Pairs between which everything vanishes; smaller index first.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Whether the Mothership relays.
    pub(crate) has_relay: bool,
    /// Devices that relay.
    pub(crate) relays: BTreeSet<usize>,
    /// Of a hundred messages of gossip, how many are lost, each with its link: a link that goes on loses nothing.
    pub(crate) lost_percent: u64,
    /// How many times longer everything takes.
    pub(crate) slowness: u64,
    /// When certificates end, milliseconds since 1970.
    pub(crate) until_ms: u64,
    /// Whether outputs are kept.
    pub(crate) is_logging: bool,
    sessions: BTreeMap<(usize, LinkId), End>,
    arrivals: BTreeMap<(usize, LinkId), u64>,
    events: BTreeMap<(u64, u64), (usize, Input)>,
    events_made: u64,
    random: u64,
    seed: u64,
}

pub(crate) fn address(node: usize) -> SocketAddr {
    let node = u16::try_from(node).unwrap();
    SocketAddr::from(([10, 0, (node >> 8) as u8, node as u8], 7_000))
}

pub(crate) fn key(node: usize) -> IdentityKey {
    let mut seed = [0x11; 32];
    seed[..8].copy_from_slice(&(node as u64).to_be_bytes());
    IdentityKey::from_seed(seed)
}

pub(crate) fn word(
    node: usize,
    counter: u64,
    visibility: Visibility,
    addresses: &[SocketAddr],
) -> SignedReach {
    let reach = Reach {
        counter,
        visibility,
        addresses: addresses.to_vec(),
    };
    sign_reach(&key(node), TEAM, reach)
}

impl World {
    /// `count` open machines of as many people, who know each other and have not begun.
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        let mut world = Self {
            now_ms: 1_000,
            nodes: Vec::new(),
            ids: BTreeMap::new(),
            listeners: BTreeMap::new(),
            cut: BTreeSet::new(),
            has_relay: true,
            relays: BTreeSet::new(),
            lost_percent: 0,
            slowness: 1,
            until_ms: u64::MAX,
            is_logging: true,
            sessions: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            events: BTreeMap::new(),
            events_made: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            seed,
        };
        for node in 0..count {
            let key = key(node);
            let id = key.peer();
            let own = Own {
                key,
                team: TEAM,
                team_name: "acme".to_owned(),
                agent: "test".to_owned(),
            };
            let settings = Settings::default();
            world.ids.insert(id, node);
            world.listeners.insert(address(node), node);
            let seed = seed * 1_000 + node as u64;
            world.nodes.push(Node {
                links: Links::new(world.now(), own, settings, seed),
                id,
                person: format!("person {node}"),
                settings,
                word: word(node, 1, Visibility::Open, &[address(node)]),
                table: BTreeMap::new(),
                is_control_up: true,
                log: Vec::new(),
                up: BTreeMap::new(),
                gaps: 0,
                next_link: 1,
                due_ms: None,
            });
        }
        world
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            wall_ms: 1_800_000_000_000 + self.now_ms,
        }
    }

    pub(crate) fn id(&self, node: usize) -> PeerId {
        self.nodes[node].id
    }

    /// What everybody knows of a machine at first.
    pub(crate) fn known(&self, node: usize) -> Known {
        let node = &self.nodes[node];
        Known {
            peer: node.id,
            person: node.person.clone(),
            addresses: node.word.reach.dialable(Locality::Network),
            reach: node.word.reach.clone(),
            is_online: None,
            is_relay: self.relays.contains(&self.ids[&node.id]),
        }
    }

    pub(crate) fn set_visibility(&mut self, node: usize, visibility: Visibility) {
        let addresses = match visibility {
            Visibility::Open => vec![address(node)],
            Visibility::Outbound | Visibility::Strict => Vec::new(),
        };
        self.nodes[node].word = word(node, 1, visibility, &addresses);
        self.nodes[node].settings.visibility = visibility;
    }

    /// Everybody begins.
    pub(crate) fn start(&mut self) {
        for node in 0..self.nodes.len() {
            self.start_one(node);
        }
    }

    /// One machine begins; the others do nothing until somebody dials them.
    pub(crate) fn start_one(&mut self, node: usize) {
        let all: Vec<_> = (0..self.nodes.len()).map(|node| self.known(node)).collect();
        self.nodes[node].table = all
            .iter()
            .map(|known| (known.peer, known.clone()))
            .collect();
        let (settings, word, is_up) = {
            let node = &self.nodes[node];
            (node.settings, node.word.clone(), node.is_control_up)
        };
        self.input(node, Input::Settings(settings));
        self.input(node, Input::Announce(word));
        self.input(node, Input::Control { is_up });
        self.input(node, Input::Peers(all));
    }

    pub(crate) fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn pair(a: usize, b: usize) -> (usize, usize) {
        (a.min(b), a.max(b))
    }

    fn delay(&mut self, a: usize, b: usize) -> u64 {
        let (a, b) = Self::pair(a, b);
        let base = 2 + (a as u64 * 31 + b as u64 * 17 + self.seed * 7) % 60;
        (base + self.random() % 10) * self.slowness
    }

    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        self.cut.insert(Self::pair(a, b));
    }

    pub(crate) fn heal(&mut self, a: usize, b: usize) {
        self.cut.remove(&Self::pair(a, b));
    }

    pub(crate) fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cut.contains(&Self::pair(a, b))
    }

    /// Both ends are told that all their links ended.
    pub(crate) fn reset(&mut self, a: usize, b: usize) {
        let between = self
            .sessions
            .iter()
            .filter(|(_, end)| Self::pair(end.node, end.other) == Self::pair(a, b));
        let ends: Vec<_> = between.map(|(key, _)| *key).collect();
        for (node, link) in ends {
            self.sessions.remove(&(node, link));
            let detail = "reset".to_owned();
            self.input(
                node,
                Input::Closed {
                    link,
                    code: None,
                    detail,
                },
            );
        }
    }

    /// One end alone notices that a link is dead.
    pub(crate) fn lose(&mut self, node: usize, link: LinkId) {
        self.sessions.remove(&(node, link));
        let detail = "no route".to_owned();
        self.input(
            node,
            Input::Closed {
                link,
                code: None,
                detail,
            },
        );
    }

    /// A link dies, and its ends are told a moment later.
    fn tear(&mut self, end: End, link: LinkId) {
        self.sessions.remove(&(end.node, link));
        self.sessions.remove(&(end.other, end.other_link));
        for (node, link) in [(end.node, link), (end.other, end.other_link)] {
            let (code, detail) = (None, "reset".to_owned());
            self.later(self.now_ms + 1, node, Input::Closed { link, code, detail });
        }
    }

    fn later(&mut self, at_ms: u64, node: usize, input: Input) {
        self.events_made += 1;
        self.events.insert((at_ms, self.events_made), (node, input));
    }

    pub(crate) fn input(&mut self, node: usize, input: Input) {
        let now = self.now();
        self.nodes[node].links.handle(now, input);
        while let Some(output) = self.nodes[node].links.poll() {
            if self.is_logging {
                self.nodes[node].log.push((self.now_ms, output.clone()));
            }
            self.act(node, output);
        }
        self.nodes[node].due_ms = self.nodes[node].links.deadline();
    }

    fn act(&mut self, node: usize, output: Output) {
        match output {
            Output::Dial { peer, addresses } => self.dial(node, peer, &addresses),
            Output::Circuit { peer, via } => self.circuit(node, peer, via),
            Output::Close { link, code, detail } => self.close(node, link, code, detail),
            Output::Send { link, message } => self.send(node, link, message),
            Output::Up {
                link, peer, way, ..
            } => {
                self.nodes[node].up.insert(peer, (link, way));
            }
            Output::Down { link, peer, .. } => {
                let this = &mut self.nodes[node];
                if this.up.get(&peer).is_some_and(|(up, _)| *up == link) {
                    this.up.remove(&peer);
                    this.gaps += 1;
                }
            }
            Output::Learned(word) => {
                let this = &mut self.nodes[node];
                let known = this.table.get_mut(&word.peer).expect("a member");
                assert!(known.reach.counter < word.reach.counter, "learned once");
                known.addresses = word.reach.dialable(Locality::Network);
                known.reach = word.reach;
                let known = known.clone();
                let now_ms = self.now_ms;
                self.later(now_ms, node, Input::Peer(known));
            }
            Output::Ask(_) | Output::Heads { .. } | Output::Ready(_) | Output::Rtt { .. } => {}
        }
    }

    fn dial(&mut self, node: usize, peer: PeerId, addresses: &[SocketAddr]) {
        assert!((1..=8).contains(&addresses.len()));
        let answers = |address: &&SocketAddr| {
            (self.listeners.get(address))
                .is_some_and(|there| self.nodes[*there].id == peer && !self.is_cut(node, *there))
        };
        let winner = addresses.iter().find(answers).copied();
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
        match winner {
            Some(address) => self.connect(node, peer, Some(address), attempts),
            None => {
                let result = Err("no address answered".to_owned());
                let input = Input::Dialed {
                    peer,
                    result,
                    attempts,
                };
                self.later(self.now_ms + DIAL_TIMEOUT_MS, node, input);
            }
        }
    }

    fn circuit(&mut self, node: usize, peer: PeerId, via: Option<LinkId>) {
        let there = self.ids.get(&peer).copied();
        let works = match via {
            None => {
                assert!(self.nodes[node].is_control_up, "the Mothership is away");
                there.is_some_and(|there| self.nodes[there].is_control_up) && self.has_relay
            }
            Some(link) => {
                let relay = self.sessions[&(node, link)].other;
                assert!(self.relays.contains(&relay), "a device that does not relay");
                let way = self.nodes[relay].up.get(&peer);
                way.is_some_and(|(_, way)| way.is_direct())
            }
        };
        if works {
            self.connect(node, peer, None, Vec::new());
        } else {
            let result = Err("no circuit".to_owned());
            let input = Input::Dialed {
                peer,
                result,
                attempts: Vec::new(),
            };
            self.later(self.now_ms + 50, node, input);
        }
    }

    /// A session from `node` to `peer`: the other end has it first.
    fn connect(
        &mut self,
        node: usize,
        peer: PeerId,
        at: Option<SocketAddr>,
        attempts: Vec<Attempt>,
    ) {
        let there = self.ids[&peer];
        let (here_ms, there_ms) = (self.delay(node, there), self.delay(node, there));
        let link = self.new_link(node);
        let other_link = self.new_link(there);
        self.sessions.insert(
            (node, link),
            End {
                node,
                other: there,
                other_link,
            },
        );
        self.sessions.insert(
            (there, other_link),
            End {
                node: there,
                other: node,
                other_link: link,
            },
        );
        let mut exporter = [0; 32];
        exporter[..8].copy_from_slice(&self.random().to_be_bytes());
        let accepted = Input::Accepted {
            link: other_link,
            peer: self.nodes[node].id,
            exporter,
            remote: at.map(|_| SocketAddr::from(([10, 9, 9, 9], 40_000))),
            until_ms: self.until_ms,
        };
        let arrived = Arrived {
            link,
            exporter,
            address: at,
            until_ms: self.until_ms,
        };
        let dialed = Input::Dialed {
            peer,
            result: Ok(arrived),
            attempts,
        };
        let accepted_ms = self.now_ms + there_ms;
        self.arrivals.insert((there, other_link), accepted_ms);
        self.later(accepted_ms, there, accepted);
        self.later(accepted_ms + here_ms, node, dialed);
        self.arrivals.insert((node, link), accepted_ms + here_ms);
    }

    fn new_link(&mut self, node: usize) -> LinkId {
        let node = &mut self.nodes[node];
        node.next_link += 1;
        LinkId(node.next_link)
    }

    /// When something sent now arrives, after everything sent before on the same link.
    fn arrival_ms(&mut self, end: End) -> u64 {
        let at_ms = self.now_ms + self.delay(end.node, end.other);
        let last_ms = self
            .arrivals
            .entry((end.other, end.other_link))
            .or_default();
        *last_ms = at_ms.max(*last_ms);
        *last_ms
    }

    fn send(&mut self, node: usize, link: LinkId, message: Message) {
        let Some(end) = self.sessions.get(&(node, link)).copied() else {
            return;
        };
        let is_lost =
            matches!(message, Message::Reach(_)) && self.random() % 100 < self.lost_percent;
        if is_lost {
            return self.tear(end, link);
        }
        if self.is_cut(node, end.other) {
            return;
        }
        let at_ms = self.arrival_ms(end);
        let input = Input::Received {
            link: end.other_link,
            message,
        };
        self.later(at_ms, end.other, input);
    }

    fn close(&mut self, node: usize, link: LinkId, code: Code, detail: String) {
        let Some(end) = self.sessions.remove(&(node, link)) else {
            return;
        };
        if self.is_cut(node, end.other) {
            return;
        }
        let at_ms = self.arrival_ms(end);
        let input = Input::Closed {
            link: end.other_link,
            code: Some(code),
            detail,
        };
        self.later(at_ms, end.other, input);
    }

    /// Lets the world go on until that moment.
    pub(crate) fn run_to(&mut self, end_ms: u64) {
        loop {
            let event_ms = self.events.keys().next().map(|(at_ms, _)| *at_ms);
            let due = self
                .nodes
                .iter()
                .enumerate()
                .filter_map(|(i, node)| Some((node.due_ms?, i)))
                .min();
            let due_ms = due.map(|(at_ms, _)| at_ms);
            let Some(next_ms) = [event_ms, due_ms]
                .into_iter()
                .flatten()
                .min()
                .filter(|at_ms| *at_ms <= end_ms)
            else {
                break;
            };
            self.now_ms = self.now_ms.max(next_ms);
            if event_ms == Some(next_ms) {
                let (_, (node, input)) = self.events.pop_first().unwrap();
                if let Input::Closed { link, .. } = &input {
                    self.sessions.remove(&(node, *link));
                }
                self.input(node, input);
            } else if let Some((at_ms, node)) = due {
                self.input(node, Input::Tick);
                let due_ms = self.nodes[node].due_ms;
                assert!(
                    due_ms != Some(at_ms) || at_ms < self.now_ms || due_ms > Some(self.now_ms),
                    "a tick does what is due at {at_ms}: {due_ms:?}"
                );
            }
        }
        self.now_ms = end_ms;
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        self.run_to(self.now_ms + ms);
    }

    /// The way of the link from `a` to `b`, if one is up.
    pub(crate) fn way(&self, a: usize, b: usize) -> Option<Way> {
        self.nodes[a].up.get(&self.id(b)).map(|(_, way)| *way)
    }

    /// Whether `a` and `b` have one link, the same at both ends.
    pub(crate) fn is_linked(&self, a: usize, b: usize) -> bool {
        let (Some((here, _)), Some((there, _))) = (
            self.nodes[a].up.get(&self.id(b)),
            self.nodes[b].up.get(&self.id(a)),
        ) else {
            return false;
        };
        self.sessions
            .get(&(a, *here))
            .is_some_and(|end| end.other == b && end.other_link == *there)
    }

    /// Sessions that exist between two, by both ends.
    pub(crate) fn sessions(&self, a: usize, b: usize) -> usize {
        self.sessions
            .values()
            .filter(|end| end.node == a && end.other == b)
            .count()
    }

    pub(crate) fn degree(&self, node: usize) -> usize {
        self.nodes[node].up.len()
    }

    /// Whether every machine reaches every other one over links.
    pub(crate) fn is_connected(&self) -> bool {
        let mut seen = BTreeSet::from([0]);
        let mut open = vec![0];
        while let Some(node) = open.pop() {
            for peer in self.nodes[node].up.keys() {
                if seen.insert(self.ids[peer]) {
                    open.push(self.ids[peer]);
                }
            }
        }
        seen.len() == self.nodes.len()
    }

    /// Moments at which `node` dialled `peer`, by whatever way.
    pub(crate) fn dials(&self, node: usize, peer: usize) -> Vec<u64> {
        let whom = self.id(peer);
        let is_dial = |output: &Output| match output {
            Output::Dial { peer, .. } | Output::Circuit { peer, .. } => *peer == whom,
            _ => false,
        };
        let log = self.nodes[node].log.iter();
        log.filter(|(_, output)| is_dial(output))
            .map(|(at_ms, _)| *at_ms)
            .collect()
    }
}
