//! Two devices: how they find each other, lose each other, and keep one link.

use aura_engine::peer::links::{Input, Mesh, Output, Settings, Way, Why};
use aura_proto::{Code, reach::Visibility};

use crate::world::{DIAL_TIMEOUT_MS, World, address, word};

fn ups(world: &World, node: usize) -> usize {
    let is_up = |output: &Output| matches!(output, Output::Up { .. });
    world.nodes[node]
        .log
        .iter()
        .filter(|(_, output)| is_up(output))
        .count()
}

fn linked(seed: u64) -> World {
    let mut world = World::new(2, seed);
    world.start();
    world.run_for(20_000);
    assert!(world.is_linked(0, 1), "seed {seed}");
    world
}

#[test]
fn two_peers_link_directly_and_each_says_so_once() {
    let mut world = World::new(2, 1);
    world.start_one(1);
    // The other one only listens.
    let known = world.known(1);
    world.nodes[0].settings.mesh = Mesh::new(1, 1, 1).unwrap();
    world.input(0, Input::Peers(vec![known]));
    world.run_for(120_000);
    assert!(world.is_linked(0, 1));
    assert_eq!((ups(&world, 0), ups(&world, 1)), (1, 1));
    assert_eq!(world.sessions(0, 1), 1);
    assert!(world.way(0, 1).unwrap().is_direct());
    let row = &world.nodes[1].links.rows(world.now())[0];
    assert!(row.is_mesh && row.why.is_none() && row.last_error.is_none());
    assert!(
        row.srtt_ms.is_some_and(|ms| (4..200).contains(&ms)),
        "{row:?}"
    );
    assert!(row.up_ms.is_some_and(|ms| 110_000 < ms));
}

#[test]
fn h8_c32_three_dead_addresses_and_a_good_one_are_dialled_together() {
    let mut world = World::new(2, 2);
    let dead = [10, 11, 12].map(|n| address(n + 200));
    let addresses = [dead[0], dead[1], dead[2], address(1)];
    world.nodes[1].word = word(1, 1, Visibility::Open, &addresses);
    world.start_one(0);
    let known = world.known(0);
    world.input(1, Input::Peers(vec![known]));
    world.run_for(5_000);
    assert!(world.nodes[0].log.iter().any(
        |(_, output)| matches!(output, Output::Dial { addresses: all, .. } if *all == addresses)
    ));
    assert_eq!(world.way(0, 1), Some(Way::Direct(address(1))));
    let row = &world.nodes[0].links.rows(world.now())[0];
    assert_eq!(row.attempts.len(), 4);
    let failed = row
        .attempts
        .iter()
        .filter(|tried| tried.result == "timeout");
    assert_eq!(failed.count(), 3);
}

#[test]
fn h8_who_was_refused_by_somebody_that_had_not_heard_of_it_yet_is_linked_directly_in_seconds() {
    for (seed, late_ms) in (0..20).flat_map(|seed| (1..80).map(move |n| (seed, n * 5))) {
        let mut world = World::new(2, seed);
        world.start_one(0);
        world.run_for(late_ms);
        let known = world.known(0);
        world.input(1, Input::Peers(vec![known]));
        world.run_for(10_000);
        let way = world.way(0, 1);
        assert!(
            way.is_some_and(Way::is_direct),
            "seed {seed}, {late_ms} ms: {way:?}"
        );
    }
}

#[test]
fn h8_who_does_not_answer_is_reached_by_relay_and_directly_as_soon_as_it_moves() {
    for seed in 0..50 {
        let mut world = World::new(2, seed);
        world.listeners.clear();
        world.start();
        world.run_for(20_000);
        assert_eq!(world.way(0, 1), Some(Way::Relay), "seed {seed}");
        assert!(world.is_linked(0, 1));
        let row = &world.nodes[0].links.rows(world.now())[0];
        assert_eq!(row.why, Some(Why::NoAnswer));
        // It moves to where it can be reached, and the relayed link tells so.
        world.listeners.insert(address(77), 1);
        let moved = word(1, 2, Visibility::Open, &[address(77)]);
        world.input(1, Input::Announce(moved));
        world.run_for(1_000);
        assert_eq!(
            world.way(0, 1),
            Some(Way::Direct(address(77))),
            "seed {seed}"
        );
        world.run_for(60_000);
        assert!(world.is_linked(0, 1) && world.way(1, 0).unwrap().is_direct());
        assert_eq!(
            (world.nodes[0].gaps, world.nodes[1].gaps),
            (0, 0),
            "seed {seed}"
        );
        assert_eq!(world.sessions(0, 1), 1);
    }
}

