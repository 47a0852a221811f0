//! What `aura` does for git: `init`, `uninit`, `merge-driver`, `git-hook`, `merge preview`, `merge explain`.
//!
//! Invariants:
//! - none of it needs a daemon or a team; a hook asks the daemon that runs;
//! - git is asked through its program, with the caller's variables, so that `git -c` and linked work trees count;
//! - nothing is changed in git's directory but by `init`, `uninit` and the record of the driver.

mod attributes;
mod attributes_file;
mod driver;
mod explain;
mod hook;
mod hooks;
mod job;
mod look;
mod preview;
mod record;
mod setup;
mod trees;
mod worker;

use std::{
    path::Path,
    process::{Command, Stdio},
};

use aura_api::{Exit, Failure};

pub(super) use self::job::is_binary;
pub(super) use self::look::{CloneHere, directories};
pub(super) use self::worker::{try_parser, work};
use crate::world::Env;

/// The name of the merge driver in attributes and configuration.
const DRIVER: &str = "aura";
/// Longest part of git's own words in a failure.
const WORDS_MAX: usize = 400;

/// The `git` program in one directory.
#[derive(Clone, Copy)]
struct Git<'a> {
    dir: &'a Path,
    env: &'a Env,
}

/// What git answered.
struct Said {
    code: Option<i32>,
    out: Vec<u8>,
    err: String,
}

impl Git<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command
            .env_clear()
            .envs(&self.env.0)
            .env("LC_ALL", "C")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .current_dir(self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    fn say(&self, args: &[&str]) -> Result<Said, Failure> {
        let output = self.command().args(args).output().map_err(|error| {
            Failure::new("AE-GIT", Exit::FAILED, format!("cannot run git: {error}"))
                .next("git --version", "git has to be installed")
        })?;
        let err = String::from_utf8_lossy(&output.stderr);
        Ok(Said {
            code: output.status.code(),
            out: output.stdout,
            err: err.trim().chars().take(WORDS_MAX).collect(),
        })
    }

    /// Runs a command that has to succeed.
    fn ask(&self, args: &[&str]) -> Result<Vec<u8>, Failure> {
        let said = self.say(args)?;
        if said.code == Some(0) {
            return Ok(said.out);
        }
        if said.err.contains("not a git repository") || said.err.contains("in a work tree") {
            let message = "no git work tree here or above";
            return Err(Failure::new("AE-NOT-REPO", Exit::NOT_SET_UP, message)
                .next("cd into your clone", "aura works inside a git repository"));
        }
        let command = args.first().copied().unwrap_or_default();
        let message = format!("git {command} failed: {}", said.err);
        Err(Failure::new("AE-GIT", Exit::FAILED, message)
            .next("git status", "what git says about the repository"))
    }

    /// The first line of an answer, if the command succeeds and says something.
    fn line(&self, args: &[&str]) -> Option<String> {
        let said = self.say(args).ok().filter(|said| said.code == Some(0))?;
        let text = String::from_utf8_lossy(&said.out);
        let line = text.lines().next()?.to_owned();
        (!line.is_empty()).then_some(line)
    }
}

/// What stands between NULs.
fn fields(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut fields: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    if fields.last().is_some_and(|last| last.is_empty()) {
        fields.pop();
    }
    fields.into_iter()
}
