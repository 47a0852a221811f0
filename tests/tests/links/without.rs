//! What goes on while the Mothership is dead.

use serde_json::Value;

use crate::{Mesh, received};

fn heads(mesh: &Mesh) -> Vec<Value> {
    let logs = mesh.laptops.iter().map(|laptop| {
        let log = laptop.aura(&["log"]).ok();
        log["operations"].clone()
    });
    logs.collect()
}

#[test]
fn h12_edits_travel_while_the_mothership_is_dead_and_each_gets_one_place_when_it_is_back() {
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
    let waiting = bob.aura(&["status"]).ok();
    assert_eq!(waiting["link"]["state"], "offline", "{waiting}");
    mesh.box_ = mesh.team.serve(&listen);
    mesh.laptops
        .iter()
        .for_each(mothership_tests::Laptop::synced);
    for laptop in &mesh.laptops {
        assert!(laptop.read("src/risk.rs").contains("let cap = 102"));
    }
    let heads = heads(&mesh);
    assert_eq!(heads[0], heads[1]);
    assert_eq!(heads[1], heads[2]);
}
