//! The versions of every unit that the log speaks of: who made them, what follows from what, where they differ.
//!
//! A unit's versions form a graph. One head: agreed. Two heads: concurrent; the author of the one that the
//! Mothership placed later joins them when they do not exclude each other, otherwise they are a conflict.
//!
//! Invariants:
//! - the graph is a function of the set of patches recorded, whatever their order or repetition;
//! - a version is never dropped; a conflict is computed from heads, never stored;
//! - which version a working copy has follows from its content, so losing every view costs nothing;
//! - texts stay in the log: whoever asks hands over how to read a recorded patch again ([`Bodies`]).

mod forks;
mod graph;
mod reasons;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use aura_proto::{PeerId, Writer};
use aura_semantic::{
    Budget, ContentHash, FilePatch, Indexed, Op, OwnText, Text, Touched, UnitId, outline,
};

use super::body::{Cause, PatchBody, VersionId};
pub use forks::{Conflict, Contents, DueMerge, OpenConflict, Side};
use graph::{Graph, Recordable};

/// Reads the body of a recorded patch out of the log again; `None` when it cannot be opened.
pub type Bodies<'a> = &'a dyn Fn(&Recorded) -> Option<PatchBody>;

/// Where a patch entry is and who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The author.
    pub writer: Writer,
    /// Its number.
    pub author_seq: u64,
    /// Record in this peer's log.
    pub lsn: u64,
    /// The author's clock, milliseconds since 1970.
    pub time_ms: u64,
    /// Position in the Mothership's log, once known.
    pub seq: Option<u64>,
}

/// The number of a version that gives a unit another place and nothing else.
pub const PLACEMENT: usize = 0;

/// Patches that are asked for one text.
const CARRIERS_MAX: usize = 8;
/// Patches whose texts are kept at hand: both sides and bases of what is compared.
const CARRIED_MAX: usize = 6;
/// Bytes of such texts, unless one patch alone has more.
const CARRIED_BYTES_MAX: usize = 32 << 20;

/// One recorded patch.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Where it is and who made it.
    pub origin: Origin,
    /// The branch.
    pub channel: Arc<str>,
    /// What led to it.
    pub cause: Cause,
    /// Why.
    pub why: Option<String>,
    /// The file.
    pub path: Arc<str>,
    /// Touched units: unit, name, version, its number within the unit or [`PLACEMENT`].
    pub touched: Vec<(UnitId, Arc<str>, VersionId, usize)>,
    /// `insert`, `replace` … for people.
    pub kind: &'static str,
}

impl Recorded {
    /// The short name of the operation: `o-` and six characters.
    pub fn op(&self) -> String {
        self.ops().next().unwrap_or_else(|| "o-".to_owned())
    }

    /// The short names of each unit's part in it, the operation's own first.
    pub fn ops(&self) -> impl Iterator<Item = String> {
        let versions = self.touched.iter().map(|(.., version, _)| version);
        versions.map(|version| format!("o-{}", version.short()))
    }
}

type Texts = BTreeMap<ContentHash, OwnText>;

/// Texts of the patches that were read last, the newest at the end.
#[derive(Debug, Default)]
struct Carried(VecDeque<(usize, Texts)>);

impl Carried {
    fn get(&self, index: usize) -> Option<&Texts> {
        let found = self.0.iter().find(|(known, _)| *known == index);
        found.map(|(_, texts)| texts)
    }

    fn keep(&mut self, index: usize, texts: Texts) {
        self.0.push_back((index, texts));
        let bytes = |texts: &Texts| -> usize {
            let heads = texts.values().map(|text| text.head.bytes().len());
            heads.sum()
        };
        let mut all: usize = self.0.iter().map(|(_, texts)| bytes(texts)).sum();
        while CARRIED_MAX < self.0.len() || CARRIED_BYTES_MAX < all && 1 < self.0.len() {
            let oldest = self.0.pop_front();
            all -= oldest.map_or(0, |(_, texts)| bytes(&texts));
        }
    }
}

