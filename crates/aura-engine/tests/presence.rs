//! What a hub tells whom when few or many come at once, and that it feeds one step at a time.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use aura_engine::{
    Now,
    hub::{
        Config, Hub, Input, LinkId, Output, check_push,
        record::{Admitted, Fact, Record},
    },
};
use aura_proto::{
    AgedActivity, Code, Digest, Header, Incarnation, Kind, LogId, PeerId, Reach, SignedActivity,
    SignedReach, TeamId, VersionVector, Visibility, Writer,
    entry::PROTOCOL_LEVEL,
    event::encode_push,
    message::{
        Auth, Heartbeat, Hello, Message, PeerCard, PeerEvent, PeerQuery, PeerState, RelayOpen,
        Role, Subscribe, VERSION_MAX, VERSION_MIN, feature,
    },
};
use aura_trust::{IdentityKey, auth_proof, sign_activity, sign_entry, sign_reach};

const TEAM: TeamId = TeamId([1; 16]);
const LOG: LogId = LogId([2; 16]);
const EXPORTER: [u8; 32] = [3; 32];

fn key(n: u64) -> IdentityKey {
    IdentityKey::from_seed(Digest::of(&n.to_be_bytes()).0)
}

/// A hub with so many members, and what each of them was told.
struct Room {
    hub: Hub,
    mono_ms: u64,
    /// Who is there, as each link knows it.
    known: BTreeMap<u64, BTreeMap<PeerId, PeerState>>,
    /// Messages about peers that the hub made.
    made: usize,
    feeds: Vec<(u64, u64, u64)>,
    /// What each link was told of where others are.
    words: Vec<(u64, SignedReach)>,
    /// What each link was told of circuits.
    circuits: Vec<(u64, Message)>,
    /// Who was told of whose edits, and how long ago these were said.
    edits: Vec<(u64, PeerId, u64)>,
    /// Messages about edits that the hub made.
    made_of_edits: usize,
    /// Links that were closed, and why.
    closed: Vec<(u64, Code)>,
}

