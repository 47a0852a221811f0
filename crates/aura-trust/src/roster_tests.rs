//! Stories of teams: who founds, admits, removes and rotates, and who may not.
//!
//! Invariants:
//! - every story applies real signed entries; a refused entry is checked to change nothing.

#![allow(clippy::unwrap_used)]
use aura_proto::{Header, Incarnation, entry::PROTOCOL_LEVEL};
use proptest::prelude::*;

use super::*;
use crate::{
    IdentityKey, KeyWrap, ReceiveKey, TeamKey, commit, keys::sign_receive_key, unwrap_key, wrap_key,
};

const TEAM: TeamId = TeamId([1; 16]);

/// A peer of these stories, told apart by one byte.
fn key(who: u8) -> IdentityKey {
    IdentityKey::from_seed([who; 32])
}

fn receive(who: u8) -> ReceiveKey {
    ReceiveKey::from_seed([who; 32])
}

fn peer(who: u8) -> PeerId {
    key(who).peer()
}

fn card(who: u8, name: &str, role: Role) -> MemberCard {
    let receive_key = receive(who).public();
    let receive_key_signature = sign_receive_key(&key(who), &receive_key).to_vec();
    MemberCard {
        peer: peer(who),
        name: name.to_owned(),
        role,
        receive_key,
        receive_key_signature,
    }
}

fn entry(who: u8, kind: Kind, body: &[u8]) -> VerifiedEntry {
    VerifiedEntry::signed_here(&key(who), &header(who, kind), body).unwrap()
}

fn header(who: u8, kind: Kind) -> Header {
    Header {
        level: PROTOCOL_LEVEL,
        kind,
        flags: 0,
        team: TEAM,
        log: LogId::TEAM,
        writer: Writer {
            peer: peer(who),
            incarnation: Incarnation(1),
        },
        author_seq: 1,
        prev: Digest::ZERO,
        lamport: 1,
        time_ms: 1,
        fence: 0,
        key_epoch: 0,
        body_len: 0,
        body_hash: Digest::ZERO,
    }
}

fn says(roster: &mut Roster, who: u8, body: &MembershipBody) -> Result<Change, Refusal> {
    apply(roster, &entry(who, Kind::MEMBERSHIP, &body.encode()))
}

fn apply(roster: &mut Roster, entry: &VerifiedEntry) -> Result<Change, Refusal> {
    let before = roster.clone();
    let outcome = roster.apply(entry, 0);
    if outcome.is_err() {
        assert_eq!(*roster, before, "a refused entry changed the roster");
    }
    assert!(roster.genesis().is_none() || 0 < roster.admins().count());
    outcome
}

fn remove(who: u8) -> MembershipBody {
    MembershipBody::Remove {
        peer: peer(who),
        reason: String::new(),
        last_accepted: vec![],
    }
}

fn genesis(who: u8) -> MembershipBody {
    MembershipBody::Genesis {
        team_name: "acme".to_owned(),
        founder: card(who, "ana", Role::Admin),
    }
}

fn team_key(epoch: u32) -> TeamKey {
    TeamKey::new(epoch, [epoch as u8; 32])
}

/// The next epoch, wrapped for every reader.
fn next_epoch(roster: &Roster) -> KeyBody {
    let key = team_key(roster.epoch() + 1);
    key_body(roster, &key, roster.commitment(), roster.readers())
}

fn key_body<'a>(
    roster: &Roster,
    key: &TeamKey,
    parent: Digest,
    to: impl Iterator<Item = &'a MemberCard>,
) -> KeyBody {
    let wrap = |card: &MemberCard| KeyWrap {
        peer: card.peer,
        wrapped: wrap_key(key, &card.receive_key, roster.team(), card.peer, [9; 32]).unwrap(),
    };
    KeyBody {
        epoch: key.epoch,
        parent,
        commitment: commit(key),
        wraps: to.map(wrap).collect(),
    }
}

fn keys(roster: &mut Roster, who: u8, body: &KeyBody) -> Result<Change, Refusal> {
    apply(roster, &entry(who, Kind::KEY, &body.encode()))
}

/// Ana (1, admin), bob (2, member), a relay (3); first epoch for ana and bob.
fn acme() -> Roster {
    let mut roster = Roster::new(TEAM);
    says(&mut roster, 1, &genesis(1)).unwrap();
    says(
        &mut roster,
        1,
        &MembershipBody::Add(card(2, "bob", Role::Member)),
    )
    .unwrap();
    says(
        &mut roster,
        1,
        &MembershipBody::Add(card(3, "relay", Role::Relay)),
    )
    .unwrap();
    let first = next_epoch(&roster);
    keys(&mut roster, 1, &first).unwrap();
    roster
}

