//! `merge preview`: what merging a branch into HEAD would do.
//!
//! Invariants:
//! - nothing is written, neither files nor objects;
//! - a file is judged by what would judge it in the merge: this driver, or git's lines.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    thread,
};

use aura_api::{
    Exit, Failure, Next,
    docs::{self, MergeFileDoc},
    shell_operand,
};
use aura_semantic::{language_of, merge_lines, merge_lines_by_myers};

use super::{
    DRIVER, Git,
    explain::show_file,
    fields,
    job::{self, Job, Judged, plain_reason},
    setup::{self, Places},
    trees::{Changes, Fate, Fates, merge},
    worker::Worker,
};
use crate::{
    aura::{Face, local::number, show::counted},
    common::{answer, to_value},
    escape,
    output::{Outcome, View},
};

/// Pairs of files that may be compared to find renames, as git's merge has it.
const RENAMES_MAX: &str = "-l7000";
/// Longest blob that is read: 256 MiB.
const BLOB_BYTES_MAX: u64 = 256 << 20;

/// The commits of a merge that may come.
struct Commits {
    ours: String,
    theirs: String,
    base: String,
    has_one_base: bool,
}

impl Commits {
    fn find(git: Git<'_>, branch: &str) -> Result<Self, Failure> {
        let commit = |name: &str| {
            let name = format!("{name}^{{commit}}");
            git.line(&["rev-parse", "--verify", "-q", "--end-of-options", &name])
        };
        let missing = |name: &str| {
            let message = format!("no commit is called {name}");
            Failure::new("AE-USAGE", Exit::USAGE, message).next("git branch -a", "the branches")
        };
        let ours = commit("HEAD").ok_or_else(|| missing("HEAD"))?;
        let theirs = commit(branch).ok_or_else(|| missing(branch))?;
        let said = git.say(&["merge-base", "--all", &ours, &theirs])?;
        let bases = String::from_utf8_lossy(&said.out).into_owned();
        let mut bases = bases.lines();
        let Some(base) = bases.next().map(str::to_owned) else {
            let message = format!("HEAD and {branch} have no commit in common");
            return Err(Failure::new("AE-NO-BASE", Exit::FAILED, message)
                .next("git log --oneline --graph --all", "how they hang together"));
        };
        let has_one_base = bases.next().is_none();
        Ok(Self {
            ours,
            theirs,
            base,
            has_one_base,
        })
    }

    fn kind(&self) -> &'static str {
        if self.base == self.theirs {
            "up_to_date"
        } else if self.base == self.ours {
            "fast_forward"
        } else {
            "merge"
        }
    }

    fn fates(&self, git: Git<'_>) -> Result<Fates, Failure> {
        let setting = |name| git.line(&["config", "--get", name]);
        let renames = setting("merge.renames").or_else(|| setting("diff.renames"));
        let finds_renames = !matches!(renames.as_deref(), Some("false" | "no" | "off" | "0"));
        let changes = |commit: &str| {
            let mut args = vec![
                "diff-tree",
                "-r",
                "-z",
                "--raw",
                "--full-index",
                RENAMES_MAX,
            ];
            args.push(if finds_renames { "-M" } else { "--no-renames" });
            args.extend([&self.base, commit]);
            Changes::parse(&git.ask(&args)?).ok_or_else(|| odd("diff-tree"))
        };
        Ok(merge(&changes(&self.ours)?, &changes(&self.theirs)?))
    }
}

fn odd(command: &str) -> Failure {
    let message = format!("git {command} gave an answer that is not understood");
    Failure::new("AE-GIT", Exit::FAILED, message).next("git --version", "2.34 or newer")
}