impl Room {
    fn new(members: u64) -> Self {
        let mut hub = Hub::new(Config {
            team: TEAM,
            team_name: "acme".to_owned(),
            key: key(0),
            ca: Vec::new(),
            heartbeat_ms: 30_000,
            offline_after_ms: 60_000,
            leaf_ttl_s: 3_600,
            relay: aura_engine::relay::Limits::default(),
        });
        let founded = Fact::Founded {
            team_name: "acme".to_owned(),
            at_ms: 1,
        };
        let joined = (1..=members).map(|n| Fact::Joined {
            jti: format!("token-{n}"),
            member: Admitted {
                peer: key(n).peer(),
                name: format!("peer-{n}"),
                role: Role::Member,
                receive_key: [0; 32],
                receive_key_signature: Vec::new(),
                certificate: Vec::new(),
                not_after_s: u64::MAX,
                founder: n == 1,
            },
            uses: 1,
            at_ms: 1,
        });
        for (lsn, fact) in (1..).zip([founded].into_iter().chain(joined)) {
            hub.replay(lsn, &Record::Fact(fact).encode()).unwrap();
        }
        let mut room = Self {
            hub,
            mono_ms: 1_000,
            known: BTreeMap::new(),
            made: 0,
            feeds: Vec::new(),
            words: Vec::new(),
            circuits: Vec::new(),
            edits: Vec::new(),
            made_of_edits: 0,
            closed: Vec::new(),
        };
        room.hub.start(room.now(), 1);
        room
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.mono_ms,
            wall_ms: self.mono_ms,
        }
    }

    fn tell(&mut self, input: Input) {
        self.hub.handle(self.now(), input);
        while let Some(output) = self.hub.poll() {
            match output {
                Output::Append { batch, records, .. } => self.hub.handle(
                    self.now(),
                    Input::Stored {
                        batch,
                        first_lsn: 1_000 + batch,
                        count: records.len(),
                    },
                ),
                Output::Send {
                    link,
                    message: Message::Reach(words),
                    ..
                } => self
                    .words
                    .extend(words.into_iter().map(|said| (link.0, said))),
                Output::Send {
                    link,
                    message: message @ (Message::RelayOpen(_) | Message::RelayClose(_)),
                    ..
                } => self.circuits.push((link.0, message)),
                Output::Feed { link, from, to, .. } => self.feeds.push((link.0, from, to)),
                Output::Close { link, code, .. } => self.closed.push((link.0, code)),
                Output::Tell { links, messages }
                    if matches!(messages[..], [Message::Activity(_)]) =>
                {
                    self.made_of_edits += 1;
                    for link in links {
                        messages
                            .iter()
                            .for_each(|message| self.hear(link.0, message));
                    }
                }
                Output::Tell { links, messages } => {
                    self.made += messages.len();
                    for link in links {
                        messages
                            .iter()
                            .for_each(|message| self.hear(link.0, message));
                    }
                }
                _ => {}
            }
        }
    }

    fn hear(&mut self, link: u64, message: &Message) {
        match message {
            Message::Peer(PeerEvent::Snapshot(cards)) => {
                let states = cards.iter().map(|card| (card.peer, card.state)).collect();
                assert!(self.known.insert(link, states).is_none(), "a second list");
            }
            Message::Peer(PeerEvent::State { peer, state, .. }) => {
                let known = self.known.get_mut(&link).expect("a list before any change");
                known.insert(*peer, *state);
            }
            Message::Activity(words) => {
                let row = |word: &AgedActivity| (link, word.said.writer.peer, word.age_ms);
                self.edits.extend(words.iter().map(row));
            }
            Message::Peer(PeerEvent::NetworkUpdate(said)) => self.words.push((link, said.clone())),
            other => panic!("{other:?}"),
        }
    }

    /// Member `n` comes on the link of the same number.
    fn arrive(&mut self, n: u64) {
        self.arrive_with(n, feature::ALL);
    }

    fn arrive_with(&mut self, n: u64, features: u64) {
        let (link, key) = (LinkId(n), key(n));
        self.tell(Input::Connected {
            link,
            peer: key.peer(),
            exporter: EXPORTER,
            remote: String::new(),
        });
        self.receive(
            n,
            Message::Hello(Hello {
                version_min: VERSION_MIN,
                version_max: VERSION_MAX,
                features,
                agent: String::new(),
                revocation_epoch: 0,
            }),
        );
        let signature = auth_proof(&key, &EXPORTER, aura_trust::Side::Dialler);
        self.receive(
            n,
            Message::Auth(Auth {
                peer: key.peer(),
                signature: signature.to_vec(),
                reach: None,
            }),
        );
    }

    fn receive(&mut self, n: u64, message: Message) {
        self.tell(Input::Received {
            link: LinkId(n),
            stream: 0,
            message,
        });
    }

    fn online(&self, link: u64) -> BTreeSet<PeerId> {
        let known = self.known.get(&link).into_iter().flatten();
        known
            .filter(|(_, state)| **state == PeerState::Online)
            .map(|(peer, _)| *peer)
            .collect()
    }
}

#[test]
fn whoever_comes_alone_is_told_and_told_of_at_once() {
    let mut room = Room::new(3);
    for n in 1..=3 {
        room.arrive(n);
        let here: BTreeSet<PeerId> = (1..=n).map(|n| key(n).peer()).collect();
        for link in 1..=n {
            assert_eq!(room.online(link), here, "link {link} after {n} came");
        }
    }
}

