//! Patches whose traces in a file do not tell whether it has them: moves, and text between units, alone or with the
//! whole file.
//!
//! Every other patch is known by the content that it leads to, so nothing else needs to be remembered.
//!
//! Invariants:
//! - a move or a gap is carried out when its patch is taken, and not again after a restart;
//! - losing the memory costs the moves and gaps that waited, never one that was made since.

use std::{collections::BTreeSet, path::Path, path::PathBuf};

use aura_proto::codec;
use aura_semantic::{FilePatch, Op};
use aura_store::write_atomic;
use serde::{Deserialize, Serialize};

/// What is remembered on disk.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    /// The last record of the log that was looked at.
    seen: u64,
    /// Records up to there whose moves and gaps wait.
    waiting: BTreeSet<u64>,
    /// Records that git took out of the files again.
    dropped: BTreeSet<u64>,
}

/// Which records have moves or gaps, and which of those wait to be carried out.
#[derive(Debug)]
pub(super) struct Loose {
    file: PathBuf,
    all: BTreeSet<u64>,
    waiting: BTreeSet<u64>,
    dropped: BTreeSet<u64>,
    /// What an earlier process remembered, while the log is replayed.
    before: Option<Memory>,
    seen: u64,
    is_saved: bool,
}

impl Loose {
    pub(super) fn open(state_dir: &Path) -> Self {
        let file = state_dir.join("loose");
        let before = std::fs::read(&file).ok();
        let before = before.and_then(|bytes| codec::decode(&bytes).ok());
        let forgotten = Memory {
            seen: u64::MAX,
            ..Memory::default()
        };
        let before: Memory = before.unwrap_or(forgotten);
        Self {
            file,
            all: BTreeSet::new(),
            waiting: BTreeSet::new(),
            dropped: before.dropped.clone(),
            before: Some(before),
            seen: 0,
            is_saved: false,
        }
    }

    /// Takes in a patch that the files may lack; `moves_again` tells that it inserts what is there already.
    pub(super) fn note(&mut self, lsn: u64, patch: &FilePatch, moves_again: bool) {
        let is_loose = |op: &Op| matches!(op, Op::Gap { .. } | Op::Move { .. });
        let is_whole = |op: &Op| matches!(op, Op::File { .. });
        if !moves_again && !patch.ops.iter().any(|op| is_loose(op) || is_whole(op)) {
            return;
        }
        self.seen = self.seen.max(lsn);
        // Who takes a whole file back takes its units back, too, and those tell.
        if moves_again || patch.ops.iter().any(is_loose) {
            self.all.insert(lsn);
        }
        self.hold(lsn);
    }

    /// Takes in a record that may have moves or gaps: it cannot be read yet.
    pub(super) fn hold(&mut self, lsn: u64) {
        let waits = match &self.before {
            Some(before) => before.seen < lsn || before.waiting.contains(&lsn),
            None => true,
        };
        if waits && self.waiting.insert(lsn) {
            self.is_saved = false;
        }
    }

    /// The log is replayed; what comes now is new.
    pub(super) fn replayed(&mut self) {
        self.before = None;
    }

    /// Whether moves and gaps of a record are still to be carried out.
    pub(super) fn waits(&self, lsn: u64) -> bool {
        self.waiting.contains(&lsn)
    }

    /// A patch was taken.
    pub(super) fn taken(&mut self, lsn: u64) {
        let waited = self.waiting.remove(&lsn);
        if self.dropped.remove(&lsn) || waited {
            self.is_saved = false;
        }
    }

    /// Git took what a patch had done out of the files.
    pub(super) fn dropped(&mut self, lsn: u64) {
        self.taken_back(lsn);
        if self.dropped.insert(lsn) {
            self.is_saved = false;
        }
    }

    /// Whether git took what a patch had done out of the files, so that only its user brings it back.
    pub(super) fn is_dropped(&self, lsn: u64) -> bool {
        self.dropped.contains(&lsn)
    }

    /// A patch was taken back.
    pub(super) fn taken_back(&mut self, lsn: u64) {
        if self.all.contains(&lsn) && self.waiting.insert(lsn) {
            self.is_saved = false;
        }
    }

    /// Puts what changed on the disk; a disk that refuses costs what this file is for, and the next call tries again.
    pub(super) fn save(&mut self) {
        if self.is_saved {
            return;
        }
        let memory = Memory {
            seen: self.seen,
            waiting: self.waiting.clone(),
            dropped: self.dropped.clone(),
        };
        match write_atomic(&self.file, &codec::encode(&memory), 0o600) {
            Ok(()) => self.is_saved = true,
            Err(error) => tracing::warn!(%error, "moves that wait are not remembered"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use aura_semantic::Text;

    use super::*;

    fn gap() -> FilePatch {
        let op = Op::Gap {
            parent: None,
            after: None,
            next: None,
            base_text: Text::default(),
            text: "// New.\n".into(),
        };
        FilePatch {
            path: "a.rs".to_owned(),
            base: None,
            result: None,
            ops: vec![op],
            touched: Vec::new(),
        }
    }

    /// Opens the memory and replays records with gaps.
    fn replayed(dir: &Path, lsns: &[u64]) -> Loose {
        let mut loose = Loose::open(dir);
        lsns.iter().for_each(|lsn| loose.note(*lsn, &gap(), false));
        loose.replayed();
        loose
    }

    #[test]
    fn what_was_taken_stays_taken_and_what_waited_waits_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut loose = replayed(dir.path(), &[]);
        loose.note(3, &gap(), false);
        loose.note(5, &gap(), false);
        loose.taken(3);
        loose.save();
        // The process ends before it has said anything about a sixth record.
        let mut again = replayed(dir.path(), &[3, 5, 6]);
        assert_eq!([3, 5, 6].map(|lsn| again.waits(lsn)), [false, true, true]);
        again.taken_back(3);
        again.taken_back(4);
        assert_eq!([3, 4].map(|lsn| again.waits(lsn)), [true, false]);
    }

    #[test]
    fn without_a_memory_nothing_old_is_carried_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut loose = replayed(dir.path(), &[3]);
        assert!(!loose.waits(3));
        loose.note(4, &gap(), false);
        assert!(loose.waits(4));
    }
}
