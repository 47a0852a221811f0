//! Units with more than one head: what joins by itself, and what somebody must decide.
//!
//! Invariant: whether two versions exclude each other follows from their texts and their base alone, so every device
//! finds the same conflicts under the same names.

use std::{collections::BTreeSet, sync::Arc};

use aura_proto::ids::base32;
use aura_semantic::{ContentHash, OwnText, Text, UnitId, join};

use super::{
    super::body::{PARENTS_MAX, VersionId},
    Bodies, Units,
    file::File,
    graph::Told,
    kept::Kept,
    orphans::Orphans,
};

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
    /// What is particular to one of a file as one piece: it was deleted while others did something in it, or those who
    /// know the same have different texts.
    pub of_file: Option<OfFile>,
    /// Every head in rising order, from which the id is made.
    pub heads: Vec<VersionId>,
}

/// What whoever settles a conflict of a file as one piece has to know.
#[derive(Debug, Clone)]
pub struct OfFile {
    /// The versions of the file that are settled.
    pub follows: Vec<VersionId>,
    /// Units of which something is not in the text that is shown: it stays a conflict.
    pub left_out: BTreeSet<UnitId>,
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
            if let Some(orphans) = &fork.orphans {
                return self.conflict_of_file(&fork, orphans, bodies, here);
            }
            let side = |(recorded, version): (usize, VersionId)| Side {
                version,
                recorded,
                content: fork.content(version),
                text: self.text_of(&fork, version, bodies),
            };
            let content = here(fork.path, fork.unit);
            let is_here = |side: &&(usize, VersionId)| content == Some(fork.content(side.1));
            let (mine, theirs) = match fork.sides.iter().find(is_here) {
                Some(mine) => (*mine, fork.other(*mine)),
                None => self.mine_and_theirs(&fork),
            };
            let common = fork.file.graph.common(fork.unit, mine.1, theirs.1);
            let base = common.and_then(|common| self.text_of(&fork, common, bodies));
            Conflict {
                id: fork.id(),
                unit: fork.unit,
                name: fork.name.to_string(),
                path: fork.path.to_string(),
                base,
                mine: side(mine),
                theirs: side(theirs),
                of_file: None,
                heads: fork.heads,
            }
        })
        .collect()
    }

    /// The conflict of a deleted file in which others did something meanwhile.
    fn conflict_of_file(
        &self,
        fork: &Fork<'_>,
        orphans: &Orphans,
        bodies: Bodies<'_>,
        here: Contents<'_>,
    ) -> Conflict {
        let by = orphans.file.by.first().copied().unwrap_or(fork.first);
        let kept = self.as_if_kept(fork.path, &orphans.file, by.1, bodies);
        let of_file = self.of_file(fork, orphans, kept.as_ref());
        let (base, kept) = kept.map(|kept| (kept.base, kept.text)).unzip();
        let side = |(recorded, version), text: Option<Text>, content| Side {
            version,
            recorded,
            content,
            text: text.map(|text| OwnText::leaf(text.bytes())),
        };
        let hash = kept.as_ref().map(|text| ContentHash::of(text.bytes()));
        let unknown = fork.content(orphans.newest.1);
        let deleted = side(by, None, None);
        let kept = side(orphans.newest, kept, hash.or(unknown));
        let is_mine = match here(fork.path, fork.unit) {
            Some(content) => content.is_none(),
            None => self.is_mine(by.0),
        };
        let (mine, theirs) = match is_mine {
            true => (deleted, kept),
            false => (kept, deleted),
        };
        Conflict {
            id: fork.id(),
            unit: fork.unit,
            name: fork.name.to_owned(),
            path: fork.path.to_string(),
            base: base.map(|base| OwnText::leaf(base.bytes())),
            mine,
            theirs,
            of_file: Some(of_file),
            heads: fork.heads.clone(),
        }
    }

    /// The files of units with more than one head.
    pub fn forked_paths(&self) -> BTreeSet<Arc<str>> {
        self.forks().map(|fork| Arc::clone(fork.path)).collect()
    }

    fn of_file(&self, fork: &Fork<'_>, orphans: &Orphans, kept: Option<&Kept>) -> OfFile {
        let left_out = kept.map_or(&[][..], |kept| &kept.left_out);
        let is_left = |(index, _): &&(usize, VersionId)| !left_out.contains(index);
        let between = orphans.file.between.iter().filter(is_left);
        let by = orphans.file.by.iter();
        // What is more than a patch can name is settled by the next.
        let follows = by.chain(between).map(|(_, version)| *version);
        let rows = left_out
            .iter()
            .flat_map(|index| &self.recorded[*index].touched);
        let units = rows.map(|row| row.0).filter(|unit| *unit != fork.unit);
        OfFile {
            follows: follows.take(PARENTS_MAX).collect(),
            left_out: units.collect(),
        }
    }

    /// The open conflicts, without reading texts that were read before.
    pub fn open_conflicts(&self, bodies: Bodies<'_>) -> Vec<OpenConflict> {
        let open = self.excluding(bodies).map(|fork| OpenConflict {
            id: fork.id(),
            name: fork.name.to_string(),
            theirs: self.mine_and_theirs(&fork).1.0,
        });
        open.collect()
    }

    /// Joins that this peer owes because its version was placed second.
    // spec: patch/3.5
    pub fn due_merges(&self, bodies: Bodies<'_>) -> Vec<DueMerge> {
        let due = self.forks().filter_map(|fork| self.due_merge(fork, bodies));
        due.collect()
    }

    fn due_merge(&self, fork: Fork<'_>, bodies: Bodies<'_>) -> Option<DueMerge> {
        let fork = fork.of_two()?;
        let [first, second] = [fork.first.0, fork.second.0];
        let is_due = self.is_mine(second) && self.is_placed(first) && self.is_placed(second);
        if !is_due || !self.joins(&fork, bodies) {
            return None;
        }
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
    }

    fn excluding<'a>(&'a self, bodies: Bodies<'a>) -> impl Iterator<Item = Fork<'a>> {
        let forks = self.forks();
        forks.filter(move |fork| {
            fork.orphans.is_some() || fork.heads.len() != 2 || !self.joins(fork, bodies)
        })
    }

    /// This peer's side, or the one placed first, and the other.
    fn mine_and_theirs(&self, fork: &Fork<'_>) -> ((usize, VersionId), (usize, VersionId)) {
        if self.is_mine(fork.second.0) {
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
            if *unit == whole {
                return true;
            }
            if self.is_file_deleted(path) {
                return !self.orphaned.contains(path) || self.is_apart(path, *unit);
            }
            !self.forked.contains(&(Arc::clone(path), whole))
        };
        let open = self.forked.iter().filter(is_open);
        let units = open.filter_map(|(path, unit)| self.fork(path, *unit));
        let files = self.orphaned.iter();
        let files = files.filter_map(|path| self.orphaned_fork(path));
        let is_here = |(path, _): &&(Arc<str>, UnitId)| !self.is_file_deleted(path);
        let strays = self.strays.iter().filter(is_here);
        let strays = strays.filter_map(|(path, unit)| self.stray_fork(path, *unit));
        units.chain(files).chain(strays)
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
        let mut fork = Fork {
            unit,
            path,
            file,
            name: &row.1,
            first: *sides.first()?,
            second: *sides.get(1)?,
            sides,
            heads,
            orphans: None,
        };
        fork.second = fork.other(fork.first);
        Some(fork)
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
    pub(super) sides: Vec<(usize, VersionId)>,
    pub(super) heads: Vec<VersionId>,
    /// What others did to a file that was deleted, if it is of that.
    pub(super) orphans: Option<Orphans>,
}

