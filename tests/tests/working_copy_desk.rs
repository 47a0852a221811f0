//! What the daemon of a device does with files that were not simply edited.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;

use mothership_tests::{Team, copy::put};

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
