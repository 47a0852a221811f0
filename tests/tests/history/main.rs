//! What was: who changed a function, when and why, and a version of it brought back; with the real binaries.

#![allow(clippy::unwrap_used, missing_docs)]

mod moved;

use std::fs;

use mothership_tests::{Laptop, Mothership, RISK, Team, git};
use serde_json::Value;

/// Alice, who publishes only when she says so, and bob; both take everything in at once.
fn two() -> (Team, Mothership, Laptop, Laptop) {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice.aura(&["config", "set", "publish", "intent"]).ok();
    let bob = team.member(&alice, "bob", "live");
    (team, box_, alice, bob)
}

/// One version of a function as whoever made it knows it.
struct Saved {
    op: String,
    at: String,
    seq: String,
    text: String,
    /// All symbols that there were, with the operations that touched them last.
    index: Vec<(String, Value)>,
}

/// Publishes what is saved, which is one change.
#[track_caller]
fn publish(laptop: &Laptop, why: &str) -> Value {
    let document = laptop.aura(&["publish", "-m", why]).ok();
    let ops = document["ops"].as_array().unwrap();
    assert_eq!(ops.len(), 1, "{document}");
    ops[0].clone()
}

/// Publishes a version of a function, and remembers it.
#[track_caller]
fn save(laptop: &Laptop, why: &str, text: &str) -> Saved {
    publish(laptop, why);
    let log = laptop.aura(&["log", "-n", "1"]).ok();
    let op = &log["ops"][0];
    assert_eq!(op["why"], why, "{log}");
    Saved {
        op: word(&op["op"]),
        at: word(&op["at"]),
        seq: op["seq"].as_u64().unwrap().to_string(),
        text: text.to_owned(),
        index: index(&laptop.aura(&["find", ""]).ok()),
    }
}

fn index(found: &Value) -> Vec<(String, Value)> {
    let rows = rows(found, "symbols").into_iter();
    let mut index: Vec<(String, Value)> = rows
        .map(|row| (word(&row["symbol"]), row["op"].clone()))
        .collect();
    index.sort_by(|one, other| one.0.cmp(&other.0));
    index
}

#[track_caller]
fn word(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value}"))
        .to_owned()
}

fn rows<'a>(document: &'a Value, field: &str) -> Vec<&'a Value> {
    document[field].as_array().unwrap().iter().collect()
}

