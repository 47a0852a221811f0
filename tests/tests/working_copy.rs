//! What happens to the files of people who edit them while the team's changes arrive.

#![allow(clippy::unwrap_used, missing_docs)]

// The fixtures of every language and the maker of plausible edits.
#[path = "../../crates/aura-semantic/tests/common/mod.rs"]
mod plausible;

use std::{
    fs,
    io::Write,
    os::unix::fs::{FileTypeExt, PermissionsExt, chown, symlink},
    path::Path,
    process::Command,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use aura_engine::peer::body::PatchBody;
use aura_net::Clock;
use mothership_tests::{
    Laptop, Mothership, RISK, Team, amount,
    copy::{put, tree},
    forger::Forger,
    git,
    mount::Mount,
    strace::{Fault, Strace, sweep},
    token,
};
use serde_json::Value;

use plausible::{Dice, FIXTURES, bodies, disguises, edit_body, fixture, fresh, next};

/// Alice and Bob, both with files that follow the team's.
fn pair(team: &Team) -> (Mothership, Laptop, Laptop) {
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "live");
    (box_, alice, bob)
}

#[test]
fn case_064_and_066_a_patch_lands_byte_for_byte_beside_edits_in_every_way_to_store_a_file() {
    let files: Vec<(String, Vec<u8>)> = FIXTURES
        .iter()
        .flat_map(|name| {
            let stored = disguises(&fixture(name)).into_iter();
            let text = stored.filter(|(disguise, _)| *disguise != "nul");
            text.map(move |(disguise, bytes)| (format!("{disguise}/{name}"), bytes))
        })
        .collect();
    let team = Team::with(&files);
    let (_box, alice, bob) = pair(&team);
    bob.publishes_on_demand();
    let mut expected = Vec::new();
    for (path, bytes) in &files {
        let base = fresh(path, bytes);
        let some = bodies(&base);
        let (first, last) = (some[0], some[some.len() - 1]);
        // Bob's edit, which nobody else has, stands behind that of Alice.
        let mine = edit_body(&base, last, "his");
        let both = edit_body(&next(&base, &mine), first, "hers");
        alice.save(path, edit_body(&base, first, "hers"));
        bob.save(path, mine);
        expected.push((path, both));
    }
    alice.aura(&["publish"]).ok();
    bob.events("applied", files.len());
    for (path, both) in expected {
        assert!(bob.bytes(path) == both, "{path}");
    }
}

#[test]
fn case_064_a_file_with_a_nul_is_not_shared_and_said_so() {
    let (source, changed) = (&b"char *a = \"\0\";\n"[..], &b"char *a = \"\0b\";\n"[..]);
    let team = Team::with(&[("a.c", source)]);
    let (_box, alice, bob) = pair(&team);
    alice.save("a.c", changed);
    alice.event(|event| event["kind"] == "held_back");
    let held = &alice.aura(&["status"]).ok()["mine"]["held_back"][0];
    let why = held.as_str().unwrap();
    assert!(why.starts_with("a.c: UNSUPPORTED_ENCODING"), "{why}");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    bob.applied("score");
    assert_eq!(
        (bob.bytes("a.c"), alice.bytes("a.c")),
        (source.to_vec(), changed.to_vec())
    );
    alice.save("a.c", source);
    alice.edit("src/risk.rs", "let cap = 250", "let cap = 300");
    alice.aura(&["publish"]).ok();
    alice.synced();
    assert_eq!(alice.log(&[]).len(), 2);
}