impl Face<'_, '_> {
    /// `merge preview`.
    pub(in crate::aura) fn preview(&mut self, branch: &str, exit_code: bool) -> Outcome {
        let places = Places::find(self.git())?;
        let git = Git {
            dir: &places.root,
            env: &self.env,
        };
        let commits = Commits::find(git, branch)?;
        let driver = setup::state(git, &places)?;
        let fates = match commits.kind() {
            "merge" => commits.fates(git)?,
            _ => Fates::default(),
        };
        let files = self.judge(git, &fates.files, driver)?;
        let has = |verdict: &str| files.iter().any(|file| file.verdict == verdict);
        let exit = match (has("conflict"), has("unknown")) {
            (true, _) => Exit::CONFLICT,
            (false, true) => Exit::PARTLY,
            (false, false) => Exit::DONE,
        };
        let next = match (driver, commits.kind()) {
            ("set_up", "up_to_date") => None,
            ("set_up", _) => Some(format!("git merge {}", shell_operand(branch))),
            _ => Some("aura init".to_owned()),
        };
        let next = next.map(|cmd| Next {
            cmd,
            why: String::new(),
        });
        let document = docs::MergePreview {
            schema: docs::MergePreview::SCHEMA.to_owned(),
            branch: branch.to_owned(),
            kind: commits.kind().to_owned(),
            exact: commits.has_one_base,
            theirs: commits.theirs,
            ours: commits.ours,
            base: commits.base,
            driver: driver.to_owned(),
            clean: exit == Exit::DONE,
            taken: fates.taken,
            files,
            next: next.into_iter().collect(),
        };
        answer(self.screen, &to_value(&document), |view| {
            show(view, &document)
        })?;
        if !self.screen.is_json() {
            self.screen.next(&document.next)?;
        }
        Ok(if exit_code { exit } else { Exit::DONE })
    }

    fn judge(
        &self,
        git: Git<'_>,
        fates: &[Fate],
        state: &str,
    ) -> Result<Vec<MergeFileDoc>, Failure> {
        let drivers = drivers(git, fates)?;
        let worker = Worker {
            exe: &self.exe,
            env: &self.env,
            limit: self.common.timeout,
        };
        let mut blobs = Blobs::start(git)?;
        let mut files = Vec::new();
        for fate in fates {
            let (path, base, ours, theirs) = match fate {
                Fate::Conflict { path, code } => {
                    let path = String::from_utf8_lossy(path);
                    let verdict = match *code {
                        "submodule" => "unknown",
                        _ => "conflict",
                    };
                    let mut file = job::file(&path, verdict, "tree");
                    file.reasons = vec![plain_reason(code)];
                    files.push(file);
                    continue;
                }
                Fate::Merge {
                    path,
                    base,
                    ours,
                    theirs,
                } => (path, base, ours, theirs),
            };
            let base = base.as_ref().map_or(Ok(Vec::new()), |id| blobs.read(id))?;
            let job = Job {
                path: String::from_utf8_lossy(path).into_owned(),
                texts: [base, blobs.read(ours)?, blobs.read(theirs)?],
            };
            let driver = drivers.get(path).map_or("unspecified", String::as_str);
            let judged = match driver {
                // As it would be with the driver.
                "unspecified" if state == "missing" && language_of(&job.path).is_some() => {
                    with_driver(&worker, &job)
                }
                DRIVER => with_driver(&worker, &job),
                other => without_driver(git, &job, other),
            };
            files.push(judged.file);
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }
}

fn with_driver(worker: &Worker<'_>, job: &Job) -> Judged {
    let judged = worker.judge(job);
    match (&judged.chunks, judged.file.because.as_deref()) {
        (Some(_), _) => judged,
        (None, Some("binary")) => judged.by_text(false),
        (None, _) => {
            let [base, ours, theirs] = &job.texts;
            judged.by_lines(&merge_lines_by_myers(base, ours, theirs))
        }
    }
}

/// What git does by itself, or by somebody else's driver.
fn without_driver(git: Git<'_>, job: &Job, driver: &str) -> Judged {
    let is_binary = job.texts.iter().any(|text| job::is_binary(text));
    let config = format!("merge.{driver}.driver");
    match driver {
        "unset" | "binary" => job.text("binary").by_text(false),
        "union" if !is_binary => job.text("not_set_up").by_text(true),
        "set" | "text" | "union" | "unspecified" => text(job, is_binary),
        _ if git.line(&["config", "--get", &config]).is_some() => {
            job.text(&format!("left to the merge driver {driver}"))
        }
        // Git takes a driver that it does not know for its own.
        _ => text(job, is_binary),
    }
}

fn text(job: &Job, is_binary: bool) -> Judged {
    if is_binary {
        return job.text("binary").by_text(false);
    }
    let [base, ours, theirs] = &job.texts;
    job.text("not_set_up")
        .by_lines(&merge_lines(base, ours, theirs))
}

/// The attribute `merge` of each path.
fn drivers(git: Git<'_>, fates: &[Fate]) -> Result<BTreeMap<Vec<u8>, String>, Failure> {
    let mut names = Vec::new();
    for fate in fates {
        if let Fate::Merge { path, .. } = fate {
            names.extend_from_slice(path);
            names.push(0);
        }
    }
    let failed = |error: io::Error| {
        Failure::new(
            "AE-GIT",
            Exit::FAILED,
            format!("cannot talk to git: {error}"),
        )
        .next("git --version", "git has to be installed")
    };
    let mut command = git.command();
    command.args(["check-attr", "-z", "--stdin", "merge"]);
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(failed)?;
    let asks = child.stdin.take();
    // Written while the answer is read, or both would wait for each other.
    let writer = thread::spawn(move || asks.map(|mut asks| asks.write_all(&names).is_ok()));
    let output = child.wait_with_output().map_err(failed)?;
    writer.join().ok();
    let told: Vec<&[u8]> = fields(&output.stdout).collect();
    let rows = told.chunks_exact(3);
    Ok(rows
        .map(|row| {
            (
                row[0].to_vec(),
                String::from_utf8_lossy(row[2]).into_owned(),
            )
        })
        .collect())
}

/// A `git cat-file --batch`, asked for one blob at a time.
struct Blobs {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Blobs {
    fn start(git: Git<'_>) -> Result<Self, Failure> {
        let mut command = git.command();
        command
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(|_| odd("cat-file"))?;
        let (Some(asks), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(odd("cat-file"));
        };
        Ok(Self {
            child,
            asks,
            answers: BufReader::new(answers),
        })
    }

