//! Laptops that cannot dial each other, and who passes on between them.

use std::{fs, path::PathBuf};

use aura_proto::PeerId;
use mothership_tests::{Laptop, files, proxy::Proxy, token};
use serde_json::Value;

use crate::{Mesh, dial::row, free, linked};

/// Two laptops of which each says that it is behind a proxy, and these let nobody through.
struct Doors {
    places: [String; 2],
    proxies: [Proxy; 2],
}

impl Doors {
    fn closed(ips: [&str; 2]) -> Self {
        let places = ips.map(free);
        let proxies = places.each_ref().map(|place| Proxy::to(place));
        proxies.iter().for_each(Proxy::close);
        Self { places, proxies }
    }

    fn prepare(&self, n: usize, laptop: &mut Laptop) {
        if n < 2 {
            laptop.listen = Some(self.places[n].clone());
            laptop.announce = Some(self.proxies[n].listen.clone());
        }
    }
}

/// The answer of a device that is reached through a relay, which a person is told by the exit code.
fn relayed(laptop: &Laptop, whom: &str) -> Value {
    let pong = laptop.aura(&["ping", whom]);
    let way = (pong.exit, &pong.json["path"]);
    assert_eq!(way, (11, &"relayed".into()), "{}", row(laptop, whom));
    pong.json
}

#[test]
fn h8_c27_whom_no_address_leads_to_is_reached_through_the_mothership_until_an_address_does() {
    let doors = Doors::closed(["127.0.2.1", "127.0.2.2"]);
    let prepare = |n: usize, laptop: &mut Laptop| doors.prepare(n, laptop);
    let mesh = Mesh::apart(&["alice", "bob"], prepare);
    let [alice, bob] = &mesh.laptops[..] else {
        panic!("two laptops");
    };
    relayed(alice, "bob");
    let why = row(alice, "bob");
    assert_eq!(why["path"], "relayed", "{why}");
    assert_eq!(why["why"], "no announced address answered", "{why}");
    let tried = why["tried"].as_array().unwrap();
    assert_eq!(tried[0]["address"], doors.proxies[1].listen, "{why}");
    relayed(bob, "alice");
    let status = mesh.team.mothership(&["status"]).ok();
    let circuits = status["circuits"].as_u64().unwrap();
    assert!((1..=2).contains(&circuits), "{status}");
    assert!(
        1_000 < status["relayed_bytes"].as_u64().unwrap(),
        "{status}"
    );
    doors.proxies[1].open();
    alice.aura(&["reconnect", "bob"]).ok();
    alice.event(|event| {
        event["kind"] == "direct" && event["text"] == "no link with bob: a better link took over"
    });
    let pong = alice.aura(&["ping", "bob"]).ok();
    assert_eq!(pong["path"], "direct", "{pong}");
    assert_eq!(pong["address"], doors.proxies[1].listen);
    // The direct path dies, and the relay serves again.
    doors.proxies[1].close();
    relayed(alice, "bob");
}

#[test]
fn c52_a_strict_device_is_reached_through_the_mothership_and_told_of_nowhere() {
    let strict = |n: usize, laptop: &mut Laptop| {
        if n == 1 {
            laptop.links = vec![("AURA_LINKS_VISIBILITY", "strict")];
        }
    };
    let mesh = Mesh::apart(&["alice", "bob"], strict);
    let [alice, bob] = &mesh.laptops[..] else {
        panic!("two laptops");
    };
    relayed(alice, "bob");
    assert_eq!(row(alice, "bob")["tried"].as_array().unwrap().len(), 0);
    relayed(bob, "alice");
}

/// The identity key of a device.
fn id_of(laptop: &Laptop, name: &str) -> Vec<u8> {
    let peers = laptop.aura(&["peers"]).ok();
    let peers = peers["peers"].as_array().unwrap();
    let row = peers.iter().find(|row| row["name"] == name).unwrap();
    let id: PeerId = row["peer"].as_str().unwrap().parse().unwrap();
    id.0.to_vec()
}

#[test]
fn c27_c72_a_device_that_relays_serves_two_that_cannot_meet_while_the_mothership_is_dead() {
    let doors = Doors::closed(["127.0.2.3", "127.0.2.4"]);
    let prepare = |n: usize, laptop: &mut Laptop| doors.prepare(n, laptop);
    let mut mesh = Mesh::apart(&["alice", "bob"], prepare);
    let mut relay = mesh.team.laptop("relay");
    relay.listen = Some("127.0.2.5:0".to_owned());
    let invite = mesh.team.mothership(&["invite", "--role", "relay"]).ok();
    let joined = relay.join(&token(&invite), "relay", "observe").ok();
    assert_eq!(joined["state"], "joined", "it waits for no key: {joined}");
    let status = relay.aura(&["status"]).ok();
    assert_eq!(status["needs_you"].as_array().unwrap().len(), 0, "{status}");
    let listen = mesh.box_.listen.clone();
    mesh.box_.signal("-KILL");
    let [alice, bob] = &mesh.laptops[..] else {
        panic!("two laptops");
    };
    linked(alice, "relay");
    linked(bob, "relay");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 8191");
    bob.applied("score");
    relayed(alice, "bob");
    bob.edit("src/risk.rs", "name.to_owned()", "name.into()");
    alice.applied("load");
    // Whoever relays keeps what it passes on, and reads none of it.
    let kept = files(&relay.home.join("repos"));
    let has = |file: &PathBuf, needle: &[u8]| {
        let bytes = fs::read(file).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle)
    };
    assert!(kept.iter().any(|file| has(file, &id_of(alice, "alice"))));
    for file in files(&relay.home) {
        let is_open = has(&file, b"8191") || has(&file, b"name.into()");
        assert!(!is_open, "{}", file.display());
    }
    mesh.box_ = mesh.team.serve(&listen);
    mesh.laptops.iter().for_each(Laptop::synced);
}

#[test]
fn c33_a_message_reaches_whom_no_link_leads_to_over_whoever_is_between() {
    let doors = Doors::closed(["127.0.2.6", "127.0.2.7"]);
    let prepare = |n: usize, laptop: &mut Laptop| doors.prepare(n, laptop);
    let mut mesh = Mesh::apart(&["alice", "bob", "carol"], prepare);
    let [alice, bob, _] = &mesh.laptops[..] else {
        panic!("three laptops");
    };
    linked(alice, "carol");
    linked(bob, "carol");
    mesh.box_.signal("-KILL");
    alice.event(|event| {
        event["kind"] == "link" && event["text"].as_str().unwrap().starts_with("offline")
    });
    let way = alice.aura(&["test-message", "@bob"]).ok();
    assert_eq!(way["peer"], "bob", "{way}");
    let hops = way["hops"].as_array().unwrap();
    assert_eq!(hops.len(), 1, "{way}");
    assert_eq!(hops[0]["name"], "carol", "{way}");
    assert!(hops[0]["rtt_ms"].is_u64(), "{way}");
    let direct = alice.aura(&["test-message", "carol"]).ok();
    assert_eq!(direct["hops"].as_array().unwrap().len(), 0, "{direct}");
    let one = ["test-message", "bob", "--hops", "1", "--timeout", "1s"];
    alice.aura(&one).fails(6, "AE-UNREACHABLE");
}
