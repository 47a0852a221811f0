//! What is known of each file: how many units it has, and whether it may be passed over unread.
//!
//! Invariants:
//! - a file is passed over only while file and shadow are those that were found equal;
//! - a file that was read so soon after a write that another write could bear the same time is read again;
//! - losing what is kept here costs a reading of the files, never an edit.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use aura_api::Failure;
use aura_proto::{RepoPath, codec};
use aura_semantic::Budget;
use aura_tree::{FileStamp, Repo, Root, Skipped};
use serde::{Deserialize, Serialize};

use super::{Desk, claim::is_in, git_failure, shadow::Shadows};

/// Times of files are this coarse at worst, in nanoseconds.
const GRAIN_NS: i128 = 100_000_000;
/// Once so many rows of a hundred are new, all are kept again.
const NEW_PERCENT: usize = 5;

/// Names a file and its shadow as they were when they were found equal.
type Mark = [u8; 16];

#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
struct Row {
    units: usize,
    equal: Option<Mark>,
}

/// The files of a working copy.
pub(crate) struct Files {
    at: PathBuf,
    /// Whether this working copy was never looked at before.
    is_first: bool,
    rows: BTreeMap<RepoPath, Row>,
    unsaved: usize,
}

impl Files {
    /// Takes up what was kept, if anything was.
    pub(super) fn open(at: &Path) -> Self {
        Self {
            at: at.to_owned(),
            is_first: !at.exists(),
            rows: read(at).unwrap_or_default(),
            unsaved: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the working copy has a file.
    pub(super) fn has(&self, path: &RepoPath) -> bool {
        self.rows.contains_key(path)
    }

    /// Whether a path is a directory with files.
    pub(super) fn has_below(&self, dir: &str) -> bool {
        let mut paths = self.rows.keys().map(RepoPath::as_str);
        paths.any(|path| is_in(path, dir) && path != dir)
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &RepoPath> {
        self.rows.keys()
    }

    pub(super) fn count(&mut self, path: &RepoPath, units: usize) {
        self.rows.insert(path.clone(), Row { units, equal: None });
    }

    pub(super) fn remove(&mut self, path: &RepoPath) {
        self.rows.remove(path);
    }

    fn save(&mut self) {
        let rows: Vec<(&str, Row)> = self
            .rows
            .iter()
            .map(|(path, row)| (path.as_str(), *row))
            .collect();
        let rows = codec::encode(&rows);
        let sum = blake3::hash(&rows);
        // Not synced: what a crash leaves of it does not fit its sum.
        if fs::write(&self.at, [sum.as_bytes(), &rows[..]].concat()).is_ok() {
            self.unsaved = 0;
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if 0 < self.unsaved {
            self.save();
        }
    }
}

fn read(at: &Path) -> Option<BTreeMap<RepoPath, Row>> {
    let bytes = fs::read(at).ok()?;
    let (sum, rows) = bytes.split_first_chunk::<32>()?;
    if blake3::hash(rows) != *sum {
        return None;
    }
    let rows: Vec<(String, Row)> = codec::decode(rows).ok()?;
    rows.into_iter()
        .map(|(path, row)| Some((RepoPath::try_from(path.as_str()).ok()?, row)))
        .collect()
}

/// What is needed to look at a file; many threads look at once.
struct Sight<'a> {
    rows: &'a BTreeMap<RepoPath, Row>,
    root: &'a Root,
    shadows: &'a Shadows,
    budget: &'a Budget,
    is_first: bool,
}

/// What a look at the whole working copy found.
struct Survey {
    /// Files that equal their shadows.
    unchanged: BTreeSet<RepoPath>,
    /// Files that must be read to know.
    others: Vec<RepoPath>,
    /// What is not shared for what it is.
    skipped: Vec<Skipped>,
}

impl Sight<'_> {
    fn survey(&self, repo: &Repo) -> Result<Survey, Failure> {
        let unchanged = RefCell::new(BTreeSet::new());
        let is_known = |path: &RepoPath, stamp: &FileStamp| {
            let is_unchanged = self.is_unchanged(path, stamp);
            if is_unchanged {
                unchanged.borrow_mut().insert(path.clone());
            }
            is_unchanged
        };
        let scan = aura_tree::scan_except(repo, &is_known);
        let scan = scan.map_err(|error| git_failure(&error))?;
        let (mut others, skipped) = (scan.files, scan.skipped);
        let unchanged = unchanged.into_inner();
        others.retain(|path| !unchanged.contains(path));
        Ok(Survey {
            unchanged,
            others,
            skipped,
        })
    }

    /// Reads a file and counts its units; nothing when it cannot be read.
    fn row(&self, path: &RepoPath) -> Result<Option<Row>, Failure> {
        let Ok(file) = self.root.read_file(path) else {
            return Ok(None);
        };
        if self.is_first {
            self.shadows.adopt_untracked(path, &file.bytes)?;
        }
        let outline = aura_semantic::outline(path.as_str(), &file.bytes, self.budget);
        Ok(Some(Row {
            units: outline.units.len(),
            equal: None,
        }))
    }

    fn is_unchanged(&self, path: &RepoPath, stamp: &FileStamp) -> bool {
        let equal = self.rows.get(path).and_then(|row| row.equal);
        equal.is_some_and(|equal| self.mark(path, stamp).0 == equal)
    }

    /// Names file and shadow as they are now, and when the later of them changed.
    fn mark(&self, path: &RepoPath, stamp: &FileStamp) -> (Mark, i128) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&stamp.ctime_ns.to_be_bytes());
        hasher.update(&stamp.mtime_ns.to_be_bytes());
        hasher.update(&stamp.ino.to_be_bytes());
        hasher.update(&stamp.len.to_be_bytes());
        let shadow_ns = self.shadows.mark(path, &mut hasher);
        let mut mark = [0; 16];
        hasher.finalize_xof().fill(&mut mark);
        (mark, shadow_ns.max(stamp.ctime_ns).max(stamp.mtime_ns))
    }
}

