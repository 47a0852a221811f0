//! The history of functions that got another name or went to another file.

use std::fs;

use serde_json::Value;

use super::{applied, column, publish, rows, two, word};

#[test]
fn h17_a_renamed_and_a_moved_function_keep_their_history() {
    let (_team, _box, alice, bob) = two();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    publish(&alice, "higher cap");
    alice.edit("src/risk.rs", "pub fn score", "pub fn limit");
    publish(&alice, "a better name");
    applied(&bob, "limit", 1);
    for name in ["limit", "score"] {
        let log = bob.aura(&["log", name]).ok();
        assert_eq!(rows(&log, "ops").len(), 2, "{name}: {log}");
        assert_eq!(log["ops"][0]["kind"], "rename");
        assert_eq!(log["ops"][0]["renamed_from"], "score");
        assert_eq!(log["symbols"][0], "src/risk.rs::limit");
    }
    // The name is a part of the text.
    let first = column(&bob, "limit", "op")[1].clone();
    alice.aura(&["restore", "limit", "--at", &first]).ok();
    assert!(alice.read("src/risk.rs").contains("pub fn score"));
    assert_eq!(column(&alice, "score", "kind")[0], "rename");
    applied(&bob, "score", 2);
    // To another file, in one save.
    let whole = alice.read("src/risk.rs");
    let at = whole.find("pub fn load").unwrap();
    fs::write(alice.repo.join("src/risk.rs"), &whole[..at]).unwrap();
    fs::write(alice.repo.join("src/load.rs"), &whole[at..]).unwrap();
    alice.aura(&["publish", "-m", "its own file"]).ok();
    bob.synced();
    applied(&bob, "src/load.rs", 1);
    let log = bob.aura(&["log", "src/load.rs::load"]).ok();
    let places: Vec<String> = rows(&log, "ops")
        .iter()
        .map(|op| word(&op["symbol"]))
        .collect();
    assert_eq!(places.len(), 2, "{log}");
    assert!(places.contains(&"src/risk.rs::load".to_owned()), "{log}");
    // Before it moved it was what it was there.
    let was = bob
        .aura(&["show", "src/load.rs::load", "--at", &first])
        .ok();
    assert_eq!(was["state"], "present", "{was}");
    assert!(word(&was["text"]).contains("pub fn load"), "{was}");
    let newest = rows(&log, "ops")
        .into_iter()
        .find(|op| op["kind"] != "delete")
        .unwrap();
    assert_eq!(newest["moved_from"], "src/risk.rs::load");
}

#[test]
fn h17_a_function_that_was_taken_away_and_back_came_from_nowhere() {
    let (_team, _box, alice, _bob) = two();
    let (here, there) = ("src/here.rs", "src/there.rs");
    let put = |path: &str, text: &str| {
        fs::write(alice.repo.join(path), text).unwrap();
        alice.aura(&["publish"]).ok();
    };
    let function = "pub fn wander() -> u32 {\n    41 + 1\n}\n";
    let (rest, other) = ("pub fn stay() {}\n", "pub fn other() {}\n");
    put(here, rest);
    put(there, other);
    put(here, &format!("{rest}\n{function}"));
    let first = column(&alice, "src/here.rs::wander", "op")[0].clone();
    for (from, kept, to, beside) in [(here, rest, there, other), (there, other, here, rest)] {
        fs::write(alice.repo.join(from), kept).unwrap();
        fs::write(alice.repo.join(to), format!("{beside}\n{function}")).unwrap();
        alice.aura(&["publish"]).ok();
    }
    let log = alice.aura(&["log", "src/here.rs::wander"]).ok();
    let ops = rows(&log, "ops");
    let oldest = ops.iter().find(|op| op["op"] == first.as_str()).unwrap();
    assert_eq!(oldest["moved_from"], Value::Null, "{log}");
    let was = alice
        .aura(&["show", "src/here.rs::wander", "--at", "2020-01-01"])
        .ok();
    assert_eq!(was["state"], "absent", "{was}");
}
