//! Who belongs: taken in, sent away, and back again, with the real binaries.
//!
//! Invariant: a device is said to read only when the team's log says so on every device.

#![allow(clippy::unwrap_used, missing_docs)]

use aura_proto::message::Role;
use aura_trust::MembershipBody;
use mothership_tests::{
    Laptop, RISK, Team, amount,
    forger::Forger,
    strace::{Fault, Strace, sweep},
    token,
};

fn invite_for(team: &Team, name: &str) -> String {
    token(&team.mothership(&["invite", "--for", name]).ok())
}

fn state_of(laptop: &Laptop, name: &str) -> String {
    let members = laptop.aura(&["members"]).ok();
    let rows = members["members"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == name);
    row.map_or("", |row| row["state"].as_str().unwrap())
        .to_owned()
}

fn is_gone(laptop: &Laptop, name: &str) {
    laptop.event(|event| event["kind"] == "peer_gone" && event["actor"] == name);
    laptop.synced();
}

#[test]
fn a_removed_person_comes_back_under_the_same_name_with_another_laptop() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    alice.join(&token(&box_.ready), "alice", "live").ok();
    let old = team.laptop("old");
    old.join(&invite_for(&team, "bob"), "bob", "live").ok();
    alice.aura(&["members", "approve", "bob"]).ok();
    alice.synced();
    assert_eq!(state_of(&alice, "bob"), "reads");
    team.mothership(&["peer", "revoke", "bob"]).ok();
    is_gone(&alice, "bob");
    let new = team.laptop("new");
    new.join(&invite_for(&team, "bob"), "bob", "live").ok();
    assert_eq!(state_of(&alice, "bob"), "waiting");
    let approved = alice.aura(&["members", "approve", "bob"]).ok();
    assert_eq!(approved["approved"][0], "bob");
    alice.synced();
    assert_eq!(state_of(&alice, "bob"), "reads");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    new.applied("score");
    assert_eq!(
        new.read("src/risk.rs"),
        RISK.replace("let cap = 100", "let cap = 250")
    );
}

#[test]
fn a_removal_while_every_admin_was_away_frees_the_name_as_well() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let old = team.laptop("old");
    old.join(&invite_for(&team, "bob"), "bob", "live").ok();
    alice.event(|event| event["kind"] == "peer_added" && event["actor"] == "bob");
    alice.synced();
    assert_eq!(state_of(&alice, "bob"), "reads");
    alice.aura(&["down"]).ok();
    team.mothership(&["peer", "revoke", "bob"]).ok();
    let new = team.laptop("new");
    new.join(&invite_for(&team, "bob"), "bob", "live").ok();
    alice.aura(&["up"]).ok();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    new.applied("score");
    assert_eq!(new.read("src/risk.rs"), alice.read("src/risk.rs"));
    assert_eq!(state_of(&alice, "bob"), "reads");
}

#[test]
fn what_an_observer_of_the_roster_writes_all_the_same_reaches_no_file() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let mut carol = Forger::join_as(&alice, "carol", "admin");
    let mut mallory = Forger::join(&alice, "mallory");
    alice.event(|event| event["kind"] == "peer_added" && event["actor"] == "mallory");
    alice.synced();
    alice.aura(&["members", "approve", "carol"]).ok();
    alice.synced();
    // The Mothership would take patches of a member; that it is one no more, only devices know.
    carol.decides(&MembershipBody::SetRole {
        peer: mallory.device.key.peer(),
        role: Role::Observer,
    });
    // Whoever starts anew hears all of the team's log before it is synced.
    alice.aura(&["down"]).ok();
    alice.aura(&["up"]).ok();
    alice.synced();
    let changed = RISK.replace("let cap = 100", "let cap = 666");
    let body = mallory.draft("src/risk.rs", RISK.as_bytes(), changed.as_bytes());
    mallory.publish(&body);
    alice.event(|event| event["kind"] == "refused" && event["actor"] == "mallory");
    alice.aura(&["down"]).ok();
    alice.aura(&["up"]).ok();
    alice.synced();
    assert_eq!(alice.read("src/risk.rs"), RISK);
    let log = alice.aura(&["log"]).ok();
    assert_eq!(log["ops"], serde_json::json!([]));
}

#[test]
fn nobody_becomes_an_admin_of_the_roster_without_a_person_who_agreed() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let carol = team.laptop("carol");
    let invite = token(&team.mothership(&["invite", "--role", "admin"]).ok());
    carol.join(&invite, "carol", "live").ok();
    alice.event(|event| event["kind"] == "peer_added" && event["actor"] == "carol");
    alice.synced();
    carol.synced();
    alice.aura(&["down"]).ok();
    let erin = team.laptop("erin");
    erin.join(&invite_for(&team, "erin"), "erin", "live").ok();
    carol.event(|event| event["kind"] == "peer_added" && event["actor"] == "erin");
    carol
        .aura(&["members", "approve", "erin"])
        .fails(4, "FORBIDDEN");
    alice.aura(&["up"]).ok();
    alice.synced();
    alice.aura(&["members", "approve", "carol"]).ok();
    alice.synced();
    carol.synced();
    alice.aura(&["down"]).ok();
    let fred = team.laptop("fred");
    fred.join(&invite_for(&team, "fred"), "fred", "live").ok();
    carol.event(|event| event["kind"] == "peer_added" && event["actor"] == "fred");
    carol.aura(&["members", "approve", "fred"]).ok();
    carol.synced();
    assert_eq!(state_of(&carol, "fred"), "reads");
}

#[test]
fn a_founder_killed_at_any_sync_still_founds_the_team() {
    let kills = sweep(&["fdatasync"], amount(6, 1), Fault::kill, |fault| {
        let team = Team::new();
        let box_ = team.serve("127.0.0.1:0");
        let alice = team.laptop("alice");
        let pid = alice.aura(&["up"]).ok()["pid"].as_u64().unwrap();
        let strace = Strace::attach(u32::try_from(pid).unwrap(), &fault.args());
        let was_killed = alice.join(&token(&box_.ready), "alice", "live").exit != 0;
        if was_killed {
            strace.bury();
        } else {
            drop(strace);
        }
        alice.join(&token(&box_.ready), "alice", "live").ok();
        alice.synced();
        assert_eq!(state_of(&alice, "alice"), "reads");
        let bob = team.laptop("bob");
        bob.join(&invite_for(&team, "bob"), "bob", "live").ok();
        alice.aura(&["members", "approve", "bob"]).ok();
        alice.synced();
        assert_eq!(state_of(&alice, "bob"), "reads", "{fault:?}");
        was_killed
    });
    assert!(amount(1, 4) <= kills, "only {kills} kills");
}

#[test]
fn an_approval_that_the_disk_did_not_take_is_no_approval() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    alice.join(&token(&box_.ready), "alice", "live").ok();
    let bob = team.laptop("bob");
    bob.join(&invite_for(&team, "bob"), "bob", "live").ok();
    let pid = alice.aura(&["up"]).ok()["pid"].as_u64().unwrap();
    let full = Fault {
        call: "pwrite64",
        tampering: "error=ENOSPC:when=1+".to_owned(),
    };
    let strace = Strace::attach(u32::try_from(pid).unwrap(), &full.args());
    alice
        .aura(&["members", "approve", "bob"])
        .fails(13, "NO_SPACE");
    drop(strace);
    alice.aura(&["members", "approve", "bob"]).ok();
    alice.synced();
    assert_eq!(state_of(&alice, "bob"), "reads");
}
