//! From the team's versions to the working copy.
//!
//! Invariants:
//! - a unit with edits that the team does not know is never written by anybody but its user;
//! - bytes outside the units that a patch names stay as they are, in the file and in the shadow alike;
//! - a patch that was refused is not tried again by itself before its file or the log of its file has changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_engine::peer::{
    body::{PatchBody, VersionId},
    units::{Loose, Obstacle, PLACEMENT, Plan, Relation, Standpoint, says_no_more},
};
use aura_proto::{PeerId, RepoPath};
use aura_semantic::{ContentHash, FilePatch, Indexed, Landing, Op, Refusal, UnitId};
use aura_tree::{Expect, WriteRefusal};
use aura_trust::KeyRing;

use super::{
    Desk, RETRY_MS, batch,
    claim::Meant,
    pass::{Due, Pass},
};

/// What became of one waiting patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Written.
    Applied,
    /// Written but for what stands in the way of the rest: why.
    Partly(String),
    /// The working copy had it already.
    Known,
    /// It would be written.
    WouldApply,
    /// It stays: why.
    Waiting(String),
}

/// The hashes of a file's shadow and of the file, as far as it can be read.
type Hashes = (Option<ContentHash>, Result<Option<ContentHash>, String>);

/// What the outcome of a waiting patch was found for; while it stays, so does the outcome.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    hashes: Hashes,
    /// For each touched unit how the patch stands to the version here.
    units: Vec<Relation>,
    /// Whether the team has deleted the file, and whether others worked in it meanwhile.
    deleted: [bool; 2],
}

/// A file as it is while one waiting patch after the other is looked at.
pub(super) struct Here {
    path: RepoPath,
    shadow: Option<Indexed>,
    disk: Result<Option<Vec<u8>>, String>,
    /// When the file was last changed, in nanoseconds since 1970.
    changed_ns: i128,
    contents: BTreeMap<UnitId, ContentHash>,
    standpoints: BTreeMap<UnitId, Standpoint>,
    hashes: Hashes,
}

impl Here {
    /// What the file says, nothing where there is none; or why that is not known.
    fn text(&self) -> Result<Option<&[u8]>, String> {
        self.disk
            .as_ref()
            .map(Option::as_deref)
            .map_err(Clone::clone)
    }

    /// Whether it has edits that the team does not know and that were saved just now.
    fn is_in_work(&self, wall_ms: u64) -> bool {
        let (shadow, disk) = &self.hashes;
        let age_ns = i128::from(wall_ms) * 1_000_000 - self.changed_ns;
        disk.as_ref() != Ok(shadow) && (0..QUIET_NS).contains(&age_ns)
    }
}

/// One touched unit of a recorded patch: unit, name, version, number.
type Row = (UnitId, Arc<str>, VersionId, usize);

/// A patch carried out in memory.
struct Written {
    expect: Expect,
    file: Option<Indexed>,
    shadow: Option<Indexed>,
}

impl Written {
    /// Whether it differs from the shadow and the file that were there.
    fn changes(&self, shadow: Option<&Indexed>, disk: Option<&[u8]>) -> bool {
        fn bytes(file: Option<&Indexed>) -> Option<&[u8]> {
            file.map(|file| &file.bytes[..])
        }
        bytes(self.file.as_ref()) != disk || bytes(self.shadow.as_ref()) != bytes(shadow)
    }
}

/// Which waiting patches to take.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) symbols: Vec<String>,
    pub(crate) from: Option<PeerId>,
    pub(crate) files: Option<Meant>,
    pub(crate) is_dry_run: bool,
    /// Whether nobody waits: a file whose editor is at it is left alone until it is quiet.
    pub(crate) is_patient: bool,
}

/// A file that was saved less than this ago is about to be saved again, in nanoseconds.
const QUIET_NS: i128 = 20_000_000;
/// When a file that was being saved is looked at again, in milliseconds.
pub(super) const MOVED_RETRY_MS: u64 = 200;

