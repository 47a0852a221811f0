//! A file taken apart into tiles, so that operations change tiles and leave all others alone.
//!
//! Invariants:
//! - rendering a draft that nobody changed gives the file, byte for byte;
//! - node 0 is the file; its children are the top-level units;
//! - every node but the file has a gap before it, every container a gap before its end;
//! - text that is not white space leaves a gap only through an operation on that gap.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::identity;
use crate::indexed::Indexed;
use crate::language::UnitKind;
use crate::language::language_of;
use crate::value::{OwnText, Text, UnitId};

/// The node that stands for the file.
pub(crate) const ROOT: usize = 0;

/// A unit, or the file.
pub(crate) struct Node<'a> {
    pub(crate) id: UnitId,
    pub(crate) kind: UnitKind,
    pub(crate) name: Cow<'a, str>,
    pub(crate) parent: usize,
    /// The unit in the outline the draft was made of; none for an inserted one.
    pub(crate) unit: Option<usize>,
    pub(crate) lead: Cow<'a, [u8]>,
    pub(crate) head: Cow<'a, [u8]>,
    /// The end of a container; none for a leaf.
    pub(crate) foot: Option<Cow<'a, [u8]>>,
    pub(crate) children: Vec<usize>,
    pub(crate) tail: Cow<'a, [u8]>,
    /// Ids of units inside an inserted text.
    pub(crate) members: Vec<UnitId>,
    /// An operation changed its text.
    pub(crate) edited: bool,
}

impl Node<'_> {
    pub(crate) fn own_text(&self) -> OwnText {
        OwnText {
            head: Text(self.head.to_vec()),
            foot: self.foot.as_ref().map(|foot| Text(foot.to_vec())),
        }
    }

    pub(crate) fn has_own_text(&self, text: &OwnText) -> bool {
        *self.head == *text.head.0 && self.foot.as_deref() == text.foot.as_ref().map(Text::bytes)
    }
}

/// A file in tiles.
pub(crate) struct Draft<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) by_id: BTreeMap<UnitId, usize>,
    /// What parts two units of a container.
    separator: Option<u8>,
}

/// A rendered draft: the bytes, and where each node came to stand, containers first.
pub(crate) struct Rendered {
    pub(crate) bytes: Vec<u8>,
    pub(crate) spans: Vec<(usize, Range<usize>)>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(indexed: &'a Indexed) -> Self {
        let bytes: &'a [u8] = &indexed.bytes;
        let units = &indexed.outline.units;
        let root = Node {
            id: UnitId::file(&indexed.path),
            kind: UnitKind::File,
            name: Cow::Borrowed(&indexed.path),
            foot: Some(Cow::Borrowed(&[])),
            ..Node::blank()
        };
        let mut draft = Self {
            nodes: Vec::with_capacity(units.len() + 1),
            by_id: BTreeMap::new(),
            separator: language_of(&indexed.path).and_then(|language| language.0.separator),
        };
        draft.nodes.push(root);
        for (index, unit) in units.iter().enumerate() {
            let (head, foot) = unit.own_slices(bytes);
            let id = indexed.ids[index];
            draft.nodes.push(Node {
                id,
                kind: unit.kind,
                name: Cow::Borrowed(&unit.name),
                parent: unit.parent.map_or(ROOT, |parent| parent + 1),
                unit: Some(index),
                head: Cow::Borrowed(head),
                foot: foot.map(Cow::Borrowed),
                ..Node::blank()
            });
            draft.by_id.insert(id, index + 1);
        }
        draft.tile(indexed, None, 0..bytes.len());
        for (index, unit) in units.iter().enumerate() {
            if let Some(inner) = unit.inner.clone() {
                draft.tile(indexed, Some(index), inner);
            }
        }
        draft
    }

    /// Sets children and gaps of one container.
    fn tile(&mut self, indexed: &'a Indexed, container: Option<usize>, inner: Range<usize>) {
        let bytes: &'a [u8] = &indexed.bytes;
        let mut at = inner.start;
        let mut children = Vec::new();
        for member in identity::members(&indexed.outline, container) {
            let span = &indexed.outline.units[member].span;
            self.nodes[member + 1].lead = Cow::Borrowed(&bytes[at..span.start]);
            at = span.end;
            children.push(member + 1);
        }
        let node = &mut self.nodes[container.map_or(ROOT, |index| index + 1)];
        node.children = children;
        node.tail = Cow::Borrowed(&bytes[at..inner.end]);
    }

