//! Clones that know the same patches hold the same files, in whatever order the patches came.

#![allow(clippy::unwrap_used, missing_docs)]

// The fixtures of every language and the maker of plausible edits.
#[path = "../../../crates/aura-semantic/tests/common/mod.rs"]
mod plausible;

mod files;
mod moved;

use std::{collections::BTreeSet, fs};

use aura_semantic::Indexed;
use mothership_tests::{Laptop, Mothership, Team, amount, copy::put, git, scene::figure};
use serde_json::Value;

use plausible::{Dice, FIXTURES, edit, fixture, fresh, next};

const LIST: &str = "fn a() {
    one();
    more();
    last();
}

fn b() {
    two();
}

fn c() {
    three();
}
";
const PATH: &str = "src/list.rs";

/// Alice and Bob, both with files that follow the team's.
struct Pair {
    alice: Laptop,
    bob: Laptop,
    mothership: Option<Mothership>,
    team: Team,
    marks: usize,
}

impl Pair {
    fn new() -> Self {
        Self::with(&[(PATH, LIST)])
    }

    fn with<B: AsRef<[u8]>>(files: &[(&str, B)]) -> Self {
        let team = Team::with(files);
        let mothership = team.serve("127.0.0.1:0");
        let alice = team.founder(&mothership, "live");
        let bob = team.member(&alice, "bob", "live");
        Self {
            team,
            mothership: Some(mothership),
            alice,
            bob,
            marks: 0,
        }
    }

    /// Both change the file while they cannot hear each other, then hear of it.
    fn apart(&mut self, alice: &str, bob: &str) {
        self.all_apart(&[(PATH, alice.as_bytes(), bob.as_bytes())]);
    }

    /// Both change files, each given as path, hers and his, while they cannot hear each other; then they hear of it.
    fn all_apart(&mut self, files: &[(&str, &[u8], &[u8])]) {
        self.while_apart(|alice, bob| {
            for (path, hers, his) in files {
                put(&alice.repo.join(path), hers);
                put(&bob.repo.join(path), his);
            }
        });
    }

    /// Something happens while they cannot hear each other; then they hear of it.
    fn while_apart(&mut self, change: impl FnOnce(&Laptop, &Laptop)) {
        let mothership = self.mothership.take().unwrap();
        let listen = mothership.listen.clone();
        assert_eq!(mothership.stop("-TERM"), Some(0));
        change(&self.alice, &self.bob);
        for laptop in [&self.alice, &self.bob] {
            assert_eq!(laptop.aura(&["publish"]).exit, 11);
        }
        self.mothership = Some(self.team.serve(&listen));
        self.meet();
    }

    /// Alice changes the file and Bob hears of it.
    fn save(&mut self, alice: &str) {
        put(&self.alice.repo.join(PATH), alice.as_bytes());
        self.alice.aura(&["publish"]).ok();
        self.meet();
    }

    /// Waits until both have what the other published, and what followed from that.
    fn meet(&mut self) {
        for _ in 0..2 {
            self.marks += 1;
            let mark = format!("marks/{}", self.marks);
            for (laptop, name) in [(&self.alice, "alice"), (&self.bob, "bob")] {
                let file = laptop.repo.join(format!("{mark}-{name}.txt"));
                put(&file, b"here\n");
                // Whether it is queued or sent does not matter.
                laptop.aura(&["publish"]);
                laptop.synced();
            }
            self.alice.applied(&format!("{mark}-bob.txt"));
            self.bob.applied(&format!("{mark}-alice.txt"));
        }
    }

    /// The file that both have, without a conflict.
    #[track_caller]
    fn agreed(&self) -> String {
        let (alice, bob) = (self.alice.read(PATH), self.bob.read(PATH));
        assert_eq!(alice, bob, "alice and bob differ");
        assert_eq!(self.alice.conflicts(), [] as [Value; 0]);
        assert_eq!(self.bob.conflicts(), [] as [Value; 0]);
        alice
    }
}

