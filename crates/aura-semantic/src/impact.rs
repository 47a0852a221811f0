//! What a change of a unit means for those that use it.
//!
//! Invariants:
//! - comments and layout are no change: versions are compared by their tokens and how deep these stand;
//! - an alert names a unit that uses the changed one, never the changed one itself;
//! - equal changes on an equal graph give equal alerts, in the order of the changes and the rank of the callers.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use tree_sitter::Tree;

use crate::apply::splice;
use crate::indexed::Indexed;
use crate::outline::{Budget, Unit, parsed};
use crate::references::{Confidence, Graph, Reference};
use crate::value::{OwnText, Text, UnitId};

/// Most alerts that one list of changes gives.
pub const ALERTS_MAX: usize = 4096;

/// What happened to a unit that others may use, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It does something else in the same way of calling it.
    Body,
    /// How it is called, or what it gives back, changed.
    Signature,
    /// It has another name.
    Renamed,
    /// It is gone.
    Deleted,
}

impl Effect {
    /// A lower case word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Deleted => "deleted",
            Self::Renamed => "renamed",
            Self::Signature => "signature",
        }
    }

    /// Whether what uses the unit may no longer work as it is.
    pub fn interrupts(self) -> bool {
        self != Self::Body
    }
}

/// One thing that happened to one unit; a unit that was renamed and edited has several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Changed {
    /// The unit.
    pub unit: UnitId,
    /// What happened to it.
    pub effect: Effect,
}

/// A unit that uses one that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// What uses it.
    pub caller: Reference,
    /// What changed.
    pub callee: Reference,
    /// How it changed.
    pub effect: Effect,
    /// How sure it is that the caller means it.
    pub confidence: Confidence,
}

/// Says which units use some that changed: only those that name them directly.
///
/// The graph holds the files as they were before the change, or as they are where it has not been taken yet: what
/// nobody has the name of any more has no callers. Units that changed alike need no alert about each other; pass them
/// in `silent`. At most [`ALERTS_MAX`].
pub fn alerts(graph: &Graph, changes: &[Changed], silent: &BTreeSet<UnitId>) -> Vec<Alert> {
    let mut found = Vec::new();
    for change in changes {
        let Some(callee) = graph.unit(change.unit) else {
            continue;
        };
        for caller in graph.callers(change.unit) {
            if found.len() >= ALERTS_MAX {
                return found;
            }
            if caller.unit.is_some_and(|unit| silent.contains(&unit)) {
                continue;
            }
            found.push(Alert {
                confidence: caller.confidence,
                caller,
                callee: callee.clone(),
                effect: change.effect,
            });
        }
    }
    found
}

/// What happened to the units between two versions of a file, in the order of the old one.
///
/// Units that are new, moved, or of which only comments or the layout changed are not told.
pub fn effects(before: &Indexed, after: &Indexed) -> Vec<Changed> {
    if before.bytes == after.bytes {
        return Vec::new();
    }
    let was = Side::new(&before.path, &before.bytes, &before.budget);
    let is = Side::new(&after.path, &after.bytes, &after.budget);
    let mut there: Vec<(UnitId, usize)> = after.ids.iter().copied().zip(0..).collect();
    there.sort_unstable();
    let mut found = Vec::new();
    for (unit, id) in before.outline.units.iter().zip(&before.ids) {
        let at = there.binary_search_by_key(id, |row| row.0);
        let other = at.ok().map(|at| &after.outline.units[there[at].1]);
        let of = |effect| Changed { unit: *id, effect };
        match other {
            None => found.push(of(Effect::Deleted)),
            Some(other) => {
                let same = unit.own_hash == other.own_hash && unit.name == other.name;
                if !same {
                    found.extend(compared((&was, unit), (&is, other)).into_iter().map(of));
                }
            }
        }
    }
    found
}

/// What happened to one unit whose own texts are these, without a file around them: none for what was not there before
/// or has no change.
///
/// `path` tells the language. A text without a unit counts as one body.
pub fn effect_of_texts(path: &str, before: &[u8], after: Option<&[u8]>) -> Vec<Effect> {
    let Some(after) = after else {
        return vec![Effect::Deleted];
    };
    let budget = Budget::default();
    let was = Side::new(path, before, &budget);
    let is = Side::new(path, after, &budget);
    match (was.units.first(), is.units.first()) {
        (Some(unit), Some(other)) => compared((&was, unit), (&is, other)),
        _ if before != after => vec![Effect::Body],
        _ => Vec::new(),
    }
}

