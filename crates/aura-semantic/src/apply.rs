//! Carrying out a patch on the version of the file that is here.
//!
//! Invariants:
//! - all operations are carried out or none;
//! - text outside the named units and gaps is not touched;
//! - carrying out a patch twice changes nothing the second time.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use crate::check;
use crate::draft::{Draft, Node, ROOT};
use crate::indexed::{Indexed, index};
use crate::lines::{Chunk, LineMerge, merge_lines};
use crate::merge::{FileMerge, merge_files_within};
use crate::onto::{bring_as, onto};
use crate::outline::Budget;
use crate::own::merge_own;
use crate::patch::{Clash, FilePatch, Op, Refusal};
use crate::value::{ContentHash, OwnText, Text, UnitId};
use crate::walk::is_blank;
use crate::whole::land_file;

/// The file after a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The new version; `None` if the file is gone.
    pub after: Option<Indexed>,
    /// Where edited units stand in the new version.
    pub changed: Vec<Range<usize>>,
    /// The patch was merged with changes made here, so the result is a version of its own.
    pub merged: bool,
}

impl Applied {
    /// The new content; `None` if the file is gone.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.after.as_ref().map(|after| &after.bytes[..])
    }
}

/// Carries out a patch, parsing within the default budget where there is no file yet.
pub fn apply(current: Option<&Indexed>, patch: &FilePatch) -> Result<Applied, Refusal> {
    apply_known(current, patch, None)
}

/// What is known of the file that a patch of somebody else meets.
pub struct Landing<'a> {
    /// Units of which an older version is there, which the patch follows.
    pub older: &'a BTreeSet<UnitId>,
    /// Whether a unit got its place from a patch that comes after this one: it stands first where both are put.
    pub is_newer: &'a dyn Fn(UnitId) -> bool,
    /// Whether a file that the patch deletes as one piece has been made anew since: only what was in it goes.
    pub is_back: bool,
    /// Whether the author of a patch of the file as one piece has seen the very file that is here, so that nothing is
    /// merged.
    pub is_seen: bool,
}

/// Carries out a patch of somebody else, as [`apply`] does, but so that devices that carry out the same patches in
/// different orders come to the same file; and tells the operations as they were carried out, each from what was there,
/// so that whoever carries them on to another file takes nothing out of it but what this one lost.
///
/// Where two comments between units exclude each other both stay, in an order that depends on their texts alone.
pub fn land(
    current: Option<&Indexed>,
    patch: &FilePatch,
    landing: &Landing<'_>,
) -> Result<(Applied, FilePatch), Refusal> {
    let mut landed = FilePatch {
        ops: Vec::new(),
        ..patch.clone()
    };
    if let [Op::File { text, .. }] = &patch.ops[..] {
        let applied = land_file(current, patch, text.as_ref(), landing)?;
        let bytes = |file: &Indexed| Text(file.bytes.to_vec());
        landed.ops = vec![Op::File {
            base: file_hash(current),
            base_text: current.map(bytes),
            text: applied.after.as_ref().map(bytes),
        }];
        return Ok((applied, landed));
    }
    let (applied, ops) = carry_out(current, patch, None, Some(landing))?;
    landed.ops = ops;
    Ok((applied, landed))
}

pub(crate) fn apply_known(
    current: Option<&Indexed>,
    patch: &FilePatch,
    known: Option<&Indexed>,
) -> Result<Applied, Refusal> {
    Ok(carry_out(current, patch, known, None)?.0)
}

