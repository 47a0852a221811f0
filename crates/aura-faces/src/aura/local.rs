//! Commands on files alone: `outline`, `merge`, `diff --files`.
//!
//! Invariants:
//! - an input is never written, whatever name the output has;
//! - an output stands there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use aura_api::{Exit, Failure, docs};
use aura_semantic::{
    Budget, Change, Chunk, FileMerge, Indexed, MergeLevel, Problem, UnitChange, diff_files, index,
    merge_files,
};

use super::{args::MergeFiles, git::is_binary, show::counted};
use crate::{
    common::{answer, to_value},
    output::{Outcome, Screen},
    table::Table,
};

/// The way out when a result cannot stand where it was to.
const ELSEWHERE: &str = "aura merge BASE OURS THEIRS --path NAME -o OUT";

/// Longest file that is read: 256 MiB.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// `outline FILE`.
pub(super) fn outline(
    screen: &mut Screen<'_>,
    dir: &Path,
    file: &Path,
    path: Option<&str>,
) -> Outcome {
    let bytes = read(dir, file)?;
    let path = path.map_or_else(|| path_in_repo(dir, file), str::to_owned);
    let indexed = index(&path, bytes, None, &Budget::default());
    let document = outline_document(&indexed);
    answer(screen, &to_value(&document), |view| {
        let mut table = Table::new(&["LINES", "KIND", "NAME", "ID"]);
        for unit in &document.units {
            let lines = format!("{}-{}", unit.start_line, unit.end_line);
            let name = if unit.opaque {
                format!("{} (broken)", unit.name)
            } else {
                unit.name.clone()
            };
            table.row([lines, unit.kind.clone(), name, unit.id.clone()]);
        }
        let mut text = table.show(view);
        for problem in &document.problems {
            text += &format!("note: {problem}\n");
        }
        text
    })?;
    Ok(Exit::DONE)
}

fn outline_document(file: &Indexed) -> docs::Outline {
    let units = &file.outline.units;
    let rows = units
        .iter()
        .zip(&file.ids)
        .map(|(unit, id)| docs::OutlineUnitDoc {
            id: id.to_string(),
            kind: unit.kind.word().to_owned(),
            path: file.path.clone(),
            name: unit.qualified.clone(),
            start: number(unit.span.start),
            end: number(unit.span.end),
            start_line: number(unit.start_line),
            end_line: number(unit.end_line),
            hash: unit.own_hash.to_string(),
            parent: unit
                .parent
                .and_then(|parent| file.ids.get(parent))
                .map(ToString::to_string),
            opaque: unit.opaque,
        });
    docs::Outline {
        schema: docs::Outline::SCHEMA.to_owned(),
        path: file.path.clone(),
        language: file
            .outline
            .language
            .map(|language| language.name().to_owned()),
        units: rows.collect(),
        problems: file
            .outline
            .problems
            .iter()
            .map(|problem| problem_word(*problem))
            .collect(),
    }
}

pub(super) fn problem_word(problem: Problem) -> String {
    match problem {
        Problem::Binary => "binary".to_owned(),
        Problem::Broken => "broken".to_owned(),
        Problem::Errors(count) => format!("errors:{count}"),
        Problem::NoGrammar => "no_grammar".to_owned(),
        Problem::ParseBudget => "parse_budget".to_owned(),
        Problem::ParserFails => "parser_fails".to_owned(),
        Problem::TooDeep => "too_deep".to_owned(),
        Problem::TooLarge => "too_large".to_owned(),
    }
}

