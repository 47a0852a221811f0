//! What others did to a file while somebody deleted it as one piece: neither side knew of the other, so it is a
//! conflict of the file.
//!
//! A unit that the deletion knew has a version that says so, and excludes what others made of it as any deletion does.
//! What the deletion did not know, it cannot say anything of: units that were added, and text between units.
//!
//! Invariants:
//! - what is in conflict is a function of the patches recorded, so every device finds it under the same name;
//! - whoever deletes a file names the changes between its units that it knows, so they are no conflict.

use std::{collections::BTreeSet, sync::Arc};

use aura_semantic::{ContentHash, FilePatch, Indexed, Unit, UnitId};

use super::{
    super::body::{PARENTS_MAX, VersionId},
    Units,
    file::File,
    forks::{Fork, conflict_id},
};

/// A file that was deleted as one piece, and what its deletion does not know.
#[derive(Debug, Clone)]
pub(super) struct Deleted {
    /// Every patch that deletes it in a version that is a head, with this version, as they were placed: who deleted it
    /// apart from each other agree.
    pub(super) by: Vec<(usize, VersionId)>,
    /// Units, each in a version that is a head.
    pub(super) births: Vec<(UnitId, VersionId)>,
    /// Patches that change what stands between units, each with its version of the file.
    pub(super) between: Vec<(usize, VersionId)>,
}

/// A deleted file in which others did something.
#[derive(Debug, Clone)]
pub(super) struct Orphans {
    pub(super) file: Deleted,
    /// The patch that did so and was placed last, and its version.
    pub(super) newest: (usize, VersionId),
}

impl Orphans {
    /// The versions of the file that whoever settles this follows, in rising order.
    pub(super) fn heads(&self) -> Vec<VersionId> {
        let between = self.file.between.iter().map(|(_, version)| *version);
        let heads: BTreeSet<VersionId> =
            between.chain(self.file.by.iter().map(|by| by.1)).collect();
        heads.into_iter().collect()
    }

    /// The name of the conflict.
    pub(super) fn id(&self, path: &str) -> String {
        let born = self.file.births.iter().map(|(_, version)| *version);
        let all: BTreeSet<VersionId> = self.heads().into_iter().chain(born).collect();
        conflict_id(UnitId::file(path), &all.into_iter().collect::<Vec<_>>())
    }
}

impl Units {
    /// Gives the units of a freshly indexed file the ids that the log uses.
    pub fn identify(&self, indexed: &mut Indexed) {
        let path = &*indexed.path;
        let rows = indexed.ids.iter().zip(&indexed.outline.units);
        let named = rows.map(|(id, unit)| self.named(path, *id, unit));
        let named: Vec<Option<UnitId>> = named.collect();
        let own = indexed.ids.iter().zip(&named);
        let own = own.filter(|(_, named)| named.is_none());
        let mut taken: BTreeSet<UnitId> = own.map(|(id, _)| *id).collect();
        for (id, known) in indexed.ids.iter_mut().zip(named) {
            if let Some(known) = known
                && taken.insert(known)
            {
                *id = known;
            }
        }
    }

    /// The unit that a log means by the name that a unit has here, where that is not the one that was born with its id.
    ///
    /// A name can be that of several units, at once or one after the other: their texts tell which, and of equal texts
    /// one that began under the name is another than one that the log does not speak of.
    fn named(&self, path: &str, id: UnitId, unit: &Unit) -> Option<UnitId> {
        let file = self.files.get(path)?;
        let has_it = |id: &UnitId| self.has_version(path, *id, unit.own_hash);
        if has_it(&id) {
            return None;
        }
        let began_so = |known: &UnitId| {
            let inserted = file.inserted.get(known).into_iter().flatten();
            let mut rows = inserted.flat_map(|index| &self.recorded[*index].touched);
            rows.any(|row| row.0 == *known && *row.1 == *unit.qualified)
        };
        let is_unspoken = file.count(id) == 0;
        let called = file.names.get(&*unit.qualified)?.iter().rev().copied();
        let mut called = called.filter(|known| !(is_unspoken && began_so(known)));
        called.find(has_it)
    }

