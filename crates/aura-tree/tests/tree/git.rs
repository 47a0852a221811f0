//! Questions to real git.

#![allow(clippy::disallowed_methods)]

use std::fs;
use std::time::Instant;

use aura_tree::{AtHead, Repo, RepoError};
use tempfile::TempDir;

use crate::ground::{Ground, git_in, path};

#[test]
fn places_that_are_no_usable_repository_are_told_apart() {
    let directory = TempDir::new().unwrap();
    assert!(matches!(
        Repo::discover(directory.path()),
        Err(RepoError::NotARepo)
    ));
    git_in(directory.path(), &["init", "-q"]);
    assert!(matches!(
        Repo::discover(directory.path()),
        Err(RepoError::NoCommits)
    ));
    let ground = Ground::new(&[("a.rs", "")]);
    let side = |name: &str| ground.root().parent().unwrap().join(name);
    let url = format!("file://{}", ground.root().display());
    ground.git(&["commit", "-q", "--allow-empty", "-m", "second"]);
    ground.git(&["clone", "-q", "--bare", ".", "../bare"]);
    assert!(matches!(
        Repo::discover(&side("bare")),
        Err(RepoError::Bare)
    ));
    ground.git(&["clone", "-q", "--depth", "1", &url, "../shallow"]);
    assert!(matches!(
        Repo::discover(&side("shallow")),
        Err(RepoError::Shallow)
    ));
    assert!(matches!(
        Repo::discover(&ground.at(".git")),
        Err(RepoError::Bare)
    ));
}

#[test]
fn a_clone_and_a_linked_tree_share_the_root_commit() {
    let ground = Ground::new(&[("src/a.rs", "")]);
    let repo = ground.repo();
    ground.git(&["worktree", "add", "-q", "../linked", "-b", "side"]);
    ground.git(&["clone", "-q", ".", "../clone"]);
    let side = |name: &str| Repo::discover(&ground.root().parent().unwrap().join(name)).unwrap();
    let linked = side("linked");
    assert_eq!(linked.root_commit(), repo.root_commit());
    assert_eq!(side("clone").root_commit(), repo.root_commit());
    assert_eq!(linked.common_dir(), repo.common_dir());
    assert_ne!(linked.git_dir(), repo.git_dir());
    let inside = Repo::discover(&ground.at("src")).unwrap();
    assert_eq!(inside.work_tree(), repo.work_tree());
    assert_eq!(inside.root_commit(), repo.root_commit());
    assert_eq!(
        linked.head().unwrap().branch.as_deref(),
        Some("refs/heads/side")
    );
    ground.git(&["checkout", "-q", "--detach"]);
    assert_eq!(repo.head().unwrap().branch, None);
    assert_eq!(repo.observe().head, Some(repo.head().unwrap().commit));
    assert_eq!(linked.observe().head, Some(linked.head().unwrap().commit));
}

#[test]
fn packed_refs_are_seen() {
    let ground = Ground::new(&[("a.rs", "")]);
    ground.git(&["pack-refs", "--all"]);
    let repo = ground.repo();
    assert_eq!(repo.observe().head, Some(repo.head().unwrap().commit));
}

#[test]
fn attributes_that_only_name_merge_drivers_filter_nothing() {
    let ground = Ground::new(&[("a.rs", "")]);
    let repo = Repo::discover(ground.root()).unwrap();
    let info = ground.at(".git/info/attributes");
    for (text, filters) in [
        ("", false),
        (
            "# said here\n\n*.rs merge=aura\n\"a b\" -merge\n*.md !merge merge\n",
            false,
        ),
        ("*.rs merge=aura\n*.rs text", true),
        ("\"a b\" eol=crlf\n", true),
        ("*.png binary\n", true),
        ("[attr]x filter=y\n", true),
    ] {
        fs::write(&info, text).unwrap();
        assert_eq!(repo.may_filter().unwrap(), filters, "{text}");
    }
}

