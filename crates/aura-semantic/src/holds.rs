//! Whether a file shows what a patch does between its units.

use std::collections::BTreeMap;

use crate::draft::{Draft, ROOT};
use crate::indexed::Indexed;
use crate::patch::{FilePatch, Op};
use crate::value::{Text, UnitId};

/// Whether every gap that a patch changes reads here as the patch leaves it, and every unit that it moves stands behind
/// the neighbour that it names. Of a whole file: whether it is that file.
pub fn holds(file: &Indexed, patch: &FilePatch) -> bool {
    let draft = Draft::new(file);
    // Of two changes of one gap the last is left.
    let mut gaps: BTreeMap<[Option<UnitId>; 3], &Text> = BTreeMap::new();
    for op in &patch.ops {
        let is_there = match op {
            Op::File { text, .. } => text
                .as_ref()
                .is_some_and(|text| text.bytes() == &file.bytes[..]),
            Op::Gap {
                parent,
                after,
                next,
                text,
                ..
            } => {
                gaps.insert([*parent, *after, *next], text);
                true
            }
            Op::Move {
                unit,
                parent,
                after,
                ..
            } => stands(&draft, *unit, *parent, *after),
            Op::Delete { .. } | Op::Insert { .. } | Op::Rename { .. } | Op::Replace { .. } => true,
        };
        if !is_there {
            return false;
        }
    }
    gaps.into_iter().all(|([parent, after, next], text)| {
        let found = draft.seek_gap(parent, (after, next), text.bytes());
        found.is_some_and(|(container, next)| draft.gap(container, next) == text.bytes())
    })
}

fn stands(draft: &Draft<'_>, unit: UnitId, parent: Option<UnitId>, after: Option<UnitId>) -> bool {
    let node = |id: UnitId| draft.by_id.get(&id).copied();
    let container = parent.map_or(Some(ROOT), node);
    let (Some(container), Some(moved)) = (container, node(unit)) else {
        return false;
    };
    let siblings = &draft.nodes[container].children;
    let Some(place) = siblings.iter().position(|sibling| *sibling == moved) else {
        return false;
    };
    let previous = place
        .checked_sub(1)
        .map(|place| draft.nodes[siblings[place]].id);
    previous == after
}
