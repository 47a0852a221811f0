//! Zones between real daemons: who holds what, and what that does to the changes of others.
//!
//! Numbers are those of the capabilities and the cases.

#![allow(clippy::unwrap_used, missing_docs)]

use mothership_tests::{Laptop, Mothership, Team, files, send_signal};
use serde_json::Value;

fn pair(team: &Team) -> (Mothership, Laptop, Laptop) {
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    (box_, alice, bob)
}

fn claim(laptop: &Laptop, args: &[&str]) -> Value {
    laptop
        .aura(&[&["zone", "claim"], args, &["--why", "work"]].concat())
        .ok()
}

fn ids(laptop: &Laptop, mine: bool) -> Vec<String> {
    let args = ["zone", "list", "--mine"];
    let list = laptop.aura(&args[..2 + usize::from(mine)]).ok();
    let zones = list["zones"].as_array().unwrap().iter();
    zones
        .map(|zone| zone["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until a laptop has heard of something about zones.
fn heard(laptop: &Laptop, text: &str) {
    laptop.event(|event| {
        event["text"]
            .as_str()
            .is_some_and(|said| said.contains(text))
    });
}

#[test]
fn h13_a_blocked_function_is_changed_by_its_holder_alone_and_by_others_when_it_is_released() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    let held = claim(&alice, &["score", "--block"]);
    let id = held["ids"][0].as_str().unwrap().to_owned();
    assert_eq!(held["zone"]["covers"][0], "src/risk.rs::score", "{held}");
    heard(&bob, &id);
    // Another function of the file is free.
    bob.edit("src/risk.rs", "name.to_owned()", "name.into()");
    alice.applied("load");
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 666");
    let status = bob.event(|event| event["kind"] == "held_back");
    assert!(status["text"].as_str().unwrap().contains(&id), "{status}");
    alice.edit("src/risk.rs", "min(a, cap)", "min(cap, a)");
    bob.event(|event| event["kind"] == "received" && event["symbol"] == "score");
    assert!(
        bob.read("src/risk.rs").contains("let cap = 666"),
        "his edit stays"
    );
    assert!(alice.read("src/risk.rs").contains("let cap = 100"));
    alice.aura(&["zone", "release", &id]).ok();
    heard(&bob, &format!("{id} is over"));
    alice.event(|event| event["kind"] == "received" && event["symbol"] == "score");
    assert_eq!(ids(&alice, false), Vec::<String>::new());
    assert_eq!(
        alice.aura(&["zone", "release", &id]).ok()["state"],
        "nothing"
    );
}

#[test]
fn h13_case_086_what_meets_is_refused_with_its_holder_and_what_does_not_is_granted() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    let held = claim(&alice, &["src/risk.rs", "--block"]);
    let id = held["ids"][0].as_str().unwrap().to_owned();
    heard(&bob, &id);
    for what in [
        "src",
        "src/**",
        "src/risk.rs",
        "SRC/Risk.rs",
        "score",
        "src/*.rs",
        ".",
    ] {
        let refused = bob.aura(&["zone", "claim", what, "--why", "work"]);
        let refused = refused.fails(8, "ZONE_HELD");
        let error = &refused["error"];
        assert_eq!(error["data"]["holder"], "alice", "{what}: {error}");
        assert_eq!(format!("z-{}", error["data"]["fence"]), id);
    }
    claim(&bob, &["src/caf\u{e9}.rs", "--block"]);
    heard(&alice, "caf");
    alice
        .aura(&["zone", "claim", "src/cafe\u{301}.rs", "--why", "work"])
        .fails(8, "ZONE_HELD");
    bob.aura(&["zone", "release", &id]).fails(4, "FORBIDDEN");
    // Those who only warn may both be there.
    alice.aura(&["zone", "release", "--all"]).ok();
    heard(&bob, &format!("{id} is over"));
    claim(&alice, &["src/risk.rs"]);
    claim(&bob, &["score"]);
    assert_eq!(ids(&bob, true).len(), 2);
}

#[test]
fn h13_what_no_zone_can_be_is_refused_at_once_and_a_place_is_found_in_whatever_form_it_is_named() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    for ttl in ["25h", "400d"] {
        let args = ["zone", "claim", "score", "--why", "work", "--ttl", ttl];
        alice.aura(&args).fails(2, "AE-USAGE");
    }
    let held = claim(&alice, &["score", "score", "src/risk.rs::score", "--block"]);
    let id = held["ids"][0].as_str().unwrap().to_owned();
    assert_eq!(held["zone"]["covers"].as_array().unwrap().len(), 1);
    heard(&bob, &id);
    let covering = |place: &str| {
        let list = bob.aura(&["zone", "list", "--path", place]).ok();
        list["zones"].as_array().unwrap().len()
    };
    for place in [
        "score",
        "src/risk.rs::score",
        "src/risk.rs",
        "./src/risk.rs",
        "src/",
        "SRC/Risk.rs",
        ".",
    ] {
        assert_eq!(covering(place), 1, "{place}");
    }
    assert_eq!(covering("load"), 0);
    alice
        .aura(&["zone", "extend", &id, "--ttl", "30h"])
        .fails(2, "AE-USAGE");
    alice.aura(&["zone", "extend", &id, "--ttl", "20h"]).ok();
    let list = alice.aura(&["zone", "list"]).ok();
    let zone = &list["zones"][0];
    assert_eq!(zone["changes"], 0);
    // Whoever wants to take back what is in it is told whose it is, and nothing waits for the end of the zone.
    let op = {
        alice.edit("src/risk.rs", "let cap = 100", "let cap = 101");
        alice.aura(&["publish"]).ok();
        let ops = alice.aura(&["log", "score"]).ok()["ops"].clone();
        ops[0]["op"].as_str().unwrap().to_owned()
    };
    bob.applied("score");
    let refused = bob.aura(&["restore", "score", "--at", &op]);
    assert_eq!(refused.exit, 0, "it is what is here");
    alice.aura(&["zone", "release", &id]).ok();
    heard(&bob, &format!("{id} is over"));
    let again = claim(&bob, &["score", "--block"]);
    let again = again["ids"][0].as_str().unwrap().to_owned();
    heard(&alice, &again);
    let refused = alice.aura(&["undo"]).fails(8, "ZONE_HELD");
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .contains(&again)
    );
    let status = alice.aura(&["status"]).ok();
    assert_eq!(status["mine"]["held_back"], serde_json::json!([]));
    assert!(alice.read("src/risk.rs").contains("let cap = 101"));
}

