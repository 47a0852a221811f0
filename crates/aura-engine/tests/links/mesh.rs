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
fn c58_no_second_device_is_dialled_while_somebody_has_none() {
    for seed in 0..50 {
        let mut world = World::new(13, seed);
        world.listeners.clear();
        world.nodes[0].settings.mesh = Mesh::new(1, 8, 8).unwrap();
        for (i, node) in world.nodes.iter_mut().enumerate() {
            // The first three are the own ones, then one person with six and four with one each.
            node.person = match i {
                0..=2 => "own".to_owned(),
                3..=8 => "alice".to_owned(),
                _ => format!("person {i}"),
            };
        }
        world.start_one(0);
        world.run_for(5_000);
        let mut dialled = Vec::new();
        for (_, output) in &world.nodes[0].log {
            if let Output::Dial { peer, .. } = output {
                dialled.push(world.nodes[world.ids[peer]].person.clone());
            }
        }
        assert_eq!(dialled.len(), 8);
        let first: BTreeSet<_> = dialled[..5].iter().cloned().collect();
        assert_eq!(first.len(), 5, "seed {seed}: {dialled:?}");
        assert!(!first.contains("own"), "the own devices come last");
        let own = dialled.iter().filter(|person| *person == "own").count();
        assert!((1..=2).contains(&own), "seed {seed}: {dialled:?}");
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

/// Something goes wrong, or somebody wants something.
fn disturb(world: &mut World, count: usize) {
    let pick = |world: &mut World| usize::try_from(world.random() % count as u64).unwrap();
    let (a, b) = (pick(world), pick(world));
    if a == b {
        return;
    }
    let peer = world.id(b);
    match world.random() % 12 {
        0..=2 => world.cut(a, b),
        3 | 4 => world.heal(a, b),
        5 => world.reset(a, b),
        6 => world.input(a, Input::Reconnect(Some(peer))),
        7 => world.input(a, Input::Reconnect(None)),
        8 => world.input(a, Input::Want(peer)),
        9 => {
            let is_up = !world.nodes[a].is_control_up;
            world.nodes[a].is_control_up = is_up;
            world.input(a, Input::Control { is_up });
        }
        10 => {
            let here = world.known(a);
            let listeners = &mut world.listeners;
            if listeners.remove(&here.addresses[0]).is_none() {
                listeners.insert(here.addresses[0], a);
            }
        }
        _ => {
            if let Some((link, _)) = world.nodes[a].up.get(&peer).copied() {
                world.lose(a, link);
            }
        }
    }
}

#[test]
fn after_every_kind_of_trouble_both_ends_of_each_link_agree_and_the_mesh_is_whole() {
    const COUNT: usize = 12;
    let seeds = std::env::var("AURA_LINKS_SEEDS").map_or(20, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let mut world = World::new(COUNT, seed);
        world.is_logging = false;
        // Slow networks, so that more of it happens at the same time.
        world.slowness = 1 + seed % 8;
        world.start();
        for _ in 0..400 {
            disturb(&mut world, COUNT);
            let pause_ms = world.random() % 3_000;
            world.run_for(pause_ms);
        }
        world.cut.clear();
        for node in 0..COUNT {
            let known = world.known(node);
            world.listeners.insert(known.addresses[0], node);
            world.nodes[node].is_control_up = true;
            world.input(node, Input::Control { is_up: true });
        }
        // Addresses that never answered rest for ten minutes; then what is relayed becomes direct.
        world.run_for(800_000);
        world.is_logging = true;
        world.run_for(100_000);
        for node in &world.nodes {
            let is_change = |output: &Output| matches!(output, Output::Up { .. });
            let is_still = !node.log.iter().any(|(_, output)| is_change(output));
            assert!(is_still, "seed {seed}: the mesh comes to rest");
            assert!(
                node.up.values().all(|(_, way)| way.is_direct()),
                "seed {seed}"
            );
        }
        for (a, b) in (0..COUNT).flat_map(|a| (0..a).map(move |b| (a, b))) {
            let ups = (world.way(a, b).is_some(), world.way(b, a).is_some());
            assert_eq!(ups.0, ups.1, "seed {seed}: {a} and {b}");
            assert!(!ups.0 || world.is_linked(a, b), "seed {seed}: {a} and {b}");
            assert!(world.sessions(a, b) <= 1, "seed {seed}: {a} and {b}");
        }
        assert!(world.is_connected(), "seed {seed}");
        let degrees: Vec<_> = (0..COUNT).map(|node| world.degree(node)).collect();
        assert!(
            degrees.iter().all(|degree| (3..=8).contains(degree)),
            "seed {seed}: {degrees:?}"
        );
    }
}
