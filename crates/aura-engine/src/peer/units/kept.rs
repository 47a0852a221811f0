//! What a deleted file would be with all that others did to it meanwhile.
//!
//! Invariants:
//! - nothing that excludes something else is decided here: it is left out, and said so.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_semantic::{Budget, ContentHash, Indexed, Landing, Op, Text, UnitId, index, land};

use super::{super::body::VersionId, Bodies, Loose, PLACEMENT, Row, Units, orphans::Deleted};

/// Patches that the deletion of a file does not know and that are carried out to tell what it would be.
const UNKNOWN_MAX: usize = 1_000;

/// A file as it would be if nobody had deleted it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// What it was when it was deleted.
    pub(super) base: Text,
    pub(super) text: Text,
    /// Patches that are not in it, or not all of them: what they do excludes something else.
    pub(super) left_out: Vec<usize>,
}

/// The same, and the deletion and the number of patches of the file that it was found for.
pub(super) type Known = (VersionId, usize, Option<Kept>);

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
        let by = deleted.by.first()?.1;
        Some(self.as_if_kept(path, &deleted, by, bodies)?.text)
    }

    /// What a deleted file was for whoever deleted it `by` a version, and what it would be with all that others did to it
    /// meanwhile.
    pub(super) fn as_if_kept(
        &self,
        path: &str,
        deleted: &Deleted,
        by: VersionId,
        bodies: Bodies<'_>,
    ) -> Option<Kept> {
        let count = self.files.get(path)?.patches.len();
        if let Some((version, patches, kept)) = self.kept.borrow().get(path)
            && (*version, *patches) == (by, count)
        {
            return kept.clone();
        }
        let kept = self.find_kept(path, deleted, by, bodies);
        let known = (by, count, kept.clone());
        self.kept.borrow_mut().insert(path.into(), known);
        kept
    }

    fn find_kept(
        &self,
        path: &str,
        deleted: &Deleted,
        by: VersionId,
        bodies: Bodies<'_>,
    ) -> Option<Kept> {
        let (base, mut file) = self.when_deleted(path, by, bodies)?;
        let lacking = self.unknown_to(path, deleted);
        if UNKNOWN_MAX < lacking.len() {
            return None;
        }
        let mut left_out = Vec::new();
        for index in lacking {
            let body = bodies(&self.recorded[index])?;
            let mut here = file.contents();
            here.insert(UnitId::file(path), file.hash());
            let contents = |unit: UnitId| here.get(&unit).copied();
            let loose = Loose {
                waits: true,
                shows: &|_| false,
            };
            let plan = match self.plan(index, &body, &contents, loose) {
                Ok(None) => continue,
                Ok(Some(plan)) if !self.is_against(index, &contents) => plan,
                Ok(Some(_)) | Err(_) => {
                    left_out.push(index);
                    continue;
                }
            };
            let landing = Landing {
                older: &plan.older,
                is_newer: &|unit| self.is_put_after(index, unit),
                is_back: false,
                is_seen: false,
            };
            let landed = land(Some(&file), &plan.patch, &landing);
            if plan.stands.is_some() || landed.is_err() {
                left_out.push(index);
            }
            if let Ok((landed, _)) = landed {
                file = landed.after?;
            }
        }
        Some(Kept {
            base,
            text: Text(file.bytes.to_vec()),
            left_out,
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

    /// What a file said when it was deleted, with its units: who settles that it stays so may not have had it.
    fn when_deleted(
        &self,
        path: &str,
        deleted: VersionId,
        bodies: Bodies<'_>,
    ) -> Option<(Text, Indexed)> {
        let file = self.files.get(path)?;
        let unit = UnitId::file(path);
        let mut open = vec![deleted];
        let mut seen = BTreeSet::new();
        while let Some(version) = open.pop() {
            let told = self.first_told(file, unit, version);
            let body = told.and_then(|told| bodies(&self.recorded[told.recorded]));
            let base = body.as_ref().and_then(|body| match &body.patch.ops[..] {
                [Op::File { base_text, .. }] => base_text.clone().map(|text| (text, &body.patch)),
                _ => None,
            });
            if let Some((text, patch)) = base {
                let mut indexed = index(path, text.bytes(), None, &Budget::default());
                self.identify(&mut indexed);
                // Its author knows best which unit a name was.
                let known = patch.touched.iter().filter(|row| row.before.is_some());
                let known: BTreeMap<&str, UnitId> =
                    known.map(|row| (&*row.name, row.unit)).collect();
                for (id, unit) in indexed.ids.iter_mut().zip(&indexed.outline.units) {
                    *id = known.get(&*unit.qualified).copied().unwrap_or(*id);
                }
                return Some((text, indexed));
            }
            let parents = self.parents(path, unit, version).iter();
            let gone = parents.filter(|parent| self.is_deleted(path, unit, **parent));
            open.extend(gone.filter(|parent| seen.insert(**parent)));
        }
        None
    }

    /// The patches of a file that its deletion does not know, in the order of the log.
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
        let is_lacking = |index: &usize| {
            let recorded = &self.recorded[*index];
            !recorded.is_whole
                && (between.contains(index) || recorded.touched.iter().any(is_unknown))
        };
        let mut lacking = self.patches_of(path);
        lacking.retain(is_lacking);
        lacking
    }

    /// Files that this device took to other places while others did something in them, but for conflicts that are left
    /// to a person.
    // spec: patch/3.14
    pub fn due_wholes(&self, bodies: Bodies<'_>, left: &BTreeSet<String>) -> Vec<DueWhole> {
        let due = |path: &Arc<str>| {
            let orphans = self.orphans(path)?;
            let id = orphans.id(path);
            if !self.is_placed(orphans.newest.0) || left.contains(&id) {
                return None;
            }
            // Of those who deleted it the first who put it elsewhere.
            let mut moved = orphans.file.by.iter().filter_map(|by| {
                let to = self.file_went_to(by.0)?;
                Some((*by, to))
            });
            let ((index, by), to) = moved.next()?;
            if !self.is_placed(index) || !self.is_mine(index) {
                return None;
            }
            let kept = self.as_if_kept(path, &orphans.file, by, bodies)?;
            let is_whole = kept.left_out.is_empty();
            Some(DueWhole {
                id,
                path: path.to_string(),
                heads: orphans.heads(),
                to,
                base: kept.base,
                theirs: is_whole.then_some(kept.text),
            })
        };
        self.orphaned.iter().filter_map(due).collect()
    }
}