pub(crate) fn carry_out(
    current: Option<&Indexed>,
    patch: &FilePatch,
    known: Option<&Indexed>,
    landing: Option<&Landing<'_>>,
) -> Result<(Applied, Vec<Op>), Refusal> {
    if let [
        Op::File {
            base_text, text, ..
        },
    ] = &patch.ops[..]
    {
        let base = base_text.as_ref().map(Text::bytes);
        let applied = apply_file(current, &patch.path, base, text.as_ref().map(Text::bytes))?;
        return Ok((applied, patch.ops.clone()));
    }
    let file = || (UnitId::file(&patch.path), patch.path.clone());
    let Some(current) = current else {
        let (unit, name) = file();
        return Err(Refusal::BaseMismatch { unit, name });
    };
    if let Some(problem) = current.outline.whole_file_problem() {
        return Err(Refusal::Unsupported { problem });
    }
    let gone = patch.touched.iter().filter(|row| row.after.is_none());
    let mut edit = Edit {
        draft: Draft::new(current),
        current,
        landing,
        gone: gone.map(|row| row.unit).collect(),
        merged: false,
    };
    let glued = edit.draft.glued();
    let mut done = Vec::new();
    for op in &patch.ops {
        let Some(landing) = landing else {
            edit.carry_out(op, file)?;
            continue;
        };
        let row = patch.touched.iter().find(|row| op.unit() == Some(row.unit));
        let op = match row.filter(|row| landing.older.contains(&row.unit)) {
            Some(row) => onto(current, &edit.draft, op, &row.name),
            None => Some(op.clone()),
        };
        let Some(op) = op else { continue };
        let found = edit.as_found(op.clone());
        edit.carry_out(&op, file)?;
        done.extend(edit.as_done(found));
    }
    if let Some(landing) = landing {
        done.extend(edit.remove_moved(patch, landing, file)?);
    }
    let merged = edit.merged;
    if landing.is_some() {
        edit.draft.part(&glued);
    }
    edit.draft.separate(current);
    let checked = check::finish(current, &edit.draft, known)?;
    let applied = Applied {
        after: Some(checked.after),
        changed: checked.changed,
        merged,
    };
    Ok((applied, done))
}

/// Replaces one unit's own text whatever it is now, with the checks of [`apply`]; the name may
/// change with it.
pub fn splice(current: &Indexed, unit: UnitId, text: &OwnText) -> Result<Applied, Refusal> {
    if let Some(problem) = current.outline.whole_file_problem() {
        return Err(Refusal::Unsupported { problem });
    }
    let mut draft = Draft::new(current);
    let Some(node) = draft.by_id.get(&unit).copied() else {
        return Err(Refusal::BaseMismatch {
            unit,
            name: unit.to_string(),
        });
    };
    let name = draft.nodes[node].name.to_string();
    set_own_text(&mut draft, node, text)?;
    let checked = match check::finish(current, &draft, None) {
        Err(Refusal::NameChanged {
            unit: renamed,
            found,
            ..
        }) if renamed == unit => {
            draft.nodes[node].name = Cow::Owned(found);
            check::finish(current, &draft, None)
        }
        Err(Refusal::WouldNotParse { .. }) => Err(Refusal::WouldNotParse { unit, name }),
        other => other,
    }?;
    Ok(Applied {
        after: Some(checked.after),
        changed: checked.changed,
        merged: false,
    })
}

fn set_own_text(draft: &mut Draft<'_>, node: usize, text: &OwnText) -> Result<(), Refusal> {
    let target = &mut draft.nodes[node];
    if target.foot.is_some() != text.foot.is_some() {
        return Err(Refusal::NotOneFunction {
            unit: target.id,
            name: target.name.to_string(),
        });
    }
    target.head = Cow::Owned(text.head.0.clone());
    target.foot = text.foot.as_ref().map(|foot| Cow::Owned(foot.0.clone()));
    target.edited = true;
    Ok(())
}

/// A container, and the unit in it behind a gap; none for the gap at its end.
type Gap = (usize, Option<usize>);

/// A draft being edited.
struct Edit<'a> {
    draft: Draft<'a>,
    current: &'a Indexed,
    /// For a patch of somebody else.
    landing: Option<&'a Landing<'a>>,
    /// Units that the patch tells to be gone.
    gone: BTreeSet<UnitId>,
    merged: bool,
}

/// Where a unit is to stand.
struct Place<'p> {
    parent: Option<UnitId>,
    after: Option<UnitId>,
    before: Option<UnitId>,
    gap: &'p Text,
}

