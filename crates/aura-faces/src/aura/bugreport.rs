//! `aura bugreport`: one file that tells others what is wrong, without names and code.
//!
//! Invariants:
//! - it is sent nowhere, and it is not written where a clone would publish it;
//! - no file is replaced, and nobody but its owner reads it;
//! - every text in it that is not of this program went through the [`Redactor`].

mod redact;

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use aura_api::{
    Call, Exit, Failure, Home,
    docs::{self, BugReport},
    shell_operand,
};
use serde_json::Value;

use self::redact::{CLONE, HOME, Kind, Redactor, Source, USER_HOME};
use super::{Face, Outcome, device, doctor};
use crate::{
    common::{answer, to_value},
    escape::{block, line},
    output::View,
};

/// Files of the home that are listed; more say nothing more.
const FILES_MAX: usize = 2_000;
/// Reports of one day beside each other.
const NAMES_MAX: u32 = 100;
/// What stands for words of people, of which not even the usual ones are anybody's business.
const LEFT_OUT: &str = "[left out]";

const HEAD: &str = "\
This is a report about aura, made on request of its user and sent nowhere by aura.
Names are replaced, the same name by the same word: peer-1, file-1.rs, symbol-1, path-1, word-1 …
AURA_HOME, CLONE and ~ stand for the home of aura, the clone and the user's home.
";

/// What the daemon answered, where one runs.
struct Answers {
    status: Result<Option<Value>, Failure>,
    /// Read for the names in them.
    others: Vec<Value>,
}

impl Face<'_, '_> {
    /// `bugreport`.
    pub(super) fn bugreport(&mut self, output: Option<&Path>) -> Outcome {
        let place = self.place(output)?;
        let text = self.report();
        let path = match output {
            Some(_) => write_new(&place, &text).map(|()| place.clone()),
            None => write_beside(&place, &text),
        };
        let path = path.map_err(|error| unwritten(&place, &error))?;
        let document = BugReport {
            schema: BugReport::SCHEMA.to_owned(),
            path: path.display().to_string(),
            bytes: u64::try_from(text.len()).unwrap_or(u64::MAX),
        };
        answer(self.screen, &to_value(&document), |_| told(&document))?;
        Ok(Exit::DONE)
    }

    /// The file to write: as it was said, else here, or in the home where it would be published here.
    fn place(&self, output: Option<&Path>) -> Result<PathBuf, Failure> {
        let day = self.screen.view().now.strftime("%Y-%m-%d");
        let name = format!("aura-bugreport-{day}.txt");
        let file = self.dir.join(output.unwrap_or(Path::new(&name)));
        let dir = file.parent().map(fs::canonicalize);
        let real = match (dir, file.file_name()) {
            (Some(Ok(dir)), Some(name)) => dir.join(name),
            _ => file.clone(),
        };
        let home = self.home().ok().filter(Home::has_identity);
        match (home, output) {
            (Some(home), None) if self.would_be_shared(&real) => Ok(home.root().join(name)),
            (Some(_), Some(_)) if self.would_be_shared(&real) => {
                let message = format!("{} would be published with its clone", file.display());
                Err(Failure::new("AE-USAGE", Exit::USAGE, message)
                    .next("aura bugreport", "writes it where it stays private")
                    .next("aura bugreport -o FILE", "a place outside of clones"))
            }
            _ => Ok(file),
        }
    }

    fn report(&self) -> String {
        let home = self.home().ok();
        let root = self.clone_here().ok().map(|clone| clone.root);
        let mut redactor = Redactor::new(self.places(home.as_ref(), root.as_deref()));
        let answers = self.answers();
        self.learn(&mut redactor, root.as_deref(), &answers);
        let parts = [
            ("version", version()),
            ("system", self.system(&mut redactor)),
            ("doctor", self.examined(&mut redactor)),
            ("status", status(&answers, &mut redactor)),
            ("end of the daemon's log", self.end_of_log(&mut redactor)),
            ("files of the home", files(home.as_ref(), &mut redactor)),
        ];
        let mut text = HEAD.to_owned();
        for (title, part) in parts {
            text += &format!("\n== {title} ==\n{}\n", part.trim_end());
        }
        block(&text)
    }