    /// Whether the log speaks of a unit with a content, as one of its own versions or as what it was born with.
    fn has_version(&self, path: &str, unit: UnitId, content: ContentHash) -> bool {
        let file = self.files.get(path);
        file.is_some_and(|file| {
            let birth = VersionId::birth(unit, content);
            file.graph.get(unit, birth).is_some() || file.working(unit, Some(content)).is_some()
        })
    }

    /// Whether a recorded patch deletes its file as one piece.
    fn deletes_file(&self, index: usize) -> bool {
        let recorded = &self.recorded[index];
        let file = UnitId::file(&recorded.path);
        let mut rows = recorded.touched.iter().filter(|row| row.0 == file);
        recorded.is_whole && rows.any(|row| self.is_deleted(&recorded.path, file, row.2))
    }

    /// Whether a unit of a deleted file in which others did something is a conflict by itself: it was deleted by
    /// another patch than those that delete the file, too, or changed by several apart from each other.
    pub fn is_apart(&self, path: &str, unit: UnitId) -> bool {
        let Some(file) = self.files.get(path) else {
            return false;
        };
        let heads = file.heads(unit);
        let is_gone = |head: &&VersionId| self.is_deleted(path, unit, **head);
        let lives = heads.iter().filter(|head| !is_gone(head)).count();
        let told = heads.iter().filter(is_gone);
        let mut told = told.flat_map(|head| file.told(unit, *head));
        let follows = |parent: &VersionId| {
            let lives = heads.iter().filter(|head| !is_gone(head));
            let mut lives = lives.map(|head| file.graph.is_ancestor(unit, *parent, *head));
            lives.all(|follows| follows)
        };
        let mut before = heads
            .iter()
            .filter(is_gone)
            .flat_map(|head| self.parents(path, unit, *head));
        1 < lives
            || 0 < lives
                && (told.any(|told| !self.deletes_file(told.recorded))
                    || before.any(|parent| !follows(parent)))
    }

    /// Whether a file was deleted while others did something in it that the deletion does not know.
    pub fn is_orphaned(&self, path: &str) -> bool {
        self.orphaned.contains(path)
    }

    /// The versions of a file that a deletion of it follows besides its heads: what was changed between its units,
    /// but for patches that `lacks` tells not to be here.
    // spec: patch/3.13
    fn told_between(&self, path: &str, lacks: &dyn Fn(usize) -> bool) -> Vec<VersionId> {
        let Some(file) = self.files.get(path) else {
            return Vec::new();
        };
        let unit = UnitId::file(path);
        let heads = file.heads(unit);
        let is_followed = |version: VersionId| {
            let mut heads = heads.iter();
            heads.any(|head| *head == version || file.graph.is_ancestor(unit, version, *head))
        };
        let told = file.between.iter().rev().copied();
        let told = told.filter(|index| self.recorded[*index].channel == self.channel);
        let told = told.filter(|index| !lacks(*index));
        let versions = told.filter_map(|index| self.version_between(index));
        let news = versions.filter(|version| !is_followed(*version));
        news.take(PARENTS_MAX - heads.len().min(PARENTS_MAX))
            .collect()
    }

    /// The versions that a patch follows, with all that a deletion of a file as one piece knows of it.
    pub fn with_told_between(
        &self,
        patch: &FilePatch,
        mut parents: Vec<Vec<VersionId>>,
        lacks: &dyn Fn(usize) -> bool,
    ) -> Vec<Vec<VersionId>> {
        let whole = UnitId::file(&patch.path);
        let is_deletion = patch.deletes_file();
        let mut rows = patch.touched.iter().zip(&mut parents);
        if let Some((_, parents)) = rows.find(|(row, _)| is_deletion && row.unit == whole) {
            let told = self.told_between(&patch.path, lacks);
            let known: BTreeSet<VersionId> = parents.iter().copied().chain(told).collect();
            *parents = known.into_iter().take(PARENTS_MAX).collect();
        }
        parents
    }

