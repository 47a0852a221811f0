//! From a node to what a table names below it.
//!
//! Invariants:
//! - every step goes to a child, in a loop that the table's own length bounds.

use tree_sitter::Node;

use crate::language::{Rule, Steps, Table, When};
use crate::naming::readable;

/// What a table calls a part of a node: the child in the field of this name, or else the first
/// child of this kind.
pub(crate) fn part<'tree>(node: Node<'tree>, name: &str) -> Option<Node<'tree>> {
    node.child_by_field_name(name)
        .or_else(|| child_of(node, &[name]))
}

/// The first of these parts that is there.
pub(crate) fn first_part<'tree>(node: Node<'tree>, names: &[&str]) -> Option<Node<'tree>> {
    names.iter().find_map(|name| part(node, name))
}

/// The first child of one of these kinds.
pub(crate) fn child_of<'tree>(node: Node<'tree>, kinds: &[&str]) -> Option<Node<'tree>> {
    let mut cursor = node.walk();
    node.children(&mut cursor)
        .find(|child| kinds.contains(&child.kind()))
}

/// The last child before another that is no comment.
pub(crate) fn child_before<'tree>(parent: Node<'tree>, child: Node<'_>) -> Option<Node<'tree>> {
    let mut cursor = parent.walk();
    let children = parent.children(&mut cursor);
    let before = children.take_while(|other| other.id() != child.id());
    before.filter(|other| !other.is_extra()).last()
}

/// The end of the steps below a node; none if not one of them leads anywhere.
pub(crate) fn follow<'tree>(node: Node<'tree>, steps: Steps) -> Option<Node<'tree>> {
    let mut end = None;
    for names in steps {
        end = first_part(end.unwrap_or(node), names).or(end);
    }
    end
}

/// The first rule for a node.
pub(crate) fn rule_of(
    table: &'static Table,
    node: Node<'_>,
    bytes: &[u8],
) -> Option<&'static Rule> {
    let kind = node.kind();
    let mut rules = table.rules.iter().filter(|rule| rule.node == kind);
    rules.find(|rule| holds(rule.when, node, bytes))
}

fn holds(when: When, node: Node<'_>, bytes: &[u8]) -> bool {
    match when {
        When::Always => true,
        When::Child(kinds) => child_of(node, kinds).is_some(),
        When::Holds(name, kinds) => {
            part(node, name).is_some_and(|part| child_of(part, kinds).is_some())
        }
        When::Text(steps, words) => follow(node, steps).is_some_and(|end| {
            let text = &bytes[end.byte_range()];
            words.iter().any(|word| word.as_bytes() == text)
        }),
    }
}

/// The value of an attribute of a node, without quotes.
pub(crate) fn attribute<'tree>(node: Node<'tree>, name: &str, bytes: &[u8]) -> Option<Node<'tree>> {
    let mut cursor = node.walk();
    let mut attributes = node
        .named_children(&mut cursor)
        .filter(|child| child.kind() == "attribute");
    let named = attributes.find(|attribute| {
        let text = attribute.named_child(0);
        text.is_some_and(|text| readable(&bytes[text.byte_range()]) == name)
    })?;
    let value = named.named_child(1)?;
    Some(value.named_child(0).unwrap_or(value))
}
