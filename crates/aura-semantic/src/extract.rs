//! From two versions of a file to the patch between them.
//!
//! Invariants:
//! - every patch is proved before it is given: carried out on the version before, it gives the
//!   version after, byte for byte and id for id; what cannot be proved travels as a whole file;
//! - equal versions give equal patches on every machine.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::apply::{apply_known, file_hash};
use crate::draft::{Draft, Node, ROOT};
use crate::indexed::Indexed;
use crate::patch::{FilePatch, OPS_MAX, Op, Touched};
use crate::value::{ContentHash, Text, UnitId};

/// Finds the patch from one version to another of one path; `None` if they are equal.
pub fn extract(before: Option<&Indexed>, after: Option<&Indexed>) -> Option<FilePatch> {
    let path = after.or(before)?.path.clone();
    if before.map(|file| &file.bytes) == after.map(|file| &file.bytes) {
        return None;
    }
    let mut patch = FilePatch {
        path,
        base: file_hash(before),
        result: file_hash(after),
        ops: Vec::new(),
        touched: Vec::new(),
    };
    if let (Some(before), Some(after)) = (before, after)
        && let Some(ops) = unit_ops(before, after)
    {
        patch.ops = ops;
        if is_proved(before, after, &patch) {
            patch.touched = touched(Some(before), Some(after), &patch);
            // The members of a container may be others where it is read by itself.
            if patch.check().is_ok() {
                return Some(patch);
            }
        }
    }
    let text = |file: Option<&Indexed>| file.map(|file| Text(file.bytes.to_vec()));
    patch.ops = vec![Op::File {
        base: patch.base,
        base_text: text(before),
        text: text(after),
    }];
    patch.touched = touched(before, after, &patch);
    Some(patch)
}

/// The insertions of these units, with what is in them, that lead towards another version of a file.
pub(crate) fn insertions(from: &Indexed, to: &Indexed, units: &BTreeSet<UnitId>) -> Vec<Op> {
    let mut extraction = Extraction {
        from: Draft::new(from),
        to: Draft::new(to),
        after: to,
        ops: Vec::new(),
    };
    // What was placed before a limit was met still counts.
    let _complete = extraction.place_all();
    let is_wanted = |op: &Op| matches!(op, Op::Insert { unit, .. } if units.contains(unit));
    extraction.ops.into_iter().filter(is_wanted).collect()
}

fn is_proved(before: &Indexed, after: &Indexed, patch: &FilePatch) -> bool {
    let applied = apply_known(Some(before), patch, Some(after));
    let result = applied.ok().and_then(|applied| applied.after);
    result.is_some_and(|result| result.bytes == after.bytes && result.ids == after.ids)
}

fn touched(before: Option<&Indexed>, after: Option<&Indexed>, patch: &FilePatch) -> Vec<Touched> {
    type Versions<'a> = BTreeMap<UnitId, (&'a str, ContentHash)>;
    fn versions(file: Option<&Indexed>) -> Versions<'_> {
        let units = file
            .into_iter()
            .flat_map(|file| file.outline.units.iter().zip(&file.ids));
        units
            .map(|(unit, id)| (*id, (unit.qualified.as_str(), unit.own_hash)))
            .collect()
    }
    let (old, new) = (versions(before), versions(after));
    let moved: BTreeSet<UnitId> = patch
        .ops
        .iter()
        .filter_map(|op| {
            if let Op::Move { unit, .. } = op {
                Some(*unit)
            } else {
                None
            }
        })
        .collect();
    let mut touched = Vec::new();
    let loose = |op: &Op| matches!(op, Op::File { .. } | Op::Gap { .. } | Op::Move { .. });
    let file = patch.ops.iter().any(loose).then(|| Touched {
        unit: UnitId::file(&patch.path),
        name: patch.path.clone(),
        before: patch.base,
        after: patch.result,
    });
    let is_whole = patch.is_whole();
    // First what the change is about.
    touched.extend(file.clone().filter(|_| is_whole));
    let ids: BTreeSet<UnitId> = old.keys().chain(new.keys()).copied().collect();
    for unit in ids {
        let (was, is) = (old.get(&unit), new.get(&unit));
        let hash = |version: Option<&(&str, ContentHash)>| version.map(|(_, hash)| *hash);
        if hash(was) != hash(is) || moved.contains(&unit) {
            let name = is
                .or(was)
                .map(|(name, _)| (*name).to_owned())
                .unwrap_or_default();
            touched.push(Touched {
                unit,
                name,
                before: hash(was),
                after: hash(is),
            });
        }
    }
    touched.extend(file.filter(|_| !is_whole));
    touched
}

fn unit_ops(before: &Indexed, after: &Indexed) -> Option<Vec<Op>> {
    let structured = before.is_structured() && after.is_structured();
    let empty = before.ids.is_empty() && after.ids.is_empty();
    if !structured || empty || before.path != after.path {
        return None;
    }
    let mut extraction = Extraction {
        from: Draft::new(before),
        to: Draft::new(after),
        after,
        ops: Vec::new(),
    };
    extraction.place_all()?;
    extraction.delete_gone()?;
    extraction.edit_texts()?;
    extraction.mend_gaps()?;
    Some(extraction.ops)
}

