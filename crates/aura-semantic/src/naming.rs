//! Which rule a node falls under, and what its unit is called.
//!
//! Invariants:
//! - wrappers and declarators are followed in loops, never by recursion;
//! - names are valid text: bytes that are not UTF-8 stand as `\xNN`;
//! - names and parameter texts are bounded; what is longer ends in a hash of the rest.

use std::ops::Range;

use tree_sitter::Node;

use crate::language::{Naming, Rule, Steps, Table, UnitKind};
use crate::parameters::parameters;
use crate::place::header_span;
use crate::steps::{attribute, first_part, follow, rule_of};
use crate::value::ContentHash;

/// Longest name kept, in bytes.
const NAME_BYTES_MAX: usize = 240;
/// Past this length a qualified name is no longer extended.
pub(crate) const QUALIFIED_BYTES_MAX: usize = 2048;
/// Most steps down a chain of wrappers or declarators.
pub(crate) const CHAIN_MAX: usize = 64;

/// A unit's kind and name.
#[derive(Default)]
pub(crate) struct Named {
    pub(crate) kind: UnitKind,
    pub(crate) name: String,
    /// What the unit adds to the qualified names of its members and itself.
    pub(crate) segment: String,
    pub(crate) parameters: String,
    /// It groups its members without being part of their names.
    pub(crate) grouping: bool,
    pub(crate) span: Option<Range<usize>>,
}

/// A node seen through its wrappers.
pub(crate) struct Resolved<'tree> {
    pub(crate) rule: Option<&'static Rule>,
    pub(crate) node: Node<'tree>,
    pub(crate) named: Named,
    /// The body of a bound function.
    pub(crate) body: Option<Range<usize>>,
}

/// Finds rule, name and bound body of a node that stands where a unit may stand.
pub(crate) fn resolve<'tree>(
    table: &'static Table,
    outer: Node<'tree>,
    bytes: &[u8],
) -> Resolved<'tree> {
    let mut node = outer;
    for _ in 0..CHAIN_MAX {
        let Some(inside) = unwrap_once(table, node, bytes) else {
            break;
        };
        node = inside;
    }
    let exported = table.exports.contains(&outer.kind());
    let Some(rule) = rule_of(table, node, bytes) else {
        let kind = match exported {
            true if node.id() == outer.id() => UnitKind::Import,
            true => UnitKind::Constant,
            false => UnitKind::Statement,
        };
        let mut named = Named {
            kind,
            ..Named::default()
        };
        if kind == UnitKind::Constant {
            name_default(&mut named);
        }
        return Resolved {
            rule: None,
            node,
            named,
            body: None,
        };
    };
    let (mut named, body) = name(table, rule, node, bytes);
    if exported && named.name.is_empty() && node.id() != outer.id() {
        name_default(&mut named);
    }
    Resolved {
        rule: Some(rule),
        node,
        named,
        body,
    }
}

fn name_default(named: &mut Named) {
    named.name = "default".to_owned();
    named.segment = "default".to_owned();
}

fn unwrap_once<'tree>(
    table: &'static Table,
    node: Node<'tree>,
    bytes: &[u8],
) -> Option<Node<'tree>> {
    let kind = node.kind();
    let mut wrappers = table
        .wrappers
        .iter()
        .filter(|(wrapper, _)| *wrapper == kind);
    if let Some(inside) = wrappers.find_map(|(_, field)| {
        if field.is_empty() {
            ruled_child(table, node, bytes)
        } else {
            node.child_by_field_name(field)
        }
    }) {
        return Some(inside);
    }
    // A declaration in the place of an expression, as namespaces are in TypeScript.
    let wraps =
        rule_of(table, node, bytes).is_some_and(|rule| matches!(rule.naming, Naming::Assignment));
    let child = node
        .named_child(0)
        .filter(|_| wraps && node.named_child_count() == 1)?;
    let inside = rule_of(table, child, bytes)?;
    (inside.kind == UnitKind::Module).then_some(child)
}

fn ruled_child<'tree>(
    table: &'static Table,
    node: Node<'tree>,
    bytes: &[u8],
) -> Option<Node<'tree>> {
    let mut cursor = node.walk();
    let is_ruled = |child: &Node<'tree>| {
        let kind = child.kind();
        let wrapper = table.wrappers.iter().any(|(wrapper, _)| *wrapper == kind);
        wrapper || rule_of(table, *child, bytes).is_some()
    };
    node.named_children(&mut cursor).find(is_ruled)
}

