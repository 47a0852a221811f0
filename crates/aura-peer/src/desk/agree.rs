//! Files of which those who know the same patches have different texts.
//!
//! Invariants:
//! - a text that differs is shown to people, with both sides, unless the same lines merely stand in another order;
//! - what is settled was seen: whoever has another text than those shown keeps it, and says so in its turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_engine::peer::{
    agreement::{Act, Agreement, Disagreement, Heard, Held, Holding, StateBody},
    body::{Cause, VersionId},
    units::{Conflict, OfFile, OpenConflict, Origin, Side, conflict_id},
};
use aura_proto::{Entry, Kind, PeerId, RepoPath, limits::BODY_BYTES_MAX};
use aura_semantic::{ContentHash, Indexed, OwnText, Text, UnitId};
use aura_trust::{KeyRing, SEAL_OVERHEAD_BYTES};

use super::{
    Desk, opened,
    pass::is_passing,
    take::{Taken, Wanted, is_result},
};

/// What tells whether a file is in doubt.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// The patch that was written last, and whether its file became what it was for its author.
    pub(super) landed: Option<(usize, bool)>,
    /// How many patches were recorded when the log was replayed.
    pub(super) replayed: usize,
}

impl Desk {
    /// Looks at the files in doubt whose time has come.
    pub(crate) fn agree(&mut self, now_ms: u64, ring: &KeyRing) {
        if !self.may_compare(ring) {
            self.agreement.put_off(!self.takes_by_itself());
            return;
        }
        let due = self.agreement.due(now_ms);
        for path in &due {
            let known = (self.units.patch_set(path), self.units.recorded().len());
            let when = (now_ms, self.units.wrote_in(path));
            let nothing = Agreement::new(self.key_peer);
            let mut agreement = std::mem::replace(&mut self.agreement, nothing);
            let act = agreement.look(path, when, known, || self.holding(path, ring));
            self.agreement = agreement;
            match act {
                Some(Act::Tell { holding, with_text }) => {
                    self.tell_state(path, holding, with_text, ring);
                }
                Some(Act::Same { by }) => self.forget_what_is_in(path, &by),
                None => {}
            }
            self.join_order(path, ring);
        }
        if !due.is_empty() {
            self.compare_conflicts(ring);
        }
    }

    /// Whether this device carries out what the team does, knows all of it, and may speak.
    fn may_compare(&self, ring: &KeyRing) -> bool {
        let member = self.roster.member(self.key_peer);
        self.takes_by_itself()
            && self.is_still()
            && ring.current().is_some()
            && self.distrust.is_none()
            && self.book.replica.is_caught_up()
            && member.is_none_or(|member| member.role.may_write())
    }

    /// What this device has of a file, as far as that can be compared.
    fn holding(&mut self, path: &str, ring: &KeyRing) -> Held {
        let Ok(checked) = RepoPath::try_from(path) else {
            return Held::Apart;
        };
        if self.units.is_open(path) || self.shadows.is_local(&checked) {
            return Held::Apart;
        }
        let wanted = Wanted {
            is_dry_run: true,
            is_patient: true,
            ..Wanted::default()
        };
        let mut here = None;
        let mut is_complete = true;
        for index in self.waiting_in(path).collect::<Vec<_>>() {
            if self
                .loose
                .is_dropped(self.units.recorded()[index].origin.lsn)
            {
                return Held::Apart;
            }
            match self.take(index, &wanted, &mut here, ring) {
                Taken::Known => {}
                Taken::Waiting(why) | Taken::Partly(why) if !is_passing(&why) => {
                    is_complete = false;
                }
                // What waits behind something that cannot be carried out would do nothing.
                Taken::WouldApply if !is_complete && self.waits_behind(index) => {}
                _ => return Held::Later,
            }
        }
        let Ok(text) = self.shadows.get(&checked) else {
            return Held::Later;
        };
        // What edits stand in the way of arrives when these are told, or gone.
        if !is_complete && !self.is_as_told(&checked) {
            return Held::Apart;
        }
        Held::Here(Holding {
            patches: self.units.patch_set(path),
            blob: self.shadows.blob_name(&checked),
            is_complete,
            content: text.map(|(bytes, _)| ContentHash::of(&bytes)),
        })
    }

