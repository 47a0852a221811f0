//! What git's hooks say of the team, with real git and real daemons.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use mothership_tests::{Laptop, Team, binary, git, git_command};

/// Runs git as its user does: with `aura` on the path.
fn says(laptop: &Laptop, args: &[&str], skips: bool) -> (Option<i32>, String) {
    let dir = binary("aura");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = git_command(&laptop.repo, args);
    command.env("AURA_HOME", &laptop.home).env(
        "PATH",
        format!("{}:{path}", dir.parent().unwrap().display()),
    );
    if skips {
        command.env("AURA_SKIP", "1");
    }
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

fn commits(laptop: &Laptop, skips: bool) -> (Option<i32>, String) {
    says(laptop, &["commit", "-q", "-a", "-m", "work"], skips)
}

#[test]
fn a_commit_in_somebodys_zone_is_told_of_it_and_nothing_keeps_anybody_from_committing() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let bob = team.member(&alice, "bob", "observe");
    let claimed = alice.aura(&["zone", "claim", "score", "--block", "--why", "rework"]);
    let id = claimed.ok()["ids"][0].as_str().unwrap().to_owned();
    bob.event(|event| event["text"].as_str().unwrap_or_default().contains(&id));
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    let (code, said) = commits(&bob, false);
    assert_eq!(code, Some(0), "{said}");
    let told = format!("note: {id} of alice blocks src/risk.rs::score: rework");
    assert!(said.contains(&told), "{said}");
    // Its holder hears nothing, nor does who does not want to.
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 102");
    assert_eq!(commits(&alice, false), (Some(0), String::new()));
    bob.edit("src/risk.rs", "let cap = 101", "let cap = 103");
    assert_eq!(commits(&bob, true), (Some(0), String::new()));
    bob.aura(&["down"]).ok();
    bob.edit("src/risk.rs", "let cap = 103", "let cap = 104");
    let (code, said) = commits(&bob, false);
    assert_eq!(code, Some(0));
    assert!(said.contains("the daemon of aura does not run"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_push_of_an_open_conflict_ends_with_its_name_unless_its_user_insists() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let bob = team.member(&alice, "bob", "observe");
    let far = team.dir.path().join("far.git");
    git(
        Path::new("/"),
        &["init", "-q", "--bare", far.to_str().unwrap()],
    );
    git(
        &bob.repo,
        &["remote", "set-url", "origin", far.to_str().unwrap()],
    );
    assert_eq!(
        says(&bob, &["push", "-q", "origin", "main"], false).0,
        Some(0)
    );
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    alice.aura(&["publish"]).ok();
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 202");
    bob.aura(&["publish"]).ok();
    bob.event(|event| event["kind"] == "conflict");
    let id = bob.conflicts()[0]["id"].as_str().unwrap().to_owned();
    let (code, said) = commits(&bob, false);
    assert_eq!(code, Some(0));
    assert!(said.contains(&format!("{id} is open: ")), "{said}");
    let (code, said) = says(&bob, &["push", "-q", "origin", "main"], false);
    assert_ne!(code, Some(0));
    for part in [
        &*id,
        "1 conflict touches what you are pushing",
        "AE-CONFLICT-OPEN",
        "aura conflicts",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // A new branch is compared with all that is there.
    let (code, _) = says(&bob, &["push", "-q", "origin", "main:topic"], false);
    assert_ne!(code, Some(0));
    // What touches other files goes.
    git(&bob.repo, &["checkout", "-q", "-b", "other", "origin/main"]);
    fs::write(bob.repo.join("NOTES.md"), "a note\n").unwrap();
    git(&bob.repo, &["add", "NOTES.md"]);
    assert_eq!(
        says(&bob, &["commit", "-q", "-m", "note"], false).0,
        Some(0)
    );
    assert_eq!(
        says(&bob, &["push", "-q", "origin", "other"], false).0,
        Some(0)
    );
    git(&bob.repo, &["checkout", "-q", "main"]);
    let insists = ["push", "-q", "--no-verify", "origin", "main"];
    assert_eq!(says(&bob, &insists, false).0, Some(0));
}

#[test]
fn hooks_that_were_there_run_first_and_come_back_byte_for_byte() {
    let team = Team::new();
    let laptop = team.laptop("alice");
    let hooks = laptop.repo.join(".git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    let own = "#!/bin/sh\necho mine \"$@\" >>.git/said\ncat >>.git/said\n";
    for name in ["pre-commit", "pre-push"] {
        let path = hooks.join(name);
        fs::write(&path, own).unwrap();
        Command::new("chmod")
            .arg("0750")
            .arg(&path)
            .status()
            .unwrap();
    }
    let before = mothership_tests::copy::tree(&laptop.repo.join(".git"));
    for _ in 0..2 {
        let steps = laptop.aura(&["init"]).ok()["steps"].clone();
        assert_eq!(steps[2]["name"], "hooks", "{steps}");
    }
    let far = team.dir.path().join("far.git");
    git(
        Path::new("/"),
        &["init", "-q", "--bare", far.to_str().unwrap()],
    );
    laptop.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    assert_eq!(commits(&laptop, false).0, Some(0));
    let far = far.to_str().unwrap();
    assert_eq!(
        says(&laptop, &["push", "-q", far, "main"], false).0,
        Some(0)
    );
    let said = fs::read_to_string(laptop.repo.join(".git/said")).unwrap();
    assert!(
        said.contains("mine\n") && said.contains(&format!("mine {far}")),
        "{said}"
    );
    assert!(said.contains("refs/heads/main "), "what git gives: {said}");
    // One that says no has the last word.
    fs::write(hooks.join("pre-commit.before-aura"), "#!/bin/sh\nexit 3\n").unwrap();
    laptop.edit("src/risk.rs", "let cap = 101", "let cap = 102");
    assert_ne!(commits(&laptop, false).0, Some(0));
    fs::write(hooks.join("pre-commit.before-aura"), own).unwrap();
    laptop.aura(&["uninit"]).ok();
    fs::remove_file(laptop.repo.join(".git/said")).unwrap();
    for name in ["pre-commit", "pre-push"] {
        assert_eq!(fs::read_to_string(hooks.join(name)).unwrap(), own);
    }
    let after = mothership_tests::copy::tree(&laptop.repo.join(".git"));
    let is_hook = |path: &&String| path.contains("hooks/");
    let named = |tree: &std::collections::BTreeMap<String, Vec<u8>>| -> Vec<String> {
        tree.keys().filter(is_hook).cloned().collect()
    };
    assert_eq!(named(&after), named(&before));
    // Hooks that several repositories share are not touched.
    git(&laptop.repo, &["config", "core.hooksPath", "shared"]);
    let steps = laptop.aura(&["init"]).ok()["steps"].clone();
    assert!(
        steps[2]["text"]
            .as_str()
            .unwrap()
            .contains("core.hooksPath"),
        "{steps}"
    );
    assert!(!laptop.repo.join("shared").exists());
}
