//! What the zones of a repository do to changes: the log read as law.
//!
//! Invariants:
//! - only entries at their places are judged, in the order of the log, so that every device that has the same log counts
//!   the same changes;
//! - a change that does not count is the author's own edit again: nothing of it is lost, and it is published when the
//!   zone is over;
//! - what cannot be opened here is not judged here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_engine::{
    peer::{
        body::PatchBody,
        replica::{Own, Record},
    },
    zones::{Outcome, Verdict, Zone, Zones},
};
use aura_proto::{
    Entry, Kind, LogId, PeerId, RepoPath, Writer,
    zone::{Place as Spot, Sealed, Tag, ZoneBody, ZoneDetails, ZoneMode},
};
use aura_semantic::{FilePatch, Indexed, Op, UnitId};
use aura_trust::{KeyRing, Roster, SealContext, Tagger, open};

use super::{
    Desk, Notice, Place, claim::zone_name, counted::Ledger, held::Held, open_body,
    publish::part_of, symbols::Symbol,
};

/// Own entries about zones of which it is known what became of them: far more than are waited for.
const OUTCOMES_MAX: usize = 1_024;

/// What somebody said of a zone.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) details: ZoneDetails,
    /// By the Mothership's clock.
    pub(crate) time_ms: u64,
}

/// What a holder has done in a zone.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Activity {
    pub(crate) changes: u64,
    pub(crate) last_ms: u64,
    /// Position of the last change that relied on it.
    renewed: u64,
    /// When its time began anew, by the Mothership's clock.
    pub(crate) renewed_ms: u64,
}

/// What of a change may be published.
#[derive(Debug)]
pub(super) enum Free {
    All,
    /// A part, what the file is with it, and a zone that keeps the rest back.
    Part(Box<(FilePatch, Option<Indexed>)>, u64),
    /// Nothing, for this zone.
    Nothing(u64),
}

/// The zones of one log and what follows from them.
pub(crate) struct Law {
    pub(crate) zones: Zones,
    grantor: PeerId,
    log: LogId,
    /// What was said, by the position of the claim, question or answer.
    pub(crate) told: BTreeMap<u64, Told>,
    pub(crate) activity: BTreeMap<u64, Activity>,
    /// What became of own entries about zones: position, and what they did.
    pub(crate) outcomes: BTreeMap<(Writer, u64), (u64, Outcome)>,
    /// Changes that do not count.
    uncounted: BTreeMap<(Writer, u64), Verdict>,
    /// Own zones whose end is on its way: no change that comes behind it relies on them.
    pub(super) ending: BTreeSet<u64>,
    /// Whether one of them was taken in before it was judged.
    is_recount_due: bool,
    /// What others said of zones, as it was judged by the roster.
    judged: Ledger,
    /// Whether there ever was something about zones.
    is_in_force: bool,
}

/// What an entry at its place did.
#[derive(Debug)]
enum Deed {
    Nothing,
    Zone(Outcome),
    Uncounted(Verdict),
}

impl Law {
    pub(super) fn new(log: LogId, grantor: PeerId) -> Self {
        Self {
            zones: Zones::new(grantor),
            grantor,
            log,
            told: BTreeMap::new(),
            activity: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            uncounted: BTreeMap::new(),
            ending: BTreeSet::new(),
            is_recount_due: false,
            judged: Ledger::default(),
            is_in_force: false,
        }
    }

    /// Whether this roster judges what was said of zones in another way.
    pub(super) fn differs(&self, roster: &Roster, log: LogId) -> bool {
        self.judged.differs(roster, log)
    }

    /// Whether a change that cannot be opened yet may be one that does not count.
    pub(super) fn is_in_force(&self) -> bool {
        self.is_in_force
    }

    /// Whether a change counts, as far as zones go.
    pub(super) fn counts(&self, writer: Writer, author_seq: u64) -> bool {
        !self.uncounted.contains_key(&(writer, author_seq))
    }

