//! What a log's directory holds: the scan that judges it and the repair of a torn tail.
//!
//! Invariants:
//! - the scan writes nothing, so a corrupt log is left as it was found;
//! - a tail is torn only if it lies in the last segment and no record header behind it says that
//!   the first bad record had been durable (R3); everything else is corruption (R4);
//! - what is cut was copied to `quarantine/` and synced before;
//! - records that no later record proves durable are written again before they are believed: after
//!   a failed sync the page cache may hold what the disk does not.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::disk::{self, Disk};
use crate::record::{self, ALIGN, Hash, Header, Kind, RecordView, ZERO_HASH};
use crate::segment::{
    self, FIRST_RECORD_AT, Head, Name, SEGMENT_BYTES_MAX, Seal, SealState, SpareError, write_zeros,
};

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

/// Why a directory could not be judged.
#[derive(Debug)]
pub(crate) enum ScanError {
    Corrupt(Corruption),
    Io { path: PathBuf, source: io::Error },
}

/// Where the records of one segment are.
#[derive(Clone)]
pub(crate) struct SegmentIndex {
    pub(crate) first_lsn: u64,
    pub(crate) path: PathBuf,
    pub(crate) salt: u64,
    /// Start of each record, in order of position.
    pub(crate) offsets: Vec<u32>,
    /// Where the next record goes.
    pub(crate) end: u32,
    pub(crate) is_sealed: bool,
}

/// The next position and what it must continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) lsn: u64,
    pub(crate) epoch: u64,
    pub(crate) head: Hash,
    /// Highest position that a good record says was durable.
    pub(crate) proven: u64,
}

impl Cursor {
    pub(crate) const START: Self = Self { lsn: 1, epoch: 0, head: ZERO_HASH, proven: 0 };

    fn accepts(&self, header: &Header) -> bool {
        let epoch = match header.kind {
            Kind::Boot => self.epoch.checked_add(1),
            Kind::Data => Some(self.epoch),
        };
        header.lsn == self.lsn && header.previous == self.head && Some(header.epoch) == epoch
    }

    fn advance(&mut self, header: &Header, payload: &[u8]) {
        self.head = record::chain_hash(&self.head, header.lsn, header.epoch, payload);
        self.lsn = self.lsn.saturating_add(1);
        self.epoch = header.epoch;
        self.proven = self.proven.max(header.durable_lsn);
    }
}

/// A judged directory.
pub(crate) struct Scan {
    pub(crate) segments: Vec<SegmentIndex>,
    pub(crate) cursor: Cursor,
    /// Where the last segment turns bad, if it does.
    pub(crate) torn_at: Option<u32>,
    /// Bytes of the last segment.
    image: Vec<u8>,
}