    /// Whether a file says what the team knows it to say here.
    fn is_as_told(&mut self, path: &RepoPath) -> bool {
        let disk = self.copy.root().read_file(path).ok();
        let shadow = self.shadows.get(path).ok().flatten();
        disk.map(|file| file.bytes) == shadow.map(|(bytes, _)| bytes)
    }

    /// Tells the team what is here, without a text that no entry holds, or later where that is not possible now.
    fn tell_state(&mut self, path: &str, holding: Holding, with_text: bool, ring: &KeyRing) {
        let text = RepoPath::try_from(path)
            .ok()
            .filter(|_| with_text)
            .and_then(|path| self.shadows.get(&path).ok()?);
        let text = text.map(|(bytes, _)| Text(bytes));
        let mut body = StateBody {
            channel: self.units.channel().to_owned(),
            path: path.to_owned(),
            holding,
            text,
        };
        let mut plain = body.encode();
        if BODY_BYTES_MAX < plain.len() + SEAL_OVERHEAD_BYTES {
            body.text = None;
            plain = body.encode();
        }
        let has_room = self.book.replica.has_room(plain.len());
        if !has_room || !self.author((Kind::STATE, 0), &plain, None, ring) {
            self.agreement.untold(path, self.clock.mono_ms());
        }
    }

    /// Takes in what somebody, or this device, has of a file.
    // spec: patch/6.3
    pub(super) fn note_state(
        &mut self,
        entry: &Entry,
        origin: Origin,
        is_own: bool,
        ring: &KeyRing,
    ) {
        let Some(body) = open_state(entry, ring) else {
            let why = "DECODE: its body does not open".to_owned();
            return self.refused(origin.writer.peer, why);
        };
        // Nobody is told anything of a file that the team was not told of.
        let is_known = self.units.newest_of(&body.path).is_some();
        if body.channel != self.units.channel() || !is_known {
            return;
        }
        let path: Arc<str> = body.path.into();
        let knows_more = !is_own
            && body.holding.patches != self.units.patch_set(&path)
            && self.units.wrote_since(&path, origin.seq);
        let heard = Heard {
            holding: body.holding,
            origin,
            has_text: body.text.is_some(),
            is_own,
        };
        let now_ms = self.clock.mono_ms();
        self.agreement.heard(&path, heard, knows_more, now_ms);
    }

    /// Whether a file came to another text here than where the newest patch of it was made.
    pub(super) fn weigh_text(
        &mut self,
        path: &Arc<str>,
        taken: usize,
        is_written: bool,
        ring: &KeyRing,
    ) {
        let Some(newest) = self.units.newest_of(path) else {
            return;
        };
        // What was known before the daemon ran was weighed then.
        if !is_written && taken < self.doubts.replayed {
            return;
        }
        let landed = self.doubts.landed.filter(|(index, _)| *index == newest);
        let is_same = landed.map_or_else(|| self.has_result(path, newest, ring), |known| known.1);
        let now_ms = self.clock.mono_ms();
        let seq = self.units.recorded()[newest].origin.seq;
        self.agreement.patched(path, seq, now_ms);
        // What was made before, and was not known when the newest was made, may have been of no effect here alone.
        if !is_same || newest < taken && self.is_mine(newest) {
            self.doubt(path);
        }
    }

    /// A file may be another one elsewhere; whoever wrote its newest patch speaks first.
    pub(super) fn doubt(&mut self, path: &Arc<str>) {
        let newest = self.units.newest_of(path);
        let owes = newest.is_some_and(|newest| self.is_mine(newest));
        let is_writer = self.units.wrote_in(path);
        let now_ms = self.clock.mono_ms();
        self.agreement.doubt(path, owes, is_writer, now_ms);
    }

    fn is_mine(&self, index: usize) -> bool {
        self.units.recorded()[index].origin.writer.peer == self.key_peer
    }

