//! Entries: golden vectors, a second encoder, and what becomes of every altered byte.

use aura_engine::{
    hub::check_push,
    peer::replica::{Input, Output, Replica},
};
use aura_proto::{
    Code, Digest, Entry, Header, Incarnation, Kind, LogId, PeerId, TeamId, VersionVector, Writer,
    entry::{HEAD_BYTES, HEADER_BYTES},
    event::{EventRun, PlacedBytes, encode_push},
    message::{Head, Message},
};
use aura_trust::{IdentityKey, sign_entry, verify_entry};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    golden::{array, body, bytes, golden, hex, number, repeated, text, vectors},
    messages::{LOG, TEAM},
    second,
};

const ALICE: u8 = 1;
const BOB: u8 = 2;

/// An entry to be written down.
struct Case {
    name: String,
    seed: u8,
    header: Header,
    body: (Vec<u8>, Value),
}

fn key(seed: u8) -> IdentityKey {
    IdentityKey::from_seed([seed; 32])
}

fn plain(body: &[u8]) -> (Vec<u8>, Value) {
    (body.to_vec(), hex(body))
}

fn header(seed: u8) -> Header {
    Header {
        level: 1,
        kind: Kind::PATCH,
        flags: 0,
        team: TEAM,
        log: LOG,
        writer: Writer {
            peer: key(seed).peer(),
            incarnation: Incarnation(1),
        },
        author_seq: 1,
        prev: Digest::ZERO,
        lamport: 1,
        time_ms: 1_800_000_000_000,
        fence: 0,
        key_epoch: 1,
        body_len: 0,
        body_hash: Digest::ZERO,
    }
}

fn case(name: impl Into<String>, alter: impl FnOnce(&mut Header)) -> Case {
    let mut header = header(ALICE);
    alter(&mut header);
    Case {
        name: name.into(),
        seed: ALICE,
        header,
        body: plain(b"sealed"),
    }
}

impl Case {
    fn entry(&self) -> Entry {
        sign_entry(&key(self.seed), &self.header, &self.body.0).unwrap()
    }

    fn vector(&self) -> Value {
        let (entry, header) = (self.entry(), &self.header);
        json!({
            "name": self.name,
            "seed": hex(&[self.seed; 32]),
            "fields": {
                "level": header.level,
                "kind": header.kind.0,
                "flags": header.flags,
                "team": hex(&header.team.0),
                "log": hex(&header.log.0),
                "incarnation": header.writer.incarnation.0,
                "author_seq": header.author_seq,
                "prev": hex(&header.prev.0),
                "lamport": header.lamport,
                "time_ms": header.time_ms,
                "fence": header.fence,
                "key_epoch": header.key_epoch,
            },
            "body": self.body.1,
            "author": hex(&header.writer.peer.0),
            "body_hash": hex(&entry.header().body_hash.0),
            "signed": hex(&entry.header().signed_bytes()),
            "signature": hex(entry.signature()),
            "hash": hex(&entry.hash().0),
        })
    }
}

fn cases() -> Vec<Case> {
    let mut cases = kinds_and_flags();
    cases.extend(lengths());
    cases.extend(boundaries());
    cases.extend(chains());
    cases
}

fn kinds_and_flags() -> Vec<Case> {
    let known = 1..=8;
    let unknown = [0, 9, 255, 256, 32_767, 65_535];
    let kinds = known.chain(unknown).map(|kind| {
        let word = if (1..=8).contains(&kind) {
            "kind"
        } else {
            "unknown kind"
        };
        case(format!("{word} {kind}"), |header| {
            header.kind = Kind(kind);
            header.key_epoch = u32::from(!matches!(kind, 5 | 6));
        })
    });
    let flags = [0x0002, 0x0100, 0x8000, 0xffff];
    let flags =
        flags.map(|flags| case(format!("flags {flags:#06x}"), |header| header.flags = flags));
    kinds.chain(flags).collect()
}

/// Bodies around the block and chunk sizes of BLAKE3 and at the limit.
fn lengths() -> Vec<Case> {
    let lengths = [
        0,
        1,
        2,
        63,
        64,
        65,
        1_023,
        1_024,
        1_025,
        2_048,
        2_049,
        65_535,
        65_536,
        (1 << 20) - 1,
        1 << 20,
    ];
    let with_body = |len| Case {
        body: repeated(&[0x00, 0x01, 0xfe, 0xff, 0x5a], len),
        ..case(format!("body of {len} bytes"), |_| ())
    };
    lengths.map(with_body).into()
}