/// `diff --files A B`.
pub(super) fn diff(
    screen: &mut Screen<'_>,
    dir: &Path,
    before: &Path,
    after: &Path,
    path: Option<&str>,
) -> Outcome {
    let (old, new) = (read(dir, before)?, read(dir, after)?);
    let path = path.map_or_else(|| path_in_repo(dir, after), str::to_owned);
    let changes = diff_files(&path, &old, &new);
    let document = docs::DiffFiles {
        schema: docs::DiffFiles::SCHEMA.to_owned(),
        path,
        changes: changes.into_iter().map(change_row).collect(),
    };
    answer(screen, &to_value(&document), |view| {
        if document.changes.is_empty() {
            return "no unit differs".to_owned();
        }
        let mut table = Table::new(&["CHANGE", "KIND", "NAME", "LINES"]);
        for row in &document.changes {
            let name = match &row.from {
                Some(from) => format!("{from} -> {}", row.name),
                None => row.name.clone(),
            };
            let at =
                |line: Option<u64>| line.map_or_else(|| "-".to_owned(), |line| line.to_string());
            let lines = format!("{} -> {}", at(row.before_line), at(row.after_line));
            table.row([row.change.clone(), row.kind.clone(), name, lines]);
        }
        table.show(view)
    })?;
    Ok(Exit::DONE)
}

fn change_row(change: UnitChange) -> docs::UnitChangeDoc {
    let (word, from) = match change.change {
        Change::Added => ("added", None),
        Change::Body => ("body", None),
        Change::Comment => ("comment", None),
        Change::Moved => ("moved", None),
        Change::Removed => ("removed", None),
        Change::Renamed { from } => ("renamed", Some(from)),
        Change::Signature => ("signature", None),
        Change::Whole => ("whole", None),
    };
    docs::UnitChangeDoc {
        id: change.unit.to_string(),
        kind: change.kind.word().to_owned(),
        name: change.name,
        change: word.to_owned(),
        from,
        before_line: change.before_line.map(number),
        after_line: change.after_line.map(number),
    }
}

/// `merge BASE OURS THEIRS`: exit 0 clean, 1 conflict, 2 wrong usage.
pub(super) fn merge(screen: &mut Screen<'_>, dir: &Path, args: &MergeFiles) -> Outcome {
    let inputs = [&args.base, &args.ours, &args.theirs];
    let output = args.output.as_ref().map(|output| dir.join(output));
    if let Some(output) = &output {
        refuse_inputs(dir, &inputs, output)?;
    }
    let [base, ours, theirs] = [
        read(dir, inputs[0])?,
        read(dir, inputs[1])?,
        read(dir, inputs[2])?,
    ];
    let is_any_binary = [&base, &ours, &theirs]
        .into_iter()
        .any(|text| is_binary(text));
    let merged = merge_files(&args.path, &base, &ours, &theirs);
    let (bytes, level, conflicts) = match merged {
        // Markers would be no part of it.
        FileMerge::Conflict { .. } if is_any_binary => (ours, None, 1),
        FileMerge::Clean { bytes, level } => (bytes, Some(level_word(level)), 0),
        FileMerge::Conflict { bytes, chunks } => (bytes, None, regions(&chunks)),
    };
    let exit = if conflicts == 0 {
        Exit::DONE
    } else {
        Exit::FAILED
    };
    if let Some(output) = &output {
        write_whole(output, &bytes)?;
    }
    if !screen.is_json() {
        match &output {
            None => screen.bytes(&bytes)?,
            Some(_) if is_any_binary || conflicts == 0 => {}
            Some(_) => {
                let regions = counted(conflicts, "region", "regions");
                screen.note(&format!("{regions} in conflict"));
            }
        }
        if is_any_binary && 0 < conflicts {
            screen.note("both changed it and it is binary: ours is kept whole");
        }
        return Ok(exit);
    }
    let document = docs::Merged {
        schema: docs::Merged::SCHEMA.to_owned(),
        path: args.path.clone(),
        clean: conflicts == 0,
        level: level.map(str::to_owned),
        conflicts,
        output: output.as_ref().map(|output| output.display().to_string()),
        text: if output.is_none() {
            Some(as_text(bytes)?)
        } else {
            None
        },
    };
    screen.document(&to_value(&document))?;
    Ok(exit)
}

pub(super) fn level_word(level: MergeLevel) -> &'static str {
    match level {
        MergeLevel::Lines => "lines",
        MergeLevel::Units => "units",
    }
}

