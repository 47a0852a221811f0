//! What stands on disk: segments, and the records inside them.

use std::{path::Path, sync::Arc};

use aura_engine::{
    hub::record::Record as HubRecord,
    peer::replica::{Own, Record as PeerRecord},
};
use aura_proto::{
    Digest, Entry, Incarnation,
    event::{Checkpoint, Placed},
};
use aura_store::{
    FaultyDisk, Log, Options,
    segment::{FIRST_RECORD_AT, SECTOR_BYTES, file_name},
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    bodies,
    entries::entry_of,
    golden::{array, bytes, golden, hex, number, text, vectors},
    messages::LOG,
};

const DIR: &str = "/log";
const OPTIONS: Options = Options {
    segment_bytes: 3 << 10,
    record_bytes_max: 1 << 10,
    reserve_bytes: 0,
    create: true,
};
const PAYLOADS: [&[u8]; 6] = [
    b"",
    b"one",
    b"eight by",
    &[0xff; 1000],
    &[0; 900],
    b"in the next segment",
];

fn entry() -> Entry {
    Entry::decode(entry_of(&vectors("entries.json")[0])).unwrap()
}

fn records() -> Vec<Value> {
    let entry = entry();
    let checkpoint = Checkpoint {
        log: LOG,
        epoch: 1,
        seq: 2,
        time_ms: 3,
        hash: Digest([4; 32]),
        signature: [5; 64],
    };
    let placed = Placed {
        seq: 7,
        time_ms: 1_800_000_000_000,
        entry: entry.clone(),
    };
    let own = Own {
        incarnation: Incarnation(9),
        author_seq: 1,
    };
    let own_placed = PeerRecord::OwnPlaced {
        seq: 8,
        time_ms: 1_800_000_000_001,
        own,
    };
    let peer = [
        ("own entry", PeerRecord::Own(entry.clone())),
        ("another's entry", PeerRecord::Placed(placed)),
        ("place of an own entry", own_placed),
        ("checkpoint", PeerRecord::Checkpoint(checkpoint)),
        ("incarnation", PeerRecord::Incarnation(Incarnation(9))),
        ("retired own entry", PeerRecord::Retired(own)),
    ];
    let hub = HubRecord::Entry {
        seq: 7,
        time_ms: 1_800_000_000_000,
        entry,
    };
    let mut hub = vec![("entry", hub)];
    hub.extend(
        bodies::facts()
            .into_iter()
            .map(|(name, fact)| (name, HubRecord::Fact(fact))),
    );
    let peer = peer.map(|(name, record)| {
        let bytes = record.encode();
        assert_eq!(PeerRecord::decode(&bytes).unwrap(), record, "{name}");
        json!({"what": "record of a device", "name": name, "bytes": hex(&bytes)})
    });
    let hub = hub.into_iter().map(|(name, record)| {
        let bytes = record.encode();
        assert_eq!(HubRecord::decode(&bytes).unwrap(), record, "{name}");
        json!({"what": "record of the Mothership", "name": name, "bytes": hex(&bytes)})
    });
    peer.into_iter().chain(hub).collect()
}

/// The bytes of a segment up to the last that is not zero, in sectors and records.
fn segment(disk: &FaultyDisk, first_lsn: u64) -> Value {
    let name = file_name(first_lsn);
    let bytes = disk.content(&Path::new(DIR).join(&name)).unwrap();
    let trim = |bytes: &[u8]| {
        let end = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        hex(&bytes[..end])
    };
    json!({
        "what": "segment",
        "file": name,
        "first_lsn": first_lsn,
        "length": bytes.len(),
        "head": hex(&bytes[..SECTOR_BYTES]),
        "seal": trim(&bytes[SECTOR_BYTES..FIRST_RECORD_AT]),
        "records": trim(&bytes[FIRST_RECORD_AT..]),
    })
}

/// Two starts, with a batch each, over two segments.
fn segments() -> Vec<Value> {
    let disk = FaultyDisk::new(1);
    let open = || {
        Log::open(Arc::new(disk.clone()), Path::new(DIR), OPTIONS)
            .unwrap()
            .0
    };
    for payloads in [&PAYLOADS[..3], &PAYLOADS[3..]] {
        let mut log = open();
        for payload in payloads {
            log.append(&[payload]).unwrap();
        }
        log.commit().unwrap();
    }
    let firsts: Vec<u64> = (1..10)
        .filter(|lsn| {
            disk.content(&Path::new(DIR).join(file_name(*lsn)))
                .is_some()
        })
        .collect();
    assert_eq!(firsts.len(), 2, "{firsts:?}");
    firsts
        .into_iter()
        .map(|first| segment(&disk, first))
        .collect()
}

// spec: log/1.5, log/3.1, log/3.2
#[test]
fn segments_and_records_have_their_bytes() {
    let mut rows = segments();
    rows.extend(records());
    golden("log.json", &rows);
}