impl<'a> Edit<'a> {
    fn carry_out(&mut self, op: &Op, file: impl Fn() -> (UnitId, String)) -> Result<(), Refusal> {
        match op {
            Op::Delete {
                unit,
                name,
                base_text,
                ..
            } => self.delete(*unit, name, base_text),
            Op::File { .. } => {
                let (unit, name) = file();
                Err(Refusal::NotOneFunction { unit, name })
            }
            Op::Gap {
                parent,
                base_text,
                text,
                ..
            } => self.gap(*parent, self.place_of_gap(op), base_text, text),
            Op::Insert {
                unit,
                kind,
                name,
                parent,
                after,
                before,
                gap,
                text,
                members,
            } => {
                let node = Node {
                    id: *unit,
                    kind: *kind,
                    name: Cow::Owned(name.clone()),
                    head: Cow::Owned(text.0.clone()),
                    members: members.clone(),
                    edited: true,
                    ..Node::blank()
                };
                let place = Place {
                    parent: *parent,
                    after: *after,
                    before: *before,
                    gap,
                };
                self.insert(node, &place)
            }
            Op::Move {
                unit,
                name,
                parent,
                after,
                before,
                gap,
            } => {
                let place = Place {
                    parent: *parent,
                    after: *after,
                    before: *before,
                    gap,
                };
                self.relocate(*unit, name, &place)
            }
            Op::Rename {
                unit,
                from,
                to,
                base_text,
                text,
                ..
            } => self.edit(*unit, from, Some(to), base_text, text),
            Op::Replace {
                unit,
                name,
                base_text,
                text,
                ..
            } => self.edit(*unit, name, None, base_text, text),
        }
    }

    /// Removes what was moved out of what was deleted with it.
    fn remove_moved(
        &mut self,
        patch: &FilePatch,
        landing: &Landing<'_>,
        file: impl Fn() -> (UnitId, String) + Copy,
    ) -> Result<Vec<Op>, Refusal> {
        let mut done = Vec::new();
        let gone = patch.touched.iter().filter(|row| row.after.is_none());
        for row in gone.filter(|row| landing.older.contains(&row.unit)) {
            let op = bring_as(self.current, &self.draft, row.unit, &row.name, None, None);
            if let Some(op) = op {
                self.carry_out(&op, file)?;
                done.push(op);
            }
        }
        Ok(done)
    }

    /// The container of the gap that an operation changes, and the unit behind it.
    fn place_of_gap(&self, op: &Op) -> Option<Gap> {
        let Op::Gap {
            parent,
            after,
            next,
            base_text,
            ..
        } = op
        else {
            return None;
        };
        match self.landing {
            Some(_) => {
                let beside = (*after, *next);
                self.draft.seek_gap(*parent, beside, base_text.bytes())
            }
            None => self.draft.find_gap(*parent, *next),
        }
    }

    /// An operation that is about to be carried out, on what is here: of a gap where it is and what is in it.
    fn as_found(&self, op: Op) -> Op {
        let Some((container, follower)) = self.place_of_gap(&op) else {
            return op;
        };
        let id = |node: Option<usize>| node.map(|node| self.draft.nodes[node].id);
        let before = self.draft.before(container, follower);
        match op {
            Op::Gap { text, .. } => Op::Gap {
                parent: id((container != ROOT).then_some(container)),
                after: id(before),
                next: id(follower),
                base_text: Text(self.draft.gap(container, follower).to_vec()),
                text,
            },
            op => op,
        }
    }

    /// An operation as it was carried out here: a gap from what was in it to what is.
    fn as_done(&self, op: Op) -> Option<Op> {
        let Op::Gap {
            parent,
            after,
            next,
            base_text,
            ..
        } = op
        else {
            return Some(op);
        };
        let (container, follower) = self.draft.find_gap(parent, next)?;
        let text = Text(self.draft.gap(container, follower).to_vec());
        (base_text != text).then_some(Op::Gap {
            parent,
            after,
            next,
            base_text,
            text,
        })
    }

