//! The files of a working tree that may be shared.
//!
//! Invariants:
//! - every listed path is a regular file, is not ignored unless git tracks it, and is no link;
//! - nothing below `.git`, `.aura` or another repository is looked at;
//! - no two listed paths collide on a file system that ignores case or composition;
//! - the lists are sorted, so equal trees give equal scans.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{Dir, FileType};
use thiserror::Error;

use aura_proto::{
    limits::PATH_COMPONENTS_MAX,
    path::{PathError, RepoPath},
};

use crate::git::{Repo, RepoError};
use crate::ignores::Ignores;
use crate::root::{
    FILE_BYTES_MAX, FileStamp, ReadError, Root, file_type, is_repository, open_regular, stamp_at,
};

/// What a walk over a working tree found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Files that may be shared.
    pub files: Vec<RepoPath>,
    /// Names that cannot be shared, with what is wrong with them.
    pub problems: Vec<Problem>,
    /// Things left out because of what they are.
    pub skipped: Vec<Skipped>,
}

/// A name that cannot be shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path with bytes that are not text replaced, and control characters escaped.
    pub path: String,
    /// What is wrong with it.
    pub why: ProblemKind,
}

/// What is wrong with a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProblemKind {
    /// Another listed path differs only in case or composition.
    #[error("name collides with {with}")]
    Collision {
        /// The path that is listed.
        with: RepoPath,
    },
    /// The name breaks the path rule.
    #[error(transparent)]
    Name(PathError),
    /// The name is not UTF-8.
    #[error("name is not text")]
    NotText,
    /// A directory could not be read.
    #[error("directory cannot be read")]
    Unreadable,
}

/// A thing that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its path.
    pub path: String,
    /// What it is.
    pub why: SkipKind,
}

/// What a thing is that was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SkipKind {
    /// It holds a NUL within the first [`PROBE_BYTES`].
    #[error("binary")]
    Binary,
    /// It is a symbolic link.
    #[error("link")]
    Link,
    /// It is the root of another repository.
    #[error("another repository")]
    NestedRepository,
    /// It is a pipe, socket or device.
    #[error("not a regular file")]
    NotRegular,
    /// It is larger than [`FILE_BYTES_MAX`].
    #[error("larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
}

/// Lists the files of `repo` that may be shared.
pub fn scan(repo: &Repo) -> Result<Scan, RepoError> {
    scan_except(repo, &|_, _| false)
}

/// Like [`scan`], but a file that `is_known` vouches for is listed without opening it.
pub fn scan_except(repo: &Repo, is_known: Known<'_>) -> Result<Scan, RepoError> {
    let root = Root::open(repo.work_tree()).map_err(RepoError::Io)?;
    let mut walk = Walk::new(&root, Ignores::new(repo.common_dir()));
    walk.is_known = is_known;
    walk.run("");
    for path in repo.tracked_but_ignored()? {
        walk.add_tracked(path);
    }
    Ok(walk.finish())
}

/// Answers whether a file that looks like this was found to be source text before.
pub type Known<'a> = &'a dyn Fn(&RepoPath, &FileStamp) -> bool;

