//! The parameter types of a function, as the text that tells it from its namesakes.
//!
//! Invariants:
//! - the names of parameters are no part of it;
//! - it is bounded; what is longer ends in a hash of the rest.

use tree_sitter::Node;

use crate::language::Overloads;
use crate::naming::{CHAIN_MAX, below_declarator, bounded, readable};
use crate::steps::child_of;

/// Most parameters that are read.
const PARAMETERS_MAX: usize = 64;

/// The parameters without their names, as one text.
pub(crate) fn parameters(overloads: Overloads, node: Node<'_>, bytes: &[u8]) -> String {
    let list = match overloads {
        Overloads::No => return String::new(),
        Overloads::List(name) => list(node, name),
        Overloads::Own(_) => Some(node),
    };
    let Some(list) = list else {
        return String::new();
    };
    let mut cursor = list.walk();
    let mut texts = Vec::new();
    let mut is_value = false;
    let mut left = PARAMETERS_MAX;
    for child in list.children(&mut cursor) {
        if child.is_named() {
            let Some(fewer) = left.checked_sub(1) else {
                break;
            };
            left = fewer;
        }
        let is_own = match overloads {
            Overloads::Own(kind) => child.kind() == kind,
            Overloads::List(_) | Overloads::No => child.is_named() && !child.is_extra(),
        };
        if is_own && !is_value {
            texts.push(nameless(child, bytes));
        }
        // The value of a parameter may stand beside it.
        is_value = child.kind() == "=";
    }
    bounded(format!("({})", texts.join(",")))
}

/// The list of parameters, down a chain of declarators.
fn list<'tree>(node: Node<'tree>, name: &str) -> Option<Node<'tree>> {
    let mut at = node;
    let mut list = None;
    for _ in 0..CHAIN_MAX {
        // The kind says more: a field may hold lists of several kinds.
        list = list.or_else(|| child_of(at, &[name]).or_else(|| at.child_by_field_name(name)));
        let Some(below) = below_declarator(at) else {
            break;
        };
        at = below;
    }
    list
}

fn nameless(parameter: Node<'_>, bytes: &[u8]) -> String {
    let mut at = parameter;
    for _ in 0..CHAIN_MAX {
        let below = at
            .child_by_field_name("name")
            .or_else(|| at.child_by_field_name("declarator"))
            .or_else(|| before_colon(at))
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
    let text = readable(&[before, b" ", after].concat());
    text.trim_start_matches([':', ' ']).to_owned()
}

/// The name in `name: type`, where the grammar does not say that it is one.
fn before_colon(node: Node<'_>) -> Option<Node<'_>> {
    let (first, colon) = (node.child(0)?, node.child(1)?);
    (first.kind() == "identifier" && colon.kind() == ":").then_some(first)
}
