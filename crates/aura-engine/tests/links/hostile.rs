//! What others may try.

use std::collections::BTreeMap;

use aura_engine::{
    Now,
    peer::links::{
        Arrived, Attempt, Input, Known, LinkId, Links, Mesh, Output, Own, PENDING_MAX, Settings,
    },
};
use aura_proto::{
    Code, LogId, PeerId,
    limits::AUTH_MS_MAX,
    message::{
        Auth, Heartbeat, Hello, Message, Refusal, VERSION_MAX, VERSION_MIN, Welcome, feature,
    },
    reach::{Reach, Visibility},
};
use aura_trust::{auth_proof, proof::Side};

use crate::world::{TEAM, World, address, key, word};

const EXPORTER: [u8; 32] = [9; 32];

fn now(mono_ms: u64) -> Now {
    Now {
        mono_ms,
        wall_ms: 1_800_000_000_000 + mono_ms,
    }
}

fn own(node: usize) -> Own {
    Own {
        key: key(node),
        team: TEAM,
        team_name: "acme".to_owned(),
        agent: "test".to_owned(),
    }
}

fn known(node: usize, addresses: &[std::net::SocketAddr]) -> Known {
    Known {
        peer: key(node).peer(),
        person: format!("person {node}"),
        reach: Reach {
            counter: 1,
            visibility: Visibility::Open,
            addresses: addresses.to_vec(),
        },
        addresses: addresses.to_vec(),
        is_online: None,
        is_relay: false,
    }
}

fn hello() -> Message {
    Message::Hello(Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        features: feature::ALL,
        agent: "test".to_owned(),
        revocation_epoch: 0,
    })
}

fn auth(who: usize, exporter: [u8; 32], side: Side) -> Message {
    Message::Auth(Auth {
        peer: key(who).peer(),
        signature: auth_proof(&key(who), &exporter, side).to_vec(),
        reach: None,
    })
}

fn welcome() -> Message {
    Message::Welcome(Welcome {
        version: VERSION_MAX,
        features: feature::ALL,
        team: TEAM,
        team_name: "acme".to_owned(),
        time_ms: 0,
        seen_as: String::new(),
        heartbeat_ms: 15_000,
    })
}

fn drain(links: &mut Links) -> Vec<Output> {
    std::iter::from_fn(|| links.poll()).collect()
}

fn closed(outputs: &[Output]) -> Option<Code> {
    outputs.iter().find_map(|output| match output {
        Output::Close { code, .. } => Some(*code),
        _ => None,
    })
}

fn is_up(outputs: &[Output]) -> bool {
    outputs
        .iter()
        .any(|output| matches!(output, Output::Up { .. }))
}

/// A machine with one member that it does not dial, and a link that this one dialled.
fn answering() -> Links {
    let mut links = Links::new(now(0), own(0), Settings::default(), 1);
    links.handle(now(0), Input::Peers(vec![known(1, &[])]));
    links.handle(
        now(0),
        Input::Accepted {
            link: LinkId(1),
            peer: key(1).peer(),
            exporter: EXPORTER,
            remote: Some(address(1)),
            until_ms: u64::MAX,
        },
    );
    drain(&mut links);
    links
}

/// The same, with a link that the machine itself dialled.
fn dialling() -> Links {
    let mut links = Links::new(now(0), own(0), Settings::default(), 1);
    links.handle(now(0), Input::Peers(vec![known(1, &[address(1)])]));
    links.handle(now(0), Input::Want(key(1).peer()));
    assert!(
        drain(&mut links)
            .iter()
            .any(|output| matches!(output, Output::Dial { .. }))
    );
    links.handle(
        now(10),
        Input::Dialed {
            peer: key(1).peer(),
            result: Ok(Arrived {
                link: LinkId(1),
                exporter: EXPORTER,
                address: Some(address(1)),
                until_ms: u64::MAX,
            }),
            attempts: Vec::new(),
        },
    );
    drain(&mut links);
    links
}

