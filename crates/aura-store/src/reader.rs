//! Reading durable records beside the writer.
//!
//! Invariants:
//! - only positions published after a successful sync are served;
//! - header and payload checksums are compared on every read;
//! - a reader never holds the lock while it reads from disk.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use thiserror::Error;

use crate::disk::{self, Disk, DiskFile};
use crate::record::{self, HEADER_BYTES, Hash, Header, Record, RecordView, ZERO_HASH};
use crate::recovery::{Corruption, Damage, SegmentIndex};

/// Why records could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// A durable record no longer matches its checksums.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The disk refused.
    #[error("cannot read the log segment {}", path.display())]
    Io {
        /// The segment.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
}

/// A cheap handle that reads durable records; clones share one index.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// What writer and readers share.
pub(crate) struct Shared {
    disk: Arc<dyn Disk>,
    published: RwLock<Published>,
}

/// Everything durable, by position.
pub(crate) struct Published {
    pub(crate) segments: Vec<SegmentIndex>,
    /// The open handle of the last segment; older ones are opened when read.
    pub(crate) last_file: Option<Arc<dyn DiskFile>>,
    pub(crate) durable: u64,
    pub(crate) head: Hash,
    pub(crate) epoch: u64,
}

impl Shared {
    pub(crate) fn new(disk: Arc<dyn Disk>, published: Published) -> Self {
        Self {
            disk,
            published: RwLock::new(published),
        }
    }

    pub(crate) fn get(&self) -> RwLockReadGuard<'_, Published> {
        self.published
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get_mut(&self) -> RwLockWriteGuard<'_, Published> {
        self.published
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run of neighbouring records in one segment.
struct Run {
    path: PathBuf,
    file: Option<Arc<dyn DiskFile>>,
    salt: u64,
    first_lsn: u64,
    start: u64,
    bytes: usize,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Highest durable position; 0 for none.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.shared.get().durable
    }

    /// Chain hash after the highest durable position.
    #[must_use]
    pub fn head(&self) -> Hash {
        self.shared.get().head
    }

    /// Epoch of the log as published last.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared.get().epoch
    }

    /// Reads durable records from a position on, boot records included.
    ///
    /// Stops before `bytes_max` bytes of payload and headers are passed, but gives at least one
    /// record if one is there, and at most what one segment holds. Empty means: nothing durable
    /// at or after `from_lsn`. Position 0 is read as 1.
    pub fn read(&self, from_lsn: u64, bytes_max: usize) -> Result<Vec<Record>, ReadError> {
        let Some(run) = self.run(from_lsn.max(1), bytes_max) else {
            return Ok(Vec::new());
        };
        let bytes = Bytes::from(self.load(&run)?);
        let mut records = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let (header, payload) = run.decode(&bytes, at, records.len())?;
            let start = at + HEADER_BYTES;
            records.push(Record {
                lsn: header.lsn,
                epoch: header.epoch,
                kind: header.kind,
                payload: bytes.slice(start..start + payload.len()),
            });
            at += header.stored_bytes();
        }
        Ok(records)
    }

    /// Streams all records that are durable now, from a position on, boot records included.
    pub fn replay(
        &self,
        from_lsn: u64,
        mut visit: impl FnMut(RecordView<'_>),
    ) -> Result<(), ReadError> {
        let mut next = from_lsn.max(1);
        let durable = self.durable();
        while next <= durable {
            let Some(run) = self.run(next, REPLAY_BYTES) else {
                return Ok(());
            };
            let bytes = self.load(&run)?;
            let (mut at, mut count) = (0, 0);
            while at < bytes.len() && next <= durable {
                let (header, payload) = run.decode(&bytes, at, count)?;
                let Header {
                    lsn, epoch, kind, ..
                } = header;
                visit(RecordView {
                    lsn,
                    epoch,
                    kind,
                    payload,
                });
                at += header.stored_bytes();
                count += 1;
                next = lsn.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Chain hash after a position; `None` if that is not durable. Position 0 has the zero hash.
    pub fn hash_at(&self, lsn: u64) -> Result<Option<Hash>, ReadError> {
        if lsn == 0 {
            return Ok(Some(ZERO_HASH));
        }
        {
            let published = self.shared.get();
            if published.durable <= lsn {
                return Ok((published.durable == lsn).then_some(published.head));
            }
        }
        // The next record's header carries the hash, so no payload is read.
        let Some(mut run) = self.run(lsn.saturating_add(1), 1) else {
            return Ok(None);
        };
        run.bytes = HEADER_BYTES;
        let bytes = self.load(&run)?;
        let header = record::decode_header(&bytes, run.salt)
            .filter(|header| header.lsn == run.first_lsn)
            .ok_or_else(|| run.damaged(0, 0))?;
        Ok(Some(header.previous))
    }

    /// Finds the run of records that starts at a position.
    fn run(&self, from_lsn: u64, bytes_max: usize) -> Option<Run> {
        let published = self.shared.get();
        if published.durable < from_lsn {
            return None;
        }
        let after = published
            .segments
            .partition_point(|segment| segment.first_lsn <= from_lsn);
        let segment = published.segments.get(after.checked_sub(1)?)?;
        let index = usize::try_from(from_lsn - segment.first_lsn).ok()?;
        let start = *segment.offsets.get(index)?;
        let limit = u64::from(start).saturating_add(bytes_max as u64);
        let later = &segment.offsets[index + 1..];
        let fitting = later.partition_point(|offset| u64::from(*offset) <= limit);
        let end = if u64::from(segment.end) <= limit {
            segment.end
        } else {
            // At least one record: the end of the first is the start of the second.
            let boundary = later.get(fitting.saturating_sub(1)).copied();
            boundary.unwrap_or(segment.end)
        };
        let is_last = after == published.segments.len();
        Some(Run {
            path: segment.path.clone(),
            file: if is_last {
                published.last_file.clone()
            } else {
                None
            },
            salt: segment.salt,
            first_lsn: from_lsn,
            start: u64::from(start),
            bytes: (end - start) as usize,
        })
    }

    fn load(&self, run: &Run) -> Result<Vec<u8>, ReadError> {
        let io = |source| ReadError::Io {
            path: run.path.clone(),
            source,
        };
        let file = match &run.file {
            Some(file) => Arc::clone(file),
            None => Arc::from(self.shared.disk.open_read(&run.path).map_err(io)?),
        };
        let mut bytes = vec![0; run.bytes];
        let count = disk::read_up_to(file.as_ref(), &mut bytes, run.start).map_err(io)?;
        if count < bytes.len() {
            return Err(run.damaged(count, 0).into());
        }
        Ok(bytes)
    }
}

impl Run {
    /// Checks the record at `at`, the `count`-th of this run.
    fn decode<'a>(
        &self,
        bytes: &'a [u8],
        at: usize,
        count: usize,
    ) -> Result<(Header, &'a [u8]), Corruption> {
        let rest = bytes.get(at..).unwrap_or_default();
        record::decode(rest, self.salt)
            .filter(|header| header.lsn == self.first_lsn.saturating_add(count as u64))
            .and_then(|header| Some((header, record::payload(rest, &header)?)))
            .ok_or_else(|| self.damaged(at, count))
    }

    fn damaged(&self, at: usize, count: usize) -> Corruption {
        let lsn = self.first_lsn.saturating_add(count as u64);
        Corruption {
            segment: self.path.clone(),
            offset: self.start.saturating_add(at as u64),
            first_lsn: lsn,
            last_lsn: lsn,
            damage: Damage::Record,
        }
    }
}

/// Bytes read at once while a log is streamed.
const REPLAY_BYTES: usize = 1 << 20;
