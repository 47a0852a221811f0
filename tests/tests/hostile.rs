//! What bad members, other users of the machine and bad input must not be able to do to a laptop.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, chown, symlink},
        net::UnixListener,
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use aura_api::socket;
use aura_engine::peer::body::PatchBody;
use aura_semantic::{Op, UnitId};
use aura_trust::Token;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use mothership_tests::{
    Laptop, Outcome, RISK, Team, amount,
    copy::{put, tree},
    forger::{Forger, with_text},
    token,
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
fn score(mallory: &Forger) -> PatchBody {
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

/// Sets the title, rings, clears the screen, turns text around, and begins a line of its own.
const ESCAPES: &str =
    "x\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{2028}\r\n{\"level\":\"INFO\",\"fake\":1}\n";

/// Asserts that a text moves no cursor and turns nothing around.
#[track_caller]
fn is_calm(what: &str, text: &str) {
    let turns = |c: char| matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_wild = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || turns(c);
    assert!(!text.chars().any(is_wild), "{what}: {text:?}");
}

/// Asserts that nothing in a text starts a line that it was not given.
#[track_caller]
fn has_no_fake_line(what: &str, text: &str) {
    let is_fake = |line: &str| {
        line.trim_start()
            .starts_with("{\"level\":\"INFO\",\"fake\"")
    };
    assert!(!text.lines().any(is_fake), "{what}: {text:?}");
}

#[test]
fn case_108_what_others_wrote_neither_moves_the_cursor_nor_starts_a_line() {
    let team = Team::new();
    let box_log = team.dir.path().join("box.log");
    let box_ = team.serve_logged(&box_log);
    let alice = team.laptop("alice");
    let first = token(&box_.ready);
    let join = ["join", &first, "--name", "alice", "--mode", "live"];
    let joined = alice.command().env("AURA_LOG", "trace").args(join).output();
    assert!(joined.unwrap().status.success());
    alice.publishes_on_demand();
    let mut mallory = Forger::join(&alice, "mallory");
    // A name like that is not given to anybody.
    let invite = token(&alice.aura(&["invite"]).ok());
    let named = mallory.try_join(&invite, ESCAPES);
    assert!(named.unwrap_err().contains("DECODE"));
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    alice.aura(&["publish", "-m", ESCAPES]).ok();
    let mut body = score(&mallory);
    body.why = Some(ESCAPES.to_owned());
    body.patch.touched[0].name = ESCAPES.to_owned();
    mallory.publish(&with_text(
        body,
        &format!("pub fn score(a: u32) -> u32 {{ \"{ESCAPES}\"; a }}"),
    ));
    mallory.publish(&mallory.creation("src/\u{1b}[2J.rs", ESCAPES));
    let mut gone = mallory.creation("gone.txt", ESCAPES);
    gone.patch.touched[0].name = ESCAPES.to_owned();
    mallory.publish(&gone);
    mallory.reaches(&alice);
    team.mothership(&["peer", "revoke", "mallory", "--reason", ESCAPES])
        .ok();
    alice.event(|event| event["kind"] == "peer_gone");
    let id = alice.conflicts()[0]["id"].as_str().unwrap().to_owned();
    // Source text has lines of its own.
    is_calm(
        "a conflict",
        &alice.plain(&["conflicts", "show", &id]).stdout,
    );
    let told = [
        (&["status"][..], None),
        (&["status", "--short"], Some(1)),
        (&["log"], Some(5)),
        (&["conflicts"], Some(2)),
        (&["pull"], None),
        (&["diff"], None),
        (&["peers"], Some(2)),
        (&["members"], Some(2)),
        (&["watch", "--since", "0", "--timeout", "200ms"], None),
        (&["resolve", ESCAPES, "--mine"], None),
        (&["undo", ESCAPES], None),
        (&["daemon", "logs"], None),
    ];
    for (args, rows) in told {
        let said = alice.plain(args);
        for text in [&said.stdout, &said.stderr] {
            is_calm(&args.join(" "), text);
            has_no_fake_line(&args.join(" "), text);
        }
        let lines = said.stdout.lines().count();
        assert!(
            rows.is_none_or(|rows| rows == lines),
            "{args:?}: {}",
            said.stdout
        );
    }
    let by_the_operator = [
        &["peer", "list"][..],
        &["log"],
        &["wal", "tail"],
        &["status"],
        &["token", "list"],
    ];
    for args in by_the_operator {
        let said = team.plain_mothership(args);
        assert_eq!(said.exit, 0, "{said:?}");
        is_calm(&args.join(" "), &said.stdout);
        has_no_fake_line(&args.join(" "), &said.stdout);
    }
    for log in [box_log, alice.home.join("daemon.log")] {
        let text = fs::read_to_string(&log).unwrap();
        is_calm("a log", &text);
        assert!(3 < text.lines().count(), "{}", log.display());
        for line in text.lines() {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(record["timestamp"].is_string(), "{line}");
        }
    }
}

/// A secret in every spelling that a careless line could give it.
fn spellings(secret: &[u8]) -> Vec<String> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let listed: Vec<String> = secret.iter().map(u8::to_string).collect();
    let base32 = aura_proto::ids::base32().encode(secret);
    vec![
        hex.to_uppercase(),
        hex,
        listed.join(", "),
        listed.join(","),
        BASE64_NOPAD.encode(secret),
        BASE64URL_NOPAD.encode(secret),
        base32.to_uppercase(),
        base32,
    ]
}

/// The files of a directory whose names end in `.key`, without what every key file begins with.
fn keys(directory: &Path) -> Vec<Vec<u8>> {
    let files = tree(directory).into_iter();
    let keys = files.filter(|(name, _)| name.ends_with(".key"));
    keys.map(|(_, bytes)| bytes[bytes.len().saturating_sub(24)..].to_vec())
        .collect()
}

#[test]
fn case_109_no_key_token_or_text_stands_in_a_log_an_answer_or_the_process_list() {
    let team = Team::new();
    let mut said = Vec::new();
    let box_log = team.dir.path().join("box.log");
    let box_ = team.serve_logged(&box_log);
    let first = token(&box_.ready);
    let alice = team.laptop("alice");
    let traced = |laptop: &Laptop, args: &[&str]| {
        let mut command = laptop.plain_command();
        command
            .env("AURA_LOG", "trace")
            .env("RUST_BACKTRACE", "full");
        Outcome::of(command.args(args).output().unwrap())
    };
    said.push(traced(
        &alice,
        &["join", &first, "--name", "alice", "--mode", "live", "-v"],
    ));
    alice
        .aura(&["config", "set", "members.approve", "auto"])
        .ok();
    let second = token(&alice.aura(&["invite"]).ok());
    let bob = team.laptop("bob");
    let joined = bob
        .command()
        .args(["join", "--name", "bob", "--mode", "live"])
        .envs([("AURA_JOIN_TOKEN", &second[..]), ("AURA_LOG", "trace")])
        .output();
    said.push(Outcome::of(joined.unwrap()));
    let canary = "canary_424242";
    alice.edit(
        "src/risk.rs",
        "let cap = 100",
        &format!("let cap = {canary}"),
    );
    said.push(traced(&alice, &["publish", "-m", "why", "-v"]));
    bob.applied("score");
    let cut = &second[..second.len() - 3];
    for args in [
        &["join", &second, "--name", "eve"][..],
        &["join", cut, "--json"],
        &["join", &first, "--frobnicate"],
        &["status", &first],
        &["status", "-v"],
        &["whoami"],
        &["peers", "--json"],
        &["log", "--json"],
        &["members"],
        &["daemon", "logs"],
    ] {
        said.push(traced(&alice, args));
    }
    said.push(traced(
        &team.laptop("eve"),
        &["join", &second, "--name", "eve"],
    ));
    for args in [
        &["status"][..],
        &["token", "list"],
        &["log"],
        &["wal", "tail"],
        &["peer", "list"],
    ] {
        said.push(team.plain_mothership(args));
    }
    let mut texts: Vec<(String, String)> = said
        .into_iter()
        .map(|outcome| (format!("{outcome:?}"), outcome.stdout + &outcome.stderr))
        .collect();
    for pid in [alice.pid(), bob.pid(), box_.pid()] {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let limits = fs::read_to_string(proc.join("limits")).unwrap();
        let cores = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        assert!(cores.unwrap().contains(" 0 "), "{cores:?}");
        for name in ["cmdline", "environ"] {
            let bytes = fs::read(proc.join(name)).unwrap();
            texts.push((
                name.to_owned(),
                String::from_utf8_lossy(&bytes).into_owned(),
            ));
        }
    }
    for log in [
        &box_log,
        &alice.home.join("daemon.log"),
        &bob.home.join("daemon.log"),
    ] {
        let text = fs::read_to_string(log).unwrap();
        assert!(text.contains("\"TRACE\""), "{} traces", log.display());
        texts.push((log.display().to_string(), text));
    }
    let mut secrets: Vec<String> = vec![canary.to_owned()];
    for text in [&first, &second] {
        let windows = (0..text.len() - 32).step_by(16);
        secrets.extend(windows.map(|at| text[at..at + 32].to_owned()));
        secrets.push(Token::parse(text).unwrap().jwt.to_string());
    }
    for directory in [&alice.home, &bob.home, &team.state()] {
        let keys = keys(directory);
        assert!(2 < keys.len(), "keys of {}", directory.display());
        secrets.extend(keys.iter().flat_map(|key| spellings(key)));
    }
    for (what, text) in &texts {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} in {what}");
        }
    }
}