    /// Whether a file is what it was behind a patch where that was made, or what git has.
    fn has_result(&mut self, path: &str, index: usize, ring: &KeyRing) -> bool {
        let Ok(path) = RepoPath::try_from(path) else {
            return true;
        };
        let (Ok(here), Some(body)) = (self.shadows.get(&path), self.body_of(index, ring)) else {
            return false;
        };
        let here = here.map(|(bytes, _)| ContentHash::of(&bytes));
        self.shadows.is_at_head(&path) || is_result(&body, here)
    }

    /// What cannot be carried out may have come to others.
    pub(super) fn doubt_what_waits(&mut self, taken: &BTreeMap<usize, Taken>) {
        let stays = |taken: &Taken| matches!(taken, Taken::Waiting(why) if !is_passing(why));
        let stuck = taken.iter().filter(|(_, taken)| stays(taken));
        let path = |index: usize| Arc::clone(&self.units.recorded()[index].path);
        let mut paths: BTreeSet<Arc<str>> = stuck.map(|(index, _)| path(*index)).collect();
        paths.retain(|path| !self.units.is_open(path));
        paths.iter().for_each(|path| self.doubt(path));
    }

    /// What waits here of these, who have the same text and carried everything out, is in it; so are own decisions.
    fn forget_what_is_in(&mut self, path: &str, by: &[PeerId]) {
        let author = |index: usize| self.units.recorded()[index].origin.writer.peer;
        let is_in = |index: usize| by.contains(&author(index)) || self.is_mine(index);
        let waiting = self.waiting_in(path);
        let known: Vec<usize> = waiting.filter(|index| is_in(*index)).collect();
        self.forget_waiting(known);
    }

    fn forget_waiting(&mut self, known: Vec<usize>) {
        for index in known {
            self.waiting.remove(&index);
            self.tried.remove(&index);
            self.loose.taken(self.units.recorded()[index].origin.lsn);
        }
    }

    /// A patch of a file as one piece is here: if it settles texts that differed, all that led to these is settled.
    pub(super) fn settled_texts(&mut self, index: usize) {
        let path = Arc::clone(&self.units.recorded()[index].path);
        let Some(last) = self.agreement.last(&path) else {
            return;
        };
        let follows = self.versions_of(&path, last);
        let mut parents = self.units.file_parents(index).iter();
        if parents.any(|parent| follows.contains(parent)) {
            let last = last.recorded;
            let waiting = self.waiting_in(&path);
            let known = waiting.filter(|waiting| *waiting < last).collect();
            self.forget_waiting(known);
        }
    }

    /// The versions of the file that different texts of it stand for.
    fn versions_of(&self, path: &str, open: &Disagreement) -> Vec<VersionId> {
        let others = open.others.iter().map(|heard| heard.holding.content);
        let contents = others.chain([open.mine.content]);
        let file = UnitId::file(path);
        let versions = contents.filter_map(|content| self.units.working(path, file, content));
        versions.collect()
    }

    /// Conflicts of files of which those who know the same have different texts.
    pub(super) fn disagreements(&self, ring: &KeyRing) -> Vec<Conflict> {
        let open = self.agreement.open();
        let conflicts = open.filter_map(|(path, open)| {
            let mut conflict = self.disagreement(path, open)?;
            let text = self.state_text(open.others.first()?, ring);
            conflict.theirs.text = text.map(|text| OwnText::leaf(text.bytes()));
            Some(conflict)
        });
        conflicts.collect()
    }

