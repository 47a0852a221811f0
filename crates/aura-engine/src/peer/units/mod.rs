//! The versions of every unit that the log speaks of: who made them, what follows from what, where they differ.
//!
//! A unit's versions form a graph. One head: agreed. Two heads: concurrent; the author of the one that the
//! Mothership placed later joins them when they do not exclude each other, otherwise they are a conflict.
//!
//! Invariants:
//! - the graph is a function of the set of patches recorded, whatever their order or repetition;
//! - a patch of one file tells nothing of another's units, whatever ids it names;
//! - a version is never dropped; a conflict is computed from heads, never stored;
//! - which version a working copy has follows from its content, so losing every view costs nothing;
//! - texts stay in the log: whoever asks hands over how to read a recorded patch again ([`Bodies`]).

mod file;
mod follow;
mod forks;
mod graph;
mod history;
mod kept;
mod origins;
mod orphans;
mod plan;
mod reasons;
mod seen;
mod texts;
mod whole;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_proto::{PeerId, Writer};
use aura_semantic::{ContentHash, FilePatch, Op, OwnText, Touched, UnitId};

use super::body::{Cause, PatchBody, VersionId};
use file::File;
pub use follow::DueFollow;
pub use forks::{Conflict, Contents, DueMerge, OfFile, OpenConflict, Side, conflict_id};
use graph::{Recordable, Told};
pub use history::{Moment, Shape, Then};
pub use kept::DueWhole;
pub use origins::LineOrigin;
pub use plan::{Loose, Obstacle, Plan, says_no_more};
use texts::Texts;
use whole::has_all_units;

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

/// What a recorded patch tells of a unit: unit, name, version, its number within the unit or [`PLACEMENT`].
type Row = (UnitId, Arc<str>, VersionId, usize);

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
    /// Touched units.
    pub touched: Vec<Row>,
    /// Units that it renamed, with the names before.
    pub renamed: Vec<(UnitId, Arc<str>)>,
    /// `insert`, `replace` … for people.
    pub kind: &'static str,
    /// Whether it replaces the file as one piece.
    is_whole: bool,
}

impl Recorded {
    /// Whether a row makes a head: neither a place does, nor what stands between units.
    fn is_headed(&self, (unit, _, _, number): &Row) -> bool {
        *number != PLACEMENT && (self.is_whole || *unit != UnitId::file(&self.path))
    }

    /// Whether it replaces the file as one piece.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether a row tells of a unit, not of the file or a place.
    pub fn is_unit(&self, (unit, _, _, number): &Row) -> bool {
        *number != PLACEMENT && *unit != UnitId::file(&self.path)
    }

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
    path: Arc<str>,
    unit: UnitId,
    /// Whether there is none.
    is_gone: bool,
    working: Option<VersionId>,
    /// Which versions follow from it, as far as was asked.
    descends: BTreeMap<VersionId, bool>,
}

/// All versions of one repository's units on one channel view.
#[derive(Debug)]
pub struct Units {
    me: PeerId,
    channel: Arc<str>,
    /// What is known of each file's units.
    files: BTreeMap<Arc<str>, File>,
    /// Units with more than one head, with their files.
    forked: BTreeSet<(Arc<str>, UnitId)>,
    /// Deleted files in which others did something meanwhile.
    orphaned: BTreeSet<Arc<str>>,
    /// Units whose container was deleted meanwhile, with their files.
    strays: BTreeSet<(Arc<str>, UnitId)>,
    texts: Texts,
    recorded: Vec<Recorded>,
    /// Own patches that this peer has taken back.
    undone: BTreeSet<usize>,
    /// Which forks were seen to join, a view that can be lost.
    verdicts: RefCell<BTreeMap<(Arc<str>, UnitId), forks::Verdict>>,
    /// What deleted files would be, a view that can be lost.
    kept: RefCell<BTreeMap<Arc<str>, kept::Known>>,
    by_entry: BTreeMap<(Writer, u64), usize>,
    /// Paths, names and branches repeat in every patch; each is kept once.
    words: BTreeSet<Arc<str>>,
}

