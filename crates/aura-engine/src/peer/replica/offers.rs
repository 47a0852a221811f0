//! What others wrote without the Mothership, shown to it once it is back.
//!
//! Invariants:
//! - one offer at a time is without an answer, so an answer is never taken for that to another offer;
//! - what is refused for now is offered again, alone and after more and more offers in between; what is refused for good
//!   is given up;
//! - places come through the feed alone: that an offer was stored changes nothing here.

use std::collections::{BTreeMap, VecDeque};

use aura_proto::{
    Code, Entry, Writer,
    event::encode_push,
    limits::ENTRIES_PER_BATCH_MAX,
    message::{Message, Outcome, PushAck},
};

use super::{Output, PUSH_BYTES_MAX, Replica};

/// Most doublings of the pause before what was refused for now is offered again: 32 offers, about a minute.
const DOUBLINGS_MAX: u32 = 5;

/// What was offered on this link.
#[derive(Default)]
pub(super) struct Offers {
    /// What comes next, in this order.
    waiting: VecDeque<(Writer, u64)>,
    /// Up to which number of each writer.
    shown: BTreeMap<Writer, u64>,
    /// From which number of a writer on it was refused for now.
    postponed: BTreeMap<Writer, u64>,
    /// How many offers are made before that is offered again.
    pauses: u32,
    /// How often in a row that was in vain.
    tries: u32,
}

/// A push without an answer.
pub(super) enum Pushed {
    /// Of own entries, by their numbers.
    Own(Vec<u64>),
    /// Of what others wrote.
    Others(Vec<(Writer, u64)>),
}

impl Pushed {
    /// Whether an answer may be to this push: it names numbers and not whose they are, and 0 for what the Mothership
    /// could not read.
    fn is_answered_by(&self, ack: &PushAck) -> bool {
        let is_for = |number: u64, said: u64| said == number || said == 0;
        let said = ack.outcomes.iter().map(|(author_seq, _)| *author_seq);
        let is_for_all = |numbers: &mut dyn ExactSizeIterator<Item = u64>| {
            numbers.len() == ack.outcomes.len()
                && numbers.zip(said).all(|(number, said)| is_for(number, said))
        };
        match self {
            Self::Own(numbers) => is_for_all(&mut numbers.iter().copied()),
            Self::Others(names) => is_for_all(&mut names.iter().map(|(_, number)| *number)),
        }
    }
}

/// What an answer is to.
pub(super) struct Answered {
    names: Vec<(Writer, u64)>,
    /// Whether no other push was of the same numbers.
    is_certain: bool,
}

/// Whether a code says something of the entry itself that will not change; others speak of the moment, or of the
/// Mothership.
fn is_for_good(code: Code) -> bool {
    matches!(
        code,
        Code::BAD_SIGNATURE
            | Code::EQUIVOCATION
            | Code::FORBIDDEN
            | Code::LEVEL
            | Code::ORDER
            | Code::REVOKED
            | Code::WRONG_AUTHOR
            | Code::WRONG_TEAM
    )
}

impl Replica {
    /// Offers the Mothership what others wrote without it, the oldest by the logical clock first.
    // spec: peers/5.2
    pub(super) fn offer(&mut self) {
        match self.offers.pauses.checked_sub(1) {
            Some(pauses) => self.offers.pauses = pauses,
            None => self.offer_postponed(),
        }
        self.offers.waiting = self.lacking();
        self.offer_next();
        if !self.offers.postponed.is_empty() {
            self.outputs.push_back(Output::OfferLater);
        }
    }

    fn offer_postponed(&mut self) {
        let postponed = std::mem::take(&mut self.offers.postponed);
        if !postponed.is_empty() {
            self.offers.tries = (self.offers.tries + 1).min(DOUBLINGS_MAX);
        }
        for (writer, first) in postponed {
            self.offers.shown.insert(writer, first.saturating_sub(1));
        }
    }

