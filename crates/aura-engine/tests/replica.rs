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

fn entry(author_seq: u64, prev: Digest) -> Entry {
    let header = Header {
        level: PROTOCOL_LEVEL,
        kind: Kind::PATCH,
        flags: 0,
        team: TEAM,
        log: LOG,
        writer: Writer {
            peer: bob().peer(),
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
    sign_entry(&bob(), &header, b"sealed").unwrap()
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
    let alice = IdentityKey::from_seed([4; 32]);
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
