//! A team in scratch directories: the real binaries, real TLS, real disks, real git.
//!
//! Invariants:
//! - every process listens on loopback, on a port that the system chose;
//! - waits are for events of the product, never for time;
//! - whatever was started is stopped when its value is dropped.

#![allow(clippy::unwrap_used, missing_docs)]

pub mod copy;
pub mod disk;
pub mod follower;
pub mod forger;
pub mod journal;
pub mod mount;
pub mod papers;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod repo;
pub mod scene;
pub mod strace;
pub mod wire;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, Once, mpsc},
};

use serde_json::Value;
use tempfile::TempDir;

/// The source tree that every clone starts from.
pub const RISK: &str = "\
//! Risk.
use std::cmp;

/// Scores.
pub fn score(a: u32) -> u32 {
    let cap = 100;
    cmp::min(a, cap)
}

pub fn load(name: &str) -> String {
    name.to_owned()
}
";

/// How much of something a run does: `quick` by default, `all` with `MOTHERSHIP_TESTS=all`.
pub fn amount<T>(quick: T, all: T) -> T {
    if std::env::var("MOTHERSHIP_TESTS").is_ok_and(|value| value == "all") {
        all
    } else {
        quick
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    pub exit: i32,
    pub json: Value,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn of(output: Output) -> Self {
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let json = serde_json::from_str(stdout.lines().last().unwrap_or("")).unwrap_or(Value::Null);
        Self {
            exit: output.status.code().unwrap_or(-1),
            json,
            stdout,
            stderr,
        }
    }

    /// The exit code; none when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        (0 <= self.exit).then_some(self.exit)
    }

    /// The id of the failure.
    pub fn id(&self) -> &str {
        self.json["error"]["id"].as_str().unwrap_or_default()
    }

    /// The document, or a panic that shows everything.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.exit, 0, "{self:?}");
        self.json
    }

    /// A failure with this exit code, this id and a next step.
    #[track_caller]
    pub fn fails(self, exit: i32, id: &str) -> Value {
        assert_eq!((self.exit, self.id()), (exit, id), "{self:?}");
        self.json
    }
}

/// The path of a binary, built from these sources in the profile of whoever asks.
pub fn binary(name: &str) -> PathBuf {
    static BUILD: Once = Once::new();
    let exe = std::env::current_exe().unwrap();
    // Tests lie below the binaries, benches beside them.
    let dir = exe.parent().unwrap();
    let dir = dir
        .parent()
        .filter(|_| dir.ends_with("deps"))
        .unwrap_or(dir);
    BUILD.call_once(|| {
        // Whoever runs the tests alone gets the binaries of these very sources.
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--workspace", "--bins"]);
        if dir.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success());
    });
    dir.join(name)
}

/// A `git` that commits as somebody, whatever this machine has set.
pub fn git_command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .args(["-c", "user.name=t", "-c", "user.email=t@t"])
        .args(["-c", "commit.gpgsign=false"])
        .args(args)
        .current_dir(dir);
    command
}

/// Like [`git`], at one moment of history: what is committed alike twice is one commit.
pub fn git_at_one_time(dir: &Path, args: &[&str]) -> String {
    let date = "2026-01-01T00:00:00Z";
    let mut command = git_command(dir, args);
    command.env("GIT_AUTHOR_DATE", date);
    said(command.env("GIT_COMMITTER_DATE", date))
}

pub fn git(dir: &Path, args: &[&str]) -> String {
    said(&mut git_command(dir, args))
}

/// What a command that has to succeed says.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A running Mothership.
pub struct Mothership {
    child: Child,
    lines: Mutex<mpsc::Receiver<Value>>,
    pub ready: Value,
    pub listen: String,
}

impl Mothership {
    /// Runs a command that serves until it is ready, or answers how it ended before.
    pub fn start(mut command: Command) -> Result<Self, Outcome> {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        let ready: Value = serde_json::from_str(&first).unwrap_or(Value::Null);
        let Some(listen) = ready["listen"][0].as_str().map(str::to_owned) else {
            let (status, stdout) = (child.wait().unwrap(), first.into_bytes());
            let stderr = Vec::new();
            return Err(Outcome::of(Output {
                status,
                stdout,
                stderr,
            }));
        };
        let lines = out.lines();
        let (sender, events) = mpsc::channel();
        std::thread::spawn(move || {
            let events = lines.map_while(Result::ok);
            let events = events.filter_map(|line| serde_json::from_str(&line).ok());
            // Read to the end although nobody may ask, so that the Mothership never waits for us.
            events.for_each(|event: Value| drop(sender.send(event)));
        });
        Ok(Self {
            child,
            lines: Mutex::new(events),
            ready,
            listen,
        })
    }

