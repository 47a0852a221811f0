//! What an outage leaves behind: one order, one place each, nothing twice and nothing lost.

use std::fs;

use aura_trust::Token;
use mothership_tests::{
    Laptop, Team, amount, git,
    proxy::{Fate, Proxy, Way},
    send_signal, token,
};
use serde_json::Value;

use crate::{Mesh, free};

/// Every operation of a laptop's log: whose it is, and its place.
fn order(laptop: &Laptop) -> Vec<(Value, Value)> {
    let log = laptop.aura(&["log", "--limit", "100000"]).ok();
    let ops = log["ops"].as_array().unwrap();
    ops.iter()
        .map(|op| (op["op"].clone(), op["seq"].clone()))
        .collect()
}

#[test]
fn c73_c74_case_074_three_who_edit_and_restart_meanwhile_have_one_order_and_each_edit_once() {
    let mut mesh = Mesh::of(&["alice", "bob", "carol"]);
    let listen = mesh.box_.listen.clone();
    mesh.box_.signal("-KILL");
    let [alice, bob, carol] = &mesh.laptops[..] else {
        panic!("three laptops");
    };
    let edits = [
        ("score", "let cap = 100", "let cap = 101"),
        ("load", "name.to_owned()", "name.into()"),
        ("score", "let cap = 101", "let cap = 102"),
    ];
    for (author, (symbol, from, to)) in [alice, bob, carol].into_iter().zip(edits) {
        author.edit("src/risk.rs", from, to);
        for other in [alice, bob, carol] {
            if !std::ptr::eq(other, author) {
                let is_here = || other.read("src/risk.rs").contains(to);
                other.event(|event| {
                    event["kind"] == "applied" && event["symbol"] == symbol && is_here()
                });
            }
        }
        author.aura(&["down"]).ok();
        author.aura(&["up"]).ok();
        for other in ["alice", "bob", "carol"] {
            let is_other = !author.home.ends_with(format!("home-{other}"));
            if is_other {
                author.aura(&["ping", other]).ok();
            }
        }
    }
    let before: Vec<_> = mesh.laptops.iter().map(order).collect();
    let names = |order: &[(Value, Value)]| -> Vec<Value> {
        order.iter().map(|(op, _)| op.clone()).collect()
    };
    assert_eq!(before[0].len(), 3, "{before:?}");
    assert!(
        before.iter().all(|one| names(one) == names(&before[0])),
        "{before:?}"
    );
    mesh.box_ = mesh.team.serve(&listen);
    mesh.laptops.iter().for_each(Laptop::synced);
    let after: Vec<_> = mesh.laptops.iter().map(order).collect();
    assert!(after.iter().all(|one| *one == after[0]), "{after:?}");
    assert_eq!(
        names(&after[0]),
        names(&before[0]),
        "the order stays what it was"
    );
    let mut seqs: Vec<u64> = after[0]
        .iter()
        .map(|(_, seq)| seq.as_u64().unwrap())
        .collect();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), 3, "{after:?}");
    nothing_is_applied_again(&mesh.laptops);
}

/// After a restart, the first that is applied is new, whoever brings the rest.
fn nothing_is_applied_again(laptops: &[Laptop]) {
    for laptop in laptops {
        laptop.aura(&["down"]).ok();
        laptop.aura(&["up"]).ok();
    }
    laptops.iter().for_each(Laptop::synced);
    let [alice, bob, carol] = laptops else {
        panic!("three laptops");
    };
    alice.edit("src/risk.rs", "name.into()", "name.to_string()");
    for laptop in [bob, carol] {
        let first = laptop.event(|event| event["kind"] == "applied");
        assert_eq!(first["symbol"], "load");
        assert!(laptop.read("src/risk.rs").contains("name.to_string()"));
        assert!(laptop.read("src/risk.rs").contains("let cap = 102"));
    }
}

#[test]
fn case_044_a_link_whose_bytes_vanish_is_found_by_both_and_the_relay_serves() {
    let places = ["127.0.2.8", "127.0.2.9"].map(free);
    let proxies = places.each_ref().map(|place| Proxy::to(place));
    let prepare = |n: usize, laptop: &mut Laptop| {
        laptop.listen = Some(places[n].clone());
        laptop.announce = Some(proxies[n].listen.clone());
        laptop.links = vec![("AURA_LINKS_HEARTBEAT", "1s")];
    };
    let mesh = Mesh::with(&["alice", "bob"], prepare, |_, invite| invite);
    let [alice, bob] = &mesh.laptops[..] else {
        panic!("two laptops");
    };
    for proxy in &proxies {
        proxy.set(Way::There, Fate::Lose);
        proxy.set(Way::Back, Fate::Lose);
    }
    for (laptop, other) in [(alice, "bob"), (bob, "alice")] {
        let gone = format!("no link with {other}: TIMEOUT: silent for three heartbeats");
        laptop.event(|event| event["text"] == gone);
    }
    let pong = alice.aura(&["ping", "bob", "--timeout", "30s"]);
    assert_eq!((pong.exit, &pong.json["path"]), (11, &"relayed".into()));
}

#[test]
fn h11_case_099_what_was_queued_while_the_link_was_cut_arrives_once_in_order_after_both_were_killed()
 {
    let count = amount(200, 10_000);
    let team = Team::new();
    let origin = team.dir.path().join("origin");
    for n in 0..count {
        fs::write(
            origin.join(format!("src/n{n}.rs")),
            format!("pub fn f{n}() -> u32 {{\n    1\n}}\n"),
        )
        .unwrap();
    }
    git(&origin, &["add", "."]);
    git(&origin, &["commit", "-qm", "many"]);
    let mut box_ = team.serve("127.0.0.1:0");
    let listen = box_.listen.clone();
    let alice = team.founder(&box_, "live");
    let proxy = Proxy::to(&listen);
    let mut invite = Token::parse(&token(&alice.aura(&["invite"]).ok())).unwrap();
    invite.endpoints = vec![proxy.listen.clone()];
    let bob = team.laptop("bob");
    bob.join(&invite.to_text().unwrap(), "bob", "live").ok();
    bob.synced();
    proxy.close();
    for n in 0..count {
        fs::write(
            bob.repo.join(format!("src/n{n}.rs")),
            format!("pub fn f{n}() -> u32 {{\n    2\n}}\n"),
        )
        .unwrap();
    }
    let queued = |laptop: &Laptop| {
        let status = laptop.aura(&["status"]).ok();
        status["link"]["queued"].as_u64().unwrap_or_default()
    };
    bob.aura(&["publish", "--no-wait"]);
    assert_eq!(queued(&bob), count as u64);
    let pid = bob.aura(&["up"]).ok()["pid"].as_u64().unwrap();
    send_signal(u32::try_from(pid).unwrap(), "-KILL");
    box_.signal("-KILL");
    let _box = team.serve(&listen);
    proxy.open();
    bob.aura(&["up"]).ok();
    for laptop in [&bob, &alice] {
        // Ten thousand files are written one after the other, each synced.
        laptop
            .aura(&["wait", "--for", "synced", "--timeout", "600s"])
            .ok();
    }
    assert_eq!(order(&alice).len(), count);
    assert_eq!(order(&alice), order(&bob));
    let last = count - 1;
    assert!(alice.read(&format!("src/n{last}.rs")).contains('2'));
}
