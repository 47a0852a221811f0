//! The main path as its users meet it, with the real binaries.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use mothership_tests::{Laptop, RISK, Team, binary, git, token};

#[test]
fn h01_two_commands_make_a_team_and_repeating_them_is_harmless() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    let joined = alice.join(&token(&box_.ready), "alice", "observe").ok();
    assert_eq!(
        (&joined["state"], &joined["role"]),
        (&"joined".into(), &"admin".into())
    );
    assert!(0 < joined["units"].as_u64().unwrap());
    let status = alice.aura(&["status"]).ok();
    assert_eq!(status["link"]["state"], "online");
    let again = alice.join(&token(&box_.ready), "alice", "observe").ok();
    assert_eq!(again["peer"], joined["peer"]);
}

#[test]
fn h02_a_function_arrives_and_every_other_byte_stays() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    // Bob has an edit elsewhere in the file that nobody else has, not even saved to the team.
    bob.aura(&["config", "set", "publish", "intent"]).ok();
    bob.edit("src/risk.rs", "name.to_owned()", "name.trim().to_owned()");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    let published = alice.aura(&["publish", "-m", "higher cap"]).ok();
    assert!(published["seq"].as_u64().is_some());
    bob.applied("score");
    let expected = RISK
        .replace("let cap = 100", "let cap = 250")
        .replace("name.to_owned()", "name.trim().to_owned()");
    assert_eq!(bob.read("src/risk.rs"), expected);
    let log = bob.aura(&["log", "score"]).ok();
    assert_eq!(log["ops"][0]["author"], "alice");
}

#[test]
fn a_save_travels_by_itself() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    bob.applied("score");
    assert_eq!(bob.read("src/risk.rs"), alice.read("src/risk.rs"));
}

#[test]
fn observe_leaves_files_alone_until_pull() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "observe");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    alice.aura(&["publish"]).ok();
    bob.event(|event| event["kind"] == "received");
    assert_eq!(bob.read("src/risk.rs"), RISK);
    assert_eq!(bob.aura(&["status"]).ok()["incoming"]["patches"], 1);
    assert_eq!(bob.aura(&["pull"]).ok()["applied"], 1);
    assert_eq!(bob.read("src/risk.rs"), alice.read("src/risk.rs"));
}

/// Both change the same line while they cannot hear each other.
fn conflict() -> (Team, mothership_tests::Mothership, Laptop, Laptop) {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    let listen = box_.listen.clone();
    assert_eq!(box_.stop("-TERM"), Some(0));
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    assert_eq!(alice.aura(&["publish"]).exit, 11);
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 777");
    assert_eq!(bob.aura(&["publish"]).exit, 11);
    let box_ = team.serve(&listen);
    for laptop in [&alice, &bob] {
        laptop.event(|event| event["kind"] == "conflict");
    }
    (team, box_, alice, bob)
}

#[test]
fn h04_a_conflict_is_one_object_on_both_sides_and_no_file_is_overwritten() {
    let (_team, _box, alice, bob) = conflict();
    let (mine, theirs) = (alice.conflicts(), bob.conflicts());
    assert_eq!((mine.len(), theirs.len()), (1, 1));
    assert_eq!(mine[0]["id"], theirs[0]["id"]);
    let text = |side: &serde_json::Value| side["text"].as_str().unwrap().to_owned();
    assert!(text(&mine[0]["base"]).contains("cap = 100"));
    assert!(text(&mine[0]["mine"]).contains("cap = 250"));
    assert!(text(&mine[0]["theirs"]).contains("cap = 777"));
    assert_eq!(theirs[0]["theirs"]["author"], "alice");
    assert!(alice.read("src/risk.rs").contains("cap = 250"));
    assert!(bob.read("src/risk.rs").contains("cap = 777"));
}