#[derive(Debug, Default)]
struct History {
    /// In the order of recording.
    versions: Vec<VersionId>,
    /// Every recorded version by its content; `None` for deleted.
    by_content: BTreeSet<(Option<ContentHash>, VersionId)>,
    heads: BTreeMap<Arc<str>, BTreeSet<VersionId>>,
}

/// How a version stands to what the working copy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The working copy has it, or something that follows from it.
    Known,
    /// It follows from what the working copy has.
    Forward,
    /// Neither follows from the other.
    Concurrent,
}

/// What a working copy has of one unit, for comparing many versions with it.
#[derive(Debug)]
pub struct Standpoint {
    working: Option<VersionId>,
    /// Which versions follow from it, as far as was asked.
    descends: BTreeMap<VersionId, bool>,
}

/// All versions of one repository's units on one channel view.
#[derive(Debug)]
pub struct Units {
    me: PeerId,
    channel: Arc<str>,
    graph: Graph,
    units: BTreeMap<UnitId, History>,
    /// Further patches that told of a version: equal edits made apart.
    told_again: BTreeMap<VersionId, Vec<usize>>,
    /// Units with more than one head, by branch.
    forked: BTreeMap<Arc<str>, BTreeSet<UnitId>>,
    /// Which recorded patches carry a text, or claim to.
    texts: BTreeMap<ContentHash, Vec<usize>>,
    /// The texts of patches that were read last.
    carried: RefCell<Carried>,
    recorded: Vec<Recorded>,
    /// Which recorded patches insert a unit, and which move it.
    inserted: BTreeMap<UnitId, Vec<usize>>,
    moved: BTreeMap<UnitId, Vec<usize>>,
    /// Own patches that this peer has taken back.
    undone: BTreeSet<usize>,
    /// Which forks were seen to join, a view that can be lost.
    verdicts: RefCell<BTreeMap<UnitId, forks::Verdict>>,
    by_entry: BTreeMap<(Writer, u64), usize>,
    /// Unit ids by path and name.
    names: BTreeMap<Arc<str>, BTreeMap<Arc<str>, UnitId>>,
    /// Paths, names and branches repeat in every patch; each is kept once.
    words: BTreeSet<Arc<str>>,
}

impl Units {
    /// No versions yet, seen from branch `channel`.
    pub fn new(me: PeerId, channel: &str) -> Self {
        Self {
            me,
            channel: channel.into(),
            graph: Graph::default(),
            units: BTreeMap::new(),
            told_again: BTreeMap::new(),
            forked: BTreeMap::new(),
            texts: BTreeMap::new(),
            carried: RefCell::default(),
            recorded: Vec::new(),
            inserted: BTreeMap::new(),
            moved: BTreeMap::new(),
            undone: BTreeSet::new(),
            verdicts: RefCell::default(),
            by_entry: BTreeMap::new(),
            names: BTreeMap::new(),
            words: BTreeSet::new(),
        }
    }

    /// The branch that conflicts and heads are seen from.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Looks from another branch.
    pub fn set_channel(&mut self, channel: &str) {
        self.channel = channel.into();
    }

    /// Every recorded patch, in the order of recording.
    pub fn recorded(&self) -> &[Recorded] {
        &self.recorded
    }

    /// The recorded patch of an entry.
    pub fn of_entry(&self, writer: Writer, author_seq: u64) -> Option<&Recorded> {
        self.by_entry
            .get(&(writer, author_seq))
            .and_then(|index| self.recorded.get(*index))
    }

    /// The id that the log uses for the unit of this name in this file, when it speaks of it.
    pub fn id_of(&self, path: &str, name: &str) -> Option<UnitId> {
        self.names.get(path)?.get(name).copied()
    }

    /// Whether the log knows a version.
    pub fn knows(&self, version: VersionId) -> bool {
        self.graph
            .get(version)
            .is_some_and(|version| version.recorded.is_some())
    }

    /// The content of a version, `Some(None)` when the unit is deleted in it; nothing when the version is not known.
    pub fn content(&self, version: VersionId) -> Option<Option<ContentHash>> {
        self.graph.get(version).map(|version| version.content)
    }

