//! Laws and cases of the three-way merges.
//!
//! Invariants:
//! - every law is checked over seeded edits of all fixtures, with and without markers.
#![cfg(feature = "default")]
#![allow(clippy::unwrap_used)]

mod common;

use aura_semantic::{
    Chunk, FileMerge, Labels, LineMerge, MergeLevel, merge_files, merge_lines, render_diff3,
};
use common::{Dice, FIXTURES, edit, fixture, fresh, next};

fn edits(name: &str, seed: u64) -> [Vec<u8>; 3] {
    let base = fresh(name, &fixture(name));
    let mut dice = Dice::new(seed);
    let mut side = |mark: &str| {
        let mut file = base.clone();
        for step in 0..1 + dice.roll(3) {
            let edited = edit(&file, &mut dice, &format!("{mark}{step}"));
            file = next(&file, &edited);
        }
        file.bytes.to_vec()
    };
    let (ours, theirs) = (side("ours"), side("theirs"));
    [base.bytes.to_vec(), ours, theirs]
}

fn clean(merge: FileMerge) -> Option<Vec<u8>> {
    match merge {
        FileMerge::Clean { bytes, .. } => Some(bytes),
        FileMerge::Conflict { .. } => None,
    }
}

#[test]
fn merging_obeys_its_laws() {
    for name in FIXTURES {
        let mut cleanly = 0;
        for seed in 0..40 {
            let [base, ours, theirs] = edits(name, seed);
            let note = format!("{name} {seed}");
            for side in [&ours, &theirs] {
                assert_eq!(
                    clean(merge_files(name, &base, &base, side)).as_ref(),
                    Some(side)
                );
                assert_eq!(
                    clean(merge_files(name, &base, side, &base)).as_ref(),
                    Some(side)
                );
                assert_eq!(
                    clean(merge_files(name, &base, side, side)).as_ref(),
                    Some(side)
                );
            }
            let one = clean(merge_files(name, &base, &ours, &theirs));
            let other = clean(merge_files(name, &base, &theirs, &ours));
            assert_eq!(one, other, "{note}: sides have no name");
            cleanly += usize::from(one.is_some());
            lines_are_symmetric(&base, &ours, &theirs, &note);
        }
        assert!(
            cleanly >= 20,
            "{name}: only {cleanly} of 40 merges are clean"
        );
    }
}

fn lines_are_symmetric(base: &[u8], ours: &[u8], theirs: &[u8], note: &str) {
    match (
        merge_lines(base, ours, theirs),
        merge_lines(base, theirs, ours),
    ) {
        (LineMerge::Clean(one), LineMerge::Clean(other)) => assert_eq!(one, other, "{note}"),
        (LineMerge::Conflict(one), LineMerge::Conflict(other)) => {
            assert_eq!(
                one,
                other.into_iter().map(swapped).collect::<Vec<_>>(),
                "{note}"
            );
        }
        (one, other) => panic!("{note}: {one:?} against {other:?}"),
    }
}

fn swapped(chunk: Chunk) -> Chunk {
    match chunk {
        Chunk::Conflict { base, ours, theirs } => Chunk::Conflict {
            base,
            ours: theirs,
            theirs: ours,
        },
        clean => clean,
    }
}

#[test]
fn neighbouring_lines_conflict_and_distant_lines_do_not() {
    let base = b"a\nb\nc\nd\n";
    let merged = merge_lines(base, b"A\nb\nc\nd\n", b"a\nb\nC\nd\n");
    assert_eq!(merged, LineMerge::Clean(b"A\nb\nC\nd\n".to_vec()));
    assert!(matches!(
        merge_lines(base, b"A\nb\nc\nd\n", b"a\nB\nc\nd\n"),
        LineMerge::Conflict(_)
    ));
    let same = merge_lines(base, b"A\nb\nc\nd\n", b"A\nb\nc\nD\n");
    assert_eq!(same, LineMerge::Clean(b"A\nb\nc\nD\n".to_vec()));
}

