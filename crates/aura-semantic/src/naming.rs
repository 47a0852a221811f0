//! Which rule a node falls under, and what its unit is called.
//!
//! Invariants:
//! - wrappers and declarators are followed in loops, never by recursion;
//! - names are valid text: bytes that are not UTF-8 stand as `\xNN`;
//! - names and parameter texts are bounded; what is longer ends in a hash of the rest.

use std::ops::Range;

use tree_sitter::Node;

use crate::language::{Naming, Rule, Table, UnitKind};
use crate::value::ContentHash;
use crate::walk;

/// Longest name kept, in bytes.
const NAME_BYTES_MAX: usize = 240;
/// Past this length a qualified name is no longer extended.
pub(crate) const QUALIFIED_BYTES_MAX: usize = 2048;
/// Most steps down a chain of wrappers or declarators.
const CHAIN_MAX: usize = 64;
/// Most parameters that are read.
const PARAMETERS_MAX: usize = 64;

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
        let Some(inside) = unwrap_once(table, node) else {
            break;
        };
        node = inside;
    }
    let exported = table.exports.contains(&outer.kind());
    let Some(rule) = rule_of(table, node) else {
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

fn rule_of(table: &'static Table, node: Node<'_>) -> Option<&'static Rule> {
    let kind = node.kind();
    table.rules.iter().find(|rule| rule.node == kind)
}

fn unwrap_once<'tree>(table: &'static Table, node: Node<'tree>) -> Option<Node<'tree>> {
    let kind = node.kind();
    let mut wrappers = table
        .wrappers
        .iter()
        .filter(|(wrapper, _)| *wrapper == kind);
    if let Some(inside) = wrappers.find_map(|(_, field)| {
        if field.is_empty() {
            ruled_child(table, node)
        } else {
            node.child_by_field_name(field)
        }
    }) {
        return Some(inside);
    }
    // A declaration in the place of an expression, as namespaces are in TypeScript.
    let wraps = rule_of(table, node).is_some_and(|rule| matches!(rule.naming, Naming::Assignment));
    let child = node
        .named_child(0)
        .filter(|_| wraps && node.named_child_count() == 1)?;
    let inside = rule_of(table, child)?;
    (inside.kind == UnitKind::Module).then_some(child)
}

fn ruled_child<'tree>(table: &'static Table, node: Node<'tree>) -> Option<Node<'tree>> {
    let mut cursor = node.walk();
    let is_ruled = |child: &Node<'tree>| {
        let kind = child.kind();
        let wrapper = table.wrappers.iter().any(|(wrapper, _)| *wrapper == kind);
        wrapper || rule_of(table, *child).is_some()
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
    let text = |node: Node<'_>| readable(&bytes[node.byte_range()]);
    match rule.naming {
        Naming::None => {}
        Naming::Assignment => body = assignment(table, node, bytes, &mut named),
        Naming::Binding => body = binding(table, node, bytes, &mut named),
        Naming::Declarator => declarator(node, bytes, &mut named),
        Naming::Field(field) => {
            put(&mut named, node.child_by_field_name(field), bytes);
            body = value_function(table, node, &mut named);
        }
        Naming::Header => {
            let header = readable(&bytes[walk::header_span(rule, node)]);
            named.name = header.trim_end_matches('{').trim_end().to_owned();
            named.grouping = true;
        }
        Naming::Impl => implementation(node, bytes, &mut named),
        Naming::Receiver => {
            put(&mut named, node.child_by_field_name("name"), bytes);
            let receiver = node
                .child_by_field_name("receiver")
                .and_then(|list| list.named_child(0));
            let of = receiver
                .and_then(|one| one.child_by_field_name("type"))
                .map(text);
            let of = of.unwrap_or_default();
            let of = of.trim_start_matches('*').trim();
            let of = of.split('[').next().unwrap_or(of);
            named.name = bounded(format!("{of}::{}", named.name));
        }
        Naming::Spec(kinds) => put(&mut named, spec_name(node, kinds), bytes),
    }
    if named.segment.is_empty() {
        named.segment.clone_from(&named.name);
    }
    if table.overloads && matches!(named.kind, UnitKind::Function | UnitKind::Declaration) {
        named.parameters = parameters(node, bytes);
    }
    (named, body)
}

fn put(named: &mut Named, node: Option<Node<'_>>, bytes: &[u8]) {
    if let Some(node) = node {
        named.name = readable(&bytes[node.byte_range()]);
        named.span = Some(node.byte_range());
    }
}

/// Makes a field whose value is a function a function; returns the function's body.
fn value_function(table: &Table, node: Node<'_>, named: &mut Named) -> Option<Range<usize>> {
    let value = node
        .child_by_field_name("value")
        .or_else(|| node.child_by_field_name("right"))?;
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

fn below_declarator<'tree>(at: Node<'tree>) -> Option<Node<'tree>> {
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

/// The parameters without their names, as one text.
fn parameters(node: Node<'_>, bytes: &[u8]) -> String {
    let mut at = node;
    let mut list = None;
    for _ in 0..CHAIN_MAX {
        list = list.or_else(|| at.child_by_field_name("parameters"));
        let Some(below) = below_declarator(at) else {
            break;
        };
        at = below;
    }
    let Some(list) = list else {
        return String::new();
    };
    let mut cursor = list.walk();
    let texts = list.named_children(&mut cursor).take(PARAMETERS_MAX);
    let texts: Vec<String> = texts
        .filter(|child| !child.is_extra())
        .map(|child| nameless(child, bytes))
        .collect();
    bounded(format!("({})", texts.join(",")))
}

fn nameless(parameter: Node<'_>, bytes: &[u8]) -> String {
    let mut at = parameter;
    for _ in 0..CHAIN_MAX {
        let below = at
            .child_by_field_name("name")
            .or_else(|| at.child_by_field_name("declarator"))
            .or_else(|| {
                at.named_child(0)
                    .filter(|_| at.kind() == "reference_declarator")
            });
        let Some(below) = below else {
            break;
        };
        at = below;
    }
    if at.id() == parameter.id() || !at.kind().ends_with("identifier") {
        return readable(&bytes[parameter.byte_range()]);
    }
    let before = &bytes[parameter.start_byte()..at.start_byte()];
    let after = &bytes[at.end_byte()..parameter.end_byte()];
    readable(&[before, b" ", after].concat())
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

fn bounded(text: String) -> String {
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
