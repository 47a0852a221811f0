//! Which entries of others count, while members come, go and change.
//!
//! Invariants:
//! - every entry of another that opened is judged, by its place, its author's number and the roster;
//! - a roster that judges one of them in another way has the log taken in anew, as at a start: a daemon that ran through
//!   the change and one that starts after it agree.

use std::{collections::BTreeMap, sync::Arc};

use aura_api::Failure;
use aura_engine::peer::agreement::Agreement;
use aura_engine::peer::units::Units;
use aura_proto::{Header, Incarnation, LogId, PeerId, Writer};
use aura_trust::{KeyRing, LastAccepted, Roster};

use super::{Desk, Notice, agree::Doubts, loose::Loose, pass};

/// One entry of another, as it was judged.
#[derive(Debug, Clone, Copy)]
struct Judged {
    author_seq: u64,
    /// Since when it is at its place, if it has one.
    time_ms: Option<u64>,
    counts: bool,
}

/// The entries of others in one log.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    rows: BTreeMap<Writer, Vec<Judged>>,
}

impl Ledger {
    /// Judges an entry that has been at its place since then, if it has one.
    pub(super) fn judge(
        &mut self,
        roster: &Roster,
        log: LogId,
        header: &Header,
        time_ms: Option<u64>,
    ) -> bool {
        let (writer, author_seq) = (header.writer, header.author_seq);
        let counts = counts(roster, log, (writer, author_seq), time_ms);
        let row = Judged {
            author_seq,
            time_ms,
            counts,
        };
        // What was heard and is placed now is one entry.
        let rows = self.rows.entry(writer).or_default();
        match rows
            .iter_mut()
            .rev()
            .find(|known| known.author_seq == author_seq)
        {
            Some(known) => *known = row,
            None => rows.push(row),
        }
        counts
    }

    /// Judges an entry by the place that it got; whether that differs from before.
    pub(super) fn settle(
        &mut self,
        roster: &Roster,
        log: LogId,
        (writer, author_seq): (Writer, u64),
        time_ms: u64,
    ) -> bool {
        let rows = self.rows.get_mut(&writer).into_iter().flatten();
        let mut differs = false;
        for row in rows.filter(|row| row.author_seq == author_seq) {
            row.time_ms = Some(time_ms);
            differs |= roster.counts(log, writer, author_seq, time_ms) != row.counts;
        }
        differs
    }

    /// Whether this roster judges an entry in another way.
    pub(super) fn differs(&self, roster: &Roster, log: LogId) -> bool {
        let differs = |writer: Writer, row: &Judged| {
            counts(roster, log, (writer, row.author_seq), row.time_ms) != row.counts
        };
        let mut rows = self.rows.iter();
        rows.any(|(writer, rows)| rows.iter().any(|row| differs(*writer, row)))
    }
}

fn counts(
    roster: &Roster,
    log: LogId,
    (writer, author_seq): (Writer, u64),
    time_ms: Option<u64>,
) -> bool {
    match time_ms {
        Some(time_ms) => roster.counts(log, writer, author_seq, time_ms),
        None => roster.counts_unplaced(log, writer, author_seq),
    }
}

impl Desk {
    /// Follows the roster; where it changes what counts, the log is taken in anew.
    pub(crate) fn follow(&mut self, roster: &Arc<Roster>, ring: &KeyRing) -> Result<(), Failure> {
        if Arc::ptr_eq(&self.roster, roster) {
            return Ok(());
        }
        self.roster = Arc::clone(roster);
        let log = self.book.replica.log();
        if self.judged.differs(roster, log) || self.law.differs(roster, log) {
            self.recount("members have changed", ring)?;
        }
        Ok(())
    }

    /// Takes the log in anew, and out of the files what counts no more; `why` is said.
    pub(super) fn recount(&mut self, why: &str, ring: &KeyRing) -> Result<(), Failure> {
        let before = self.counted_records();
        let notices = std::mem::take(&mut self.notices);
        let seen = std::mem::take(&mut self.conflicts_seen);
        self.loose.save();
        self.loose = Loose::open(&self.state_dir);
        self.units = Units::new(self.key_peer, self.units.channel());
        self.agreement = Agreement::new(self.key_peer);
        self.doubts = Doubts::default();
        self.judged = Ledger::default();
        self.inbox.clear();
        self.waiting.clear();
        self.tried.clear();
        self.sealed.clear();
        self.parsed = None;
        let replayed = self.replay_units(ring);
        self.notices = notices;
        self.conflicts_seen = seen;
        let void = replayed?;
        let after = self.counted_records();
        let gone = before.difference(&after).copied().collect();
        self.withdraw_with(gone, void, ring);
        self.withdraw(ring)?;
        self.notices.push(Notice {
            kind: "recounted",
            symbol: None,
            peer: None,
            text: format!("{why}, and with that which entries count"),
        });
        self.due = pass::Due::All;
        self.settle(ring);
        Ok(())
    }

    /// Up to where entries of a peer are in the log, to be named by its removal; nothing while the log is not known as
    /// far as it goes, and no row where nothing more of it is taken.
    pub(crate) fn accepted(&self, peer: PeerId) -> Option<Vec<LastAccepted>> {
        let replica = &self.book.replica;
        if replica.is_cut_off() {
            return Some(Vec::new());
        }
        if !replica.is_caught_up() {
            return None;
        }
        // With nothing accepted the log is named all the same.
        let none = (Incarnation(0), 0);
        let placed = std::iter::once(none).chain(replica.placed_of(peer));
        let row = |(incarnation, author_seq)| LastAccepted {
            log: replica.log(),
            incarnation,
            author_seq,
        };
        Some(placed.map(row).collect())
    }
}
