//! What bad members, other users of the machine and bad input must not be able to do to a laptop.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use mothership_tests::{RISK, Team, copy::tree, forger::Forger};

/// Everything of a team's directory that no daemon keeps for itself.
fn surroundings(team: &Team) -> BTreeMap<String, Vec<u8>> {
    let mut files = tree(team.dir.path());
    let is_ours = |name: &str| {
        name.starts_with("home-")
            || name.starts_with("box/")
            || name.contains("/.git/aura/")
            || name.contains("/marker-")
    };
    files.retain(|name, _| !is_ours(name));
    files
}

#[test]
fn case_079_to_082_paths_that_lead_astray_are_refused_by_name_and_nothing_is_written() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let mut mallory = Forger::join(&alice, "mallory");
    let before = surroundings(&team);
    let absolute = team.dir.path().join("absolute").display().to_string();
    let long = "a/".repeat(2_500) + "x";
    let deep = "d/".repeat(200) + "x";
    let cases: [(&str, &[&str]); 3] = [
        (
            "PATH: ",
            &[
                "../x",
                &absolute,
                "a/../../x",
                "",
                ".",
                "a//b",
                "a\0b",
                &long,
                &deep,
                ".git/hooks/post-checkout",
                ".GIT/config",
                ".git./x",
                ".git /x",
                "git~1/x",
                ".g\u{200c}it/x",
                ".git::$INDEX_ALLOCATION/x",
                "a\\..\\.git\\x",
            ],
        ),
        (
            "PATH_RESERVED: ",
            &[".aura/x", ".gitmodules", "src/.gitattributes"],
        ),
        (
            "PATH_PORTABLE: ",
            &["CON", "nul.rs", "COM1", "aux.c", "a:b", "x.", "x "],
        ),
    ];
    let all = cases
        .iter()
        .flat_map(|(id, paths)| paths.iter().map(move |path| (id, path)));
    for (_, path) in all.clone() {
        mallory.publish(&mallory.creation(path, "owned\n"));
    }
    let said = alice.events("refused", all.clone().count());
    for ((id, path), said) in all.zip(said) {
        let text = said["text"].as_str().unwrap();
        assert!(text.starts_with(id), "{path:?}: {said}");
        assert_eq!(said["actor"], "mallory");
    }
    mallory.reaches(&alice);
    assert_eq!(surroundings(&team), before);
    assert_eq!(alice.aura(&["status"]).ok()["incoming"]["patches"], 0);
    assert_eq!(alice.read("src/risk.rs"), RISK);
}