fn name(
    table: &'static Table,
    rule: &'static Rule,
    node: Node<'_>,
    bytes: &[u8],
) -> (Named, Option<Range<usize>>) {
    let mut named = Named {
        kind: rule.kind,
        ..Named::default()
    };
    let mut body = None;
    match rule.naming {
        Naming::None => {}
        Naming::Assignment => body = assignment(table, node, bytes, &mut named),
        Naming::Attribute(name, steps) => attributed(node, (name, steps), bytes, &mut named),
        Naming::Before(names) => before(node, names, bytes, &mut named),
        Naming::Binding => body = binding(table, node, bytes, &mut named),
        Naming::Bound(name, value) => {
            put(&mut named, follow(node, name), bytes);
            body = follow(node, value).and_then(|value| function_of(table, value, &mut named));
        }
        Naming::Declarator => declarator(node, bytes, &mut named),
        Naming::Field(field) => {
            put(&mut named, node.child_by_field_name(field), bytes);
            body = value_function(table, node, &mut named);
        }
        Naming::Header => {
            let header = readable(&bytes[header_span(table, rule, node, bytes)]);
            named.name = header.trim_end_matches('{').trim_end().to_owned();
            named.grouping = true;
        }
        Naming::Impl => implementation(node, bytes, &mut named),
        Naming::Key(steps) => {
            if let Some(key) = follow(node, steps) {
                put_span(&mut named, bare(key.byte_range(), bytes), bytes);
            }
        }
        Naming::Path(steps, otherwise) => {
            put(&mut named, follow(node, steps), bytes);
            if named.name.is_empty() {
                otherwise.clone_into(&mut named.name);
            }
        }
        Naming::Receiver => receiver(node, bytes, &mut named),
        Naming::Span(from, to) => span(node, (from, to), bytes, &mut named),
        Naming::Spec(kinds) => put(&mut named, spec_name(node, kinds), bytes),
        Naming::Under(steps) => {
            put(&mut named, follow(node, steps), bytes);
            named.segment = std::mem::take(&mut named.name);
            named.span = None;
            let header = readable(&bytes[header_span(table, rule, node, bytes)]);
            named.name = header.trim_end_matches(['{', ':']).trim_end().to_owned();
        }
    }
    if named.segment.is_empty() {
        named.segment.clone_from(&named.name);
    }
    if matches!(named.kind, UnitKind::Function | UnitKind::Declaration) {
        named.parameters = parameters(table.overloads, node, bytes);
    }
    (named, body)
}

fn receiver(node: Node<'_>, bytes: &[u8], named: &mut Named) {
    put(named, node.child_by_field_name("name"), bytes);
    let receiver = node
        .child_by_field_name("receiver")
        .and_then(|list| list.named_child(0));
    let of = receiver
        .and_then(|one| one.child_by_field_name("type"))
        .map(|of| readable(&bytes[of.byte_range()]));
    let of = of.unwrap_or_default();
    let of = of.trim_start_matches('*').trim();
    let of = of.split('[').next().unwrap_or(of);
    named.name = bounded(format!("{of}::{}", named.name));
}

fn attributed(node: Node<'_>, (name, steps): (&str, Steps), bytes: &[u8], named: &mut Named) {
    let tag = node.named_child(0);
    let value = tag.and_then(|tag| attribute(tag, name, bytes));
    put(named, value.or_else(|| follow(node, steps)), bytes);
    if value.is_some() {
        named.name.insert(0, '#');
    }
}

fn span(node: Node<'_>, (from, to): (Steps, Steps), bytes: &[u8], named: &mut Named) {
    let Some(to) = follow(node, to) else {
        return;
    };
    let from = follow(node, from).map_or(to.start_byte(), |from| from.start_byte());
    put_span(named, from.min(to.start_byte())..to.end_byte(), bytes);
}

fn before(node: Node<'_>, names: &[&str], bytes: &[u8], named: &mut Named) {
    let end = first_part(node, names).map_or(node.end_byte(), |part| part.start_byte());
    let text = bytes[node.start_byte()..end].trim_ascii_end();
    put_span(
        named,
        node.start_byte()..node.start_byte() + text.len(),
        bytes,
    );
}

/// A key without quotes around it or the colon of a symbol before it.
fn bare(span: Range<usize>, bytes: &[u8]) -> Range<usize> {
    match &bytes[span.clone()] {
        [b':', _, ..] => span.start + 1..span.end,
        [first @ (b'"' | b'\'' | b'`'), _, .., last] if first == last => {
            span.start + 1..span.end - 1
        }
        _ => span,
    }
}

fn put(named: &mut Named, node: Option<Node<'_>>, bytes: &[u8]) {
    if let Some(node) = node {
        put_span(named, node.byte_range(), bytes);
    }
}