/// A walk under way.
pub(crate) struct Walk<'a> {
    root: &'a Root,
    pub(crate) ignores: Ignores,
    /// Directories still to be read.
    pending: Vec<String>,
    /// Every directory met that is not ignored, `""` for the root.
    pub(crate) directories: BTreeSet<String>,
    pub(crate) files: BTreeSet<RepoPath>,
    problems: Vec<Problem>,
    skipped: Vec<Skipped>,
    /// Which files are not opened to see what they are.
    is_known: Known<'a>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(root: &'a Root, ignores: Ignores) -> Self {
        Self {
            root,
            ignores,
            pending: Vec::new(),
            directories: BTreeSet::new(),
            files: BTreeSet::new(),
            problems: Vec::new(),
            skipped: Vec::new(),
            is_known: &|_, _| false,
        }
    }

    /// A walk that lists names only.
    pub(crate) fn names_only(root: &'a Root, ignores: Ignores) -> Self {
        Self {
            is_known: &|_, _| true,
            ..Self::new(root, ignores)
        }
    }

    /// Walks `start` and everything below it.
    pub(crate) fn run(&mut self, start: &str) {
        self.pending.push(start.to_owned());
        while let Some(directory) = self.pending.pop() {
            self.read_directory(&directory);
        }
    }

    fn read_directory(&mut self, directory: &str) {
        let handle = match self.root.open_directory(directory) {
            Ok(handle) => handle,
            Err(ReadError::NestedRepository) => {
                return self.skip(directory, SkipKind::NestedRepository);
            }
            // It went away, or was swapped for a link, since it was listed.
            Err(ReadError::Missing | ReadError::Link | ReadError::NotRegular) => return,
            Err(_) => return self.problem(directory.to_owned(), ProblemKind::Unreadable),
        };
        let Ok(entries) = Dir::read_from(&handle) else {
            return self.problem(directory.to_owned(), ProblemKind::Unreadable);
        };
        self.directories.insert(directory.to_owned());
        for entry in entries {
            let Ok(entry) = entry else {
                return self.problem(directory.to_owned(), ProblemKind::Unreadable);
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || matches!(name, b".git" | b".aura") {
                continue;
            }
            self.entry(handle.as_fd(), directory, name, entry.file_type());
        }
    }

    fn entry(&mut self, parent: BorrowedFd<'_>, directory: &str, name: &[u8], hint: FileType) {
        let kind = match hint {
            FileType::Unknown => file_type(parent, OsStr::from_bytes(name)),
            known => Some(known),
        };
        let Some(kind) = kind else { return };
        let Ok(text) = std::str::from_utf8(name) else {
            let shown = join(directory, &String::from_utf8_lossy(name));
            return self.problem(shown, ProblemKind::NotText);
        };
        let path = join(directory, text);
        if self
            .ignores
            .is_ignored_itself(self.root, &path, kind == FileType::Directory)
        {
            return;
        }
        match kind {
            FileType::Directory => self.directory(path),
            FileType::RegularFile => self.file(parent, text, path),
            FileType::Symlink => self.skip(&path, SkipKind::Link),
            _ => self.skip(&path, SkipKind::NotRegular),
        }
    }

    fn directory(&mut self, path: String) {
        // A directory's own name obeys the rule, or no file below it can.
        match RepoPath::try_from(path.as_str()) {
            Ok(_) if PATH_COMPONENTS_MAX <= path.split('/').count() => {}
            Ok(_) => self.pending.push(path),
            Err(why) => self.problem(path, ProblemKind::Name(why)),
        }
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &str, path: String) {
        let checked = match RepoPath::try_from(path.as_str()) {
            Ok(checked) => checked,
            Err(PathError::Reserved) => return,
            Err(why) => return self.problem(path, ProblemKind::Name(why)),
        };
        match self.probe(parent, name, &checked) {
            Ok(None) => {
                self.files.insert(checked);
            }
            Ok(Some(why)) => self.skip(&path, why),
            Err(ReadError::Missing) => {}
            Err(ReadError::Link) => self.skip(&path, SkipKind::Link),
            Err(ReadError::NotRegular) => self.skip(&path, SkipKind::NotRegular),
            Err(_) => self.problem(path, ProblemKind::Unreadable),
        }
    }

    /// What keeps a file out, if anything.
    fn probe(
        &self,
        parent: BorrowedFd<'_>,
        name: &str,
        path: &RepoPath,
    ) -> Result<Option<SkipKind>, ReadError> {
        if (self.is_known)(path, &stamp_at(parent, name)?) {
            return Ok(None);
        }
        probe(parent, name)
    }

    /// Adds a file that git tracks although a rule ignores it.
    fn add_tracked(&mut self, path: RepoPath) {
        let parent = path.parent().unwrap_or("");
        let Ok(handle) = self.root.open_directory(parent) else {
            return;
        };
        if !is_repository(handle.as_fd()) || parent.is_empty() {
            let name = path.file_name().to_owned();
            self.file(handle.as_fd(), &name, path.into());
        }
    }

    fn skip(&mut self, path: &str, why: SkipKind) {
        self.skipped.push(Skipped {
            path: path.to_owned(),
            why,
        });
    }

    fn problem(&mut self, path: String, why: ProblemKind) {
        let path = path.chars().flat_map(shown).collect();
        self.problems.push(Problem { path, why });
    }

    fn finish(mut self) -> Scan {
        let mut keys: BTreeMap<String, RepoPath> = BTreeMap::new();
        let mut files = Vec::with_capacity(self.files.len());
        for path in std::mem::take(&mut self.files) {
            match keys.get(&path.fold_key()) {
                Some(with) => {
                    let why = ProblemKind::Collision { with: with.clone() };
                    self.problem(path.into(), why);
                }
                None => {
                    keys.insert(path.fold_key(), path.clone());
                    files.push(path);
                }
            }
        }
        self.problems.sort_by(|a, b| a.path.cmp(&b.path));
        self.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        Scan {
            files,
            problems: self.problems,
            skipped: self.skipped,
        }
    }
}

/// Joins a directory, `""` for the root, and a name.
pub(crate) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        name.to_owned()
    } else {
        format!("{directory}/{name}")
    }
}

/// Looks at a file to see whether it is source text at all; `None` means it may be.
fn probe(parent: BorrowedFd<'_>, name: &str) -> Result<Option<SkipKind>, ReadError> {
    let file = open_regular(parent, OsStr::new(name))?;
    if FILE_BYTES_MAX < file.metadata().map_err(ReadError::Io)?.len() {
        return Ok(Some(SkipKind::TooLarge));
    }
    let mut start = Vec::with_capacity(usize::from(PROBE_BYTES));
    file.take(PROBE_BYTES.into())
        .read_to_end(&mut start)
        .map_err(ReadError::Io)?;
    Ok(is_binary(&start).then_some(SkipKind::Binary))
}

/// Whether content is no text: it holds a NUL within the first [`PROBE_BYTES`].
pub fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(PROBE_BYTES.into()).any(|byte| *byte == 0)
}

/// A character as it may be shown in a terminal.
fn shown(c: char) -> impl Iterator<Item = char> {
    let plain = (!c.is_control()).then_some(c);
    plain.into_iter().chain(
        plain
            .is_none()
            .then(|| c.escape_default())
            .into_iter()
            .flatten(),
    )
}

/// How much of a file is searched for a NUL; git looks as far.
pub const PROBE_BYTES: u16 = 8000;
