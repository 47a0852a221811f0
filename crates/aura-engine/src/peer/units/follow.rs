//! What was edited while somebody took it to another file: the edit follows it there.
//!
//! Invariants:
//! - only the device that took a unit away owes this, so that it is done once;
//! - it is found from the log alone, and found again until it is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_semantic::{ContentHash, OwnText, UnitId};

use super::{super::body::VersionId, Bodies, Row, Units, forks::Fork, history::simple};

/// An edit of a unit that this device took out of a file and put into another one meanwhile.
#[derive(Debug, Clone)]
pub struct DueFollow {
    /// The name of the conflict that this settles.
    pub id: String,
    /// The file that the unit was in.
    pub path: String,
    /// The unit there, which this device deleted.
    pub unit: UnitId,
    /// Its name there.
    pub name: String,
    /// Where it is now: the file and the unit in it.
    pub to: (Arc<str>, UnitId),
    /// Its text when both began.
    pub base: OwnText,
    /// The text that the other gave it.
    pub theirs: OwnText,
}

impl Units {
    /// Edits that are to follow what this device took to other files, but for conflicts that are left to a person.
    // spec: patch/3.12
    pub fn due_follows(&self, bodies: Bodies<'_>, left: &BTreeSet<String>) -> Vec<DueFollow> {
        let open = self.forks();
        let due = open.filter_map(|fork| self.due_follow(&fork, bodies, left));
        due.collect()
    }

    fn due_follow(
        &self,
        fork: &Fork<'_>,
        bodies: Bodies<'_>,
        left: &BTreeSet<String>,
    ) -> Option<DueFollow> {
        let id = fork.id();
        if left.contains(&id) || fork.orphans.is_some() {
            return None;
        }
        let is_gone = |side: &&(usize, VersionId)| fork.content(side.1).is_none();
        let mut edits = fork.sides.iter().filter(|side| !is_gone(side));
        let (Some(edited), None) = (edits.next(), edits.next()) else {
            return None;
        };
        // Of those who took it away, the first who put it elsewhere.
        let heads = fork.sides.iter().filter(is_gone).map(|side| side.1);
        let told = heads.flat_map(|head| {
            let told = fork.file.told(fork.unit, head);
            told.map(move |told| (told.recorded, head))
        });
        let mut gone: Vec<(usize, VersionId)> = told.collect();
        gone.sort_by_key(|(index, _)| self.place(*index));
        let mut went = gone
            .iter()
            .filter_map(|gone| Some((gone, self.went_to(gone.0, fork.unit)?)));
        let (gone, (path, to, is_named)) = went.next()?;
        if !self.is_mine(gone.0) || !self.is_placed(gone.0) || !self.is_placed(edited.0) {
            return None;
        }
        let common = fork.file.graph.common(fork.unit, gone.1, edited.1)?;
        let base = self.text_of(fork, common, bodies)?;
        if !is_named && !is_telling(&base) {
            return None;
        }
        Some(DueFollow {
            id,
            path: fork.path.to_string(),
            unit: fork.unit,
            name: fork.name.to_owned(),
            to: (path, to),
            base,
            theirs: self.text_of(fork, edited.1, bodies)?,
        })
    }

    /// Where the author of a patch that deletes a unit put it: where a unit of its text and name began, or where one of
    /// its name is in the file that most of its file went to; and whether its whole name is the same.
    pub fn went_to(&self, index: usize, unit: UnitId) -> Option<(Arc<str>, UnitId, bool)> {
        let there = self.recorded.get(index)?;
        let row = there.touched.iter().find(|row| row.0 == unit)?;
        let went = self.file_went_to(index);
        let born = self.born_of(index, row);
        // Files that were moved together may have equal units: each went where its file went.
        let born = born
            .into_iter()
            .filter(|(path, _)| went.as_ref().is_none_or(|went| went == path));
        let born: Vec<(Arc<str>, UnitId)> = born.collect();
        let is_named = |(path, to): &&(Arc<str>, UnitId)| self.id_of(path, &row.1) == Some(*to);
        let named: Vec<&(Arc<str>, UnitId)> = born.iter().filter(is_named).collect();
        let is_whole_name = !named.is_empty();
        let all = if is_whole_name {
            named
        } else {
            born.iter().collect()
        };
        let paths = all.iter().map(|(path, _)| Arc::clone(path)).collect();
        if let Some(path) = nearest(&there.path, paths) {
            let to = all.into_iter().find(|(other, _)| *other == path)?.1;
            return Some((path, to, is_whole_name));
        }
        let path = went.filter(|_| born.is_empty())?;
        let to = self.id_of(&path, &row.1)?;
        Some((path, to, true))
    }

    /// The file in which at least half of the units began that a patch of a file as one piece deletes.
    pub(super) fn file_went_to(&self, index: usize) -> Option<Arc<str>> {
        let there = &self.recorded[index];
        let rows = there.touched.iter().filter(|row| there.is_unit(row));
        let rows: Vec<&Row> = rows.filter(|_| there.is_whole).collect();
        let mut files = BTreeMap::new();
        for (path, _) in rows.iter().flat_map(|row| self.born_of(index, row)) {
            *files.entry(path).or_insert(0_usize) += 1;
        }
        let most = *files.values().max()?;
        let files = files.into_iter().filter(|(_, count)| *count == most);
        let paths = files.map(|(path, _)| path).collect();
        nearest(&there.path, paths).filter(|_| rows.len() <= 2 * most)
    }

    /// Units of other files that began with the text and name of one that a row of a patch deletes, by the same author.
    fn born_of(&self, index: usize, (unit, name, version, _): &Row) -> Vec<(Arc<str>, UnitId)> {
        let there = &self.recorded[index];
        let parents = self.parents(&there.path, *unit, *version).iter();
        let had = parents.filter_map(|parent| self.content(&there.path, *unit, *parent)?);
        let born = |content: ContentHash| {
            let carriers = self.texts.carriers(content).into_iter();
            let others = carriers.filter(move |other| self.is_moved_between(index, *other));
            others.flat_map(move |other| {
                let here = &self.recorded[other];
                let rows = here.touched.iter().filter(move |row| {
                    simple(&row.1) == simple(name)
                        && self.is_birth(here, row)
                        && self.content(&here.path, row.0, row.2) == Some(Some(content))
                });
                rows.map(|row| (Arc::clone(&here.path), row.0))
            })
        };
        had.flat_map(born).collect()
    }
}

/// The path that ends most as another does, if there is one.
fn nearest(from: &str, paths: BTreeSet<Arc<str>>) -> Option<Arc<str>> {
    let alike = |path: &str| {
        let parts = from.rsplit('/').zip(path.rsplit('/'));
        parts.take_while(|(one, other)| one == other).count()
    };
    let most = paths.iter().map(|path| alike(path)).max()?;
    let mut nearest = paths.into_iter().filter(|path| alike(path) == most);
    let first = nearest.next();
    first.filter(|_| nearest.next().is_none())
}

/// So many bytes that are not space are hardly written twice: `Self::new()` in a `default` is, in many types.
const TELLING_BYTES: usize = 64;

fn is_telling(text: &OwnText) -> bool {
    let bytes = text.head.bytes().iter();
    TELLING_BYTES <= bytes.filter(|byte| !byte.is_ascii_whitespace()).count()
}