    /// Takes the next entry of the log.
    // spec: zones/3.1
    fn place(&mut self, entry: &Entry, place: Place, is_own: bool, ring: &KeyRing) -> Deed {
        let header = entry.header();
        match header.kind {
            Kind::ZONE => {
                let Ok(body) = ZoneBody::decode(&entry.body()) else {
                    return Deed::Nothing;
                };
                let outcome = self.zones.place(place.seq, header.writer.peer, &body);
                self.remember(entry, place, (&body, &outcome), ring);
                if is_own {
                    let own = (header.writer, header.author_seq);
                    self.outcomes.insert(own, (place.seq, outcome.clone()));
                    if OUTCOMES_MAX < self.outcomes.len() {
                        self.outcomes.pop_first();
                    }
                }
                Deed::Zone(outcome)
            }
            // Nothing is opened for zones that are not there.
            Kind::PATCH if header.fence != 0 || self.zones.live().next().is_some() => {
                let body = open_body(entry, ring).filter(|body| body.check().is_ok());
                let Some(body) = body else {
                    return Deed::Nothing;
                };
                let Some((branch, spots)) = spots(ring, self.log, &body) else {
                    return Deed::Nothing;
                };
                let author = header.writer.peer;
                let judged = self.zones.judge(author, header.fence, branch, &spots);
                match judged {
                    Ok(()) => {
                        let zones = self.zones.covering(branch, &spots);
                        for zone in zones.filter(|zone| zone.holder == author) {
                            let activity = self.activity.entry(zone.fence).or_default();
                            activity.changes += body.patch.touched.len() as u64;
                            activity.last_ms = place.time_ms;
                        }
                        if header.fence != 0 {
                            let activity = self.activity.entry(header.fence).or_default();
                            activity.renewed = place.seq;
                            activity.renewed_ms = place.time_ms;
                        }
                        Deed::Nothing
                    }
                    Err(verdict) => {
                        let key = (header.writer, header.author_seq);
                        self.uncounted.insert(key, verdict);
                        Deed::Uncounted(verdict)
                    }
                }
            }
            _ => Deed::Nothing,
        }
    }

    fn remember(
        &mut self,
        entry: &Entry,
        place: Place,
        (body, outcome): (&ZoneBody, &Outcome),
        ring: &KeyRing,
    ) {
        if *outcome == Outcome::Void {
            return;
        }
        if let Outcome::Extended(fence) = outcome {
            self.activity.entry(*fence).or_default().renewed_ms = place.time_ms;
        }
        if let ZoneBody::Claim { details, .. }
        | ZoneBody::Ask { details, .. }
        | ZoneBody::Answer { details, .. } = body
        {
            let told = Told {
                details: opened(entry, details, ring).unwrap_or_default(),
                time_ms: place.time_ms,
            };
            self.told.insert(place.seq, told);
        }
        let zones = &self.zones;
        // What was said of a zone, and, where it was granted, when.
        let live = zones.live().flat_map(|zone| [zone.claim, zone.fence]);
        let live: BTreeSet<u64> = live.collect();
        self.told.retain(|position, _| {
            live.contains(position) || zones.ask(*position).is_some() || *position == place.seq
        });
        self.activity.retain(|fence, _| zones.get(*fence).is_some());
    }

    /// What the holder of a zone said of it.
    pub(crate) fn said_of(&self, zone: &Zone) -> Option<&Told> {
        self.told.get(&zone.claim)
    }
}

fn opened(entry: &Entry, sealed: &Sealed, ring: &KeyRing) -> Option<ZoneDetails> {
    let key = ring.get(sealed.key_epoch)?;
    let plain = open(key, &SealContext::from(entry.header()), &sealed.bytes).ok()?;
    ZoneDetails::decode(&plain).ok()
}

/// The branch and the places of a change.
fn spots(ring: &KeyRing, log: LogId, body: &PatchBody) -> Option<(Tag, Vec<Spot>)> {
    let tagger = Tagger::new(ring, log)?;
    let spots = spots_of(&tagger, &body.patch)?;
    Some((tagger.branch(&body.channel), spots))
}

/// The places of a change: each unit that it touches, and the file where it touches what stands between units.
pub(super) fn spots_of(tagger: &Tagger, patch: &FilePatch) -> Option<Vec<Spot>> {
    let path = RepoPath::try_from(patch.path.as_str()).ok()?;
    let file = UnitId::file(&patch.path);
    let rows = patch.touched.iter();
    let spots = rows.map(|row| match row.unit == file {
        true => tagger.path(&path),
        false => tagger.unit(&path, &row.unit.0),
    });
    Some(spots.collect())
}

