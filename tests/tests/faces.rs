//! What somebody meets who uses it for the first time, with the real binaries.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use aura_trust::Token;
use mothership_tests::{Laptop, Mothership, Outcome, Team, binary, git, token};
use serde_json::Value;

/// What people read, on both streams, and the exit code.
fn said(laptop: &Laptop, args: &[&str]) -> (i32, String) {
    let output = laptop.plain_command().args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let code = output.status.code().unwrap();
    (code, String::from_utf8_lossy(&text).into_owned())
}

/// The first next step of a document.
fn next(document: &Value) -> &str {
    document["next"][0]["cmd"].as_str().unwrap_or_default()
}

fn failure_next(document: &Value) -> &str {
    next(&document["error"])
}

/// Alice, who founded the team and takes everything in at once, and bob.
fn two() -> (Team, Mothership, Laptop, Laptop) {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    (team, box_, alice, bob)
}

/// The reason of the newest change of a symbol, as this laptop knows it.
fn why(laptop: &Laptop, symbol: &str) -> Value {
    laptop.aura(&["log", symbol]).ok()["ops"][0]["why"].clone()
}

fn held_back(laptop: &Laptop) -> Vec<String> {
    let status = laptop.aura(&["status"]).ok();
    let rows = status["mine"]["held_back"].as_array().unwrap().iter();
    rows.map(|row| row.as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn names(rows: &[String], path: &str, why: &str) {
    let is_meant = |row: &&String| row.starts_with(&format!("{path}: ")) && row.contains(why);
    assert!(rows.iter().any(|row| is_meant(&row)), "{path}: {rows:?}");
}

#[test]
fn a_device_that_gives_no_name_is_called_after_its_user_and_host() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    let mut join = alice.command();
    join.env("USER", "ann lee")
        .args(["join", &token(&box_.ready), "--no-service"]);
    let joined = Outcome::of(join.output().unwrap()).ok();
    let name = joined["name"].as_str().unwrap();
    assert!(name.starts_with("ann-lee"), "{name}");
    // An invite for somebody says the name itself.
    let bob = team.laptop("bob");
    let invite = token(&team.mothership(&["invite", "--for", "bob@mbp"]).ok());
    assert_eq!(bob.aura(&["join", &invite]).ok()["name"], "bob@mbp");
}

#[test]
fn a_name_that_cannot_be_is_wrong_usage_and_one_that_is_taken_leaves_the_invite_good() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let bob = team.laptop("bob");
    let invite = team.invite();
    let bad = bob
        .join(&invite, "bob smith", "observe")
        .fails(2, "AE-USAGE");
    let message = bad["error"]["message"].as_str().unwrap();
    assert!(message.contains("letters"), "{message}");
    let taken = bob
        .join(&invite, "alice", "observe")
        .fails(4, "AE-NAME-TAKEN");
    let message = taken["error"]["message"].as_str().unwrap();
    assert!(message.contains("the invite is still good"), "{message}");
    assert!(failure_next(&taken).contains("--name"), "{taken}");
    assert_eq!(bob.join(&invite, "bob", "observe").ok()["name"], "bob");
    drop(alice);
}

#[test]
fn a_reason_given_after_the_save_reaches_the_log_of_every_laptop() {
    let (_team, _box, alice, bob) = two();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    bob.applied("score");
    assert_eq!(why(&bob, "score"), Value::Null);
    let told = alice.aura(&["publish", "-m", "higher cap"]).ok();
    assert_eq!(
        (&told["state"], &told["explained"]),
        (&"published".into(), &1.into())
    );
    assert_eq!(why(&alice, "score"), "higher cap");
    bob.event(|event| event["kind"] == "reason");
    assert_eq!(why(&bob, "score"), "higher cap");
    // It is given once, and what has none stays without.
    alice.edit("src/risk.rs", "name.to_owned()", "name.trim().to_owned()");
    bob.applied("load");
    alice.aura(&["publish", "-m", "no blanks", "load"]).ok();
    assert_eq!(
        (why(&alice, "score"), why(&alice, "load")),
        ("higher cap".into(), "no blanks".into())
    );
    // A restart reads it from the log.
    alice.aura(&["daemon", "restart"]).ok();
    assert_eq!(why(&alice, "score"), "higher cap");
}

