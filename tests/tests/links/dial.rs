//! Which address leads to whom, and what is shown of those that do not.

use mothership_tests::Laptop;
use serde_json::Value;

use crate::{Mesh, free, linked};

/// The row of a device in what another one says of how it is reached.
pub(crate) fn row(laptop: &Laptop, of: &str) -> Value {
    let said = laptop.aura(&["netcheck", of]).ok();
    said["peers"][0].clone()
}

#[test]
fn c32_of_four_addresses_the_one_that_answers_wins_and_the_others_are_shown() {
    let dead = ["127.0.9.1", "127.0.9.2", "127.0.9.3"].map(free);
    let own = free("127.0.1.2");
    let all = format!("{},{own}", dead.join(","));
    let prepare = |n: usize, laptop: &mut Laptop| {
        if n == 1 {
            laptop.listen = Some(own.clone());
            laptop.announce = Some(all.clone());
        }
    };
    let mesh = Mesh::with(&["alice", "bob"], prepare, |_, invite| invite);
    let alice = &mesh.laptops[0];
    // Who dialled whom is chance; now alice dials bob.
    alice.aura(&["reconnect", "bob"]).ok();
    alice.aura(&["ping", "bob"]).ok();
    let row = row(alice, "bob");
    assert_eq!(row["path"], "direct");
    let tried = row["tried"].as_array().unwrap();
    for tried in tried.iter().filter(|tried| tried["address"] != own) {
        assert!(
            ["refused", "slower"].contains(&tried["result"].as_str().unwrap()),
            "{tried}"
        );
    }
}

#[test]
fn case_021_an_address_at_which_another_member_answers_is_not_taken_for_the_one_that_was_dialled() {
    let carol_at = free("127.0.1.3");
    let prepare = |n: usize, laptop: &mut Laptop| match n {
        // Bob says that he is where carol is, and dials nobody himself.
        1 => laptop.announce = Some(carol_at.clone()),
        2 => laptop.listen = Some(carol_at.clone()),
        _ => {}
    };
    let mesh = Mesh::apart(&["alice", "bob", "carol"], prepare);
    let [alice, ..] = &mesh.laptops[..] else {
        panic!("three laptops");
    };
    linked(alice, "carol");
    alice.aura(&["reconnect", "bob"]).ok();
    let met = alice.aura(&["ping", "bob", "--timeout", "5s"]);
    let row = row(alice, "bob");
    let tried = row["tried"].as_array().unwrap();
    let wrong = tried
        .iter()
        .find(|tried| tried["address"] == carol_at)
        .unwrap();
    assert_eq!(wrong["result"], "IDENTITY_MISMATCH", "{met:?} {row}");
}

#[test]
fn a_device_listens_as_soon_as_its_address_is_free() {
    let taken = std::net::TcpListener::bind("127.0.2.21:0").unwrap();
    let place = taken.local_addr().unwrap().to_string();
    let prepare = |n: usize, laptop: &mut Laptop| match n {
        0 => laptop.listen = Some(place.clone()),
        _ => laptop.links = vec![("AURA_LINKS_VISIBILITY", "outbound")],
    };
    let mesh = Mesh::apart(&["alice", "bob"], prepare);
    let [alice, bob] = &mesh.laptops[..] else {
        panic!("two laptops");
    };
    let netcheck = alice.aura(&["netcheck"]).ok();
    assert_eq!(netcheck["listens"], serde_json::json!([]));
    let why = netcheck["listens_not"].as_str().unwrap();
    assert!(
        why.starts_with(&format!("cannot listen at {place}: ")),
        "{why}"
    );
    drop(taken);
    linked(alice, "bob");
    assert_eq!(alice.aura(&["netcheck"]).ok()["listens_not"], Value::Null);
    let pong = bob.aura(&["ping", "@alice"]).ok();
    assert_eq!(pong["address"], place.as_str(), "{pong}");
}

#[test]
fn c79_of_each_peer_and_of_what_comes_in_the_same_is_known_to_scripts_as_to_people() {
    let mesh = Mesh::of(&["alice/desk", "bob"]);
    let [alice, bob] = &mesh.laptops[..] else {
        panic!("two laptops");
    };
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    bob.applied("score");
    // A link is measured when it begins.
    bob.aura(&["ping", "alice/desk"]).ok();
    let peers = bob.aura(&["peers"]).ok();
    let mut rows = peers["peers"].as_array().unwrap().iter();
    let row = rows.find(|row| row["name"] == "alice/desk").unwrap();
    assert_eq!(
        (&row["person"], &row["path"]),
        (&"alice".into(), &"direct".into())
    );
    assert_eq!(row["peer"].as_str().unwrap().len(), 52);
    for field in ["rtt_ms", "score_ms", "up_ms"] {
        assert!(row[field].is_u64(), "{field}: {row}");
    }
    assert_eq!(row["rtt_ms"], row["score_ms"], "nothing has failed");
    let netcheck = bob.aura(&["netcheck"]).ok();
    assert_eq!(netcheck["reachable"], "direct");
    let stream = &bob.aura(&["status"]).ok()["stream"];
    assert!(stream["received"].as_u64() >= Some(1), "{stream}");
    assert!(stream["delay_ms"].as_u64() < Some(60_000), "{stream}");
    assert!(stream["last"].is_string(), "{stream}");
    assert_eq!(
        mesh.laptops[0].aura(&["status"]).ok()["stream"]["received"],
        0
    );
}