#[test]
fn h01_joining_with_two_thousand_functions_takes_less_than_five_seconds() {
    let function = |n: usize| {
        format!(
            "/// Rule {n}.\npub fn rule_{n}(a: u32) -> u32 {{\n    let b = a + {n};\n    b * 2\n}}\n\n"
        )
    };
    let files: Vec<(String, String)> = (0..125)
        .map(|file| {
            let functions = (0..16).map(|n| function(file * 16 + n));
            (format!("src/rules_{file}.rs"), functions.collect())
        })
        .collect();
    let team = Team::with(&files);
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    let bob = team.laptop("bob");
    let clock = Clock::start();
    let join = |laptop: &Laptop, token: &str, name: &str| {
        let begun = clock.mono_ms();
        let joined = laptop.join(token, name, "observe").ok();
        assert!(2_000 <= joined["units"].as_u64().unwrap());
        assert_eq!(laptop.aura(&["status"]).ok()["link"]["state"], "online");
        clock.mono_ms() - begun
    };
    // The quicker of two, for a machine that has other things to do as well.
    let took = [
        join(&alice, &token(&box_.ready), "alice"),
        join(&bob, &team.invite(), "bob"),
    ];
    assert!(took.iter().any(|ms| *ms < 5_000), "{took:?} ms");
}

#[test]
fn h04_each_of_four_settlements_is_told_to_the_other_side_and_taken_back() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    bob.publishes_on_demand();
    let own = team.dir.path().join("own.rs");
    put(
        &own,
        b"/// Scores.\npub fn score(a: u32) -> u32 {\n    a.min(500)\n}",
    );
    let own = own.to_str().unwrap();
    let mut base = "let cap = 100;".to_owned();
    let ways = [
        &["--mine"][..],
        &["--theirs"],
        &["--both"],
        &["--with", own],
    ];
    for (round, way) in (1..).zip(ways) {
        let (his, hers) = (format!("let cap = {round};"), "let cap = 250;");
        // Both change one line: Bob saves before he hears of Alice's change, and publishes afterwards.
        bob.edit("src/risk.rs", &base, &his);
        alice.edit("src/risk.rs", &base, hers);
        alice.aura(&["publish"]).ok();
        bob.events("received", round);
        bob.aura(&["publish"]).ok();
        for laptop in [&alice, &bob] {
            laptop.events("conflict", round);
        }
        let (here, there) = (&bob.conflicts()[0], &alice.conflicts()[0]);
        let authors = |conflict: &Value| {
            [&conflict["mine"], &conflict["theirs"]].map(|side| side["author"].clone())
        };
        assert_eq!(authors(here), ["bob", "alice"]);
        assert_eq!(authors(there), ["alice", "bob"]);
        assert_eq!(here["mine"]["at"], there["theirs"]["at"]);
        assert_eq!(here["theirs"]["at"], there["mine"]["at"]);
        assert!(here["base"]["text"].as_str().unwrap().contains(&base));
        assert_eq!(bob.aura(&["status", "--exit-code"]).exit, 7);
        let before = bob.read("src/risk.rs");
        let both = format!("{his}\n    {hers}");
        let expected = match way[0] {
            "--mine" => before.clone(),
            "--theirs" => before.replace(&his, hers),
            "--both" => before.replace(&his, &both),
            _ => before.replace(&format!("{his}\n    cmp::min(a, cap)"), "a.min(500)"),
        };
        let id = here["id"].as_str().unwrap();
        let resolved = bob.aura(&[&["resolve", id], way].concat()).ok();
        assert_eq!(resolved["resolved"], 1);
        assert_eq!(bob.read("src/risk.rs"), expected, "{way:?}");
        alice.events("resolved", round);
        assert_eq!(alice.read("src/risk.rs"), expected, "{way:?}");
        assert!(alice.conflicts().is_empty() && bob.conflicts().is_empty());
        let undo = resolved["next"][0]["cmd"].as_str().unwrap();
        let undo: Vec<&str> = undo.split(' ').skip(1).collect();
        bob.aura(&undo).ok();
        assert_eq!(bob.read("src/risk.rs"), before, "{way:?}");
        alice.events("received", 3 * round);
        assert_eq!(alice.read("src/risk.rs"), before, "{way:?}");
        base = his;
    }
}

