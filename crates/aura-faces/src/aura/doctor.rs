//! `aura doctor`: looks at what `aura` needs, and says what is wrong with it and what to do.
//!
//! Invariants:
//! - it looks at what is: no daemon is started and nobody is dialled, and without `--fix` nothing is changed;
//! - whatever is not `ok` has a next step;
//! - `--fix` takes away nothing that anybody may want: it closes the home to others, sets git up and removes a socket
//!   that nobody answers on.

mod daemon;
mod machine;

use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use aura_api::{
    Exit, Failure, Home, Next,
    docs::{self, CheckDoc, FixDoc},
    home::{DAEMON_LOCK, DAEMON_SOCKET},
    socket,
};
use rustix::fs::OFlags;

use super::{Face, Outcome};
use crate::{
    common::{answer, to_value},
    escape::line,
    output::{Paint, View},
};

/// Nothing is wrong.
const OK: &str = "ok";
/// It works, but not as well as it could.
const WARN: &str = "warn";
/// Something does not work.
const FAIL: &str = "fail";

/// Something that can be put right without asking.
#[derive(Debug, PartialEq, Eq)]
enum Fix {
    /// A directory of ours is open to others.
    Close(PathBuf),
    /// A daemon that is gone has left its socket.
    RemoveSocket(PathBuf),
    /// Git does not know the merge driver, or an older one.
    SetGitUp,
}

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    checks: Vec<CheckDoc>,
    fixes: Vec<Fix>,
}

impl Findings {
    fn add(&mut self, check: CheckDoc) {
        self.checks.push(check);
    }
}

impl Face<'_, '_> {
    /// `doctor`.
    pub(super) fn doctor(&mut self, does_fix: bool) -> Outcome {
        let mut findings = self.examine();
        let mut fixed = Vec::new();
        if does_fix && !findings.fixes.is_empty() {
            fixed = findings
                .fixes
                .iter()
                .map(|fix| self.put_right(fix))
                .collect();
            findings = self.examine();
        }
        let document = document(findings.checks, fixed);
        answer(self.screen, &to_value(&document), |view| {
            shown(&document, view)
        })?;
        self.next(&document.next)?;
        Ok(match document.state.as_str() {
            FAIL => Exit::FAILED,
            _ => Exit::DONE,
        })
    }

    /// What `doctor` finds, for a report.
    pub(super) fn diagnosis(&self) -> docs::Doctor {
        document(self.examine().checks, Vec::new())
    }

    fn examine(&self) -> Findings {
        let mut findings = Findings::default();
        self.look_at_git(&mut findings);
        let home = match self.home() {
            Ok(home) => home,
            Err(failure) => {
                findings.add(of_failure("home", FAIL, failure));
                return findings;
            }
        };
        machine::look_at_home(&home, &mut findings);
        findings.checks.extend(machine::disk(&home));
        findings.checks.extend(machine::damage(&home));
        self.look_at_daemon(&home, &mut findings);
        findings
    }

    fn put_right(&self, fix: &Fix) -> FixDoc {
        let (check, done) = match fix {
            Fix::Close(dir) => ("home", close(dir)),
            Fix::RemoveSocket(run_dir) => ("daemon", remove_socket(run_dir)),
            Fix::SetGitUp => ("merge driver", self.set_driver_up()),
        };
        let (state, text) = match done {
            Ok(text) => ("done", text),
            Err(text) => ("failed", text),
        };
        FixDoc {
            check: check.to_owned(),
            state: state.to_owned(),
            text,
        }
    }

    fn set_driver_up(&self) -> Result<String, String> {
        let step = self.set_git_up();
        match step.state.as_str() {
            "failed" => Err(step.text),
            _ => Ok(format!(
                "set git up: {}; aura uninit takes it back",
                step.text
            )),
        }
    }
}

/// Takes the rights of others off a directory; a link is not followed.
fn close(dir: &Path) -> Result<String, String> {
    let closed = || {
        let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed();
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(dir)?;
        let mode = opened.metadata()?.mode() & 0o777;
        opened.set_permissions(Permissions::from_mode(0o700))?;
        Ok::<_, io::Error>(mode)
    };
    match closed() {
        Ok(mode) if mode & 0o022 == 0 => Ok(format!("closed {} to others", dir.display())),
        Ok(_) => Ok(format!(
            "closed {} to others; they could write there, so look at what lies in it",
            dir.display()
        )),
        Err(error) => Err(format!("cannot close {}: {error}", dir.display())),
    }
}

/// Removes a socket that nobody answers on, while no daemon can make one.
fn remove_socket(run_dir: &Path) -> Result<String, String> {
    let removed = lock(&run_dir.join(DAEMON_LOCK)).and_then(|lock| {
        let removed = socket::remove_left_over(run_dir, DAEMON_SOCKET);
        drop(lock);
        removed
    });
    let path = run_dir.join(DAEMON_SOCKET);
    match removed {
        Ok(()) => Ok(format!("removed {}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(format!(
            "{} is kept: a daemon has the lock, so it may be starting",
            path.display()
        )),
        Err(error) => Err(format!("cannot remove {}: {error}", path.display())),
    }
}

/// The lock that a daemon holds, or why it cannot be had.
fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)?;
    file.try_lock()?;
    Ok(file)
}

/// Whether a daemon that is gone has left its socket.
fn has_left_over(home: &Home) -> bool {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    socket::connect(&home.run_dir(), DAEMON_SOCKET).is_err_and(refused)
}