#[test]
fn a_relayed_link_becomes_direct_when_the_addresses_answer_again() {
    let mut world = World::new(2, 3);
    let listeners = std::mem::take(&mut world.listeners);
    world.start();
    world.run_for(300_000);
    assert_eq!(world.way(0, 1), Some(Way::Relay));
    world.listeners = listeners;
    world.run_for(500_000);
    assert!(world.way(0, 1).unwrap().is_direct());
    assert_eq!((world.nodes[0].gaps, world.nodes[1].gaps), (0, 0));
    // A person does not wait for so long.
    let mut world = World::new(2, 3);
    let listeners = std::mem::take(&mut world.listeners);
    world.start();
    world.run_for(20_000);
    world.listeners = listeners;
    world.input(0, Input::Reconnect(None));
    world.run_for(2_000);
    assert!(world.way(1, 0).unwrap().is_direct());
    assert_eq!(world.sessions(0, 1), 1);
}

#[test]
fn both_dial_at_once_and_one_link_stays_the_same_at_both_ends() {
    for seed in 0..500 {
        let mut world = World::new(2, seed);
        let (id_0, id_1) = (world.id(0), world.id(1));
        world.slowness = 1 + seed % 7;
        if seed % 5 == 0 {
            // Both come by relay.
            world.listeners.clear();
        }
        world.start();
        let offset_ms = world.random() % (150 * world.slowness);
        world.input(0, Input::Want(id_1));
        world.run_for(offset_ms);
        world.input(1, Input::Want(id_0));
        world.run_for(15_000);
        assert!(world.is_linked(0, 1), "seed {seed}");
        assert_eq!(world.sessions(0, 1), 1, "seed {seed}");
        assert_eq!(
            (world.nodes[0].gaps, world.nodes[1].gaps),
            (0, 0),
            "seed {seed}"
        );
        let (ups_0, ups_1) = (ups(&world, 0), ups(&world, 1));
        world.run_for(300_000);
        assert_eq!(
            (ups_0, ups_1),
            (ups(&world, 0), ups(&world, 1)),
            "seed {seed}: it stays"
        );
        assert!(ups_0 <= 2 && ups_1 <= 2, "seed {seed}");
    }
}

#[test]
fn a_fresh_dial_replaces_the_link_without_a_gap() {
    for seed in 0..100 {
        let mut world = linked(seed);
        let before = world.nodes[0].up.clone();
        let id = world.id(1);
        world.run_for(20_000);
        world.input(0, Input::Reconnect(Some(id)));
        world.run_for(30_000);
        assert!(world.is_linked(0, 1), "seed {seed}");
        assert_ne!(
            before[&id], world.nodes[0].up[&id],
            "seed {seed}: a fresh link"
        );
        assert_eq!(world.sessions(0, 1), 1);
        assert_eq!(
            (world.nodes[0].gaps, world.nodes[1].gaps),
            (0, 0),
            "seed {seed}"
        );
    }
}

