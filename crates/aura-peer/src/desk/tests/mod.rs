//! Desks without daemons and without a Mothership: a team's log that is handed from one to the other.

#![allow(clippy::unwrap_used)]

mod agree;
mod alike;
mod damage;
mod held;
mod impact;
mod law;
mod orphans;
mod past;

use std::{collections::BTreeSet, fs, path::Path, process::Command, sync::Arc};

use aura_engine::peer::replica::{Input, Record};
use aura_proto::{
    Digest, Entry, PeerId, TeamId, VersionVector,
    event::{EventRun, PlacedBytes, chain},
    message::{Head, Message},
};
use aura_tree::Repo;
use aura_trust::{IdentityKey, KeyRing, Roster, TeamKey};
use tempfile::TempDir;

use super::{Desk, Ground, Mode, Publishing, publish::Intent};
use crate::clock::Clock;

const TEAM: TeamId = TeamId([1; 16]);

/// A log in which entries have their places.
#[derive(Default)]
struct Log {
    entries: Vec<Entry>,
}

/// A member at its desk.
struct Person {
    dir: TempDir,
    seed: u8,
    mode: Mode,
    desk: Desk,
    ring: KeyRing,
    /// The own records that were put into the log.
    told: BTreeSet<u64>,
}

impl Person {
    /// A member with these committed files.
    fn new(seed: u8, mode: Mode, files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        for (path, text) in files {
            write(&repo.join(path), text);
        }
        // The same repository for everybody: the same commit.
        for args in [
            &["init", "-q", "-b", "main"][..],
            &["add", "."],
            &["commit", "-q", "-m", "start"],
        ] {
            git(&repo, args);
        }
        let mut ring = KeyRing::new();
        ring.insert(TeamKey::new(1, [9; 32])).unwrap();
        Self::sits_down(dir, (seed, mode), ring, BTreeSet::new())
    }

    fn sits_down(
        dir: TempDir,
        (seed, mode): (u8, Mode),
        ring: KeyRing,
        told: BTreeSet<u64>,
    ) -> Self {
        let desk = open(dir.path(), seed, mode, &ring);
        Self {
            dir,
            seed,
            mode,
            desk,
            ring,
            told,
        }
    }

    /// The daemon ends, whatever it was at, and another one starts.
    fn restarts(self) -> Self {
        self.restarts_after(|_| {})
    }

    /// The same, and something happens to its directory in between.
    fn restarts_after(self, happens: impl FnOnce(&Path)) -> Self {
        drop(self.desk);
        happens(self.dir.path());
        Self::sits_down(self.dir, (self.seed, self.mode), self.ring, self.told)
    }

    fn writes(&self, path: &str, text: &str) {
        write(&self.dir.path().join("repo").join(path), text);
    }

    fn reads(&self, path: &str) -> String {
        fs::read_to_string(self.dir.path().join("repo").join(path)).unwrap()
    }

    #[track_caller]
    fn edits(&self, path: &str, from: &str, to: &str) {
        let text = self.reads(path);
        assert!(text.contains(from), "{from:?} is not in {path}: {text}");
        self.writes(path, &text.replace(from, to));
    }

    /// Publishes what is saved; answers the name of the last operation.
    #[track_caller]
    fn publishes(&mut self, log: &mut Log) -> String {
        let intent = Intent::default();
        self.desk.publish_all(&intent, &self.ring).unwrap();
        self.tells(log);
        self.desk.units.recorded().last().unwrap().op()
    }

    /// Puts own entries into the log.
    fn tells(&mut self, log: &mut Log) {
        for lsn in self.desk.own_records() {
            if self.told.insert(lsn) {
                log.entries.push(self.desk.book.entry(lsn).unwrap());
            }
        }
    }

    /// Time passes until nothing is to be said of files in doubt.
    fn agrees(&mut self) {
        while let Some(at) = self.desk.agreement.deadline() {
            self.desk.agree(at, &self.ring);
        }
    }

    /// Takes in what the log has of others.
    fn hears(&mut self, log: &Log) {
        let id = self.desk.book.replica.log();
        let mut hash = Digest::ZERO;
        for (seq, entry) in (1..).zip(&log.entries) {
            hash = chain(hash, seq, 0, entry.hash());
        }
        let rows = (1..).zip(&log.entries).map(|(seq, entry)| PlacedBytes {
            seq,
            time_ms: 0,
            bytes: entry.bytes(),
        });
        let known = self.desk.book.replica.cursor().0;
        let run = EventRun::encode(id, rows.filter(|row| known < row.seq), None);
        let head = Head {
            log: id,
            epoch: 1,
            seq: log.entries.len() as u64,
            hash,
            vector: VersionVector::default(),
        };
        let messages = [Message::Head(head), Message::Event(run)];
        let inputs = [Input::LinkDown, Input::LinkUp].into_iter();
        for input in inputs.chain(messages.map(Input::Received)) {
            self.desk.feed(input, &self.ring);
        }
        assert!(self.desk.fault.is_none(), "{:?}", self.desk.fault);
        self.desk.settle(&self.ring);
    }
}

impl Desk {
    /// The records of own entries.
    fn own_records(&mut self) -> Vec<u64> {
        let mut own = Vec::new();
        let replay = self.book.replay(|lsn, record| {
            if matches!(record, Record::Own(_)) {
                own.push(lsn);
            }
        });
        replay.unwrap();
        own
    }
}

fn open(dir: &Path, seed: u8, mode: Mode, ring: &KeyRing) -> Desk {
    let ground = Ground {
        repo: Repo::discover(&dir.join("repo")).unwrap(),
        state_dir: &dir.join("state"),
        team: TEAM,
        roster: Arc::new(Roster::new(TEAM)),
        distrust: None,
        key: IdentityKey::from_seed([seed; 32]),
        checkpoint_key: PeerId([7; 32]),
        mode,
        publishing: Publishing::Intent,
        is_told: true,
        clock: Clock::start(),
    };
    let mut desk = Desk::open(ground, ring).unwrap();
    desk.index(&mut |_, _| {}).unwrap();
    desk
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn git(repo: &Path, args: &[&str]) {
    let mut command = Command::new("git");
    for (name, value) in [
        ("GIT_AUTHOR_DATE", "2020-01-01T00:00:00Z"),
        ("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z"),
    ] {
        command.env(name, value);
    }
    let user = ["-c", "user.name=t", "-c", "user.email=t@t"];
    command.args(user).args(["-c", "commit.gpgsign=false"]);
    let status = command.args(args).current_dir(repo).status().unwrap();
    assert!(status.success(), "git {args:?}");
}

/// How many times this thread has read from something.
fn reads() -> u64 {
    let io = fs::read_to_string("/proc/thread-self/io").unwrap();
    let count = io.lines().find_map(|line| line.strip_prefix("syscr: "));
    count.unwrap().parse().unwrap()
}
