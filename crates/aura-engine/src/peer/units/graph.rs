//! What follows from what: the graph of versions of the units of one file.
//!
//! Invariants:
//! - a version is never dropped, and an edge never changes once its version is recorded;
//! - an edge leads from a version of a unit to one of the same unit;
//! - whether a version is followed is known without a walk: each is marked once, when something first follows it;
//! - the depth of a version is one more than that of its deepest parent, so a walk towards an ancestor never goes
//!   below it and costs what lies between the two, not the length of history;
//! - depths that a version told late has raised are counted again when somebody asks, once for all of them.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use aura_semantic::{ContentHash, UnitId};

use super::super::body::VersionId;

/// One version of one unit.
#[derive(Debug, Clone, Default)]
pub(super) struct Version {
    pub(super) parents: Vec<VersionId>,
    children: Vec<VersionId>,
    /// `None` when the unit is deleted in it.
    pub(super) content: Option<ContentHash>,
    /// Where it was told first; `None` for the version that a unit was born with, or while no patch has told of it.
    pub(super) told: Option<Told>,
    /// Its number within the unit, from 1 in the order of recording; 0 while not recorded.
    pub(super) number: usize,
    depth: Cell<u32>,
    /// Whether nothing but recorded versions lead to it: no working copy can have had the unit before them.
    is_rooted: Cell<bool>,
    /// Whether a patch of the branch that is looked from told of it, and whether one follows from it.
    is_here: bool,
    is_followed: bool,
}

/// From which of two versions another was reached, and whether a common one follows from it.
#[derive(Debug, Default, Clone, Copy)]
struct Sides {
    a: bool,
    b: bool,
    is_covered: bool,
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    versions: BTreeMap<(UnitId, VersionId), Version>,
    /// Versions that were told after some that follow from them, while nobody has asked.
    late: RefCell<BTreeSet<(UnitId, VersionId)>>,
}

/// What a version that was told on the branch that is looked from changed of the heads of its unit.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Whether it is a head.
    pub(super) is_head: bool,
    /// Those that are none any more.
    pub(super) gone: Vec<VersionId>,
}

impl Graph {
    pub(super) fn get(&self, unit: UnitId, id: VersionId) -> Option<&Version> {
        self.versions.get(&(unit, id))
    }

    /// A version that patches name as a parent before, or without, telling of it themselves.
    pub(super) fn mention(&mut self, unit: UnitId, id: VersionId, content: Option<ContentHash>) {
        self.versions.entry((unit, id)).or_insert_with(|| Version {
            content,
            ..Version::default()
        });
    }

    /// Takes a version that a patch told of; `false` when it was known. Its parents have been mentioned, and `number`
    /// is its number if it is new.
    pub(super) fn record(
        &mut self,
        unit: UnitId,
        id: VersionId,
        told: Recordable,
        number: usize,
    ) -> bool {
        let version = self.versions.entry((unit, id)).or_default();
        if version.told.is_some() {
            return false;
        }
        version.content = told.content;
        version.told = Some(told.told);
        version.number = number;
        self.link(unit, id, told.parents);
        true
    }

    /// Takes a version that counts nowhere, so that what follows from it follows from what it followed itself.
    pub(super) fn bridge(&mut self, unit: UnitId, id: VersionId, parents: &[VersionId]) {
        let version = self.versions.entry((unit, id)).or_default();
        if version.told.is_some() || !version.parents.is_empty() {
            return;
        }
        self.link(unit, id, parents.to_vec());
    }

    /// Puts a version between those that it follows and those that named it as theirs before it came.
    fn link(&mut self, unit: UnitId, id: VersionId, parents: Vec<VersionId>) {
        for parent in &parents {
            let parent = self.versions.entry((unit, *parent)).or_default();
            parent.children.push(id);
        }
        let version = self.versions.entry((unit, id)).or_default();
        version.parents = parents;
        let is_late = !version.children.is_empty();
        self.derive(unit, id);
        if is_late {
            self.late.get_mut().insert((unit, id));
        }
    }

