//! What a clone says, hears and passes on of who edits what.

#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;

use aura_proto::{
    AgedActivity, Code, Incarnation, LogId, SignedActivity, TeamId, Writer,
    limits::{
        ACTIVITY_BYTES_MAX, ACTIVITY_CLONES_MAX, ACTIVITY_MS_MAX, ACTIVITY_PER_MIN_MAX,
        PEERS_PER_MESSAGE_MAX,
    },
};
use aura_trust::{IdentityKey, sign_activity};

use super::*;

const TEAM: TeamId = TeamId([1; 16]);
const LOG: LogId = LogId([2; 16]);
const NEIGHBOURS: [Via; 2] = [Via::Neighbour(LinkId(1)), Via::Neighbour(LinkId(2))];

fn at(mono_ms: u64) -> Now {
    Now {
        mono_ms,
        wall_ms: 1_800_000_000_000 + mono_ms,
    }
}

fn key(n: u8) -> IdentityKey {
    IdentityKey::from_seed([n; 32])
}

fn writer(n: u8, clone: u64) -> Writer {
    Writer {
        peer: key(n).peer(),
        incarnation: Incarnation(clone),
    }
}

fn said(n: u8, clone: u64, counter: u64) -> SignedActivity {
    let unsigned = SignedActivity {
        log: LOG,
        writer: writer(n, clone),
        counter,
        key_epoch: 1,
        sealed: vec![n; 40],
        signature: Vec::new(),
    };
    sign_activity(&key(n), TEAM, unsigned)
}

fn aged(said: SignedActivity, age_ms: u64) -> AgedActivity {
    AgedActivity { said, age_ms }
}

fn spot(path: &str, ago_ms: u64) -> Spot {
    Spot {
        path: path.to_owned(),
        unit: None,
        ago_ms,
    }
}

fn clone_with(listeners: &[Via]) -> Activity {
    let mut activity = Activity::new(TEAM, LOG);
    let listeners = listeners.iter().copied().collect();
    activity.handle(at(0), Input::Listeners(listeners));
    activity
}

fn outputs(activity: &mut Activity) -> Vec<Output> {
    std::iter::from_fn(|| activity.poll()).collect()
}

/// Which places are to be said, if something is.
fn to_say(activity: &mut Activity) -> Option<Vec<(String, u64)>> {
    outputs(activity)
        .into_iter()
        .find_map(|output| match output {
            Output::Say { spots, .. } => Some(
                spots
                    .into_iter()
                    .map(|spot| (spot.path, spot.ago_ms))
                    .collect(),
            ),
            _ => None,
        })
}

/// Who was told how many words.
fn told(activity: &mut Activity) -> Vec<(Via, usize)> {
    let tell = |output| match output {
        Output::Tell { to, words } => Some((to, words.len())),
        _ => None,
    };
    outputs(activity).into_iter().filter_map(tell).collect()
}

fn hear(activity: &mut Activity, now: Now, from: Via, words: Vec<AgedActivity>) {
    activity.handle(now, Input::Heard { from, words });
}

#[test]
fn the_first_edit_is_said_at_once_and_what_follows_in_its_time() {
    let mut activity = clone_with(&[]);
    activity.handle(at(10), Input::Edited(vec![spot("a.rs", 0)]));
    assert_eq!(to_say(&mut activity), Some(vec![("a.rs".to_owned(), 0)]));
    assert_eq!(activity.deadline(), None);
    // The same again says little new, another place does.
    activity.handle(at(20), Input::Edited(vec![spot("a.rs", 0)]));
    assert_eq!(activity.deadline(), Some(10 + SAY_AGAIN_MS));
    activity.handle(at(30), Input::Edited(vec![spot("b.rs", 0)]));
    assert_eq!(activity.deadline(), Some(10 + SAY_MS));
    assert_eq!(to_say(&mut activity), None);
    activity.handle(at(10 + SAY_MS), Input::Tick);
    let both = vec![
        ("b.rs".to_owned(), SAY_MS - 20),
        ("a.rs".to_owned(), SAY_MS - 10),
    ];
    assert_eq!(to_say(&mut activity), Some(both));
    assert_eq!(activity.deadline(), None);
}