impl Desk {
    /// Reads the law from the whole log, before changes are taken in.
    pub(super) fn read_law(&mut self, records: &[(u64, Record)], ring: &KeyRing) {
        self.law = Law::new(self.book.replica.log(), self.law.grantor);
        let mut unplaced: BTreeMap<(Writer, u64), &Entry> = BTreeMap::new();
        let roster = Arc::clone(&self.roster);
        for (_, record) in records {
            let (entry, place) = match record {
                Record::Own(entry) | Record::Heard(entry) => {
                    let header = entry.header();
                    unplaced.insert((header.writer, header.author_seq), entry);
                    continue;
                }
                Record::Placed(placed) => (&placed.entry, Place::of(placed)),
                Record::OwnPlaced { seq, own, time_ms } => {
                    let key = (self.writer(*own), own.author_seq);
                    let Some(entry) = unplaced.remove(&key) else {
                        continue;
                    };
                    let (seq, time_ms) = (*seq, *time_ms);
                    (entry, Place { seq, time_ms })
                }
                Record::HeardPlaced(settled) => {
                    let key = (settled.writer, settled.author_seq);
                    let Some(entry) = unplaced.remove(&key) else {
                        continue;
                    };
                    let (seq, time_ms) = (settled.seq, settled.time_ms);
                    (entry, Place { seq, time_ms })
                }
                _ => continue,
            };
            self.judge_placed(&roster, entry, place, ring);
        }
        let waiting = unplaced
            .values()
            .filter(|entry| entry.header().kind == Kind::ZONE);
        let bodies = waiting.filter_map(|entry| ZoneBody::decode(&entry.body()).ok());
        self.law.ending.extend(bodies.filter_map(|body| match body {
            ZoneBody::End { fence } => Some(fence),
            _ => None,
        }));
    }

    /// Takes an entry into the law, if its author may write.
    fn judge_placed(
        &mut self,
        roster: &Roster,
        entry: &Entry,
        place: Place,
        ring: &KeyRing,
    ) -> Deed {
        let header = entry.header();
        if !matches!(header.kind, Kind::ZONE | Kind::PATCH) {
            return Deed::Nothing;
        }
        let peer = header.writer.peer;
        let is_own = peer == self.key_peer;
        let is_zone = header.kind == Kind::ZONE;
        self.law.is_in_force |= is_zone || header.fence != 0;
        let time_ms = place.time_ms;
        let may_write = match is_own || is_zone && peer == self.law.grantor {
            true => true,
            false if is_zone => {
                let judged = &mut self.law.judged;
                judged.judge(roster, header.log, header, Some(time_ms))
            }
            false => roster.counts(header.log, header.writer, header.author_seq, time_ms),
        };
        match may_write {
            true => self.law.place(entry, place, is_own, ring),
            false => Deed::Nothing,
        }
    }

    /// An entry has come to its place just now; whether it was taken into the versions before.
    pub(super) fn found_place(
        &mut self,
        entry: &Entry,
        place: Place,
        is_recorded: bool,
        ring: &KeyRing,
    ) {
        let roster = Arc::clone(&self.roster);
        match self.judge_placed(&roster, entry, place, ring) {
            Deed::Nothing => {}
            Deed::Zone(outcome) => self.tell_of_zone(entry.header().writer.peer, place, &outcome),
            Deed::Uncounted(verdict) => {
                let peer = entry.header().writer.peer;
                self.notices.push(Notice {
                    kind: "refused",
                    symbol: None,
                    peer: Some(peer),
                    text: said_of(verdict),
                });
                self.law.is_recount_due |= is_recorded;
            }
        }
    }

    /// Takes the log in anew where something counts no more; once for all that came together.
    pub(super) fn obey(&mut self, ring: &KeyRing) {
        if std::mem::take(&mut self.law.is_recount_due) {
            if let Err(failure) = self.recount("a zone was in the way", ring) {
                tracing::error!(%failure, "the log cannot be taken in anew");
            }
            // What is an edit again is held back with its reason, or goes out.
            self.retry_in(0);
        }
    }

