//! `doctor` and `bugreport` against a daemon that answers from a script.
//!
//! Invariant: no canary that is put into the state comes out in a report.

use aura_api::Next;

use super::*;

/// What a daemon answers that has joined a team, with another status.
fn answers(changed: docs::Status) -> impl Fn(Request) -> Vec<Reply> + Send + Sync + 'static {
    move |request| {
        done(match request.call {
            Call::Hello => json!({"schema": "aura.hello/1", "version": env!("CARGO_PKG_VERSION"),
                "pid": 1, "home": "h", "repos": []}),
            Call::Whoami => json!({"schema": "aura.whoami/1", "name": "alice@thinkpad",
                "peer": "QUOKKAKEY", "device_words": "quokka-words", "team": "acme",
                "team_id": "t", "role": "admin", "ca_words": "w",
                "certificate_until": "2026-11-27T13:05:11Z", "reads": true}),
            Call::Netcheck { .. } => json!({"schema": "aura.netcheck/1", "mothership": "up",
                "rtt_ms": 1, "visibility": "open", "reachable": "direct",
                "listens": [{"address": "10.9.8.7:4711", "class": "lan"}], "peers": []}),
            _ => value(&changed),
        })
    }
}

/// The state of a check.
#[track_caller]
fn state(doctor: &Value, name: &str) -> String {
    let checks = doctor["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name);
    let check = check.unwrap_or_else(|| panic!("no {name}: {doctor}"));
    let state = check["state"].as_str().unwrap().to_owned();
    let steps = check["next"].as_array().unwrap().len();
    assert_eq!(steps == 0, state == "ok", "{check}");
    state
}

fn with_path() -> Laptop {
    let mut laptop = Laptop::new();
    laptop.env.push(("PATH", std::env::var_os("PATH").unwrap()));
    laptop
}

#[test]
fn a_doctor_starts_no_daemon_and_ends_with_1_only_if_something_fails() {
    let mut laptop = with_path();
    laptop.script("touch \"$AURA_HOME/started\"");
    let run = laptop.run(&["doctor", "--json"]);
    let doctor = run.json();
    assert_eq!((run.exit(), state(&doctor, "home").as_str()), (0, "warn"));
    assert_eq!(state(&doctor, "daemon"), "ok");
    assert_eq!(state(&doctor, "git"), "ok");
    assert_eq!(state(&doctor, "clone"), "warn");
    assert!(!laptop.home().root().exists());
    laptop.home().prepare().unwrap();
    fs::create_dir(laptop.home().identity_dir()).unwrap();
    let doctor = laptop.run(&["doctor", "--json"]).json();
    assert_eq!(
        (
            state(&doctor, "home").as_str(),
            state(&doctor, "daemon").as_str()
        ),
        ("ok", "warn")
    );
    let open = fs::Permissions::from_mode(0o770);
    fs::set_permissions(laptop.home().root(), open).unwrap();
    let run = laptop.run(&["doctor"]);
    assert_eq!(run.exit(), 1, "{}", run.out);
    assert!(run.out.contains("FAIL  home"), "{}", run.out);
    let next = format!("next: chmod go-rwx {}\n", laptop.home().root().display());
    assert!(run.out.contains(&next), "{}", run.out);
    let run = laptop.run(&["doctor", "--fix", "--json"]);
    let fixed = run.json();
    assert_eq!((run.exit(), state(&fixed, "home").as_str()), (0, "ok"));
    assert_eq!(fixed["fixed"][0]["state"], "done", "{fixed}");
    let mode = fs::metadata(laptop.home().root())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(!laptop.home().root().join("started").exists());
}

#[test]
fn what_the_daemon_says_of_the_team_is_judged() {
    type Change = fn(&mut docs::Status);
    let table: [(Change, &str, &str); 8] = [
        (|_| {}, "sync", "ok"),
        (|status| status.word = "partial".to_owned(), "sync", "warn"),
        (|status| status.word = "error".to_owned(), "sync", "fail"),
        (
            |status| status.link.state = "offline".to_owned(),
            "sync",
            "warn",
        ),
        (
            |status| status.link.state = "revoked".to_owned(),
            "sync",
            "fail",
        ),
        (|_| {}, "needs", "ok"),
        (
            |status| status.needs_you = vec![conflict()],
            "needs",
            "warn",
        ),
        (
            |status| {
                status.needs_you = vec![docs::NeedDoc {
                    kind: "fault".to_owned(),
                    ..conflict()
                }]
            },
            "needs",
            "fail",
        ),
    ];
    for (change, name, expected) in table {
        let laptop = with_path();
        let mut changed = status();
        change(&mut changed);
        laptop.daemon(answers(changed));
        let run = laptop.run(&["doctor", "--json"]);
        let doctor = run.json();
        assert_eq!(state(&doctor, name), expected, "{doctor}");
        assert_eq!(run.exit(), u8::from(expected == "fail"));
        for name in ["daemon", "identity", "links"] {
            assert_eq!(state(&doctor, name), "ok", "{doctor}");
        }
    }
}

#[test]
fn a_daemon_that_refuses_answers_strangely_or_is_of_another_version_is_what_is_wrong() {
    let refused =
        Failure::new("AE-NOT-JOINED", Exit::NOT_SET_UP, "on no team").next("aura join", "x");
    let laptop = with_path();
    laptop.daemon(move |request| match request.call {
        Call::Hello => done(
            json!({"schema": "aura.hello/1", "version": "9.9.9", "pid": 1,
            "home": "h", "repos": []}),
        ),
        Call::Whoami => done(json!({"schema": "other/1"})),
        _ => vec![Reply::Failed(refused.clone())],
    });
    let run = laptop.run(&["doctor", "--json"]);
    let doctor = run.json();
    assert_eq!(run.exit(), 0, "{doctor}");
    for name in ["daemon", "identity", "sync", "links"] {
        assert_eq!(state(&doctor, name), "warn", "{name}");
    }
    let steps: Vec<&Value> = doctor["next"].as_array().unwrap().iter().collect();
    let has = |cmd: &str| steps.iter().any(|step| step["cmd"] == cmd);
    assert!(has("aura daemon restart") && has("aura join"), "{steps:?}");
    let silent = with_path();
    silent.daemon(|_| Vec::new());
    let run = silent.run(&["doctor", "--json", "--timeout", "50ms"]);
    assert_eq!(
        (run.exit(), state(&run.json(), "daemon").as_str()),
        (1, "fail")
    );
}

// case_108
#[test]
fn a_hostile_name_drives_no_terminal_in_what_a_doctor_says() {
    let hostile = "x\x1b]0;x\x07\u{202e}\nOK    all is well";
    let laptop = with_path();
    let mut bad = status();
    bad.link.state = "offline".to_owned();
    bad.link.why = Some(hostile.to_owned());
    bad.needs_you = vec![docs::NeedDoc {
        kind: hostile.to_owned(),
        ..conflict()
    }];
    laptop.daemon(answers(bad));
    for args in [&["doctor"][..], &["doctor", "--json"]] {
        let out = laptop.run(args).out;
        let is_safe = |sign: char| sign == '\n' || (!sign.is_control() && sign != '\u{202e}');
        assert!(out.chars().all(is_safe), "{out:?}");
        assert!(
            !out.lines().any(|line| line.starts_with("OK    all")),
            "{out}"
        );
    }
}

/// A status in which every text that people choose is a canary.
fn telling() -> docs::Status {
    let mut told = status();
    told.team = Some("quokkateam".to_owned());
    told.name = Some("quokka@thinkpad".to_owned());
    told.peers[0].name = "quokka@thinkpad".to_owned();
    told.peers[1].name = "wombat".to_owned();
    told.peers[1].why = Some("wombat refused 10.9.8.7:4711".to_owned());
    told.link.endpoint = "box.kiosk.example:7777".to_owned();
    told.link.why = Some("cannot reach box.kiosk.example:7777: connection refused".to_owned());
    told.needs_you = vec![
        docs::NeedDoc {
            symbol: Some("src/numbat.rs::zebra_total".to_owned()),
            with: vec!["wombat".to_owned()],
            text: "you and wombat both changed it".to_owned(),
            ..conflict()
        },
        docs::NeedDoc {
            kind: "message".to_owned(),
            text: "wombat: the protocol is broken, stop the server now".to_owned(),
            ..conflict()
        },
    ];
    told.mine.held_back = vec!["src/numbat.rs: line 88".to_owned()];
    told.next = vec![Next {
        cmd: "aura log 'src/numbat.rs::zebra_total'".to_owned(),
        why: "wombat".to_owned(),
    }];
    told
}

/// What stands in the daemon's log there.
const LOG: &str = r#"{"timestamp":"2026-11-20T13:05:11.5Z","level":"WARN","fields":{"message":"not served","path":"/srv/numbat/pricing","failure":"wombat holds src/numbat.rs"},"target":"aura_peer::daemon"}
error: invite ms1-c7q2wabcdefgh-9d: fn zebra_total() { quokka_rate(31337000) }
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIQUOKKA
"#;

#[test]
fn a_report_has_what_helps_and_no_canary() {
    let mut laptop = with_path();
    laptop.env.push(("USER", "kiosk".into()));
    laptop.daemon(answers(telling()));
    fs::write(laptop.home().log_file(), LOG).unwrap();
    fs::write(laptop.home().root().join("numbat.txt"), "zebra").unwrap();
    let run = laptop.run(&["bugreport", "--json"]);
    assert_eq!(run.exit(), 0, "{}", run.out);
    let path = laptop.dir.path().join("aura-bugreport-2026-11-20.txt");
    let text = fs::read_to_string(&path).unwrap();
    let document = run.json();
    assert_eq!(document["path"], path.to_str().unwrap());
    assert_eq!(document["bytes"], text.len());
    let lower = text.to_lowercase();
    for canary in [
        "quokka",
        "wombat",
        "numbat",
        "zebra",
        "kiosk",
        "thinkpad",
        "acme",
        "ms1-",
        "c7q2w",
        "mc4c",
        "31337",
        "10.9.8.7",
        "stop the server",
        "/srv",
        "limits",
    ] {
        assert!(!lower.contains(canary), "{canary}: {text}");
    }
    let dir = laptop.dir.path().to_str().unwrap();
    assert!(!text.contains(dir), "{text}");
    for part in [
        "== version ==",
        "git version",
        "WARN  clone",
        "\"word\": \"synced\"",
        "\"text\": \"you and peer-",
        "\"rtt_ms\": 11.2",
        "cannot reach address-1: connection refused",
        "\"message\":\"not served\"",
        "\"target\":\"aura_peer::daemon\"",
        "holds path-",
        "invite [token]",
        "daemon.log",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_second_report_takes_another_name_and_a_named_file_is_never_replaced() {
    let laptop = with_path();
    let first = laptop.run(&["bugreport"]);
    assert!(
        first.out.contains("Read it before you send it"),
        "{}",
        first.out
    );
    let second = laptop.run(&["bugreport", "--json"]).json();
    assert!(
        second["path"].as_str().unwrap().ends_with("-2.txt"),
        "{second}"
    );
    let kept = laptop.file("kept.txt", "precious");
    let run = laptop.run(&["bugreport", "-o", "kept.txt", "--json"]);
    let id = &run.json()["error"]["id"];
    assert_eq!((run.exit(), id.as_str().unwrap()), (12, "AE-EXISTS"));
    assert_eq!(fs::read_to_string(kept).unwrap(), "precious");
    let run = laptop.run(&["bugreport", "-o", "missing/report.txt"]);
    assert_eq!(run.exit(), 2, "{}", run.err);
    // Nothing was made for it.
    assert!(!laptop.home().root().exists());
}