    /// The directories that paths are said from.
    fn places(&self, home: Option<&Home>, root: Option<&Path>) -> Vec<(String, &'static str)> {
        let user = self.env.get("HOME").map(PathBuf::from);
        let places = [
            (home.map(|home| home.root().to_owned()), HOME),
            (root.map(Path::to_owned), CLONE),
            (user, USER_HOME),
        ];
        let mut all = Vec::new();
        for (path, short) in places {
            let Some(path) = path else { continue };
            let real = fs::canonicalize(&path).ok();
            for path in [Some(path), real].into_iter().flatten() {
                let path = path.to_string_lossy().trim_end_matches('/').to_owned();
                all.push((path, short));
            }
        }
        all
    }

    fn answers(&self) -> Answers {
        let status = self.ask_running(Call::Status);
        let others = match &status {
            Ok(Some(_)) => vec![Call::Whoami, Call::Netcheck { peer: None }],
            Ok(None) | Err(_) => Vec::new(),
        };
        let others = others.into_iter().map(|call| self.ask_running(call));
        Answers {
            status,
            others: others.flatten().flatten().collect(),
        }
    }

    fn learn(&self, redactor: &mut Redactor, root: Option<&Path>, answers: &Answers) {
        redactor.learn(Kind::Host, &device::host());
        for variable in ["USER", "LOGNAME"] {
            redactor.learn(Kind::User, self.env.text(variable).unwrap_or_default());
        }
        let status = answers.status.iter().flatten();
        for answer in status.chain(&answers.others) {
            redactor.learn_from(Source::Answer, answer);
        }
        let files = root.and_then(|root| self.files_of(root).ok());
        for file in files.into_iter().flatten() {
            redactor.learn(Kind::File, &file.to_string_lossy());
        }
    }

    fn system(&self, redactor: &mut Redactor) -> String {
        let system = rustix::system::uname();
        let parts = [system.sysname(), system.release(), system.machine()];
        let parts = parts.map(|part| part.to_string_lossy());
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let of = |key: &str| {
            let value = release.lines().find_map(|line| line.strip_prefix(key));
            value.unwrap_or_default().trim_matches('"').to_owned()
        };
        let git = self.git_version();
        let git = git.unwrap_or_else(|failure| failure.message);
        redactor.text(&format!(
            "kernel: {}\nsystem: {} {}\n{git}\n",
            parts.join(" "),
            of("ID="),
            of("VERSION_ID=")
        ))
    }

    fn examined(&self, redactor: &mut Redactor) -> String {
        let mut found = self.diagnosis();
        for check in &mut found.checks {
            check.text = redactor.text(&check.text);
            for step in &mut check.next {
                step.cmd = redactor.text(&step.cmd);
                step.why = redactor.text(&step.why);
            }
        }
        let plain = View {
            colored: false,
            ..self.screen.view()
        };
        doctor::shown(&found, &plain)
    }

