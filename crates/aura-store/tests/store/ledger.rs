//! What a test asked a log to keep, and whether it kept it.
//!
//! Invariants:
//! - an acknowledged record is in the log, byte for byte, at its position;
//! - nothing is in the log that nobody attempted;
//! - a pair of epoch and position never names two contents.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use aura_store::{
    AppendError, CommitError, FaultyDisk, Kind, Log, OpenError, Options, Recovery, ZERO_HASH,
    chain_hash,
};

/// Small segments, so that a short script rolls several times.
pub(crate) const SMALL: Options = Options {
    segment_bytes: 4096,
    record_bytes_max: 1024,
    reserve_bytes: 512,
    create: true,
};

type Content = (Kind, Vec<u8>);

#[derive(Default)]
pub(crate) struct Ledger {
    attempted: BTreeSet<(u64, u64, Vec<u8>)>,
    pending: BTreeMap<u64, (u64, Vec<u8>)>,
    acked: BTreeMap<u64, (u64, Vec<u8>)>,
    seen: BTreeMap<(u64, u64), Content>,
    epoch: u64,
    pub(crate) refused: usize,
}

pub(crate) fn dir() -> PathBuf {
    PathBuf::from("/log")
}

pub(crate) fn payload(number: u64) -> Vec<u8> {
    let len = (number * 37 % 301) as usize;
    (0..len)
        .map(|at| (number as usize * 31 + at * 7) as u8)
        .collect()
}

impl Ledger {
    /// Opens the log and compares what it recovered with what was asked of it.
    pub(crate) fn open(&mut self, disk: &FaultyDisk) -> Result<(Log, Recovery), OpenError> {
        self.open_sized(disk, SMALL)
    }

    pub(crate) fn open_sized(
        &mut self,
        disk: &FaultyDisk,
        options: Options,
    ) -> Result<(Log, Recovery), OpenError> {
        let mut found = Vec::new();
        let opened = Log::open_with(Arc::new(disk.clone()), &dir(), options, |record| {
            found.push((
                record.lsn,
                record.epoch,
                record.kind,
                record.payload.to_vec(),
            ));
        });
        let (log, recovery) = opened?;
        self.check(&found, &recovery);
        assert!(self.epoch < log.epoch(), "the epoch did not grow");
        self.epoch = log.epoch();
        assert_eq!(
            log.durable(),
            recovery.last_lsn + 1,
            "the boot record is durable"
        );
        self.pending.clear();
        for (lsn, epoch, kind, bytes) in found {
            if kind == Kind::Data {
                self.acked.insert(lsn, (epoch, bytes));
            }
        }
        Ok((log, recovery))
    }

    fn check(&mut self, found: &[(u64, u64, Kind, Vec<u8>)], recovery: &Recovery) {
        let mut head = ZERO_HASH;
        for (index, (lsn, epoch, kind, bytes)) in found.iter().enumerate() {
            assert_eq!(*lsn, index as u64 + 1, "positions have a gap");
            head = chain_hash(&head, *lsn, *epoch, bytes);
            let is_attempted = match kind {
                Kind::Boot => bytes.is_empty(),
                Kind::Data => self.attempted.contains(&(*epoch, *lsn, bytes.clone())),
            };
            assert!(is_attempted, "record {lsn} was never attempted");
            let content = (*kind, bytes.clone());
            let before = self
                .seen
                .entry((*epoch, *lsn))
                .or_insert_with(|| content.clone());
            assert_eq!(
                *before, content,
                "position {lsn} of epoch {epoch} has two contents"
            );
        }
        assert_eq!(head, recovery.head, "the chain does not lead to the head");
        for (lsn, (epoch, bytes)) in &self.acked {
            let record = found.get(*lsn as usize - 1);
            let (_, found_epoch, kind, found_bytes) =
                record.unwrap_or_else(|| panic!("acknowledged record {lsn} is lost"));
            assert_eq!(
                (found_epoch, *kind, found_bytes),
                (epoch, Kind::Data, bytes)
            );
        }
    }

    pub(crate) fn append(&mut self, log: &mut Log, bytes: Vec<u8>) -> Result<u64, AppendError> {
        let middle = bytes.len() / 2;
        let lsn = log.append(&[&bytes[..middle], &bytes[middle..]]);
        self.note(log, lsn, bytes)
    }

    pub(crate) fn append_urgent(
        &mut self,
        log: &mut Log,
        bytes: Vec<u8>,
    ) -> Result<u64, AppendError> {
        let lsn = log.append_urgent(&[&bytes]);
        self.note(log, lsn, bytes)
    }

    fn note(
        &mut self,
        log: &Log,
        lsn: Result<u64, AppendError>,
        bytes: Vec<u8>,
    ) -> Result<u64, AppendError> {
        match &lsn {
            Ok(lsn) => {
                self.attempted.insert((log.epoch(), *lsn, bytes.clone()));
                self.pending.insert(*lsn, (log.epoch(), bytes));
            }
            Err(_) => self.refused += 1,
        }
        // Making a new segment commits what was buffered.
        self.acknowledge(log.durable());
        lsn
    }

    pub(crate) fn commit(&mut self, log: &mut Log) -> Result<u64, CommitError> {
        let durable = log.commit();
        if let Ok(durable) = &durable {
            self.acknowledge(*durable);
            assert!(self.pending.is_empty(), "a commit left something behind");
        }
        if let Err(CommitError::NoSpace) = &durable {
            self.refused += self.pending.len();
            for (lsn, (epoch, bytes)) in std::mem::take(&mut self.pending) {
                self.attempted.remove(&(epoch, lsn, bytes));
            }
        }
        durable
    }

    fn acknowledge(&mut self, durable: u64) {
        let later = self.pending.split_off(&(durable + 1));
        self.acked
            .append(&mut std::mem::replace(&mut self.pending, later));
    }

    pub(crate) fn acked_count(&self) -> usize {
        self.acked.len()
    }
}
