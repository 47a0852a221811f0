//! A function keeps what others do to it while somebody takes it to another file.

use std::fs;

use super::{LIST, PATH, Pair};

/// Where Bob takes what was in the list.
const THERE: &str = "src/moved.rs";

impl Pair {
    /// The file that both have at a path, or that neither has.
    #[track_caller]
    fn both(&self, path: &str) -> Option<String> {
        let [alice, bob] = [&self.alice, &self.bob].map(|laptop| {
            let text = fs::read_to_string(laptop.repo.join(path));
            text.ok()
        });
        assert_eq!(alice, bob, "alice and bob differ in {path}");
        alice
    }

    #[track_caller]
    fn has_no_conflict(&self) {
        for laptop in [&self.alice, &self.bob] {
            assert!(laptop.conflicts().is_empty(), "{:?}", laptop.conflicts());
        }
    }
}

#[test]
fn h03_an_edit_lands_in_a_file_that_was_renamed_reordered_and_edited_meanwhile() {
    let mut pair = Pair::new();
    let moved = "fn c() {\n    three();\n    four();\n}\n\nfn b() {\n    two();\n}\n\nfn a() {\n    one();\n    more();\n    last();\n}\n";
    pair.while_apart(|alice, bob| {
        alice.edit(PATH, "two();", "twice();");
        fs::rename(bob.repo.join(PATH), bob.repo.join(THERE)).unwrap();
        fs::write(bob.repo.join(THERE), moved).unwrap();
    });
    assert_eq!(
        pair.both(THERE).unwrap(),
        moved.replace("two();", "twice();")
    );
    assert_eq!(pair.both(PATH), None);
    pair.has_no_conflict();
}

#[test]
fn h03_an_edit_lands_in_a_function_that_was_taken_to_another_file_and_edited_there() {
    let mut pair = Pair::new();
    let b = "\nfn b() {\n    two();\n}\n";
    pair.while_apart(|alice, bob| {
        alice.edit(
            PATH,
            "    more();\n    last();",
            "    more();\n    very_last();",
        );
        fs::write(
            bob.repo.join(PATH),
            LIST.replace(&LIST[..LIST.find("fn b").unwrap()], ""),
        )
        .unwrap();
        let a = &LIST[..LIST.find("\nfn b").unwrap()];
        fs::write(bob.repo.join(THERE), a).unwrap();
    });
    let there = pair.both(THERE).unwrap();
    assert!(
        there.contains("very_last();") && there.contains("one();"),
        "{there}"
    );
    let here = pair.both(PATH).unwrap();
    assert!(
        here.contains(b.trim_start()) && !here.contains("fn a"),
        "{here}"
    );
    pair.has_no_conflict();
}

#[test]
fn an_edit_does_not_follow_to_a_method_of_another_type_that_happens_to_say_the_same() {
    let types = |one: &str, two: &str| {
        let with = |name: &str, method: &str| format!("impl Default for {name} {{\n{method}}}\n");
        (with("One", one), with("Two", two))
    };
    let method = "    fn default() -> Self {\n        Self::new()\n    }\n";
    let other = "    fn other() {}\n";
    let (one, _) = types(&format!("{method}{other}"), "");
    let mut pair = Pair::with(&[(PATH, one.as_str()), (THERE, "impl Default for Two {\n}\n")]);
    pair.while_apart(|alice, bob| {
        alice.edit(PATH, "Self::new()", "Self::with(1)");
        let (one, two) = types(other, method);
        fs::write(bob.repo.join(PATH), one).unwrap();
        fs::write(bob.repo.join(THERE), two).unwrap();
    });
    assert!(pair.both(THERE).unwrap().contains("Self::new()"));
    assert_eq!(pair.bob.conflicts().len(), 1);
}

#[test]
fn an_edit_that_excludes_the_one_made_where_the_function_went_waits_for_a_person() {
    let mut pair = Pair::new();
    pair.while_apart(|alice, bob| {
        alice.edit(PATH, "two();", "twice();");
        let moved = LIST.replace("two();", "second();");
        fs::remove_file(bob.repo.join(PATH)).unwrap();
        fs::write(bob.repo.join(THERE), moved).unwrap();
    });
    let conflicts = pair.bob.conflicts();
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert!(pair.both(THERE).unwrap().contains("second();"));
    assert!(pair.alice.read(PATH).contains("twice();"));
}