/// The functions of the list in this order.
fn ordered(names: &str) -> String {
    let all: Vec<&str> = LIST.trim_end().split("\n\n").collect();
    let of = |name: char| {
        all.iter()
            .find(|text| text.starts_with(&format!("fn {name}")))
    };
    let texts: Vec<&str> = names.chars().map(|name| *of(name).unwrap()).collect();
    texts.join("\n\n") + "\n"
}

#[test]
fn a_move_travels_and_is_carried_out_once() {
    let mut pair = Pair::new();
    pair.save(&ordered("cab"));
    assert_eq!(pair.agreed(), ordered("cab"));
    pair.save(&ordered("bca"));
    assert_eq!(pair.agreed(), ordered("bca"));
    // Back to a place where it was before.
    pair.save(&ordered("cab"));
    assert_eq!(pair.agreed(), ordered("cab"));
    // Bob gives the list an order of his own; a restart does not bring back what he had been sent.
    put(&pair.bob.repo.join(PATH), ordered("abc").as_bytes());
    pair.bob.aura(&["publish"]).ok();
    pair.meet();
    assert_eq!(pair.agreed(), ordered("abc"));
    for laptop in [&pair.alice, &pair.bob] {
        laptop.aura(&["down"]).ok();
        laptop.aura(&["up"]).ok();
    }
    pair.meet();
    assert_eq!(pair.agreed(), ordered("abc"));
}

#[test]
fn of_two_moves_of_one_function_the_later_stays() {
    let mut pair = Pair::new();
    pair.apart(&ordered("bac"), &ordered("bca"));
    let list = pair.agreed();
    assert!(list == ordered("bac") || list == ordered("bca"), "{list}");
}

#[test]
fn a_move_and_an_edit_of_one_function_both_arrive() {
    let mut pair = Pair::new();
    pair.apart(&ordered("cab"), &LIST.replace("three", "thirty"));
    assert_eq!(pair.agreed(), ordered("cab").replace("three", "thirty"));
    let mut pair = Pair::new();
    pair.apart(&LIST.replace("three", "thirty"), &ordered("cab"));
    assert_eq!(pair.agreed(), ordered("cab").replace("three", "thirty"));
}