    /// An own entry, or one that was heard, has come to its place.
    pub(super) fn placed_by_number(
        &mut self,
        (writer, author_seq): (Writer, u64),
        place: Place,
        ring: &KeyRing,
    ) {
        self.placed(writer, author_seq, place.seq);
        let entry = self.book.entries(writer, author_seq, author_seq).pop();
        if let Some(entry) = entry {
            self.found_place(&entry, place, true, ring);
        }
    }

    fn tell_of_zone(&mut self, author: PeerId, place: Place, outcome: &Outcome) {
        let me = self.key_peer;
        let (kind, text) = match outcome {
            Outcome::Granted { taken } => {
                let words = self.words_of(place.seq);
                let taken = match taken.is_empty() {
                    true => String::new(),
                    false => format!(", taking {}", zone_names(taken)),
                };
                (
                    "zone",
                    format!("claimed {} {words}{taken}", zone_name(place.seq)),
                )
            }
            Outcome::Ended(fence) => ("zone", format!("{} is over", zone_name(*fence))),
            Outcome::Asked(ask) => {
                let text = self.law.told.get(&place.seq);
                let text = text.map(|told| told.details.text.clone());
                let text = text.unwrap_or_default();
                (
                    "zone_ask",
                    format!("asks for {}: {text}", zone_name(ask.fence)),
                )
            }
            Outcome::Answered { asked, grants, .. } => {
                let what = if *grants { "granted" } else { "denied" };
                let whom = if asked.asker == me { " to you" } else { "" };
                ("zone", format!("{what} {}{whom}", zone_name(asked.fence)))
            }
            Outcome::Extended(_) | Outcome::Held { .. } | Outcome::Void => return,
        };
        self.notices.push(Notice {
            kind,
            symbol: None,
            peer: Some(author),
            text,
        });
        // What was kept back by a zone may go now.
        if (self.held_back.values()).any(|why| matches!(why, Held::Zone(_))) {
            self.retry_in(0);
        }
    }

    /// What a zone covers, in words.
    fn words_of(&self, claim: u64) -> String {
        let zone = self.law.zones.get(claim);
        zone.map(|zone| self.covers(zone).join(", "))
            .unwrap_or_default()
    }

    /// What a zone covers, as its holder named it.
    pub(crate) fn covers(&self, zone: &Zone) -> Vec<String> {
        let told = self.law.said_of(zone);
        let covers = told.iter().flat_map(|told| &told.details.covers);
        let named = covers.map(|covered| match (&covered.unit, covered.path.as_str()) {
            (Some((_, name)), path) => format!("{path}::{name}"),
            (None, "") => "**".to_owned(),
            (None, path) if self.files.has_below(path) => format!("{path}/**"),
            (None, path) => path.to_owned(),
        });
        named.collect()
    }

    /// How many patches of others wait that are in a zone.
    pub(crate) fn behind_in(&self, fence: u64, ring: &KeyRing) -> u64 {
        let is_in = |index: &&usize| {
            let body = self.body_of(**index, ring);
            body.is_some_and(|body| {
                let zones = self.zones_of(&body.patch, ring);
                zones.iter().any(|zone| zone.fence == fence)
            })
        };
        self.waiting.iter().filter(is_in).count() as u64
    }

    /// The units of a change of one's own that must not be published now, each with a zone of somebody else.
    // spec: zones/3.3
    pub(super) fn blocking(&self, patch: &FilePatch, ring: &KeyRing) -> BTreeMap<UnitId, u64> {
        let blocks = |zone: &&Zone| zone.mode == ZoneMode::Block && zone.holder != self.key_peer;
        if !self.law.zones.live().any(|zone| blocks(&zone)) {
            return BTreeMap::new();
        }
        let Some((branch, spots)) = self.spots_here(patch, ring) else {
            return BTreeMap::new();
        };
        let rows = patch.touched.iter().zip(&spots);
        let found = rows.filter_map(|(row, spot)| {
            let mut zones = self.law.zones.covering(branch, std::slice::from_ref(spot));
            Some((row.unit, zones.find(blocks)?.fence))
        });
        found.collect()
    }

