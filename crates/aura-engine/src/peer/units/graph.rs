//! What follows from what: the graph of versions of all units.
//!
//! Invariants:
//! - a version is never dropped, and an edge never changes once its version is recorded;
//! - the depth of a version is one more than that of its deepest parent, so a walk towards an ancestor never goes
//!   below it and costs what lies between the two, not the length of history.

use std::collections::{BTreeMap, BTreeSet};

use aura_semantic::ContentHash;

use super::super::body::VersionId;

/// One version of one unit.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) parents: Vec<VersionId>,
    /// `None` when the unit is deleted in it.
    pub(super) content: Option<ContentHash>,
    /// Where it was told first; `None` for the version that a unit was born with, or while no patch has told of it.
    pub(super) told: Option<Told>,
    /// Its number within the unit, from 1 in the order of recording; 0 while not recorded.
    pub(super) number: usize,
    depth: u32,
    /// Whether nothing but recorded versions lead to it: no working copy can have had the unit before them.
    pub(super) is_rooted: bool,
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
    versions: BTreeMap<VersionId, Version>,
}

impl Graph {
    pub(super) fn get(&self, id: VersionId) -> Option<&Version> {
        self.versions.get(&id)
    }

    /// A version that patches name as a parent before, or without, telling of it themselves.
    pub(super) fn mention(&mut self, id: VersionId, content: Option<ContentHash>) {
        self.versions.entry(id).or_insert(Version {
            parents: Vec::new(),
            content,
            told: None,
            number: 0,
            depth: 0,
            is_rooted: false,
        });
    }

    /// Takes a version that a patch told of; `false` when it was known. `unit` are the recorded versions of its unit.
    pub(super) fn record(
        &mut self,
        id: VersionId,
        version: Recordable,
        unit: &[VersionId],
    ) -> bool {
        let known = self.versions.get(&id);
        if known.is_some_and(|known| known.told.is_some()) {
            return false;
        }
        let was_mentioned = known.is_some();
        let version = Version {
            parents: version.parents,
            content: version.content,
            told: Some(version.told),
            number: unit.len() + 1,
            depth: 0,
            is_rooted: false,
        };
        self.versions.insert(id, version);
        self.derive(id);
        if was_mentioned {
            self.derive_descendants(id, unit);
        }
        true
    }

    /// Whether `newer` follows from `older`, directly or not.
    pub(super) fn is_ancestor(&self, older: VersionId, newer: VersionId) -> bool {
        let Some(floor) = self.versions.get(&older).map(|version| version.depth) else {
            return false;
        };
        let mut seen = BTreeSet::new();
        let mut open = vec![newer];
        while let Some(id) = open.pop() {
            for parent in self.parents(id) {
                if *parent == older {
                    return true;
                }
                if floor < self.depth(*parent) && seen.insert(*parent) {
                    open.push(*parent);
                }
            }
        }
        false
    }