impl Desk {
    /// Takes waiting patches in order, again and again until nothing moves.
    pub(crate) fn take_waiting(
        &mut self,
        wanted: &Wanted,
        ring: &KeyRing,
    ) -> BTreeMap<usize, Taken> {
        if !wanted.is_dry_run && self.git_moves() {
            return self.waits_for_git(wanted);
        }
        let mut taken = BTreeMap::new();
        // Whoever waits gets an answer for every patch, so nothing is passed over.
        let due = match wanted.is_patient {
            true => std::mem::replace(&mut self.due, Due::Files(BTreeSet::new())),
            false => Due::All,
        };
        let mut here = None;
        let mut passes: BTreeMap<Arc<str>, Pass> = BTreeMap::new();
        let mut written = BTreeSet::new();
        loop {
            let mut moves = false;
            for index in self.waiting.clone() {
                let path = Arc::clone(&self.units.recorded()[index].path);
                let lsn = self.units.recorded()[index].origin.lsn;
                let is_left = wanted.is_patient && self.loose.is_dropped(lsn);
                // Two that undo each other do not go round in a circle.
                if written.contains(&index)
                    || is_left
                    || !due.has(&path)
                    || !self.is_wanted(index, wanted)
                {
                    continue;
                }
                let pass = passes.entry(path).or_default();
                if pass.is_moved {
                    continue;
                }
                let outcome = self.take(index, wanted, &mut here, ring);
                pass.note(index, &outcome);
                if matches!(outcome, Taken::Applied | Taken::Known | Taken::Partly(_)) {
                    moves = true;
                    self.tried.remove(&index);
                    self.loose.taken(lsn);
                }
                if outcome == Taken::Applied {
                    written.insert(index);
                }
                if matches!(outcome, Taken::Applied | Taken::Known) {
                    self.waiting.remove(&index);
                    self.settled_texts(index);
                }
                // What stood in its way may have been settled by a patch that came after it.
                match outcome {
                    Taken::Known => taken.remove(&index),
                    Taken::Partly(why) => taken.insert(index, Taken::Waiting(why)),
                    outcome => taken.insert(index, outcome),
                };
            }
            if !moves {
                break;
            }
        }
        self.loose.save();
        if !wanted.is_dry_run {
            self.after_taking(&passes, ring);
        }
        if wanted.is_patient && !wanted.is_dry_run {
            self.doubt_what_waits(&taken);
        }
        taken
    }

    fn waits_for_git(&self, wanted: &Wanted) -> BTreeMap<usize, Taken> {
        let waiting = self.waiting.iter().copied();
        let wanted = waiting.filter(|index| self.is_wanted(*index, wanted));
        let stays = Taken::Waiting("MOVED: git moves files here".to_owned());
        wanted.map(|index| (index, stays.clone())).collect()
    }

    /// What follows from what became of the waiting patches of these files.
    fn after_taking(&mut self, passes: &BTreeMap<Arc<str>, Pass>, ring: &KeyRing) {
        for (path, pass) in passes {
            if let Some(taken) = pass.taken {
                self.weigh_text(path, taken, pass.is_written, ring);
            }
        }
        self.impacts.save();
        if passes.values().any(|pass| pass.is_moved) {
            self.retry_in(MOVED_RETRY_MS);
        }
        let again = passes.iter().filter(|(_, pass)| pass.is_due);
        again.for_each(|(path, _)| self.due.add(path));
    }

    /// What these files had of the team and git took out of them waits, until its user pulls it.
    pub(super) fn drop_by_git(&mut self, paths: &BTreeSet<RepoPath>) {
        if paths.is_empty() {
            return;
        }
        let recorded = self.units.recorded();
        // What never was in the files waits as before; what the user wrote is where the user put it.
        let was_here = |index: &usize| {
            let recorded = &recorded[*index];
            *recorded.channel == *self.units.channel()
                && recorded.origin.writer.peer != self.key_peer
                && !self.waiting.contains(index)
        };
        let mut by_path: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for index in (0..recorded.len()).filter(was_here) {
            by_path
                .entry(&recorded[index].path)
                .or_default()
                .push(index);
        }
        let known: Vec<(RepoPath, Vec<usize>)> = paths
            .iter()
            .filter_map(|path| Some((path.clone(), by_path.remove(path.as_str())?)))
            .collect();
        for (path, patches) in known {
            let Some(mut here) = self.look_at(path) else {
                continue;
            };
            for index in patches {
                let standing = self.standing(index, &mut here);
                if standing.units.contains(&Relation::Forward) {
                    self.waiting.insert(index);
                    self.loose.dropped(self.units.recorded()[index].origin.lsn);
                }
            }
        }
        self.loose.save();
    }

