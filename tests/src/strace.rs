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
pub const WRITES: &[&str] = &[
    "pwrite64",
    "write",
    "fdatasync",
    "fsync",
    "rename",
    "linkat",
    "unlink",
    "mkdir",
];

/// Something that goes wrong with one kind of call.
#[derive(Debug, Clone)]
pub struct Fault {
    pub call: &'static str,
    /// What strace does to the call.
    pub tampering: String,
}

impl Fault {
    /// The process is killed at the n-th such call of a thread.
    pub fn kill(call: &'static str, n: usize) -> Self {
        let tampering = format!("signal=KILL:when={n}");
        Self { call, tampering }
    }

    /// The n-th such call of a thread fails.
    pub fn error(call: &'static str, error: &str, n: usize) -> Self {
        let tampering = format!("error={error}:when={n}");
        Self { call, tampering }
    }

    /// The fault as arguments of strace, which writes nothing down.
    pub fn args(&self) -> Vec<String> {
        let (call, tampering) = (self.call, &self.tampering);
        let trace = format!("trace={call}");
        let inject = format!("inject={call}:{tampering}");
        ["-o", "/dev/null", "-e", &trace, "-e", &inject]
            .map(str::to_owned)
            .to_vec()
    }
}

/// Runs rounds with a fault at the n-th call of a kind, for n = 1, 1 + step, … until one is over before its fault
/// came, and so for each kind; answers how many faults there were.
pub fn sweep(
    calls: &[&'static str],
    step: usize,
    fault: impl Fn(&'static str, usize) -> Fault,
    mut is_hit_by: impl FnMut(&Fault) -> bool,
) -> usize {
    let rounds = |call: &&'static str| {
        let faults = (1..).step_by(step).map(|n| fault(call, n));
        faults.take_while(|fault| is_hit_by(fault)).count()
    };
    calls.iter().map(rounds).sum()
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
    pid: u32,
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
        // Before it, strace may say where the links in a path lead.
        let mut said = lines.by_ref().map_while(Result::ok);
        said.find(|line| line.contains("attached"))
            .expect("strace does not attach");
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, pid }
    }

    /// Waits until the process that it traces has ended.
    pub fn waits(mut self) {
        self.child.wait().unwrap();
    }

    /// Ends it at once; asked politely, it can wait for ever for a thread of a process that was killed.
    pub fn cut(mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Ends it at once, and waits until nothing is left of the process that it has killed.
    pub fn bury(self) {
        let pid = self.pid;
        self.cut();
        let tasks = format!("/proc/{pid}/task");
        let is_left = |task: std::io::Result<std::fs::DirEntry>| {
            task.is_ok_and(|task| !is_dead(&task.path().to_string_lossy()))
        };
        while std::fs::read_dir(&tasks).is_ok_and(|mut tasks| tasks.any(is_left)) {
            std::thread::yield_now();
        }
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // On an interrupt strace detaches and lets the process go on.
            crate::send_signal(self.child.id(), "-INT");
        }
        while let Ok(None) = self.child.try_wait() {
            // Of a process that died just now it may wait for more for ever.
            if is_dead(&format!("/proc/{}", self.pid)) {
                self.child.kill().ok();
            }
            std::thread::yield_now();
        }
    }
}

/// Whether nothing runs in this process or thread, a directory of `/proc`.
fn is_dead(task: &str) -> bool {
    let stat = std::fs::read_to_string(format!("{task}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, state)| state);
    state.is_none_or(|state| state.starts_with(['Z', 'X']))
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

impl Call {
    /// The strings among the arguments, as bytes.
    pub fn strings(&self) -> Vec<Vec<u8>> {
        let mut strings = Vec::new();
        let mut rest = self.args.as_bytes();
        while let Some(start) = rest.iter().position(|byte| *byte == b'"') {
            let (string, behind) = unescape(&rest[start + 1..]);
            strings.push(string);
            rest = behind;
        }
        strings
    }
}

/// Undoes the escapes of a string up to its closing quote; answers what is behind it, too.
fn unescape(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut bytes = Vec::new();
    loop {
        let [first, behind @ ..] = rest else {
            return (bytes, rest);
        };
        rest = behind;
        if *first == b'"' {
            return (bytes, rest);
        }
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let digits = rest
            .iter()
            .take(3)
            .take_while(|byte| (b'0'..b'8').contains(byte))
            .count();
        if 0 < digits {
            let octal = rest[..digits]
                .iter()
                .fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            bytes.push(u8::try_from(octal).unwrap());
            rest = &rest[digits..];
            continue;
        }
        bytes.push(match rest[0] {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'v' => 11,
            b'f' => 12,
            other => other,
        });
        rest = &rest[1..];
    }
}
