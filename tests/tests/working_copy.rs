//! What happens to the files of people who edit them while the team's changes arrive.

#![allow(clippy::unwrap_used, missing_docs)]

// The fixtures of every language and the maker of plausible edits.
#[path = "../../crates/aura-semantic/tests/common/mod.rs"]
mod plausible;

use mothership_tests::{Laptop, Mothership, Team};
use plausible::{FIXTURES, bodies, disguises, edit_body, fixture, fresh, next};

/// Alice and Bob, both with files that follow the team's.
fn pair(team: &Team) -> (Mothership, Laptop, Laptop) {
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    (box_, alice, bob)
}

#[test]
fn case_064_and_066_a_patch_lands_byte_for_byte_beside_edits_in_every_way_to_store_a_file() {
    let files: Vec<(String, Vec<u8>)> = FIXTURES
        .iter()
        .flat_map(|name| {
            let stored = disguises(&fixture(name)).into_iter();
            let text = stored.filter(|(disguise, _)| *disguise != "nul");
            text.map(move |(disguise, bytes)| (format!("{disguise}/{name}"), bytes))
        })
        .collect();
    let team = Team::with(&files);
    let (_box, alice, bob) = pair(&team);
    bob.publishes_on_demand();
    let mut expected = Vec::new();
    for (path, bytes) in &files {
        let base = fresh(path, bytes);
        let some = bodies(&base);
        let (first, last) = (some[0], some[some.len() - 1]);
        // Bob's edit, which nobody else has, stands behind that of Alice.
        let mine = edit_body(&base, last, "his");
        let both = edit_body(&next(&base, &mine), first, "hers");
        alice.save(path, edit_body(&base, first, "hers"));
        bob.save(path, mine);
        expected.push((path, both));
    }
    alice.aura(&["publish"]).ok();
    bob.events("applied", files.len());
    for (path, both) in expected {
        assert!(bob.bytes(path) == both, "{path}");
    }
}

#[test]
fn case_064_a_file_with_a_nul_is_not_shared_and_said_so() {
    let (source, changed) = (&b"char *a = \"\0\";\n"[..], &b"char *a = \"\0b\";\n"[..]);
    let team = Team::with(&[("a.c", source)]);
    let (_box, alice, bob) = pair(&team);
    alice.save("a.c", changed);
    alice.event(|event| event["kind"] == "held_back");
    let held = &alice.aura(&["status"]).ok()["mine"]["held_back"][0];
    let why = held.as_str().unwrap();
    assert!(why.starts_with("a.c: UNSUPPORTED_ENCODING"), "{why}");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    bob.applied("score");
    assert_eq!(
        (bob.bytes("a.c"), alice.bytes("a.c")),
        (source.to_vec(), changed.to_vec())
    );
    alice.save("a.c", source);
    alice.edit("src/risk.rs", "let cap = 250", "let cap = 300");
    alice.aura(&["publish"]).ok();
    alice.synced();
    assert_eq!(alice.log(&[]).len(), 2);
}
