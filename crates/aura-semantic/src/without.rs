//! Taking a patch out of a file that has it.
//!
//! Invariants:
//! - every unit that stands as the patch left it is brought to what it was before; every other one stays as it is;
//! - where a unit that comes back, or is moved back, stood is not told by a patch: it stands somewhere else than the
//!   patch put it.

use std::collections::BTreeSet;

use crate::apply::{apply, apply_file, splice};
use crate::draft::Draft;
use crate::indexed::Indexed;
use crate::language::UnitKind;
use crate::onto::{bring, bring_back};
use crate::patch::{FilePatch, Op, Refusal};
use crate::value::{Text, UnitId};

/// A file without a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Without {
    /// The file; `None` if the patch made it.
    pub file: Option<Indexed>,
    /// Units that stand as the patch left them, and from which it could not be taken; the pseudo unit of the file for
    /// what is no unit.
    pub left: BTreeSet<UnitId>,
}

/// Takes a patch out of `current`, which may have been changed since: `stands` says of a unit whether it is as the patch
/// left it, and of the pseudo unit of the file whether what is no unit may be.
pub fn without(
    current: Option<&Indexed>,
    patch: &FilePatch,
    stands: &dyn Fn(UnitId) -> bool,
) -> Without {
    let of_file = UnitId::file(&patch.path);
    let unit_of = |op: &Op| op.unit().unwrap_or(of_file);
    let ops = patch.ops.iter().rev();
    let mut ops: Vec<&Op> = ops.filter(|op| stands(unit_of(op))).collect();
    let mut file = current.cloned();
    // Text may have gone from one unit to another, so that one can be taken back only after the other.
    loop {
        let before = ops.len();
        ops.retain(|op| match without_op(file.as_ref(), patch, op) {
            Ok(taken) => {
                file = taken;
                false
            }
            Err(_) => true,
        });
        if ops.is_empty() || ops.len() == before {
            break;
        }
    }
    let left = ops.into_iter().map(unit_of).collect();
    Without { file, left }
}

fn without_op(
    current: Option<&Indexed>,
    patch: &FilePatch,
    op: &Op,
) -> Result<Option<Indexed>, Refusal> {
    match (op, current) {
        (
            Op::File {
                base_text, text, ..
            },
            _,
        ) => without_whole(current, patch, base_text.as_ref(), text.as_ref()),
        (_, Some(current)) => without_part(current, patch, op).map(Some),
        (_, None) => Ok(None),
    }
}

fn without_whole(
    current: Option<&Indexed>,
    patch: &FilePatch,
    base: Option<&Text>,
    text: Option<&Text>,
) -> Result<Option<Indexed>, Refusal> {
    match (base, text) {
        // Whatever is in it now was told on top of a file that nobody has.
        (None, _) => Ok(None),
        // It was made anew since.
        (Some(_), None) if current.is_some() => Ok(current.cloned()),
        (Some(base), text) => {
            let (text, base) = (text.map(Text::bytes), Some(base.bytes()));
            Ok(apply_file(current, &patch.path, text, base)?.after)
        }
    }
}

fn without_part(current: &Indexed, patch: &FilePatch, op: &Op) -> Result<Indexed, Refusal> {
    let row = |unit: &UnitId| patch.touched.iter().find(|row| row.unit == *unit);
    let undo = match op {
        Op::Replace {
            unit, base_text, ..
        }
        | Op::Rename {
            unit, base_text, ..
        } => return file_of(splice(current, *unit, base_text)?.after, current),
        Op::Delete {
            unit,
            name,
            base_text,
            ..
        } => {
            let qualified = row(unit).map_or(name, |row| &row.name);
            return back(current, (*unit, qualified, name), base_text, patch);
        }
        Op::Insert {
            unit, name, text, ..
        } => {
            let is_whole = current.position(*unit).is_some_and(|at| {
                let span = current.outline.units[at].span.clone();
                current.bytes[span] == *text.bytes()
            });
            // Something in it was told since, and would go with it.
            if !is_whole {
                return Err(missing(*unit, name));
            }
            bring(current, *unit, name, None)
        }
        Op::Gap { .. } => gap_before(current, op),
        Op::Move {
            unit,
            name,
            after,
            gap,
            ..
        } => {
            let places = elsewhere(current, *unit, *after);
            if places.is_empty() {
                return Ok(current.clone());
            }
            let moved = places.into_iter().find_map(|(parent, after, before)| {
                let (name, gap) = (name.clone(), gap.clone());
                let unit = *unit;
                let op = Op::Move {
                    unit,
                    name,
                    parent,
                    after,
                    before,
                    gap,
                };
                carried(current, op).ok()
            });
            return moved.ok_or_else(|| missing(*unit, name));
        }
        Op::File { .. } => None,
    };
    let Some(undo) = undo else {
        return Ok(current.clone());
    };
    carried(current, undo)
}