    /// What was done to units that were not here waits again, as a file that came as one piece has brought them back.
    pub(super) fn wait_again(&mut self, path: &RepoPath) {
        let Some(mut here) = self.look_at(path.clone()) else {
            return;
        };
        for index in self.units.patches_of(path.as_str()) {
            let standing = self.standing(index, &mut here);
            let recorded = &self.units.recorded()[index];
            let mut rows = recorded.touched.iter().zip(&standing.units);
            if rows.any(|(row, relation)| recorded.is_unit(row) && *relation == Relation::Forward) {
                self.waiting.insert(index);
            }
        }
    }

    /// Patches that the working copy does not have yet, without those that others made superfluous.
    pub(crate) fn incoming(&mut self, ring: &KeyRing) -> BTreeMap<usize, Taken> {
        self.take_waiting(
            &Wanted {
                is_dry_run: true,
                ..Wanted::default()
            },
            ring,
        )
    }

    fn is_wanted(&self, index: usize, wanted: &Wanted) -> bool {
        let Some(recorded) = self.units.recorded().get(index) else {
            return false;
        };
        let on_channel = *recorded.channel == *self.units.channel();
        let from = wanted
            .from
            .is_none_or(|from| recorded.origin.writer.peer == from);
        let is_meant = |files: &Meant| files.has(&recorded.path);
        let file = wanted.files.as_ref().is_none_or(is_meant);
        let symbol = wanted.symbols.is_empty()
            || recorded.touched.iter().any(|(_, name, ..)| {
                wanted
                    .symbols
                    .iter()
                    .any(|symbol| names(&recorded.path, name, symbol))
            });
        on_channel && from && file && symbol
    }

    pub(super) fn take(
        &mut self,
        index: usize,
        wanted: &Wanted,
        here: &mut Option<Here>,
        ring: &KeyRing,
    ) -> Taken {
        let Ok(path) = RepoPath::try_from(&*self.units.recorded()[index].path) else {
            return Taken::Waiting("PATH: its path is not allowed here".to_owned());
        };
        if here.as_ref().is_none_or(|here| here.path != path) {
            *here = self.look_at(path);
        }
        let Some(found) = here else {
            return Taken::Waiting("its file cannot be read".to_owned());
        };
        if wanted.is_patient && found.is_in_work(self.clock.wall_ms()) {
            return Taken::Waiting("MOVED: it is being edited".to_owned());
        }
        let standing = self.standing(index, found);
        if let Some(known) = self.blocked(index, &standing) {
            return known;
        }
        if let Some((before, taken)) = self.tried.get(&index)
            && *before == standing
            && (wanted.is_dry_run || matches!(taken, Taken::Waiting(_)))
        {
            return taken.clone();
        }
        let Some(body) = self.body_of(index, ring) else {
            return Taken::Waiting("its body cannot be read".to_owned());
        };
        let plan = match self.planned(index, &body, found, ring) {
            Ok(plan) => plan,
            Err(taken) => return taken,
        };
        let shadow = found.shadow.as_ref();
        let disk = match found.text() {
            Ok(disk) => disk,
            Err(why) => return Taken::Waiting(why),
        };
        let written = self.prepare(index, &found.path, (shadow, disk), &plan);
        // A file may have come here on another way, and what was written between its units gone on since.
        if written.is_err() && !plan.is_seen && self.has_units(index, &standing) {
            return Taken::Known;
        }
        if matches!(&written, Ok(written) if !written.changes(shadow, disk)) {
            return self.does_nothing(index, plan.stands.as_ref(), wanted);
        }
        let taken = match &written {
            Ok(_) => Taken::WouldApply,
            Err(why) => Taken::Waiting(why.clone()),
        };
        self.tried.insert(index, (standing, taken.clone()));
        if let (Ok(written), false) = (&written, wanted.is_dry_run)
            && let Some(found) = here.take()
        {
            let taken = self.write(index, &found, &plan.patch, written);
            if taken == Taken::Applied {
                let here = written.shadow.as_ref().map(Indexed::hash);
                self.doubts.landed = Some((index, is_result(&body, here)));
            }
            return match (taken, plan.stands) {
                (Taken::Applied, Some(stands)) => self.partly(index, &stands),
                (taken, _) => taken,
            };
        }
        taken
    }

