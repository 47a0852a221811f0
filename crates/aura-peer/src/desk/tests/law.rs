//! What zones do to changes that were under way.

use aura_proto::zone::{ZoneBody, ZoneMode};

use super::*;
use crate::desk::{claim::Wanted, held::Held};

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
    assert!(
        anna.desk
            .held_back
            .values()
            .any(|why| *why == Held::Zone(1))
    );
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

/// Anna queues what she has saved, and it comes to its place behind a claim of Ben; both hear of it.
fn comes_too_late(anna: &mut Person, ben: &mut Person, what: &str, log: &mut Log) -> u64 {
    queues(anna);
    let fence = claims(ben, what, log);
    anna.tells(log);
    for person in [anna, ben] {
        person.hears(log);
    }
    fence
}

/// The zone is over, and what anna has is told.
fn tells_after(anna: &mut Person, ben: &mut Person, fence: u64, log: &mut Log) {
    ends(ben, fence, log);
    anna.hears(log);
    anna.publishes(log);
    ben.hears(log);
    for person in [anna, ben] {
        assert_eq!(person.desk.conflicts(&person.ring).len(), 0);
        assert_eq!(person.desk.waiting(), 0);
    }
}

fn two() -> (Person, Person) {
    (
        Person::new(1, Mode::Live, FILES),
        Person::new(2, Mode::Live, FILES),
    )
}

#[test]
fn a_new_file_whose_creation_did_not_count_is_shared_when_the_zone_is_over() {
    let mut log = Log::default();
    let (mut anna, mut ben) = two();
    anna.writes("new.rs", "fn n() {}\n");
    let fence = comes_too_late(&mut anna, &mut ben, "./new.rs", &mut log);
    // What she goes on to write in it is no change of a file that nobody has.
    anna.edits("new.rs", "n() {}", "n() { 1 }");
    queues(&mut anna);
    assert_eq!(anna.desk.own_records().len(), 1);
    tells_after(&mut anna, &mut ben, fence, &mut log);
    assert_eq!(ben.reads("new.rs"), "fn n() { 1 }\n");
}

#[test]
fn a_change_that_did_not_count_and_ends_at_the_text_of_head_is_told_again() {
    let mut log = Log::default();
    let (mut anna, mut ben) = two();
    anna.edits("a.rs", "a() {}", "a() { 1 }");
    anna.publishes(&mut log);
    ben.hears(&log);
    anna.hears(&log);
    anna.edits("a.rs", "a() { 1 }", "a() {}");
    let fence = comes_too_late(&mut anna, &mut ben, "a", &mut log);
    assert!(ben.reads("a.rs").contains("a() { 1 }"));
    anna = anna.restarts();
    tells_after(&mut anna, &mut ben, fence, &mut log);
    assert_eq!(ben.reads("a.rs"), FILES[0].1);
}

#[test]
fn what_others_have_changed_in_the_file_is_not_told_again_as_ones_own() {
    let mut log = Log::default();
    let (mut anna, mut ben) = two();
    ben.writes("bens.rs", "fn z() {}\n");
    ben.edits("a.rs", "b() {}", "b() { 2 }");
    ben.publishes(&mut log);
    anna.hears(&log);
    anna.edits("bens.rs", "z() {}", "z() { 1 }");
    anna.edits("a.rs", "fn a() {}", "// Mine.\nfn c() {}\n\nfn a() { 1 }");
    let fence = comes_too_late(&mut anna, &mut ben, ".", &mut log);
    ends(&mut ben, fence, &mut log);
    anna.hears(&log);
    let before = anna.desk.own_records().len();
    anna.publishes(&mut log);
    let own = anna.desk.units.recorded().iter();
    let own = own.filter(|patch| patch.origin.writer.peer == anna.desk.key_peer);
    let names: BTreeSet<&str> = own
        .flat_map(|patch| &patch.touched)
        .map(|(_, name, ..)| &**name)
        .collect();
    assert!(!names.contains("b"), "{names:?}");
    assert_eq!(anna.desk.own_records().len(), before + 2);
    ben.hears(&log);
    for path in ["a.rs", "bens.rs"] {
        assert_eq!(ben.reads(path), anna.reads(path));
    }
}

