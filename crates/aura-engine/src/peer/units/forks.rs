//! Units with more than one head: what joins by itself, and what somebody must decide.
//!
//! Invariant: whether two versions exclude each other follows from their texts and their base alone, so every device
//! finds the same conflicts under the same names.

use std::{collections::BTreeSet, sync::Arc};

use aura_proto::ids::base32;
use aura_semantic::{ContentHash, OwnText, UnitId, join};

use super::{super::body::VersionId, Bodies, Units, file::File, graph::Told};

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
    /// Every head in rising order, from which the id is made.
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

/// A conflict without its texts.
#[derive(Debug, Clone)]
pub struct OpenConflict {
    /// As in [`Conflict::id`].
    pub id: String,
    /// The name of the unit.
    pub name: String,
    /// The patch that made the other side.
    pub theirs: usize,
}

impl Units {
    /// Units of this channel in which concurrent versions exclude each other.
    ///
    /// `here` tells the content that a unit has in this working copy: that side is this peer's.
    pub fn conflicts(&self, bodies: Bodies<'_>, here: Contents<'_>) -> Vec<Conflict> {
        let open = self.excluding(bodies);
        open.map(|fork| {
            let side = |(recorded, version): (usize, VersionId)| Side {
                version,
                recorded,
                content: fork.content(version),
                text: self.text_of(&fork, version, bodies),
            };
            let content = here(fork.path, fork.unit);
            let is_here = |side: &&(usize, VersionId)| content == Some(fork.content(side.1));
            let (mine, theirs) = match fork.sides.iter().find(is_here) {
                Some(mine) => {
                    let other = fork.sides.iter().find(|side| *side != mine);
                    (*mine, other.copied().unwrap_or(fork.first))
                }
                None => self.mine_and_theirs(&fork),
            };
            let common = fork.file.graph.common(fork.unit, mine.1, theirs.1);
            let base = common.and_then(|common| self.text_of(&fork, common, bodies));
            Conflict {
                id: conflict_id(fork.unit, &fork.heads),
                unit: fork.unit,
                name: fork.name.to_string(),
                path: fork.path.to_string(),
                base,
                mine: side(mine),
                theirs: side(theirs),
                heads: fork.heads,
            }
        })
        .collect()
    }

    /// The files of units with more than one head.
    pub fn forked_paths(&self) -> BTreeSet<Arc<str>> {
        self.forks().map(|fork| Arc::clone(fork.path)).collect()
    }

    /// The open conflicts, without reading texts that were read before.
    pub fn open_conflicts(&self, bodies: Bodies<'_>) -> Vec<OpenConflict> {
        let open = self.excluding(bodies).map(|fork| OpenConflict {
            id: conflict_id(fork.unit, &fork.heads),
            name: fork.name.to_string(),
            theirs: self.mine_and_theirs(&fork).1.0,
        });
        open.collect()
    }