    pub(crate) fn render(&self) -> Rendered {
        self.render_from(ROOT)
    }

    /// All the text of a node, members included.
    pub(crate) fn text_of(&self, node: usize) -> Vec<u8> {
        self.render_from(node).bytes
    }

    fn render_from(&self, top: usize) -> Rendered {
        let mut bytes = self.nodes[top].head.to_vec();
        let mut spans = vec![(top, 0..0)];
        // Node, place of its span, next child.
        let mut stack = vec![(top, 0_usize, 0_usize)];
        while let Some((node, place, next)) = stack.pop() {
            let current = &self.nodes[node];
            let Some(child) = current.children.get(next).copied() else {
                bytes.extend_from_slice(&current.tail);
                bytes.extend_from_slice(current.foot.as_deref().unwrap_or_default());
                spans[place].1.end = bytes.len();
                continue;
            };
            stack.push((node, place, next + 1));
            bytes.extend_from_slice(&self.nodes[child].lead);
            stack.push((child, spans.len(), 0));
            spans.push((child, bytes.len()..bytes.len()));
            bytes.extend_from_slice(&self.nodes[child].head);
        }
        Rendered { bytes, spans }
    }

    pub(crate) fn place_of(&self, node: usize) -> Option<usize> {
        self.nodes[self.nodes[node].parent]
            .children
            .iter()
            .position(|child| *child == node)
    }

    pub(crate) fn is_within(&self, node: usize, container: usize) -> bool {
        let mut at = node;
        while at != ROOT && at != container {
            at = self.nodes[at].parent;
        }
        at == container
    }

    /// Adds a new node, not yet placed.
    pub(crate) fn add(&mut self, node: Node<'a>) -> usize {
        let index = self.nodes.len();
        self.by_id.insert(node.id, index);
        self.nodes.push(node);
        index
    }

    /// Places a node as the child at `place`; `gap` separates it from its neighbour.
    pub(crate) fn attach(&mut self, parent: usize, place: usize, node: usize, gap: Cow<'a, [u8]>) {
        let place = place.min(self.nodes[parent].children.len());
        let first = self.nodes[parent].children.first().copied();
        match first {
            // What is written at the start, a byte order mark among it, stays at the start.
            Some(first) if place == 0 => {
                let lead = std::mem::replace(&mut self.nodes[first].lead, gap);
                self.nodes[node].lead = lead;
            }
            None if !self.is_space(&self.nodes[parent].tail) => {
                let tail = std::mem::take(&mut self.nodes[parent].tail);
                // Braces in which there is nothing are no unit at the top of a file.
                let brace = tail.iter().rposition(|byte| *byte == b'{');
                let said = match brace.filter(|_| self.separator.is_some()) {
                    Some(brace) => brace + 1,
                    None => tail.trim_ascii_end().len(),
                };
                self.nodes[node].lead = Cow::Owned([&tail[..said], &gap].concat());
                self.nodes[parent].tail = Cow::Owned(tail[said..].to_vec());
            }
            _ => self.nodes[node].lead = gap,
        }
        self.nodes[node].parent = parent;
        self.nodes[parent].children.insert(place, node);
    }

    /// Takes a node out of its container, joining the gaps around it.
    pub(crate) fn detach(&mut self, node: usize) {
        let Some(place) = self.place_of(node) else {
            return;
        };
        let parent = self.nodes[node].parent;
        self.nodes[parent].children.remove(place);
        let lead = std::mem::take(&mut self.nodes[node].lead);
        let next = self.nodes[parent].children.get(place).copied();
        let spaces = [&lead[..], self.gap(parent, next)].map(|gap| self.is_space(gap));
        let is_parted = self.separator.is_some();
        let follow = self.gap_mut(parent, next);
        let keeps_lead = place == 0 && next.is_some();
        let joined = match spaces {
            [true, true] if keeps_lead => lead,
            [true, _] => std::mem::take(follow),
            [false, true] => lead,
            // The space before what was between braces goes with it.
            [false, false] if is_parted && next.is_none() && place == 0 => {
                Cow::Owned([lead.trim_ascii_end(), &follow[..]].concat())
            }
            [false, false] => Cow::Owned([&lead[..], &follow[..]].concat()),
        };
        *follow = joined;
    }

