//! What a deleted file would be with all that others did to it meanwhile.
//!
//! Invariants:
//! - nothing that excludes something else is decided here: it is left out, and said so.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_semantic::{Budget, ContentHash, Indexed, Landing, Op, Text, UnitId, index, land};

use super::{
    super::body::VersionId, Bodies, Loose, PLACEMENT, Recorded, Row, Units, orphans::Deleted,
};

/// A file as it would be if nobody had deleted it.
pub(super) struct Kept {
    /// What it was when it was deleted.
    pub(super) base: Text,
    pub(super) text: Text,
    /// Whether all that others did is in it: what excludes something else is a conflict by itself.
    is_whole: bool,
}

/// An edit of a file as it would be if this device had not taken all of it to another one meanwhile.
#[derive(Debug, Clone)]
pub struct DueWhole {
    /// The name of the conflict that this settles.
    pub id: String,
    /// The file that was deleted.
    pub path: String,
    /// The versions of the file that the settlement follows.
    pub heads: Vec<VersionId>,
    /// Where its units went.
    pub to: Arc<str>,
    /// What it was when it was deleted.
    pub base: Text,
    /// What it would be, unless some of it excludes something else.
    pub theirs: Option<Text>,
}

impl Units {
    /// The text that a deleted file would be if nobody had deleted it.
    pub fn kept_text(&self, path: &str, bodies: Bodies<'_>) -> Option<Text> {
        let deleted = self.deleted(path)?;
        Some(self.as_if_kept(path, &deleted, bodies)?.text)
    }

    /// What a deleted file was, and what it would be with all that others did to it meanwhile.
    pub(super) fn as_if_kept(
        &self,
        path: &str,
        deleted: &Deleted,
        bodies: Bodies<'_>,
    ) -> Option<Kept> {
        let base = self.text_when_deleted(path, deleted.by.1, bodies)?;
        let mut is_whole = true;
        let mut file = index(path, base.bytes(), None, &Budget::default());
        self.identify(&mut file);
        let mut lacking = self.unknown_to(path, deleted);
        lacking.sort_by_key(|index| self.place(*index));
        for index in lacking {
            let body = bodies(&self.recorded[index])?;
            let here = contents_of(&file);
            let loose = Loose {
                waits: true,
                shows: &|_| false,
            };
            let contents = |unit: UnitId| here.get(&unit).copied();
            if self.is_against(index, &contents) {
                is_whole = false;
                continue;
            }
            let plan = match self.plan(index, &body, &contents, loose) {
                Ok(Some(plan)) => plan,
                Ok(None) => continue,
                Err(_) => {
                    is_whole = false;
                    continue;
                }
            };
            let landing = Landing {
                older: &plan.older,
                is_newer: &|unit| self.is_put_after(index, unit),
                is_back: false,
            };
            match land(Some(&file), &plan.patch, &landing) {
                Ok((landed, _)) => file = landed.after?,
                Err(_) => is_whole = false,
            }
            is_whole &= plan.stands.is_none();
        }
        Some(Kept {
            base,
            text: Text(file.bytes.to_vec()),
            is_whole,
        })
    }

    /// Whether a patch deletes a unit in a version that it does not follow.
    fn is_against(&self, index: usize, contents: &dyn Fn(UnitId) -> Option<ContentHash>) -> bool {
        let recorded = &self.recorded[index];
        let path = &*recorded.path;
        let Some(file) = self.files.get(path) else {
            return false;
        };
        let units = recorded.touched.iter().filter(|row| recorded.is_unit(row));
        let mut gone = units.filter(|row| self.is_deleted(path, row.0, row.2));
        gone.any(|(unit, _, version, _)| {
            let here = contents(*unit).and_then(|content| self.working(path, *unit, Some(content)));
            here.is_some_and(|here| !file.graph.is_ancestor(*unit, here, *version))
        })
    }

    /// What a file said when it was deleted: who settles that it stays so may not have had it.
    fn text_when_deleted(
        &self,
        path: &str,
        deleted: VersionId,
        bodies: Bodies<'_>,
    ) -> Option<Text> {
        let file = self.files.get(path)?;
        let unit = UnitId::file(path);
        let mut open = vec![deleted];
        let mut seen = BTreeSet::new();
        while let Some(version) = open.pop() {
            let told = self.first_told(file, unit, version);
            let body = told.and_then(|told| bodies(&self.recorded[told.recorded]));
            if let Some(
                [
                    Op::File {
                        base_text: Some(text),
                        ..
                    },
                ],
            ) = body.as_ref().map(|body| &body.patch.ops[..])
            {
                return Some(text.clone());
            }
            let parents = self.parents(path, unit, version).iter();
            let gone = parents.filter(|parent| self.content(path, unit, **parent) == Some(None));
            open.extend(gone.filter(|parent| seen.insert(**parent)));
        }
        None
    }

    /// The patches of a file that its deletion does not know.
    fn unknown_to(&self, path: &str, deleted: &Deleted) -> Vec<usize> {
        let Some(file) = self.files.get(path) else {
            return Vec::new();
        };
        let born: BTreeSet<UnitId> = deleted.births.iter().map(|(unit, _)| *unit).collect();
        let whole = UnitId::file(path);
        let is_unknown = |(unit, _, version, number): &Row| {
            let is_told = || {
                let heads = file.heads(*unit).iter();
                let mut gone = heads.filter(|head| self.is_deleted(path, *unit, **head));
                // What another patch deletes as well was not known to be deleted.
                let follows = |head: &VersionId| file.graph.is_ancestor(*unit, *version, *head);
                gone.next()
                    .is_some_and(|first| !std::iter::once(first).chain(gone).any(follows))
            };
            *unit != whole && (born.contains(unit) || *number != PLACEMENT && is_told())
        };
        let between: BTreeSet<usize> = deleted.between.iter().map(|(index, _)| *index).collect();
        let is_lacking = |(index, recorded): &(usize, &Recorded)| {
            *recorded.path == *path
                && recorded.channel == self.channel
                && !recorded.is_whole
                && (between.contains(index) || recorded.touched.iter().any(is_unknown))
        };
        let all = self.recorded.iter().enumerate().filter(is_lacking);
        all.map(|(index, _)| index).collect()
    }

    /// Files that this device took to other places while others did something in them, but for conflicts that are left
    /// to a person.
    // spec: patch/3.14
    pub fn due_wholes(&self, bodies: Bodies<'_>, left: &BTreeSet<String>) -> Vec<DueWhole> {
        let due = |path: &Arc<str>| {
            let orphans = self.orphans(path)?;
            let is_placed = |index: usize| self.recorded[index].origin.seq.is_some();
            let id = orphans.id(path);
            if !is_placed(orphans.newest.0) || left.contains(&id) {
                return None;
            }
            let (index, _) = orphans.file.by;
            if !is_placed(index) || self.recorded[index].origin.writer.peer != self.me {
                return None;
            }
            let to = self.file_went_to(index)?;
            let kept = self.as_if_kept(path, &orphans.file, bodies)?;
            Some(DueWhole {
                id,
                path: path.to_string(),
                heads: orphans.heads(),
                to,
                base: kept.base,
                theirs: kept.is_whole.then_some(kept.text),
            })
        };
        self.orphaned.iter().filter_map(due).collect()
    }
}

/// The content of each unit of a file, and of the file.
fn contents_of(file: &Indexed) -> BTreeMap<UnitId, ContentHash> {
    let hashes = file.outline.units.iter().map(|unit| unit.own_hash);
    let units = file.ids.iter().copied().zip(hashes);
    units
        .chain([(UnitId::file(&file.path), file.hash())])
        .collect()
}
