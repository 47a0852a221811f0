//! What others do in a file while somebody deletes it, takes it elsewhere, or makes it anew.

use std::fs;

use aura_api::Choice;
use aura_engine::peer::{
    body::{Cause, PatchBody, VersionId},
    units::Conflict,
};
use aura_semantic::{ContentHash, FilePatch, Op, Text, Touched, UnitId};

use super::{super::Mode, KeyRing, Log, Person};

const LIST: &str = "\
//! A list.

fn one() {
    first(1, 2);
    second(3, 4);
}

fn two() {
    third(5, 6);
    fourth(7, 8);
}
";
const NEW: &str = "\nfn three() {\n    fifth(9, 10);\n}\n";
const PATH: &str = "list.rs";

/// Alice, Bob and Carol, whose files follow the team's.
struct Team {
    log: Log,
    people: [Person; 3],
}

impl Team {
    fn new() -> Self {
        Self::with(PATH, LIST)
    }

    fn with(path: &str, text: &str) -> Self {
        Self {
            log: Log::default(),
            people: [1, 2, 3].map(|seed| Person::new(seed, Mode::Live, &[(path, text)])),
        }
    }

    /// Each publishes what is saved, and all hear of it.
    fn meets(&mut self) {
        for person in &mut self.people {
            person.publishes_what_there_is(&mut self.log);
        }
        self.hear();
    }

    /// Alice and Bob change files apart from each other, then all hear of all of it.
    fn apart(mut self, alice: impl FnOnce(&Person), bob: impl FnOnce(&Person)) -> Self {
        alice(&self.people[0]);
        bob(&self.people[1]);
        self.meets();
        self
    }

    fn hear(&mut self) {
        for _ in 0..4 {
            for person in &mut self.people {
                person.hears(&self.log);
                person.tells(&mut self.log);
            }
        }
    }

    /// The file that all have, or that nobody has.
    #[track_caller]
    fn all(&self, path: &str) -> Option<String> {
        let texts = self.people.each_ref().map(|person| person.has(path));
        assert_eq!(texts[0], texts[1], "alice and bob differ in {path}");
        assert_eq!(texts[0], texts[2], "alice and carol differ in {path}");
        texts[0].clone()
    }

    /// The one conflict that everybody is told of, as this one sees it.
    #[track_caller]
    fn conflict(&mut self, who: usize) -> Conflict {
        let mut seen: Vec<Vec<Conflict>> = Vec::new();
        for person in &mut self.people {
            seen.push(person.desk.conflicts(&person.ring));
        }
        for conflicts in &seen {
            assert_eq!(conflicts.len(), 1, "{conflicts:?}");
            assert_eq!(conflicts[0].id, seen[0][0].id);
        }
        seen.swap_remove(who).remove(0)
    }

    #[track_caller]
    fn settles(&mut self, who: usize, choice: &Choice) {
        let conflict = self.conflict(who);
        let person = &mut self.people[who];
        let settled = person.desk.resolve(&conflict, choice, &person.ring);
        settled.unwrap();
        person.tells(&mut self.log);
        self.hear();
        self.is_agreed();
    }

    #[track_caller]
    fn is_agreed(&mut self) {
        for person in &mut self.people {
            let conflicts = person.desk.conflicts(&person.ring);
            assert!(conflicts.is_empty(), "{conflicts:?}");
            let waiting = person.desk.incoming(&person.ring);
            assert!(waiting.is_empty(), "{waiting:?}");
        }
    }
}

impl Person {
    fn has(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join("repo").join(path)).ok()
    }

    fn renames(&self, from: &str, to: &str) {
        let repo = self.dir.path().join("repo");
        fs::rename(repo.join(from), repo.join(to)).unwrap();
    }

    fn deletes(&self, path: &str) {
        fs::remove_file(self.dir.path().join("repo").join(path)).unwrap();
    }

    fn publishes_what_there_is(&mut self, log: &mut Log) {
        let all = super::Intent::default();
        self.desk.publish_all(&all, &self.ring).unwrap();
        self.tells(log);
    }
}