#[test]
fn h04_a_settlement_reaches_the_other_side_and_can_be_undone() {
    let (_team, _box, alice, bob) = conflict();
    let id = bob.conflicts()[0]["id"].as_str().unwrap().to_owned();
    bob.aura(&["resolve", &id, "--theirs"]).ok();
    alice.event(|event| event["kind"] == "resolved");
    assert!(alice.conflicts().is_empty() && bob.conflicts().is_empty());
    assert!(bob.read("src/risk.rs").contains("cap = 250"));
    bob.aura(&["undo"]).ok();
    assert!(bob.read("src/risk.rs").contains("cap = 777"));
    let bad = bob.aura(&["resolve", "c-none", "--mine"]);
    bad.fails(2, "AE-NO-CONFLICT");
}

#[test]
fn undo_goes_back_one_change_after_the_other() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let mut texts = vec![alice.read("src/risk.rs")];
    for (from, to) in [("100", "200"), ("200", "300"), ("score", "points")] {
        alice.edit("src/risk.rs", from, to);
        alice.aura(&["publish"]).ok();
        texts.push(alice.read("src/risk.rs"));
    }
    texts.pop();
    while let Some(text) = texts.pop() {
        alice.aura(&["undo"]).ok();
        assert_eq!(alice.read("src/risk.rs"), text);
    }
    alice.aura(&["undo"]).fails(2, "AE-NO-OP");
    // An edit after that is one again.
    alice.edit("src/risk.rs", "100", "400");
    alice.aura(&["publish"]).ok();
    alice.aura(&["undo"]).ok();
    assert!(alice.read("src/risk.rs").contains("100"));
}

#[test]
fn h04_a_settlement_may_be_a_text_of_its_own() {
    let (team, _box, alice, bob) = conflict();
    let id = bob.conflicts()[0]["id"].as_str().unwrap().to_owned();
    let file = team.dir.path().join("text.rs");
    fs::write(
        &file,
        "/// Scores.\npub fn score(a: u32) -> u32 {\n    cmp::min(a, 500)\n}",
    )
    .unwrap();
    bob.aura(&["resolve", &id, "--with", file.to_str().unwrap()])
        .ok();
    alice.applied("score");
    assert!(alice.read("src/risk.rs").contains("cmp::min(a, 500)"));
    assert_eq!(alice.read("src/risk.rs"), bob.read("src/risk.rs"));
}

#[test]
fn edits_of_different_lines_are_joined_by_whoever_came_second() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    let listen = box_.listen.clone();
    box_.stop("-TERM");
    alice.edit("src/risk.rs", "/// Scores.", "/// Scores, capped.");
    alice.aura(&["publish"]);
    bob.edit("src/risk.rs", "cmp::min(a, cap)", "cmp::min(a, cap).max(1)");
    bob.aura(&["publish"]);
    let _box = team.serve(&listen);
    for laptop in [&alice, &bob] {
        laptop.applied("score");
        let text = laptop.read("src/risk.rs");
        assert!(
            text.contains("/// Scores, capped.") && text.contains(".max(1)"),
            "{text}"
        );
        assert!(laptop.conflicts().is_empty());
    }
}

#[test]
fn offline_edits_survive_a_restart_and_arrive_once() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    let listen = box_.listen.clone();
    box_.stop("-KILL");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    let queued = alice.aura(&["publish"]);
    assert_eq!((queued.exit, &queued.json["state"]), (11, &"queued".into()));
    alice.aura(&["down"]).ok();
    alice.aura(&["up"]).ok();
    assert_eq!(alice.aura(&["status"]).ok()["link"]["queued"], 1);
    let _box = team.serve(&listen);
    bob.applied("score");
    alice.synced();
    assert_eq!(
        bob.aura(&["log", "score"]).ok()["ops"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(bob.read("src/risk.rs"), alice.read("src/risk.rs"));
}

#[test]
fn what_was_saved_while_no_daemon_ran_is_published_at_its_start() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    alice.aura(&["down"]).ok();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    alice.aura(&["up"]).ok();
    bob.applied("score");
    assert_eq!(bob.read("src/risk.rs"), alice.read("src/risk.rs"));
}

