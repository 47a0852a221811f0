//! Judging a log without opening it: read-only, without its lock, beside a live writer.
//!
//! Invariants:
//! - nothing on disk is touched;
//! - a live writer beside it is never reported as damage.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::disk::Disk;
use crate::record::{Hash, RecordView};
use crate::recovery::{self, Corruption, Scan, ScanError};

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Segment files.
    pub segments: usize,
    /// Good records, boot records included; also the position of the last.
    pub records: u64,
    /// Epoch of the last record; 0 without one.
    pub epoch: u64,
    /// Chain hash after the last record.
    pub head: Hash,
    /// Bytes behind the last good record that are not zero: an unacknowledged tail, or one that a
    /// live writer is just writing.
    pub torn_bytes: u64,
}

/// Why a log did not pass.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// Durable records are damaged.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The disk refused.
    #[error("cannot verify the log at {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// There is no log.
    #[error("no log at {}", path.display())]
    NotFound {
        /// The log's directory.
        path: PathBuf,
    },
}

/// Checks every checksum and the whole hash chain.
pub fn verify(disk: &dyn Disk, dir: &Path) -> Result<Report, VerifyError> {
    verify_with(disk, dir, |_| {})
}

/// Checks like [`verify`] and shows each good record once, in order.
///
/// With damage, exactly the intact prefix was shown: this is how a corrupt log is read for rescue; see [`salvage`] for
/// what lies behind.
pub fn verify_with(
    disk: &dyn Disk,
    dir: &Path,
    mut visit: impl FnMut(RecordView<'_>),
) -> Result<Report, VerifyError> {
    match recovery::scan(disk, dir, &mut visit) {
        Ok(scan) => report(&scan, dir),
        Err(ScanError::Corrupt(found)) => Err(found.into()),
        Err(ScanError::Io { path, source }) if source.kind() == io::ErrorKind::NotFound => {
            Err(VerifyError::NotFound { path })
        }
        Err(ScanError::Io { path, source }) => Err(VerifyError::Io { path, source }),
    }
}

/// Shows the records behind a damage that are good by themselves, in order of their places.
///
/// Nothing proves that they are complete, or that they follow from each other: they are for people to look at.
pub fn salvage(
    disk: &dyn Disk,
    dir: &Path,
    found: &Corruption,
    mut visit: impl FnMut(RecordView<'_>),
) -> Result<(), VerifyError> {
    let shown = recovery::salvage(disk, dir, found.first_lsn, &mut visit);
    shown.map_err(|error| match error {
        ScanError::Corrupt(found) => found.into(),
        ScanError::Io { path, source } => VerifyError::Io { path, source },
    })
}

fn report(scan: &Scan, dir: &Path) -> Result<Report, VerifyError> {
    if scan.segments.is_empty() {
        return Err(VerifyError::NotFound {
            path: dir.to_path_buf(),
        });
    }
    Ok(Report {
        segments: scan.segments.len(),
        records: scan.cursor.lsn - 1,
        epoch: scan.cursor.epoch,
        head: scan.cursor.head,
        torn_bytes: scan.torn_bytes(),
    })
}