#[test]
fn h03_what_is_added_and_written_above_follows_a_file_that_was_renamed_meanwhile() {
    let with = LIST.replace("A list.", "The list.") + NEW;
    let mut team = Team::new().apart(
        |alice| alice.writes(PATH, &with),
        |bob| bob.renames(PATH, "there.rs"),
    );
    assert_eq!(team.all("there.rs"), Some(with));
    assert_eq!(team.all(PATH), None);
    team.is_agreed();
}

#[test]
fn what_is_added_to_a_file_that_was_deleted_meanwhile_is_a_conflict_of_the_file() {
    let added = || {
        Team::new().apart(
            |alice| alice.writes(PATH, &(LIST.to_owned() + NEW)),
            |bob| bob.deletes(PATH),
        )
    };
    let mut team = added();
    // Whoever has it keeps it until somebody decides.
    assert_eq!(team.people[0].has(PATH), Some(LIST.to_owned() + NEW));
    assert_eq!(team.people[1].has(PATH), None);
    let conflict = team.conflict(1);
    assert_eq!((&*conflict.path, &*conflict.name), (PATH, PATH));
    let theirs = conflict.theirs.text.unwrap();
    assert_eq!(theirs.head.bytes(), (LIST.to_owned() + NEW).as_bytes());
    assert_eq!(conflict.mine.content, None);

    team.settles(1, &Choice::Theirs);
    assert_eq!(team.all(PATH), Some(LIST.to_owned() + NEW));
    // Whoever takes that back has it deleted again.
    let bob = &mut team.people[1];
    bob.desk.undo(None, &bob.ring).unwrap();
    bob.tells(&mut team.log);
    team.hear();
    assert_eq!(team.all(PATH), None);

    let mut team = added();
    team.settles(1, &Choice::Mine);
    assert_eq!(team.all(PATH), None);

    let mut team = added();
    team.settles(0, &Choice::Mine);
    assert_eq!(team.all(PATH), Some(LIST.to_owned() + NEW));

    let mut team = added();
    team.settles(2, &Choice::Theirs);
    assert_eq!(team.all(PATH), None);
}

#[test]
fn a_comment_above_the_functions_of_a_deleted_file_is_not_lost() {
    let with = LIST.replace("A list.", "The list.");
    let mut team = Team::new().apart(|alice| alice.writes(PATH, &with), |bob| bob.deletes(PATH));
    assert_eq!(team.people[0].has(PATH), Some(with.clone()));
    team.settles(1, &Choice::Theirs);
    assert_eq!(team.all(PATH), Some(with));
}

#[test]
fn who_deletes_a_file_knowing_what_was_added_and_written_deletes_all_of_it() {
    let with = LIST.replace("A list.", "The list.") + NEW;
    let mut team = Team::new().apart(|alice| alice.writes(PATH, &with), |_| {});
    assert_eq!(team.all(PATH), Some(with.clone()));
    // The last edit changes a function alone, so the file is not as any change of a comment left it.
    team = team.apart(
        |alice| alice.writes(PATH, &with.replace("first", "primary")),
        |_| {},
    );
    team = team.apart(|_| {}, |bob| bob.deletes(PATH));
    assert_eq!(team.all(PATH), None);
    team.is_agreed();
}

#[test]
fn two_who_delete_a_file_in_different_states_agree() {
    let mut team = Team::new().apart(
        |alice| alice.deletes(PATH),
        |bob| bob.writes(PATH, &LIST.replace("third", "tertiary")),
    );
    let conflict = team.conflict(1);
    assert_eq!(conflict.name, "two");
    team.people[1].deletes(PATH);
    team.meets();
    assert_eq!(team.all(PATH), None);
    team.is_agreed();
}

#[test]
fn what_stands_in_the_way_of_a_part_keeps_only_that_part_back() {
    let edited = LIST
        .replace("first", "initial")
        .replace("third", "tertiary");
    let mut team = Team::new().apart(
        |alice| alice.writes(PATH, &edited),
        |bob| bob.writes(PATH, &LIST.replace("first", "primary")),
    );
    assert_eq!(team.conflict(1).name, "one");
    let bob = team.people[1].has(PATH).unwrap();
    assert!(
        bob.contains("primary(1, 2)") && bob.contains("tertiary(5, 6)"),
        "{bob}"
    );
    team.settles(1, &Choice::Theirs);
    assert_eq!(team.all(PATH), Some(edited));
}