#[test]
fn case_049_nothing_acknowledged_is_lost_when_the_mothership_is_killed() {
    let team = Team::new();
    let mut box_ = team.serve("127.0.0.1:0");
    let listen = box_.listen.clone();
    let alice = team.founder(&box_, "live");
    let mut acknowledged = 0;
    for round in 0..8 {
        alice.edit(
            "src/risk.rs",
            &format!("let cap = {}", 100 + round),
            &format!("let cap = {}", 101 + round),
        );
        if let Some(seq) = alice.aura(&["publish"]).json["seq"].as_u64() {
            acknowledged = acknowledged.max(seq);
        }
        box_.stop("-KILL");
        let verified = team.mothership(&["wal", "verify"]).ok();
        assert_eq!(verified["ok"], true);
        box_ = team.serve(&listen);
        alice.synced();
    }
    let status = team.mothership(&["status"]).ok();
    let most = status["logs"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|log| log["seq"].as_u64())
        .max();
    assert!(acknowledged <= most.unwrap());
    assert_eq!(
        alice.aura(&["log", "score"]).ok()["ops"]
            .as_array()
            .unwrap()
            .len(),
        8
    );
}

#[test]
fn case_001_a_token_admits_one_device_and_the_same_device_again() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let invite = team.invite();
    let bob = team.laptop("bob");
    bob.join(&invite, "bob", "observe").ok();
    let eve = team.laptop("eve");
    let refused = eve
        .join(&invite, "eve", "observe")
        .fails(4, "TOKEN_REPLAYED");
    assert!(refused["error"]["next"][0]["cmd"].is_string());
    let peers = team.mothership(&["peer", "list"]).ok();
    assert_eq!(peers["peers"].as_array().unwrap().len(), 2);
    drop(alice);
}

#[test]
fn case_002_of_many_devices_with_one_token_one_is_admitted() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let _alice = team.founder(&box_, "observe");
    let invite = team.invite();
    let laptops: Vec<Laptop> = (0..12).map(|n| team.laptop(&format!("p{n}"))).collect();
    let running: Vec<_> = laptops
        .iter()
        .enumerate()
        .map(|(n, laptop)| {
            let mut command = laptop.command();
            command.args([
                "join",
                &invite,
                "--name",
                &format!("p{n}"),
                "--mode",
                "observe",
            ]);
            command.stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    let exits: Vec<i32> = running
        .into_iter()
        .map(|mut child| child.wait().unwrap().code().unwrap())
        .collect();
    assert_eq!(
        exits.iter().filter(|exit| **exit == 0).count(),
        1,
        "{exits:?}"
    );
    assert_eq!(
        exits.iter().filter(|exit| **exit == 4).count(),
        11,
        "{exits:?}"
    );
}

#[test]
fn case_003_a_used_token_stays_used_after_its_device_was_removed() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let listen = box_.listen.clone();
    let _alice = team.founder(&box_, "observe");
    let invite = team.invite();
    let bob = team.laptop("bob");
    bob.join(&invite, "bob", "observe").ok();
    team.mothership(&["peer", "revoke", "bob"]).ok();
    box_.stop("-TERM");
    let _box = team.serve(&listen);
    team.laptop("eve")
        .join(&invite, "eve", "observe")
        .fails(4, "TOKEN_REPLAYED");
}

#[test]
fn case_016_a_look_alike_gets_no_byte_of_the_token() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let invite = token(&box_.ready);
    let listen = box_.listen.clone();
    box_.stop("-TERM");
    let other = team.dir.path().join("other-box");
    let _look_alike = team.serve_in(&other, &listen);
    team.laptop("alice")
        .join(&invite, "alice", "observe")
        .fails(4, "SERVER_PIN_MISMATCH");
}

#[test]
fn case_017_an_invite_without_a_life_is_wrong_usage() {
    let team = Team::new();
    let _box = team.serve("127.0.0.1:0");
    for ttl in ["0", "-1", "999d"] {
        let refused = team.mothership(&["invite", "--ttl", ttl]);
        assert_eq!(refused.exit, 2, "{ttl}: {refused:?}");
        assert!(!refused.stdout.contains("ms1-"));
    }
}

