//! What a member who lies can send, and what it does to nobody.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use aura_engine::peer::body::{PatchBody, VersionId};
use aura_proto::pack::FORMAT_ZSTD;
use aura_semantic::{Op, OwnText, Touched, UnitId};
use mothership_tests::{
    RISK, Team, amount,
    copy::{put, tree},
    forger::{Forger, with_text},
};

/// Everything of a team's directory that no daemon keeps for itself.
fn surroundings(team: &Team) -> BTreeMap<String, Vec<u8>> {
    let mut files = tree(team.dir.path());
    let is_ours = |name: &str| {
        name.starts_with("home-")
            || name.starts_with("box/")
            || name.contains("/.git/aura/")
            || name.contains("/marker-")
    };
    files.retain(|name, _| !is_ours(name));
    files
}

#[test]
fn case_079_to_082_paths_that_lead_astray_are_refused_by_name_and_nothing_is_written() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let mut mallory = Forger::join(&alice, "mallory");
    let before = surroundings(&team);
    let absolute = team.dir.path().join("absolute").display().to_string();
    let long = "a/".repeat(2_500) + "x";
    let deep = "d/".repeat(200) + "x";
    let cases: [(&str, &[&str]); 3] = [
        (
            "PATH: ",
            &[
                "../x",
                &absolute,
                "a/../../x",
                "",
                ".",
                "a//b",
                "a\0b",
                &long,
                &deep,
                ".git/hooks/post-checkout",
                ".GIT/config",
                ".git./x",
                ".git /x",
                "git~1/x",
                ".g\u{200c}it/x",
                ".git::$INDEX_ALLOCATION/x",
                "a\\..\\.git\\x",
            ],
        ),
        (
            "PATH_RESERVED: ",
            &[".aura/x", ".gitmodules", "src/.gitattributes"],
        ),
        (
            "PATH_PORTABLE: ",
            &["CON", "nul.rs", "COM1", "aux.c", "a:b", "x.", "x "],
        ),
    ];
    let all = cases
        .iter()
        .flat_map(|(id, paths)| paths.iter().map(move |path| (id, path)));
    for (_, path) in all.clone() {
        mallory.publish(&mallory.creation(path, "owned\n"));
    }
    let said = alice.events("refused", all.clone().count());
    for ((id, path), said) in all.zip(said) {
        let text = said["text"].as_str().unwrap();
        assert!(text.starts_with(id), "{path:?}: {said}");
        assert_eq!(said["actor"], "mallory");
    }
    mallory.reaches(&alice);
    assert_eq!(surroundings(&team), before);
    assert_eq!(alice.aura(&["status"]).ok()["incoming"]["patches"], 0);
    assert_eq!(alice.read("src/risk.rs"), RISK);
}

/// Functions with names that are not one function's only.
const NAMES: &str = "\
fn gone() -> u32 {
    1
}

fn renamed() -> u32 {
    2
}

#[cfg(unix)]
fn platform() -> u32 {
    3
}

#[cfg(windows)]
fn platform() -> u32 {
    4
}

mod inner {
    fn platform() -> u32 {
        5
    }
}
";

#[test]
fn case_068_a_patch_without_its_base_or_without_one_target_is_not_written() {
    let team = Team::with(&[("src/names.rs", NAMES)]);
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let mut mallory = Forger::join(&alice, "mallory");
    let draft = |mallory: &Forger, base: &str, from: &str, to: &str| {
        mallory.draft(
            "src/names.rs",
            base.as_bytes(),
            base.replace(from, to).as_bytes(),
        )
    };
    let deleted = draft(&mallory, NAMES, "    1\n", "    10\n");
    let renamed = draft(&mallory, NAMES, "    2\n", "    20\n");
    let elsewhere = NAMES.replace("    5", "    55");
    let unknown = draft(&mallory, &elsewhere, "    55", "    50");
    // A unit that nobody has, under a name that three have, as if it had always been there.
    let nameless = as_if_new(draft(&mallory, NAMES, "    4\n", "    40\n"));
    alice.edit("src/names.rs", "fn gone() -> u32 {\n    1\n}\n\n", "");
    alice.edit(
        "src/names.rs",
        "fn renamed() -> u32 {\n    2",
        "fn other() -> u32 {\n    2 + 2",
    );
    alice.aura(&["publish"]).ok();
    let before = alice.files();
    let second = draft(&mallory, NAMES, "    4\n", "    44\n");
    for (body, exit, id) in [
        (unknown, 9, "BASE_MISMATCH: "),
        (nameless, 9, "AMBIGUOUS: "),
        (deleted, 7, "CONFLICT: "),
        (renamed, 7, "CONFLICT: "),
    ] {
        mallory.publish(&body);
        mallory.reaches(&alice);
        let (ended, rows) = alice.pull();
        assert_eq!(ended, exit, "{rows:?}");
        let (_, why) = rows.last().unwrap();
        assert!(why.starts_with(id), "{why}");
        assert_eq!(alice.files(), before);
    }
    // Of three functions with one name the right one is found.
    mallory.publish(&second);
    alice.applied("platform");
    let expected = alice.read("src/names.rs").replace("    44\n", "    4\n");
    assert_eq!(expected.as_bytes(), before["src/names.rs"]);
}