/// What happened to one unit of a file, whatever version the file has of it: the two texts are put in its place.
///
/// Where that does not make a file that can be understood, the texts are compared by themselves.
pub fn effects_in(
    file: Option<&Indexed>,
    path: &str,
    unit: UnitId,
    before: &OwnText,
    after: &OwnText,
) -> Vec<Effect> {
    let put = |file: &Indexed, text| splice(file, unit, text).ok()?.after;
    let versions = file.and_then(|file| {
        let was = put(file, before)?;
        let is = put(&was, after)?;
        Some((was, is))
    });
    let Some((was, is)) = versions else {
        let joined = |text: &OwnText| {
            let foot = text.foot.as_ref().map_or(&[][..], Text::bytes);
            [text.head.bytes(), foot].concat()
        };
        return effect_of_texts(path, &joined(before), Some(&joined(after)));
    };
    let found = effects(&was, &is).into_iter();
    let own = found.filter(|change| change.unit == unit);
    own.map(|change| change.effect).collect()
}

fn compared((was, unit): (&Side<'_>, &Unit), (is, other): (&Side<'_>, &Unit)) -> Vec<Effect> {
    let mut found = Vec::new();
    if unit.name != other.name && signature_name(unit) != signature_name(other) {
        found.push(Effect::Renamed);
    }
    if unit.parameters != other.parameters || heading(was, unit) != heading(is, other) {
        found.push(Effect::Signature);
    }
    if body(was, unit) != body(is, other) {
        found.push(Effect::Body);
    }
    found
}

/// A token that counts, and how much deeper it stands than the first.
type Counted<'a> = (u32, &'a [u8]);

fn heading<'a>(side: &Side<'a>, unit: &Unit) -> Vec<Counted<'a>> {
    side.tokens(unit, unit.signature.clone(), true)
}

/// What is in a unit that has no members; these are units of their own.
fn body<'a>(side: &Side<'a>, unit: &Unit) -> Option<Vec<Counted<'a>>> {
    let leaf = unit.body.clone().filter(|_| unit.inner.is_none())?;
    Some(side.tokens(unit, leaf, false))
}

/// The name without the text of the header that some units are named by.
fn signature_name(unit: &Unit) -> Option<&str> {
    unit.name_span.is_some().then_some(unit.name.as_str())
}

/// A text with the tokens that count, in their order.
struct Side<'a> {
    bytes: &'a [u8],
    units: Vec<Unit>,
    tokens: Vec<Token>,
}

/// A token and how many nodes are around it, from the root on.
struct Token {
    span: Range<usize>,
    depth: u32,
}

impl<'a> Side<'a> {
    fn new(path: &str, bytes: &'a [u8], budget: &Budget) -> Self {
        let (outline, tree) = parsed(path, bytes, budget);
        let comments = outline
            .language
            .map_or(&[][..], |language| language.0.comments);
        let tokens = tree
            .map(|tree| tokens(&tree, comments, bytes))
            .unwrap_or_default();
        Self {
            bytes,
            units: outline.units,
            tokens,
        }
    }

    /// The tokens of a range, each with how much deeper it stands than the first; without the unit's name if asked.
    fn tokens(&self, unit: &Unit, range: Range<usize>, is_nameless: bool) -> Vec<Counted<'a>> {
        let from = self
            .tokens
            .partition_point(|token| token.span.start < range.start);
        let inside = self.tokens[from..].iter();
        let inside = inside.take_while(|token| token.span.end <= range.end);
        let name = unit
            .name_span
            .clone()
            .filter(|_| is_nameless)
            .unwrap_or(0..0);
        let counts = |token: &&Token| token.span.start < name.start || name.end <= token.span.start;
        let kept: Vec<&Token> = inside.filter(counts).collect();
        let first = kept.first().map_or(0, |token| token.depth);
        let text = |token: &Token| &self.bytes[token.span.clone()];
        let mut found = Vec::with_capacity(kept.len());
        for (at, token) in kept.iter().enumerate() {
            let next = kept.get(at + 1).map_or(&b""[..], |next| text(next));
            // A comma before a closing bracket comes and goes with the layout.
            let is_layout = text(token) == b"," && matches!(next, b")" | b"]" | b"}");
            if !is_layout {
                found.push((token.depth.wrapping_sub(first), text(token)));
            }
        }
        found
    }
}

