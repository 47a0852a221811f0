//! Devices that relay for those that cannot reach each other.

use aura_engine::peer::links::{Input, Output, Way};

use crate::world::{World, address};

/// Two that nobody can dial, and a third one that relays, with or without the Mothership.
fn around_a_relay(seed: u64, is_control_up: bool) -> World {
    let mut world = World::new(3, seed);
    world.relays.insert(2);
    for node in [0, 1] {
        world.listeners.remove(&address(node));
    }
    for node in 0..3 {
        world.nodes[node].is_control_up = is_control_up;
    }
    world.start();
    world
}

#[test]
fn c27_c72_a_device_that_relays_joins_two_that_cannot_meet_while_the_mothership_is_dead() {
    for seed in 0..30 {
        let mut world = around_a_relay(seed, false);
        world.run_for(30_000);
        assert!(world.way(0, 2).unwrap().is_direct(), "seed {seed}");
        assert!(world.way(1, 2).unwrap().is_direct(), "seed {seed}");
        assert_eq!(world.way(0, 1), Some(Way::Relay), "seed {seed}");
        assert!(world.is_linked(0, 1) && world.sessions(0, 1) == 1);
    }
}

#[test]
fn c27_the_next_relay_is_asked_when_one_leads_to_nobody() {
    let mut world = around_a_relay(1, true);
    world.has_relay = false;
    world.run_for(30_000);
    assert_eq!(world.way(0, 1), Some(Way::Relay));
    // Whoever the Mothership could not help asked the device next.
    let asked = |node: usize| {
        let log = world.nodes[node].log.iter();
        log.filter_map(|(at_ms, output)| match output {
            Output::Circuit { via, .. } => Some((*at_ms, via.is_some())),
            _ => None,
        })
    };
    let is_next = |asked: &[(u64, bool)]| {
        let mut pairs = asked.windows(2);
        let turns = |pair: &[(u64, bool)]| !pair[0].1 && pair[1].1 && pair[1].0 < pair[0].0 + 5_000;
        pairs.any(turns)
    };
    let asked: Vec<Vec<_>> = [0, 1].map(|node| asked(node).collect()).into();
    assert!(asked.iter().any(|asked| is_next(asked)), "{asked:?}");
}

#[test]
fn a_device_without_the_role_is_asked_for_no_circuit() {
    let mut world = around_a_relay(1, false);
    world.relays.clear();
    for node in 0..3 {
        let known = world.known(2);
        world.input(node, Input::Peer(known));
    }
    world.run_for(60_000);
    assert_eq!(world.way(0, 1), None);
    assert!(world.way(0, 2).unwrap().is_direct());
}