impl Units {
    /// No versions yet, seen from branch `channel`.
    pub fn new(me: PeerId, channel: &str) -> Self {
        Self {
            me,
            channel: channel.into(),
            files: BTreeMap::new(),
            forked: BTreeSet::new(),
            orphaned: BTreeSet::new(),
            strays: BTreeSet::new(),
            texts: Texts::default(),
            recorded: Vec::new(),
            undone: BTreeSet::new(),
            verdicts: RefCell::default(),
            kept: RefCell::default(),
            by_entry: BTreeMap::new(),
            words: BTreeSet::new(),
        }
    }

    /// The branch that conflicts and heads are seen from.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Looks from another branch.
    pub fn set_channel(&mut self, channel: &str) {
        if *self.channel == *channel {
            return;
        }
        self.channel = channel.into();
        self.forked.clear();
        self.files.values_mut().for_each(File::leave);
        let here = self.recorded.iter();
        for recorded in here.filter(|recorded| recorded.channel == self.channel) {
            let Some(file) = self.files.get_mut(&recorded.path) else {
                continue;
            };
            for (unit, _, version, _) in recorded
                .touched
                .iter()
                .filter(|row| recorded.is_headed(row))
            {
                let heads = file.follow(*unit, *version);
                note_fork(&mut self.forked, &recorded.path, *unit, heads);
            }
        }
        self.orphaned.clear();
        self.kept.get_mut().clear();
        let paths: Vec<Arc<str>> = self.files.keys().cloned().collect();
        self.strays.clear();
        for path in &paths {
            self.note_orphans(path);
            self.note_strays(path);
        }
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
        self.files.get(path)?.names.get(name)?.last().copied()
    }

    /// The content of a version of a unit of a file, `Some(None)` when the unit is deleted in it; nothing when the
    /// version is not known.
    pub fn content(
        &self,
        path: &str,
        unit: UnitId,
        version: VersionId,
    ) -> Option<Option<ContentHash>> {
        let version = self.files.get(path)?.graph.get(unit, version);
        version.map(|version| version.content)
    }

    /// Whether this peer has taken its recorded patch back.
    pub fn is_undone(&self, index: usize) -> bool {
        self.undone.contains(&index)
    }

    /// Whether this peer made a recorded patch.
    fn is_mine(&self, index: usize) -> bool {
        self.recorded[index].origin.writer.peer == self.me
    }

    /// Whether a recorded patch has its place in the Mothership's log.
    fn is_placed(&self, index: usize) -> bool {
        self.recorded[index].origin.seq.is_some()
    }

    fn author_of(&self, file: &File, unit: UnitId, version: VersionId) -> Option<PeerId> {
        let told = file.graph.get(unit, version)?.told?;
        Some(self.recorded[told.recorded].origin.writer.peer)
    }

    /// Whether a patch of this branch tells of a version.
    fn is_told(&self, file: &File, unit: UnitId, version: VersionId) -> bool {
        let mut told = file.told(unit, version);
        told.any(|told| self.recorded[told.recorded].channel == self.channel)
    }

    /// The text of a version that a patch carried.
    pub fn text(&self, content: ContentHash, bodies: Bodies<'_>) -> Option<OwnText> {
        let read = |index: usize| Some(bodies(self.recorded.get(index)?)?.patch);
        self.texts.get(content, &read)
    }