impl Fork<'_> {
    /// The name of the conflict that it is if the sides exclude each other.
    pub(super) fn id(&self) -> String {
        match &self.orphans {
            Some(orphans) => orphans.id(self.path),
            None => conflict_id(self.unit, &self.heads),
        }
    }

    /// The first side that excludes another, else the next: who came to the same apart from each other agree.
    fn other(&self, than: (usize, VersionId)) -> (usize, VersionId) {
        let mut others = self.sides.iter().filter(|side| **side != than);
        let next = others.clone().next();
        let content = self.content(than.1);
        let differs = others.find(|side| self.content(side.1) != content);
        *differs.or(next).unwrap_or(&than)
    }

    /// The two heads that may join: there are no others, or the others delete the unit.
    fn of_two(mut self) -> Option<Self> {
        if self.orphans.is_some() {
            return None;
        }
        if 2 < self.heads.len() {
            let lives = self
                .sides
                .iter()
                .filter(|side| self.content(side.1).is_some());
            let lives: Vec<(usize, VersionId)> = lives.copied().collect();
            let [first, second] = lives[..] else {
                return None;
            };
            self.heads = BTreeSet::from([first.1, second.1]).into_iter().collect();
            (self.first, self.second, self.sides) = (first, second, lives);
        }
        Some(self)
    }

    /// The content of a version; `None` when the unit is deleted in it.
    pub(super) fn content(&self, version: VersionId) -> Option<ContentHash> {
        self.file.graph.get(self.unit, version)?.content
    }
}

/// The name of a conflict between these versions of a unit.
// spec: patch/3.6
pub fn conflict_id(unit: UnitId, heads: &[VersionId]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("aura/v1/conflict");
    hasher.update(&unit.0);
    for head in heads {
        hasher.update(&head.0);
    }
    let id = &base32().encode(&hasher.finalize().as_bytes()[..4])[..6];
    format!("c-{id}")
}