fn hear(links: &mut Links, message: Message) -> Vec<Output> {
    links.handle(
        now(20),
        Input::Received {
            link: LinkId(1),
            message,
        },
    );
    drain(links)
}

#[test]
fn c36_a_proof_of_another_key_session_or_side_is_refused_at_both_ends() {
    let mut links = answering();
    hear(&mut links, hello());
    assert!(is_up(&hear(&mut links, auth(1, EXPORTER, Side::Dialler))));
    let mut links = dialling();
    hear(&mut links, hello());
    hear(&mut links, auth(1, EXPORTER, Side::Answerer));
    assert!(is_up(&hear(&mut links, welcome())));

    let sides = [
        (answering as fn() -> Links, Side::Dialler, Side::Answerer),
        (dialling as fn() -> Links, Side::Answerer, Side::Dialler),
    ];
    for (begin, right, wrong) in sides {
        let mut wrong_peer = auth(2, EXPORTER, right);
        if let Message::Auth(auth) = &mut wrong_peer {
            auth.peer = key(1).peer();
        }
        let proofs = [
            auth(2, EXPORTER, right),
            wrong_peer,
            auth(1, [8; 32], right),
            auth(1, EXPORTER, wrong),
        ];
        for proof in proofs {
            let mut links = begin();
            hear(&mut links, hello());
            let outputs = hear(&mut links, proof);
            assert_eq!(closed(&outputs), Some(Code::POP_FAILED));
            assert!(!is_up(&outputs));
            assert!(!is_up(&hear(&mut links, welcome())), "the link is over");
        }
    }
}

#[test]
fn nothing_is_said_out_of_turn() {
    for begin in [answering as fn() -> Links, dialling] {
        let beat = Message::Heartbeat(Heartbeat {
            nonce: 1,
            heads: Vec::new(),
        });
        for message in [
            welcome(),
            beat,
            Message::Reach(Vec::new()),
            auth(1, EXPORTER, Side::Dialler),
        ] {
            let mut links = begin();
            assert_eq!(closed(&hear(&mut links, message)), Some(Code::PROTOCOL));
        }
        let mut links = begin();
        hear(&mut links, hello());
        assert_eq!(closed(&hear(&mut links, hello())), Some(Code::PROTOCOL));
    }
    // WELCOME before the answerer has proved itself.
    let mut links = dialling();
    hear(&mut links, hello());
    assert_eq!(closed(&hear(&mut links, welcome())), Some(Code::PROTOCOL));
    // Another version, another team.
    let mut links = answering();
    let Message::Hello(mut other) = hello() else {
        unreachable!()
    };
    (other.version_min, other.version_max) = (VERSION_MAX + 1, VERSION_MAX + 1);
    assert_eq!(
        closed(&hear(&mut links, Message::Hello(other))),
        Some(Code::VERSION)
    );
}

#[test]
fn who_does_not_prove_itself_in_time_is_sent_away() {
    for mut links in [answering(), dialling()] {
        let mut outputs = Vec::new();
        while closed(&outputs).is_none() {
            let due_ms = links.deadline().unwrap();
            assert!(due_ms <= 10 + AUTH_MS_MAX);
            links.handle(now(due_ms), Input::Tick);
            outputs = drain(&mut links);
        }
        assert_eq!(closed(&outputs), Some(Code::TIMEOUT));
        assert_eq!(links.links_up(), 0);
    }
}