/// A user of the machine who is not the one that runs the daemon.
const NOBODY: u32 = 65_534;

#[test]
fn case_107_another_user_of_the_machine_hears_nothing() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let open = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(team.dir.path(), 0o755);
    let knock = team.dir.path().join("knock");
    fs::copy(env!("CARGO_BIN_EXE_knock"), &knock).unwrap();
    let knocks = |uid: u32, socket: &Path| {
        let mut command = Command::new(&knock);
        let output = command.arg(socket).uid(uid).gid(uid).output();
        output.expect("only root can be two users")
    };
    for (socket, answer) in [
        (alice.home.join("run/daemon.sock"), "aura.whoami/1"),
        (team.state().join("admin.sock"), "AE-REQUEST"),
    ] {
        let own = knocks(0, &socket);
        assert!(
            String::from_utf8_lossy(&own.stdout).contains(answer),
            "{own:?}"
        );
        let refused = knocks(NOBODY, &socket);
        let why = String::from_utf8_lossy(&refused.stderr);
        assert!(why.contains("PermissionDenied"), "{refused:?}");
        // Even where its owner has left every door open.
        for path in socket.ancestors().skip(1).take(3) {
            open(path, 0o755);
        }
        open(&socket, 0o666);
        let unheard = knocks(NOBODY, &socket);
        assert!(unheard.stdout.is_empty(), "{unheard:?}");
    }
}