    /// Takes a version as told on the branch that is looked from.
    pub(super) fn follow(&mut self, unit: UnitId, id: VersionId) -> Followed {
        let mut followed = Followed::default();
        if let Some(version) = self.versions.get_mut(&(unit, id))
            && !version.is_here
        {
            version.is_here = true;
            followed.is_head = !version.is_followed;
            followed.gone = self.mark_below(unit, id);
        }
        followed
    }

    /// What a version that was named before it was told adds to what is followed: the heads that are none any more.
    pub(super) fn joined(&mut self, unit: UnitId, id: VersionId) -> Vec<VersionId> {
        let known = self.versions.get(&(unit, id));
        if known.is_some_and(|version| version.is_followed) {
            return self.mark_below(unit, id);
        }
        Vec::new()
    }

    /// Marks what a version follows, each once; answers those that were heads.
    fn mark_below(&mut self, unit: UnitId, id: VersionId) -> Vec<VersionId> {
        let mut gone = Vec::new();
        let mut open = self.parents(unit, id).to_vec();
        while let Some(id) = open.pop() {
            let Some(version) = self.versions.get_mut(&(unit, id)) else {
                continue;
            };
            if version.is_followed {
                continue;
            }
            version.is_followed = true;
            open.extend_from_slice(&version.parents);
            gone.extend(version.is_here.then_some(id));
        }
        gone
    }

    /// Forgets what was told on the branch that was looked from.
    pub(super) fn leave(&mut self) {
        for version in self.versions.values_mut() {
            (version.is_here, version.is_followed) = (false, false);
        }
    }

    /// Whether `newer` follows from `older`, directly or not.
    pub(super) fn is_ancestor(&self, unit: UnitId, older: VersionId, newer: VersionId) -> bool {
        let Some(floor) = self.get(unit, older).map(|_| self.depth(unit, older)) else {
            return false;
        };
        let mut seen = BTreeSet::new();
        let mut open = vec![newer];
        while let Some(id) = open.pop() {
            for parent in self.parents(unit, id) {
                if *parent == older {
                    return true;
                }
                if floor < self.depth(unit, *parent) && seen.insert(*parent) {
                    open.push(*parent);
                }
            }
        }
        false
    }

    /// Like [`Graph::is_ancestor`], for many questions about one `older`: `known` keeps what was found.
    pub(super) fn descends(
        &self,
        unit: UnitId,
        older: VersionId,
        newer: VersionId,
        known: &mut BTreeMap<VersionId, bool>,
    ) -> bool {
        let floor = self.depth(unit, older);
        let mut open = vec![newer];
        while let Some(id) = open.last().copied() {
            if known.contains_key(&id) {
                open.pop();
                continue;
            }
            let parents = self.parents(unit, id);
            let follows =
                |parent: &&VersionId| **parent == older || known.get(parent) == Some(&true);
            let is_found = parents.iter().any(|parent| follows(&parent));
            let is_open = |parent: &&VersionId| {
                floor < self.depth(unit, **parent) && !known.contains_key(*parent)
            };
            let further: Vec<VersionId> = parents.iter().filter(is_open).copied().collect();
            if is_found || further.is_empty() {
                known.insert(id, is_found);
                open.pop();
            } else {
                open.extend(further);
            }
        }
        known.get(&newer) == Some(&true)
    }