#[test]
fn content_at_head_is_handed_out_in_order() {
    let ground = Ground::new(&[("a.rs", "one\n"), ("b b.rs", ""), ("ü.rs", "x\0y")]);
    ground.write("a.rs", "edited");
    let paths = ["ü.rs", "none.rs", "b b.rs", "a.rs"].map(path);
    let mut seen = Vec::new();
    ground
        .repo()
        .blobs_at_head(&paths, |path, bytes| seen.push((path.clone(), bytes)))
        .unwrap();
    let expected = [
        Some(b"x\0y".to_vec()),
        None,
        Some(vec![]),
        Some(b"one\n".to_vec()),
    ];
    assert_eq!(seen, paths.into_iter().zip(expected).collect::<Vec<_>>());
    let repo = ground.repo();
    assert!(repo.status_clean(&[path("b b.rs")]).unwrap());
    assert!(!repo.status_clean(&[path("a.rs")]).unwrap());
}

#[test]
fn files_are_compared_with_head_as_git_would_store_them() {
    let ground = Ground::new(&[("same.rs", "a\n"), ("edit.rs", "a\n"), ("gone.rs", "a\n")]);
    ground.write("crlf.rs", "a\r\nb\r\n");
    fs::write(ground.at(".git/info/attributes"), "crlf.rs text\n").unwrap();
    ground.git(&["add", "-A"]);
    ground.git(&["commit", "-q", "-m", "second"]);
    ground.write("edit.rs", "b\n");
    ground.write("new.rs", "b\n");
    fs::remove_file(ground.at("gone.rs")).unwrap();
    let all = [
        "crlf.rs", "edit.rs", "gone.rs", "never.rs", "new.rs", "same.rs",
    ]
    .map(path);
    let found = ground
        .repo()
        .classify_after_motion(&all.clone().into())
        .unwrap();
    let found: Vec<_> = all.iter().map(|path| found[path]).collect();
    use AtHead::{Differs, Equal, Missing};
    assert_eq!(found, [Equal, Differs, Missing, Equal, Differs, Equal]);
}

#[test]
fn ten_thousand_files_are_scanned_and_read_quickly() {
    let ground = Ground::new(&[]);
    for index in 0..10_000 {
        ground.write(
            &format!("d{}/e{}/f{index}.rs", index % 50, index % 7),
            &format!("fn f{index}() {{}}\n"),
        );
    }
    ground.git(&["add", "-A"]);
    ground.git(&["commit", "-q", "-m", "many"]);
    let repo = ground.repo();
    let start = Instant::now();
    let scan = aura_tree::scan(&repo).unwrap();
    let scanned = start.elapsed();
    assert_eq!(scan.files.len(), 10_000);
    let start = Instant::now();
    let mut count = 0;
    repo.blobs_at_head(&scan.files, |_, bytes| {
        count += usize::from(bytes.is_some())
    })
    .unwrap();
    let read = start.elapsed();
    assert_eq!(count, 10_000);
    let start = Instant::now();
    let root = aura_tree::Root::open(repo.work_tree()).unwrap();
    let total: usize = scan
        .files
        .iter()
        .map(|path| root.read_file(path).unwrap().bytes.len())
        .sum();
    let direct = start.elapsed();
    assert!(0 < total);
    let start = Instant::now();
    for _ in 0..1_000 {
        repo.observe();
    }
    let observe = start.elapsed() / 1_000;
    let (tx, _rx) = std::sync::mpsc::channel();
    let start = Instant::now();
    let watcher = aura_tree::Watcher::start(&repo, tx).unwrap();
    let watch = start.elapsed();
    drop(watcher);
    let figures = format!(
        "scan {scanned:?}, blobs {read:?}, files {direct:?}, look {observe:?}, watch {watch:?}"
    );
    // Ten times what was measured on two slow cores without optimisation.
    assert!(
        (scanned + read + direct + watch).as_secs() < 20,
        "{figures}"
    );
    std::io::Write::write_all(&mut std::io::stderr(), format!("{figures}\n").as_bytes()).unwrap();
}
