//! Why conflicts are conflicts, and how they are written.
#![cfg(feature = "default")]
#![allow(clippy::unwrap_used)]

use aura_semantic::{
    Budget, Chunk, Explained, FileMerge, Labels, Markers, Problem, Style, merge_explained, render,
};

fn merged(base: &str, ours: &str, theirs: &str) -> Explained {
    let [base, ours, theirs] = [base, ours, theirs].map(str::as_bytes);
    merge_explained("a.rs", base, ours, theirs, &Budget::default())
}

/// What is said about each conflict.
fn said(base: &str, ours: &str, theirs: &str) -> Vec<(&'static str, String)> {
    let merged = merged(base, ours, theirs);
    let chunks = match merged.outcome {
        FileMerge::Clean { .. } => Vec::new(),
        FileMerge::Conflict { chunks, .. } => chunks,
    };
    let is_conflict = |chunk: &&Chunk| matches!(chunk, Chunk::Conflict { .. });
    assert_eq!(
        chunks.iter().filter(is_conflict).count(),
        merged.reasons.len()
    );
    let reasons = merged.reasons.iter();
    reasons
        .map(|reason| (reason.why.code(), reason.to_string()))
        .collect()
}

const BASE: &str = "\
use std::fmt;

/// The cap.
fn cap(a: u32) -> u32 {
    let limit = 100;
    a.min(limit)
}

fn load() -> u32 {
    7
}
";

#[track_caller]
fn one(base: &str, ours: &str, theirs: &str, code: &str, text: &str) {
    assert_eq!(said(base, ours, theirs), [(code, text.to_owned())]);
}

#[test]
fn a_part_that_both_changed_is_named_with_its_unit() {
    one(
        BASE,
        &BASE.replace("100", "200"),
        &BASE.replace("100", "300"),
        "both_changed",
        "function cap, body changed by both",
    );
    one(
        BASE,
        &BASE.replace("cap(a: u32)", "cap(a: u64)"),
        &BASE.replace("cap(a: u32)", "cap(a: u16)"),
        "both_changed",
        "function cap, signature changed by both",
    );
    one(
        BASE,
        &BASE.replace("The cap.", "The upper bound of it all."),
        &BASE.replace("The cap.", "Nobody knows what this does."),
        "both_changed",
        "function cap, comment changed by both",
    );
}

#[test]
fn what_one_side_deleted_and_the_other_changed_is_told_by_side() {
    let gone = &BASE[..BASE.find("fn load").unwrap()];
    let changed = BASE.replace("    7", "    8");
    let text = "function load, deleted by ours, changed by theirs";
    one(BASE, gone, &changed, "deleted_by_ours", text);
    let text = "function load, changed by ours, deleted by theirs";
    one(BASE, &changed, gone, "deleted_by_theirs", text);
}

#[test]
fn what_both_added_or_renamed_is_told() {
    let added = |body: &str| format!("{BASE}\nfn new() -> u32 {{\n    {body}\n}}\n");
    let found = said(BASE, &added("1"), &added("2"));
    let [(code, text)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(*code, "both_added");
    assert_eq!(text, "function new, added by both");
    let found = said(
        BASE,
        &BASE.replace("fn load", "fn read"),
        &BASE.replace("fn load", "fn fetch"),
    );
    assert_eq!(found[0].0, "renamed_twice", "{found:?}");
    let insert = |line: &str| BASE.replace("    a.min", &format!("    {line}\n    a.min"));
    let found = said(BASE, &insert("first();"), &insert("second();"));
    assert_eq!(
        found,
        [(
            "both_inserted",
            "function cap, both inserted here".to_owned()
        )]
    );
}

#[test]
fn lines_that_would_define_a_name_twice_are_a_conflict_that_says_so() {
    let new = |body: &str| format!("fn new() -> u32 {{\n    {body}\n}}\n\n");
    let ours = BASE.replace("fn load", &format!("{}fn load", new("1")));
    let theirs = format!("{BASE}\n{}", new("2"));
    let found = said(BASE, &ours, &theirs);
    assert!(
        found.iter().any(|(code, _)| *code == "doubled"),
        "{found:?}"
    );
}

#[test]
fn a_version_that_cannot_be_parsed_is_named_as_the_reason_for_lines() {
    let deep = "(".repeat(100_000);
    let [base, ours, theirs] = ["1", "2", "3"].map(|one| format!("fn a() {{ {one}{deep} }}\n"));
    let merged = merged(&base, &ours, &theirs);
    assert_eq!(merged.problem, Some(Problem::TooDeep));
    assert!(matches!(merged.outcome, FileMerge::Conflict { .. }));
    assert_eq!(merged.reasons.len(), 1);
    assert_eq!(merged.reasons[0].unit, None);
}

#[test]
fn styles_are_those_of_git_and_notes_stand_behind_the_first_label() {
    let chunks = [
        Chunk::Clean(b"x\n".to_vec()),
        Chunk::Conflict {
            base: b"a\nc\n".to_vec(),
            ours: b"same\nb\nend\n".to_vec(),
            theirs: b"same\nd\nend\n".to_vec(),
        },
    ];
    let text = |style, notes: &[String]| {
        let labels = Labels {
            ours: "HEAD",
            base: "1234567",
            theirs: "topic",
        };
        let markers = Markers {
            style,
            size: 3,
            labels,
            notes,
        };
        String::from_utf8(render(&chunks, markers)).unwrap()
    };
    assert_eq!(
        text(Style::Merge, &["function a, changed by both".to_owned()]),
        "x\nsame\n<<< HEAD: function a, changed by both\nb\n===\nd\n>>> topic\nend\n"
    );
    assert_eq!(
        text(Style::Zdiff3, &[]),
        "x\nsame\n<<< HEAD\nb\n||| 1234567\na\nc\n===\nd\n>>> topic\nend\n"
    );
    assert_eq!(
        text(Style::Diff3, &[]),
        "x\n<<< HEAD\nsame\nb\nend\n||| 1234567\na\nc\n===\nsame\nd\nend\n>>> topic\n"
    );
}