    fn end_of_log(&self, redactor: &mut Redactor) -> String {
        let tail = self.client().ok().map(|client| client.log_tail(0));
        let Some(Ok(tail)) = tail else {
            return "there is none".to_owned();
        };
        let lines = tail.lines().map(|line| log_line(line, redactor));
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn version() -> String {
    let (oldest, newest) = (
        aura_proto::message::VERSION_MIN,
        aura_proto::message::VERSION_MAX,
    );
    format!(
        "aura {}, protocol {oldest} to {newest}",
        env!("CARGO_PKG_VERSION")
    )
}

fn status(answers: &Answers, redactor: &mut Redactor) -> String {
    let document = match &answers.status {
        Ok(Some(document)) => document.clone(),
        Ok(None) => return "no daemon runs".to_owned(),
        Err(failure) => return redactor.text(&failure.to_string()),
    };
    let Ok(mut status) = serde_json::from_value::<docs::Status>(document) else {
        return "the daemon answered with something else than a status".to_owned();
    };
    for need in status
        .needs_you
        .iter_mut()
        .filter(|need| need.kind == "message")
    {
        need.text = LEFT_OUT.to_owned();
    }
    for zone in &mut status.zones {
        zone.why = LEFT_OUT.to_owned();
        zone.asks
            .iter_mut()
            .for_each(|ask| ask.text = LEFT_OUT.to_owned());
    }
    let shown = redactor.document(Source::Answer, &to_value(&status));
    serde_json::to_string_pretty(&shown).unwrap_or_default()
}

/// A line of the log; what is no document is a text.
fn log_line(line: &str, redactor: &mut Redactor) -> String {
    match serde_json::from_str::<Value>(line) {
        Ok(document @ Value::Object(_)) => redactor.document(Source::Log, &document).to_string(),
        _ => redactor.text(line),
    }
}

/// What lies in the home: names and lengths.
fn files(home: Option<&Home>, redactor: &mut Redactor) -> String {
    let Some(home) = home else {
        return "there is no home".to_owned();
    };
    let mut found = Vec::new();
    let mut open = vec![home.root().to_owned()];
    while let Some(dir) = open.pop() {
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        // A link is not followed: the entry is asked, not what it leads to.
        for entry in entries.take(FILES_MAX) {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => open.push(entry.path()),
                Ok(meta) => found.push((entry.path(), meta.len())),
                Err(_) => {}
            }
        }
        if FILES_MAX < found.len() {
            break;
        }
    }
    found.sort();
    let rows = found.iter().take(FILES_MAX).map(|(path, bytes)| {
        let below = path.strip_prefix(home.root()).unwrap_or(path);
        let shown = redactor.own_path(&below.to_string_lossy());
        format!("{bytes:>12}  {shown}\n")
    });
    let mut text: String = rows.collect();
    if FILES_MAX < found.len() {
        text += "and more\n";
    }
    text
}

/// Writes a file that was not there.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes()).inspect_err(|_| {
        // Half a report is none; if it stays, the failure says why.
        fs::remove_file(path).ok();
    })
}

/// The same under the next free name.
fn write_beside(path: &Path, text: &str) -> io::Result<PathBuf> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let more = (2..=NAMES_MAX).map(|n| path.with_file_name(format!("{stem}-{n}.txt")));
    for path in std::iter::once(path.to_owned()).chain(more) {
        match write_new(&path, text) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            written => return written.map(|()| path),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    let elsewhere = ("aura bugreport -o FILE", "another name");
    if error.kind() == ErrorKind::AlreadyExists {
        let message = format!("{} is there already; it is not replaced", path.display());
        return Failure::new("AE-EXISTS", Exit::LOCKED, message).next(elsewhere.0, elsewhere.1);
    }
    let message = format!("cannot write {}: {error}", path.display());
    Failure::new("AE-OUTPUT", Exit::USAGE, message).next(elsewhere.0, "where you may write")
}

fn told(report: &BugReport) -> String {
    format!(
        "wrote {} ({} KiB), which only you can read; it was sent to nobody\n  \
         in it      versions, system, what aura doctor finds, aura status, the end of the daemon's log,\n             \
         names and lengths of the files in the home of aura\n  \
         replaced   names of people, devices, hosts, teams, branches, files and symbols, and every word\n             \
         that aura does not know; no token, no key and nothing of your files is in it\n\
         Read it before you send it to anybody: less {}\n",
        line(&report.path),
        report.bytes.div_ceil(1 << 10),
        line(&shell_operand(&report.path))
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_report_is_private_and_takes_the_next_name_rather_than_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.txt");
        fs::write(&path, "precious").unwrap();
        let written = write_beside(&path, "one").unwrap();
        assert_eq!(written, dir.path().join("report-2.txt"));
        let mode = fs::metadata(&written).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = write_new(&path, "two").unwrap_err();
        assert_eq!(unwritten(&path, &error).exit, Exit::LOCKED);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        // A link is not followed, wherever it leads.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("nowhere"), &link).unwrap();
        write_new(&link, "three").unwrap_err();
        assert!(!dir.path().join("nowhere").exists());
    }

    #[test]
    fn files_of_the_home_are_listed_by_length_without_names_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().to_owned());
        fs::create_dir_all(home.identity_dir()).unwrap();
        fs::write(home.log_file(), "12345").unwrap();
        fs::write(home.identity_dir().join("quokka"), "1").unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("link")).unwrap();
        let text = files(Some(&home), &mut Redactor::new(Vec::new()));
        let rows: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(rows, ["5  daemon.log", "1  identity/word-1", "4  link"]);
    }
}
