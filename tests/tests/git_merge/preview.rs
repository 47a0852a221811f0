//! What is foreseen of a merge.

use std::{fs, path::Path};

use mothership_tests::{amount, copy::tree, repo::Repo};
use serde_json::Value;

use crate::{BASE, one, ours, theirs};

/// Everything below a repository, git's directory included.
fn everything(repo: &Repo) -> Vec<(String, Vec<u8>)> {
    tree(&repo.root).into_iter().collect()
}

fn row<'a>(document: &'a Value, path: &str) -> &'a Value {
    let mut rows = document["files"].as_array().unwrap().iter();
    rows.find(|row| row["path"] == path)
        .unwrap_or_else(|| panic!("{path} is not in {document}"))
}

/// A file of which little is known but its word, so that it is not taken for another one.
fn words(word: &str, end: &str) -> Vec<u8> {
    let lines = format!("fn {word}() {{}}\n").repeat(9);
    (lines + end).into_bytes()
}

/// Files of every fate.
fn many() -> Repo {
    let cap = |cap: &str| BASE.replace("100", cap).into_bytes();
    let [base, mine, other] = [BASE.to_owned(), ours(), theirs()].map(String::into_bytes);
    let load = BASE.replace('7', "8").into_bytes();
    let (two, three) = (cap("200"), cap("300"));
    let (gone, old, new) = (words("gone", ""), words("old", ""), words("new", ""));
    let (more_gone, more_old) = (words("gone", "// more\n"), words("old", "// more\n"));
    let [one, another] = ["// one\n", "// two\n"].map(|end| words("both", end));
    let lines: [&[u8]; 3] = [b"a\nb\nc\n", b"A\nb\nc\n", b"a\nb\nC\n"];
    Repo::forked(&[
        ("units.rs", [Some(&base), Some(&mine), Some(&other)]),
        ("lines.rs", [Some(&base), Some(&two), Some(&load)]),
        ("clash.rs", [Some(&base), Some(&two), Some(&three)]),
        ("same.rs", [Some(&base), Some(&two), Some(&two)]),
        ("alone.rs", [Some(&base), Some(&two), Some(&base)]),
        ("gone.rs", [Some(&gone), None, Some(&more_gone)]),
        ("old.rs", [Some(&old), Some(&more_old), None]),
        ("new.rs", [None, None, Some(&new)]),
        ("both.rs", [None, Some(&one), Some(&another)]),
        ("notes.txt", lines.map(Some)),
        ("words.txt", [Some(b"a\n"), Some(b"b\n"), Some(b"c\n")]),
        ("blob.rs", [Some(b"\0a"), Some(b"\0b"), Some(b"\0c")]),
    ])
}

#[test]
fn a_preview_says_what_the_merge_then_does_and_touches_nothing() {
    let repo = many();
    repo.init();
    // A look at the index may freshen it; it is done before.
    repo.git(&["status"]);
    let before = everything(&repo);
    let preview = repo.aura(&["merge", "preview", "topic"]).ok();
    assert_eq!(
        repo.aura(&["merge", "preview", "topic", "--exit-code"])
            .exit,
        7
    );
    assert!(everything(&repo) == before, "something was touched");
    assert_eq!(
        (&preview["driver"], &preview["clean"]),
        (&"set_up".into(), &false.into())
    );

    assert_eq!(repo.try_git(&["merge", "topic"]).status.code(), Some(1));
    let unmerged = repo.unmerged();
    let mut foreseen: Vec<String> = preview["files"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["verdict"] == "conflict")
        .map(|row| row["path"].as_str().unwrap().to_owned())
        .collect();
    foreseen.sort();
    assert_eq!(foreseen, unmerged);
    assert_eq!(row(&preview, "units.rs")["level"], "units");
    assert_eq!(row(&preview, "lines.rs")["level"], "lines");
    assert_eq!(row(&preview, "notes.txt")["verdict"], "clean");
    assert_eq!(row(&preview, "blob.rs")["because"], "binary");
    assert_eq!(row(&preview, "clash.rs")["reasons"][0]["unit"], "cap");
    assert_eq!(row(&preview, "clash.rs")["reasons"][0]["part"], "body");
    assert_eq!(
        row(&preview, "old.rs")["reasons"][0]["code"],
        "deleted_by_theirs"
    );
    assert_eq!(
        row(&preview, "gone.rs")["reasons"][0]["code"],
        "deleted_by_ours"
    );
    assert_eq!(preview["taken"], 3, "same.rs, alone.rs, new.rs");
    // What the driver then did is told in the same rows.
    for file in repo.explained(&[])[0]["files"].as_array().unwrap() {
        assert_eq!(row(&preview, file["path"].as_str().unwrap()), file);
    }
}