    /// A patch is here but for what stands in the way of the rest.
    fn partly(&self, index: usize, stands: &Obstacle) -> Taken {
        match self.obstructed(index, stands.unit, &stands.name) {
            Taken::Waiting(why) => Taken::Partly(why),
            taken => taken,
        }
    }

    /// Whether the working copy does not have what a patch does between units.
    pub(super) fn lacks(&self, index: usize) -> bool {
        self.waiting.contains(&index) && self.is_loose(index)
    }

    /// What is to be carried out, or what becomes of the patch without that.
    fn planned(
        &self,
        index: usize,
        body: &PatchBody,
        here: &Here,
        ring: &KeyRing,
    ) -> Result<Plan, Taken> {
        let plan = match self.plan(index, body, here, ring) {
            Ok(plan) => plan,
            Err(obstacle) => {
                return Err(self.obstructed(index, obstacle.unit, &obstacle.name));
            }
        };
        match plan {
            None if self.is_emptied(body, here) => Ok(Plan {
                older: BTreeSet::from([UnitId::file(&body.patch.path)]),
                patch: body.patch.clone(),
                stands: None,
                is_seen: false,
            }),
            None => Err(Taken::Known),
            Some(plan) if self.is_of_nothing(&plan, here) => Err(Taken::Known),
            Some(plan) if self.is_of_orphans(&plan, here) => Err(Taken::Waiting(format!(
                "CONFLICT: {} was deleted while others worked in it",
                here.path
            ))),
            Some(plan) => {
                let is_gone = |unit| self.is_gone(here, unit);
                Ok(plan.of_all_that_is_left(here.shadow.as_ref(), &is_gone))
            }
        }
    }

    /// Whether nothing is left of a file that a patch deletes but what it knew between its units.
    fn is_emptied(&self, body: &PatchBody, here: &Here) -> bool {
        let path = here.path.as_str();
        let says_no_more = |shadow: &Indexed| says_no_more(shadow, &body.patch);
        here.shadow.as_ref().is_some_and(says_no_more)
            && self.units.is_file_deleted(path)
            && !self.units.is_orphaned(path)
    }

    /// Whether a patch has nothing left but moves and text between the units of a file that the team has deleted.
    fn is_of_nothing(&self, plan: &Plan, here: &Here) -> bool {
        let is_loose = |op: &Op| matches!(op, Op::Gap { .. } | Op::Move { .. });
        let path = here.path.as_str();
        here.shadow.is_none()
            && plan.patch.ops.iter().all(is_loose)
            && self.units.is_file_deleted(path)
            && !self.units.is_orphaned(path)
    }

    /// Whether somebody must decide first what becomes of a deleted file in which others did something.
    fn is_of_orphans(&self, plan: &Plan, here: &Here) -> bool {
        let is_deletion = plan.patch.deletes_file();
        self.units.is_orphaned(here.path.as_str()) && (here.shadow.is_none() || is_deletion)
    }

    /// Whether the team has deleted a unit that is here in a version before that.
    fn is_gone(&self, here: &Here, unit: UnitId) -> bool {
        let path = here.path.as_str();
        let content = here.contents.get(&unit).copied();
        let mut standpoint = self.units.standpoint(path, unit, content);
        let heads = self.units.heads(path, unit);
        !heads.is_empty()
            && heads.iter().all(|head| {
                self.units.content(path, unit, *head) == Some(None)
                    && self.units.relation_to(&mut standpoint, *head) == Relation::Forward
            })
    }

    /// What became of a patch that would change nothing: a move of a function that an earlier patch brings does
    /// nothing yet, nor what stands in the way.
    fn does_nothing(&self, index: usize, stands: Option<&Obstacle>, wanted: &Wanted) -> Taken {
        if let Some(stands) = stands {
            return match !wanted.is_dry_run && self.is_loose(index) {
                true => self.partly(index, stands),
                false => self.obstructed(index, stands.unit, &stands.name),
            };
        }
        // A file as one piece is here with all that is in it.
        let is_whole = self.units.recorded()[index].is_whole();
        match !is_whole && self.waits_behind(index) {
            true if wanted.is_dry_run => Taken::WouldApply,
            true => Taken::Waiting("BASE_MISMATCH: an earlier change of the file waits".into()),
            false => Taken::Known,
        }
    }

