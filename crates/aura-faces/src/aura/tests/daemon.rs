//! Requests, replies and the codes that commands end with.
//!
//! Invariant: the daemon is a script; no network, no waiting.

use std::time::Duration;

use super::{super::client::Limit, *};

#[test]
fn requests_name_the_directory_that_c_names() {
    let laptop = Laptop::new();
    let below = laptop.dir.path().join("clone");
    fs::create_dir(&below).unwrap();
    laptop.daemon(|request| done(json!({"schema": "x/1", "repo": request.repo})));
    let asked = laptop.run(&["-C", "clone", "peers", "--json"]).json();
    let expected = fs::canonicalize(below).unwrap();
    assert_eq!(asked["repo"], expected.to_str().unwrap());
}

#[test]
fn arguments_become_the_calls_of_the_contract() {
    let laptop = repeating();
    let file = laptop.file("text", "fn a() {}\n");
    let table: [(&[&str], Value); 13] = [
        (
            &["publish", "-m", "why", "a", "b", "--no-wait"],
            json!({"call": "publish", "args": {"why": "why", "symbols": ["a", "b"], "no_wait": true}}),
        ),
        (
            &["pull", "--from", "bob", "--dry-run"],
            json!({"call": "pull", "args": {"symbols": [], "from": "bob", "path": null, "dry_run": true}}),
        ),
        (
            &["log", "a", "-n", "3"],
            json!({"call": "log", "args": {"symbol": "a", "actor": null, "since_ms": null, "auto": false, "limit": 3}}),
        ),
        (
            &["log", "--actor", "bob", "--since", "2h", "-n", "3"],
            json!({"call": "log", "args": {"symbol": null, "actor": "bob", "since_ms": 7_200_000, "auto": false, "limit": 3}}),
        ),
        (
            &["conflicts", "show", "c-1"],
            json!({"call": "conflicts", "args": {"id": "c-1"}}),
        ),
        (
            &["resolve", "c-1", "--both"],
            json!({"call": "resolve", "args": {"ids": ["c-1"], "choice": "both"}}),
        ),
        (
            &["resolve", "c-1", "--with", &file],
            json!({"call": "resolve", "args": {"ids": ["c-1"], "choice": {"with": {"bytes": b"fn a() {}\n"}}}}),
        ),
        (
            &["undo", "o-1"],
            json!({"call": "undo", "args": {"op": "o-1"}}),
        ),
        (
            &["wait", "--for", "peer:bob", "--timeout", "3s"],
            json!({"call": "wait", "args": {"wanted": "peer:bob", "timeout_ms": 3000}}),
        ),
        (
            &["mode", "live"],
            json!({"call": "mode", "args": {"set": "live"}}),
        ),
        (
            &[
                "invite", "--for", "al", "--uses", "2", "--ttl", "2d", "--role", "agent",
            ],
            json!({"call": "invite", "args": {"name": "al", "role": "agent", "uses": 2, "ttl_s": 172_800}}),
        ),
        (
            &["members", "approve", "bob"],
            json!({"call": "approve", "args": {"names": ["bob"], "all": false}}),
        ),
        (
            &["config", "set", "publish", "intent"],
            json!({"call": "config_set", "args": {"key": "publish", "value": "intent"}}),
        ),
    ];
    check_calls(&laptop, &table);
}