    /// The version of the file that a patch of what stands between units makes.
    fn version_between(&self, index: usize) -> Option<VersionId> {
        let recorded = &self.recorded[index];
        let file = UnitId::file(&recorded.path);
        let mut rows = recorded.touched.iter();
        rows.find(|row| row.0 == file).map(|row| row.2)
    }

    /// Notes the units of a file whose container was deleted by somebody who did not know them.
    // spec: patch/3.16
    pub(super) fn note_strays(&mut self, path: &Arc<str>) {
        let Some(file) = self.files.get(path) else {
            return;
        };
        let heads = file.all_heads().filter(|(_, heads)| heads.len() == 1);
        let strays = heads.filter(|(unit, _)| self.stray(file, path, *unit).is_some());
        let strays: BTreeSet<UnitId> = strays.map(|(unit, _)| unit).collect();
        self.strays.retain(|(known, _)| known != path);
        let strays = strays.into_iter().map(|unit| (Arc::clone(path), unit));
        self.strays.extend(strays);
    }

    /// The head of a unit that lives, and the deletion of its container, both with the patch that told of them.
    fn stray(&self, file: &File, path: &str, unit: UnitId) -> Option<[(usize, VersionId); 2]> {
        let [head] = file.heads(unit) else {
            return None;
        };
        if unit == UnitId::file(path) || self.is_deleted(path, unit, *head) {
            return None;
        }
        let told = self.first_told(file, unit, *head)?;
        let moved = file.moved.get(&unit).into_iter().flatten().copied();
        let moved = moved.filter(|index| self.recorded[*index].channel == self.channel);
        let newest = moved
            .chain([told.recorded])
            .max_by_key(|index| self.place(*index))?;
        let mut rows = self.recorded[newest].touched.iter();
        let name = &rows.find(|row| row.0 == unit)?.1;
        let container = self.deleted_container(path, name)?;
        let gone = *file.heads(container).first()?;
        let by = self.first_told(file, container, gone)?.recorded;
        (!self.deletes_file(by)).then_some([(told.recorded, *head), (by, gone)])
    }

    /// The container that a qualified name tells, if the team has deleted it.
    pub fn deleted_container(&self, path: &str, name: &str) -> Option<UnitId> {
        let (above, _) = name.rsplit_once("::")?;
        let file = self.files.get(path)?;
        let called = file.names.get(above)?;
        let is_gone = |unit: &UnitId| {
            let heads = file.heads(*unit);
            !heads.is_empty() && heads.iter().all(|head| self.is_deleted(path, *unit, *head))
        };
        let mut held = called
            .iter()
            .rev()
            .filter(|unit| file.containers.contains(unit));
        held.next().copied().filter(|_| called.iter().all(is_gone))
    }

    /// The conflict of a unit with the deletion of its container.
    pub(super) fn stray_fork<'a>(&'a self, path: &'a Arc<str>, unit: UnitId) -> Option<Fork<'a>> {
        let file = self.files.get(path)?;
        let mut sides = self.stray(file, path, unit)?.to_vec();
        let told = sides[0];
        let mut rows = self.recorded[told.0].touched.iter();
        let name = &rows.find(|row| row.0 == unit)?.1;
        sides.sort_by_key(|(index, _)| self.place(*index));
        let heads: BTreeSet<VersionId> = sides.iter().map(|side| side.1).collect();
        Some(Fork {
            unit,
            path,
            file,
            name,
            first: sides[0],
            second: sides[1],
            sides,
            heads: heads.into_iter().collect(),
            orphans: None,
        })
    }