    /// Records one patch; the second time nothing happens but that its position may become known.
    /// Answers the index of the patch and whether it was new.
    pub fn record(&mut self, body: &PatchBody, origin: Origin) -> (usize, bool) {
        let key = (origin.writer, origin.author_seq);
        // A disk restored from a backup may have used a number for something else before it heard of this entry.
        let is_same = |index: &usize| {
            let told = body.versions().map(|(_, version, _)| version);
            let known = self.recorded[*index].touched.iter();
            *self.recorded[*index].path == body.patch.path
                && known.map(|(_, _, version, _)| *version).eq(told)
        };
        if let Some(index) = self.by_entry.get(&key).copied().filter(is_same) {
            self.recorded[index].origin.seq = self.recorded[index].origin.seq.or(origin.seq);
            return (index, false);
        }
        let index = self.recorded.len();
        self.texts.note(index, &body.patch);
        let (channel, path) = (self.word(&body.channel), self.word(&body.patch.path));
        let rows = body.patch.touched.iter();
        let names: Vec<Arc<str>> = rows.map(|row| self.word(&row.name)).collect();
        let renamed = self.renamed(&body.patch);
        let file = self.files.entry(Arc::clone(&path)).or_default();
        file.place(index, &body.patch);
        file.add(&channel, &origin);
        let mut recorded = Recorded {
            origin,
            channel,
            cause: body.cause,
            why: body.why.clone(),
            path,
            touched: Vec::with_capacity(names.len()),
            renamed,
            kind: kind_of(body),
            is_whole: body.patch.is_whole(),
        };
        let rows = body.versions().zip(&body.patch.touched).zip(names);
        for (((unit, version, parents), row), name) in rows {
            file.name(Arc::clone(&name), unit);
            file.mention(unit, parents, row.before);
            if is_placement(&body.patch, row) {
                // A place excludes no text, so it is nobody's head and no content stands for it.
                recorded.touched.push((unit, name, version, PLACEMENT));
                continue;
            }
            let told = Recordable {
                parents: parents.to_vec(),
                content: row.after,
                told: Told {
                    recorded: index,
                    row: recorded.touched.len(),
                },
            };
            let (number, mut heads) = file.insert(unit, version, told);
            let row = (unit, name, version, number);
            if recorded.channel == self.channel && recorded.is_headed(&row) {
                heads = file.follow(unit, version);
            }
            note_fork(&mut self.forked, &recorded.path, unit, heads);
            recorded.touched.push(row);
        }
        let path = Arc::clone(&recorded.path);
        self.recorded.push(recorded);
        self.by_entry.insert(key, index);
        self.note_absent(&path, &body.patch);
        if body.cause == Cause::Undo && origin.writer.peer == self.me {
            self.undone.extend(self.taken_back(&body.patch));
        }
        (index, true)
    }

    /// Passes over a patch that counts nowhere: what others made from it counts, and follows from what it was made from.
    pub fn pass_over(&mut self, body: &PatchBody) {
        let path = self.word(&body.patch.path);
        let file = self.files.entry(path).or_default();
        for ((unit, version, parents), row) in body.versions().zip(&body.patch.touched) {
            if is_placement(&body.patch, row) {
                continue;
            }
            file.mention(unit, parents, row.before);
            file.graph.mention(unit, version, row.after);
            file.bridge(unit, version, parents);
        }
    }

    /// Notes what others did in what a patch, or one before it, has taken away.
    fn note_absent(&mut self, path: &Arc<str>, patch: &FilePatch) {
        self.note_orphans(path);
        if patch.ops.iter().any(concerns_containers) || !self.strays.is_empty() {
            self.note_strays(path);
        }
    }

