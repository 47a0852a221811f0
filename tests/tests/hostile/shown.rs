//! What is shown and logged: no escape sequence, no secret.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use aura_trust::Token;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use mothership_tests::{
    Laptop, Mothership, Outcome, Team,
    copy::tree,
    forger::{Forger, with_text},
    token,
};
use serde_json::Value;

use crate::members::score;

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

/// Both programs tell everything that they do.
fn traced(team: &Team) -> (Mothership, Laptop) {
    let box_ = team.serve_logged(&team.dir.path().join("box.log"));
    let alice = team.laptop("alice");
    (box_, alice)
}

/// A command that makes the daemon, if it starts it, write down everything.
fn tracing(laptop: &Laptop, args: &[&str]) -> Command {
    let mut command = laptop.plain_command();
    command.args(args);
    command.envs([("AURA_LOG", "trace"), ("RUST_BACKTRACE", "full")]);
    command
}

fn run(mut command: Command) -> Outcome {
    Outcome::of(command.output().unwrap())
}

#[test]
fn case_108_what_others_wrote_neither_moves_the_cursor_nor_starts_a_line() {
    let team = Team::new();
    let (box_, alice) = traced(&team);
    let first = token(&box_.ready);
    let join = ["join", &first, "--name", "alice", "--mode", "live"];
    assert_eq!(run(tracing(&alice, &join)).exit, 0);
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
    let text = format!("pub fn score(a: u32) -> u32 {{ \"{ESCAPES}\"; a }}");
    mallory.publish(&with_text(body, &text));
    mallory.publish(&mallory.creation("src/\u{1b}[2J.rs", ESCAPES));
    let mut named = mallory.creation("named.txt", ESCAPES);
    named.patch.touched[0].name = ESCAPES.to_owned();
    mallory.publish(&named);
    mallory.reaches(&alice);
    let revoke = ["peer", "revoke", "mallory", "--reason", ESCAPES];
    team.mothership(&revoke).ok();
    alice.event(|event| event["kind"] == "peer_gone");
    shows_calmly(&team, &alice);
    for log in [
        team.dir.path().join("box.log"),
        alice.home.join("daemon.log"),
    ] {
        let text = fs::read_to_string(&log).unwrap();
        is_calm("a log", &text);
        assert!(3 < text.lines().count(), "{}", log.display());
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            assert!(record["timestamp"].is_string(), "{line}");
        }
    }
}

/// Looks at everything that both programs show people.
fn shows_calmly(team: &Team, alice: &Laptop) {
    let id = alice.conflicts()[0]["id"].as_str().unwrap().to_owned();
    // Source text has lines of its own.
    let conflict = alice.plain(&["conflicts", "show", &id]);
    is_calm("a conflict", &conflict.stdout);
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
        assert!(rows.is_none_or(|rows| rows == lines), "{args:?}: {said:?}");
    }
    for args in BY_THE_OPERATOR {
        let said = team.plain_mothership(args);
        assert_eq!(said.exit, 0, "{said:?}");
        is_calm(&args.join(" "), &said.stdout);
        has_no_fake_line(&args.join(" "), &said.stdout);
    }
}

/// What an operator looks at.
const BY_THE_OPERATOR: [&[&str]; 5] = [
    &["peer", "list"],
    &["log"],
    &["wal", "tail"],
    &["status"],
    &["token", "list"],
];

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

/// Everything that can be found out about a process from outside, by name.
fn traces_of_process(pid: u32) -> [(String, String); 2] {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let limits = fs::read_to_string(proc.join("limits")).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core"));
    assert!(cores.unwrap().contains(" 0 "), "a core file: {cores:?}");
    ["cmdline", "environ"].map(|name| {
        let bytes = fs::read(proc.join(name)).unwrap();
        (
            name.to_owned(),
            String::from_utf8_lossy(&bytes).into_owned(),
        )
    })
}

#[test]
fn c85_case_109_no_key_token_or_text_stands_in_a_log_an_answer_or_the_process_list() {
    let team = Team::new();
    let (box_, alice) = traced(&team);
    let first = token(&box_.ready);
    let join = ["join", &first, "--name", "alice", "--mode", "live", "-v"];
    let mut said = vec![run(tracing(&alice, &join))];
    let auto = ["config", "set", "members.approve", "auto"];
    alice.aura(&auto).ok();
    let second = token(&alice.aura(&["invite"]).ok());
    let bob = team.laptop("bob");
    let mut join = tracing(&bob, &["join", "--name", "bob", "--mode", "live"]);
    join.env("AURA_JOIN_TOKEN", &second);
    said.push(run(join));
    let text = "canary_424242";
    alice.edit("src/risk.rs", "let cap = 100", &format!("let cap = {text}"));
    said.push(run(tracing(&alice, &["publish", "-m", "why", "-v"])));
    bob.applied("score");
    let words = ["msg", "send", "@bob", text, "-v"];
    said.push(run(tracing(&alice, &words)));
    let claim = ["zone", "claim", "load", "--why", text, "-v"];
    said.push(run(tracing(&alice, &claim)));
    let cut = &second[..second.len() - 3];
    let commands = [
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
    ];
    said.extend(commands.map(|args| run(tracing(&alice, args))));
    let again = ["join", &second, "--name", "eve"];
    said.push(run(tracing(&team.laptop("eve"), &again)));
    said.extend(BY_THE_OPERATOR.map(|args| team.plain_mothership(args)));

    let told = said.into_iter().map(|outcome| {
        let what = format!("{outcome:?}");
        (what, outcome.stdout + &outcome.stderr)
    });
    let pids = [alice.pid(), bob.pid(), box_.pid()].into_iter();
    let box_log = team.dir.path().join("box.log");
    let daemons = [&alice, &bob].map(|laptop| laptop.home.join("daemon.log"));
    let logs = daemons.into_iter().chain([box_log]).map(|log| {
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.contains("\"TRACE\""), "{} traces", log.display());
        (log.display().to_string(), text)
    });
    let secrets = secrets(&[&first, &second], &[&alice.home, &bob.home, &team.state()]);
    for (what, said) in told.chain(pids.flat_map(traces_of_process)).chain(logs) {
        let leaked = secrets.iter().find(|secret| said.contains(secret.as_str()));
        assert_eq!(leaked, None, "in {what}");
        assert!(!said.contains(text), "source text in {what}");
    }
}

/// The tokens and the keys below these directories, in all spellings.
fn secrets(tokens: &[&str], homes: &[&Path]) -> Vec<String> {
    let mut secrets = Vec::new();
    for text in tokens {
        let windows = (0..text.len() - 32).step_by(16);
        secrets.extend(windows.map(|at| text[at..at + 32].to_owned()));
        secrets.push(Token::parse(text).unwrap().jwt.to_string());
    }
    for home in homes {
        let keys = keys(home);
        assert!(2 < keys.len(), "keys of {}", home.display());
        secrets.extend(keys.iter().flat_map(|key| spellings(key)));
    }
    secrets
}
