//! Messages that travel over other peers: how far, how often, and what the peers between can do.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::VecDeque;

use aura_engine::{
    Now,
    peer::{
        links::LinkId,
        routes::{Input, Output, Routes},
    },
};
use aura_proto::{
    PeerId, TeamId,
    limits::{ROUTED_HOPS_MAX, ROUTED_PER_MIN_MAX, ROUTED_SKEW_MS_MAX},
    message::{Message, Routed, RoutedBody},
};
use aura_trust::{IdentityKey, Letter, ReceiveKey, open_routed, seal_routed};

const TEAM: TeamId = TeamId([1; 16]);
const WALL_MS: u64 = 1_800_000_000_000;

struct Node {
    key: IdentityKey,
    receive: ReceiveKey,
    routes: Routes,
    delivered: Vec<Routed>,
}

/// Peers, and links between some of them; link `100 a + b` leads from `a` to `b`.
struct World {
    nodes: Vec<Node>,
    now_ms: u64,
    under_way: VecDeque<(usize, usize, Routed)>,
    /// Messages that went over a link.
    carried: usize,
    /// Links over which something came that nobody signed.
    forged: Vec<LinkId>,
}

impl World {
    fn new(count: usize, links: &[(usize, usize)]) -> Self {
        let node = |n: usize| {
            let seed = [u8::try_from(n + 1).unwrap(); 32];
            let key = IdentityKey::from_seed(seed);
            Node {
                routes: Routes::new(TEAM, key.peer()),
                key,
                receive: ReceiveKey::from_seed(seed),
                delivered: Vec::new(),
            }
        };
        let mut world = Self {
            nodes: (0..count).map(node).collect(),
            now_ms: 0,
            under_way: VecDeque::new(),
            carried: 0,
            forged: Vec::new(),
        };
        for (a, b) in links {
            world.link(*a, *b);
            world.link(*b, *a);
        }
        world
    }

    fn link(&mut self, from: usize, to: usize) {
        let (peer, link) = (self.id(to), Self::number(from, to));
        self.tell(from, Input::Up { peer, link });
    }

    fn number(from: usize, to: usize) -> LinkId {
        LinkId((100 * from + to) as u64)
    }

    fn id(&self, node: usize) -> PeerId {
        self.nodes[node].key.peer()
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            wall_ms: WALL_MS + self.now_ms,
        }
    }

    fn tell(&mut self, node: usize, input: Input) {
        let now = self.now();
        self.nodes[node].routes.handle(now, input);
        while let Some(output) = self.nodes[node].routes.poll() {
            match output {
                Output::Forged(link) => self.forged.push(link),
                Output::Deliver(routed) => self.nodes[node].delivered.push(routed),
                Output::Send { link, message } => {
                    let Message::Routed(routed) = message else {
                        panic!("{message:?}");
                    };
                    let to = usize::try_from(link.0).unwrap() % 100;
                    self.under_way.push_back((node, to, routed));
                }
            }
        }
    }

    fn run(&mut self) {
        while let Some((from, to, routed)) = self.under_way.pop_front() {
            self.carried += 1;
            let from = Self::number(to, from);
            let input = Input::Received {
                from,
                routed,
                is_member: true,
            };
            self.tell(to, input);
        }
    }

    /// A letter of `from` to `to`, the `nth` one.
    fn letter(&self, (from, to): (usize, usize), nth: u64, body: &RoutedBody) -> Routed {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&nth.to_be_bytes());
        let letter = Letter {
            team: TEAM,
            id,
            to: self.id(to),
            receive_key: &self.nodes[to].receive.public(),
            time_ms: self.now().wall_ms,
            body,
        };
        seal_routed(&self.nodes[from].key, &letter, [9; 32]).unwrap()
    }

    fn probe(&mut self, (from, to): (usize, usize), nth: u64, hops: u8) {
        let mut routed = self.letter((from, to), nth, &RoutedBody::Probe);
        routed.hops_left = hops;
        self.tell(from, Input::Send(routed));
        self.run();
    }
}

