//! What a member who lies can say about versions, and what it does to nobody's.

use aura_engine::peer::body::{PatchBody, VersionId};
use aura_semantic::{ContentHash, Op, Text, Touched};
use mothership_tests::{RISK, Team, forger::Forger};

use crate::members::score;

/// The creation of a file that tells of one more unit.
fn telling(mallory: &Forger, path: &str, text: &str, row: Touched, of: VersionId) -> PatchBody {
    let mut body = mallory.creation(path, text);
    body.patch.touched.push(row);
    body.parents.push(vec![of]);
    body
}

/// The row and the version of an honest change of the function `score`.
fn told(honest: &PatchBody) -> (Touched, VersionId) {
    let (_, version, _) = honest.versions().next().unwrap();
    (honest.patch.touched[0].clone(), version)
}

#[test]
fn a_patch_of_one_file_takes_nobody_s_change_of_another_back() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "observe");
    let mut mallory = Forger::join(&alice, "mallory");
    let changed = RISK.replace("100", "1");
    let (row, version) = told(&score(&mallory));
    alice.save("src/risk.rs", &changed);
    alice.aura(&["publish"]).ok();
    alice.synced();
    let back = |name: &str, after| Touched {
        name: name.to_owned(),
        before: None,
        after,
        ..row.clone()
    };
    // Texts that have no such function, and one that has.
    let again = VersionId::of(row.unit, &[version], row.before);
    let bodies = [
        telling(
            &mallory,
            "zz/a.rs",
            "// x\n",
            back("score", row.before),
            version,
        ),
        telling(
            &mallory,
            "zz/b.rs",
            RISK,
            back("score", row.before),
            version,
        ),
        telling(&mallory, "zz/c.rs", RISK, back("score", None), again),
    ];
    for body in &bodies {
        mallory.publish(body);
    }
    mallory.reaches(&bob);
    assert_eq!(
        bob.events("refused", 1)[0]["text"],
        "PATCH: the versions of score do not follow from the operations"
    );
    // The lies alone are left.
    let (_, rows) = bob.pull();
    let left = rows.iter().filter(|(_, why)| !why.is_empty()).count();
    assert_eq!(left, 2, "{rows:?}");
    for laptop in [&alice, &bob] {
        assert_eq!(laptop.read("src/risk.rs"), changed);
        assert!(laptop.conflicts().is_empty());
    }
    // What follows the change reaches whoever has it.
    let further = changed.replace("cmp::min(a, cap)", "cmp::max(a, cap)");
    bob.save("src/risk.rs", &further);
    bob.aura(&["publish"]).ok();
    bob.synced();
    alice.event(|event| event["kind"] == "applied" && alice.read("src/risk.rs") == further);
}

#[test]
fn a_whole_file_that_tells_of_a_version_which_it_does_not_make_is_not_taken() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let mut mallory = Forger::join(&alice, "mallory");
    let changed = RISK.replace("100", "1");
    let (row, version) = told(&score(&mallory));
    alice.save("src/risk.rs", &changed);
    alice.aura(&["publish"]).ok();
    alice.synced();
    // The old text is there, as another function.
    let start = RISK.find("/// Scores.").unwrap();
    let end = RISK.find("pub fn load").unwrap();
    let copied = format!(
        "{changed}\nmod old {{\n{}\n}}\n",
        RISK[start..end].trim_end()
    );
    let draft = mallory.draft("src/risk.rs", changed.as_bytes(), copied.as_bytes());
    let lie = Touched {
        name: "old::score".to_owned(),
        before: row.after,
        after: row.before,
        ..row
    };
    let mut body = telling(&mallory, "src/risk.rs", &copied, lie, version);
    let base = draft.patch.base;
    body.patch.base = base;
    body.patch.touched[0].before = base;
    let [
        Op::File {
            base: was,
            base_text,
            ..
        },
    ] = &mut body.patch.ops[..]
    else {
        panic!("a whole file");
    };
    (*was, *base_text) = (base, Some(Text(changed.clone().into_bytes())));
    mallory.publish(&body);
    mallory.reaches(&alice);
    let (exit, rows) = alice.pull();
    assert_eq!(exit, 9, "{rows:?}");
    assert!(rows[0].1.starts_with("BASE_MISMATCH: "), "{rows:?}");
    assert_eq!(alice.read("src/risk.rs"), changed);
}

#[test]
fn a_comment_that_is_told_to_change_nothing_arrives_everywhere() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "observe");
    let mut mallory = Forger::join(&alice, "mallory");
    // Alice has another version of the file, Bob the one that the lie names.
    alice.save("src/risk.rs", RISK.replace("100", "1"));
    alice.aura(&["publish"]).ok();
    alice.synced();
    mallory.reaches(&bob);
    let after = RISK.replace("//! Risk.", "//! Risks.");
    let mut lie = mallory.draft("src/risk.rs", RISK.as_bytes(), after.as_bytes());
    lie.patch.touched[0].after = lie.patch.touched[0].before;
    mallory.publish(&lie);
    mallory.reaches(&bob);
    alice.event(|event| event["kind"] == "applied" && alice.read("src/risk.rs").contains("Risks"));
    // Looked at while he is still where the lie is true, and taken afterwards.
    bob.aura(&["status"]).ok();
    bob.pull();
    assert_eq!(bob.read("src/risk.rs"), alice.read("src/risk.rs"));
}

#[test]
fn lines_that_a_user_has_not_told_are_not_taken_out_by_who_guesses_them() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice.publishes_on_demand();
    let mut mallory = Forger::join(&alice, "mallory");
    let hers = RISK.replace("pub fn load", "// TODO\n// mine alone\n\npub fn load");
    alice.save("src/risk.rs", &hers);
    // As if the team had had the line, and another change of the same file that is news to her.
    let guess = RISK.replace("pub fn load", "// FIXME\n// TODO\n\npub fn load");
    let mut body = mallory.draft("src/risk.rs", guess.as_bytes(), RISK.as_bytes());
    let news = RISK.replace("//! Risk.", "//! Risks.");
    let other = mallory.draft("src/risk.rs", RISK.as_bytes(), news.as_bytes());
    body.patch.ops.extend(other.patch.ops);
    body.patch.touched[0].after = other.patch.touched[0].after;
    mallory.publish(&body);
    mallory.reaches(&alice);
    let hers = hers.replace("//! Risk.", "//! Risks.");
    alice.event(|event| event["kind"] == "applied" && alice.read("src/risk.rs").contains("Risks"));
    assert_eq!(alice.read("src/risk.rs"), hers);
    // The same said of the whole file.
    let file = |text: &str| Some(Text(text.as_bytes().to_vec()));
    let further = news.replace("use std::cmp;", "use std::{cmp, fs};");
    let mut body = mallory.creation("src/risk.rs", &further);
    let base = ContentHash::of(hers.as_bytes());
    body.patch.base = Some(base);
    body.patch.touched[0].before = Some(base);
    body.patch.ops = vec![Op::File {
        base: Some(base),
        base_text: file(&hers),
        text: file(&further),
    }];
    mallory.publish(&body);
    mallory.reaches(&alice);
    alice.pull();
    assert!(
        alice
            .read("src/risk.rs")
            .contains("// TODO\n// mine alone\n")
    );
}