    /// The version that both follow from and that follows from all others of that kind; none where two such versions do
    /// not exclude each other, as after two settlements of one conflict.
    pub(super) fn common(&self, unit: UnitId, a: VersionId, b: VersionId) -> Option<VersionId> {
        let mut open: BTreeMap<(u32, VersionId), Sides> = BTreeMap::new();
        open.entry((self.depth(unit, a), a)).or_default().a = true;
        open.entry((self.depth(unit, b), b)).or_default().b = true;
        let mut bare = open.len();
        let mut found = None;
        // The deepest first: whoever has been passed is nobody's descendant that is still to come.
        while let Some(((_, id), mut sides)) = open.pop_last() {
            bare -= usize::from(!sides.is_covered);
            if sides.a && sides.b && !sides.is_covered {
                if found.is_some() {
                    return None;
                }
                found = Some(id);
                sides.is_covered = true;
            }
            if found.is_some() && bare == 0 && sides.is_covered {
                return found;
            }
            for parent in self.parents(unit, id) {
                let depth = self.depth(unit, *parent);
                let known = open.entry((depth, *parent)).or_insert_with(|| {
                    bare += 1;
                    Sides::default()
                });
                known.a |= sides.a;
                known.b |= sides.b;
                if sides.is_covered && !known.is_covered {
                    known.is_covered = true;
                    bare -= 1;
                }
            }
        }
        found
    }

    fn parents(&self, unit: UnitId, id: VersionId) -> &[VersionId] {
        self.get(unit, id).map_or(&[], |version| &version.parents)
    }

    /// How many versions lie before one on the longest way back.
    pub(super) fn depth(&self, unit: UnitId, id: VersionId) -> u32 {
        self.settle();
        self.get(unit, id).map_or(0, |version| version.depth.get())
    }

    /// Whether nothing but recorded versions lead to a version.
    pub(super) fn is_rooted(&self, unit: UnitId, id: VersionId) -> bool {
        self.settle();
        self.get(unit, id)
            .is_some_and(|version| version.is_rooted.get())
    }

    /// Computes what follows from the parents of a version.
    fn derive(&self, unit: UnitId, id: VersionId) {
        let Some(version) = self.get(unit, id) else {
            return;
        };
        let parents = || version.parents.iter().map(|parent| self.get(unit, *parent));
        let above = |parent: Option<&Version>| parent.map_or(0, |parent| parent.depth.get());
        let depth = parents()
            .map(|parent| above(parent).saturating_add(1))
            .max();
        version.depth.set(depth.unwrap_or(0));
        let is_rooted =
            |parent: Option<&Version>| parent.is_some_and(|parent| parent.is_rooted.get());
        version.is_rooted.set(parents().all(is_rooted));
    }

    /// Counts depths again behind versions that turned out to have parents after others had named them as theirs.
    fn settle(&self) {
        if self.late.borrow().is_empty() {
            return;
        }
        let late = self.late.take();
        let below = |(unit, id): (UnitId, VersionId)| {
            let children = self
                .get(unit, id)
                .map_or(&[][..], |version| &version.children);
            children.iter().map(move |child| (unit, *child))
        };
        // Each once, behind all of its parents that follow, too: otherwise a long chain is walked again and again.
        let mut due: BTreeMap<(UnitId, VersionId), usize> = BTreeMap::new();
        let mut open: Vec<(UnitId, VersionId)> = late.iter().copied().collect();
        while let Some(key) = open.pop() {
            for child in below(key) {
                let parents = due.entry(child).or_insert(0);
                *parents += 1;
                if *parents == 1 && !late.contains(&child) {
                    open.push(child);
                }
            }
        }
        let mut ready: Vec<(UnitId, VersionId)> = late
            .into_iter()
            .filter(|key| !due.contains_key(key))
            .collect();
        while let Some((unit, id)) = ready.pop() {
            self.derive(unit, id);
            for child in below((unit, id)) {
                let Some(parents) = due.get_mut(&child) else {
                    continue;
                };
                *parents -= 1;
                if *parents == 0 {
                    ready.push(child);
                }
            }
        }
    }
}

/// What a patch tells of a version.
pub(super) struct Recordable {
    pub(super) parents: Vec<VersionId>,
    pub(super) content: Option<ContentHash>,
    pub(super) told: Told,
}

