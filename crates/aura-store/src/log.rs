//! The segment log: one writer, group commit, recovery at open.
//!
//! Invariants:
//! - a position is durable only after the sync that covers it returned;
//! - every open that succeeds has synced a boot record with a higher epoch (R6);
//! - after a failed sync nothing is ever written again by this value (R8);
//! - a refused append leaves no trace that a reader or a later open could see;
//! - records before a segment's first are durable before that segment exists.

mod active;
mod errors;
mod options;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;

use crate::disk::{self, Disk, DiskLock};
use crate::reader::{Published, ReadError, Reader, Shared};
use crate::record::{self, Hash, Header, Kind, Record, RecordView};
use crate::recovery::{self, Cursor, Recovery, Scan, SegmentIndex};
use crate::segment::{self, Head, Seal, Spare, SpareError, SpareOrder};
use active::{Active, activate, first_segment, offset32};

pub use errors::{AppendError, CommitError, OpenError};
pub use options::{Options, Stat};

/// A log open for writing; it holds the directory's lock until dropped.
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    shared: Arc<Shared>,
    active: Active,
    buffer: Vec<u8>,
    /// Starts of the buffered records within the segment.
    buffered: Vec<u32>,
    next_lsn: u64,
    /// Chain hash after the last appended record.
    head: Hash,
    epoch: u64,
    spare: Option<Spare>,
    /// A spare that another thread is making.
    coming: Option<mpsc::Receiver<Result<Spare, SpareError>>>,
    is_poisoned: bool,
    _lock: Box<dyn DiskLock>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgency {
    Normal,
    Urgent,
}

