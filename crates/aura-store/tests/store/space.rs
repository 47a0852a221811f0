//! Full disks.

use std::path::Path;

use aura_store::segment::file_name;
use aura_store::{AppendError, CommitError, Crash, Disk, FaultyDisk};

use crate::ledger::{Ledger, SMALL, dir, payload};

#[test]
fn case_052_a_full_disk_refuses_keeps_reading_and_goes_on_when_space_returns() {
    let disk = FaultyDisk::new(21);
    disk.set_capacity(Some(3 * SMALL.segment_bytes));
    let mut ledger = Ledger::default();
    let (mut log, _) = ledger.open(&disk).unwrap();
    let mut number = 0;
    let full = loop {
        number += 1;
        match ledger.append(&mut log, payload(number)) {
            Ok(_) => ledger.commit(&mut log).unwrap(),
            Err(error) => break error,
        };
    };
    assert!(matches!(full, AppendError::NoSpace), "{full}");
    assert!(!log.is_poisoned());
    assert_eq!(log.read(1, usize::MAX).unwrap()[0].lsn, 1);

    let urgent = ledger.append_urgent(&mut log, vec![7; 64]).unwrap();
    assert_eq!(ledger.commit(&mut log).unwrap(), urgent);
    let refused = ledger.append(&mut log, payload(8));
    assert!(matches!(refused, Err(AppendError::NoSpace)));

    disk.set_capacity(None);
    let after = ledger.append(&mut log, payload(8)).unwrap();
    assert_eq!(after, urgent + 1, "a refused record took a position");
    ledger.commit(&mut log).unwrap();
    drop(log);
    disk.crash(Crash::PowerLosesAll);
    ledger.open(&disk).unwrap();
}

#[test]
fn case_052_a_write_refused_for_space_leaves_no_trace() {
    let writes = {
        let disk = FaultyDisk::new(22);
        let mut ledger = Ledger::default();
        run(&disk, &mut ledger);
        assert_eq!(ledger.refused, 0);
        disk.write_count()
    };
    let mut refused = 0;
    for at in 0..writes {
        for short in [false, true] {
            let disk = FaultyDisk::new(22);
            disk.set_short_writes(short);
            disk.no_space_at_write(at);
            let mut ledger = Ledger::default();
            run(&disk, &mut ledger);
            refused += ledger.refused;
            disk.crash(Crash::Kill);
            let acked = ledger.acked_count();
            let (_, recovery) = ledger.open(&disk).unwrap();
            assert_eq!(recovery.torn, None, "write {at} left something");
            assert_eq!(
                ledger.acked_count(),
                acked,
                "write {at}: a refused record came back"
            );
        }
    }
    assert!(20 < refused, "too few refusals to prove anything");
}

#[test]
fn a_refused_record_does_not_come_back_after_a_kill() {
    let mut refused = 0;
    for at in 0..80 {
        let disk = FaultyDisk::new(25 + at);
        let mut ledger = Ledger::default();
        let (mut log, _) = ledger.open(&disk).unwrap();
        disk.set_short_writes(true);
        disk.no_space_at_write(at);
        for number in 0..40 {
            ledger.append(&mut log, vec![number; 700]).ok();
            if number % 2 == 1 && ledger.commit(&mut log).is_err() {
                refused += 1;
                break;
            }
        }
        drop(log);
        disk.crash(Crash::Kill);
        // The ledger no longer counts what was refused as attempted.
        ledger.open(&disk).unwrap();
    }
    assert!(20 < refused, "too few refusals to prove anything");
}

fn run(disk: &FaultyDisk, ledger: &mut Ledger) {
    let Ok((mut log, _)) = ledger.open(disk) else {
        return;
    };
    for number in 0..40 {
        let appended = ledger.append(&mut log, payload(number));
        assert!(
            matches!(appended, Ok(_) | Err(AppendError::NoSpace)),
            "{appended:?}"
        );
        if number % 2 == 1 {
            let committed = ledger.commit(&mut log);
            assert!(
                matches!(committed, Ok(_) | Err(CommitError::NoSpace)),
                "{committed:?}"
            );
        }
    }
    assert!(!log.is_poisoned());
    ledger.commit(&mut log).unwrap();
}

#[test]
fn a_record_above_the_limit_is_refused_and_the_limit_is_not() {
    let disk = FaultyDisk::new(23);
    let mut ledger = Ledger::default();
    let (mut log, _) = ledger.open(&disk).unwrap();
    let above = ledger.append(&mut log, vec![1; 1025]);
    assert!(matches!(
        above,
        Err(AppendError::TooLarge {
            len: 1025,
            max: 1024
        })
    ));
    for _ in 0..9 {
        ledger.append(&mut log, vec![1; 1024]).unwrap();
    }
    assert_eq!(ledger.append(&mut log, Vec::new()).unwrap(), 11);
    ledger.commit(&mut log).unwrap();
    drop(log);
    ledger.open(&disk).unwrap();
}

#[test]
fn a_full_disk_at_creation_leaves_nothing_that_looks_like_a_log() {
    let disk = FaultyDisk::new(24);
    disk.set_capacity(Some(SMALL.segment_bytes - 1));
    let mut ledger = Ledger::default();
    let refused = ledger.open(&disk).map(|_| ());
    assert!(
        matches!(refused, Err(aura_store::OpenError::NoSpace { .. })),
        "{refused:?}"
    );
    let first = dir().join(file_name(1));
    assert!(disk.open(Path::new(&first)).is_err());
    disk.set_capacity(None);
    assert!(ledger.open(&disk).unwrap().1.is_new);
}