#[test]
fn a_crowd_of_links_without_proof_and_a_direct_one_of_a_strict_peer_are_refused() {
    let accept = |links: &mut Links, id: u64, remote: Option<std::net::SocketAddr>| {
        let accepted = Input::Accepted {
            link: LinkId(id),
            peer: key(1).peer(),
            exporter: EXPORTER,
            remote,
            until_ms: u64::MAX,
        };
        links.handle(now(5), accepted);
        closed(&drain(links))
    };
    let mut links = answering();
    for id in 2..=PENDING_MAX as u64 {
        assert_eq!(accept(&mut links, id, Some(address(1))), None);
    }
    assert_eq!(accept(&mut links, 99, Some(address(1))), Some(Code::BUSY));

    let mut strict = known(1, &[]);
    strict.reach.counter = 2;
    strict.reach.visibility = Visibility::Strict;
    let mut links = answering();
    links.handle(now(4), Input::Peer(strict));
    assert_eq!(closed(&drain(&mut links)), Some(Code::FORBIDDEN));
    assert_eq!(
        accept(&mut links, 2, Some(address(1))),
        Some(Code::FORBIDDEN)
    );
    assert_eq!(accept(&mut links, 3, None), None);
}

#[test]
fn c58_the_second_device_of_a_person_goes_before_the_only_one_of_another() {
    for seed in 0..20 {
        let settings = Settings {
            mesh: Mesh::new(1, 2, 3).unwrap(),
            ..Settings::default()
        };
        let mut links = Links::new(now(0), own(0), settings, seed);
        let mut all: Vec<_> = (1..=4).map(|node| known(node, &[])).collect();
        all[1].person = all[0].person.clone();
        links.handle(now(0), Input::Peers(all));
        let mut outputs = Vec::new();
        for who in 1..=4 {
            let link = LinkId(who as u64);
            let accepted = Input::Accepted {
                link,
                peer: key(who).peer(),
                exporter: EXPORTER,
                remote: Some(address(who)),
                until_ms: u64::MAX,
            };
            links.handle(now(0), accepted);
            for message in [hello(), auth(who, EXPORTER, Side::Dialler)] {
                links.handle(now(0), Input::Received { link, message });
            }
            outputs.extend(drain(&mut links));
        }
        assert_eq!(closed(&outputs), Some(Code::BYE));
        assert_eq!(links.links_up(), 3);
        let rest = [3, 4].map(|who| links.link_to(key(who).peer()));
        assert_eq!(rest, [Some(LinkId(3)), Some(LinkId(4))], "seed {seed}");
    }
}

#[test]
fn who_has_no_room_is_left_alone_for_a_while() {
    let mut links = dialling();
    hear(&mut links, hello());
    hear(&mut links, auth(1, EXPORTER, Side::Answerer));
    assert!(is_up(&hear(&mut links, welcome())));
    let ended = Input::Closed {
        link: LinkId(1),
        code: Some(Code::BYE),
        detail: String::new(),
    };
    links.handle(now(100_000), ended);
    let outputs = drain(&mut links);
    assert!(matches!(outputs[..], [Output::Down { .. }]), "{outputs:?}");
    assert!(
        links.rows(now(100_000))[0].score_ms < 500,
        "that is no failure"
    );
    let mut now_ms = 100_000;
    while now_ms < 200_000 {
        now_ms = links.deadline().unwrap_or(200_000).max(now_ms + 1);
        links.handle(now(now_ms), Input::Tick);
        if drain(&mut links)
            .iter()
            .any(|output| matches!(output, Output::Dial { .. }))
        {
            break;
        }
    }
    // There is nobody else, so it is asked again, though not at once.
    assert!((124_000..=137_000).contains(&now_ms), "{now_ms}");
}

