//! Files that change as one piece, and as units afterwards.
//!
//! Invariant: a file as one piece has versions only where it was told as one; in between its units speak for it.

use std::collections::{BTreeMap, BTreeSet};

use aura_semantic::{ContentHash, FilePatch, Touched, UnitId};

use super::{super::body::VersionId, Relation, Units, is_whole};

impl Units {
    /// What the change of a file as one piece follows where others changed its units since it was last told as one:
    /// everything told of the file as one whose units are here.
    // spec: patch/3.11
    pub(super) fn followed_by_file(
        &self,
        patch: &FilePatch,
        row: &Touched,
    ) -> Option<Vec<VersionId>> {
        let file = self.files.get(&*patch.path)?;
        let is_file = is_whole(patch) && row.unit == UnitId::file(&patch.path);
        let here = self.standpoint(&patch.path, row.unit, row.before);
        if !is_file || row.before.is_none() || self.is_recorded(&here) {
            return None;
        }
        let before: BTreeMap<UnitId, Option<ContentHash>> = patch
            .touched
            .iter()
            .map(|row| (row.unit, row.before))
            .collect();
        let is_here = |head: &VersionId| {
            let told = self.first_told(file, row.unit, *head);
            let told = told.map(|told| &self.recorded[told.recorded]);
            told.is_some_and(|told| {
                told.touched.iter().all(|(unit, _, version, _)| {
                    // A unit that does not change is as it was told.
                    let content = before.get(unit).filter(|_| *unit != row.unit);
                    content.is_none_or(|content| {
                        let mut here = self.standpoint(&patch.path, *unit, *content);
                        self.relation_to(&mut here, *version) == Relation::Known
                    })
                })
            })
        };
        let heads = self.heads(&patch.path, row.unit).into_iter();
        Some(heads.filter(is_here).collect()).filter(|heads: &Vec<VersionId>| !heads.is_empty())
    }
}

/// Whether a patch of a file as one piece tells of units, all of which are among these.
pub(super) fn has_all_units(patch: &FilePatch, known: &BTreeSet<UnitId>) -> bool {
    let file = UnitId::file(&patch.path);
    let mut units = patch.touched.iter().filter(|row| row.unit != file);
    let first = units.next();
    first
        .into_iter()
        .chain(units)
        .all(|row| known.contains(&row.unit))
        && first.is_some()
}