/// The units that a patch between two versions would move.
pub fn moves(before: &Indexed, after: &Indexed) -> BTreeSet<UnitId> {
    let mut extraction = Extraction {
        from: Draft::new(before),
        to: Draft::new(after),
        after,
        ops: Vec::new(),
    };
    // What was placed before the limit was met still counts.
    let _complete = extraction.place_all();
    let moved = |op: &Op| {
        if let Op::Move { unit, .. } = op {
            Some(*unit)
        } else {
            None
        }
    };
    extraction.ops.iter().filter_map(moved).collect()
}

/// Two drafts, the first being edited until it equals the second.
struct Extraction<'a> {
    from: Draft<'a>,
    to: Draft<'a>,
    after: &'a Indexed,
    ops: Vec<Op>,
}

impl<'a> Extraction<'a> {
    fn push(&mut self, op: Op) -> Option<()> {
        self.ops.push(op);
        (self.ops.len() <= OPS_MAX).then_some(())
    }

    fn partner(&self, to: usize) -> Option<usize> {
        if to == ROOT {
            return Some(ROOT);
        }
        self.from.by_id.get(&self.to.nodes[to].id).copied()
    }

    fn parent_id(&self, to: usize) -> Option<UnitId> {
        let parent = self.to.nodes[to].parent;
        (parent != ROOT).then(|| self.to.nodes[parent].id)
    }

    /// Inserts and moves, container by container, from left to right.
    fn place_all(&mut self) -> Option<()> {
        let mut open = vec![ROOT];
        while let Some(container) = open.pop() {
            let children = self.to.nodes[container].children.clone();
            let kept = self.kept(container, &children);
            for (at, child) in children.iter().copied().enumerate() {
                let beside = |at: Option<usize>| at.and_then(|at| children.get(at)).copied();
                let neighbours = (beside(at.checked_sub(1)), beside(at.checked_add(1)));
                match self.partner(child) {
                    None => self.insert(container, child, neighbours)?,
                    Some(_) if kept.contains(&child) => open.push(child),
                    Some(node) => {
                        self.relocate(container, child, node, neighbours)?;
                        open.push(child);
                    }
                }
            }
        }
        Some(())
    }

    /// The children that already stand in this container in the wanted order: the most there are.
    fn kept(&self, container: usize, children: &[usize]) -> BTreeSet<usize> {
        let Some(from) = self.partner(container) else {
            return BTreeSet::new();
        };
        let places: BTreeMap<usize, usize> = self.from.nodes[from]
            .children
            .iter()
            .enumerate()
            .map(|(place, node)| (*node, place))
            .collect();
        let here: Vec<(usize, usize)> = children
            .iter()
            .filter_map(|child| Some((*child, *places.get(&self.partner(*child)?)?)))
            .collect();
        longest_rising(&here)
    }

    fn anchors(&self, (previous, next): (Option<usize>, Option<usize>)) -> [Option<UnitId>; 2] {
        [previous, next].map(|node| node.map(|node| self.to.nodes[node].id))
    }