    /// The newest own patch that stands and led to what an own patch takes back.
    fn taken_back(&self, undo: &FilePatch) -> Option<usize> {
        let stands = |index: &usize| {
            let recorded = &self.recorded[*index];
            recorded.origin.writer.peer == self.me
                && recorded.cause != Cause::Undo
                && *recorded.path == undo.path
                && !self.undone.contains(index)
        };
        let led_to = |index: &usize, row: &Touched| {
            let recorded = &self.recorded[*index];
            recorded.touched.iter().any(|(unit, _, version, _)| {
                *unit == row.unit && self.content(&undo.path, *unit, *version) == Some(row.before)
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

    /// The version that content of a unit of a file stands for: the recorded one with it that has most before it, else
    /// the one it was born with.
    pub fn working(
        &self,
        path: &str,
        unit: UnitId,
        content: Option<ContentHash>,
    ) -> Option<VersionId> {
        let file = self.files.get(path);
        let recorded = file.and_then(|file| file.working(unit, content));
        recorded.or_else(|| content.map(|content| VersionId::birth(unit, content)))
    }

    /// A working copy with this content of a unit of a file, to which many versions will be compared.
    pub fn standpoint(&self, path: &str, unit: UnitId, content: Option<ContentHash>) -> Standpoint {
        Standpoint {
            path: path.into(),
            unit,
            is_gone: content.is_none(),
            working: self.working(path, unit, content),
            descends: BTreeMap::new(),
        }
    }

    /// How `version` stands to a working copy; what was found for other versions is not found again.
    pub fn relation_to(&self, here: &mut Standpoint, version: VersionId) -> Relation {
        let Some(File { graph, .. }) = self.files.get(&here.path) else {
            return Relation::Concurrent;
        };
        let Some(working) = here.working else {
            return if graph.is_rooted(here.unit, version) {
                Relation::Forward
            } else {
                Relation::Concurrent
            };
        };
        if working == version || graph.is_ancestor(here.unit, version, working) {
            Relation::Known
        } else if graph.descends(here.unit, working, version, &mut here.descends) {
            Relation::Forward
        } else if here.is_gone && self.is_gone_after(&here.path, here.unit, version) {
            // Two who delete the same do not exclude each other, whatever either did to it before.
            Relation::Known
        } else if self.is_deleted(&here.path, here.unit, version) && self.goes(here, working) {
            Relation::Forward
        } else {
            Relation::Concurrent
        }
    }

    /// Whether a version deletes a unit, or is followed by a head that does.
    fn is_gone_after(&self, path: &str, unit: UnitId, version: VersionId) -> bool {
        let Some(file) = self.files.get(path) else {
            return false;
        };
        let follows =
            |head: VersionId| head == version || file.graph.is_ancestor(unit, version, head);
        let mut heads = file.heads(unit).iter();
        self.is_deleted(path, unit, version)
            || heads.any(|head| self.is_deleted(path, unit, *head) && follows(*head))
    }

    /// Whether every head deletes a unit, and one of them follows what is here.
    fn goes(&self, here: &Standpoint, working: VersionId) -> bool {
        let (path, unit) = (&*here.path, here.unit);
        let Some(file) = self.files.get(path) else {
            return false;
        };
        let heads = file.heads(unit);
        let follows = |head: &VersionId| file.graph.is_ancestor(unit, working, *head);
        heads.iter().all(|head| self.is_deleted(path, unit, *head)) && heads.iter().any(follows)
    }

    fn is_deleted(&self, path: &str, unit: UnitId, version: VersionId) -> bool {
        self.content(path, unit, version) == Some(None)
    }

    /// Whether the team has deleted a file as one piece.
    pub fn is_file_deleted(&self, path: &str) -> bool {
        let file = UnitId::file(path);
        let heads = self.heads(path, file);
        !heads.is_empty() && heads.iter().all(|head| self.is_deleted(path, file, *head))
    }

    /// Completes a patch of this working copy to a body that can be published.
    /// `None` when the log knows every version in it.
    ///
    /// `lacks` tells of a recorded patch whether this working copy does not have it.
    pub fn body(
        &self,
        patch: FilePatch,
        made: Made,
        lacks: &dyn Fn(usize) -> bool,
    ) -> Option<PatchBody> {
        let parents: Vec<Vec<VersionId>> = patch
            .touched
            .iter()
            .map(|row| match self.placement(&patch.path, row.unit) {
                Some(place) if is_placement(&patch, row) => vec![place],
                _ => self
                    .followed_by_file(&patch, row)
                    .unwrap_or_else(|| self.followed(&patch.path, row, made.is_sure)),
            })
            .collect();
        let parents = self.with_told_between(&patch, parents, lacks);
        let body = PatchBody {
            channel: self.channel.to_string(),
            commit: made.commit,
            cause: Cause::Edit,
            why: made.why,
            patch,
            parents,
        };
        let file = self.files.get(&*body.patch.path);
        let is_told = |unit, version| file.is_some_and(|file| self.is_told(file, unit, version));
        // What is on another branch alone is news on this one; a move is always.
        let is_news = body
            .versions()
            .any(|(unit, version, _)| !is_told(unit, version));
        is_news.then_some(body)
    }

    /// What a change of this working copy follows.
    ///
    /// Where the team came from the same content to the same content, on whatever way, the change is what the team
    /// did last: a device that forgot what it had tells nothing new.
    fn followed(&self, path: &str, row: &Touched, is_sure: bool) -> Vec<VersionId> {
        let unit = row.unit;
        let before = self.working(path, unit, row.before);
        let Some(file) = self.files.get(path) else {
            return before.into_iter().collect();
        };
        // Who goes back by git and tries anew has given up what he wrote before; or writes the same again.
        if let (Some(before), [head]) = (before, file.heads(unit))
            && file.graph.is_ancestor(unit, before, *head)
        {
            let content = file.graph.get(unit, *head).map(|head| head.content);
            let is_again = content == Some(row.after);
            let is_mine = || self.author_of(file, unit, *head) == Some(self.me);
            if is_again && is_sure || !is_again && is_mine() {
                return vec![*head];
            }
        }
        let known = self
            .working(path, unit, row.after)
            .and_then(|after| Some((after, file.graph.get(unit, after)?)));
        let known = known.filter(|(after, _)| self.is_told(file, unit, *after));
        match (before, known) {
            (Some(before), Some((after, version)))
                if file.graph.is_ancestor(unit, before, after) =>
            {
                version.parents.clone()
            }
            (None, Some((after, version))) if file.graph.is_rooted(unit, after) => {
                version.parents.clone()
            }
            _ => before.into_iter().collect(),
        }
    }

    /// The newest version that gave a unit another place and nothing else.
    fn placement(&self, path: &str, unit: UnitId) -> Option<VersionId> {
        let moved = self.files.get(path)?.moved.get(&unit)?.iter().rev();
        let here = moved.filter(|index| self.recorded[**index].channel == self.channel);
        let mut rows = here.flat_map(|index| &self.recorded[*index].touched);
        let row = rows.find(|(touched, .., number)| *touched == unit && *number == PLACEMENT)?;
        Some(row.2)
    }

    /// Whether a unit got its place in its file from a patch that comes behind another: of two that are put at one
    /// place, the later stands first.
    // spec: patch/3.8
    pub fn is_put_after(&self, index: usize, unit: UnitId) -> bool {
        let file = self.files.get(&self.recorded[index].path);
        let moved = file.and_then(|file| file.moved.get(&unit));
        let inserted = file.and_then(|file| file.inserted.get(&unit));
        let put = match self.places(index, moved).max() {
            Some(moved) => Some(moved),
            None => self.places(index, inserted).max(),
        };
        put.is_some_and(|put| self.place(index) < put)
    }

    /// Whether a recorded patch inserts a unit that another of its branch inserts as well: who comes second moves it.
    // spec: patch/3.8
    pub fn inserts_again(&self, index: usize) -> bool {
        let recorded = &self.recorded[index];
        let Some(file) = self.files.get(&recorded.path) else {
            return false;
        };
        let mut units = recorded.touched.iter().map(|row| row.0);
        units.any(|unit| {
            let inserted = file.inserted.get(&unit);
            inserted.is_some_and(|told| told.contains(&index)) && {
                1 < self.places(index, inserted).count()
            }
        })
    }

    /// Whether a patch that was placed behind another moves a unit, too, or inserts it: the later move stays.
    // spec: patch/3.9
    fn is_moved_after(&self, index: usize, unit: UnitId) -> bool {
        let file = self.files.get(&self.recorded[index].path);
        let moved = file.and_then(|file| file.moved.get(&unit));
        let inserted = file.and_then(|file| file.inserted.get(&unit));
        let all = self
            .places(index, moved)
            .chain(self.places(index, inserted));
        let last = all.max();
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
        let names = self.files.get(path).map(|file| &file.names);
        let names = names.into_iter().flatten();
        names.flat_map(|(name, units)| units.iter().map(move |unit| (&**name, *unit)))
    }

    /// The heads of a unit of a file on this channel.
    pub fn heads(&self, path: &str, unit: UnitId) -> Vec<VersionId> {
        let file = self.files.get(path);
        file.map_or_else(Vec::new, |file| file.heads(unit).to_vec())
    }

    /// Where a recorded patch stands; one without a place comes last.
    fn place(&self, recorded: usize) -> (u64, usize) {
        let seq = self.recorded[recorded].origin.seq;
        (seq.unwrap_or(u64::MAX), recorded)
    }

    /// Of the patches of a file that told of a version, the one that was placed first.
    fn first_told(&self, file: &File, unit: UnitId, version: VersionId) -> Option<Told> {
        file.told(unit, version)
            .min_by_key(|told| self.place(told.recorded))
    }

    /// Whether a patch told of the version that a working copy has of its file, and the file shows so.
    // spec: patch/3.10
    fn led_here(&self, here: &Standpoint, shows: &dyn Fn(usize) -> bool) -> bool {
        let version = self.files.get(&here.path).zip(here.working);
        let told = version.map(|(file, version)| file.told(here.unit, version));
        told.into_iter().flatten().any(|told| shows(told.recorded))
    }

    /// Whether a patch of a file as one piece told of the version that a working copy has of it.
    fn is_told_whole(&self, here: &Standpoint) -> bool {
        let version = self.files.get(&here.path).zip(here.working);
        let told = version.map(|(file, version)| file.told(here.unit, version));
        let mut told = told.into_iter().flatten();
        told.any(|told| self.recorded[told.recorded].is_whole)
    }

    /// Whether a patch told of the version that a working copy has.
    fn is_recorded(&self, here: &Standpoint) -> bool {
        let version = self.files.get(&here.path).zip(here.working);
        let version = version.and_then(|(file, version)| file.graph.get(here.unit, version));
        version.is_some_and(|version| version.told.is_some())
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
}

/// Whether an operation may put a unit into a container, or take a container away.
fn concerns_containers(op: &Op) -> bool {
    match op {
        Op::Insert { parent, .. } | Op::Move { parent, .. } => parent.is_some(),
        Op::Delete { .. } | Op::File { .. } => true,
        Op::Gap { .. } | Op::Rename { .. } | Op::Replace { .. } => false,
    }
}

/// Notes how many heads a unit has.
fn note_fork(
    forked: &mut BTreeSet<(Arc<str>, UnitId)>,
    path: &Arc<str>,
    unit: UnitId,
    heads: usize,
) {
    if 1 < heads {
        forked.insert((Arc::clone(path), unit));
    } else if !forked.is_empty() {
        forked.remove(&(Arc::clone(path), unit));
    }
}

/// The content of a version that no patch has told of yet, as far as its name proves it.
// spec: patch/3.2
fn born(unit: UnitId, version: VersionId, before: Option<ContentHash>) -> Option<ContentHash> {
    before.filter(|before| VersionId::birth(unit, *before) == version)
}

/// Whether a row tells of a move that changes no text.
fn is_placement(patch: &FilePatch, row: &Touched) -> bool {
    let moves = |op: &Op| matches!(op, Op::Move { unit, .. } if *unit == row.unit);
    row.before == row.after && patch.ops.iter().any(moves)
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