impl Log {
    /// Opens or creates a log, recovers it (R1 to R8) and syncs a boot record of a new epoch.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
    ) -> Result<(Self, Recovery), OpenError> {
        Self::open_with(disk, dir, options, |_| {})
    }

    /// Opens like [`Log::open`] and shows every recovered record once, in order, while it is
    /// checked; forget what was shown if the open fails.
    pub fn open_with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        mut visit: impl FnMut(RecordView<'_>),
    ) -> Result<(Self, Recovery), OpenError> {
        if !options.is_sound() {
            let Options {
                record_bytes_max,
                segment_bytes,
                ..
            } = options;
            return Err(OpenError::Sizes {
                record_bytes_max,
                segment_bytes,
            });
        }
        let lock = lock(disk.as_ref(), dir, options.create)?;
        let mut scan = recovery::scan(disk.as_ref(), dir, &mut visit)?;
        let is_new = scan.segments.is_empty();
        if is_new && !options.create {
            return Err(OpenError::NotFound {
                path: dir.to_path_buf(),
            });
        }
        let torn = scan.settle(disk.as_ref(), dir)?;
        let recovery = Recovery {
            is_new,
            segments: scan.segments.len(),
            records: scan.cursor.lsn - 1,
            last_lsn: scan.cursor.lsn - 1,
            head: scan.cursor.head,
            torn,
        };
        if let Some(torn) = &recovery.torn {
            tracing::warn!(
                code = "TAIL_TRUNCATED",
                bytes = torn.bytes,
                offset = torn.offset,
                lsn = torn.first_lsn,
                segment = %torn.segment.display(),
                "cut an unacknowledged tail"
            );
        }
        let mut log = Self::assemble(disk, dir, options, lock, scan)?;
        log.boot()?;
        Ok((log, recovery))
    }

    fn assemble(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        lock: Box<dyn DiskLock>,
        scan: Scan,
    ) -> Result<Self, OpenError> {
        let (segments, active) = match scan.segments.last() {
            Some(last) => {
                let io = |source| OpenError::Io {
                    path: last.path.clone(),
                    source,
                };
                let active = Active {
                    file: Arc::from(disk.open(&last.path).map_err(io)?),
                    salt: last.salt,
                    len: scan.last_len(),
                    end: u64::from(last.end),
                    dirty_end: 0,
                };
                (scan.segments, active)
            }
            None => {
                let (index, active) = first_segment(&disk, dir, &options)?;
                (vec![index], active)
            }
        };
        let Cursor {
            lsn, epoch, head, ..
        } = scan.cursor;
        let published = Published {
            segments,
            last_file: Some(Arc::clone(&active.file)),
            durable: lsn - 1,
            head,
            epoch,
        };
        Ok(Self {
            shared: Arc::new(Shared::new(Arc::clone(&disk), published)),
            disk,
            dir: dir.to_path_buf(),
            options,
            active,
            buffer: Vec::new(),
            buffered: Vec::new(),
            next_lsn: lsn,
            head,
            epoch,
            spare: None,
            coming: None,
            is_poisoned: false,
            _lock: lock,
        })
    }

    // spec: log/1.4
    fn boot(&mut self) -> Result<(), OpenError> {
        self.epoch = self.epoch.saturating_add(1);
        let dir = self.dir.clone();
        let append = self.push(Kind::Boot, &[], Urgency::Urgent).map(|_| ());
        append.map_err(|error| match error {
            AppendError::NoSpace => OpenError::NoSpace { path: dir.clone() },
            AppendError::Io(source) => OpenError::Io {
                path: dir.clone(),
                source,
            },
            AppendError::Poisoned | AppendError::TooLarge { .. } => OpenError::Io {
                path: dir.clone(),
                source: io::ErrorKind::Other.into(),
            },
        })?;
        self.commit().map(|_| ()).map_err(|error| match error {
            CommitError::NoSpace => OpenError::NoSpace { path: dir },
            CommitError::Io(source) => OpenError::Io { path: dir, source },
            CommitError::Poisoned => OpenError::Io {
                path: dir,
                source: io::ErrorKind::Other.into(),
            },
        })
    }

    /// Buffers a record, given in parts, and returns its position; not durable before `commit`.
    ///
    /// When the segment is full this makes the next one, which commits what was buffered before.
    pub fn append(&mut self, payload: &[&[u8]]) -> Result<u64, AppendError> {
        self.push(Kind::Data, payload, Urgency::Normal)
    }

    /// Buffers a record that may use the reserve when no next segment can be made.
    pub fn append_urgent(&mut self, payload: &[&[u8]]) -> Result<u64, AppendError> {
        self.push(Kind::Data, payload, Urgency::Urgent)
    }

    fn push(
        &mut self,
        kind: Kind,
        payload: &[&[u8]],
        urgency: Urgency,
    ) -> Result<u64, AppendError> {
        if self.is_poisoned {
            return Err(AppendError::Poisoned);
        }
        let max = self.options.record_bytes_max;
        let len = payload
            .iter()
            .fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        if (max as usize) < len {
            return Err(AppendError::TooLarge { len, max });
        }
        if !self.has_room(record::stored_bytes(len), urgency) {
            self.roll()?;
        }
        Ok(self.encode(kind, payload, len))
    }

    fn has_room(&self, bytes: usize, urgency: Urgency) -> bool {
        let reserve = match urgency {
            Urgency::Normal => u64::from(self.options.reserve_bytes),
            Urgency::Urgent => 0,
        };
        let needed = self
            .buffered_end()
            .saturating_add(bytes as u64)
            .saturating_add(reserve);
        needed <= self.active.len
    }

    fn buffered_end(&self) -> u64 {
        self.active.end.saturating_add(self.buffer.len() as u64)
    }

    fn encode(&mut self, kind: Kind, payload: &[&[u8]], len: usize) -> u64 {
        let start = self.buffer.len();
        let lsn = self.next_lsn;
        let header = Header {
            kind,
            len: 0,
            payload_crc: 0,
            epoch: self.epoch,
            lsn,
            durable_lsn: self.durable(),
            previous: self.head,
        };
        self.buffered.push(offset32(self.buffered_end()));
        record::encode(&mut self.buffer, self.active.salt, header, payload);
        let payload = record::encoded_payload(&self.buffer, start, len);
        self.head = record::chain_hash(&self.head, lsn, self.epoch, payload);
        self.next_lsn += 1;
        lsn
    }

    /// Makes all buffered records durable with one write and one sync; returns `durable()`.
    pub fn commit(&mut self) -> Result<u64, CommitError> {
        if self.is_poisoned {
            return Err(CommitError::Poisoned);
        }
        match self.flush() {
            Ok(()) => Ok(self.durable()),
            Err(FlushError::NoSpace) => {
                self.drop_buffered();
                Err(CommitError::NoSpace)
            }
            Err(FlushError::Io(error)) => Err(CommitError::Io(error)),
        }
    }

    fn flush(&mut self) -> Result<(), FlushError> {
        let end = self.buffered_end();
        if self.buffered.is_empty() && self.active.dirty_end <= end {
            return Ok(());
        }
        let records_bytes = self.buffer.len();
        let dirty = self.active.dirty_end.saturating_sub(end);
        // Bytes of a refused batch must not follow this one.
        self.buffer
            .resize(records_bytes + usize::try_from(dirty).unwrap_or(0), 0);
        let file = Arc::clone(&self.active.file);
        let written = disk::write_all_at(file.as_ref(), &self.buffer, self.active.end);
        self.buffer.truncate(records_bytes);
        if let Err(error) = written {
            self.active.dirty_end = self.active.dirty_end.max(end);
            return Err(self.write_failed(error));
        }
        if let Err(error) = file.sync_data() {
            return Err(self.poison(error));
        }
        self.active.dirty_end = 0;
        self.publish(end);
        Ok(())
    }

    fn publish(&mut self, end: u64) {
        let mut published = self.shared.get_mut();
        if let Some(last) = published.segments.last_mut() {
            last.offsets.append(&mut self.buffered);
            last.end = offset32(end);
        }
        published.durable = self.next_lsn - 1;
        published.head = self.head;
        published.epoch = self.epoch;
        self.active.end = end;
        self.buffer.clear();
    }

    fn drop_buffered(&mut self) {
        self.buffer.clear();
        self.buffered.clear();
        let published = self.shared.get();
        self.next_lsn = published.durable + 1;
        self.head = published.head;
        drop(published);
        // A refused record must not come back after a crash; the next commit covers what this
        // attempt could not.
        let length = self.active.dirty_end.saturating_sub(self.active.end);
        let zeros = vec![0; usize::try_from(length).unwrap_or(0)];
        let _ = disk::write_all_at(self.active.file.as_ref(), &zeros, self.active.end);
    }

    fn write_failed(&mut self, error: io::Error) -> FlushError {
        if disk::is_no_space(&error) {
            FlushError::NoSpace
        } else {
            self.poison(error)
        }
    }

    // spec: log/1.1
    fn poison(&mut self, error: io::Error) -> FlushError {
        self.is_poisoned = true;
        FlushError::Io(error)
    }

    /// Starts to make the next segment on a thread of its own if this one is half full, so that
    /// no commit waits for its zeros. Without this call a full segment is followed in line.
    pub fn prepare(&mut self) {
        let is_half_full = self.active.len / 2 < self.active.end;
        let has_next = self.spare.is_some() || self.coming.is_some();
        if !is_half_full || has_next || self.is_poisoned {
            return;
        }
        let order = self.order();
        let (done, coming) = mpsc::sync_channel(1);
        let started = thread::Builder::new()
            .name("log-segment".into())
            .spawn(move || {
                // The log waits for this before it lets go of the directory; it cannot be gone.
                let _ = done.send(order.run());
            });
        self.coming = started.is_ok().then_some(coming);
    }

    fn order(&self) -> SpareOrder {
        SpareOrder {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            bytes: self.options.segment_bytes,
        }
    }

    /// The next segment's file: the one that is ready, the one that is coming, or one made now.
    fn next_file(&mut self) -> Result<Spare, SpareError> {
        if let Some(spare) = self.spare.take() {
            return Ok(spare);
        }
        match self.coming.take().and_then(|coming| coming.recv().ok()) {
            // There may be room by now.
            None | Some(Err(SpareError::NoSpace)) => self.order().run(),
            Some(made) => made,
        }
    }

    /// Goes on in a new segment; everything buffered becomes durable in the old one first.
    fn roll(&mut self) -> Result<(), AppendError> {
        let spare = match self.next_file() {
            Ok(spare) => spare,
            Err(SpareError::NoSpace) => return Err(AppendError::NoSpace),
            Err(SpareError::Io(error) | SpareError::Sync(error)) => {
                return Err(self.poison(error).into());
            }
        };
        if let Err(error) = self.flush() {
            self.spare = Some(spare);
            return Err(error.into());
        }
        let (index, active) = self.activate(spare)?;
        self.adopt(index, active)
    }

    fn activate(&mut self, spare: Spare) -> Result<(SegmentIndex, Active), AppendError> {
        let nonce = self.disk.nonce();
        let head = Head {
            first_lsn: self.next_lsn,
            salt: nonce,
            previous: self.head,
        };
        activate(self.disk.as_ref(), &self.dir, spare, &head).map_err(|error| match error {
            SpareError::NoSpace => AppendError::NoSpace,
            // The new name may or may not be there, so this value must not go on beside it.
            SpareError::Io(error) | SpareError::Sync(error) => self.poison(error).into(),
        })
    }

    /// Seals the old segment and makes the new one the last.
    fn adopt(&mut self, index: SegmentIndex, active: Active) -> Result<(), AppendError> {
        let seal = Seal {
            last_lsn: self.next_lsn - 1,
            end: self.active.end,
            head: self.head,
        };
        let old = std::mem::replace(&mut self.active, active);
        let replaces = {
            let mut published = self.shared.get_mut();
            // A segment without a record was replaced under its own name.
            let replaces = published
                .segments
                .last()
                .is_some_and(|last| last.first_lsn == index.first_lsn);
            if replaces {
                published.segments.pop();
            } else if let Some(last) = published.segments.last_mut() {
                last.is_sealed = true;
            }
            published.segments.push(index);
            published.last_file = Some(Arc::clone(&self.active.file));
            replaces
        };
        if replaces {
            return Ok(());
        }
        match disk::write_all_at(old.file.as_ref(), &seal.encode(), SEAL_AT) {
            Ok(()) => {}
            // The next open writes the seal: without it nothing is in doubt.
            Err(error) if disk::is_no_space(&error) => return Ok(()),
            Err(error) => return Err(self.poison(error).into()),
        }
        old.file
            .sync_data()
            .map_err(|error| self.poison(error).into())
    }

    /// Reads durable records; see [`Reader::read`].
    pub fn read(&self, from_lsn: u64, bytes_max: usize) -> Result<Vec<Record>, ReadError> {
        self.reader().read(from_lsn, bytes_max)
    }

    /// Streams durable records; see [`Reader::replay`].
    pub fn replay(
        &self,
        from_lsn: u64,
        visit: impl FnMut(RecordView<'_>),
    ) -> Result<(), ReadError> {
        self.reader().replay(from_lsn, visit)
    }

    /// Chain hash after a durable position; see [`Reader::hash_at`].
    pub fn hash_at(&self, lsn: u64) -> Result<Option<Hash>, ReadError> {
        self.reader().hash_at(lsn)
    }

    /// A handle for reading from other threads.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// Epoch of this open.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Highest durable position.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.shared.get().durable
    }

    /// Chain hash after the highest durable position.
    #[must_use]
    pub fn head(&self) -> Hash {
        self.shared.get().head
    }

    /// Whether an earlier failure stopped this log for good.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// Sizes and positions.
    #[must_use]
    pub fn stat(&self) -> Stat {
        let published = self.shared.get();
        Stat {
            segments: published.segments.len(),
            records: published
                .segments
                .iter()
                .map(|segment| segment.offsets.len() as u64)
                .sum(),
            bytes: published
                .segments
                .iter()
                .map(|segment| u64::from(segment.end))
                .sum(),
            buffered_bytes: self.buffer.len(),
            durable: published.durable,
            epoch: self.epoch,
            room_bytes: self
                .active
                .len
                .saturating_sub(self.buffered_end())
                .saturating_sub(u64::from(self.options.reserve_bytes)),
        }
    }
}

