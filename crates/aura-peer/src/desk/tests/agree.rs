//! Where those who know the same patches of a file have different texts, they say so.

use aura_api::Choice;
use aura_engine::peer::agreement::{Holding, PatchSet, StateBody};
use aura_proto::Kind;
use aura_semantic::ContentHash;

use super::{
    super::{opened, pass::Due},
    Log, Mode, Person,
};

/// People who have committed these files.
fn team(files: &[(&str, &str)]) -> Vec<Person> {
    let people = 1..=3;
    people
        .map(|seed| Person::new(seed, Mode::Live, files))
        .collect()
}

/// Everybody hears of everything, and has time to think of it.
fn meet(people: &mut [Person], log: &mut Log) {
    for _ in 0..6 {
        for person in &mut *people {
            person.hears(log);
            person.agrees();
            person.tells(log);
        }
    }
}

fn texts(people: &[Person], path: &str) -> Vec<String> {
    people.iter().map(|person| person.reads(path)).collect()
}

#[track_caller]
fn assert_alike(people: &[Person], path: &str) {
    let texts = texts(people, path);
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:#?}");
}

/// The names of the open conflicts of each.
fn open(people: &mut [Person]) -> Vec<Vec<String>> {
    let names = people.iter_mut().map(|person| {
        let conflicts = person.desk.conflicts(&person.ring);
        conflicts.into_iter().map(|conflict| conflict.id).collect()
    });
    names.collect()
}

#[track_caller]
fn assert_nothing_open(people: &mut [Person]) {
    assert_eq!(open(people), [const { Vec::<String>::new() }; 3]);
}

fn states(log: &Log) -> usize {
    let kinds = log.entries.iter().map(|entry| entry.header().kind);
    kinds.filter(|kind| *kind == Kind::STATE).count()
}

#[test]
fn who_edits_what_the_other_knows_says_nothing_of_what_the_file_is() {
    let mut log = Log::default();
    let mut people = team(&[("a.rs", "fn one() {\n    1;\n}\n\nfn two() {\n    2;\n}\n")]);
    for (who, (from, to)) in [(0, ("1;", "11;")), (1, ("2;", "22;")), (2, ("11;", "3;"))] {
        people[who].edits("a.rs", from, to);
        people[who].publishes(&mut log);
        meet(&mut people, &mut log);
    }
    assert_alike(&people, "a.rs");
    assert_eq!(states(&log), 0);
}

#[test]
fn the_last_of_two_who_edit_at_once_says_once_what_the_file_is() {
    let mut log = Log::default();
    let mut people = team(&[("a.rs", "fn one() {\n    1;\n}\n\nfn two() {\n    2;\n}\n")]);
    people[0].edits("a.rs", "1;", "11;");
    people[1].edits("a.rs", "2;", "22;");
    people[0].publishes(&mut log);
    people[1].publishes(&mut log);
    meet(&mut people, &mut log);
    assert_alike(&people, "a.rs");
    assert_eq!(states(&log), 1);
    assert_nothing_open(&mut people);
}

/// Three who have a class of one name from two of them.
fn two_classes(log: &mut Log, members: [&str; 2]) -> Vec<Person> {
    let mut people = team(&[(
        "A.java",
        "class A {\n    int a() {\n        return 1;\n    }\n}\n",
    )]);
    for (who, member) in (0..).zip(members) {
        let old = people[who].reads("A.java");
        let class = format!("\nclass B {{\n{member}}}\n");
        people[who].writes("A.java", &(old + &class));
    }
    people[0].publishes(log);
    people[1].publishes(log);
    meet(&mut people, log);
    people
}