    /// What of a change no zone of somebody else keeps back.
    pub(super) fn free_of_zones(
        &self,
        before: Option<&Indexed>,
        patch: &FilePatch,
        ring: &KeyRing,
    ) -> Free {
        let blocked = self.blocking(patch, ring);
        let Some(fence) = blocked.values().next().copied() else {
            return Free::All;
        };
        let file = UnitId::file(&patch.path);
        let is_blocked = |op: &Op| blocked.contains_key(&op.unit().unwrap_or(file));
        // What uses a function is changed together with its name: a part of that would fit nothing.
        let names = |op: &Op| !matches!(op, Op::Gap { .. } | Op::Move { .. } | Op::Replace { .. });
        if patch.ops.iter().any(|op| is_blocked(op) && names(op)) {
            return Free::Nothing(fence);
        }
        let units = patch.touched.iter().map(|row| row.unit);
        let free = units.filter(|unit| !blocked.contains_key(unit)).collect();
        match part_of(before, patch, &free) {
            Some(part) => Free::Part(Box::new(part), fence),
            None => Free::Nothing(fence),
        }
    }

    /// The zone that a change of one's own relies on, 0 for none: of several the one that was relied on longest ago, as
    /// each lasts on from then.
    pub(super) fn fence_for(&self, patch: &FilePatch, ring: &KeyRing) -> u64 {
        // Without the Mothership a zone may be over before the change has its place; it counts without one as well.
        if self.book.is_alone() {
            return 0;
        }
        let is_own =
            |zone: &&Zone| zone.holder == self.key_peer && !self.law.ending.contains(&zone.fence);
        let renewed = |zone: &&Zone| {
            let activity = self.law.activity.get(&zone.fence);
            activity.map_or(0, |activity| activity.renewed)
        };
        let own = self.zones_of(patch, ring).into_iter().filter(is_own);
        own.min_by_key(renewed).map_or(0, |zone| zone.fence)
    }

    fn spots_here(&self, patch: &FilePatch, ring: &KeyRing) -> Option<(Tag, Vec<Spot>)> {
        let tagger = Tagger::new(ring, self.law.log)?;
        let spots = spots_of(&tagger, patch)?;
        Some((tagger.branch(self.units.channel()), spots))
    }

    fn zones_of(&self, patch: &FilePatch, ring: &KeyRing) -> Vec<&Zone> {
        if self.law.zones.live().next().is_none() {
            return Vec::new();
        }
        let spots = self.spots_here(patch, ring);
        let zones = spots.map(|(branch, spots)| self.law.zones.covering(branch, &spots).collect());
        zones.unwrap_or_default()
    }

    /// Who holds a zone in which a symbol is.
    pub(super) fn holders_of(&self, symbol: &Symbol, ring: &KeyRing) -> Vec<PeerId> {
        let path = RepoPath::try_from(&*symbol.path).ok();
        let (Some(tagger), Some(path)) = (Tagger::new(ring, self.law.log), path) else {
            return Vec::new();
        };
        let spot = match symbol.is_file() {
            true => tagger.path(&path),
            false => tagger.unit(&path, &symbol.unit.0),
        };
        let branch = tagger.branch(self.units.channel());
        let zones = self.law.zones.covering(branch, std::slice::from_ref(&spot));
        zones.map(|zone| zone.holder).collect()
    }

    /// What became of an own entry about zones, once it is at its place.
    pub(crate) fn outcome(&self, own: Own) -> Option<&(u64, Outcome)> {
        self.law.outcomes.get(&(self.writer(own), own.author_seq))
    }
}

/// Why a change does not count, for people.
fn said_of(verdict: Verdict) -> String {
    match verdict {
        Verdict::Stale => "STALE_FENCE: its author does not hold that zone any more".to_owned(),
        Verdict::Held { by } => format!("ZONE_HELD: somebody else holds {}", zone_name(by)),
    }
}

fn zone_names(fences: &[u64]) -> String {
    let names = fences.iter().copied().map(zone_name);
    names.collect::<Vec<_>>().join(", ")
}
