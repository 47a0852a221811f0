//! Crashes at every operation, torn tails and failing syncs.

use std::sync::Arc;

use aura_store::record::HEADER_BYTES;
use aura_store::segment::{FIRST_RECORD_AT, file_name};
use aura_store::{AppendError, CommitError, Crash, FaultyDisk, Log, OpenError};

use crate::ledger::{Ledger, SMALL, dir, payload};

const CRASHES: [Crash; 3] = [Crash::Kill, Crash::Power, Crash::PowerLosesAll];

/// Opens, writes batches of one to three records over several segments, opens again, writes more.
fn script(disk: &FaultyDisk, ledger: &mut Ledger) -> Result<(), ()> {
    let mut number = 0;
    for _ in 0..3 {
        let (mut log, _) = ledger
            .open(disk)
            .map_err(|error| assert_down(disk, &error))?;
        for batch in 0..12 {
            for _ in 0..=batch % 3 {
                number += 1;
                ledger.append(&mut log, payload(number)).map_err(|_| ())?;
            }
            ledger.commit(&mut log).map_err(|_| ())?;
        }
    }
    Ok(())
}

/// A crash is the only reason why this disk's log may not open.
fn assert_down(disk: &FaultyDisk, error: &OpenError) {
    assert!(disk.is_down(), "the log does not open: {error}");
}

fn script_ops(seed: u64) -> u64 {
    let disk = FaultyDisk::new(seed);
    disk.set_short_writes(seed % 2 == 1);
    script(&disk, &mut Ledger::default()).unwrap();
    disk.op_count()
}

#[test]
fn case_050_a_crash_at_any_operation_loses_nothing_acknowledged() {
    for seed in 0..4 {
        let ops = script_ops(seed);
        assert!(100 < ops, "the script is too short to prove anything");
        for op in 0..ops {
            for how in CRASHES {
                let disk = FaultyDisk::new(seed);
                disk.set_short_writes(seed % 2 == 1);
                disk.crash_at(Some(op));
                let mut ledger = Ledger::default();
                script(&disk, &mut ledger).unwrap_err();
                disk.crash(how);
                let (mut log, _) = ledger.open(&disk).unwrap();
                ledger.append(&mut log, payload(1000)).unwrap();
                ledger.commit(&mut log).unwrap();
                drop(log);
                disk.crash(Crash::PowerLosesAll);
                ledger.open(&disk).unwrap();
            }
        }
    }
}

#[test]
fn a_crash_at_any_operation_of_a_recovery_loses_nothing_acknowledged() {
    let ops = script_ops(7);
    for op in 0..ops {
        for recovery_op in 0..24 {
            // After a kill the recovery finds bytes that no sync has covered yet.
            for first in [Crash::Kill, Crash::Power] {
                let disk = FaultyDisk::new(7 + recovery_op);
                disk.set_short_writes(true);
                disk.crash_at(Some(op));
                let mut ledger = Ledger::default();
                let _ = script(&disk, &mut ledger);
                disk.crash(first);
                disk.crash_at(Some(recovery_op));
                if ledger.open(&disk).is_ok() {
                    continue;
                }
                disk.crash(Crash::Power);
                let (mut log, _) = ledger.open(&disk).unwrap();
                ledger.append(&mut log, payload(1000)).unwrap();
                ledger.commit(&mut log).unwrap();
                drop(log);
                ledger.open(&disk).unwrap();
            }
        }
    }
}

#[test]
fn every_open_starts_a_higher_epoch_even_after_lost_boots() {
    let disk = FaultyDisk::new(3);
    let mut ledger = Ledger::default();
    for round in 1..=12 {
        let (log, recovery) = ledger.open(&disk).unwrap();
        assert_eq!(log.epoch(), round);
        assert_eq!(recovery.is_new, round == 1);
        drop(log);
        disk.crash(Crash::PowerLosesAll);
    }
}

/// A log with an acknowledged batch, and a batch of two that was written and never synced.
/// Returns the file's content and where the two records start and end.
fn unacked_pair() -> (FaultyDisk, Ledger, Vec<u8>, [usize; 3]) {
    let disk = FaultyDisk::new(11);
    let mut ledger = Ledger::default();
    let (mut log, _) = ledger.open(&disk).unwrap();
    ledger.append(&mut log, vec![1; 64]).unwrap();
    ledger.commit(&mut log).unwrap();
    ledger.append(&mut log, vec![2; 64]).unwrap();
    ledger.append(&mut log, vec![3; 64]).unwrap();
    // The write passes, the machine stops inside the sync.
    disk.crash_at(Some(1));
    ledger.commit(&mut log).unwrap_err();
    drop(log);
    disk.crash(Crash::Kill);
    let bytes = disk.content(&segment(1)).unwrap();
    let record = HEADER_BYTES + 64;
    let first = FIRST_RECORD_AT + HEADER_BYTES + record;
    (
        disk,
        ledger,
        bytes,
        [first, first + record, first + 2 * record],
    )
}

fn segment(first_lsn: u64) -> std::path::PathBuf {
    dir().join(file_name(first_lsn))
}

