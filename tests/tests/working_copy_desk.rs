//! What the daemon of a device does with files that were not simply edited.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;
use tempfile::TempDir;

use mothership_tests::{
    Laptop, Mothership, Outcome, Team,
    copy::{put, tree},
    git, send_signal,
};

/// Alice and Bob, both with files that follow the team's.
fn pair(team: &Team) -> (Mothership, Laptop, Laptop) {
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    (box_, alice, bob)
}

/// Files of one function each.
fn many(count: usize) -> Vec<(String, String)> {
    (0..count)
        .map(|n| (format!("docs/f{n}.rs"), format!("fn f{n}() {{}}\n")))
        .collect()
}

#[test]
fn what_a_crash_left_of_an_editor_is_kept_before_it_is_removed() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice.aura(&["down"]).ok();
    let kept = alice.repo.join(".git/aura/kept");
    let tag = "0".repeat(32);
    let texts = ["his save", "her save"];
    for (nonce, text) in (1..).zip(texts) {
        put(
            &kept.join(format!("x-{tag}-{tag}-{nonce}-src\\risk.rs")),
            text.as_bytes(),
        );
    }
    alice.aura(&["up"]).ok();
    let events = alice.events("rescued", 2);
    let mut found: Vec<String> = events
        .iter()
        .map(|event| {
            let text = event["text"].as_str().unwrap();
            let (_, file) = text.split_once("is kept in ").expect(text);
            fs::read_to_string(file).unwrap()
        })
        .collect();
    found.sort();
    assert_eq!(found, ["her save", "his save"]);
    assert_eq!(fs::read_dir(kept).unwrap().count(), 0);
}

#[test]
fn own_edits_that_a_restored_disk_has_lost_come_back_into_the_files() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice.aura(&["down"]).ok();
    let disk = alice.home.join("repos");
    let (log, file) = (tree(&disk), alice.read("src/risk.rs"));
    alice.aura(&["up"]).ok();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    alice.events("published", 1);
    alice.synced();
    alice.aura(&["down"]).ok();
    for name in tree(&disk).keys() {
        fs::remove_file(disk.join(name)).unwrap();
    }
    for (name, bytes) in &log {
        put(&disk.join(name), bytes);
    }
    alice.save("src/risk.rs", &file);
    alice.aura(&["up"]).ok();
    alice.applied("score");
    assert!(alice.read("src/risk.rs").contains("let cap = 250"));
}

#[test]
fn what_git_wrote_in_a_stopped_rebase_is_not_published_by_a_start_nor_on_demand() {
    let team = Team::with(&[("src/other.rs", "fn other() {}\n")]);
    let (_box, alice, bob) = pair(&team);
    alice.aura(&["down"]).ok();
    let commit = |subject: &str| git(&alice.repo, &["commit", "-qam", subject]);
    git(&alice.repo, &["checkout", "-qb", "topic"]);
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 300");
    alice.edit("src/other.rs", "fn other() {}", "fn other() { 1; }");
    commit("topic");
    git(&alice.repo, &["checkout", "-q", "main"]);
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 200");
    commit("main");
    git(&alice.repo, &["checkout", "-q", "topic"]);
    let mut rebase = Command::new("git");
    rebase.args([
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@t",
        "rebase",
        "main",
    ]);
    let stopped = rebase.current_dir(&alice.repo).output().unwrap();
    assert!(!stopped.status.success(), "{stopped:?}");
    alice.aura(&["up"]).ok();
    assert_eq!(alice.aura(&["publish"]).ok()["state"], "nothing");
    let settled = alice.read("src/other.rs");
    alice.save(
        "src/risk.rs",
        mothership_tests::RISK.replace("= 100", "= 400"),
    );
    git(&alice.repo, &["add", "."]);
    git(
        &alice.repo,
        &["-c", "core.editor=true", "rebase", "--continue"],
    );
    git(&alice.repo, &["checkout", "-qB", "main"]);
    alice.synced();
    assert_eq!(alice.read("src/other.rs"), settled);
    alice.edit("src/risk.rs", "name.to_owned()", "name.to_uppercase()");
    bob.event(|event| event["kind"] == "received" && event["symbol"] == "load");
    assert_eq!(alice.log(&[]).len(), 1);
}