/// A column of the log of a symbol, newest first.
fn column(laptop: &Laptop, symbol: &str, field: &str) -> Vec<String> {
    let log = laptop.aura(&["log", symbol]).ok();
    let ops = rows(&log, "ops").into_iter();
    ops.map(|op| op[field].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Waits until so many changes of a symbol were written into a laptop's files.
fn applied(laptop: &Laptop, symbol: &str, count: usize) {
    let mut seen = 0;
    laptop.event(|event| {
        seen += usize::from(event["kind"] == "applied" && event["symbol"] == symbol);
        seen == count
    });
}

/// The first next step of a failure.
fn step(failure: &Value) -> String {
    word(&failure["error"]["next"][0]["cmd"])
}

const RATE: &str = "pub fn rate() -> u32 {\n    1\n}";

#[test]
fn c08_history_and_time_travel_give_each_version_at_its_instant_its_position_and_its_operation() {
    let (_team, _box, alice, bob) = two();
    let path = alice.repo.join("src/risk.rs");
    let write = |text: &str| fs::write(&path, format!("{RISK}\n{text}\n")).unwrap();
    let mut saved = Vec::new();
    for n in 1..=5 {
        let text = RATE.replace('1', &n.to_string());
        write(&text);
        saved.push(save(&alice, &format!("version {n}"), &text));
    }
    fs::write(&path, RISK).unwrap();
    let gone = save(&alice, "not needed", "");
    let again = RATE.replace('1', "700");
    write(&again);
    let again = save(&alice, "needed after all", &again);
    applied(&bob, "rate", 7);
    assert_eq!(bob.read("src/risk.rs"), alice.read("src/risk.rs"));
    for laptop in [&alice, &bob] {
        for then in saved.iter().chain([&again]) {
            for at in [&then.op, &then.at, &then.seq] {
                let shown = laptop.aura(&["show", "rate", "--at", at]).ok();
                assert_eq!(shown["schema"], "aura.then/1");
                assert_eq!(shown["state"], "present", "{shown}");
                assert_eq!(shown["text"], then.text, "at {at}: {shown}");
                assert_eq!(shown["op"]["op"], then.op, "at {at}: {shown}");
            }
        }
        for at in [&gone.op, &gone.at, &gone.seq] {
            let shown = laptop.aura(&["show", "rate", "--at", at]).ok();
            assert_eq!(
                (&shown["state"], &shown["text"]),
                (&"deleted".into(), &Value::Null)
            );
        }
        // So is everything else that there was.
        for then in saved.iter().chain([&gone, &again]) {
            let found = laptop.aura(&["find", "", "--at", &then.op]).ok();
            assert_eq!(index(&found), then.index, "at {}", then.op);
        }
        // Before it was written is something else than after it was deleted.
        let before = (saved[0].seq.parse::<u64>().unwrap() - 1).to_string();
        for at in [before.as_str(), "2020-01-01"] {
            let shown = laptop.aura(&["show", "rate", "--at", at]).ok();
            assert_eq!(shown["state"], "absent", "{shown}");
        }
        let kinds = column(laptop, "rate", "kind");
        let expected = [
            "insert", "delete", "replace", "replace", "replace", "replace", "insert",
        ];
        assert_eq!(kinds, expected);
        assert_eq!(column(laptop, "rate", "version")[6], "v1");
    }
    assert_eq!(
        column(&alice, "rate", "op"),
        column(&bob, "rate", "op"),
        "one history on both laptops"
    );
    let restored = bob.aura(&["restore", "rate", "--at", &saved[2].op]).ok();
    assert_eq!(
        (&restored["state"], &restored["from"]),
        (&"restored".into(), &saved[2].op.as_str().into())
    );
    let expected = format!("{RISK}\n{}\n", saved[2].text);
    assert_eq!(bob.read("src/risk.rs"), expected);
    applied(&alice, "rate", 1);
    assert_eq!(alice.read("src/risk.rs"), expected);
    assert_eq!(column(&alice, "rate", "author")[0], "bob");
}

#[test]
fn h17_an_operation_is_shown_with_who_when_why_and_the_change() {
    let (_team, _box, alice, bob) = two();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    let op = publish(&alice, "higher cap");
    alice.edit("src/risk.rs", "let cap = 250", "let cap = 300");
    let next = publish(&alice, "still higher");
    applied(&bob, "score", 2);
    let shown = bob.aura(&["show", &word(&op["op"])]).ok();
    assert_eq!(shown["schema"], "aura.show/1");
    assert_eq!(shown["author"], "alice");
    assert_eq!(shown["why"], "higher cap");
    assert_eq!(shown["kind"], "replace");
    assert_eq!(shown["symbol"], "src/risk.rs::score");
    assert_eq!(shown["joined"], false);
    assert_eq!(shown["at"], op["at"]);
    assert_eq!(shown["seq"], op["seq"]);
    assert_eq!(
        word(&shown["commit"]),
        git(&bob.repo, &["rev-parse", "HEAD"])
    );
    let diff = word(&shown["units"][0]["diff"]);
    let changed: Vec<&str> = diff
        .lines()
        .filter(|line| line.starts_with(['+', '-']))
        .collect();
    assert_eq!(changed, ["-    let cap = 100;", "+    let cap = 250;"]);
    let after = bob.aura(&["show", &word(&next["op"])]).ok();
    assert_eq!(after["units"][0]["parents"][0], op["op"]);
    assert!(word(&after["units"][0]["before"]).contains("250"));
    bob.aura(&["show", "o-zzzzzz"]).fails(2, "AE-NO-OP");
    // For people, too, and what it says can be pasted.
    let output = bob
        .plain_command()
        .args(["show", &word(&op["op"])])
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    for part in [
        "alice",
        "higher cap",
        "-    let cap = 100;",
        "next: aura restore",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn h17_what_is_restored_is_an_edit_of_its_own_that_undo_takes_back() {
    let (_team, _box, alice, bob) = two();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    let op = word(&publish(&alice, "higher cap")["op"]);
    alice.edit("src/risk.rs", "let cap = 250", "let cap = 300");
    publish(&alice, "still higher");
    // An edit elsewhere in the file that nobody was told of stays what it is.
    alice.edit("src/risk.rs", "name.to_owned()", "name.trim().to_owned()");
    let before = alice.read("src/risk.rs");
    let dry = alice
        .aura(&["restore", "score", "--at", &op, "--dry-run"])
        .ok();
    assert_eq!(dry["state"], "dry_run");
    assert!(word(&dry["diff"]).contains("+    let cap = 250;"), "{dry}");
    assert_eq!(alice.read("src/risk.rs"), before);
    assert_eq!(column(&alice, "score", "op").len(), 2);
    let done = alice
        .aura(&["restore", "score", "--at", &op, "-m", "300 was too much"])
        .ok();
    assert_eq!(
        alice.read("src/risk.rs"),
        before.replace("let cap = 300", "let cap = 250")
    );
    assert_eq!(column(&alice, "score", "why")[0], "300 was too much");
    assert_eq!(rows(&done, "ops").len(), 1, "{done}");
    assert_eq!(done["ops"][0]["symbol"], "src/risk.rs::score");
    applied(&bob, "score", 3);
    assert!(bob.read("src/risk.rs").contains("let cap = 250"));
    assert!(!bob.read("src/risk.rs").contains("trim"));
    let again = alice.aura(&["restore", "score", "--at", &op]).ok();
    assert_eq!(again["state"], "same");
    let undo = word(&done["next"][0]["cmd"]);
    let undo: Vec<&str> = undo.split(' ').skip(1).collect();
    alice.aura(&undo).ok();
    assert_eq!(alice.read("src/risk.rs"), before);
    // The text that git knows has no operation, but a time.
    alice.edit("src/risk.rs", "name.trim()", "name");
    let first = alice.aura(&["restore", "score", "--at", "2020-01-01"]).ok();
    assert_eq!(first["from"], Value::Null);
    assert!(alice.read("src/risk.rs").contains("let cap = 100"));
}

#[test]
fn h17_a_restore_that_nobody_could_take_back_or_that_means_nothing_is_refused() {
    let (_team, _box, alice, bob) = two();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    let op = word(&publish(&alice, "higher cap")["op"]);
    alice.edit("src/risk.rs", "let cap = 250", "let cap = 300");
    let unsaved = alice.read("src/risk.rs");
    let refused = alice
        .aura(&["restore", "score", "--at", "2020-01-01"])
        .fails(7, "CONFLICT");
    assert_eq!(step(&refused), "aura publish");
    assert_eq!(alice.read("src/risk.rs"), unsaved);
    publish(&alice, "still higher");
    // Bob looks first, so his files lag behind what the team has.
    applied(&bob, "score", 2);
    bob.aura(&["mode", "observe"]).ok();
    alice.edit("src/risk.rs", "let cap = 300", "let cap = 400");
    publish(&alice, "once more");
    let mut received = 0;
    bob.event(|event| {
        received += usize::from(event["kind"] == "received");
        received == 3
    });
    let behind = bob
        .aura(&["restore", "score", "--at", &op])
        .fails(9, "AE-MOVED");
    assert_eq!(step(&behind), "aura pull src/risk.rs::score");
    assert!(bob.read("src/risk.rs").contains("let cap = 300"));
    bob.aura(&["pull", "src/risk.rs::score"]).ok();
    bob.aura(&["restore", "score", "--at", &op]).ok();
    assert!(bob.read("src/risk.rs").contains("let cap = 250"));
    alice
        .aura(&["restore", "scor", "--at", &op])
        .fails(2, "AE-NO-SYMBOL");
    alice
        .aura(&["restore", "score", "--at", "o-zzzzzz"])
        .fails(2, "AE-NO-OP");
    alice
        .aura(&["restore", "score", "--at", "yesterday"])
        .fails(2, "AE-USAGE");
    let never = alice
        .aura(&["restore", "load", "--at", "1h"])
        .fails(2, "AE-NOT-THEN");
    assert!(!step(&never).is_empty());
}

#[test]
fn h17_a_deleted_function_comes_back_at_its_old_place_with_its_history() {
    let (_team, _box, alice, bob) = two();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    let op = word(&publish(&alice, "higher cap")["op"]);
    let whole = alice.read("src/risk.rs");
    let (start, end) = (
        whole.find("/// Scores").unwrap(),
        whole.find("pub fn load").unwrap(),
    );
    let without = [&whole[..start], &whole[end..]].concat();
    fs::write(alice.repo.join("src/risk.rs"), &without).unwrap();
    let gone = word(&publish(&alice, "not needed")["op"]);
    applied(&bob, "score", 2);
    assert_eq!(bob.read("src/risk.rs"), without);
    bob.aura(&["restore", "score", "--at", &op]).ok();
    assert_eq!(bob.read("src/risk.rs"), whole);
    applied(&alice, "score", 1);
    assert_eq!(alice.read("src/risk.rs"), whole);
    assert_eq!(
        column(&alice, "score", "kind"),
        ["insert", "delete", "replace"]
    );
    bob.aura(&["undo"]).ok();
    assert_eq!(bob.read("src/risk.rs"), without);
    // The deletion itself is no version to go to.
    alice
        .aura(&["restore", "score", "--at", &gone])
        .fails(2, "AE-NOT-THEN");
}

const MODEL: &str = "class Model:
    \"\"\"Knows.\"\"\"

    def load(self):
        return 1

    def score(self):
        return 2


def other():
    return 3
";

#[test]
fn h17_a_deleted_class_comes_back_with_its_methods_and_a_deleted_file_as_a_whole() {
    let (_team, _box, alice, _bob) = two();
    let path = alice.repo.join("model.py");
    fs::write(&path, MODEL).unwrap();
    alice.aura(&["publish"]).ok();
    alice.edit("model.py", "return 2", "return 22");
    let op = word(&publish(&alice, "doubled")["op"]);
    let whole = alice.read("model.py");
    fs::write(&path, &MODEL[MODEL.find("def other").unwrap()..]).unwrap();
    alice.aura(&["publish", "-m", "no models"]).ok();
    let done = alice
        .aura(&["restore", "model.py::Model", "--at", &op])
        .ok();
    assert_eq!(done["state"], "restored");
    let text = alice.read("model.py");
    for part in ["def load", "return 22", "Knows", "def other"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(column(&alice, "Model::score", "kind")[0], "insert");
    // Text without units is restored as a file.
    fs::write(alice.repo.join("notes.txt"), "one\n").unwrap();
    let first = word(&publish(&alice, "notes")["op"]);
    fs::remove_file(alice.repo.join("notes.txt")).unwrap();
    publish(&alice, "no notes");
    alice.aura(&["restore", "notes.txt", "--at", &first]).ok();
    assert_eq!(alice.read("notes.txt"), "one\n");
    // So is a file of functions, which is gone with all of them.
    fs::remove_file(&path).unwrap();
    alice.aura(&["publish", "-m", "no models at all"]).ok();
    let gone = alice
        .aura(&["restore", "Model::score", "--at", &op])
        .fails(9, "AE-NO-PLACE");
    assert_eq!(step(&gone), "aura restore --at OP model.py");
    // Between two of its changes it is known by its parts alone.
    alice
        .aura(&["restore", "model.py", "--at", &op])
        .fails(2, "AE-NOT-THEN");
    let last = word(&done["ops"][0]["op"]);
    let then = alice.aura(&["show", "model.py", "--at", &last]).ok();
    assert_eq!(
        (&then["state"], &then["text"]),
        (&"present".into(), &text.as_str().into())
    );
    let before = alice.aura(&["show", "model.py", "--at", "2020-01-01"]).ok();
    assert_eq!(before["state"], "absent");
    alice.aura(&["restore", "model.py", "--at", &last]).ok();
    assert_eq!(alice.read("model.py"), text);
    assert_ne!(text, whole);
}

#[test]
fn h17_blame_tells_what_is_gits_from_what_the_team_wrote_and_from_what_nobody_was_told() {
    let (_team, _box, alice, bob) = two();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    let first = word(&publish(&alice, "higher cap")["op"]);
    alice.edit("src/risk.rs", "cmp::min(a, cap)", "cmp::min(a, cap) + 1");
    let second = word(&publish(&alice, "one more")["op"]);
    alice.edit("src/risk.rs", "//! Risk.", "//! Risk.\n//!\n//! Of all.");
    let third = word(&publish(&alice, "to read")["op"]);
    applied(&bob, "src/risk.rs", 1);
    bob.aura(&["config", "set", "publish", "intent"]).ok();
    bob.edit("src/risk.rs", "name.to_owned()", "name.trim().to_owned()");
    let blame = bob.aura(&["blame", "src/risk.rs"]).ok();
    assert_eq!(blame["schema"], "aura.blame/1");
    let line = |text: &str| {
        let lines = rows(&blame, "lines");
        let found = lines
            .into_iter()
            .find(|line| word(&line["text"]).contains(text));
        let found = found.unwrap_or_else(|| panic!("{text}: {blame}"));
        (
            word(&found["origin"]),
            found["op"].clone(),
            found["author"].clone(),
        )
    };
    let told = |op: &str| ("op".to_owned(), op.into(), "alice".into());
    let silent = |word: &str| (word.to_owned(), Value::Null, Value::Null);
    assert_eq!(line("let cap = 250"), told(&first));
    assert_eq!(line("cmp::min"), told(&second));
    assert_eq!(line("//! Of all"), told(&third));
    assert_eq!(line("//! Risk."), silent("git"));
    assert_eq!(line("use std::cmp;"), silent("git"));
    assert_eq!(line("pub fn score"), silent("git"));
    assert_eq!(line("name.trim()"), silent("unpublished"));
    assert_eq!(line("pub fn load"), silent("git"));
    assert_eq!(
        rows(&blame, "lines").len(),
        bob.read("src/risk.rs").lines().count()
    );
    let unit = |name: &str| {
        let units = rows(&blame, "units");
        let symbol = format!("src/risk.rs::{name}");
        let unit = units
            .into_iter()
            .find(|unit| unit["symbol"] == *symbol)
            .unwrap();
        (
            word(&unit["origin"]),
            unit["op"].clone(),
            unit["why"].clone(),
        )
    };
    assert_eq!(
        unit("score"),
        ("op".to_owned(), second.as_str().into(), "one more".into())
    );
    assert_eq!(unit("load"), silent("unpublished"));
    bob.aura(&["blame", "src/none.rs"]).fails(2, "AE-NO-FILE");
    let output = bob
        .plain_command()
        .args(["blame", "src/risk.rs"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["from git", "not published", &first] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn h17_names_are_found_and_one_that_is_wrong_or_means_two_is_refused_with_a_next_step() {
    let team = Team::new();
    let origin = team.dir.path().join("origin");
    fs::write(origin.join("src/other.rs"), "pub fn load() {}\n").unwrap();
    git(&origin, &["add", "."]);
    git(&origin, &["commit", "-qm", "other"]);
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    publish(&alice, "higher cap");
    let found = alice.aura(&["find", "SCO"]).ok();
    assert_eq!(found["schema"], "aura.find/1");
    assert_eq!(rows(&found, "symbols").len(), 1, "{found}");
    let score = &found["symbols"][0];
    assert_eq!(score["symbol"], "src/risk.rs::score");
    assert_eq!(
        (&score["kind"], &score["author"]),
        (&"function".into(), &"alice".into())
    );
    let loads = alice.aura(&["find", "load"]).ok();
    let origins: Vec<&Value> = rows(&loads, "symbols")
        .iter()
        .map(|row| &row["origin"])
        .collect();
    assert_eq!(origins, ["git", "git"]);
    assert_eq!(alice.aura(&["find", "load", "-n", "1"]).ok()["more"], true);
    assert_eq!(
        rows(&alice.aura(&["find", "nothing_like_it"]).ok(), "symbols").len(),
        0
    );
    // What is there and was never published has an empty history, and that is no failure.
    let log = alice.aura(&["log", "src/other.rs::load"]).ok();
    assert_eq!(rows(&log, "ops").len(), 0, "{log}");
    let two = alice.aura(&["log", "load"]).fails(2, "AE-AMBIGUOUS");
    assert_eq!(step(&two), "aura log src/other.rs::load");
    let none = alice.aura(&["log", "scroe"]).fails(2, "AE-NO-SYMBOL");
    assert_eq!(step(&none), "aura log src/risk.rs::score");
    alice
        .aura(&["log", "src/none.rs::score"])
        .fails(2, "AE-NO-SYMBOL");
    for command in ["pull", "diff", "publish"] {
        let none = alice.aura(&[command, "scroe"]).fails(2, "AE-NO-SYMBOL");
        assert_eq!(step(&none), "aura log src/risk.rs::score", "{command}");
        alice.aura(&[command, "score"]).ok();
    }
    // As a compiler says it.
    let at = alice.aura(&["log", "src/risk.rs:6"]).ok();
    assert_eq!(at["symbols"][0], "src/risk.rs::score");
    assert_eq!(rows(&at, "ops").len(), 1);
    assert_eq!(
        rows(&alice.aura(&["log", "src/risk.rs"]).ok(), "ops").len(),
        1
    );
    assert_eq!(
        rows(&alice.aura(&["log", "--since", "2020-01-01"]).ok(), "ops").len(),
        1
    );
    let later = alice.aura(&["log", "--since", "0s"]).ok();
    assert_eq!(rows(&later, "ops").len(), 0, "{later}");
}

/// Both change score in different lines, or in the same, while they cannot hear each other.
fn apart(his: (&str, &str)) -> (Team, Mothership, Laptop, Laptop) {
    let (team, box_, alice, bob) = two();
    let listen = box_.listen.clone();
    assert_eq!(box_.stop("-TERM"), Some(0));
    alice.edit("src/risk.rs", "/// Scores.", "/// Scores it.");
    assert_eq!(alice.aura(&["publish", "-m", "clearer"]).exit, 11);
    bob.edit("src/risk.rs", his.0, his.1);
    assert_eq!(bob.aura(&["publish"]).exit, 11);
    let box_ = team.serve(&listen);
    (team, box_, alice, bob)
}

#[test]
fn h17_what_was_joined_by_itself_is_listed_with_both_inputs() {
    let (_team, _box, alice, bob) = apart(("cmp::min(a, cap)", "cmp::min(a, cap) + 1"));
    for laptop in [&alice, &bob] {
        laptop.event(|event| event["kind"] == "merged" || event["text"] == "merge score");
    }
    for laptop in [&alice, &bob] {
        let auto = laptop.aura(&["log", "--auto"]).ok();
        let ops = rows(&auto, "ops");
        assert_eq!(ops.len(), 1, "{auto}");
        assert_eq!(ops[0]["kind"], "merge");
        let mut inputs = column(laptop, "score", "op");
        inputs.retain(|op| *op != word(&ops[0]["op"]));
        inputs.sort();
        let mut joined: Vec<String> = rows(ops[0], "joined").into_iter().map(word).collect();
        joined.sort();
        assert_eq!(joined, inputs);
        let shown = laptop.aura(&["show", &word(&ops[0]["op"])]).ok();
        assert_eq!(shown["joined"], true);
        assert_eq!(rows(&shown["units"][0], "parents").len(), 2);
        let dag = laptop.aura(&["log", "--dag"]).ok();
        assert_eq!(
            (&dag["diverged"], &dag["conflicts"]),
            (&false.into(), &0.into())
        );
        assert_eq!(rows(&dag["units"][0], "merges").len(), 1, "{dag}");
    }
}

#[test]
fn c86_the_graph_of_versions_lists_heads_forks_and_joins_and_quick_mode_says_whether_any_differ() {
    let (_team, _box, alice, bob) = apart(("/// Scores.", "/// Scores that."));
    for laptop in [&alice, &bob] {
        laptop.event(|event| event["kind"] == "conflict");
        let quick = laptop.aura(&["log", "--dag", "--quick"]).ok();
        assert_eq!(quick["schema"], "aura.dag/1");
        assert_eq!(
            (
                &quick["diverged"],
                &quick["diverged_units"],
                &quick["conflicts"]
            ),
            (&true.into(), &1.into(), &Value::Null)
        );
        assert_eq!(rows(&quick, "units").len(), 0);
        let dag = laptop.aura(&["log", "--dag"]).ok();
        assert_eq!(dag["conflicts"], 1);
        let unit = &dag["units"][0];
        assert_eq!(unit["symbol"], "src/risk.rs::score");
        assert_eq!(
            (rows(unit, "heads").len(), rows(unit, "forks").len()),
            (2, 1),
            "{dag}"
        );
        assert_eq!(rows(unit, "merges").len(), 0);
    }
    // Nothing is written on top of it.
    let refused = bob
        .aura(&["restore", "score", "--at", "2020-01-01"])
        .fails(7, "AE-CONFLICT-OPEN");
    assert_eq!(step(&refused), "aura conflicts");
    let id = word(&bob.conflicts()[0]["id"]);
    bob.aura(&["resolve", &id, "--mine"]).ok();
    alice.event(|event| event["kind"] == "resolved");
    for laptop in [&alice, &bob] {
        assert_eq!(
            laptop.aura(&["log", "--dag", "--quick"]).ok()["diverged"],
            false
        );
        let dag = laptop.aura(&["log", "score", "--dag"]).ok();
        let unit = &dag["units"][0];
        assert_eq!(
            (rows(unit, "heads").len(), rows(unit, "merges").len()),
            (1, 1),
            "{dag}"
        );
        // Somebody decided it.
        assert_eq!(rows(&laptop.aura(&["log", "--auto"]).ok(), "ops").len(), 0);
    }
}

#[test]
fn h17_history_needs_no_mothership() {
    let (team, box_, alice, bob) = two();
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    let op = word(&publish(&alice, "higher cap")["op"]);
    alice.edit("src/risk.rs", "let cap = 250", "let cap = 300");
    publish(&alice, "still higher");
    applied(&bob, "score", 2);
    let listen = box_.listen.clone();
    assert_eq!(box_.stop("-TERM"), Some(0));
    // Not even a daemon that has heard of it before.
    bob.aura(&["daemon", "restart"]).ok();
    assert_eq!(column(&bob, "score", "why"), ["still higher", "higher cap"]);
    assert_eq!(bob.aura(&["show", &op]).ok()["author"], "alice");
    let blame = bob.aura(&["blame", "src/risk.rs"]).ok();
    let authors = rows(&blame, "units").into_iter();
    let authors: Vec<&Value> = authors.map(|unit| &unit["author"]).collect();
    assert_eq!(authors, [&Value::Null, &"alice".into(), &Value::Null]);
    let done = bob.aura(&["restore", "score", "--at", &op]).ok();
    assert_eq!(done["ops"][0]["seq"], Value::Null);
    assert!(bob.read("src/risk.rs").contains("let cap = 250"));
    let _box = team.serve(&listen);
    applied(&alice, "score", 1);
    assert!(alice.read("src/risk.rs").contains("let cap = 250"));
}

/// What deletes a part of a file, and what restores it: file, text, the part, its name.
const PARTS: &[(&str, &str, &str, &str)] = &[
    // Windows' line ends.
    (
        "src/crlf.rs",
        "fn a() {\r\n    1;\r\n}\r\n\r\nfn b() {\r\n    2;\r\n}\r\n\r\nfn c() {}\r\n",
        "fn b() {\r\n    2;\r\n}\r\n\r\n",
        "b",
    ),
    // The first of its file, and the last, whose end is the file's.
    (
        "src/first.rs",
        "fn a() {}\n\nfn b() {}\n",
        "fn a() {}\n\n",
        "a",
    ),
    (
        "src/last.rs",
        "fn a() {}\n\nfn b() {}",
        "\n\nfn b() {}",
        "b",
    ),
    // A method among others, with what is attached to it.
    (
        "src/model.ts",
        "class M {\n  a() {\n    return 1;\n  }\n\n  /** Two. */\n  b() {\n    return 2;\n  }\n\n  c() {\n    return 3;\n  }\n}\n",
        "  /** Two. */\n  b() {\n    return 2;\n  }\n\n",
        "M::b",
    ),
    // A container with its members.
    (
        "src/impl.rs",
        "struct M;\n\nimpl M {\n    fn a() {}\n\n    fn b() {}\n}\n\nfn c() {}\n",
        "impl M {\n    fn a() {}\n\n    fn b() {}\n}\n\n",
        "M",
    ),
    (
        "src/run.go",
        "package run\n\nfunc A() {}\n\n// B runs.\nfunc B() int {\n\treturn 2\n}\n\nfunc C() {}\n",
        "// B runs.\nfunc B() int {\n\treturn 2\n}\n\n",
        "B",
    ),
    (
        "docs/a.md",
        "# A\n\none\n\n# B\n\ntwo\n\n# C\n\nthree\n",
        "# B\n\ntwo\n\n",
        "B",
    ),
];

#[test]
fn h17_what_was_deleted_comes_back_byte_for_byte_where_it_was_in_many_languages() {
    let team = Team::new();
    let origin = team.dir.path().join("origin");
    fs::create_dir_all(origin.join("docs")).unwrap();
    for (path, text, ..) in PARTS {
        fs::write(origin.join(path), text).unwrap();
    }
    git(&origin, &["add", "."]);
    git(&origin, &["commit", "-qm", "parts"]);
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice.aura(&["config", "set", "publish", "intent"]).ok();
    for (path, text, part, name) in PARTS {
        let file = alice.repo.join(path);
        assert_eq!(text.matches(part).count(), 1, "{path}");
        fs::write(&file, text.replace(part, "")).unwrap();
        alice.aura(&["publish", "-m", "not needed"]).ok();
        let name = format!("{path}::{name}");
        let done = alice.aura(&["restore", &name, "--at", "2020-01-01"]);
        assert_eq!(
            (done.exit, &done.json["state"]),
            (0, &"restored".into()),
            "{path}: {done:?}"
        );
        assert_eq!(alice.read(path), *text, "{path}");
        let waits = alice.aura(&["publish"]).ok();
        assert_eq!(waits["state"], "nothing", "{path}: {waits}");
        alice.aura(&["undo"]).ok();
        assert_eq!(alice.read(path), text.replace(part, ""), "{path}");
    }
}
