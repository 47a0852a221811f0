//! The working-copy side of a story: files as bytes, git, what a daemon says and what it costs.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;

use crate::{Laptop, Outcome, Team, binary, git};

impl Team {
    /// A team whose origin also has these files.
    pub fn with<N: AsRef<str>, B: AsRef<[u8]>>(files: &[(N, B)]) -> Self {
        let team = Self::new();
        let origin = team.dir.path().join("origin");
        for (path, bytes) in files {
            put(&origin.join(path.as_ref()), bytes.as_ref());
        }
        git(&origin, &["add", "-A"]);
        git(&origin, &["commit", "-qm", "files"]);
        team
    }

    /// Runs an operator's command as people do, without `--json`.
    pub fn plain_mothership(&self, args: &[&str]) -> Outcome {
        let mut command = Command::new(binary("mothership"));
        command.arg("--state-dir").arg(self.state()).args(args);
        Outcome::of(command.output().unwrap())
    }

    /// Another repository, of one function, that the daemon of `laptop` serves as well.
    pub fn second_repository(&self, laptop: &Laptop, name: &str) -> Laptop {
        let repo = self.dir.path().join(name);
        put(&repo.join("src/lib.rs"), b"fn round() {}\n");
        git(&repo, &["init", "-q", "-b", "main"]);
        git(&repo, &["add", "."]);
        git(&repo, &["commit", "-qm", name]);
        let home = laptop.home.clone();
        let second = Laptop {
            home,
            repo,
            listen: laptop.listen.clone(),
            announce: None,
            links: Vec::new(),
        };
        second.aura(&["join", "--mode", "live"]).ok();
        second
    }
}

impl Laptop {
    /// Runs a command as people do, without `--json`.
    pub fn plain(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.plain_command().args(args).output().unwrap())
    }

    pub fn bytes(&self, path: &str) -> Vec<u8> {
        fs::read(self.repo.join(path)).unwrap()
    }

    /// Saves a file, as an editor that saves in place.
    pub fn save(&self, path: &str, bytes: impl AsRef<[u8]>) {
        put(&self.repo.join(path), bytes.as_ref());
    }

    /// Publishes by `aura publish` alone from now on, so that an edit can stay this laptop's own.
    pub fn publishes_on_demand(&self) {
        self.aura(&["config", "set", "publish", "intent"]).ok();
    }

    /// The rows of the history, newest first.
    pub fn log(&self, symbol: &[&str]) -> Vec<Value> {
        let log = self.aura(&[&["log"], symbol].concat()).ok();
        log["ops"].as_array().unwrap().clone()
    }

    /// Takes what waits; answers how it ended and each unit's outcome with its reason.
    pub fn pull(&self) -> (i32, Vec<(String, String)>) {
        let pulled = self.aura(&["pull"]);
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let units = pulled.json["units"].as_array().expect("a list of units");
        let rows = units
            .iter()
            .map(|row| (text(row, "outcome"), text(row, "why")));
        (pulled.exit, rows.collect())
    }

    /// The first events of a kind since the daemon started, waited for.
    pub fn events(&self, kind: &str, count: usize) -> Vec<Value> {
        let mut found = Vec::new();
        self.event(|event| {
            if event["kind"] == kind {
                found.push(event.clone());
            }
            found.len() == count
        });
        found
    }

    /// The working tree without what git and the forger's markers put there.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = tree(&self.repo);
        files.retain(|name, _| !name.starts_with(".git/") && !name.starts_with("marker-"));
        files
    }

    /// The process of the daemon; starts it if need be.
    pub fn pid(&self) -> u32 {
        let pid = self.aura(&["up"]).ok()["pid"].as_u64().unwrap();
        pid.try_into().unwrap()
    }

    /// Processor time that the daemon has used, in milliseconds.
    pub fn cpu_ms(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, after_name) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = after_name.split(' ').collect();
        // Fields 14 and 15 of proc(5), in ticks of 10 ms; the first two are cut off with the name.
        let ticks = |field: usize| fields[field - 3].parse::<u64>().unwrap();
        (ticks(14) + ticks(15)) * 10
    }

    /// The most memory that the daemon has had, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let number = line.unwrap().split_ascii_whitespace().nth(1);
        number.unwrap().parse().unwrap()
    }
}

/// Writes a file, with the directories above it.
pub fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Every file below a directory with its bytes, links as where they lead.
pub fn tree(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(directory).unwrap().display().to_string();
        if meta.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if meta.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            found.insert(name, target.into_os_string().into_encoded_bytes());
        } else if meta.is_file() {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}
