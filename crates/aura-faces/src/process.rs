//! The edges of the process: real surroundings, panics, cores, exit codes.
//!
//! Invariants:
//! - a panic ends with exit code 70 and prints no value of ours;
//! - a closed pipe ends with exit code 141 and prints nothing.

use std::{
    collections::BTreeMap,
    env,
    io::{self, BufWriter, IsTerminal, Write},
    panic,
    process::ExitCode,
};

use aura_api::{Exit, Failure};
use jiff::Timestamp;
use rustix::{
    process::{Resource, Rlimit, setrlimit},
    termios::tcgetwinsize,
};

use crate::{
    output::{Ended, write_failure_json},
    world::{Env, Terminals, World},
};

/// Exit code of a process whose reader went away.
const PIPE_CLOSED: u8 = 141;

/// Runs a command in the real surroundings.
pub(crate) fn run(program: &'static str, command: impl FnOnce(World<'_>) -> Ended) -> ExitCode {
    // Tools run in scripts and in tests expect one line, not a trace.
    set_panic_hook(program);
    let ended = panic::catch_unwind(panic::AssertUnwindSafe(|| in_real_world(command)));
    match ended {
        Ok(Ended::Done(exit)) => ExitCode::from(exit.0),
        Ok(Ended::PipeClosed) => ExitCode::from(PIPE_CLOSED),
        Err(_) => ExitCode::from(Exit::BUG.0),
    }
}

fn in_real_world(command: impl FnOnce(World<'_>) -> Ended) -> Ended {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let terminals = Terminals {
        input: stdin.is_terminal(),
        out: stdout.is_terminal(),
        err: stderr.is_terminal(),
        columns: tcgetwinsize(&stdout).ok().map(|size| size.ws_col),
    };
    let (mut input, mut err) = (stdin.lock(), stderr);
    let mut out = BufWriter::new(stdout);
    let world = World {
        args: env::args_os().collect(),
        env: Env(env::vars_os().collect::<BTreeMap<_, _>>()),
        dir: env::current_dir().unwrap_or_default(),
        exe: env::current_exe().unwrap_or_default(),
        now: Timestamp::now(),
        input: &mut input,
        out: &mut out,
        err: &mut err,
        terminals,
    };
    let ended = command(world);
    match out.flush() {
        Ok(()) => ended,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ended::PipeClosed,
        Err(_) if matches!(ended, Ended::Done(Exit::DONE)) => Ended::Done(Exit::FAILED),
        Err(_) => ended,
    }
}

/// A failure that has no terminal: where it happened, never with what values.
fn set_panic_hook(program: &'static str) {
    let is_json = env::args_os()
        .skip(1)
        .any(|arg| is_json_flag(&arg.to_string_lossy()));
    panic::set_hook(Box::new(move |info| {
        let place = info
            .location()
            .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        let message = format!("something in {program} broke{place}");
        let failure = Failure::new("AE-INTERNAL", Exit::BUG, message);
        // A panic cannot be reported to whoever closed the pipes.
        if is_json {
            write_failure_json(&failure, &mut io::stdout()).ok();
        } else {
            writeln!(io::stderr(), "error: {failure}").ok();
        }
    }));
}

/// Whether an argument asks for JSON, also where the others could not be understood.
pub(crate) fn is_json_flag(arg: &str) -> bool {
    arg == "--json" || arg.starts_with("--json=")
}

/// Keeps secrets in memory out of core files; for processes that hold keys.
pub(crate) fn forbid_cores() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // A kernel that refuses leaves things as they were.
    setrlimit(Resource::Core, none).ok();
}
