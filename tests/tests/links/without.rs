//! What goes on while the Mothership is dead.

use std::{cell::OnceCell, process::Command};

use aura_trust::Token;
use mothership_tests::{
    Laptop,
    proxy::{Fate, Proxy, Way},
};
use serde_json::Value;

use crate::{Mesh, free, linked, received, sees};

/// Every operation of a laptop's log with its place.
fn places(laptop: &Laptop) -> Vec<(Value, Value)> {
    let log = laptop.aura(&["log"]).ok();
    let ops = log["ops"].as_array().unwrap();
    ops.iter()
        .map(|op| (op["op"].clone(), op["seq"].clone()))
        .collect()
}

#[test]
fn h12_c26_edits_travel_while_the_mothership_is_dead_and_each_gets_one_place_when_it_is_back() {
    let mut mesh = Mesh::of(&["alice", "bob", "carol"]);
    let listen = mesh.box_.listen.clone();
    mesh.box_.signal("-KILL");
    let [alice, bob, carol] = &mesh.laptops[..] else {
        panic!("three laptops");
    };
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    bob.applied("score");
    carol.applied("score");
    assert!(bob.read("src/risk.rs").contains("let cap = 101"));
    bob.edit("src/risk.rs", "let cap = 101", "let cap = 102");
    received(alice, "score", 1);
    received(carol, "score", 2);
    sees(carol, "bob", "score");
    let waiting = bob.aura(&["status"]).ok();
    assert_eq!(waiting["link"]["state"], "offline", "{waiting}");
    mesh.box_ = mesh.team.serve(&listen);
    mesh.laptops.iter().for_each(Laptop::synced);
    for laptop in &mesh.laptops {
        assert!(laptop.read("src/risk.rs").contains("let cap = 102"));
    }
    let all: Vec<_> = mesh.laptops.iter().map(places).collect();
    assert_eq!(all[0].len(), 2, "{all:?}");
    assert!(all[0].iter().all(|(_, seq)| seq.is_u64()), "{all:?}");
    assert!(all.iter().all(|places| *places == all[0]), "{all:?}");
}

#[test]
fn c72_a_laptop_that_starts_while_the_mothership_is_dead_finds_the_others_and_what_they_wrote() {
    let mut mesh = Mesh::of(&["alice", "bob"]);
    let [alice, bob] = &mesh.laptops[..] else {
        panic!("two laptops");
    };
    bob.aura(&["down"]).ok();
    mesh.box_.signal("-KILL");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    bob.aura(&["up"]).ok();
    bob.applied("score");
    let peers = bob.aura(&["peers"]).ok();
    let peers = peers["peers"].as_array().unwrap();
    let row = peers.iter().find(|row| row["name"] == "alice").unwrap();
    assert_eq!(
        (&row["state"], &row["path"]),
        (&"online".into(), &"direct".into())
    );
}

#[test]
fn c75_two_who_change_one_function_meanwhile_have_one_conflict_everywhere() {
    let mut mesh = Mesh::of(&["alice", "bob", "carol"]);
    let listen = mesh.box_.listen.clone();
    let [alice, bob, carol] = &mesh.laptops[..] else {
        panic!("three laptops");
    };
    mesh.box_.signal("-KILL");
    // Apart from each other, so that neither knows of the other's edit.
    bob.aura(&["down"]).ok();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    carol.applied("score");
    alice.aura(&["down"]).ok();
    carol.aura(&["down"]).ok();
    bob.aura(&["up"]).ok();
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 102");
    bob.aura(&["publish", "--no-wait"]);
    alice.aura(&["up"]).ok();
    carol.aura(&["up"]).ok();
    for laptop in [alice, bob, carol] {
        laptop.event(|event| event["kind"] == "conflict");
    }
    alice.edit("src/risk.rs", "name.to_owned()", "name.into()");
    bob.applied("load");
    carol.applied("load");
    let ids = |laptop: &Laptop| -> Vec<Value> {
        let open = laptop.conflicts();
        open.iter().map(|conflict| conflict["id"].clone()).collect()
    };
    assert_eq!(ids(alice).len(), 1);
    assert_eq!(ids(alice), ids(bob));
    assert_eq!(ids(alice), ids(carol));
    mesh.box_ = mesh.team.serve(&listen);
    mesh.laptops.iter().for_each(Laptop::synced);
    let [alice, bob, carol] = &mesh.laptops[..] else {
        panic!("three laptops");
    };
    assert_eq!(ids(alice).len(), 1);
    assert_eq!(ids(alice), ids(bob));
    assert_eq!(ids(alice), ids(carol));
}

