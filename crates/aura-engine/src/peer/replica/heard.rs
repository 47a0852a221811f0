//! Entries of others that came from a neighbour, not from the Mothership: kept without a place until it gives them one.
//!
//! Invariants:
//! - a writer's entries are taken in its own order, each chained to the one before, so that what is held is one number;
//! - what is held is in the log of this device before anybody is told that it is;
//! - a neighbour never says where an entry stands: the place is the Mothership's word alone;
//! - two entries under one number are proof against their writer: the second is kept as such, and of the writer nothing
//!   more is taken but by the Mothership's word.

use aura_proto::{
    Code, Entry, VersionVector, Writer,
    event::encode_push,
    limits::{BODY_BYTES_MAX, ENTRIES_PER_BATCH_MAX},
    message::{Message, Outcome, PushAck},
};
use aura_trust::verify_entry;

use super::{ALTERED, NO_TIP, Output, PUSH_BYTES_MAX, Record, Replica, Tip};

/// Bytes of entries without a place that are taken from neighbours; more is refused until the Mothership places some.
pub const HEARD_BYTES_MAX: usize = 256 << 20;
const _: () = assert!(BODY_BYTES_MAX < HEARD_BYTES_MAX);

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

    /// Takes entries that a neighbour showed, in its order; the first that does not hold ends it.
    // spec: peers/4.3
    pub(super) fn hear(&mut self, from: u64, entries: Vec<Entry>) {
        for entry in entries {
            if let Err((code, detail)) = self.stage_heard(entry) {
                self.outputs
                    .push_back(Output::NotHeard { from, code, detail });
                return;
            }
        }
    }

    fn stage_heard(&mut self, entry: Entry) -> Result<(), (Code, &'static str)> {
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
        if header.author_seq != tip.author_seq + 1 {
            return Err((Code::AUTHOR_GAP, "an entry of an author is missing"));
        }
        if self.flagged.contains(&header.writer) || header.prev != tip.hash {
            let detail = "an entry does not chain to its author's previous one";
            return Err((Code::EQUIVOCATION, detail));
        }
        if HEARD_BYTES_MAX < self.heard_bytes + entry.bytes().len() {
            return Err((Code::BUSY, "too much waits for its place here"));
        }
        let fresh = Tip {
            author_seq: header.author_seq,
            hash: verified.hash(),
        };
        self.staged_heard.insert(header.writer, fresh);
        self.queue.push_back(Record::Heard(entry));
        Ok(())
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
            self.heard_bytes += entry.bytes().len();
            self.heard
                .insert((header.writer, header.author_seq), entry.clone());
        }
    }

    /// Takes an entry out that got its place.
    pub(super) fn leave_heard(&mut self, writer: Writer, author_seq: u64) -> Option<Entry> {
        let entry = self.heard.remove(&(writer, author_seq))?;
        self.heard_bytes -= entry.bytes().len();
        Some(entry)
    }

    /// Whether a placed entry is another one than the one held under its number.
    pub(super) fn contradicts(&self, placed: &Entry) -> bool {
        let header = placed.header();
        let held = self.heard.get(&(header.writer, header.author_seq));
        held.is_some_and(|held| held.hash() != placed.hash())
    }

    /// The log decides: what is held from this number on goes, and of its writer only placed entries are taken.
    pub(super) fn drop_heard_from(&mut self, writer: Writer, author_seq: u64) {
        let gone = self.heard.range((writer, author_seq)..=(writer, u64::MAX));
        let gone: Vec<u64> = gone.map(|((_, number), _)| *number).collect();
        for number in gone {
            self.leave_heard(writer, number);
        }
        self.staged_heard.remove(&writer);
        self.flagged.insert(writer);
    }

    /// Offers the Mothership what others wrote without it, the oldest by the logical clock first.
    // spec: peers/5.2
    pub(super) fn offer(&mut self) {
        let Some(head) = self
            .remote
            .as_ref()
            .filter(|_| self.is_linked && !self.is_faulted)
        else {
            return;
        };
        let lacks = |(writer, author_seq): &(Writer, u64)| {
            !head.vector.holds(writer, *author_seq) && !self.offered.holds(writer, *author_seq)
        };
        let mut lacking: Vec<&Entry> = self
            .heard
            .iter()
            .filter_map(|(key, entry)| lacks(key).then_some(entry))
            .collect();
        lacking.sort_by_key(|entry| {
            let header = entry.header();
            (header.lamport, header.writer, header.author_seq)
        });
        let mut runs: Vec<Vec<&Entry>> = Vec::new();
        let mut bytes = 0;
        for entry in lacking {
            let len = entry.bytes().len();
            match runs.last_mut() {
                Some(run) if run.len() < ENTRIES_PER_BATCH_MAX && bytes + len <= PUSH_BYTES_MAX => {
                    bytes += len;
                    run.push(entry);
                }
                Some(_) | None => {
                    bytes = len;
                    runs.push(vec![entry]);
                }
            }
        }
        let mut sends = Vec::new();
        for run in &runs {
            let headers = run.iter().map(|entry| entry.header());
            let numbers = run.iter().map(|entry| entry.header().author_seq);
            self.pushes.push((false, numbers.collect()));
            headers.for_each(|header| self.offered.observe(header.writer, header.author_seq));
            sends.push(encode_push(
                self.log,
                run.iter().map(|entry| &entry.bytes()[..]),
            ));
        }
        for run in sends {
            self.outputs.push_back(Output::Send(Message::Push(run)));
        }
    }

    /// Whether an answer is to an offer: an answer names numbers and not whose they are, so it is to the oldest push
    /// of these numbers.
    pub(super) fn is_for_offer(&mut self, ack: &PushAck) -> bool {
        let answers = |(_, push): &(bool, Vec<u64>)| {
            let numbers = ack.outcomes.iter().map(|(author_seq, _)| author_seq);
            push.iter().eq(numbers)
        };
        let nth = self.pushes.iter().position(answers);
        nth.is_some_and(|nth| !self.pushes.remove(nth).0)
    }

    /// Outcomes of what was offered: places come through the feed; what the Mothership has no time for comes again.
    pub(super) fn offer_ack(&mut self, ack: &PushAck) {
        let passes = |outcome: &Outcome| matches!(outcome, Outcome::Refused(code) if code.passes());
        if ack.outcomes.iter().any(|(_, outcome)| passes(outcome)) {
            self.offered = VersionVector::default();
            self.outputs.push_back(Output::OfferLater);
        }
    }
}