#[test]
fn a_removed_member_is_cut_off_and_refused() {
    let mut world = World::new(3, 1);
    world.start();
    world.run_for(10_000);
    assert!(world.is_linked(0, 1));
    let rest = vec![world.known(0), world.known(2)];
    let before = world.nodes[0].log.len();
    world.input(0, Input::Peers(rest));
    assert_eq!(world.degree(0), 1);
    let outputs: Vec<_> = world.nodes[0].log[before..]
        .iter()
        .map(|(_, output)| output.clone())
        .collect();
    assert_eq!(closed(&outputs), Some(Code::REVOKED));
    let removed_ms = world.now_ms;
    world.run_for(200_000);
    assert!(!world.nodes[0].up.contains_key(&world.id(1)));
    assert!(world.dials(0, 1).iter().all(|at_ms| *at_ms <= removed_ms));
    let refused = world.nodes[0].log.iter().any(|(_, output)| {
        matches!(
            output,
            Output::Close {
                code: Code::UNKNOWN_PEER,
                ..
            }
        )
    });
    assert!(refused, "it tried, and was refused");
    // A dial that ends after the removal leads to nothing.
    let arrived = Arrived {
        link: LinkId(9_999),
        exporter: EXPORTER,
        address: Some(address(1)),
        until_ms: u64::MAX,
    };
    let peer = world.id(1);
    world.input(
        0,
        Input::Dialed {
            peer,
            result: Ok(arrived),
            attempts: Vec::new(),
        },
    );
    let last = world.nodes[0].log.last().unwrap().1.clone();
    assert_eq!(closed(&[last]), Some(Code::REVOKED));
}

#[test]
fn case_105_a_victims_address_is_dialled_once_in_ten_minutes_whatever_is_announced() {
    for seed in 0..10 {
        let mut world = World::new(2, seed);
        let victim = address(250);
        world.start_one(0);
        let id = world.id(1);
        for step in 0..720_u64 {
            // Every five seconds another word, every other time with an address that answers, and links that break.
            let good = (step % 2 == 0).then_some(address(1));
            let addresses: Vec<_> = [victim].into_iter().chain(good).collect();
            let mut known = world.known(1);
            known.reach.counter = 2 + step;
            known.reach.addresses.clone_from(&addresses);
            known.addresses = addresses;
            world.input(0, Input::Peer(known));
            world.input(0, Input::Want(id));
            world.run_for(5_000);
            world.reset(0, 1);
        }
        let is_knock = |output: &Output| matches!(output, Output::Dial { addresses, .. } if addresses.contains(&victim));
        let log = world.nodes[0].log.iter();
        let knocks: Vec<_> = log
            .filter(|(_, output)| is_knock(output))
            .map(|(at_ms, _)| *at_ms)
            .collect();
        assert!((2..=7).contains(&knocks.len()), "an hour: {knocks:?}");
        assert!(knocks.windows(2).all(|pair| 600_000 <= pair[1] - pair[0]));
    }
}

#[test]
fn case_105_a_peer_that_moves_all_the_time_is_dialled_once_in_a_second() {
    let mut links = Links::new(now(0), own(0), Settings::default(), 1);
    let mut dials = 0;
    for step in 0..200 {
        let mut moved = known(1, &[address(1_000 + step)]);
        moved.reach.counter = step as u64 + 1;
        let now = now(step as u64 * 100);
        links.handle(now, Input::Peer(moved));
        links.handle(now, Input::Want(key(1).peer()));
        for output in drain(&mut links) {
            if let Output::Dial { peer, .. } = output {
                dials += 1;
                let failed = Input::Dialed {
                    peer,
                    result: Err("timeout".to_owned()),
                    attempts: Vec::new(),
                };
                links.handle(now, failed);
            }
        }
    }
    assert!((15..=21).contains(&dials), "{dials} in twenty seconds");
}

