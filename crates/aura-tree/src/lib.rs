//! The working copy: everything that reads, watches or writes a developer's files.
//!
//! Invariants:
//! - no link is followed below the root, and nothing outside the root is opened, read or written;
//! - a file is replaced whole or not at all, and only if it still holds what the caller expected;
//! - what a user saved is in the file, in a kept inode or handed to the caller, never dropped;
//! - nothing here decides what a change means.

pub mod apply;
pub mod git;
mod ignores;
mod kept;
pub mod motion;
pub mod root;
pub mod scan;
pub mod watch;

pub use apply::{Applied, Expect, OpenError, Unsafe, WorkingCopy, WriteRefusal};
pub use git::{AtHead, Head, ObjectId, Repo, RepoError};
pub use kept::{GRACE_MS, Keep, Rescued, RescuedFrom};
pub use motion::{Motion, MotionEvent, Observation, Settled};
pub use root::{FileBytes, FileStamp, ReadError, Root};
pub use scan::{Problem, Scan, SkipKind, Skipped, is_binary, scan, scan_except};
pub use watch::{WatchError, WatchEvent, Watcher};
