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
use crate::value::ContentHash;

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
    /// Where members may stand.
    inner: Range<usize>,
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
    let mut stack = vec![Level::new(root.walk(), None, 0..bytes.len(), String::new())];
    while let Some(level) = stack.last_mut() {
        let Some(node) = level.next_node() else {
            if let Some(done) = stack.pop() {
                walk.close(&done, stack.last_mut());
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
        inner: Range<usize>,
        prefix: String,
    ) -> Self {
        Self {
            cursor,
            parent,
            inner,
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
            if node.start_byte() >= self.inner.start && node.end_byte() <= self.inner.end {
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
        while self.table.transparent.contains(&node.kind()) && level.parent.is_some() {
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
        let found = naming::resolve(self.table, outer, self.bytes);
        let core = self.trimmed(outer.byte_range());
        if core.is_empty() {
            return None;
        }
        let start = level.take_pending(self.bytes, core.start);
        let place = find_body(found.rule, found.node, &core);
        let (body, inner) = match place {
            Place::Container(inner) => (Some(inner.clone()), Some(inner)),
            Place::Leaf(body) => (body.or(found.body.clone()), None),
        };
        let index = self.units.len();
        let opaque = outer.has_error();
        let unit = self.describe(
            level,
            &found.named,
            (start, core, body),
            inner.clone(),
            opaque,
        );
        self.units.push(unit);
        level.last = Some(index);
        let Some(inner) = inner else {
            level.broken_member |= opaque;
            return None;
        };
        let cursor = match found.rule.map(|rule| rule.body) {
            Some(Body::Members(field)) => found.node.child_by_field_name(field)?.walk(),
            _ => found.node.walk(),
        };
        let prefix = if found.named.grouping {
            level.prefix.clone()
        } else {
            self.units[index].qualified.clone()
        };
        Some(Level::new(cursor, Some(index), inner, prefix))
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
    fn close(&mut self, done: &Level<'_>, outside: Option<&mut Level<'_>>) {
        let Some(index) = done.parent else {
            return;
        };
        let end = self.units.len();
        let unit = &mut self.units[index];
        unit.end = end;
        let broken = unit.opaque;
        unit.opaque = broken && (done.broken_gap || !done.broken_member);
        if let Some(outside) = outside {
            outside.broken_member |= broken;
        }
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

enum Place {
    Container(Range<usize>),
    Leaf(Option<Range<usize>>),
}

fn find_body(rule: Option<&'static Rule>, node: Node<'_>, core: &Range<usize>) -> Place {
    let Some(rule) = rule else {
        return Place::Leaf(None);
    };
    let inner = match rule.body {
        Body::None => return Place::Leaf(None),
        Body::Field(field) => {
            return Place::Leaf(
                node.child_by_field_name(field)
                    .map(|body| body.byte_range()),
            );
        }
        Body::Members(field) => braces(node.child_by_field_name(field)),
        Body::After(token) => after_token(node, token),
        Body::Direct(fields, closing) => direct(node, fields, closing),
    };
    match inner {
        Some(inner) => {
            let end = inner.end.min(core.end);
            Place::Container(inner.start.min(end)..end)
        }
        None => Place::Leaf(None),
    }
}

fn braces(body: Option<Node<'_>>) -> Option<Range<usize>> {
    let body = body?;
    let open = body.child(0)?;
    let close = body.child(body.child_count().checked_sub(1)?)?;
    let whole = open.kind() == "{" && close.kind() == "}" && !close.is_missing();
    whole.then(|| open.end_byte()..close.start_byte())
}

fn after_token(node: Node<'_>, token: &str) -> Option<Range<usize>> {
    let mut cursor = node.walk();
    let opening = node
        .children(&mut cursor)
        .find(|child| child.kind() == token)?;
    (!opening.is_missing()).then(|| opening.end_byte()..node.end_byte())
}

fn direct(node: Node<'_>, fields: &[&str], closing: &str) -> Option<Range<usize>> {
    let header = fields
        .iter()
        .rev()
        .find_map(|field| node.child_by_field_name(field));
    let start = header.or_else(|| node.child(0))?.end_byte();
    if closing.is_empty() {
        return Some(start..node.end_byte());
    }
    let last = node.child(node.child_count().checked_sub(1)?)?;
    (last.kind() == closing && !last.is_missing()).then(|| start..last.start_byte())
}

/// The text before the members of a node, for naming.
pub(crate) fn header_span(rule: &'static Rule, node: Node<'_>) -> Range<usize> {
    match find_body(Some(rule), node, &node.byte_range()) {
        Place::Container(inner) => node.start_byte()..inner.start,
        Place::Leaf(_) => node.byte_range(),
    }
}
