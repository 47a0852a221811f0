//! House rules as tests.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The crates that only decide.
const PURE: [&str; 4] = ["aura-engine", "aura-proto", "aura-semantic", "aura-trust"];
/// What none of them may reach: a runtime, TLS, a store, the network, the file system's events.
const EFFECTS: [&str; 6] = ["mio", "notify", "rustls", "sled", "tokio", "tokio-rustls"];

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Files that were longer when the rule came; a number may only go down, and a file that fits leaves the list.
const LONG_FILES: &[(&str, usize)] = &[];
/// The same for functions.
const LONG_FUNCTIONS: &[(&str, &str, usize)] =
    &[("crates/aura-semantic/src/apply.rs", "carry_out", 79)];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Every file of the workspace with its path from the root, build output and git's own left out.
fn files() -> Vec<(String, PathBuf)> {
    let root = root();
    let mut open = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name());
            if name == "target" || name == ".git" {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else {
                let short = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                files.push((short, path));
            }
        }
    }
    files.sort();
    files
}

/// Files that end like this, with their text; fixtures are data.
fn texts(extension: &str) -> Vec<(String, String)> {
    let ends = |name: &str| {
        name.rsplit_once('.')
            .is_some_and(|(_, end)| end == extension)
    };
    let wanted = |(name, _): &(String, PathBuf)| ends(name) && !name.contains("/fixtures/");
    let read = |(name, path): (String, PathBuf)| (name, fs::read_to_string(path).unwrap());
    files().into_iter().filter(wanted).map(read).collect()
}

#[track_caller]
fn nothing(found: Vec<String>, rule: &str) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// The lines of Rust files that `is_bad` finds, as `file:line text`.
fn lines(is_bad: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in texts("rs") {
        for (number, line) in (1..).zip(text.lines()) {
            if is_bad(&name, line) {
                found.push(format!("{name}:{number} {}", line.trim()));
            }
        }
    }
    found
}

#[test]
fn every_file_says_what_it_holds() {
    let silent = texts("rs")
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"));
    nothing(
        silent.map(|(name, _)| name).collect(),
        "a file starts with //!",
    );
}

#[test]
fn what_decides_iterates_in_order() {
    let is_pure = |name: &str| {
        PURE.iter()
            .any(|pure| name.starts_with(&format!("crates/{pure}/src/")))
    };
    let unordered = [concat!("Hash", "Map"), concat!("Hash", "Set")];
    let found =
        lines(|name, line| is_pure(name) && unordered.iter().any(|word| line.contains(word)));
    nothing(found, "ordered maps wherever decisions are made");
}

#[test]
fn every_test_runs_and_fails_by_assertion() {
    let banned = [concat!("#[ig", "nore"), concat!("should_", "panic")];
    nothing(
        lines(|_, line| banned.iter().any(|word| line.contains(word))),
        "not in this house",
    );
}

#[test]
fn no_file_knows_a_machine() {
    // In pieces, or this line would find itself.
    let places = ["home", "root", "Users", "work", "mnt"].map(|place| format!("/{place}/"));
    let mut found = Vec::new();
    for (name, path) in files() {
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        for (number, line) in (1..).zip(text.lines()) {
            // A path of that name below another directory is no absolute one.
            let is_absolute = |place: &String| {
                line.match_indices(place.as_str()).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~}*".contains(c))
                })
            };
            if places.iter().any(is_absolute) {
                found.push(format!("{name}:{number} {}", line.trim()));
            }
        }
    }
    nothing(found, "a path of one machine");
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut astray = Vec::new();
    for (name, text) in texts("md") {
        let page = root().join(&name);
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let is_remote = target.contains("://") || target.starts_with("mailto:");
            let file = target.split('#').next().unwrap();
            let is_there = file.is_empty() || page.parent().unwrap().join(file).exists();
            if !is_remote && !is_there {
                astray.push(format!("{name}: {target}"));
            }
        }
    }
    nothing(astray, "links that lead nowhere");
}

