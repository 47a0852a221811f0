//! What is edited here now, and what others say of it.
//!
//! Invariants:
//! - a place counts from when its file was saved, not from when that was noticed;
//! - what others say is opened when somebody asks, and shows what they say: it decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use aura_api::Failure;
use aura_engine::peer::activity::{Activity, ActivityBody, Input, SPOTS_MAX, Spot};
use aura_proto::{AgedActivity, LogId, PeerId, RepoPath, SignedActivity, TeamId, Writer};
use aura_semantic::{Touched, UnitId};
use aura_trust::{IdentityKey, KeyRing, SealContext, open, seal, sign_activity};

use super::{Desk, Notice};
use crate::clock::now;

/// An edit that is not older than this goes on, in milliseconds.
pub(crate) const EDITING_MS: u64 = 180_000;

/// What is said and known of who edits what.
pub(crate) struct Doing {
    pub(crate) machine: Activity,
    /// Whether others are told what is edited here.
    pub(crate) is_told: bool,
    /// What each clone was said to edit when it was heard of last.
    seen: BTreeMap<Writer, Vec<Spot>>,
}

impl Doing {
    pub(super) fn new(team: TeamId, log: LogId, is_told: bool) -> Self {
        Self {
            machine: Activity::new(team, log),
            is_told,
            seen: BTreeMap::new(),
        }
    }
}

/// A place that somebody edits, or edited within the last hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edited {
    pub(crate) peer: PeerId,
    pub(crate) channel: String,
    pub(crate) spot: Spot,
    /// Whether it was edited here as well.
    pub(crate) is_mine_too: bool,
}

impl Edited {
    /// Whether it goes on.
    pub(crate) fn is_now(&self) -> bool {
        self.spot.ago_ms < EDITING_MS
    }
}

impl Desk {
    /// A file was found edited, in these units or as a whole.
    pub(super) fn edited(&mut self, path: &RepoPath, mtime_ns: Option<i128>, touched: &[Touched]) {
        if !self.tells_of_edits() {
            return;
        }
        let wall_ms = i128::from(self.clock.wall_ms());
        let ago_ms = mtime_ns.map_or(0, |mtime_ns| wall_ms - mtime_ns / 1_000_000);
        // A file of tomorrow is edited now.
        let ago_ms = u64::try_from(ago_ms.max(0)).unwrap_or(u64::MAX);
        let whole = UnitId::file(path.as_str());
        let units = touched.iter().filter(|row| row.unit != whole);
        let spot = |unit| Spot {
            path: path.as_str().to_owned(),
            unit,
            ago_ms,
        };
        let mut spots: Vec<Spot> = units
            .map(|row| spot(Some((row.unit, row.name.clone()))))
            .collect();
        if spots.is_empty() {
            spots.push(spot(None));
        }
        let now = now(self.clock);
        self.doing.machine.handle(now, Input::Edited(spots));
    }

    /// Whether others are told what is edited here, as it is set and nothing is paused.
    fn tells_of_edits(&self) -> bool {
        self.doing.is_told && self.pause.publishing.is_none()
    }

    /// Others are told of what is edited here, or of nothing any more.
    pub(crate) fn tell_of_edits(&mut self, is_told: bool) {
        let was_told = std::mem::replace(&mut self.doing.is_told, is_told);
        if was_told && !is_told {
            let now = now(self.clock);
            self.doing.machine.handle(now, Input::Silent);
        }
    }

    /// What could not be sealed may be now.
    pub(crate) fn say_again(&mut self) {
        let now = now(self.clock);
        self.doing.machine.handle(now, Input::Edited(Vec::new()));
    }

    /// Seals and signs what is edited here; nothing without the team's key.
    // spec: activity/1.1, activity/1.3
    pub(crate) fn word(
        &self,
        counter: u64,
        mut spots: Vec<Spot>,
        (key, ring): (&IdentityKey, &KeyRing),
    ) -> Option<SignedActivity> {
        let team_key = ring.current().filter(|_| self.distrust.is_none())?;
        loop {
            let body = ActivityBody {
                channel: self.units.channel().to_owned(),
                spots: spots.clone(),
            };
            let unsealed = SignedActivity {
                log: self.book.replica.log(),
                writer: self.book.replica.writer(),
                counter,
                key_epoch: team_key.epoch,
                sealed: Vec::new(),
                signature: Vec::new(),
            };
            let context = SealContext::of_activity(self.team, &unsealed);
            let said = SignedActivity {
                sealed: seal(team_key, &context, crate::clock::random(), &body.encode()),
                ..unsealed
            };
            if said.is_well_formed() {
                return Some(sign_activity(key, self.team, said));
            }
            // Long names: the newest places say most.
            spots.pop()?;
        }
    }

