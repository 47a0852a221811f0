//! What changed between two versions of a file, unit by unit.
//!
//! Invariants:
//! - units are matched by identity, so a renamed unit is one unit;
//! - the list is in the order of the new version; removed units come last.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::indexed::{Indexed, index};
use crate::language::UnitKind;
use crate::outline::{Budget, Unit};
use crate::value::UnitId;

/// One change of one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitChange {
    /// The unit.
    pub unit: UnitId,
    /// Its kind.
    pub kind: UnitKind,
    /// Its qualified name, the new one if there is one.
    pub name: String,
    /// What happened to it.
    pub change: Change,
    /// First line in the old version, counted from one.
    pub before_line: Option<usize>,
    /// First line in the new version, counted from one.
    pub after_line: Option<usize>,
}

/// What can happen to a unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// Its body changed.
    Body,
    /// Only what is attached to it changed: comments, attributes.
    Comment,
    /// The order or the container changed.
    Moved,
    /// It is gone.
    Removed,
    /// Its name changed.
    Renamed {
        /// The qualified name before.
        from: String,
    },
    /// Its signature changed, beyond the name.
    Signature,
    /// The file, which has no units, changed.
    Whole,
}

/// Compares two versions of a file.
pub fn diff_files(path: &str, before: &[u8], after: &[u8]) -> Vec<UnitChange> {
    let budget = Budget::default();
    let before = index(path, before, None, &budget);
    let after = index(path, after, Some(&before), &budget);
    diff_indexed(&before, &after)
}

/// Compares two versions whose ids are known.
pub fn diff_indexed(before: &Indexed, after: &Indexed) -> Vec<UnitChange> {
    if before.bytes == after.bytes {
        return Vec::new();
    }
    if !before.is_structured() || !after.is_structured() {
        return vec![UnitChange {
            unit: UnitId::file(&after.path),
            kind: UnitKind::File,
            name: after.path.clone(),
            change: Change::Whole,
            before_line: Some(1),
            after_line: Some(1),
        }];
    }
    let old: BTreeMap<UnitId, usize> = positions(before);
    let new: BTreeMap<UnitId, usize> = positions(after);
    let moved = crate::extract::moves(before, after);
    let mut changes = Vec::new();
    for (at, id) in after.ids.iter().enumerate() {
        let is = &after.outline.units[at];
        let Some(was) = old.get(id).map(|was| &before.outline.units[*was]) else {
            changes.push(change(*id, None, Some(is), Change::Added));
            continue;
        };
        let mut found = edits((before, was), (after, is));
        if moved.contains(id) {
            found.push(Change::Moved);
        }
        changes.extend(
            found
                .into_iter()
                .map(|what| change(*id, Some(was), Some(is), what)),
        );
    }
    for (at, id) in before.ids.iter().enumerate() {
        if !new.contains_key(id) {
            changes.push(change(
                *id,
                Some(&before.outline.units[at]),
                None,
                Change::Removed,
            ));
        }
    }
    changes
}

fn positions(file: &Indexed) -> BTreeMap<UnitId, usize> {
    file.ids
        .iter()
        .enumerate()
        .map(|(at, id)| (*id, at))
        .collect()
}

fn change(id: UnitId, was: Option<&Unit>, is: Option<&Unit>, change: Change) -> UnitChange {
    let shown = is.or(was);
    UnitChange {
        unit: id,
        kind: shown.map_or(UnitKind::File, |unit| unit.kind),
        name: shown.map(|unit| unit.qualified.clone()).unwrap_or_default(),
        change,
        before_line: was.map(|unit| unit.start_line),
        after_line: is.map(|unit| unit.start_line),
    }
}

fn edits((before, was): (&Indexed, &Unit), (after, is): (&Indexed, &Unit)) -> Vec<Change> {
    let mut found = Vec::new();
    if was.name != is.name {
        found.push(Change::Renamed {
            from: was.qualified.clone(),
        });
    }
    if was.own_hash == is.own_hash {
        return found;
    }
    let before_count = found.len();
    if signature(before, was) != signature(after, is) {
        found.push(Change::Signature);
    }
    let body = |file: &'_ Indexed, unit: &Unit| {
        let leaf = unit.body.clone().filter(|_| unit.inner.is_none());
        leaf.map(|span| file.bytes[span].to_vec())
    };
    if body(before, was) != body(after, is) {
        found.push(Change::Body);
    }
    if found.len() == before_count && was.name == is.name {
        found.push(Change::Comment);
    }
    found
}

/// The signature without the name and without regard to white space.
fn signature(file: &Indexed, unit: &Unit) -> Vec<u8> {
    let span = unit.signature.clone();
    let name = unit
        .name_span
        .clone()
        .filter(|name| span.start <= name.start && name.end <= span.end);
    let name = name.unwrap_or(span.start..span.start);
    let parts = [
        &file.bytes[span.start..name.start],
        b" ",
        &file.bytes[name.end..span.end],
    ];
    let text = parts.concat();
    let words = text
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b' ')
}
