//! Holding still: nothing is published, or nothing is taken, until its user goes on or a time is over.
//!
//! Invariants:
//! - what is saved meanwhile stays an edit, and what comes meanwhile waits: both go on afterwards as if nothing had been;
//! - it holds over restarts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aura_api::Failure;
use aura_store::write_atomic;
use aura_trust::KeyRing;
use serde::{Deserialize, Serialize};

use super::{Desk, Mode, held::Held, pass, storage};

/// Since when and until when a repository holds still; times are milliseconds since 1970 by this device's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pause {
    /// Until when nothing is published; the end of time is until its user says so.
    pub(crate) publishing: Option<u64>,
    /// The same of taking what others publish.
    pub(crate) taking: Option<u64>,
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("pause.json")
}

impl Pause {
    pub(super) fn open(state_dir: &Path) -> Self {
        let bytes = fs::read(file(state_dir)).ok();
        let known = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        known.unwrap_or_default()
    }

    fn save(self, state_dir: &Path) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(&self).unwrap_or_default();
        write_atomic(&file(state_dir), &bytes, 0o600).map_err(|error| storage(&error))
    }

    /// What is left of it.
    fn at(self, wall_ms: u64) -> Self {
        let lasts = |until_ms: &u64| wall_ms < *until_ms;
        Self {
            publishing: self.publishing.filter(lasts),
            taking: self.taking.filter(lasts),
        }
    }

    /// When some of it is over.
    fn ends_ms(self) -> Option<u64> {
        let ends = [self.publishing, self.taking].into_iter().flatten();
        ends.filter(|until_ms| *until_ms != u64::MAX).min()
    }
}

impl Desk {
    /// Holds still in what is given; the rest goes on as it was.
    pub(crate) fn hold_still(&mut self, more: Pause) -> Result<Pause, Failure> {
        let next = Pause {
            publishing: more.publishing.or(self.pause.publishing),
            taking: more.taking.or(self.pause.taking),
        };
        next.save(&self.state_dir)?;
        self.pause = next;
        self.agreement.look_again(self.clock.mono_ms());
        Ok(next)
    }

    /// Goes on with everything.
    pub(crate) fn go_on(&mut self) -> Result<Pause, Failure> {
        Pause::default().save(&self.state_dir)?;
        self.pause = Pause::default();
        self.held_back.retain(|_, why| *why != Held::Paused);
        self.due = pass::Due::All;
        self.retry_in(0);
        Ok(self.pause)
    }

    /// Goes on with what is over.
    pub(super) fn end_pause(&mut self, ring: &KeyRing) {
        let left = self.pause.at(self.clock.wall_ms());
        if left == self.pause {
            return;
        }
        if let Err(failure) = left.save(&self.state_dir) {
            tracing::warn!(%failure, "the end of a pause is not kept");
        }
        self.pause = left;
        self.held_back.retain(|_, why| *why != Held::Paused);
        self.due = pass::Due::All;
        self.agreement.look_again(self.clock.mono_ms());
        self.retry_in(0);
        self.settle(ring);
    }

    /// When some of a pause is over, on the monotonic clock.
    pub(super) fn pause_ends_ms(&self) -> Option<u64> {
        let left_ms = self.pause.ends_ms()?.saturating_sub(self.clock.wall_ms());
        Some(self.clock.mono_ms().saturating_add(left_ms))
    }

    /// Whether what others publish is written by itself.
    pub(super) fn takes_by_itself(&self) -> bool {
        // What comes again after a damage was in the files, and may have been changed or deleted there since.
        self.mode == Mode::Live && self.pause.taking.is_none() && self.lost_end().is_none()
    }
}