#[test]
fn a_crowd_is_told_together_and_everybody_knows_everybody() {
    let members = 200;
    let mut room = Room::new(members);
    for n in 1..=members {
        room.arrive(n);
    }
    let before = room.made;
    let deadline = room.hub.deadline().expect("something is still to be told");
    assert!(deadline <= room.mono_ms + 200, "the others wait too long");
    room.mono_ms = deadline;
    room.tell(Input::Tick);
    let everybody: BTreeSet<PeerId> = (1..=members).map(|n| key(n).peer()).collect();
    for link in 1..=members {
        assert_eq!(room.online(link), everybody, "link {link}");
    }
    // One message of each arrival for those who were there, and one list for those who were not.
    assert!(
        room.made - before <= members as usize,
        "{} messages",
        room.made
    );
}

#[test]
fn a_change_that_was_overtaken_is_not_told() {
    let mut room = Room::new(100);
    for n in 1..=99 {
        room.arrive(n);
    }
    room.mono_ms += 200;
    room.tell(Input::Tick);
    // The span's share of messages that are told at once is used up first.
    for _ in 0..20 {
        room.tell(Input::Disconnected { link: LinkId(99) });
        room.known.remove(&99);
        room.arrive(99);
    }
    let before = room.made;
    room.mono_ms += 200;
    room.tell(Input::Tick);
    assert!(room.made - before <= 2, "{} messages", room.made - before);
    assert_eq!(room.online(1), room.online(99));
}

/// A word of member `n`: somewhere, or nowhere.
fn said(n: u64, counter: u64, address: Option<&str>) -> SignedReach {
    let reach = Reach {
        counter,
        visibility: Visibility::Open,
        addresses: address
            .map(|text| text.parse().unwrap())
            .into_iter()
            .collect(),
    };
    sign_reach(&key(n), TEAM, reach)
}

#[test]
fn case_105_a_member_that_moves_or_hides_all_the_time_is_told_of_a_few_times_in_an_hour() {
    let mut room = Room::new(2);
    room.arrive(1);
    room.arrive(2);
    let told = |room: &mut Room, said: SignedReach| {
        let before = room.words.len();
        room.receive(1, Message::Reach(vec![said]));
        room.mono_ms += 1_000;
        room.tell(Input::Tick);
        let told = room.words[before..].iter().filter(|(link, _)| *link == 2);
        told.count()
    };
    let mut count = 0;
    for counter in 1..=100 {
        let address = (counter % 2 == 1).then_some("10.0.0.7:7777");
        count += told(&mut room, said(1, counter, address));
    }
    assert!((6..=7).contains(&count), "{count}");
    // Whoever was told where it is last, is told that it hides, at any time.
    let is_hidden = room.words.last().unwrap().1.reach.addresses.is_empty();
    assert!(is_hidden);
    room.mono_ms += 3_600_000;
    room.receive(
        1,
        Message::Heartbeat(Heartbeat {
            nonce: 1,
            heads: Vec::new(),
        }),
    );
    let open = told(&mut room, said(1, 101, Some("10.0.0.8:7777")));
    let hidden = told(&mut room, said(1, 102, None));
    assert_eq!((open, hidden), (1, 1));
    assert_eq!(
        told(&mut room, said(1, 103, None)),
        1,
        "a change all the same"
    );
}

// spec: peers/1.7
#[test]
fn c47_whoever_asks_about_a_member_gets_its_signed_word() {
    let mut room = Room::new(2);
    room.arrive(1);
    room.arrive(2);
    let word = said(1, 1, Some("10.0.0.7:7777"));
    room.receive(1, Message::Reach(vec![word.clone()]));
    room.words.clear();
    let peers = vec![key(1).peer(), key(2).peer()];
    room.receive(2, Message::PeerQuery(PeerQuery { peers }));
    assert_eq!(room.words, [(2, word)]);
}

/// Member 1 asks for a circuit to member 2, and what each is told.
fn circuit_to_2(room: &mut Room, stream: u32) -> Vec<(u64, bool)> {
    room.circuits.clear();
    let peer = key(2).peer();
    room.tell(Input::Received {
        link: LinkId(1),
        stream,
        message: Message::RelayOpen(RelayOpen { peer, circuit: 0 }),
    });
    let is_open = |message: &Message| matches!(message, Message::RelayOpen(_));
    let told = room.circuits.iter();
    told.map(|(link, message)| (*link, is_open(message)))
        .collect()
}