    /// What others edit, or edited within the last hour, the newest first.
    pub(crate) fn edited_by_others(&self, ring: &KeyRing) -> Vec<Edited> {
        let words: Vec<AgedActivity> = self.doing.machine.words(now(self.clock)).collect();
        let (own, others): (Vec<_>, Vec<_>) = words
            .into_iter()
            .partition(|word| word.said.writer.peer == self.key_peer);
        let own = own.iter().filter_map(|word| self.opened_word(word, ring));
        let own: Vec<Spot> = own.flat_map(|body| body.spots).collect();
        let mut edited = Vec::new();
        for word in others {
            let peer = word.said.writer.peer;
            let body = self.opened_word(&word, ring);
            let Some(body) = body.filter(|_| self.roster.is_active(peer)) else {
                continue;
            };
            edited.extend(body.spots.into_iter().map(|spot| Edited {
                peer,
                channel: body.channel.clone(),
                is_mine_too: is_among(&own, &spot),
                spot: Spot {
                    ago_ms: spot.ago_ms.saturating_add(word.age_ms),
                    ..spot
                },
            }));
        }
        edited.sort_by_key(|row| row.spot.ago_ms);
        edited
    }

    fn opened_word(&self, word: &AgedActivity, ring: &KeyRing) -> Option<ActivityBody> {
        let said = &word.said;
        let key = ring.get(said.key_epoch)?;
        let context = SealContext::of_activity(self.team, said);
        ActivityBody::decode(&open(key, &context, &said.sealed).ok()?).ok()
    }

    /// Who edits a unit of a file now, or anything of it where none is named.
    pub(super) fn editing_now(
        &self,
        path: &str,
        unit: Option<UnitId>,
        ring: &KeyRing,
    ) -> Vec<PeerId> {
        let is_it = |row: &Edited| {
            let (file, edited) = row.spot.place();
            row.is_now() && file == path && (unit.is_none() || edited == unit)
        };
        let rows = self.edited_by_others(ring).into_iter().filter(is_it);
        rows.map(|row| row.peer).collect()
    }

    /// Where saving publishes nothing, what was saved is edited all the same.
    pub(super) fn note_edits(&mut self, paths: &BTreeSet<RepoPath>) -> Result<(), Failure> {
        if !self.tells_of_edits() {
            return Ok(());
        }
        // Of what a program writes into a hundred files at once the first say enough.
        for path in paths.iter().take(SPOTS_MAX) {
            let stamp = self.copy.root().stamp(path).ok();
            if let Some((_, patch, _)) = self.edit_of(path)? {
                self.edited(path, stamp.map(|stamp| stamp.mtime_ns), &patch.touched);
            }
        }
        Ok(())
    }

    /// Tells whoever watches what somebody edits.
    pub(crate) fn learned(&mut self, writer: Writer, ring: &KeyRing) {
        let word = self.doing.machine.word_of(now(self.clock), writer);
        let Some(word) = word.filter(|_| writer.peer != self.key_peer) else {
            return;
        };
        let Some(body) = self.opened_word(&word, ring) else {
            return;
        };
        let goes_on = |spot: &Spot| spot.ago_ms.saturating_add(word.age_ms) < EDITING_MS;
        let now: Vec<Spot> = body.spots.into_iter().filter(goes_on).collect();
        let before = self.doing.seen.insert(writer, now.clone());
        let before = before.unwrap_or_default();
        // What was told of is not told again while it goes on.
        for spot in now.iter().filter(|spot| !is_among(&before, spot)) {
            let name = spot.unit.as_ref().map_or(&spot.path, |(_, name)| name);
            self.notices.push(Notice {
                kind: "editing",
                symbol: Some(name.clone()),
                peer: Some(writer.peer),
                text: format!("edits {name}"),
            });
        }
    }
}

/// Whether the place of one is that of another.
fn is_among(spots: &[Spot], spot: &Spot) -> bool {
    spots.iter().any(|known| known.place() == spot.place())
}
