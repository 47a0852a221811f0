//! Which unit of a new version is which unit of the old one.
//!
//! Invariants:
//! - ids depend on path, bytes and the ids before, on nothing else;
//! - no two units of one version share an id;
//! - cost: linear in units, times a logarithm, except the similarity search, which looks at
//!   [`crate::similar::UNITS_MAX`] units a side and a bounded number of candidates for each.

use std::collections::{BTreeMap, BTreeSet};

use crate::language::UnitKind;
use crate::outline::{Outline, Unit};
use crate::similar;
use crate::value::{ContentHash, UnitId};

/// Most containers of one name that are told apart by their members.
const NAMESAKES_MAX: usize = 64;

impl UnitId {
    /// The pseudo unit that stands for a whole file.
    pub fn file(path: &str) -> Self {
        short(file_digest(path))
    }
}

/// An outline with the bytes it was made of.
#[derive(Clone, Copy)]
pub(crate) struct Version<'a> {
    pub(crate) outline: &'a Outline,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Version<'a> {
    pub(crate) fn unit(&self, index: usize) -> &'a Unit {
        &self.outline.units[index]
    }

    fn text(&self, index: usize) -> &'a [u8] {
        &self.bytes[self.unit(index).span.clone()]
    }
}

fn file_digest(path: &str) -> [u8; 32] {
    digest("aura-semantic file id 1", &[path.as_bytes()])
}

fn digest(purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

fn short(digest: [u8; 32]) -> UnitId {
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    UnitId(id)
}

/// The ids units have when nothing is known about the past.
pub(crate) fn birth_digests(path: &str, outline: &Outline) -> Vec<[u8; 32]> {
    let file = file_digest(path);
    let mut ordinals: BTreeMap<[u8; 32], u64> = BTreeMap::new();
    let mut births: Vec<[u8; 32]> = Vec::with_capacity(outline.units.len());
    for unit in &outline.units {
        let container = unit.parent.map_or(&file, |parent| &births[parent]);
        // A unit without a name is known by what it says.
        let content: &[u8] = if unit.name.is_empty() {
            &unit.own_hash.0
        } else {
            &[]
        };
        let key = digest(
            "aura-semantic unit key 1",
            &[
                container,
                unit.kind.word().as_bytes(),
                unit.name.as_bytes(),
                unit.parameters.as_bytes(),
                content,
            ],
        );
        let ordinal = ordinals.entry(key).or_insert(0);
        births.push(digest(
            "aura-semantic unit id 1",
            &[&key, &ordinal.to_le_bytes()],
        ));
        *ordinal += 1;
    }
    births
}

/// The ids of a version that has no past.
pub(crate) fn birth_ids(path: &str, outline: &Outline) -> Vec<UnitId> {
    assign(path, outline, &[], &vec![None; outline.units.len()])
}

/// Carries ids from one version to the next.
pub(crate) fn carried_ids(
    path: &str,
    before: Version<'_>,
    before_ids: &[UnitId],
    after: Version<'_>,
) -> Vec<UnitId> {
    let partners = Matching::new(before, after).partners();
    assign(path, after.outline, before_ids, &partners)
}

fn assign(
    path: &str,
    outline: &Outline,
    before_ids: &[UnitId],
    partners: &[Option<usize>],
) -> Vec<UnitId> {
    let births = birth_digests(path, outline);
    let kept = |index: usize| partners[index].and_then(|partner| before_ids.get(partner).copied());
    let mut taken: BTreeSet<UnitId> = (0..births.len()).filter_map(kept).collect();
    let mut ids = Vec::with_capacity(births.len());
    for (index, birth) in births.iter().enumerate() {
        let id = kept(index).unwrap_or_else(|| {
            let mut id = short(*birth);
            let mut counter = 0_u64;
            while !taken.insert(id) {
                counter += 1;
                id = short(digest(
                    "aura-semantic reborn id 1",
                    &[birth, &counter.to_le_bytes()],
                ));
            }
            id
        });
        ids.push(id);
    }
    ids
}

/// Unmatched units of either side.
type Group = (Vec<usize>, Vec<usize>);
type Key<'a> = (UnitKind, &'a str, &'a str);

fn key(unit: &Unit) -> Key<'_> {
    (unit.kind.sort(), &unit.name, &unit.parameters)
}

/// Pairs found so far, in both directions.
struct Matching<'a> {
    before: Version<'a>,
    after: Version<'a>,
    to_after: Vec<Option<usize>>,
    to_before: Vec<Option<usize>>,
    /// Paired containers whose members have not been compared yet.
    open: Vec<(Option<usize>, Option<usize>)>,
}