#[test]
fn c12_a_circuit_is_offered_to_whoever_takes_circuits_and_is_there() {
    let mut room = Room::new(2);
    room.arrive(1);
    assert_eq!(circuit_to_2(&mut room, 1), [(1, false)]);
    room.arrive_with(2, feature::ALL & !feature::RELAY);
    assert_eq!(circuit_to_2(&mut room, 3), [(1, false)]);
    room.tell(Input::Disconnected { link: LinkId(2) });
    room.known.remove(&2);
    room.arrive(2);
    assert_eq!(circuit_to_2(&mut room, 5), [(2, true)]);
    // With its link an offer is gone, and the asker told so.
    room.circuits.clear();
    room.tell(Input::Disconnected { link: LinkId(2) });
    assert!(matches!(&room.circuits[..], [(1, Message::RelayClose(_))]));
}

#[test]
fn a_subscriber_is_fed_one_step_at_a_time() {
    let mut room = Room::new(2);
    room.arrive(1);
    room.arrive(2);
    follow(&mut room, 2, 0);
    let mut prev = Digest::ZERO;
    for author_seq in 1..=3 {
        let header = Header {
            level: PROTOCOL_LEVEL,
            kind: Kind::PATCH,
            flags: 0,
            team: TEAM,
            log: LOG,
            writer: Writer {
                peer: key(1).peer(),
                incarnation: Incarnation(1),
            },
            author_seq,
            prev,
            lamport: author_seq,
            time_ms: 0,
            fence: 0,
            key_epoch: 1,
            body_len: 0,
            body_hash: Digest::ZERO,
        };
        let entry = sign_entry(&key(1), &header, b"body").unwrap();
        prev = entry.hash();
        let run = encode_push(LOG, std::iter::once(&entry.bytes()[..]));
        let (log, entries) = check_push(&run).unwrap();
        room.tell(Input::Pushed {
            link: LinkId(1),
            stream: 1,
            log,
            entries,
        });
    }
    assert_eq!(
        room.feeds,
        [(2, 1, 1)],
        "what came later waits for the answer"
    );
    room.tell(Input::Fed {
        link: LinkId(2),
        stream: 0,
        log: LOG,
        up_to: 1,
        has_room: true,
    });
    assert_eq!(room.feeds, [(2, 1, 1), (2, 2, 3)]);
}

#[test]
fn h07_the_list_of_500_peers_with_several_addresses_each_fits_in_64_kb() {
    let card = |n: u64| {
        let addresses = ["10.0.0.1:40000", "100.64.0.1:40000", "[fd00::1]:40000"];
        PeerCard {
            peer: key(n).peer(),
            name: format!("somebody@laptop-{n}"),
            role: Role::Member,
            receive: None,
            state: PeerState::Online,
            last_seen_ms: 1_800_000_000_000 + n,
            reach: Reach {
                counter: 1_800_000_000 + n,
                visibility: Visibility::Open,
                addresses: addresses.map(|text| text.parse().unwrap()).to_vec(),
            },
        }
    };
    let list = Message::Peer(PeerEvent::Snapshot((1..=500).map(card).collect()));
    let bytes = list.encode().1.len();
    assert!(bytes <= 64 << 10, "{bytes} bytes");
}

/// What member `n` says of its work.
fn edits(n: u64, counter: u64) -> AgedActivity {
    let unsigned = SignedActivity {
        log: LOG,
        writer: Writer {
            peer: key(n).peer(),
            incarnation: Incarnation(1),
        },
        counter,
        key_epoch: 1,
        sealed: vec![0; 40],
        signature: Vec::new(),
    };
    AgedActivity {
        said: sign_activity(&key(n), TEAM, unsigned),
        age_ms: 0,
    }
}