#[test]
fn a_reason_that_belongs_to_nothing_is_not_taken_silently() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let (exit, text) = said(&alice, &["publish", "-m", "for nothing"]);
    assert_eq!(exit, 11, "{text}");
    assert!(text.contains("the reason was not used"), "{text}");
    assert_eq!(said(&alice, &["publish"]).0, 0);
}

#[test]
fn what_is_said_of_the_queue_while_offline_is_true_and_a_reason_joins_it() {
    let (team, box_, alice, bob) = two();
    let listen = box_.listen.clone();
    assert_eq!(box_.stop("-TERM"), Some(0));
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    alice.event(|event| event["kind"] == "published");
    let (exit, text) = said(&alice, &["publish"]);
    assert_eq!(exit, 11, "{text}");
    assert!(
        !text.contains("queued 0") && text.contains("1 waits"),
        "{text}"
    );
    assert_eq!(alice.aura(&["publish", "-m", "higher cap"]).exit, 11);
    let box_ = team.serve(&listen);
    bob.event(|event| event["kind"] == "reason");
    assert_eq!(why(&bob, "score"), "higher cap");
    drop(box_);
}

#[test]
fn joining_again_checks_the_token_and_says_what_was_done() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let other = team.serve_in(&team.dir.path().join("other"), "127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let invite = team.invite();
    let mangled = format!("{}{}", &invite[..20], &invite[21..]);
    alice
        .join(&mangled, "alice", "live")
        .fails(2, "AE-TOKEN-SHAPE");
    let refused = alice
        .join(&token(&other.ready), "alice", "live")
        .fails(4, "AE-OTHER-TEAM");
    assert!(failure_next(&refused).contains("AURA_HOME"), "{refused}");
    alice.join(&invite, "carol", "live").fails(2, "AE-USAGE");
    assert_eq!(alice.aura(&["mode"]).ok()["mode"], "observe");
    let again = alice.aura(&["join", &invite]).ok();
    assert_eq!(
        (&again["was_member"], &again["clone"]),
        (&true.into(), &"known".into())
    );
    let (_, text) = said(&alice, &["join", &invite]);
    assert!(
        text.contains("a member already") && text.contains("not used"),
        "{text}"
    );
    // So it is good for somebody else.
    team.laptop("bob").join(&invite, "bob", "observe").ok();
}

#[test]
fn a_join_sets_git_up_and_says_so_unless_it_is_told_not_to() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let driver = || git(&alice.repo, &["config", "--get", "merge.aura.driver"]);
    assert!(driver().contains("aura merge-driver"));
    let attributes = alice.read(".git/info/attributes");
    assert!(attributes.contains("merge=aura"), "{attributes}");
    // Nobody else sees it.
    assert_eq!(git(&alice.repo, &["status", "--porcelain"]), "");
    let again = alice.aura(&["join"]).ok();
    assert_eq!(again["git"]["state"], "present", "{again}");
    alice.aura(&["uninit"]).ok();
    let without = alice.aura(&["join", "--no-git"]).ok();
    assert_eq!(without["git"], Value::Null);
    assert!(!alice.repo.join(".git/info/attributes").exists());
    let with = alice.aura(&["join"]).ok();
    assert_eq!(with["git"]["state"], "done", "{with}");
    assert!(driver().contains("aura merge-driver"));
    // What cannot be done says so, and the join holds.
    let info = alice.repo.join(".git/info/attributes");
    fs::remove_file(&info).unwrap();
    fs::create_dir(&info).unwrap();
    let joined = alice.aura(&["join"]).ok();
    assert_eq!(joined["git"]["state"], "failed", "{joined}");
    assert_eq!(joined["state"], "joined");
}

