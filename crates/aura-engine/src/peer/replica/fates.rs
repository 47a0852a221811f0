//! What became of entries that were heard, known before a log is replayed.

use std::collections::{BTreeMap, BTreeSet};

use aura_proto::{Digest, Entry, Writer};

use super::{Record, Settled};

/// The places that heard entries got later in the log, and those that the log contradicts.
#[derive(Debug, Default)]
pub struct Fates {
    places: BTreeMap<(Writer, u64), Settled>,
    void: BTreeSet<u64>,
}

impl Fates {
    /// Looks through all records of a log, each with its number.
    pub fn of<'a>(records: impl IntoIterator<Item = (u64, &'a Record)>) -> Self {
        let mut fates = Self::default();
        let mut heard: BTreeMap<(Writer, u64), (u64, Digest)> = BTreeMap::new();
        for (lsn, record) in records {
            match record {
                Record::Heard(entry) => {
                    heard.insert(name(entry), (lsn, entry.hash()));
                }
                Record::HeardPlaced(settled) => {
                    let name = (settled.writer, settled.author_seq);
                    fates.places.insert(name, *settled);
                }
                Record::Placed(placed) => {
                    let (writer, author_seq) = name(&placed.entry);
                    let known = heard.get(&(writer, author_seq));
                    match known.map(|(_, hash)| *hash == placed.entry.hash()) {
                        // It was shown at its place before it was durable as heard.
                        Some(true) => {
                            let settled = Settled {
                                seq: placed.seq,
                                time_ms: placed.time_ms,
                                writer,
                                author_seq,
                            };
                            fates.places.insert((writer, author_seq), settled);
                        }
                        Some(false) => {
                            let rest = (writer, author_seq)..=(writer, u64::MAX);
                            let gone = heard.extract_if(rest, |_, _| true);
                            fates.void.extend(gone.map(|(_, (lsn, _))| lsn));
                        }
                        None => {}
                    }
                }
                Record::Checkpoint(_)
                | Record::Evidence(_)
                | Record::Incarnation(_)
                | Record::Own(_)
                | Record::OwnPlaced { .. }
                | Record::Retired(_) => {}
            }
        }
        fates
    }

    /// The place that a heard entry got, if it did.
    pub fn place(&self, entry: &Entry) -> Option<Settled> {
        self.places.get(&name(entry)).copied()
    }

    /// Whether the log has another entry in the place of this record, or of one that it follows.
    pub fn is_void(&self, lsn: u64) -> bool {
        self.void.contains(&lsn)
    }
}

fn name(entry: &Entry) -> (Writer, u64) {
    let header = entry.header();
    (header.writer, header.author_seq)
}