/// What a hostile neighbour makes of a message.
type Change = (&'static str, fn(&mut Routed));

const LINE: [(usize, usize); 4] = [(0, 1), (1, 2), (2, 3), (3, 4)];

#[test]
fn c33_along_a_line_of_five_a_message_arrives_once_and_its_answer_returns_by_the_same_peers() {
    let mut world = World::new(5, &LINE);
    let hops = u8::try_from(ROUTED_HOPS_MAX).unwrap();
    world.probe((0, 4), 1, hops);
    let [arrived] = &world.nodes[4].delivered[..] else {
        panic!("{:?}", world.nodes[4].delivered);
    };
    let arrived = arrived.clone();
    assert_eq!(arrived.passed, [world.id(1), world.id(2), world.id(3)]);
    let receive = &world.nodes[4].receive;
    assert_eq!(
        open_routed(receive, TEAM, &arrived),
        Some(RoutedBody::Probe)
    );
    for between in 1..4 {
        let receive = &world.nodes[between].receive;
        assert_eq!(open_routed(receive, TEAM, &arrived), None);
    }
    let body = RoutedBody::Answer {
        id: arrived.id,
        passed: arrived.passed.clone(),
    };
    let mut answer = world.letter((4, 0), 2, &body);
    answer.way = arrived.passed.iter().rev().copied().collect();
    answer.hops_left = 1;
    world.carried = 0;
    world.tell(4, Input::Send(answer));
    world.run();
    let [answer] = &world.nodes[0].delivered[..] else {
        panic!("{:?}", world.nodes[0].delivered);
    };
    assert_eq!(
        open_routed(&world.nodes[0].receive, TEAM, answer),
        Some(body)
    );
    assert_eq!(world.carried, 4, "nobody else was bothered");
}

#[test]
fn c33_over_more_links_than_it_may_a_message_does_not_arrive() {
    for (hops, arrives) in [(1, false), (3, false), (4, true), (5, true)] {
        let mut world = World::new(5, &LINE);
        world.probe((0, 4), 1, hops);
        assert_eq!(!world.nodes[4].delivered.is_empty(), arrives, "{hops} hops");
    }
    // Whoever claims more than anybody may is not passed on at all.
    let mut world = World::new(5, &LINE);
    world.probe((0, 4), 1, 200);
    assert!(world.nodes[4].delivered.is_empty());
    assert_eq!(world.carried, 1);
}

#[test]
fn in_a_mesh_each_passes_a_message_on_once() {
    let count = 8;
    let all = (0..count).flat_map(|a| (0..a).map(move |b| (a, b)));
    let apart: Vec<_> = all.filter(|pair| *pair != (7, 0)).collect();
    let mut world = World::new(count, &apart);
    world.probe((0, 7), 1, 5);
    assert_eq!(world.nodes[7].delivered.len(), 1);
    assert!(world.carried <= 2 * 2 * apart.len(), "{}", world.carried);
    // The same once more is nothing new to anybody.
    let again = world.nodes[7].delivered[0].clone();
    world.carried = 0;
    let from = World::number(7, 3);
    world.tell(
        7,
        Input::Received {
            from,
            routed: again,
            is_member: true,
        },
    );
    world.run();
    assert_eq!((world.nodes[7].delivered.len(), world.carried), (1, 0));
}

#[test]
fn c77_what_is_forged_stale_or_of_a_stranger_goes_no_further() {
    let changes: [Change; 5] = [
        ("altered", |routed| routed.sealed[40] ^= 1),
        ("for another", |routed| routed.to = PeerId([7; 32])),
        ("old", |routed| routed.time_ms -= ROUTED_SKEW_MS_MAX + 1),
        ("from the future", |routed| {
            routed.time_ms += ROUTED_SKEW_MS_MAX + 1;
        }),
        ("with a false past", |routed| {
            routed.passed = vec![PeerId([7; 32])];
        }),
    ];
    for (name, change) in changes {
        let mut world = World::new(3, &[(0, 1), (1, 2)]);
        let mut routed = world.letter((0, 2), 1, &RoutedBody::Probe);
        routed.hops_left = 2;
        change(&mut routed);
        let from = World::number(1, 0);
        let is_member = true;
        world.tell(
            1,
            Input::Received {
                from,
                routed,
                is_member,
            },
        );
        world.run();
        assert_eq!(world.carried, 0, "{name}");
    }
    let mut world = World::new(3, &[(0, 1), (1, 2)]);
    let mut routed = world.letter((0, 2), 1, &RoutedBody::Probe);
    routed.hops_left = 2;
    for is_member in [false, true] {
        let (from, routed) = (World::number(1, 0), routed.clone());
        let input = Input::Received {
            from,
            routed,
            is_member,
        };
        world.tell(1, input);
        world.run();
        assert_eq!(world.carried, usize::from(is_member));
    }
}

#[test]
fn a_writer_is_passed_on_so_often_in_a_minute_and_others_all_the_same() {
    let mut world = World::new(3, &[(0, 1), (1, 2)]);
    let most = u64::from(ROUTED_PER_MIN_MAX);
    for nth in 0..2 * most {
        world.probe((0, 2), nth, 2);
    }
    assert_eq!(world.nodes[2].delivered.len() as u64, most);
    world.probe((2, 0), 1, 2);
    assert_eq!(world.nodes[0].delivered.len(), 1);
    world.now_ms += 60_000;
    world.probe((0, 2), 2 * most, 2);
    assert_eq!(world.nodes[2].delivered.len() as u64, most + 1);
}

#[test]
fn a_neighbour_that_forges_is_left_and_silences_nobody() {
    let mut world = World::new(4, &[(0, 1), (1, 2), (3, 1)]);
    for nth in 0..100 {
        let mut routed = world.letter((0, 2), 1_000 + nth, &RoutedBody::Probe);
        routed.sealed[40] ^= 1;
        (routed.hops_left, routed.passed) = (1, vec![world.id(3)]);
        let (from, is_member) = (World::number(1, 3), true);
        let input = Input::Received {
            from,
            routed,
            is_member,
        };
        world.tell(1, input);
    }
    assert_eq!(world.forged, [World::number(1, 3)]);
    world.probe((0, 2), 1, 2);
    assert_eq!(world.nodes[2].delivered.len(), 1);
}

#[test]
fn a_neighbour_that_is_gone_is_passed_by() {
    let mut world = World::new(4, &[(0, 1), (1, 3), (0, 2), (2, 3)]);
    world.tell(0, Input::Down(World::number(0, 1)));
    world.probe((0, 3), 1, 5);
    let passed: Vec<_> = world.nodes[3]
        .delivered
        .iter()
        .map(|one| one.passed.clone())
        .collect();
    assert_eq!(passed, [[world.id(2)]]);
}
