//! The repository around a working tree, asked through the `git` program.
//!
//! Invariants:
//! - git runs without the caller's `GIT_*` variables, without hooks, pager, prompts, lazy fetches
//!   or optional locks, so asking never changes anything and never waits for a person;
//! - paths reach git literally, never as patterns or options;
//! - object ids are lower-case hexadecimal of a known length.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use sha1::Sha1;
use sha2::{Digest, Sha256};
use thiserror::Error;

use aura_proto::path::RepoPath;

use crate::ignores::LEFTOVERS;
use crate::root::{FILE_BYTES_MAX, FileStamp, ReadError, Root};

mod observe;

/// A repository with a working tree and at least one commit.
#[derive(Clone, Debug)]
pub struct Repo {
    work_tree: PathBuf,
    git_dir: PathBuf,
    common_dir: PathBuf,
    root_commit: ObjectId,
    /// What git answered last, and for which index.
    ignored: Arc<Mutex<Option<Ignored>>>,
}

/// Tracked files that a rule ignores, and the index that they are in.
type Ignored = (FileStamp, Vec<RepoPath>);

/// The id of a git object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(String);

/// What is checked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The full name of the branch, `None` when HEAD is detached.
    pub branch: Option<String>,
    /// The commit.
    pub commit: ObjectId,
}

impl Head {
    /// What edits belong to here: the branch, or the commit when none is checked out.
    pub fn channel(&self) -> &str {
        self.branch.as_deref().unwrap_or(self.commit.as_str())
    }
}

/// How a file of the working tree relates to the commit at HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtHead {
    /// Both or neither exist, and git would store the same bytes.
    Equal,
    /// Git would store other bytes, or HEAD does not have the file.
    Differs,
    /// HEAD has the file, the working tree does not.
    Missing,
}