/// A row of a recorded patch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    /// Index into the recorded patches.
    pub(super) recorded: usize,
    /// Index into what that patch touched.
    pub(super) row: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> VersionId {
        VersionId([n; 16])
    }

    const UNIT: UnitId = UnitId([1; 16]);

    /// Records versions given as (id, parents), in this order.
    fn graph(rows: &[(u8, &[u8])]) -> Graph {
        let mut graph = Graph::default();
        for (recorded, (version, parents)) in rows.iter().enumerate() {
            let parents: Vec<VersionId> = parents.iter().copied().map(id).collect();
            for parent in &parents {
                graph.mention(UNIT, *parent, None);
            }
            let version_row = Recordable {
                parents,
                content: None,
                told: Told { recorded, row: 0 },
            };
            assert!(graph.record(UNIT, id(*version), version_row, recorded + 1));
        }
        graph
    }

    #[test]
    fn ancestry_and_common_ground_do_not_depend_on_the_order_of_recording() {
        let rows: [(u8, &[u8]); 5] = [(1, &[]), (2, &[1]), (3, &[1]), (4, &[2, 3]), (5, &[4])];
        for shift in 0..rows.len() {
            let mut turned = rows;
            turned.rotate_left(shift);
            let graph = graph(&turned);
            assert!(graph.is_ancestor(UNIT, id(1), id(5)));
            assert!(graph.is_ancestor(UNIT, id(3), id(5)));
            assert!(!graph.is_ancestor(UNIT, id(3), id(2)));
            assert!(!graph.is_ancestor(UNIT, id(5), id(1)));
            for older in 1..=5 {
                let mut known = BTreeMap::new();
                for newer in [4, 5, 1, 3, 2] {
                    let is_ancestor = graph.is_ancestor(UNIT, id(older), id(newer));
                    let descends = graph.descends(UNIT, id(older), id(newer), &mut known);
                    assert_eq!(descends, is_ancestor, "{older} {newer}");
                }
            }
            assert_eq!(graph.common(UNIT, id(2), id(3)), Some(id(1)));
            assert_eq!(graph.depth(UNIT, id(5)), 3);
            assert!(graph.is_rooted(UNIT, id(5)));
        }
    }

    #[test]
    fn two_settlements_of_one_conflict_have_no_common_ground() {
        let graph = graph(&[(1, &[]), (2, &[1]), (3, &[1]), (4, &[2, 3]), (5, &[2, 3])]);
        assert_eq!(graph.common(UNIT, id(4), id(5)), None);
        assert_eq!(graph.common(UNIT, id(2), id(3)), Some(id(1)));
        assert_eq!(graph.common(UNIT, id(4), id(2)), Some(id(2)));
    }

    #[test]
    fn a_root_that_is_told_last_raises_each_of_its_descendants_once() {
        let of = |n: u32| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            VersionId(id)
        };
        let mut graph = Graph::default();
        let mut tell = |id: VersionId, parents: Vec<VersionId>| {
            for parent in &parents {
                graph.mention(UNIT, *parent, None);
            }
            let told = Recordable {
                parents,
                content: None,
                told: Told {
                    recorded: 0,
                    row: 0,
                },
            };
            graph.record(UNIT, id, told, 1);
            graph.depth(UNIT, of(400))
        };
        for n in 1..=400 {
            tell(of(n), (0..n).map(of).collect());
        }
        // Each told after its descendants, as long as it takes.
        for n in 1_000..1_100 {
            tell(of(n), vec![of(n + 1)]);
        }
        assert_eq!(tell(of(0), vec![of(1_000)]), 400 + 101);
    }

    #[test]
    fn a_birth_that_no_patch_tells_of_is_no_root() {
        let graph = graph(&[(2, &[1]), (3, &[2])]);
        assert!(!graph.is_rooted(UNIT, id(3)));
        assert_eq!(graph.common(UNIT, id(3), id(2)), Some(id(2)));
    }
}