#[test]
fn a_fresh_invite_leads_to_a_mothership_that_has_moved() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    assert_eq!(box_.stop("-TERM"), Some(0));
    alice.event(|event| {
        event["kind"] == "link" && event["text"].as_str().unwrap().contains("offline")
    });
    let status = alice.aura(&["status"]).ok();
    let steps = status["next"].as_array().unwrap().iter();
    let commands: Vec<&str> = steps.map(|step| step["cmd"].as_str().unwrap()).collect();
    assert!(commands.contains(&"aura join TOKEN"), "{status}");
    let moved = team.serve("127.0.0.1:0");
    let joined = alice.aura(&["join", &team.invite()]).ok();
    assert_eq!(joined["endpoint"], moved.listen);
    let status = alice.aura(&["status"]).ok();
    assert_eq!(status["link"]["state"], "online");
    // It is kept.
    alice.aura(&["daemon", "restart"]).ok();
    alice.aura(&["wait", "--for", "up"]).ok();
}

#[test]
fn an_invite_that_leads_to_another_server_changes_no_address() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let (invite, listen) = (team.invite(), box_.listen.clone());
    assert_eq!(box_.stop("-TERM"), Some(0));
    let other = team.serve_in(&team.dir.path().join("other"), "127.0.0.1:0");
    let mut token = Token::parse(&invite).unwrap();
    token.endpoints = vec![other.listen.clone()];
    let astray = token.to_text().unwrap();
    alice
        .aura(&["join", &astray])
        .fails(4, "SERVER_PIN_MISMATCH");
    assert_eq!(alice.aura(&["status"]).ok()["link"]["endpoint"], listen);
    let _box = team.serve(&listen);
    alice.aura(&["wait", "--for", "up"]).ok();
}

#[test]
fn a_daemon_whose_home_is_gone_ends_itself() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    alice.aura(&["down"]).ok();
    let daemon = Command::new(binary("aura"))
        .env("AURA_HOME", &alice.home)
        .env_remove("HOME")
        .args(["daemon", "run"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let is_there = || {
        let mut hello = alice.command();
        hello.env("AURA_NO_AUTOSTART", "1").arg("whoami");
        Outcome::of(hello.output().unwrap()).exit == 0
    };
    while !is_there() {}
    fs::remove_dir_all(&alice.home).unwrap();
    let output = daemon.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(14), "{said}");
    assert!(said.contains("is gone"), "{said}");
    assert!(!alice.home.exists());
}

#[test]
fn what_cannot_be_meant_is_wrong_usage_with_a_next_step() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let bogus = alice
        .plain_command()
        .args(["status", "--json=bogus"])
        .output()
        .unwrap();
    Outcome::of(bogus).fails(2, "AE-USAGE");
    for args in [
        &["config", "set", "publish", "never"][..],
        &["resolve", "c-1", "--with", "nofile"],
        &["outline", "nofile"],
        &["merge", "nofile", "nofile", "nofile", "--path", "a.rs"],
        &[
            "merge",
            "src/risk.rs",
            "src/risk.rs",
            "src/risk.rs",
            "--path",
            "a.rs",
            "-o",
            "src/risk.rs",
        ],
        &["join", "--mode", "bananas"],
    ] {
        let failed = alice.aura(args).fails(2, "AE-USAGE");
        assert!(!failure_next(&failed).is_empty(), "{args:?}: {failed}");
    }
    let (exit, text) = said(&alice, &["join", "-q"]);
    assert_eq!((exit, text.lines().count()), (0, 1), "{text}");
}

#[test]
fn a_file_that_became_a_directory_is_gone_for_the_team_and_one_that_became_a_link_is_named() {
    let (_team, _box, alice, bob) = two();
    for name in ["notes", "linked"] {
        fs::write(alice.repo.join(name), "one\n").unwrap();
        alice.aura(&["publish"]).ok();
        bob.applied(name);
    }
    fs::remove_file(alice.repo.join("notes")).unwrap();
    fs::create_dir(alice.repo.join("notes")).unwrap();
    fs::write(alice.repo.join("notes/first"), "one\n").unwrap();
    fs::remove_file(alice.repo.join("linked")).unwrap();
    symlink("src/risk.rs", alice.repo.join("linked")).unwrap();
    alice.aura(&["publish"]).ok();
    names(&held_back(&alice), "linked", "link");
    bob.applied("notes/first");
    assert_eq!(bob.read("notes/first"), "one\n");
    assert_eq!(bob.read("linked"), "one\n");
}