    /// Its process, which is not the child when something traces it.
    pub fn pid(&self) -> u32 {
        u32::try_from(self.ready["pid"].as_u64().unwrap()).unwrap()
    }

    /// Waits for the next event on its standard output that `wanted` accepts.
    pub fn event(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let lines = self.lines.lock().unwrap();
        lines.iter().find(wanted).expect("the mothership has ended")
    }

    /// The exit code, if it has ended; -1 for a signal.
    pub fn exit(&mut self) -> Option<i32> {
        let status = self.child.try_wait().unwrap()?;
        Some(status.code().unwrap_or(-1))
    }

    /// Sends a signal and waits for the end; answers the exit code.
    pub fn stop(mut self, signal: &str) -> Option<i32> {
        self.signal(signal)
    }

    /// As [`Mothership::stop`], for whoever needs the rest of it.
    pub fn signal(&mut self, signal: &str) -> Option<i32> {
        send_signal(self.pid(), signal);
        self.wait()
    }

    /// Waits for the end; answers the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Waits until it ends by itself; answers the exit code.
    pub fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Mothership {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            send_signal(self.pid(), "-KILL");
        }
        self.child.wait().ok();
    }
}

/// Sends a signal to a process that was started here.
pub fn send_signal(pid: u32, signal: &str) {
    Command::new("kill")
        .args([signal, &pid.to_string()])
        .status()
        .unwrap();
}

/// A scratch directory with an origin repository and a Mothership's state.
pub struct Team {
    pub dir: TempDir,
}

impl Default for Team {
    fn default() -> Self {
        Self::new()
    }
}

impl Team {
    pub fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    pub fn at(dir: TempDir) -> Self {
        let origin = dir.path().join("origin");
        fs::create_dir_all(origin.join("src")).unwrap();
        fs::write(origin.join("src/risk.rs"), RISK).unwrap();
        git(&origin, &["init", "-q", "-b", "main"]);
        git(&origin, &["add", "."]);
        git(&origin, &["commit", "-qm", "start"]);
        Self { dir }
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("box")
    }

    pub fn serve(&self, listen: &str) -> Mothership {
        self.serve_in(&self.state(), listen)
    }

    pub fn serve_in(&self, state: &Path, listen: &str) -> Mothership {
        self.serve_with(state, listen, &[])
    }

    /// Serves with further flags.
    pub fn serve_with(&self, state: &Path, listen: &str, flags: &[&str]) -> Mothership {
        let mut command = self.serve_command(state, listen);
        command.args(flags);
        Mothership::start(command).expect("it does not serve")
    }

    /// Serves with everything that it can log, into a file.
    pub fn serve_logged(&self, log: &Path) -> Mothership {
        let mut command = self.serve_command(&self.state(), "127.0.0.1:0");
        command
            .env("MOTHERSHIP_LOG", "trace")
            .stderr(fs::File::create(log).unwrap());
        Mothership::start(command).expect("it does not serve")
    }

    /// The command that serves a state directory.
    pub fn serve_command(&self, state: &Path, listen: &str) -> Command {
        let mut command = Command::new(binary("mothership"));
        command
            .args(["serve", "--listen", listen, "--json", "--name", "acme"])
            .arg("--state-dir")
            .arg(state)
            .env("MOTHERSHIP_LOG", "warn");
        command
    }

    pub fn mothership(&self, args: &[&str]) -> Outcome {
        let output = Command::new(binary("mothership"))
            .arg("--state-dir")
            .arg(self.state())
            .arg("--json")
            .args(args)
            .output()
            .unwrap();
        Outcome::of(output)
    }

    pub fn invite(&self) -> String {
        token(&self.mothership(&["invite"]).ok())
    }

