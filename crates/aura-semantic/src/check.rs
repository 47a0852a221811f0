//! The gate in front of every result: parse it again and compare it with what was intended.
//!
//! Invariants:
//! - every unit of the result stands exactly where the draft put it, with the kind and name the
//!   draft gave it, so nothing broke out of its place and nothing outside changed;
//! - the result has no more errors than the file before;
//! - ids come from the draft, so sender and receiver agree on them.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::draft::{Draft, ROOT, Rendered};
use crate::indexed::Indexed;
use crate::language::UnitKind;
use crate::outline::{Outline, Problem, Unit, outline};
use crate::patch::Refusal;
use crate::value::UnitId;

/// A checked result.
pub(crate) struct Checked {
    pub(crate) after: Indexed,
    /// Where edited units stand in the result.
    pub(crate) changed: Vec<Range<usize>>,
}

/// Renders a draft of `current` and checks it. `known` is a parsed file the result may be equal to.
// spec: patch/3.7
pub(crate) fn finish(
    current: &Indexed,
    draft: &Draft<'_>,
    known: Option<&Indexed>,
) -> Result<Checked, Refusal> {
    let rendered = draft.render();
    let outline = match known {
        Some(known) if *known.bytes == *rendered.bytes && known.path == current.path => {
            known.outline.clone()
        }
        _ => outline(&current.path, &rendered.bytes, &current.budget),
    };
    if let Some(problem) = outline.whole_file_problem() {
        return Err(refuse_whole(draft, problem));
    }
    let ids = compare(draft, &rendered, &outline);
    if outline.errors > current.outline.errors {
        let blamed = first_edited(draft, &rendered, usize::MAX);
        return Err(Refusal::WouldNotParse {
            unit: blamed.0,
            name: blamed.1,
        });
    }
    let ids = ids?;
    refuse_doubles(current, &outline, &ids)?;
    let edited = |(node, _): &&(usize, Range<usize>)| draft.nodes[*node].edited;
    let changed = rendered
        .spans
        .iter()
        .filter(edited)
        .map(|(_, span)| span.clone())
        .collect();
    let after = Indexed {
        path: current.path.clone(),
        bytes: rendered.bytes.into(),
        outline,
        ids,
        budget: current.budget.clone(),
    };
    Ok(Checked { after, changed })
}

fn refuse_whole(draft: &Draft<'_>, problem: Problem) -> Refusal {
    match problem {
        Problem::TooDeep => Refusal::TooDeep,
        Problem::TooLarge => Refusal::TooLarge,
        Problem::ParseBudget | Problem::ParserFails => Refusal::ParseBudget,
        Problem::Binary | Problem::NoGrammar => Refusal::Unsupported { problem },
        Problem::Broken | Problem::Errors(_) => {
            let file = &draft.nodes[ROOT];
            Refusal::WouldNotParse {
                unit: file.id,
                name: file.name.to_string(),
            }
        }
    }
}

/// Walks the intended and the parsed units side by side; gives the ids of the latter.
fn compare(
    draft: &Draft<'_>,
    rendered: &Rendered,
    outline: &Outline,
) -> Result<Vec<UnitId>, Refusal> {
    let mut ids = Vec::with_capacity(outline.units.len());
    let broken_out = |offset: usize| {
        let (unit, name) = first_edited(draft, rendered, offset);
        Err(Refusal::NotOneFunction { unit, name })
    };
    for (node, span) in rendered.spans.iter().skip(1) {
        let intended = &draft.nodes[*node];
        let Some(unit) = outline.units.get(ids.len()) else {
            return broken_out(span.start);
        };
        if unit.span != *span || unit.kind.sort() != intended.kind.sort() {
            return broken_out(span.start.min(unit.span.start));
        }
        if unit.name != intended.name {
            return Err(Refusal::NameChanged {
                unit: intended.id,
                name: intended.name.to_string(),
                found: unit.name.clone(),
            });
        }
        if intended.foot.is_some() != unit.inner.is_some() && intended.unit.is_some() {
            return broken_out(span.start);
        }
        let frame = unit
            .inner
            .as_ref()
            .map(|inner| inner.start - unit.span.start);
        if intended.unit.is_some() && frame.is_some_and(|head| head != intended.head.len()) {
            return broken_out(span.start);
        }
        let inside = unit.end - ids.len() - 1;
        ids.push(intended.id);
        if intended.unit.is_none() {
            if inside != intended.members.len() {
                return broken_out(span.start);
            }
            ids.extend_from_slice(&intended.members);
        }
    }
    match outline.units.get(ids.len()) {
        Some(unit) => broken_out(unit.span.start),
        None => Ok(ids),
    }
}

/// The edited unit that stands last before an offset, or else the first one, or the file.
fn first_edited(draft: &Draft<'_>, rendered: &Rendered, offset: usize) -> (UnitId, String) {
    let mut blamed = ROOT;
    for (node, span) in &rendered.spans {
        let edited = draft.nodes[*node].edited;
        if edited && (blamed == ROOT || span.start <= offset) {
            blamed = *node;
        }
    }
    let node = &draft.nodes[blamed];
    (node.id, node.name.to_string())
}

/// Refuses when a name came to stand twice in one container that did not before.
fn refuse_doubles(current: &Indexed, outline: &Outline, ids: &[UnitId]) -> Result<(), Refusal> {
    let before = counts(&current.outline, &current.ids);
    for (key, (count, unit)) in counts(outline, ids) {
        if count > 1 && before.get(&key).is_none_or(|(had, _)| *had < count) {
            return Err(Refusal::Ambiguous {
                unit,
                name: key.2.to_owned(),
            });
        }
    }
    Ok(())
}

type Place<'a> = (Option<UnitId>, UnitKind, &'a str, &'a str);

/// How often each name stands in each container, for kinds where it should stand once.
fn counts<'a>(outline: &'a Outline, ids: &[UnitId]) -> BTreeMap<Place<'a>, (usize, UnitId)> {
    let mut counts = BTreeMap::new();
    for (unit, id) in outline.units.iter().zip(ids) {
        if is_unique(unit) {
            let parent = unit.parent.and_then(|parent| ids.get(parent).copied());
            let key = (
                parent,
                unit.kind.sort(),
                unit.name.as_str(),
                unit.parameters.as_str(),
            );
            let entry = counts.entry(key).or_insert((0, *id));
            *entry = (entry.0 + 1, *id);
        }
    }
    counts
}

fn is_unique(unit: &Unit) -> bool {
    let sort = unit.kind.sort();
    let named = matches!(sort, UnitKind::Class | UnitKind::Function | UnitKind::Type);
    named && !unit.name.is_empty()
}