    /// What is to be carried out of a patch on the shadow of its file.
    fn plan(
        &self,
        index: usize,
        body: &PatchBody,
        here: &Here,
        ring: &KeyRing,
    ) -> Result<Option<Plan>, Obstacle> {
        let content = |unit: UnitId| here.contents.get(&unit).copied();
        let shows = |recorded: usize| {
            let shown = here.shadow.as_ref().zip(self.body_of(recorded, ring));
            shown.is_some_and(|(shadow, body)| aura_semantic::holds(shadow, &body.patch))
        };
        let loose = Loose {
            waits: self.is_loose(index),
            shows: &shows,
        };
        self.units.plan(index, body, &content, loose)
    }

    /// None where git cannot be asked what the team has.
    fn look_at(&mut self, path: RepoPath) -> Option<Here> {
        let shadow = self.shadow(&path).ok()?;
        let mut changed_ns = 0;
        let disk = match self.copy.root().read_file(&path) {
            Ok(file) => {
                changed_ns = file.meta.ctime_ns;
                Ok(Some(file.bytes))
            }
            Err(aura_tree::ReadError::Missing) => Ok(None),
            Err(error) => Err(format!("UNSAFE_TARGET: {}", crate::chain(&error))),
        };
        let hash = |disk: &Option<Vec<u8>>| disk.as_deref().map(ContentHash::of);
        Some(Here {
            path,
            contents: Self::contents(shadow.as_ref()),
            standpoints: BTreeMap::new(),
            hashes: (
                shadow.as_ref().map(Indexed::hash),
                disk.as_ref().map(hash).map_err(Clone::clone),
            ),
            shadow,
            disk,
            changed_ns,
        })
    }

    /// The outcome that needs no look at the body: all of it is here, or a unit stands in its way.
    fn blocked(&self, index: usize, standing: &Standing) -> Option<Taken> {
        let recorded = &self.units.recorded()[index];
        let file = UnitId::file(&recorded.path);
        let mut rows = recorded.touched.iter().zip(&standing.units);
        let is_known = |relation: &Relation| *relation == Relation::Known;
        if standing.units.iter().all(is_known) && !self.is_loose(index) {
            return Some(Taken::Known);
        }
        // Whoever made it has seen what is here.
        if self.units.replaces(index, standing.hashes.0) {
            return None;
        }
        let stands = |((unit, ..), relation): &(&Row, &Relation)| {
            **relation == Relation::Concurrent && *unit != file
        };
        let is_open = |(row, relation): (&Row, &Relation)| {
            recorded.is_unit(row) && *relation == Relation::Forward
        };
        let mut units = recorded.touched.iter().zip(&standing.units);
        // What does not stand in the way is carried out.
        if !recorded.is_whole() && (self.is_loose(index) || units.any(is_open)) {
            return None;
        }
        let ((unit, name, ..), _) = rows.find(stands)?;
        Some(self.obstructed(index, *unit, name))
    }

    /// Whether a patch of a file as one piece tells of units, and all of them are here.
    fn has_units(&self, index: usize, standing: &Standing) -> bool {
        let recorded = &self.units.recorded()[index];
        let file = UnitId::file(&recorded.path);
        let rows = recorded.touched.iter().zip(&standing.units);
        let mut units = rows.filter(|(row, _)| row.0 != file).peekable();
        let is_known = |(_, relation): (&Row, &Relation)| *relation == Relation::Known;
        recorded.is_whole() && units.peek().is_some() && units.all(is_known)
    }

    /// Whether an earlier patch of the same file waits.
    pub(super) fn waits_behind(&self, index: usize) -> bool {
        let path = &self.units.recorded()[index].path;
        let first = self.waiting_in(path).next();
        first.is_some_and(|first| first < index)
    }

