//! Operations made to start from what a file holds, where the caller knows that they may.
//!
//! Invariants:
//! - the text that an operation leads to stays the same.

use crate::draft::{Draft, ROOT};
use crate::indexed::Indexed;
use crate::language::{UnitKind, language_of};
use crate::outline::outline;
use crate::patch::Op;
use crate::value::{ContentHash, OwnText, Text, UnitId};
use crate::walk::is_blank;

/// The same operation for a draft that has an older version of its unit; `None` when there is nothing left to do.
///
/// `name` is the qualified name of the unit.
pub(crate) fn onto(current: &Indexed, draft: &Draft<'_>, op: &Op, name: &str) -> Option<Op> {
    match op {
        Op::Delete { unit, name, .. } => bring_as(current, draft, *unit, name, None, None),
        Op::Rename {
            unit,
            to: told,
            text,
            ..
        }
        | Op::Replace {
            unit,
            name: told,
            text,
            ..
        } => {
            let brought = bring_as(current, draft, *unit, name, Some(text), Some(told));
            Some(brought.unwrap_or_else(|| op.clone()))
        }
        Op::Insert {
            unit,
            name: told,
            text,
            members,
            ..
        } if members.is_empty() && draft.by_id.contains_key(unit) => {
            let text = OwnText::leaf(text.bytes());
            let brought = bring_as(current, draft, *unit, name, Some(&text), Some(told));
            Some(brought.unwrap_or_else(|| op.clone()))
        }
        Op::File { .. } | Op::Gap { .. } | Op::Insert { .. } | Op::Move { .. } => Some(op.clone()),
    }
}

/// The operation that brings one unit of a file to a text, or removes it, whatever version of it is there.
///
/// A unit that is not there comes at the end of the container that its qualified `name` tells. `None` when there is
/// nothing to remove, or no place.
pub fn bring(current: &Indexed, unit: UnitId, name: &str, text: Option<&OwnText>) -> Option<Op> {
    bring_as(current, &Draft::new(current), unit, name, text, None)
}

/// [`bring`], where an operation told the simple name that its text has; a text with another is refused when it is
/// carried out.
pub(crate) fn bring_as(
    current: &Indexed,
    draft: &Draft<'_>,
    unit: UnitId,
    name: &str,
    text: Option<&OwnText>,
    told: Option<&str>,
) -> Option<Op> {
    let Some(node) = draft.by_id.get(&unit).copied() else {
        return text.and_then(|text| insertion(current, draft, unit, name, text));
    };
    let simple = draft.nodes[node].name.to_string();
    let Some(text) = text.cloned() else {
        let base_text = draft.text_of(node);
        return Some(Op::Delete {
            unit,
            name: simple,
            base: ContentHash::of(&base_text),
            base_text: Text(base_text),
        });
    };
    let base_text = draft.nodes[node].own_text();
    let base = base_text.hash();
    let to = match told {
        Some(told) => told.to_owned(),
        None => first_unit(current, &text).map_or_else(|| simple.clone(), |(_, name)| name),
    };
    Some(if to == simple {
        Op::Replace {
            unit,
            name: simple,
            base,
            base_text,
            text,
        }
    } else {
        Op::Rename {
            unit,
            from: simple,
            to,
            base,
            base_text,
            text,
        }
    })
}

/// The operation that brings a unit that is not there back to the end of its container: `whole` is all its text, and
/// `members` are the units in it. What it is and is called by itself is read from the text unless it is `known`.
pub fn bring_back(
    current: &Indexed,
    (unit, name): (UnitId, &str),
    known: Option<(UnitKind, String)>,
    whole: &Text,
    members: Vec<UnitId>,
) -> Option<Op> {
    let known = known.or_else(|| first_unit(current, &OwnText::leaf(whole.bytes())))?;
    let mut op = end_of(current, &Draft::new(current), (unit, name), known, whole)?;
    if let Op::Insert {
        members: inside, ..
    } = &mut op
    {
        *inside = members;
    }
    Some(op)
}

fn insertion(
    current: &Indexed,
    draft: &Draft<'_>,
    unit: UnitId,
    name: &str,
    text: &OwnText,
) -> Option<Op> {
    if text.foot.is_some() {
        // What a container held is not told by its own text.
        return None;
    }
    let known = first_unit(current, text)?;
    end_of(current, draft, (unit, name), known, &text.head)
}

/// The insertion at the end of the container that a qualified name tells.
fn end_of(
    current: &Indexed,
    draft: &Draft<'_>,
    (unit, name): (UnitId, &str),
    (kind, simple): (UnitKind, String),
    text: &Text,
) -> Option<Op> {
    let container = match name.rsplit_once("::") {
        None => ROOT,
        Some((above, _)) => {
            let holds =
                |found: &&crate::outline::Unit| found.qualified == above && found.inner.is_some();
            let units = &current.outline.units;
            let found = units.iter().rposition(|unit| holds(&unit))?;
            found + 1
        }
    };
    let children = &draft.nodes[container].children;
    let last = children.last().map(|node| &draft.nodes[*node]);
    let gap = match last {
        Some(last) if 1 < children.len() && draft.is_space(&last.lead) => last.lead.to_vec(),
        _ => [
            b"\n\n".to_vec(),
            indent_of(current, last.and_then(|last| last.unit)),
        ]
        .concat(),
    };
    Some(Op::Insert {
        unit,
        kind,
        name: simple,
        parent: (container != ROOT).then(|| draft.nodes[container].id),
        after: last.map(|last| last.id),
        before: None,
        gap: Text(gap),
        text: text.clone(),
        members: Vec::new(),
    })
}

/// The white space in front of a unit on its line.
fn indent_of(current: &Indexed, unit: Option<usize>) -> Vec<u8> {
    let start = unit.map_or(0, |unit| current.outline.units[unit].span.start);
    let line = current.bytes[..start].rsplit(|byte| *byte == b'\n').next();
    line.filter(|line| is_blank(line))
        .unwrap_or_default()
        .to_vec()
}

/// The kind and name of the unit that a text is, as far as it can be read by itself.
fn first_unit(current: &Indexed, text: &OwnText) -> Option<(UnitKind, String)> {
    let foot = text.foot.as_ref().map_or(&[][..], Text::bytes);
    let own = [text.head.bytes(), foot];
    // What stands between separators is no text by itself.
    let language = language_of(&current.path);
    let is_parted = language.is_some_and(|language| language.0.separator.is_some());
    let whole = match is_parted {
        true => [b"{", own[0], own[1], b"}"].concat(),
        false => own.concat(),
    };
    let found = outline(&current.path, &whole, &current.budget);
    let first = found.units.into_iter().next()?;
    (!first.name.is_empty()).then_some((first.kind, first.name))
}
