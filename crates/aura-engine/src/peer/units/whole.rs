//! Files that change as one piece, and as units afterwards.
//!
//! Invariant: a file as one piece has versions only where it was told as one; in between its units speak for it.

use std::collections::{BTreeMap, BTreeSet};

use aura_semantic::{Budget, ContentHash, FilePatch, Op, Touched, UnitId, index};

use super::{super::body::VersionId, Relation, Units};

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
        let is_file = patch.is_whole() && row.unit == UnitId::file(&patch.path);
        let here = self.standpoint(&patch.path, row.unit, row.before);
        if !is_file || row.before.is_none() || self.is_recorded(&here) {
            return None;
        }
        let before = self.contents_before(patch);
        let is_here = |head: &VersionId| {
            let told = self.first_told(file, row.unit, *head);
            let told = told.map(|told| &self.recorded[told.recorded]);
            told.is_some_and(|told| {
                let mut units = told.touched.iter().filter(|told| told.0 != row.unit);
                units.all(|(unit, _, version, _)| {
                    let content = before.get(unit).copied();
                    let mut here = self.standpoint(&patch.path, *unit, content);
                    self.relation_to(&mut here, *version) == Relation::Known
                })
            })
        };
        let heads = self.heads(&patch.path, row.unit).into_iter();
        Some(heads.filter(is_here).collect()).filter(|heads: &Vec<VersionId>| !heads.is_empty())
    }
}

impl Units {
    /// The content of each unit of a file before a patch changed it as one piece.
    fn contents_before(&self, patch: &FilePatch) -> BTreeMap<UnitId, ContentHash> {
        let [
            Op::File {
                base_text: Some(base),
                ..
            },
        ] = &patch.ops[..]
        else {
            return BTreeMap::new();
        };
        let mut before = index(&patch.path, base.bytes(), None, &Budget::default());
        self.identify(&mut before);
        let mut contents = before.contents();
        // The author knows its ids better.
        for row in &patch.touched {
            match row.before {
                Some(content) => contents.insert(row.unit, content),
                None => contents.remove(&row.unit),
            };
        }
        contents
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