    /// Finds a unit by id, or by its name if that is one unit's only.
    fn find(&self, unit: UnitId, name: &str) -> Result<Option<usize>, Refusal> {
        if let Some(node) = self.draft.by_id.get(&unit) {
            return Ok(Some(*node));
        }
        if name.is_empty() {
            return Ok(None);
        }
        let nodes = self.draft.by_id.values().copied();
        let mut named = nodes.filter(|node| self.draft.nodes[*node].name == name);
        match (named.next(), named.next()) {
            (found, None) => Ok(found),
            _ => Err(Refusal::Ambiguous {
                unit,
                name: name.to_owned(),
            }),
        }
    }

    fn edit(
        &mut self,
        unit: UnitId,
        name: &str,
        to: Option<&str>,
        base: &OwnText,
        text: &OwnText,
    ) -> Result<(), Refusal> {
        let missing = || Refusal::BaseMismatch {
            unit,
            name: name.to_owned(),
        };
        let Some(node) = self.find(unit, name)? else {
            let renamed = to.map(|to| self.find(unit, to)).transpose()?.flatten();
            let done = renamed.is_some_and(|node| self.draft.nodes[node].has_own_text(text));
            return if done { Ok(()) } else { Err(missing()) };
        };
        let target = &self.draft.nodes[node];
        if target.has_own_text(text) {
            return Ok(());
        }
        let by_id = target.id == unit;
        let mine = target.own_text();
        if !by_id && mine != *base {
            // Only the name agrees: too little to merge two texts on.
            return Err(missing());
        }
        let conflict = || {
            Refusal::Conflict(Box::new(Clash {
                unit,
                name: name.to_owned(),
                base: Some(base.clone()),
                mine: Some(mine.clone()),
                theirs: Some(text.clone()),
            }))
        };
        let renamed_here = target.name != name && to.is_some_and(|to| target.name != to);
        if renamed_here && !name.is_empty() {
            return Err(conflict());
        }
        let merged = if mine == *base {
            text.clone()
        } else {
            let opaque = target
                .unit
                .is_some_and(|at| self.current.outline.units[at].opaque);
            self.merged = true;
            merge_own(&self.current.path, base, &mine, text)
                .filter(|_| !opaque)
                .ok_or_else(conflict)?
        };
        set_own_text(&mut self.draft, node, &merged)?;
        if let Some(to) = to {
            self.draft.nodes[node].name = Cow::Owned(to.to_owned());
        }
        Ok(())
    }

    fn delete(&mut self, unit: UnitId, name: &str, base: &Text) -> Result<(), Refusal> {
        let Some(node) = self.draft.by_id.get(&unit).copied() else {
            return Ok(());
        };
        let mine = self.draft.text_of(node);
        let knows = |unit: &UnitId| self.gone.contains(unit);
        let knows_all = self.landing.is_none() || self.draft.within(node).iter().all(knows);
        if mine != base.0 || !knows_all {
            return Err(Refusal::Conflict(Box::new(Clash {
                unit,
                name: name.to_owned(),
                base: Some(OwnText::leaf(base.bytes())),
                mine: Some(OwnText::leaf(&mine)),
                theirs: None,
            })));
        }
        self.draft.detach(node);
        self.draft.forget(node);
        Ok(())
    }

    fn insert(&mut self, node: Node<'a>, place: &Place<'_>) -> Result<(), Refusal> {
        if let Some(here) = self.draft.by_id.get(&node.id).copied() {
            let mine = self.draft.text_of(here);
            if mine == *node.head {
                return Ok(());
            }
            return Err(Refusal::Conflict(Box::new(Clash {
                unit: node.id,
                name: node.name.to_string(),
                base: None,
                mine: Some(OwnText::leaf(&mine)),
                theirs: Some(OwnText::leaf(&node.head)),
            })));
        }
        let taken = node
            .members
            .iter()
            .find(|member| self.draft.by_id.contains_key(member));
        if let Some(member) = taken {
            return Err(Refusal::Ambiguous {
                unit: *member,
                name: node.name.to_string(),
            });
        }
        let (parent, at) = self.resolve(place, node.id, &node.name, None)?;
        let node = self.draft.add(node);
        self.draft
            .attach(parent, at, node, Cow::Owned(place.gap.0.clone()));
        Ok(())
    }