#[test]
fn what_cannot_be_sealed_yet_is_said_as_soon_as_it_can() {
    let mut activity = clone_with(&[]);
    activity.handle(at(0), Input::Edited(vec![spot("a.rs", 0)]));
    assert!(to_say(&mut activity).is_some());
    activity.handle(at(0), Input::Unsaid);
    assert_eq!(activity.deadline(), None);
    activity.handle(at(500), Input::Edited(Vec::new()));
    assert_eq!(to_say(&mut activity), Some(vec![("a.rs".to_owned(), 500)]));
}

#[test]
fn who_falls_silent_says_so_once_if_anything_was_said() {
    let mut activity = clone_with(&[]);
    activity.handle(at(0), Input::Silent);
    assert_eq!(to_say(&mut activity), None);
    activity.handle(at(0), Input::Edited(vec![spot("a.rs", 0)]));
    to_say(&mut activity).unwrap();
    activity.handle(at(10), Input::Silent);
    assert_eq!(to_say(&mut activity), Some(vec![]));
    assert_eq!(activity.deadline(), None);
}

#[test]
fn the_newest_places_are_said_and_none_that_is_an_hour_old() {
    let mut activity = clone_with(&[]);
    activity.handle(
        at(0),
        Input::Edited(vec![spot("old.rs", ACTIVITY_MS_MAX + 1)]),
    );
    assert_eq!(to_say(&mut activity), None);
    let many = (0..100).map(|n| spot(&format!("{n}.rs"), 1_000 * n));
    activity.handle(at(0), Input::Edited(many.collect()));
    let said = to_say(&mut activity).unwrap();
    assert_eq!(said.len(), SPOTS_MAX);
    assert_eq!(said[0], ("0.rs".to_owned(), 0));
    // An older save of the same file, noticed late, does not make it older.
    activity.handle(at(0), Input::Edited(vec![spot("0.rs", 5_000)]));
    activity.handle(at(SAY_AGAIN_MS), Input::Tick);
    assert_eq!(to_say(&mut activity).unwrap()[0].1, SAY_AGAIN_MS);
}

#[test]
fn a_word_goes_over_each_other_link_once_and_never_back() {
    let [a, b] = NEIGHBOURS;
    let mut activity = clone_with(&[a, b]);
    let word = said(7, 1, 5);
    hear(&mut activity, at(0), a, vec![aged(word.clone(), 0)]);
    assert_eq!(told(&mut activity), vec![(b, 1)]);
    for from in [a, b] {
        hear(&mut activity, at(1), from, vec![aged(word.clone(), 0)]);
        assert_eq!(told(&mut activity), vec![]);
    }
    // An older word is none; a newer one goes on.
    hear(&mut activity, at(2), b, vec![aged(said(7, 1, 4), 0)]);
    assert_eq!(told(&mut activity), vec![]);
    hear(&mut activity, at(3), b, vec![aged(said(7, 1, 6), 0)]);
    assert_eq!(told(&mut activity), vec![(a, 1)]);
}

#[test]
fn who_comes_later_is_told_what_is_known_with_its_age() {
    let [a, b] = NEIGHBOURS;
    let mut activity = clone_with(&[a]);
    hear(&mut activity, at(0), a, vec![aged(said(7, 1, 5), 2_000)]);
    outputs(&mut activity);
    activity.handle(at(500), Input::Listeners(BTreeSet::from([a, b])));
    let tell = outputs(&mut activity);
    let [Output::Tell { to, words }] = &tell[..] else {
        panic!("{tell:?}");
    };
    assert_eq!((*to, words[0].age_ms), (b, 2_500));
    // Nothing is told twice, nothing after an hour, and who left is forgotten.
    activity.handle(at(600), Input::Listeners(BTreeSet::from([a, b])));
    assert_eq!(told(&mut activity), vec![]);
    activity.handle(at(700), Input::Listeners(BTreeSet::from([a])));
    activity.handle(
        at(ACTIVITY_MS_MAX),
        Input::Listeners(BTreeSet::from([a, b])),
    );
    assert_eq!(told(&mut activity), vec![]);
    assert_eq!(activity.words(at(ACTIVITY_MS_MAX)).count(), 0);
}

