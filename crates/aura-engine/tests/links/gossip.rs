//! Words of where peers are, and how they spread.

use aura_engine::peer::links::{Input, Output, RUMOUR_LINKS_MAX, WORDS_PER_SPAN_MAX};
use aura_proto::{
    Code, SignedReach, limits::PEERS_PER_MESSAGE_MAX, message::Message, reach::Visibility,
};

use crate::world::{World, address, word};

fn holders(world: &World, node: usize, counter: u64) -> usize {
    let id = world.id(node);
    let others = world.nodes.iter().filter(|other| other.id != id);
    others
        .filter(|other| other.table[&id].reach.counter == counter)
        .count()
}

/// Messages in which that word was told, by whom and when.
fn tellings(world: &World, said: &SignedReach) -> Vec<(usize, u64)> {
    let mut all = Vec::new();
    for (node, log) in world.nodes.iter().map(|node| &node.log).enumerate() {
        for (at_ms, output) in log {
            if let Output::Send {
                message: Message::Reach(words),
                ..
            } = output
                && words.contains(said)
            {
                all.push((node, *at_ms));
            }
        }
    }
    all
}

fn fifty(seed: u64, lost_percent: u64) -> World {
    let mut world = World::new(50, seed);
    for node in &mut world.nodes {
        node.is_control_up = false;
    }
    world.is_logging = false;
    world.start();
    world.run_for(60_000);
    world.is_logging = true;
    world.lost_percent = lost_percent;
    world
}

#[test]
fn c50_all_of_fifty_hear_within_three_rounds_though_a_fifth_is_lost() {
    for seed in 20..30 {
        let mut world = fifty(seed, 20);
        let moved = word(7, 2, Visibility::Open, &[address(7), address(207)]);
        world.input(7, Input::Announce(moved));
        world.run_for(90_000);
        assert_eq!(holders(&world, 7, 2), 49, "seed {seed}");
    }
}

#[test]
fn c49_a_word_is_passed_on_at_once_to_three_at_most_and_once_on_each_link() {
    for seed in 0..5 {
        let mut world = fifty(seed, 0);
        let moved = word(7, 2, Visibility::Open, &[address(7), address(207)]);
        let said_ms = world.now_ms;
        world.input(7, Input::Announce(moved.clone()));
        world.run_for(2_000);
        assert!(
            45 <= holders(&world, 7, 2),
            "seed {seed}: it is heard nearly at once"
        );
        let learned_ms = |node: usize| {
            let is_it = |output: &Output| matches!(output, Output::Learned(word) if *word == moved);
            world.nodes[node]
                .log
                .iter()
                .find(|(_, output)| is_it(output))
                .map(|(at_ms, _)| *at_ms)
        };
        for node in (0..50).filter(|node| *node != 7) {
            let Some(learned_ms) = learned_ms(node) else {
                continue;
            };
            let told = tellings(&world, &moved);
            let at_once = told
                .iter()
                .filter(|(teller, at_ms)| *teller == node && *at_ms == learned_ms);
            assert!(at_once.count() <= RUMOUR_LINKS_MAX, "seed {seed}");
        }
        world.run_to(said_ms + 300_000);
        assert_eq!(holders(&world, 7, 2), 49, "seed {seed}");
        let told = tellings(&world, &moved).len();
        let ends: usize = (0..50).map(|node| world.degree(node)).sum();
        assert!(told <= ends, "seed {seed}: {told} for {ends} ends");
        assert!(told <= 4 * 50, "seed {seed}: {told}");
        let before = told;
        world.run_for(300_000);
        assert_eq!(
            tellings(&world, &moved).len(),
            before,
            "seed {seed}: it is not told for ever"
        );
    }
}

fn pair() -> World {
    let mut world = World::new(3, 1);
    world.start();
    world.run_for(10_000);
    assert!(world.is_linked(0, 1));
    world
}

/// What machine 0 closed its link to machine 1 with, after hearing these words on it.
fn heard(world: &mut World, words: Vec<SignedReach>) -> Option<Code> {
    let (link, _) = world.nodes[0].up[&world.id(1)];
    let before = world.nodes[0].log.len();
    world.input(
        0,
        Input::Received {
            link,
            message: Message::Reach(words),
        },
    );
    world.nodes[0].log[before..]
        .iter()
        .find_map(|(_, output)| match output {
            Output::Close {
                code, link: closed, ..
            } if *closed == link => Some(*code),
            _ => None,
        })
}