#[test]
fn case_105_all_peers_share_one_budget_of_dialled_addresses() {
    let mut links = Links::new(now(0), own(0), Settings::default(), 1);
    let all = (1..=100).map(|node| {
        let addresses: Vec<_> = (0..20).map(|i| address(node * 100 + i)).collect();
        known(node, &addresses)
    });
    links.handle(now(0), Input::Peers(all.collect()));
    for node in 1..=100 {
        links.handle(now(0), Input::Want(key(node).peer()));
    }
    let mut dialled = Vec::new();
    let mut now_ms = 0;
    while now_ms < 50_000 {
        for output in drain(&mut links) {
            if let Output::Dial { peer, addresses } = output {
                assert!(addresses.len() <= 8);
                dialled.push((now_ms, addresses.len()));
                let result = Err("timeout".to_owned());
                links.handle(
                    now(now_ms),
                    Input::Dialed {
                        peer,
                        result,
                        attempts: Vec::new(),
                    },
                );
            }
        }
        let due_ms = links.deadline().unwrap();
        assert!(now_ms <= due_ms, "no deadline in the past");
        now_ms = due_ms.max(now_ms + 1);
        links.handle(now(now_ms), Input::Tick);
    }
    for (from_ms, _) in &dialled {
        let in_span = dialled
            .iter()
            .filter(|(at_ms, _)| (*from_ms..=from_ms + 1_000).contains(at_ms));
        assert!(in_span.map(|(_, count)| count).sum::<usize>() <= 26);
    }
    let all: usize = dialled.iter().map(|(_, count)| count).sum();
    assert!((400..=516).contains(&all), "{all} in fifty seconds");
}

struct Storm {
    random: u64,
}

