//! Every message with its parts and its payload.

use aura_proto::{
    AgedActivity, Code, Digest, Incarnation, LogId, PeerId, Reach, SignedActivity, SignedReach,
    TeamId, VersionVector, Visibility, Writer,
    frame::{Flags, FrameHeader, FrameType},
    message::{
        Auth, Head, Heartbeat, Hello, JoinGrant, JoinRequest, Message, Outcome, PeerCard,
        PeerEvent, PeerQuery, PeerState, Prune, PushAck, ReceiveCard, Refusal, RelayClose,
        RelayCredit, RelayOpen, RenewGrant, RenewRequest, Role, Routed, Subscribe, Welcome,
        feature,
    },
    session::Class,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    golden::{bytes, golden, hex, number, vectors},
    second,
    trace::{Node, trace},
};

pub(crate) const TEAM: TeamId = TeamId([0xaa; 16]);
pub(crate) const LOG: LogId = LogId([0xbb; 16]);

pub(crate) fn peer(n: u8) -> PeerId {
    PeerId([n; 32])
}

/// One message to be written down.
struct Sample {
    name: &'static str,
    message: Message,
    node: Node,
}

fn sample<T: Serialize + Clone>(name: &'static str, wrap: fn(T) -> Message, value: T) -> Sample {
    Sample {
        name,
        node: trace(&value),
        message: wrap(value),
    }
}

/// Every message whose payload is a value; runs and pushes are in `runs.json`.
pub(crate) fn nodes() -> Vec<Node> {
    samples().into_iter().map(|sample| sample.node).collect()
}

fn samples() -> Vec<Sample> {
    let mut samples = greetings();
    samples.extend(presence());
    samples.extend(activity());
    samples.extend(circuits());
    samples.extend(enrolment());
    samples.extend(logs());
    samples
}

fn greetings() -> Vec<Sample> {
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        features: feature::ALL,
        agent: "aura/0.1.0".to_owned(),
        revocation_epoch: 0,
    };
    let later = Hello {
        version_min: 250,
        version_max: 251,
        features: u64::MAX,
        agent: "ä".repeat(126),
        revocation_epoch: 1 << 32,
    };
    let auth = Auth {
        peer: peer(1),
        signature: vec![2; 64],
        reach: Some(said(1, &["10.0.1.5:7777", "[fd00::5]:7777"])),
    };
    let welcome = Welcome {
        version: 1,
        features: feature::PEER_EVENTS,
        team: TEAM,
        team_name: "acme".to_owned(),
        time_ms: 1_800_000_000_000,
        seen_as: "192.0.2.7:40000".to_owned(),
        heartbeat_ms: 30_000,
    };
    let refusal = Refusal {
        code: Code::REVOKED,
        detail: "this device was removed: laptop sold".to_owned(),
    };
    let unknown = Refusal {
        code: Code(65_535),
        detail: String::new(),
    };
    vec![
        sample("hello", Message::Hello, hello),
        sample("hello, large numbers", Message::Hello, later),
        sample("auth", Message::Auth, auth),
        sample("welcome", Message::Welcome, welcome),
        sample("error", Message::Error, refusal),
        sample("error, unknown code", Message::Error, unknown),
    ]
}

fn activity() -> Vec<Sample> {
    let words = vec![edits(1), edits(2)];
    vec![sample("who edits what", Message::Activity, words)]
}

fn presence() -> Vec<Sample> {
    let beat = Heartbeat {
        nonce: 7,
        heads: vec![
            (LogId::TEAM, 3, 250, Digest([4; 32])),
            (LOG, 3, 251, Digest([5; 32])),
        ],
    };
    let quiet = Heartbeat {
        nonce: 0,
        heads: Vec::new(),
    };
    let roles = [
        Role::Admin,
        Role::Member,
        Role::Agent,
        Role::Observer,
        Role::Relay,
        Role::Mothership,
    ];
    let states = [PeerState::Online, PeerState::Away, PeerState::Offline];
    let cards = (1..)
        .zip(roles)
        .map(|(n, role)| card(n, role, states[usize::from(n) % 3]));
    let event = |name, event| sample(name, Message::Peer, event);
    vec![
        sample("heartbeat", Message::Heartbeat, beat.clone()),
        sample("heartbeat without heads", Message::Heartbeat, quiet),
        sample("heartbeat's answer", Message::HeartbeatAck, beat),
        event("everybody", PeerEvent::Snapshot(cards.collect())),
        event("nobody", PeerEvent::Snapshot(Vec::new())),
        event("added", PeerEvent::Added(full(9))),
        event(
            "gone",
            PeerEvent::Gone {
                peer: peer(9),
                reason: "laptop sold".to_owned(),
            },
        ),
        event(
            "other addresses",
            PeerEvent::NetworkUpdate(said(9, &["192.168.7.9:40000"])),
        ),
        event("nowhere", PeerEvent::NetworkUpdate(said(9, &[]))),
        event("known", PeerEvent::Known(vec![full(9)])),
        sample(
            "who",
            Message::PeerQuery,
            PeerQuery {
                peers: vec![peer(9), peer(8)],
            },
        ),
        sample(
            "where",
            Message::Reach,
            vec![said(1, &["100.64.0.7:7777"]), said(2, &[])],
        ),
        event(
            "away",
            PeerEvent::State {
                peer: peer(9),
                state: PeerState::Away,
                at_ms: 1_800_000_000_000,
            },
        ),
    ]
}