#[test]
fn questions_about_the_past_become_the_calls_of_the_contract() {
    let table: [(&[&str], Value); 7] = [
        (
            &[
                "log",
                "--auto",
                "--since",
                "2026-11-20T13:05:10Z",
                "-n",
                "3",
            ],
            json!({"call": "log", "args": {"symbol": null, "actor": null, "since_ms": 1_000, "auto": true, "limit": 3}}),
        ),
        (
            &["log", "--dag", "--quick"],
            json!({"call": "dag", "args": {"symbol": null, "quick": true}}),
        ),
        (
            &["show", "o-1"],
            json!({"call": "show", "args": {"what": "o-1", "at": null}}),
        ),
        (
            &["show", "score", "--at", "57"],
            json!({"call": "show", "args": {"what": "score", "at": {"seq": 57}}}),
        ),
        (
            &["blame", "src/risk.rs"],
            json!({"call": "blame", "args": {"path": "src/risk.rs"}}),
        ),
        (
            &["find", "sco", "-n", "2"],
            json!({"call": "find", "args": {"text": "sco", "at": null, "limit": 2}}),
        ),
        (
            &["restore", "score", "--at", "o-1", "--dry-run"],
            json!({"call": "restore", "args": {"symbol": "score", "at": {"op": "o-1"}, "why": null, "dry_run": true}}),
        ),
    ];
    check_calls(&repeating(), &table);
}

/// A laptop whose daemon says what it was asked.
fn repeating() -> Laptop {
    let laptop = Laptop::new();
    laptop.daemon(|request| {
        let call = value(&request.call);
        done(json!({"schema": "x/1", "call": call, "settings": [1], "conflicts": [{"id": "c-1"}]}))
    });
    laptop
}

#[track_caller]
fn check_calls(laptop: &Laptop, table: &[(&[&str], Value)]) {
    for (args, expected) in table {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        assert_eq!(laptop.run(&args).json()["call"], *expected, "{args:?}");
    }
}

#[test]
fn impact_is_asked_by_symbol_and_closed_or_put_off_by_id() {
    let laptop = Laptop::new();
    laptop.daemon(|request| {
        let call = value(&request.call);
        let alert = json!({
            "id": "i-7", "caller": "src/api.rs::quote", "callee": "src/risk.rs::load", "kind": "signature",
            "confidence": "certain", "via": null, "author": "carol", "branch": "refs/heads/main", "op": "o-1",
            "since": "2026-11-20T13:02:07Z"
        });
        done(json!({
            "schema": "aura.impact/1", "call": call, "ready": true, "alerts": [alert], "symbol": null, "callers": [],
            "acked": []
        }))
    });
    let asked = |args: &[&str]| laptop.run(&[args, &["--json"]].concat()).json()["call"].clone();
    let call = |symbol: Value, ack: Value, snooze_ms: Value| json!({"call": "impact", "args": {"symbol": symbol, "ack": ack, "snooze_ms": snooze_ms}});
    let of = |symbol: Value, ack: Value| call(symbol, ack, Value::Null);
    assert_eq!(asked(&["impact"]), of(Value::Null, json!([])));
    assert_eq!(asked(&["impact", "a::b"]), of(json!("a::b"), json!([])));
    assert_eq!(
        asked(&["impact", "ack", "i-7"]),
        of(Value::Null, json!(["i-7"]))
    );
    assert_eq!(
        asked(&["impact", "snooze", "2h"]),
        call(Value::Null, json!([]), json!(7_200_000))
    );
    assert_eq!(
        asked(&["impact", "snooze", "1s", "i-7"]),
        call(Value::Null, json!(["i-7"]), json!(1_000))
    );
    let shown = laptop.run(&["impact"]).out;
    assert!(
        shown.contains("i-7  src/api.rs::quote  src/risk.rs::load"),
        "{shown}"
    );
}

#[test]
fn a_token_is_sent_and_never_printed() {
    let token = "ms1-c7q2wabcdef-9d";
    let mut laptop = Laptop::new();
    laptop.input = format!("{token}\n");
    laptop.daemon(move |request| match request.call {
        Call::Join {
            token: Some(sent), ..
        } if sent == token => {
            vec![Reply::Failed(Failure::new(
                "AE-TOKEN-USED",
                Exit::REFUSED,
                format!("{sent} was used"),
            ))]
        }
        other => panic!("{other:?}"),
    });
    for args in [
        &["join", token][..],
        &["join", "-"],
        &["join", token, "--json", "-vv"],
    ] {
        let run = laptop.run(args);
        assert_eq!(run.exit(), 4);
        assert!(
            !run.out.contains("c7q2") && !run.err.contains("c7q2"),
            "{}{}",
            run.out,
            run.err
        );
    }
    laptop.env.push(("AURA_JOIN_TOKEN", token.into()));
    assert_eq!(laptop.run(&["join"]).exit(), 4);
}