    /// The units within a node.
    pub(crate) fn within(&self, node: usize) -> Vec<UnitId> {
        let mut open = self.nodes[node].children.clone();
        let mut within = Vec::new();
        while let Some(at) = open.pop() {
            within.push(self.nodes[at].id);
            open.extend_from_slice(&self.nodes[at].children);
        }
        within
    }

    /// Each unit with the one before it in its container.
    fn neighbours(&self) -> BTreeSet<(Option<UnitId>, UnitId)> {
        let mut pairs = BTreeSet::new();
        for node in &self.nodes {
            let mut previous = None;
            for child in node.children.iter().map(|child| self.nodes[*child].id) {
                pairs.insert((previous, child));
                previous = Some(child);
            }
        }
        pairs
    }

    /// What stands last in each container.
    fn last(&self) -> impl Iterator<Item = UnitId> {
        let last = self.nodes.iter().filter_map(|node| node.children.last());
        last.map(|last| self.nodes[*last].id)
    }

    /// Puts the separator between those that were not neighbours in the file, and takes it away before what stands first
    /// now and behind what stands last now.
    pub(crate) fn separate(&mut self, file: &Indexed) {
        let Some(separator) = self.separator else {
            return;
        };
        let before = Draft::new(file);
        let pairs = self.neighbours();
        for (previous, child) in pairs.difference(&before.neighbours()) {
            let Some(node) = self.by_id.get(child) else {
                continue;
            };
            let lead = &mut self.nodes[*node].lead;
            match (previous, separator_in(lead, separator)) {
                (None, Some(at)) if lead[..at].iter().all(|byte| is_opening(*byte)) => {
                    lead.to_mut().remove(at);
                }
                (None, _) | (Some(_), Some(_)) => {}
                (Some(_), None) => lead.to_mut().insert(0, separator),
            }
        }
        let last: BTreeSet<UnitId> = before.last().collect();
        let now = self.last().filter(|id| !last.contains(id));
        let parents = now.filter_map(|id| Some(self.nodes[*self.by_id.get(&id)?].parent));
        for parent in parents.collect::<Vec<_>>() {
            let tail = &mut self.nodes[parent].tail;
            if let Some(at) = separator_in(tail, separator) {
                tail.to_mut().remove(at);
            }
        }
    }

    /// Whether a gap says nothing but that units stand apart.
    pub(crate) fn is_space(&self, gap: &[u8]) -> bool {
        let mut bytes = gap.iter();
        bytes.all(|byte| byte.is_ascii_whitespace() || Some(*byte) == self.separator)
    }

    /// Neighbours of which the second begins on the last line of the first, which has several.
    pub(crate) fn glued(&self) -> BTreeSet<(UnitId, UnitId)> {
        let mut glued = BTreeSet::new();
        for node in &self.nodes {
            for pair in node.children.windows(2) {
                let [first, second] = [&self.nodes[pair[0]], &self.nodes[pair[1]]];
                let is_apart = |byte: &u8| byte.is_ascii_whitespace() || b",;)".contains(byte);
                let is_glued = !second.lead.first().is_some_and(is_apart);
                let has_lines = first.head.contains(&b'\n') && !first.head.ends_with(b"\n");
                if is_glued && has_lines {
                    glued.insert((first.id, second.id));
                }
            }
        }
        glued
    }

    /// Parts neighbours that were not glued before.
    pub(crate) fn part(&mut self, before: &BTreeSet<(UnitId, UnitId)>) {
        for (_, second) in self.glued().difference(before) {
            if let Some(node) = self.by_id.get(second) {
                let lead = &mut self.nodes[*node].lead;
                *lead = Cow::Owned([b"\n\n", &lead[..]].concat());
            }
        }
    }

    /// Forgets a detached node and all below it.
    pub(crate) fn forget(&mut self, node: usize) {
        let mut open = vec![node];
        while let Some(at) = open.pop() {
            self.by_id.remove(&self.nodes[at].id);
            open.extend_from_slice(&self.nodes[at].children);
        }
    }

