//! From a syntax tree to units, with a cursor and an explicit stack.
//!
//! Invariants:
//! - no recursion: a level of the stack is a container, never a syntax node;
//! - a unit's span ends at its last byte that is not white space;
//! - a comment or attribute directly above a unit, or on its last line, is part of it.

use std::ops::Range;

use tree_sitter::{Node, Tree, TreeCursor};

use crate::language::{Body, Rule, Table, UnitKind};
use crate::naming::{self, Named};
use crate::outline::Unit;
use crate::place::{Inside, Place, find_body};
use crate::steps::rule_of;
use crate::value::ContentHash;

/// Most columns that are told apart.
const COLUMN_MAX: usize = 1024;

/// What the walk found.
pub(crate) struct Walked {
    pub(crate) units: Vec<Unit>,
    /// Unparsable regions outside of all units.
    pub(crate) gap_errors: usize,
    /// Bytes in those regions.
    pub(crate) gap_error_bytes: usize,
}

/// One container being walked.
struct Level<'tree> {
    cursor: TreeCursor<'tree>,
    parent: Option<usize>,
    /// Where members may start and end, white space not counted.
    inner: Range<usize>,
    /// Where nodes of members may end.
    reach: usize,
    /// What stands before the names of members, for people.
    prefix: String,
    /// Transparent nodes entered above the current child.
    entered: usize,
    started: bool,
    /// The last unit of this level.
    last: Option<usize>,
    /// Comments and attributes waiting for a unit below.
    pending: Option<Pending>,
    /// Whether a member or gap of the level explains an error of its container.
    broken_gap: bool,
    broken_member: bool,
}

struct Pending {
    span: Range<usize>,
    /// Attributes stay attached across blank lines.
    sticky: bool,
}

struct Walk<'a> {
    table: &'static Table,
    bytes: &'a [u8],
    units: Vec<Unit>,
    gap_errors: usize,
    gap_error_bytes: usize,
}

/// Finds all units; `None` when containers nest deeper than `depth_max`.
pub(crate) fn walk(
    table: &'static Table,
    tree: &Tree,
    bytes: &[u8],
    depth_max: usize,
) -> Option<Walked> {
    let mut walk = Walk {
        table,
        bytes,
        units: Vec::new(),
        gap_errors: 0,
        gap_error_bytes: 0,
    };
    let root = tree.root_node();
    if root.is_error() {
        walk.gap_errors = 1;
        walk.gap_error_bytes = root.end_byte().saturating_sub(root.start_byte());
    }
    let mut stack = vec![Level::new(
        root.walk(),
        None,
        (0..bytes.len(), bytes.len()),
        String::new(),
    )];
    while let Some(level) = stack.last_mut() {
        let Some(node) = level.next_node() else {
            if let Some(mut done) = stack.pop() {
                walk.close(&mut done, stack.last_mut());
            }
            continue;
        };
        if let Some(inside) = walk.visit(level, node) {
            if stack.len() >= depth_max {
                return None;
            }
            stack.push(inside);
        }
    }
    let Walk {
        units,
        gap_errors,
        gap_error_bytes,
        ..
    } = walk;
    Some(Walked {
        units,
        gap_errors,
        gap_error_bytes,
    })
}

impl<'tree> Level<'tree> {
    fn new(
        cursor: TreeCursor<'tree>,
        parent: Option<usize>,
        (inner, reach): (Range<usize>, usize),
        prefix: String,
    ) -> Self {
        Self {
            cursor,
            parent,
            inner,
            reach,
            prefix,
            entered: 0,
            started: false,
            last: None,
            pending: None,
            broken_gap: false,
            broken_member: false,
        }
    }

    /// Steps to the next child within the inner range.
    fn next_node(&mut self) -> Option<Node<'tree>> {
        loop {
            if !self.step() {
                return None;
            }
            let node = self.cursor.node();
            let starts = node.start_byte() >= self.inner.start;
            if starts && node.end_byte() <= self.reach {
                return Some(node);
            }
        }
    }

    fn step(&mut self) -> bool {
        if !self.started {
            self.started = true;
            return self.cursor.goto_first_child();
        }
        loop {
            if self.cursor.goto_next_sibling() {
                return true;
            }
            if self.entered == 0 || !self.cursor.goto_parent() {
                return false;
            }
            self.entered -= 1;
        }
    }
}

