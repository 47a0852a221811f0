//! Which paths git, or the user's `.auraignore`, keeps out.
//!
//! Invariants:
//! - a path is ignored if any directory above it is;
//! - `.auraignore` only ever adds: it cannot bring back what git ignores;
//! - what editors leave beside a file is ignored like what git ignores;
//! - ignore files are read without following links, and no rule outside the repository counts.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::root::{Root, open_regular, read_within_budget};

/// The ignore rules of one working tree, read directory by directory as they are needed.
#[derive(Debug)]
pub(crate) struct Ignores {
    exclude_file: PathBuf,
    exclude: Gitignore,
    leftovers: Gitignore,
    directories: BTreeMap<String, Rules>,
}

/// The rules that one directory's files add.
#[derive(Debug)]
struct Rules {
    aura: Gitignore,
    git: Gitignore,
}

impl Ignores {
    /// Reads the repository's own exclude file; the rest follows on demand.
    pub(crate) fn new(common_dir: &Path) -> Self {
        let exclude_file = common_dir.join("info").join("exclude");
        let exclude = parse(&fs::read(&exclude_file).unwrap_or_default());
        Self {
            exclude_file,
            exclude,
            leftovers: parse(LEFTOVERS.join("\n").as_bytes()),
            directories: BTreeMap::new(),
        }
    }

    /// Forgets everything read, after an ignore file changed.
    pub(crate) fn reload(&mut self) {
        self.directories.clear();
        self.exclude = parse(&fs::read(&self.exclude_file).unwrap_or_default());
    }

    /// Whether a file name holds ignore rules.
    pub(crate) fn is_ignore_file(name: &OsStr) -> bool {
        name == GIT_FILE || name == AURA_FILE
    }

    /// Whether `path`, relative to the root, or any directory above it is ignored.
    pub(crate) fn is_ignored(&mut self, root: &Root, path: &str, is_directory: bool) -> bool {
        let ends = path.match_indices('/').map(|(end, _)| (end, true));
        let ends: Vec<_> = ends.chain([(path.len(), is_directory)]).collect();
        ends.into_iter()
            .any(|(end, is_directory)| self.is_ignored_itself(root, &path[..end], is_directory))
    }

    /// Whether `path` is ignored, given that no directory above it is.
    pub(crate) fn is_ignored_itself(
        &mut self,
        root: &Root,
        path: &str,
        is_directory: bool,
    ) -> bool {
        if !is_directory && self.leftovers.matched(path, false).is_ignore() {
            return true;
        }
        let mut git = None;
        let mut directory = path;
        while !directory.is_empty() {
            directory = directory.rsplit_once('/').map_or("", |(parent, _)| parent);
            let below = path[directory.len()..].trim_start_matches('/');
            let rules = self.rules(root, directory);
            if rules.aura.matched(below, is_directory).is_ignore() {
                return true;
            }
            // The rule in the deepest directory wins.
            git = git.or_else(|| verdict(&rules.git.matched(below, is_directory)));
        }
        git.or_else(|| verdict(&self.exclude.matched(path, is_directory)))
            .unwrap_or(false)
    }

    fn rules(&mut self, root: &Root, directory: &str) -> &Rules {
        if !self.directories.contains_key(directory) {
            let rules = read_rules(root, directory);
            self.directories.insert(directory.to_owned(), rules);
        }
        &self.directories[directory]
    }
}

fn verdict<T>(found: &Match<T>) -> Option<bool> {
    match found {
        Match::Ignore(_) => Some(true),
        Match::None => None,
        Match::Whitelist(_) => Some(false),
    }
}

fn read_rules(root: &Root, directory: &str) -> Rules {
    let Ok(handle) = root.open_directory(directory) else {
        return Rules {
            aura: Gitignore::empty(),
            git: Gitignore::empty(),
        };
    };
    let read = |name: &str| {
        let bytes = open_regular(handle.as_fd(), OsStr::new(name))
            .and_then(|mut file| read_within_budget(&mut file, 0));
        parse(&bytes.unwrap_or_default())
    };
    Rules {
        aura: read(AURA_FILE),
        git: read(GIT_FILE),
    }
}

/// Rules relative to the directory their file is in; a line that is no rule is left out, as git does.
fn parse(bytes: &[u8]) -> Gitignore {
    let mut builder = GitignoreBuilder::new("");
    let text = String::from_utf8_lossy(bytes);
    for line in text.trim_start_matches('\u{feff}').lines() {
        if let Err(err) = builder.add_line(None, line) {
            tracing::debug!(%err, "ignore rule left out");
        }
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

/// Names of what editors leave beside the file that is edited, or write before they rename it, as rules of git.
pub(crate) const LEFTOVERS: [&str; 8] = [
    "*~",
    ".*.sw?",
    "\\#*#",
    ".#*",
    "4913",
    "*.tmp",
    "*___jb_tmp___",
    "*___jb_old___",
];
const GIT_FILE: &str = ".gitignore";
const AURA_FILE: &str = ".auraignore";
