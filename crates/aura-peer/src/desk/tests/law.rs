//! What zones do to changes that were under way.

use aura_proto::zone::{ZoneBody, ZoneMode};

use super::*;
use crate::desk::claim::Wanted;

const FILES: &[(&str, &str)] = &[("a.rs", "fn a() {}\n\nfn b() {}\n")];

fn claims(person: &mut Person, what: &str, log: &mut Log) -> u64 {
    let wanted = Wanted {
        what: vec![what.to_owned()],
        why: "work".to_owned(),
        ttl_ms: 60_000,
        mode: ZoneMode::Block,
        is_everywhere: false,
        takes: false,
    };
    let claim = person.desk.claim_of(&wanted, &person.ring).unwrap();
    person.desk.claim(claim, &wanted, &person.ring).unwrap();
    person.tells(log);
    log.entries.len() as u64
}

fn ends(person: &mut Person, fence: u64, log: &mut Log) {
    let end = ZoneBody::End { fence };
    person.desk.say(&end, &person.ring).unwrap();
    person.tells(log);
}

/// Publishes without telling anybody yet.
fn queues(person: &mut Person) {
    let intent = Intent::default();
    person.desk.publish_all(&intent, &person.ring).unwrap();
}

#[test]
fn case_085_a_change_that_got_its_place_behind_a_claim_counts_nowhere_and_is_an_edit_again() {
    let mut log = Log::default();
    let mut anna = Person::new(1, Mode::Live, FILES);
    let mut ben = Person::new(2, Mode::Live, FILES);
    anna.edits("a.rs", "a() {}", "a() { 1 }");
    queues(&mut anna);
    let fence = claims(&mut ben, "a", &mut log);
    anna.tells(&mut log);
    for person in [&mut anna, &mut ben] {
        person.hears(&log);
    }
    assert_eq!(ben.reads("a.rs"), FILES[0].1, "it was not taken");
    assert!(anna.reads("a.rs").contains("a() { 1 }"), "her text stays");
    assert_eq!(anna.desk.units.recorded().len(), 0);
    // Whoever starts anew reads the same law, and publishes nothing while the zone stands.
    let entries = log.entries.len();
    anna = anna.restarts();
    ben = ben.restarts();
    queues(&mut anna);
    assert!(anna.desk.held_back.values().any(|why| why.contains("z-1")));
    assert_eq!(anna.desk.own_records().len(), 1);
    assert_eq!(log.entries.len(), entries);
    ends(&mut ben, fence, &mut log);
    anna.hears(&log);
    anna.publishes(&mut log);
    ben.hears(&log);
    assert!(ben.reads("a.rs").contains("a() { 1 }"));
    for person in [&mut anna, &mut ben] {
        assert_eq!(person.desk.conflicts(&person.ring).len(), 0);
    }
}

#[test]
fn whoever_holds_a_zone_changes_it_and_the_rest_of_the_file_is_free() {
    let mut log = Log::default();
    let mut anna = Person::new(1, Mode::Live, FILES);
    let mut ben = Person::new(2, Mode::Live, FILES);
    claims(&mut ben, "a", &mut log);
    for person in [&mut anna, &mut ben] {
        person.hears(&log);
    }
    ben.edits("a.rs", "a() {}", "a() { 2 }");
    ben.publishes(&mut log);
    assert_eq!(log.entries.last().unwrap().header().fence, 1);
    anna.edits("a.rs", "b() {}", "b() { 3 }");
    anna.publishes(&mut log);
    for person in [&mut anna, &mut ben] {
        person.hears(&log);
        assert_eq!(person.reads("a.rs"), "fn a() { 2 }\n\nfn b() { 3 }\n");
    }
}