    fn relocate(&mut self, unit: UnitId, name: &str, place: &Place<'_>) -> Result<(), Refusal> {
        let found = self.draft.by_id.get(&unit).copied();
        let resolved = found
            .ok_or_else(|| Refusal::BaseMismatch {
                unit,
                name: name.to_owned(),
            })
            .and_then(|node| Ok((node, self.resolve(place, unit, name, Some(node))?)));
        let (node, (parent, at)) = match resolved {
            // Somebody deleted what was moved, or where it was moved to.
            Err(_) if self.landing.is_some() => return Ok(()),
            other => other?,
        };
        if self.draft.nodes[node].parent == parent && self.draft.place_of(node) == Some(at) {
            return Ok(());
        }
        self.draft.detach(node);
        self.draft
            .attach(parent, at, node, Cow::Owned(place.gap.0.clone()));
        Ok(())
    }

    /// The container, and the position among the other units in it, that a place means here.
    fn resolve(
        &self,
        place: &Place<'_>,
        unit: UnitId,
        name: &str,
        moving: Option<usize>,
    ) -> Result<(usize, usize), Refusal> {
        let missing = || Refusal::BaseMismatch {
            unit,
            name: name.to_owned(),
        };
        let parent = match place.parent {
            None => ROOT,
            Some(id) => self.draft.by_id.get(&id).copied().ok_or_else(missing)?,
        };
        let holds = self.draft.nodes[parent].foot.is_some();
        if !holds || moving.is_some_and(|node| self.draft.is_within(parent, node)) {
            return Err(missing());
        }
        let others = self.draft.nodes[parent].children.iter().copied();
        let others: Vec<usize> = others.filter(|node| Some(*node) != moving).collect();
        let is_newer = |id: UnitId| self.landing.is_some_and(|landing| (landing.is_newer)(id));
        // A neighbour that was put elsewhere since tells nothing any more.
        let position = |id: Option<UnitId>| {
            let id = id.filter(|id| !is_newer(*id))?;
            let node = *self.draft.by_id.get(&id)?;
            others.iter().position(|other| *other == node)
        };
        let at = match (place.after, position(place.after), position(place.before)) {
            (_, Some(after), _) => after + 1,
            (None, ..) => 0,
            (_, None, Some(before)) => before,
            (Some(_), None, None) => others.len(),
        };
        let behind = others[at..].iter();
        let newer = behind.take_while(|node| is_newer(self.draft.nodes[**node].id));
        Ok((parent, at + newer.count()))
    }

    fn gap(
        &mut self,
        parent: Option<UnitId>,
        place: Option<Gap>,
        base: &Text,
        text: &Text,
    ) -> Result<(), Refusal> {
        let blank = is_blank(base.bytes()) && is_blank(text.bytes());
        let Some((container, follower)) = place else {
            // White space around a unit that is gone is nobody's loss.
            return if blank {
                Ok(())
            } else {
                Err(Refusal::BaseMismatch {
                    unit: parent.unwrap_or(self.draft.nodes[ROOT].id),
                    name: self.draft.nodes[ROOT].name.to_string(),
                })
            };
        };
        let here = self.draft.gap_mut(container, follower);
        let merged = match merge_lines(base.bytes(), here, text.bytes()) {
            LineMerge::Clean(merged) => merged,
            LineMerge::Conflict(_) if blank && is_blank(here) => match self.landing {
                Some(_) => here.to_vec().min(text.0.clone()),
                None => return Ok(()),
            },
            LineMerge::Conflict(chunks) if self.landing.is_some() => both(chunks),
            LineMerge::Conflict(_) => {
                let mine = Some(OwnText::leaf(here));
                let id = parent.unwrap_or(self.draft.nodes[ROOT].id);
                return Err(Refusal::Conflict(Box::new(Clash {
                    unit: id,
                    name: self.draft.nodes[container].name.to_string(),
                    base: Some(OwnText::leaf(base.bytes())),
                    mine,
                    theirs: Some(OwnText::leaf(text.bytes())),
                })));
            }
        };
        let mut merged = merged;
        // A comment that stood by itself is not made a part of the unit behind it.
        let stands_apart = follower.is_some() && here.ends_with(b"\n\n") && !is_blank(&merged);
        while self.landing.is_some() && stands_apart && !merged.ends_with(b"\n\n") {
            merged.push(b'\n');
        }
        self.merged |= **here != *base.0 && merged != **here;
        *here = Cow::Owned(merged);
        Ok(())
    }
}

