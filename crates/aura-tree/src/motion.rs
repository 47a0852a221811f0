//! Whether git is moving files, and whose a changed file is once it has stopped.
//!
//! The caller reports changed paths, reads them, looks at git once more and only then asks: a path
//! comes back to be published only if git was still from one look to the next, so what was read
//! in between is the user's. Otherwise it is held until git has settled. After a motion of kind
//! [`MotionKind::Tree`] the caller compares all its files with the new HEAD, not just the held ones.
//!
//! Invariants:
//! - every reported path comes out exactly once, in a `Publish` or in a `Settled`;
//! - while git moves, nothing is published;
//! - a commit, an add or a status never makes an edit saved before it disappear.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use aura_proto::path::RepoPath;

use crate::git::{AtHead, ObjectId};

/// What one look at git's directory shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The commit at HEAD.
    pub head: Option<ObjectId>,
    /// The last moves of HEAD, oldest first, as far as git logs them.
    pub head_moves: Vec<HeadMove>,
    /// The text of the file HEAD: it changes when a branch of the same commit is checked out.
    pub head_name: String,
    /// The operation that waits for the user.
    pub in_progress: Option<InProgress>,
    /// Whether a git process holds the index.
    pub index_lock: bool,
    /// What the index looks like.
    pub index_stamp: Option<IndexStamp>,
    /// Where HEAD was before the last big move.
    pub orig_head: Option<ObjectId>,
}

/// One step of HEAD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadMove {
    /// What it did to the working tree.
    pub kind: MoveKind,
    /// The commit after.
    pub new: ObjectId,
    /// The commit before.
    pub old: ObjectId,
}

/// What a step of HEAD did to the working tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveKind {
    /// It recorded the tree and wrote no file.
    Commit,
    /// It may have written files.
    Tree,
}

/// An operation of git that spans several commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InProgress {
    /// Patches from a mailbox.
    Am,
    /// The search for a bad commit.
    Bisect,
    /// A commit being copied.
    CherryPick,
    /// A merge waiting for its commit.
    Merge,
    /// Commits being moved.
    Rebase,
    /// A commit being undone.
    Revert,
}

/// What the index looks like; git replaces it whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexStamp {
    /// Inode number.
    pub ino: u64,
    /// Length in bytes.
    pub len: u64,
    /// Time of the last modification in nanoseconds since 1970.
    pub mtime_ns: i128,
}

/// What the caller must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MotionEvent {
    /// Git has started: publish nothing.
    Began,
    /// What was read of these paths before the last look is the user's.
    Publish(BTreeSet<RepoPath>),
    /// Git has stopped.
    Settled(Settled),
}

/// What a motion was, now that it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Whether HEAD names another commit or branch.
    pub head_changed: bool,
    /// Paths reported since the last `Publish`, to be given to `classify_after_motion`.
    pub held: BTreeMap<RepoPath, When>,
    /// Whether the index was replaced.
    pub index_changed: bool,
    /// What it can have done to files.
    pub kind: MotionKind,
}

/// What a motion can have done to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MotionKind {
    /// HEAD moved by commits alone: no file was written.
    Commit,
    /// HEAD stayed: add and status write none, stash and restore do.
    Index,
    /// Files may have been written.
    Tree,
}

/// When a path was first and last reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Only before git was seen to move.
    Before,
    /// Before, and again while git moved.
    Both,
    /// Only while git moved.
    During,
}

/// Who wrote what a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Git: take it as the new base, tell nobody.
    Git,
    /// The user: publish it.
    User,
}

/// Watches git move.
#[derive(Debug)]
pub struct Motion {
    /// The last look at which git was still.
    still: Observation,
    last: Observation,
    /// When git was last seen to do something; `None` while it is still.
    moved_ms: Option<u64>,
    /// Whether this motion went through an operation that waits for the user.
    waited: bool,
    reported: BTreeSet<RepoPath>,
    held: BTreeMap<RepoPath, When>,
    events: VecDeque<MotionEvent>,
}

impl Settled {
    /// This motion and one before it that could not be acted on, as one.
    #[must_use]
    pub fn after(mut self, earlier: Self) -> Self {
        for (path, when) in earlier.held {
            let both = |later: &mut When| match (when, *later) {
                (When::During, When::During) => {}
                _ => *later = When::Both,
            };
            self.held.entry(path).and_modify(both).or_insert(when);
        }
        Self {
            head_changed: self.head_changed | earlier.head_changed,
            index_changed: self.index_changed | earlier.index_changed,
            kind: match (self.kind, earlier.kind) {
                (one, other) if one == other => one,
                _ => MotionKind::Tree,
            },
            held: self.held,
        }
    }

    /// Takes in paths that were saved after the motion and before it was acted on.
    pub fn held_too(&mut self, paths: BTreeSet<RepoPath>) {
        for path in paths {
            self.held.entry(path).or_insert(When::Before);
        }
    }

