//! Git moves a thousand files while somebody types: nothing is published of what git wrote, and nothing typed is lost.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    path::Path,
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use mothership_tests::{Laptop, Team, amount, git};

/// Files that git moves, and how many of them are in each directory.
const FILES: usize = 1_000;
const DIR: usize = 100;
/// What a person types is in a new file that git does not know: a hard reset takes away what is typed in others.
const TYPED: &str = "src/typed.rs";

fn write(repo: &Path, value: usize) {
    for n in 0..FILES {
        let path = repo.join(format!("gen/d{}/f{n}.rs", n / DIR));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(
            path,
            format!("pub fn f{n}() -> usize {{\n    {value}\n}}\n"),
        )
        .unwrap();
    }
}

fn commit(repo: &Path, message: &str) {
    git(repo, &["add", "-A"]);
    git(repo, &["commit", "-q", "-m", message]);
}

/// Saves a growing file every few milliseconds until it is told to stop; answers how often.
fn types(file: &Path, from: usize, stop: &Receiver<()>) -> usize {
    let mut saved = from;
    loop {
        saved += 1;
        fs::write(file, text(saved)).unwrap();
        if stop.recv_timeout(Duration::from_millis(7)).is_ok() {
            return saved;
        }
    }
}

fn text(value: usize) -> String {
    format!("pub fn typed() -> usize {{\n    {value}\n}}\n")
}

/// The operations of this laptop, but for those of the file that is typed.
fn published(laptop: &Laptop) -> usize {
    let log = laptop.aura(&["log", "--limit", "100000"]).ok();
    let ops = log["ops"].as_array().unwrap().iter();
    let symbols = ops.map(|op| op["symbol"].as_str().unwrap().to_owned());
    symbols.filter(|symbol| !symbol.contains("typed")).count()
}

#[test]
fn whatever_git_does_to_a_thousand_files_nothing_of_it_is_published_and_nothing_typed_is_lost() {
    let team = Team::new();
    let box_ = team.serve("127.0.0.1:0");
    let alice = team.laptop("alice");
    let repo = alice.repo.clone();
    write(&repo, 0);
    commit(&repo, "base");
    git(&repo, &["branch", "same"]);
    git(&repo, &["checkout", "-q", "-b", "far"]);
    write(&repo, 1);
    commit(&repo, "far");
    git(&repo, &["checkout", "-q", "main"]);
    let far = team.dir.path().join("far.git");
    let far = far.to_str().unwrap();
    git(&repo, &["init", "-q", "--bare", far]);
    git(&repo, &["remote", "set-url", "origin", far]);
    git(&repo, &["push", "-q", "origin", "far:main"]);
    let invite = mothership_tests::token(&box_.ready);
    alice.join(&invite, "alice", "live").ok();
    alice.synced();
    let mut typed = 0;
    let steps: &[&[&[&str]]] = &[
        &[&["checkout", "-q", "far"], &["checkout", "-q", "main"]],
        &[
            &["reset", "-q", "--hard", "far"],
            &["reset", "-q", "--hard", "same"],
        ],
        &[
            &["merge", "-q", "--no-ff", "-m", "merged", "far"],
            &["reset", "-q", "--hard", "same"],
        ],
        &[&["rebase", "-q", "far"], &["reset", "-q", "--hard", "same"]],
        &[
            &["pull", "-q", "--ff-only", "origin", "main"],
            &["reset", "-q", "--hard", "same"],
        ],
        &[&["cherry-pick", "far"], &["reset", "-q", "--hard", "same"]],
    ];
    for commands in steps.iter().take(amount(2, steps.len())) {
        let (stop, stopped) = mpsc::channel();
        let file = repo.join(TYPED);
        let typist = thread::spawn(move || types(&file, typed, &stopped));
        for args in *commands {
            git(&repo, args);
        }
        stop.send(()).unwrap();
        typed = typist.join().unwrap();
        alice.aura(&["publish"]).ok();
        alice.synced();
        assert_eq!(published(&alice), 0, "{commands:?}");
        assert_eq!(alice.read(TYPED), text(typed), "{commands:?}");
        let told = alice.aura(&["show", &format!("{TYPED}::typed")]).ok();
        assert!(told.to_string().contains(&format!(" {typed}")), "{told}");
        assert_eq!(alice.conflicts(), Vec::<serde_json::Value>::new());
    }
    // A stash takes what was typed out of the files, and gives it back.
    write(&repo, 2);
    git(&repo, &["stash", "-q"]);
    assert_eq!(
        git(&repo, &["status", "--porcelain"]),
        format!("?? {TYPED}")
    );
    git(&repo, &["stash", "pop", "-q"]);
    alice.synced();
    let status = git(&repo, &["status", "--porcelain"]);
    assert!(FILES <= status.lines().count(), "{status}");
}
