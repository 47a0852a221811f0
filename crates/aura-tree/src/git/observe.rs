//! One look at what git is doing, by a few small files in its directory.
//!
//! Invariants:
//! - a look starts no process unless HEAD cannot be read as a plain ref;
//! - the lock is looked at first and last, so a look that shows no lock had none at either end.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;

use super::{ObjectId, Repo, read_text};
use crate::motion::{HeadMove, InProgress, IndexStamp, MoveKind, Observation};

impl Repo {
    /// Looks once at what git is doing.
    pub fn observe(&self) -> Observation {
        let locked_before = self.has_lock();
        let index_stamp = self.index_stamp();
        let head = self.head_commit();
        let orig_head = self.ref_file("ORIG_HEAD");
        let observation = Observation {
            head,
            head_name: read_text(&self.git_dir, "HEAD").unwrap_or_default(),
            head_moves: self.head_moves(),
            in_progress: self.in_progress(),
            index_lock: false,
            index_stamp,
            orig_head,
        };
        // Taken and released between the two looks shows in the stamp at the next observation.
        Observation {
            index_lock: locked_before || self.has_lock(),
            ..observation
        }
    }

    fn has_lock(&self) -> bool {
        fs::symlink_metadata(self.git_dir.join("index.lock")).is_ok()
    }

    fn index_stamp(&self) -> Option<IndexStamp> {
        let meta = fs::metadata(self.git_dir.join("index")).ok()?;
        let mtime_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        Some(IndexStamp {
            ino: meta.ino(),
            len: meta.len(),
            mtime_ns,
        })
    }

    fn head_commit(&self) -> Option<ObjectId> {
        let head = read_text(&self.git_dir, "HEAD")?;
        let plain = match head.trim_end().strip_prefix("ref: ") {
            None => ObjectId::parse(head.trim_ascii_end().as_bytes()),
            Some(name) => self.ref_file(name),
        };
        // Packed refs and other ref stores are git's to read.
        plain.or_else(|| self.resolve("HEAD").ok().flatten())
    }

    fn ref_file(&self, name: &str) -> Option<ObjectId> {
        let directory = if name.contains('/') {
            &self.common_dir
        } else {
            &self.git_dir
        };
        ObjectId::parse(read_text(directory, name)?.trim_ascii_end().as_bytes())
    }

    fn in_progress(&self) -> Option<InProgress> {
        let exists = |name| fs::symlink_metadata(self.git_dir.join(name)).is_ok();
        if exists("rebase-apply/applying") {
            Some(InProgress::Am)
        } else if exists("rebase-merge") || exists("rebase-apply") {
            Some(InProgress::Rebase)
        } else if exists("MERGE_HEAD") {
            Some(InProgress::Merge)
        } else if exists("CHERRY_PICK_HEAD") {
            Some(InProgress::CherryPick)
        } else if exists("REVERT_HEAD") {
            Some(InProgress::Revert)
        } else if exists("BISECT_LOG") {
            Some(InProgress::Bisect)
        } else {
            None
        }
    }

    /// The last moves of HEAD, oldest first; empty when git keeps no log of them.
    fn head_moves(&self) -> Vec<HeadMove> {
        let Ok(mut log) = File::open(self.git_dir.join("logs").join("HEAD")) else {
            return Vec::new();
        };
        let len = log.metadata().map_or(0, |meta| meta.len());
        let mut tail = Vec::new();
        let start = len.saturating_sub(LOG_TAIL_BYTES);
        let read = log
            .seek(SeekFrom::Start(start))
            .and_then(|_| log.take(LOG_TAIL_BYTES).read_to_end(&mut tail));
        if read.is_err() {
            return Vec::new();
        }
        tail.split(|byte| *byte == b'\n')
            .filter_map(parse_move)
            .collect()
    }
}

/// Reads `old new who <mail> time zone\tmessage`; a line cut at the front is no move.
fn parse_move(line: &[u8]) -> Option<HeadMove> {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let old = ObjectId::parse(words.next()?)?;
    let new = ObjectId::parse(words.next()?)?;
    let tab = line.iter().position(|byte| *byte == b'\t');
    let message = tab.map_or(&[][..], |tab| &line[tab + 1..]);
    // The commits that end a merge or a pick are left out: files were written before them.
    let commits: [&[u8]; 3] = [b"commit:", b"commit (amend):", b"commit (initial):"];
    let is_commit = commits.iter().any(|start| message.starts_with(start));
    let kind = if is_commit {
        MoveKind::Commit
    } else {
        MoveKind::Tree
    };
    Some(HeadMove { kind, new, old })
}

/// How much of the log of HEAD is read: some 80 moves.
const LOG_TAIL_BYTES: u64 = 16 << 10;