/// What a device says of its work.
fn edits(n: u8) -> AgedActivity {
    let said = SignedActivity {
        log: LOG,
        writer: Writer {
            peer: peer(n),
            incarnation: Incarnation(7),
        },
        counter: 1_800_000_000_000 + u64::from(n),
        key_epoch: 1,
        sealed: vec![n; 50],
        signature: vec![n; 64],
    };
    AgedActivity {
        said,
        age_ms: 1_000 * u64::from(n),
    }
}

/// A row of the whole list.
fn card(n: u8, role: Role, state: PeerState) -> PeerCard {
    PeerCard {
        peer: peer(n),
        name: format!("peer-{n}"),
        role,
        receive: None,
        state,
        last_seen_ms: 1_800_000_000_000 + u64::from(n),
        reach: said(n, &[&format!("10.0.0.{n}:7777")]).reach,
    }
}

/// Everything that is known of a peer.
fn full(n: u8) -> PeerCard {
    PeerCard {
        receive: Some(ReceiveCard {
            key: [n + 100; 32],
            signature: vec![n; 64],
        }),
        ..card(n, Role::Member, PeerState::Offline)
    }
}

fn circuits() -> Vec<Sample> {
    let open = RelayOpen {
        peer: peer(9),
        circuit: 0,
    };
    let close = RelayClose {
        circuit: 251,
        code: Code::BUSY,
        detail: "as many circuits as one device may have".to_owned(),
    };
    let credit = RelayCredit { bytes: 65_536 };
    let routed = Routed {
        id: [3; 16],
        from: peer(1),
        to: peer(9),
        time_ms: 1_800_000_000_000,
        hops_left: 3,
        passed: vec![peer(2)],
        way: Vec::new(),
        sealed: vec![4; 49],
        signature: vec![5; 64],
    };
    let answer = Routed {
        passed: Vec::new(),
        way: vec![peer(2)],
        ..routed.clone()
    };
    vec![
        sample("over others", Message::Routed, routed),
        sample("back over others", Message::Routed, answer),
        sample("a circuit wanted", Message::RelayOpen, open),
        sample("no circuit", Message::RelayClose, close),
        sample("taken out of a circuit", Message::RelayCredit, credit),
    ]
}

fn enrolment() -> Vec<Sample> {
    let request = JoinRequest {
        jwt: "e30.e30.c2ln".to_owned(),
        peer: peer(1),
        name: "bob".to_owned(),
        receive_key: [2; 32],
        receive_key_signature: vec![3; 64],
        csr: vec![4; 251],
        seed_proof: vec![5; 64],
        identity_proof: vec![6; 64],
    };
    let grant = JoinGrant {
        certificate: vec![7; 400],
        ca: vec![8; 300],
        team: TEAM,
        team_name: "acme".to_owned(),
        role: Role::Admin,
        name: "bob".to_owned(),
        founder: true,
        checkpoint_key: peer(9),
    };
    let renew = RenewRequest {
        peer: peer(1),
        csr: vec![4; 250],
        identity_proof: vec![6; 64],
    };
    let renewed = RenewGrant {
        certificate: vec![7; 400],
        ca: vec![8; 300],
    };
    vec![
        sample("request to join", Message::JoinRequest, request),
        sample("grant", Message::JoinGrant, grant),
        sample("request to renew", Message::RenewRequest, renew),
        sample("renewed", Message::RenewGrant, renewed),
    ]
}

fn logs() -> Vec<Sample> {
    let mut vector = VersionVector::default();
    for (n, held) in [(2, 1), (1, 250), (3, u64::MAX)] {
        let writer = Writer {
            peer: peer(n),
            incarnation: Incarnation(u64::from(n) << 60),
        };
        vector.observe(writer, held);
    }
    let subscribe = Subscribe {
        log: LOG,
        epoch: 3,
        seq: 65_536,
        hash: Digest([4; 32]),
        vector: vector.clone(),
        checkpoint: vec![5; 136],
    };
    let fresh = Subscribe {
        log: LogId::TEAM,
        epoch: 0,
        seq: 0,
        hash: Digest::ZERO,
        vector: VersionVector::default(),
        checkpoint: Vec::new(),
    };
    let head = Head {
        log: LOG,
        epoch: 4,
        seq: 1 << 32,
        hash: Digest([6; 32]),
        vector,
    };
    let stored = Outcome::Stored {
        seq: 65_535,
        time_ms: 1_800_000_000_000,
    };
    let ack = PushAck {
        log: LOG,
        outcomes: vec![
            (1, stored),
            (2, Outcome::Refused(Code::AUTHOR_GAP)),
            (0, Outcome::Refused(Code::BAD_SIGNATURE)),
        ],
    };
    vec![
        sample("subscribe", Message::Subscribe, subscribe),
        sample("subscribe to a new log", Message::Subscribe, fresh),
        sample("head", Message::Head, head),
        sample("outcomes of a push", Message::PushAck, ack),
        sample(
            "pruned",
            Message::Prune,
            Prune {
                log: LOG,
                wants_numbers: true,
            },
        ),
    ]
}