#[test]
fn a_sparse_checkout_deletes_nothing_for_the_others() {
    let team = Team::with(&many(60));
    let (_box, alice, bob) = pair(&team);
    git(&alice.repo, &["sparse-checkout", "set", "src"]);
    assert!(!alice.repo.join("docs").exists());
    alice.synced();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    bob.applied("score");
    alice.aura(&["publish"]).ok();
    git(&alice.repo, &["sparse-checkout", "disable"]);
    alice.synced();
    alice.aura(&["publish"]).ok();
    alice.synced();
    assert_eq!(alice.log(&[]).len(), 1);
    assert_eq!(bob.files(), alice.files());
}

#[test]
fn many_files_that_are_gone_at_once_are_deleted_for_the_team_only_on_demand() {
    let team = Team::with(&many(60));
    let (_box, alice, bob) = pair(&team);
    let docs = alice.repo.join("docs");
    fs::rename(&docs, team.dir.path().join("away")).unwrap();
    alice.event(|event| event["kind"] == "held_back");
    let held = alice.aura(&["status"]).ok()["mine"]["held_back"].clone();
    let why = held[0].as_str().unwrap();
    assert!(
        why.contains("60 of 61 files are gone; aura publish"),
        "{why}"
    );
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    bob.applied("score");
    assert!(bob.repo.join("docs/f59.rs").exists());
    alice.aura(&["publish"]).ok();
    bob.events("applied", 61);
    assert!(!bob.repo.join("docs/f59.rs").exists());
}

#[test]
fn an_edit_is_an_edit_although_the_git_that_knows_the_file_was_killed() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    let children = Command::new("pgrep")
        .args(["-P", &alice.pid().to_string(), "-f", "cat-file"])
        .output()
        .unwrap();
    let children = String::from_utf8(children.stdout).unwrap();
    for child in children.lines() {
        send_signal(child.parse().unwrap(), "-KILL");
    }
    assert_eq!(children.lines().count(), 1);
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    bob.applied("score");
    assert_eq!(alice.log(&[])[0]["kind"], "replace");
}

#[test]
fn one_bad_clone_stops_no_other_and_says_why() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let other = team.second_repository(&alice, "other");
    alice.aura(&["down"]).ok();
    let kept = other.repo.join(".git/aura/kept");
    fs::remove_dir_all(&kept).unwrap();
    put(&kept, b"no directory");
    alice.aura(&["status"]).ok();
    other.aura(&["status"]).fails(14, "AE-STORAGE");
    fs::remove_file(&kept).unwrap();
    alice.aura(&["down"]).ok();
    other.aura(&["status"]).ok();
    alice.aura(&["down"]).ok();
    for name in ["repos.json", "settings.json"] {
        let file = alice.home.join(name);
        let before = fs::read(&file).unwrap();
        fs::write(&file, "{").unwrap();
        let failed = alice.aura(&["status"]).fails(14, "AE-DAEMON");
        let message = failed["error"]["message"].as_str().unwrap();
        assert!(message.contains(name), "{message}");
        fs::write(&file, before).unwrap();
    }
    alice.aura(&["status"]).ok();
}

#[test]
fn a_pull_whose_undo_was_refused_in_the_middle_is_taken_back_by_a_second_one() {
    let files = [("a.rs", "fn a() {}\n"), ("b.rs", "fn b() {}\n")];
    let team = Team::with(&files);
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "observe");
    for (count, (path, _)) in (1..).zip(files) {
        alice.edit(path, "{}", "{ 1; }");
        bob.events("received", count);
    }
    let pulled = bob.aura(&["pull"]).ok();
    let op = pulled["op"].as_str().unwrap();
    // A file of two names is not written, and this is the one that comes last.
    let link = team.dir.path().join("link");
    fs::hard_link(bob.repo.join("a.rs"), &link).unwrap();
    assert_eq!(bob.aura(&["undo", op]).id(), "AE-MOVED");
    assert_eq!(bob.read("b.rs"), files[1].1);
    fs::remove_file(link).unwrap();
    bob.aura(&["undo", op]).ok();
    for (path, text) in files {
        assert_eq!(bob.read(path), text);
    }
}