#[test]
fn functions_added_at_one_place_stand_in_one_order() {
    let mut pair = Pair::new();
    let add = |names: &[&str]| {
        let new = names.iter().map(|name| format!("\nfn {name}() {{}}\n"));
        LIST.to_owned() + &new.collect::<String>()
    };
    pair.apart(&add(&["x", "p", "z"]), &add(&["y", "q"]));
    let list = pair.agreed();
    let places: Vec<usize> = ["x", "p", "z"]
        .iter()
        .map(|name| list.find(&format!("fn {name}(")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{list}");
    assert_eq!(list.matches("\nfn ").count(), 7, "{list}");
}

#[test]
fn two_comments_at_one_place_both_stay() {
    let mut pair = Pair::new();
    let add = |text: &str| LIST.replace("\n\nfn b", &format!("\n\n// {text}.\n\nfn b"));
    pair.apart(&add("Hers"), &add("His"));
    let list = pair.agreed();
    for text in ["// Hers.\n", "// His.\n"] {
        assert_eq!(list.matches(text).count(), 1, "{list}");
    }
    // Another comment later does not bring back one that was removed meanwhile.
    let rest = list.replace("// His.\n", "");
    pair.save(&rest);
    for laptop in [&pair.alice, &pair.bob] {
        laptop.aura(&["down"]).ok();
        laptop.aura(&["up"]).ok();
    }
    pair.meet();
    assert_eq!(pair.agreed(), rest);
}

#[test]
fn a_rename_and_an_edit_of_one_function_are_joined() {
    let renamed = LIST.replace("fn a()", "fn alpha()");
    let edited = LIST.replace("last();", "last_one();");
    for (alice, bob) in [(&renamed, &edited), (&edited, &renamed)] {
        let mut pair = Pair::new();
        pair.apart(alice, bob);
        assert_eq!(pair.agreed(), renamed.replace("last();", "last_one();"));
    }
}

#[test]
fn a_rename_against_a_rename_is_settled_alike_everywhere() {
    for choice in ["--mine", "--theirs"] {
        let mut pair = Pair::new();
        let (hers, his) = (
            LIST.replace("fn a()", "fn hers()"),
            LIST.replace("fn a()", "fn his()"),
        );
        pair.apart(&hers, &his);
        let conflicts = pair.bob.conflicts();
        assert_eq!(conflicts.len(), 1, "{conflicts:?}");
        let id = conflicts[0]["id"].as_str().unwrap();
        pair.bob.aura(&["resolve", id, choice]).ok();
        pair.meet();
        let wanted = if choice == "--mine" { his } else { hers };
        assert_eq!(pair.agreed(), wanted, "{choice}");
    }
}

#[test]
fn a_rename_against_an_edit_of_the_same_line_is_settled_alike_everywhere() {
    for choice in ["--mine", "--theirs"] {
        for hers_first in [true, false] {
            let mut pair = Pair::new();
            let renamed = LIST.replace("fn a() {\n    one", "fn alpha(m: u8) {\n    one");
            let edited = LIST.replace("fn a() {\n    one", "fn a(n: u8) {\n    one");
            let (alice, bob) = if hers_first {
                (&renamed, &edited)
            } else {
                (&edited, &renamed)
            };
            pair.apart(alice, bob);
            let conflicts = pair.bob.conflicts();
            assert_eq!(conflicts.len(), 1, "{conflicts:?}");
            let id = conflicts[0]["id"].as_str().unwrap();
            pair.bob.aura(&["resolve", id, choice]).ok();
            pair.meet();
            let wanted = if choice == "--mine" { bob } else { alice };
            assert_eq!(&pair.agreed(), wanted, "{choice}");
        }
    }
}

#[test]
fn a_rename_and_an_edit_of_the_same_line_that_do_not_exclude_each_other_are_one_line_everywhere() {
    let renamed = LIST.replace("fn a() {\n    one", "fn alpha() {\n    one");
    let edited = LIST.replace("fn a() {\n    one", "fn a(n: u8) {\n    one");
    let both = LIST.replace("fn a() {\n    one", "fn alpha(n: u8) {\n    one");
    for (alice, bob) in [(&renamed, &edited), (&edited, &renamed)] {
        let mut pair = Pair::new();
        pair.apart(alice, bob);
        pair.meet();
        assert_eq!(pair.agreed(), both);
    }
}

#[test]
fn what_is_only_looked_at_still_arrives() {
    let pair = Pair::new();
    pair.bob.aura(&["mode", "observe"]).ok();
    let inserted = LIST.replace("fn b", "fn new() {}\n\nfn b");
    let moved =
        ordered("ba").replace("fn a", "fn new() {}\n\nfn a") + "\nfn c() {\n    three();\n}\n";
    let spaced = moved.replace("\n\nfn new", "\n\n\n\nfn new");
    let noted = spaced.replace("\n\nfn c", "\n\n// One.\n\nfn c");
    let last = noted.replace("// One", "// Two");
    for text in [&inserted, &moved, &spaced, &noted, &last] {
        put(&pair.alice.repo.join(PATH), text.as_bytes());
        pair.alice.aura(&["publish"]).ok();
    }
    pair.bob
        .event(|event| event["kind"] == "received" && event["text"].as_str().is_some());
    for _ in 0..3 {
        pair.bob.synced();
        pair.bob.aura(&["status"]).ok();
        pair.bob.aura(&["pull", "--dry-run"]).ok();
    }
    pair.bob.aura(&["pull"]).ok();
    assert_eq!(pair.agreed(), last);
}

#[test]
fn what_git_brought_is_not_carried_out_again() {
    let mut pair = Pair::new();
    pair.bob.aura(&["mode", "observe"]).ok();
    let noted = |text: &str, order: &str| {
        ordered(order).replace("\n\nfn b", &format!("\n\n// {text}.\n\nfn b"))
    };
    for text in [
        noted("One", "abc"),
        noted("Two", "abc"),
        noted("Two", "cab"),
        noted("Three", "cab"),
    ] {
        put(&pair.alice.repo.join(PATH), text.as_bytes());
        pair.alice.aura(&["publish"]).ok();
    }
    pair.bob.synced();
    git(&pair.alice.repo, &["commit", "-qam", "all of it"]);
    let alice = pair.alice.repo.to_str().unwrap().to_owned();
    git(&pair.bob.repo, &["pull", "-q", &alice, "HEAD"]);
    pair.bob.synced();
    pair.bob.aura(&["pull"]).ok();
    pair.bob.aura(&["mode", "live"]).ok();
    pair.meet();
    assert_eq!(pair.agreed(), noted("Three", "cab"));
}

#[test]
fn moves_on_another_branch_decide_nothing_here() {
    let pair = Pair::new();
    let branch = |laptop: &Laptop, name: &str| git(&laptop.repo, &["checkout", "-qB", name]);
    pair.bob.aura(&["mode", "observe"]).ok();
    put(&pair.alice.repo.join(PATH), ordered("cab").as_bytes());
    pair.alice.aura(&["publish"]).ok();
    git(&pair.alice.repo, &["stash", "-q"]);
    branch(&pair.alice, "feature");
    pair.alice.synced();
    put(&pair.alice.repo.join(PATH), ordered("bca").as_bytes());
    pair.alice.aura(&["publish"]).ok();
    pair.bob.synced();
    pair.bob.aura(&["pull"]).ok();
    assert_eq!(pair.bob.read(PATH), ordered("cab"));
}

#[test]
fn an_edit_that_is_carried_to_another_branch_is_published_there() {
    let mut pair = Pair::new();
    git(&pair.bob.repo, &["checkout", "-qb", "feature"]);
    pair.bob.synced();
    for text in ["four", "five"] {
        let list = LIST.replace("three", text) + &format!("\nfn {text}() {{}}\n");
        put(&pair.bob.repo.join(PATH), list.as_bytes());
        pair.bob.aura(&["publish"]).ok();
    }
    let list = pair.bob.read(PATH);
    for step in [
        &["stash", "-q"][..],
        &["checkout", "-q", "main"],
        &["stash", "pop", "-q"],
    ] {
        git(&pair.bob.repo, step);
        // It waits for git to come to rest.
        pair.bob.aura(&["pull"]).ok();
    }
    pair.meet();
    assert_eq!(pair.agreed(), list);
}

#[test]
fn edits_that_are_taken_along_to_a_new_branch_are_there_for_whoever_follows() {
    let mut pair = Pair::new();
    let list = LIST.replace("three", "four");
    pair.save(&list);
    // Alice goes first and takes her edit along; Bob's file is as the commit has it.
    git(&pair.alice.repo, &["checkout", "-qb", "feature"]);
    pair.alice.aura(&["pull"]).ok();
    pair.alice.synced();
    git(&pair.bob.repo, &["stash", "-q"]);
    pair.bob.aura(&["pull"]).ok();
    git(&pair.bob.repo, &["checkout", "-qb", "feature"]);
    pair.bob.aura(&["pull"]).ok();
    pair.meet();
    assert_eq!(pair.agreed(), list);
    // Back on main nothing is told twice.
    let published = pair.alice.aura(&["status"]).ok()["mine"]["published"].clone();
    git(&pair.alice.repo, &["checkout", "-q", "main"]);
    pair.alice.aura(&["pull"]).ok();
    let now = pair.alice.aura(&["status"]).ok()["mine"]["published"].clone();
    assert_eq!(published, now);
}

#[test]
fn two_settlements_at_once_are_a_conflict_again() {
    let mut pair = Pair::new();
    let (hers, his) = (LIST.replace("two", "hers"), LIST.replace("two", "his"));
    pair.apart(&hers, &his);
    let id = pair.bob.conflicts()[0]["id"].as_str().unwrap().to_owned();
    let mothership = pair.mothership.take().unwrap();
    let listen = mothership.listen.clone();
    assert_eq!(mothership.stop("-TERM"), Some(0));
    for laptop in [&pair.alice, &pair.bob] {
        laptop.aura(&["resolve", &id, "--mine"]).ok();
    }
    pair.mothership = Some(pair.team.serve(&listen));
    pair.meet();
    for (laptop, text) in [(&pair.alice, &hers), (&pair.bob, &his)] {
        assert_eq!(laptop.conflicts().len(), 1);
        assert_eq!(&laptop.read(PATH), text);
    }
}

#[test]
fn mine_is_what_this_disk_has_and_a_third_version_stays_open() {
    let mut pair = Pair::new();
    let carol = pair.team.member(&pair.alice, "carol", "live");
    let mothership = pair.mothership.take().unwrap();
    let listen = mothership.listen.clone();
    assert_eq!(mothership.stop("-TERM"), Some(0));
    let text = |name: &str| LIST.replace("two", name);
    for (laptop, name) in [
        (&pair.alice, "hers"),
        (&pair.bob, "his"),
        (&carol, "carols"),
    ] {
        put(&laptop.repo.join(PATH), text(name).as_bytes());
        laptop.aura(&["publish"]);
    }
    pair.mothership = Some(pair.team.serve(&listen));
    pair.meet();
    carol.synced();
    for (laptop, name) in [
        (&pair.alice, "hers"),
        (&pair.bob, "his"),
        (&carol, "carols"),
    ] {
        let mine = laptop.conflicts()[0]["mine"]["text"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(mine.contains(name), "{mine}");
    }
    // One after the other is settled; nothing goes that was not shown.
    for left in [1, 0] {
        let conflicts = pair.bob.conflicts();
        assert_eq!(conflicts.len(), 1);
        let id = conflicts[0]["id"].as_str().unwrap();
        pair.bob.aura(&["resolve", id, "--mine"]).ok();
        assert_eq!(pair.bob.conflicts().len(), left);
        assert_eq!(pair.bob.read(PATH), text("his"));
    }
    pair.meet();
    assert_eq!(pair.agreed(), text("his"));
    carol.synced();
    assert_eq!(carol.read(PATH), text("his"));
}

#[test]
fn a_settlement_from_a_file_may_end_with_a_line_end() {
    let mut pair = Pair::new();
    pair.apart(&LIST.replace("two", "hers"), &LIST.replace("two", "his"));
    let id = pair.bob.conflicts()[0]["id"].as_str().unwrap().to_owned();
    let file = pair.team.dir.path().join("text.rs");
    put(&file, b"fn b() {\n    theirs();\n}\n");
    let with = file.to_str().unwrap();
    pair.bob.aura(&["resolve", &id, "--with", with]).ok();
    pair.meet();
    assert_eq!(pair.agreed(), LIST.replace("two", "theirs"));
}

#[test]
fn who_goes_back_by_git_and_tries_anew_is_in_no_conflict_with_himself() {
    let mut pair = Pair::new();
    put(
        &pair.bob.repo.join(PATH),
        LIST.replace("two", "first").as_bytes(),
    );
    pair.bob.aura(&["publish"]).ok();
    pair.meet();
    git(&pair.bob.repo, &["checkout", "-q", "--", PATH]);
    pair.bob.aura(&["pull"]).ok();
    put(
        &pair.bob.repo.join(PATH),
        LIST.replace("two", "second").as_bytes(),
    );
    pair.bob.aura(&["publish"]).ok();
    pair.meet();
    assert_eq!(pair.agreed(), LIST.replace("two", "second"));
}

#[test]
fn an_edit_that_all_dropped_by_git_arrives_when_it_is_made_again() {
    let mut pair = Pair::new();
    let list = LIST.replace("two", "again");
    for _ in 0..2 {
        pair.save(&list);
        assert_eq!(pair.agreed(), list);
        for laptop in [&pair.alice, &pair.bob] {
            git(&laptop.repo, &["checkout", "-q", "--", "."]);
            laptop.aura(&["pull"]).ok();
        }
    }
    pair.save(&list);
    assert_eq!(pair.agreed(), list);
}

#[test]
fn what_git_took_out_of_the_files_waits_until_it_is_pulled() {
    let mut pair = Pair::new();
    let list = ordered("cab").replace("two", "deux");
    pair.save(&list);
    git(&pair.bob.repo, &["checkout", "-q", "--", "."]);
    // Neither what comes in nor a start brings it back unasked.
    pair.bob.aura(&["publish"]);
    pair.meet();
    pair.bob.aura(&["down"]).ok();
    pair.bob.aura(&["up"]).ok();
    pair.meet();
    assert_eq!(pair.bob.read(PATH), LIST);
    let incoming = &pair.bob.aura(&["status"]).ok()["incoming"];
    assert_eq!(incoming["patches"], 1);
    pair.bob.aura(&["pull"]).ok();
    assert_eq!(pair.agreed(), list);
}

#[test]
fn a_function_moved_out_of_what_somebody_deletes_goes_with_it() {
    let inner = "mod inner {\n    fn d() {}\n\n    fn e() {}\n}\n";
    let whole = format!("{LIST}\n{inner}");
    for swap in [false, true] {
        let mut pair = Pair::with(&[(PATH, &whole)]);
        let moved = format!("{LIST}\nfn d() {{}}\n\nmod inner {{\n    fn e() {{}}\n}}\n");
        let (hers, his) = if swap {
            (LIST, &*moved)
        } else {
            (&*moved, LIST)
        };
        pair.apart(hers, his);
        pair.agreed();
    }
}

#[test]
fn what_was_deleted_while_the_daemon_was_away_is_deleted_for_all() {
    let mut pair = Pair::with(&[(PATH, LIST), ("src/old.rs", "fn old() {}\n")]);
    pair.alice.aura(&["down"]).ok();
    let at = |name: &str| pair.alice.repo.join(name);
    fs::rename(at("src/old.rs"), at("src/new.rs")).unwrap();
    pair.alice.aura(&["up"]).ok();
    pair.alice.synced();
    pair.meet();
    assert!(!pair.bob.repo.join("src/old.rs").exists());
    assert_eq!(pair.bob.read("src/new.rs"), "fn old() {}\n");
}

#[test]
fn a_move_that_the_user_has_not_told_is_the_users() {
    let pair = Pair::new();
    pair.bob.aura(&["config", "set", "publish", "intent"]).ok();
    put(&pair.bob.repo.join(PATH), ordered("bca").as_bytes());
    put(
        &pair.alice.repo.join(PATH),
        ordered("bac").replace("two", "deux").as_bytes(),
    );
    pair.alice.aura(&["publish"]).ok();
    pair.bob.applied("b");
    assert_eq!(pair.bob.read(PATH), ordered("bca").replace("two", "deux"));
}

/// The bytes around a place, or the last.
fn around(bytes: &[u8], place: Option<usize>) -> String {
    let place = place.unwrap_or(bytes.len());
    let range = place.saturating_sub(100)..bytes.len().min(place + 100);
    String::from_utf8_lossy(&bytes[range]).into_owned()
}

/// A file for each language.
fn of_every_language() -> Vec<(String, Vec<u8>)> {
    FIXTURES
        .iter()
        .map(|name| (format!("src/{name}"), fixture(name)))
        .collect()
}

#[test]
fn s03_two_machines_index_one_commit_alike_whatever_the_order_of_files() {
    let files = of_every_language();
    let team = Team::with(&files);
    let outlines = |laptop: &Laptop, order: &mut dyn Iterator<Item = &(String, Vec<u8>)>| {
        let mut rows: Vec<(String, String)> = order
            .map(|(path, _)| (path.clone(), laptop.aura(&["outline", path]).stdout))
            .collect();
        rows.sort();
        rows
    };
    let here = outlines(&team.laptop("alice"), &mut files.iter());
    let there = outlines(&team.laptop("bob"), &mut files.iter().rev());
    assert_eq!(here, there);
    let ids = here.iter().flat_map(|(_, text)| {
        let outline: Value = serde_json::from_str(text).unwrap();
        let units = outline["units"].as_array().unwrap().clone();
        units.into_iter().map(|unit| unit["id"].to_string())
    });
    let ids: Vec<String> = ids.collect();
    let distinct: BTreeSet<&String> = ids.iter().collect();
    assert!(100 < ids.len(), "{} units", ids.len());
    assert_eq!(distinct.len(), ids.len());
}

#[test]
fn s04_random_edits_of_every_language_arrive_byte_for_byte() {
    let files = of_every_language();
    let team = Team::with(&files);
    let mothership = team.serve("127.0.0.1:0");
    let alice = team.founder(&mothership, "live");
    let bob = team.member(&alice, "bob", "live");
    let mut dice = Dice::new(4);
    let mut now: Vec<Indexed> = files
        .iter()
        .map(|(path, bytes)| fresh(path, bytes))
        .collect();
    for round in 0..amount(12, 200) {
        for file in &mut now {
            let edited = next(file, &edit(file, &mut dice, &format!("r{round}")));
            // What does not parse is held back, and is another story.
            if edited.outline.errors <= file.outline.errors
                && edited.outline.whole_file_problem().is_none()
            {
                put(&alice.repo.join(&file.path), &edited.bytes);
                *file = edited;
            }
        }
        // Files that are published together go in the order of their names.
        alice.aura(&["publish"]).ok();
        let last = format!("marks/{round}.txt");
        put(&alice.repo.join(&last), b"the last of its round\n");
        alice.aura(&["publish"]).ok();
        bob.applied(&last);
        for file in &now {
            let there = fs::read(bob.repo.join(&file.path)).unwrap();
            let first = there.iter().zip(&*file.bytes).position(|(a, b)| a != b);
            assert!(
                there == *file.bytes,
                "round {round}, {}, from {first:?}: {:?} instead of {:?}; {}",
                file.path,
                around(&there, first),
                around(&file.bytes, first),
                bob.aura(&["pull", "--dry-run"]).stdout
            );
        }
    }
    assert_eq!(bob.conflicts(), [] as [Value; 0]);
}

/// What a pull would do or leave.
fn rows_of_pull(laptop: &Laptop) -> Vec<Value> {
    let pull = laptop.aura(&["pull", "--dry-run"]).json;
    pull["units"].as_array().unwrap().clone()
}

/// The lines that say something, whatever their order and indentation.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines
}

// The order of functions that both moved about, and blank lines, may differ afterwards; nothing else does unsaid.
#[test]
fn what_two_do_apart_is_all_there_afterwards_or_said_to_wait() {
    let files = of_every_language();
    let rows: Vec<(&str, &[u8])> = files.iter().map(|(path, b)| (&**path, &**b)).collect();
    let mut dice = Dice::new(7);
    let (mut equal, mut all) = (0, 0);
    for round in 0..amount(3, 40) {
        let mut pair = Pair::with(&rows);
        let mut side = |who: &str| -> Vec<Indexed> {
            let mut edited = Vec::new();
            for (path, bytes) in &files {
                let mut file = fresh(path, bytes);
                for n in 0..3 {
                    let after = next(&file, &edit(&file, &mut dice, &format!("{who}{n}")));
                    let is_good = after.outline.errors <= file.outline.errors
                        && after.outline.whole_file_problem().is_none();
                    file = if is_good { after } else { file };
                }
                edited.push(file);
            }
            edited
        };
        let (hers, his) = (side("a"), side("b"));
        let both = hers.iter().zip(&his);
        let both: Vec<_> = both
            .map(|(hers, his)| (&*hers.path, &*hers.bytes, &*his.bytes))
            .collect();
        pair.all_apart(&both);
        let conflicts = pair.alice.conflicts();
        let waits = [&pair.alice, &pair.bob].map(rows_of_pull);
        for (path, ..) in both {
            let read = |laptop: &Laptop| fs::read(laptop.repo.join(path)).unwrap();
            let (hers, his) = (read(&pair.alice), read(&pair.bob));
            all += 1;
            equal += usize::from(hers == his);
            let is_said = conflicts.iter().any(|conflict| conflict["path"] == path)
                || waits.iter().flatten().any(|row| row["path"] == path);
            assert!(
                is_said || lines(&hers) == lines(&his),
                "round {round}, {path}: hers {} his {}",
                String::from_utf8_lossy(&hers),
                String::from_utf8_lossy(&his),
            );
        }
        // What states of a file tell comes when it is quiet, and not to both in one moment.
        let counts = || [&pair.alice, &pair.bob].map(|laptop| laptop.conflicts().len());
        let is_one = (0..1_000).any(|_| counts().windows(2).all(|two| two[0] == two[1]));
        assert!(is_one, "conflicts: {:?}", counts());
    }
    figure(&format!("{equal} of {all} files are equal to the byte"));
    assert!(all / 2 < equal, "{equal} of {all}");
}
