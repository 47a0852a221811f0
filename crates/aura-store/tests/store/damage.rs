//! Bit rot, and segments that are missing, swapped, doubled or foreign.

use std::path::PathBuf;
use std::sync::Arc;

use aura_store::record::HEADER_BYTES;
use aura_store::segment::{FIRST_RECORD_AT, file_name};
use aura_store::{
    Damage, FaultyDisk, Kind, Log, OpenError, Options, Reader, Recovery, VerifyError, salvage,
    verify,
};

use crate::ledger::{SMALL, dir, payload};

fn segment(first_lsn: u64) -> PathBuf {
    dir().join(file_name(first_lsn))
}

fn open(disk: &FaultyDisk, options: Options) -> Result<(Log, Recovery), OpenError> {
    Log::open(Arc::new(disk.clone()), &dir(), options)
}

/// Three records of 200 bytes to a batch.
fn filled(options: Options, batches: u64) -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    let (mut log, _) = open(&disk, options).unwrap();
    for batch in 0..batches {
        for number in 0..3 {
            log.append(&[&[(batch * 3 + number) as u8 + 1; 200]])
                .unwrap();
        }
        log.commit().unwrap();
    }
    disk
}

fn segments(disk: &FaultyDisk) -> Vec<u64> {
    let names = aura_store::Disk::list(disk, &dir()).unwrap();
    let stems = names
        .iter()
        .filter_map(|name| name.to_str()?.strip_suffix(".wal"));
    stems.map(|stem| stem.parse().unwrap()).collect()
}

fn payloads(reader: &Reader) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    reader
        .replay(1, |record| {
            if record.kind == Kind::Data {
                found.push(record.payload.to_vec());
            }
        })
        .unwrap();
    found
}

fn corruption(disk: &FaultyDisk, options: Options) -> aura_store::Corruption {
    let before = disk.snapshot(0);
    let Err(OpenError::Corrupt(found)) = open(disk, options).map(|_| ()) else {
        panic!("damage was not seen as corruption");
    };
    for lsn in segments(disk) {
        let same = disk.content(&segment(lsn)) == before.content(&segment(lsn));
        assert!(same, "a refused open changed segment {lsn}");
    }
    found
}

/// Size of the log whose every bit is flipped; more takes minutes.
fn flip_bytes() -> u64 {
    std::env::var("AURA_STORE_FLIP_BYTES").map_or(4096, |text| text.parse().unwrap())
}

#[test]
fn a_flip_of_any_bit_of_the_open_segment_is_noticed_and_never_served() {
    let bytes = flip_bytes();
    let options = Options {
        segment_bytes: bytes,
        ..SMALL
    };
    let batches = (bytes - 1600) / 900;
    let disk = filled(options, batches);
    assert_eq!(segments(&disk), [1]);
    let good = disk.content(&segment(1)).unwrap();
    let all: Vec<Vec<u8>> = (0..batches * 3)
        .map(|number| vec![number as u8 + 1; 200])
        .collect();
    let last_batch = all.len() - 3;
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let damaged = disk.snapshot(0);
        damaged.set_content(&segment(1), bad);
        match open(&damaged, options) {
            Err(OpenError::Corrupt(_)) => {}
            Err(other) => panic!("bit {bit}: {other}"),
            Ok((log, recovery)) => {
                assert!(recovery.torn.is_some(), "bit {bit} was not noticed");
                let served = payloads(&log.reader());
                assert!(last_batch <= served.len(), "bit {bit} cut a proven record");
                assert_eq!(served, all[..served.len()], "bit {bit} was served");
            }
        }
    }
}

#[test]
fn case_054_a_flip_of_any_bit_of_a_sealed_segment_is_corruption() {
    let disk = filled(SMALL, 5);
    assert_eq!(segments(&disk).len(), 2);
    let good = disk.content(&segment(1)).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let damaged = disk.snapshot(0);
        damaged.set_content(&segment(1), bad);
        let found = verify(&damaged, &dir());
        assert!(
            matches!(found, Err(VerifyError::Corrupt(_))),
            "bit {bit}: {found:?}"
        );
        if bit % 61 == 0 {
            assert_eq!(corruption(&damaged, SMALL).segment, segment(1));
        }
    }
}