#[test]
fn a_founder_founds_admits_and_hands_out_the_first_key() {
    let roster = acme();
    assert_eq!(roster.team_name(), "acme");
    assert_eq!(
        roster.admins().map(|card| card.peer).collect::<Vec<_>>(),
        [peer(1)]
    );
    assert_eq!((roster.members().count(), roster.readers().count()), (3, 2));
    assert!(roster.holds(peer(2), 1) && !roster.holds(peer(3), 1) && !roster.must_rotate());
}

#[test]
fn every_recipient_opens_the_key_of_an_epoch() {
    let roster = acme();
    let body = next_epoch(&roster);
    for who in [1, 2] {
        let wrap = body
            .wraps
            .iter()
            .find(|wrap| wrap.peer == peer(who))
            .unwrap();
        let key = unwrap_key(
            &receive(who),
            TEAM,
            peer(who),
            2,
            body.commitment,
            &wrap.wrapped,
        )
        .unwrap();
        assert_eq!(commit(&key), body.commitment);
    }
}

#[test]
fn nothing_holds_before_the_genesis_and_there_is_one() {
    let mut roster = Roster::new(TEAM);
    let add = MembershipBody::Add(card(2, "bob", Role::Member));
    assert_eq!(says(&mut roster, 1, &add), Err(Refusal::NotFounded));
    let first = next_epoch(&roster);
    assert_eq!(keys(&mut roster, 1, &first), Err(Refusal::NotFounded));
    assert_eq!(says(&mut roster, 2, &genesis(1)), Err(Refusal::NotFounder));
    says(&mut roster, 1, &genesis(1)).unwrap();
    let hash = roster.genesis();
    assert_eq!(
        says(&mut roster, 2, &genesis(2)),
        Err(Refusal::AlreadyFounded)
    );
    assert_eq!(
        says(&mut roster, 1, &genesis(1)),
        Err(Refusal::AlreadyFounded)
    );
    assert_eq!(roster.genesis(), hash);
}

// spec: identity/6.9
#[test]
fn only_the_genesis_that_is_known_founds_the_team() {
    let hash = |who| entry(who, Kind::MEMBERSHIP, &genesis(who).encode()).hash();
    for root in [Root::Genesis(hash(2)), Root::Founder(peer(2))] {
        let mut roster = Roster::rooted(TEAM, root);
        let other = says(&mut roster, 1, &genesis(1));
        assert_eq!(other, Err(Refusal::OtherGenesis), "{root:?}");
        assert_eq!(says(&mut roster, 2, &genesis(2)), Ok(Change::Founded));
        assert_eq!(roster.genesis(), Some(hash(2)));
    }
}

#[test]
fn only_an_admin_admits_removes_and_sets_roles() {
    let mut roster = acme();
    let acts = [
        MembershipBody::Add(card(4, "carol", Role::Member)),
        remove(3),
        MembershipBody::SetRole {
            peer: peer(2),
            role: Role::Admin,
        },
    ];
    for act in &acts {
        assert_eq!(says(&mut roster, 2, act), Err(Refusal::NotAdmin), "{act:?}");
        assert_eq!(
            says(&mut roster, 9, act),
            Err(Refusal::NotActive),
            "{act:?}"
        );
    }
    for act in &acts {
        says(&mut roster, 1, act).unwrap();
    }
    says(&mut roster, 2, &remove(1)).unwrap();
    assert_eq!(says(&mut roster, 1, &remove(2)), Err(Refusal::NotActive));
}

#[test]
fn a_team_never_loses_its_last_admin() {
    let mut roster = acme();
    let demote = MembershipBody::SetRole {
        peer: peer(1),
        role: Role::Member,
    };
    assert_eq!(says(&mut roster, 1, &demote), Err(Refusal::LastAdmin));
    assert_eq!(says(&mut roster, 1, &remove(1)), Err(Refusal::LastAdmin));
    says(
        &mut roster,
        1,
        &MembershipBody::SetRole {
            peer: peer(2),
            role: Role::Admin,
        },
    )
    .unwrap();
    says(&mut roster, 1, &demote).unwrap();
}

