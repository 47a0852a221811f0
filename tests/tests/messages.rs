//! Messages between real daemons.
//!
//! Numbers are those of the capabilities and the cases.

#![allow(clippy::unwrap_used, missing_docs)]

use mothership_tests::{Laptop, Mothership, Team, files};
use serde_json::{Value, json};

fn three(team: &Team) -> (Mothership, [Laptop; 3]) {
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    let carol = team.member(&alice, "carol", "live");
    for laptop in [&alice, &bob, &carol] {
        laptop
            .aura(&["wait", "--for", "peer:carol", "--timeout", "30s"])
            .ok();
        laptop.synced();
    }
    (box_, [alice, bob, carol])
}

fn inbox(laptop: &Laptop) -> Vec<Value> {
    let inbox = laptop.aura(&["inbox"]).ok();
    inbox["messages"].as_array().unwrap().clone()
}

fn texts(laptop: &Laptop) -> Vec<String> {
    let text = |message: &Value| message["text"].as_str().unwrap().to_owned();
    inbox(laptop).iter().map(text).collect()
}

/// Waits until a message is there; answers its id.
fn came(laptop: &Laptop, text: &str) -> String {
    let event = laptop.event(|event| {
        event["kind"] == "message" && event["text"].as_str().unwrap().ends_with(text)
    });
    let text = event["text"].as_str().unwrap();
    text.split(' ').next().unwrap().to_owned()
}

#[test]
fn h14_a_message_reaches_whom_it_names_once_and_is_answered_and_acknowledged() {
    let team = Team::new();
    let (_box, [alice, bob, carol]) = three(&team);
    let sent = alice
        .aura(&[
            "msg",
            "send",
            "@bob",
            "cap into config, ok?",
            "--about",
            "score",
        ])
        .ok();
    assert_eq!(
        (&sent["state"], &sent["to"]),
        (&"sent".into(), &json!(["bob"]))
    );
    let id = came(&bob, "cap into config, ok?");
    assert_eq!(sent["id"], id.as_str());
    let need = &bob.aura(&["status"]).ok()["needs_you"][0];
    assert_eq!(
        (&need["kind"], &need["id"]),
        (&"message".into(), &json!(id))
    );
    bob.aura(&["msg", "read", &id]).ok();
    bob.aura(&["msg", "reply", &id, "yes"]).ok();
    came(&alice, "yes");
    bob.aura(&["msg", "ack", &id]).ok();
    let answer = inbox(&alice).pop().unwrap();
    assert_eq!(
        (&answer["from"], &answer["re"]),
        (&"bob".into(), &json!(id))
    );
    alice.synced();
    bob.synced();
    let acked = (0..1_000).any(|_| {
        alice.synced();
        inbox(&alice)[0]["acks"] == json!(["bob"])
    });
    assert!(acked);
    // Nobody else is asked to look, and what was read stays read.
    assert_eq!(carol.aura(&["status"]).ok()["needs_you"], json!([]));
    bob.aura(&["down"]).ok();
    bob.aura(&["up"]).ok();
    bob.synced();
    assert_eq!(bob.aura(&["status"]).ok()["needs_you"], json!([]));
    assert_eq!(texts(&bob), ["cap into config, ok?", "yes"]);
}

#[test]
fn h14_all_the_holder_of_a_zone_and_the_editors_of_a_function_are_found_and_nobody_else_is() {
    let team = Team::new();
    let (_box, [alice, bob, carol]) = three(&team);
    alice.aura(&["msg", "send", "@all", "noon"]).ok();
    came(&bob, "noon");
    came(&carol, "noon");
    let zone = bob.aura(&["zone", "claim", "load", "--why", "x"]).ok();
    let zone = zone["ids"][0].as_str().unwrap();
    alice.event(|event| event["text"].as_str().unwrap().contains(zone));
    let to = format!("@zone:{zone}");
    let sent = alice.aura(&["msg", "send", &to, "done?"]).ok();
    assert_eq!(sent["to"], json!(["bob"]));
    carol.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    alice.applied("score");
    let sent = alice.aura(&["msg", "send", "@editing:score", "mine?"]).ok();
    assert_eq!(sent["to"], json!(["carol"]));
    for nobody in ["@dave", "@zone:z-999", "@alice", "@editing:nothing"] {
        let refused = alice.aura(&["msg", "send", nobody, "lost"]);
        assert_eq!(refused.exit, 2, "{nobody}: {refused:?}");
    }
    for laptop in [&bob, &carol] {
        laptop.synced();
        assert!(!texts(laptop).contains(&"lost".to_owned()));
    }
}