fn carried(current: &Indexed, op: Op) -> Result<Indexed, Refusal> {
    let patch = FilePatch {
        path: current.path.clone(),
        base: Some(current.hash()),
        result: None,
        ops: vec![op],
        touched: Vec::new(),
    };
    file_of(apply(Some(current), &patch)?.after, current)
}

/// Brings a unit back. What kind it is was not told, and a text does not always say so by itself: a constructor does
/// not outside of its class.
fn back(
    current: &Indexed,
    (unit, qualified, name): (UnitId, &str, &str),
    text: &Text,
    patch: &FilePatch,
) -> Result<Indexed, Refusal> {
    let inside = format!("{qualified}::");
    let gone = patch.touched.iter().filter(|row| row.after.is_none());
    let members = gone.filter(|row| row.name.starts_with(&inside));
    let members: Vec<UnitId> = members.map(|row| row.unit).collect();
    let kinds = [
        UnitKind::Method,
        UnitKind::Constant,
        UnitKind::Import,
        UnitKind::Declaration,
        UnitKind::Type,
        UnitKind::Statement,
        UnitKind::Function,
        UnitKind::Impl,
        UnitKind::Class,
        UnitKind::Macro,
        UnitKind::Module,
    ];
    let known = kinds.map(|kind| Some((kind, name.to_owned())));
    let found = std::iter::once(None).chain(known).find_map(|known| {
        let op = bring_back(current, (unit, qualified), known, text, members.clone())?;
        let mut places = beside_gaps(&op, patch);
        places.push(op);
        places.into_iter().find_map(|op| carried(current, op).ok())
    });
    found.ok_or_else(|| missing(unit, qualified))
}

/// The same insertion where the patch changed what stands between units: something was there.
fn beside_gaps(insertion: &Op, patch: &FilePatch) -> Vec<Op> {
    let beside = patch.ops.iter().filter_map(|op| {
        let mut there = insertion.clone();
        if let (
            Op::Insert {
                parent,
                after,
                before,
                ..
            },
            Op::Gap {
                parent: container,
                after: previous,
                next,
                ..
            },
        ) = (&mut there, op)
            && parent == container
        {
            (*after, *before) = (*previous, *next);
            return Some(there);
        }
        None
    });
    beside.collect()
}

fn file_of(after: Option<Indexed>, current: &Indexed) -> Result<Indexed, Refusal> {
    after.ok_or_else(|| missing(UnitId::file(&current.path), &current.path))
}

fn missing(unit: UnitId, name: &str) -> Refusal {
    let name = name.to_owned();
    Refusal::BaseMismatch { unit, name }
}

/// The gap as it was, if it reads as the operation left it.
fn gap_before(current: &Indexed, op: &Op) -> Option<Op> {
    let Op::Gap {
        parent,
        after,
        next,
        base_text,
        text,
    } = op
    else {
        return None;
    };
    let draft = Draft::new(current);
    let (container, node) = draft.seek_gap(*parent, (*after, *next), text.bytes())?;
    (draft.gap(container, node) == text.bytes()).then(|| Op::Gap {
        parent: *parent,
        after: *after,
        next: *next,
        base_text: text.clone(),
        text: base_text.clone(),
    })
}

/// Container, unit before and unit behind.
type Spot = (Option<UnitId>, Option<UnitId>, Option<UnitId>);

/// Where else a unit that stands behind `previous` can stand in its container: at its end, at its start, or beside its
/// neighbours; nowhere if it is alone, or stands somewhere else by now.
fn elsewhere(current: &Indexed, unit: UnitId, previous: Option<UnitId>) -> Vec<Spot> {
    let units = &current.outline.units;
    let Some(at) = current.position(unit) else {
        return Vec::new();
    };
    let parent = units[at].parent;
    let beside = (0..units.len()).filter(|other| units[*other].parent == parent && *other != at);
    let beside: Vec<usize> = beside.collect();
    let before = beside.iter().filter(|other| **other < at).count();
    let id = |at: usize| beside.get(at).map(|at| current.ids[*at]);
    if before.checked_sub(1).and_then(id) != previous {
        return Vec::new();
    }
    let places = [beside.len(), 0, before + 1, before.saturating_sub(1)].into_iter();
    let places = places.filter(|place| *place != before && *place <= beside.len());
    let spot = |place: usize| {
        let parent = parent.map(|parent| current.ids[parent]);
        (parent, place.checked_sub(1).and_then(id), id(place))
    };
    places.map(spot).collect()
}