#[test]
fn h13_a_zone_is_taken_asked_for_granted_and_denied_and_each_hears_of_it() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    let first = claim(&alice, &["score", "--block"]);
    let first = first["ids"][0].as_str().unwrap().to_owned();
    heard(&bob, &first);
    let taken = claim(&bob, &["score", "--block", "--take"]);
    assert_eq!(taken["taken"][0], first.as_str());
    let second = taken["ids"][0].as_str().unwrap().to_owned();
    heard(&alice, &format!("taking {first}"));
    alice
        .aura(&["zone", "ask", &second, "need it by noon"])
        .ok();
    heard(&bob, "need it by noon");
    let list = bob.aura(&["zone", "list", "--mine"]).ok();
    let ask = list["zones"][0]["asks"][0]["id"].as_str().unwrap();
    bob.aura(&["zone", "deny", ask]).ok();
    heard(&alice, "denied");
    alice.aura(&["zone", "ask", &second, "now?"]).ok();
    heard(&bob, "now?");
    let list = bob.aura(&["zone", "list", "--mine"]).ok();
    let ask = list["zones"][0]["asks"][0]["id"].as_str().unwrap();
    bob.aura(&["zone", "grant", ask]).ok();
    heard(&alice, "granted");
    assert_eq!(ids(&alice, true).len(), 1);
    assert_eq!(ids(&bob, true), Vec::<String>::new());
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 7");
    bob.applied("score");
}

#[test]
fn case_084_of_many_who_claim_one_path_one_holds_it_and_fences_only_grow() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    let mut last = 0;
    for _ in 0..5 {
        let claims: Vec<_> = [&alice, &bob, &alice, &bob]
            .into_iter()
            .map(|laptop| {
                let mut command = laptop.command();
                command.args(["zone", "claim", "score", "--block", "--why", "race"]);
                command.stdout(std::process::Stdio::piped());
                (laptop, command.spawn().unwrap())
            })
            .collect();
        let done = claims
            .into_iter()
            .map(|(laptop, child)| (laptop, child.wait_with_output().unwrap()));
        let mut holders = Vec::new();
        for (laptop, output) in done {
            match output.status.code() {
                Some(0) => holders.push(laptop),
                code => assert_eq!(code, Some(8), "{output:?}"),
            }
        }
        assert!(!holders.is_empty());
        assert!(
            holders
                .iter()
                .all(|holder| std::ptr::eq(*holder, holders[0])),
            "two hold it"
        );
        let zones = holders[0].aura(&["zone", "list"]).ok()["zones"].clone();
        for zone in zones.as_array().unwrap() {
            let fence = zone["fence"].as_u64().unwrap();
            assert!(last < fence, "{fence} after {last}");
            last = fence;
        }
        holders[0].aura(&["zone", "release", "--all"]).ok();
        for laptop in [&alice, &bob] {
            heard(laptop, &format!("z-{last} is over"));
        }
    }
}