#[test]
fn case_065_an_edit_in_the_same_function_is_a_conflict_and_the_file_is_left_alone() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    bob.publishes_on_demand();
    bob.edit("src/risk.rs", "let cap = 100", "let cap = 777");
    let before = bob.bytes("src/risk.rs");
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    alice.aura(&["publish"]).ok();
    bob.events("received", 1);
    let (exit, rows) = bob.pull();
    assert_eq!(exit, 7, "{rows:?}");
    assert_eq!(rows[0].0, "conflict");
    assert_eq!(bob.bytes("src/risk.rs"), before);
    let incoming = &bob.aura(&["status"]).ok()["incoming"];
    assert_eq!(incoming["touching_my_edits"], 1);
    // Once it is published, both versions stand side by side on both laptops.
    bob.aura(&["publish"]).ok();
    let conflict = &bob.conflicts()[0];
    assert!(
        conflict["theirs"]["text"]
            .as_str()
            .unwrap()
            .contains("cap = 250")
    );
    alice.events("conflict", 1);
    assert_eq!(alice.conflicts()[0]["id"], conflict["id"]);
    assert_eq!(bob.bytes("src/risk.rs"), before);
}

#[test]
fn case_072_deep_files_of_the_repository_are_served_or_named() {
    let modules = "mod a {".repeat(3_400) + &"}".repeat(3_400);
    let braces = "(".repeat(100_000) + "1" + &")".repeat(100_000);
    let deeper = format!("fn a() {{ {braces} }}\n");
    let team = Team::with(&[("deep.rs", &modules), ("deeper.rs", &deeper)]);
    let (_box, alice, bob) = pair(&team);
    let outline = |file: &str| alice.aura(&["outline", file]).ok();
    assert_eq!(outline("deep.rs")["units"].as_array().unwrap().len(), 3_400);
    let unsupported = outline("deeper.rs");
    assert_eq!(unsupported["problems"][0], "too_deep");
    assert_eq!(unsupported["units"].as_array().unwrap().len(), 0);
    let pids = [alice.pid(), bob.pid()];
    // The innermost module of the one travels as a unit, the other as a file.
    alice.save("deep.rs", modules.replace("a {}", "b {}"));
    alice.save("deeper.rs", deeper.replace('1', "2"));
    alice.aura(&["publish"]).ok();
    bob.events("applied", 2);
    let log = alice.log(&[]);
    let kinds: Vec<&Value> = log.iter().map(|op| &op["kind"]).collect();
    assert_eq!(kinds, ["file", "rename"]);
    assert_eq!(bob.files(), alice.files());
    assert_eq!([alice.pid(), bob.pid()], pids);
}
/// Both save while the Mothership is away, so that neither has heard of the other; then it is back.
fn apart(team: &Team, path: &str, hers: &str, his: &str) -> (Mothership, Laptop, Laptop) {
    let (box_, alice, bob) = pair(team);
    let listen = box_.listen.clone();
    box_.stop("-TERM");
    for (laptop, text) in [(&alice, hers), (&bob, his)] {
        laptop.save(path, text);
        assert_eq!(laptop.aura(&["publish"]).exit, 11);
    }
    let box_ = team.serve(&listen);
    alice.events("received", 1);
    bob.events("received", 1);
    (box_, alice, bob)
}