#[test]
fn a_function_put_above_all_others_stands_below_what_is_written_there_meanwhile() {
    let above = LIST.replace("fn one", "fn zero() {\n    none(0);\n}\n\nfn one");
    let mut team = Team::new().apart(
        |alice| alice.writes(PATH, &above),
        |bob| bob.writes(PATH, &LIST.replace("A list.", "The list.")),
    );
    assert_eq!(team.all(PATH), Some(above.replace("A list.", "The list.")));
    team.is_agreed();
}

#[test]
fn a_file_made_anew_is_not_published_before_what_others_did_in_the_old_one_is_settled() {
    let mut team = Team::new().apart(
        |alice| alice.writes(PATH, &(LIST.to_owned() + NEW)),
        |bob| bob.deletes(PATH),
    );
    let anew = "fn other() {\n    again(1);\n}\n";
    team.people[1].writes(PATH, anew);
    team.people[1].publishes_what_there_is(&mut team.log);
    let held = &team.people[1].desk.held_back;
    let why = held.values().next().unwrap().to_string();
    assert!(why.contains("aura conflicts"), "{held:?}");
    assert_eq!(team.people[1].has(PATH).as_deref(), Some(anew));
    team.settles(0, &Choice::Theirs);
    team.people[1].publishes_what_there_is(&mut team.log);
    team.hear();
    assert_eq!(team.all(PATH).as_deref(), Some(anew));
    team.is_agreed();
}

#[test]
fn a_file_from_others_that_is_deleted_while_no_daemon_runs_is_deleted_for_all() {
    let mut team = Team::new().apart(|alice| alice.writes("new.rs", NEW), |_| {});
    assert_eq!(team.all("new.rs").as_deref(), Some(NEW));
    let [alice, bob, carol] = team.people;
    bob.deletes("new.rs");
    team.people = [alice, bob.restarts(), carol];
    let mut team = team.apart(|_| {}, |_| {});
    assert_eq!(team.all("new.rs"), None);
    team.is_agreed();
}

const TYPES: &str = "\
struct S;

impl S {
    fn a(&self) {
        x(1, 2);
    }

    fn b(&self) {
        y(1, 2);
    }
}

fn other() {
    first(1, 2);
}
";

#[test]
fn who_writes_above_a_container_that_another_deletes_keeps_what_is_in_it() {
    let without = "struct S;\n\nfn other() {\n    primary(1, 2);\n}\n";
    let above = TYPES.replace("impl S", "#[cfg(unix)]\nimpl S");
    let mut team = Team::with(PATH, TYPES).apart(
        |alice| alice.writes(PATH, without),
        |bob| bob.writes(PATH, &above),
    );
    let bob = team.people[1].has(PATH).unwrap();
    assert!(
        bob.contains("fn a(&self)") && bob.contains("fn b(&self)"),
        "{bob}"
    );
    team.conflict(1);
}

#[test]
fn whoever_keeps_a_file_keeps_what_waits_to_come_here_as_well() {
    let carols = "\nfn carols() {\n    carol(11, 12);\n}\n";
    let mut team = Team::new();
    team.people[1].desk.mode = Mode::Observe;
    team.people[0].deletes(PATH);
    team.people[1].writes(PATH, &(LIST.to_owned() + NEW));
    team.people[2].writes(PATH, &(LIST.to_owned() + carols));
    team.meets();
    let bob = &mut team.people[1];
    let conflict = bob.desk.conflicts(&bob.ring).remove(0);
    let resolved = bob.desk.resolve(&conflict, &Choice::Mine, &bob.ring);
    resolved.unwrap();
    bob.tells(&mut team.log);
    team.hear();
    for person in [&team.people[0], &team.people[2]] {
        let text = person.has(PATH).unwrap();
        assert!(text.contains("carols") && text.contains("three"), "{text}");
    }
}

