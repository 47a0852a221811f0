//! The versions of every unit that the log speaks of: who made them, what follows from what, where they differ.
//!
//! A unit's versions form a graph. One head: agreed. Two heads: concurrent; the author of the one that the
//! Mothership placed later joins them when they do not exclude each other, otherwise they are a conflict.
//!
//! Invariants:
//! - the graph is a function of the set of patches recorded, whatever their order or repetition;
//! - a version is never dropped; a conflict is computed from heads, never stored;
//! - which version a working copy has follows from its content, so losing every view costs nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aura_proto::{PeerId, Writer, ids::base32};
use aura_semantic::{ContentHash, FilePatch, LineMerge, Op, OwnText, Text, UnitId, merge_lines};

use super::body::{Cause, PatchBody, VersionId};

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

/// One recorded patch.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Where it is and who made it.
    pub origin: Origin,
    /// The branch.
    pub channel: String,
    /// What led to it.
    pub cause: Cause,
    /// Why.
    pub why: Option<String>,
    /// The file.
    pub path: String,
    /// Touched units: unit, name, version, its number within the unit.
    pub touched: Vec<(UnitId, String, VersionId, usize)>,
    /// `insert`, `replace` … for people.
    pub kind: &'static str,
}

impl Recorded {
    /// The short name of the operation: `o-` and six characters.
    pub fn op(&self) -> String {
        let name = self
            .touched
            .first()
            .map_or_else(String::new, |(.., version, _)| version.short());
        format!("o-{name}")
    }
}

#[derive(Debug)]
struct Version {
    parents: Vec<VersionId>,
    content: Option<ContentHash>,
    /// Index into the recorded patches; `None` for the version that a unit was born with.
    recorded: Option<usize>,
}