#[test]
fn case_107_a_runtime_directory_that_another_user_made_is_not_used() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    for (name, owner, mode) in [("bob", Some(NOBODY), 0o700), ("carol", None, 0o777)] {
        let laptop = team.laptop(name);
        let run = laptop.home.join("run");
        fs::create_dir_all(&run).unwrap();
        chown(&run, owner, None).unwrap();
        fs::set_permissions(&run, fs::Permissions::from_mode(mode)).unwrap();
        for args in [
            &["daemon", "run"][..],
            &["up"],
            &["join", &token(&box_.ready)],
        ] {
            let refused = laptop.aura(args).fails(16, "AE-UNSAFE");
            let message = refused["error"]["message"].as_str().unwrap();
            assert!(message.contains(run.to_str().unwrap()), "{message}");
        }
        assert_eq!(fs::read_dir(&run).unwrap().count(), 0);
        fs::remove_dir(&run).unwrap();
    }
}

#[test]
fn case_107_a_line_of_a_gigabyte_is_cut_off_and_others_are_served() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "observe");
    let before = alice.peak_kib();
    for (dir, name) in [
        (alice.home.join("run"), "daemon.sock"),
        (team.state(), "admin.sock"),
    ] {
        let mut stream = socket::connect(&dir, name).unwrap();
        let chunk = vec![b' '; 1 << 20];
        let sent = (0..1 << 10)
            .take_while(|_| stream.write_all(&chunk).is_ok())
            .count();
        assert!(sent < 16, "{sent} MiB were taken");
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert!(answer.contains("\"TOO_LARGE\""), "{answer}");
    }
    assert!(alice.peak_kib() < before + (8 << 10));
    alice.aura(&["status"]).ok();
    team.mothership(&["status"]).ok();
}

#[test]
fn case_083_a_directory_swapped_for_a_link_while_patches_land_leads_nowhere() {
    let (old, new) = (
        "fn number() -> u8 {\n    1\n}\n",
        "fn number() -> u8 {\n    2\n}\n",
    );
    let names: Vec<String> = (0..amount(80, 800)).map(|n| format!("f{n}.rs")).collect();
    let files: Vec<(String, &str)> = names.iter().map(|n| (format!("src/d/{n}"), old)).collect();
    let team = Team::with(&files);
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.founder(&box_, "live");
    alice.publishes_on_demand();
    let mut mallory = Forger::join(&alice, "mallory");
    let (real, aside) = (alice.repo.join("src/d"), alice.repo.join("src/aside"));
    // The link leads to what a patch expects, so that nothing but the link is in its way.
    let outside = team.dir.path().join("outside");
    for name in &names {
        put(&outside.join(name), old.as_bytes());
    }
    let before = tree(&outside);
    let is_done = AtomicBool::new(false);
    let swaps = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = 0;
            while !is_done.load(Ordering::Acquire) {
                fs::rename(&real, &aside).unwrap();
                symlink(&outside, &real).unwrap();
                fs::remove_file(&real).unwrap();
                fs::rename(&aside, &real).unwrap();
                swaps += 1;
            }
            swaps
        });
        for (path, _) in &files {
            mallory.publish(&mallory.draft(path, old.as_bytes(), new.as_bytes()));
        }
        mallory.reaches(&alice);
        is_done.store(true, Ordering::Release);
        swapper.join().unwrap()
    });
    assert!(amount(1_000, 10_000) < swaps, "{swaps} swaps");
    assert_eq!(tree(&outside), before);
    alice.pull();
    for (path, _) in &files {
        assert_eq!(alice.read(path), new);
    }
}