#[test]
fn what_stands_behind_a_damage_is_shown_for_rescue_in_whatever_segment() {
    let disk = filled(SMALL, 5);
    assert_eq!(segments(&disk).len(), 2);
    // The boot record has position 1, so this is the second of fifteen.
    let offset = FIRST_RECORD_AT + HEADER_BYTES + HEADER_BYTES + 200;
    let mut bytes = disk.content(&segment(1)).unwrap();
    bytes[offset + HEADER_BYTES + 17] ^= 4;
    disk.set_content(&segment(1), bytes);
    let found = corruption(&disk, SMALL);
    assert_eq!((found.first_lsn, found.last_lsn), (3, 3));
    let mut shown = Vec::new();
    salvage(&disk, &dir(), &found, |record| {
        shown.push((record.lsn, record.payload.to_vec()));
    })
    .unwrap();
    let behind = (4..=16).map(|lsn| (lsn, vec![lsn as u8 - 1; 200]));
    assert_eq!(shown, behind.collect::<Vec<_>>());
}

#[test]
fn case_054_a_damaged_acknowledged_record_of_the_open_segment_is_corruption() {
    let disk = filled(SMALL, 2);
    let record = HEADER_BYTES + 200;
    let offset = FIRST_RECORD_AT + HEADER_BYTES + record;
    let mut bytes = disk.content(&segment(1)).unwrap();
    bytes[offset + HEADER_BYTES + 17] ^= 4;
    disk.set_content(&segment(1), bytes);
    let found = corruption(&disk, SMALL);
    assert_eq!(found.damage, Damage::Record);
    assert_eq!((found.first_lsn, found.last_lsn), (3, 3));
    assert_eq!(found.offset, offset as u64);
}

#[test]
fn case_055_a_flip_in_a_length_is_corruption_and_not_a_truncation() {
    for bit in 0..32 {
        let disk = filled(SMALL, 2);
        let offset = FIRST_RECORD_AT + HEADER_BYTES;
        let mut bytes = disk.content(&segment(1)).unwrap();
        bytes[offset + 8 + bit / 8] ^= 1 << (bit % 8);
        disk.set_content(&segment(1), bytes);
        let found = corruption(&disk, SMALL);
        assert_eq!((found.damage, found.first_lsn), (Damage::Record, 2));
    }
}

#[test]
fn case_058_garbage_behind_the_tail_is_quarantined() {
    let disk = filled(SMALL, 2);
    let mut bytes = disk.content(&segment(1)).unwrap();
    bytes.extend((0..1 << 20).map(|at: u32| at.wrapping_mul(2_654_435_761) as u8 | 1));
    disk.set_content(&segment(1), bytes.clone());
    let (log, recovery) = open(&disk, SMALL).unwrap();
    let torn = recovery.torn.unwrap();
    assert_eq!(recovery.last_lsn, 7);
    let kept = disk.content(&torn.quarantined).unwrap();
    assert_eq!(kept, bytes[torn.offset as usize..]);
    assert_eq!(payloads(&log.reader()).len(), 6);
}

#[test]
fn a_record_inside_a_payload_proves_nothing() {
    // A hostile author stores a copy of real records, which claim that much is durable.
    let source = filled(SMALL, 3);
    let copied = source.content(&segment(1)).unwrap()[FIRST_RECORD_AT..][..1000].to_vec();
    let disk = FaultyDisk::new(99);
    let (mut log, _) = open(&disk, SMALL).unwrap();
    log.append(&[&copied]).unwrap();
    log.commit().unwrap();
    drop(log);
    let mut bytes = disk.content(&segment(1)).unwrap();
    let offset = FIRST_RECORD_AT + HEADER_BYTES;
    bytes[offset..offset + 8].fill(0);
    disk.set_content(&segment(1), bytes);
    let (_, recovery) = open(&disk, SMALL).unwrap();
    assert_eq!(recovery.torn.unwrap().first_lsn, 2);
}

#[test]
fn case_059_swapped_segments_are_corruption() {
    let disk = filled(SMALL, 9);
    let names = segments(&disk);
    assert!(3 <= names.len());
    let (one, two) = (
        disk.content(&segment(names[1])),
        disk.content(&segment(names[2])),
    );
    disk.set_content(&segment(names[1]), two.unwrap());
    disk.set_content(&segment(names[2]), one.unwrap());
    let found = corruption(&disk, SMALL);
    assert_eq!(
        (found.damage, found.segment),
        (Damage::Foreign, segment(names[1]))
    );
}