#[derive(Debug, Default)]
struct History {
    /// In the order of recording.
    versions: Vec<VersionId>,
    heads: BTreeMap<String, BTreeSet<VersionId>>,
    path: String,
    name: String,
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

/// One side of a conflict.
#[derive(Debug, Clone)]
pub struct Side {
    /// The version.
    pub version: VersionId,
    /// The patch that made it.
    pub recorded: usize,
    /// Its text; `None` when the unit is deleted on this side.
    pub text: Option<Arc<OwnText>>,
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
    pub base: Option<Arc<OwnText>>,
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
    pub mine: Arc<OwnText>,
    /// The joined text.
    pub merged: OwnText,
}

/// All versions of one repository's units on one channel view.
#[derive(Debug)]
pub struct Units {
    me: PeerId,
    channel: String,
    versions: BTreeMap<VersionId, Version>,
    units: BTreeMap<UnitId, History>,
    texts: BTreeMap<ContentHash, Arc<OwnText>>,
    recorded: Vec<Recorded>,
    by_entry: BTreeMap<(Writer, u64), usize>,
    names: BTreeMap<(String, String), UnitId>,
}

impl Units {
    /// No versions yet, seen from branch `channel`.
    pub fn new(me: PeerId, channel: String) -> Self {
        Self {
            me,
            channel,
            versions: BTreeMap::new(),
            units: BTreeMap::new(),
            texts: BTreeMap::new(),
            recorded: Vec::new(),
            by_entry: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    /// The branch that conflicts and heads are seen from.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Looks from another branch.
    pub fn set_channel(&mut self, channel: String) {
        self.channel = channel;
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
        self.names.get(&(path.to_owned(), name.to_owned())).copied()
    }

    /// Whether the log knows a version.
    pub fn knows(&self, version: VersionId) -> bool {
        self.versions
            .get(&version)
            .is_some_and(|version| version.recorded.is_some())
    }

    /// The text of a version that a patch carried.
    pub fn text(&self, content: ContentHash) -> Option<Arc<OwnText>> {
        self.texts.get(&content).cloned()
    }

    /// Records one patch; the second time nothing happens but that its position may become known.
    /// Answers the index of the patch and whether it was new.
    pub fn record(&mut self, body: &PatchBody, origin: Origin) -> (usize, bool) {
        let key = (origin.writer, origin.author_seq);
        if let Some(index) = self.by_entry.get(&key).copied() {
            self.recorded[index].origin.seq = self.recorded[index].origin.seq.or(origin.seq);
            return (index, false);
        }
        self.keep_texts(&body.patch);
        let index = self.recorded.len();
        let mut touched = Vec::with_capacity(body.patch.touched.len());
        for ((unit, version, parents), row) in body.versions().zip(&body.patch.touched) {
            self.insert(
                unit, version, parents, row.before, row.after, index, body, &row.name,
            );
            let number = self.number(unit, version);
            touched.push((unit, row.name.clone(), version, number));
        }
        self.recorded.push(Recorded {
            origin,
            channel: body.channel.clone(),
            cause: body.cause,
            why: body.why.clone(),
            path: body.patch.path.clone(),
            touched,
            kind: kind_of(body),
        });
        self.by_entry.insert(key, index);
        (index, true)
    }

    /// Notes the position of an own entry.
    pub fn placed(&mut self, writer: Writer, author_seq: u64, seq: u64) {
        if let Some(index) = self.by_entry.get(&(writer, author_seq)) {
            self.recorded[*index].origin.seq = Some(seq);
        }
    }

    /// The version that content stands for: the newest recorded one with it, else the one it was born with.
    pub fn working(&self, unit: UnitId, content: Option<ContentHash>) -> Option<VersionId> {
        let recorded = self.units.get(&unit).and_then(|history| {
            let has_content = |id: &&VersionId| {
                self.versions
                    .get(*id)
                    .is_some_and(|version| version.content == content)
            };
            history.versions.iter().rev().find(has_content).copied()
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
        let Some(working) = self.working(unit, content) else {
            let is_first = self
                .versions
                .get(&version)
                .is_some_and(|version| version.parents.is_empty() || self.is_never_had(version));
            return if is_first {
                Relation::Forward
            } else {
                Relation::Concurrent
            };
        };
        if working == version || self.is_ancestor(version, working) {
            Relation::Known
        } else if self.is_ancestor(working, version) {
            Relation::Forward
        } else {
            Relation::Concurrent
        }
    }

    /// Whether nothing but insertions lead to this version, so that a copy without the unit may take it.
    fn is_never_had(&self, version: &Version) -> bool {
        version.parents.iter().all(|parent| {
            self.versions.get(parent).is_some_and(|parent| {
                parent.recorded.is_some()
                    && (parent.parents.is_empty() || self.is_never_had(parent))
            })
        })
    }

    /// Completes a patch of this working copy to a body that can be published.
    /// `None` when the log knows every version in it.
    pub fn body(
        &self,
        patch: FilePatch,
        commit: String,
        cause: Cause,
        why: Option<String>,
    ) -> Option<PatchBody> {
        let parents: Vec<Vec<VersionId>> = patch
            .touched
            .iter()
            .map(|row| self.working(row.unit, row.before).into_iter().collect())
            .collect();
        let body = PatchBody {
            channel: self.channel.clone(),
            commit,
            cause,
            why,
            patch,
            parents,
        };
        let is_news = body.versions().any(|(_, version, _)| !self.knows(version));
        is_news.then_some(body)
    }

    /// The heads of a unit on this channel.
    pub fn heads(&self, unit: UnitId) -> Vec<VersionId> {
        let history = self.units.get(&unit);
        let heads = history.and_then(|history| history.heads.get(&self.channel));
        heads
            .map(|heads| heads.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Prepares a patch for a working copy whose units have `contents`: operations that follow from an older
    /// ancestor are rebased onto what is there. `Err` names the first unit that stands in the way.
    pub fn plan(
        &self,
        body: &PatchBody,
        contents: &dyn Fn(UnitId) -> Option<ContentHash>,
    ) -> Result<Option<FilePatch>, Obstacle> {
        let mut known = BTreeSet::new();
        for ((unit, version, _), row) in body.versions().zip(&body.patch.touched) {
            let is_file = unit == UnitId::file(&body.patch.path);
            match self.relation(unit, contents(unit), version) {
                Relation::Known => {
                    known.insert(unit);
                }
                Relation::Forward => {}
                // A whole file without versions of its own here is merged by lines, or refused there.
                Relation::Concurrent if is_file && !self.has_history(unit, contents(unit)) => {}
                Relation::Concurrent => {
                    return Err(Obstacle {
                        unit,
                        name: row.name.clone(),
                    });
                }
            }
        }
        if known.len() == body.patch.touched.len() {
            return Ok(None);
        }
        let mut patch = body.patch.clone();
        patch
            .ops
            .retain(|op| op_unit(op).is_none_or(|unit| !known.contains(&unit)));
        for op in &mut patch.ops {
            self.rebase(op, contents);
        }
        Ok(Some(patch))
    }

    /// Units of this channel in which concurrent versions exclude each other.
    pub fn conflicts(&self) -> Vec<Conflict> {
        self.forked()
            .filter_map(|(unit, history, heads)| {
                let (first, second) = self.pair(&heads)?;
                let base = self.base_of(first.version, second.version);
                let merged = merge(
                    base.as_deref(),
                    first.text.as_deref(),
                    second.text.as_deref(),
                );
                if merged.is_some() && heads.len() == 2 {
                    return None;
                }
                let (mine, theirs) = if self.author(&second) == self.me {
                    (second, first)
                } else {
                    (first, second)
                };
                Some(Conflict {
                    id: conflict_id(unit, &heads),
                    unit,
                    name: history.name.clone(),
                    path: history.path.clone(),
                    base,
                    mine,
                    theirs,
                    heads,
                })
            })
            .collect()
    }

    /// Joins that this peer owes because its version was placed second.
    pub fn due_merges(&self) -> Vec<DueMerge> {
        self.forked()
            .filter_map(|(unit, history, heads)| {
                if heads.len() != 2 {
                    return None;
                }
                let (first, second) = self.pair(&heads)?;
                let placed = |side: &Side| self.recorded.get(side.recorded)?.origin.seq;
                placed(&first)?;
                placed(&second)?;
                if self.author(&second) != self.me {
                    return None;
                }
                let base = self.base_of(first.version, second.version);
                let merged = merge(
                    base.as_deref(),
                    first.text.as_deref(),
                    second.text.as_deref(),
                )??;
                Some(DueMerge {
                    unit,
                    name: history.name.clone(),
                    path: history.path.clone(),
                    heads,
                    mine: second.text.clone()?,
                    merged,
                })
            })
            .collect()
    }

    /// Units with more than one head.
    fn forked(&self) -> impl Iterator<Item = (UnitId, &History, Vec<VersionId>)> {
        self.units.iter().filter_map(|(unit, history)| {
            let heads = history.heads.get(&self.channel)?;
            (1 < heads.len()).then(|| (*unit, history, heads.iter().copied().collect()))
        })
    }

    /// Two heads in the order in which the Mothership placed them; one without a place comes last.
    fn pair(&self, heads: &[VersionId]) -> Option<(Side, Side)> {
        let mut sides: Vec<Side> = heads.iter().filter_map(|head| self.side(*head)).collect();
        sides.sort_by_key(|side| {
            let origin = &self.recorded[side.recorded].origin;
            (origin.seq.unwrap_or(u64::MAX), side.recorded)
        });
        let mut sides = sides.into_iter();
        Some((sides.next()?, sides.next()?))
    }

    fn side(&self, version: VersionId) -> Option<Side> {
        let found = self.versions.get(&version)?;
        let text = found.content.and_then(|content| self.text(content));
        Some(Side {
            version,
            recorded: found.recorded?,
            text,
        })
    }

    fn author(&self, side: &Side) -> PeerId {
        self.recorded[side.recorded].origin.writer.peer
    }

    /// The text of the nearest version that both came from.
    fn base_of(&self, a: VersionId, b: VersionId) -> Option<Arc<OwnText>> {
        let ancestors: BTreeSet<VersionId> = self.ancestors(a).into_iter().collect();
        let common = self
            .ancestors(b)
            .into_iter()
            .find(|id| ancestors.contains(id))?;
        self.versions
            .get(&common)?
            .content
            .and_then(|content| self.text(content))
    }

    /// Every version that `version` follows from, nearest first.
    fn ancestors(&self, version: VersionId) -> Vec<VersionId> {
        let mut found: Vec<VersionId> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = vec![version];
        while !next.is_empty() {
            let mut further = Vec::new();
            for id in next {
                let parents = self
                    .versions
                    .get(&id)
                    .map_or(&[][..], |version| &version.parents);
                for parent in parents {
                    if seen.insert(*parent) {
                        found.push(*parent);
                        further.push(*parent);
                    }
                }
            }
            next = further;
        }
        found
    }

    fn is_ancestor(&self, older: VersionId, newer: VersionId) -> bool {
        self.ancestors(newer).contains(&older)
    }

    fn has_history(&self, unit: UnitId, content: Option<ContentHash>) -> bool {
        self.working(unit, content)
            .is_some_and(|version| self.knows(version))
    }

    fn number(&self, unit: UnitId, version: VersionId) -> usize {
        let history = self.units.get(&unit);
        let position =
            history.and_then(|history| history.versions.iter().position(|id| *id == version));
        position.map_or(0, |position| position + 1)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one row of a patch, taken apart once"
    )]
    fn insert(
        &mut self,
        unit: UnitId,
        version: VersionId,
        parents: &[VersionId],
        before: Option<ContentHash>,
        after: Option<ContentHash>,
        recorded: usize,
        body: &PatchBody,
        name: &str,
    ) {
        for parent in parents {
            // A parent that no patch made is the version that the unit was born with.
            self.versions.entry(*parent).or_insert_with(|| Version {
                parents: Vec::new(),
                content: before,
                recorded: None,
            });
        }
        let path = body.patch.path.clone();
        let history = self.units.entry(unit).or_default();
        history.path.clone_from(&path);
        history.name = name.to_owned();
        self.names.insert((path, name.to_owned()), unit);
        let is_known = self
            .versions
            .get(&version)
            .is_some_and(|known| known.recorded.is_some());
        if !is_known {
            history.versions.push(version);
            let parents = parents.to_vec();
            let new = Version {
                parents,
                content: after,
                recorded: Some(recorded),
            };
            self.versions.insert(version, new);
        }
        self.update_heads(unit, &body.channel, version);
    }

    fn update_heads(&mut self, unit: UnitId, channel: &str, version: VersionId) {
        let ancestors: BTreeSet<VersionId> = self.ancestors(version).into_iter().collect();
        let Some(history) = self.units.get(&unit) else {
            return;
        };
        let heads = history.heads.get(channel).cloned().unwrap_or_default();
        if heads.iter().any(|head| self.is_ancestor(version, *head)) {
            return;
        }
        let mut heads: BTreeSet<VersionId> = heads
            .into_iter()
            .filter(|head| !ancestors.contains(head))
            .collect();
        heads.insert(version);
        if let Some(history) = self.units.get_mut(&unit) {
            history.heads.insert(channel.to_owned(), heads);
        }
    }

    fn keep_texts(&mut self, patch: &FilePatch) {
        let mut keep = |text: OwnText| {
            self.texts
                .entry(text.hash())
                .or_insert_with(|| Arc::new(text));
        };
        for op in &patch.ops {
            match op {
                Op::Replace {
                    base_text, text, ..
                }
                | Op::Rename {
                    base_text, text, ..
                } => {
                    keep(base_text.clone());
                    keep(text.clone());
                }
                Op::Insert { text, .. } => keep(OwnText::leaf(text.bytes())),
                Op::Delete { base_text, .. } => keep(OwnText::leaf(base_text.bytes())),
                Op::File {
                    base_text, text, ..
                } => {
                    base_text
                        .iter()
                        .for_each(|text| keep(OwnText::leaf(text.bytes())));
                    text.iter()
                        .for_each(|text| keep(OwnText::leaf(text.bytes())));
                }
                Op::Gap { .. } | Op::Move { .. } => {}
            }
        }
    }

    /// Makes an operation start from what the working copy has, where that is an ancestor of its result.
    fn rebase(&self, op: &mut Op, contents: &dyn Fn(UnitId) -> Option<ContentHash>) {
        if let Op::Replace {
            unit,
            base,
            base_text,
            ..
        }
        | Op::Rename {
            unit,
            base,
            base_text,
            ..
        } = op
            && let Some(current) = contents(*unit)
            && current != *base
            && let Some(text) = self.texts.get(&current)
        {
            *base = current;
            *base_text = (**text).clone();
        }
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

/// Joins two texts: `None` when they exclude each other, `Some(None)` when both deleted the unit.
fn merge(
    base: Option<&OwnText>,
    a: Option<&OwnText>,
    b: Option<&OwnText>,
) -> Option<Option<OwnText>> {
    match (base, a, b) {
        (_, a, b) if a == b => Some(a.cloned()),
        (Some(base), Some(a), Some(b)) if base.foot.is_some() == a.foot.is_some() => {
            let head = clean(&base.head, &a.head, &b.head)?;
            let foot = match (&base.foot, &a.foot, &b.foot) {
                (Some(base), Some(a), Some(b)) => Some(clean(base, a, b)?),
                (None, None, None) => None,
                _ => return None,
            };
            Some(Some(OwnText { head, foot }))
        }
        _ => None,
    }
}

fn clean(base: &Text, a: &Text, b: &Text) -> Option<Text> {
    match merge_lines(base.bytes(), a.bytes(), b.bytes()) {
        LineMerge::Clean(bytes) => Some(Text(bytes)),
        LineMerge::Conflict(_) => None,
    }
}

fn op_unit(op: &Op) -> Option<UnitId> {
    match op {
        Op::Delete { unit, .. }
        | Op::Insert { unit, .. }
        | Op::Move { unit, .. }
        | Op::Rename { unit, .. }
        | Op::Replace { unit, .. } => Some(*unit),
        Op::File { .. } | Op::Gap { .. } => None,
    }
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

fn conflict_id(unit: UnitId, heads: &[VersionId]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("aura/v1/conflict");
    hasher.update(&unit.0);
    for head in heads {
        hasher.update(&head.0);
    }
    let id = &base32().encode(&hasher.finalize().as_bytes()[..4])[..6];
    format!("c-{id}")
}