#[test]
fn h04_what_both_made_new_and_what_one_deleted_is_settled_like_any_other_conflict() {
    let class = |body: &str| {
        let method = format!("    fn cap(&self) -> u32 {{\n        {body}\n    }}\n");
        format!("{RISK}\nimpl Cap {{\n{method}}}\n")
    };
    let file = |body: &str| format!("fn fresh() -> u32 {{\n    {body}\n}}\n");
    let load = "\npub fn load(name: &str) -> String {\n    name.to_owned()\n}\n";
    let without = RISK.replace(load, "");
    let edited = RISK.replace("name.to_owned()", "name.to_uppercase()");
    let kinds = [
        ("class", "Cap::cap", class("1"), class("2")),
        ("file", "", file("1"), file("2")),
        ("deleted", "load", without, edited),
    ];
    let names = kinds.each_ref().map(|(name, ..)| name);
    let ways = ["--mine", "--theirs"];
    let path = |kind: &str, way: &str| format!("src/{kind}{way}.rs");
    let old = names.iter().filter(|name| **name != &"file");
    let files: Vec<(String, &str)> = old
        .flat_map(|name| ways.map(|way| (path(name, way), RISK)))
        .collect();
    let team = Team::with(&files);
    let (_box, alice, bob) = pair(&team);
    bob.publishes_on_demand();
    for (kind, _, hers, his) in &kinds {
        for way in ways {
            bob.save(&path(kind, way), his);
            alice.save(&path(kind, way), hers);
        }
    }
    alice.aura(&["publish"]).ok();
    bob.events("received", 6);
    bob.aura(&["publish"]).ok();
    alice.events("received", 6);
    for laptop in [&alice, &bob] {
        assert_eq!(laptop.conflicts().len(), 6, "{:#?}", laptop.conflicts());
    }
    for (round, (kind, symbol, hers, his)) in (0..).step_by(2).zip(&kinds) {
        for (turn, way) in (1..).zip(ways) {
            let path = path(kind, way);
            let symbol = match symbol.is_empty() {
                true => path.clone(),
                false => format!("{path}::{symbol}"),
            };
            let open = bob.conflicts();
            let conflict = open
                .iter()
                .find(|row| row["symbol"] == symbol.as_str())
                .unwrap();
            let id = conflict["id"].as_str().unwrap();
            let resolved = bob.aura(&["resolve", id, way]).ok();
            alice.events("resolved", round + turn);
            let kept = if way == "--mine" { his } else { hers };
            for laptop in [&alice, &bob] {
                assert_eq!(laptop.read(&path), *kept, "{symbol} {way}");
            }
            let undo = resolved["next"][0]["cmd"].as_str().unwrap();
            let undo: Vec<&str> = undo.split(' ').skip(1).collect();
            bob.aura(&undo).ok();
            assert_eq!(bob.read(&path), *his, "{symbol} {way}");
        }
    }
    bob.synced();
    for laptop in [&alice, &bob] {
        assert!(laptop.conflicts().is_empty());
        assert_eq!(laptop.pull(), (0, Vec::new()));
    }
}

#[test]
fn comments_that_two_people_write_between_functions_both_stay_in_one_order_everywhere() {
    for (hers, his, both) in [
        (
            RISK.replace("/// Scores", "// Scores.\n\n/// Scores"),
            RISK.replace("pub fn load", "// Loads.\n\npub fn load"),
            RISK.replace("/// Scores", "// Scores.\n\n/// Scores")
                .replace("pub fn load", "// Loads.\n\npub fn load"),
        ),
        (
            format!("{RISK}\n// Hers.\n"),
            format!("{RISK}\n// His.\n"),
            format!("{RISK}\n// Hers.\n\n// His.\n"),
        ),
    ] {
        let team = Team::new();
        let (_box, alice, bob) = apart(&team, "src/risk.rs", &hers, &his);
        for laptop in [&alice, &bob] {
            assert_eq!(laptop.pull(), (0, Vec::new()));
            assert_eq!(laptop.read("src/risk.rs"), both);
        }
    }
}

/// How an editor saves.
#[derive(Clone, Copy, Debug)]
enum Style {
    Atomic,
    InPlace,
}