/// The body with a unit that nobody has, whose versions follow from nothing.
fn as_if_new(mut body: PatchBody) -> PatchBody {
    let unknown = UnitId([7; 16]);
    body.patch.touched[0].unit = unknown;
    body.parents = vec![Vec::new()];
    match &mut body.patch.ops[..] {
        [Op::Replace { unit, .. }] => *unit = unknown,
        other => panic!("one replacement: {other:?}"),
    }
    body
}

#[test]
fn case_069_and_070_a_text_that_is_not_the_one_function_is_not_written() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let mut mallory = Forger::join(&alice, "mallory");
    let before = alice.files();
    let cases = [
        // Case 69: it closes the function early and goes on with another item.
        "pub fn score(a: u32) -> u32 { a } pub fn evil() {}",
        "pub fn score(a: u32) -> u32 {\n    a\n}\n\nfn evil() {\n    evil()\n}",
        "pub fn score(a: u32) -> u32 { a }\n}\nfn evil() {",
        "",
        // Case 70: it does not parse, or is another function, or another thing.
        "pub fn score(a: u32) -> u32 { (a",
        "pub fn score(a: u32) -> u32 { \"",
        "pub fn score(a: u32) -> u32 { a } /*",
        "pub fn skore(a: u32) -> u32 { a }",
        "pub struct score;",
        "// Nothing.",
    ];
    for text in cases {
        mallory.publish(&with_text(score(&mallory), text));
        mallory.reaches(&alice);
        let (exit, rows) = alice.pull();
        let why = rows.last().unwrap().1.split(':').next().unwrap();
        let known = ["NOT_ONE_FUNCTION", "NAME_CHANGED", "WOULD_NOT_PARSE"];
        assert!(exit == 2 && known.contains(&why), "{text:?}: {rows:?}");
        assert_eq!(alice.files(), before, "{text:?}");
    }
}

/// An honest change of the function `score`.
pub(crate) fn score(mallory: &Forger) -> PatchBody {
    let changed = RISK.replace("100", "1");
    mallory.draft("src/risk.rs", RISK.as_bytes(), changed.as_bytes())
}

#[test]
fn case_071_a_body_made_to_exhaust_the_parser_is_refused_in_time_and_others_are_served() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let other = team.second_repository(&alice, "other");
    let mut mallory = Forger::join(&alice, "mallory");
    let before = alice.files();
    let braces = |depth: usize| "(".repeat(depth) + "a" + &")".repeat(depth);
    let bodies = [
        braces(100_000),
        braces(8_193),
        "(".repeat(900_000),
        "<".repeat(400_000),
        "a(<[{".repeat(1_600),
        "-".repeat(900_000),
        "if a { } else ".repeat(60_000),
        "a + ".repeat(200_000) + "}",
    ];
    for (round, inside) in bodies.iter().enumerate() {
        let begun = alice.cpu_ms();
        let text = format!("pub fn score(a: u32) -> u32 {{ {inside} }}");
        mallory.publish(&with_text(score(&mallory), &text));
        let served = format!("fn round() -> usize {{\n    {round}\n}}\n");
        other.save("src/lib.rs", served);
        other.aura(&["publish"]).ok();
        mallory.reaches(&alice);
        // Processor time, so that whoever shares the machine does not count.
        let took = alice.cpu_ms() - begun;
        assert!(took < 2_000, "{took} ms for {}", &inside[..8]);
        let (_, rows) = alice.pull();
        let why = rows.last().unwrap().1.split(':').next().unwrap();
        let known = ["PARSE_BUDGET", "TOO_DEEP", "WOULD_NOT_PARSE"];
        assert!(known.contains(&why), "{why} for {}", &inside[..8]);
        assert_eq!(alice.files(), before);
    }
    assert_eq!(other.log(&[]).len(), bodies.len());
}

