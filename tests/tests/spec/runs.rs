//! Pushes, runs and checkpoints over the entries of the vectors.

use aura_proto::{
    Digest, LogId,
    event::{Checkpoint, EventRun, PlacedBytes, RunError, chain, decode_push, encode_push},
};
use aura_trust::{IdentityKey, sign_checkpoint, verify_checkpoint};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    entries::entry_of,
    golden::{array, bytes, golden, hex, number, text, vectors},
    messages::LOG,
    second,
};

const MOTHERSHIP: [u8; 32] = [9; 32];
const TIME_MS: u64 = 1_800_000_000_000;

/// Entries by name, in the order of a log.
const ROWS: [&str; 4] = [
    "chain 0 number 1",
    "chain 1 number 1",
    "chain 2 number 1",
    "chain 0 number 2",
];

fn entry(name: &str) -> (Bytes, Digest) {
    let vectors = vectors("entries.json");
    let vector = vectors
        .iter()
        .find(|vector| text(vector, "name") == name)
        .unwrap();
    (entry_of(vector), Digest(array(vector, "hash")))
}

fn rows() -> Vec<(Bytes, Digest)> {
    ROWS.into_iter().map(entry).collect()
}

/// The running hash after each entry.
fn hashes() -> Vec<Digest> {
    let mut hash = Digest::ZERO;
    let step = |(seq, (_, entry)): (u64, (Bytes, Digest))| {
        hash = chain(hash, seq, TIME_MS + seq, entry);
        hash
    };
    (1..).zip(rows()).map(step).collect()
}

fn checkpoint(seq: u64) -> Checkpoint {
    let hash = hashes()[usize::try_from(seq).unwrap() - 1];
    sign_checkpoint(
        &IdentityKey::from_seed(MOTHERSHIP),
        LOG,
        3,
        seq,
        TIME_MS + 100,
        hash,
    )
}

fn run(from: u64, to: u64, checkpoint: Option<&Checkpoint>) -> Bytes {
    let rows = rows();
    let placed = (1..)
        .zip(&rows)
        .filter(|(seq, _)| (from..=to).contains(seq));
    let placed = placed.map(|(seq, (bytes, _))| PlacedBytes {
        seq,
        time_ms: TIME_MS + seq,
        bytes,
    });
    EventRun::encode(LOG, placed, checkpoint)
}

fn run_vector(name: &str, from: u64, to: u64, with_checkpoint: bool) -> Value {
    let checkpoint = with_checkpoint.then(|| checkpoint(to));
    let payload = run(from, to, checkpoint.as_ref());
    let read = EventRun::decode(&payload).unwrap();
    assert_eq!(read.checkpoint, checkpoint, "{name}");
    let seqs: Vec<u64> = read.entries.iter().map(|placed| placed.seq).collect();
    assert_eq!(seqs, (from..=to).collect::<Vec<_>>(), "{name}");
    json!({
        "what": "run",
        "name": name,
        "log": hex(&LOG.0),
        "checkpoint": checkpoint.map_or(Value::Null, |checkpoint| hex(&checkpoint.encode())),
        "entries": read.entries.iter().map(|placed| json!({
            "seq": placed.seq,
            "time_ms": placed.time_ms,
            "entry": ROWS[usize::try_from(placed.seq).unwrap() - 1],
        })).collect::<Vec<_>>(),
        "payload": hex(&payload),
    })
}

fn push_vector(name: &str, count: usize) -> Value {
    let rows = rows();
    let payload = encode_push(LOG, rows.iter().take(count).map(|(bytes, _)| &bytes[..]));
    let (log, entries) = decode_push(&payload).unwrap();
    assert_eq!((log, entries.len()), (LOG, count));
    assert!(entries.iter().all(Result::is_ok), "{name}");
    json!({
        "what": "push",
        "name": name,
        "log": hex(&LOG.0),
        "entries": ROWS[..count],
        "payload": hex(&payload),
    })
}

