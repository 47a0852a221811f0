//! The command line against a daemon that answers from a script, on a real socket.
//!
//! Invariant: every command runs in its own directory and environment; nothing of the tester's is read.

#![allow(clippy::unwrap_used)]

mod daemon;
mod description;
mod files;
mod reference;
mod screen;
mod start;
mod support;
mod wire;

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead, BufReader, Cursor, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
};

use aura_api::{Call, Exit, Failure, Home, Reply, Request, docs, home::DAEMON_SOCKET, socket};
use clap::CommandFactory;
use serde_json::{Value, json};

use super::{args::Args, run_in};
use crate::{
    output::Ended,
    world::{Env, Terminals, World},
};

/// What a command printed and how it ended.
struct Run {
    ended: Ended,
    out: String,
    err: String,
}

impl Run {
    fn exit(&self) -> u8 {
        match self.ended {
            Ended::Done(exit) => exit.0,
            Ended::PipeClosed => 141,
        }
    }

    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(
            self.out.lines().count(),
            1,
            "not one document: {}",
            self.out
        );
        serde_json::from_str(&self.out).unwrap()
    }
}

/// A directory with a home below it, and the surroundings of commands in it.
struct Laptop {
    dir: tempfile::TempDir,
    env: Vec<(&'static str, OsString)>,
    exe: PathBuf,
    input: String,
    terminals: Terminals,
}

impl Laptop {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home").into_os_string();
        Self {
            dir,
            env: vec![("AURA_HOME", home), ("LANG", "C.UTF-8".into())],
            exe: "/bin/false".into(),
            input: String::new(),
            terminals: Terminals::default(),
        }
    }

    fn home(&self) -> Home {
        Home::at(self.dir.path().join("home"))
    }

    fn run(&self, args: &[&str]) -> Run {
        let mut out = Vec::new();
        let (ended, err) = self.run_into(args, &mut out);
        Run {
            ended,
            out: String::from_utf8(out).unwrap(),
            err,
        }
    }

    fn run_into(&self, args: &[&str], out: &mut dyn Write) -> (Ended, String) {
        let (mut input, mut err) = (Cursor::new(self.input.clone()), Vec::new());
        let args = ["aura"].iter().chain(args).map(OsString::from).collect();
        let world = World {
            args,
            env: Env(self
                .env
                .iter()
                .map(|(name, value)| (name.into(), value.clone()))
                .collect()),
            dir: self.dir.path().to_owned(),
            exe: self.exe.clone(),
            now: "2026-11-20T13:05:11Z".parse().unwrap(),
            input: &mut input,
            out,
            err: &mut err,
            terminals: self.terminals,
        };
        let ended = run_in(world, |_| Ok(()));
        (ended, String::from_utf8(err).unwrap())
    }

    /// A daemon that answers each request line with what `answer` says, until the test ends.
    fn daemon(&self, answer: impl Fn(Request) -> Vec<Reply> + Send + Sync + 'static) {
        self.home().prepare().unwrap();
        fs::create_dir_all(self.home().identity_dir()).unwrap();
        let listener = socket::bind(&self.home().run_dir(), DAEMON_SOCKET).unwrap();
        let answer = std::sync::Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = answer.clone();
                thread::spawn(move || {
                    for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                        for reply in answer(serde_json::from_str(&line).unwrap()) {
                            let text = serde_json::to_string(&reply).unwrap();
                            if writeln!(&stream, "{text}").is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
    }

    /// A program to start as the daemon.
    fn script(&mut self, text: &str) {
        let path = self.dir.path().join("aura.sh");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self.exe = path;
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

fn done(document: Value) -> Vec<Reply> {
    vec![Reply::Done(document)]
}

fn status() -> docs::Status {
    let peer = |name: &str, state: &str, path: &str| docs::PeerDoc {
        name: name.to_owned(),
        peer: "p".to_owned(),
        role: "member".to_owned(),
        state: state.to_owned(),
        last_seen: Some("2026-11-20T12:53:11Z".to_owned()),
        rtt_ms: None,
        why: None,
        tried: Vec::new(),
        path: path.to_owned(),
        reads: true,
        doing: Vec::new(),
        person: name.to_owned(),
        score_ms: None,
        up_ms: None,
    };
    docs::Status {
        schema: docs::Status::SCHEMA.to_owned(),
        at: "2026-11-20T13:05:11Z".to_owned(),
        seq: 88_123,
        word: "synced".to_owned(),
        lacking: 0,
        team: Some("acme".to_owned()),
        name: Some("alice@thinkpad".to_owned()),
        repo: Some(docs::RepoDoc {
            root_commit: "4b1e".to_owned(),
            branch: "feat/limits".to_owned(),
            head: "3f1c9ab0000".to_owned(),
            path: "/w".to_owned(),
            files: 1,
            units: 2,
        }),
        mode: Some("observe".to_owned()),
        link: docs::LinkDoc {
            state: "online".to_owned(),
            endpoint: "10.0.1.5:7777".to_owned(),
            rtt_ms: Some(11.2),
            offline_for_s: 0,
            queued: 0,
            why: None,
        },
        needs_you: Vec::new(),
        peers: vec![
            peer("alice@thinkpad", "online", "self"),
            peer("bob", "online", "via mothership"),
            peer("carol", "away", "via mothership"),
        ],
        incoming: docs::IncomingDoc {
            patches: 0,
            touching_my_edits: 0,
            from: Vec::new(),
        },
        paused: None,
        stream: None,
        zones: Vec::new(),
        mine: docs::MineDoc {
            unpublished: 0,
            published: 3,
            held_back: Vec::new(),
        },
        next: Vec::new(),
    }
}

fn value(document: &impl serde::Serialize) -> Value {
    serde_json::to_value(document).unwrap()
}

fn conflict() -> docs::NeedDoc {
    docs::NeedDoc {
        kind: "conflict".to_owned(),
        id: "c-12".to_owned(),
        symbol: Some("src/risk.rs::score".to_owned()),
        with: vec!["bob".to_owned()],
        since: Some("2026-11-20T13:02:07Z".to_owned()),
        text: "you and bob both changed it".to_owned(),
    }
}