    /// The conflict that different texts of a file are, without these texts.
    fn disagreement(&self, path: &str, open: &Disagreement) -> Option<Conflict> {
        let other = open.others.first()?;
        let file = UnitId::file(path);
        let patches = self.units.patches_of(path);
        let last = *patches.last()?;
        let by = |peer| {
            let mut patches = patches.iter().rev();
            let wrote = |index: &&usize| self.units.recorded()[**index].origin.writer.peer == peer;
            patches.find(wrote).copied().unwrap_or(last)
        };
        let version = |content: Option<ContentHash>| {
            let version = self.units.working(path, file, content);
            version.unwrap_or(VersionId::of(file, &[], None))
        };
        let side = |content: Option<ContentHash>, peer| Side {
            version: version(content),
            recorded: by(peer),
            content,
            text: None,
        };
        let theirs = other.holding.content;
        let mut heads: Vec<VersionId> = vec![version(open.mine.content), version(theirs)];
        heads.sort_unstable();
        let mut all = self.versions_of(path, open);
        all.push(VersionId(open.mine.patches.0));
        all.sort_unstable();
        all.dedup();
        // Who settles it follows what was told of the file as well.
        let told = self.units.heads(path, file).into_iter();
        let follows: BTreeSet<VersionId> = told.chain(heads.iter().copied()).collect();
        Some(Conflict {
            id: conflict_id(file, &all),
            unit: file,
            name: path.to_owned(),
            path: path.to_owned(),
            base: None,
            mine: side(open.mine.content, self.key_peer),
            theirs: side(theirs, other.origin.writer.peer),
            of_file: Some(OfFile {
                follows: follows.into_iter().collect(),
                left_out: BTreeSet::new(),
            }),
            heads,
        })
    }

    /// The same in short.
    pub(super) fn open_disagreements(&self) -> impl Iterator<Item = OpenConflict> {
        let rows = self.agreement.open();
        rows.filter_map(|(path, open)| {
            let conflict = self.disagreement(path, open)?;
            Some(OpenConflict {
                id: conflict.id,
                name: conflict.name,
                theirs: conflict.theirs.recorded,
            })
        })
    }

    /// The text that came with a word on a file.
    fn state_text(&self, heard: &Heard, ring: &KeyRing) -> Option<Text> {
        open_state(&self.book.entry(heard.origin.lsn)?, ring)?.text
    }

    /// Where the same lines and functions stand in another order, whoever told another text second takes the first.
    // spec: patch/6.6
    fn join_order(&mut self, path: &Arc<str>, ring: &KeyRing) {
        let first = self.agreement.yields_to(path);
        let Some((open, first)) = self.agreement.open_of(path).zip(first) else {
            return;
        };
        let conflict = self.disagreement(path, open);
        let Some((conflict, theirs)) = conflict.zip(self.state_text(first, ring)) else {
            return;
        };
        let Ok(checked) = RepoPath::try_from(&**path) else {
            return;
        };
        let Ok(Some(mine)) = self.shadow(&checked) else {
            return;
        };
        let there = self.as_told(&checked, theirs.bytes());
        // Where nothing is understood of a text its order may mean anything.
        if mine.ids.is_empty()
            || lines_of(&mine.bytes) != lines_of(theirs.bytes())
            || leaves(&mine) != leaves(&there)
        {
            return;
        }
        let patch = self.file_change_from(&checked, Some(mine), Some(&theirs), None);
        let follows = conflict.of_file.map(|of| of.follows).unwrap_or_default();
        let shown = Some((conflict.unit, follows, BTreeSet::new()));
        let settled = self.carry_through(&checked, patch, Cause::Merge, shown, ring);
        if let Err(failure) = settled {
            tracing::debug!(%failure, %path, "the order of a file stays");
        }
    }
}

/// The texts of the units that have no others in them.
fn leaves(file: &Indexed) -> BTreeSet<(&str, ContentHash)> {
    let units = file.outline.units.iter();
    let leaves = units.filter(|unit| unit.inner.is_none());
    leaves
        .map(|unit| (&*unit.qualified, unit.own_hash))
        .collect()
}

/// Every line that says something, as often as it is there.
fn lines_of(text: &[u8]) -> BTreeMap<&[u8], usize> {
    let mut lines = BTreeMap::new();
    let said = text
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end);
    for line in said.filter(|line| !line.is_empty()) {
        *lines.entry(line).or_default() += 1;
    }
    lines
}

fn open_state(entry: &Entry, ring: &KeyRing) -> Option<StateBody> {
    let body = StateBody::decode(opened(entry, Kind::STATE, ring)?).ok()?;
    body.check().is_ok().then_some(body)
}
