//! Who may see where a device is, and who dials whom.

use std::net::SocketAddr;

use aura_engine::peer::links::{Input, Output, Reachability, Way, Why};
use aura_proto::{Code, message::Message, reach::Visibility};

use crate::world::{World, address, word};

/// Whether the address occurs in anything that `node` said or dialled.
fn says(world: &World, node: usize, hidden: SocketAddr) -> bool {
    world.nodes[node]
        .log
        .iter()
        .any(|(_, output)| match output {
            Output::Dial { addresses, .. } => addresses.contains(&hidden),
            Output::Send {
                message: Message::Reach(words),
                ..
            } => words
                .iter()
                .any(|word| word.reach.addresses.contains(&hidden)),
            Output::Send {
                message: Message::Auth(auth),
                ..
            } => (auth.reach.as_ref()).is_some_and(|word| word.reach.addresses.contains(&hidden)),
            _ => false,
        })
}

#[test]
fn c52_a_silent_peer_dials_and_is_never_dialled_and_nobody_tells_where_it_is() {
    for visibility in [Visibility::Outbound, Visibility::Strict] {
        let mut world = World::new(6, 3);
        world.set_visibility(2, visibility);
        // A shell that hands in an address all the same.
        let mut known = world.known(2);
        known.addresses.push(address(2));
        world.start();
        for node in (0..6).filter(|node| *node != 2) {
            world.input(node, Input::Peer(known.clone()));
        }
        let id = world.id(2);
        for node in (0..6).filter(|node| *node != 2) {
            world.input(node, Input::Want(id));
        }
        world.run_for(600_000);
        for node in 0..6 {
            assert!(
                !says(&world, node, address(2)),
                "{visibility:?}: {node} tells"
            );
        }
        let ways: Vec<_> = world.nodes[2].up.values().map(|(_, way)| *way).collect();
        assert!(3 <= ways.len());
        match visibility {
            Visibility::Strict => assert!(ways.iter().all(|way| *way == Way::Relay)),
            _ => assert!(ways.iter().any(|way| way.is_direct())),
        }
        let is_dialled = |output: &Output| matches!(output, Output::Dial { .. });
        let dials = world.nodes[2]
            .log
            .iter()
            .any(|(_, output)| is_dialled(output));
        assert_eq!(dials, visibility == Visibility::Outbound);
        let row = world.nodes[0]
            .links
            .rows(world.now())
            .into_iter()
            .find(|row| row.peer == id)
            .unwrap();
        let expected = if visibility == Visibility::Strict {
            Why::Strict
        } else {
            Why::NoAddress
        };
        assert!(row.why.is_none() || row.why == Some(expected), "{row:?}");
    }
}

#[test]
fn c52_an_address_that_is_shown_again_spreads_within_a_minute() {
    let mut world = World::new(8, 4);
    world.set_visibility(2, Visibility::Outbound);
    for node in &mut world.nodes {
        node.is_control_up = false;
    }
    world.start();
    world.run_for(30_000);
    let open = word(2, 2, Visibility::Open, &[address(2)]);
    let mut settings = world.nodes[2].settings;
    settings.visibility = Visibility::Open;
    world.input(2, Input::Settings(settings));
    world.input(2, Input::Announce(open));
    world.run_for(60_000);
    let id = world.id(2);
    for node in (0..8).filter(|node| *node != 2) {
        assert_eq!(world.nodes[node].table[&id].addresses, [address(2)]);
    }
}

#[test]
fn c52_who_becomes_strict_keeps_relayed_links_alone() {
    let mut world = World::new(6, 5);
    world.start();
    world.run_for(20_000);
    assert!(world.nodes[1].up.values().all(|(_, way)| way.is_direct()));
    let mut settings = world.nodes[1].settings;
    settings.visibility = Visibility::Strict;
    world.input(1, Input::Settings(settings));
    assert!(world.nodes[1].up.is_empty(), "closed at once");
    world.input(1, Input::Announce(word(1, 2, Visibility::Strict, &[])));
    let since_ms = world.now_ms;
    world.run_for(120_000);
    assert!(3 <= world.degree(1));
    assert!(
        world.nodes[1]
            .up
            .values()
            .all(|(_, way)| *way == Way::Relay)
    );
    let id = world.id(1);
    for node in (0..6).filter(|node| *node != 1) {
        let later = world.nodes[node]
            .log
            .iter()
            .filter(|(at_ms, _)| since_ms + 60_000 < *at_ms);
        let dialled =
            later.filter(|(_, output)| matches!(output, Output::Dial { peer, .. } if *peer == id));
        assert_eq!(dialled.count(), 0, "{node} knows by now");
    }
}

