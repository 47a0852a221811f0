//! Logs that a disk has damaged.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aura_proto::RepoPath;

use super::*;

fn segment(dir: &Path) -> PathBuf {
    let mut files = fs::read_dir(dir.join("state/log")).unwrap();
    let is_log = |path: &PathBuf| path.extension() == Some("wal".as_ref());
    files
        .find_map(|file| Some(file.unwrap().path()).filter(is_log))
        .unwrap()
}

/// Flips a bit in the `nth` own entry of a desk that is closed.
fn rots(mut person: Person, nth: usize) -> Person {
    let lsn = person.desk.own_records()[nth];
    rots_at(person, lsn)
}

/// Flips a bit in the entry of a record of a desk that is closed.
fn rots_at(person: Person, lsn: u64) -> Person {
    let entry = person.desk.book.entry(lsn).unwrap();
    person.restarts_after(|dir| {
        let file = segment(dir);
        let mut bytes = fs::read(&file).unwrap();
        let entry = entry.bytes();
        let at = bytes
            .windows(entry.len())
            .position(|some| some == entry)
            .unwrap();
        bytes[at + entry.len() / 2] ^= 1;
        fs::write(file, bytes).unwrap();
    })
}

/// Two functions in a file that git has and two in one that it does not have, each changed once.
fn writer(log: &mut Log) -> Person {
    let mut anna = Person::new(1, Mode::Live, &[("a.rs", "fn a() {}\n\nfn b() {}\n")]);
    anna.writes("new.rs", "fn x() {}\n\nfn y() {}\n");
    anna.publishes(log);
    for (path, from, to) in [
        ("a.rs", "a() {}", "a() { 1 }"),
        ("new.rs", "x() {}", "x() { 1 }"),
        ("a.rs", "b() {}", "b() { 1 }"),
        ("new.rs", "y() {}", "y() { 1 }"),
    ] {
        anna.edits(path, from, to);
        anna.publishes(log);
    }
    anna
}

#[test]
fn case_100_a_mend_that_ended_between_its_steps_is_finished_by_the_next_open() {
    let mut log = Log::default();
    let mut anna = rots(writer(&mut log), 2);
    let said = anna.desk.damage.as_ref().unwrap().text.clone();
    assert!(said.contains("2 changes of yours behind"), "{said}");
    let own = anna.desk.own_records();
    assert_eq!(own.len(), 2);
    let state = anna.dir.path().join("state");
    let mended = state.with_extension("mended");
    // The damaged directory had its new name, and the mended one not yet.
    let mut anna = anna.restarts_after(|_| fs::rename(&state, &mended).unwrap());
    assert_eq!(anna.desk.own_records(), own);
    assert_eq!(anna.desk.damage.as_ref().unwrap().text, said);
    // A copy that was begun and is not in place yet is none.
    fs::create_dir_all(mended.join("log")).unwrap();
    anna = anna.restarts();
    assert_eq!(anna.desk.own_records(), own);
    assert!(!mended.exists());
}

#[test]
fn case_100_what_is_published_behind_a_damage_is_what_the_files_hold_and_nothing_twice() {
    let mut log = Log::default();
    let mut anna = rots(writer(&mut log), 2);
    let before = anna.desk.own_records().len();
    let mut all = Log::default();
    anna.told.clear();
    // What follows from what is lost is not known before the rest is fetched.
    anna.publishes(&mut all);
    assert!(anna.desk.damage.is_some());
    assert_eq!(anna.desk.own_records().len(), before);
    anna.hears(&Log::default());
    let before = anna.desk.own_records().len();
    anna.publishes(&mut all);
    assert!(anna.desk.damage.is_none());
    assert_eq!(anna.desk.own_records().len(), before + 2, "a.rs and new.rs");
    let mut ben = Person::new(2, Mode::Live, &[("a.rs", "fn a() {}\n\nfn b() {}\n")]);
    ben.hears(&all);
    for path in ["a.rs", "new.rs"] {
        assert_eq!(ben.reads(path), anna.reads(path));
    }
    assert_eq!(ben.desk.conflicts(&ben.ring).len(), 0);
    anna = anna.restarts();
    assert!(anna.desk.damage.is_none());
    anna.publishes(&mut all);
    assert_eq!(anna.desk.own_records().len(), before + 2);
}