/// An editor that reads the file, adds a token and saves, every 0 to 4 ms with a pause now and then, a hundred times and
/// on until it is told to stop; answers how many it added.
fn types(file: &Path, style: Style, stop: &Receiver<()>) -> usize {
    let beside = file.with_extension("tmp");
    let mut dice = Dice::new(67);
    let mut is_told = false;
    for token in 0.. {
        let text = fs::read_to_string(file).unwrap();
        let text = text.replacen("// t", &format!("// t {token};"), 1);
        match style {
            Style::InPlace => fs::write(file, text).unwrap(),
            Style::Atomic => {
                fs::write(&beside, text).unwrap();
                fs::rename(&beside, file).unwrap();
            }
        }
        let pause = if dice.roll(20) == 0 { 60 } else { 5 };
        let pause = Duration::from_millis(dice.roll(pause) as u64);
        is_told |= stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
        if is_told && 100 <= token {
            return token + 1;
        }
    }
    unreachable!("there is always another token")
}

/// Files in which somebody types, one after the other, while the team changes each of the file's other functions.
fn no_token_is_lost(style: Style) {
    const FUNCTIONS: u32 = 100;
    let patches = amount(FUNCTIONS, 5_000);
    let function = |n: u32, number: u32| format!("fn f{n}() -> u32 {{\n    {number}\n}}\n\n");
    let functions: String = (0..FUNCTIONS).map(|n| function(n, 0)).collect();
    let text = functions + "fn tokens() {\n    // t\n}\n";
    let names: Vec<String> = (0..patches / FUNCTIONS)
        .map(|round| format!("desk{round}.rs"))
        .collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (&name[..], &text[..])).collect();
    let team = Team::with(&files);
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let mut mallory = Forger::join(&alice, "bob");
    let mut met = 0;
    for name in &names {
        let file = &alice.repo.join(name);
        let (stop, stopped) = channel();
        let tokens = std::thread::scope(|scope| {
            let editor = scope.spawn(move || types(file, style, &stopped));
            let mut desk = text.clone();
            for n in 0..FUNCTIONS {
                let after = desk.replacen(&function(n, 0), &function(n, 1), 1);
                let change = mallory.draft(name, desk.as_bytes(), after.as_bytes());
                mallory.publish(&change);
                desk = after;
            }
            mallory.reaches(&alice);
            stop.send(()).unwrap();
            editor.join().unwrap()
        });
        let applied = applied(&alice);
        // The end of the daemon looks once more at what it swapped out.
        alice.aura(&["down"]).ok();
        let kept = tree(&alice.home)
            .into_iter()
            .filter(|(path, _)| path.contains("/rescued/"))
            .filter(|(path, _)| path.ends_with(&name[..]) || path.ends_with("unknown"))
            .map(|(_, bytes)| bytes)
            .chain([alice.bytes(name)]);
        let texts: Vec<String> = kept
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect();
        let has = |token: &usize| {
            let token = format!(" {token};");
            texts.iter().any(|text| text.contains(&token))
        };
        let lost: Vec<usize> = (0..tokens).filter(|token| !has(token)).collect();
        assert!(lost.is_empty(), "{style:?}: lost {lost:?} of {tokens}");
        met += applied;
        alice.aura(&["up"]).ok();
    }
    assert!(0 < met, "no patch met a save");
    let log = alice.log(&[]);
    assert!(
        log.iter().all(|op| op["kind"] != "delete"),
        "nobody deleted anything"
    );
}

/// How many patches this run of the daemon wrote into files until the one that marks their end.
fn applied(laptop: &Laptop) -> u32 {
    let mut applied = 0;
    laptop.event(|event| {
        applied += u32::from(event["kind"] == "applied");
        event["kind"] == "applied" && event["text"].as_str().unwrap().contains("marker")
    });
    applied
}

#[test]
fn case_067_an_editor_that_saves_in_place_loses_no_token() {
    no_token_is_lost(Style::InPlace);
}

#[test]
fn case_067_an_editor_that_saves_by_renaming_loses_no_token() {
    no_token_is_lost(Style::Atomic);
}

