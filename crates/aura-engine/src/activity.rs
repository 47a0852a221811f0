//! Who edits what now: the newest word of each clone, as the Mothership and the devices keep and pass them on.
//!
//! Nothing of it is ever in a log: a word is worth something for minutes, and whoever comes is told those that are not
//! an hour old.
//!
//! Invariants:
//! - of each clone one word is kept, of each device [`ACTIVITY_CLONES_MAX`] clones;
//! - a word counts only if it is newer, and its device signed it or said it on its own link;
//! - nobody is made to check many signatures of one device.

use std::collections::BTreeMap;

use aura_proto::{
    AgedActivity, LogId, PeerId, RateWindow, SignedActivity, TeamId, Writer,
    limits::{ACTIVITY_CLONES_MAX, ACTIVITY_MS_MAX, ACTIVITY_PER_MIN_MAX},
};
use aura_trust::verify_activity;

use crate::Now;

const MINUTE_MS: u64 = 60_000;
/// Words that are kept in all, whoever makes up devices.
const WORDS_MAX: usize = 16_384;

/// What a word came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the newest of its clone.
    New,
    /// It is known, or not worth telling.
    Old,
    /// Its device did not say it, or not in this form.
    Forged,
}

/// The newest words.
#[derive(Debug, Default)]
pub struct Words {
    rows: BTreeMap<(PeerId, LogId, Writer), Row>,
    rates: BTreeMap<PeerId, RateWindow>,
}

#[derive(Debug)]
struct Row {
    said: SignedActivity,
    /// When it is forgotten, on the monotonic clock.
    until_ms: u64,
}

impl Words {
    /// Takes a word, if it is newer than what is known; `is_proven` if its device said it on its own link.
    // spec: activity/2.2
    pub fn take(
        &mut self,
        now: Now,
        team: TeamId,
        word: &AgedActivity,
        is_proven: bool,
    ) -> Verdict {
        let said = &word.said;
        let peer = said.writer.peer;
        let key = (peer, said.log, said.writer);
        let known = self.rows.get(&key);
        let is_newer = known.is_none_or(|known| known.said.counter < said.counter);
        let has_room = known.is_some() || self.rows.len() < WORDS_MAX;
        if !is_newer || !has_room || ACTIVITY_MS_MAX <= word.age_ms {
            return Verdict::Old;
        }
        let fresh = || RateWindow::new(MINUTE_MS, ACTIVITY_PER_MIN_MAX);
        let rate = self.rates.entry(peer).or_insert_with(fresh);
        if !rate.has_room(now.mono_ms) {
            return Verdict::Old;
        }
        let is_good = match is_proven {
            true => said.is_well_formed(),
            false => verify_activity(team, said).is_ok(),
        };
        if !is_good {
            return Verdict::Forged;
        }
        rate.takes(now.mono_ms);
        let row = Row {
            said: said.clone(),
            until_ms: now.mono_ms + (ACTIVITY_MS_MAX - word.age_ms),
        };
        self.rows.insert(key, row);
        self.bound(peer);
        Verdict::New
    }

    /// Forgets the oldest clone of a device that has too many.
    fn bound(&mut self, peer: PeerId) {
        let of_peer = || self.rows.iter().filter(|((whose, ..), _)| *whose == peer);
        if ACTIVITY_CLONES_MAX < of_peer().count() {
            let oldest = of_peer().min_by_key(|(_, row)| row.until_ms);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.rows.remove(&key);
            }
        }
    }

    /// What is known of one log and not too old, each word with its age.
    pub fn of(&self, now: Now, log: LogId) -> impl Iterator<Item = AgedActivity> + '_ {
        let rows = self.rows.values().filter(move |row| row.said.log == log);
        rows.filter_map(move |row| row.aged(now))
    }

    /// The word of one clone, unless it is too old.
    pub fn of_clone(&self, now: Now, log: LogId, writer: Writer) -> Option<AgedActivity> {
        self.rows.get(&(writer.peer, log, writer))?.aged(now)
    }

    /// Forgets what is too old.
    pub fn sweep(&mut self, now: Now) {
        self.rows.retain(|_, row| now.mono_ms < row.until_ms);
        let rows = &self.rows;
        self.rates
            .retain(|peer, _| rows.keys().any(|(whose, ..)| whose == peer));
    }

    /// Forgets a device.
    pub fn forget(&mut self, peer: PeerId) {
        self.rows.retain(|(whose, ..), _| *whose != peer);
    }
}

impl Row {
    fn aged(&self, now: Now) -> Option<AgedActivity> {
        let left_ms = self.until_ms.checked_sub(now.mono_ms)?;
        Some(AgedActivity {
            said: self.said.clone(),
            age_ms: ACTIVITY_MS_MAX.saturating_sub(left_ms),
        })
    }
}
