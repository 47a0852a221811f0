//! What became of entries that were heard, known before a log is replayed.

use std::collections::{BTreeMap, BTreeSet};

use aura_proto::{Digest, Entry, Writer, event::Placed};

use super::{NO_TIP, Own, Record, Settled, Tip};

/// The places that heard entries got later in the log, and those that do not count: the log contradicts them, or the
/// Mothership refused them for good.
#[derive(Debug, Default)]
pub struct Fates {
    places: BTreeMap<(Writer, u64), Settled>,
    void: BTreeSet<u64>,
}

/// A log as far as it was looked through: what the machine holds by then.
#[derive(Default)]
struct Past {
    fates: Fates,
    /// Where the placed entries of each writer end.
    tips: BTreeMap<Writer, Tip>,
    heard: BTreeMap<(Writer, u64), (u64, Digest)>,
    own: BTreeMap<Own, (Writer, Digest)>,
}

impl Fates {
    /// Looks through all records of a log, each with its number.
    pub fn of<'a>(records: impl IntoIterator<Item = (u64, &'a Record)>) -> Self {
        let mut past = Past::default();
        for (lsn, record) in records {
            past.read(lsn, record);
        }
        past.fates
    }

    /// The place that a heard entry got, if it did.
    pub fn place(&self, entry: &Entry) -> Option<Settled> {
        self.places.get(&name(entry)).copied()
    }

    /// Whether the entry of this record does not count: the log has another one in its place, or the Mothership refused
    /// it for good, or one that it follows.
    pub fn is_void(&self, lsn: u64) -> bool {
        self.void.contains(&lsn)
    }
}

impl Past {
    fn read(&mut self, lsn: u64, record: &Record) {
        match record {
            Record::Heard(entry) => self.hear(lsn, entry),
            Record::HeardPlaced(settled) => {
                let name = (settled.writer, settled.author_seq);
                if let Some((_, hash)) = self.heard.remove(&name) {
                    self.fates.places.insert(name, *settled);
                    self.place(name, hash);
                }
            }
            Record::Placed(placed) => self.show(placed),
            Record::GivenUp(given_up) => {
                self.drop_from((given_up.writer, given_up.author_seq));
            }
            Record::Own(entry) => {
                let own = (entry.header().writer, entry.hash());
                self.own.insert(Own::of(entry), own);
            }
            Record::OwnPlaced { own, .. } => {
                if let Some((writer, hash)) = self.own.remove(own) {
                    self.place((writer, own.author_seq), hash);
                }
            }
            Record::Retired(own) => {
                self.own.remove(own);
            }
            Record::Checkpoint(_) | Record::Evidence(_) | Record::Incarnation(_) => {}
        }
    }

    /// As [`super::Replica::keep_heard`].
    fn hear(&mut self, lsn: u64, entry: &Entry) {
        let (writer, author_seq) = name(entry);
        let mut heard = self.heard.range((writer, 0)..=(writer, u64::MAX));
        let last = heard.next_back().map(|((_, author_seq), (_, hash))| Tip {
            author_seq: *author_seq,
            hash: *hash,
        });
        let placed = || self.tips.get(&writer).copied().unwrap_or(NO_TIP);
        let tip = last.unwrap_or_else(placed);
        if author_seq == tip.author_seq + 1 && entry.header().prev == tip.hash {
            self.heard.insert((writer, author_seq), (lsn, entry.hash()));
        } else {
            self.fates.void.insert(lsn);
        }
    }

    fn show(&mut self, placed: &Placed) {
        let name = name(&placed.entry);
        let hash = placed.entry.hash();
        match self.heard.get(&name).map(|(_, known)| *known == hash) {
            // It was shown at its place before it was durable as heard.
            Some(true) => {
                let settled = Settled {
                    seq: placed.seq,
                    time_ms: placed.time_ms,
                    writer: name.0,
                    author_seq: name.1,
                };
                self.fates.places.insert(name, settled);
            }
            Some(false) => self.drop_from(name),
            None => {}
        }
        self.place(name, hash);
    }

    fn place(&mut self, (writer, author_seq): (Writer, u64), hash: Digest) {
        self.heard.remove(&(writer, author_seq));
        self.tips.insert(writer, Tip { author_seq, hash });
    }

    fn drop_from(&mut self, (writer, author_seq): (Writer, u64)) {
        let rest = (writer, author_seq)..=(writer, u64::MAX);
        let gone = self.heard.extract_if(rest, |_, _| true);
        self.fates.void.extend(gone.map(|(_, (lsn, _))| lsn));
    }
}

fn name(entry: &Entry) -> (Writer, u64) {
    let header = entry.header();
    (header.writer, header.author_seq)
}
