//! Whose code a change touches, as its users meet it, with the real binaries.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;

use mothership_tests::{Laptop, Team, git};
use serde_json::Value;

const API: &str = "\
use crate::risk::load;

pub fn quote() -> String {
    load(\"risk\")
}
";

const OTHER: &str = "\
fn load(name: &str) -> usize {
    name.len()
}

pub fn count() -> usize {
    load(\"other\")
}
";

fn alerts(laptop: &Laptop) -> Vec<Value> {
    let document = laptop.aura(&["impact"]).ok();
    assert_eq!(document["schema"], "aura.impact/1");
    assert_eq!(document["ready"], true);
    document["alerts"].as_array().unwrap().clone()
}

/// Writes a new file and publishes it.
fn adds(laptop: &Laptop, path: &str, text: &str) {
    fs::write(laptop.repo.join(path), text).unwrap();
    laptop.aura(&["publish"]).ok();
}

/// Waits until this device has so many entries that others published.
fn has_received(laptop: &Laptop, symbol: &str) {
    laptop.event(|event| event["kind"] == "received" && event["symbol"] == symbol);
}

#[test]
fn h05_who_calls_what_changed_is_told_and_nobody_else() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let bob = team.member(&alice, "bob", "observe");
    let carol = team.member(&alice, "carol", "observe");
    adds(&carol, "src/api.rs", API);
    adds(&bob, "src/other.rs", OTHER);
    alice.synced();
    // What changes inside is told to who asks, and asks nothing of anybody.
    alice.edit("src/risk.rs", "name.to_owned()", "name.trim().to_owned()");
    alice.aura(&["publish"]).ok();
    has_received(&carol, "load");
    let told = alerts(&carol);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["kind"], "body");
    assert_eq!(
        carol.aura(&["status"]).ok()["needs_you"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    alice.edit(
        "src/risk.rs",
        "load(name: &str)",
        "load(name: &str, at: u32)",
    );
    alice.aura(&["publish", "-m", "by row"]).ok();
    let event = carol.event(|event| {
        event["kind"] == "impact" && event["text"].as_str().unwrap().ends_with("signature")
    });
    assert_eq!(
        (&event["symbol"], &event["actor"]),
        (&"src/api.rs::quote".into(), &"alice".into())
    );
    let told = alerts(&carol);
    assert_eq!(told.len(), 1, "{told:?}");
    let alert = &told[0];
    let shown = ["caller", "callee", "kind", "confidence", "author"]
        .map(|key| alert[key].as_str().unwrap());
    assert_eq!(
        shown,
        [
            "src/api.rs::quote",
            "src/risk.rs::load",
            "signature",
            "certain",
            "alice"
        ]
    );
    let needs = carol.aura(&["status"]).ok()["needs_you"].clone();
    assert_eq!(
        (&needs[0]["kind"], &needs[0]["id"]),
        (&"impact".into(), &alert["id"])
    );
    let off = carol.aura(&["impact", "snooze", "2h"]).ok();
    assert_eq!(off["snoozed"][0], alert["id"]);
    assert!(off["alerts"][0]["snoozed_until"].is_string(), "{off}");
    let needs = carol.aura(&["status"]).ok()["needs_you"].clone();
    assert_eq!(needs.as_array().unwrap().len(), 0, "{needs}");
    has_received(&bob, "load");
    assert_eq!(alerts(&bob), Vec::<Value>::new());
    assert_eq!(alerts(&alice), Vec::<Value>::new());
    let id = alert["id"].as_str().unwrap();
    assert_eq!(carol.aura(&["impact", "ack", id]).ok()["acked"][0], id);
    assert_eq!(alerts(&carol), Vec::<Value>::new());
    carol.aura(&["impact", "ack", id]).fails(2, "AE-NO-ALERT");
}

#[test]
fn h05_a_deletion_and_a_rename_reach_callers_in_files_that_are_written_at_once() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let carol = team.member(&alice, "carol", "live");
    adds(
        &carol,
        "src/api.rs",
        &API.replace("load", "score").replace("\"risk\"", "3"),
    );
    adds(&carol, "src/more.rs", API);
    alice.synced();
    alice.edit("src/risk.rs", "fn load", "fn fetch");
    alice.aura(&["publish"]).ok();
    carol.event(|event| event["kind"] == "impact" && event["symbol"] == "src/more.rs::quote");
    let text = alice.read("src/risk.rs");
    let (before, rest) = text.split_once("/// Scores.").unwrap();
    let (_, after) = rest.split_once("pub fn fetch").unwrap();
    fs::write(
        alice.repo.join("src/risk.rs"),
        format!("{before}pub fn fetch{after}"),
    )
    .unwrap();
    alice.aura(&["publish"]).ok();
    carol.event(|event| event["kind"] == "impact" && event["symbol"] == "src/api.rs::quote");
    let rows = alerts(&carol).into_iter();
    let kinds: Vec<String> = rows
        .map(|alert| {
            format!(
                "{} {}",
                alert["callee"].as_str().unwrap(),
                alert["kind"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        kinds,
        ["src/risk.rs::load renamed", "src/risk.rs::score deleted"]
    );
}

#[test]
fn h05_another_branch_and_two_hops_away_are_told_as_well() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    let carol = team.member(&alice, "carol", "live");
    adds(&bob, "src/api.rs", API);
    carol.event(|event| event["kind"] == "applied");
    adds(
        &carol,
        "src/page.rs",
        "use crate::api;\n\npub fn page() -> String {\n    api::quote()\n}\n",
    );
    git(&bob.repo, &["switch", "-qc", "feat"]);
    bob.aura(&["wait", "--for", "synced", "--timeout", "30s"])
        .ok();
    alice.synced();
    alice.edit(
        "src/risk.rs",
        "load(name: &str)",
        "load(name: &str, at: u32)",
    );
    alice.aura(&["publish"]).ok();
    bob.event(|event| event["kind"] == "impact");
    let told = alerts(&bob);
    assert_eq!(
        told[0]["branch"].as_str().unwrap().rsplit('/').next(),
        Some("main")
    );
    carol.event(|event| event["kind"] == "impact");
    let told = alerts(&carol);
    assert_eq!(
        (&told[0]["caller"], &told[0]["via"]),
        (&"src/page.rs::page".into(), &"src/api.rs::quote".into())
    );
    assert_eq!(
        carol.aura(&["status"]).ok()["needs_you"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn impact_of_a_symbol_names_its_callers_with_how_sure_that_is() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    fs::write(alice.repo.join("src/api.rs"), API).unwrap();
    fs::write(alice.repo.join("src/other.rs"), OTHER).unwrap();
    alice.aura(&["publish"]).ok();
    let found = alice.aura(&["impact", "src/risk.rs::load"]).ok();
    let callers = found["callers"].as_array().unwrap();
    assert_eq!(callers.len(), 1, "{callers:?}");
    assert_eq!(callers[0]["symbol"], "src/api.rs::quote");
    assert_eq!(
        (&callers[0]["line"], &callers[0]["confidence"]),
        (&3.into(), &"certain".into())
    );
    let found = alice.aura(&["impact", "src/other.rs::load"]).ok();
    assert_eq!(found["callers"][0]["symbol"], "src/other.rs::count");
    alice.aura(&["impact", "nothing"]).fails(2, "AE-NO-SYMBOL");
}