#[test]
fn the_own_word_is_told_to_all_who_listen() {
    let [a, _] = NEIGHBOURS;
    let mut activity = clone_with(&[Via::Mothership, a]);
    activity.handle(at(0), Input::Said(said(1, 1, 1)));
    assert_eq!(told(&mut activity), vec![(Via::Mothership, 1), (a, 1)]);
}

// spec: activity/1.2, activity/1.3
#[test]
fn what_its_device_did_not_say_ends_the_link_and_is_passed_on_to_nobody() {
    let [a, b] = NEIGHBOURS;
    let forged = |change: fn(&mut SignedActivity)| {
        let mut word = said(7, 1, 5);
        change(&mut word);
        word
    };
    let too_long = SignedActivity {
        sealed: vec![0; ACTIVITY_BYTES_MAX + 1],
        ..said(7, 1, 5)
    };
    let words = [
        forged(|word| word.counter += 1),
        forged(|word| word.sealed[0] ^= 1),
        forged(|word| word.key_epoch += 1),
        forged(|word| word.writer.incarnation.0 += 1),
        forged(|word| word.writer.peer = key(8).peer()),
        sign_activity(&key(7), TeamId([9; 16]), said(7, 1, 5)),
        sign_activity(&key(7), TEAM, too_long),
    ];
    for word in words {
        let mut activity = clone_with(&[a, b]);
        hear(&mut activity, at(0), a, vec![aged(word, 0)]);
        let output = outputs(&mut activity);
        assert!(
            matches!(
                output[..],
                [Output::Close { from, code: Code::BAD_SIGNATURE }] if from == a
            ),
            "{output:?}"
        );
        assert_eq!(activity.words(at(0)).count(), 0);
    }
}

// spec: activity/2.2
#[test]
fn nobody_is_made_to_keep_or_pass_on_more_than_its_share() {
    let [a, b] = NEIGHBOURS;
    let mut activity = clone_with(&[a, b]);
    // Many clones of one device.
    for clone in 0..2 * ACTIVITY_CLONES_MAX as u64 {
        hear(
            &mut activity,
            at(clone),
            a,
            vec![aged(said(7, clone, 1), 0)],
        );
    }
    assert_eq!(activity.words(at(100)).count(), ACTIVITY_CLONES_MAX);
    // Many words of one clone.
    outputs(&mut activity);
    for counter in 0..2 * u64::from(ACTIVITY_PER_MIN_MAX) {
        hear(
            &mut activity,
            at(100),
            a,
            vec![aged(said(7, 99, 10 + counter), 0)],
        );
    }
    let passed = told(&mut activity).len();
    assert!(passed < ACTIVITY_PER_MIN_MAX as usize, "{passed}");
    // Another log, and more than fits into a message.
    let other = SignedActivity {
        log: LogId([3; 16]),
        ..said(8, 1, 1)
    };
    let other = sign_activity(&key(8), TEAM, other);
    hear(&mut activity, at(200), a, vec![aged(other, 0)]);
    assert_eq!(outputs(&mut activity).len(), 0);
    let many = vec![aged(said(8, 1, 1), 0); PEERS_PER_MESSAGE_MAX + 1];
    hear(&mut activity, at(200), a, many);
    assert!(matches!(
        outputs(&mut activity)[..],
        [Output::Close {
            code: Code::TOO_LARGE,
            ..
        }]
    ));
}
