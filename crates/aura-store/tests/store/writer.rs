//! Group commit.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread;

use aura_store::{
    AppendError, FaultyDisk, Log, Options, Outcome, QueueLimits, RealDisk, Submission, SubmitError,
    Writer,
};
use bytes::Bytes;

use crate::ledger::{SMALL, dir};

fn log(disk: &FaultyDisk, options: Options) -> Log {
    Log::open(Arc::new(disk.clone()), &dir(), options)
        .unwrap()
        .0
}

fn submission(ticket: u64, len: usize) -> Submission<u64> {
    let body = Bytes::from(vec![ticket as u8; len]);
    Submission::new(
        ticket,
        vec![Bytes::copy_from_slice(&ticket.to_le_bytes()), body],
    )
}

/// A writer whose callback hands every outcome over and waits for leave to go on.
fn stepped(
    log: Log,
    limits: QueueLimits,
) -> (Writer<u64>, mpsc::Receiver<Outcome<u64>>, mpsc::Sender<()>) {
    let (told, outcomes) = mpsc::channel();
    let (go, leave) = mpsc::channel();
    let writer = Writer::spawn(log, limits, move |outcome| {
        told.send(outcome).unwrap();
        let _ = leave.recv();
    });
    (writer.unwrap(), outcomes, go)
}

#[test]
fn what_waits_while_the_disk_is_busy_shares_one_sync() {
    let disk = FaultyDisk::new(1);
    let options = Options {
        segment_bytes: 1 << 20,
        ..SMALL
    };
    let (writer, outcomes, go) = stepped(log(&disk, options), QueueLimits::default());
    let handle = writer.handle();
    handle.submit(submission(0, 10)).unwrap();
    let Outcome::Durable { up_to: 2, records } = outcomes.recv().unwrap() else {
        panic!()
    };
    assert_eq!(records, [(2, 0)]);
    let syncs = disk.sync_count();
    for ticket in 1..=50 {
        handle.submit(submission(ticket, 10)).unwrap();
    }
    go.send(()).unwrap();
    let Outcome::Durable { up_to: 52, records } = outcomes.recv().unwrap() else {
        panic!()
    };
    assert_eq!(
        records,
        (1..=50)
            .map(|ticket| (ticket + 2, ticket))
            .collect::<Vec<_>>()
    );
    assert_eq!(disk.sync_count(), syncs + 1);
    drop(go);
    let log = writer.close().unwrap();
    assert_eq!(log.read(1, 1 << 20).unwrap().len(), 52);
    assert!(matches!(
        handle.submit(submission(1, 1)),
        Err(SubmitError::Closed(_))
    ));
}

#[test]
fn a_full_queue_gives_the_submission_back() {
    let disk = FaultyDisk::new(2);
    let limits = QueueLimits {
        records_max: 2,
        bytes_max: 1000,
    };
    let (writer, outcomes, go) = stepped(log(&disk, SMALL), limits);
    let handle = writer.handle();
    handle.submit(submission(0, 1)).unwrap();
    outcomes.recv().unwrap();
    handle.submit(submission(1, 1)).unwrap();
    handle.submit(submission(2, 1)).unwrap();
    let refused = handle.submit(submission(3, 1));
    assert_eq!(refused, Err(SubmitError::Full(submission(3, 1))));
    assert_eq!(handle.waiting(), 2);
    let waiting = {
        let handle = handle.clone();
        thread::spawn(move || handle.submit_wait(submission(3, 1)))
    };
    drop(go);
    waiting.join().unwrap().unwrap();
    assert_eq!(writer.close().unwrap().durable(), 5);
}