#[test]
fn two_classes_of_one_name_with_different_members_are_no_silent_difference() {
    let method = |name: &str| format!("    int {name}() {{\n        return 2;\n    }}\n");
    let fields = |name: &str| format!("    int {name}1 = 1;\n    int {name}2 = 1;\n");
    let methods = ["one", "two"].map(method);
    let fields = ["a", "b"].map(fields);
    let stories = [Choice::Mine, Choice::Theirs, Choice::Both].map(|choice| (choice, &methods));
    for (choice, [hers, his]) in stories.into_iter().chain([(Choice::Mine, &fields)]) {
        let mut log = Log::default();
        let mut people = two_classes(&mut log, [hers, his]);
        // Both texts in one file, or a conflict that everybody is told of; then one settles what is left.
        for _ in 0..3 {
            let named = open(&mut people);
            let texts = texts(&people, "A.java");
            let is_alike = texts.iter().all(|text| *text == texts[0]);
            assert!(
                is_alike || named.iter().all(|names| !names.is_empty()),
                "{texts:#?}"
            );
            let alice = &mut people[0];
            for conflict in alice.desk.conflicts(&alice.ring) {
                alice.desk.resolve(&conflict, &choice, &alice.ring).unwrap();
            }
            alice.tells(&mut log);
            meet(&mut people, &mut log);
        }
        assert_alike(&people, "A.java");
        assert_nothing_open(&mut people);
    }
}

#[test]
fn what_differs_is_called_the_same_everywhere_and_settled_from_anywhere() {
    for who in 0..3 {
        let mut log = Log::default();
        let mut people = commented(&mut log);
        let named = open(&mut people);
        assert_eq!(named[0].len(), 1, "{:#?}", texts(&people, "a.rs"));
        assert!(named.iter().all(|names| *names == named[0]), "{named:?}");
        for _ in 0..2 {
            let person = &mut people[who];
            for conflict in person.desk.conflicts(&person.ring) {
                let theirs = &Choice::Theirs;
                person
                    .desk
                    .resolve(&conflict, theirs, &person.ring)
                    .unwrap();
            }
            person.tells(&mut log);
            meet(&mut people, &mut log);
        }
        assert_alike(&people, "a.rs");
        assert_nothing_open(&mut people);
        for person in &mut people {
            assert!(person.desk.incoming(&person.ring).is_empty());
        }
    }
}

#[test]
fn what_differs_is_found_again_after_a_restart() {
    let mut log = Log::default();
    let people = commented(&mut log);
    let people = people.into_iter().map(Person::restarts);
    let mut people: Vec<Person> = people.collect();
    meet(&mut people, &mut log);
    let named = open(&mut people);
    assert_eq!(named[0].len(), 1);
    assert!(named.iter().all(|names| *names == named[0]), "{named:?}");
}

/// Three of whom one has written another comment at the top, and one put a function above it.
fn commented(log: &mut Log) -> Vec<Person> {
    commented_over(log, "// Copyright\n\nfn one() {\n    1;\n}\n")
}

fn commented_over(log: &mut Log, base: &str) -> Vec<Person> {
    let mut people = team(&[("a.rs", base)]);
    people[0].edits("a.rs", "// Copyright", "// Copyright 2");
    people[1].writes("a.rs", &format!("fn zero() {{\n    0;\n}}\n\n{base}"));
    people[0].publishes(log);
    people[1].publishes(log);
    meet(&mut people, log);
    people
}

#[test]
fn two_who_add_a_key_at_the_end_of_an_object_have_both_keys() {
    let mut log = Log::default();
    let mut people = team(&[("p.json", "{\n  \"a\": 1,\n  \"z\": true\n}\n")]);
    people[0].edits("p.json", "true", "true,\n  \"m\": 6");
    people[1].edits("p.json", "true", "true,\n  \"n\": 5");
    people[0].publishes(&mut log);
    people[1].publishes(&mut log);
    meet(&mut people, &mut log);
    assert_alike(&people, "p.json");
    let text = people[0].reads("p.json");
    assert!(
        text.contains("\"m\": 6") && text.contains("\"n\": 5"),
        "{text}"
    );
    assert_nothing_open(&mut people);
}

/// What somebody says of a file, as an entry of a member.
fn says(person: &mut Person, log: &mut Log, body: &StateBody) {
    let ring = &person.ring;
    assert!(
        person
            .desk
            .author((Kind::STATE, 0), &body.encode(), None, ring)
    );
    person.tells(log);
}

fn made_up(path: &str, patches: PatchSet) -> StateBody {
    StateBody {
        channel: "refs/heads/main".to_owned(),
        path: path.to_owned(),
        holding: Holding {
            patches,
            blob: None,
            is_complete: true,
            content: Some(ContentHash([7; 32])),
        },
        text: None,
    }
}