#[test]
fn a_name_that_another_function_has_now_says_nothing_of_the_one_that_had_it() {
    let renamed = LIST.replace("fn one", "fn uno");
    let with = renamed.clone() + "\nfn one() {\n    brandnew(77, 78);\n}\n";
    let mut team = Team::new();
    team.people[0].deletes(PATH);
    team.people[1].writes(PATH, &renamed);
    for person in &mut team.people {
        person.publishes_what_there_is(&mut team.log);
    }
    team.people[1].writes(PATH, &with);
    team.meets();
    team.settles(0, &Choice::Theirs);
    assert_eq!(team.all(PATH), Some(with.clone()));

    let mut team = Team::new();
    team.people[1].writes(PATH, &renamed);
    team.people[1].publishes_what_there_is(&mut team.log);
    team.people[1].writes(PATH, &with);
    team.meets();
    assert_eq!(team.all(PATH), Some(with));
    team.is_agreed();
}

#[test]
fn a_comment_that_both_remove_is_not_taken_out_of_another_place() {
    let note = "// Note.\n\n";
    let at = |text: &str| text.replace("fn two", &(note.to_owned() + "fn two"));
    let twice = at(LIST) + "\n" + note + NEW.trim_start();
    let once = twice.replacen(note, "", 1);
    let mut team = Team::with(PATH, &twice).apart(
        |alice| alice.writes(PATH, &once),
        |bob| bob.writes(PATH, &once.replace("fifth", "quint")),
    );
    assert_eq!(team.all(PATH), Some(once.replace("fifth", "quint")));
    team.is_agreed();
}

#[test]
fn what_is_not_here_of_a_patch_waits_although_the_rest_is() {
    let noted = LIST.replace("fn two", "// Note.\n\nfn two");
    let (hers, his) = (LIST.replace("first", "hers"), LIST.replace("first", "his"));
    let mut team = Team::with(PATH, &noted).apart(
        |alice| alice.writes(PATH, &hers),
        |bob| bob.writes(PATH, &his.replace("third", "tertiary")),
    );
    team.conflict(1);
    for person in &mut team.people[..2] {
        let waiting = person.desk.incoming(&person.ring);
        assert_eq!(waiting.len(), 1, "{waiting:?}");
    }
}

#[test]
fn whoever_takes_back_that_a_file_was_made_knows_what_was_written_in_it() {
    let text = LIST.replace("fn two", "// Note.\n\nfn two");
    let mut team = Team::new();
    team.people[0].writes("n.rs", &text);
    let op = team.people[0].publishes(&mut team.log);
    team.people[0].writes("n.rs", &text.replace("Note", "Remark"));
    team.meets();
    let alice = &mut team.people[0];
    alice.desk.undo(Some(&op), &alice.ring).unwrap();
    alice.tells(&mut team.log);
    team.hear();
    assert_eq!(team.all("n.rs"), None);
    team.is_agreed();
}

#[test]
fn a_deletion_that_lies_about_a_file_without_functions_deletes_nothing() {
    let (path, notes) = ("notes.txt", "my own notes\nthat nobody else saw\n");
    let mut team = Team::with(path, notes);
    let lie = Text(b"something else\n".to_vec());
    let before = Some(ContentHash::of(lie.bytes()));
    let row = |unit, before| Touched {
        unit,
        name: "x".to_owned(),
        before,
        after: None,
    };
    let alice = &mut team.people[0];
    let body = PatchBody {
        channel: alice.desk.units.channel().to_owned(),
        commit: alice.desk.commit().to_owned(),
        cause: Cause::Edit,
        why: None,
        patch: FilePatch {
            path: path.to_owned(),
            base: before,
            result: None,
            ops: vec![Op::File {
                base: before,
                base_text: Some(lie),
                text: None,
            }],
            touched: vec![row(UnitId::file(path), before), row(UnitId([7; 16]), None)],
        },
        parents: vec![vec![], vec![VersionId([8; 16])]],
    };
    body.check().unwrap();
    assert!(alice.desk.queue(&body, &alice.ring).unwrap());
    alice.tells(&mut team.log);
    team.hear();
    assert_eq!(team.people[1].has(path).as_deref(), Some(notes));
}

#[test]
fn edits_of_two_follow_what_a_third_takes_to_another_file() {
    let mut team = Team::new();
    team.people[0].edits(PATH, "first(1, 2)", "primary(1, 2)");
    team.people[1].edits(PATH, "second(3, 4)", "secondary(3, 4)");
    team.people[2].renames(PATH, "there.rs");
    team.meets();
    let text = team.all("there.rs").unwrap();
    assert!(
        text.contains("primary(1, 2)") && text.contains("secondary(3, 4)"),
        "{text}"
    );
    assert_eq!(team.all(PATH), None);
    team.is_agreed();
}

