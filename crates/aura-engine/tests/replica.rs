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
        fence: 0,
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

fn heard(entries: &[&Entry]) -> Input {
    Input::Heard {
        from: 7,
        entries: entries.iter().copied().cloned().collect(),
    }
}

fn refusal(said: &[Output]) -> Option<Code> {
    said.iter().find_map(|output| match output {
        Output::NotHeard { from: 7, code, .. } => Some(*code),
        _ => None,
    })
}

/// A replica that never met the Mothership.
fn lonely() -> Replica {
    let mothership = IdentityKey::from_seed([5; 32]).peer();
    Replica::new(TEAM, LOG, alice(), mothership, Incarnation(1))
}

// spec: peers/4.3
#[test]
fn c76_c77_what_a_neighbour_forged_doubled_or_left_out_is_not_taken() {
    let first = entry(1, Digest::ZERO);
    let second = entry(2, first.hash());
    let third = entry(3, second.hash());
    let mut replica = lonely();
    let mut forged = first.bytes().to_vec();
    // Within the signature, which stands behind the 182 bytes of the header.
    forged[200] ^= 1;
    let forged = Entry::decode(forged.into()).unwrap();
    assert_eq!(
        refusal(&feed(&mut replica, heard(&[&forged]))),
        Some(Code::BAD_SIGNATURE)
    );
    assert_eq!(
        refusal(&feed(&mut replica, heard(&[&second]))),
        Some(Code::AUTHOR_GAP)
    );
    let said = feed(&mut replica, heard(&[&first, &third]));
    assert_eq!(refusal(&said), Some(Code::AUTHOR_GAP));
    assert!(
        said.iter()
            .any(|output| matches!(output, Output::Heard { entry, .. } if *entry == first))
    );
    // The same once more is no news and no fault.
    assert!(feed(&mut replica, heard(&[&first])).is_empty());
    assert_eq!(replica.held().get(&first.header().writer), 1);
}

// spec: peers/4.7
#[test]
fn two_entries_under_one_number_are_proof_and_end_what_is_heard_of_their_writer() {
    let first = entry(1, Digest::ZERO);
    let mut header = first.header().clone();
    header.lamport = 99;
    let other = sign_entry(&bob(), &header, b"another").unwrap();
    let mut replica = lonely();
    feed(&mut replica, heard(&[&first]));
    assert_eq!(
        refusal(&feed(&mut replica, heard(&[&other]))),
        Some(Code::EQUIVOCATION)
    );
    let second = entry(2, first.hash());
    assert_eq!(
        refusal(&feed(&mut replica, heard(&[&second]))),
        Some(Code::EQUIVOCATION)
    );
    assert_eq!(replica.held().get(&first.header().writer), 1);
}

// spec: peers/5.1
#[test]
fn what_was_heard_gets_its_place_and_what_the_log_has_instead_counts() {
    let first = entry(1, Digest::ZERO);
    let second = entry(2, first.hash());
    let mut header = second.header().clone();
    header.lamport = 99;
    let other = sign_entry(&bob(), &header, b"another").unwrap();
    let mut replica = lonely();
    feed(&mut replica, heard(&[&first, &second]));
    feed(&mut replica, Input::LinkUp);
    let hash = chain(Digest::ZERO, 1, 7, first.hash());
    feed(&mut replica, head(2, chain(hash, 2, 7, other.hash())));
    let said = feed(&mut replica, run(1, &first));
    assert!(said.iter().any(|output| matches!(
        output,
        Output::Settled {
            author_seq: 1,
            seq: 1,
            ..
        }
    )));
    let said = feed(&mut replica, run(2, &other));
    assert!(
        said.iter()
            .any(|output| matches!(output, Output::Contradicted { author_seq: 2, .. }))
    );
    assert!(
        said.iter().any(
            |output| matches!(output, Output::Delivered { placed, .. } if placed.entry == other)
        )
    );
    assert_eq!(replica.heard().count(), 0);
    assert_eq!(replica.cursor().0, 2);
}

// spec: peers/5.2
#[test]
fn what_others_wrote_is_offered_in_the_order_of_the_logical_clock_and_once() {
    let carol = IdentityKey::from_seed([6; 32]);
    let one = entry(1, Digest::ZERO).header().clone();
    let two = one.clone();
    let late = {
        let mut header = one;
        header.lamport = 9;
        sign_entry(&bob(), &header, b"late").unwrap()
    };
    let early = {
        let mut header = two;
        header.writer.peer = carol.peer();
        header.lamport = 3;
        sign_entry(&carol, &header, b"early").unwrap()
    };
    let mut replica = lonely();
    feed(&mut replica, heard(&[&late, &early]));
    feed(&mut replica, Input::LinkUp);
    let said = feed(&mut replica, head(0, Digest::ZERO));
    assert!(
        said.iter()
            .any(|output| matches!(output, Output::OfferLater))
    );
    let said = feed(&mut replica, Input::Offer);
    let [Output::Send(Message::Push(push))] = &said[..] else {
        panic!("{said:?}");
    };
    let pushed = aura_proto::event::decode_push(push).unwrap().1;
    let pushed: Vec<Entry> = pushed.into_iter().map(Result::unwrap).collect();
    assert_eq!(pushed, [early, late]);
    assert!(feed(&mut replica, Input::Offer).is_empty(), "offered again");
}

#[test]
fn case_094_a_mothership_that_reorders_drops_or_repeats_an_entry_is_found_out_at_that_entry() {
    let first = entry(1, Digest::ZERO);
    let second = entry(2, first.hash());
    let third = entry(3, second.hash());
    let fault = |said: &[Output]| {
        said.iter().find_map(|output| match output {
            Output::Fault { code, .. } => Some(*code),
            _ => None,
        })
    };
    // The third before the second, which is the same to see as without the second.
    let mut reordered = replica(&first);
    let said = feed(&mut reordered, run(2, &third));
    assert_eq!(fault(&said), Some(Code::AUTHOR_GAP));
    // A position left out.
    let mut dropped = replica(&first);
    let said = feed(&mut dropped, run(3, &second));
    assert_eq!(fault(&said), Some(Code::ORDER));
    // One entry at two positions.
    let mut repeated = replica(&first);
    let said = feed(&mut repeated, run(2, &first));
    assert!(fault(&said).is_some());
    for replica in [&mut reordered, &mut dropped, &mut repeated] {
        assert_eq!(replica.cursor().0, 1, "nothing of it counts");
        // Nor does what comes behind.
        feed(replica, run(2, &second));
        assert_eq!(replica.cursor().0, 1);
    }
    // The very run once more is no fault.
    let mut honest = replica(&first);
    assert_eq!(fault(&feed(&mut honest, run(1, &first))), None);
    feed(&mut honest, run(2, &second));
    assert_eq!(honest.cursor().0, 2);
}
