//! Entries of others that came from a neighbour, not from the Mothership: kept without a place until it gives them one.
//!
//! Invariants:
//! - a writer's entries are taken in its own order, each chained to the one before, so that what is held is one number;
//! - what is held is in the log of this device before anybody is told that it is;
//! - a neighbour never says where an entry stands: the place is the Mothership's word alone;
//! - two entries under one number are proof against their writer: the second is kept as such, and of the writer nothing
//!   more is taken but by the Mothership's word;
//! - one author takes a share and no more, whatever it signs: so many lives and so many bytes;
//! - what the Mothership refused for good is given up, with what its writer wrote after it, until it is placed all the
//!   same. That is the Mothership's word alone, true or not, and costs no work: its author keeps it in its own outbox.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Bound, RangeInclusive},
};

use aura_proto::{
    Code, Entry, Incarnation, PeerId, VersionVector, Writer, entry::HEAD_BYTES,
    limits::BODY_BYTES_MAX,
};
use aura_trust::verify_entry;

use super::{ALTERED, GivenUp, NO_TIP, Output, Record, Replica, Tip};

/// Bytes of entries without a place that are taken from neighbours; more is refused until the Mothership places some.
pub const HEARD_BYTES_MAX: usize = 256 << 20;
/// Bytes of them by one author: days of work, and an eighth, so that one that fills its share leaves room for others.
pub const HEARD_BYTES_PER_AUTHOR_MAX: usize = HEARD_BYTES_MAX / 8;
const _: () = assert!(HEAD_BYTES + BODY_BYTES_MAX <= HEARD_BYTES_PER_AUTHOR_MAX);
/// Lives of one author of which nothing has a place. A device begins one for each clone and each restored disk, and the
/// Mothership places the first entry of each when it hears of it; so many new ones during one absence are made up.
/// Numbers are kept and sent for each, so that a thousand authors stay below what neighbours keep of one another.
pub const HEARD_LIVES_MAX: usize = 16;

impl Replica {
    /// What is durable here of each writer, wherever it came from.
    pub fn held(&self) -> VersionVector {
        let mut held = VersionVector::default();
        for (writer, tip) in &self.tips {
            held.observe(*writer, tip.author_seq);
        }
        for (writer, author_seq) in self.heard.keys() {
            held.observe(*writer, *author_seq);
        }
        for own in self.outbox.keys() {
            let writer = Writer {
                peer: self.key.peer(),
                incarnation: own.incarnation,
            };
            held.observe(writer, own.author_seq);
        }
        held
    }

    /// Entries of others without a place, by writer and number.
    pub fn heard(&self) -> impl Iterator<Item = &Entry> {
        self.heard.values()
    }

    /// Takes entries that a neighbour showed, in its order; the first that does not hold ends it, or ends it for its
    /// writer where that is all that is wrong.
    // spec: peers/4.3, peers/4.8
    pub(super) fn hear(&mut self, from: u64, entries: Vec<Entry>) {
        let mut bytes = self.staged_heard_bytes();
        let mut refused = BTreeSet::new();
        for entry in entries {
            let writer = entry.header().writer;
            if refused.contains(&writer) {
                continue;
            }
            if let Err((code, detail)) = self.stage_heard(entry, &mut bytes) {
                let is_lasting = matches!(code, Code::BUSY | Code::EQUIVOCATION | Code::FORBIDDEN);
                self.outputs.push_back(Output::NotHeard {
                    from,
                    code,
                    detail,
                    spurned: is_lasting.then_some(writer),
                });
                if !is_lasting {
                    return;
                }
                refused.insert(writer);
            }
        }
    }

    /// Decides about one entry; `bytes` are those by author that are on their way to the disk.
    fn stage_heard(
        &mut self,
        entry: Entry,
        bytes: &mut BTreeMap<PeerId, usize>,
    ) -> Result<(), (Code, &'static str)> {
        let verified = verify_entry(entry.clone()).map_err(|_| (Code::BAD_SIGNATURE, ALTERED))?;
        let header = entry.header();
        if header.team != self.team || header.log != self.log {
            return Err((Code::WRONG_TEAM, "an entry belongs elsewhere"));
        }
        if header.writer == self.writer() {
            return self.shown_own(&entry);
        }
        let tip = self.staged_heard_tip(header.writer);
        if header.author_seq <= tip.author_seq {
            return self.shown_again(&entry, tip);
        }
        if self.is_given_up(header.writer, header.author_seq) {
            return Err((Code::FORBIDDEN, "the mothership refused it for good"));
        }
        if header.author_seq != tip.author_seq + 1 {
            return Err((Code::AUTHOR_GAP, "an entry of an author is missing"));
        }
        if self.flagged.contains(&header.writer) || header.prev != tip.hash {
            let detail = "an entry does not chain to its author's previous one";
            return Err((Code::EQUIVOCATION, detail));
        }
        self.has_share(&entry, bytes)?;
        *bytes.entry(header.writer.peer).or_default() += entry.bytes().len();
        let fresh = Tip {
            author_seq: header.author_seq,
            hash: verified.hash(),
        };
        self.staged_heard.insert(header.writer, fresh);
        self.queue.push_back(Record::Heard(entry));
        Ok(())
    }

