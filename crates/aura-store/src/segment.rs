//! One file of the log: its name, its head and its seal.
//!
//! A segment starts with two sectors: the head (magic, version, first lsn, salt, hash before the
//! first record, checksum) and the seal, which is zero until the next segment exists and then
//! states where this one ends. Records follow; the rest of the file was written with zeros ahead.
//!
//! Invariants:
//! - a segment gets its final name only after its head and its zeros were synced;
//! - a new segment exists only after every record of the one before was synced;
//! - a seal is written only after the next segment is durable, so a sealed segment without a
//!   successor proves that one is missing;
//! - head and seal fill one sector each, so a power cut leaves the old or the new one.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{self, Disk, DiskFile};
use crate::record::{Hash, u32_at, u64_at};

/// Bytes that a disk writes or loses as one.
pub const SECTOR_BYTES: usize = 512;

/// Where the first record of a segment starts.
pub const FIRST_RECORD_AT: usize = 2 * SECTOR_BYTES;

/// No segment is larger: offsets are kept in 32 bits, and an open reads a whole segment at once.
pub const SEGMENT_BYTES_MAX: u64 = 256 << 20;

/// Version of the layout of segments and records.
pub const VERSION: u32 = 1;

/// What the head of a segment states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) first_lsn: u64,
    pub(crate) salt: u64,
    pub(crate) previous: Hash,
}

/// What the seal of a segment states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) last_lsn: u64,
    pub(crate) end: u64,
    pub(crate) head: Hash,
}

/// The seal sector of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SealState {
    Open,
    Sealed(Seal),
    Damaged,
}

impl Head {
    pub(crate) fn encode(&self) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        sector[..8].copy_from_slice(HEAD_MAGIC);
        sector[8..12].copy_from_slice(&VERSION.to_le_bytes());
        sector[16..24].copy_from_slice(&self.first_lsn.to_le_bytes());
        sector[24..32].copy_from_slice(&self.salt.to_le_bytes());
        sector[32..64].copy_from_slice(&self.previous);
        close_sector(sector)
    }

    /// Reads the head from the start of a segment.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let sector = checked_sector(bytes, HEAD_MAGIC)?;
        if u32_at(sector, 8) != VERSION {
            return None;
        }
        let mut previous = [0; 32];
        previous.copy_from_slice(&sector[32..64]);
        Some(Self {
            first_lsn: u64_at(sector, 16),
            salt: u64_at(sector, 24),
            previous,
        })
    }
}

impl Seal {
    pub(crate) fn encode(&self) -> [u8; SECTOR_BYTES] {
        let mut sector = [0; SECTOR_BYTES];
        sector[..8].copy_from_slice(SEAL_MAGIC);
        sector[16..24].copy_from_slice(&self.last_lsn.to_le_bytes());
        sector[24..32].copy_from_slice(&self.end.to_le_bytes());
        sector[32..64].copy_from_slice(&self.head);
        close_sector(sector)
    }

    /// Reads the seal sector of a segment.
    pub(crate) fn decode(segment: &[u8]) -> SealState {
        let Some(bytes) = segment.get(SECTOR_BYTES..FIRST_RECORD_AT) else {
            return SealState::Damaged;
        };
        if disk::is_zero(bytes) {
            return SealState::Open;
        }
        let Some(sector) = checked_sector(bytes, SEAL_MAGIC) else {
            return SealState::Damaged;
        };
        let mut head = [0; 32];
        head.copy_from_slice(&sector[32..64]);
        SealState::Sealed(Self {
            last_lsn: u64_at(sector, 16),
            end: u64_at(sector, 24),
            head,
        })
    }
}

/// File name of the segment that starts at `first_lsn`.
#[must_use]
pub fn file_name(first_lsn: u64) -> String {
    format!("{first_lsn:020}.wal")
}

/// What a file name in a log's directory means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// A segment that starts at this lsn.
    Segment(u64),
    /// It ends like a segment, but no log gave it that name.
    Foreign,
    /// Not part of the log.
    Other,
}

/// Judges a file name.
pub(crate) fn parse_name(name: &OsStr) -> Name {
    if Path::new(name).extension() != Some(OsStr::new("wal")) {
        return Name::Other;
    }
    let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(".wal")) else {
        return Name::Foreign;
    };
    match stem.parse::<u64>() {
        Ok(lsn) if file_name(lsn).strip_suffix(".wal") == Some(stem) => Name::Segment(lsn),
        _ => Name::Foreign,
    }
}

/// A zero-written file that waits to become the next segment.
pub(crate) struct Spare {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// Why a spare could not be made.
#[derive(Debug)]
pub(crate) enum SpareError {
    NoSpace,
    /// Nothing that is part of the log was touched.
    Io(io::Error),
    /// A sync failed: nothing on this disk is believed any more.
    Sync(io::Error),
}

/// The order to make a spare; may run on another thread than the log's.
pub(crate) struct SpareOrder {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) bytes: u64,
}

impl SpareOrder {
    /// Creates and zero-writes the file, synced step by step so that no commit waits long for it.
    pub(crate) fn run(&self) -> Result<Spare, SpareError> {
        let path = self.dir.join(SPARE_NAME);
        match self.disk.remove(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(spare_error(error)),
        }
        // Filling the disk to the last block would only find out the same and harm others.
        if self.disk.free_bytes(&self.dir).map_err(spare_error)? < self.bytes {
            return Err(SpareError::NoSpace);
        }
        let file: Arc<dyn DiskFile> = Arc::from(self.disk.create(&path).map_err(spare_error)?);
        match write_zeros(file.as_ref(), 0, self.bytes) {
            Ok(()) => Ok(Spare {
                file,
                path,
                bytes: self.bytes,
            }),
            Err(error) => {
                // The next attempt removes it again, so a failure here changes nothing.
                let _ = self.disk.remove(&path);
                Err(error)
            }
        }
    }
}

/// Writes and syncs zeros in `from..to`.
pub(crate) fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> Result<(), SpareError> {
    let step = to.saturating_sub(from).min(disk::ZERO_STEP_BYTES as u64);
    let zeros = vec![0; usize::try_from(step).unwrap_or(disk::ZERO_STEP_BYTES)];
    let mut at = from;
    while at < to {
        let count = (to - at).min(step);
        let part = &zeros[..usize::try_from(count).unwrap_or(zeros.len())];
        disk::write_all_at(file, part, at).map_err(spare_error)?;
        file.sync_data().map_err(SpareError::Sync)?;
        at += count;
    }
    Ok(())
}

fn spare_error(error: io::Error) -> SpareError {
    if disk::is_no_space(&error) {
        SpareError::NoSpace
    } else {
        SpareError::Io(error)
    }
}

fn close_sector(mut sector: [u8; SECTOR_BYTES]) -> [u8; SECTOR_BYTES] {
    let crc = crc32fast::hash(&sector[..CRC_AT]);
    sector[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    sector
}

fn checked_sector<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Option<&'a [u8; SECTOR_BYTES]> {
    let sector = bytes.first_chunk::<SECTOR_BYTES>()?;
    let intact =
        sector[..8] == *magic && u32_at(sector, CRC_AT) == crc32fast::hash(&sector[..CRC_AT]);
    intact.then_some(sector)
}

/// Name of the file that becomes the next segment.
pub(crate) const SPARE_NAME: &str = "spare.tmp";

const HEAD_MAGIC: &[u8; 8] = b"msWalSeg";
const SEAL_MAGIC: &[u8; 8] = b"msWalEnd";
const CRC_AT: usize = SECTOR_BYTES - 4;
