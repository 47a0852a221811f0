//! How large a log's parts are, and how full they are.
//!
//! Invariants:
//! - a sound choice leaves room for the largest record in an empty segment beside its reserve.

use crate::record;
use crate::segment::{FIRST_RECORD_AT, SEGMENT_BYTES_MAX};

/// Sizes of a log; they may differ from one open to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Length of a new segment, zero-written ahead.
    pub segment_bytes: u64,
    /// Largest payload.
    pub record_bytes_max: u32,
    /// End of each segment that only urgent records may use when no next one can be made.
    pub reserve_bytes: u32,
    /// Make a new log where none is; otherwise its absence is `NotFound`.
    pub create: bool,
}

impl Options {
    /// For a coordinator: 16 MiB segments, records up to 4 MiB, 64 KiB in reserve.
    #[must_use]
    pub const fn server() -> Self {
        Self {
            segment_bytes: 16 << 20,
            record_bytes_max: 4 << 20,
            reserve_bytes: 64 << 10,
            create: true,
        }
    }

    /// For a laptop: 4 MiB segments, records up to 2 MiB, 16 KiB in reserve.
    #[must_use]
    pub const fn peer() -> Self {
        Self {
            segment_bytes: 4 << 20,
            record_bytes_max: 2 << 20,
            reserve_bytes: 16 << 10,
            create: true,
        }
    }

    /// Whether the largest record fits an empty segment with its reserve kept free.
    pub(super) fn is_sound(&self) -> bool {
        let record = record::stored_bytes(self.record_bytes_max as usize) as u64;
        let needed = (FIRST_RECORD_AT as u64)
            .saturating_add(u64::from(self.reserve_bytes))
            .saturating_add(record);
        needed <= self.segment_bytes && self.segment_bytes <= SEGMENT_BYTES_MAX
    }
}

/// Sizes and positions of an open log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Segment files.
    pub segments: usize,
    /// Durable records, boot records included.
    pub records: u64,
    /// Bytes of those records and of the segments' heads.
    pub bytes: u64,
    /// Bytes appended and not yet committed.
    pub buffered_bytes: usize,
    /// Highest durable position.
    pub durable: u64,
    /// Epoch of this open.
    pub epoch: u64,
    /// Bytes left in the last segment for records that are not urgent.
    pub room_bytes: u64,
}