    /// Whether an entry that follows what is held fits into what its author, and all together, may take.
    fn has_share(
        &self,
        entry: &Entry,
        staged: &BTreeMap<PeerId, usize>,
    ) -> Result<(), (Code, &'static str)> {
        let header = entry.header();
        let peer = header.writer.peer;
        let len = entry.bytes().len();
        let of = |bytes: &BTreeMap<PeerId, usize>| bytes.get(&peer).copied().unwrap_or_default();
        if HEARD_BYTES_PER_AUTHOR_MAX < of(&self.heard_bytes) + of(staged) + len {
            return Err((Code::BUSY, "too much of its author waits for its place"));
        }
        let all: usize = self.heard_bytes.values().chain(staged.values()).sum();
        if HEARD_BYTES_MAX < all + len {
            return Err((Code::BUSY, "too much waits for its place here"));
        }
        if header.author_seq == 1 && HEARD_LIVES_MAX <= self.lives_without_place(peer) {
            let detail = "too many lives of its author wait for their place";
            return Err((Code::BUSY, detail));
        }
        Ok(())
    }

    /// Bytes by author of what is on its way to the disk.
    fn staged_heard_bytes(&self) -> BTreeMap<PeerId, usize> {
        let flying = self.flight.iter().flat_map(|(_, records)| records);
        let mut bytes = BTreeMap::new();
        for record in self.queue.iter().chain(flying) {
            if let Record::Heard(entry) = record {
                let peer = entry.header().writer.peer;
                *bytes.entry(peer).or_default() += entry.bytes().len();
            }
        }
        bytes
    }

    /// Lives of an author that something is kept of, and of which nothing has a place.
    fn lives_without_place(&self, peer: PeerId) -> usize {
        let all = lives(peer);
        let mut kept: BTreeSet<Writer> = self.flagged.range(all.clone()).copied().collect();
        kept.extend(self.staged_heard.range(all.clone()).map(|(life, _)| *life));
        kept.extend(self.given_up.range(all.clone()).map(|(life, _)| *life));
        let end = Bound::Included((*all.end(), u64::MAX));
        let mut from = Bound::Included((*all.start(), 0));
        while let Some(((life, _), _)) = self.heard.range((from, end)).next() {
            kept.insert(*life);
            from = Bound::Excluded((*life, u64::MAX));
        }
        kept.retain(|life| !self.tips.contains_key(life) && !self.staged_tips.contains_key(life));
        kept.len()
    }

    /// A number that is held already: the same entry is nothing new, another one is proof against its writer.
    fn shown_again(&mut self, entry: &Entry, tip: Tip) -> Result<(), (Code, &'static str)> {
        let header = entry.header();
        let key = (header.writer, header.author_seq);
        let known = self.heard.get(&key).map(Entry::hash);
        let known = known.or((tip.author_seq == header.author_seq).then_some(tip.hash));
        if known.is_none_or(|known| known == entry.hash()) {
            return Ok(());
        }
        if self.flagged.insert(header.writer) {
            self.queue.push_back(Record::Evidence(entry.clone()));
        }
        Err((
            Code::EQUIVOCATION,
            "its author wrote two entries under one number",
        ))
    }

    /// An own entry that comes back: one that this disk does not hold says that the disk is older than the device.
    // spec: sync/2.4
    fn shown_own(&mut self, entry: &Entry) -> Result<(), (Code, &'static str)> {
        if entry.header().author_seq <= self.staged_own.author_seq {
            return Ok(());
        }
        self.reincarnate();
        // It is another's once the new life has begun, and is asked for again then.
        Err((Code::AUTHOR_GAP, "this disk is older than the device"))
    }

    /// The last entry of a writer that is held or on its way to the disk, by whatever way it came.
    fn staged_heard_tip(&self, writer: Writer) -> Tip {
        let placed = self
            .staged_tips
            .get(&writer)
            .or_else(|| self.tips.get(&writer));
        let placed = placed.copied().unwrap_or(NO_TIP);
        let heard = self.staged_heard.get(&writer).copied();
        let heard = heard.or_else(|| self.heard_tip(writer)).unwrap_or(NO_TIP);
        if heard.author_seq < placed.author_seq {
            placed
        } else {
            heard
        }
    }