/// Regions in conflict; a conflict without a region still counts as one.
fn regions(chunks: &[Chunk]) -> u64 {
    let is_conflict = |chunk: &&Chunk| matches!(chunk, Chunk::Conflict { .. });
    number(chunks.iter().filter(is_conflict).count()).max(1)
}

fn as_text(bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|_| {
        usage("the result is not UTF-8, so it cannot stand in JSON".to_owned())
            .next(ELSEWHERE, "writes the bytes to a file")
    })
}

fn refuse_inputs(dir: &Path, inputs: &[&PathBuf; 3], output: &Path) -> Result<(), Failure> {
    let Ok(target) = fs::metadata(output) else {
        return Ok(());
    };
    if target.is_dir() {
        let message = format!("{} is a directory", output.display());
        return Err(usage(message).next(ELSEWHERE, "names a file"));
    }
    let same = |input: &&&PathBuf| {
        fs::metadata(dir.join(input))
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == (target.dev(), target.ino()))
    };
    match inputs.iter().find(same) {
        None => Ok(()),
        Some(input) => {
            let message = format!("{} is an input; it is not written", input.display());
            Err(usage(message).next(ELSEWHERE, "writes beside it; then move it"))
        }
    }
}

/// Writes beside and renames, so that a reader sees the old or the new file.
pub(super) fn write_whole(output: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let is_special = fs::metadata(output).is_ok_and(|meta| !meta.is_file());
    if is_special {
        return OpenOptions::new()
            .write(true)
            .open(output)
            .and_then(|mut file| file.write_all(bytes))
            .map_err(|error| unwritten(output, &error));
    }
    let target = fs::canonicalize(output).unwrap_or_else(|_| output.to_owned());
    replace(&target, bytes)
}

/// Puts a file in the place of whatever has this name; a link is not followed.
pub(super) fn replace(target: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let name = target
        .file_name()
        .ok_or_else(|| usage("-o names no file".to_owned()).next(ELSEWHERE, "names a file"))?;
    let beside = format!(".{}.{}.tmp", name.display(), std::process::id());
    let beside = target.with_file_name(beside);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&beside)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| match fs::metadata(target) {
            Ok(meta) => fs::set_permissions(&beside, meta.permissions()),
            Err(_) => Ok(()),
        })
        .and_then(|()| fs::rename(&beside, target));
    written.map_err(|error| {
        // What could not be finished is not left behind; if it stays, the failure says why.
        fs::remove_file(&beside).ok();
        unwritten(target, &error)
    })
}

fn unwritten(output: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", output.display());
    Failure::new("AE-OUTPUT", Exit::USAGE, message).next(ELSEWHERE, "where you may write")
}

fn read(dir: &Path, file: &Path) -> Result<Vec<u8>, Failure> {
    let path = dir.join(file);
    let failed = |error: io::Error| {
        usage(format!("cannot read {}: {error}", path.display()))
            .next("ls -l FILE", "name one that is there")
    };
    let opened = File::open(&path).map_err(failed)?;
    let mut bytes = Vec::new();
    opened
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if FILE_BYTES_MAX < number(bytes.len()) {
        let message = format!(
            "{} is larger than {} MiB",
            path.display(),
            FILE_BYTES_MAX >> 20
        );
        return Err(usage(message).next("split FILE", "into parts that are smaller"));
    }
    Ok(bytes)
}

/// The path below the work tree that the file lies in, as the team names it; else as it was given.
pub(super) fn path_in_repo(dir: &Path, file: &Path) -> String {
    let given = file.to_string_lossy().into_owned();
    let Ok(full) = fs::canonicalize(dir.join(file)) else {
        return given;
    };
    let root = full
        .ancestors()
        .skip(1)
        .find(|above| above.join(".git").exists());
    let below = root.and_then(|root| full.strip_prefix(root).ok());
    below.map_or(given, |below| below.to_string_lossy().into_owned())
}

fn usage(message: String) -> Failure {
    Failure::new("AE-USAGE", Exit::USAGE, message)
}

pub(super) fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
