//! The command line against a Mothership that answers from a script, on a real socket.
//!
//! Invariant: every command runs in its own directory and environment; nothing of the tester's is read.

#![allow(clippy::unwrap_used)]

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Cursor, Write},
    path::Path,
    thread,
};

use aura_api::{AdminCall, Exit, Failure, Reply, docs, home::ADMIN_SOCKET, socket};
use clap::CommandFactory;
use serde_json::{Value, json};

use super::{Engine, args::Args, run_in};
use crate::{
    output::Ended,
    world::{Env, Terminals, World},
};

const ENGINE: Engine = Engine {
    serve: |serve, on_line| {
        on_line(json!({
            "schema": "mothership.ready/1", "listen": ["127.0.0.1:1"], "team": "acme", "team_id": "t",
            "ca": "00", "ca_words": "amber otter", "token": serve.invite.then_some("ms1-abc-9d"),
            "state_dir": serve.state_dir, "pid": 1,
        }));
        on_line(
            json!({"schema": "mothership.event/1", "at": "x", "kind": "joined",
            "who": "bob\x1b[2J", "text": format!("{:?} {:?}", serve.heartbeat, serve.offline_after)}),
        );
        Ok(())
    },
    verify: |_| Err(Failure::new("AE-WAL-CORRUPT", Exit::INTEGRITY, "record 3")),
    read_only: |_, call| match call {
        AdminCall::WalStat => Ok(
            json!({"schema": "mothership.wal_stat/1", "segments": 1, "records": 2,
            "durable": 2, "bytes": 3, "epoch": 4}),
        ),
        _ => Err(Failure::new(
            "AE-NO-MOTHERSHIP",
            Exit::NO_DAEMON,
            "none runs",
        )),
    },
};

fn run(dir: &Path, args: &[&str], input: &str, terminals: Terminals) -> (u8, String, String) {
    run_where(Env::default(), dir, args, input, terminals)
}

fn run_where(
    env: Env,
    dir: &Path,
    args: &[&str],
    input: &str,
    terminals: Terminals,
) -> (u8, String, String) {
    let (mut out, mut err, mut input) = (Vec::new(), Vec::new(), Cursor::new(input.to_owned()));
    let state: [OsString; 3] = ["mothership".into(), "--state-dir".into(), dir.into()];
    let world = World {
        args: state
            .into_iter()
            .chain(args.iter().map(OsString::from))
            .collect(),
        env,
        dir: dir.to_owned(),
        exe: "/bin/false".into(),
        now: "2026-11-20T13:05:11Z".parse().unwrap(),
        input: &mut input,
        out: &mut out,
        err: &mut err,
        terminals,
    };
    let exit = match run_in(world, ENGINE) {
        Ended::Done(exit) => exit.0,
        Ended::PipeClosed => 141,
    };
    (
        exit,
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
    )
}

fn quietly(dir: &Path, args: &[&str]) -> (u8, String, String) {
    run(dir, args, "", Terminals::default())
}

fn serve(dir: &Path, answer: fn(AdminCall) -> Reply) {
    let listener = socket::bind(dir, ADMIN_SOCKET).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let reply = answer(serde_json::from_str(&line).unwrap());
            writeln!(&stream, "{}", serde_json::to_string(&reply).unwrap()).unwrap();
        }
    });
}

#[test]
fn serve_prints_the_ready_document_first_and_then_one_line_for_each_event() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let args = [
        "serve",
        "--json",
        "--heartbeat",
        "500ms",
        "--offline-after",
        "2s",
    ];
    let (exit, out, _) = quietly(&state, &args);
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(exit, 0);
    assert_eq!(
        (&lines[0]["schema"], &lines[0]["token"]),
        (&json!("mothership.ready/1"), &json!("ms1-abc-9d"))
    );
    assert_eq!(lines[1]["text"], "500ms 2s");
    let (_, out, _) = quietly(&state, &["serve", "--no-invite"]);
    assert!(out.contains("team \"acme\"") && out.contains("amber otter") && !out.contains("ms1-"));
    assert!(out.contains("joined  bob\\u{1b}[2J  30s 300s"), "{out}");
}

#[test]
fn a_wrong_pace_is_wrong_usage() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["serve", "--heartbeat", "0s"][..],
        &["serve", "--heartbeat", "30"],
        &["serve", "--heartbeat", "30s", "--offline-after", "1s"],
        &["invite", "--ttl", "0"],
        &["invite", "--ttl", "-1"],
        &["token", "create", "--ttl", "999d"],
    ] {
        let (exit, out, err) = quietly(dir.path(), args);
        assert_eq!((exit, out.as_str()), (2, ""), "{args:?} {err}");
    }
}

/// A Mothership that makes one token, for whatever is to be invited by default.
fn inviting(dir: &Path) {
    serve(dir, |call| match call {
        AdminCall::Invite {
            name,
            role,
            uses: 1,
            ttl_s: 86_400,
        } => Reply::Done(
            serde_json::to_value(docs::BoxInvite {
                schema: docs::BoxInvite::SCHEMA.to_owned(),
                token: "ms1-abc-9d".to_owned(),
                id: "t".to_owned(),
                expires: "2026-11-21T13:05:11Z".to_owned(),
                role,
                uses: 1,
                name,
                needs_approval: true,
            })
            .unwrap(),
        ),
        other => Reply::Failed(Failure::new("X", Exit::FAILED, format!("{other:?}"))),
    });
}