    /// Like [`Graph::is_ancestor`], for many questions about one `older`: `known` keeps what was found.
    pub(super) fn descends(
        &self,
        older: VersionId,
        newer: VersionId,
        known: &mut BTreeMap<VersionId, bool>,
    ) -> bool {
        let floor = self.depth(older);
        let mut open = vec![newer];
        while let Some(id) = open.last().copied() {
            if known.contains_key(&id) {
                open.pop();
                continue;
            }
            let follows =
                |parent: &&VersionId| **parent == older || known.get(parent) == Some(&true);
            let is_found = self.parents(id).iter().any(|parent| follows(&parent));
            let is_open =
                |parent: &&VersionId| floor < self.depth(**parent) && !known.contains_key(*parent);
            let further = self.parents(id).iter().filter(is_open);
            let further: Vec<VersionId> = further.copied().collect();
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
    pub(super) fn common(&self, a: VersionId, b: VersionId) -> Option<VersionId> {
        let mut open: BTreeMap<(u32, VersionId), Sides> = BTreeMap::new();
        open.entry((self.depth(a), a)).or_default().a = true;
        open.entry((self.depth(b), b)).or_default().b = true;
        let mut found = None;
        // The deepest first: whoever has been passed is nobody's descendant that is still to come.
        while let Some(((_, id), mut sides)) = open.pop_last() {
            if sides.a && sides.b && !sides.is_covered {
                if found.is_some() {
                    return None;
                }
                found = Some(id);
                sides.is_covered = true;
            }
            if found.is_some() && open.values().all(|sides| sides.is_covered) && sides.is_covered {
                return found;
            }
            for parent in self.parents(id) {
                let known = open.entry((self.depth(*parent), *parent)).or_default();
                known.a |= sides.a;
                known.b |= sides.b;
                known.is_covered |= sides.is_covered;
            }
        }
        found
    }

    fn parents(&self, id: VersionId) -> &[VersionId] {
        self.versions
            .get(&id)
            .map_or(&[], |version| &version.parents)
    }

    /// How many versions lie before one on the longest way back.
    pub(super) fn depth(&self, id: VersionId) -> u32 {
        self.versions.get(&id).map_or(0, |version| version.depth)
    }

    /// Computes what follows from the parents of `id`; answers whether that changed anything.
    fn derive(&mut self, id: VersionId) -> bool {
        let parents = self.parents(id);
        let depth = parents
            .iter()
            .map(|parent| self.depth(*parent).saturating_add(1))
            .max()
            .unwrap_or(0);
        let is_rooted = parents.iter().all(|parent| {
            self.versions
                .get(parent)
                .is_some_and(|parent| parent.is_rooted)
        });
        let Some(version) = self.versions.get_mut(&id) else {
            return false;
        };
        let was = (version.depth, version.is_rooted);
        (version.depth, version.is_rooted) = (depth, is_rooted);
        was != (depth, is_rooted)
    }

    /// A version turned out to have parents after others had named it as theirs.
    fn derive_descendants(&mut self, id: VersionId, unit: &[VersionId]) {
        let mut children: BTreeMap<VersionId, Vec<VersionId>> = BTreeMap::new();
        for child in unit {
            for parent in self.parents(*child) {
                children.entry(*parent).or_default().push(*child);
            }
        }
        // Each once, behind all of its parents that follow, too: otherwise a long chain is walked again and again.
        let below = |id: &VersionId| children.get(id).into_iter().flatten().copied();
        let mut due: BTreeMap<VersionId, usize> = BTreeMap::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            for child in below(&id) {
                let parents = due.entry(child).or_insert(0);
                *parents += 1;
                if *parents == 1 {
                    open.push(child);
                }
            }
        }
        let mut ready = vec![id];
        while let Some(id) = ready.pop() {
            for child in below(&id) {
                let Some(parents) = due.get_mut(&child) else {
                    continue;
                };
                *parents -= 1;
                if *parents == 0 {
                    self.derive(child);
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

    /// Records versions given as (id, parents), in this order.
    fn graph(rows: &[(u8, &[u8])]) -> Graph {
        let mut graph = Graph::default();
        let mut unit = Vec::new();
        for (recorded, (version, parents)) in rows.iter().enumerate() {
            let parents: Vec<VersionId> = parents.iter().copied().map(id).collect();
            for parent in &parents {
                graph.mention(*parent, None);
            }
            let version_row = Recordable {
                parents,
                content: None,
                told: Told { recorded, row: 0 },
            };
            assert!(graph.record(id(*version), version_row, &unit));
            unit.push(id(*version));
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
            assert!(graph.is_ancestor(id(1), id(5)));
            assert!(graph.is_ancestor(id(3), id(5)));
            assert!(!graph.is_ancestor(id(3), id(2)));
            assert!(!graph.is_ancestor(id(5), id(1)));
            for older in 1..=5 {
                let mut known = BTreeMap::new();
                for newer in [4, 5, 1, 3, 2] {
                    let is_ancestor = graph.is_ancestor(id(older), id(newer));
                    let descends = graph.descends(id(older), id(newer), &mut known);
                    assert_eq!(descends, is_ancestor, "{older} {newer}");
                }
            }
            assert_eq!(graph.common(id(2), id(3)), Some(id(1)));
            assert_eq!(graph.get(id(5)).map(|version| version.depth), Some(3));
            assert!(graph.get(id(5)).is_some_and(|version| version.is_rooted));
        }
    }

    #[test]
    fn two_settlements_of_one_conflict_have_no_common_ground() {
        let graph = graph(&[(1, &[]), (2, &[1]), (3, &[1]), (4, &[2, 3]), (5, &[2, 3])]);
        assert_eq!(graph.common(id(4), id(5)), None);
        assert_eq!(graph.common(id(2), id(3)), Some(id(1)));
        assert_eq!(graph.common(id(4), id(2)), Some(id(2)));
    }

    #[test]
    fn a_root_that_is_told_last_raises_each_of_its_descendants_once() {
        let of = |n: u32| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            VersionId(id)
        };
        let (mut graph, mut unit) = (Graph::default(), Vec::new());
        let mut tell = |id: VersionId, parents: Vec<VersionId>| {
            for parent in &parents {
                graph.mention(*parent, None);
            }
            let told = Recordable {
                parents,
                content: None,
                told: Told {
                    recorded: 0,
                    row: 0,
                },
            };
            graph.record(id, told, &unit);
            unit.push(id);
            graph.depth(of(400))
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
        assert!(graph.get(id(3)).is_some_and(|version| !version.is_rooted));
        assert_eq!(graph.common(id(3), id(2)), Some(id(2)));
    }
}
