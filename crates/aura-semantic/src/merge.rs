//! Three-way merge of whole files: lines first, units second, proof last.
//!
//! Invariants:
//! - what one side alone changed is taken as it is;
//! - a clean answer has no more errors than the worse side, doubles no name, and keeps every line
//!   in a number between what both kept and what both together have;
//! - swapping the sides gives the same verdict and, where clean, the same bytes.

use std::collections::BTreeMap;

use crate::apply::apply;
use crate::check;
use crate::extract::extract;
use crate::indexed::{Indexed, index};
use crate::lines::{Chunk, Labels, LineMerge, merge_as_one_conflict, merge_lines, render_diff3};
use crate::outline::Budget;
use crate::patch::Op;
use crate::value::{ContentHash, UnitId};

/// Signs in a conflict marker, as git has them.
const MARKER_SIZE: usize = 7;

/// What made a merge clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeLevel {
    /// Lines alone.
    Lines,
    /// The identity of units.
    Units,
}

/// The outcome of a three-way merge of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileMerge {
    /// Both changes together.
    Clean {
        /// The merged file.
        bytes: Vec<u8>,
        /// How it was found.
        level: MergeLevel,
    },
    /// Changes that exclude each other.
    Conflict {
        /// The file with diff3 markers.
        bytes: Vec<u8>,
        /// The file in parts.
        chunks: Vec<Chunk>,
    },
}

/// Merges two changes of one file.
pub fn merge_files(path: &str, base: &[u8], ours: &[u8], theirs: &[u8]) -> FileMerge {
    merge_files_within(path, base, ours, theirs, &Budget::default())
}

/// Merges two changes of one file, parsing within a budget.
pub fn merge_files_within(
    path: &str,
    base: &[u8],
    ours: &[u8],
    theirs: &[u8],
    budget: &Budget,
) -> FileMerge {
    let clean = |bytes: Vec<u8>, level| FileMerge::Clean { bytes, level };
    let lines = merge_lines(base, ours, theirs);
    if let LineMerge::Clean(merged) = &lines
        && (merged == ours || merged == theirs)
    {
        return clean(merged.clone(), MergeLevel::Lines);
    }
    let base_file = index(path, base, None, budget);
    let side = |bytes: &[u8]| index(path, bytes, Some(&base_file), budget);
    let (ours_file, theirs_file) = (side(ours), side(theirs));
    let files = [&base_file, &ours_file, &theirs_file];
    let structured = files.iter().all(|file| file.is_structured());
    let chunks = match lines {
        LineMerge::Clean(merged) => {
            if !structured || passes(files, &merged) {
                return clean(merged, MergeLevel::Lines);
            }
            None
        }
        LineMerge::Conflict(chunks) => Some(chunks),
    };
    if structured && let Some(merged) = by_units(files) {
        return clean(merged, MergeLevel::Units);
    }
    let chunks = chunks.unwrap_or_else(|| merge_as_one_conflict(base, ours, theirs));
    let bytes = render_diff3(&chunks, MARKER_SIZE, Labels::default());
    FileMerge::Conflict { bytes, chunks }
}

type Three<'a> = [&'a Indexed; 3];

/// Applies each side's change to the other side; both ways must agree.
fn by_units([base, ours, theirs]: Three<'_>) -> Option<Vec<u8>> {
    let carry = |change: &Indexed, onto: &Indexed| -> Option<Indexed> {
        let patch = extract(Some(base), Some(change))?;
        // A whole file would be merged by this very function.
        if patch.ops.iter().any(|op| matches!(op, Op::File { .. })) {
            return None;
        }
        apply(Some(onto), &patch).ok()?.after
    };
    let one = carry(theirs, ours)?;
    let other = carry(ours, theirs)?;
    let agree = content(&one) == content(&other);
    let merged = one.bytes.to_vec().min(other.bytes.to_vec());
    (agree && passes([base, ours, theirs], &merged)).then_some(merged)
}

/// The units of a file whatever their order.
fn content(file: &Indexed) -> BTreeMap<UnitId, ContentHash> {
    let hashes = file.outline.units.iter().map(|unit| unit.own_hash);
    file.ids.iter().copied().zip(hashes).collect()
}

/// The gate: see the invariants of this file.
fn passes([base, ours, theirs]: Three<'_>, merged: &[u8]) -> bool {
    let result = index(&base.path, merged, Some(base), &base.budget);
    let errors_max = ours.outline.errors.max(theirs.outline.errors);
    result.is_structured()
        && result.outline.errors <= errors_max
        && keeps_lines([&base.bytes, &ours.bytes, &theirs.bytes], merged)
        && !doubles_names([ours, theirs], &result)
}

fn doubles_names([ours, theirs]: [&Indexed; 2], result: &Indexed) -> bool {
    let by_name = |file: &Indexed| {
        let mut counts = BTreeMap::new();
        for ((parent, kind, name, parameters), (count, _)) in
            check::counts(&file.outline, &file.ids)
        {
            counts.insert(
                (parent, kind, name.to_owned(), parameters.to_owned()),
                count,
            );
        }
        counts
    };
    let (ours, theirs) = (by_name(ours), by_name(theirs));
    let most = |key| ours.get(key).max(theirs.get(key)).copied().unwrap_or(1);
    by_name(result)
        .iter()
        .any(|(key, count)| *count > most(key).max(1))
}

/// Whether every line that says something stands as often as it can have been meant to.
fn keeps_lines([base, ours, theirs]: [&[u8]; 3], merged: &[u8]) -> bool {
    let mut counts: BTreeMap<&[u8], [usize; 4]> = BTreeMap::new();
    for (side, text) in [base, ours, theirs, merged].into_iter().enumerate() {
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if line
                .iter()
                .any(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
            {
                counts.entry(line).or_default()[side] += 1;
            }
        }
    }
    counts.values().all(|[base, ours, theirs, merged]| {
        let least = base.min(ours).min(theirs);
        // Both sides may have added the same line to the same place.
        let most = (ours + theirs)
            .saturating_sub(*base)
            .max(*ours)
            .max(*theirs);
        least <= merged && *merged <= most
    })
}
