//! Merges written by hand: what a careful person would have committed.
//!
//! Invariants:
//! - a case is one file below `tests/cases`: `=== base`, `=== ours`, `=== theirs`, then `=== merged` with the very
//!   bytes, or `=== conflict` with the text that has markers, or with nothing where only the verdict matters;
//! - a merge that is repeated with either side changes nothing; behind `=== merged` may stand `once` where it may be a
//!   conflict instead, as a deletion beside an addition then looks like a rename;
//! - behind a heading may stand `bom`, `crlf` (for every line) and `open` (no newline at the end);
//! - every case is merged in both directions, and keeps the laws of merging.
#![cfg(feature = "default")]
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use aura_semantic::{FileMerge, merge_files};

const CASES_MIN: usize = 300;
const LANGUAGES_MIN: usize = 12;

struct Case {
    name: String,
    /// The name of the merged file, which tells its language.
    file: String,
    sections: BTreeMap<String, Vec<u8>>,
    /// Whether the merge cannot tell a deletion and an addition from a rename when it is repeated.
    is_once: bool,
}

impl Case {
    fn read(root: &Path, path: &Path) -> Self {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut sections: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut is_once = false;
        let mut open: Option<(String, String)> = None;
        let text = fs::read_to_string(path).unwrap();
        for line in text.split_inclusive('\n').chain(["=== \n"]) {
            if let Some(heading) = line.strip_prefix("=== ") {
                if let Some((heading, text)) = open.take() {
                    let mut words = heading.split_whitespace();
                    is_once |= heading.ends_with(" once");
                    let key = words.next().unwrap_or_default().to_owned();
                    let bytes = bytes(&text, &words.collect());
                    assert!(sections.insert(key, bytes).is_none(), "{name}: {heading}");
                }
                open = Some((heading.trim_end().to_owned(), String::new()));
            } else if let Some((_, text)) = &mut open {
                text.push_str(line);
            }
        }
        let is_told = sections.contains_key("merged") != sections.contains_key("conflict");
        assert!(is_told && sections.len() == 4, "{name}: sections");
        Self {
            name,
            file,
            sections,
            is_once,
        }
    }

    fn text(&self, section: &str) -> &[u8] {
        &self.sections[section]
    }

    /// What is wrong, if anything.
    fn check(&self) -> String {
        let mut wrong = String::new();
        let [base, ours, theirs] = ["base", "ours", "theirs"].map(|name| self.text(name));
        for (name, one, other) in [("", ours, theirs), (" (swapped)", theirs, ours)] {
            let merge = merge_files(&self.file, base, one, other);
            let expected = self.sections.get("merged");
            match (&merge, expected) {
                (FileMerge::Clean { bytes, .. }, Some(text)) if bytes == text => {}
                (FileMerge::Clean { bytes, .. }, Some(text)) => {
                    note(&mut wrong, &format!("differs{name}"), text, bytes);
                }
                (FileMerge::Conflict { bytes, .. }, Some(text)) => {
                    note(&mut wrong, &format!("conflicts{name}"), text, bytes);
                }
                (FileMerge::Clean { bytes, .. }, None) => {
                    note(&mut wrong, &format!("no conflict{name}"), b"", bytes);
                }
                (FileMerge::Conflict { bytes, .. }, None) => {
                    let text = self.text("conflict");
                    if name.is_empty() && !text.is_empty() && bytes != text {
                        note(&mut wrong, "another conflict", text, bytes);
                    }
                }
            }
        }
        self.laws(&mut wrong);
        wrong
    }

    fn laws(&self, wrong: &mut String) {
        let [base, ours, theirs] = ["base", "ours", "theirs"].map(|name| self.text(name));
        let mut law = |name: &str, [base, one, other]: [&[u8]; 3], text: &[u8]| {
            let merge = merge_files(&self.file, base, one, other);
            let (FileMerge::Clean { bytes, .. } | FileMerge::Conflict { bytes, .. }) = &merge;
            let is_clean = matches!(merge, FileMerge::Clean { .. });
            let may_conflict = self.is_once && name.starts_with("merging");
            if !(is_clean && bytes == text || !is_clean && may_conflict) {
                note(wrong, name, text, bytes);
            }
        };
        for side in [ours, theirs] {
            law("what one side changed is taken", [base, side, base], side);
            law("what one side changed is taken", [base, base, side], side);
            law("what both made is taken", [base, side, side], side);
        }
        if let Some(merged) = self.sections.get("merged") {
            for side in [ours, theirs] {
                law(
                    "merging once more changes nothing",
                    [base, merged, side],
                    merged,
                );
                law(
                    "merging once more changes nothing",
                    [side, merged, side],
                    merged,
                );
            }
        }
    }
}

/// A section as the bytes that it stands for.
fn bytes(text: &str, words: &BTreeSet<&str>) -> Vec<u8> {
    let mut text = text.to_owned();
    if words.contains("open") {
        text.truncate(text.trim_end_matches('\n').len());
    }
    if words.contains("crlf") {
        text = text.replace('\n', "\r\n");
    }
    if words.contains("bom") {
        text.insert(0, '\u{feff}');
    }
    text.into_bytes()
}

/// Writes down a difference, line by line behind what both texts begin with.
fn note(out: &mut String, what: &str, expected: &[u8], found: &[u8]) {
    let lines = |text: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(text).into_owned();
        text.split_inclusive('\n')
            .map(|line| format!("{line:?}"))
            .collect()
    };
    let (expected, found) = (lines(expected), lines(found));
    let same = |(one, other): &(&String, &String)| one == other;
    let head = expected.iter().zip(&found).take_while(same).count();
    let tails = expected[head..]
        .iter()
        .rev()
        .zip(found[head..].iter().rev());
    let tail = tails.take_while(same).count();
    writeln!(out, "  {what}, from line {}:", head + 1).unwrap();
    for (sign, lines) in [('-', &expected), ('+', &found)] {
        for line in &lines[head..lines.len() - tail] {
            writeln!(out, "    {sign} {line}").unwrap();
        }
    }
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let within = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let folders = within(&root).into_iter().filter(|path| path.is_dir());
    let mut paths: Vec<PathBuf> = folders.flat_map(|folder| within(&folder)).collect();
    paths.sort();
    paths.iter().map(|path| Case::read(&root, path)).collect()
}

#[test]
fn s05_every_case_merges_as_a_person_would() {
    let cases = cases();
    let mut wrong = String::new();
    let mut names = Vec::new();
    for case in &cases {
        let found = case.check();
        if !found.is_empty() {
            write!(wrong, "{}\n{found}", case.name).unwrap();
            names.push(case.name.as_str());
        }
    }
    assert!(
        names.is_empty(),
        "{wrong}\n{} of {} cases:\n{}",
        names.len(),
        cases.len(),
        names.join("\n")
    );
}

#[test]
fn there_are_cases_enough() {
    let cases = cases();
    let languages: BTreeSet<&str> = cases
        .iter()
        .filter_map(|case| case.name.split(['/', '\\']).next())
        .collect();
    assert!(CASES_MIN <= cases.len(), "{} cases", cases.len());
    assert!(LANGUAGES_MIN <= languages.len(), "{languages:?}");
}