    fn read(&mut self, id: &str) -> Result<Vec<u8>, Failure> {
        self.try_read(id).ok_or_else(|| odd("cat-file"))
    }

    fn try_read(&mut self, id: &str) -> Option<Vec<u8>> {
        writeln!(self.asks, "{id}").ok()?;
        let mut head = String::new();
        self.answers.read_line(&mut head).ok()?;
        let len: u64 = head.trim_end().rsplit(' ').next()?.parse().ok()?;
        if BLOB_BYTES_MAX < len {
            return None;
        }
        let mut bytes = Vec::new();
        (&mut self.answers).take(len).read_to_end(&mut bytes).ok()?;
        let mut end = [0];
        self.answers.read_exact(&mut end).ok()?;
        (u64::try_from(bytes.len()) == Ok(len)).then_some(bytes)
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        // Killed rather than asked: nobody reads what it may still say.
        if self.child.kill().is_ok() {
            self.child.wait().ok();
        }
    }
}

fn show(view: &View, document: &docs::MergePreview) -> String {
    let branch = escape::line(&document.branch);
    match document.kind.as_str() {
        "up_to_date" => return format!("{branch} is merged already\n"),
        "fast_forward" => return format!("HEAD would go forward to {branch}; nothing is merged\n"),
        _ => {}
    }
    let count = |verdict: &str| {
        let files = document.files.iter();
        files.filter(|file| file.verdict == verdict).count()
    };
    let unknown = match count("unknown") {
        0 => String::new(),
        count => format!(", {count} not foreseen"),
    };
    let mut text = format!(
        "merging {branch} into HEAD: {} in conflict, {} merged, {} taken as they are{unknown}\n",
        counted(number(count("conflict")), "file", "files"),
        count("clean"),
        document.taken
    );
    text.extend(document.files.iter().map(|file| show_file(view, file)));
    if !document.exact {
        text.push_str(
            "note: more than one common base; git makes one up, and may answer otherwise\n",
        );
    }
    match document.driver.as_str() {
        "missing" => {
            text.push_str("note: the merge driver is not set up, so git alone merges by lines\n")
        }
        "stale" => text
            .push_str("note: what .gitattributes says about merges has changed since aura init\n"),
        _ => {}
    }
    text
}
