//! How entries get to everybody without the Mothership.

use aura_engine::peer::{exchange::ROUND_MS, links::Mesh};

use crate::{
    checks::percentile,
    world::{Counts, World, removal_of},
};

/// Random authors write, one entry a second.
fn publish(world: &mut World, count: u64) {
    for n in 0..count {
        let author = world.random.pick(world.nodes.len());
        world.write(author, &n.to_be_bytes());
        world.run_for(1_000);
    }
}

/// A mesh that stands.
fn mesh_of(count: usize, seed: u64) -> World {
    let mut world = World::new(count, 0, seed);
    world.start_all(10_000, 20_000);
    assert!(world.is_whole(), "seed {seed}");
    world.counts = Counts::default();
    world
}

#[test]
fn c50_two_hundred_hold_everything_within_three_rounds_though_a_fifth_is_lost() {
    let mut world = mesh_of(200, 1);
    world.net.lost_percent = 20;
    publish(&mut world, 40);
    world.net.lost_percent = 0;
    assert!(0 < world.lacking(), "rumour alone does not do it");
    let faulty_ms = world.now_ms;
    while 0 < world.lacking() {
        assert!(
            world.now_ms <= faulty_ms + 3 * ROUND_MS,
            "{} are lacking",
            world.lacking()
        );
        world.run_for(1_000);
    }
    assert_eq!(world.running().next().unwrap().1.entries.len(), 40);
    world.check_entries();
    let copies: Vec<u32> = world.counts.copies.values().copied().collect();
    let mean = f64::from(copies.iter().sum::<u32>()) / copies.len() as f64;
    assert!(mean <= 1.3, "{mean} copies");
}

#[test]
fn c31_c50_on_a_calm_network_one_tree_brings_everybodys_entries_to_each_once_and_soon() {
    for (count, seed) in [(20, 1), (50, 2), (80, 3)] {
        let mut world = mesh_of(count, seed);
        publish(&mut world, 20);
        // The tree has found itself.
        world.counts = Counts::default();
        publish(&mut world, 20);
        world.run_for(2_000);
        assert_eq!(world.lacking(), 0);
        let counts = &world.counts;
        let mean = f64::from(counts.copies.values().sum::<u32>()) / counts.copies.len() as f64;
        assert!(mean <= 1.05, "{count}: {mean} copies");
        let last_ms = percentile(&counts.delays_ms, 100);
        assert!(last_ms <= 500, "{count}: {last_ms} ms");
        // Nobody has to ask for what comes by itself.
        let asks = counts.messages.get("ask").copied().unwrap_or(0);
        assert!(asks <= 10, "{count}: {asks} asks");
    }
}

#[test]
fn c57_what_is_lacking_comes_from_whoever_is_near_and_whole_and_little_from_the_others() {
    for seed in 0..5 {
        // The last one is linked with all six others, of whom one is far away and one often loses its link.
        let mut world = World::new(7, 0, seed);
        for n in 0..7 {
            world.nodes[n].settings.mesh = Mesh::new(6, 6, 8).unwrap();
        }
        world.start_all(0, 10_000);
        let (far, lossy, late) = (4, 5, 6);
        world.crash(late, true);
        let body = vec![7; 1 << 10];
        for n in 0..400 {
            world.write(n % 6, &body);
            world.run_for(50);
        }
        world.run_for(5_000);
        world.net.slow_ms.insert(far, 200);
        world.net.lossy.insert(lossy, 10);
        world.start(late);
        world.run_for(60_000);
        assert_eq!(world.lacking(), 0, "seed {seed}");
        world.counts = Counts::default();
        for n in 0..600 {
            world.write(n % 4, &body);
            world.run_for(100);
        }
        world.run_for(30_000);
        assert_eq!(world.lacking(), 0, "seed {seed}");
        let brought = |from: usize| world.counts.brought.get(&(from, late)).copied();
        let good: u64 = (0..4).filter_map(brought).sum();
        let all: u64 = (0..7).filter_map(brought).sum();
        assert!(all * 9 <= good * 10, "seed {seed}: {good} of {all}");
    }
}

#[test]
fn what_waits_for_a_slow_neighbour_stays_bounded() {
    let mut world = World::new(4, 0, 3);
    world.start_all(0, 10_000);
    // Nothing gets to the last one for a while, shorter than it takes to be given up.
    (0..3).for_each(|n| world.silence(n, 3));
    let body = vec![7; 16 << 10];
    for _ in 0..200 {
        world.write(0, &body);
        world.run_for(100);
    }
    let queued = world.counts.queued_max;
    let message = 64 * body.len();
    assert!(
        queued <= aura_proto::limits::SEND_QUEUE_BYTES_MAX + message,
        "{queued} bytes"
    );
    assert!(0 < world.lacking());
    world.heal();
    world.run_for(20_000);
    assert_eq!(world.lacking(), 0);
}

#[test]
fn who_is_removed_at_one_place_is_cut_off_everywhere_and_says_nothing_more() {
    for seed in 0..3 {
        let mut world = World::new(50, 0, seed);
        world.start_all(5_000, 15_000);
        let gone = 7;
        world.write(gone, b"before");
        world.run_for(5_000);
        assert_eq!(world.lacking(), 0, "seed {seed}");
        // One that is away hears of it later.
        world.crash(9, true);
        world.write(3, &removal_of(world.nodes[gone].id));
        let is_free = |world: &World| {
            let id = world.nodes[gone].id;
            let others = world.running().filter(|(n, _)| *n != gone);
            others
                .into_iter()
                .all(|(_, running)| !running.up.contains_key(&id))
        };
        world.run_for(3_000);
        assert!(is_free(&world), "seed {seed}: nobody is linked with it");
        world.write(gone, b"after");
        world.run_for(10_000);
        world.start(9);
        // It may dial whom it will.
        world.run_for(60_000);
        assert!(is_free(&world), "seed {seed}");
        let writer = world.nodes[gone].id;
        for (n, running) in world.running().filter(|(n, _)| *n != gone) {
            let of_gone = running
                .entries
                .keys()
                .filter(|(name, _)| name.peer == writer);
            // Who was away may have been told by the removed one before it heard of the removal, and nobody takes that.
            let is_as_before = of_gone.count() == 1 || n == 9;
            assert!(
                is_as_before,
                "seed {seed}: {n} holds what was written afterwards"
            );
            assert!(
                running.removed.contains(&writer),
                "seed {seed}: {n} heard of it"
            );
        }
    }
}

#[test]
fn while_the_mothership_is_there_nobody_exchanges_and_when_it_goes_everybody_does() {
    let mut world = World::new(30, 0, 4);
    (0..30).for_each(|n| world.nodes[n].is_alone = false);
    world.start_all(5_000, 15_000);
    publish(&mut world, 10);
    let of_log = |world: &World| -> u64 {
        let kinds = ["ask", "head", "entries", "prune"];
        kinds
            .iter()
            .filter_map(|kind| world.counts.messages.get(kind))
            .sum()
    };
    assert_eq!(of_log(&world), 0);
    // Some lose it first; those that have it let them take part.
    (0..10).for_each(|n| world.set_alone(n, true));
    world.run_for(20_000);
    (10..30).for_each(|n| world.set_alone(n, true));
    world.run_for(5_000);
    assert_eq!(world.lacking(), 0);
    (0..30).for_each(|n| world.set_alone(n, false));
    world.run_for(5_000);
    let before = of_log(&world);
    publish(&mut world, 10);
    world.run_for(60_000);
    assert_eq!(
        of_log(&world),
        before,
        "nobody wants anything of a neighbour"
    );
}