/// Member `n` follows the log, on this stream.
fn follow(room: &mut Room, n: u64, stream: u32) {
    room.tell(Input::Received {
        link: LinkId(n),
        stream,
        message: Message::Subscribe(Subscribe {
            log: LOG,
            epoch: 0,
            seq: 0,
            hash: Digest::ZERO,
            vector: VersionVector::default(),
            checkpoint: Vec::new(),
        }),
    });
}

/// Lets the time pass after which everything is told; answers who was told of whom.
fn told_of_edits(room: &mut Room) -> BTreeSet<(u64, PeerId)> {
    room.mono_ms += 100;
    room.tell(Input::Tick);
    let rows = std::mem::take(&mut room.edits).into_iter();
    rows.map(|(link, peer, _)| (link, peer)).collect()
}

// spec: activity/2.1
#[test]
fn who_follows_a_log_is_told_who_edits_what_and_nobody_else_is() {
    let mut room = Room::new(6);
    (1..=4).for_each(|n| room.arrive(n));
    room.arrive_with(5, feature::ALL & !feature::ACTIVITY);
    [1, 2, 3, 5].iter().for_each(|n| follow(&mut room, *n, 1));
    room.receive(1, Message::Activity(vec![edits(1, 1)]));
    room.receive(3, Message::Activity(vec![edits(3, 1)]));
    // What somebody says who does not follow the log is not kept.
    room.receive(4, Message::Activity(vec![edits(4, 1)]));
    assert_eq!(room.hub.deadline(), Some(room.mono_ms + 100));
    let of = |links: &[u64], members: &[u64]| -> BTreeSet<(u64, PeerId)> {
        let rows = links.iter();
        rows.flat_map(|link| members.iter().map(|n| (*link, key(*n).peer())))
            .collect()
    };
    assert_eq!(told_of_edits(&mut room), of(&[1, 2, 3], &[1, 3]));
    assert_eq!(room.made_of_edits, 1, "made once, however many hear it");
    // The same again is no news; who comes later is told what is known, and how old it is.
    room.receive(2, Message::Activity(vec![edits(1, 1)]));
    assert_eq!(told_of_edits(&mut room), of(&[], &[]));
    room.mono_ms += 5_000;
    follow(&mut room, 4, 1);
    let ages: BTreeSet<u64> = room.edits.iter().map(|(_, _, age_ms)| *age_ms).collect();
    assert_eq!(ages, BTreeSet::from([5_200]));
    assert_eq!(told_of_edits(&mut room), of(&[4], &[1, 3]));
    // After an hour nothing of it is worth telling.
    room.mono_ms += 3_600_000;
    room.arrive(6);
    follow(&mut room, 6, 1);
    assert_eq!(told_of_edits(&mut room), of(&[], &[]));
}

// spec: activity/2.2
#[test]
fn a_word_of_another_is_passed_on_if_he_signed_it_and_is_a_member() {
    let mut room = Room::new(3);
    (1..=3).for_each(|n| room.arrive(n));
    (1..=3).for_each(|n| follow(&mut room, n, 1));
    // Member 9 is none; member 2 was cut off, and a neighbour passes on what it said.
    room.receive(1, Message::Activity(vec![edits(9, 1), edits(2, 1)]));
    let told = told_of_edits(&mut room);
    assert!(
        told.iter().all(|(_, peer)| *peer == key(2).peer()),
        "{told:?}"
    );
    assert_eq!(told.len(), 3);
    let mut forged = edits(2, 2);
    forged.said.sealed[0] ^= 1;
    room.receive(1, Message::Activity(vec![forged]));
    assert_eq!(told_of_edits(&mut room), BTreeSet::new());
    assert_eq!(room.closed, [(1, Code::BAD_SIGNATURE)]);
    room.receive(3, Message::Activity(vec![edits(3, 1); 65]));
    assert_eq!(room.closed[1..], [(3, Code::TOO_LARGE)]);
}