    /// Whether this peer has taken its recorded patch back.
    pub fn is_undone(&self, index: usize) -> bool {
        self.undone.contains(&index)
    }

    fn author_of(&self, version: VersionId) -> Option<PeerId> {
        let recorded = self.graph.get(version)?.recorded?;
        Some(self.recorded[recorded].origin.writer.peer)
    }

    /// Whether a patch of this branch tells of a version.
    fn is_told(&self, version: VersionId) -> bool {
        let first = self.graph.get(version).and_then(|known| known.recorded);
        let again = self.told_again.get(&version).into_iter().flatten().copied();
        let mut told = first.into_iter().chain(again);
        told.any(|index| self.recorded[index].channel == self.channel)
    }

    /// The text of a version that a patch carried.
    pub fn text(&self, content: ContentHash, bodies: Bodies<'_>) -> Option<OwnText> {
        let carriers = self.texts.get(&content)?;
        let mut texts = carriers.iter().filter_map(|index| {
            if let Some(known) = self.carried.borrow().get(*index) {
                return known.get(&content).cloned();
            }
            let patch = bodies(self.recorded.get(*index)?)?.patch;
            let texts = texts_in(&patch);
            let found = texts.get(&content).cloned();
            self.carried.borrow_mut().keep(*index, texts);
            found
        });
        texts.next()
    }

    /// Records one patch; the second time nothing happens but that its position may become known.
    /// Answers the index of the patch and whether it was new.
    pub fn record(&mut self, body: &PatchBody, origin: Origin) -> (usize, bool) {
        let key = (origin.writer, origin.author_seq);
        // A disk restored from a backup may have used a number for something else before it heard of this entry.
        let is_same = |index: &usize| {
            let told = body.versions().map(|(_, version, _)| version);
            let known = self.recorded[*index].touched.iter();
            known.map(|(_, _, version, _)| *version).eq(told)
        };
        if let Some(index) = self.by_entry.get(&key).copied().filter(is_same) {
            self.recorded[index].origin.seq = self.recorded[index].origin.seq.or(origin.seq);
            return (index, false);
        }
        let index = self.recorded.len();
        for content in contents_of(&body.patch) {
            let carriers = self.texts.entry(content).or_default();
            // A patch may claim what it does not carry, so the first is not the only one.
            if carriers.len() < CARRIERS_MAX {
                carriers.push(index);
            }
        }
        for op in &body.patch.ops {
            match op {
                Op::Insert { unit, .. } => self.inserted.entry(*unit).or_default().push(index),
                Op::Move { unit, .. } => self.moved.entry(*unit).or_default().push(index),
                _ => {}
            }
        }
        let file = UnitId::file(&body.patch.path);
        let is_whole = is_whole(&body.patch);
        let (channel, path) = (self.word(&body.channel), self.word(&body.patch.path));
        let mut touched = Vec::with_capacity(body.patch.touched.len());
        for ((unit, version, parents), row) in body.versions().zip(&body.patch.touched) {
            let name = self.word(&row.name);
            self.describe(unit, &path, &name);
            for parent in parents {
                // A parent that no patch made is the version that the unit was born with.
                self.graph.mention(*parent, row.before);
            }
            let told = Recordable {
                parents: parents.to_vec(),
                content: row.after,
                recorded: index,
            };
            if is_placement(&body.patch, row) {
                // A place excludes no text, so it is nobody's head and no content stands for it.
                touched.push((unit, name, version, PLACEMENT));
                continue;
            }
            self.insert(unit, version, told);
            if unit != file || is_whole {
                self.follow(unit, version, &channel);
            }
            let number = self.graph.get(version).map_or(0, |version| version.number);
            touched.push((unit, name, version, number));
        }
        self.recorded.push(Recorded {
            origin,
            channel,
            cause: body.cause,
            why: body.why.clone(),
            path,
            touched,
            kind: kind_of(body),
        });
        self.by_entry.insert(key, index);
        if body.cause == Cause::Undo && origin.writer.peer == self.me {
            self.undone.extend(self.taken_back(&body.patch));
        }
        (index, true)
    }