#[test]
fn case_073_a_save_that_only_a_crash_left_behind_is_kept_and_named() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice.aura(&["down"]).ok();
    // A swapped-out inode whose content is neither what was taken out nor what went in.
    let tag = "0".repeat(32);
    let left = alice.repo.join(".git/aura/kept");
    put(
        &left.join(format!("x-{tag}-{tag}-1-src\\risk.rs")),
        b"saved at the last moment\n",
    );
    put(&left.join("w-2"), b"half");
    alice.aura(&["up"]).ok();
    let said = &alice.events("rescued", 1)[0];
    let text = said["text"].as_str().unwrap();
    assert!(text.starts_with("an edit of src/risk.rs"), "{text}");
    let kept = text.split(" is kept in ").last().unwrap();
    assert_eq!(fs::read(kept).unwrap(), b"saved at the last moment\n");
    assert_eq!(fs::read_dir(left).unwrap().count(), 0);
}

/// Calls that an apply makes; those that change something come first.
const APPLY_CALLS: [&str; 14] = [
    "renameat2",
    "rename",
    "fsync",
    "write",
    "fdatasync",
    "renameat",
    "fchmod",
    "unlinkat",
    "pwrite64",
    "unlink",
    "openat",
    "newfstatat",
    "read",
    "getdents64",
];

/// Many functions, the first of them changed.
fn desk(changed: usize) -> String {
    let function = |n| format!("fn f{n}() -> u8 {{\n    {}\n}}\n\n", u8::from(n < changed));
    (0..200).map(function).collect()
}

#[test]
fn case_073_killed_at_any_call_of_an_apply_the_file_is_old_or_new_and_the_patch_lands_once() {
    let team = Team::with(&[("desk.rs", desk(0))]);
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "observe");
    let mut round = 0;
    let calls = &APPLY_CALLS[..amount(4, APPLY_CALLS.len())];
    let kills = sweep(calls, amount(2, 1), Fault::kill, |fault| {
        let (old, new) = (desk(round), desk(round + 1));
        alice.save("desk.rs", &new);
        alice.aura(&["publish"]).ok();
        let symbol = format!("f{round}");
        bob.event(|event| event["kind"] == "received" && event["symbol"] == symbol.as_str());
        let strace = Strace::attach(bob.pid(), &fault.args());
        let pulled = bob.aura(&["pull"]);
        let is_killed = pulled.exit == 5;
        match pulled.exit {
            0 => drop(strace),
            5 => strace.bury(),
            // It was not the daemon but the git that it asked.
            _ => {
                assert_eq!(pulled.id(), "AE-GIT", "{fault:?}: {pulled:?}");
                strace.cut();
            }
        }
        let found = bob.read("desk.rs");
        assert!(found == old || found == new, "{fault:?}: {found}");
        if is_killed {
            bob.aura(&["up"]).ok();
            let kept = fs::read_dir(bob.repo.join(".git/aura/kept")).unwrap();
            assert_eq!(kept.count(), 0, "{fault:?} left something behind");
        }
        // Applied or not yet; the second time there is nothing left to do.
        let (exit, rows) = bob.pull();
        assert_eq!(
            (exit, rows.len()),
            (0, usize::from(found == old)),
            "{fault:?}, {}: {rows:?}, {}",
            pulled.exit,
            bob.read("desk.rs") == new
        );
        assert_eq!(bob.read("desk.rs"), new, "{fault:?}");
        round += 1;
        assert_eq!(bob.log(&[]).len(), round);
        assert_eq!(git(&bob.repo, &["status", "--porcelain"]), "M desk.rs");
        pulled.exit != 0
    });
    assert!(amount(4, 30) < kills, "{kills} kills");
}