    /// Notes whether a file is one in which others did something while it was deleted.
    pub(super) fn note_orphans(&mut self, path: &Arc<str>) {
        if self.has_orphans(path) {
            self.orphaned.insert(Arc::clone(path));
        } else if !self.orphaned.is_empty() {
            self.orphaned.remove(path);
        }
    }

    /// Whether others did something in a deleted file meanwhile.
    fn has_orphans(&self, path: &str) -> bool {
        let file = self.files.get(path).filter(|_| self.is_file_deleted(path));
        file.is_some_and(|file| {
            let (births, between) = (self.births(file, path), self.unknown_between(file, path));
            births
                .map(|_| ())
                .chain(between.map(|_| ()))
                .next()
                .is_some()
        })
    }

    /// The units of a deleted file that no head of theirs deletes, each with these heads.
    fn births<'a>(
        &'a self,
        file: &'a File,
        path: &'a str,
    ) -> impl Iterator<Item = (UnitId, VersionId)> + 'a {
        let lives = move |(unit, heads): &(UnitId, &[VersionId])| {
            let mut heads = heads.iter();
            *unit != UnitId::file(path) && !heads.any(|head| self.is_deleted(path, *unit, *head))
        };
        let births = file.all_heads().filter(lives);
        births.flat_map(|(unit, heads)| heads.iter().map(move |head| (unit, *head)))
    }

    /// The patches of what stands between the units of a deleted file that no head of it follows, each with its version
    /// of the file.
    fn unknown_between<'a>(
        &'a self,
        file: &'a File,
        path: &'a str,
    ) -> impl Iterator<Item = (usize, VersionId)> + 'a {
        let whole = UnitId::file(path);
        let here = file.between.iter().copied();
        let here = here.filter(|index| self.recorded[*index].channel == self.channel);
        let told = here.filter_map(|index| Some((index, self.version_between(index)?)));
        told.filter(move |(_, version)| {
            let mut heads = file.heads(whole).iter();
            !heads.any(|head| file.graph.is_ancestor(whole, *version, *head))
        })
    }

    /// What others did in a deleted file meanwhile.
    // spec: patch/3.13
    pub(super) fn orphans(&self, path: &str) -> Option<Orphans> {
        let file = self.deleted(path)?;
        let born = file.births.iter().filter_map(|(unit, head)| {
            let told = self.first_told(self.files.get(path)?, *unit, *head)?;
            Some((told.recorded, *head))
        });
        let all = born.chain(file.between.iter().copied());
        let newest = all.max_by_key(|(index, _)| self.place(*index))?;
        Some(Orphans { file, newest })
    }

    /// The deletion of a file whose every head deletes it.
    pub(super) fn deleted(&self, path: &str) -> Option<Deleted> {
        let file = self.files.get(path)?;
        let whole = UnitId::file(path);
        let heads = file.heads(whole);
        if !self.is_file_deleted(path) {
            return None;
        }
        let told = heads.iter().filter_map(|head| {
            let told = self.first_told(file, whole, *head)?;
            Some((told.recorded, *head))
        });
        let mut by: Vec<(usize, VersionId)> = told.collect();
        by.sort_by_key(|(index, _)| self.place(*index));
        (!by.is_empty()).then(|| Deleted {
            by,
            births: self.births(file, path).collect(),
            between: self.unknown_between(file, path).collect(),
        })
    }

    /// The conflict of a deleted file in which others did something.
    pub(super) fn orphaned_fork<'a>(&'a self, path: &'a Arc<str>) -> Option<Fork<'a>> {
        let orphans = self.orphans(path)?;
        let mut sides = vec![*orphans.file.by.first()?, orphans.newest];
        sides.sort_by_key(|(index, _)| self.place(*index));
        Some(Fork {
            unit: UnitId::file(path),
            path,
            file: self.files.get(path)?,
            name: path,
            first: sides[0],
            second: sides[1],
            sides,
            heads: orphans.heads(),
            orphans: Some(orphans),
        })
    }
}