impl<'a> Matching<'a> {
    fn new(before: Version<'a>, after: Version<'a>) -> Self {
        Self {
            before,
            after,
            to_after: vec![None; before.outline.units.len()],
            to_before: vec![None; after.outline.units.len()],
            open: vec![(None, None)],
        }
    }

    fn partners(mut self) -> Vec<Option<usize>> {
        self.by_key();
        self.by_fingerprint();
        self.by_votes();
        self.by_similarity();
        self.by_neighbours();
        self.to_before
    }

    fn pair(&mut self, before: usize, after: usize) {
        self.to_after[before] = Some(after);
        self.to_before[after] = Some(before);
        if self.before.unit(before).inner.is_some() && self.after.unit(after).inner.is_some() {
            self.open.push((Some(before), Some(after)));
        }
    }

    fn free_before(&self) -> Vec<usize> {
        (0..self.to_after.len())
            .filter(|at| self.to_after[*at].is_none())
            .collect()
    }

    fn free_after(&self) -> Vec<usize> {
        (0..self.to_before.len())
            .filter(|at| self.to_before[*at].is_none())
            .collect()
    }

    /// Pairs members of paired containers by kind, name and parameters.
    fn by_key(&mut self) {
        while let Some((before, after)) = self.open.pop() {
            let mut groups: BTreeMap<Key<'a>, Group> = BTreeMap::new();
            for at in members(self.before.outline, before) {
                if self.to_after[at].is_none() {
                    groups
                        .entry(key(self.before.unit(at)))
                        .or_default()
                        .0
                        .push(at);
                }
            }
            for at in members(self.after.outline, after) {
                if self.to_before[at].is_none() {
                    groups
                        .entry(key(self.after.unit(at)))
                        .or_default()
                        .1
                        .push(at);
                }
            }
            let mut left: BTreeMap<(UnitKind, &str), Group> = BTreeMap::new();
            for ((kind, name, _), (mut ours, mut theirs)) in groups {
                self.group(name, &mut ours, &mut theirs);
                let group = left.entry((kind, name)).or_default();
                group.0.append(&mut ours);
                group.1.append(&mut theirs);
            }
            // New parameter types on a function that has no namesake do not make it another.
            for ((_, name), (ours, theirs)) in left {
                if let ([one], [other]) = (&ours[..], &theirs[..])
                    && !name.is_empty()
                {
                    self.pair(*one, *other);
                }
            }
        }
    }

    /// Pairs units of one key; what is left over stays in the lists.
    fn group(&mut self, name: &str, ours: &mut Vec<usize>, theirs: &mut Vec<usize>) {
        if let ([one], [other]) = (&ours[..], &theirs[..])
            && !name.is_empty()
        {
            self.pair(*one, *other);
            ours.clear();
            theirs.clear();
            return;
        }
        let mut by_text: BTreeMap<ContentHash, Vec<usize>> = BTreeMap::new();
        for at in theirs.iter().rev() {
            by_text
                .entry(ContentHash::of(self.after.text(*at)))
                .or_default()
                .push(*at);
        }
        for at in ours.iter() {
            let same = by_text.get_mut(&ContentHash::of(self.before.text(*at)));
            if let Some(other) = same.and_then(Vec::pop) {
                self.pair(*at, other);
            }
        }
        self.drop_paired(ours, theirs);
        if name.is_empty() {
            return;
        }
        self.namesakes(ours, theirs);
        self.drop_paired(ours, theirs);
        for (one, other) in ours.iter().zip(theirs.iter()) {
            self.pair(*one, *other);
        }
        self.drop_paired(ours, theirs);
    }

    fn drop_paired(&self, ours: &mut Vec<usize>, theirs: &mut Vec<usize>) {
        ours.retain(|at| self.to_after[*at].is_none());
        theirs.retain(|at| self.to_before[*at].is_none());
    }

    /// Pairs containers that share most members.
    fn namesakes(&mut self, ours: &[usize], theirs: &[usize]) {
        if ours.len() > NAMESAKES_MAX || theirs.len() > NAMESAKES_MAX {
            return;
        }
        let mut scored = Vec::new();
        for one in ours {
            for other in theirs {
                let shared = self.shared_members(*one, *other);
                if shared > 0 {
                    scored.push((std::cmp::Reverse(shared), *one, *other));
                }
            }
        }
        scored.sort_unstable();
        for (_, one, other) in scored {
            if self.to_after[one].is_none() && self.to_before[other].is_none() {
                self.pair(one, other);
            }
        }
    }