/// Makes the second laptop reach the Mothership through a proxy.
fn second_through(proxy: &OnceCell<Proxy>, n: usize, invite: String) -> String {
    if n != 1 {
        return invite;
    }
    let mut token = Token::parse(&invite).unwrap();
    let proxy = proxy.get_or_init(|| Proxy::to(&token.endpoints[0]));
    token.endpoints = vec![proxy.listen.clone()];
    token.to_text().unwrap().to_string()
}

#[test]
fn h12_whoever_alone_lost_the_mothership_works_on_through_a_neighbour() {
    let proxy = OnceCell::new();
    // The third laptop has no links to others.
    let through = |n: usize, invite: String| second_through(&proxy, n, invite);
    let prepare = |n: usize, laptop: &mut Laptop| {
        if n == 2 {
            laptop.listen = None;
        }
    };
    let mesh = Mesh::with(&["alice", "bob", "carol"], prepare, through);
    let [alice, bob, carol] = &mesh.laptops[..] else {
        panic!("three laptops");
    };
    proxy.get().unwrap().close();
    bob.event(|event| {
        event["kind"] == "link" && event["text"].as_str().unwrap().starts_with("offline")
    });
    // Each dial in vain leaves what neighbours have agreed on as it is.
    proxy.get().unwrap().wait_refused(3);
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    bob.applied("score");
    bob.edit("src/risk.rs", "name.to_owned()", "name.into()");
    alice.applied("load");
    // Who is linked with nobody has it from the Mothership, which has it from alice.
    carol.applied("load");
    // The same ways tell who edits what.
    sees(bob, "alice", "score");
    sees(alice, "bob", "load");
    sees(carol, "bob", "load");
    proxy.get().unwrap().open();
    bob.synced();
    assert_eq!(places(bob), places(carol));
    assert_eq!(places(bob).len(), 2);
}

#[test]
fn case_044_whose_mothership_swallows_what_it_is_sent_works_on_through_a_neighbour() {
    let proxy = OnceCell::new();
    let through = |n: usize, invite: String| second_through(&proxy, n, invite);
    let mesh = Mesh::with(&["alice", "bob"], |_, _| {}, through);
    let [alice, bob] = &mesh.laptops[..] else {
        panic!("two laptops");
    };
    let proxy = proxy.get().unwrap();
    proxy.set(Way::There, Fate::Lose);
    proxy.set(Way::Back, Fate::Lose);
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    alice.applied("score");
    // The link has not been given up: it is far from three heartbeats.
    assert_eq!(bob.aura(&["status"]).ok()["link"]["state"], "online");
    alice.edit("src/risk.rs", "name.to_owned()", "name.into()");
    bob.applied("load");
}

#[test]
fn c78_a_removal_spreads_without_the_mothership_and_holds() {
    let mut mesh = Mesh::of(&["alice", "bob", "carol", "dave"]);
    let [alice, bob, carol, dave] = &mesh.laptops[..] else {
        panic!("four laptops");
    };
    dave.aura(&["down"]).ok();
    mesh.team.mothership(&["peer", "revoke", "carol"]).ok();
    bob.event(|event| event["kind"] == "peer_gone" && event["actor"] == "carol");
    alice.synced();
    bob.synced();
    mesh.box_.signal("-KILL");
    carol.aura(&["up"]);
    dave.aura(&["up"]).ok();
    linked(dave, "alice");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    dave.applied("score");
    // Whoever was removed is nobody to all, also to whoever was away when it was.
    dave.event(|event| event["kind"] == "peer_gone" && event["actor"] == "carol");
    for laptop in [alice, bob, dave] {
        laptop.aura(&["ping", "carol"]).fails(2, "AE-NO-PEER");
    }
    assert!(carol.read("src/risk.rs").contains("let cap = 100"));
}

