//! What the patches of one file tell of its units.
//!
//! Invariants:
//! - it is a function of the patches of this file alone;
//! - a version is never dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_semantic::{ContentHash, FilePatch, Op, UnitId};

use super::{
    super::body::VersionId,
    graph::{Graph, Recordable, Told},
};

/// The units of one file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) graph: Graph,
    units: BTreeMap<UnitId, History>,
    /// Further patches that told of a version: equal edits made apart.
    told_again: BTreeMap<VersionId, Vec<Told>>,
    /// Which recorded patches insert a unit, and which move it.
    pub(super) inserted: BTreeMap<UnitId, Vec<usize>>,
    pub(super) moved: BTreeMap<UnitId, Vec<usize>>,
    /// What its units are called.
    pub(super) names: BTreeMap<Arc<str>, UnitId>,
}

#[derive(Debug, Default)]
struct History {
    /// In the order of recording.
    versions: Vec<VersionId>,
    /// Every recorded version by its content; `None` for deleted.
    by_content: BTreeSet<(Option<ContentHash>, VersionId)>,
    heads: BTreeMap<Arc<str>, BTreeSet<VersionId>>,
}

impl File {
    /// Notes which units the recorded patch `index` puts somewhere.
    pub(super) fn place(&mut self, index: usize, patch: &FilePatch) {
        for op in &patch.ops {
            match op {
                Op::Insert { unit, .. } => self.inserted.entry(*unit).or_default().push(index),
                Op::Move { unit, .. } => self.moved.entry(*unit).or_default().push(index),
                Op::Delete { .. }
                | Op::File { .. }
                | Op::Gap { .. }
                | Op::Rename { .. }
                | Op::Replace { .. } => {}
            }
        }
    }

    /// Takes a version that a patch told of.
    pub(super) fn insert(&mut self, unit: UnitId, version: VersionId, told: Recordable) {
        let history = self.units.entry(unit).or_default();
        let (content, row) = (told.content, told.told);
        if self.graph.record(version, told, &history.versions) {
            history.versions.push(version);
            history.by_content.insert((content, version));
        } else {
            self.told_again.entry(version).or_default().push(row);
        }
    }

    /// Makes a version a head, and what it follows none any more; answers how many heads there are.
    pub(super) fn follow(&mut self, unit: UnitId, version: VersionId, channel: &Arc<str>) -> usize {
        let history = self.units.entry(unit).or_default();
        let heads = history.heads.entry(Arc::clone(channel)).or_default();
        // A version that others had named before it came may stand between two that were heads until now.
        let is_followed = heads
            .iter()
            .any(|head| self.graph.is_ancestor(version, *head));
        heads.retain(|head| !self.graph.is_ancestor(*head, version));
        if !is_followed {
            heads.insert(version);
        }
        heads.len()
    }

    /// The heads of a unit on a branch.
    pub(super) fn heads(&self, unit: UnitId, channel: &str) -> Option<&BTreeSet<VersionId>> {
        self.units.get(&unit)?.heads.get(channel)
    }

    /// How many versions of a unit are recorded.
    pub(super) fn count(&self, unit: UnitId) -> usize {
        let history = self.units.get(&unit);
        history.map_or(0, |history| history.versions.len())
    }

    /// Where patches told of a version.
    pub(super) fn told(&self, version: VersionId) -> impl Iterator<Item = Told> {
        let first = self.graph.get(version).and_then(|known| known.told);
        let again = self.told_again.get(&version).into_iter().flatten().copied();
        first.into_iter().chain(again)
    }

    /// The recorded version with this content that has most before it.
    pub(super) fn working(&self, unit: UnitId, content: Option<ContentHash>) -> Option<VersionId> {
        let range = (content, VersionId([0; 16]))..=(content, VersionId([u8::MAX; 16]));
        let with_it = self.units.get(&unit)?.by_content.range(range);
        let versions = with_it.map(|(_, version)| *version);
        versions.max_by_key(|version| (self.graph.depth(*version), *version))
    }
}