#[test]
fn segments_read_back_from_the_vectors() {
    let disk = FaultyDisk::new(2);
    let dir = Path::new(DIR);
    for vector in vectors("log.json")
        .iter()
        .filter(|vector| text(vector, "what") == "segment")
    {
        let mut file = bytes(vector, "head");
        file.extend(bytes(vector, "seal"));
        file.resize(FIRST_RECORD_AT, 0);
        file.extend(bytes(vector, "records"));
        file.resize(usize::try_from(number(vector, "length")).unwrap(), 0);
        disk.set_content(&dir.join(text(vector, "file")), file);
    }
    let mut read = Vec::new();
    let opened = Log::open_with(Arc::new(disk), dir, OPTIONS, |record| {
        read.push((record.epoch, record.payload.to_vec()));
    });
    let (_, recovery) = opened.unwrap();
    assert_eq!((recovery.torn, recovery.segments), (None, 2));
    // Each start wrote a record without a payload first.
    let boot = |epoch| std::iter::once((epoch, Vec::new()));
    let data = |epoch, payloads: &[&[u8]]| -> Vec<(u64, Vec<u8>)> {
        payloads
            .iter()
            .map(|payload| (epoch, payload.to_vec()))
            .collect()
    };
    let expected: Vec<_> = boot(1)
        .chain(data(1, &PAYLOADS[..3]))
        .chain(boot(2))
        .chain(data(2, &PAYLOADS[3..]))
        .collect();
    assert_eq!(read, expected);
}

/// A record of a segment, by the table of the pages.
struct Raw<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    padded: &'a [u8],
}

fn little(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// CRC-32/IEEE, bit by bit.
fn crc(parts: &[&[u8]]) -> u64 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ (0xedb8_8320 * (crc & 1))
        })
    };
    u64::from(!parts.concat().iter().fold(u32::MAX, step))
}

impl<'a> Raw<'a> {
    /// Takes the record at the front, if there is one.
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let header = rest
            .get(..80)
            .filter(|header| header.starts_with(b"mRec"))?;
        let len = usize::try_from(little(&header[8..12])).unwrap();
        let end = (80 + len).next_multiple_of(8);
        let raw = Self {
            header,
            payload: &rest[80..80 + len],
            padded: &rest[80..end],
        };
        *rest = &rest[end..];
        Some(raw)
    }
}

// spec: log/1.6, log/1.7
#[test]
fn segments_hold_what_the_pages_say() {
    let mut hash = [0_u8; 32];
    let mut lsn = 0;
    for vector in vectors("log.json")
        .iter()
        .filter(|vector| text(vector, "what") == "segment")
    {
        let head = bytes(vector, "head");
        assert_eq!(head[..12], *b"msWalSeg\x01\0\0\0");
        assert_eq!(little(&head[16..24]), lsn + 1);
        assert_eq!(head[32..64], hash);
        assert_eq!(little(&head[508..]), crc(&[&head[..508]]));
        let mut records = bytes(vector, "records");
        // Zeros at the end of the last payload or its padding were cut off with the rest.
        records.resize(records.len() + 1024, 0);
        let (mut rest, mut end) = (&records[..], FIRST_RECORD_AT);
        while let Some(Raw {
            header,
            payload,
            padded,
        }) = Raw::take(&mut rest)
        {
            lsn += 1;
            end += header.len() + padded.len();
            assert_eq!(little(&header[12..16]), crc(&[padded]), "payload of {lsn}");
            assert_eq!(little(&header[24..32]), lsn);
            assert!(little(&header[32..40]) < lsn);
            assert_eq!(header[40..72], hash, "chain at {lsn}");
            assert_eq!(
                little(&header[76..]),
                crc(&[&head[24..32], &header[..76]]),
                "header of {lsn}"
            );
            let (position, epoch) = (&header[24..32], &header[16..24]);
            hash = crate::second::hash(&[&hash, position, epoch, payload]);
        }
        let seal = bytes(vector, "seal");
        if !seal.is_empty() {
            assert_eq!(seal[..8], *b"msWalEnd");
            assert_eq!(little(&seal[16..24]), lsn);
            assert_eq!(little(&seal[24..32]), end as u64);
            assert_eq!(seal[32..64], hash);
        }
    }
    let count = 2 + PAYLOADS.len() as u64;
    assert_eq!(lsn, count);
}

// spec: log/3.1
#[test]
fn a_record_of_an_unknown_kind_is_not_passed_over() {
    for tag in [0, 3, 255] {
        assert!(
            HubRecord::decode(&Bytes::from(vec![tag, 1, 2])).is_err(),
            "{tag}"
        );
    }
    for tag in [0, 6, 255] {
        assert!(
            PeerRecord::decode(&Bytes::from(vec![tag, 1, 2])).is_err(),
            "{tag}"
        );
    }
    let hash: [u8; 32] = array(&vectors("entries.json")[0], "hash");
    assert_eq!(entry().hash().0, hash);
}
