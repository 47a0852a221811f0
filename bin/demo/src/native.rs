//! Functions of the tree's own: in each language that the tree holds, one function is changed and must arrive.
//!
//! Invariant: what is changed is a number within one function, so every other byte has to stay.

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    play::{check, since, tick, title},
    stage::{Laptop, Stage, Told, now, until},
};

/// Languages by the end of a file's name.
const LANGUAGES: [(&str, &str); 11] = [
    ("c", "C"),
    ("cc", "C++"),
    ("cpp", "C++"),
    ("go", "Go"),
    ("java", "Java"),
    ("js", "JavaScript"),
    ("jsx", "JavaScript"),
    ("py", "Python"),
    ("rs", "Rust"),
    ("ts", "TypeScript"),
    ("tsx", "TypeScript"),
];
/// Files of one language that are looked into for a function with a number.
const FILES_MAX: usize = 40;

/// Changes one function of each language; alice writes, the others live with it.
pub(crate) fn travel(stage: &Stage) -> Told<()> {
    let [alice, others @ ..] = &stage.laptops;
    title("Functions of the tree's own travel, one of each language");
    let mut by_language: BTreeMap<&str, Vec<(u64, PathBuf)>> = BTreeMap::new();
    list(alice.clone_dir(), &mut by_language).map_err(|error| error.to_string())?;
    for (language, mut files) in by_language {
        files.sort_by_key(|(bytes, path)| (std::cmp::Reverse(*bytes), path.clone()));
        let found = files
            .into_iter()
            .take(FILES_MAX)
            .find_map(|(_, path)| Some((choose(alice, &path)?, path)));
        let Some((function, path)) = found else {
            continue;
        };
        let took = change(alice, others, &path, &function)?;
        let (name, lines) = (&function.name, function.lines);
        let place = format!("{}::{name}, a file of {lines} lines", path.display());
        tick(&format!(
            "{language}: {place}: with everybody {took} after the save, every other byte as it was"
        ));
    }
    Ok(())
}

/// A function and a number in it.
struct Function {
    name: String,
    number: Range<usize>,
    lines: usize,
}

/// Files by language, below a clone.
fn list(dir: &Path, into: &mut BTreeMap<&str, Vec<(u64, PathBuf)>>) -> std::io::Result<()> {
    let mut open = vec![PathBuf::new()];
    while let Some(inner) = open.pop() {
        for found in fs::read_dir(dir.join(&inner))? {
            let found = found?;
            let path = inner.join(found.file_name());
            let kind = found.file_type()?;
            if kind.is_dir() && found.file_name() != ".git" {
                open.push(path);
            } else if kind.is_file() {
                let end = path.extension().and_then(|end| end.to_str());
                let language = LANGUAGES.iter().find(|(name, _)| Some(*name) == end);
                if let Some((_, language)) = language {
                    into.entry(language)
                        .or_default()
                        .push((found.metadata()?.len(), path));
                }
            }
        }
    }
    Ok(())
}

/// The first function of a file that holds a number standing alone.
fn choose(alice: &Laptop, path: &Path) -> Option<Function> {
    let file = alice.clone_dir().join(path);
    let bytes = fs::read(&file).ok()?;
    let outline = alice.ask(&["outline", file.to_str()?]).ok()?;
    let is_function = |unit: &&Value| {
        matches!(unit["kind"].as_str(), Some("function" | "method")) && unit["opaque"] == false
    };
    let functions = outline["units"].as_array()?.iter().filter(is_function);
    functions.into_iter().find_map(|unit| {
        let place = |field: &str| usize::try_from(unit[field].as_u64()?).ok();
        let number = number_in(&bytes, place("start")?..place("end")?)?;
        Some(Function {
            name: unit["name"].as_str()?.to_owned(),
            number,
            lines: bytes.split(|byte| *byte == b'\n').count(),
        })
    })
}

/// A run of digits between signs that make it a number of its own, on a line that is no comment.
fn number_in(bytes: &[u8], unit: Range<usize>) -> Option<Range<usize>> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'\'');
    let mut at = unit.start + 1;
    while at < unit.end {
        let len = bytes[at..unit.end]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let line = bytes[..at].iter().rposition(|byte| *byte == b'\n');
        let before = &bytes[line.map_or(0, |line| line + 1)..at];
        let is_code = !before
            .iter()
            .any(|byte| matches!(byte, b'/' | b'#' | b'*' | b'"' | b'\'' | b'`'));
        let stands_alone =
            !is_word(&bytes[at - 1]) && bytes.get(at + len).is_some_and(|byte| !is_word(byte));
        if 0 < len && is_code && stands_alone && bytes[at] != b'0' {
            return Some(at..at + len);
        }
        at += len.max(1);
    }
    None
}

/// Puts a digit before the number, publishes, and compares everybody's bytes.
fn change(alice: &Laptop, others: &[Laptop], path: &Path, function: &Function) -> Told<String> {
    let file = |laptop: &Laptop| laptop.clone_dir().join(path);
    let read = |laptop: &Laptop| fs::read(file(laptop)).map_err(|error| error.to_string());
    let before = read(alice)?;
    for laptop in others {
        check(
            read(laptop)? == before,
            &format!("{} starts from alice's bytes", laptop.name),
        )?;
    }
    let (head, tail) = before.split_at(function.number.start);
    let after = [head, b"1", tail].concat();
    let start = now();
    fs::write(file(alice), &after).map_err(|error| error.to_string())?;
    for laptop in others {
        until(
            &format!("{} in {}'s {}", function.name, laptop.name, path.display()),
            || Ok(read(laptop).is_ok_and(|bytes| bytes == after).then_some(())),
        )?;
    }
    Ok(since(start))
}
