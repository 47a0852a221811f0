//! Entries and pushes at the edge of what the protocol allows, against the real programs.

#![allow(clippy::unwrap_used, missing_docs)]

use aura_proto::{
    Code, LogId,
    limits::BODY_BYTES_MAX,
    message::{Message, Outcome},
};
use mothership_tests::{Team, git, wire::Device};
use tokio::runtime::Runtime;

// spec: sync/4.4
#[test]
fn a_push_that_is_no_run_of_entries_ends_the_link() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let _alice = team.founder(&box_, "observe");
    let token = team.invite();
    let closed = Runtime::new().unwrap().block_on(async {
        let device = Device::join(&token, "mallory").await.unwrap();
        let mut wire = device.connect().await.unwrap();
        wire.send(wire.streams[0], &Message::Push(b"no entry"[..].into()));
        wire.closed().await
    });
    assert_eq!(closed.0, Code::DECODE, "{}", closed.1);
}

// spec: entry/1.2
#[test]
fn the_longest_entry_reaches_a_daemon_and_leaves_it_running() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    let root = git(&alice.repo, &["rev-list", "--max-parents=0", "HEAD"]);
    let token = team.invite();
    Runtime::new().unwrap().block_on(async {
        let mut device = Device::join(&token, "mallory").await.unwrap();
        let log = LogId::of_repository(device.team(), &root);
        let entry = device.entry(log, &vec![0xaa; BODY_BYTES_MAX]).unwrap();
        let mut wire = device.connect().await.unwrap();
        wire.push(log, &[entry]);
        let outcomes = wire.acked().await.unwrap().outcomes;
        assert!(
            matches!(outcomes[..], [(1, Outcome::Stored { .. })]),
            "{outcomes:?}"
        );
    });
    // Bob's change is placed behind that entry, so Alice had to store it first.
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    alice.applied("score");
}