    /// The newest own patch that stands and led to what an own patch takes back.
    fn taken_back(&self, undo: &FilePatch) -> Option<usize> {
        let stands = |index: &usize| {
            let recorded = &self.recorded[*index];
            recorded.origin.writer.peer == self.me
                && recorded.cause != Cause::Undo
                && !self.undone.contains(index)
        };
        let led_to = |index: &usize, row: &Touched| {
            let mut rows = self.recorded[*index].touched.iter();
            rows.any(|(unit, _, version, _)| {
                *unit == row.unit && self.content(*version) == Some(row.before)
            })
        };
        let mut own = (0..self.recorded.len()).rev().filter(stands);
        own.find(|index| undo.touched.iter().all(|row| led_to(index, row)))
    }

    /// Notes the position of an own entry.
    pub fn placed(&mut self, writer: Writer, author_seq: u64, seq: u64) {
        if let Some(index) = self.by_entry.get(&(writer, author_seq)) {
            self.recorded[*index].origin.seq = Some(seq);
        }
    }

    /// The version that content stands for: the recorded one with it that has most before it, else the one it was
    /// born with.
    pub fn working(&self, unit: UnitId, content: Option<ContentHash>) -> Option<VersionId> {
        let range = (content, VersionId([0; 16]))..=(content, VersionId([u8::MAX; 16]));
        let history = self.units.get(&unit);
        let recorded = history.and_then(|history| {
            let with_it = history.by_content.range(range).map(|(_, version)| *version);
            with_it.max_by_key(|version| (self.graph.depth(*version), *version))
        });
        recorded.or_else(|| content.map(|content| VersionId::birth(unit, content)))
    }

    /// How `version` stands to a working copy with this content of the unit.
    pub fn relation(
        &self,
        unit: UnitId,
        content: Option<ContentHash>,
        version: VersionId,
    ) -> Relation {
        self.relation_to(&mut self.standpoint(unit, content), version)
    }

    /// A working copy with this content of a unit, to which many versions will be compared.
    pub fn standpoint(&self, unit: UnitId, content: Option<ContentHash>) -> Standpoint {
        Standpoint {
            working: self.working(unit, content),
            descends: BTreeMap::new(),
        }
    }

    /// How `version` stands to a working copy; what was found for other versions is not found again.
    pub fn relation_to(&self, here: &mut Standpoint, version: VersionId) -> Relation {
        let Some(working) = here.working else {
            let version = self.graph.get(version);
            return if version.is_some_and(|version| version.is_rooted) {
                Relation::Forward
            } else {
                Relation::Concurrent
            };
        };
        if working == version || self.graph.is_ancestor(version, working) {
            Relation::Known
        } else if self.graph.descends(working, version, &mut here.descends) {
            Relation::Forward
        } else {
            Relation::Concurrent
        }
    }

    /// Completes a patch of this working copy to a body that can be published.
    /// `None` when the log knows every version in it.
    pub fn body(&self, patch: FilePatch, made: Made) -> Option<PatchBody> {
        let parents: Vec<Vec<VersionId>> = patch
            .touched
            .iter()
            .map(|row| match self.placement(row.unit) {
                Some(place) if is_placement(&patch, row) => vec![place],
                _ => self.followed(row, made.is_sure),
            })
            .collect();
        let body = PatchBody {
            channel: self.channel.to_string(),
            commit: made.commit,
            cause: Cause::Edit,
            why: made.why,
            patch,
            parents,
        };
        // What is on another branch alone is news on this one; a move is always.
        let is_news = body
            .versions()
            .any(|(_, version, _)| !self.is_told(version));
        is_news.then_some(body)
    }