fn put_span(named: &mut Named, span: Range<usize>, bytes: &[u8]) {
    named.name = readable(&bytes[span.clone()]);
    named.span = Some(span);
}

/// Makes a field whose value is a function a function; returns the function's body.
fn value_function(table: &Table, node: Node<'_>, named: &mut Named) -> Option<Range<usize>> {
    let value = node
        .child_by_field_name("value")
        .or_else(|| node.child_by_field_name("right"))?;
    function_of(table, value, named)
}

/// Makes what has this value a function if the value is one; returns its body, or the value.
fn function_of(table: &Table, value: Node<'_>, named: &mut Named) -> Option<Range<usize>> {
    if !table.functions.contains(&value.kind()) {
        return Some(value.byte_range()).filter(|_| named.kind == UnitKind::Constant);
    }
    named.kind = UnitKind::Function;
    Some(value.child_by_field_name("body")?.byte_range())
}

fn binding(table: &Table, node: Node<'_>, bytes: &[u8], named: &mut Named) -> Option<Range<usize>> {
    let mut cursor = node.walk();
    let first = node
        .named_children(&mut cursor)
        .find(|child| child.kind() == "variable_declarator")?;
    put(named, first.child_by_field_name("name"), bytes);
    value_function(table, first, named)
}

fn assignment(
    table: &Table,
    node: Node<'_>,
    bytes: &[u8],
    named: &mut Named,
) -> Option<Range<usize>> {
    let child = node.named_child(0);
    let target = child.filter(|child| child.kind().starts_with("assignment"));
    let left = target.and_then(|target| target.child_by_field_name("left"));
    let Some((target, left)) = target.zip(left) else {
        named.kind = UnitKind::Statement;
        return None;
    };
    put(named, Some(left), bytes);
    value_function(table, target, named)
}

fn declarator(node: Node<'_>, bytes: &[u8], named: &mut Named) {
    let mut at = node;
    let mut function = false;
    for _ in 0..CHAIN_MAX {
        let Some(below) = below_declarator(at) else {
            break;
        };
        function |= below.kind() == "function_declarator";
        at = below;
    }
    if at.id() == node.id() {
        // Only a type: a nested class, or a declaration that declares nothing.
        let of_type = node.child_by_field_name("type");
        put(
            named,
            of_type.and_then(|of| of.child_by_field_name("name")),
            bytes,
        );
        named.kind = if of_type.is_some() {
            UnitKind::Type
        } else {
            UnitKind::Statement
        };
        return;
    }
    put(named, at.child_by_field_name("name").or(Some(at)), bytes);
    if at.kind() == "qualified_identifier" {
        put(named, Some(at), bytes);
    }
    if function && named.kind == UnitKind::Constant {
        named.kind = UnitKind::Declaration;
    }
}

pub(crate) fn below_declarator<'tree>(at: Node<'tree>) -> Option<Node<'tree>> {
    at.child_by_field_name("declarator").or_else(|| {
        let inside = matches!(
            at.kind(),
            "parenthesized_declarator" | "reference_declarator"
        );
        if inside { at.named_child(0) } else { None }
    })
}

fn implementation(node: Node<'_>, bytes: &[u8], named: &mut Named) {
    let text = |field| {
        node.child_by_field_name(field)
            .map(|part: Node<'_>| readable(&bytes[part.byte_range()]))
    };
    let of_type = text("type").unwrap_or_default();
    named.segment = of_type
        .split('<')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    named.name = match text("trait") {
        None => of_type,
        Some(of_trait) => bounded(format!("{of_trait} for {of_type}")),
    };
    named.span = None;
}

fn spec_name<'tree>(node: Node<'tree>, kinds: &[&str]) -> Option<Node<'tree>> {
    let mut spec = None;
    for index in 0..node.named_child_count().min(CHAIN_MAX) {
        let child = node.named_child(u32::try_from(index).ok()?)?;
        if kinds.contains(&child.kind()) {
            spec = Some(child);
            break;
        }
        let first = child.named_child(0);
        if let Some(inside) = first.filter(|inside| kinds.contains(&inside.kind())) {
            spec = Some(inside);
            break;
        }
    }
    spec?.child_by_field_name("name")
}

/// Text for people and keys: runs of white space become one space, odd bytes are escaped.
pub(crate) fn readable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    bounded(words.join(" "))
}

pub(crate) fn bounded(text: String) -> String {
    if text.len() <= NAME_BYTES_MAX {
        return text;
    }
    let end = text.floor_char_boundary(NAME_BYTES_MAX);
    format!(
        "{}…{}",
        &text[..end],
        &ContentHash::of(text.as_bytes()).to_string()[..8]
    )
}