#[test]
fn a_second_unit_of_a_name_arrives_in_a_file_that_git_brought() {
    let text = "use std::io;\nuse std::fmt;\n\nfn a() {\n    1;\n}\n";
    let more = text.replace("use std::fmt;", "use std::fmt;\nuse std::mem;");
    let mut team = Team::with(PATH, text).apart(|alice| alice.writes(PATH, &more), |_| {});
    assert_eq!(team.all(PATH), Some(more));
    team.is_agreed();

    let more = TYPES.to_owned() + "\nimpl S {\n    fn c(&self) {\n        z(1, 2);\n    }\n}\n";
    let mut team = Team::with(PATH, TYPES).apart(|alice| alice.writes(PATH, &more), |_| {});
    assert_eq!(team.all(PATH), Some(more));
    team.is_agreed();
}

#[test]
fn a_method_added_to_a_type_that_another_deletes_is_a_conflict_and_stays_with_its_author() {
    let without = "struct S;\n\nfn other() {\n    first(1, 2);\n}\n";
    let with = TYPES.replace(
        "    fn b",
        "    fn n(&self) {\n        z(1, 2);\n    }\n\n    fn b",
    );
    let apart = || {
        Team::with(PATH, TYPES).apart(
            |alice| alice.writes(PATH, without),
            |bob| bob.writes(PATH, &with),
        )
    };
    let mut team = apart();
    assert_eq!(team.people[1].has(PATH), Some(with.clone()));
    assert!(team.conflict(0).name.ends_with("::n"));
    team.settles(1, &Choice::Mine);
    assert_eq!(team.all(PATH), Some(with.clone()));

    let mut team = apart();
    team.settles(1, &Choice::Theirs);
    assert_eq!(team.all(PATH), Some(without.to_owned()));

    let mut team = apart();
    team.settles(0, &Choice::Mine);
    assert_eq!(team.all(PATH), Some(without.to_owned()));
}

#[test]
fn an_edit_of_a_method_keeps_the_type_that_another_deletes() {
    let without = "struct S;\n\nfn other() {\n    first(1, 2);\n}\n";
    let with = TYPES.replace("y(1, 2)", "y(3, 4)");
    let mut team = Team::with(PATH, TYPES).apart(
        |alice| alice.writes(PATH, without),
        |bob| bob.writes(PATH, &with),
    );
    team.settles(1, &Choice::Mine);
    assert_eq!(team.all(PATH), Some(with));
}

#[test]
fn a_function_put_above_the_comment_at_the_top_is_not_glued_to_what_it_was_above() {
    let text = LIST.replace("//! A list.", "// Copyright");
    let above = "fn zero() {\n    none(0);\n}\n\n".to_owned() + &text;
    let team = Team::with(PATH, &text).apart(
        |alice| alice.writes(PATH, &above),
        |bob| bob.writes(PATH, &text.replace("Copyright", "Licence")),
    );
    for person in &team.people {
        let text = person.has(PATH).unwrap();
        assert!(!text.contains("}fn") && !text.contains("}//"), "{text}");
    }
}

#[test]
fn who_deletes_all_functions_below_a_comment_leaves_one_that_is_added_meanwhile() {
    let mut team = Team::new().apart(
        |alice| alice.writes(PATH, "//! A list.\n"),
        |bob| bob.writes(PATH, &(LIST.to_owned() + NEW)),
    );
    let text = team.all(PATH).unwrap();
    assert_eq!(text.trim_end(), "//! A list.\n".to_owned() + NEW.trim_end());
    team.is_agreed();
}

#[test]
fn a_deletion_that_was_saved_before_the_team_key_came_is_published_with_it() {
    let mut team = Team::new();
    let bob = &mut team.people[1];
    let key = std::mem::replace(&mut bob.ring, KeyRing::new());
    bob.deletes(PATH);
    bob.publishes_what_there_is(&mut team.log);
    assert!(team.log.entries.is_empty());
    team.people[1].ring = key;
    team.meets();
    assert_eq!(team.all(PATH), None);
    team.is_agreed();
}