#[test]
fn a_word_that_its_peer_did_not_sign_ends_the_link() {
    let mut forged = word(2, 9, Visibility::Open, &[address(9)]);
    forged.reach.counter = 10;
    let mut world = pair();
    assert_eq!(heard(&mut world, vec![forged]), Some(Code::BAD_SIGNATURE));
    // Signed, but in a form that may not be.
    let mut world = pair();
    let hidden = word(2, 9, Visibility::Strict, &[address(9)]);
    assert_eq!(heard(&mut world, vec![hidden]), Some(Code::BAD_SIGNATURE));
    let id = world.id(2);
    assert_eq!(world.nodes[0].table[&id].reach.counter, 1);
}

#[test]
fn an_old_word_is_nothing_and_too_many_end_the_link() {
    let mut world = pair();
    let newer = word(2, 5, Visibility::Open, &[address(50)]);
    let older = word(2, 4, Visibility::Open, &[address(40)]);
    assert_eq!(heard(&mut world, vec![newer.clone()]), None);
    assert_eq!(heard(&mut world, vec![older, newer.clone()]), None);
    let learned = world.nodes[0]
        .log
        .iter()
        .filter(|(_, output)| matches!(output, Output::Learned(word) if word.peer == world.id(2)));
    assert_eq!(learned.count(), 1);
    let many = vec![newer; PEERS_PER_MESSAGE_MAX + 1];
    assert_eq!(heard(&mut world, many), Some(Code::TOO_LARGE));
}

#[test]
fn case_106_a_stranger_that_gossip_names_is_asked_about_seldom_and_never_added() {
    let mut world = pair();
    let rows = world.nodes[0].links.rows(world.now()).len();
    let before = world.nodes[0].log.len();
    for batch in 0..300 {
        let strangers = (0..PEERS_PER_MESSAGE_MAX).map(|i| {
            let mut stranger = word(2, 1, Visibility::Open, &[address(9)]);
            stranger.peer.0[..8].copy_from_slice(&(batch * 1_000 + i as u64).to_be_bytes());
            stranger
        });
        assert_eq!(heard(&mut world, strangers.collect()), None);
        world.run_for(1_000);
    }
    let asks = world.nodes[0].log[before..]
        .iter()
        .filter_map(|(at_ms, output)| match output {
            Output::Ask(peers) => Some((*at_ms, peers.len())),
            _ => None,
        });
    let asks: Vec<_> = asks.collect();
    for (from_ms, _) in &asks {
        let in_minute = asks
            .iter()
            .filter(|(at_ms, _)| (*from_ms..from_ms + 60_000).contains(at_ms));
        assert!(in_minute.map(|(_, count)| count).sum::<usize>() <= 10);
    }
    assert!(!asks.is_empty());
    assert_eq!(world.nodes[0].links.rows(world.now()).len(), rows);
    assert_eq!(
        world.nodes[0].links.unknown_words(),
        300 * PEERS_PER_MESSAGE_MAX as u64
    );
    let strangers_dialled = world.nodes[0].log[before..].iter().any(|(_, output)| matches!(output, Output::Dial { addresses, .. } if addresses.contains(&address(9))));
    assert!(!strangers_dialled);
}

#[test]
fn who_moves_all_the_time_costs_the_others_little_and_is_believed_again_later() {
    let mut world = fifty(31, 0);
    let learned = |world: &World, node: usize| {
        let log = &world.nodes[node].log;
        let is_learned = |output: &Output| matches!(output, Output::Learned(_));
        log.iter().filter(|(_, output)| is_learned(output)).count()
    };
    for counter in 2..1_002 {
        let moved = word(7, counter, Visibility::Open, &[address(7), address(207)]);
        world.input(7, Input::Announce(moved));
    }
    world.run_for(20_000);
    for node in (0..50).filter(|node| *node != 7) {
        assert!(
            learned(&world, node) <= WORDS_PER_SPAN_MAX as usize,
            "{node}"
        );
    }
    world.run_for(100_000);
    let moved = word(7, 2_000, Visibility::Open, &[address(7)]);
    world.input(7, Input::Announce(moved));
    world.run_for(60_000);
    assert_eq!(holders(&world, 7, 2_000), 49);
}
