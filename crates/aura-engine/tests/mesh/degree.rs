//! How many links there are, and with whom.

use std::collections::BTreeSet;

use aura_engine::peer::links::{ADDRESS_REST_MS, Mesh};
use aura_proto::limits::{HEARTBEATS_MISSED_MAX, PEER_HEARTBEAT_MS};

use crate::world::World;

#[test]
fn c59_c63_two_hundred_are_not_refused_keep_few_links_and_follow_the_settings() {
    let mut world = World::new(200, 0, 5);
    // All at once.
    world.start_all(0, 20_000);
    assert!(world.is_whole());
    world.check_links();
    let degrees = world.degrees();
    assert!(
        degrees.iter().all(|degree| (3..=8).contains(degree)),
        "{degrees:?}"
    );
    assert!(degrees.iter().sum::<usize>() <= 200 * 6, "near the target");
    assert!(
        world.counts.refusals.is_empty(),
        "{:?}",
        world.counts.refusals
    );
    for n in 0..200 {
        let mut settings = world.nodes[n].settings;
        settings.mesh = Mesh::new(4, 6, 12).unwrap();
        world.set_links(n, settings);
    }
    let is_adapted = |world: &World| {
        let degrees = world.degrees();
        degrees.iter().all(|degree| (6..=12).contains(degree))
    };
    let set_ms = world.now_ms;
    while !is_adapted(&world) {
        let is_late = set_ms + 10 * PEER_HEARTBEAT_MS <= world.now_ms;
        assert!(!is_late, "{:?}", world.degrees());
        world.run_for(PEER_HEARTBEAT_MS);
    }
    assert!(
        world.counts.refusals.is_empty(),
        "{:?}",
        world.counts.refusals
    );
}

#[test]
fn c58_whoever_starts_first_on_a_lossy_network_nobody_is_an_island_and_people_come_before_machines()
{
    for seed in 0..100 {
        // Alice has the first four devices.
        let mut world = World::new(9, 0, seed);
        (0..4).for_each(|n| world.nodes[n].person = "alice".to_owned());
        world.remember_all();
        world.net.lost_percent = 20;
        world.start_all(20_000, 40_000);
        assert!(world.is_whole(), "seed {seed}");
        if 10 <= seed {
            continue;
        }
        // Who did not answer at first, for not having started or by chance, is dialled again after a rest.
        world.net.lost_percent = 0;
        world.run_for(ADDRESS_REST_MS + 60_000);
        for (n, running) in world.running() {
            let persons = running
                .up
                .keys()
                .map(|peer| &world.nodes[world.ids[peer]].person);
            let own = &world.nodes[n].person;
            let others: BTreeSet<&String> = persons.filter(|person| *person != own).collect();
            assert!(
                4 <= others.len(),
                "seed {seed}: {n} has links with {others:?} only"
            );
        }
    }
}

#[test]
fn c61_a_way_that_is_silent_in_one_direction_is_found_at_both_ends_and_replaced() {
    for seed in 0..5 {
        let mut world = World::new(20, 0, seed);
        world.start_all(5_000, 15_000 + seed * 777);
        let mut pairs = (0..20).flat_map(|a| (0..20).map(move |b| (a, b)));
        let (a, b) = pairs.find(|(a, b)| world.is_linked(*a, *b)).unwrap();
        world.counts.timeouts.clear();
        world.silence(a, b);
        let cut_ms = world.now_ms;
        let found_ms = u64::from(HEARTBEATS_MISSED_MAX) * PEER_HEARTBEAT_MS;
        world.run_for(found_ms + PEER_HEARTBEAT_MS);
        let has = |world: &World, n: usize, other: usize| {
            let running = world.nodes[n].running.as_ref().unwrap();
            running.up.contains_key(&world.nodes[other].id)
        };
        assert!(!has(&world, a, b) && !has(&world, b, a), "seed {seed}");
        let (at_ms, finder, _) = world.counts.timeouts[0];
        assert_eq!(finder, b, "seed {seed}: who hears nothing finds it");
        assert!(at_ms <= cut_ms + found_ms, "seed {seed}");
        world.run_for(5_000);
        assert!(world.is_whole(), "seed {seed}");
        let degrees = world.degrees();
        assert!(
            degrees.iter().all(|degree| 3 <= *degree),
            "seed {seed}: {degrees:?}"
        );
    }
}