#[test]
fn c61_a_black_hole_is_found_within_three_heartbeats() {
    for seed in 0..20 {
        let mut world = linked(seed);
        let pause_ms = world.random() % 15_000;
        world.run_for(pause_ms);
        world.cut(0, 1);
        let cut_ms = world.now_ms;
        world.run_for(46_000);
        for node in 0..2 {
            assert_eq!(world.degree(node), 0, "seed {seed}");
            let log = &world.nodes[node].log;
            let is_end = |(at_ms, output): &&(u64, Output)| {
                cut_ms <= *at_ms
                    && matches!(
                        output,
                        Output::Close {
                            code: Code::TIMEOUT,
                            ..
                        }
                    )
            };
            let ended_ms = log.iter().find(is_end).unwrap().0;
            assert!(ended_ms <= cut_ms + 45_200, "{}", ended_ms - cut_ms);
        }
        world.heal(0, 1);
        world.run_for(60_000);
        assert!(world.is_linked(0, 1), "seed {seed}: it comes back");
    }
}

#[test]
fn who_lost_the_link_first_comes_back_at_once() {
    // Only one end notices that the link is dead; the other one must not hold on to it.
    for seed in 0..50 {
        let mut world = linked(seed);
        world.run_for(20_000);
        let (link, _) = world.nodes[1].up[&world.id(0)];
        world.lose(1, link);
        world.run_for(10_000);
        assert!(world.is_linked(0, 1), "seed {seed}");
        assert_eq!(
            world.nodes[0].gaps, 0,
            "seed {seed}: the old one goes when the new one is there"
        );
    }
}

/// A link that is cut for good, the end that dialled it, to which the address is proven, and when it was cut.
fn lost(seed: u64) -> (World, usize, u64) {
    let mut world = World::new(2, seed);
    world.has_relay = false;
    world.start();
    world.run_for(20_000);
    assert!(world.is_linked(0, 1));
    let is_dialled =
        |node: &usize| world.way(*node, 1 - *node) == Some(Way::Direct(address(1 - *node)));
    let dialler = (0..2).find(is_dialled).unwrap();
    world.cut(0, 1);
    world.reset(0, 1);
    let now_ms = world.now_ms;
    (world, dialler, now_ms)
}

#[test]
fn c56_pauses_double_to_half_a_minute_and_after_two_minutes_the_mothership_is_asked_once() {
    for seed in 0..20 {
        let (mut world, node, lost_ms) = lost(seed);
        world.run_for(600_000);
        let is_direct = |(at_ms, output): &(u64, Output)| {
            (lost_ms <= *at_ms && matches!(output, Output::Dial { .. })).then_some(*at_ms)
        };
        let dials: Vec<_> = world.nodes[node].log.iter().filter_map(is_direct).collect();
        let mut from_ms = lost_ms;
        let mut pauses = Vec::new();
        for at_ms in &dials {
            pauses.push(at_ms - from_ms);
            // The direct dial, then the circuit that there is none of.
            from_ms = at_ms + DIAL_TIMEOUT_MS + 50;
        }
        for (i, pause_ms) in pauses.iter().enumerate() {
            let base_ms = [1_000, 2_000, 4_000, 8_000, 16_000]
                .get(i)
                .copied()
                .unwrap_or(30_000);
            assert!(
                pause_ms.abs_diff(base_ms) <= base_ms / 5,
                "seed {seed}: {pauses:?}"
            );
        }
        assert!(15 < pauses.len());
        let asks = world.nodes[node]
            .log
            .iter()
            .filter(|(_, output)| matches!(output, Output::Ask(_)));
        let asks: Vec<_> = asks.map(|(at_ms, _)| at_ms - lost_ms).collect();
        assert_eq!(asks, [120_000], "seed {seed}");
    }
}

#[test]
fn who_moves_while_it_is_dialled_in_vain_is_dialled_there_without_a_pause() {
    for seed in 0..20 {
        let (mut world, node, _) = lost(seed);
        let other = 1 - node;
        // By then it is dialled twice in a minute.
        world.run_for(100_000);
        let dials = world.dials(node, other).len();
        while world.dials(node, other).len() == dials {
            world.run_for(100);
        }
        world.heal(node, other);
        world.listeners.clear();
        world.listeners.insert(address(77), other);
        world.nodes[other].word = word(other, 2, Visibility::Open, &[address(77)]);
        let known = world.known(other);
        world.input(node, Input::Peer(known));
        world.run_for(DIAL_TIMEOUT_MS + 1_000);
        assert!(world.is_linked(node, other), "seed {seed}");
    }
}