#[test]
fn a_removed_identity_never_returns_and_its_name_is_free() {
    let mut roster = acme();
    says(&mut roster, 1, &remove(2)).unwrap();
    let again = MembershipBody::Add(card(2, "bob2", Role::Member));
    assert_eq!(says(&mut roster, 1, &again), Err(Refusal::RemovedForEver));
    assert_eq!(says(&mut roster, 1, &remove(2)), Err(Refusal::UnknownPeer));
    says(
        &mut roster,
        1,
        &MembershipBody::Add(card(4, "bob", Role::Member)),
    )
    .unwrap();
}

#[test]
fn a_card_that_does_not_hold_is_refused() {
    let mut roster = acme();
    let stolen = MemberCard {
        receive_key: receive(9).public(),
        ..card(4, "carol", Role::Member)
    };
    let borrowed = MemberCard {
        peer: peer(4),
        ..card(9, "carol", Role::Member)
    };
    let cards = [
        (card(2, "other", Role::Member), Refusal::AlreadyMember),
        (card(4, "BOB", Role::Member), Refusal::NameTaken),
        (card(4, "", Role::Member), Refusal::Name),
        (card(4, "a\u{1b}[2J", Role::Member), Refusal::Name),
        (card(4, "box", Role::Mothership), Refusal::Role),
        (stolen, Refusal::ReceiveKey),
        (borrowed, Refusal::ReceiveKey),
    ];
    for (card, refusal) in cards {
        assert_eq!(
            says(&mut roster, 1, &MembershipBody::Add(card)),
            Err(refusal)
        );
    }
}

#[test]
fn an_entry_of_another_place_or_kind_changes_nothing() {
    let mut roster = acme();
    let body = MembershipBody::Add(card(4, "carol", Role::Member)).encode();
    let here = header(1, Kind::MEMBERSHIP);
    let elsewhere = [
        Header {
            team: TeamId([9; 16]),
            ..here.clone()
        },
        Header {
            log: LogId([9; 16]),
            ..here.clone()
        },
        Header {
            key_epoch: 1,
            ..here.clone()
        },
    ];
    for header in elsewhere {
        let entry = VerifiedEntry::signed_here(&key(1), &header, &body).unwrap();
        assert_eq!(apply(&mut roster, &entry), Err(Refusal::Place));
    }
    let before = roster.clone();
    assert_eq!(
        apply(&mut roster, &entry(1, Kind::PATCH, &body)),
        Ok(Change::None)
    );
    assert_eq!(roster, before);
    assert_eq!(
        apply(&mut roster, &entry(1, Kind::MEMBERSHIP, b"?")),
        Err(Refusal::Body)
    );
    assert_eq!(
        apply(&mut roster, &entry(1, Kind::KEY, &body)),
        Err(Refusal::Body)
    );
}

#[test]
fn after_a_removal_nothing_is_sealed_before_the_next_epoch() {
    let mut roster = acme();
    says(&mut roster, 1, &remove(2)).unwrap();
    assert!(roster.must_rotate());
    let second = next_epoch(&roster);
    assert_eq!(keys(&mut roster, 2, &second), Err(Refusal::NotActive));
    keys(&mut roster, 1, &second).unwrap();
    assert!(!roster.must_rotate() && !roster.holds(peer(2), 2));
}

#[test]
fn a_reader_that_becomes_a_relay_makes_a_rotation_necessary() {
    let mut roster = acme();
    says(
        &mut roster,
        1,
        &MembershipBody::SetRole {
            peer: peer(2),
            role: Role::Relay,
        },
    )
    .unwrap();
    assert!(roster.must_rotate());
}

#[test]
fn of_two_epochs_with_one_parent_the_first_in_the_log_wins() {
    let mut roster = acme();
    let admin = MembershipBody::SetRole {
        peer: peer(2),
        role: Role::Admin,
    };
    says(&mut roster, 1, &admin).unwrap();
    let by_ana = next_epoch(&roster);
    let by_bob = key_body(
        &roster,
        &TeamKey::new(2, [77; 32]),
        roster.commitment(),
        roster.readers(),
    );
    keys(&mut roster, 2, &by_bob).unwrap();
    assert_eq!(keys(&mut roster, 1, &by_ana), Err(Refusal::StaleEpoch));
    assert_eq!(roster.commitment_of(2), Some(by_bob.commitment));
    let retried = KeyBody {
        epoch: 3,
        parent: by_bob.commitment,
        ..by_ana
    };
    assert_eq!(
        keys(&mut roster, 1, &retried),
        Ok(Change::Rotated { epoch: 3 })
    );
}