#[test]
fn both_words_for_an_invite_ask_the_same_and_quiet_prints_the_token_alone() {
    let dir = tempfile::tempdir().unwrap();
    inviting(dir.path());
    for words in [&["invite"][..], &["token", "create"]] {
        let quiet: Vec<&str> = words.iter().copied().chain(["-q"]).collect();
        assert_eq!(
            quietly(dir.path(), &quiet),
            (0, "ms1-abc-9d\n".to_owned(), String::new())
        );
        let whom: Vec<&str> = words.iter().copied().chain(["--for", "alice"]).collect();
        let (_, out, _) = quietly(dir.path(), &whom);
        assert!(
            out.contains("Invite for alice (works once, ends in 24 h)"),
            "{out}"
        );
        assert!(out.contains("\n  aura join ms1-abc-9d\n"));
    }
}

#[test]
fn c38_an_invite_is_drawn_below_its_text_where_a_terminal_has_room_for_it() {
    let dir = tempfile::tempdir().unwrap();
    inviting(dir.path());
    let invite = |args: &[&str], columns: Option<u16>| {
        let env = Env([("LANG".into(), "C.UTF-8".into())].into());
        let terminals = Terminals {
            out: columns.is_some(),
            columns,
            ..Terminals::default()
        };
        run_where(env, dir.path(), args, "", terminals)
    };
    let (_, plain, _) = invite(&["invite"], Some(80));
    let (exit, drawn, err) = invite(&["invite", "--qr", "--color", "never"], Some(80));
    assert_eq!((exit, err.as_str()), (0, ""));
    let code = drawn.strip_prefix(&plain).unwrap();
    // 21 modules and a margin of 4, the smallest code that there is; two rows of modules on a line.
    let widths: Vec<usize> = code.lines().map(|line| line.chars().count()).collect();
    assert_eq!(widths[1..], [29; 15], "{code}");
    for (columns, why) in [
        (
            Some(28),
            "note: no QR code: it takes 29 columns, and here are 28\n",
        ),
        (None, "note: no QR code: this is no terminal\n"),
    ] {
        let told = (0, plain.clone(), why.to_owned());
        assert_eq!(invite(&["invite", "--qr"], columns), told);
    }
    let quiet = (0, "ms1-abc-9d\n".to_owned(), String::new());
    assert_eq!(invite(&["invite", "--qr", "-q"], Some(80)), quiet);
    let json = invite(&["invite", "--qr", "--json"], Some(80));
    assert_eq!(json, invite(&["invite", "--json"], Some(80)));
}

#[test]
fn what_only_reads_works_without_a_server_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, out, err) = quietly(dir.path(), &["wal", "stat"]);
    assert_eq!(
        (exit, out.as_str()),
        (
            0,
            "2 records in 1 files, 3 bytes; durable up to 2; epoch 4\n"
        )
    );
    assert!(err.contains("no mothership is running"), "{err}");
    let (exit, out, err) = quietly(dir.path(), &["wal", "stat", "--json"]);
    assert_eq!((exit, out.lines().count(), err.as_str()), (0, 1, ""));
    let (exit, out, _) = quietly(dir.path(), &["invite", "--json"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (exit, &document["error"]["id"]),
        (5, &json!("AE-NO-MOTHERSHIP"))
    );
}

#[test]
fn a_damaged_log_ends_with_15() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, out, _) = quietly(dir.path(), &["wal", "verify", "--json"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((exit, &document["error"]["exit"]), (15, &json!(15)));
}

#[test]
fn removing_a_peer_asks_for_its_name_where_somebody_sits() {
    let dir = tempfile::tempdir().unwrap();
    serve(dir.path(), |_| {
        Reply::Done(json!({"schema": "mothership.peer_revoke/1", "name": "bob", "peer": "p"}))
    });
    let seated = Terminals {
        input: true,
        out: true,
        err: true,
        columns: None,
    };
    let args = ["peer", "revoke", "bob", "--reason", "sold"];
    assert_eq!(run(dir.path(), &args, "carol\n", seated).0, 1);
    assert_eq!(run(dir.path(), &args, "", seated).0, 1);
    assert_eq!(run(dir.path(), &args, "bob\n", seated).0, 0);
    assert_eq!(quietly(dir.path(), &args).0, 0);
}

#[test]
fn every_command_has_an_example() {
    fn check(command: &clap::Command, path: &str) {
        let example = command.get_before_long_help().map(ToString::to_string);
        assert!(
            example.is_some_and(|text| text.contains("Example")),
            "{path} has no example"
        );
        for below in command.get_subcommands() {
            check(below, &format!("{path} {}", below.get_name()));
        }
    }
    check(&Args::command(), "mothership");
    Args::command().debug_assert();
}

#[test]
fn every_command_that_the_readme_or_an_example_names_is_one() {
    let program = Args::command();
    assert!(3 < crate::said::readme_names_real_commands(&program));
    assert!(10 < crate::said::examples_are_real_commands(&program));
}

#[test]
fn every_command_has_a_manual_page_and_both_programs_know_the_same_schemas() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("pages");
    let (exit, out, _) = quietly(dir.path(), &["man", "--dir", "pages"]);
    let mut program = Args::command();
    program.build();
    let commands = crate::completions::paths(&program);
    assert_eq!(exit, 0);
    assert!(
        out.starts_with(&format!("{} pages in ", commands.len())),
        "{out}"
    );
    for (words, _) in commands {
        let file = pages.join(format!("{}.1", words.replace(' ', "-")));
        assert!(file.exists(), "{}", file.display());
    }
    assert!(quietly(dir.path(), &["man"]).1.contains(".TH MOTHERSHIP 1"));
    let own = quietly(dir.path(), &["schema", "status", "--json"]).1;
    assert!(own.contains("\"title\":\"mothership.status/1\""), "{own}");
    let (exit, out, err) = quietly(dir.path(), &["schema", "nonsense"]);
    assert_eq!((exit, out.as_str()), (2, ""));
    assert!(err.contains("next: mothership schema\n"), "{err}");
}