#[test]
fn case_059_a_segment_doubled_under_the_next_name_is_corruption() {
    let disk = filled(SMALL, 9);
    let names = segments(&disk);
    let last = *names.last().unwrap();
    disk.set_content(&segment(last), disk.content(&segment(names[1])).unwrap());
    assert_eq!(corruption(&disk, SMALL).damage, Damage::Foreign);
    let disk = filled(SMALL, 9);
    let next = disk.content(&segment(last)).unwrap();
    disk.set_content(&segment(last + 1), next);
    assert!(matches!(
        corruption(&disk, SMALL).damage,
        Damage::Foreign | Damage::Missing
    ));
}

#[test]
fn a_missing_segment_is_corruption_wherever_it_was() {
    let names = segments(&filled(SMALL, 9));
    for (index, name) in names.iter().enumerate() {
        let disk = filled(SMALL, 9);
        disk.discard(&segment(*name));
        let found = corruption(&disk, SMALL);
        assert_eq!(
            (found.damage, found.segment),
            (Damage::Missing, segment(*name)),
            "{index}"
        );
        assert_eq!(found.first_lsn, *name);
    }
}

#[test]
fn a_segment_of_another_log_is_corruption() {
    let disk = filled(SMALL, 9);
    let other = FaultyDisk::new(2);
    let (mut log, _) = open(&other, SMALL).unwrap();
    for _ in 0..27 {
        log.append(&[&[9; 200]]).unwrap();
    }
    log.commit().unwrap();
    let names = segments(&disk);
    assert_eq!(segments(&other), names);
    disk.set_content(
        &segment(names[1]),
        other.content(&segment(names[1])).unwrap(),
    );
    assert_eq!(corruption(&disk, SMALL).damage, Damage::Chain);
    let disk = filled(SMALL, 9);
    disk.set_content(&dir().join("1.wal"), Vec::new());
    assert_eq!(corruption(&disk, SMALL).damage, Damage::Foreign);
}

#[test]
fn two_swapped_records_are_corruption() {
    let disk = filled(SMALL, 3);
    let record = HEADER_BYTES + 200;
    let start = FIRST_RECORD_AT + HEADER_BYTES;
    let mut bytes = disk.content(&segment(1)).unwrap();
    let (one, two) = bytes[start..start + 2 * record].split_at_mut(record);
    one.swap_with_slice(two);
    disk.set_content(&segment(1), bytes);
    assert_eq!(corruption(&disk, SMALL).first_lsn, 2);
}

#[test]
fn damage_that_comes_while_the_log_is_open_is_not_served() {
    let disk = FaultyDisk::new(4);
    let (mut log, _) = open(&disk, SMALL).unwrap();
    for number in 1..40 {
        log.append(&[&payload(number)]).unwrap();
    }
    log.commit().unwrap();
    let mut bytes = disk.content(&segment(1)).unwrap();
    let offset = FIRST_RECORD_AT + HEADER_BYTES;
    bytes[offset + HEADER_BYTES + 3] ^= 128;
    disk.set_content(&segment(1), bytes);
    let reader = log.reader();
    let Err(aura_store::ReadError::Corrupt(found)) = reader.read(1, 1 << 20) else {
        panic!("a damaged record was served");
    };
    assert_eq!((found.first_lsn, found.offset), (2, offset as u64));
    assert_eq!(reader.read(3, 1).unwrap()[0].payload.as_ref(), payload(2));
}

#[test]
fn verify_agrees_with_the_log_and_touches_nothing() {
    let disk = filled(SMALL, 9);
    let ops = disk.op_count();
    let report = verify(&disk, &dir()).unwrap();
    assert_eq!(disk.op_count(), ops);
    assert_eq!(
        (report.records, report.epoch, report.torn_bytes),
        (28, 1, 0)
    );
    let (log, recovery) = open(&disk, SMALL).unwrap();
    assert_eq!(report.head, recovery.head);
    assert_eq!(log.hash_at(28).unwrap(), Some(report.head));
    let nowhere = verify(&FaultyDisk::new(1), &dir());
    assert!(matches!(nowhere, Err(VerifyError::NotFound { .. })));
}
