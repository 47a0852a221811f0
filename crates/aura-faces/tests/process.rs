//! The edges of a real process: panics and closed pipes.
//!
//! Invariant: without arguments this program is the test; with arguments it is `aura` itself.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic)]

use std::{
    env,
    io::Write,
    process::{Command, ExitCode, Stdio},
};

const SECRET: &str = "hunter2";

fn main() -> ExitCode {
    if env::args_os().any(|arg| arg == "daemon" || arg == "merge") {
        return aura_faces::aura::run(|_| panic!("the key is {SECRET}"));
    }
    a_panic_ends_with_70_and_tells_no_value();
    a_reader_that_goes_away_ends_with_141_and_silence();
    println!("2 passed");
    ExitCode::SUCCESS
}

fn aura(args: &[&str]) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn a_panic_ends_with_70_and_tells_no_value() {
    let dir = tempfile::tempdir().unwrap();
    for json in [false, true] {
        let mut args = vec!["daemon", "run"];
        args.extend(json.then_some("--json"));
        let output = aura(&args)
            .env("AURA_HOME", dir.path().join("h"))
            .output()
            .unwrap();
        let (out, err) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        assert_eq!(output.status.code(), Some(70), "{out}{err}");
        assert!(!out.contains(SECRET) && !err.contains(SECRET), "{out}{err}");
        let said = if json { &out } else { &err };
        assert!(said.contains("AE-INTERNAL"), "{out}{err}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

fn a_reader_that_goes_away_ends_with_141_and_silence() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a");
    std::fs::write(&file, "a\n").unwrap();
    let file = file.to_str().unwrap();
    // It reads its input to the end before it writes, so the reader is surely gone by then.
    let mut child = aura(&["merge", "/dev/stdin", file, file, "--path", "a"])
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"b\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