#[test]
fn s08_nobody_is_told_what_is_in_a_file_that_the_team_was_never_told_of() {
    let mut log = Log::default();
    let mut people = team(&[("a.rs", "fn one() {\n    1;\n}\n")]);
    people[0].writes(".env", "SECRET=1\n");
    let alice = people.remove(0).restarts();
    people.insert(0, alice);
    says(
        &mut people[1],
        &mut log,
        &made_up(".env", PatchSet::default()),
    );
    meet(&mut people, &mut log);
    assert_eq!(states(&log), 1);
    // Nor when somebody else makes the team know a file of that name.
    people[1].writes(".env", "SECRET=2\n");
    people[1].publishes(&mut log);
    meet(&mut people, &mut log);
    let patches = people[1].desk.units.patch_set(".env");
    says(&mut people[1], &mut log, &made_up(".env", patches));
    meet(&mut people, &mut log);
    let secret = b"SECRET=1";
    for entry in &log.entries {
        let told = opened(entry, entry.header().kind, &people[0].ring).unwrap();
        assert!(!told.windows(secret.len()).any(|part| part == secret));
    }
}

#[test]
fn a_text_that_no_entry_holds_is_told_once_without_it() {
    let mut log = Log::default();
    let noise: String = (0..20_000_u32)
        .map(|n| ContentHash::of(&n.to_be_bytes()).to_string())
        .collect();
    let base = format!("// Copyright\n\nfn one() {{\n    1;\n}}\n\n// {noise}\n");
    let mut people = commented_over(&mut log, &base);
    let count = states(&log);
    meet(&mut people, &mut log);
    assert_eq!(states(&log), count, "they say it again and again");
    assert_eq!(open(&mut people)[0].len(), 1);
}

#[test]
fn whoever_differs_settles_by_its_own_side_or_by_both() {
    let stories = (0..3).flat_map(|who| [(who, Choice::Mine), (who, Choice::Both)]);
    for (who, choice) in stories {
        let mut log = Log::default();
        let mut people = commented(&mut log);
        for _ in 0..2 {
            let person = &mut people[who];
            for conflict in person.desk.conflicts(&person.ring) {
                person
                    .desk
                    .resolve(&conflict, &choice, &person.ring)
                    .unwrap();
            }
            person.tells(&mut log);
            meet(&mut people, &mut log);
        }
        assert_alike(&people, "a.rs");
        assert_nothing_open(&mut people);
        let text = people[0].reads("a.rs");
        assert_eq!(text.matches("fn one()").count(), 1, "{text}");
        assert_eq!(text.matches("fn zero()").count(), 1, "{text}");
    }
}

#[test]
fn of_files_that_are_moved_together_each_edit_follows_its_own() {
    let equal = "fn it_starts() {\n    let server = start_the_server_with_default_options();\n    \
                 server.stop_and_wait_for_all_connections();\n}\n";
    let file = |name: &str| format!("fn {name}_only() {{\n    {name}();\n}}\n\n{equal}");
    let names = ["a", "b", "c"];
    let files = names.map(|name| (format!("old/{name}/lib.rs"), file(name)));
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (&**path, &**text))
        .collect();
    let mut log = Log::default();
    let mut people = team(&files);
    people[2].edits("old/b/lib.rs", "_default_", "_other_");
    let repo = people[1].dir.path().join("repo");
    std::fs::rename(repo.join("old"), repo.join("new")).unwrap();
    people[1].publishes(&mut log);
    people[2].publishes(&mut log);
    meet(&mut people, &mut log);
    for name in names {
        let path = format!("new/{name}/lib.rs");
        assert_alike(&people, &path);
        let is_edited = people[0].reads(&path).contains("_other_");
        assert_eq!(is_edited, name == "b", "{path}");
    }
    assert_nothing_open(&mut people);
}

#[test]
fn a_method_that_stands_outside_of_its_type_outlives_it() {
    let base = "package q\n\ntype Queue struct {\n\tjobs []int\n}\n\nfunc (q *Queue) Pop() int {\n\treturn 1\n}\n";
    let mut log = Log::default();
    let mut people = team(&[("q.go", base)]);
    people[0].edits("q.go", "return 1", "return 2");
    people[1].edits("q.go", "type Queue struct {\n\tjobs []int\n}\n\n", "");
    people[0].publishes(&mut log);
    people[1].publishes(&mut log);
    meet(&mut people, &mut log);
    assert_alike(&people, "q.go");
    assert_nothing_open(&mut people);
}

