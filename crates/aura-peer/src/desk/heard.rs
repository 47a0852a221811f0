//! Entries that neighbours told of while the Mothership was away.
//!
//! Invariants:
//! - an entry counts from when it is here, whether it has its place or not; its place only says how it is judged;
//! - what was heard and what the log says instead never count both.

use aura_engine::peer::replica::{Fates, GivenUp, Settled};
use aura_proto::{Entry, PeerId, Writer};
use aura_trust::KeyRing;

use super::{Came, Desk, Place};
use crate::clock::random;

/// The least and the most that is waited before the Mothership is offered what others wrote, in milliseconds: whoever
/// wrote it comes back at the same time and brings it.
const OFFER_MS: (u64, u64) = (1_000, 2_000);

/// How a heard entry counts when a log is replayed, if it does.
pub(super) fn came(fates: &Fates, lsn: u64, entry: &Entry) -> Option<Came> {
    let placed = |settled: Settled| {
        Came::Placed(Place {
            seq: settled.seq,
            time_ms: settled.time_ms,
        })
    };
    let came = fates.place(entry).map_or(Came::Heard, placed);
    (!fates.is_void(lsn)).then_some(came)
}

impl Desk {
    /// An entry that was heard has its place: it is judged by that from now on.
    pub(super) fn found_its_place(
        &mut self,
        (writer, author_seq): (Writer, u64),
        place: Place,
        ring: &KeyRing,
    ) {
        for nth in 0..self.sealed.len() {
            let entry = self.book.entry(self.sealed[nth].0);
            let is_it = |entry: &Entry| {
                let header = entry.header();
                (header.writer, header.author_seq) == (writer, author_seq)
            };
            if entry.as_ref().is_some_and(is_it) {
                self.sealed[nth].1 = Came::Placed(place);
            }
        }
        self.placed_by_number((writer, author_seq), place, ring);
        let log = self.book.replica.log();
        let differs = self
            .judged
            .settle(&self.roster, log, (writer, author_seq), place.time_ms);
        if differs && let Err(failure) = self.recount("an entry has got its place", ring) {
            tracing::error!(%failure, "the log cannot be taken in anew");
        }
    }

    /// The log has another entry than the one that was heard.
    pub(super) fn contradicted(&mut self, peer: PeerId, ring: &KeyRing) {
        let why =
            "EQUIVOCATION: its author told neighbours another entry than the mothership".to_owned();
        self.unheard(peer, why, ring);
    }

    /// The Mothership refused for good what was heard.
    pub(super) fn given_up(&mut self, given_up: GivenUp, ring: &KeyRing) {
        let why = format!("{}: the mothership refused it for good", given_up.code);
        self.unheard(given_up.writer.peer, why, ring);
    }

    /// Something that was heard does not count any more.
    fn unheard(&mut self, peer: PeerId, why: String, ring: &KeyRing) {
        if let Err(failure) = self.recount("something that was heard is void", ring) {
            tracing::error!(%failure, "the log cannot be taken in anew");
        }
        self.refused(peer, why);
    }

    /// Some time from now the Mothership is offered what others wrote without it.
    pub(super) fn offer_later(&mut self) {
        let spread = u64::from_be_bytes(random()) % OFFER_MS.1;
        let at = self.clock.mono_ms() + OFFER_MS.0 + spread;
        self.offer_at_ms.get_or_insert(at);
    }
}
