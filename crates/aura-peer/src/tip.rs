//! How far a log came, remembered beside it: a log that has lost its end, or all of it, looks like a whole one that is
//! shorter.
//!
//! Invariants:
//! - what is remembered was durable in the log before;
//! - losing the memory costs that a loss is not noticed, nothing else, so it is not synced.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use aura_store::{Hash, Log, open_private};

const BYTES: usize = 8 + 8 + 32 + 32;

/// A record that was durable, and what of the team's order was known by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) lsn: u64,
    /// Hash of the chain up to it.
    pub(crate) hash: Hash,
    /// Position in the Mothership's log.
    pub(crate) seq: u64,
}

impl Tip {
    pub(crate) fn of(log: &Log, seq: u64) -> Self {
        Self {
            lsn: log.durable(),
            hash: log.head(),
            seq,
        }
    }

    fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend(self.lsn.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.hash);
        let sum = blake3::hash(&bytes);
        bytes.extend(sum.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tip, sum) = bytes.split_at_checked(BYTES - 32)?;
        if blake3::hash(tip).as_bytes() != sum {
            return None;
        }
        let number = |at: usize| Some(u64::from_be_bytes(tip.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            lsn: number(0)?,
            seq: number(8)?,
            hash: tip.get(16..)?.try_into().ok()?,
        })
    }

    /// Whether a log has the record.
    pub(crate) fn is_in(&self, log: &Log) -> bool {
        self.lsn == 0
            || log
                .hash_at(self.lsn)
                .is_ok_and(|hash| hash == Some(self.hash))
    }
}

/// The file that remembers.
#[derive(Debug)]
pub(crate) struct Memory {
    at: PathBuf,
    file: Option<File>,
}

impl Memory {
    /// The memory of the log in `dir`, beside it, and what it holds.
    pub(crate) fn beside(dir: &Path) -> (Self, Option<Tip>) {
        let at = dir.with_file_name("tip");
        let tip = fs::read(&at).ok().and_then(|bytes| Tip::decode(&bytes));
        (Self { at, file: None }, tip)
    }

    /// Remembers; what cannot be written costs what this file is for.
    pub(crate) fn keep(&mut self, tip: Tip) {
        if self.file.is_none() {
            self.file = open_private(&self.at).ok();
        }
        if let Some(file) = &self.file {
            file.write_all_at(&tip.encode(), 0).ok();
        }
    }
}
