//! The segment that takes records, and how a zero-written file becomes it.
//!
//! Invariants:
//! - the final name appears only on a file whose head and zeros were synced.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{self, Disk, DiskFile};
use crate::log::{OpenError, Options};
use crate::recovery::{Cursor, SegmentIndex};
use crate::segment::{self, FIRST_RECORD_AT, Head, Spare, SpareError, SpareOrder};

/// The segment that takes records.
pub(super) struct Active {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) salt: u64,
    pub(super) len: u64,
    /// Where the next commit writes.
    pub(super) end: u64,
    /// A refused write may have left bytes up to here.
    pub(super) dirty_end: u64,
}

pub(super) fn first_segment(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    options: &Options,
) -> Result<(SegmentIndex, Active), OpenError> {
    let order = SpareOrder {
        disk: Arc::clone(disk),
        dir: dir.to_path_buf(),
        bytes: options.segment_bytes,
    };
    let Cursor { lsn, head, .. } = Cursor::START;
    let head = Head {
        first_lsn: lsn,
        salt: disk.nonce(),
        previous: head,
    };
    let made = order
        .run()
        .and_then(|spare| activate(disk.as_ref(), dir, spare, &head));
    made.map_err(|error| match error {
        SpareError::NoSpace => OpenError::NoSpace {
            path: dir.to_path_buf(),
        },
        SpareError::Io(source) | SpareError::Sync(source) => OpenError::Io {
            path: dir.to_path_buf(),
            source,
        },
    })
}

/// Gives a spare its head and its name, both durable.
pub(super) fn activate(
    disk: &dyn Disk,
    dir: &Path,
    spare: Spare,
    head: &Head,
) -> Result<(SegmentIndex, Active), SpareError> {
    let classed = |error: io::Error| {
        if disk::is_no_space(&error) {
            SpareError::NoSpace
        } else {
            SpareError::Io(error)
        }
    };
    disk::write_all_at(spare.file.as_ref(), &head.encode(), 0).map_err(classed)?;
    spare.file.sync_data().map_err(SpareError::Sync)?;
    let path = dir.join(segment::file_name(head.first_lsn));
    disk.rename(&spare.path, &path).map_err(classed)?;
    disk.sync_dir(dir).map_err(SpareError::Sync)?;
    let index = SegmentIndex {
        first_lsn: head.first_lsn,
        path,
        salt: head.salt,
        offsets: Vec::new(),
        end: offset32(FIRST_RECORD_AT as u64),
        is_sealed: false,
    };
    let active = Active {
        file: spare.file,
        salt: head.salt,
        len: spare.bytes,
        end: FIRST_RECORD_AT as u64,
        dirty_end: 0,
    };
    Ok((index, active))
}

/// Offsets fit 32 bits, because no segment is larger than [`SEGMENT_BYTES_MAX`].
pub(super) fn offset32(offset: u64) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}
