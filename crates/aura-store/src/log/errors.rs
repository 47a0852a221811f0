//! Why a log could not be opened, appended to or made durable.
//!
//! Invariants:
//! - lack of space is never mixed with a failure: it passes, a failure does not.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::disk;
use crate::recovery::{Corruption, ScanError};

/// Why a log could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Durable records are damaged; nothing was changed (R4).
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The disk refused.
    #[error("cannot open the log at {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// Another process, or another value in this one, has it open for writing.
    #[error("the log is open elsewhere: {} is locked", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// There is no room for a segment or the boot record.
    #[error("no space to open the log at {}", path.display())]
    NoSpace {
        /// The log's directory.
        path: PathBuf,
    },
    /// There is no log and none was to be made.
    #[error("no log at {}", path.display())]
    NotFound {
        /// The log's directory.
        path: PathBuf,
    },
    /// The sizes do not fit each other.
    #[error(
        "a record of {record_bytes_max} bytes and the reserve do not fit a segment of {segment_bytes} bytes"
    )]
    Sizes {
        /// Largest payload asked for.
        record_bytes_max: u32,
        /// Segment length asked for.
        segment_bytes: u64,
    },
}

/// Why a record was not taken; records taken before are unaffected unless poisoned.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The disk refused; the log takes no more records.
    #[error("cannot write the log")]
    Io(#[source] io::Error),
    /// There is no room; later appends work again when there is.
    #[error("no space for the next log segment")]
    NoSpace,
    /// An earlier write or sync failed, so nothing is promised any more.
    #[error("the log stopped after a failed write or sync")]
    Poisoned,
    /// The payload is above the limit.
    #[error("a record of {len} bytes is above the limit of {max}")]
    TooLarge {
        /// Bytes of the payload.
        len: usize,
        /// The limit.
        max: u32,
    },
}

/// Why buffered records did not become durable; those above `durable()` are void.
#[derive(Debug, Error)]
pub enum CommitError {
    /// The disk refused; the log takes no more records.
    #[error("cannot make the log durable")]
    Io(#[source] io::Error),
    /// There is no room; the buffered records are dropped and their positions are given out again.
    #[error("no space for the buffered records")]
    NoSpace,
    /// An earlier write or sync failed, so nothing is promised any more.
    #[error("the log stopped after a failed write or sync")]
    Poisoned,
}

impl From<ScanError> for OpenError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Corrupt(corruption) => Self::Corrupt(corruption),
            ScanError::Io { path, source } if disk::is_no_space(&source) => Self::NoSpace { path },
            ScanError::Io { path, source } => Self::Io { path, source },
        }
    }
}