    fn shared_members(&self, before: usize, after: usize) -> usize {
        let names = |version: &Version<'a>, container| -> BTreeSet<(UnitKind, &'a str)> {
            let outline = version.outline;
            let named = members(outline, Some(container)).map(|at| &outline.units[at]);
            let named = named.filter(|unit| !unit.name.is_empty());
            named
                .map(|unit| (unit.kind.sort(), unit.name.as_str()))
                .collect()
        };
        let ours = names(&self.before, before);
        ours.intersection(&names(&self.after, after)).count()
    }

    /// Pairs units that say the same under another name or in another place.
    fn by_fingerprint(&mut self) {
        let mut found: BTreeMap<(UnitKind, u64), Group> = BTreeMap::new();
        for (at, print) in similar::fingerprints(self.before, &self.free_before()) {
            let kind = self.before.unit(at).kind.sort();
            found.entry((kind, print)).or_default().0.push(at);
        }
        for (at, print) in similar::fingerprints(self.after, &self.free_after()) {
            let kind = self.after.unit(at).kind.sort();
            found.entry((kind, print)).or_default().1.push(at);
        }
        for (ours, theirs) in found.into_values() {
            for (one, other) in ours.into_iter().zip(theirs) {
                if self.to_after[one].is_none() && self.to_before[other].is_none() {
                    self.pair(one, other);
                    // At once, so that members stay with their container.
                    self.by_key();
                }
            }
        }
    }

    /// Pairs containers most of whose members have the same names.
    fn by_votes(&mut self) {
        let containers = |version: &Version<'a>, free: Vec<usize>| -> Vec<usize> {
            free.into_iter()
                .filter(|at| version.unit(*at).inner.is_some())
                .collect()
        };
        let ours = containers(&self.before, self.free_before());
        let theirs = containers(&self.after, self.free_after());
        if ours.len() > NAMESAKES_MAX || theirs.len() > NAMESAKES_MAX {
            return;
        }
        for one in ours {
            let best = theirs.iter().copied().filter(|other| {
                self.to_before[*other].is_none()
                    && self.before.unit(one).kind == self.after.unit(*other).kind
            });
            let best = best.map(|other| (self.shared_members(one, other), other));
            let Some((shared, other)) = best.max_by_key(|(shared, at)| (*shared, usize::MAX - at))
            else {
                continue;
            };
            let size = members(self.before.outline, Some(one)).count();
            let other_size = members(self.after.outline, Some(other)).count();
            if shared > 0 && shared * 2 > size.max(other_size) {
                self.pair(one, other);
                self.by_key();
            }
        }
    }

    fn by_similarity(&mut self) {
        let pairs = similar::pairs(
            (self.before, self.free_before()),
            (self.after, self.free_after()),
        );
        for (one, other) in pairs {
            if self.to_after[one].is_none() && self.to_before[other].is_none() {
                self.pair(one, other);
                self.by_key();
            }
        }
    }

    /// Pairs nameless units that stand after the same unit.
    fn by_neighbours(&mut self) {
        let befores = previous_siblings(self.before.outline);
        let afters = previous_siblings(self.after.outline);
        let mut at_place = BTreeMap::new();
        for at in self.free_before() {
            let unit = self.before.unit(at);
            if unit.name.is_empty() && unit.inner.is_none() {
                at_place.insert((unit.parent, befores[at], unit.kind), at);
            }
        }
        for (at, above) in afters.into_iter().enumerate() {
            let unit = self.after.unit(at);
            if self.to_before[at].is_some() || !unit.name.is_empty() || unit.inner.is_some() {
                continue;
            }
            let back = |index: Option<usize>| match index {
                None => Some(None),
                Some(index) => self.to_before[index].map(Some),
            };
            let (Some(parent), Some(previous)) = (back(unit.parent), back(above)) else {
                continue;
            };
            if let Some(one) = at_place.remove(&(parent, previous, unit.kind)) {
                self.pair(one, at);
            }
        }
    }
}

/// The direct members of a container, or the top-level units.
pub(crate) fn members(
    outline: &Outline,
    container: Option<usize>,
) -> impl Iterator<Item = usize> + '_ {
    let (mut at, end) = match container {
        None => (0, outline.units.len()),
        Some(container) => (container + 1, outline.units[container].end),
    };
    std::iter::from_fn(move || {
        let index = at;
        (index < end).then(|| {
            at = outline.units[index].end;
            index
        })
    })
}

fn previous_siblings(outline: &Outline) -> Vec<Option<usize>> {
    let mut last: BTreeMap<Option<usize>, usize> = BTreeMap::new();
    let siblings = outline.units.iter().enumerate();
    siblings
        .map(|(at, unit)| last.insert(unit.parent, at))
        .collect()
}