    /// A laptop with a fresh clone and no team.
    pub fn laptop(&self, name: &str) -> Laptop {
        let repo = self.dir.path().join(name);
        git(self.dir.path(), &["clone", "-q", "origin", name]);
        Laptop {
            home: self.dir.path().join(format!("home-{name}")),
            repo,
            listen: None,
            announce: None,
            links: Vec::new(),
        }
    }

    /// The founder in `mode`, who approves everybody at once.
    pub fn founder(&self, box_: &Mothership, mode: &str) -> Laptop {
        let laptop = self.laptop("alice");
        laptop.join(&token(&box_.ready), "alice", mode).ok();
        laptop
            .aura(&["config", "set", "members.approve", "auto"])
            .ok();
        laptop
    }

    /// Another member in `mode`, invited by `by` with the team key.
    pub fn member(&self, by: &Laptop, name: &str, mode: &str) -> Laptop {
        let laptop = self.laptop(name);
        let invite = token(&by.aura(&["invite"]).ok());
        laptop.join(&invite, name, mode).ok();
        laptop
    }
}

pub fn token(document: &Value) -> String {
    document["token"].as_str().unwrap().to_owned()
}

/// One simulated laptop.
pub struct Laptop {
    pub home: PathBuf,
    pub repo: PathBuf,
    /// Where its daemon listens for other laptops; without one it has the Mothership alone.
    pub listen: Option<String>,
    /// Where it says that it listens, if that is not to be found out.
    pub announce: Option<String>,
    /// Other settings of its links, as `AURA_LINKS_…`.
    pub links: Vec<(&'static str, &'static str)>,
}

impl Laptop {
    pub fn command(&self) -> Command {
        let mut command = self.plain_command();
        command.arg("--json");
        command
    }

    /// A command whose output is for people.
    pub fn plain_command(&self) -> Command {
        let mut command = Command::new(binary("aura"));
        command.env("AURA_HOME", &self.home).env_remove("HOME");
        match &self.listen {
            Some(listen) => command.env("AURA_LINKS_LISTEN", listen),
            None => command.env("AURA_LINKS_DIRECT", "off"),
        };
        if let Some(announce) = &self.announce {
            command.env("AURA_LINKS_ANNOUNCE", announce);
        }
        command.env("AURA_LINKS_MDNS", "off");
        command.envs(self.links.iter().copied());
        command.arg("-C").arg(&self.repo);
        command
    }

    pub fn aura(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.command().args(args).output().unwrap())
    }

    pub fn join(&self, token: &str, name: &str, mode: &str) -> Outcome {
        self.aura(&[
            "join",
            token,
            "--name",
            name,
            "--mode",
            mode,
            "--no-service",
        ])
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.repo.join(path)).unwrap()
    }

    /// Replaces text in a file, as an editor that saves in place.
    #[track_caller]
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{from:?} is not in {path}: {text}");
        fs::write(self.repo.join(path), text.replace(from, to)).unwrap();
    }

    pub fn synced(&self) {
        self.aura(&["wait", "--for", "synced", "--timeout", "30s"])
            .ok();
    }

    /// Waits for the first event, since the daemon started, that `wanted` accepts.
    pub fn event(&self, wanted: impl FnMut(&Value) -> bool) -> Value {
        let mut child = self
            .command()
            .args(["watch", "--since", "0", "--timeout", "60s"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let found = lines
            .map_while(Result::ok)
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
            .find(wanted);
        child.kill().ok();
        child.wait().ok();
        found.expect("the stream of events ended")
    }

    /// Waits until a change of `symbol` was written into this laptop's files.
    pub fn applied(&self, symbol: &str) {
        self.event(|event| event["kind"] == "applied" && event["symbol"] == symbol);
    }

    pub fn conflicts(&self) -> Vec<Value> {
        self.aura(&["conflicts"]).ok()["conflicts"]
            .as_array()
            .unwrap()
            .clone()
    }
}

impl Drop for Laptop {
    fn drop(&mut self) {
        self.aura(&["down"]);
    }
}

/// Every file below a directory.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| {
        if path.is_dir() {
            files(&path)
        } else {
            vec![path]
        }
    };
    entries.flat_map(below).collect()
}

/// Writes bytes to a file that must exist already.
pub fn overwrite(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}