    /// The container of a gap and the child behind it, if they are here and belong together.
    pub(crate) fn find_gap(
        &self,
        parent: Option<UnitId>,
        next: Option<UnitId>,
    ) -> Option<(usize, Option<usize>)> {
        let node = |id: UnitId| self.by_id.get(&id).copied();
        let container = parent.map_or(Some(ROOT), node)?;
        let follower = match next {
            None => None,
            Some(next) => Some(node(next)?),
        };
        let astray = follower.is_some_and(|node| self.nodes[node].parent != container);
        (!astray && self.nodes[container].foot.is_some()).then_some((container, follower))
    }

    /// The child before a gap.
    pub(crate) fn before(&self, container: usize, follower: Option<usize>) -> Option<usize> {
        let children = &self.nodes[container].children;
        let at = match follower {
            Some(follower) => self.place_of(follower)?,
            None => children.len(),
        };
        children.get(at.checked_sub(1)?).copied()
    }

    /// The gap that a change of what stands between two units means here, where others may have put units into it,
    /// or taken those beside it away: of those between them the one where the text is that it changes.
    // spec: patch/3.15
    pub(crate) fn seek_gap(
        &self,
        parent: Option<UnitId>,
        (after, next): (Option<UnitId>, Option<UnitId>),
        base: &[u8],
    ) -> Option<(usize, Option<usize>)> {
        let container = parent.map_or(Some(ROOT), |id| self.by_id.get(&id).copied())?;
        let node = &self.nodes[container];
        node.foot.as_ref()?;
        let (children, end) = (&node.children, node.children.len());
        let child = |id: UnitId| children.iter().position(|at| self.nodes[*at].id == id);
        // A gap is named by the place of the child behind it.
        let first = after.map_or(Some(0), |id| child(id).map(|place| place + 1));
        let last = next.map_or(Some(end), child);
        let words = said_lines(base);
        let holds = |place: &usize| {
            let here = self.gap(container, children.get(*place).copied());
            !words.is_empty() && words.is_subset(&said_lines(here))
        };
        let place = match (first, last) {
            (Some(first), Some(last)) if first == last => first,
            (Some(first), Some(last)) => {
                let (low, high) = (first.min(last), first.max(last));
                let near = if after.is_none() { first } else { last };
                (low..=high).find(holds).unwrap_or(near)
            }
            (Some(place), None) | (None, Some(place)) => place,
            (None, None) => (0..=end).find(holds).unwrap_or(end),
        };
        Some((container, children.get(place).copied()))
    }

    pub(crate) fn gap(&self, parent: usize, next: Option<usize>) -> &[u8] {
        match next {
            Some(next) => &self.nodes[next].lead,
            None => &self.nodes[parent].tail,
        }
    }

    pub(crate) fn gap_mut(&mut self, parent: usize, next: Option<usize>) -> &mut Cow<'a, [u8]> {
        match next {
            Some(next) => &mut self.nodes[next].lead,
            None => &mut self.nodes[parent].tail,
        }
    }
}

impl Node<'_> {
    pub(crate) fn blank() -> Self {
        Self {
            id: UnitId([0; 16]),
            kind: UnitKind::Statement,
            name: Cow::Borrowed(""),
            parent: ROOT,
            unit: None,
            lead: Cow::Borrowed(&[]),
            head: Cow::Borrowed(&[]),
            foot: None,
            children: Vec::new(),
            tail: Cow::Borrowed(&[]),
            members: Vec::new(),
            edited: false,
        }
    }
}

/// Whether a byte may stand before the first unit of a container.
fn is_opening(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b'{'
}

/// Where a separator stands in a gap, but for comments.
fn separator_in(gap: &[u8], separator: u8) -> Option<usize> {
    let mut at = 0;
    while at < gap.len() {
        let rest = &gap[at..];
        let end = |end: &[u8]| {
            let found = rest.windows(end.len()).position(|part| part == end);
            found.map_or(rest.len(), |found| found + end.len())
        };
        at += match rest {
            [b'/', b'/', ..] => end(b"\n"),
            [b'/', b'*', ..] => end(b"*/"),
            [byte, ..] if *byte == separator => return Some(at),
            _ => 1,
        };
    }
    None
}

/// What the lines of a text say, without the space around them.
fn said_lines(text: &[u8]) -> BTreeSet<&[u8]> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines
        .filter(|line| !line.is_empty() && *line != b",")
        .collect()
}