/// Compares what is longer than allowed with the list of those that may be.
#[track_caller]
fn ratchet(long: Vec<(String, usize)>, allowed: &[(String, usize)]) {
    let mut found = Vec::new();
    for (name, lines) in &long {
        match allowed.iter().find(|(known, _)| known == name) {
            Some((_, most)) if most == lines => {}
            Some((_, most)) if lines < most => {
                found.push(format!("{name} shrank to {lines}: say so in the list"))
            }
            Some((_, most)) => found.push(format!("{name} grew from {most} to {lines}")),
            None => found.push(format!("{name} has {lines} lines")),
        }
    }
    let is_gone = |name: &String| !long.iter().any(|(still, _)| still == name);
    let gone = allowed.iter().filter(|(name, _)| is_gone(name));
    found.extend(gone.map(|(name, _)| format!("{name} fits now: take it off the list")));
    nothing(found, "too long");
}

#[test]
fn files_stay_short() {
    let lines = |(name, text): (String, String)| (name, text.lines().count());
    let long = texts("rs")
        .into_iter()
        .map(lines)
        .filter(|(_, lines)| FILE_LINES_MAX < *lines);
    let allowed: Vec<_> = LONG_FILES
        .iter()
        .map(|(name, lines)| ((*name).to_owned(), *lines))
        .collect();
    ratchet(long.collect(), &allowed);
}

/// The functions of a formatted file with their lengths in lines.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut functions = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let start = line.trim_start();
        let Some(name) = function_name(start) else {
            continue;
        };
        // The signature ends where its line does; a body ends with the brace below its start.
        let signature = lines[at..]
            .iter()
            .position(|line| line.ends_with(['{', ';', '}']));
        let Some(opened) = signature.filter(|end| lines[at + end].ends_with('{')) else {
            continue;
        };
        let close = format!("{}}}", &line[..line.len() - start.len()]);
        if let Some(len) = lines[at + opened..].iter().position(|line| *line == close) {
            functions.push((name, opened + len + 1));
        }
    }
    functions
}

/// The name of the function that a line begins.
fn function_name(line: &str) -> Option<String> {
    let (before, rest) = line.split_once("fn ")?;
    let is_word = |word: &str| {
        matches!(word, "pub" | "const" | "async" | "extern") || word.starts_with("pub(")
    };
    if !before.split_whitespace().all(is_word) {
        return None;
    }
    let end = rest.find(['(', '<'])?;
    Some(rest[..end].to_owned())
}

#[test]
fn functions_stay_short() {
    let mut long = Vec::new();
    for (file, text) in texts("rs") {
        let named = functions(&text)
            .into_iter()
            .map(|(name, lines)| (format!("{file} {name}"), lines));
        long.extend(named.filter(|(_, lines)| FUNCTION_LINES_MAX < *lines));
    }
    let allowed: Vec<_> = LONG_FUNCTIONS
        .iter()
        .map(|(file, name, lines)| (format!("{file} {name}"), *lines))
        .collect();
    ratchet(long, &allowed);
}

#[test]
fn lengths_of_functions_are_counted_right() {
    let text = "\
impl A {
    pub(super) async fn one(
        a: u8,
    ) -> u8
    where
        B: C,
    {
        let b = { a };
        b
    }

    fn two() {}

    const fn three();
}

fn four<T>() {
    if true {
    }
}
";
    let expected = [("one", 9), ("four", 4)].map(|(name, lines)| (name.to_owned(), lines));
    assert_eq!(functions(text), expected);
}

#[test]
fn engines_reach_no_effects() {
    for pure in PURE {
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--locked",
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--package",
                pure,
            ])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let tree = String::from_utf8_lossy(&output.stdout);
        let names: Vec<&str> = tree
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert!(names.contains(&pure) && names.contains(&"blake3"), "{tree}");
        let reached: Vec<_> = EFFECTS.iter().filter(|name| names.contains(name)).collect();
        assert!(reached.is_empty(), "{pure} reaches {reached:?}");
    }
}