impl Drop for Log {
    /// Waits for the thread that makes a segment: after the lock is free the directory is another's.
    fn drop(&mut self) {
        if let Some(coming) = self.coming.take() {
            let _ = coming.recv();
        }
    }
}

enum FlushError {
    NoSpace,
    Io(io::Error),
}

impl From<FlushError> for AppendError {
    fn from(error: FlushError) -> Self {
        match error {
            FlushError::NoSpace => Self::NoSpace,
            FlushError::Io(error) => Self::Io(error),
        }
    }
}

fn lock(disk: &dyn Disk, dir: &Path, create: bool) -> Result<Box<dyn DiskLock>, OpenError> {
    if create {
        disk.create_dir_all(dir).map_err(|source| OpenError::Io {
            path: dir.to_path_buf(),
            source,
        })?;
    }
    let path = dir.join(LOCK_NAME);
    disk.lock(&path).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { path },
        io::ErrorKind::NotFound => OpenError::NotFound {
            path: dir.to_path_buf(),
        },
        _ if disk::is_no_space(&source) => OpenError::NoSpace {
            path: dir.to_path_buf(),
        },
        _ => OpenError::Io { path, source },
    })
}

/// Name of the lock file in the log's directory.
pub const LOCK_NAME: &str = "lock";

const SEAL_AT: u64 = segment::SECTOR_BYTES as u64;