#[test]
fn case_023_a_removed_device_is_out_and_says_so() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    team.mothership(&["peer", "revoke", "bob", "--reason", "laptop sold"])
        .ok();
    bob.event(|event| {
        event["kind"] == "link" && event["text"].as_str().unwrap().contains("laptop sold")
    });
    let status = bob.aura(&["status", "--exit-code"]);
    assert_eq!(
        (status.exit, &status.json["link"]["state"]),
        (4, &"revoked".into())
    );
    alice.event(|event| event["kind"] == "peer_gone");
}

#[test]
fn case_030_an_open_ca_key_stops_the_start_and_is_named() {
    let team = Team::new();
    team.serve("127.0.0.1:0").stop("-TERM");
    let key = team.state().join("ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = team.mothership(&["serve", "--listen", "127.0.0.1:0"]);
    let document = refused.fails(16, "AE-UNSAFE");
    assert!(
        document["error"]["message"]
            .as_str()
            .unwrap()
            .contains("ca.key")
    );
}

#[test]
fn a_damaged_key_is_an_error_and_is_never_made_anew() {
    let team = Team::new();
    team.serve("127.0.0.1:0").stop("-TERM");
    let key = team.state().join("ca.key");
    mothership_tests::overwrite(&key, b"not a key");
    team.mothership(&["serve", "--listen", "127.0.0.1:0"])
        .fails(15, "AE-KEY-DAMAGED");
    assert_eq!(fs::read(&key).unwrap(), b"not a key");
}

#[test]
fn case_061_a_second_mothership_and_a_second_daemon_are_refused() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    team.mothership(&["serve", "--listen", "127.0.0.1:0"])
        .fails(12, "LOCKED");
    let alice = team.founder(&box_, "observe");
    alice.aura(&["daemon", "run"]).fails(12, "LOCKED");
    assert_eq!(alice.aura(&["status"]).ok()["link"]["state"], "online");
}

#[test]
fn c02_the_mothership_holds_nothing_that_it_could_read() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    alice.edit(
        "src/risk.rs",
        "let cap = 100",
        "let cap = 424242 /* canary-marker */",
    );
    alice.aura(&["publish", "-m", "canary-reason"]).ok();
    bob.applied("score");
    drop(box_);
    let state = team.state();
    let mut files = vec![state];
    let mut bytes = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.is_file() {
            let content = fs::read(&path).unwrap();
            bytes += content.len();
            for secret in [&b"canary"[..], b"score", b"risk.rs"] {
                let found = content.windows(secret.len()).any(|window| window == secret);
                assert!(
                    !found,
                    "{} in {}",
                    String::from_utf8_lossy(secret),
                    path.display()
                );
            }
        }
    }
    assert!(1_000 < bytes);
}

#[test]
fn a_box_made_invite_reads_nothing_before_a_member_approves() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    alice.join(&token(&box_.ready), "alice", "live").ok();
    let bob = team.laptop("bob");
    let joined = bob.join(&team.invite(), "bob", "live").ok();
    assert_eq!(joined["state"], "waiting_for_approval");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    alice.aura(&["publish"]).ok();
    bob.synced();
    assert_eq!(bob.read("src/risk.rs"), RISK);
    let members = alice.aura(&["members", "approve", "bob"]).ok();
    assert_eq!(members["approved"][0], "bob");
    bob.applied("score");
    assert_eq!(bob.read("src/risk.rs"), alice.read("src/risk.rs"));
}