impl Walk<'_> {
    /// Takes in one child; returns the level of its members if it is a container.
    fn visit<'tree>(
        &mut self,
        level: &mut Level<'tree>,
        mut node: Node<'tree>,
    ) -> Option<Level<'tree>> {
        while self.is_entered(level, node) {
            if !level.cursor.goto_first_child() {
                return None;
            }
            level.enter_done();
            node = level.cursor.node();
        }
        let kind = node.kind();
        if self.table.comments.contains(&kind) {
            self.comment(level, node);
        } else if self.table.attributes.contains(&kind) {
            level.pend(self.bytes, node.byte_range(), true);
        } else if self.table.tails.contains(&kind) {
            self.tail(level, node);
        } else if node.is_error() || node.is_missing() {
            self.gap_error(level, node);
        } else if self.table.skipped.contains(&kind) || !node.is_named() {
            level.pending = None;
        } else {
            return self.unit(level, node);
        }
        None
    }

    /// Whether a node is no unit, but what is in it may be.
    fn is_entered(&self, level: &Level<'_>, node: Node<'_>) -> bool {
        let kinds = match level.parent {
            None => self.table.top,
            Some(_) => self.table.transparent,
        };
        kinds.contains(&node.kind()) && rule_of(self.table, node, self.bytes).is_none()
    }

    fn comment(&mut self, level: &mut Level<'_>, node: Node<'_>) {
        let span = self.trimmed(node.byte_range());
        let text = &self.bytes[span.clone()];
        if self
            .table
            .detached
            .iter()
            .any(|opening| text.starts_with(opening.as_bytes()))
        {
            level.pending = None;
            return;
        }
        if level.pending.is_none()
            && let Some(last) = level.last
        {
            let end = self.units[last].span.end;
            let between = &self.bytes[end.min(span.start)..span.start];
            if !between.contains(&b'\n') && is_blank(between) {
                self.units[last].span.end = span.end.max(end);
                return;
            }
        }
        level.pend(self.bytes, span, false);
    }

    fn tail(&mut self, level: &mut Level<'_>, node: Node<'_>) {
        let Some(last) = level.last else {
            return;
        };
        let unit = &mut self.units[last];
        let between = &self.bytes[unit.span.end.min(node.start_byte())..node.start_byte()];
        if level.pending.is_none() && is_blank(between) && node.end_byte() > unit.span.end {
            unit.span.end = node.end_byte();
        }
    }

    fn gap_error(&mut self, level: &mut Level<'_>, node: Node<'_>) {
        level.pending = None;
        level.broken_gap = true;
        self.gap_errors += 1;
        self.gap_error_bytes += node.byte_range().len();
    }

    fn unit<'tree>(
        &mut self,
        level: &mut Level<'tree>,
        outer: Node<'tree>,
    ) -> Option<Level<'tree>> {
        let mut found = naming::resolve(self.table, outer, self.bytes);
        let mut core = self.trimmed(outer.byte_range());
        let place = find_body(self.table, found.rule, found.node, &core, self.bytes);
        let (body, inside, follow) = match place {
            Place::Container(inside) => (Some(inside.inner.clone()), Some(inside), Vec::new()),
            Place::Leaf(body) => {
                let follow = self.following_comments(outer, &core);
                let end = follow.first().map_or(core.end, |first| first.start);
                core = self.trimmed(core.start..end);
                let body = body.or(found.body.clone());
                let within = |body: Range<usize>| body.start.min(core.end)..body.end.min(core.end);
                (body.map(within), None, follow)
            }
        };
        if core.is_empty() {
            return None;
        }
        let start = level.take_pending(self.bytes, core.start);
        let is_nested = |rule: &Rule| matches!(rule.body, Body::Nested(..));
        if inside.is_some() && found.rule.is_some_and(is_nested) {
            found.named.kind = UnitKind::Module;
        }
        let index = self.units.len();
        let opaque = outer.has_error();
        let members = inside.as_ref().map(|inside| inside.inner.clone());
        let unit = self.describe(level, &found.named, (start, core, body), members, opaque);
        self.units.push(unit);
        level.last = Some(index);
        let Some(inside) = inside else {
            level.broken_member |= opaque;
            for comment in follow {
                level.pend(self.bytes, comment, false);
            }
            return None;
        };
        let prefix = if found.named.grouping {
            level.prefix.clone()
        } else {
            self.units[index].qualified.clone()
        };
        let Inside {
            inner,
            reach,
            around,
        } = inside;
        Some(Level::new(
            around.walk(),
            Some(index),
            (inner, reach),
            prefix,
        ))
    }

    /// The comments at the end of a node that stand before what follows it.
    fn following_comments(&self, node: Node<'_>, whole: &Range<usize>) -> Vec<Range<usize>> {
        if !self.table.hands_over {
            return Vec::new();
        }
        let mut comments = Vec::new();
        let mut cursor = node.walk();
        while cursor.goto_last_child() {
            while self.table.comments.contains(&cursor.node().kind()) {
                let span = self.trimmed(cursor.node().byte_range());
                if self.column(span.start) > self.column(whole.start) {
                    break;
                }
                comments.push(span);
                if !cursor.goto_previous_sibling() {
                    break;
                }
            }
        }
        comments.reverse();
        comments
    }

    /// The bytes before an offset on its line; past a bound it is far to the right anyway.
    fn column(&self, offset: usize) -> usize {
        let before = self.bytes[..offset].iter().rev().take(COLUMN_MAX);
        before.take_while(|byte| **byte != b'\n').count()
    }

    fn describe(
        &self,
        level: &Level<'_>,
        named: &Named,
        (start, core, body): (usize, Range<usize>, Option<Range<usize>>),
        inner: Option<Range<usize>>,
        opaque: bool,
    ) -> Unit {
        let container = level.parent.map(|parent| &self.units[parent]);
        let of_type =
            container.is_some_and(|unit| matches!(unit.kind, UnitKind::Class | UnitKind::Impl));
        let kind = match named.kind {
            UnitKind::Function if of_type => UnitKind::Method,
            kind => kind,
        };
        let segment = if named.segment.is_empty() {
            kind.word()
        } else {
            &named.segment
        };
        let prefix = &level.prefix;
        let qualified = if prefix.is_empty() || prefix.len() > naming::QUALIFIED_BYTES_MAX {
            segment.to_owned()
        } else {
            format!("{prefix}::{segment}")
        };
        let signature_end = body.as_ref().map_or(core.end, |body| body.start);
        Unit {
            kind,
            name: named.name.clone(),
            qualified,
            parameters: named.parameters.clone(),
            span: start..core.end,
            name_span: named.span.clone(),
            signature: self.trimmed(core.start..signature_end.max(core.start)),
            core,
            body,
            inner,
            parent: level.parent,
            end: self.units.len() + 1,
            own_hash: ContentHash([0; 32]),
            opaque,
            start_line: 1,
            end_line: 1,
        }
    }

    /// Finishes a container: its extent in the list, and whether it is itself broken.
    fn close(&mut self, done: &mut Level<'_>, mut outside: Option<&mut Level<'_>>) {
        let Some(index) = done.parent else {
            return;
        };
        if let Some(outside) = outside.as_mut() {
            self.hand_over(index, done, outside);
        }
        let end = self.units.len();
        let unit = &mut self.units[index];
        unit.end = end;
        let broken = unit.opaque;
        unit.opaque = broken && (done.broken_gap || !done.broken_member);
        if let Some(outside) = outside {
            outside.broken_member |= broken;
        }
    }

    /// Takes comments at the end of a container that nothing closes out of it.
    fn hand_over(&mut self, index: usize, done: &mut Level<'_>, outside: &mut Level<'_>) {
        let unit = &self.units[index];
        let is_open = unit
            .inner
            .as_ref()
            .is_some_and(|inner| inner.end == unit.core.end);
        if !self.table.hands_over || !is_open {
            return;
        }
        let own_column = self.column(unit.core.start);
        let deep = |pending: &Pending| self.column(pending.span.start) > own_column;
        let Some(pending) = done.pending.take().filter(|pending| !deep(pending)) else {
            return;
        };
        let end = self.trimmed(unit.core.start..pending.span.start).end;
        outside.pending = Some(pending);
        let unit = &mut self.units[index];
        let inside = [unit.inner.as_mut(), unit.body.as_mut()];
        for range in inside.into_iter().flatten().chain([&mut unit.core]) {
            range.end = end.max(range.start);
        }
        unit.span.end = unit.core.end;
        unit.signature.end = unit.signature.end.min(unit.core.end);
    }

    fn trimmed(&self, span: Range<usize>) -> Range<usize> {
        let blank = |byte: &&u8| byte.is_ascii_whitespace();
        let tail = self.bytes[span.clone()]
            .iter()
            .rev()
            .take_while(blank)
            .count();
        span.start..span.end - tail
    }
}