    /// What a change of this working copy follows.
    ///
    /// Where the team came from the same content to the same content, on whatever way, the change is what the team
    /// did last: a device that forgot what it had tells nothing new.
    fn followed(&self, row: &Touched, is_sure: bool) -> Vec<VersionId> {
        let before = self.working(row.unit, row.before);
        // Who goes back by git and tries anew has given up what he wrote before; or writes the same again.
        if let (Some(before), [head]) = (before, &self.heads(row.unit)[..])
            && self.graph.is_ancestor(before, *head)
        {
            let is_again = self.content(*head) == Some(row.after);
            if is_again && is_sure || !is_again && self.author_of(*head) == Some(self.me) {
                return vec![*head];
            }
        }
        let known = self
            .working(row.unit, row.after)
            .and_then(|after| Some((after, self.graph.get(after)?)));
        let known = known.filter(|(after, _)| self.is_told(*after));
        match (before, known) {
            (Some(before), Some((after, version))) if self.graph.is_ancestor(before, after) => {
                version.parents.clone()
            }
            (None, Some((_, version))) if version.is_rooted => version.parents.clone(),
            _ => before.into_iter().collect(),
        }
    }

    /// The newest version that gave a unit another place and nothing else.
    fn placement(&self, unit: UnitId) -> Option<VersionId> {
        let moved = self.moved.get(&unit)?.iter().rev();
        let here = moved.filter(|index| self.recorded[**index].channel == self.channel);
        let mut rows = here.flat_map(|index| &self.recorded[*index].touched);
        let row = rows.find(|(touched, .., number)| *touched == unit && *number == PLACEMENT)?;
        Some(row.2)
    }

    /// Whether a unit got its place in its file from a patch that comes behind another: of two that are put at one
    /// place, the later stands first.
    // spec: patch/3.8
    pub fn is_put_after(&self, index: usize, unit: UnitId) -> bool {
        let (moved, inserted) = (self.moved.get(&unit), self.inserted.get(&unit));
        let put = match self.places(index, moved).max() {
            Some(moved) => Some(moved),
            None => self.places(index, inserted).min(),
        };
        put.is_some_and(|put| self.place(index) < put)
    }

    /// Whether a patch that was placed behind another moves a unit, too: the later move stays.
    // spec: patch/3.9
    fn is_moved_after(&self, index: usize, unit: UnitId) -> bool {
        let last = self.places(index, self.moved.get(&unit)).max();
        last.is_some_and(|last| self.place(index) < last)
    }

