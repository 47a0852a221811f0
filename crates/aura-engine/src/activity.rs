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
    devices: BTreeMap<PeerId, Device>,
}

/// What one device said, and how much of it was taken lately.
#[derive(Debug)]
struct Device {
    rate: RateWindow,
    clones: BTreeMap<(LogId, Writer), Row>,
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
        let known = self.row(said.log, said.writer);
        let is_newer = known.is_none_or(|known| known.said.counter < said.counter);
        let has_room = known.is_some() || self.len() < WORDS_MAX;
        if !is_newer || !has_room || ACTIVITY_MS_MAX <= word.age_ms {
            return Verdict::Old;
        }
        let device = self.devices.entry(said.writer.peer);
        let device = device.or_insert_with(Device::new);
        if !device.rate.has_room(now.mono_ms) {
            return Verdict::Old;
        }
        let is_good = match is_proven {
            true => said.is_well_formed(),
            false => verify_activity(team, said).is_ok(),
        };
        if !is_good {
            return Verdict::Forged;
        }
        device.rate.takes(now.mono_ms);
        device.keep(Row {
            said: said.clone(),
            until_ms: now.mono_ms + (ACTIVITY_MS_MAX - word.age_ms),
        });
        Verdict::New
    }

    fn len(&self) -> usize {
        self.devices.values().map(|known| known.clones.len()).sum()
    }

    fn row(&self, log: LogId, writer: Writer) -> Option<&Row> {
        self.devices.get(&writer.peer)?.clones.get(&(log, writer))
    }

    /// What is known of one log and not too old, each word with its age.
    pub fn of(&self, now: Now, log: LogId) -> impl Iterator<Item = AgedActivity> + '_ {
        let devices = self.devices.values();
        let rows = devices.flat_map(|device| device.clones.values());
        let rows = rows.filter(move |row| row.said.log == log);
        rows.filter_map(move |row| row.aged(now))
    }

    /// The word of one clone, unless it is too old.
    pub fn of_clone(&self, now: Now, log: LogId, writer: Writer) -> Option<AgedActivity> {
        self.row(log, writer)?.aged(now)
    }

    /// Forgets what is too old.
    pub fn sweep(&mut self, now: Now) {
        self.devices.retain(|_, device| {
            device.clones.retain(|_, row| now.mono_ms < row.until_ms);
            !device.clones.is_empty()
        });
    }

    /// Forgets a device.
    pub fn forget(&mut self, peer: PeerId) {
        self.devices.remove(&peer);
    }
}

impl Device {
    fn new() -> Self {
        Self {
            rate: RateWindow::new(MINUTE_MS, ACTIVITY_PER_MIN_MAX),
            clones: BTreeMap::new(),
        }
    }

    /// Keeps a word in place of the one before; the oldest goes where there are too many.
    fn keep(&mut self, row: Row) {
        self.clones.insert((row.said.log, row.said.writer), row);
        if ACTIVITY_CLONES_MAX < self.clones.len() {
            let oldest = self.clones.iter().min_by_key(|(_, row)| row.until_ms);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.clones.remove(&key);
            }
        }
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
