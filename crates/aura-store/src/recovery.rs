//! What a log's directory holds: the scan that judges it and the repair of a torn tail.
//!
//! Invariants:
//! - the scan writes nothing, so a corrupt log is left as it was found;
//! - a tail is torn only if it lies in the last segment and no record header behind it says that
//!   the first bad record had been durable (R3); everything else is corruption (R4);
//! - what is cut was copied to `quarantine/` and synced before;
//! - records that no later record proves durable are written again before they are believed: after
//!   a failed sync the page cache may hold what the disk does not.

mod damage;
mod settle;

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{self, Disk};
use crate::record::{self, ALIGN, Hash, Header, Kind, RecordView, ZERO_HASH};
use crate::segment::{self, FIRST_RECORD_AT, Head, Name, SEGMENT_BYTES_MAX, Seal, SealState};

pub use damage::{Corruption, Damage, Recovery, TornTail};
pub use settle::QUARANTINE;

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
    pub(crate) const START: Self = Self {
        lsn: 1,
        epoch: 0,
        head: ZERO_HASH,
        proven: 0,
    };

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
/// On an error the records already shown are the intact prefix. Safe beside a live writer: what
/// looks damaged is read again, after the proof that it had been durable was seen.
pub(crate) fn scan(
    disk: &dyn Disk,
    dir: &Path,
    visit: &mut dyn FnMut(RecordView<'_>),
) -> Result<Scan, ScanError> {
    let mut names = segment_names(disk, dir)?;
    let mut scan = Scan {
        segments: Vec::new(),
        cursor: Cursor::START,
        torn_at: None,
        image: Vec::new(),
    };
    let mut index = 0;
    while let Some(first_lsn) = names.get(index).copied() {
        let place = Place {
            disk,
            dir,
            path: dir.join(segment::file_name(first_lsn)),
            first_lsn,
        };
        place.read_image(&mut scan.image)?;
        if names.len() == index + 1 && Seal::decode(&scan.image) != SealState::Open {
            // A live writer may have gone on since the names were read.
            names = segment_names(disk, dir)?;
        }
        index += 1;
        place.scan(&mut scan, names.get(index).copied(), visit)?;
    }
    Ok(scan)
}

/// Shows every record from position `from` on that is good by itself, wherever it stands.
pub(crate) fn salvage(
    disk: &dyn Disk,
    dir: &Path,
    from: u64,
    visit: &mut dyn FnMut(RecordView<'_>),
) -> Result<(), ScanError> {
    let mut image = Vec::new();
    for first_lsn in segment_names(disk, dir)? {
        let place = Place {
            disk,
            dir,
            path: dir.join(segment::file_name(first_lsn)),
            first_lsn,
        };
        place.read_image(&mut image)?;
        // Without its head a segment's records cannot be told from what an earlier use left there.
        let Some(Head { salt, .. }) = Head::decode(&image) else {
            continue;
        };
        let mut at = FIRST_RECORD_AT;
        while let Some(bytes) = image.get(at..).filter(|bytes| !bytes.is_empty()) {
            let header = record::decode(bytes, salt);
            let good = header.and_then(|header| Some((header, record::payload(bytes, &header)?)));
            let Some((header, payload)) = good else {
                at += ALIGN;
                continue;
            };
            at += header.stored_bytes();
            if from <= header.lsn {
                visit(RecordView {
                    lsn: header.lsn,
                    epoch: header.epoch,
                    kind: header.kind,
                    payload,
                });
            }
        }
    }
    Ok(())
}

fn segment_names(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, ScanError> {
    let listed = disk.list(dir).map_err(|source| ScanError::Io {
        path: dir.to_path_buf(),
        source,
    })?;
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

/// The segment that is being judged.
struct Place<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    path: PathBuf,
    first_lsn: u64,
}

impl Place<'_> {
    fn read_image(&self, image: &mut Vec<u8>) -> Result<(), ScanError> {
        let io = |source| ScanError::Io {
            path: self.path.clone(),
            source,
        };
        let file = self.disk.open_read(&self.path).map_err(io)?;
        let len = file.len().map_err(io)?;
        if SEGMENT_BYTES_MAX < len {
            return Err(self.bad(Damage::Foreign));
        }
        image.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
        let count = disk::read_up_to(file.as_ref(), image, 0).map_err(io)?;
        image.truncate(count);
        Ok(())
    }

    fn scan(
        self,
        scan: &mut Scan,
        next: Option<u64>,
        visit: &mut dyn FnMut(RecordView<'_>),
    ) -> Result<(), ScanError> {
        let salt = self.check_head(scan)?.salt;
        let mut offsets = Vec::new();
        let mut end = FIRST_RECORD_AT.min(scan.image.len());
        let mut read_again_at = None;
        loop {
            let is_bad;
            (end, is_bad) = scan_records(
                &scan.image,
                end,
                salt,
                &mut scan.cursor,
                &mut offsets,
                visit,
            );
            if !is_bad {
                break;
            }
            // spec: log/1.3
            let rest = Rest::behind(&scan.image, end, salt, scan.cursor.lsn);
            if next.is_none() && !rest.proves {
                scan.torn_at = Some(narrow(end));
                break;
            }
            if read_again_at == Some(end) {
                return Err(self.bad_record(scan.cursor.lsn, end, rest.next_lsn.or(next)));
            }
            read_again_at = Some(end);
            self.read_image(&mut scan.image)?;
        }
        let is_sealed = self.check_seal(scan, end, next)?;
        let Place {
            path, first_lsn, ..
        } = self;
        let end = narrow(end);
        scan.segments.push(SegmentIndex {
            first_lsn,
            path,
            salt,
            offsets,
            end,
            is_sealed,
        });
        Ok(())
    }

    fn check_head(&self, scan: &Scan) -> Result<Head, ScanError> {
        let expected = scan.cursor.lsn;
        if expected < self.first_lsn {
            let missing = self.dir.join(segment::file_name(expected));
            return Err(corrupt(
                missing,
                0,
                expected,
                self.first_lsn - 1,
                Damage::Missing,
            ));
        }
        if self.first_lsn < expected {
            return Err(self.bad(Damage::Foreign));
        }
        let head = Head::decode(&scan.image).ok_or_else(|| self.bad(Damage::Head))?;
        if head.first_lsn != self.first_lsn {
            return Err(self.bad(Damage::Foreign));
        }
        if head.previous != scan.cursor.head {
            return Err(self.bad(Damage::Chain));
        }
        Ok(head)
    }

    /// Compares the seal with the records; returns whether there is one.
    // spec: log/1.8
    fn check_seal(
        &self,
        scan: &mut Scan,
        end: usize,
        next: Option<u64>,
    ) -> Result<bool, ScanError> {
        if Seal::decode(&scan.image) == SealState::Damaged {
            // It may have been read while it was written.
            self.read_image(&mut scan.image)?;
        }
        let lsn = scan.cursor.lsn;
        let last = lsn.saturating_sub(1);
        let bad = corrupt(self.path.clone(), SEAL_AT, last, last, Damage::Seal);
        match Seal::decode(&scan.image) {
            SealState::Open => Ok(false),
            SealState::Damaged => Err(bad),
            SealState::Sealed(seal) if next.is_none() => {
                let missing_lsn = seal.last_lsn.saturating_add(1);
                let missing = self.dir.join(segment::file_name(missing_lsn));
                Err(corrupt(
                    missing,
                    0,
                    lsn.min(missing_lsn),
                    missing_lsn,
                    Damage::Missing,
                ))
            }
            SealState::Sealed(seal) => {
                let told = (seal.last_lsn, seal.end, seal.head);
                let is_true = told == (last, end as u64, scan.cursor.head);
                if is_true { Ok(true) } else { Err(bad) }
            }
        }
    }

    fn bad(&self, damage: Damage) -> ScanError {
        corrupt(self.path.clone(), 0, self.first_lsn, self.first_lsn, damage)
    }

    fn bad_record(&self, lsn: u64, offset: usize, later: Option<u64>) -> ScanError {
        let last = later.map_or(lsn, |later| later.saturating_sub(1).max(lsn));
        corrupt(self.path.clone(), offset as u64, lsn, last, Damage::Record)
    }
}

/// Follows the records of one segment; returns where they end and whether something bad is there.
fn scan_records(
    image: &[u8],
    mut at: usize,
    salt: u64,
    cursor: &mut Cursor,
    offsets: &mut Vec<u32>,
    visit: &mut dyn FnMut(RecordView<'_>),
) -> (usize, bool) {
    loop {
        let rest = image.get(at..).unwrap_or_default();
        let header = record::decode(rest, salt).filter(|header| cursor.accepts(header));
        let good = header.and_then(|header| Some((header, record::payload(rest, &header)?)));
        let Some((header, payload)) = good else {
            return (at, !disk::is_zero(rest));
        };
        cursor.advance(&header, payload);
        offsets.push(narrow(at));
        visit(RecordView {
            lsn: header.lsn,
            epoch: header.epoch,
            kind: header.kind,
            payload,
        });
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
        let mut rest = Self {
            proves: false,
            next_lsn: None,
        };
        let mut at = bad_at + ALIGN;
        while let Some(bytes) = image.get(at..) {
            if bytes.len() < record::HEADER_BYTES {
                break;
            }
            at += ALIGN;
            if !record::starts_with_magic(bytes) {
                continue;
            }
            let Some(header) = record::decode_header(bytes, salt) else {
                continue;
            };
            rest.proves |= bad_lsn <= header.durable_lsn;
            if bad_lsn < header.lsn && rest.next_lsn.is_none() {
                rest.next_lsn = Some(header.lsn);
            }
        }
        rest
    }
}

fn corrupt(
    segment: PathBuf,
    offset: u64,
    first_lsn: u64,
    last_lsn: u64,
    damage: Damage,
) -> ScanError {
    ScanError::Corrupt(Corruption {
        segment,
        offset,
        first_lsn,
        last_lsn,
        damage,
    })
}

/// Offsets inside an image fit 32 bits, because an image is at most [`SEGMENT_BYTES_MAX`].
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

const _: () = assert!(SEGMENT_BYTES_MAX < u32::MAX as u64);

const SEAL_AT: u64 = segment::SECTOR_BYTES as u64;