#[test]
fn case_100_a_change_whose_record_was_cut_as_the_newest_is_an_edit_again() {
    let mut log = Log::default();
    for text in [
        ("a.rs", "b() { 1 }", "b() { 2 }"),
        ("new.rs", "y() { 1 }", "y() { 2 }"),
    ] {
        let mut anna = writer(&mut log);
        anna.edits(text.0, text.1, text.2);
        anna.publishes(&mut log);
        // Only the newest record can be taken for one that was never synced.
        let newest = anna.desk.own_records().len() - 1;
        let mut anna = rots(anna, newest);
        assert!(anna.desk.book.was_cut);
        let said = anna.desk.told_of_damage().unwrap();
        assert!(said.contains("has lost its end"), "{said}");
        assert_eq!(anna.desk.own_records().len(), newest);
        // Another end of the process, before it is known what was lost, changes nothing.
        let mut anna = anna.restarts();
        anna.hears(&Log::default());
        let before = anna.desk.own_records().len();
        anna.publishes(&mut log);
        assert_eq!(anna.desk.own_records().len(), before + 1, "{text:?}");
        assert!(anna.reads(text.0).contains(text.2));
        assert!(anna.desk.damage.is_none());
    }
}

#[test]
fn case_100_what_the_team_has_comes_back_and_nothing_but_the_edits_since_is_published() {
    let files = [("a.rs", "// A.\n\nfn a() {}\n\nfn b() {}\n")];
    let mut log = Log::default();
    let mut anna = Person::new(1, Mode::Live, &files);
    let mut ben = Person::new(2, Mode::Live, &files);
    // It was there before she joined, and nobody was told of it.
    anna.writes("notes.rs", "fn secret() {}\n");
    let notes = RepoPath::try_from("notes.rs").unwrap();
    let adopted = anna
        .desk
        .shadows
        .adopt_untracked(&notes, b"fn secret() {}\n");
    adopted.unwrap();
    ben.edits("a.rs", "b() {}", "b() { 2 }");
    ben.publishes(&mut log);
    ben.edits("a.rs", "// A.", "// Ben.");
    ben.writes("new.rs", "fn x() {}\n\nfn y() {}\n");
    ben.publishes(&mut log);
    anna.hears(&log);
    anna.edits("a.rs", "// Ben.", "// Anna.");
    anna.edits("new.rs", "x() {}", "x() { 1 }");
    anna.publishes(&mut log);
    for person in [&mut anna, &mut ben] {
        person.hears(&log);
    }
    // One edit on top of what Ben did is queued, one is saved.
    anna.edits("a.rs", "b() { 2 }", "b() { 3 }");
    let intent = Intent::default();
    anna.desk.publish_all(&intent, &anna.ring).unwrap();
    anna.edits("new.rs", "y() {}", "y() { 1 }");
    let first = anna.desk.units.recorded()[0].origin.lsn;
    let mut anna = rots_at(anna, first);
    assert!(anna.desk.damage.is_some());
    assert_eq!(anna.desk.units.recorded().len(), 0, "all of it is lost");
    anna.hears(&log);
    anna = anna.restarts();
    anna.hears(&log);
    let told = log.entries.len();
    anna.publishes(&mut log);
    let new: Vec<String> = anna.desk.units.recorded()[told..]
        .iter()
        .flat_map(|patch| patch.touched.iter().map(|(_, name, ..)| name.to_string()))
        .collect();
    assert_eq!(new, ["b", "y"]);
    ben.hears(&log);
    for person in [&mut anna, &mut ben] {
        assert_eq!(person.desk.conflicts(&person.ring).len(), 0);
        assert_eq!(person.desk.waiting(), 0);
        assert_eq!(
            person.reads("a.rs"),
            "// Anna.\n\nfn a() {}\n\nfn b() { 3 }\n"
        );
        assert_eq!(person.reads("new.rs"), "fn x() { 1 }\n\nfn y() { 1 }\n");
    }
    assert!(!ben.dir.path().join("repo/notes.rs").exists());
}

#[test]
fn case_100_a_change_that_was_committed_before_it_was_lost_reaches_the_team() {
    let mut log = Log::default();
    let mut anna = Person::new(1, Mode::Live, &[("a.rs", "fn a() {}\n")]);
    let mut ben = Person::new(2, Mode::Live, &[("a.rs", "fn a() {}\n")]);
    anna.writes("b.rs", "fn b() {}\n");
    let intent = Intent::default();
    anna.desk.publish_all(&intent, &anna.ring).unwrap();
    anna.edits("a.rs", "a() {}", "a() { 1 }");
    anna.desk.publish_all(&intent, &anna.ring).unwrap();
    let repo = anna.dir.path().join("repo");
    git(&repo, &["add", "a.rs"]);
    git(&repo, &["commit", "-q", "-m", "done"]);
    let mut anna = rots(anna, 0);
    anna.told.clear();
    anna.hears(&log);
    anna.publishes(&mut log);
    ben.hears(&log);
    for path in ["a.rs", "b.rs"] {
        assert_eq!(ben.reads(path), anna.reads(path));
    }
}