#[test]
fn conflicts_that_stay_open_make_what_comes_after_no_dearer() {
    const FILES: usize = 80;
    let text =
        |n: usize, value: &str| format!("pub fn f{n}() -> &'static str {{\n    \"{value}\"\n}}\n");
    let path = |n: usize| format!("src/f{n}.rs");
    let files: Vec<(String, String)> = (0..2 * FILES)
        .map(|n| (path(n), text(n, "start")))
        .collect();
    let team = Team::with(&files);
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let mut mallory = Forger::join(&alice, "mallory");
    let send = |mallory: &mut Forger, n: usize, from: &str, to: &str| {
        let (before, after) = (text(n, from), text(n, to));
        let patch = mallory.draft(&path(n), before.as_bytes(), after.as_bytes());
        mallory.publish(&patch);
    };
    let cost = |mallory: &mut Forger, from: &str, to: &str| {
        let begun = alice.cpu_ms();
        (FILES..2 * FILES).for_each(|n| send(mallory, n, from, to));
        alice.event(|event| {
            let last = alice.repo.join(path(2 * FILES - 1));
            event["kind"] == "applied" && fs::read_to_string(last).unwrap().contains(to)
        });
        alice.cpu_ms() - begun
    };
    let alone = cost(&mut mallory, "start", "first");
    for n in 0..FILES {
        alice.save(&path(n), text(n, "hers"));
    }
    alice.aura(&["publish"]).ok();
    alice.synced();
    (0..FILES).for_each(|n| send(&mut mallory, n, "start", "his"));
    let mut conflicts = 0;
    alice.event(|event| {
        conflicts += usize::from(event["kind"] == "conflict");
        conflicts == FILES
    });
    let beside = cost(&mut mallory, "first", "second");
    assert!(
        beside < 2 * alone + 200,
        "{alone} ms alone, {beside} ms beside"
    );
}

/// A patch of this many invented functions of a file that nobody has.
fn invented(mallory: &Forger, count: u32, word: &str) -> PatchBody {
    let mut body = mallory.creation("zz/nowhere.rs", "fn a() {}\n");
    let rows = (0..count).map(|n| {
        let mut unit = [7; 16];
        unit[..4].copy_from_slice(&n.to_be_bytes());
        let base_text = OwnText::leaf(format!("fn f{n}() {{}}").as_bytes());
        let text = OwnText::leaf(format!("fn f{n}() {{ {word} }}").as_bytes());
        let row = Touched {
            unit: UnitId(unit),
            name: format!("f{n}"),
            before: Some(base_text.hash()),
            after: Some(text.hash()),
        };
        let op = Op::Replace {
            unit: row.unit,
            name: row.name.clone(),
            base: base_text.hash(),
            base_text,
            text,
        };
        (op, row)
    });
    (body.patch.ops, body.patch.touched) = rows.unzip();
    let birth = |row: &Touched| vec![VersionId::birth(row.unit, row.before.unwrap())];
    body.parents = body.patch.touched.iter().map(birth).collect();
    body
}

#[test]
fn four_thousand_conflicts_in_two_entries_cost_each_device_seconds_at_most() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let mut mallory = Forger::join(&alice, "mallory");
    let begun = alice.cpu_ms();
    for word in ["one", "two"] {
        let body = invented(&mallory, 4_000, word);
        let entry = mallory.entry(&body.encode());
        mallory.push(&entry);
    }
    mallory.reaches(&alice);
    assert_eq!(alice.conflicts().len(), 4_000);
    let took = alice.cpu_ms() - begun;
    assert!(took < 5_000, "{took} ms");
    // What comes after is as before, also after a restart.
    alice.aura(&["down"]).ok();
    alice.aura(&["up"]).ok();
    mallory.reaches(&alice);
    alice.publishes_on_demand();
    alice.save("src/risk.rs", RISK.replace("100", "1"));
    assert_eq!(alice.aura(&["publish"]).ok()["state"], "published");
}