/// Why the repository could not be used.
#[derive(Debug, Error)]
pub enum RepoError {
    /// The repository has no working tree.
    #[error("repository has no working tree")]
    Bare,
    /// A git command failed for a reason not listed here.
    #[error("git {command} failed: {message}")]
    Git {
        /// The subcommand.
        command: String,
        /// What git wrote to its error output, cut short, or how it ended.
        message: String,
    },
    /// A git command that looks something up ended without a word, as it does where there is nothing.
    #[error("git {command} finds nothing")]
    Nothing {
        /// The subcommand.
        command: String,
    },
    /// The `git` program could not be started.
    #[error("git cannot be started")]
    GitMissing(#[source] io::Error),
    /// Talking to git or looking at its directory failed.
    #[error("cannot read from git")]
    Io(#[source] io::Error),
    /// HEAD does not point at a commit yet.
    #[error("repository has no commits")]
    NoCommits,
    /// No repository surrounds the starting point.
    #[error("not inside a git repository")]
    NotARepo,
    /// The history is cut off, so the repository cannot be recognised by its root.
    #[error("repository is a shallow clone")]
    Shallow,
    /// Git answered something this version does not understand.
    #[error("git {command} gave an unexpected answer")]
    Unexpected {
        /// The subcommand.
        command: &'static str,
    },
    /// Git refuses the repository because somebody else owns it.
    #[error("repository is owned by another user")]
    Untrusted,
}

impl ObjectId {
    /// The id as hexadecimal text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the id of a blob with these bytes.
    pub fn is_blob(&self, bytes: &[u8]) -> bool {
        fn id<D: Digest>(bytes: &[u8]) -> String {
            let mut hasher = D::new();
            hasher.update(format!("blob {}\0", bytes.len()));
            hasher.update(bytes);
            let hash = hasher.finalize();
            hash.iter().map(|byte| format!("{byte:02x}")).collect()
        }
        match self.0.len() {
            40 => id::<Sha1>(bytes) == self.0,
            _ => id::<Sha256>(bytes) == self.0,
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let known = matches!(text.len(), 40 | 64);
        let hex = text
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let text = std::str::from_utf8(text).ok()?;
        (known && hex).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The directory at or above `start` that holds a `.git`: the working tree, unless git is set up to look elsewhere.
pub fn enclosing(start: &Path) -> Option<PathBuf> {
    let start = fs::canonicalize(start).ok()?;
    let mut above = start.ancestors();
    let found = above.find(|dir| dir.join(".git").symlink_metadata().is_ok())?;
    Some(found.to_owned())
}

impl Repo {
    /// Finds the repository that surrounds `start`.
    pub fn discover(start: &Path) -> Result<Self, RepoError> {
        let facts = run_at(
            start,
            &[
                "rev-parse",
                "--is-bare-repository",
                "--is-shallow-repository",
            ],
        )?;
        match facts.as_slice() {
            b"true\nfalse\n" | b"true\ntrue\n" => return Err(RepoError::Bare),
            b"false\ntrue\n" => return Err(RepoError::Shallow),
            b"false\nfalse\n" => {}
            _ => {
                return Err(RepoError::Unexpected {
                    command: "rev-parse",
                });
            }
        }
        let ask = |what| run_at(start, &["rev-parse", "--path-format=absolute", what]).map(to_path);
        let work_tree = ask("--show-toplevel")?;
        let git_dir = ask("--git-dir")?;
        let common_dir = ask("--git-common-dir")?;
        let root_commit = root_commit(&work_tree)?;
        Ok(Self {
            work_tree,
            git_dir,
            common_dir,
            root_commit,
            ignored: Arc::default(),
        })
    }

    /// The root of the working tree, absolute.
    pub fn work_tree(&self) -> &Path {
        &self.work_tree
    }

    /// Git's directory of this working tree, absolute.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Git's directory that linked working trees share, absolute.
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// The oldest commit without parents; of equally old ones the smallest.
    pub fn root_commit(&self) -> &ObjectId {
        &self.root_commit
    }

    /// What is checked out now.
    pub fn head(&self) -> Result<Head, RepoError> {
        let commit = self.resolve("HEAD")?.ok_or(RepoError::NoCommits)?;
        let branch = match self.run(&["symbolic-ref", "-q", "HEAD"]) {
            Ok(name) => Some(String::from_utf8_lossy(&name).trim_end().to_owned()),
            Err(RepoError::Nothing { .. }) => None,
            Err(err) => return Err(err),
        };
        Ok(Head { branch, commit })
    }

    /// The blobs of a commit's files, without links and submodules, by path.
    ///
    /// Names that break the path rule are left out.
    pub fn blobs_of(&self, commit: &ObjectId) -> Result<BTreeMap<RepoPath, ObjectId>, RepoError> {
        let listing = self.run(&["ls-tree", "-r", "-z", "--full-tree", commit.as_str()])?;
        let mut blobs = BTreeMap::new();
        for line in split_nul(&listing) {
            let unexpected = RepoError::Unexpected { command: "ls-tree" };
            let Some((facts, name)) = split_once(line, b'\t') else {
                return Err(unexpected);
            };
            let mut facts = facts.split(|byte| *byte == b' ');
            let (Some(mode), Some(_), Some(id)) = (facts.next(), facts.next(), facts.next()) else {
                return Err(unexpected);
            };
            let Some(id) = ObjectId::parse(id) else {
                return Err(unexpected);
            };
            if let (true, Some(path)) = (mode.starts_with(b"100"), to_repo_path(name)) {
                blobs.insert(path, id);
            }
        }
        Ok(blobs)
    }

    /// Hands the content at HEAD of each of `paths` to `each`, in the order given.
    ///
    /// `None` stands for a file that HEAD does not have, or one above [`FILE_BYTES_MAX`].
    pub fn blobs_at_head<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p RepoPath>,
        mut each: impl FnMut(&'p RepoPath, Option<Vec<u8>>),
    ) -> Result<(), RepoError> {
        let head = self.resolve("HEAD")?.ok_or(RepoError::NoCommits)?;
        let ids = self.blobs_of(&head)?;
        let paths: Vec<_> = paths.into_iter().collect();
        let mut blobs = Blobs::start(self)?;
        for some in paths.chunks(REQUESTS_MAX) {
            let wanted: Vec<_> = some.iter().filter_map(|path| ids.get(*path)).collect();
            blobs.ask(&wanted)?;
            for path in some {
                let bytes = if ids.contains_key(*path) {
                    blobs.answer()?
                } else {
                    None
                };
                each(path, bytes);
            }
        }
        Ok(())
    }

    /// The first line of a commit's message.
    pub fn subject(&self, commit: &ObjectId) -> Result<String, RepoError> {
        let line = self.run(&[
            "log",
            "-1",
            "--no-show-signature",
            "--format=%s",
            commit.as_str(),
        ])?;
        Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned())
    }

    /// The paths that differ between HEAD, the index and the working tree, untracked files included.
    pub fn dirty(&self) -> Result<BTreeSet<RepoPath>, RepoError> {
        let listing = self.run(&[
            "status",
            "--porcelain=v1",
            "-z",
            "--no-renames",
            "--untracked-files=all",
            "--ignore-submodules=all",
        ])?;
        Ok(split_nul(&listing)
            .filter_map(|line| to_repo_path(line.get(3..)?))
            .collect())
    }

    /// Whether line ends or filters may make files of the working tree differ from their blobs.
    pub fn may_filter(&self) -> Result<bool, RepoError> {
        let tracked = self.run(&["ls-files", "-z"])?;
        let own = fs::read(self.common_dir.join("info/attributes"));
        if split_nul(&tracked).any(|path| path.ends_with(b".gitattributes"))
            || own.is_ok_and(|own| !says_only_how_to_merge(&own))
        {
            return Ok(true);
        }
        let settings = self.run(&["config", "--list", "-z", "--name-only"])?;
        Ok(split_nul(&settings)
            .any(|name| matches!(name, b"core.autocrlf" | b"core.attributesfile")))
    }

    /// The files that git tracks and keeps out of the working tree, by a sparse checkout.
    pub fn left_out(&self) -> Result<BTreeSet<RepoPath>, RepoError> {
        let listing = self.run(&["ls-files", "-t", "-z"])?;
        Ok(split_nul(&listing)
            .filter_map(|line| to_repo_path(line.strip_prefix(b"S ")?))
            .collect())
    }

    /// Whether none of `paths` differs between HEAD, the index and the working tree.
    pub fn status_clean<'p>(
        &self,
        paths: impl IntoIterator<Item = &'p RepoPath>,
    ) -> Result<bool, RepoError> {
        let dirty = self.dirty()?;
        Ok(paths.into_iter().all(|path| !dirty.contains(path)))
    }

    /// Files that git tracks although a rule ignores them.
    ///
    /// Git is asked again when its index has changed: a file that only a new rule ignores is one that was tracked
    /// before, and whoever asks knows it.
    pub(crate) fn tracked_but_ignored(&self) -> Result<Vec<RepoPath>, RepoError> {
        let mut known = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        let index = fs::metadata(self.git_dir.join("index")).ok();
        let index = index.map(|meta| FileStamp::of(&meta));
        if let (Some(index), Some((before, paths))) = (index, &*known)
            && index == *before
        {
            return Ok(paths.clone());
        }
        let mut args = vec!["ls-files", "-z", "-c", "-i", "--exclude-standard"];
        args.extend(LEFTOVERS.iter().flat_map(|rule| ["-x", rule]));
        let listing = self.run(&args)?;
        let paths: Vec<RepoPath> = split_nul(&listing).filter_map(to_repo_path).collect();
        *known = index.map(|index| (index, paths.clone()));
        Ok(paths)
    }

    /// Compares files of the working tree with HEAD, as git would store them.
    ///
    /// Content is read anew for each path, never taken from git's index, so that a file saved
    /// within one clock tick of a git command is seen.
    pub fn classify_after_motion(
        &self,
        paths: &BTreeSet<RepoPath>,
    ) -> Result<BTreeMap<RepoPath, AtHead>, RepoError> {
        let root = Root::open(&self.work_tree).map_err(RepoError::Io)?;
        let mut found = BTreeMap::new();
        self.blobs_at_head(paths, |path, blob| {
            let at_head = match (root.read_file(path), blob) {
                (Ok(file), Some(blob)) if file.bytes == blob => AtHead::Equal,
                (Err(ReadError::Missing), None) => AtHead::Equal,
                (Err(ReadError::Missing), Some(_)) => AtHead::Missing,
                (Ok(_) | Err(_), _) => AtHead::Differs,
            };
            found.insert(path.clone(), at_head);
        })?;
        self.forgive_filters(&root, &mut found)?;
        Ok(found)
    }

    /// Marks files equal whose bytes differ from the blob only by line ends or a filter.
    fn forgive_filters(
        &self,
        root: &Root,
        found: &mut BTreeMap<RepoPath, AtHead>,
    ) -> Result<(), RepoError> {
        let head = self.resolve("HEAD")?.ok_or(RepoError::NoCommits)?;
        let ids = self.blobs_of(&head)?;
        let differing = found
            .iter_mut()
            .filter(|(_, at_head)| **at_head == AtHead::Differs);
        // Only what is a regular file now: git would follow a link and wait for a pipe.
        let candidates: Vec<_> = differing
            .filter_map(|(path, at_head)| Some((path, at_head, ids.get(path)?)))
            .filter(|(path, _, _)| root.stamp(path).is_ok())
            .collect();
        if candidates.is_empty() {
            return Ok(());
        }
        let names: String = candidates
            .iter()
            .map(|(path, ..)| format!("{path}\n"))
            .collect();
        let arguments = ["hash-object", "--stdin-paths"];
        let Ok(hashes) = run_with_input(&self.work_tree, &arguments, names.into_bytes()) else {
            // A file went away meanwhile; "differs" makes the caller look again.
            return Ok(());
        };
        for ((_, at_head, id), hash) in candidates.into_iter().zip(hashes.split(|b| *b == b'\n')) {
            if id.as_str().as_bytes() == hash {
                *at_head = AtHead::Equal;
            }
        }
        Ok(())
    }

    /// The commit a revision names, `None` if there is none.
    fn resolve(&self, revision: &str) -> Result<Option<ObjectId>, RepoError> {
        resolve(&self.work_tree, revision)
    }

    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, RepoError> {
        run_at(&self.work_tree, arguments)
    }
}

/// A `git cat-file --batch` that answers until it is dropped.
#[derive(Debug)]
pub struct Blobs {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Blobs {
    /// Starts the process.
    pub fn start(repo: &Repo) -> Result<Self, RepoError> {
        let mut command = git_at(&repo.work_tree);
        command
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(RepoError::GitMissing)?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(RepoError::Unexpected {
                command: "cat-file",
            });
        };
        Ok(Self {
            child,
            requests,
            answers: BufReader::with_capacity(1 << 16, answers),
        })
    }

    /// The content of one blob; `None` if it is missing or above [`FILE_BYTES_MAX`].
    pub fn read(&mut self, id: &ObjectId) -> Result<Option<Vec<u8>>, RepoError> {
        self.ask(&[id])?;
        self.answer()
    }

    /// Sends at most [`REQUESTS_MAX`] requests, which fit the pipe while git is busy answering.
    fn ask(&mut self, ids: &[&ObjectId]) -> Result<(), RepoError> {
        let lines: String = ids.iter().map(|id| format!("{id}\n")).collect();
        self.requests
            .write_all(lines.as_bytes())
            .map_err(RepoError::Io)
    }

    fn answer(&mut self) -> Result<Option<Vec<u8>>, RepoError> {
        let unexpected = RepoError::Unexpected {
            command: "cat-file",
        };
        let mut line = String::new();
        (&mut self.answers)
            .take(256)
            .read_line(&mut line)
            .map_err(RepoError::Io)?;
        if line.ends_with(" missing\n") {
            return Ok(None);
        }
        let Some(len) = line
            .trim_end()
            .rsplit(' ')
            .next()
            .and_then(|len| len.parse::<u64>().ok())
        else {
            return Err(unexpected);
        };
        let mut body = (&mut self.answers).take(len);
        let mut bytes = None;
        if len <= FILE_BYTES_MAX {
            let mut kept = Vec::new();
            body.read_to_end(&mut kept).map_err(RepoError::Io)?;
            bytes = Some(kept);
        } else {
            io::copy(&mut body, &mut io::sink()).map_err(RepoError::Io)?;
        }
        let mut end = [0];
        self.answers.read_exact(&mut end).map_err(RepoError::Io)?;
        Ok(bytes)
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        // Killed rather than asked: it may be in the middle of an answer nobody reads.
        if self.child.kill().is_ok() {
            self.child.wait().ok();
        }
    }
}

fn root_commit(work_tree: &Path) -> Result<ObjectId, RepoError> {
    if resolve(work_tree, "HEAD")?.is_none() {
        return Err(RepoError::NoCommits);
    }
    let roots = run_at(
        work_tree,
        &["rev-list", "--max-parents=0", "--timestamp", "HEAD"],
    )?;
    let roots = roots.split(|byte| *byte == b'\n').filter_map(|line| {
        let (time, id) = split_once(line, b' ')?;
        let time: u64 = std::str::from_utf8(time).ok()?.parse().ok()?;
        Some((time, ObjectId::parse(id)?))
    });
    let oldest = roots.min().ok_or(RepoError::Unexpected {
        command: "rev-list",
    })?;
    Ok(oldest.1)
}

fn resolve(work_tree: &Path, revision: &str) -> Result<Option<ObjectId>, RepoError> {
    let revision = format!("{revision}^{{commit}}");
    match run_at(work_tree, &["rev-parse", "--verify", "-q", &revision]) {
        Ok(id) => match ObjectId::parse(id.trim_ascii_end()) {
            Some(id) => Ok(Some(id)),
            None => Err(RepoError::Unexpected {
                command: "rev-parse",
            }),
        },
        Err(RepoError::Nothing { .. }) => Ok(None),
        Err(err) => Err(err),
    }
}

/// A git command that asks nobody and changes nothing on its own.
fn git_at(directory: &Path) -> Command {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"GIT_") {
            command.env_remove(name);
        }
    }
    command
        .args([
            "--no-pager",
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "core.fsmonitor=false",
        ])
        .args(["-c", "core.quotePath=false", "--literal-pathspecs"])
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_PAGER", "cat")
        .env("LC_ALL", "C")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run_at(directory: &Path, arguments: &[&str]) -> Result<Vec<u8>, RepoError> {
    finish(git_at(directory).args(arguments).spawn(), arguments)
}

/// Runs a command whose whole input is known; a thread writes it while the answer is read.
fn run_with_input(
    directory: &Path,
    arguments: &[&str],
    input: Vec<u8>,
) -> Result<Vec<u8>, RepoError> {
    let mut child = git_at(directory)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn();
    let pipe = child.as_mut().ok().and_then(|child| child.stdin.take());
    let writer = pipe.map(|mut pipe| std::thread::spawn(move || pipe.write_all(&input).is_ok()));
    let output = finish(child, arguments);
    if let Some(writer) = writer {
        // A failed write shows in the answer.
        writer.join().ok();
    }
    output
}

fn finish(child: io::Result<Child>, arguments: &[&str]) -> Result<Vec<u8>, RepoError> {
    let child = child.map_err(RepoError::GitMissing)?;
    let output = child.wait_with_output().map_err(RepoError::Io)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let command = || arguments.first().copied().unwrap_or("").to_owned();
    Err(if message.is_empty() {
        match output.status.code() {
            Some(1) => RepoError::Nothing { command: command() },
            // A git that was killed has answered nothing.
            _ => RepoError::Git {
                command: command(),
                message: output.status.to_string(),
            },
        }
    } else if message.contains("not a git repository") {
        RepoError::NotARepo
    } else if message.contains("dubious ownership") {
        RepoError::Untrusted
    } else if message.contains("must be run in a work tree") {
        RepoError::Bare
    } else {
        let message = message.trim().chars().take(MESSAGE_CHARS_MAX).collect();
        RepoError::Git {
            command: command(),
            message,
        }
    })
}

fn to_path(mut line: Vec<u8>) -> PathBuf {
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    PathBuf::from(OsString::from_vec(line))
}

fn to_repo_path(bytes: &[u8]) -> Option<RepoPath> {
    RepoPath::try_from(std::str::from_utf8(bytes).ok()?).ok()
}

fn split_nul(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|byte| *byte == 0)
        .filter(|line| !line.is_empty())
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let found = bytes.iter().position(|byte| *byte == at)?;
    Some((&bytes[..found], &bytes[found + 1..]))
}

/// Whether attributes say nothing about what stands in a file, as those that name a merge driver.
fn says_only_how_to_merge(attributes: &[u8]) -> bool {
    attributes.split(|byte| *byte == b'\n').all(|line| {
        let line = line.trim_ascii();
        let pattern_end = match line.first() {
            None | Some(b'#') => return true,
            Some(b'"') => line.iter().rposition(|byte| *byte == b'"'),
            Some(_) => line.iter().position(u8::is_ascii_whitespace),
        };
        let said = pattern_end.map_or(&[][..], |end| &line[end + 1..]);
        let mut said = said
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        said.all(|word| {
            matches!(word, b"-merge" | b"!merge" | b"merge") || word.starts_with(b"merge=")
        })
    })
}

/// The text of a small file in git's directory, `None` if it is absent or no text.
fn read_text(directory: &Path, name: impl AsRef<OsStr>) -> Option<String> {
    fs::read_to_string(directory.join(name.as_ref())).ok()
}

/// Requests under way at once: 500 × 65 bytes stay below the 64 KiB of a pipe.
const REQUESTS_MAX: usize = 500;

/// Characters of git's own words in an error.
const MESSAGE_CHARS_MAX: usize = 400;