#[test]
fn an_edit_of_equal_size_and_time_is_found_after_a_start() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    // From here on the file is known by its stamp.
    assert_eq!(alice.aura(&["publish"]).ok()["state"], "nothing");
    alice.aura(&["down"]).ok();
    let file = alice.repo.join("src/risk.rs");
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 200");
    let open = fs::OpenOptions::new().append(true).open(&file).unwrap();
    open.set_modified(time).unwrap();
    alice.aura(&["up"]).ok();
    bob.applied("score");
    assert!(bob.read("src/risk.rs").contains("let cap = 200"));
}

#[test]
fn a_damaged_index_of_files_costs_time_and_no_edit() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    alice.aura(&["down"]).ok();
    let repos = alice.home.join("repos");
    let names = tree(&repos).into_keys();
    let index: Vec<_> = names.filter(|name| name.ends_with("/files")).collect();
    assert_eq!(index.len(), 1);
    let bytes = fs::read(repos.join(&index[0])).unwrap();
    let (half, mut turned) = (&bytes[..bytes.len() / 2], bytes.clone());
    *turned.last_mut().unwrap() ^= 1;
    for (damaged, cap) in [(half, "200"), (&turned, "300"), (&[], "400")] {
        fs::write(repos.join(&index[0]), damaged).unwrap();
        let file = alice.read("src/risk.rs");
        let (head, rest) = file.split_once("let cap = ").unwrap();
        let text = format!("{head}let cap = {cap}{}", &rest[3..]);
        put(&alice.repo.join("src/risk.rs"), text.as_bytes());
        alice.aura(&["up"]).ok();
        alice.synced();
        alice.aura(&["publish"]);
        alice.synced();
        alice.aura(&["down"]).ok();
        bob.event(|event| {
            let is_there = bob.read("src/risk.rs") == text;
            event["kind"] == "applied" && is_there
        });
    }
}

#[test]
fn a_device_that_forgot_what_its_files_were_tells_nothing_new() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    for (from, to) in [("100", "200"), ("200", "300"), ("300", "400")] {
        alice.edit("src/risk.rs", from, to);
        alice.aura(&["publish"]).ok();
    }
    alice.edit("src/risk.rs", "name.to_owned()", "name.into()");
    alice.aura(&["publish"]).ok();
    bob.applied("load");
    bob.aura(&["down"]).ok();
    let repos = bob.home.join("repos");
    let files = tree(&repos).into_keys();
    let shadows: Vec<_> = files.filter(|file| file.contains("/shadow/")).collect();
    assert!(!shadows.is_empty());
    for (n, shadow) in shadows.iter().enumerate() {
        match n % 2 {
            0 => fs::write(repos.join(shadow), "").unwrap(),
            _ => fs::remove_file(repos.join(shadow)).unwrap(),
        }
    }
    bob.aura(&["up"]).ok();
    bob.aura(&["publish"]).ok();
    bob.synced();
    assert_eq!(bob.aura(&["log", "--actor", "bob"]).ok()["ops"], json!([]));
    assert_eq!(bob.read("src/risk.rs"), alice.read("src/risk.rs"));
    assert!(alice.conflicts().is_empty() && bob.conflicts().is_empty());
}

#[test]
fn an_editor_that_saves_what_it_read_before_takes_back_nothing_that_arrived_meanwhile() {
    let text = |a: &str, b: &str| {
        format!("fn a() {{\n    start();\n    middle();\n    {a};\n}}\n\nfn b() {{\n    {b};\n}}\n")
    };
    let team = Team::with(&[("list.rs", &text("one()", "two()"))]);
    let (_box, alice, bob) = pair(&team);
    let arrives = |a: &str, b: &str| {
        bob.save("list.rs", text(a, b));
        alice.applied("a");
    };
    arrives("bobs()", "two()");
    // An agent writes the file that it read a minute ago, with a change of its own in the other function.
    alice.save("list.rs", text("one()", "hers()"));
    bob.applied("b");
    for laptop in [&alice, &bob] {
        assert_eq!(laptop.read("list.rs"), text("bobs()", "hers()"));
    }
    let told = alice.events("kept", 1);
    assert!(
        told[0]["text"]
            .as_str()
            .unwrap()
            .starts_with("list.rs was saved by an editor")
    );
    // A change of her own in the very function is joined with his.
    arrives("bobs(2)", "hers()");
    alice.save(
        "list.rs",
        text("bobs()", "hers()").replace("start()", "begin()"),
    );
    bob.applied("a");
    for laptop in [&alice, &bob] {
        let both = text("bobs(2)", "hers()").replace("start()", "begin()");
        assert_eq!(laptop.read("list.rs"), both);
    }
    // Who takes a change back and does nothing else means it.
    bob.save(
        "list.rs",
        text("bobs(3)", "hers()").replace("start()", "begin()"),
    );
    alice.event(|event| event["kind"] == "applied" && alice.read("list.rs").contains("bobs(3)"));
    let back = text("bobs(2)", "hers()").replace("start()", "begin()");
    alice.save("list.rs", &back);
    bob.event(|event| event["kind"] == "applied" && bob.read("list.rs") == back);
    assert_eq!(alice.read("list.rs"), back);
}