fn checkpoint_vector(seq: u64) -> Value {
    let checkpoint = checkpoint(seq);
    let encoded = checkpoint.encode();
    assert_eq!(Checkpoint::decode(&encoded).unwrap(), checkpoint);
    verify_checkpoint(&checkpoint, IdentityKey::from_seed(MOTHERSHIP).peer()).unwrap();
    json!({
        "what": "checkpoint",
        "name": format!("up to {seq}"),
        "seed": hex(&MOTHERSHIP),
        "log": hex(&checkpoint.log.0),
        "epoch": checkpoint.epoch,
        "seq": seq,
        "time_ms": checkpoint.time_ms,
        "hash": hex(&checkpoint.hash.0),
        "bytes": hex(&encoded),
    })
}

/// Payloads that are no run.
fn malformed() -> Vec<(&'static str, Bytes)> {
    let whole = run(1, 2, None);
    let first = 17 + 16 + rows()[0].0.len();
    let altered = |at: usize, byte: u8| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= byte;
        Bytes::from(bytes)
    };
    let foreign = Checkpoint {
        log: LogId([0xee; 16]),
        ..checkpoint(2)
    };
    vec![
        ("nothing", Bytes::new()),
        ("a log alone", whole.slice(..16)),
        ("two checkpoints", altered(16, 2)),
        (
            "a checkpoint that is not there",
            whole.slice(..17).iter().copied().chain([0; 8]).collect(),
        ),
        ("a hole", altered(first + 7, 1)),
        ("a position that comes twice", altered(first + 7, 3)),
        (
            "a checkpoint of another position",
            run(1, 2, Some(&checkpoint(3))),
        ),
        ("a checkpoint of another log", run(1, 2, Some(&foreign))),
        ("a cut within a position", whole.slice(..first + 4)),
        ("a cut within an entry", whole.slice(..whole.len() - 1)),
        ("an altered body", altered(whole.len() - 1, 1)),
    ]
}

// spec: sync/3.2
#[test]
fn runs_pushes_and_checkpoints_have_their_bytes_and_read_back() {
    let mut rows = vec![
        run_vector("one entry", 1, 1, false),
        run_vector("all entries with a checkpoint", 1, 4, true),
        run_vector("in the middle", 2, 3, false),
        push_vector("nothing", 0),
        push_vector("one entry", 1),
        push_vector("all entries", 4),
        checkpoint_vector(1),
        checkpoint_vector(4),
    ];
    for (name, bytes) in malformed() {
        let error = match EventRun::decode(&bytes).unwrap_err() {
            RunError::Entry { source, .. } => source.id(),
            RunError::Malformed => "MALFORMED",
        };
        rows.push(
            json!({"what": "malformed run", "name": name, "payload": hex(&bytes), "error": error}),
        );
    }
    golden("runs.json", &rows);
}

#[test]
fn runs_pushes_and_checkpoints_have_the_bytes_that_the_pages_give_them() {
    let mut hash = [0; 32];
    for vector in vectors("runs.json") {
        let entries = || vector["entries"].as_array().unwrap().iter();
        let name = text(&vector, "name");
        match text(&vector, "what") {
            "run" => {
                let checkpoint = vector["checkpoint"].is_string();
                let mut payload = [bytes(&vector, "log"), vec![u8::from(checkpoint)]].concat();
                if checkpoint {
                    payload.extend(bytes(&vector, "checkpoint"));
                }
                for row in entries() {
                    let (bytes, entry) = entry(text(row, "entry"));
                    let (seq, time_ms) = (number(row, "seq"), number(row, "time_ms"));
                    payload.extend(seq.to_be_bytes());
                    payload.extend(time_ms.to_be_bytes());
                    payload.extend(bytes);
                    if name.starts_with("all") {
                        hash = second::chain(&hash, seq, time_ms, &entry.0);
                    }
                }
                assert_eq!(payload, bytes(&vector, "payload"), "{name}");
            }
            "push" => {
                let mut payload = bytes(&vector, "log");
                entries().for_each(|name| payload.extend(entry(name.as_str().unwrap()).0));
                assert_eq!(payload, bytes(&vector, "payload"), "{name}");
            }
            "checkpoint" => {
                let fields = second::checkpoint_fields(&vector);
                let signed = [b"aura/v1/checkpoint\0", &fields[..]].concat();
                let signature = second::sign(&array(&vector, "seed"), &signed);
                assert_eq!([&fields[..], &signature].concat(), bytes(&vector, "bytes"));
                if number(&vector, "seq") == 4 {
                    assert_eq!(hash, array(&vector, "hash"), "running hash");
                }
            }
            _ => {}
        }
    }
}