#[test]
fn an_announcement_that_says_what_is_hidden_is_not_told() {
    let mut world = World::new(3, 6);
    world.nodes[0].settings.visibility = Visibility::Outbound;
    // Its own word still is the open one.
    world.start();
    world.run_for(60_000);
    assert!(!says(&world, 0, address(0)));
    assert!(0 < world.degree(0));
}

#[test]
fn where_direct_links_are_off_nothing_is_dialled_and_nothing_accepted() {
    let mut world = World::new(4, 7);
    world.nodes[0].settings.direct = false;
    world.start();
    world.run_for(60_000);
    assert!(3 <= world.degree(0));
    assert!(
        world.nodes[0]
            .up
            .values()
            .all(|(_, way)| *way == Way::Relay)
    );
    assert!(
        !world.nodes[0]
            .log
            .iter()
            .any(|(_, output)| matches!(output, Output::Dial { .. }))
    );
    let id = world.id(1);
    let row = world.nodes[0]
        .links
        .rows(world.now())
        .into_iter()
        .find(|row| row.peer == id)
        .unwrap();
    assert_eq!(row.why, Some(Why::DirectOff));
    let forbidden = |(_, output): &&(u64, Output)| {
        matches!(
            output,
            Output::Close {
                code: Code::FORBIDDEN,
                ..
            }
        )
    };
    assert!(world.nodes[0].log.iter().any(|entry| forbidden(&entry)));
}

#[test]
fn without_the_mothership_there_is_no_circuit_and_the_links_stay() {
    let mut world = World::new(4, 8);
    world.start();
    world.run_for(20_000);
    let before: Vec<_> = world.nodes.iter().map(|node| node.up.clone()).collect();
    for node in 0..4 {
        world.nodes[node].is_control_up = false;
        world.input(node, Input::Control { is_up: false });
    }
    world.run_for(300_000);
    let after: Vec<_> = world.nodes.iter().map(|node| node.up.clone()).collect();
    assert_eq!(before, after);
    // The world itself asserts that no circuit is asked for.
    world.listeners.clear();
    world.reset(0, 1);
    world.run_for(300_000);
    assert!(world.way(0, 1).is_none());
    let id = world.id(1);
    let row = world.nodes[0]
        .links
        .rows(world.now())
        .into_iter()
        .find(|row| row.peer == id)
        .unwrap();
    assert!(
        row.why
            .is_some_and(|why| matches!(why, Why::Waiting | Why::NoAnswer | Why::Dialing)),
        "{row:?}"
    );
}

#[test]
fn who_is_away_by_the_motherships_word_is_looked_for_when_it_is_back() {
    let mut world = World::new(2, 9);
    let mut known = world.known(1);
    known.is_online = Some(false);
    world.start_one(0);
    world.input(0, Input::Peers(vec![known.clone()]));
    world.run_for(100_000);
    let row = world.nodes[0].links.rows(world.now()).remove(0);
    assert_eq!(row.why, Some(Why::Offline));
    let dials = world.dials(0, 1).len();
    assert!(dials <= 1, "before it was known at most");
    world.run_for(100_000);
    assert_eq!(world.dials(0, 1).len(), dials);
    let here = world.known(0);
    world.input(1, Input::Peers(vec![here]));
    known.is_online = Some(true);
    world.input(0, Input::Peer(known));
    world.run_for(2_000);
    assert!(world.is_linked(0, 1));
}

#[test]
fn c65_how_others_get_to_a_device_is_told_as_its_links_have_shown() {
    // Open; one that nobody can dial; one that is strict; one that makes no direct links.
    let mut world = World::new(4, 5);
    world.listeners.remove(&address(1));
    world.set_visibility(2, Visibility::Strict);
    world.nodes[3].settings.direct = false;
    world.start();
    let strict = world.id(2);
    world.input(0, Input::Want(strict));
    world.run_for(60_000);
    let seen = |node: usize| world.nodes[node].links.reachability();
    assert_eq!(seen(0), Reachability::Direct);
    assert_eq!(seen(1), Reachability::OutboundOnly);
    assert_eq!(seen(2), Reachability::RelayedOnly);
    assert_eq!(seen(3), Reachability::RelayedOnly);
    // Elsewhere it has to show again.
    let moved = word(0, 9, Visibility::Open, &[address(50)]);
    world.input(0, Input::Announce(moved));
    assert_eq!(world.nodes[0].links.reachability(), Reachability::Unknown);
}