#[test]
fn comments_and_order_that_did_not_count_are_told_again_and_a_process_may_end_at_any_moment() {
    let mut log = Log::default();
    let (mut anna, mut ben) = two();
    anna.writes("a.rs", "// A word.\n\nfn b() {}\n\nfn a() {}\n");
    queues(&mut anna);
    let shadows = anna.dir.path().join("state/shadow");
    let kept: Vec<_> = fs::read_dir(&shadows)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    let kept: Vec<_> = kept
        .iter()
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    assert!(!kept.is_empty());
    let fence = comes_too_late(&mut anna, &mut ben, "a.rs", &mut log);
    // Her process ended before the shadows were mended.
    for (path, bytes) in &kept {
        fs::write(path, bytes).unwrap();
    }
    anna = anna.restarts();
    anna = anna.restarts();
    tells_after(&mut anna, &mut ben, fence, &mut log);
    assert_eq!(ben.reads("a.rs"), anna.reads("a.rs"));
    assert!(ben.reads("a.rs").starts_with("// A word."));
    let told = anna.desk.own_records().len();
    anna = anna.restarts();
    queues(&mut anna);
    assert_eq!(anna.desk.own_records().len(), told, "nothing is told twice");
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

#[test]
fn a_held_function_holds_back_the_rest_of_its_file_only_where_a_name_changes_with_it() {
    let mut log = Log::default();
    let (mut anna, mut ben) = two();
    let fence = claims(&mut ben, "a", &mut log);
    anna.hears(&log);
    anna.writes("a.rs", "fn a() { 1 }\n\nfn b() { 1 }\n");
    anna.publishes(&mut log);
    assert!(
        anna.desk
            .held_back
            .values()
            .any(|why| *why == Held::Zone(fence))
    );
    ben.hears(&log);
    assert_eq!(ben.reads("a.rs"), "fn a() {}\n\nfn b() { 1 }\n");
    anna.writes("a.rs", "fn c() { 1 }\n\nfn b() { c() }\n");
    queues(&mut anna);
    assert_eq!(anna.desk.own_records().len(), 1, "half a rename is none");
    tells_after(&mut anna, &mut ben, fence, &mut log);
    assert_eq!(ben.reads("a.rs"), anna.reads("a.rs"));
}

#[test]
fn a_change_that_is_in_several_own_zones_renews_one_after_the_other() {
    let mut log = Log::default();
    let (mut anna, _) = two();
    let fences = ["a", "b"].map(|what| claims(&mut anna, what, &mut log));
    anna.hears(&log);
    let mut relied = BTreeSet::new();
    for nth in 1..3 {
        anna.writes(
            "a.rs",
            &format!("fn a() {{ {nth} }}\n\nfn b() {{ {nth} }}\n"),
        );
        anna.publishes(&mut log);
        anna.hears(&log);
        relied.insert(log.entries.last().unwrap().header().fence);
    }
    assert_eq!(relied, BTreeSet::from(fences));
}

#[test]
fn c45_what_may_not_count_and_what_stands_on_it_counts_nowhere_in_whatever_pieces_it_came() {
    let mut log = Log::default();
    let (mut anna, mut ben) = two();
    anna.edits("a.rs", "a() {}", "a() { 1 }");
    queues(&mut anna);
    anna.edits("a.rs", "a() { 1 }", "a() { 12 }");
    anna.writes("other.rs", "fn o() {}\n");
    queues(&mut anna);
    claims(&mut ben, "a", &mut log);
    anna.tells(&mut log);
    ben.hears(&log);
    ben.edits("a.rs", "a() {}", "a() { 3 }");
    ben.publishes(&mut log);
    let mut others: Vec<Person> = (3..6)
        .map(|seed| Person::new(seed, Mode::Live, FILES))
        .collect();
    let pieces = |person: &mut Person, step: usize, restarts: bool| {
        for end in (step..=log.entries.len())
            .step_by(step)
            .chain([log.entries.len()])
        {
            let part = Log {
                entries: log.entries[..end].to_vec(),
            };
            person.hears(&part);
            if restarts {
                let seed = person.seed;
                let fresh = Person::new(99, Mode::Live, FILES);
                let old = std::mem::replace(person, fresh);
                *person = old.restarts();
                assert_eq!(person.seed, seed);
            }
        }
    };
    pieces(&mut others[0], 1, false);
    pieces(&mut others[1], 2, true);
    pieces(&mut others[2], 100, false);
    let state = |person: &mut Person| {
        let sets = ["a.rs", "other.rs"].map(|path| person.desk.units.patch_set(path));
        (
            person.reads("a.rs"),
            person.reads("other.rs"),
            format!("{sets:?}"),
        )
    };
    let wanted = state(&mut ben);
    assert!(wanted.0.contains("a() { 3 }"), "{wanted:?}");
    for person in &mut others {
        assert_eq!(state(person), wanted);
        assert_eq!(person.desk.conflicts(&person.ring).len(), 0);
    }
    // Its author keeps what it wrote, and has what counts beside it: a conflict, not a loss.
    anna.hears(&log);
    assert!(anna.reads("a.rs").contains("a() { 12 }"));
    let set = anna.desk.units.patch_set("a.rs");
    assert_eq!(
        format!("{set:?}"),
        format!("{:?}", ben.desk.units.patch_set("a.rs"))
    );
}

#[test]
fn a_deletion_and_a_rename_of_a_file_that_did_not_count_are_told_again() {
    let files = [
        ("a.rs", "fn a() {}\n"),
        ("two.rs", "fn two() {}\n\nfn three() {}\n"),
    ];
    for renames in [false, true] {
        let mut log = Log::default();
        let mut anna = Person::new(1, Mode::Live, &files);
        let mut ben = Person::new(2, Mode::Live, &files);
        let repo = anna.dir.path().join("repo");
        match renames {
            true => fs::rename(repo.join("two.rs"), repo.join("new.rs")).unwrap(),
            false => fs::remove_file(repo.join("two.rs")).unwrap(),
        }
        let fence = comes_too_late(&mut anna, &mut ben, ".", &mut log);
        assert!(ben.dir.path().join("repo/two.rs").exists());
        queues(&mut anna);
        assert!(!anna.desk.held_back.is_empty(), "it waits, and is shown");
        tells_after(&mut anna, &mut ben, fence, &mut log);
        assert!(!ben.dir.path().join("repo/two.rs").exists());
        assert_eq!(ben.dir.path().join("repo/new.rs").exists(), renames);
    }
}

#[test]
fn a_change_that_counts_on_top_of_one_that_does_not_reaches_everybody_new_ones_too() {
    let mut log = Log::default();
    let (mut anna, mut ben) = two();
    let mut carol = Person::new(3, Mode::Live, FILES);
    // Ben claims; what Anna did before she heard of it does not count, and Ben, who has it from her, goes on in it.
    anna.edits("a.rs", "a() {}", "a() { 1 }");
    queues(&mut anna);
    claims(&mut carol, "a", &mut log);
    anna.tells(&mut log);
    for person in [&mut anna, &mut ben, &mut carol] {
        person.hears(&log);
    }
    let text = anna.reads("a.rs").replace("a() { 1 }", "a() { 12 }");
    // He has seen her text somewhere, and the very same change is his own now.
    ends(&mut carol, 1, &mut log);
    for person in [&mut anna, &mut ben, &mut carol] {
        person.hears(&log);
    }
    anna.writes("a.rs", &text);
    anna.publishes(&mut log);
    let mut dave = Person::new(4, Mode::Live, FILES);
    for person in [&mut ben, &mut carol, &mut dave] {
        person.hears(&log);
        assert_eq!(person.reads("a.rs"), text);
        assert_eq!(person.desk.waiting(), 0);
    }
}