#[test]
fn every_message_has_its_bytes_and_reads_back() {
    let mut seen = Vec::new();
    let mut rows = Vec::new();
    for Sample {
        name,
        message,
        node,
    } in samples()
    {
        let (kind, payload) = message.encode();
        assert_eq!(
            Message::decode(kind, payload.clone()).unwrap(),
            message,
            "{name}"
        );
        let mut longer = payload.to_vec();
        longer.push(0);
        assert!(
            Message::decode(kind, longer.into()).is_err(),
            "{name} with a byte left over"
        );
        seen.push(kind);
        rows.push(json!({
            "name": name,
            "type": kind.name(),
            "number": kind.0,
            "parts": node.parts(),
            "payload": hex(&payload),
        }));
    }
    golden("messages.json", &rows);
    // Those without a value of their own are in `runs.json` or laid out by hand.
    let elsewhere = [
        FrameType::WAL_EVENT,
        FrameType::PATCH_PUSH,
        FrameType::RELAY_DATA,
        FrameType::WINDOW,
        FrameType::RESET,
    ];
    for (kind, name) in FrameType::ALL {
        let is_served = !matches!(kind.0, 0x30 | 0x31 | 0x40 | 0x41);
        assert_eq!(
            seen.contains(kind) || elsewhere.contains(kind),
            is_served,
            "{name}"
        );
    }
}

// spec: framing/3.1
#[test]
fn messages_have_the_bytes_that_the_pages_give_them() {
    for vector in vectors("messages.json") {
        let parts = vector["parts"].as_array().unwrap();
        assert_eq!(
            second::value(parts),
            bytes(&vector, "payload"),
            "{}",
            vector["name"]
        );
    }
}

#[test]
fn numbers_of_variable_length_have_their_bytes() {
    let edges = [
        0,
        1,
        250,
        251,
        252,
        255,
        256,
        65_535,
        65_536,
        u64::from(u32::MAX),
        1 << 32,
        u64::MAX,
    ];
    let rows: Vec<Value> = edges
        .iter()
        .map(|number| {
            let value = aura_proto::codec::encode(number);
            assert_eq!(aura_proto::codec::decode::<u64>(&value).unwrap(), *number);
            assert_eq!(value[1..], second::variable(*number));
            json!({"number": number, "bytes": hex(&value[1..])})
        })
        .collect();
    golden("numbers.json", &rows);
}

#[test]
fn frames_have_their_ten_bytes() {
    let class = |class: Class| (class as u8) << Flags::CLASS_SHIFT;
    let frames = [
        ("hello", FrameType::HELLO, 0, 0, 16),
        (
            "a stream of patches opens",
            FrameType::WINDOW,
            class(Class::Patch),
            1,
            4,
        ),
        (
            "first fragment",
            FrameType::WAL_EVENT,
            class(Class::Patch) | Flags::MORE,
            1,
            16_384,
        ),
        (
            "last fragment and end",
            FrameType::WAL_EVENT,
            class(Class::Bulk) | Flags::END,
            2,
            1,
        ),
        (
            "end without a message",
            FrameType::WINDOW,
            class(Class::Bulk) | Flags::END,
            3,
            0,
        ),
        ("reset", FrameType::RESET, 0, u32::MAX, 2),
        ("last word", FrameType::ERROR, Flags::END, 0, 40),
        (
            "unknown and optional",
            FrameType(0xff),
            Flags::OPTIONAL,
            0,
            1 << 20,
        ),
    ];
    let mut rows = Vec::new();
    for (name, kind, flags, stream, len) in frames {
        let header = FrameHeader {
            kind,
            flags: Flags(flags),
            stream,
            len,
        };
        assert_eq!(FrameHeader::decode(&header.encode()), header);
        assert!(header.is_within_limit());
        rows.push(json!({
            "name": name,
            "type": kind.0,
            "flags": flags,
            "stream": stream,
            "length": len,
            "header": hex(&header.encode()),
        }));
    }
    golden("frames.json", &rows);
    for vector in vectors("frames.json") {
        assert_eq!(second::frame_header(&vector), bytes(&vector, "header"));
        assert!(number(&vector, "length") <= 1 << 20);
    }
}

/// What a peer says of where it is; one that says no address is silent.
fn said(n: u8, addresses: &[&str]) -> SignedReach {
    let reach = Reach {
        counter: 1_800_000_000 + u64::from(n),
        visibility: match addresses {
            [] if n == 2 => Visibility::Strict,
            [] => Visibility::Outbound,
            _ => Visibility::Open,
        },
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
    };
    SignedReach {
        peer: peer(n),
        reach,
        signature: vec![n; 64],
    }
}
