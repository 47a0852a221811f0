//! Units with more than one head: what joins by itself, and what somebody must decide.
//!
//! Invariant: whether two versions exclude each other follows from their texts and their base alone, so every device
//! finds the same conflicts under the same names.

use aura_proto::ids::base32;
use aura_semantic::{ContentHash, LineMerge, OwnText, Text, UnitId, merge_lines};

use super::{super::body::VersionId, Bodies, Units};

/// One side of a conflict.
#[derive(Debug, Clone)]
pub struct Side {
    /// The version.
    pub version: VersionId,
    /// The patch that made it.
    pub recorded: usize,
    /// Its content; `None` when the unit is deleted on this side.
    pub content: Option<ContentHash>,
    /// Its text, as far as a patch carried it.
    pub text: Option<OwnText>,
}

/// A unit with two versions that exclude each other.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// `c-` and six characters; the same on every peer.
    pub id: String,
    /// The unit.
    pub unit: UnitId,
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: String,
    /// What both came from, when known.
    pub base: Option<OwnText>,
    /// This peer's side, or the one placed first.
    pub mine: Side,
    /// The other side.
    pub theirs: Side,
    /// Every head, for the parents of a settlement.
    pub heads: Vec<VersionId>,
}

/// A join that this peer owes: it wrote second.
#[derive(Debug, Clone)]
pub struct DueMerge {
    /// The unit.
    pub unit: UnitId,
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: String,
    /// The heads joined.
    pub heads: Vec<VersionId>,
    /// The own version.
    pub mine: OwnText,
    /// The joined text.
    pub merged: OwnText,
}

impl Units {
    /// Units of this channel in which concurrent versions exclude each other.
    pub fn conflicts(&self, bodies: Bodies<'_>) -> Vec<Conflict> {
        let conflict = |fork: Fork<'_>| {
            let base = self.base_of(&fork, bodies);
            let is_joined = fork.merged(base.as_ref()).is_some();
            if is_joined && fork.heads.len() == 2 {
                return None;
            }
            let (mine, theirs) = if self.author(&fork.second) == self.me {
                (fork.second, fork.first)
            } else {
                (fork.first, fork.second)
            };
            Some(Conflict {
                id: conflict_id(fork.unit, &fork.heads),
                unit: fork.unit,
                name: fork.name.to_string(),
                path: fork.path.to_string(),
                base,
                mine,
                theirs,
                heads: fork.heads,
            })
        };
        self.forks(bodies).filter_map(conflict).collect()
    }

    /// Joins that this peer owes because its version was placed second.
    // spec: patch/3.5
    pub fn due_merges(&self, bodies: Bodies<'_>) -> Vec<DueMerge> {
        let due = |fork: Fork<'_>| {
            let placed = |side: &Side| self.recorded.get(side.recorded)?.origin.seq;
            placed(&fork.first)?;
            placed(&fork.second)?;
            if fork.heads.len() != 2 || self.author(&fork.second) != self.me {
                return None;
            }
            let base = self.base_of(&fork, bodies);
            let merged = fork.merged(base.as_ref())??;
            Some(DueMerge {
                unit: fork.unit,
                name: fork.name.to_string(),
                path: fork.path.to_string(),
                heads: fork.heads,
                mine: fork.second.text?,
                merged,
            })
        };
        self.forks(bodies).filter_map(due).collect()
    }

    /// Units of this channel with more than one head, their first two heads in the order in which the Mothership
    /// placed them; one without a place comes last.
    fn forks<'a>(&'a self, bodies: Bodies<'a>) -> impl Iterator<Item = Fork<'a>> {
        let forked = self.forked.get(&self.channel);
        forked.into_iter().flatten().filter_map(move |unit| {
            let history = self.units.get(unit)?;
            let heads: Vec<VersionId> = history.heads.get(&self.channel)?.iter().copied().collect();
            let mut sides: Vec<(usize, VersionId)> = heads
                .iter()
                .filter_map(|head| Some((self.first_told(*head)?, *head)))
                .collect();
            sides.sort_by_key(|(recorded, _)| self.place(*recorded));
            let newest = self.recorded.get(sides.get(1)?.0)?;
            let file = UnitId::file(&newest.path);
            if *unit != file && forked.is_some_and(|forked| forked.contains(&file)) {
                // Whoever settles the file settles its units.
                return None;
            }
            let mut sides = sides.into_iter().map(|(recorded, version)| Side {
                version,
                recorded,
                content: self.graph.get(version).and_then(|version| version.content),
                text: self.text_of(version, bodies),
            });
            let row = newest
                .touched
                .iter()
                .find(|(touched, ..)| touched == unit)?;
            Some(Fork {
                unit: *unit,
                path: &newest.path,
                name: &row.1,
                first: sides.next()?,
                second: sides.next()?,
                heads,
            })
        })
    }

    /// The text of the nearest version that both sides came from.
    fn base_of(&self, fork: &Fork<'_>, bodies: Bodies<'_>) -> Option<OwnText> {
        let common = self.graph.common(fork.first.version, fork.second.version)?;
        self.text_of(common, bodies)
    }
}

/// A unit with more than one head.
struct Fork<'a> {
    unit: UnitId,
    /// Where it is and what it is called on the side that was placed later.
    path: &'a str,
    name: &'a str,
    first: Side,
    second: Side,
    heads: Vec<VersionId>,
}

impl Fork<'_> {
    /// Both sides in one text: `None` when they exclude each other, `Some(None)` when both deleted the unit.
    fn merged(&self, base: Option<&OwnText>) -> Option<Option<OwnText>> {
        if self.first.content == self.second.content {
            return Some(self.first.text.clone());
        }
        match (&self.first.text, &self.second.text) {
            (Some(first), Some(second)) => merge(base?, first, second).map(Some),
            _ => None,
        }
    }
}

/// Joins two texts; `None` when they exclude each other.
fn merge(base: &OwnText, a: &OwnText, b: &OwnText) -> Option<OwnText> {
    let head = clean(&base.head, &a.head, &b.head)?;
    let foot = match (&base.foot, &a.foot, &b.foot) {
        (Some(base), Some(a), Some(b)) => Some(clean(base, a, b)?),
        (None, None, None) => None,
        _ => return None,
    };
    Some(OwnText { head, foot })
}

fn clean(base: &Text, a: &Text, b: &Text) -> Option<Text> {
    match merge_lines(base.bytes(), a.bytes(), b.bytes()) {
        LineMerge::Clean(bytes) => Some(Text(bytes)),
        LineMerge::Conflict(_) => None,
    }
}

fn conflict_id(unit: UnitId, heads: &[VersionId]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("aura/v1/conflict");
    hasher.update(&unit.0);
    for head in heads {
        hasher.update(&head.0);
    }
    let id = &base32().encode(&hasher.finalize().as_bytes()[..4])[..6];
    format!("c-{id}")
}