#[test]
fn case_053_a_tail_cut_at_any_byte_is_a_torn_tail() {
    let (_, _, _, [first, _, end]) = unacked_pair();
    for cut in first..=end {
        for zeroed in [false, true] {
            let (disk, mut ledger, mut bytes, [_, second, _]) = unacked_pair();
            if zeroed {
                bytes[cut..].fill(0);
            } else {
                bytes.truncate(cut);
            }
            disk.set_content(&segment(1), bytes);
            let (log, recovery) = ledger.open(&disk).unwrap();
            let kept = 2 + u64::from(second <= cut) + u64::from(end <= cut);
            assert_eq!(recovery.last_lsn, kept, "cut at {cut}, zeroed {zeroed}");
            let is_clean = [first, second, end].contains(&cut);
            assert_eq!(
                recovery.torn.is_none(),
                is_clean,
                "cut at {cut}, zeroed {zeroed}"
            );
            if let Some(torn) = recovery.torn {
                assert_eq!(
                    disk.content(&torn.quarantined).unwrap().len() as u64,
                    torn.bytes
                );
            }
            assert_eq!(log.epoch(), 2);
        }
    }
}

#[test]
fn case_053_b_the_last_acknowledged_record_cut_at_any_byte_still_starts() {
    let record = HEADER_BYTES + 64;
    let start = FIRST_RECORD_AT + HEADER_BYTES + record;
    for cut in start + 1..start + record {
        let disk = FaultyDisk::new(12);
        let mut log = Log::open(Arc::new(disk.clone()), &dir(), SMALL).unwrap().0;
        for byte in 0..2 {
            log.append(&[&[byte; 64]]).unwrap();
            log.commit().unwrap();
        }
        drop(log);
        let mut bytes = disk.content(&segment(1)).unwrap();
        bytes.truncate(cut);
        disk.set_content(&segment(1), bytes);
        let (log, recovery) = Log::open(Arc::new(disk), &dir(), SMALL).unwrap();
        assert_eq!(recovery.last_lsn, 2);
        assert!(recovery.torn.is_some());
        assert_eq!(log.read(2, 4096).unwrap()[0].payload.as_ref(), [0; 64]);
    }
}

#[test]
fn case_057_the_first_of_two_unacked_records_lost_is_no_corruption() {
    let (disk, mut ledger, mut bytes, [first, second, _]) = unacked_pair();
    bytes[first..second].fill(0);
    disk.set_content(&segment(1), bytes);
    let (log, recovery) = ledger.open(&disk).unwrap();
    let torn = recovery.torn.unwrap();
    assert_eq!((recovery.last_lsn, torn.first_lsn), (2, 3));
    assert_eq!(log.read(1, 1 << 20).unwrap().len(), 3);
}

#[test]
fn case_057_a_zeroed_unacked_tail_is_no_corruption() {
    let (disk, mut ledger, mut bytes, [first, ..]) = unacked_pair();
    bytes[first..].fill(0);
    disk.set_content(&segment(1), bytes);
    let (_, recovery) = ledger.open(&disk).unwrap();
    assert_eq!((recovery.last_lsn, recovery.torn), (2, None));
}

#[test]
fn case_051_a_failed_sync_stops_the_log_for_good() {
    let syncs = {
        let disk = FaultyDisk::new(5);
        script(&disk, &mut Ledger::default()).unwrap();
        disk.sync_count()
    };
    for at in 0..syncs {
        for how in CRASHES {
            let disk = FaultyDisk::new(5);
            disk.fail_sync_at(at);
            let mut ledger = Ledger::default();
            fail_then_check_poison(&disk, &mut ledger);
            disk.crash(how);
            // What a restart believes must be on disk, even if the first sync lied about it.
            drop(ledger.open(&disk).unwrap());
            disk.crash(Crash::PowerLosesAll);
            ledger.open(&disk).unwrap();
        }
    }
}

/// Writes until the planned sync error and asserts that nothing is taken after it.
fn fail_then_check_poison(disk: &FaultyDisk, ledger: &mut Ledger) {
    let mut number = 0;
    for _ in 0..2 {
        let Ok((mut log, _)) = ledger.open(disk) else {
            return;
        };
        for _ in 0..9 {
            for _ in 0..2 {
                number += 1;
                let appended = ledger.append(&mut log, payload(number));
                assert_eq!(appended.is_err(), log.is_poisoned());
            }
            let committed = ledger.commit(&mut log);
            assert_eq!(committed.is_err(), log.is_poisoned());
            if log.is_poisoned() {
                let durable = log.durable();
                assert!(matches!(log.commit(), Err(CommitError::Poisoned)));
                assert!(matches!(log.append(&[b"x"]), Err(AppendError::Poisoned)));
                assert!(matches!(
                    log.append_urgent(&[b"x"]),
                    Err(AppendError::Poisoned)
                ));
                assert_eq!(log.durable(), durable);
                return;
            }
        }
    }
}

#[test]
fn one_seed_gives_one_log() {
    let run = |seed| {
        let disk = FaultyDisk::new(seed);
        disk.set_short_writes(true);
        disk.crash_at(Some(70));
        let mut ledger = Ledger::default();
        script(&disk, &mut ledger).unwrap_err();
        disk.crash(Crash::Power);
        disk.content(&segment(1))
    };
    assert_eq!(run(42), run(42));
    assert_ne!(run(42), run(43), "the seed has no say");
}
