//! How a repository stands, in one word, with real processes.

#![allow(clippy::unwrap_used, missing_docs)]

use mothership_tests::{Laptop, Team};

/// The words that were said since the daemon runs, up to the first one after `known` others that is `last`.
fn words(laptop: &Laptop, known: usize, last: &str) -> Vec<String> {
    let mut words = Vec::new();
    laptop.event(|event| {
        if event["kind"] == "state" {
            words.push(event["text"].as_str().unwrap().to_owned());
        }
        known < words.len() && words.last().is_some_and(|word| word == last)
    });
    words
}

fn word(laptop: &Laptop) -> (i32, String) {
    let status = laptop.aura(&["status", "--exit-code"]);
    let word = status.json["word"].as_str().unwrap().to_owned();
    (status.exit, word)
}

#[test]
fn c80_each_word_is_said_when_it_is_so_and_none_flickers() {
    let team = Team::new();
    let mut box_ = team.serve("127.0.0.1:0");
    let listen = box_.listen.clone();
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    let mut said = words(&bob, 0, "synced");
    assert_eq!(said, ["syncing", "synced"]);
    assert_eq!(word(&bob), (0, "synced".to_owned()));
    // What arrives in time changes no word, on either side.
    for cap in 101..=104_u32 {
        let (from, to) = (format!("cap = {}", cap - 1), format!("cap = {cap}"));
        alice.edit("src/risk.rs", &from, &to);
        let mut applied = 100;
        bob.event(|event| {
            applied += u32::from(event["kind"] == "applied");
            applied == cap
        });
    }
    // A zone keeps an edit back, and lets it go.
    let zone = alice
        .aura(&["zone", "claim", "load", "--block", "--why", "mine"])
        .ok();
    let zone = zone["ids"][0].as_str().unwrap();
    bob.event(|event| event["text"].as_str().unwrap().contains(zone));
    bob.edit("src/risk.rs", "name.to_owned()", "name.into()");
    said = words(&bob, said.len(), "partial 1");
    assert_eq!(said.last().unwrap(), "partial 1");
    assert_eq!(word(&bob), (11, "partial".to_owned()));
    alice.aura(&["zone", "release", zone]).ok();
    said = words(&bob, said.len(), "synced");
    // Without the Mothership, and with it again.
    box_.signal("-KILL");
    said = words(&bob, said.len(), "offline");
    assert_eq!(word(&bob), (6, "offline".to_owned()));
    let _box = team.serve(&listen);
    said = words(&bob, said.len(), "synced");
    let back = said.len();
    assert_eq!(said[back - 2..], ["syncing", "synced"], "{said:?}");
    assert!(said.windows(2).all(|pair| pair[0] != pair[1]), "{said:?}");
}