#[test]
fn a_link_ends_with_the_certificate_that_it_began_with_and_whoever_renewed_comes_back() {
    let mut world = World::new(2, 4);
    world.until_ms = world.now().wall_ms + 600_000;
    world.start();
    world.run_to(595_000);
    assert!(world.is_linked(0, 1));
    let before = ups(&world, 0);
    world.until_ms = u64::MAX;
    world.run_for(10_000);
    assert!(world.is_linked(0, 1));
    let after = ups(&world, 0);
    assert!(before < after);
    world.run_for(1_000_000);
    assert_eq!(ups(&world, 0), after);
}

#[test]
fn a_person_who_asks_for_another_link_does_not_lose_a_direct_one_to_a_relay() {
    let mut world = World::new(2, 5);
    world.set_visibility(1, Visibility::Outbound);
    world.start();
    world.run_for(60_000);
    assert!(world.way(0, 1).unwrap().is_direct());
    let id = world.id(1);
    world.input(0, Input::Reconnect(Some(id)));
    world.run_for(60_000);
    assert!(world.way(0, 1).unwrap().is_direct());
    assert_eq!(ups(&world, 0), 1);
}

#[test]
fn c56_two_hundred_peers_do_not_come_back_at_once() {
    let returns = (0..200).map(|seed| {
        let (mut world, node, lost_ms) = lost(seed);
        world.run_to(lost_ms + 200_000);
        world.heal(0, 1);
        world.run_for(60_000);
        let is_up = |(at_ms, output): &&(u64, Output)| {
            lost_ms < *at_ms && matches!(output, Output::Up { .. })
        };
        world.nodes[node].log.iter().find(is_up).unwrap().0 - lost_ms
    });
    let mut returns: Vec<_> = returns.collect();
    returns.sort_unstable();
    assert!(5_000 <= returns[190] - returns[10], "{returns:?}");
}

#[test]
fn c56_a_link_that_nobody_needs_is_dialled_again_on_demand_only() {
    let mut world = World::new(2, 9);
    world.has_relay = false;
    world.set_visibility(0, Visibility::Outbound);
    world.start();
    world.run_for(10_000);
    assert!(world.is_linked(0, 1), "the silent one dials");
    world.cut(0, 1);
    world.reset(0, 1);
    let lost_ms = world.now_ms;
    world.run_for(200_000);
    assert!(
        world.dials(1, 0).is_empty(),
        "nobody dials a silent one unasked"
    );
    let id_0 = world.id(0);
    world.input(1, Input::Want(id_0));
    world.run_for(1_000);
    assert_eq!(world.dials(1, 0).len(), 1, "by circuit, when somebody asks");
    assert!(world.dials(0, 1).iter().any(|at_ms| lost_ms < *at_ms));
}

#[test]
fn c56_after_two_minutes_another_one_serves_and_the_first_is_tried_on() {
    let mut world = World::new(3, 4);
    world.has_relay = false;
    world.listeners.clear();
    world.nodes[0].settings.mesh = Mesh::new(1, 1, 4).unwrap();
    world.start_one(0);
    world.run_for(119_000);
    let dials = |world: &World| [world.dials(0, 1).len(), world.dials(0, 2).len()];
    let first = usize::from(dials(&world)[0] == 0);
    assert_eq!(dials(&world)[1 - first], 0, "one is enough");
    let before = dials(&world)[first];
    world.run_for(60_000);
    assert!(0 < dials(&world)[1 - first], "the other one is tried");
    assert!(before < dials(&world)[first], "the first one is tried on");
}

#[test]
fn the_settings_of_a_mesh_are_checked() {
    for (low, target, high) in [(0, 4, 8), (5, 4, 8), (3, 9, 8), (3, 4, 33)] {
        assert!(Mesh::new(low, target, high).is_err());
    }
    assert_eq!(Mesh::new(3, 4, 8).unwrap(), Settings::default().mesh);
}
