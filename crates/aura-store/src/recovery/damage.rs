//! What an open found: a torn tail that was cut, or damage that nothing was done about.
//!
//! Invariants:
//! - damage always names a file, a place in it and the positions concerned.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::record::Hash;

/// What opening a log found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// No log was there before.
    pub is_new: bool,
    /// Segments found.
    pub segments: usize,
    /// Records found good, boot records included.
    pub records: u64,
    /// Position of the last record found good; 0 if there was none.
    pub last_lsn: u64,
    /// Chain hash after that record.
    pub head: Hash,
    /// The tail that was cut, if any.
    pub torn: Option<TornTail>,
}

/// An unacknowledged tail that was moved to quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The last segment.
    pub segment: PathBuf,
    /// Where the first bad record started.
    pub offset: u64,
    /// Position that record would have had.
    pub first_lsn: u64,
    /// Bytes cut; the rest of the file was zero.
    pub bytes: u64,
    /// The copy of the cut bytes.
    pub quarantined: PathBuf,
}

/// Which part of the log is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// A segment's first record does not continue the one before.
    Chain,
    /// A file is no segment of this place: wrong name, wrong position, too large.
    Foreign,
    /// A segment's head fails its checksum.
    Head,
    /// A segment is not there.
    Missing,
    /// A record that had been durable fails its checksum, its order or its chain.
    Record,
    /// A segment's seal fails its checksum or contradicts the records.
    Seal,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "broken chain",
            Self::Foreign => "foreign segment",
            Self::Head => "damaged segment head",
            Self::Missing => "missing segment",
            Self::Record => "damaged record",
            Self::Seal => "damaged segment seal",
        })
    }
}

/// Damage that a torn tail cannot explain; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "the log is corrupt: {damage} in {} at byte {offset}, records {first_lsn} to {last_lsn}",
    segment.display()
)]
pub struct Corruption {
    /// The damaged or missing file.
    pub segment: PathBuf,
    /// Where in the file.
    pub offset: u64,
    /// First record that cannot be believed.
    pub first_lsn: u64,
    /// Last record known to be damaged.
    pub last_lsn: u64,
    /// What is wrong.
    pub damage: Damage,
}