#[test]
fn a_patch_that_hides_which_unit_it_changes_does_not_reach_an_edit_of_the_user() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice.publishes_on_demand();
    let mut mallory = Forger::join(&alice, "mallory");
    alice.edit("src/risk.rs", "/// Scores.", "/// Scores, mine.");
    let before = alice.files();
    let capless = RISK.replace("cmp::min(a, cap)", "a");
    let shouts = RISK.replace("name.to_owned()", "name.to_uppercase()");
    let honest = mallory.draft("src/risk.rs", RISK.as_bytes(), capless.as_bytes());
    let other = mallory.draft("src/risk.rs", RISK.as_bytes(), shouts.as_bytes());
    let mut lie = honest.clone();
    lie.patch.touched = other.patch.touched;
    lie.parents = other.parents;
    mallory.publish(&lie);
    mallory.reaches(&alice);
    assert_eq!(alice.files(), before);
    assert_eq!(
        alice.events("refused", 1)[0]["text"],
        "PATCH: the versions of src/risk.rs do not follow from the operations"
    );
    // Said honestly it waits, since the user has edited that function.
    mallory.publish(&honest);
    mallory.reaches(&alice);
    let (exit, rows) = alice.pull();
    assert_eq!(exit, 7, "{rows:?}");
    assert_eq!(alice.files(), before);
}

/// Ends what another thread does, whatever becomes of this one.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn case_083_a_directory_swapped_for_a_link_while_patches_land_leads_nowhere() {
    let text = |round: usize| format!("fn number() -> usize {{\n    {round}\n}}\n");
    let names: Vec<String> = (0..amount(80, 800)).map(|n| format!("f{n}.rs")).collect();
    let files: Vec<(String, String)> = names
        .iter()
        .map(|n| (format!("src/d/{n}"), text(0)))
        .collect();
    let team = Team::with(&files);
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice.publishes_on_demand();
    let mut mallory = Forger::join(&alice, "mallory");
    let (real, aside) = (alice.repo.join("src/d"), alice.repo.join("src/aside"));
    let outside = team.dir.path().join("outside");
    let swaps = AtomicUsize::new(0);
    let is_done = AtomicBool::new(false);
    let rounds = std::thread::scope(|scope| {
        let _end = End(&is_done);
        let swapper = scope.spawn(|| {
            while !is_done.load(Ordering::Acquire) {
                fs::rename(&real, &aside).unwrap();
                symlink(&outside, &real).unwrap();
                fs::remove_file(&real).unwrap();
                fs::rename(&aside, &real).unwrap();
                swaps.fetch_add(1, Ordering::AcqRel);
            }
        });
        // As fast as this machine swaps, patches land until there were enough of both.
        let mut round = 0;
        while swaps.load(Ordering::Acquire) < amount(1_000, 10_000) || round == 0 {
            assert!(!swapper.is_finished());
            let (old, new) = (text(round), text(round + 1));
            // The link leads to what a patch expects, so that nothing but the link is in its way.
            for name in &names {
                put(&outside.join(name), old.as_bytes());
            }
            let before = tree(&outside);
            for (path, _) in &files {
                mallory.publish(&mallory.draft(path, old.as_bytes(), new.as_bytes()));
            }
            mallory.reaches(&alice);
            assert_eq!(tree(&outside), before);
            round += 1;
        }
        round
    });
    alice.pull();
    for (path, _) in &files {
        assert_eq!(alice.read(path), text(rounds));
    }
}

#[test]
fn case_039_bodies_that_unpack_to_a_gigabyte_or_to_nothing_cost_no_memory_and_are_refused() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    let mut mallory = Forger::join(&alice, "mallory");
    let zeros = std::io::repeat(0).take(1 << 30);
    let mut bomb = vec![FORMAT_ZSTD];
    zstd::stream::copy_encode(zeros, &mut bomb, 19).unwrap();
    let before = alice.peak_kib();
    let noise: Vec<u8> = (0..900_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761) as u8)
        .collect();
    let rounds = amount(24, 240);
    for _ in 0..rounds {
        for body in [&bomb[..], &noise, b""] {
            let entry = mallory.entry(body);
            mallory.push(&entry);
        }
    }
    mallory.reaches(&alice);
    for said in alice.events("refused", 3 * rounds) {
        assert_eq!(said["text"], "DECODE: its body does not open");
    }
    // Some pages of 8 MiB on their way through link, log and decoder, however much was sent.
    let grown = alice.peak_kib() - before;
    assert!(grown < amount(64, 128) << 10, "{grown} KiB");
}
