//! What became of a unit: its versions in order, what each did, and what it was at a moment.
//!
//! Invariants:
//! - it is read from the graph alone: no text is opened for it;
//! - the order is the log's, and what has no place in it yet comes last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_semantic::{FilePatch, Op, UnitId};

use super::{
    super::body::{Cause, VersionId},
    PLACEMENT, Recorded, Row, Units,
};

/// A moment of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Right behind a recorded patch, by its index.
    Behind(usize),
    /// When the log had reached this position.
    Seq(u64),
    /// By the clocks of those who wrote, milliseconds since 1970.
    Time(u64),
}

/// What a unit was at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It had not been written yet.
    Absent,
    /// It was deleted, by this version.
    Deleted(VersionId),
    /// It had this version.
    Version(VersionId),
    /// The log says nothing of it: it was as git has it.
    Unrecorded,
}

/// How the versions of a unit follow from each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Its file.
    pub path: Arc<str>,
    /// The unit.
    pub unit: UnitId,
    /// What it was called last.
    pub name: Arc<str>,
    /// How many are recorded on the branch that is looked from.
    pub versions: usize,
    /// Those that nothing follows.
    pub heads: Vec<VersionId>,
    /// Those that more than one follows.
    pub forks: Vec<VersionId>,
    /// Those that follow from more than one.
    pub merges: Vec<VersionId>,
}

impl Units {
    /// Every recorded patch that touched one unit, with the row that tells of it, oldest first.
    pub fn history(&self, path: &str, unit: UnitId) -> Vec<(usize, usize)> {
        let rows = self.recorded.iter().enumerate();
        let rows = rows.filter(|(_, recorded)| *recorded.path == *path);
        let rows = rows.flat_map(|(index, recorded)| {
            let rows = recorded.touched.iter().enumerate();
            let own = rows.filter(|(_, row)| row.0 == unit);
            own.map(move |(row, _)| (index, row))
        });
        let mut rows: Vec<(usize, usize)> = rows.collect();
        rows.sort_by_key(|(index, _)| self.place(*index));
        rows
    }

    /// The versions that a version of a unit of a file follows.
    pub fn parents(&self, path: &str, unit: UnitId, version: VersionId) -> &[VersionId] {
        let known = self
            .files
            .get(path)
            .and_then(|file| file.graph.get(unit, version));
        known.map_or(&[], |version| &version.parents)
    }

    /// The recorded patch and its row that told of a version first; none where git alone knows it.
    pub fn teller(&self, path: &str, unit: UnitId, version: VersionId) -> Option<(usize, usize)> {
        let told = self.first_told(self.files.get(path)?, unit, version)?;
        Some((told.recorded, told.row))
    }