#[test]
fn case_074_a_patch_that_comes_again_and_after_restarts_is_applied_once() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let mut mallory = Forger::join(&alice, "bob");
    let changed = RISK.replace("let cap = 100", "let cap = 250");
    let patch = mallory.draft("src/risk.rs", RISK.as_bytes(), changed.as_bytes());
    let entry = mallory.entry(&patch.encode());
    let place = mallory.push(&entry);
    alice.applied("score");
    // The user goes back, in a file that the daemon does not watch at that moment.
    alice.aura(&["down"]).ok();
    alice.save("src/risk.rs", RISK);
    alice.aura(&["up"]).ok();
    for _ in 0..2 {
        assert_eq!(mallory.push(&entry), place);
        mallory.reaches(&alice);
        assert_eq!(alice.read("src/risk.rs"), RISK);
        assert_eq!(alice.log(&["score"]).len(), 2);
        assert_eq!(alice.pull(), (0, Vec::new()));
        alice.aura(&["daemon", "restart"]).ok();
    }
}

#[test]
fn case_075_what_follows_waits_for_what_it_follows() {
    let text = |n: u32| RISK.replace("let cap = 100", &format!("let cap = {n}"));
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    // Three members know a chain of three versions; the log has it as 3, 1, 2.
    let mut members = ["one", "two", "three"].map(|name| Forger::join(&alice, name));
    let mut chain: Vec<PatchBody> = Vec::new();
    for (member, (from, to)) in members.iter_mut().zip([(100, 1), (1, 2), (2, 3)]) {
        for known in &chain {
            member.learns(known);
        }
        let (before, after) = (text(from), text(to));
        chain.push(member.draft("src/risk.rs", before.as_bytes(), after.as_bytes()));
    }
    for (n, expected) in [(2, 100), (0, 1), (1, 3)] {
        members[n].publish(&chain[n]);
        members[n].reaches(&alice);
        assert_eq!(
            alice.read("src/risk.rs"),
            text(expected),
            "after patch {}",
            n + 1
        );
    }
    assert!(alice.conflicts().is_empty());
    assert_eq!(alice.pull(), (0, Vec::new()));
}