#[test]
fn conflicts_are_rendered_as_git_renders_diff3() {
    let LineMerge::Conflict(chunks) = merge_lines(b"x\na\ny\n", b"x\nb\ny\n", b"x\nc\ny\n") else {
        panic!("a conflict");
    };
    let text = render_diff3(&chunks, 7, Labels::default());
    let expected = "x\n<<<<<<< ours\nb\n||||||| base\na\n=======\nc\n>>>>>>> theirs\ny\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn markers_stand_on_their_own_lines_without_a_final_newline_and_with_crlf() {
    let LineMerge::Conflict(chunks) = merge_lines(b"x\r\na", b"x\r\nb", b"x\r\nc") else {
        panic!("a conflict");
    };
    let text = render_diff3(&chunks, 7, Labels::default());
    let expected =
        "x\r\n<<<<<<< ours\r\nb\r\n||||||| base\r\na\r\n=======\r\nc\r\n>>>>>>> theirs\r\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn two_functions_added_at_one_place_are_both_kept() {
    let base = "fn a() {\n    1\n}\n";
    let with = |name: &str| format!("{base}\nfn {name}() {{\n    {name}_body();\n}}\n");
    let (ours, theirs) = (with("b"), with("c"));
    let merged = merge_files("a.rs", base.as_bytes(), ours.as_bytes(), theirs.as_bytes());
    let FileMerge::Clean { bytes, level } = merged else {
        panic!("clean")
    };
    assert_eq!(level, MergeLevel::Units);
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.matches("fn ").count(), 3);
    assert!(
        text.contains("b_body();\n}\n\nfn") || text.contains("c_body();\n}\n\nfn"),
        "{text}"
    );
}

#[test]
fn neighbouring_functions_edited_by_different_people_merge() {
    let base = "fn a() { 1 }\nfn b() { 2 }\n";
    let merged = merge_files(
        "a.rs",
        base.as_bytes(),
        b"fn a() { 9 }\nfn b() { 2 }\n",
        b"fn a() { 1 }\nfn b() { 8 }\n",
    );
    assert_eq!(
        clean(merged).as_deref(),
        Some(&b"fn a() { 9 }\nfn b() { 8 }\n"[..])
    );
}

#[test]
fn a_moved_function_takes_an_edit_made_at_its_old_place() {
    let base = "fn a() {\n    one();\n}\n\nfn b() {\n    two();\n}\n\nfn c() {\n    three();\n}\n";
    let ours = "fn b() {\n    two();\n}\n\nfn c() {\n    three();\n}\n\nfn a() {\n    one();\n}\n";
    let theirs = base.replace("one()", "uno()");
    let merged = merge_files("a.rs", base.as_bytes(), ours.as_bytes(), theirs.as_bytes());
    assert_eq!(
        clean(merged).unwrap(),
        ours.replace("one()", "uno()").into_bytes()
    );
}

#[test]
fn one_function_changed_in_two_ways_is_a_conflict_with_markers() {
    let base = "fn a() {\n    1\n}\n";
    let merged = merge_files(
        "a.rs",
        base.as_bytes(),
        b"fn a() {\n    2\n}\n",
        b"fn a() {\n    3\n}\n",
    );
    let FileMerge::Conflict { bytes, .. } = merged else {
        panic!("a conflict")
    };
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.starts_with("fn a() {\n<<<<<<< ours\n    2\n||||||| base\n    1\n"),
        "{text}"
    );
}

#[test]
fn lines_that_merge_cleanly_into_a_doubled_function_are_a_conflict() {
    let base = "fn a() {\n    1\n}\n\nfn m() {\n    5\n}\n\nfn z() {\n    26\n}\n";
    let new = |body: &str| format!("fn new() {{\n    {body}\n}}\n\n");
    let ours = format!("{}{base}", new("1"));
    let theirs = base.replace("fn z()", &format!("{}fn z()", new("2")));
    assert!(matches!(
        merge_lines(base.as_bytes(), ours.as_bytes(), theirs.as_bytes()),
        LineMerge::Clean(_)
    ));
    let merged = merge_files("a.rs", base.as_bytes(), ours.as_bytes(), theirs.as_bytes());
    assert!(matches!(merged, FileMerge::Conflict { .. }), "{merged:?}");
}

#[test]
fn deleting_what_the_other_edited_is_a_conflict() {
    let base = "fn a() {\n    1\n}\n\nfn b() {\n    2\n}\n";
    let merged = merge_files(
        "a.rs",
        base.as_bytes(),
        b"fn a() {\n    1\n}\n",
        base.replace("2", "3").as_bytes(),
    );
    assert!(matches!(merged, FileMerge::Conflict { .. }));
}
