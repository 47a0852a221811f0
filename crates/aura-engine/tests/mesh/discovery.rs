//! How a team finds itself without the Mothership.

use aura_engine::peer::links::{Input, RUMOUR_LINKS_MAX};

use crate::world::World;

#[test]
fn c48_who_returns_elsewhere_and_finds_one_is_known_to_all_within_a_minute() {
    for seed in 0..5 {
        // Number 20 is nobody's member, and knows them all.
        let mut world = World::new(20, 1, seed);
        world.start_all(5_000, 30_000);
        world.crash(0, seed % 2 == 0);
        // All but one move while it is away, so its table leads it to that one alone.
        let kept = 1 + world.random.pick(19);
        for n in (1..20).filter(|n| *n != kept) {
            world.move_to(n, 1);
            world.run_for(5_000);
        }
        world.run_for(60_000);
        world.move_to(0, 2);
        world.start(0);
        world.net.reached.clear();
        let moved_ms = world.now_ms;
        while !world.unaware(0).is_empty() {
            assert!(
                world.now_ms <= moved_ms + 60_000,
                "seed {seed}: {:?}",
                world.unaware(0)
            );
            world.run_for(1_000);
        }
        // What was told while it was away comes to it as well.
        world.run_to(moved_ms + 60_000);
        for n in 1..20 {
            assert!(!world.unaware(n).contains(&0), "seed {seed}: where {n} is");
        }
        // Whoever needs it reaches it there.
        let id = world.nodes[0].id;
        (1..20).for_each(|n| world.tell_links(n, Input::Want(id)));
        world.run_for(10_000);
        let reached = |n: &usize| {
            world.net.reached.contains(&[*n, 0]) || world.net.reached.contains(&[0, *n])
        };
        assert_eq!((1..20).filter(reached).count(), 19, "seed {seed}");
        let stranger = world.nodes[20].id;
        let is_known = world.nodes[..20]
            .iter()
            .any(|node| node.table.contains_key(&stranger));
        assert!(!is_known, "seed {seed}: a stranger is not added");
        assert!(
            world.nodes[20].running.as_ref().unwrap().up.is_empty(),
            "seed {seed}"
        );
    }
}

#[test]
fn c49_one_word_among_fifty_is_passed_on_to_three_at_once_and_learned_once() {
    for seed in 0..3 {
        let mut world = World::new(50, 0, seed);
        world.start_all(5_000, 90_000);
        let counter = world.nodes[7].word.reach.counter + 1;
        world.watched = Some((world.nodes[7].id, counter));
        world.move_to(7, 1);
        world.run_for(5_000);
        let learned = world.learned.len();
        assert!(
            45 <= learned,
            "seed {seed}: {learned} hear of it nearly at once"
        );
        world.run_for(115_000);
        assert_eq!(world.unaware(7), [0; 0], "seed {seed}");
        assert_eq!(world.learned.len(), 49, "seed {seed}: each learns it once");
        for (n, at_ms) in &world.learned {
            let at_once = world.tellings.iter();
            let at_once = at_once.filter(|told| told.from == *n && told.at_ms == *at_ms);
            assert!(at_once.count() <= RUMOUR_LINKS_MAX, "seed {seed}");
        }
        let told = world.tellings.len();
        assert!(told <= 4 * 50, "seed {seed}: {told} messages");
        world.run_for(120_000);
        assert_eq!(
            world.tellings.len(),
            told,
            "seed {seed}: it is not told for ever"
        );
    }
}