    /// The patches of a file that wait to be carried out here, in the order of recording.
    pub(super) fn waiting_in<'a>(&'a self, path: &'a str) -> impl Iterator<Item = usize> + 'a {
        let recorded = self.units.recorded();
        let waiting = self.waiting.iter().copied();
        waiting.filter(move |index| {
            *recorded[*index].path == *path && *recorded[*index].channel == *self.units.channel()
        })
    }

    /// Whether the patch has moves or gaps that are still to be carried out.
    fn is_loose(&self, index: usize) -> bool {
        self.loose.waits(self.units.recorded()[index].origin.lsn)
    }

    fn obstructed(&self, index: usize, unit: UnitId, name: &str) -> Taken {
        let path = &self.units.recorded()[index].path;
        Taken::Waiting(if self.units.heads(path, unit).len() < 2 {
            format!(
                "BASE_MISMATCH: this working copy has a version of {name} that the team was not told; bring the \
                 branches together with git, or edit it here"
            )
        } else {
            format!("CONFLICT: concurrent with the version here of {name}")
        })
    }

    /// What the outcome of a waiting patch depends on.
    fn standing(&self, index: usize, here: &mut Here) -> Standing {
        let path = here.path.as_str();
        let (contents, standpoints) = (&here.contents, &mut here.standpoints);
        let relation = |(unit, _, version, number): &Row| {
            if *number == PLACEMENT {
                return Relation::Known;
            }
            let content = contents.get(unit).copied();
            let standpoint = standpoints
                .entry(*unit)
                .or_insert_with(|| self.units.standpoint(path, *unit, content));
            self.units.relation_to(standpoint, *version)
        };
        let touched = &self.units.recorded()[index].touched;
        Standing {
            hashes: here.hashes.clone(),
            units: touched.iter().map(relation).collect(),
            deleted: [
                self.units.is_file_deleted(path),
                self.units.is_orphaned(path),
            ],
        }
    }

    /// Applies a patch to file and shadow, both in memory.
    fn prepare(
        &self,
        index: usize,
        path: &RepoPath,
        (shadow, disk): (Option<&Indexed>, Option<&[u8]>),
        Plan {
            patch,
            older,
            is_seen,
            ..
        }: &Plan,
    ) -> Result<Written, String> {
        let is_newer = |unit: UnitId| self.units.is_put_after(index, unit);
        let expect = disk.map_or(Expect::Absent, |bytes| Expect::Hash(blake3::hash(bytes)));
        let is_same = disk == shadow.map(|shadow| &shadow.bytes[..]);
        let edited = disk
            .filter(|_| !is_same)
            .map(|bytes| aura_semantic::index(path.as_str(), bytes, shadow, &self.budget));
        let current = if is_same { shadow } else { edited.as_ref() };
        self.refuse_dirty(patch, shadow, current)?;
        let landing = Landing {
            older,
            is_newer: &is_newer,
            is_back: !self.units.is_file_deleted(path.as_str()),
            is_seen: *is_seen,
        };
        let (mut team, mut landed) =
            aura_semantic::land(shadow, patch, &landing).map_err(|r| explain(&r))?;
        if let (None, Some(after)) = (shadow, &mut team.after) {
            self.units.identify(after);
        }
        let file = if is_same {
            team.after.clone()
        } else {
            // What the user moved and has not told is the user's.
            let moved = match (shadow, current) {
                (Some(shadow), Some(current)) => aura_semantic::moves(shadow, current),
                _ => BTreeSet::new(),
            };
            let is_own = |op: &Op| matches!(op, Op::Move { unit, .. } if moved.contains(unit));
            landed.ops.retain(|op| !is_own(op));
            let older = &BTreeSet::new();
            let landing = Landing {
                older,
                is_seen: false,
                ..landing
            };
            let (own, _) =
                aura_semantic::land(current, &landed, &landing).map_err(|r| explain(&r))?;
            own.after
        };
        Ok(Written {
            expect,
            file,
            shadow: team.after,
        })
    }