    /// Decides whose the content of a held path is.
    ///
    /// A file that HEAD does not hold, in that form, was not put there by moving to HEAD. One that
    /// equals HEAD is git's only if something wrote it while git moved, and git writes files.
    pub fn whose(&self, path: &RepoPath, at_head: AtHead) -> Whose {
        let written_during = !matches!(self.held.get(path), Some(When::Before));
        match (at_head, self.kind) {
            (AtHead::Differs | AtHead::Missing, _) => Whose::User,
            (AtHead::Equal, MotionKind::Commit) => Whose::User,
            (AtHead::Equal, MotionKind::Index | MotionKind::Tree) if written_during => Whose::Git,
            (AtHead::Equal, MotionKind::Index | MotionKind::Tree) => Whose::User,
        }
    }
}

impl Motion {
    /// Starts from a first look; if that shows git moving, nothing is published until it settles.
    pub fn new(now_ms: u64, first: Observation) -> Self {
        let moved_ms = is_busy(&first).then_some(now_ms);
        Self {
            still: first.clone(),
            waited: first.in_progress.is_some(),
            last: first,
            moved_ms,
            reported: BTreeSet::new(),
            held: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes in paths whose files changed.
    pub fn changed(&mut self, now_ms: u64, paths: impl IntoIterator<Item = RepoPath>) {
        let Some(moved_ms) = &mut self.moved_ms else {
            return self.reported.extend(paths);
        };
        *moved_ms = now_ms;
        for path in paths {
            let during = |when: &mut When| match when {
                When::Before => *when = When::Both,
                When::Both | When::During => {}
            };
            self.held
                .entry(path)
                .and_modify(during)
                .or_insert(When::During);
        }
    }

    /// Takes in one look; with no look to offer, the last one again lets time pass.
    pub fn handle(&mut self, now_ms: u64, look: Observation) {
        let differs = look != self.last;
        self.last = look;
        self.waited |= self.last.in_progress.is_some();
        match self.moved_ms {
            None if differs || is_busy(&self.last) => self.begin(now_ms),
            None => self.publish(),
            Some(_) if differs || is_busy(&self.last) => self.moved_ms = Some(now_ms),
            Some(moved_ms) if moved_ms.saturating_add(SETTLE_MS) <= now_ms => self.settle(),
            Some(_) => {}
        }
        self.check();
    }

    /// Takes the next event. Call until `None` after every `handle`.
    pub fn poll(&mut self) -> Option<MotionEvent> {
        self.events.pop_front()
    }

    /// Whether git is moving, as far as is known.
    pub fn is_moving(&self) -> bool {
        self.moved_ms.is_some()
    }

    /// When to look again if nothing is reported before, in milliseconds.
    pub fn deadline(&self) -> Option<u64> {
        let wait = if self.last.in_progress.is_some() {
            PROGRESS_MS
        } else {
            SETTLE_MS
        };
        self.moved_ms.map(|moved_ms| moved_ms.saturating_add(wait))
    }

    fn begin(&mut self, now_ms: u64) {
        self.moved_ms = Some(now_ms);
        self.held = std::mem::take(&mut self.reported)
            .into_iter()
            .map(|path| (path, When::Before))
            .collect();
        self.events.push_back(MotionEvent::Began);
    }

    fn publish(&mut self) {
        if !self.reported.is_empty() {
            let paths = std::mem::take(&mut self.reported);
            self.events.push_back(MotionEvent::Publish(paths));
        }
    }

    fn settle(&mut self) {
        let from = std::mem::replace(&mut self.still, self.last.clone());
        self.moved_ms = None;
        let waited = std::mem::take(&mut self.waited);
        let head_changed = (&from.head, &from.head_name) != (&self.last.head, &self.last.head_name);
        self.events.push_back(MotionEvent::Settled(Settled {
            head_changed,
            held: std::mem::take(&mut self.held),
            index_changed: from.index_stamp != self.last.index_stamp,
            kind: if waited {
                MotionKind::Tree
            } else {
                kind(&from, &self.last)
            },
        }));
    }

    /// Asserts the invariants in the module header.
    fn check(&self) {
        assert!(
            self.held.is_empty() || self.reported.is_empty(),
            "a path is both held and about to be published"
        );
        assert!(
            self.moved_ms.is_some() || self.held.is_empty(),
            "a path is held for ever"
        );
    }
}

fn is_busy(look: &Observation) -> bool {
    look.index_lock || look.in_progress.is_some()
}

fn kind(from: &Observation, to: &Observation) -> MotionKind {
    if from.orig_head != to.orig_head {
        return MotionKind::Tree;
    }
    if from.head == to.head {
        let stayed = from.head_moves == to.head_moves && from.head_name == to.head_name;
        return if stayed {
            MotionKind::Index
        } else {
            MotionKind::Tree
        };
    }
    if is_chain_of_commits(from, to) {
        MotionKind::Commit
    } else {
        MotionKind::Tree
    }
}

/// Whether HEAD got from one look to the other by commits alone, so far as git logged it.
fn is_chain_of_commits(from: &Observation, to: &Observation) -> bool {
    let mut at = to.head.as_ref();
    for step in to.head_moves.iter().rev() {
        if at == from.head.as_ref() {
            break;
        }
        if step.kind != MoveKind::Commit || at != Some(&step.new) {
            return false;
        }
        at = Some(&step.old);
    }
    at == from.head.as_ref()
}

/// Quiet after which git counts as settled: a rebase takes the lock anew every few milliseconds.
pub const SETTLE_MS: u64 = 60;

/// How often to look while an operation waits for the user.
pub const PROGRESS_MS: u64 = 2_000;