fn boundaries() -> Vec<Case> {
    let follows = |header: &mut Header, author_seq| {
        header.author_seq = author_seq;
        header.prev = Digest([0xcc; 32]);
    };
    let mut cases = vec![
        case("team of zeros", |header| header.team = TeamId([0; 16])),
        case("log of the team", |header| header.log = LogId::TEAM),
        case("log of ones", |header| header.log = LogId([0xff; 16])),
        case("prev with one bit", |header| {
            follows(header, 2);
            header.prev = Digest([0; 32]);
            header.prev.0[31] = 1;
        }),
    ];
    for level in [0, 255] {
        cases.push(case(format!("level {level}"), |header| {
            header.level = level
        }));
    }
    for epoch in [0, 1 << 31, u32::MAX] {
        cases.push(case(format!("key epoch {epoch}"), |header| {
            header.key_epoch = epoch
        }));
    }
    for number in [0, 1 << 32, u64::MAX] {
        cases.push(case(format!("incarnation {number}"), |header| {
            header.writer.incarnation = Incarnation(number);
        }));
        cases.push(case(format!("lamport {number}"), |header| {
            header.lamport = number
        }));
        cases.push(case(format!("time {number}"), |header| {
            header.time_ms = number
        }));
    }
    for number in [1, u64::MAX] {
        cases.push(case(format!("fence {number}"), |header| {
            header.fence = number
        }));
    }
    for number in [2, 1 << 32, u64::MAX] {
        cases.push(case(format!("number {number}"), |header| {
            follows(header, number)
        }));
    }
    cases
}

/// Three writers, one of them Bob in another life, who write by turns, each chained to its own.
fn chains() -> Vec<Case> {
    let writers = [(ALICE, 1), (BOB, 1), (BOB, 2)];
    let mut tips = [Digest::ZERO; 3];
    let mut cases = Vec::new();
    for turn in 0..15_u64 {
        let at = usize::try_from(turn % 3).unwrap();
        let ((seed, incarnation), author_seq) = (writers[at], 1 + turn / 3);
        let mut header = header(seed);
        header.writer.incarnation = Incarnation(incarnation);
        header.author_seq = author_seq;
        header.prev = tips[at];
        header.lamport = 1 + turn;
        header.time_ms += turn;
        let case = Case {
            name: format!("chain {at} number {author_seq}"),
            seed,
            header,
            body: plain(format!("turn {turn}").as_bytes()),
        };
        tips[at] = case.entry().hash();
        cases.push(case);
    }
    cases
}

/// The entry of a vector, as it travels.
pub(crate) fn entry_of(vector: &Value) -> Bytes {
    let signed = bytes(vector, "signed");
    let header = signed.strip_prefix(b"aura/v1/entry\0").unwrap();
    Bytes::from([header, &bytes(vector, "signature"), &body(vector)].concat())
}

#[test]
fn every_entry_has_its_bytes_and_reads_back() {
    let vectors: Vec<Value> = cases().iter().map(Case::vector).collect();
    golden("entries.json", &vectors);
    assert!(50 <= vectors.len(), "{}", vectors.len());
    for (vector, case) in vectors.iter().zip(cases()) {
        let entry = Entry::decode(entry_of(vector)).unwrap();
        assert_eq!(entry.bytes(), case.entry().bytes(), "{}", case.name);
        // spec: entry/1.6
        verify_entry(entry).unwrap();
    }
}

#[test]
fn c04_two_independent_encoders_give_equal_bytes() {
    let vectors = vectors("entries.json");
    assert!(50 <= vectors.len(), "{}", vectors.len());
    for vector in &vectors {
        let name = text(vector, "name");
        let made = second::entry(&vector["fields"], &array(vector, "seed"), &body(vector));
        assert_eq!(made.author, array(vector, "author"), "{name}: author");
        assert_eq!(
            made.body_hash,
            array(vector, "body_hash"),
            "{name}: body_hash"
        );
        assert_eq!(made.signed, bytes(vector, "signed"), "{name}: signed");
        assert_eq!(
            made.signature,
            array(vector, "signature"),
            "{name}: signature"
        );
        assert_eq!(made.hash, array(vector, "hash"), "{name}: hash");
    }
}

#[test]
fn c04_a_chain_of_the_vectors_is_one_of_the_second_encoder_too() {
    let mut prev = [0; 32];
    let vectors = vectors("entries.json");
    let chain = vectors
        .iter()
        .filter(|vector| text(vector, "name").starts_with("chain 2 "));
    for (author_seq, vector) in (1..).zip(chain) {
        assert_eq!(number(&vector["fields"], "author_seq"), author_seq);
        assert_eq!(array(&vector["fields"], "prev"), prev);
        prev = second::entry(&vector["fields"], &array(vector, "seed"), &body(vector)).hash;
    }
    assert_ne!(prev, [0; 32]);
}

/// What a device says to one run: its fault, and that nothing else happened.
fn shown_to_a_device(log: LogId, bytes: &[u8]) -> (Code, String) {
    let (device, mothership) = (key(3), key(4).peer());
    let mut replica = Replica::new(TEAM, log, device, mothership, Incarnation(1));
    let head = Head {
        log,
        epoch: 1,
        seq: 1,
        hash: Digest([1; 32]),
        vector: VersionVector::default(),
    };
    replica.handle(Input::LinkUp);
    replica.handle(Input::Received(Message::Head(head)));
    while replica.poll().is_some() {}
    let row = PlacedBytes {
        seq: 1,
        time_ms: 1,
        bytes,
    };
    let run = EventRun::encode(log, std::iter::once(row), None);
    replica.handle(Input::Received(Message::Event(run)));
    let mut fault = None;
    while let Some(output) = replica.poll() {
        match output {
            Output::Fault { code, detail } => assert!(fault.replace((code, detail)).is_none()),
            other => panic!("not only refused: {other:?}"),
        }
    }
    assert_eq!(replica.cursor().0, 0, "something was taken");
    fault.expect("an altered entry was not refused")
}

