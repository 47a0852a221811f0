//! What an acknowledgement is worth when disks, power and processes fail: the real binaries, seen from outside.
//!
//! The quick run takes a selection of each sweep, `MOTHERSHIP_TESTS=all` the whole of it. Everything is shown by
//! faults that strace injects; where the machine allows mounts, some cases are also played on file systems of their
//! own, and the long run insists on it.

#![allow(clippy::unwrap_used, missing_docs)]
#![allow(clippy::print_stdout, reason = "sweeps say how far they went")]

mod damage;
mod kill;
mod link;
mod outbox;
mod power;
mod segment;
mod space;
mod start;
mod sync;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use mothership_tests::{
    Mothership, Outcome, Team,
    journal::{Authors, Mark},
    token,
    wire::Failure,
};
use tokio::sync::Semaphore;

/// A state directory, the Mothership that serves it now, and the authors who write to it.
struct Site {
    team: Team,
    box_: Option<Mothership>,
    authors: Authors,
}

impl Site {
    /// A new team with so many authors; its Mothership runs.
    fn new(authors: usize) -> Self {
        let team = Team::new();
        let box_ = team.serve("127.0.0.1:0");
        let uses = authors.to_string();
        let invite = token(&team.mothership(&["invite", "--uses", &uses]).ok());
        let authors = Authors::join(&invite, &box_.listen, authors);
        Self {
            team,
            box_: Some(box_),
            authors,
        }
    }

    /// The Mothership that runs.
    fn box_(&self) -> &Mothership {
        self.box_.as_ref().expect("no mothership runs")
    }

    fn wal(&self) -> PathBuf {
        self.team.state().join("wal")
    }

    /// The command that serves this directory on a port that the system chooses.
    fn command(&self) -> Command {
        let mut command = self.team.serve_command(&self.team.state(), "127.0.0.1:0");
        command.stderr(File::create(self.stderr()).unwrap());
        command
    }

    fn stderr(&self) -> PathBuf {
        self.team.dir.path().join("stderr")
    }

    /// What the last start said on standard error.
    fn said(&self) -> String {
        fs::read_to_string(self.stderr()).unwrap()
    }

    /// Starts with a command, or answers how it ended before it was ready.
    fn start_with(&mut self, command: Command) -> Result<(), Outcome> {
        let box_ = Mothership::start(command)?;
        self.authors.find(&box_.listen);
        self.box_ = Some(box_);
        Ok(())
    }

    #[track_caller]
    fn start(&mut self) {
        let command = self.command();
        if let Err(outcome) = self.start_with(command) {
            panic!("it does not start: {outcome:?} {}", self.said());
        }
    }

    /// A start that is expected to fail.
    #[track_caller]
    fn refused(&self) -> Outcome {
        Mothership::start(self.command()).err().expect("it starts")
    }

    /// Sends a signal and waits for the end; answers the exit code.
    fn stop(&mut self, signal: &str) -> Option<i32> {
        self.box_.take().expect("no mothership runs").stop(signal)
    }

    /// Waits until it ends by itself; answers the exit code.
    fn ended(&mut self) -> Option<i32> {
        self.box_.take().expect("no mothership runs").ended()
    }

    /// Every author gets `count` more entries acknowledged.
    #[track_caller]
    fn write(&mut self, count: usize) {
        for ended in self.authors.write(count, 1) {
            ended.unwrap();
        }
    }

    /// One author alone writes until `count` more of its entries are acknowledged.
    fn write_by(&mut self, author: usize, count: usize) -> Result<(), Failure> {
        let author = &mut self.authors.authors[author];
        let total = author.places.len() + count;
        let acked = Semaphore::new(0);
        self.authors
            .runtime
            .block_on(author.write(total, 1, &acked))
    }

    /// Keeps a copy of the stopped site, to return to it.
    fn keep(&self) -> Mark {
        copy(&self.team.state(), &self.team.dir.path().join("kept"));
        self.authors.mark()
    }

    fn restore(&mut self, mark: &Mark) {
        copy(&self.team.dir.path().join("kept"), &self.team.state());
        self.authors.rewind(mark);
    }

    /// I1 to I5 by what a subscriber reads, and the same number of entries on the disk; answers how many.
    #[track_caller]
    fn check(&mut self) -> usize {
        let count = self.authors.check();
        let verified = self.team.mothership(&["wal", "verify"]).ok();
        assert_eq!(verified["entries"], count, "{verified}");
        count
    }
}

/// Makes the content of a directory that of another.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(to).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    let copied = Command::new("cp")
        .args(["-a", "-T"])
        .args([from, to])
        .status();
    assert!(copied.unwrap().success());
}
