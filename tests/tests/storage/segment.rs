//! A segment file as anybody sees it who knows its format: where its records lie.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use aura_proto::Entry;

/// Where the first record starts.
const FIRST_AT: usize = 1_024;
/// Bytes of a record before its payload.
const HEADER_BYTES: usize = 80;
/// Where a record's header says how long its payload is.
pub(crate) const LEN_AT: usize = 8;
/// Where a record's header says its position.
const LSN_AT: usize = 24;

/// One file of the log.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    /// Each record with its padding.
    pub(crate) records: Vec<Range<usize>>,
}

impl Segment {
    /// Every segment of a log, oldest first.
    pub(crate) fn all(wal: &Path) -> Vec<Self> {
        let mut paths: Vec<PathBuf> = fs::read_dir(wal)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "wal"))
            .collect();
        paths.sort();
        paths.into_iter().map(Self::read).collect()
    }

    pub(crate) fn newest(wal: &Path) -> Self {
        Self::all(wal).pop().unwrap()
    }

    fn read(path: PathBuf) -> Self {
        let bytes = fs::read(&path).unwrap();
        let mut records = Vec::new();
        let mut at = FIRST_AT;
        while bytes
            .get(at..)
            .is_some_and(|rest| rest.starts_with(b"mRec"))
        {
            let len = u32::from_le_bytes(bytes[at + LEN_AT..][..4].try_into().unwrap());
            let end = at + (HEADER_BYTES + len as usize).next_multiple_of(8);
            records.push(at..end);
            at = end;
        }
        Self {
            path,
            bytes,
            records,
        }
    }

    /// Where the next record would go.
    pub(crate) fn end(&self) -> usize {
        self.records.last().map_or(FIRST_AT, |record| record.end)
    }

    /// The record that holds an entry.
    pub(crate) fn holding(&self, entry: &Entry) -> Range<usize> {
        self.find(entry).expect("the segment holds the entry")
    }

    /// The record that holds an entry, if it is in this segment.
    pub(crate) fn find(&self, entry: &Entry) -> Option<Range<usize>> {
        let holds = |record: &&Range<usize>| {
            let record = &self.bytes[(*record).clone()];
            record
                .windows(entry.bytes().len())
                .any(|part| part == entry.bytes())
        };
        self.records.iter().find(holds).cloned()
    }

    /// The position that a record says it has.
    pub(crate) fn lsn(&self, record: &Range<usize>) -> u64 {
        let bytes = &self.bytes[record.start + LSN_AT..][..8];
        u64::from_le_bytes(bytes.try_into().unwrap())
    }

    /// Writes the bytes back as they are now.
    pub(crate) fn save(&self) {
        fs::write(&self.path, &self.bytes).unwrap();
    }
}