    /// The gap that travels with a new neighbour.
    fn gap(&self, child: usize, next: Option<usize>, first: bool) -> Cow<'a, [u8]> {
        match next {
            Some(next) if first => self.to.nodes[next].lead.clone(),
            // What is written at the start of a container stays there.
            None if first => match &self.to.nodes[child].lead {
                Cow::Borrowed(lead) => Cow::Borrowed(&lead[lead.trim_ascii_end().len()..]),
                Cow::Owned(lead) => Cow::Owned(lead[lead.trim_ascii_end().len()..].to_vec()),
            },
            _ => self.to.nodes[child].lead.clone(),
        }
    }

    fn target(&self, container: usize, previous: Option<usize>) -> Option<(usize, usize)> {
        let parent = self.partner(container)?;
        let place = match previous {
            None => 0,
            Some(previous) => self.from.place_of(self.partner(previous)?)? + 1,
        };
        Some((parent, place))
    }

    fn insert(
        &mut self,
        container: usize,
        child: usize,
        neighbours: (Option<usize>, Option<usize>),
    ) -> Option<()> {
        let index = self.to.nodes[child].unit?;
        let members = self.after.ids[index + 1..self.after.outline.units[index].end].to_vec();
        if members
            .iter()
            .any(|member| self.from.by_id.contains_key(member))
        {
            // A new container around old units: told as a whole.
            return None;
        }
        let (parent, place) = self.target(container, neighbours.0)?;
        let gap = self.gap(child, neighbours.1, neighbours.0.is_none());
        let text = self.to.text_of(child);
        let [after, before] = self.anchors(neighbours);
        let wanted = &self.to.nodes[child];
        let op = Op::Insert {
            unit: wanted.id,
            kind: wanted.kind,
            name: wanted.name.to_string(),
            parent: self.parent_id(child),
            after,
            before,
            gap: Text(gap.to_vec()),
            text: Text(text.clone()),
            members: members.clone(),
        };
        let node = Node {
            id: wanted.id,
            kind: wanted.kind,
            name: wanted.name.clone(),
            head: Cow::Owned(text),
            members,
            ..Node::blank()
        };
        let node = self.from.add(node);
        self.from.attach(parent, place, node, gap);
        self.push(op)
    }

    fn relocate(
        &mut self,
        container: usize,
        child: usize,
        node: usize,
        neighbours: (Option<usize>, Option<usize>),
    ) -> Option<()> {
        let (parent, _) = self.target(container, neighbours.0)?;
        if self.from.is_within(parent, node) {
            return None;
        }
        let gap = self.gap(child, neighbours.1, neighbours.0.is_none());
        let [after, before] = self.anchors(neighbours);
        let op = Op::Move {
            unit: self.from.nodes[node].id,
            name: self.from.nodes[node].name.to_string(),
            parent: self.parent_id(child),
            after,
            before,
            gap: Text(gap.to_vec()),
        };
        self.from.detach(node);
        let (parent, place) = self.target(container, neighbours.0)?;
        self.from.attach(parent, place, node, gap);
        self.push(op)
    }

    fn delete_gone(&mut self) -> Option<()> {
        let gone: Vec<usize> = (1..self.from.nodes.len())
            .filter(|node| !self.to.by_id.contains_key(&self.from.nodes[*node].id))
            .collect();
        for node in gone {
            let id = self.from.nodes[node].id;
            if !self.from.by_id.contains_key(&id) {
                // Gone with its container.
                continue;
            }
            let text = self.from.text_of(node);
            let op = Op::Delete {
                unit: id,
                name: self.from.nodes[node].name.to_string(),
                base: ContentHash::of(&text),
                base_text: Text(text),
            };
            self.from.detach(node);
            self.from.forget(node);
            self.push(op)?;
        }
        Some(())
    }

    fn edit_texts(&mut self) -> Option<()> {
        for to in 1..self.to.nodes.len() {
            let wanted = &self.to.nodes[to];
            let Some(node) = self.partner(to) else {
                continue;
            };
            let present = &self.from.nodes[node];
            if present.unit.is_none()
                || (present.head == wanted.head && present.foot == wanted.foot)
            {
                continue;
            }
            if present.foot.is_some() != wanted.foot.is_some() {
                return None;
            }
            let (base_text, text) = (present.own_text(), wanted.own_text());
            let (unit, base) = (wanted.id, base_text.hash());
            let (from, name) = (present.name.to_string(), wanted.name.to_string());
            let op = if from == name {
                Op::Replace {
                    unit,
                    name,
                    base,
                    base_text,
                    text,
                }
            } else {
                Op::Rename {
                    unit,
                    from,
                    to: name,
                    base,
                    base_text,
                    text,
                }
            };
            self.push(op)?;
        }
        Some(())
    }

    fn mend_gaps(&mut self) -> Option<()> {
        for to in 0..self.to.nodes.len() {
            let Some(node) = self.partner(to) else {
                continue;
            };
            if to != ROOT {
                let place = (self.parent_id(to), Some(to));
                let (base, text) = (&self.from.nodes[node].lead, &self.to.nodes[to].lead);
                self.mend(place, base.clone(), text.clone())?;
            }
            if self.to.nodes[to].foot.is_some() && self.from.nodes[node].foot.is_some() {
                let place = ((to != ROOT).then(|| self.to.nodes[to].id), None);
                let (base, text) = (&self.from.nodes[node].tail, &self.to.nodes[to].tail);
                self.mend(place, base.clone(), text.clone())?;
            }
        }
        Some(())
    }

    fn mend(
        &mut self,
        (parent, follower): (Option<UnitId>, Option<usize>),
        base: Cow<'a, [u8]>,
        text: Cow<'a, [u8]>,
    ) -> Option<()> {
        if base == text {
            return Some(());
        }
        let container = parent.and_then(|parent| self.to.by_id.get(&parent).copied());
        let before = self.to.before(container.unwrap_or(ROOT), follower);
        let id = |node: Option<usize>| node.map(|node| self.to.nodes[node].id);
        let (after, next) = (id(before), id(follower));
        let (base_text, text) = (Text(base.to_vec()), Text(text.to_vec()));
        self.push(Op::Gap {
            parent,
            after,
            next,
            base_text,
            text,
        })
    }
}

/// The longest selection whose second numbers rise, in order; gives the first numbers.
fn longest_rising(items: &[(usize, usize)]) -> BTreeSet<usize> {
    // For each length, the item with the lowest end that closes a selection of it.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(items.len());
    for (at, (_, place)) in items.iter().enumerate() {
        let length = ends.partition_point(|end| items[*end].1 < *place);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        if length == ends.len() {
            ends.push(at);
        } else {
            ends[length] = at;
        }
    }
    let mut chosen = BTreeSet::new();
    let mut at = ends.last().copied();
    while let Some(item) = at {
        chosen.insert(items[item].0);
        at = before[item];
    }
    chosen
}