    /// What the Mothership lacks of what is held without a place, and was not offered on this link.
    fn lacking(&self) -> VecDeque<(Writer, u64)> {
        let Some(head) = &self.remote else {
            return VecDeque::new();
        };
        let lacks = |(writer, author_seq): &(Writer, u64)| {
            let shown = self.offers.shown.get(writer);
            !head.vector.holds(writer, *author_seq) && shown.is_none_or(|shown| shown < author_seq)
        };
        let mut lacking: Vec<(u64, (Writer, u64))> = self
            .heard
            .iter()
            .filter_map(|(name, entry)| lacks(name).then_some((entry.header().lamport, *name)))
            .collect();
        lacking.sort_unstable();
        lacking.into_iter().map(|(_, name)| name).collect()
    }

    /// Sends the next run, once the one before has its answer.
    fn offer_next(&mut self) {
        let is_open = |pushed: &Pushed| matches!(pushed, Pushed::Others(_));
        let is_served = self.is_linked && !self.is_faulted && self.remote.is_some();
        if !is_served || self.pushes.iter().any(is_open) {
            return;
        }
        let mut run: Vec<&Entry> = Vec::new();
        let mut names = Vec::new();
        let mut bytes = 0;
        while let Some((writer, author_seq)) = self.offers.waiting.front().copied() {
            let is_out =
                self.offers.postponed.contains_key(&writer) || self.is_given_up(writer, author_seq);
            let entry = self.heard.get(&(writer, author_seq));
            if let Some(entry) = entry.filter(|_| !is_out) {
                let len = entry.bytes().len();
                let fits = run.len() < ENTRIES_PER_BATCH_MAX && bytes + len <= PUSH_BYTES_MAX;
                if !run.is_empty() && !fits {
                    break;
                }
                bytes += len;
                run.push(entry);
                names.push((writer, author_seq));
            }
            self.offers.waiting.pop_front();
        }
        if run.is_empty() {
            return;
        }
        let push = encode_push(self.log, run.iter().map(|entry| &entry.bytes()[..]));
        for (writer, author_seq) in &names {
            let shown = self.offers.shown.entry(*writer).or_default();
            *shown = (*author_seq).max(*shown);
        }
        self.pushes.push(Pushed::Others(names));
        self.outputs.push_back(Output::Send(Message::Push(push)));
    }

    /// The offer that an answer is to, if it is to one: to the oldest push that it may be for.
    pub(super) fn answered(&mut self, ack: &PushAck) -> Option<Answered> {
        let mut answered =
            (0..self.pushes.len()).filter(|nth| self.pushes[*nth].is_answered_by(ack));
        let nth = answered.next()?;
        let is_certain = answered.next().is_none();
        match self.pushes.remove(nth) {
            Pushed::Own(_) => None,
            Pushed::Others(names) => Some(Answered { names, is_certain }),
        }
    }

    /// Outcomes of what was offered.
    // spec: peers/5.3
    pub(super) fn offer_ack(&mut self, answered: &Answered, ack: &PushAck) {
        let was_postponed = !self.offers.postponed.is_empty();
        for ((writer, author_seq), (_, outcome)) in answered.names.iter().zip(&ack.outcomes) {
            let (writer, author_seq) = (*writer, *author_seq);
            let Outcome::Refused(code) = *outcome else {
                continue;
            };
            if !self.heard.contains_key(&(writer, author_seq))
                || author_seq <= self.staged_tip(writer).author_seq
                || self.is_given_up(writer, author_seq)
            {
                continue;
            }
            if answered.is_certain && is_for_good(code) {
                self.give_up(writer, author_seq, code);
            } else {
                let first = self.offers.postponed.entry(writer).or_insert(author_seq);
                *first = author_seq.min(*first);
            }
        }
        if self.offers.postponed.is_empty() {
            self.offers.tries = 0;
        } else if !was_postponed {
            self.offers.pauses = (1 << self.offers.tries) - 1;
            self.outputs.push_back(Output::OfferLater);
        }
        self.offer_next();
    }
}