    /// The last durable entry of a writer without a place.
    fn heard_tip(&self, writer: Writer) -> Option<Tip> {
        let mut known = self.heard.range((writer, 0)..=(writer, u64::MAX));
        let ((_, author_seq), entry) = known.next_back()?;
        Some(Tip {
            author_seq: *author_seq,
            hash: entry.hash(),
        })
    }

    /// Whether an entry without a place is held, and is this one.
    pub(super) fn has_heard(&self, entry: &Entry) -> bool {
        let header = entry.header();
        let held = self.heard.get(&(header.writer, header.author_seq));
        held.is_some_and(|held| held.hash() == entry.hash())
    }

    /// Applies a durable entry of another without a place.
    pub(super) fn keep_heard(&mut self, entry: &Entry) {
        let header = entry.header();
        let placed = self.tips.get(&header.writer).copied().unwrap_or(NO_TIP);
        let tip = self.heard_tip(header.writer).unwrap_or(placed);
        // Its place, or that of another entry under its number or one before, may have come before it was durable.
        if header.author_seq == tip.author_seq + 1 && header.prev == tip.hash {
            self.lamport = self.lamport.max(header.lamport);
            *self.heard_bytes.entry(header.writer.peer).or_default() += entry.bytes().len();
            self.heard
                .insert((header.writer, header.author_seq), entry.clone());
        }
    }

    /// Takes an entry out that got its place.
    pub(super) fn leave_heard(&mut self, writer: Writer, author_seq: u64) -> Option<Entry> {
        let entry = self.heard.remove(&(writer, author_seq))?;
        if let Some(bytes) = self.heard_bytes.get_mut(&writer.peer) {
            *bytes = bytes.saturating_sub(entry.bytes().len());
            if *bytes == 0 {
                self.heard_bytes.remove(&writer.peer);
            }
        }
        Some(entry)
    }

    /// Whether a placed entry is another one than the one held under its number.
    pub(super) fn contradicts(&self, placed: &Entry) -> bool {
        let header = placed.header();
        let held = self.heard.get(&(header.writer, header.author_seq));
        held.is_some_and(|held| held.hash() != placed.hash())
    }

    /// What is held of a writer from this number on goes.
    pub(super) fn drop_heard_from(&mut self, writer: Writer, author_seq: u64) {
        let gone = self.heard.range((writer, author_seq)..=(writer, u64::MAX));
        let gone: Vec<u64> = gone.map(|((_, number), _)| *number).collect();
        for number in gone {
            self.leave_heard(writer, number);
        }
        self.staged_heard.remove(&writer);
    }

    /// Gives up what the Mothership refused for good; from now on, and for ever once that is durable.
    pub(super) fn give_up(&mut self, writer: Writer, author_seq: u64, code: Code) {
        self.refuse_from(writer, author_seq);
        self.queue.push_back(Record::GivenUp(GivenUp {
            writer,
            author_seq,
            code,
        }));
    }

    /// Applies a durable refusal for good.
    pub(super) fn keep_given_up(&mut self, writer: Writer, author_seq: u64) {
        self.refuse_from(writer, author_seq);
        self.drop_heard_from(writer, author_seq);
    }

    fn refuse_from(&mut self, writer: Writer, author_seq: u64) {
        let first = self.given_up.entry(writer).or_insert(author_seq);
        *first = author_seq.min(*first);
    }

    /// Whether an entry was given up, or one that it follows.
    pub(super) fn is_given_up(&self, writer: Writer, author_seq: u64) -> bool {
        let first = self.given_up.get(&writer);
        first.is_some_and(|first| *first <= author_seq)
    }

    /// An entry has its place, whatever was said of it before.
    pub(super) fn placed_after_all(&mut self, writer: Writer, author_seq: u64) {
        if self.is_given_up(writer, author_seq) {
            self.given_up.remove(&writer);
        }
    }

    /// Refusals that are not durable are asked for again: what they name is still held.
    pub(super) fn forget_verdicts(&mut self) {
        let heard = &self.heard;
        let is_held = |writer, first| heard.range((writer, first)..=(writer, u64::MAX)).next();
        self.given_up
            .retain(|writer, first| is_held(*writer, *first).is_none());
    }
}

/// All lives of a peer.
fn lives(peer: PeerId) -> RangeInclusive<Writer> {
    let life = |incarnation| Writer {
        peer,
        incarnation: Incarnation(incarnation),
    };
    life(0)..=life(u64::MAX)
}
