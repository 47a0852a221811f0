//! Where the body of a node is, and where its members stand.
//!
//! Invariants:
//! - the members of a container stand within its core, behind its header;
//! - a container that should be closed and is not is a leaf.

use std::ops::Range;

use tree_sitter::Node;

use crate::language::{Body, Rule, Table};
use crate::steps::{child_before, child_of, first_part, part};

/// Most transparent nodes between a key and the members of its value.
const CHAIN_MAX: usize = 64;

/// What a node has besides its header.
pub(crate) enum Place<'tree> {
    /// Where members may stand.
    Container(Inside<'tree>),
    /// The body, if there is one.
    Leaf(Option<Range<usize>>),
}

/// Where the members of a container may stand.
pub(crate) struct Inside<'tree> {
    pub(crate) inner: Range<usize>,
    /// Where nodes of members may end: white space at their end may be outside of the container.
    pub(crate) reach: usize,
    /// The node whose children they are.
    pub(crate) around: Node<'tree>,
}

/// Finds the body of a node that falls under a rule.
pub(crate) fn find_body<'tree>(
    table: &'static Table,
    rule: Option<&'static Rule>,
    node: Node<'tree>,
    core: &Range<usize>,
    bytes: &[u8],
) -> Place<'tree> {
    let Some(rule) = rule else {
        return Place::Leaf(None);
    };
    let opaque = |body: Option<Node<'_>>| body.map(|body| body.byte_range());
    let own = |inner: Option<Range<usize>>| inner.map(|inner| (inner, node));
    let (inner, body) = match rule.body {
        Body::None => (None, None),
        Body::Field(field) => (None, opaque(node.child_by_field_name(field))),
        Body::First(names) => (None, opaque(first_part(node, names))),
        Body::Members(field) => (braces(node.child_by_field_name(field)), None),
        Body::After(token) => (own(after_token(node, token)), None),
        Body::Direct(names, closing) => (own(direct(node, names, closing)), None),
        Body::Below(names) => (own(below(table, node, names, bytes)), None),
        Body::Block(names) => {
            let body = first_part(node, names);
            (body.and_then(|body| block(node, body)), opaque(body))
        }
        Body::Nested(field, kinds) => (
            nested(table, node, (field, kinds), bytes),
            opaque(node.child_by_field_name(field)),
        ),
    };
    let Some((inner, around)) = inner else {
        return Place::Leaf(body);
    };
    let end = inner.end.min(core.end);
    let reach = match rule.body {
        Body::Below(_) | Body::Block(_) | Body::Nested(..) => inner.end,
        Body::After(_)
        | Body::Direct(..)
        | Body::Field(_)
        | Body::First(_)
        | Body::Members(_)
        | Body::None => end,
    };
    Place::Container(Inside {
        inner: inner.start.min(end)..end,
        reach,
        around,
    })
}

/// The text before the members of a node, for naming.
pub(crate) fn header_span(
    table: &'static Table,
    rule: &'static Rule,
    node: Node<'_>,
    bytes: &[u8],
) -> Range<usize> {
    match find_body(table, Some(rule), node, &node.byte_range(), bytes) {
        Place::Container(inside) => node.start_byte()..inside.inner.start,
        Place::Leaf(_) => node.byte_range(),
    }
}

fn braces(body: Option<Node<'_>>) -> Option<(Range<usize>, Node<'_>)> {
    let body = body?;
    let open = body.child(0)?;
    let close = body.child(body.child_count().checked_sub(1)?)?;
    let whole = open.kind() == "{" && close.kind() == "}" && !close.is_missing();
    whole.then(|| (open.end_byte()..close.start_byte(), body))
}

fn block<'tree>(node: Node<'tree>, body: Node<'tree>) -> Option<(Range<usize>, Node<'tree>)> {
    let open = body.child(0)?;
    if open.kind() == "{" {
        return braces(Some(body));
    }
    let header = if open.kind() == ":" {
        open
    } else {
        child_before(node, body).filter(|_| open.is_named())?
    };
    Some((header.end_byte()..body.end_byte(), body))
}

fn after_token(node: Node<'_>, token: &str) -> Option<Range<usize>> {
    let opening = child_of(node, &[token])?;
    (!opening.is_missing()).then(|| opening.end_byte()..node.end_byte())
}

fn direct(node: Node<'_>, names: &[&str], closing: &str) -> Option<Range<usize>> {
    let header = names.iter().rev().find_map(|name| part(node, name));
    let start = header.or_else(|| node.child(0))?.end_byte();
    if closing.is_empty() {
        return Some(start..node.end_byte());
    }
    let last = node.child(node.child_count().checked_sub(1)?)?;
    (last.kind() == closing && !last.is_missing()).then(|| start..last.start_byte())
}

fn below(
    table: &'static Table,
    node: Node<'_>,
    names: &[&str],
    bytes: &[u8],
) -> Option<Range<usize>> {
    let header = first_part(node, names).filter(|header| !header.is_missing())?;
    let text = bytes[header.byte_range()].trim_ascii_end();
    let end = header.start_byte() + text.len();
    Some(past_comment(table, node, end, bytes)..node.end_byte())
}

/// The offset behind a comment that stands on the line of an offset, among the children of a node.
fn past_comment(table: &'static Table, node: Node<'_>, offset: usize, bytes: &[u8]) -> usize {
    let mut cursor = node.walk();
    let next = node
        .children(&mut cursor)
        .find(|child| child.start_byte() >= offset && !child.byte_range().is_empty());
    let beside = next.filter(|next| {
        let between = &bytes[offset..next.start_byte()];
        table.comments.contains(&next.kind()) && !between.contains(&b'\n')
    });
    beside.map_or(offset, |comment| comment.end_byte())
}

fn nested<'tree>(
    table: &'static Table,
    node: Node<'tree>,
    (field, kinds): (&str, &[&str]),
    bytes: &[u8],
) -> Option<(Range<usize>, Node<'tree>)> {
    let mut at = node.child_by_field_name(field)?;
    let mut around = node;
    let mut header = child_before(node, at)?.end_byte();
    for _ in 0..CHAIN_MAX {
        if kinds.contains(&at.kind()) {
            if at.child(0)?.kind() == "{" {
                return braces(Some(at));
            }
            let start = past_comment(table, around, header, bytes);
            return Some((start..at.end_byte(), around));
        }
        if !table.transparent.contains(&at.kind()) {
            return None;
        }
        let below = child_of(at, kinds).or_else(|| child_of(at, table.transparent))?;
        if let Some(before) = child_before(at, below) {
            (header, around) = (before.end_byte(), at);
        }
        at = below;
    }
    None
}