#[test]
fn a_key_that_one_renames_follows_the_object_that_another_takes_elsewhere() {
    let base = "{\n  \"first\": { \"name\": \"a name\", \"size\": 10 },\n  \"second\": 2,\n  \"third\": 3\n}\n";
    let mut log = Log::default();
    let mut people = team(&[("x.json", base)]);
    people[0].edits("x.json", "\"name\"", "\"title\"");
    let repo = people[1].dir.path().join("repo");
    std::fs::rename(repo.join("x.json"), repo.join("y.json")).unwrap();
    people[0].publishes(&mut log);
    people[1].publishes(&mut log);
    meet(&mut people, &mut log);
    let named = open(&mut people);
    let is_followed = people
        .iter()
        .all(|person| person.reads("y.json").contains("\"title\""));
    assert!(
        is_followed || named.iter().all(|names| !names.is_empty()),
        "{:?}",
        texts(&people, "y.json")
    );
    for person in &mut people {
        let waiting = person.desk.incoming(&person.ring);
        assert!(waiting.is_empty() || !named[0].is_empty(), "{waiting:?}");
    }
}

#[test]
fn what_keys_two_put_into_braces_that_a_third_empties_stays_an_object() {
    let mut log = Log::default();
    let mut people = team(&[("x.json", "{\n  \"a\": 1\n}\n")]);
    people[0].writes("x.json", "{\n}\n");
    people[1].writes("x.json", "{\n  \"a\": 1,\n  \"b\": 2\n}\n");
    people[0].publishes(&mut log);
    people[1].publishes(&mut log);
    meet(&mut people, &mut log);
    assert_alike(&people, "x.json");
    assert_eq!(people[2].reads("x.json"), "{\n  \"b\": 2\n}\n");
}

#[test]
fn a_file_that_somebody_is_at_is_no_difference() {
    let mut log = Log::default();
    let base = "fn one() {\n    1;\n}\n\nfn two() {\n    2;\n}\n";
    let mut people = team(&[("a.rs", base)]);
    people[0].edits("a.rs", "1;", "1(;");
    people[1].edits("a.rs", "1;", "11;");
    people[1].publishes(&mut log);
    meet(&mut people, &mut log);
    assert_nothing_open(&mut people);
    people[0].writes("a.rs", base);
    people[0].desk.due = Due::All;
    meet(&mut people, &mut log);
    assert_alike(&people, "a.rs");
    assert_nothing_open(&mut people);
}

#[test]
fn an_edit_behind_what_a_deleted_file_does_not_know_is_shown_or_stays_a_conflict() {
    let base = "{\n  \"a\": {\n    \"x\": 1\n  },\n  \"b\": {\n    \"y\": 2\n  }\n}\n";
    let mut log = Log::default();
    let mut people = team(&[("m.json", base)]);
    people[2].edits(
        "m.json",
        "  \"b\"",
        "  \"n\": {\n    \"n1\": 9\n  },\n  \"b\"",
    );
    people[2].publishes(&mut log);
    people[2].edits("m.json", "\"x\": 1", "\"x\": 777");
    let repo = people[1].dir.path().join("repo");
    std::fs::remove_file(repo.join("m.json")).unwrap();
    people[2].publishes(&mut log);
    people[1].publishes(&mut log);
    meet(&mut people, &mut log);
    for _ in 0..3 {
        let bob = &mut people[1];
        let conflicts = bob.desk.conflicts(&bob.ring);
        let Some(conflict) = conflicts.first() else {
            break;
        };
        let sides = [&conflict.mine, &conflict.theirs];
        let mut texts = sides.into_iter().filter_map(|side| side.text.as_ref());
        let is_shown = texts.any(|text| String::from_utf8_lossy(text.head.bytes()).contains("777"));
        if is_shown {
            return;
        }
        bob.desk
            .resolve(conflict, &Choice::Mine, &bob.ring)
            .unwrap();
        bob.tells(&mut log);
        meet(&mut people, &mut log);
    }
    let text = people[2].reads("m.json");
    panic!("it is nowhere: {text}");
}