#[test]
fn wrong_places_and_wrong_tokens_are_told_apart() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    let invite = token(&box_.ready);
    let cut = &invite[..invite.len() - 4];
    alice
        .join(cut, "alice", "observe")
        .fails(2, "AE-TOKEN-SHAPE");
    let plain = team.dir.path().join("plain");
    fs::create_dir(&plain).unwrap();
    let elsewhere = Laptop {
        home: alice.home.clone(),
        repo: plain,
        listen: None,
        announce: None,
        links: Vec::new(),
    };
    elsewhere
        .join(&invite, "alice", "observe")
        .fails(3, "AE-NOT-REPO");
    let nowhere = Laptop {
        home: alice.home.clone(),
        repo: team.dir.path().join("missing"),
        listen: None,
        announce: None,
        links: Vec::new(),
    };
    nowhere.aura(&["status"]).fails(2, "AE-USAGE");
    alice.aura(&["status"]).fails(3, "AE-NOT-JOINED");
    // None of it used the invite up.
    alice.join(&invite, "alice", "observe").ok();
    let port = &box_.listen;
    let output = Command::new(binary("mothership"))
        .args(["serve", "--json", "--listen", port, "--state-dir"])
        .arg(team.dir.path().join("third"))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("AE-PORT"));
}

#[test]
fn git_moves_publish_nothing() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    git(&alice.repo, &["checkout", "-q", "-b", "other"]);
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 1");
    alice.aura(&["publish"]).ok();
    git(&alice.repo, &["commit", "-qam", "one"]);
    let before = alice.aura(&["log"]).ok()["ops"].as_array().unwrap().len();
    git(&alice.repo, &["checkout", "-q", "main"]);
    git(&alice.repo, &["checkout", "-q", "other"]);
    git(&alice.repo, &["reset", "-q", "--hard", "HEAD~1"]);
    alice.synced();
    alice.aura(&["publish"]).ok();
    let after = alice.aura(&["log"]).ok()["ops"].as_array().unwrap().len();
    assert_eq!(before, after);
}