#[test]
fn h14_what_is_said_without_the_mothership_waits_and_comes_once_in_order() {
    let team = Team::new();
    let (mut box_, [alice, bob, _carol]) = three(&team);
    let listen = box_.listen.clone();
    bob.aura(&["down"]).ok();
    box_.signal("-KILL");
    alice.event(|event| {
        event["kind"] == "link" && event["text"].as_str().unwrap().starts_with("offline")
    });
    for text in ["one", "two", "three"] {
        let queued = alice.aura(&["msg", "send", "@bob", text]);
        assert_eq!((queued.exit, &queued.json["state"]), (11, &"queued".into()));
    }
    alice.aura(&["down"]).ok();
    let _box = team.serve(&listen);
    alice.aura(&["up"]).ok();
    alice.synced();
    bob.aura(&["up"]).ok();
    bob.synced();
    assert_eq!(texts(&bob), ["one", "two", "three"]);
    assert_eq!(
        bob.aura(&["inbox", "--unread"]).ok()["messages"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    bob.aura(&["msg", "read"]).ok();
    assert_eq!(bob.aura(&["inbox", "--unread"]).ok()["messages"], json!([]));
}

#[test]
fn case_108_a_message_that_would_drive_a_terminal_is_shown_and_drives_nothing() {
    let team = Team::new();
    let (_box, [alice, bob, _carol]) = three(&team);
    let text = "a\u{1b}]0;evil\u{7}\u{1b}[2J\u{202e}b\n2026-01-01 root logged in";
    alice
        .aura(&["msg", "send", "@bob", text, "--about", "\u{1b}[31mred"])
        .ok();
    bob.event(|event| event["kind"] == "message");
    for args in [&["inbox"][..], &["msg", "read"], &["status"]] {
        let output = bob.plain_command().args(args).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let is_bare = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!shown.contains(is_bare), "{args:?}: {shown:?}");
        let is_forged = |line: &str| line.starts_with("2026-01-01");
        assert!(!shown.lines().any(is_forged), "{shown}");
    }
}

#[test]
fn the_prompt_counts_what_waits_and_needs_somebody_and_is_silent_when_all_is_quiet() {
    let team = Team::new();
    let (mut box_, [alice, bob, _carol]) = three(&team);
    let prompt = || {
        let mut command = bob.plain_command();
        command.args(["prompt", "--format", "{word} {waiting} {needs}"]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let until = |wanted: &str| {
        let comes = (0..1_000).any(|_| {
            let is_it = prompt() == wanted;
            bob.aura(&["status"]).ok();
            is_it
        });
        assert!(comes, "{wanted:?} never came, but {:?}", prompt());
    };
    until("");
    alice.aura(&["msg", "send", "@bob", "hello"]).ok();
    came(&bob, "hello");
    until("synced 0 1\n");
    bob.aura(&["msg", "read"]).ok();
    until("");
    box_.signal("-KILL");
    bob.event(|event| {
        event["kind"] == "link" && event["text"].as_str().unwrap().starts_with("offline")
    });
    until("offline 0 0\n");
    bob.aura(&["down"]).ok();
    assert_eq!(prompt(), "");
}

#[test]
fn i12_the_mothership_has_nothing_of_what_is_said() {
    let team = Team::new();
    let (mut box_, [alice, bob, _carol]) = three(&team);
    alice
        .aura(&["msg", "send", "@bob", "hushhush", "--about", "secretplan"])
        .ok();
    came(&bob, "hushhush");
    box_.signal("-KILL");
    for file in files(&team.state()) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        for word in ["hushhush", "secretplan"] {
            let found = bytes
                .windows(word.len())
                .any(|some| some == word.as_bytes());
            assert!(!found, "{word} is in {}", file.display());
        }
    }
}