    /// What a recorded patch did to the unit of one of its rows: `insert`, `replace`, `rename`, `move`, `delete`, or
    /// what led to it.
    pub fn deed(&self, index: usize, row: usize) -> &'static str {
        let Some(recorded) = self.recorded.get(index) else {
            return "replace";
        };
        let Some((unit, _, version, number)) = recorded.touched.get(row) else {
            return recorded.kind;
        };
        if recorded.cause != Cause::Edit
            || recorded.touched.len() == 1
            || *unit == UnitId::file(&recorded.path)
        {
            return recorded.kind;
        }
        let has_content = |version: &VersionId| {
            let content = self.content(&recorded.path, *unit, *version);
            let is_told = self.teller(&recorded.path, *unit, *version).is_some();
            // What nobody told of and is named as the version before was there.
            content.flatten().is_some() || !is_told
        };
        let parents = self.parents(&recorded.path, *unit, *version);
        match () {
            () if *number == PLACEMENT => "move",
            () if !has_content(version) => "delete",
            () if !parents.iter().any(has_content) => "insert",
            () if recorded.former_name(*unit).is_some() => "rename",
            () => "replace",
        }
    }

    /// The unit of another file whose text a unit had when it was written first: its author deleted the one and wrote
    /// the other, under the same name.
    pub fn came_from(&self, path: &str, unit: UnitId) -> Option<(Arc<str>, UnitId)> {
        let (index, row) = *self.history(path, unit).first()?;
        let (path, unit, _) = self.moved_by(index, row)?;
        Some((path, unit))
    }

    /// The same for the unit of a row of a recorded patch, where that row wrote it first; with the name that it had.
    pub fn moved_by(&self, index: usize, row: usize) -> Option<(Arc<str>, UnitId, Arc<str>)> {
        let here = self.recorded.get(index)?;
        let row = here
            .touched
            .get(row)
            .filter(|row| self.is_birth(here, row))?;
        let (unit, name, version, _) = row;
        let text = self.content(&here.path, *unit, *version).flatten()?;
        let is_before = |path: &str, unit, version| {
            let told = self.teller(path, unit, version);
            told.is_none_or(|(told, _)| self.place(told) < self.place(index))
        };
        // What came here before it was there did not come from there.
        let gone = |there: &Recorded, (unit, other, version, _): &Row| {
            let mut parents = self.parents(&there.path, *unit, *version).iter();
            simple(other) == simple(name)
                && self.content(&there.path, *unit, *version) == Some(None)
                && parents.any(|parent| {
                    let had = self.content(&there.path, *unit, *parent);
                    had == Some(Some(text)) && is_before(&there.path, *unit, *parent)
                })
        };
        let others = self.texts.carriers(text).into_iter();
        let others = others.filter(|at| self.is_moved_between(index, *at));
        let found = others.filter_map(|at| {
            let there = &self.recorded[at];
            let row = there.touched.iter().find(|row| gone(there, row))?;
            Some((at, Arc::clone(&there.path), row.0, Arc::clone(&row.1)))
        });
        let (_, path, unit, name) = found.min_by_key(|(at, ..)| at.abs_diff(index))?;
        Some((path, unit, name))
    }

    /// Whether a row of a recorded patch is the first that anybody told of its unit.
    pub(super) fn is_birth(&self, here: &Recorded, (unit, _, version, number): &Row) -> bool {
        *number == 1 && self.parents(&here.path, *unit, *version).is_empty()
    }

    /// Whether what one recorded patch takes out of its file may be what another puts into its own.
    pub(super) fn is_moved_between(&self, one: usize, other: usize) -> bool {
        let [here, there] = [one, other].map(|index| &self.recorded[index]);
        one.abs_diff(other) <= MOVE_PATCHES_MAX
            && there.path != here.path
            && there.origin.writer.peer == here.origin.writer.peer
            && there.channel == here.channel
            && there.origin.time_ms.abs_diff(here.origin.time_ms) <= MOVE_MS_MAX
    }

    /// What a unit of a file was at a moment, as this branch has it.
    pub fn at(&self, path: &str, unit: UnitId, moment: Moment) -> Then {
        self.of_rows(path, unit, &self.history(path, unit), moment)
    }

    /// What every unit that this branch speaks of was at a moment, by file, with the name that it had.
    pub fn all_at(&self, moment: Moment) -> Vec<(Arc<str>, UnitId, Arc<str>, Then)> {
        let mut known: BTreeMap<_, Vec<(usize, usize)>> = BTreeMap::new();
        let here = self.recorded.iter().enumerate();
        for (index, recorded) in here.filter(|(_, one)| one.channel == self.channel) {
            let rows = recorded.touched.iter().enumerate();
            for (row, (unit, ..)) in rows.filter(|(_, row)| recorded.is_headed(row)) {
                let rows = known.entry((&recorded.path, *unit)).or_default();
                rows.push((index, row));
            }
        }
        let all = known.into_iter().map(|((path, unit), mut rows)| {
            rows.sort_by_key(|(index, _)| self.place(*index));
            let passed = rows
                .iter()
                .rev()
                .find(|(index, _)| self.is_by(*index, moment));
            let (index, row) = passed.copied().unwrap_or(rows[0]);
            let recorded = &self.recorded[index];
            let former = recorded.former_name(unit).filter(|_| passed.is_none());
            let name = former.unwrap_or(&recorded.touched[row].1);
            let then = self.of_rows(path, unit, &rows, moment);
            (Arc::clone(path), unit, Arc::clone(name), then)
        });
        all.collect()
    }

    /// What a unit was, of which these rows tell in the order of the log.
    fn of_rows(&self, path: &str, unit: UnitId, rows: &[(usize, usize)], moment: Moment) -> Then {
        let is_version = |(index, row): &&(usize, usize)| {
            let recorded = &self.recorded[*index];
            recorded.channel == self.channel && recorded.touched[*row].3 != PLACEMENT
        };
        let mut rows = rows.iter().filter(is_version);
        let version = |(index, row): &(usize, usize)| self.recorded[*index].touched[*row].2;
        let mut latest = rows.clone().rev();
        let passed = latest.find(|(index, _)| self.is_by(*index, moment));
        if let Some(passed) = passed {
            return self.then(path, unit, version(passed));
        }
        let Some(first) = rows.next() else {
            return Then::Unrecorded;
        };
        // What it was before anybody told of it.
        match self.parents(path, unit, version(first)) {
            [] => Then::Absent,
            [parent, ..] => self.then(path, unit, *parent),
        }
    }

    fn then(&self, path: &str, unit: UnitId, version: VersionId) -> Then {
        match self.content(path, unit, version) {
            Some(Some(_)) => Then::Version(version),
            Some(None) if self.teller(path, unit, version).is_some() => Then::Deleted(version),
            Some(None) | None => Then::Unrecorded,
        }
    }

    /// The recorded patches of a file on this branch, in the order of the log.
    pub fn patches_of(&self, path: &str) -> Vec<usize> {
        let file = self.files.get(path);
        let all = file.map_or(&[][..], |file| &file.patches).iter().copied();
        let here = all.filter(|index| self.recorded[*index].channel == self.channel);
        let mut patches: Vec<usize> = here.collect();
        patches.sort_by_key(|index| self.place(*index));
        patches
    }

    /// Whether a recorded patch was there at a moment.
    pub fn is_by(&self, index: usize, moment: Moment) -> bool {
        let origin = &self.recorded[index].origin;
        match moment {
            Moment::Behind(last) => self.place(index) <= self.place(last),
            Moment::Seq(seq) => origin.seq.is_some_and(|own| own <= seq),
            Moment::Time(ms) => origin.time_ms <= ms,
        }
    }

    /// How the versions of each unit hang together on this branch, file by file.
    pub fn shapes(&self) -> Vec<Shape> {
        let mut known: BTreeMap<_, (&Arc<str>, BTreeSet<VersionId>)> = BTreeMap::new();
        let here = self.recorded.iter();
        for recorded in here.filter(|recorded| recorded.channel == self.channel) {
            let rows = recorded.touched.iter();
            for (unit, name, version, _) in rows.filter(|row| recorded.is_headed(row)) {
                let of_unit = known.entry((&recorded.path, *unit));
                let (last, versions) = of_unit.or_insert_with(|| (name, BTreeSet::new()));
                *last = name;
                versions.insert(*version);
            }
        }
        let shapes = known.into_iter().map(|((path, unit), (name, versions))| {
            let parents = |version: &VersionId| self.parents(path, unit, *version);
            let mut followed = BTreeMap::new();
            for parent in versions.iter().flat_map(parents) {
                *followed.entry(*parent).or_insert(0_usize) += 1;
            }
            let joins = |version: &&VersionId| 1 < parents(version).len();
            followed.retain(|_, count| 1 < *count);
            Shape {
                path: Arc::clone(path),
                unit,
                name: Arc::clone(name),
                heads: self.heads(path, unit),
                forks: followed.into_keys().collect(),
                merges: versions.iter().filter(joins).copied().collect(),
                versions: versions.len(),
            }
        });
        shapes.collect()
    }

    /// How many units have versions on this branch that nobody has joined or settled yet.
    pub fn forked_count(&self) -> usize {
        self.forked.len()
    }

    /// The qualified names that a patch takes from units, with those units.
    pub(super) fn renamed(&mut self, patch: &FilePatch) -> Vec<(UnitId, Arc<str>)> {
        let mut renamed = Vec::new();
        for op in &patch.ops {
            let Op::Rename { unit, from, .. } = op else {
                continue;
            };
            let row = patch.touched.iter().find(|row| row.unit == *unit);
            let above = row.and_then(|row| row.name.rsplit_once("::"));
            let name = match above {
                Some((above, _)) => self.word(&format!("{above}::{from}")),
                None => self.word(from),
            };
            renamed.push((*unit, name));
        }
        renamed
    }
}

impl Recorded {
    /// The name that a unit had before, where the patch renamed it.
    pub fn former_name(&self, unit: UnitId) -> Option<&Arc<str>> {
        let found = self.renamed.iter().find(|(renamed, _)| *renamed == unit);
        found.map(|(_, name)| name)
    }
}

/// How far apart a text may go from one file and come to another and still have been moved: an hour.
const MOVE_MS_MAX: u64 = 3_600_000;
/// How many patches may lie between the two, on either side.
const MOVE_PATCHES_MAX: usize = 1_000;

/// The last part of a qualified name.
pub(super) fn simple(name: &str) -> &str {
    name.rsplit_once("::").map_or(name, |(_, simple)| simple)
}
