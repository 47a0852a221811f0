//! The system calls of a real process: counted, made to fail, cut off at any one of them, and read in order.
//!
//! A call is counted per thread, as strace counts: `when=3` is the third of its kind on whichever thread gets there.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// Calls that put something on a disk or change what a directory says.
const WRITES: [&str; 8] = [
    "pwrite64",
    "write",
    "fdatasync",
    "fsync",
    "rename",
    "linkat",
    "unlink",
    "mkdir",
];

/// Arguments that kill at the n-th call of this name on a thread, before it does anything.
pub fn kill_at(call: &str, n: usize) -> Vec<String> {
    inject(call, &format!("signal=KILL:when={n}"))
}

/// Arguments that tamper with a call.
pub fn inject(call: &str, how: &str) -> Vec<String> {
    [
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={call}"),
        "-e",
        &format!("inject={call}:{how}"),
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Runs rounds that are to be killed at the n-th call of a kind, for n = 1, 1 + step, … until one gets to its end
/// before, and so for each kind of call that matters; answers how many were killed.
pub fn sweep(step: usize, mut is_killed_by: impl FnMut(&[String]) -> bool) -> usize {
    let rounds = |call| {
        (1..)
            .step_by(step)
            .take_while(|n| is_killed_by(&kill_at(call, *n)))
            .count()
    };
    WRITES.into_iter().map(rounds).sum()
}

/// The same command below strace with these arguments.
pub fn traced<S: AsRef<OsStr>>(command: &Command, args: &[S]) -> Command {
    let mut traced = Command::new("strace");
    traced
        .args(["-f", "-qq", "-e", "signal=none"])
        .args(args)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced
}

/// A strace on a process that runs already; it lets go when it is dropped.
pub struct Strace {
    child: Child,
}

impl Strace {
    /// Attaches to every thread and waits until it has them.
    pub fn attach<S: AsRef<OsStr>>(pid: u32, args: &[S]) -> Self {
        let mut child = Command::new("strace")
            .args(["-f", "-e", "signal=none", "-p", &pid.to_string()])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        assert!(first.contains("attached"), "{first}");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child }
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // On an interrupt strace detaches and lets the process go on.
        crate::send_signal(self.child.id(), "-INT");
        self.child.wait().ok();
    }
}

/// One finished system call.
#[derive(Debug, Clone)]
pub struct Call {
    pub name: String,
    /// The arguments as strace prints them.
    pub args: String,
    /// What it answered, -1 for an error.
    pub answer: i64,
    /// Where in the trace it began and ended; others lie between them when it was interrupted.
    pub began: usize,
    pub ended: usize,
}

/// Reads what strace wrote to a file, in the order in which the calls began.
pub fn read(trace: &Path) -> Vec<Call> {
    let text = String::from_utf8_lossy(&std::fs::read(trace).unwrap()).into_owned();
    let mut open: Vec<(&str, usize, String)> = Vec::new();
    let mut calls = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            open.push((thread, at, start.to_owned()));
            continue;
        }
        let (began, whole) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let Some(index) = open.iter().position(|row| row.0 == thread) else {
                    continue;
                };
                let (_, began, start) = open.swap_remove(index);
                let end = resumed.split_once(" resumed>").unwrap_or_default().1;
                (began, start + end)
            }
            None => (at, rest.to_owned()),
        };
        calls.extend(Call::parse(&whole, began, at));
    }
    calls.sort_by_key(|call| call.began);
    calls
}

impl Call {
    fn parse(line: &str, began: usize, ended: usize) -> Option<Self> {
        let (name, rest) = line.split_once('(')?;
        let (args, answer) = rest.rsplit_once(" = ")?;
        let answer = answer.split([' ', '<']).next()?.parse().ok()?;
        let args = args.trim_end().strip_suffix(')')?;
        Some(Self {
            name: name.to_owned(),
            args: args.to_owned(),
            answer,
            began,
            ended,
        })
    }

    /// The file that the first argument stands for, as `-y` shows it.
    pub fn file(&self) -> &str {
        let (_, rest) = self.args.split_once('<').unwrap_or_default();
        rest.split_once('>').unwrap_or_default().0
    }
}
