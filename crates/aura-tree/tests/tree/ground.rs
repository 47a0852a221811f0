//! A fresh repository to test on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aura_proto::path::RepoPath;
use aura_tree::{Expect, Keep, Repo, Rescued, WorkingCopy};
use tempfile::TempDir;

pub(crate) struct Ground {
    _directory: TempDir,
    root: PathBuf,
}

impl Ground {
    /// A repository with one commit of `files`.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap();
        let root = directory.path().canonicalize().unwrap().join("work");
        fs::create_dir(&root).unwrap();
        let ground = Self {
            _directory: directory,
            root,
        };
        ground.git(&["init", "-q", "-b", "main"]);
        for (path, text) in files {
            ground.write(path, text);
        }
        ground.git(&["add", "-A"]);
        ground.git(&["commit", "-q", "--allow-empty", "-m", "first"]);
        ground
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    pub(crate) fn repo(&self) -> Repo {
        Repo::discover(&self.root).unwrap()
    }

    pub(crate) fn copy(&self) -> WorkingCopy {
        WorkingCopy::open(&self.repo()).unwrap()
    }

    /// Names in our directory inside git's.
    pub(crate) fn kept(&self) -> usize {
        fs::read_dir(self.at(".git/aura/kept")).unwrap().count()
    }

    pub(crate) fn git(&self, arguments: &[&str]) {
        assert!(self.try_git(arguments), "git {arguments:?}");
    }

    pub(crate) fn try_git(&self, arguments: &[&str]) -> bool {
        git_in(&self.root, arguments)
    }
}

/// Runs git in `directory` without the settings of whoever runs the tests.
pub(crate) fn git_in(directory: &Path, arguments: &[&str]) -> bool {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=T",
            "-c",
            "user.email=t@example.org",
            "-c",
            "commit.gpgsign=false",
        ])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_EDITOR", "true")
        .env_remove("GIT_DIR")
        .output()
        .unwrap();
    output.status.success()
}

pub(crate) fn path(text: &str) -> RepoPath {
    RepoPath::try_from(text).unwrap()
}

pub(crate) fn holds(text: &str) -> Expect {
    Expect::Hash(blake3::hash(text.as_bytes()))
}

/// What a sweep hands over, all of it taken.
pub(crate) fn handed_over(sweep: impl FnOnce(&mut Keep<'_>)) -> Vec<Rescued> {
    let mut found = Vec::new();
    sweep(&mut |rescued| {
        found.push(rescued);
        true
    });
    found
}