#[test]
fn an_exit_code_tells_a_conflict_from_what_cannot_be_foreseen() {
    let text = |cap: &str| BASE.replace("100", cap).into_bytes();
    let [base, two, three] = ["100", "200", "300"].map(text);
    let clash = [Some(&base[..]), Some(&two), Some(&three)];
    let clean = [Some(&base[..]), Some(&two), Some(&base)];
    for (risk, foreign, exit) in [
        (clean, clean, 0),
        (clean, clash, 11),
        (clash, clean, 7),
        (clash, clash, 7),
    ] {
        let repo = Repo::forked(&[("risk.rs", risk), ("foreign.rs", foreign)]);
        repo.git(&["config", "merge.theirs.driver", "false"]);
        fs::write(
            repo.root.join(".git/info/attributes"),
            "foreign.rs merge=theirs\n",
        )
        .unwrap();
        repo.init();
        let document = repo.aura(&["merge", "preview", "topic", "--exit-code"]);
        assert_eq!(document.exit, exit, "{document:?}");
        assert_eq!(document.json["clean"], exit == 0, "{document:?}");
        let (code, text) = repo.said(&["merge", "preview", "topic"]);
        assert_eq!(code, 0, "{text}");
        assert_eq!(text.contains("1 not foreseen"), foreign == clash, "{text}");
    }
}

#[test]
fn a_file_that_one_side_renamed_is_foreseen_where_it_stands_now() {
    let renamed = BASE.replace('7', "8");
    let repo = one("src/risk.rs", BASE, BASE, &BASE.replace("100", "300"));
    repo.git(&["mv", "src/risk.rs", "src/danger.rs"]);
    fs::write(repo.root.join("src/danger.rs"), &renamed).unwrap();
    repo.commit("renamed");
    repo.init();
    let preview = repo.aura(&["merge", "preview", "topic"]).ok();
    assert_eq!(row(&preview, "src/danger.rs")["verdict"], "clean");
    repo.git(&["merge", "-q", "-m", "merged", "topic"]);
    assert_eq!(repo.text("src/danger.rs"), renamed.replace("100", "300"));
    let preview = repo.aura(&["merge", "preview", "topic"]).ok();
    assert_eq!(preview["kind"], "up_to_date");
    repo.git(&["checkout", "-q", "topic"]);
    let preview = repo.aura(&["merge", "preview", "main"]).ok();
    assert_eq!(preview["kind"], "fast_forward");
    repo.aura(&["merge", "preview", "nowhere"])
        .fails(2, "AE-USAGE");
    repo.aura(&["merge", "preview", "--", "--help"])
        .fails(2, "AE-USAGE");
}

/// A merge written by hand: where it is, base, ours and theirs, and what is to come out where it is clean.
struct Case {
    path: String,
    versions: [Vec<u8>; 3],
    merged: Option<Vec<u8>>,
}