#[test]
fn an_epoch_goes_to_exactly_the_readers() {
    let mut roster = acme();
    let good = next_epoch(&roster);
    let mut without_bob = good.clone();
    without_bob.wraps.retain(|wrap| wrap.peer != peer(2));
    let with_relay = key_body(&roster, &team_key(2), good.parent, roster.members());
    let mut unordered = good.clone();
    unordered.wraps.reverse();
    let mut twice = good.clone();
    twice.wraps.push(good.wraps[1].clone());
    let mut short = good.clone();
    short.wraps[0].wrapped.pop();
    for body in [without_bob, with_relay, unordered, twice, short] {
        assert_eq!(keys(&mut roster, 1, &body), Err(Refusal::Recipients));
    }
    keys(&mut roster, 1, &good).unwrap();
}

#[test]
fn an_epoch_that_skips_restarts_or_reuses_a_key_is_refused() {
    let mut roster = acme();
    let good = next_epoch(&roster);
    for epoch in [0, 1, 3, u32::MAX] {
        let body = KeyBody {
            epoch,
            ..good.clone()
        };
        assert_eq!(
            keys(&mut roster, 1, &body),
            Err(Refusal::StaleEpoch),
            "{epoch}"
        );
    }
    let reused = KeyBody {
        commitment: roster.commitment(),
        ..good.clone()
    };
    assert_eq!(keys(&mut roster, 1, &reused), Err(Refusal::KeyReused));
    let orphan = KeyBody {
        parent: Digest([7; 32]),
        ..good
    };
    assert_eq!(keys(&mut roster, 1, &orphan), Err(Refusal::StaleEpoch));
}

#[test]
fn a_newcomer_is_handed_the_current_key_and_history_by_an_admin_only() {
    let mut roster = acme();
    let second = next_epoch(&roster);
    assert_eq!(
        keys(&mut roster, 2, &second),
        Err(Refusal::NotAdmin),
        "nobody sees what a member wraps for others"
    );
    keys(&mut roster, 1, &second).unwrap();
    says(
        &mut roster,
        1,
        &MembershipBody::Add(card(4, "carol", Role::Member)),
    )
    .unwrap();
    assert_eq!(
        roster.lacking().map(|card| card.peer).collect::<Vec<_>>(),
        [peer(4)]
    );
    let carol = roster.member(peer(4)).unwrap().clone();
    let first = roster.commitment_of(1).unwrap();
    let current = key_body(&roster, &team_key(2), first, [&carol].into_iter());
    let history = key_body(&roster, &team_key(1), Digest::ZERO, [&carol].into_iter());
    assert_eq!(keys(&mut roster, 4, &current), Err(Refusal::NotHolder));
    let rotation = next_epoch(&roster);
    assert_eq!(keys(&mut roster, 4, &rotation), Err(Refusal::NotAdmin));
    assert_eq!(keys(&mut roster, 2, &history), Err(Refusal::NotAdmin));
    let other = KeyBody {
        commitment: Digest([7; 32]),
        ..current.clone()
    };
    assert_eq!(keys(&mut roster, 2, &other), Err(Refusal::StaleEpoch));
    assert_eq!(
        keys(&mut roster, 2, &current),
        Ok(Change::Granted { epoch: 2 })
    );
    assert_eq!(
        keys(&mut roster, 2, &current),
        Err(Refusal::Recipients),
        "carol has it"
    );
    assert_eq!(
        keys(&mut roster, 1, &current),
        Ok(Change::Granted { epoch: 2 }),
        "what did not open comes again from an admin"
    );
    assert_eq!(
        keys(&mut roster, 1, &history),
        Ok(Change::Granted { epoch: 1 })
    );
    assert!(roster.holds(peer(4), 1) && roster.holds(peer(4), 2) && !roster.must_rotate());
}

#[test]
fn a_relay_makes_no_epoch_and_is_handed_none() {
    let mut roster = acme();
    let second = next_epoch(&roster);
    assert_eq!(keys(&mut roster, 3, &second), Err(Refusal::NotAdmin));
    let relay = roster.member(peer(3)).unwrap().clone();
    let grant = key_body(&roster, &team_key(1), Digest::ZERO, [&relay].into_iter());
    assert_eq!(keys(&mut roster, 1, &grant), Err(Refusal::Recipients));
}