impl Desk {
    fn sight(&self) -> Sight<'_> {
        Sight {
            rows: &self.files.rows,
            root: self.copy.root(),
            shadows: &self.shadows,
            budget: &self.budget,
            is_first: self.files.is_first,
        }
    }

    /// Counts the units of every file, reading those that changed since; `progress` hears (done, total).
    pub(crate) fn index(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<(), Failure> {
        self.shadows.rebase(&self.repo)?;
        let Survey {
            unchanged,
            others,
            skipped,
        } = self.sight().survey(&self.repo)?;
        self.name_left_out(&skipped)?;
        let total = (unchanged.len() + others.len()) as u64;
        let mut rows = std::mem::take(&mut self.files.rows);
        if rows.is_empty() && !self.files.is_first {
            // What was known of the files is lost; what git has and the disk has not was deleted while nobody looked.
            let tracked = self.shadows.tracked().into_iter();
            rows.extend(tracked.map(|path| (path, Row::default())));
        }
        // What is gone from the disk and not from the shadows was deleted while nobody looked.
        rows.retain(|path, _| unchanged.contains(path) || self.shadows.holds(path));
        for path in self.shadows.untracked() {
            rows.entry(path).or_default();
        }
        let (next, (sender, found)) = (AtomicUsize::new(0), mpsc::channel());
        let sight = self.sight();
        thread::scope(|scope| {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            for _ in 0..cores.min(others.len()) {
                let (next, sight, others, sender) = (&next, &sight, &others, sender.clone());
                scope.spawn(move || {
                    while let Some(path) = others.get(next.fetch_add(1, Relaxed)) {
                        // The receiver is gone only after a failure, which ends all of it.
                        sender.send((path, sight.row(path))).ok();
                    }
                });
            }
            drop(sender);
            for (done, (path, row)) in (unchanged.len() as u64 + 1..).zip(found) {
                rows.extend(row?.map(|row| (path.clone(), row)));
                if done.is_multiple_of(64) || done == total {
                    progress(done, total);
                }
            }
            Ok::<(), Failure>(())
        })?;
        self.files.rows = rows;
        self.files.is_first = false;
        self.files.save();
        Ok(())
    }

    /// How many units the working copy has.
    pub(crate) fn unit_count(&self) -> u64 {
        self.files.rows.values().map(|row| row.units as u64).sum()
    }

    /// Every file whose content may differ from its shadow.
    pub(crate) fn changed_files(&self) -> Result<BTreeSet<RepoPath>, Failure> {
        Ok(self.changed_and_skipped()?.0)
    }

    /// The same, and what is not shared for what it is.
    pub(super) fn changed_and_skipped(
        &self,
    ) -> Result<(BTreeSet<RepoPath>, Vec<Skipped>), Failure> {
        let Survey {
            unchanged,
            others,
            skipped,
        } = self.sight().survey(&self.repo)?;
        let known = self.files.rows.keys();
        let gone_or_changed = known.filter(|path| !unchanged.contains(path));
        let changed = gone_or_changed.cloned().chain(others).collect();
        Ok((changed, skipped))
    }

    fn is_past(&self, changed_ns: i128) -> bool {
        changed_ns + GRAIN_NS < i128::from(self.clock.wall_ms()) * 1_000_000
    }

    /// Whether a file that looks like this was found to equal the shadow that it has.
    pub(super) fn is_unchanged(&self, path: &RepoPath, stamp: &FileStamp) -> bool {
        self.sight().is_unchanged(path, stamp)
    }

    /// Remembers that a file, read with this stamp, equals its shadow.
    pub(super) fn found_equal(&mut self, path: &RepoPath, stamp: &FileStamp) {
        let (mark, changed_ns) = self.sight().mark(path, stamp);
        let is_past = self.is_past(changed_ns);
        if let Some(row) = self.files.rows.get_mut(path) {
            row.equal = is_past.then_some(mark);
            self.files.unsaved += 1;
        }
    }

    /// Keeps the rows when many are new.
    pub(super) fn keep_files(&mut self) {
        if self.files.len() * NEW_PERCENT < self.files.unsaved * 100 {
            self.files.save();
        }
    }
}