    /// Joins that this peer owes because its version was placed second.
    // spec: patch/3.5
    pub fn due_merges(&self, bodies: Bodies<'_>) -> Vec<DueMerge> {
        let is_due = |fork: &Fork<'_>| {
            let is_placed = |side: (usize, VersionId)| self.recorded[side.0].origin.seq.is_some();
            let is_mine = self.recorded[fork.second.0].origin.writer.peer == self.me;
            fork.heads.len() == 2 && is_mine && is_placed(fork.first) && is_placed(fork.second)
        };
        let due = self.forks().filter(is_due);
        due.filter(|fork| self.joins(fork, bodies))
            .filter_map(|fork| {
                let [first, second] = [fork.first.1, fork.second.1];
                let common = fork.file.graph.common(fork.unit, first, second);
                let merged = self.merged(&fork, common, bodies)??;
                Some(DueMerge {
                    unit: fork.unit,
                    name: fork.name.to_string(),
                    path: fork.path.to_string(),
                    mine: self.text_of(&fork, fork.second.1, bodies)?,
                    heads: fork.heads,
                    merged,
                })
            })
            .collect()
    }

    fn excluding<'a>(&'a self, bodies: Bodies<'a>) -> impl Iterator<Item = Fork<'a>> {
        let forks = self.forks();
        forks.filter(move |fork| fork.heads.len() != 2 || !self.joins(fork, bodies))
    }

    /// This peer's side, or the one placed first, and the other.
    fn mine_and_theirs(&self, fork: &Fork<'_>) -> ((usize, VersionId), (usize, VersionId)) {
        if self.recorded[fork.second.0].origin.writer.peer == self.me {
            (fork.second, fork.first)
        } else {
            (fork.first, fork.second)
        }
    }

    /// Units of this channel with more than one head, their first two heads in the order in which the Mothership
    /// placed them; one without a place comes last.
    pub(super) fn forks(&self) -> impl Iterator<Item = Fork<'_>> {
        // Whoever settles the file settles its units.
        let is_open = |(path, unit): &&(Arc<str>, UnitId)| {
            let whole = UnitId::file(path);
            *unit == whole || !self.forked.contains(&(Arc::clone(path), whole))
        };
        let open = self.forked.iter().filter(is_open);
        open.filter_map(|(path, unit)| self.fork(path, *unit))
    }

    fn fork<'a>(&'a self, path: &'a Arc<str>, unit: UnitId) -> Option<Fork<'a>> {
        let file = self.files.get(path)?;
        let heads = file.heads(unit).to_vec();
        let told = |head: &VersionId| Some((self.first_told(file, unit, *head)?, *head));
        let mut told: Vec<(Told, VersionId)> = heads.iter().filter_map(told).collect();
        told.sort_by_key(|(told, _)| self.place(told.recorded));
        let newest = told.get(1)?.0;
        let row = self
            .recorded
            .get(newest.recorded)?
            .touched
            .get(newest.row)?;
        let sides = told.iter().map(|(told, head)| (told.recorded, *head));
        let sides: Vec<(usize, VersionId)> = sides.collect();
        Some(Fork {
            unit,
            path,
            file,
            name: &row.1,
            first: *sides.first()?,
            second: *sides.get(1)?,
            sides,
            heads,
        })
    }

    /// Whether both sides join. Found once for each pair: many conflicts may stay open for long, and whatever comes
    /// in asks for all of them. A text that cannot be read is looked for again when a further patch may carry it.
    fn joins(&self, fork: &Fork<'_>, bodies: Bodies<'_>) -> bool {
        let key = (Arc::clone(fork.path), fork.unit);
        let versions = fork.file.count(fork.unit);
        let sides = [fork.first.1, fork.second.1];
        let known = self.verdicts.borrow().get(&key).copied();
        let known = known.filter(|known| known.versions == versions && known.sides == sides);
        if let Some(known) = known
            && known.carriers == self.carriers(fork, known.common)
        {
            return known.joins;
        }
        let common = match known {
            Some(known) => known.common,
            None => fork.file.graph.common(fork.unit, sides[0], sides[1]),
        };
        let joins = self.merged(fork, common, bodies).is_some();
        let verdict = Verdict {
            versions,
            sides,
            common,
            carriers: self.carriers(fork, common),
            joins,
        };
        self.verdicts.borrow_mut().insert(key, verdict);
        joins
    }

    /// How many patches may carry the texts of both sides and of what both came from.
    fn carriers(&self, fork: &Fork<'_>, common: Option<VersionId>) -> [usize; 3] {
        [Some(fork.first.1), Some(fork.second.1), common].map(|version| {
            let content = version.and_then(|version| fork.content(version));
            content.map_or(0, |content| self.texts.count(content))
        })
    }

    /// Both sides in one text: `None` when they exclude each other, `Some(None)` when both deleted the unit.
    fn merged(
        &self,
        fork: &Fork<'_>,
        common: Option<VersionId>,
        bodies: Bodies<'_>,
    ) -> Option<Option<OwnText>> {
        let [first, second] = [fork.first.1, fork.second.1];
        if fork.content(first) == fork.content(second) {
            return Some(self.text_of(fork, first, bodies));
        }
        let text = |version| self.text_of(fork, version, bodies);
        let (first, second) = (text(first)?, text(second)?);
        join(fork.path, &text(common?)?, &first, &second).map(Some)
    }

    pub(super) fn text_of(
        &self,
        fork: &Fork<'_>,
        version: VersionId,
        bodies: Bodies<'_>,
    ) -> Option<OwnText> {
        self.text(fork.content(version)?, bodies)
    }
}

/// Tells the content of a unit of a file, `Some(None)` when it is not there; nothing when that is not known.
pub type Contents<'a> = &'a dyn Fn(&str, UnitId) -> Option<Option<ContentHash>>;

/// Whether two versions join, and what that was found for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    /// How many versions the unit had.
    versions: usize,
    sides: [VersionId; 2],
    /// The nearest version that both came from.
    common: Option<VersionId>,
    carriers: [usize; 3],
    joins: bool,
}

/// A unit with more than one head; each of the first two by the patch that told of it first, and its version.
pub(super) struct Fork<'a> {
    pub(super) unit: UnitId,
    pub(super) path: &'a Arc<str>,
    pub(super) file: &'a File,
    /// What it is called on the side that was placed later.
    pub(super) name: &'a str,
    pub(super) first: (usize, VersionId),
    pub(super) second: (usize, VersionId),
    /// All of them in that order.
    sides: Vec<(usize, VersionId)>,
    pub(super) heads: Vec<VersionId>,
}

impl Fork<'_> {
    /// The content of a version; `None` when the unit is deleted in it.
    pub(super) fn content(&self, version: VersionId) -> Option<ContentHash> {
        self.file.graph.get(self.unit, version)?.content
    }
}

pub(super) fn conflict_id(unit: UnitId, heads: &[VersionId]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("aura/v1/conflict");
    hasher.update(&unit.0);
    for head in heads {
        hasher.update(&head.0);
    }
    let id = &base32().encode(&hasher.finalize().as_bytes()[..4])[..6];
    format!("c-{id}")
}
