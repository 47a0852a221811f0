//! Many devices: with whom each is linked.

use std::collections::BTreeSet;

use aura_engine::peer::links::{Input, Mesh, Output};
use aura_proto::Code;

use crate::world::World;

fn people(world: &World, node: usize) -> usize {
    let persons = world.nodes[node]
        .up
        .keys()
        .map(|peer| &world.nodes[world.ids[peer]].person);
    persons.collect::<BTreeSet<_>>().len()
}

#[test]
fn twenty_machines_form_one_mesh_of_bounded_degree() {
    for seed in 0..100 {
        let mut world = World::new(20, seed);
        let is_up = seed % 2 == 0;
        for node in &mut world.nodes {
            node.is_control_up = is_up;
        }
        world.start();
        world.run_for(20_000);
        assert!(world.is_connected(), "seed {seed}");
        let degrees: Vec<_> = (0..20).map(|node| world.degree(node)).collect();
        assert!(
            degrees.iter().all(|degree| (3..=8).contains(degree)),
            "seed {seed}: {degrees:?}"
        );
        let mean = degrees.iter().sum::<usize>() / 20;
        assert!(mean <= 6, "seed {seed}: near the target: {degrees:?}");
        for (a, b) in (0..20).flat_map(|a| (0..20).map(move |b| (a, b))) {
            assert_eq!(
                world.way(a, b).is_some(),
                world.way(b, a).is_some(),
                "seed {seed}"
            );
            assert!(world.sessions(a, b) <= 1, "seed {seed}");
        }
        assert_eq!(world.nodes[0].links.links_up(), world.degree(0));
    }
}

#[test]
fn c58_people_before_machines_and_no_island_without_the_mothership() {
    for seed in 0..100 {
        // Alice has the first four devices.
        let mut world = World::new(9, seed);
        for (i, node) in world.nodes.iter_mut().enumerate() {
            node.is_control_up = false;
            if i < 4 {
                node.person = "alice".to_owned();
            }
        }
        world.start();
        world.run_for(30_000);
        assert!(world.is_connected(), "seed {seed}");
        for node in 0..9 {
            let (people, links) = (people(&world, node), world.degree(node));
            assert!(
                4 <= people,
                "seed {seed}: {node} has {links} links to {people} people"
            );
            assert!(links <= 8, "seed {seed}");
        }
    }
}

#[test]
fn c58_with_a_target_of_five_every_one_of_the_others_is_linked() {
    for seed in 0..30 {
        let mut world = World::new(9, seed);
        for (i, node) in world.nodes.iter_mut().enumerate() {
            node.is_control_up = false;
            node.settings.mesh = Mesh::new(3, 5, 8).unwrap();
            if i < 4 {
                node.person = "alice".to_owned();
            }
        }
        world.start();
        world.run_for(30_000);
        for node in 0..9 {
            let people = people(&world, node);
            assert!(5 <= people, "seed {seed}: {node} has {people} people");
        }
    }
}

#[test]
fn c63_the_degree_follows_the_settings_within_ten_heartbeats() {
    let mut world = World::new(24, 5);
    world.start();
    world.run_for(30_000);
    let set = |world: &mut World, low, target, high| {
        for node in 0..24 {
            let settings = &mut world.nodes[node].settings;
            settings.mesh = Mesh::new(low, target, high).unwrap();
            let settings = *settings;
            world.input(node, Input::Settings(settings));
        }
        world.run_for(150_000);
    };
    set(&mut world, 4, 6, 12);
    let degrees: Vec<_> = (0..24).map(|node| world.degree(node)).collect();
    assert!(
        degrees.iter().all(|degree| (6..=12).contains(degree)),
        "{degrees:?}"
    );
    set(&mut world, 2, 3, 4);
    let degrees: Vec<_> = (0..24).map(|node| world.degree(node)).collect();
    assert!(
        degrees.iter().all(|degree| (2..=4).contains(degree)),
        "{degrees:?}"
    );
    assert!(world.is_connected());
}

#[test]
fn c59_a_crowd_is_not_refused_and_leaves_a_small_mesh() {
    let mut world = World::new(120, 6);
    world.is_logging = false;
    world.start();
    world.run_for(20_000);
    assert!(world.is_connected());
    let degrees: Vec<_> = (0..120).map(|node| world.degree(node)).collect();
    assert!(
        degrees.iter().all(|degree| (3..=8).contains(degree)),
        "{degrees:?}"
    );
    assert!(degrees.iter().sum::<usize>() <= 120 * 6);
}

#[test]
fn a_link_that_somebody_wants_is_not_closed_for_being_one_too_many() {
    let mut world = World::new(14, 8);
    world.start();
    world.run_for(10_000);
    let wanted: Vec<_> = (1..14).map(|node| world.id(node)).collect();
    for id in &wanted {
        world.input(0, Input::Want(*id));
    }
    world.run_for(5_000);
    let is_closed_here = |world: &World| {
        let log = world.nodes[0].log.iter();
        log.filter(|(_, output)| {
            matches!(
                output,
                Output::Close {
                    code: Code::BYE,
                    ..
                }
            )
        })
        .count()
    };
    assert_eq!(is_closed_here(&world), 0);
    assert!(8 < world.degree(0), "{}", world.degree(0));
    world.run_for(70_000);
    assert!(world.degree(0) <= 8, "afterwards it is one too many");
    assert!(0 < is_closed_here(&world));
}

#[test]
fn same_seed_same_outputs() {
    let run = || {
        let mut world = World::new(10, 42);
        world.start();
        world.run_for(30_000);
        world.reset(0, 1);
        world.cut(2, 3);
        world.run_for(100_000);
        let logs = world.nodes.iter().map(|node| format!("{:?}", node.log));
        logs.collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