/// Reads every segment in order, checks every record once and shows the good ones to `visit`.
///
/// On an error the records already shown are the intact prefix.
pub(crate) fn scan(
    disk: &dyn Disk,
    dir: &Path,
    visit: &mut dyn FnMut(RecordView<'_>),
) -> Result<Scan, ScanError> {
    let names = segment_names(disk, dir)?;
    let mut scan =
        Scan { segments: Vec::new(), cursor: Cursor::START, torn_at: None, image: Vec::new() };
    for (index, first_lsn) in names.iter().enumerate() {
        let path = dir.join(segment::file_name(*first_lsn));
        let next = names.get(index + 1).copied();
        read_image(disk, &path, *first_lsn, &mut scan.image)?;
        scan_segment(&mut scan, dir, path, *first_lsn, next, visit)?;
    }
    Ok(scan)
}

fn segment_names(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, ScanError> {
    let listed = disk
        .list(dir)
        .map_err(|source| ScanError::Io { path: dir.to_path_buf(), source })?;
    let mut names = Vec::new();
    for name in listed {
        match segment::parse_name(&name) {
            Name::Segment(lsn) => names.push(lsn),
            Name::Other => {}
            Name::Foreign => return Err(corrupt(dir.join(name), 0, 0, 0, Damage::Foreign)),
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn read_image(
    disk: &dyn Disk,
    path: &Path,
    first_lsn: u64,
    image: &mut Vec<u8>,
) -> Result<(), ScanError> {
    let io = |source| ScanError::Io { path: path.to_path_buf(), source };
    let file = disk.open_read(path).map_err(io)?;
    let len = file.len().map_err(io)?;
    if SEGMENT_BYTES_MAX < len {
        return Err(corrupt(path.to_path_buf(), 0, first_lsn, first_lsn, Damage::Foreign));
    }
    image.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
    let count = disk::read_up_to(file.as_ref(), image, 0).map_err(io)?;
    image.truncate(count);
    Ok(())
}

fn scan_segment(
    scan: &mut Scan,
    dir: &Path,
    path: PathBuf,
    first_lsn: u64,
    next: Option<u64>,
    visit: &mut dyn FnMut(RecordView<'_>),
) -> Result<(), ScanError> {
    let head = check_head(scan, dir, &path, first_lsn)?;
    let image = &scan.image;
    let mut offsets = Vec::new();
    let (end, is_bad) = scan_records(image, head.salt, &mut scan.cursor, &mut offsets, visit);
    let cursor = scan.cursor;
    if is_bad {
        let rest = Rest::behind(image, end, head.salt, cursor.lsn);
        if next.is_some() || rest.proves {
            let last = rest.next_lsn.or(next).map_or(cursor.lsn, |lsn| lsn.saturating_sub(1));
            let last = last.max(cursor.lsn);
            return Err(corrupt(path, end as u64, cursor.lsn, last, Damage::Record));
        }
        scan.torn_at = Some(narrow(end));
    }
    let is_sealed = check_seal(image, dir, &path, end, &cursor, next)?;
    scan.segments.push(SegmentIndex {
        first_lsn,
        path,
        salt: head.salt,
        offsets,
        end: narrow(end),
        is_sealed,
    });
    Ok(())
}

fn check_head(
    scan: &Scan,
    dir: &Path,
    path: &Path,
    first_lsn: u64,
) -> Result<Head, ScanError> {
    let expected = scan.cursor.lsn;
    if expected < first_lsn {
        let missing = dir.join(segment::file_name(expected));
        return Err(corrupt(missing, 0, expected, first_lsn - 1, Damage::Missing));
    }
    let bad = |damage| corrupt(path.to_path_buf(), 0, first_lsn, first_lsn, damage);
    if first_lsn < expected {
        return Err(bad(Damage::Foreign));
    }
    let head = Head::decode(&scan.image).ok_or_else(|| bad(Damage::Head))?;
    if head.first_lsn != first_lsn {
        return Err(bad(Damage::Foreign));
    }
    if head.previous != scan.cursor.head {
        return Err(bad(Damage::Chain));
    }
    Ok(head)
}

/// Follows the records of one segment; returns where they end and whether something bad is there.
fn scan_records(
    image: &[u8],
    salt: u64,
    cursor: &mut Cursor,
    offsets: &mut Vec<u32>,
    visit: &mut dyn FnMut(RecordView<'_>),
) -> (usize, bool) {
    let mut at = FIRST_RECORD_AT.min(image.len());
    loop {
        let rest = &image[at..];
        let header = record::decode(rest, salt).filter(|header| cursor.accepts(header));
        let good = header.and_then(|header| Some((header, record::payload(rest, &header)?)));
        let Some((header, payload)) = good else {
            return (at, !disk::is_zero(rest));
        };
        cursor.advance(&header, payload);
        offsets.push(narrow(at));
        visit(RecordView { lsn: header.lsn, epoch: header.epoch, kind: header.kind, payload });
        at += header.stored_bytes();
    }
}

/// What lies behind a bad record.
struct Rest {
    /// A header says that the bad record had been durable.
    proves: bool,
    /// Position of the first later record whose header is good.
    next_lsn: Option<u64>,
}

impl Rest {
    /// Looks at every place where a record may start; a header is enough, because it was written
    /// after the sync it speaks of, whether or not its own payload arrived.
    fn behind(image: &[u8], bad_at: usize, salt: u64, bad_lsn: u64) -> Self {
        let mut rest = Self { proves: false, next_lsn: None };
        let mut at = bad_at + ALIGN;
        while let Some(bytes) = image.get(at..) {
            if bytes.len() < record::HEADER_BYTES {
                break;
            }
            at += ALIGN;
            if !record::starts_with_magic(bytes) {
                continue;
            }
            let Some(header) = record::decode_header(bytes, salt) else { continue };
            rest.proves |= bad_lsn <= header.durable_lsn;
            if bad_lsn < header.lsn && rest.next_lsn.is_none() {
                rest.next_lsn = Some(header.lsn);
            }
        }
        rest
    }
}

/// Compares the seal with the records; returns whether there is one.
fn check_seal(
    image: &[u8],
    dir: &Path,
    path: &Path,
    end: usize,
    cursor: &Cursor,
    next: Option<u64>,
) -> Result<bool, ScanError> {
    let last = cursor.lsn.saturating_sub(1);
    let bad = || {
        corrupt(path.to_path_buf(), segment::SECTOR_BYTES as u64, last, last, Damage::Seal)
    };
    match Seal::decode(image) {
        SealState::Open => Ok(false),
        SealState::Damaged => Err(bad()),
        SealState::Sealed(seal) if next.is_none() => {
            let lsn = seal.last_lsn.saturating_add(1);
            let missing = dir.join(segment::file_name(lsn));
            Err(corrupt(missing, 0, cursor.lsn.min(lsn), lsn, Damage::Missing))
        }
        SealState::Sealed(seal) => {
            let told = (seal.last_lsn, seal.end, seal.head);
            if told == (last, end as u64, cursor.head) { Ok(true) } else { Err(bad()) }
        }
    }
}

fn corrupt(
    segment: PathBuf,
    offset: u64,
    first_lsn: u64,
    last_lsn: u64,
    damage: Damage,
) -> ScanError {
    ScanError::Corrupt(Corruption { segment, offset, first_lsn, last_lsn, damage })
}

/// Offsets inside an image fit 32 bits, because an image is at most [`SEGMENT_BYTES_MAX`].
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

const _: () = assert!(SEGMENT_BYTES_MAX < u32::MAX as u64);

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
        let Some(last) = self.segments.last() else { return Ok(None) };
        let path = last.path.clone();
        let io = |source| ScanError::Io { path: path.clone(), source };
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
        let Some(last) = self.segments.last() else { return 0..0 };
        let proven = self.cursor.proven.saturating_add(1).saturating_sub(last.first_lsn);
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
        let Some(offset) = self.torn_at else { return Ok(None) };
        let bytes = self.torn_bytes();
        let start = offset as usize;
        let tail = self.image.get(start..start + bytes as usize).unwrap_or_default();
        let yard = dir.join(QUARANTINE);
        let stem = segment.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}-{offset}-{}.tail", self.cursor.epoch);
        let path = yard.join(name);
        save(disk, &yard, &path, tail)
            .map_err(|source| ScanError::Io { path: path.clone(), source })?;
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
            let io = |source| ScanError::Io { path: before.path.clone(), source };
            let next = disk.open_read(&sibling(&before.path, next_lsn)).map_err(io)?;
            let mut sector = [0; segment::SECTOR_BYTES];
            disk::read_up_to(next.as_ref(), &mut sector, 0).map_err(io)?;
            let Some(head) = Head::decode(&sector) else { continue };
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

const SEAL_AT: u64 = segment::SECTOR_BYTES as u64;
