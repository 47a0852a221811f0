//! Who edits what now, with real daemons.

#![allow(clippy::unwrap_used, missing_docs)]

use mothership_tests::{Laptop, Team};
use serde_json::{Value, json};

/// Waits until somebody is told to edit a function, and answers what is known of them then.
fn sees(laptop: &Laptop, who: &str, symbol: &str) -> Value {
    let actor = Value::from(who);
    laptop.event(|event| {
        event["kind"] == "editing" && event["actor"] == actor && event["symbol"] == symbol
    });
    doing(laptop, who)
}

fn doing(laptop: &Laptop, who: &str) -> Value {
    let status = laptop.aura(&["status"]).ok();
    let mut peers = status["peers"].as_array().unwrap().iter();
    peers.find(|peer| peer["name"] == who).unwrap()["doing"].clone()
}

fn screen(laptop: &Laptop) -> String {
    let shown = laptop.plain_command().arg("status").output().unwrap();
    String::from_utf8(shown.stdout).unwrap()
}

#[test]
fn an_edit_is_seen_by_others_before_it_is_published_and_most_of_all_by_who_edits_the_same() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let bob = team.member(&alice, "bob", "observe");
    for laptop in [&alice, &bob] {
        laptop.publishes_on_demand();
        laptop.synced();
    }
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    let seen = sees(&alice, "bob", "score");
    assert_eq!(seen[0]["path"], "src/risk.rs", "{seen}");
    let said = (&seen[0]["now"], &seen[0]["mine_too"], &seen[0]["elsewhere"]);
    assert_eq!(said, (&json!(true), &json!(false), &json!(false)));
    assert!(screen(&alice).contains("bob is editing score\n"));
    // Whom it concerns is told first.
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 102");
    let seen = sees(&bob, "alice", "score");
    assert_eq!(seen[0]["mine_too"], true, "{seen}");
    assert!(screen(&bob).contains("editing score, as you do"));
    let sent = alice.aura(&["msg", "send", "@editing:score", "mine?"]).ok();
    assert_eq!(sent["to"], json!(["bob"]));
    // Nothing of it is in a log.
    for laptop in [&alice, &bob] {
        let status = laptop.aura(&["status"]).ok();
        assert_eq!(status["incoming"]["patches"], 0);
        assert_eq!(status["mine"]["published"], 0);
    }
    // Who comes later is told as well.
    let carol = team.member(&alice, "carol", "observe");
    carol.synced();
    for who in ["alice", "bob"] {
        let seen = doing(&carol, who);
        assert_eq!(seen[0]["symbol"], "score", "{who}: {seen}");
    }
}

#[test]
fn who_does_not_want_to_be_seen_is_not() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let bob = team.member(&alice, "bob", "observe");
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    assert_eq!(sees(&alice, "bob", "score").as_array().unwrap().len(), 1);
    bob.aura(&["config", "set", "activity", "off"]).ok();
    bob.save("src/new.rs", "pub fn one() {}\n");
    alice.event(|event| event["kind"] == "received" && event["symbol"] == "src/new.rs");
    // A pause is none of anybody's business either.
    bob.aura(&["config", "set", "activity", "on"]).ok();
    bob.aura(&["pause", "--out"]).ok();
    bob.edit("src/risk.rs", "name.to_owned()", "name.into()");
    bob.aura(&["msg", "send", "@alice", "still here"]).ok();
    alice.event(|event| event["kind"] == "message");
    // What was told before is over as well.
    let is_silent = (0..1_000).any(|_| doing(&alice, "bob") == json!([]));
    assert!(is_silent, "{}", doing(&alice, "bob"));
}