    /// Replaces the file; nothing is written on any refusal.
    fn write(&mut self, index: usize, here: &Here, patch: &FilePatch, written: &Written) -> Taken {
        let (path, shadow) = (&here.path, &here.shadow);
        let bytes = written.file.as_ref().map(|file| &file.bytes[..]);
        let row = self.pulls.now.is_some().then(|| batch::Row {
            path: path.clone(),
            before: self.copy.root().read_file(path).ok().map(|file| file.bytes),
            after: bytes.map(<[u8]>::to_vec),
            shadow: self.shadows.kept(path),
        });
        let replaced = self
            .copy
            .replace(self.clock.mono_ms(), path, written.expect, bytes);
        if matches!(replaced, Err(WriteRefusal::NoSpace)) {
            self.retry_in(RETRY_MS);
        }
        if let (Ok(_), Ok(Some(before))) = (&replaced, here.text()) {
            self.written_over(path, before);
        }
        let replaced = replaced.map_err(|refusal| explain_write(&refusal));
        let kept = replaced.and_then(|_| {
            let is_whole = self.units.recorded()[index].is_whole();
            self.shadows
                .set_told(path, written.shadow.as_ref(), is_whole)
                .map_err(|failure| failure.message)
        });
        self.count_units(path, written.file.as_ref());
        if let Err(why) = kept {
            return Taken::Waiting(why);
        }
        if let (Some(batch), Some(row)) = (&mut self.pulls.now, row) {
            batch.note(row);
        }
        if self.units.recorded()[index].is_whole() {
            self.wait_again(path);
        }
        if self.units.recorded()[index].origin.writer.peer != self.key_peer {
            self.lately
                .note(path, shadow.as_ref(), written.shadow.as_ref());
        }
        let symbol = patch.touched.first().map(|row| row.name.clone());
        self.notice("applied", symbol.clone(), symbol.unwrap_or_default());
        Taken::Applied
    }

    /// Refuses to touch units that the user has edited since the shadow was taken.
    pub(super) fn refuse_dirty(
        &self,
        patch: &FilePatch,
        shadow: Option<&Indexed>,
        current: Option<&Indexed>,
    ) -> Result<(), String> {
        let (known, here) = (Self::contents(shadow), Self::contents(current));
        let file = UnitId::file(&patch.path);
        for row in patch.touched.iter().filter(|row| row.unit != file) {
            if known.get(&row.unit) != here.get(&row.unit)
                && here.get(&row.unit) != row.after.as_ref()
            {
                return Err(format!(
                    "CONFLICT: you have unpublished edits in {}",
                    row.name
                ));
            }
        }
        Ok(())
    }
}

/// Whether a file is what it was behind a patch where that was made, as far as the patch says.
pub(super) fn is_result(body: &PatchBody, here: Option<ContentHash>) -> bool {
    let result = body.patch.result;
    result == here || result.is_none() && !body.patch.deletes_file()
}

/// Whether `symbol`, as typed, means the unit `name` of `path`.
pub(crate) fn names(path: &str, name: &str, symbol: &str) -> bool {
    let full = format!("{path}::{name}");
    symbol == name
        || symbol == full
        || name.ends_with(&format!("::{symbol}"))
        || full.ends_with(&format!("/{symbol}"))
        || symbol == path
}

fn explain(refusal: &Refusal) -> String {
    format!("{}: {refusal}", refusal_id(refusal))
}

pub(super) fn refusal_id(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Ambiguous { .. } => "AMBIGUOUS",
        Refusal::BaseMismatch { .. } => "BASE_MISMATCH",
        Refusal::Conflict(_) => "CONFLICT",
        Refusal::NameChanged { .. } => "NAME_CHANGED",
        Refusal::NotOneFunction { .. } => "NOT_ONE_FUNCTION",
        Refusal::ParseBudget => "PARSE_BUDGET",
        Refusal::TooDeep => "TOO_DEEP",
        Refusal::TooLarge => "TOO_LARGE",
        Refusal::Unsupported { .. } => "UNSUPPORTED",
        Refusal::WouldNotParse { .. } => "WOULD_NOT_PARSE",
    }
}

pub(super) fn explain_write(refusal: &WriteRefusal) -> String {
    let id = match refusal {
        WriteRefusal::Moved => "MOVED",
        WriteRefusal::NoSpace => "NO_SPACE",
        WriteRefusal::UnsafeTarget { .. } => "UNSAFE_TARGET",
        _ => "STORAGE",
    };
    format!("{id}: {}", crate::chain(refusal))
}