    /// The places of those of the patches `told` that are on the same branch as `index`.
    fn places<'a>(
        &'a self,
        index: usize,
        told: Option<&'a Vec<usize>>,
    ) -> impl Iterator<Item = (u64, usize)> + 'a {
        let channel = &self.recorded[index].channel;
        let told = told.into_iter().flatten().copied();
        told.filter(move |told| self.recorded[*told].channel == *channel)
            .map(|told| self.place(told))
    }

    /// The units of a file that the log speaks of, by name.
    pub fn units_of(&self, path: &str) -> impl Iterator<Item = (&str, UnitId)> {
        let names = self.names.get(path).into_iter().flatten();
        names.map(|(name, unit)| (&**name, *unit))
    }

    /// The heads of a unit on this channel.
    pub fn heads(&self, unit: UnitId) -> Vec<VersionId> {
        let history = self.units.get(&unit);
        let heads = history.and_then(|history| history.heads.get(&self.channel));
        heads
            .map(|heads| heads.iter().copied().collect())
            .unwrap_or_default()
    }

    /// What is to be carried out of the recorded patch `index` on a working copy whose units have `contents`; nothing
    /// when all of it is there. `Err` names the first unit that stands in the way.
    ///
    /// Moves and the text between units leave no version behind: they are carried out only when `is_loose` says that
    /// this copy has not done so yet.
    pub fn plan(
        &self,
        index: usize,
        body: &PatchBody,
        contents: &dyn Fn(UnitId) -> Option<ContentHash>,
        mut is_loose: bool,
    ) -> Result<Option<Plan>, Obstacle> {
        let (mut known, mut older) = (BTreeSet::new(), BTreeSet::new());
        let mut patch = body.patch.clone();
        let is_whole = is_whole(&patch);
        let file = UnitId::file(&patch.path);
        for ((unit, version, _), row) in body.versions().zip(&body.patch.touched) {
            let between = unit == file && !is_whole;
            if is_placement(&patch, row) {
                known.insert(unit);
                continue;
            }
            match self.relation(unit, contents(unit), version) {
                // All that the patch did between units was done by whatever led to this file.
                Relation::Known if between => is_loose = false,
                _ if between => {}
                Relation::Known => {
                    known.insert(unit);
                }
                Relation::Forward => {
                    older.insert(unit);
                }
                // A whole file without versions of its own here is merged by lines, or refused there.
                Relation::Concurrent if unit == file && !self.has_history(unit, contents(unit)) => {
                }
                Relation::Concurrent => {
                    return Err(Obstacle {
                        unit,
                        name: row.name.clone(),
                    });
                }
            }
        }
        patch.ops.retain(|op| match op {
            Op::File { .. } => !known.contains(&file),
            Op::Gap { .. } => is_loose,
            Op::Move { unit, .. } => is_loose && !self.is_moved_after(index, *unit),
            op => op.unit().is_none_or(|unit| !known.contains(&unit)),
        });
        Ok((!patch.ops.is_empty()).then_some(Plan { patch, older }))
    }

    /// Where a recorded patch stands; one without a place comes last.
    fn place(&self, recorded: usize) -> (u64, usize) {
        let seq = self.recorded[recorded].origin.seq;
        (seq.unwrap_or(u64::MAX), recorded)
    }

    /// Of the patches that told of a version, the one that was placed first.
    fn first_told(&self, version: VersionId) -> Option<usize> {
        let again = self.told_again.get(&version).into_iter().flatten().copied();
        let told = self.graph.get(version)?.recorded.into_iter().chain(again);
        told.min_by_key(|recorded| self.place(*recorded))
    }

    fn text_of(&self, version: VersionId, bodies: Bodies<'_>) -> Option<OwnText> {
        self.text(self.graph.get(version)?.content?, bodies)
    }

    fn has_history(&self, unit: UnitId, content: Option<ContentHash>) -> bool {
        self.working(unit, content)
            .is_some_and(|version| self.knows(version))
    }

    /// The one shared copy of a text that repeats.
    fn word(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.words.get(text) {
            return Arc::clone(known);
        }
        let word: Arc<str> = text.into();
        self.words.insert(Arc::clone(&word));
        word
    }

    /// Notes where a unit is and what it is called.
    fn describe(&mut self, unit: UnitId, path: &Arc<str>, name: &Arc<str>) {
        let names = self.names.entry(Arc::clone(path)).or_default();
        names.insert(Arc::clone(name), unit);
    }

    fn insert(&mut self, unit: UnitId, version: VersionId, told: Recordable) {
        let history = self.units.entry(unit).or_default();
        let (content, recorded) = (told.content, told.recorded);
        if self.graph.record(version, told, &history.versions) {
            history.versions.push(version);
            history.by_content.insert((content, version));
        } else {
            self.told_again.entry(version).or_default().push(recorded);
        }
    }

    /// Makes a version a head, and what it follows none any more.
    fn follow(&mut self, unit: UnitId, version: VersionId, channel: &Arc<str>) {
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
        let forked = self.forked.entry(Arc::clone(channel)).or_default();
        if 1 < heads.len() {
            forked.insert(unit);
        } else {
            forked.remove(&unit);
        }
    }
}

/// Whether a patch replaces a file as one piece.
fn is_whole(patch: &FilePatch) -> bool {
    matches!(patch.ops[..], [Op::File { .. }])
}

/// Whether a row tells of a move that changes no text.
fn is_placement(patch: &FilePatch, row: &Touched) -> bool {
    let moves = |op: &Op| matches!(op, Op::Move { unit, .. } if *unit == row.unit);
    row.before == row.after && patch.ops.iter().any(moves)
}

/// The contents whose texts a patch carries.
fn contents_of(patch: &FilePatch) -> BTreeSet<ContentHash> {
    let file = UnitId::file(&patch.path);
    let plain = patch.ops.iter().flat_map(texts_of).map(|text| text.hash());
    let carries_units =
        |op: &Op| matches!(op, Op::Delete { .. } | Op::File { .. } | Op::Insert { .. });
    let has_units = patch.ops.iter().any(carries_units);
    let rows = patch
        .touched
        .iter()
        .filter(|row| has_units && row.unit != file);
    let inner = rows.flat_map(|row| [row.before, row.after]).flatten();
    plain.chain(inner).collect()
}

