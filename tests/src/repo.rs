//! A clone in which git merges, and nobody's settings but its own.
//!
//! Invariant: git and `aura` see the variables that are given here, whatever the tester's are.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Outcome, binary, copy::put};

/// A file in three versions.
pub type Versions<'a> = (&'a str, [Option<&'a [u8]>; 3]);

/// A repository in a scratch directory, with `aura` where git finds it.
pub struct Repo {
    _dir: Option<TempDir>,
    /// The work tree.
    pub root: PathBuf,
    /// Where programs are looked for, before the system's.
    programs: PathBuf,
}

impl Default for Repo {
    fn default() -> Self {
        Self::new()
    }
}

impl Repo {
    /// An empty repository on branch `main`.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (root, programs) = (dir.path().join("repo"), dir.path().join("programs"));
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(&programs).unwrap();
        symlink(binary("aura"), programs.join("aura")).unwrap();
        let repo = Self {
            _dir: Some(dir),
            root,
            programs,
        };
        repo.git(&["init", "-q", "-b", "main"]);
        repo
    }

    /// A repository in which `main` and `topic` are one commit ahead of their base.
    pub fn forked(files: &[Versions<'_>]) -> Self {
        let repo = Self::new();
        put(&repo.root.join("README"), b"a repository\n");
        repo.commit("start");
        repo.fork(files);
        repo
    }

    /// Commits a base on `main`, then each side's versions; ends on `main`.
    pub fn fork(&self, files: &[Versions<'_>]) {
        self.versions(files, 0, "base");
        self.git(&["checkout", "-q", "-b", "topic"]);
        self.versions(files, 2, "their side");
        self.git(&["checkout", "-q", "main"]);
        self.versions(files, 1, "our side");
    }

    fn versions(&self, files: &[Versions<'_>], nth: usize, subject: &str) {
        for (path, versions) in files {
            let file = self.root.join(path);
            match versions[nth] {
                Some(bytes) => put(&file, bytes),
                None => drop(fs::remove_file(file)),
            }
        }
        self.commit(subject);
    }

    /// The same repository at another of its work trees.
    pub fn at(&self, root: PathBuf) -> Self {
        Self {
            _dir: None,
            root,
            programs: self.programs.clone(),
        }
    }

    /// Puts a shell script in the place of `aura`.
    pub fn replace_program(&self, script: &str) {
        let program = self.programs.join("aura");
        fs::remove_file(&program).unwrap();
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn commit(&self, subject: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", subject]);
    }

    /// Where the system's programs are, and ours.
    pub fn path(&self) -> String {
        let programs = self.programs.display();
        format!("{programs}:{}", system_path())
    }

    pub fn command(&self, program: &str, path: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", &self.programs)
            .env("LANG", "C.UTF-8")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "t")))
            .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "t@t")))
            .env("GIT_EDITOR", "true")
            .current_dir(&self.root);
        command
    }

    /// Runs git, which may fail.
    pub fn try_git(&self, args: &[&str]) -> Output {
        self.command("git", &self.path())
            .args(args)
            .output()
            .unwrap()
    }

    /// Runs git without `aura` in reach.
    pub fn git_alone(&self, args: &[&str]) -> Output {
        self.command("git", &system_path())
            .args(args)
            .output()
            .unwrap()
    }

    /// Runs git; what it says.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        let output = self.try_git(args);
        assert!(output.status.success(), "git {args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs `aura` with `--json`.
    pub fn aura(&self, args: &[&str]) -> Outcome {
        Outcome::of(self.aura_command(args).arg("--json").output().unwrap())
    }

    /// Runs `aura` for people; both streams and the exit code.
    pub fn said(&self, args: &[&str]) -> (i32, String) {
        let output = self.aura_command(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let code = output.status.code().unwrap();
        (code, String::from_utf8_lossy(&text).into_owned())
    }

    pub fn aura_command(&self, args: &[&str]) -> Command {
        let program = self.programs.join("aura");
        let mut command = self.command(program.to_str().unwrap(), &self.path());
        command.args(args);
        command
    }

    /// Sets the driver up.
    #[track_caller]
    pub fn init(&self) -> Value {
        self.aura(&["init"]).ok()
    }

    /// The newest operations that the driver took part in.
    #[track_caller]
    pub fn explained(&self, args: &[&str]) -> Vec<Value> {
        let args = [&["merge", "explain"], args].concat();
        let document = self.aura(&args).ok();
        document["merges"].as_array().unwrap().clone()
    }

    pub fn bytes(&self, path: &str) -> Vec<u8> {
        fs::read(self.root.join(path)).unwrap()
    }

    pub fn text(&self, path: &str) -> String {
        String::from_utf8_lossy(&self.bytes(path)).into_owned()
    }

    /// The stages of each path in the index, such as `1 2 3`.
    pub fn stages(&self, path: &str) -> String {
        let listing = self.git(&["ls-files", "-s", "--", path]);
        let stages = listing
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2));
        stages.collect::<Vec<_>>().join(" ")
    }

    /// Paths that are unmerged.
    pub fn unmerged(&self) -> Vec<String> {
        let listing = self.git(&["diff", "--name-only", "--diff-filter=U"]);
        listing.lines().map(str::to_owned).collect()
    }
}

fn system_path() -> String {
    // Where the system's own programs are; never where a tester may have an `aura`.
    let path = std::env::var("PATH").unwrap_or_default();
    let has_aura = |dir: &&str| Path::new(dir).join("aura").exists();
    let dirs = path.split(':').filter(|dir| !has_aura(dir));
    dirs.collect::<Vec<_>>().join(":")
}