/// What stays of both sides of each conflict, in the order of their texts: the lines that neither removed, and those
/// that either added, once.
fn both(chunks: Vec<Chunk>) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in chunks {
        match chunk {
            Chunk::Clean(bytes) => out.extend(bytes),
            Chunk::Conflict { base, ours, theirs } => {
                let set = |bytes: &[u8]| -> BTreeSet<Vec<u8>> {
                    bytes.split_inclusive(says_end).map(said).collect()
                };
                let (known, wanted) = (set(&base), set(&theirs));
                let is_removed = |line: &Vec<u8>| known.contains(line) && !wanted.contains(line);
                let here = filtered(&ours, |line| !is_removed(line));
                let there = set(&here);
                let new = filtered(&theirs, |line| {
                    !known.contains(line) && !there.contains(line)
                });
                let (first, second) = (here.clone().min(new.clone()), here.max(new));
                let is_open = !first.is_empty() && !first.ends_with(b"\n") && !second.is_empty();
                out.extend(first);
                out.extend(is_open.then_some(b'\n'));
                out.extend(second);
            }
        }
    }
    out
}

fn says_end(byte: &u8) -> bool {
    *byte == b'\n'
}

/// What a line says, without the space around it.
fn said(line: &[u8]) -> Vec<u8> {
    line.trim_ascii().to_vec()
}

/// The lines of which `keeps` holds, and blank ones between them.
fn filtered(bytes: &[u8], keeps: impl Fn(&Vec<u8>) -> bool) -> Vec<u8> {
    let lines = bytes.split_inclusive(says_end);
    let kept: Vec<&[u8]> = lines
        .filter(|line| is_blank(line) || keeps(&said(line)))
        .collect();
    if kept.iter().all(|line| is_blank(line)) {
        return Vec::new();
    }
    kept.concat()
}

pub(crate) fn apply_file(
    current: Option<&Indexed>,
    path: &str,
    base: Option<&[u8]>,
    text: Option<&[u8]>,
) -> Result<Applied, Refusal> {
    let here = current.map(|current| &current.bytes[..]);
    if here == text {
        return Ok(Applied {
            after: current.cloned(),
            changed: Vec::new(),
            merged: false,
        });
    }
    let budget = current.map_or_else(Budget::default, |current| current.budget.clone());
    if here == base {
        let after = text.map(|text| index(path, text, current, &budget));
        let changed = text.map(|text| 0..text.len()).into_iter().collect();
        return Ok(Applied {
            after,
            changed,
            merged: false,
        });
    }
    let leaf = |bytes: Option<&[u8]>| bytes.map(OwnText::leaf);
    let conflict = Refusal::Conflict(Box::new(Clash {
        unit: UnitId::file(path),
        name: path.to_owned(),
        base: leaf(base),
        mine: leaf(here),
        theirs: leaf(text),
    }));
    let (Some(base), Some(current), Some(text)) = (base, current, text) else {
        return Err(conflict);
    };
    let FileMerge::Clean { bytes, .. } =
        merge_files_within(path, base, &current.bytes, text, &budget)
    else {
        return Err(conflict);
    };
    let after = index(path, bytes, Some(current), &budget);
    let changed = std::iter::once(0..after.bytes.len()).collect();
    Ok(Applied {
        after: Some(after),
        changed,
        merged: true,
    })
}

/// The version of a unit as it travels in [`crate::Touched`]: own hash, or the file's plain hash.
pub(crate) fn file_hash(file: Option<&Indexed>) -> Option<ContentHash> {
    file.map(Indexed::hash)
}