/// The cases that the engine is tested with, every so many of them.
fn cases(every: usize) -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/aura-semantic/tests/cases");
    let files = tree(&root).into_iter();
    let read = |(name, bytes): (String, Vec<u8>)| {
        let text = String::from_utf8(bytes).unwrap();
        // What needs another encoding is the engine's own business.
        let sections = text
            .split("=== ")
            .skip(1)
            .map(|section| section.split_once('\n'));
        let sections: Option<Vec<(&str, &str)>> = sections.collect();
        let sections =
            sections.filter(|found| found.iter().all(|(head, _)| !head.contains(' ')))?;
        let section = |name: &str| {
            let found = sections.iter().find(|(head, _)| *head == name);
            found.map(|(_, text)| text.as_bytes().to_vec())
        };
        let (stem, _) = name.rsplit_once('.')?;
        Some(Case {
            path: stem.to_owned(),
            versions: [section("base")?, section("ours")?, section("theirs")?],
            merged: section("merged"),
        })
    };
    files.step_by(every).filter_map(read).collect()
}

#[test]
fn every_case_of_the_engine_is_foreseen_and_merged_by_git() {
    let cases = cases(amount(20, 1));
    assert!(amount(20, 400) < cases.len(), "{} cases", cases.len());
    let files: Vec<_> = cases
        .iter()
        .map(|case| {
            let versions = case.versions.each_ref().map(|text| Some(&text[..]));
            (case.path.as_str(), versions)
        })
        .collect();
    let repo = Repo::new();
    // Files that look alike are not to be taken for each other.
    repo.git(&["config", "merge.renames", "false"]);
    repo.commit("start");
    repo.fork(&files);
    repo.init();
    let preview = repo.aura(&["merge", "preview", "topic"]).ok();
    repo.try_git(&["merge", "-q", "-m", "merged", "topic"]);
    let unmerged = repo.unmerged();
    for case in &cases {
        let is_unmerged = unmerged.contains(&case.path);
        let mut rows = preview["files"].as_array().unwrap().iter();
        let row = rows.find(|row| row["path"] == case.path.as_str());
        let is_foreseen = row.is_some_and(|row| row["verdict"] == "conflict");
        assert_eq!(is_foreseen, is_unmerged, "{}", case.path);
        assert_eq!(is_unmerged, case.merged.is_none(), "{}", case.path);
        match &case.merged {
            Some(merged) => assert_eq!(&repo.bytes(&case.path), merged, "{}", case.path),
            None => assert!(
                repo.text(&case.path).contains("<<<<<<< HEAD"),
                "{}",
                case.path
            ),
        }
    }
}

#[test]
fn a_merge_with_two_bases_is_called_inexact_and_its_inner_merge_is_not_recorded() {
    let repo = one("src/risk.rs", BASE, &ours(), &theirs());
    repo.init();
    // Each side merges the other before the other has merged it.
    repo.git(&["branch", "early"]);
    repo.git(&["merge", "-q", "-m", "one way", "topic"]);
    repo.git(&["checkout", "-q", "topic"]);
    repo.git(&["merge", "-q", "-m", "other way", "early"]);
    for (branch, cap) in [("topic", "300"), ("main", "200")] {
        repo.git(&["checkout", "-q", branch]);
        let text = repo.text("src/risk.rs").replace("100", cap);
        fs::write(repo.root.join("src/risk.rs"), text).unwrap();
        repo.commit("cap");
    }
    let preview = repo.aura(&["merge", "preview", "topic"]).ok();
    assert_eq!(preview["exact"], false);
    assert_eq!(repo.try_git(&["merge", "topic"]).status.code(), Some(1));
    let text = repo.text("src/risk.rs");
    assert!(
        text.contains("<<<<<<< HEAD: function cap, body changed by both\n"),
        "{text}"
    );
    assert_eq!(text.matches("<<<<<<<").count(), 1, "{text}");
    let merges = repo.explained(&["-n", "99"]);
    assert!(
        !Value::from(merges.clone())
            .to_string()
            .contains("Temporary"),
        "{merges:?}"
    );
}
