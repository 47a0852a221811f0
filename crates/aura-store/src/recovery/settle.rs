//! Making durable what a scan believed, and putting aside what it did not.
//!
//! Invariants:
//! - cut bytes are in quarantine and synced before they are zeroed;
//! - nothing is sealed that has no successor.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{self, Disk};
use crate::recovery::{SEAL_AT, Scan, ScanError, TornTail};
use crate::segment::{self, Head, Seal, SpareError, write_zeros};

impl Scan {
    /// Length of the torn tail up to its last byte that is not zero.
    pub(crate) fn torn_bytes(&self) -> u64 {
        let tail = self.torn_at.and_then(|at| self.image.get(at as usize..));
        tail.map_or(0, |tail| disk::trimmed_len(tail) as u64)
    }

    /// File length of the last segment.
    pub(crate) fn last_len(&self) -> u64 {
        self.image.len() as u64
    }

    /// Makes what the scan believed durable: quarantines and cuts a torn tail, writes unproven
    /// records again, syncs, and seals what a crash left unsealed.
    pub(crate) fn settle(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
    ) -> Result<Option<TornTail>, ScanError> {
        let Some(last) = self.segments.last() else {
            return Ok(None);
        };
        let path = last.path.clone();
        let io = |source| ScanError::Io {
            path: path.clone(),
            source,
        };
        let torn = self.quarantine(disk, dir, &path)?;
        let file = disk.open(&path).map_err(io)?;
        if let Some(torn) = &torn {
            let zeroed = write_zeros(file.as_ref(), torn.offset, torn.offset + torn.bytes);
            zeroed.map_err(|error| io(error.into()))?;
        }
        let unproven = self.unproven();
        if let Some(bytes) = self.image.get(unproven.clone()) {
            disk::write_all_at(file.as_ref(), bytes, unproven.start as u64).map_err(io)?;
        }
        file.sync_data().map_err(io)?;
        disk.sync_dir(dir).map_err(io)?;
        self.seal_all(disk)?;
        Ok(torn)
    }

    /// Range of the last segment that no record proves durable.
    fn unproven(&self) -> std::ops::Range<usize> {
        let Some(last) = self.segments.last() else {
            return 0..0;
        };
        let proven = self
            .cursor
            .proven
            .saturating_add(1)
            .saturating_sub(last.first_lsn);
        let index = usize::try_from(proven).unwrap_or(usize::MAX);
        let start = last.offsets.get(index).copied().unwrap_or(last.end);
        start as usize..last.end as usize
    }

    fn quarantine(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        segment: &Path,
    ) -> Result<Option<TornTail>, ScanError> {
        let Some(offset) = self.torn_at else {
            return Ok(None);
        };
        let bytes = self.torn_bytes();
        let start = offset as usize;
        let tail = self
            .image
            .get(start..start + bytes as usize)
            .unwrap_or_default();
        let yard = dir.join(QUARANTINE);
        let stem = segment.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}-{offset}-{}.tail", self.cursor.epoch);
        let path = yard.join(name);
        save(disk, &yard, &path, tail).map_err(|source| ScanError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(Some(TornTail {
            segment: segment.to_path_buf(),
            offset: u64::from(offset),
            first_lsn: self.cursor.lsn,
            bytes,
            quarantined: path,
        }))
    }

    /// Seals every segment that has a successor; a crash may have come between the two.
    fn seal_all(&mut self, disk: &dyn Disk) -> Result<(), ScanError> {
        for index in 1..self.segments.len() {
            let next_lsn = self.segments[index].first_lsn;
            let before = &mut self.segments[index - 1];
            if before.is_sealed {
                continue;
            }
            let io = |source| ScanError::Io {
                path: before.path.clone(),
                source,
            };
            let next = disk
                .open_read(&sibling(&before.path, next_lsn))
                .map_err(io)?;
            let mut sector = [0; segment::SECTOR_BYTES];
            disk::read_up_to(next.as_ref(), &mut sector, 0).map_err(io)?;
            let Some(head) = Head::decode(&sector) else {
                continue;
            };
            let seal = Seal {
                last_lsn: next_lsn.saturating_sub(1),
                end: u64::from(before.end),
                head: head.previous,
            };
            let file = disk.open(&before.path).map_err(io)?;
            disk::write_all_at(file.as_ref(), &seal.encode(), SEAL_AT).map_err(io)?;
            file.sync_data().map_err(io)?;
            before.is_sealed = true;
        }
        Ok(())
    }
}

fn sibling(path: &Path, lsn: u64) -> PathBuf {
    path.with_file_name(segment::file_name(lsn))
}

fn save(disk: &dyn Disk, yard: &Path, path: &Path, tail: &[u8]) -> io::Result<()> {
    disk.create_dir_all(yard)?;
    match disk.remove(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = disk.create(path)?;
    disk::write_all_at(file.as_ref(), tail, 0)?;
    file.sync_data()?;
    disk.sync_dir(yard)
}

impl From<SpareError> for io::Error {
    fn from(error: SpareError) -> Self {
        match error {
            SpareError::NoSpace => io::ErrorKind::StorageFull.into(),
            SpareError::Io(error) | SpareError::Sync(error) => error,
        }
    }
}

/// Directory, inside the log's, that keeps cut tails.
pub const QUARANTINE: &str = "quarantine";
