//! What the patches of one file tell of its units.
//!
//! Invariants:
//! - it is a function of the patches of this file, and of the branch that is looked from, alone;
//! - a version is never dropped;
//! - the heads of a unit are the versions that patches of that branch told and that nothing they told follows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_semantic::{ContentHash, FilePatch, Op, Text, Touched, UnitId};

use super::{
    super::{agreement::PatchSet, body::VersionId},
    Origin, born,
    graph::{Graph, Recordable, Told},
};

/// The units of one file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) graph: Graph,
    units: BTreeMap<UnitId, History>,
    /// Every recorded version by its content; `None` for deleted.
    by_content: BTreeSet<(UnitId, Option<ContentHash>, VersionId)>,
    /// Further patches that told of a version: equal edits made apart.
    told_again: BTreeMap<(UnitId, VersionId), Vec<Told>>,
    /// Which recorded patches insert a unit, and which move it.
    pub(super) inserted: BTreeMap<UnitId, Vec<usize>>,
    pub(super) moved: BTreeMap<UnitId, Vec<usize>>,
    /// Units that hold others: a name alone may also be that of the type of a method that stands elsewhere.
    pub(super) containers: BTreeSet<UnitId>,
    /// Every recorded patch of it.
    pub(super) patches: Vec<usize>,
    /// The same of each branch, as a set.
    pub(super) sets: BTreeMap<Arc<str>, PatchSet>,
    /// Which recorded patches change what is written between units.
    pub(super) between: Vec<usize>,
    /// Which units are or were called so, the last that was told at the end.
    pub(super) names: BTreeMap<Arc<str>, Vec<UnitId>>,
}

#[derive(Debug, Default)]
struct History {
    /// How many versions are recorded.
    count: usize,
    /// In rising order.
    heads: Vec<VersionId>,
}

impl History {
    /// Takes versions out of the heads that are none any more.
    fn drop_heads(&mut self, gone: Vec<VersionId>) {
        let gone: BTreeSet<VersionId> = gone.into_iter().collect();
        if !gone.is_empty() {
            self.heads.retain(|head| !gone.contains(head));
        }
    }
}

impl File {
    /// Notes which units the recorded patch `index` puts somewhere.
    pub(super) fn place(&mut self, index: usize, patch: &FilePatch) {
        self.patches.push(index);
        self.containers.extend(containers(patch));
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
        if patch.ops.iter().any(says_something) {
            self.between.push(index);
        }
    }

    /// Takes a patch of a branch in among those that are known.
    pub(super) fn add(&mut self, channel: &Arc<str>, origin: &Origin) {
        let set = self.sets.entry(Arc::clone(channel)).or_default();
        set.add(origin);
    }

    /// Takes in what a unit is called.
    pub(super) fn name(&mut self, name: Arc<str>, unit: UnitId) {
        let units = self.names.entry(name).or_default();
        if units.last() != Some(&unit) {
            units.retain(|known| *known != unit);
            units.push(unit);
        }
    }

    /// Takes a version that a patch told of; answers its number, and how many heads the unit has.
    pub(super) fn insert(
        &mut self,
        unit: UnitId,
        version: VersionId,
        told: Recordable,
    ) -> (usize, usize) {
        let history = self.units.entry(unit).or_default();
        let (content, row) = (told.content, told.told);
        if self.graph.record(unit, version, told, history.count + 1) {
            history.count += 1;
            self.by_content.insert((unit, content, version));
            // Others had named it before it came, so it may stand between two that were heads until now.
            history.drop_heads(self.graph.joined(unit, version));
        } else {
            let again = self.told_again.entry((unit, version)).or_default();
            again.push(row);
        }
        let number = self.graph.get(unit, version);
        (
            number.map_or(0, |version| version.number),
            history.heads.len(),
        )
    }

    /// Takes versions that a patch names as those that it follows, from this content.
    pub(super) fn mention(
        &mut self,
        unit: UnitId,
        parents: &[VersionId],
        before: Option<ContentHash>,
    ) {
        for parent in parents {
            let content = born(unit, *parent, before);
            self.graph.mention(unit, *parent, content);
        }
    }