#[test]
fn a_member_replaces_its_own_receive_key_only() {
    let mut roster = acme();
    let fresh = receive(20).public();
    let replace = |signature: [u8; 64]| MembershipBody::SetReceiveKey {
        receive_key: fresh,
        receive_key_signature: signature.to_vec(),
    };
    let by_ana = replace(sign_receive_key(&key(1), &fresh));
    assert_eq!(says(&mut roster, 2, &by_ana), Err(Refusal::ReceiveKey));
    says(&mut roster, 2, &replace(sign_receive_key(&key(2), &fresh))).unwrap();
    assert_eq!(roster.member(peer(2)).unwrap().receive_key, fresh);
}

#[test]
fn entries_of_a_removed_member_count_up_to_what_was_accepted() {
    let mut roster = acme();
    let log = LogId([5; 16]);
    let writer = |incarnation| Writer {
        peer: peer(2),
        incarnation: Incarnation(incarnation),
    };
    assert!(roster.counts(log, writer(1), 1_000, 5));
    let last_accepted = vec![LastAccepted {
        log,
        incarnation: Incarnation(1),
        author_seq: 7,
    }];
    let body = MembershipBody::Remove {
        peer: peer(2),
        reason: "left".to_owned(),
        last_accepted,
    };
    says(&mut roster, 1, &body).unwrap();
    assert!(roster.counts(log, writer(1), 7, 5));
    assert!(!roster.counts(log, writer(1), 8, 5));
    assert!(!roster.counts(log, writer(2), 1, 5));
    assert!(roster.counts(LogId([6; 16]), writer(1), 1, 5));
    let unknown = Writer {
        peer: peer(9),
        ..writer(1)
    };
    assert!(roster.counts(log, unknown, 1, 5));
}

// spec: identity/6.10
#[test]
fn whether_an_entry_counts_depends_on_the_role_that_its_author_had_at_its_place() {
    let mut roster = acme();
    let log = LogId([5; 16]);
    let writer = Writer {
        peer: peer(2),
        incarnation: Incarnation(1),
    };
    for (time_ms, role) in [(10, Role::Observer), (20, Role::Member)] {
        let body = MembershipBody::SetRole {
            peer: peer(2),
            role,
        };
        let said = entry(1, Kind::MEMBERSHIP, &body.encode());
        roster.apply(&said, time_ms).unwrap();
    }
    let counts = |roster: &Roster, time_ms| roster.counts(log, writer, 1, time_ms);
    let judged = [9, 10, 11, 19, 20, 21].map(|time_ms| counts(&roster, time_ms));
    assert_eq!(judged, [true, true, false, false, true, true]);
    // A removal that names no log leaves that as it is.
    says(&mut roster, 1, &remove(2)).unwrap();
    assert!(counts(&roster, 9) && !counts(&roster, 11));
}

/// One random act of a story: who does what to whom.
fn act(roster: &Roster, (who, what, whom): (u8, u8, u8)) -> VerifiedEntry {
    let role = [Role::Admin, Role::Member, Role::Relay][usize::from(whom % 3)];
    let membership = match what {
        0 => genesis(who),
        1 => MembershipBody::Add(card(whom, &format!("peer{whom}"), role)),
        2 => remove(whom),
        3 => MembershipBody::SetRole {
            peer: peer(whom),
            role,
        },
        _ => return entry(who, Kind::KEY, &next_epoch(roster).encode()),
    };
    entry(who, Kind::MEMBERSHIP, &membership.encode())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_story_keeps_the_invariants_and_replays_to_the_same_roster(
        acts in proptest::collection::vec((1u8..6, 0u8..5, 1u8..6), 1..24),
    ) {
        let mut roster = Roster::new(TEAM);
        let mut log = vec![entry(1, Kind::MEMBERSHIP, &genesis(1).encode())];
        apply(&mut roster, &log[0]).unwrap();
        for drawn in acts {
            let next = act(&roster, drawn);
            let _ = apply(&mut roster, &next);
            log.push(next);
            prop_assert!(roster.members().all(|card| !roster.is_removed(card.peer)));
            let names: BTreeSet<&str> = roster.members().map(|card| &card.name[..]).collect();
            prop_assert_eq!(names.len(), roster.members().count());
        }
        let mut replayed = Roster::new(TEAM);
        for entry in &log {
            let _ = replayed.apply(entry, 0);
        }
        prop_assert_eq!(replayed, roster);
    }
}
