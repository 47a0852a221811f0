//! Commands that need neither daemon nor team: outline, diff of two files, merge of three.
//!
//! Invariant: inputs are never touched; an output file is written only when everything succeeded.

use std::path::{Path, PathBuf};

use aura_api::{Exit, Failure};
use aura_semantic::{Budget, FileMerge, Labels, diff_files, index, merge_files, render_diff3};
use serde_json::{Value, json};

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::new("AE-FILE", Exit::USAGE, message).next("ls", "see which files there are")
    })
}

/// The units of a file.
pub(crate) fn outline(path: &Path) -> Result<Value, Failure> {
    let bytes = read(path)?;
    let name = path.to_string_lossy();
    let indexed = index(&name, bytes, None, &Budget::default());
    let rows = indexed
        .ids
        .iter()
        .zip(&indexed.outline.units)
        .map(|(id, unit)| {
            json!({
                "id": id.to_string(),
                "kind": unit.kind,
                "path": unit.qualified,
                "name": unit.name,
                "start": unit.span.start,
                "end": unit.span.end,
                "start_line": unit.start_line,
                "end_line": unit.end_line,
                "hash": unit.own_hash.to_string(),
            })
        });
    Ok(json!({
        "schema": "aura.outline/1",
        "file": name,
        "units": rows.collect::<Vec<_>>(),
        "problems": indexed.outline.problems.iter().map(|problem| format!("{problem:?}")).collect::<Vec<_>>(),
    }))
}

/// What changed between two files, unit by unit.
pub(crate) fn diff(a: &Path, b: &Path, name: &str) -> Result<Value, Failure> {
    let changes = diff_files(name, &read(a)?, &read(b)?);
    Ok(json!({ "schema": "aura.filediff/1", "path": name, "changes": changes }))
}

/// Merges three files; the exit code says whether it was clean.
pub(crate) fn merge(
    files: [&Path; 3],
    name: &str,
    output: Option<&PathBuf>,
) -> Result<(Exit, Vec<u8>), Failure> {
    let [base, ours, theirs] = files;
    let merged = merge_files(name, &read(base)?, &read(ours)?, &read(theirs)?);
    let (exit, bytes) = match merged {
        FileMerge::Clean { bytes, .. } => (Exit::DONE, bytes),
        FileMerge::Conflict { chunks, .. } => {
            let labels = Labels {
                ours: "ours",
                base: "base",
                theirs: "theirs",
            };
            (Exit::FAILED, render_diff3(&chunks, 7, labels))
        }
    };
    if let Some(output) = output {
        std::fs::write(output, &bytes).map_err(|error| {
            let message = format!("cannot write {}: {error}", output.display());
            Failure::new("AE-FILE", Exit::STORAGE, message)
        })?;
    }
    Ok((exit, bytes))
}
