//! What somebody meets who uses it for the first time, with the real binaries.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;

use mothership_tests::{Team, git};

#[test]
fn leftovers_of_editors_are_not_shared_unless_git_tracks_them() {
    let team = Team::new();
    let origin = team.dir.path().join("origin");
    fs::write(origin.join("kept.tmp"), "one\n").unwrap();
    git(&origin, &["add", "."]);
    git(&origin, &["commit", "-qm", "kept"]);
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let leftovers = [
        "main.go~",
        ".app.ts.swp",
        "#a.rs#",
        ".#a.rs",
        "4913",
        "a.rs.tmp",
    ];
    for name in leftovers {
        fs::write(alice.repo.join("src").join(name), "fn left() {}\n").unwrap();
    }
    alice.edit("kept.tmp", "one", "two");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    alice.aura(&["publish"]).ok();
    alice.synced();
    let log = alice.aura(&["log"]).ok();
    let rows = log["ops"].as_array().unwrap().iter();
    let mut symbols: Vec<&str> = rows.map(|row| row["symbol"].as_str().unwrap()).collect();
    symbols.sort_unstable();
    assert_eq!(symbols, ["kept.tmp::kept.tmp", "src/risk.rs::score"]);
}
