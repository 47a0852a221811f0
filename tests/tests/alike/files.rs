//! Files that come, go on and go.

use std::fs;

use mothership_tests::{copy::put, git};
use serde_json::Value;

use super::{LIST, PATH, Pair, rows_of_pull};

#[test]
fn a_file_deleted_against_an_edit_in_it_is_settled_from_either_side() {
    for by_alice in [true, false] {
        for choice in ["--mine", "--theirs"] {
            let mut pair = Pair::with(&[(PATH, LIST), ("src/other.rs", "fn other() {}\n")]);
            let mothership = pair.mothership.take().unwrap();
            let listen = mothership.listen.clone();
            assert_eq!(mothership.stop("-TERM"), Some(0));
            fs::remove_file(pair.alice.repo.join(PATH)).unwrap();
            let edited = LIST.replace("two", "deux");
            put(&pair.bob.repo.join(PATH), edited.as_bytes());
            for laptop in [&pair.alice, &pair.bob] {
                assert_eq!(laptop.aura(&["publish"]).exit, 11);
            }
            pair.mothership = Some(pair.team.serve(&listen));
            pair.meet();
            let laptop = if by_alice { &pair.alice } else { &pair.bob };
            let conflicts = laptop.conflicts();
            assert_eq!(conflicts.len(), 1, "{conflicts:?}");
            let id = conflicts[0]["id"].as_str().unwrap();
            laptop.aura(&["resolve", id, choice]).ok();
            pair.meet();
            let stays = by_alice != (choice == "--mine");
            for laptop in [&pair.alice, &pair.bob] {
                assert_eq!(laptop.conflicts(), [] as [Value; 0]);
                let there = fs::read_to_string(laptop.repo.join(PATH)).ok();
                let wanted = stays.then(|| edited.clone());
                assert_eq!(there, wanted, "{choice} by alice: {by_alice}");
            }
        }
    }
}

#[test]
fn a_file_whose_functions_went_on_waits_for_nobody_after_a_restart_or_in_a_new_clone() {
    let pair = Pair::new();
    let new = "// New.\n\nfn one() {\n    1;\n}\n\nfn two() {\n    2;\n}\n";
    put(&pair.bob.repo.join("src/new.rs"), new.as_bytes());
    pair.alice.applied("src/new.rs");
    for (at, laptop) in [&pair.alice, &pair.bob].into_iter().enumerate() {
        laptop.edit(
            "src/new.rs",
            &format!("    {};", at + 1),
            &format!("    {at}{at};"),
        );
        laptop.aura(&["publish"]).ok();
    }
    let mut pair = pair;
    pair.meet();
    git(&pair.alice.repo, &["add", "src/new.rs"]);
    git(&pair.alice.repo, &["commit", "-qm", "new"]);
    for laptop in [&pair.alice, &pair.bob] {
        laptop.aura(&["down"]).ok();
        laptop.aura(&["up"]).ok();
        laptop.synced();
        assert_eq!(laptop.pull(), (0, Vec::new()));
        assert_eq!(
            laptop.aura(&["status"]).ok()["needs_you"],
            Value::Array(Vec::new())
        );
    }
    assert_eq!(pair.alice.read("src/new.rs"), pair.bob.read("src/new.rs"));
    // Git brings the file to somebody from whom git took it.
    git(&pair.bob.repo, &["add", "-A"]);
    git(&pair.bob.repo, &["stash", "-q"]);
    git(
        &pair.bob.repo,
        &[
            "pull",
            "-q",
            "--no-rebase",
            &pair.alice.repo.to_string_lossy(),
            "main",
        ],
    );
    pair.bob.synced();
    let rows = rows_of_pull(&pair.bob);
    assert!(
        rows.iter().all(|row| row["path"] != "src/new.rs"),
        "{rows:?}"
    );
}

#[test]
fn a_file_that_was_made_edited_and_deleted_is_gone_for_all_without_a_conflict() {
    let mut pair = Pair::new();
    put(
        &pair.bob.repo.join("src/scratch.rs"),
        b"fn s() {\n    1;\n}\n",
    );
    pair.alice.applied("src/scratch.rs");
    pair.alice.edit("src/scratch.rs", "1;", "11;");
    pair.alice.aura(&["publish"]).ok();
    pair.meet();
    pair.bob.edit("src/scratch.rs", "11;", "12;");
    pair.bob.aura(&["publish"]).ok();
    fs::remove_file(pair.bob.repo.join("src/scratch.rs")).unwrap();
    pair.bob.aura(&["publish"]).ok();
    pair.meet();
    for laptop in [&pair.alice, &pair.bob] {
        assert_eq!(laptop.conflicts(), [] as [Value; 0]);
        assert!(!laptop.repo.join("src/scratch.rs").exists());
    }
}