impl Level<'_> {
    /// Notes that the cursor went down into a transparent node.
    fn enter_done(&mut self) {
        self.entered += 1;
    }

    /// Adds a comment or attribute to those waiting, or starts anew after a blank line.
    fn pend(&mut self, bytes: &[u8], span: Range<usize>, sticky: bool) {
        let joined = match self.pending.take() {
            Some(before) if before.sticky || adjoins(bytes, before.span.end, span.start) => {
                Pending {
                    span: before.span.start..span.end,
                    sticky: sticky || before.sticky,
                }
            }
            _ => Pending { span, sticky },
        };
        self.pending = Some(joined);
    }

    /// Where a unit starts, given what waits above it.
    fn take_pending(&mut self, bytes: &[u8], start: usize) -> usize {
        match self.pending.take() {
            Some(above) if above.sticky || adjoins(bytes, above.span.end, start) => {
                above.span.start
            }
            _ => start,
        }
    }
}

/// Whether there is no blank line between two offsets.
fn adjoins(bytes: &[u8], end: usize, start: usize) -> bool {
    let between = &bytes[end.min(start)..start];
    // A line break before the offset belongs to a comment node in some grammars.
    between.iter().filter(|byte| **byte == b'\n').count() <= 1
}

/// Whether bytes are white space only.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}
