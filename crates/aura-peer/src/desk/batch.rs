//! A pull as one thing that can be taken back.
//!
//! Invariants:
//! - nothing of a pull is taken back while a file that was edited since stands in the way;
//! - where taking back is refused in the middle, it goes on from there when it is asked for again;
//! - what was taken back waits again.
//!
//! Pulls are remembered while the daemon runs, the newest [`PULLS_MAX`] of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aura_api::{Exit, Failure};
use aura_proto::RepoPath;
use aura_tree::Expect;
use aura_trust::KeyRing;

use super::{
    Desk,
    shadow::Kept,
    take::{Taken, Wanted, explain_write},
};

/// Pulls that can be taken back.
pub(super) const PULLS_MAX: usize = 16;

/// Pulls of this repository.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    /// The one that is being carried out.
    pub(super) now: Option<Batch>,
    past: VecDeque<Batch>,
    last: u64,
}

/// What a pull wrote, in order.
#[derive(Debug, Default)]
pub(super) struct Batch {
    id: String,
    rows: Vec<Row>,
    /// Records of the patches that it took.
    patches: Vec<u64>,
}

/// One file before and after.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) path: RepoPath,
    pub(super) before: Option<Vec<u8>>,
    pub(super) after: Option<Vec<u8>>,
    pub(super) shadow: Option<Kept>,
}

impl Batch {
    pub(super) fn note(&mut self, row: Row) {
        self.rows.push(row);
    }
}

impl Desk {
    /// Takes waiting patches as one pull; answers what became of each, and the pull's name if it wrote anything.
    pub(crate) fn pull(
        &mut self,
        wanted: &Wanted,
        ring: &KeyRing,
    ) -> (BTreeMap<usize, Taken>, Option<String>) {
        self.pulls.now = Some(Batch::default());
        let taken = self.take_waiting(wanted, ring);
        let Some(mut batch) = self.pulls.now.take().filter(|batch| !batch.rows.is_empty()) else {
            return (taken, None);
        };
        let applied = taken.iter().filter(|(_, taken)| **taken == Taken::Applied);
        let recorded = self.units.recorded();
        batch.patches = applied
            .map(|(index, _)| recorded[*index].origin.lsn)
            .collect();
        self.pulls.last += 1;
        batch.id = format!("p-{}", self.pulls.last);
        let id = batch.id.clone();
        self.pulls.past.push_back(batch);
        if PULLS_MAX < self.pulls.past.len() {
            self.pulls.past.pop_front();
        }
        (taken, Some(id))
    }

    /// Gives the files of a pull back as they were; answers which.
    pub(crate) fn undo_pull(&mut self, id: &str) -> Result<Vec<String>, Failure> {
        let Some(at) = self.pulls.past.iter().position(|batch| batch.id == id) else {
            return Err(
                Failure::new("AE-NO-OP", Exit::USAGE, format!("there is no pull {id}"))
                    .next("aura log", "operations that can be taken back"),
            );
        };
        let rows = self.pulls.past[at].rows.iter();
        let last: BTreeMap<&RepoPath, &Row> = rows.map(|row| (&row.path, row)).collect();
        for (path, row) in last {
            let now = self.copy.root().read_file(path).ok();
            let now = now.map(|file| file.bytes);
            if now != row.after && now != row.before {
                let message = format!("{} has changed since the pull", path.as_str());
                return Err(Failure::new("AE-MOVED", Exit::STALE, message)
                    .next("aura diff", "see what is different"));
            }
        }
        let Some(mut batch) = self.pulls.past.remove(at) else {
            return Ok(Vec::new());
        };
        let mut files = Vec::new();
        while let Some(row) = batch.rows.last() {
            if let Err(failure) = self.take_back(row) {
                self.pulls.past.insert(at, batch);
                return Err(failure);
            }
            files.push(row.path.as_str().to_owned());
            batch.rows.pop();
        }
        for lsn in &batch.patches {
            self.loose.taken_back(*lsn);
        }
        self.loose.save();
        let taken: BTreeSet<u64> = batch.patches.into_iter().collect();
        let recorded = self.units.recorded().iter().enumerate();
        let again = recorded.filter(|(_, recorded)| taken.contains(&recorded.origin.lsn));
        self.waiting.extend(again.map(|(index, _)| index));
        files.dedup();
        Ok(files)
    }

    /// Gives one file back as it was; one that is so already is left alone.
    fn take_back(&mut self, row: &Row) -> Result<(), Failure> {
        let now = self.copy.root().read_file(&row.path).ok();
        if now.map(|file| file.bytes) != row.before {
            let expect = row
                .after
                .as_ref()
                .map_or(Expect::Absent, |bytes| Expect::Hash(blake3::hash(bytes)));
            self.copy
                .replace(
                    self.clock.mono_ms(),
                    &row.path,
                    expect,
                    row.before.as_deref(),
                )
                .map_err(|refusal| {
                    Failure::new("AE-MOVED", Exit::STALE, explain_write(&refusal))
                })?;
        }
        self.shadows.restore(&row.path, row.shadow.clone())
    }
}