#[test]
fn what_was_queued_or_left_ends_with_its_own_code() {
    let table = [
        (
            "publish",
            json!({"schema": "aura.publish/1", "ops": [], "seq": null, "state": "queued", "held_back": []}),
            11,
        ),
        (
            "publish",
            json!({"schema": "aura.publish/1", "ops": [], "seq": null, "state": "nothing", "held_back": []}),
            0,
        ),
        ("pull", pulled("applied"), 0),
        ("pull", pulled("waiting"), 11),
        ("pull", stays("BASE_MISMATCH"), 9),
        ("pull", stays("NOT_ONE_FUNCTION"), 2),
        ("pull", stays("NO_SPACE"), 13),
        ("pull", stays("UNSAFE_TARGET"), 16),
        ("pull", pulled("conflict"), 7),
    ];
    for (command, document, exit) in table {
        let laptop = Laptop::new();
        let answer = document.clone();
        laptop.daemon(move |_| done(answer.clone()));
        assert_eq!(laptop.run(&[command]).exit(), exit, "{document}");
        assert_eq!(laptop.run(&[command, "--json"]).exit(), exit, "{document}");
    }
    let laptop = Laptop::new();
    laptop.daemon(|_| done(pulled("conflict")));
    assert_eq!(laptop.run(&["pull", "--dry-run"]).exit(), 0);
}

fn pulled(outcome: &str) -> Value {
    let unit =
        json!({"symbol": "a", "path": "a.rs", "from": "bob", "outcome": outcome, "why": null});
    json!({"schema": "aura.pull/1", "units": [unit], "applied": 0, "op": null})
}

fn stays(id: &str) -> Value {
    let mut document = pulled("waiting");
    document["units"][0]["why"] = format!("{id}: why").into();
    document
}

#[test]
fn a_daemon_that_goes_away_or_answers_nonsense_is_a_failure() {
    let laptop = Laptop::new();
    laptop.home().prepare().unwrap();
    let listener = socket::bind(&laptop.home().run_dir(), DAEMON_SOCKET).unwrap();
    thread::spawn(move || {
        for (turn, stream) in listener.incoming().flatten().enumerate() {
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            if turn == 1 {
                writeln!(&stream, "nonsense").unwrap();
            }
        }
    });
    assert_eq!(
        laptop.run(&["peers", "--json"]).json()["error"]["id"],
        "AE-DAEMON"
    );
    let run = laptop.run(&["peers", "--json"]);
    assert_eq!(
        (run.exit(), &run.json()["error"]["id"]),
        (17, &json!("AE-PROTOCOL"))
    );
}

#[test]
fn a_silent_daemon_is_given_up_after_the_timeout() {
    let laptop = Laptop::new();
    laptop.daemon(|_| Vec::new());
    let run = laptop.run(&["peers", "--timeout", "10ms"]);
    assert_eq!(run.exit(), 75);
    assert!(run.err.contains("[AE-TIMEOUT]"), "{}", run.err);
}

