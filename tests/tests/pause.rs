//! Holding still for a while, with real daemons.

#![allow(clippy::unwrap_used, missing_docs)]

use mothership_tests::{Laptop, Team};
use serde_json::Value;

fn status(laptop: &Laptop) -> Value {
    laptop.aura(&["status"]).ok()
}

#[test]
fn what_is_saved_in_a_pause_is_told_after_it_and_what_comes_meanwhile_is_taken_then() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    alice.aura(&["pause"]).ok();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    bob.edit("src/risk.rs", "name.to_owned()", "name.into()");
    alice.event(|event| event["kind"] == "received" && event["symbol"] == "load");
    let held = status(&alice);
    assert_eq!(held["paused"]["publishing"], "resume", "{held}");
    assert_eq!(held["mine"]["unpublished"], 1);
    assert!(alice.read("src/risk.rs").contains("name.to_owned()"));
    // Who asks for it is told why nothing goes.
    let published = alice.aura(&["publish"]).json;
    let why = published["held_back"][0]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(why.contains("publishing is paused"), "{published}");
    // A restart changes nothing.
    alice.aura(&["down"]).ok();
    alice.aura(&["up"]).ok();
    alice.synced();
    assert_eq!(status(&alice)["paused"], held["paused"]);
    assert!(alice.read("src/risk.rs").contains("name.to_owned()"));
    // What others have is taken when its user asks for it.
    alice.aura(&["pull", "load"]).ok();
    assert!(alice.read("src/risk.rs").contains("name.into()"));
    assert_eq!(alice.aura(&["resume"]).ok()["paused"], Value::Null);
    bob.applied("score");
    assert_eq!(status(&alice)["paused"], Value::Null);
}

#[test]
fn a_pause_with_an_end_ends_by_itself_and_one_way_leaves_the_other_open() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    let paused = alice.aura(&["pause", "--out", "--for", "2s"]).ok();
    assert_eq!(paused["paused"]["taking"], Value::Null, "{paused}");
    assert_ne!(paused["paused"]["publishing"], "resume");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    bob.edit("src/risk.rs", "name.to_owned()", "name.into()");
    alice.applied("load");
    bob.applied("score");
    assert_eq!(status(&alice)["paused"], Value::Null);
}

#[test]
fn a_pull_takes_what_is_in_a_directory_or_matches_a_pattern() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let bob = team.member(&alice, "bob", "observe");
    for path in ["lib/a.rs", "lib/deep/b.rs", "libc.rs"] {
        alice.save(path, "pub fn f() {}\n");
    }
    alice.aura(&["publish"]).ok();
    alice.synced();
    bob.synced();
    let taken = |path: &str| {
        let pulled = bob.aura(&["pull", "--path", path, "--dry-run"]).ok();
        let units = pulled["units"].as_array().unwrap();
        let mut paths: Vec<String> = units
            .iter()
            .map(|unit| unit["path"].as_str().unwrap().to_owned())
            .collect();
        paths.sort();
        paths.dedup();
        paths
    };
    assert_eq!(taken("lib"), ["lib/a.rs", "lib/deep/b.rs"]);
    assert_eq!(taken("./lib/"), ["lib/a.rs", "lib/deep/b.rs"]);
    assert_eq!(taken("lib/*.rs"), ["lib/a.rs"]);
    assert_eq!(taken("**/b.rs"), ["lib/deep/b.rs"]);
    assert_eq!(taken("."), ["lib/a.rs", "lib/deep/b.rs", "libc.rs"]);
    assert_eq!(taken("other"), Vec::<String>::new());
    bob.aura(&["pull", "--path", "lib/[", "--dry-run"])
        .fails(2, "AE-USAGE");
}

#[test]
fn who_wants_to_be_asked_is_offered_each_change_and_takes_what_he_wants() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "ask");
    for (symbol, from, to) in [
        ("score", "let cap = 100", "let cap = 101"),
        ("load", "name.to_owned()", "name.into()"),
    ] {
        alice.edit("src/risk.rs", from, to);
        alice.aura(&["publish", "-m", "faster"]).ok();
        bob.event(|event| event["kind"] == "received" && event["symbol"] == symbol);
    }
    let offered = || {
        let status = status(&bob);
        let needs = status["needs_you"].as_array().unwrap().clone();
        let offers = needs.iter().filter(|need| need["kind"] == "offer");
        let symbols = offers.map(|need| need["symbol"].as_str().unwrap().to_owned());
        let mut symbols: Vec<String> = symbols.collect();
        symbols.sort();
        (symbols, status["next"][0]["cmd"].clone())
    };
    let both = ["src/risk.rs::load", "src/risk.rs::score"];
    let (symbols, next) = offered();
    assert_eq!(symbols, both);
    assert!(
        next.as_str()
            .unwrap()
            .starts_with("aura pull src/risk.rs::")
    );
    assert!(bob.read("src/risk.rs").contains("let cap = 100"));
    bob.aura(&["pull", "src/risk.rs::score"]).ok();
    assert_eq!(offered().0, ["src/risk.rs::load"]);
    let text = bob.read("src/risk.rs");
    assert!(text.contains("let cap = 101") && text.contains("name.to_owned()"));
    bob.aura(&["pull"]).ok();
    assert_eq!(offered().0, Vec::<String>::new());
}