#[test]
fn who_pulls_after_a_settlement_is_told_of_nothing_that_was_settled() {
    let text = |value: &str| format!("fn a() {{\n    {value};\n}}\n");
    let team = Team::with(&[("list.rs", &text("one()"))]);
    let (_box, alice, bob) = pair(&team);
    let carol = team.member(&alice, "carol", "observe");
    alice.publishes_on_demand();
    alice.save("list.rs", text("hers()"));
    bob.save("list.rs", text("his()"));
    bob.aura(&["publish"]).ok();
    alice.events("received", 1);
    alice.aura(&["publish"]).ok();
    bob.events("conflict", 1);
    let id = bob.conflicts()[0]["id"].as_str().unwrap().to_owned();
    bob.aura(&["resolve", &id, "--theirs"]).ok();
    carol.event(|event| event["kind"] == "resolved");
    let (exit, rows) = carol.pull();
    assert_eq!(exit, 0, "{rows:?}");
    assert!(rows.iter().all(|row| row.0 != "waiting"), "{rows:?}");
    assert_eq!(carol.read("list.rs"), text("hers()"));
    assert_eq!(carol.pull(), (0, Vec::new()));
}

/// A `git` that is killed when it is asked for the branch while `killed` is there, and then says that it was.
fn mortal_git(dir: &Path) -> (OsString, PathBuf) {
    let (killed, was) = (dir.join("killed"), dir.join("was-killed"));
    let script = format!(
        "#!/bin/sh\nfor word in \"$@\"; do\n[ \"$word\" = symbolic-ref ] && [ -e {} ] && : > {} && kill -9 $$\ndone\n\
         PATH=${{PATH#*:}} exec git \"$@\"\n",
        killed.display(),
        was.display()
    );
    put(&dir.join("git"), script.as_bytes());
    fs::set_permissions(dir.join("git"), Permissions::from_mode(0o755)).unwrap();
    let mut path = OsString::from(dir);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    (path, killed)
}

#[test]
fn a_git_that_is_killed_while_it_is_asked_leaves_the_branch_in_doubt_and_not_another_one() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    let tools = TempDir::new().unwrap();
    let (path, killed) = mortal_git(tools.path());
    bob.aura(&["down"]).ok();
    let mut up = bob.command();
    Outcome::of(up.arg("up").env("PATH", path).output().unwrap()).ok();
    put(&killed, b"");
    git(&bob.repo, &["checkout", "-qb", "topic"]);
    let was_killed = tools.path().join("was-killed");
    while !was_killed.exists() {
        bob.aura(&["status"]);
    }
    // Nothing is published while it is not known where it belongs.
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    assert_eq!(bob.log(&[]).len(), 0);
    fs::remove_file(killed).unwrap();
    bob.synced();
    bob.events("published", 1);
    assert_eq!(
        bob.aura(&["status"]).ok()["repo"]["branch"],
        "refs/heads/topic"
    );
    assert_eq!(bob.log(&[]).len(), 1);
    alice.synced();
    assert_eq!(alice.pull(), (0, Vec::new()));
    git(&alice.repo, &["checkout", "-qb", "topic"]);
    alice.applied("score");
    assert!(alice.read("src/risk.rs").contains("let cap = 250"));
}