#[test]
fn case_085_a_holder_that_was_paused_changes_nothing_in_what_is_held_by_another_now() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    let held = claim(&alice, &["score", "--block"]);
    heard(&bob, held["ids"][0].as_str().unwrap());
    let pid = alice.aura(&["up"]).ok()["pid"].as_u64().unwrap();
    let pid = u32::try_from(pid).unwrap();
    send_signal(pid, "-STOP");
    claim(&bob, &["score", "--block", "--take"]);
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 200");
    bob.event(|event| event["kind"] == "published");
    bob.synced();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 666");
    send_signal(pid, "-CONT");
    alice.event(|event| {
        let text = event["text"].as_str().unwrap_or_default();
        matches!(event["kind"].as_str(), Some("held_back" | "refused")) && text.contains("z-")
    });
    alice.synced();
    bob.synced();
    assert!(bob.read("src/risk.rs").contains("let cap = 200"));
    assert!(
        alice.read("src/risk.rs").contains("let cap = 666"),
        "her edit stays"
    );
    bob.aura(&["zone", "release", "--all"]).ok();
    alice.event(|event| event["kind"] == "conflict");
}

#[test]
fn h13_a_zone_in_which_nothing_happens_ends_by_itself_and_what_waited_for_it_goes_on() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    let held = claim(&alice, &["score", "--block", "--ttl", "2s"]);
    let id = held["ids"][0].as_str().unwrap().to_owned();
    heard(&bob, &id);
    let args = [
        "zone", "claim", "score", "--block", "--wait", "30s", "--why", "next",
    ];
    let next = bob.aura(&args).ok();
    assert_eq!(next["zone"]["holder"], "bob", "{next}");
    heard(&alice, &format!("{id} is over"));
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 200");
    alice.applied("score");
}

#[test]
fn case_088_a_restart_of_the_mothership_leaves_holder_and_fence_as_they_are() {
    let team = Team::new();
    let (mut box_, alice, bob) = pair(&team);
    let held = claim(&alice, &["score", "--block"]);
    heard(&bob, held["ids"][0].as_str().unwrap());
    let before = bob.aura(&["zone", "list"]).ok()["zones"].clone();
    let listen = box_.listen.clone();
    box_.signal("-KILL");
    let _box = team.serve(&listen);
    alice.aura(&["down"]).ok();
    alice.aura(&["up"]).ok();
    for laptop in [&alice, &bob] {
        laptop.aura(&["reconnect"]).ok();
        laptop.synced();
    }
    assert_eq!(bob.aura(&["zone", "list"]).ok()["zones"], before);
    bob.aura(&["zone", "claim", "score", "--why", "work"])
        .fails(8, "ZONE_HELD");
}

#[test]
fn case_090_without_the_mothership_nothing_is_claimed_and_what_is_held_is_shown_with_its_age() {
    let team = Team::new();
    let (mut box_, alice, _bob) = pair(&team);
    claim(&alice, &["score"]);
    box_.signal("-KILL");
    alice.event(|event| {
        event["kind"] == "link" && event["text"].as_str().unwrap().starts_with("offline")
    });
    alice
        .aura(&["zone", "claim", "load", "--why", "work"])
        .fails(6, "ZONE_UNAVAILABLE");
    let list = alice.aura(&["zone", "list"]).ok();
    assert!(list["offline_for_s"].is_u64(), "{list}");
    assert_eq!(list["zones"].as_array().unwrap().len(), 1);
}

#[test]
fn i12_the_mothership_sees_neither_paths_nor_names_nor_reasons_of_zones() {
    let team = Team::with(&[("src/secretplan.rs", "fn hushhush() {}\n")]);
    let (mut box_, alice, bob) = pair(&team);
    let held = claim(
        &alice,
        &["src/secretplan.rs::hushhush", "src/secretplan.rs"],
    );
    alice
        .aura(&["zone", "extend", held["ids"][0].as_str().unwrap()])
        .ok();
    heard(&bob, "secretplan");
    box_.signal("-KILL");
    for entry in files(&team.state()) {
        let bytes = std::fs::read(&entry).unwrap_or_default();
        for word in ["secretplan", "hushhush", "work"] {
            let found = bytes
                .windows(word.len())
                .any(|some| some == word.as_bytes());
            assert!(!found, "{word} is in {}", entry.display());
        }
    }
}