#[test]
fn what_is_not_shared_for_what_it_is_is_named_also_after_a_restart() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    fs::write(alice.repo.join("zeros"), b"a\0b").unwrap();
    fs::write(alice.repo.join("long"), "a line\n".repeat(10 << 17)).unwrap();
    symlink("src/risk.rs", alice.repo.join("link")).unwrap();
    for turn in ["running", "started anew"] {
        alice.aura(&["publish"]).ok();
        let held = held_back(&alice);
        names(&held, "zeros", "NUL");
        names(&held, "long", "larger");
        names(&held, "link", "link");
        assert_eq!(held.len(), 3, "{turn}: {held:?}");
        alice.aura(&["daemon", "restart"]).ok();
        assert_eq!(held_back(&alice), held, "{turn}");
    }
    // What git has is git's.
    git(&alice.repo, &["add", "."]);
    git(&alice.repo, &["commit", "-qm", "blobs"]);
    alice.event(|event| event["kind"] == "motion");
    alice.aura(&["publish"]).ok();
    alice.aura(&["daemon", "restart"]).ok();
    assert_eq!(held_back(&alice), Vec::<String>::new());
}

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
    assert_eq!(symbols, ["kept.tmp", "src/risk.rs::score"]);
}

#[test]
fn a_second_clone_is_told_to_join_without_a_token() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let second = Laptop {
        home: alice.home.clone(),
        repo: team.laptop("alice2").repo.clone(),
        listen: None,
        announce: None,
        links: Vec::new(),
    };
    let told = second.aura(&["status"]).fails(3, "AE-NOT-JOINED");
    assert_eq!(failure_next(&told), "aura join");
    assert_eq!(second.aura(&["join"]).ok()["clone"], "added");
}

/// Pastes all suggested steps of a document into a shell in the clone; their exit codes.
#[track_caller]
fn pasted(laptop: &Laptop, document: &Value) -> Vec<(String, Option<i32>)> {
    let programs = binary("aura");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", programs.parent().unwrap().display());
    let steps = document["next"].as_array().unwrap().iter();
    let run = |step: &Value| {
        let step = step["cmd"].as_str().unwrap().to_owned();
        let mut command = Command::new("sh");
        command.args(["-c", &step]).current_dir(&laptop.repo);
        command.env("AURA_HOME", &laptop.home).env("PATH", &path);
        let code = command.output().unwrap().status.code();
        (step, code)
    };
    steps.map(run).collect()
}

#[test]
fn a_suggested_step_can_be_pasted_whatever_a_unit_or_a_file_is_called() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice.aura(&["config", "set", "publish", "intent"]).ok();
    let headings = [
        "x; touch PWNED #x",
        "$(touch PWNED)",
        "`touch PWNED`",
        "it's & touch PWNED",
        "--exit-code",
    ];
    let text = headings.map(|heading| format!("# {heading}\n\ntext of it\n"));
    for path in ["-x $(touch PWNED).md", "docs.md"] {
        fs::write(alice.repo.join(path), text.concat()).unwrap();
    }
    alice.aura(&["publish", "-m", "headings"]).ok();
    let log = alice.aura(&["log"]).ok();
    let mut documents = Vec::new();
    for op in log["ops"].as_array().unwrap() {
        documents.push(alice.aura(&["show", op["op"].as_str().unwrap()]).ok());
    }
    for heading in headings {
        // In both files; then nearly one of either; then a file with nothing of the kind.
        let both = alice.aura(&["log", "--", heading]);
        documents.push(both.fails(2, "AE-AMBIGUOUS")["error"].clone());
        let near = alice.aura(&["log", "--", &heading[..heading.len() - 1]]);
        documents.push(near.fails(2, "AE-NO-SYMBOL")["error"].clone());
    }
    let file = alice.aura(&[
        "restore",
        "--at",
        "2020-01-01",
        "--",
        "-x $(touch PWNED).md",
    ]);
    documents.push(file.fails(2, "AE-NOT-THEN")["error"].clone());
    let pasted: Vec<_> = documents.iter().flat_map(|of| pasted(&alice, of)).collect();
    assert!(30 < pasted.len(), "{pasted:?}");
    assert!(!alice.repo.join("PWNED").exists(), "{pasted:?}");
    for (step, code) in &pasted {
        assert_eq!(*code, Some(0), "{step}");
    }
}
