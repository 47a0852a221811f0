//! The engine in a process of its own, which may hang, be killed or abort.
//!
//! Invariants:
//! - whoever asks gets an answer in time, or the reason why there is none;
//! - a worker ends when it has answered, when it is late, and when nobody waits for it any more.

use std::{
    io::{BufRead, Read},
    path::Path,
    process::Command,
    time::Duration,
};

use aura_api::{Exit, Failure, NoAnswer, ask_worker};
use aura_semantic::{Budget, outline};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::job::{Job, Judged};
use crate::{
    output::{Outcome, Screen},
    process::forbid_cores,
    world::Env,
};

/// How long a merge may take, unless told otherwise; ordinary ones take milliseconds.
const LIMIT: Duration = Duration::from_secs(10);
/// Processor time after which the system ends a worker whose caller is gone.
const CPU_S_MAX: u64 = 60;
/// Address space of a worker: 4 GiB.
const MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Longest question and answer: three files, and what they come to, with room for names.
const MESSAGE_BYTES_MAX: u64 = 16 << 20;

/// How to start workers.
pub(super) struct Worker<'a> {
    pub(super) exe: &'a Path,
    pub(super) env: &'a Env,
    pub(super) limit: Option<Duration>,
}

impl Worker<'_> {
    /// Merges in a process of its own; where that comes to nothing, lines alone are to decide.
    pub(super) fn judge(&self, job: &Job) -> Judged {
        if let Some(judged) = job.taken() {
            return judged;
        }
        match job.by_lines() {
            Some(because) => job.text(because),
            None => self.ask(job).unwrap_or_else(|because| job.text(because)),
        }
    }

    fn ask(&self, job: &Job) -> Result<Judged, &'static str> {
        let mut command = Command::new(self.exe);
        command.arg("merge-worker").env_clear().envs(&self.env.0);
        let limit = self.limit.unwrap_or(LIMIT);
        let answer = ask_worker(&mut command, job.encode(), MESSAGE_BYTES_MAX, limit);
        let answer = answer.map_err(|why| match why {
            NoAnswer::NotStarted => "no_worker",
            NoAnswer::Died => "worker_died",
            NoAnswer::Late => "worker_late",
        })?;
        Judged::decode(&answer).ok_or("worker_garbled")
    }
}

/// `merge-worker`: a question on standard input, an answer on standard output.
pub(crate) fn work(input: &mut dyn BufRead, screen: &mut Screen<'_>) -> Outcome {
    bound();
    let mut bytes = Vec::new();
    let read = input.take(MESSAGE_BYTES_MAX).read_to_end(&mut bytes);
    let job = read.ok().and_then(|_| Job::decode(&bytes));
    let job = job.ok_or_else(no_question)?;
    screen.bytes(&job.merge().encode())?;
    Ok(Exit::DONE)
}

/// `parse-trial`: parses what standard input holds, and says nothing; that it ends well is the answer.
pub(crate) fn try_parser(path: &str, input: &mut dyn BufRead) -> Outcome {
    bound();
    let mut bytes = Vec::new();
    let read = input.take(MESSAGE_BYTES_MAX).read_to_end(&mut bytes);
    read.map_err(|_| no_question())?;
    outline(path, &bytes, &Budget::default());
    Ok(Exit::DONE)
}

fn no_question() -> Failure {
    Failure::new("AE-USAGE", Exit::USAGE, "no question on standard input")
        .next("aura merge --help", "merges files that have names")
}

/// Keeps this process within what a worker may take.
fn bound() {
    forbid_cores();
    limit(Resource::Cpu, CPU_S_MAX);
    limit(Resource::As, MEMORY_BYTES_MAX);
}

fn limit(resource: Resource, most: u64) {
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    // Where the system allows less already, less it is.
    setrlimit(resource, limit).ok();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt};

    use super::*;

    /// What comes of a job when this script is the worker.
    fn because(script: &str, limit_ms: u64) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let exe = dir.path().join("worker");
        fs::write(&exe, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&exe, fs::Permissions::from_mode(0o755)).unwrap();
        let env = Env(BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]));
        let worker = Worker {
            exe: &exe,
            env: &env,
            limit: Some(Duration::from_millis(limit_ms)),
        };
        let job = Job {
            path: "a.rs".to_owned(),
            texts: ["a", "b", "c"].map(|text| text.as_bytes().to_vec()),
        };
        loop {
            let judged = worker.judge(&job);
            assert_eq!(judged.chunks, None);
            let because = judged.file.because;
            // A file that was just written may still be open in a child of another test.
            if because.as_deref() != Some("no_worker") {
                return because;
            }
        }
    }

    #[test]
    fn a_worker_that_says_nothing_sound_leaves_the_merge_to_lines() {
        const LONG: u64 = 60_000;
        let told = |script: &str| because(script, LONG).unwrap();
        assert_eq!(told("kill -KILL $$"), "worker_died");
        assert_eq!(told("kill -SEGV $$"), "worker_died");
        assert_eq!(told("exit 70"), "worker_died");
        assert_eq!(told("cat; exit 1"), "worker_died");
        assert_eq!(told("exit 0"), "worker_garbled");
        assert_eq!(told("cat"), "worker_garbled");
        assert_eq!(told("echo '{}'; echo x"), "worker_garbled");
        assert_eq!(because("exec sleep 60", 20).unwrap(), "worker_late");
    }

    #[test]
    fn a_worker_that_cannot_be_started_leaves_the_merge_to_lines() {
        let env = Env::default();
        let worker = Worker {
            exe: Path::new("/nowhere/aura"),
            env: &env,
            limit: None,
        };
        let job = Job {
            path: "a.rs".to_owned(),
            texts: ["a", "b", "c"].map(|text| text.as_bytes().to_vec()),
        };
        assert_eq!(
            worker.judge(&job).file.because.as_deref(),
            Some("no_worker")
        );
    }
}