#[test]
fn a_file_that_stops_parsing_is_held_back_until_it_parses() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice.edit("src/risk.rs", "let cap = 100;", "let cap = (100;");
    let held = alice.aura(&["publish"]).ok();
    assert_eq!(held["state"], "nothing");
    assert_eq!(held["held_back"].as_array().unwrap().len(), 1);
    alice.edit("src/risk.rs", "let cap = (100;", "let cap = 101;");
    assert_eq!(
        alice.aura(&["publish"]).ok()["held_back"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    assert_eq!(
        alice.aura(&["log", "score"]).ok()["ops"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn files_of_other_kinds_travel_whole() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    fs::write(alice.repo.join("notes.txt"), b"caf\xe9\r\nsecond\r\n").unwrap();
    alice.aura(&["publish"]).ok();
    bob.event(|event| event["kind"] == "applied");
    assert_eq!(
        fs::read(bob.repo.join("notes.txt")).unwrap(),
        b"caf\xe9\r\nsecond\r\n"
    );
}

#[test]
fn a_certificate_renews_itself_and_an_ended_one_comes_back_with_the_same_key() {
    let team = Team::new();
    let flags = ["--leaf-life", "3s", "--heartbeat", "100ms"];
    let box_ = team.serve_with(&team.state(), "127.0.0.1:0", &flags);
    let listen = box_.listen.clone();
    let alice = team.founder(&box_, "live");
    let peer = alice.aura(&["whoami"]).ok()["peer"].clone();
    let first = alice.event(|event| event["kind"] == "renewed");
    let later = |event: &serde_json::Value| first["seq"].as_u64() < event["seq"].as_u64();
    let second = alice.event(|event| event["kind"] == "renewed" && later(event));
    assert!(first["text"].as_str() < second["text"].as_str());
    box_.stop("-TERM");
    let second = alice.aura(&["whoami"]).ok()["certificate_until"].clone();
    // With the mothership away, waiting for nobody takes as long as the certificate lives.
    alice
        .aura(&["wait", "--for", "peer:nobody", "--timeout", "4s"])
        .fails(75, "AE-TIMEOUT");
    let _box = team.serve_with(&team.state(), &listen, &flags);
    alice
        .aura(&["wait", "--for", "up", "--timeout", "30s"])
        .ok();
    let whoami = alice.aura(&["whoami"]).ok();
    assert_eq!(whoami["peer"], peer);
    assert!(second.as_str() < whoami["certificate_until"].as_str());
}

#[test]
fn line_ends_that_git_turned_are_no_edits_and_stay() {
    let team = Team::new();
    let origin = team.dir.path().join("origin");
    fs::write(origin.join(".gitattributes"), "*.rs text eol=crlf\n").unwrap();
    git(&origin, &["add", "."]);
    git(&origin, &["commit", "-qm", "line ends"]);
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    assert!(alice.read("src/risk.rs").contains("\r\n"));
    assert!(
        alice.aura(&["log"]).ok()["ops"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    bob.applied("score");
    let expected = RISK.replace("let cap = 100", "let cap = 250");
    assert_eq!(bob.read("src/risk.rs"), expected.replace('\n', "\r\n"));
}

#[test]
fn publishing_one_symbol_leaves_the_other_edit_of_the_file_unpublished() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    alice.aura(&["config", "set", "publish", "intent"]).ok();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    alice.edit("src/risk.rs", "name.to_owned()", "name.trim().to_owned()");
    let published = alice.aura(&["publish", "score"]).ok();
    assert_eq!(published["ops"].as_array().unwrap().len(), 1);
    bob.applied("score");
    assert_eq!(
        bob.read("src/risk.rs"),
        RISK.replace("let cap = 100", "let cap = 250")
    );
    alice.aura(&["publish"]).ok();
    bob.applied("load");
    assert_eq!(bob.read("src/risk.rs"), alice.read("src/risk.rs"));
}

#[test]
fn with_publish_commit_a_commit_publishes_with_its_subject_as_the_reason() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    alice.aura(&["config", "set", "publish", "commit"]).ok();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    git(&alice.repo, &["commit", "-qam", "raise the cap"]);
    bob.applied("score");
    let log = bob.aura(&["log", "--actor", "alice", "--since", "1h"]).ok();
    assert_eq!(log["ops"][0]["why"], "raise the cap");
    assert_eq!(
        bob.aura(&["log", "--actor", "bob"]).ok()["ops"],
        serde_json::json!([])
    );
}

#[test]
fn an_edit_that_was_committed_before_it_was_published_is_still_an_edit() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    alice.aura(&["config", "set", "publish", "intent"]).ok();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    git(&alice.repo, &["commit", "-qam", "raise the cap"]);
    alice.event(|event| event["kind"] == "motion");
    alice.aura(&["publish", "-m", "now"]).ok();
    bob.applied("score");
    assert_eq!(bob.read("src/risk.rs"), alice.read("src/risk.rs"));
}

#[test]
fn a_pull_whose_check_fails_leaves_every_file_as_it_was() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "observe");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    alice.aura(&["publish"]).ok();
    bob.event(|event| event["kind"] == "received");
    bob.aura(&["pull", "--check", "grep -q 'cap = 100' src/risk.rs"])
        .fails(1, "AE-CHECK");
    assert_eq!(bob.read("src/risk.rs"), RISK);
    assert_eq!(bob.aura(&["status"]).ok()["incoming"]["patches"], 1);
    let pulled = bob
        .aura(&["pull", "--check", "grep -q 'cap = 250' src/risk.rs"])
        .ok();
    assert_eq!(bob.read("src/risk.rs"), alice.read("src/risk.rs"));
    let op = pulled["op"].as_str().unwrap();
    bob.aura(&["undo", op]).ok();
    assert_eq!(bob.read("src/risk.rs"), RISK);
}

#[test]
fn two_clones_on_one_laptop_both_follow_the_team_and_each_other() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    let second = Laptop {
        home: alice.home.clone(),
        repo: team.laptop("alice2").repo.clone(),
        listen: None,
        announce: None,
        links: Vec::new(),
    };
    second.aura(&["join", "--mode", "live"]).ok();
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    bob.aura(&["publish"]).ok();
    for clone in [&alice, &second] {
        clone.synced();
        assert_eq!(clone.read("src/risk.rs"), bob.read("src/risk.rs"));
    }
}