impl Storm {
    fn next(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn node(&mut self) -> usize {
        usize::try_from(self.next(6)).unwrap()
    }

    fn peer(&mut self) -> PeerId {
        key(self.node()).peer()
    }

    fn message(&mut self) -> Message {
        let beat = |nonce| Heartbeat {
            nonce,
            heads: vec![(LogId([1; 16]), u64::MAX, 0, aura_proto::Digest([0; 32]))],
        };
        match self.next(12) {
            0 | 1 => hello(),
            2 | 3 => auth(self.node(), EXPORTER, Side::Dialler),
            4 | 5 => auth(self.node(), EXPORTER, Side::Answerer),
            6 => welcome(),
            7 => Message::Heartbeat(beat(self.next(u64::MAX))),
            8 => Message::HeartbeatAck(beat(self.next(10))),
            9 => Message::Error(Refusal {
                code: Code(self.next(200) as u16),
                detail: "\u{1b}".to_owned(),
            }),
            _ => {
                let words = (0..self.next(70)).map(|_| {
                    let counter = [0, 1, 2, 3, u64::MAX][self.next(5) as usize];
                    let visibility = [Visibility::Open, Visibility::Outbound, Visibility::Strict]
                        [self.next(3) as usize];
                    let addresses = vec![address(3); usize::from(visibility == Visibility::Open)];
                    let mut said = word(self.node(), counter, visibility, &addresses);
                    if self.next(20) == 0 {
                        said.signature.truncate(3);
                    }
                    said
                });
                Message::Reach(words.collect())
            }
        }
    }

    /// A link with everything that makes it one.
    fn link(&mut self, fresh: &mut u64) -> Vec<Input> {
        *fresh += 1;
        let (link, who) = (LinkId(*fresh), 1 + self.node() % 5);
        let (peer, at) = (key(who).peer(), (self.next(2) == 0).then(|| address(who)));
        let (begun, side) = if self.next(2) == 0 {
            let arrived = Arrived {
                link,
                exporter: EXPORTER,
                address: at,
                until_ms: u64::MAX,
            };
            let result = Ok(arrived);
            let attempts = Vec::new();
            let dialed = Input::Dialed {
                peer,
                result,
                attempts,
            };
            (dialed, Side::Answerer)
        } else {
            let accepted = Input::Accepted {
                link,
                peer,
                exporter: EXPORTER,
                remote: at,
                until_ms: u64::MAX,
            };
            (accepted, Side::Dialler)
        };
        let mut inputs = vec![begun];
        let mut messages = vec![hello(), auth(who, EXPORTER, side)];
        if side == Side::Answerer {
            messages.push(welcome());
        }
        inputs.extend(
            messages
                .into_iter()
                .map(|message| Input::Received { link, message }),
        );
        inputs
    }

    fn input(&mut self, fresh: &mut u64) -> Input {
        let link = LinkId(fresh.saturating_sub(self.next(6)));
        match self.next(22) {
            0 => Input::Peers(
                (0..self.next(6))
                    .map(|_| known(self.node(), &[address(3), address(4)]))
                    .collect(),
            ),
            1 => Input::Peer(known(self.node(), &[address(4)])),
            2 => Input::Control {
                is_up: self.next(2) == 0,
            },
            3..=5 => {
                *fresh += 1;
                let remote = (self.next(3) != 0).then(|| address(1));
                Input::Accepted {
                    link: LinkId(*fresh),
                    peer: self.peer(),
                    exporter: EXPORTER,
                    remote,
                    until_ms: u64::MAX,
                }
            }
            6..=8 => {
                *fresh += 1;
                let address_ = (self.next(3) != 0).then(|| address(3));
                let arrived = Arrived {
                    link: LinkId(*fresh),
                    exporter: EXPORTER,
                    address: address_,
                    until_ms: u64::MAX,
                };
                let result = if self.next(2) == 0 {
                    Ok(arrived)
                } else {
                    Err(String::new())
                };
                let attempts = (0..self.next(20)).map(|i| Attempt {
                    address: address(i as usize),
                    result: String::new(),
                    ms: i,
                });
                Input::Dialed {
                    peer: self.peer(),
                    result,
                    attempts: attempts.collect(),
                }
            }
            9 => Input::Closed {
                link,
                code: Some(Code(self.next(40) as u16)),
                detail: String::new(),
            },
            10 => Input::Reconnect((self.next(2) == 0).then(|| self.peer())),
            11 => Input::Want(self.peer()),
            12 if self.next(4) == 0 => Input::Settings(Settings {
                direct: self.next(4) != 0,
                visibility: [Visibility::Open, Visibility::Outbound, Visibility::Strict]
                    [self.next(3) as usize],
                mesh: Mesh::new(1, 2, 3).unwrap(),
                heartbeat_ms: [0, 1_000, 20_000, u64::MAX][self.next(4) as usize],
            }),
            12 => Input::Announce(word(0, self.next(9), Visibility::Open, &[address(0)])),
            13 => Input::Tick,
            _ => Input::Received {
                link,
                message: self.message(),
            },
        }
    }
}

#[test]
fn a_storm_of_anything_neither_panics_nor_breaks_the_order_of_up_and_down() {
    for seed in 1..=40_u64 {
        let mut storm = Storm {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        };
        let mut links = Links::new(now(0), own(0), Settings::default(), seed);
        let (mut now_ms, mut fresh) = (0, 0);
        let mut up: BTreeMap<LinkId, PeerId> = BTreeMap::new();
        let mut ups = 0;
        for _ in 0..1_500 {
            now_ms += storm.next(2_000);
            let inputs = match storm.next(4) {
                0 => storm.link(&mut fresh),
                _ => vec![storm.input(&mut fresh)],
            };
            for input in inputs {
                links.handle(now(now_ms), input);
            }
            for output in drain(&mut links) {
                match output {
                    Output::Up { link, peer, .. } => {
                        assert!(up.insert(link, peer).is_none());
                        ups += 1;
                    }
                    Output::Down { link, peer, .. } => assert_eq!(up.remove(&link), Some(peer)),
                    _ => {}
                }
            }
            assert_eq!(up.len(), links.links_up(), "one link of each peer");
            for (link, peer) in &up {
                assert_eq!(links.link_to(*peer), Some(*link));
            }
            links.rows(now(now_ms));
            if let Some(due_ms) = links.deadline().filter(|due_ms| *due_ms <= now_ms) {
                links.handle(now(now_ms), Input::Tick);
                for output in drain(&mut links) {
                    match output {
                        Output::Up { link, peer, .. } => assert!(up.insert(link, peer).is_none()),
                        Output::Down { link, .. } => assert!(up.remove(&link).is_some()),
                        _ => {}
                    }
                }
                assert!(
                    links.deadline().is_none_or(|next_ms| now_ms < next_ms),
                    "what is due at {due_ms} is done"
                );
            }
        }
        assert!(20 < ups, "seed {seed}: links come up");
    }
}