    /// Takes a version that counts nowhere; see [`Graph::bridge`].
    pub(super) fn bridge(&mut self, unit: UnitId, version: VersionId, parents: &[VersionId]) {
        self.graph.bridge(unit, version, parents);
        let gone = self.graph.joined(unit, version);
        self.units.entry(unit).or_default().drop_heads(gone);
    }

    /// Makes a version a head, unless it is followed, and what it follows none; answers how many heads there are.
    pub(super) fn follow(&mut self, unit: UnitId, version: VersionId) -> usize {
        let history = self.units.entry(unit).or_default();
        let followed = self.graph.follow(unit, version);
        history.drop_heads(followed.gone);
        if let (true, Err(at)) = (followed.is_head, history.heads.binary_search(&version)) {
            history.heads.insert(at, version);
        }
        history.heads.len()
    }

    /// Forgets the branch that was looked from.
    pub(super) fn leave(&mut self) {
        self.graph.leave();
        self.units
            .values_mut()
            .for_each(|history| history.heads.clear());
    }

    /// The heads of a unit, in rising order.
    pub(super) fn heads(&self, unit: UnitId) -> &[VersionId] {
        self.units.get(&unit).map_or(&[], |history| &history.heads)
    }

    /// Every unit that has heads, with them.
    pub(super) fn all_heads(&self) -> impl Iterator<Item = (UnitId, &[VersionId])> {
        let units = self.units.iter();
        let heads = units.map(|(unit, history)| (*unit, &history.heads[..]));
        heads.filter(|(_, heads)| !heads.is_empty())
    }

    /// How many versions of a unit are recorded.
    pub(super) fn count(&self, unit: UnitId) -> usize {
        self.units.get(&unit).map_or(0, |history| history.count)
    }

    /// Where patches told of a version.
    pub(super) fn told(&self, unit: UnitId, version: VersionId) -> impl Iterator<Item = Told> {
        let first = self.graph.get(unit, version).and_then(|known| known.told);
        let again = self.told_again.get(&(unit, version));
        first
            .into_iter()
            .chain(again.into_iter().flatten().copied())
    }

    /// The recorded version with this content that has most before it.
    pub(super) fn working(&self, unit: UnitId, content: Option<ContentHash>) -> Option<VersionId> {
        let [first, last] = [0, u8::MAX].map(|byte| (unit, content, VersionId([byte; 16])));
        let with_it = self.by_content.range(first..=last);
        let versions = with_it.map(|(.., version)| *version);
        versions.max_by_key(|version| (self.graph.depth(unit, *version), *version))
    }
}

/// The units that a patch shows to hold others: it puts some into them, or takes them away together.
fn containers(patch: &FilePatch) -> impl Iterator<Item = UnitId> + '_ {
    let named: BTreeSet<UnitId> = patch.ops.iter().filter_map(Op::unit).collect();
    let row = |unit: UnitId| patch.touched.iter().find(|row| row.unit == unit);
    patch.ops.iter().filter_map(move |op| match op {
        Op::Insert { parent, .. } | Op::Move { parent, .. } | Op::Gap { parent, .. } => *parent,
        Op::Delete { unit, .. } => {
            let above = format!("{}::", row(*unit)?.name);
            let mut others = patch.touched.iter();
            let is_inside =
                |other: &Touched| !named.contains(&other.unit) && other.name.starts_with(&above);
            others.any(is_inside).then_some(*unit)
        }
        Op::File { .. } | Op::Rename { .. } | Op::Replace { .. } => None,
    })
}

/// Whether an operation changes more than white space between units.
fn says_something(op: &Op) -> bool {
    let words = |text: &Text| {
        let bytes = text.bytes().iter().copied();
        bytes
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect::<Vec<u8>>()
    };
    matches!(op, Op::Gap { base_text, text, .. } if words(base_text) != words(text))
}