/// The leaves of a tree that are no comments.
fn tokens(tree: &Tree, comments: &[&str], bytes: &[u8]) -> Vec<Token> {
    let mut cursor = tree.walk();
    let mut found = Vec::new();
    let mut depth = 0;
    loop {
        let node = cursor.node();
        let is_comment = comments.contains(&node.kind());
        let is_blank = bytes[node.byte_range()].trim_ascii().is_empty();
        if !is_comment && node.child_count() == 0 && !is_blank {
            found.push(Token {
                span: node.byte_range(),
                depth,
            });
        }
        if !is_comment && cursor.goto_first_child() {
            depth += 1;
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return found;
            }
            depth -= 1;
        }
    }
}

#[cfg(all(test, feature = "default"))]
mod tests {
    use super::{Effect, effect_of_texts, effects};
    use crate::indexed::index;
    use crate::outline::Budget;

    fn told(path: &str, before: &str, after: &str) -> String {
        let budget = Budget::default();
        let before = index(path, before.as_bytes(), None, &budget);
        let after = index(path, after.as_bytes(), Some(&before), &budget);
        let name = |unit| {
            let at = before.position(unit).expect("it was there");
            before.outline.units[at].name.clone()
        };
        let rows = effects(&before, &after).into_iter();
        let rows: Vec<String> = rows
            .map(|row| format!("{} {}", name(row.unit), row.effect.word()))
            .collect();
        rows.join(", ")
    }

    #[test]
    fn layout_and_comments_are_no_change() {
        let before = "/// Says.\nfn load(path: &str, at: u32) -> u32 {\n    at + 1\n}\n";
        let after = "fn load(\n    path: &str,\n    at: u32,\n) -> u32 {\n    // More.\n    at\n        + 1\n}\n";
        assert_eq!(told("a.rs", before, after), "");
        let before = "def load(path):\n    if path:\n        go()\n        stop()\n";
        assert_eq!(told("a.py", before, &before.replace("    ", "  ")), "");
        let less = "def load(path):\n    if path:\n        go()\n    stop()\n";
        assert_eq!(told("a.py", before, less), "load body");
    }

    #[test]
    fn the_kinds_of_change_are_told_apart() {
        let before =
            "fn load(at: u32) -> u32 {\n    let a = at + 1;\n    a * 3 + at\n}\n\nfn other() {}\n";
        let body = before.replace("+ 1", "+ 2");
        assert_eq!(told("a.rs", before, &body), "load body");
        let signature = before.replace("at: u32", "at: u64");
        assert_eq!(told("a.rs", before, &signature), "load signature");
        let result = before.replace("-> u32", "-> u64").replace("+ 1", "+ 2");
        assert_eq!(told("a.rs", before, &result), "load signature, load body");
        let renamed = before.replace("load", "fetch");
        assert_eq!(told("a.rs", before, &renamed), "load renamed");
        let deleted = "fn other() {}\n";
        assert_eq!(told("a.rs", before, deleted), "load deleted");
    }

    #[test]
    fn a_container_is_not_changed_by_its_members() {
        let before = "class A {\n  load() {\n    return 1;\n  }\n}\n";
        let after = before.replace("1;", "2;");
        assert_eq!(told("a.ts", before, &after), "load body");
        let after = before.replace("class A", "class A extends B");
        assert_eq!(told("a.ts", before, &after), "A signature");
    }

    #[test]
    fn texts_of_one_unit_are_compared_without_their_file() {
        let effect = |before: &str, after| effect_of_texts("a.go", before.as_bytes(), after);
        let before = "func Load(at int) int {\n\treturn at\n}";
        assert_eq!(effect(before, None), [Effect::Deleted]);
        let after = b"func Load(at int, of string) int {\n\treturn at\n}";
        assert_eq!(effect(before, Some(after)), [Effect::Signature]);
        assert_eq!(
            effect(before, Some(b"func Load(at int) int { return at }")),
            []
        );
    }
}