#[test]
fn s08_a_working_tree_full_of_traps_is_served_within_bounds() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    let outside = team.dir.path().join("outside");
    put(&outside.join("secret.rs"), b"fn secret() {}\n");
    let functions = amount(20_000, 100_000);
    let many: String = (0..functions)
        .map(|n| format!("fn f{n}() -> u32 {{\n    {n}\n}}\n"))
        .collect();
    alice.save("many.rs", &many);
    alice.save("line.rs", "x".repeat(100 << 20));
    alice.save("nested.rs", "(".repeat(1_000_000) + &")".repeat(1_000_000));
    alice.save("unclosed.ts", "[{".repeat(500_000));
    alice.save("latin.rs", b"fn l() {\n    \"caf\xe9\xff\";\n}\n");
    let name = |bytes: &[u8]| alice.repo.join(OsStr::from_bytes(bytes));
    let names: [&[u8]; 12] = [
        b"two\nlines.rs",
        b"esc\x1b[2J.rs",
        "bidi\u{202e}sr.rs".as_bytes(),
        b"latin\xe9.rs",
        b".GIT/config",
        b".git./config",
        b"git~1/config",
        ".g\u{200c}it/config".as_bytes(),
        b"sub/.Git/hooks/post-checkout",
        b".aura/config",
        b"COM1.rs",
        b"back\\slash.rs",
    ];
    for bytes in names {
        put(&name(bytes), b"fn trap() {}\n");
    }
    symlink(&outside, name(b"out")).unwrap();
    symlink(outside.join("secret.rs"), name(b"secret.rs")).unwrap();
    symlink("loop", name(b"loop")).unwrap();
    symlink("/dev/zero", name(b"zero.rs")).unwrap();
    for device in [["pipe.rs", "p"].as_slice(), &["zeroes.rs", "c", "1", "5"]] {
        let mut command = Command::new("mknod");
        let made = command.args(device).current_dir(&alice.repo).status();
        assert!(made.unwrap().success(), "only root can make {device:?}");
    }
    UnixListener::bind(name(b"socket.rs")).unwrap();
    let traps = [
        ("many.rs", 0, "\"problems\":[]"),
        ("line.rs", 0, "too_large"),
        ("nested.rs", 0, "too_deep"),
        ("unclosed.ts", 0, "too_deep"),
        ("latin.rs", 0, "\"l\""),
        ("two\nlines.rs", 0, "trap"),
        ("bidi\u{202e}sr.rs", 0, "trap"),
        ("zeroes.rs", 2, "larger than"),
        ("socket.rs", 2, "cannot read"),
        ("out", 2, "cannot read"),
        ("loop", 2, "cannot read"),
    ];
    for (file, exit, answer) in traps {
        let outlined = alice.aura(&["outline", file]);
        assert_eq!(outlined.exit, exit, "{file:?}");
        assert!(outlined.stdout.contains(answer), "{file:?}");
    }

    alice.join(&token(&box_.ready), "alice", "live").ok();
    assert!(
        alice.cpu_ms() < amount(5_000, 25_000),
        "{} ms",
        alice.cpu_ms()
    );
    alice
        .aura(&["config", "set", "members.approve", "auto"])
        .ok();
    let bob = team.member(&alice, "bob", "live");
    let outside_before = tree(&outside);
    let cpu = alice.cpu_ms();
    alice.save("many.rs", many.replacen("    500\n", "    501\n", 1));
    alice.save("nested.rs", "(".repeat(1_000_001));
    for bytes in names {
        put(&name(bytes), b"fn trap() { 1 }\n");
    }
    alice.edit("src/risk.rs", "let cap = 100", "let cap = 250");
    alice.aura(&["publish"]).ok();
    bob.applied("score");
    let cpu = alice.cpu_ms() - cpu;
    assert!(cpu < amount(5_000, 25_000), "{cpu} ms");
    let peak = alice.peak_kib();
    assert!(peak < amount(160, 512) << 10, "{peak} KiB");
    // One unit of a large file travels by itself, and nothing of a trap travels at all.
    let mut symbols: Vec<String> = alice
        .log(&[])
        .iter()
        .map(|op| op["symbol"].as_str().unwrap().to_owned())
        .collect();
    symbols.sort();
    assert_eq!(symbols, ["many.rs::f500", "src/risk.rs::score"]);
    assert_eq!(bob.files().into_keys().collect::<Vec<_>>(), ["src/risk.rs"]);
    assert_eq!(tree(&outside), outside_before);
}