fn ok(name: &str, text: impl Into<String>) -> CheckDoc {
    CheckDoc {
        name: name.to_owned(),
        state: OK.to_owned(),
        text: text.into(),
        next: Vec::new(),
    }
}

/// Something that is not as it should be, with what to run and why.
fn bad(
    name: &str,
    state: &str,
    text: impl Into<String>,
    (cmd, why): (impl Into<String>, impl Into<String>),
) -> CheckDoc {
    CheckDoc {
        name: name.to_owned(),
        state: state.to_owned(),
        text: text.into(),
        next: vec![Next {
            cmd: cmd.into(),
            why: why.into(),
        }],
    }
}

/// A failure as something that was found; one that knows no way out gets the log.
fn of_failure(name: &str, state: &str, failure: Failure) -> CheckDoc {
    let mut check = bad(
        name,
        state,
        failure.message,
        ("aura daemon logs", "what the daemon says about it"),
    );
    if !failure.next.is_empty() {
        check.next = failure.next;
    }
    check
}

fn document(checks: Vec<CheckDoc>, fixed: Vec<FixDoc>) -> docs::Doctor {
    let has = |state: &str| checks.iter().any(|check| check.state == state);
    let worst = [FAIL, WARN].into_iter().find(|state| has(state));
    let mut next: Vec<Next> = Vec::new();
    for step in checks.iter().flat_map(|check| &check.next) {
        if !next.iter().any(|known| known.cmd == step.cmd) {
            next.push(step.clone());
        }
    }
    docs::Doctor {
        schema: docs::Doctor::SCHEMA.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: worst.unwrap_or(OK).to_owned(),
        checks,
        fixed,
        next,
    }
}

/// The checks, one a line, with what to do below those that need something.
pub(super) fn shown(document: &docs::Doctor, view: &View) -> String {
    let names = document.checks.iter().map(|check| check.name.as_str());
    let names = names.chain(document.fixed.iter().map(|fix| fix.check.as_str()));
    let width = names.map(str::len).max().unwrap_or(0);
    let row = |word: String, name: &str, text: &str| {
        format!("{word}  {:<width$}  {}\n", line(name), line(text))
    };
    let mut text = String::new();
    for fix in &document.fixed {
        let word = match fix.state.as_str() {
            "done" => view.paint(Paint::Good, "DID "),
            _ => view.paint(Paint::Bad, "NOT "),
        };
        text += &row(word, &fix.check, &fix.text);
    }
    for check in &document.checks {
        let word = match check.state.as_str() {
            OK => view.paint(Paint::Good, "OK  "),
            WARN => view.paint(Paint::Warn, "WARN"),
            _ => view.paint(Paint::Bad, "FAIL"),
        };
        text += &row(word, &check.name, &check.text);
        for step in check.next.iter().filter(|step| !step.why.is_empty()) {
            let step = format!("{}: {}", line(&step.cmd), line(&step.why));
            text += &format!("      {}\n", view.paint(Paint::Faint, &step));
        }
    }
    text + &summary(document)
}

fn summary(document: &docs::Doctor) -> String {
    let count = |state: &str| {
        let checks = document.checks.iter();
        checks.filter(|check| check.state == state).count()
    };
    match (count(FAIL), count(WARN)) {
        (0, 0) => "nothing is wrong\n".to_owned(),
        (0, warned) => format!("nothing fails; {warned} to look at\n"),
        (failed, warned) => format!("{failed} failed, {warned} to look at\n"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn closing_a_directory_says_whether_others_could_write_and_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        for (before, is_open) in [(0o755, false), (0o777, true)] {
            let path = dir.path().join("home");
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
            let said = close(&path).unwrap();
            assert_eq!(mode(&path), 0o700);
            assert_eq!(said.contains("look at what lies in it"), is_open, "{said}");
        }
        let (there, link) = (dir.path().join("there"), dir.path().join("link"));
        fs::create_dir(&there).unwrap();
        fs::set_permissions(&there, Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&there, &link).unwrap();
        assert!(close(&link).unwrap_err().contains("cannot close"));
        assert_eq!(mode(&there), 0o755);
    }

    #[test]
    fn a_left_over_socket_is_removed_unless_a_daemon_holds_the_lock_or_it_is_no_socket() {
        let dir = tempfile::tempdir().unwrap();
        let (run_dir, path) = (dir.path(), dir.path().join(DAEMON_SOCKET));
        drop(socket::bind(run_dir, DAEMON_SOCKET).unwrap());
        let held = lock(&run_dir.join(DAEMON_LOCK)).unwrap();
        remove_socket(run_dir).unwrap_err();
        assert!(path.exists());
        drop(held);
        // A process that another test starts has a copy of the socket until it has become its program.
        while socket::connect(run_dir, DAEMON_SOCKET).is_ok() {
            std::thread::yield_now();
        }
        remove_socket(run_dir).unwrap();
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        remove_socket(run_dir).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn the_worst_check_is_the_state_and_each_step_is_said_once() {
        let step = ("aura up", "starts it");
        let found = document(
            vec![
                ok("git", "git version 2"),
                bad("daemon", WARN, "none runs", step),
                bad("sync", FAIL, "nothing goes out", step),
            ],
            Vec::new(),
        );
        assert_eq!((found.state.as_str(), found.next.len()), (FAIL, 1));
        assert_eq!(document(vec![ok("git", "")], Vec::new()).state, OK);
    }
}