#[test]
fn positions_follow_the_order_of_each_submitter_over_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(Arc::new(RealDisk), dir.path(), SMALL).unwrap();
    let (told, outcomes) = mpsc::channel();
    let writer = Writer::spawn(log, QueueLimits::default(), move |outcome| {
        told.send(outcome).unwrap();
    })
    .unwrap();
    let submitters: Vec<_> = (0..4_u64)
        .map(|submitter| {
            let handle = writer.handle();
            thread::spawn(move || {
                for number in 0..200 {
                    handle
                        .submit_wait(submission(submitter << 32 | number, 100))
                        .unwrap();
                }
            })
        })
        .collect();
    submitters
        .into_iter()
        .for_each(|submitter| submitter.join().unwrap());
    let log = writer.close().unwrap();
    let mut next: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut lsn_before, mut durable) = (1, 1);
    for outcome in outcomes {
        let Outcome::Durable { up_to, records } = outcome else {
            panic!("{outcome:?}")
        };
        assert!(durable < up_to);
        durable = up_to;
        for (lsn, ticket) in records {
            assert_eq!(lsn, lsn_before + 1);
            lsn_before = lsn;
            let number = next.entry(ticket >> 32).or_default();
            assert_eq!(ticket & 0xffff_ffff, *number);
            *number += 1;
            assert_eq!(
                log.read(lsn, 1).unwrap()[0].payload[..8],
                ticket.to_le_bytes()
            );
        }
        assert!(lsn_before <= up_to);
    }
    assert_eq!((lsn_before, log.durable()), (801, 801));
}

#[test]
fn case_051_a_sync_error_is_told_once_and_nothing_after_it_is_acknowledged() {
    for at in 0..6 {
        let disk = FaultyDisk::new(3);
        let opened = log(&disk, SMALL);
        disk.fail_sync_at(at);
        let (told, outcomes) = mpsc::channel();
        let writer = Writer::spawn(opened, QueueLimits::default(), move |outcome| {
            told.send(outcome).unwrap();
        })
        .unwrap();
        let handle = writer.handle();
        let taken = (0..100).filter(|ticket| handle.submit(submission(*ticket, 300)).is_ok());
        let taken: Vec<u64> = taken.collect();
        let log = writer.close().unwrap();
        assert!(log.is_poisoned());
        let mut told = Vec::new();
        let mut failures = 0;
        for outcome in outcomes {
            assert_eq!(failures, 0, "something was told after the failure");
            match outcome {
                Outcome::Durable { up_to, records } => {
                    assert!(up_to <= log.durable());
                    told.extend(records.into_iter().map(|(_, ticket)| ticket));
                }
                Outcome::Failed { tickets, .. } => {
                    failures += 1;
                    told.extend(tickets);
                }
                Outcome::Refused { .. } => panic!("refused"),
            }
        }
        assert_eq!((failures, told), (1, taken), "sync {at}");
    }
}

#[test]
fn case_052_refusals_keep_their_place_and_urgent_records_pass() {
    let disk = FaultyDisk::new(4);
    disk.set_capacity(Some(2 * SMALL.segment_bytes - 1));
    let (told, outcomes) = mpsc::channel();
    let writer = Writer::spawn(log(&disk, SMALL), QueueLimits::default(), move |outcome| {
        told.send(outcome).unwrap();
    })
    .unwrap();
    let handle = writer.handle();
    for ticket in 0..20 {
        let is_urgent = ticket == 15;
        handle
            .submit(Submission {
                is_urgent,
                ..submission(ticket, 292)
            })
            .unwrap();
    }
    let log = writer.close().unwrap();
    let mut order = Vec::new();
    let mut refused = Vec::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Durable { records, .. } => order.extend(records.iter().map(|(_, t)| *t)),
            Outcome::Refused { ticket, error } => {
                assert!(matches!(error, AppendError::NoSpace));
                order.push(ticket);
                refused.push(ticket);
            }
            Outcome::Failed { error, .. } => panic!("{error}"),
        }
    }
    assert_eq!(order, (0..20).collect::<Vec<_>>());
    assert!(10 < refused.len() && !refused.contains(&15), "{refused:?}");
    assert!(!log.is_poisoned());
}

#[test]
fn a_callback_that_panics_closes_the_queue() {
    let disk = FaultyDisk::new(5);
    let writer = Writer::spawn(log(&disk, SMALL), QueueLimits::default(), |_| {
        panic!("callback")
    });
    let writer = writer.unwrap();
    let handle = writer.handle();
    let mut ticket = 0;
    while handle.submit_wait(submission(ticket, 1)).is_ok() {
        ticket += 1;
    }
    assert!(writer.close().is_none());
}