#[test]
fn case_076_targets_that_are_no_plain_files_of_the_user_are_left_alone() {
    let kinds = [
        "plain", "exec", "link", "hard", "locked", "foreign", "folder", "pipe",
    ];
    let names = kinds.map(|kind| format!("src/{kind}.rs"));
    let files = names.each_ref().map(|name| (name.clone(), RISK));
    let team = Team::with(&files);
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let bob = team.member(&alice, "bob", "observe");
    // A file that became a directory is deleted by a save; here bob has not said so.
    bob.aura(&["config", "set", "publish", "intent"]).ok();
    let outside = team.dir.path().join("outside.rs");
    put(&outside, RISK.as_bytes());
    let at = |kind: &str| bob.repo.join(format!("src/{kind}.rs"));
    let mode = |kind: &str, mode: u32| {
        fs::set_permissions(at(kind), fs::Permissions::from_mode(mode)).unwrap()
    };
    mode("exec", 0o755);
    mode("locked", 0o444);
    for kind in ["link", "folder", "pipe"] {
        fs::remove_file(at(kind)).unwrap();
    }
    symlink(&outside, at("link")).unwrap();
    fs::hard_link(at("hard"), team.dir.path().join("second-name.rs")).unwrap();
    chown(at("foreign"), Some(12_345), None).expect("only root can give files away");
    fs::create_dir(at("folder")).unwrap();
    let made = Command::new("mkfifo").arg(at("pipe")).status();
    assert!(made.unwrap().success());
    for name in &names {
        alice.edit(name, "let cap = 100", "let cap = 250");
    }
    alice.aura(&["publish"]).ok();
    bob.events("received", names.len());
    let (exit, rows) = bob.pull();
    assert_eq!(exit, 11, "{rows:?}");
    let unsafe_ones: Vec<&str> = rows
        .iter()
        .filter(|(outcome, _)| outcome == "waiting")
        .map(|(_, why)| &why[..])
        .collect();
    assert_eq!(unsafe_ones.len(), 6);
    assert!(
        unsafe_ones
            .iter()
            .all(|why| why.starts_with("UNSAFE_TARGET: ")),
        "{unsafe_ones:?}"
    );
    let changed = RISK.replace("let cap = 100", "let cap = 250");
    for (kind, mode) in [("plain", 0o644), ("exec", 0o755)] {
        assert_eq!(bob.read(&format!("src/{kind}.rs")), changed);
        assert_eq!(
            fs::metadata(at(kind)).unwrap().permissions().mode() & 0o777,
            mode
        );
    }
    for kind in ["link", "hard", "locked", "foreign"] {
        assert_eq!(bob.read(&format!("src/{kind}.rs")), RISK, "{kind}");
    }
    assert_eq!(fs::read_to_string(&outside).unwrap(), RISK);
    assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
    assert!(
        fs::symlink_metadata(at("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
}

#[test]
fn case_077_a_full_disk_leaves_the_file_alone_and_the_patch_lands_when_there_is_space() {
    let large = format!("{RISK}\n// {}\n", "x".repeat(200_000));
    let team = Team::with(&[("src/large.rs", &large)]);
    let (_box, alice, bob) = pair(&team);
    bob.aura(&["down"]).ok();
    // The same clone on a small disk of its own.
    let aside = team.dir.path().join("aside");
    fs::rename(&bob.repo, &aside).unwrap();
    let mount = Mount::tmpfs(&bob.repo, 16 << 20);
    let copied = Command::new("cp")
        .arg("-a")
        .arg(aside.join("."))
        .arg(&bob.repo)
        .status();
    assert!(copied.unwrap().success());
    bob.aura(&["up"]).ok();
    let ballast = bob.repo.join(".git/ballast");
    let mut filler = fs::File::create(&ballast).unwrap();
    while filler.write_all(&[0; 4096]).is_ok() {}
    alice.edit("src/large.rs", "let cap = 100", "let cap = 250");
    alice.aura(&["publish"]).ok();
    bob.events("received", 1);
    let (exit, rows) = bob.pull();
    assert_eq!(exit, 13, "{rows:?}");
    assert!(rows[0].1.starts_with("NO_SPACE: "), "{rows:?}");
    assert_eq!(bob.read("src/large.rs"), large);
    fs::remove_file(ballast).unwrap();
    drop(filler);
    bob.applied("score");
    assert_eq!(bob.read("src/large.rs"), alice.read("src/large.rs"));
    bob.aura(&["down"]).ok();
    drop(mount);
}

#[test]
fn case_078_undo_brings_back_one_function_and_drops_no_edit() {
    let team = Team::new();
    let (_box, alice, bob) = pair(&team);
    let higher = RISK.replace("let cap = 100", "let cap = 250");
    alice.save("src/risk.rs", &higher);
    alice.aura(&["publish"]).ok();
    bob.applied("score");
    alice.publishes_on_demand();
    // An edit elsewhere stays, in the file and in nobody else's.
    alice.edit("src/risk.rs", "name.to_owned()", "name.trim().to_owned()");
    alice.aura(&["undo"]).ok();
    let elsewhere = RISK.replace("name.to_owned()", "name.trim().to_owned()");
    assert_eq!(alice.read("src/risk.rs"), elsewhere);
    bob.events("applied", 2);
    assert_eq!(bob.read("src/risk.rs"), RISK);
    // An edit in the same function stands in the way.
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 300");
    alice.aura(&["publish"]).ok();
    bob.events("applied", 3);
    alice.edit("src/risk.rs", "let cap = 300", "let cap = 400");
    let before = alice.read("src/risk.rs");
    alice.aura(&["undo"]).fails(7, "CONFLICT");
    assert_eq!(alice.read("src/risk.rs"), before);
    // What somebody else did since is not undone either.
    bob.edit("src/risk.rs", "let cap = 300", "let cap = 500");
    bob.aura(&["publish"]).ok();
    alice.event(|event| event["kind"] == "received");
    alice.aura(&["undo"]).fails(9, "AE-MOVED");
    assert_eq!(alice.read("src/risk.rs"), before);
}