#[test]
fn c54_devices_on_one_network_find_each_other_without_knowing_where_they_are() {
    let near = |_: usize, laptop: &mut Laptop| {
        laptop.links = vec![("AURA_LINKS_MDNS", "on")];
    };
    let mut mesh = Mesh::with(&["alice", "bob"], near, |_, invite| invite);
    mesh.box_.signal("-KILL");
    // Both go elsewhere, and nobody is there to tell them where the other is.
    for (laptop, place) in mesh.laptops.iter_mut().zip(["127.0.3.1", "127.0.3.2"]) {
        laptop.aura(&["down"]).ok();
        laptop.listen = Some(free(place));
    }
    let [alice, bob] = &mesh.laptops[..] else {
        panic!("two laptops");
    };
    alice.aura(&["up"]).ok();
    bob.aura(&["up"]).ok();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    bob.applied("score");
}

#[test]
fn case_025_whoever_was_removed_is_refused_by_devices_that_it_dials() {
    let mesh = Mesh::of(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.laptops[..] else {
        panic!("three laptops");
    };
    mesh.team.mothership(&["peer", "revoke", "carol"]).ok();
    for laptop in [alice, bob] {
        laptop.event(|event| event["kind"] == "peer_gone" && event["actor"] == "carol");
    }
    carol.event(|event| {
        event["text"]
            .as_str()
            .unwrap()
            .starts_with("no link with bob")
    });
    let pong = carol.aura(&["ping", "bob", "--timeout", "3s"]);
    assert_ne!(pong.exit, 0, "{pong:?}");
    let row = carol.aura(&["netcheck", "bob"]).ok()["peers"][0].clone();
    let tried = row["tried"].as_array().unwrap();
    assert!(
        tried.iter().all(|tried| tried["result"] != "slower"),
        "{row}"
    );
    assert_ne!(row["path"], "direct", "{row}");
}

#[test]
fn case_027_who_missed_a_removal_learns_of_it_before_anything_of_the_repository() {
    let mut mesh = Mesh::of(&["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.laptops[..] else {
        panic!("three laptops");
    };
    carol.aura(&["down"]).ok();
    bob.aura(&["down"]).ok();
    mesh.team.mothership(&["peer", "revoke", "carol"]).ok();
    alice.event(|event| event["kind"] == "peer_gone" && event["actor"] == "carol");
    alice.synced();
    mesh.box_.signal("-KILL");
    alice.edit("src/risk.rs", "name.to_owned()", "name.into()");
    alice.aura(&["publish", "--no-wait"]);
    bob.aura(&["up"]).ok();
    let mut is_known = false;
    bob.event(|event| {
        is_known |= event["kind"] == "peer_gone" && event["actor"] == "carol";
        event["kind"] == "applied" && event["symbol"] == "load"
    });
    assert!(is_known, "an entry came before the removal");
}

#[test]
fn i16_two_who_are_shown_two_histories_see_it_in_each_others_heartbeats() {
    let proxies: OnceCell<Vec<Proxy>> = OnceCell::new();
    let through = |n: usize, invite: String| {
        let mut token = Token::parse(&invite).unwrap();
        let place = token.endpoints[0].clone();
        let made = || vec![Proxy::to(&place), Proxy::to(&place)];
        token.endpoints = vec![proxies.get_or_init(made)[n].listen.clone()];
        token.to_text().unwrap().to_string()
    };
    let fast = |_: usize, laptop: &mut Laptop| {
        laptop.links = vec![("AURA_LINKS_HEARTBEAT", "300ms")];
    };
    let mut mesh = Mesh::with(&["alice", "bob"], fast, through);
    mesh.box_.signal("-KILL");
    // A Mothership that serves one of them from a copy of itself.
    let copy = mesh.team.dir.path().join("copy");
    let copied = Command::new("cp")
        .arg("-a")
        .args([&mesh.team.state(), &copy])
        .status();
    assert!(copied.unwrap().success());
    let true_one = mesh.team.serve("127.0.0.1:0");
    let false_one = mesh.team.serve_in(&copy, "127.0.0.1:0");
    let [to_true, to_false] = &proxies.get().unwrap()[..] else {
        panic!("two proxies");
    };
    to_true.lead_to(&true_one.listen);
    to_false.lead_to(&false_one.listen);
    let [alice, bob] = &mesh.laptops[..] else {
        panic!("two laptops");
    };
    for laptop in [alice, bob] {
        laptop.aura(&["reconnect"]).ok();
        laptop.synced();
    }
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    bob.edit("src/risk.rs", "name.to_owned()", "name.into()");
    for (laptop, other) in [(alice, "bob"), (bob, "alice")] {
        let fault = laptop.event(|event| event["kind"] == "fault");
        assert_eq!(fault["actor"], other, "{fault}");
        let status = laptop.aura(&["status"]).ok();
        let needs = status["needs_you"].as_array().unwrap();
        assert!(needs.iter().any(|need| need["id"] == "fork"), "{status}");
    }
}

#[test]
fn two_clones_on_one_laptop_both_go_on_without_the_mothership() {
    let mut mesh = Mesh::of(&["alice", "bob"]);
    let [alice, bob] = &mesh.laptops[..] else {
        panic!("two laptops");
    };
    let second = Laptop {
        home: bob.home.clone(),
        repo: mesh.team.laptop("bob2").repo.clone(),
        listen: bob.listen.clone(),
        announce: None,
        links: Vec::new(),
    };
    second.aura(&["join", "--mode", "live"]).ok();
    second.synced();
    mesh.box_.signal("-KILL");
    second.edit("src/risk.rs", "let cap = 100", "let cap = 101");
    alice.applied("score");
    alice.edit("src/risk.rs", "name.to_owned()", "name.into()");
    bob.applied("load");
    let is_in = |laptop: &Laptop| laptop.read("src/risk.rs").contains("name.into()");
    second.event(|event| event["kind"] == "applied" && event["symbol"] == "load" && is_in(&second));
}

/// Connections with this address at either end, as this process's network has them.
fn connections(address: &str) -> usize {
    let (ip, port) = address.rsplit_once(':').unwrap();
    let ip: std::net::Ipv4Addr = ip.parse().unwrap();
    let port: u16 = port.parse().unwrap();
    let number = u32::from_ne_bytes(ip.octets());
    let wanted = format!("{number:08X}:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    // Each connection stands there once for each end; 01 is established.
    let is_meant = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words[..], [_, here, _, "01", ..] if here == wanted)
    };
    table.lines().filter(is_meant).count()
}

#[test]
fn c60_many_repositories_share_one_connection_and_one_that_the_other_side_lacks_stops_none() {
    let places = ["127.0.2.31", "127.0.2.32"].map(free);
    let prepare = |n: usize, laptop: &mut Laptop| laptop.listen = Some(places[n].clone());
    let mut mesh = Mesh::with(&["alice", "bob"], prepare, |_, invite| invite);
    let [alice, bob] = &mesh.laptops[..] else {
        panic!("two laptops");
    };
    // Repositories of other histories; the last one bob does not have.
    let clone = |laptop: &Laptop, nth: usize| {
        let repo = mesh
            .team
            .dir
            .path()
            .join(format!("more/{}-{nth}", laptop.listen.as_ref().unwrap()));
        std::fs::create_dir_all(&repo).unwrap();
        std::fs::write(repo.join("lib.rs"), format!("pub fn f{nth}() {{ 0 }}\n")).unwrap();
        for args in [
            &["init", "-q", "-b", "main"][..],
            &["add", "."],
            &["commit", "-q", "-m", "start"],
        ] {
            mothership_tests::git_at_one_time(&repo, args);
        }
        let clone = Laptop {
            home: laptop.home.clone(),
            repo,
            listen: laptop.listen.clone(),
            announce: None,
            links: Vec::new(),
        };
        clone.aura(&["join", "--mode", "live"]).ok();
        clone
    };
    let count = mothership_tests::amount(6, 20);
    let hers: Vec<Laptop> = (0..count).map(|nth| clone(alice, nth)).collect();
    let his: Vec<Laptop> = (0..count - 1).map(|nth| clone(bob, nth)).collect();
    his.iter().for_each(Laptop::synced);
    mesh.box_.signal("-KILL");
    for (nth, clone) in hers.iter().enumerate() {
        clone.edit("lib.rs", "{ 0 }", "{ 1 }");
        if let Some(there) = his.get(nth) {
            there.applied(&format!("f{nth}"));
        }
    }
    let here: usize = places.iter().map(|place| connections(place)).sum();
    assert_eq!(here, 1, "the end that listens, once");
}
