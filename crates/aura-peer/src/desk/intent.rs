//! Reasons that come after the save: what published itself gets its `why` later.
//!
//! Invariants:
//! - a reason is given to own patches alone, where saving publishes, on the branch that is checked out;
//! - a patch that has a reason gets no other;
//! - it is an entry like any other: durable here before it counts, the same on every device.

use aura_api::{Exit, Failure};
use aura_engine::peer::{
    body::{Cause, EntryRef, INTENT_ENTRIES_MAX, IntentBody, WHY_BYTES_MAX},
    replica::Own,
    units::Recorded,
};
use aura_proto::{Entry, Kind, Writer};
use aura_trust::KeyRing;

use super::{Desk, Notice, Publishing, opened, publish::Intent, take::names};

/// How old a patch may be that still gets a reason, in milliseconds: a day.
const REASON_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

impl Desk {
    /// Gives the reason of an intent to what was published without one; answers which patches have it now.
    pub(super) fn explain(
        &mut self,
        intent: &Intent,
        ring: &KeyRing,
    ) -> Result<Vec<usize>, Failure> {
        // Whoever publishes on demand gives the reason then, or none.
        let Some(why) = intent
            .why
            .as_ref()
            .filter(|_| self.publishing == Publishing::Save)
        else {
            return Ok(Vec::new());
        };
        let entries = self.unexplained(intent);
        let body = IntentBody {
            why: why.clone(),
            entries,
        };
        let (false, Some(_)) = (body.entries.is_empty(), ring.current()) else {
            return Ok(Vec::new());
        };
        let has_room = self.book.replica.has_room(body.encode().len());
        if !has_room || !self.author((Kind::INTENT, 0), &body.encode(), None, ring) {
            return Err(super::publish::no_space());
        }
        let writer = |named: &EntryRef| Writer {
            peer: self.key_peer,
            incarnation: named.incarnation,
        };
        let rows = body.entries.iter();
        let indices = rows.filter_map(|named| self.units.index_of(writer(named), named.author_seq));
        Ok(indices.collect())
    }

    fn unexplained(&self, intent: &Intent) -> Vec<EntryRef> {
        let oldest_ms = self.clock.wall_ms().saturating_sub(REASON_MS_MAX);
        let is_meant = |recorded: &&Recorded| {
            let touched = |symbol: &String| {
                let mut rows = recorded.touched.iter();
                rows.any(|(_, name, ..)| names(&recorded.path, name, symbol))
            };
            recorded.origin.writer.peer == self.key_peer
                && recorded.why.is_none()
                && recorded.cause == Cause::Edit
                && *recorded.channel == *self.units.channel()
                && oldest_ms <= recorded.origin.time_ms
                && (intent.symbols.is_empty() || intent.symbols.iter().any(touched))
        };
        let named = |recorded: &Recorded| EntryRef {
            incarnation: recorded.origin.writer.incarnation,
            author_seq: recorded.origin.author_seq,
        };
        let recorded = self.units.recorded().iter().rev();
        let newest = recorded.filter(is_meant).take(INTENT_ENTRIES_MAX);
        newest.map(named).collect()
    }

    /// Takes in the reason that an author gave to earlier patches of its own.
    // spec: patch/5.2, patch/5.3
    pub(super) fn note_intent(&mut self, entry: &Entry, ring: &KeyRing) {
        let peer = entry.header().writer.peer;
        let Some(body) = open_intent(entry, ring) else {
            self.notices.push(Notice {
                kind: "refused",
                symbol: None,
                peer: Some(peer),
                text: "DECODE: its body does not open".to_owned(),
            });
            return;
        };
        let mut first = None;
        for named in &body.entries {
            let writer = Writer {
                peer,
                incarnation: named.incarnation,
            };
            let index = self.units.explain(writer, named.author_seq, &body.why);
            first = first.or(index);
        }
        let symbol = first.and_then(|index| {
            let (_, name, ..) = self.units.recorded()[index].touched.first()?;
            Some(name.to_string())
        });
        if first.is_some() {
            self.notices.push(Notice {
                kind: "reason",
                symbol,
                peer: Some(peer),
                text: body.why,
            });
        }
    }

    /// Puts a stranded reason into the outbox again, for the entries that stand for those it named.
    pub(super) fn explain_again(&mut self, entry: &Entry, ring: &KeyRing) -> bool {
        let Some(mut body) = open_intent(entry, ring) else {
            return false;
        };
        let peer = entry.header().writer.peer;
        for named in &mut body.entries {
            let writer = Writer {
                peer,
                incarnation: named.incarnation,
            };
            if let Some(origin) = self.units.retold(writer, named.author_seq) {
                named.incarnation = origin.writer.incarnation;
                named.author_seq = origin.author_seq;
            }
        }
        // A full disk is tried again, and this with it.
        self.author(
            (Kind::INTENT, 0),
            &body.encode(),
            Some(Own::of(entry)),
            ring,
        );
        true
    }
}

fn open_intent(entry: &Entry, ring: &KeyRing) -> Option<IntentBody> {
    let body = IntentBody::decode(opened(entry, Kind::INTENT, ring)?).ok()?;
    body.check().is_ok().then_some(body)
}

/// Refuses a reason that no entry can carry.
pub(super) fn check_why(why: Option<&str>) -> Result<(), Failure> {
    if why.is_none_or(|why| why.len() <= WHY_BYTES_MAX) {
        return Ok(());
    }
    let message = format!("the reason is longer than {} KiB", WHY_BYTES_MAX >> 10);
    Err(Failure::new("AE-USAGE", Exit::USAGE, message).next("aura publish -m WHY", "a shorter one"))
}