#[test]
fn events_are_filtered_and_a_cut_stream_is_a_failure() {
    let laptop = Laptop::new();
    laptop.daemon(|_| {
        let event = |seq: u64, kind: &str, symbol: Option<&str>| {
            Reply::Event(value(&docs::Event {
                schema: docs::Event::SCHEMA.to_owned(),
                seq,
                at: "x".to_owned(),
                kind: kind.to_owned(),
                repo: None,
                symbol: symbol.map(str::to_owned),
                actor: None,
                text: "text".to_owned(),
                data: Value::Null,
            }))
        };
        vec![
            event(1, "link", None),
            event(2, "conflict", Some("a.rs::A::b")),
            event(3, "conflict", Some("a.rs::xb")),
            event(4, "gap", Some("a.rs::A::b")),
            Reply::Failed(Failure::new("AE-DAEMON", Exit::NO_DAEMON, "stops")),
        ]
    });
    let run = laptop.run(&["watch", "--type", "conflict", "--symbol", "b", "--json"]);
    let lines: Vec<Value> = run
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let numbers: Vec<&Value> = lines.iter().map(|line| &line["seq"]).collect();
    assert_eq!(numbers, [&json!(2), &json!(4), &Value::Null]);
    assert_eq!(
        (run.exit(), &lines[2]["error"]["id"]),
        (5, &json!("AE-DAEMON"))
    );
}

#[test]
fn what_is_said_of_a_publication_is_what_happened() {
    let answer = |state: &str, ops: u64, explained: u64, queued: u64| {
        let op = json!({
            "op": "o-1", "symbol": "a.rs::a", "kind": "replace", "author": "alice",
            "at": "2026-11-20T13:05:00Z", "seq": null, "why": "w", "version": "v1",
        });
        let ops: Vec<Value> = (0..ops).map(|_| op.clone()).collect();
        json!({
            "schema": "aura.publish/1", "ops": ops, "seq": null, "state": state, "held_back": [],
            "explained": explained, "queued": queued,
        })
    };
    let table: [(Value, &str, u8); 6] = [
        (answer("nothing", 0, 0, 0), "nothing to publish\n", 11),
        (
            answer("queued", 0, 0, 2),
            "nothing new to publish; 2 wait until the mothership is reached\n",
            11,
        ),
        (
            answer("queued", 1, 0, 1),
            "queued 1 change; sent when the mothership is reached\n",
            11,
        ),
        (
            answer("published", 1, 1, 0),
            "gave the reason to 1 change published before\n",
            0,
        ),
        (answer("published", 2, 0, 0), "published 2 changes\n", 0),
        (
            answer("published", 3, 1, 0),
            "published 2 changes\ngave the reason to 1 change published before\n",
            0,
        ),
    ];
    for (document, said, exit) in table {
        let laptop = Laptop::new();
        let answer = document.clone();
        laptop.daemon(move |_| done(answer.clone()));
        let run = laptop.run(&["publish", "-m", "w"]);
        assert!(run.out.starts_with(said), "{document}: {}", run.out);
        assert_eq!(run.exit(), exit, "{document}");
    }
}

#[test]
fn a_field_that_the_answer_does_not_have_is_wrong_usage() {
    let laptop = Laptop::new();
    laptop.daemon(|_| {
        let rows = json!([{"name": "bob"}]);
        done(json!({"schema": "aura.peers/1", "peers": rows, "none": null, "empty": []}))
    });
    let run = laptop.run(&["peers", "--json=peers.name,none.x,empty.x"]);
    assert_eq!(run.exit(), 0, "{}", run.out);
    for fields in ["--json=bogus", "--json=peers.bogus", "--json=schema.x"] {
        let run = laptop.run(&["peers", fields]);
        let id = run.json()["error"]["id"].clone();
        assert_eq!((run.exit(), id), (2, "AE-USAGE".into()), "{fields}");
    }
}

#[test]
fn an_answer_that_comes_after_the_given_time_is_too_late() {
    let laptop = Laptop::new();
    laptop.daemon(|_| {
        let late = Limit::from_now(Some(Duration::from_millis(2)));
        while !late.is_over() {
            thread::yield_now();
        }
        done(json!({"schema": "x/1"}))
    });
    let run = laptop.run(&["peers", "--timeout", "1ms", "--json"]);
    let id = run.json()["error"]["id"].clone();
    assert_eq!((run.exit(), id), (75, "AE-TIMEOUT".into()));
    assert_eq!(laptop.run(&["peers", "--json"]).exit(), 0);
}