// spec: entry/1.7, sync/3.3
#[test]
fn c04_every_altered_bit_is_refused_alike_and_nothing_is_applied() {
    let case = case("altered", |_| ());
    let entry = case.entry();
    let expected = (
        Code::BAD_SIGNATURE,
        "a signature does not verify".to_owned(),
    );
    for bit in 0..entry.bytes().len() * 8 {
        let mut altered = entry.bytes().to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        let at = bit / 8;
        assert_eq!(shown_to_a_device(LOG, &altered), expected, "byte {at}");
        // The Mothership says the same of it; only where the length is wrong no entry is left to speak of.
        let pushed = check_push(&encode_push(LOG, std::iter::once(&altered[..])));
        match pushed {
            Ok((_, entries)) => {
                let refused = |entry: &_| matches!(entry, Err((_, Code::BAD_SIGNATURE)));
                assert!(entries.iter().all(refused), "byte {at}");
            }
            Err(_) => assert!((146..150).contains(&at), "byte {at}"),
        }
    }
}

#[test]
fn c04_an_entry_of_another_author_is_refused_like_an_altered_one() {
    let entry = case("altered", |_| ()).entry();
    let mut forged = entry.bytes().to_vec();
    forged[38..70].copy_from_slice(&key(BOB).peer().0);
    let (code, _) = shown_to_a_device(LOG, &forged);
    assert_eq!(code, Code::BAD_SIGNATURE);
    let small = PeerId([0; 32]);
    forged[38..70].copy_from_slice(&small.0);
    assert_eq!(shown_to_a_device(LOG, &forged).0, Code::BAD_SIGNATURE);
}

/// Changes bytes of an entry that are not covered by the check at hand.
fn altered(entry: &Entry, at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = entry.bytes().to_vec();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

// spec: entry/1.2, entry/1.3, entry/1.4
#[test]
fn what_is_no_entry_is_refused_with_its_reason() {
    let entry = case("good", |_| ()).entry();
    let whole = entry.bytes();
    let second = case("second", |header| {
        header.author_seq = 2;
        header.prev = Digest([1; 32]);
    });
    let second = second.entry();
    let bad = [
        ("nothing", Vec::new()),
        ("one byte", vec![1]),
        (
            "a header without its last byte",
            whole[..HEADER_BYTES - 1].to_vec(),
        ),
        ("a header alone", whole[..HEADER_BYTES].to_vec()),
        ("no body", whole[..HEAD_BYTES].to_vec()),
        ("one byte missing", whole[..whole.len() - 1].to_vec()),
        ("one byte left over", [whole, &b"x"[..]].concat()),
        ("version 0", altered(&entry, 0, &[0])),
        ("version 2", altered(&entry, 0, &[2])),
        (
            "a body over the limit",
            altered(&entry, 146, &((1_u32 << 20) + 1).to_be_bytes()),
        ),
        ("the longest length", altered(&entry, 146, &[0xff; 4])),
        (
            "a longer length",
            altered(&entry, 146, &7_u32.to_be_bytes()),
        ),
        ("number 0", altered(&entry, 78, &[0; 8])),
        (
            "a first entry with a predecessor",
            altered(&entry, 86, &[1]),
        ),
        ("a second entry without one", altered(&second, 86, &[0; 32])),
        ("another body", altered(&entry, HEAD_BYTES, b"S")),
        ("another hash of the body", altered(&entry, 150, &[0; 32])),
    ];
    let mut vectors = Vec::new();
    for (name, bytes) in bad {
        let error = Entry::decode(Bytes::from(bytes.clone())).unwrap_err();
        vectors.push(json!({"name": name, "bytes": hex(&bytes), "error": error.id()}));
    }
    // These are entries; what does not hold is the signature.
    let signature = entry.signature();
    for (name, bytes) in [
        (
            "a signature of zeros",
            altered(&entry, HEADER_BYTES, &[0; 64]),
        ),
        (
            "a signature with an altered end",
            altered(&entry, HEAD_BYTES - 1, &[signature[63] ^ 1]),
        ),
        ("another lamport", altered(&entry, 118, &[1])),
        ("a key of small order", altered(&entry, 38, &[0; 32])),
    ] {
        let decoded = Entry::decode(Bytes::from(bytes.clone())).unwrap();
        verify_entry(decoded).unwrap_err();
        vectors.push(json!({"name": name, "bytes": hex(&bytes), "error": "BAD_SIGNATURE"}));
    }
    golden("entries-bad.json", &vectors);
}
