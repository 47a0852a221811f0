//! The patch of a file as one piece on a file that others have changed by its units.
//!
//! Invariants:
//! - the units that the patch tells of and that are in older versions are afterwards in those that it tells, or the
//!   patch is refused.

use std::collections::{BTreeMap, BTreeSet};

use crate::apply::{Applied, Landing, apply, apply_file, carry_out};
use crate::draft::Draft;
use crate::extract::{extract, insertions};
use crate::indexed::{Indexed, index};
use crate::onto::bring_as;
use crate::outline::Unit;
use crate::patch::{FilePatch, Op, Refusal, Touched};
use crate::value::{Text, UnitId};

/// Carries out the patch of a whole file: its text is merged with the one that is here, or what it does to each unit
/// is carried out.
// spec: patch/2.10
pub(crate) fn land_file(
    current: Option<&Indexed>,
    patch: &FilePatch,
    text: Option<&Text>,
    landing: &Landing<'_>,
) -> Result<Applied, Refusal> {
    if landing.is_seen {
        let here = current.map(|current| &current.bytes[..]);
        return apply_file(current, &patch.path, here, text.map(Text::bytes));
    }
    let goes = text.is_none() && landing.is_back;
    if let (true, Some(current)) = (goes, current) {
        return land_units(current, patch, &Text::default(), landing).ok_or_else(|| {
            let (unit, name) = (UnitId::file(&patch.path), patch.path.clone());
            Refusal::BaseMismatch { unit, name }
        });
    }
    let merged = if landing.older.contains(&UnitId::file(&patch.path)) {
        let here = current.map(|current| &current.bytes[..]);
        apply_file(current, &patch.path, here, text.map(Text::bytes))
    } else {
        apply(current, patch)
    };
    let (Some(current), Some(text)) = (current, text) else {
        return merged;
    };
    let merged = merged.and_then(|merged| told(current, patch, text, merged, landing));
    merged.or_else(|refusal| {
        let landed = land_units(current, patch, text, landing);
        landed
            .and_then(|landed| told(current, patch, text, landed, landing).ok())
            .ok_or(refusal)
    })
}

/// What the patch does to each unit, carried out.
fn land_units(
    current: &Indexed,
    patch: &FilePatch,
    text: &Text,
    landing: &Landing<'_>,
) -> Option<Applied> {
    let [Op::File { base_text, .. }] = &patch.ops[..] else {
        return None;
    };
    let base = base_text.as_ref().map_or(&[][..], Text::bytes);
    let mut before = index(&patch.path, base, None, &current.budget);
    name(&mut before, current, patch);
    let mut after = index(&patch.path, text.bytes(), Some(&before), &current.budget);
    name(&mut after, current, patch);
    let is_older = |unit: UnitId| landing.older.contains(&unit);
    if !(before.is_structured() && after.is_structured() && current.is_structured()) {
        return None;
    }
    let ops = match before.ids.is_empty() && after.ids.is_empty() {
        // There is nothing but what is written between units.
        true => vec![Op::Gap {
            parent: None,
            after: None,
            next: None,
            base_text: Text(before.bytes.to_vec()),
            text: text.clone(),
        }],
        false => {
            let mut ops = extract(Some(&before), Some(&after))?.ops;
            // What is here in that version, or a later one, stays; and of a file that was made anew all that is written.
            let stays = landing.is_back && after.ids.is_empty();
            ops.retain(|op| op.unit().map_or(!stays, is_older));
            ops
        }
    };
    let is_whole = |op: &Op| matches!(op, Op::File { .. });
    let is_of_units = |op: &Op| op.unit().is_some();
    if ops.iter().any(is_whole) || !(ops.iter().any(is_of_units) || before.ids.is_empty()) {
        return None;
    }
    let units = FilePatch {
        ops,
        ..patch.clone()
    };
    let (mut applied, _) = carry_out(Some(current), &units, None, Some(landing)).ok()?;
    applied.merged = true;
    Some(applied)
}

/// Gives the units of a text the ids that the patch, or the file that is here, has for their names.
fn name(indexed: &mut Indexed, current: &Indexed, patch: &FilePatch) {
    let units = current.outline.units.iter().map(|unit| &*unit.qualified);
    let mut ids: BTreeMap<&str, UnitId> = units.zip(current.ids.iter().copied()).collect();
    ids.extend(patch.touched.iter().map(|row| (&*row.name, row.unit)));
    let mut taken: BTreeSet<UnitId> = indexed.ids.iter().copied().collect();
    for (id, unit) in indexed.ids.iter_mut().zip(&indexed.outline.units) {
        if let Some(known) = ids.get(&*unit.qualified)
            && taken.insert(*known)
        {
            *id = *known;
        }
    }
}

/// Brings what is left of the told units to the told versions.
fn told(
    current: &Indexed,
    patch: &FilePatch,
    text: &Text,
    mut applied: Applied,
    landing: &Landing<'_>,
) -> Result<Applied, Refusal> {
    let Some(after) = &applied.after else {
        return Ok(applied);
    };
    let file = UnitId::file(&patch.path);
    let is = after.contents();
    let is_older = |row: &&Touched| landing.older.contains(&row.unit) && row.unit != file;
    let (mut left, mut others) = (Vec::new(), Vec::new());
    let mut lacking = BTreeSet::new();
    let draft = Draft::new(after);
    for row in patch.touched.iter().filter(is_older) {
        match (is.get(&row.unit), row.after) {
            (is, told) if is == told.as_ref() => {}
            // Neither text of the author had it, so merging by lines kept it.
            (Some(_), None) => {
                left.extend(bring_as(after, &draft, row.unit, &row.name, None, None));
            }
            // It was deleted here before the author brought it back.
            (None, Some(_)) => {
                lacking.insert(row.unit);
            }
            _ => others.push(row),
        }
    }
    if !lacking.is_empty() || !others.is_empty() {
        let mut wanted = index(&patch.path, text.bytes(), Some(after), &current.budget);
        name(&mut wanted, after, patch);
        left.extend(insertions(after, &wanted, &lacking));
        // What the author had is told apart from what was merged here.
        let units = wanted.ids.iter().zip(&wanted.outline.units);
        let units: BTreeMap<UnitId, &Unit> = units.map(|(id, unit)| (*id, unit)).collect();
        left.extend(others.iter().filter_map(|row| {
            let text = units.get(&row.unit)?.own_text(&wanted.bytes);
            bring_as(after, &draft, row.unit, &row.name, Some(&text), None)
        }));
    }
    if !left.is_empty() {
        let patch = FilePatch {
            ops: left,
            ..patch.clone()
        };
        applied = apply(Some(after), &patch)?;
        applied.merged = true;
    }
    let is = (applied.after.as_ref())
        .map(Indexed::contents)
        .unwrap_or_default();
    match patch
        .touched
        .iter()
        .filter(is_older)
        .find(|row| is.get(&row.unit) != row.after.as_ref())
    {
        None => Ok(applied),
        Some(row) => Err(Refusal::BaseMismatch {
            unit: row.unit,
            name: row.name.clone(),
        }),
    }
}
