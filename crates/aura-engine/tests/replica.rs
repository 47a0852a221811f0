//! One replica fed by hand: what it takes from a Mothership, and what it does not.

#![allow(clippy::unwrap_used, missing_docs)]

use aura_engine::peer::replica::{Input, Output, Replica};
use aura_proto::{
    Code, Digest, Entry, Header, Incarnation, Kind, LogId, TeamId, VersionVector, Writer,
    entry::PROTOCOL_LEVEL,
    event::{EventRun, PlacedBytes, chain},
    message::{Head, Message},
};
use aura_trust::{IdentityKey, sign_entry};

const TEAM: TeamId = TeamId([1; 16]);
const LOG: LogId = LogId([2; 16]);

fn bob() -> IdentityKey {
    IdentityKey::from_seed([3; 32])
}

fn alice() -> IdentityKey {
    IdentityKey::from_seed([4; 32])
}

fn entry(author_seq: u64, prev: Digest) -> Entry {
    entry_of(&bob(), author_seq, prev)
}

fn entry_of(author: &IdentityKey, author_seq: u64, prev: Digest) -> Entry {
    let header = Header {
        level: PROTOCOL_LEVEL,
        kind: Kind::PATCH,
        flags: 0,
        team: TEAM,
        log: LOG,
        writer: Writer {
            peer: author.peer(),
            incarnation: Incarnation(1),
        },
        author_seq,
        prev,
        lamport: author_seq,
        time_ms: 0,
        fence: 0,
        key_epoch: 1,
        body_len: 0,
        body_hash: Digest::ZERO,
    };
    sign_entry(author, &header, b"sealed").unwrap()
}

fn head(seq: u64, hash: Digest) -> Input {
    Input::Received(Message::Head(Head {
        log: LOG,
        epoch: 1,
        seq,
        hash,
        vector: VersionVector::default(),
    }))
}

/// A head that says how much it holds of what the replica wrote.
fn claims(replica: &Replica, held: u64) -> Input {
    let (seq, hash) = replica.cursor();
    let mut vector = VersionVector::default();
    vector.observe(replica.writer(), held);
    Input::Received(Message::Head(Head {
        log: LOG,
        epoch: 1,
        seq,
        hash,
        vector,
    }))
}

fn is_reborn(said: &[Output]) -> bool {
    said.iter()
        .any(|output| matches!(output, Output::Reincarnate))
}

fn run(seq: u64, entry: &Entry) -> Input {
    let row = PlacedBytes {
        seq,
        time_ms: 7,
        bytes: entry.bytes(),
    };
    let run = EventRun::encode(LOG, std::iter::once(row), None);
    Input::Received(Message::Event(run))
}

/// Feeds one input, stores whatever is ordered and answers what else was said.
fn feed(replica: &mut Replica, input: Input) -> Vec<Output> {
    replica.handle(input);
    let mut said = Vec::new();
    while let Some(output) = replica.poll() {
        match output {
            Output::Append { batch, records } => {
                replica.handle(Input::Stored {
                    batch,
                    first_lsn: 1,
                    count: records.len(),
                });
            }
            other => said.push(other),
        }
    }
    said
}

/// A replica that verified the first of two entries.
fn replica(first: &Entry) -> Replica {
    let alice = alice();
    let mothership = IdentityKey::from_seed([5; 32]).peer();
    let mut replica = Replica::new(TEAM, LOG, alice, mothership, Incarnation(1));
    feed(&mut replica, Input::LinkUp);
    feed(
        &mut replica,
        head(1, chain(Digest::ZERO, 1, 7, first.hash())),
    );
    feed(&mut replica, run(1, first));
    assert_eq!(replica.cursor().0, 1);
    replica
}

// spec: sync/2.2
#[test]
fn nothing_is_taken_from_a_mothership_that_shows_less_than_was_verified() {
    let first = entry(1, Digest::ZERO);
    let second = entry(2, first.hash());
    let mut replica = replica(&first);
    feed(&mut replica, Input::LinkDown);
    feed(&mut replica, Input::LinkUp);
    let said = feed(&mut replica, head(0, Digest::ZERO));
    assert!(
        matches!(
            &said[..],
            [Output::Fault {
                code: Code::BEHIND_PEERS,
                ..
            }]
        ),
        "{said:?}"
    );
    feed(&mut replica, run(2, &second));
    assert_eq!(replica.cursor().0, 1, "taken from another history");
    // Once it is repaired, the same link up brings what is missing.
    feed(&mut replica, Input::LinkDown);
    feed(&mut replica, Input::LinkUp);
    let hash = chain(Digest::ZERO, 1, 7, first.hash());
    feed(&mut replica, head(2, chain(hash, 2, 7, second.hash())));
    feed(&mut replica, run(2, &second));
    assert_eq!(replica.cursor().0, 2);
}

// spec: sync/2.4
#[test]
fn a_number_that_nobody_has_shown_draws_no_new_life_and_what_waits_is_kept() {
    let mut replica = replica(&entry(1, Digest::ZERO));
    let author = Input::Author {
        kind: Kind::PATCH,
        key_epoch: 1,
        body: b"sealed".to_vec(),
        time_ms: 0,
        author_seq: replica.next_number(),
        replaces: None,
    };
    feed(&mut replica, author);
    let before = replica.writer();
    // Nobody asked for the first one; the second one was asked for.
    let unasked = claims(&replica, 2);
    let said = feed(&mut replica, unasked);
    assert!(said.is_empty(), "{said:?}");
    feed(&mut replica, Input::LinkDown);
    feed(&mut replica, Input::LinkUp);
    let asked = claims(&replica, 2);
    let said = feed(&mut replica, asked);
    let is_stranded = |output: &Output| matches!(output, Output::Stranded(_));
    assert!(
        !is_reborn(&said) && !said.iter().any(is_stranded),
        "{said:?}"
    );
    assert_eq!((replica.writer(), replica.queued()), (before, 1));
}

// spec: sync/2.4
#[test]
fn an_own_entry_that_this_disk_does_not_hold_draws_a_new_life_once_in_a_link() {
    let first = entry(1, Digest::ZERO);
    let mut replica = replica(&first);
    let own = entry_of(&alice(), 1, Digest::ZERO);
    let said = feed(&mut replica, run(2, &own));
    assert!(is_reborn(&said), "{said:?}");
    feed(&mut replica, Input::Incarnation(Incarnation(2)));
    assert_eq!(replica.writer().incarnation, Incarnation(2));
    let next = entry_of(&alice(), 2, own.hash());
    let said = feed(&mut replica, run(3, &next));
    assert!(!is_reborn(&said), "{said:?}");
    assert_eq!(replica.cursor().0, 3);
}

#[test]
fn a_head_counts_only_if_it_was_asked_for_after_what_happened() {
    let first = entry(1, Digest::ZERO);
    let second = entry(2, first.hash());
    let mut replica = replica(&first);
    assert!(replica.is_caught_up());
    let hash = chain(Digest::ZERO, 1, 7, first.hash());
    feed(&mut replica, Input::LinkDown);
    feed(&mut replica, Input::LinkUp);
    feed(&mut replica, Input::Ask);
    // The answer to the first question was on its way already.
    feed(&mut replica, head(1, hash));
    assert!(!replica.is_caught_up());
    feed(&mut replica, head(2, chain(hash, 2, 7, second.hash())));
    assert!(!replica.is_caught_up());
    feed(&mut replica, run(2, &second));
    assert!(replica.is_caught_up());
}