/// Every text that a patch carries, those of units within others included.
fn texts_in(patch: &FilePatch) -> Texts {
    let plain = patch.ops.iter().flat_map(texts_of);
    let inner = patch.ops.iter();
    let inner = inner.flat_map(|op| inner_texts_of(&patch.path, op));
    plain.chain(inner).map(|text| (text.hash(), text)).collect()
}

/// The own texts of the units within a text that an operation carries.
fn inner_texts_of(path: &str, op: &Op) -> Vec<OwnText> {
    let texts = match op {
        Op::Delete { base_text, .. } => vec![base_text],
        Op::File {
            base_text, text, ..
        } => base_text.iter().chain(text).collect(),
        Op::Insert { text, .. } => vec![text],
        Op::Gap { .. } | Op::Move { .. } | Op::Rename { .. } | Op::Replace { .. } => Vec::new(),
    };
    let within = |text: &Text| {
        let units = outline(path, text.bytes(), &Budget::default()).units;
        let own = units.iter().map(|unit| unit.own_text(text.bytes()));
        own.collect::<Vec<_>>()
    };
    texts.into_iter().flat_map(within).collect()
}

/// The texts that an operation carries.
fn texts_of(op: &Op) -> Vec<OwnText> {
    let leaf = |text: &Text| OwnText::leaf(text.bytes());
    match op {
        Op::Replace {
            base_text, text, ..
        }
        | Op::Rename {
            base_text, text, ..
        } => vec![base_text.clone(), text.clone()],
        Op::Insert { text, .. } => vec![leaf(text)],
        Op::Delete { base_text, .. } => vec![leaf(base_text)],
        Op::File {
            base_text, text, ..
        } => base_text.iter().chain(text).map(leaf).collect(),
        Op::Gap { .. } | Op::Move { .. } => Vec::new(),
    }
}

/// How a change of this working copy was made.
#[derive(Debug, Clone, Default)]
pub struct Made {
    /// The commit that was checked out.
    pub commit: String,
    /// The author's reason.
    pub why: Option<String>,
    /// Whether it is certain what the file was before; after a crash it is not.
    pub is_sure: bool,
}

/// What is to be carried out on a working copy.
#[derive(Debug)]
pub struct Plan {
    /// The operations that are not there yet.
    pub patch: FilePatch,
    /// Units of which the working copy has a version that the patch follows.
    pub older: BTreeSet<UnitId>,
}

impl Plan {
    /// A file that is deleted with every unit that `here` has of it is deleted, whatever became of the others before.
    pub fn of_all_that_is_left(mut self, here: Option<&Indexed>) -> Self {
        if let ([Op::File { text: None, .. }], Some(here)) = (&self.patch.ops[..], here) {
            let gone = self.patch.touched.iter().filter(|row| row.after.is_none());
            let gone: BTreeSet<UnitId> = gone.map(|row| row.unit).collect();
            let is_left = |unit: &UnitId| !gone.contains(unit) || !self.older.contains(unit);
            if !here.ids.is_empty() && !here.ids.iter().any(is_left) {
                self.older.insert(UnitId::file(&self.patch.path));
            }
        }
        self
    }
}

/// The unit that stands between a patch and a working copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The unit.
    pub unit: UnitId,
    /// Its name.
    pub name: String,
}

fn kind_of(body: &PatchBody) -> &'static str {
    match (body.cause, body.patch.ops.first()) {
        (Cause::Merge, _) => "merge",
        (Cause::Resolve, _) => "resolve",
        (Cause::Undo, _) => "undo",
        (Cause::Edit, Some(Op::Delete { .. })) => "delete",
        (Cause::Edit, Some(Op::Gap { .. } | Op::File { .. }) | None) => "file",
        (Cause::Edit, Some(Op::Insert { .. })) => "insert",
        (Cause::Edit, Some(Op::Move { .. })) => "move",
        (Cause::Edit, Some(Op::Rename { .. })) => "rename",
        (Cause::Edit, Some(Op::Replace { .. })) => "replace",
    }
}