#[test]
fn case_100_a_log_that_is_gone_or_has_lost_its_end_is_noticed_and_fetched_again() {
    let mut log = Log::default();
    for is_gone in [true, false] {
        let mut ben = Person::new(2, Mode::Live, &[("a.rs", "fn a() {}\n\nfn b() {}\n")]);
        let mut anna = writer(&mut log);
        anna.hears(&log);
        ben.hears(&log);
        let before = anna.desk.units.recorded().len();
        let anna = anna.restarts_after(|dir| {
            let wal = segment(dir);
            match is_gone {
                true => fs::remove_dir_all(wal.parent().unwrap()).unwrap(),
                // Nothing but its first page is left.
                false => {
                    let len = fs::metadata(&wal).unwrap().len();
                    let head = fs::read(&wal).unwrap()[..4096].to_vec();
                    fs::write(&wal, head).unwrap();
                    fs::File::options()
                        .write(true)
                        .open(&wal)
                        .unwrap()
                        .set_len(len)
                        .unwrap();
                }
            }
        });
        assert!(
            anna.desk
                .told_of_damage()
                .unwrap()
                .contains("has lost its end")
        );
        assert!(anna.desk.units.recorded().len() < before);
        let mut anna = anna.restarts();
        anna.edits("a.rs", "b() { 1 }", "b() { 2 }");
        anna.hears(&log);
        anna.publishes(&mut log);
        assert_eq!(anna.desk.units.recorded().len(), before + 1);
        ben.hears(&log);
        for path in ["a.rs", "new.rs"] {
            assert_eq!(ben.reads(path), anna.reads(path));
        }
        assert_eq!(ben.desk.conflicts(&ben.ring).len(), 0);
        log = Log::default();
    }
}

#[test]
fn case_100_deletions_and_comments_whose_records_are_lost_are_edits_again_and_nothing_old_comes_back()
 {
    let files = [
        ("a.rs", "// One.\n\nfn a() {}\n"),
        ("gone.rs", "fn g() {}\n"),
        ("kept.rs", "fn k() {}\n"),
    ];
    for nth in 0..3 {
        let mut log = Log::default();
        let mut anna = Person::new(1, Mode::Live, &files);
        let mut ben = Person::new(2, Mode::Live, &files);
        ben.edits("a.rs", "// One.", "// Three.");
        ben.writes("new.rs", "fn n() {}\n");
        ben.publishes(&mut log);
        anna.hears(&log);
        // Three queued changes, of which one is destroyed; and a deletion while nobody looked.
        let intent = Intent::default();
        anna.edits("a.rs", "// Three.", "// Four.");
        anna.desk.publish_all(&intent, &anna.ring).unwrap();
        let repo = anna.dir.path().join("repo");
        fs::remove_file(repo.join("gone.rs")).unwrap();
        anna.desk.publish_all(&intent, &anna.ring).unwrap();
        fs::remove_file(repo.join("new.rs")).unwrap();
        anna.desk.publish_all(&intent, &anna.ring).unwrap();
        assert_eq!(anna.desk.own_records().len(), 3);
        fs::remove_file(repo.join("kept.rs")).unwrap();
        let mut anna = rots(anna, nth);
        anna.hears(&log);
        assert!(!repo.join("new.rs").exists() && !repo.join("gone.rs").exists());
        assert_eq!(anna.reads("a.rs"), "// Four.\n\nfn a() {}\n");
        anna.publishes(&mut log);
        ben.hears(&log);
        assert_eq!(ben.reads("a.rs"), "// Four.\n\nfn a() {}\n", "{nth}");
        for path in ["gone.rs", "new.rs", "kept.rs"] {
            assert!(
                !ben.dir.path().join("repo").join(path).exists(),
                "{nth}: {path}"
            );
        }
        for person in [&mut anna, &mut ben] {
            assert_eq!(person.desk.conflicts(&person.ring).len(), 0, "{nth}");
        }
    }
}
