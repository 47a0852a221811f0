//! Which git commands move files, seen as the daemon sees it: looks and reported paths.

use std::collections::BTreeMap;
use std::fs;

use aura_tree::motion::{MotionKind, SETTLE_MS, Whose};
use aura_tree::{Motion, MotionEvent, Settled};

use crate::ground::{Ground, path};

fn ground() -> Ground {
    let ground = Ground::new(&[("a.rs", "one\n"), ("b.rs", "one\n")]);
    ground.git(&["checkout", "-q", "-b", "side"]);
    ground.write("a.rs", "side\n");
    ground.git(&["commit", "-qam", "side"]);
    ground.git(&["checkout", "-q", "main"]);
    ground
}

/// Runs commands between two looks and returns what settled and whose each reported path is.
///
/// `before` was saved and reported before the first command, `during` while it ran.
fn story(
    ground: &Ground,
    before: &[&str],
    during: &[&str],
    commands: &[&[&str]],
) -> (Settled, BTreeMap<String, Whose>) {
    let repo = ground.repo();
    let mut motion = Motion::new(0, start(ground));
    motion.changed(1, before.iter().map(|name| path(name)));
    for command in commands {
        ground.try_git(command);
    }
    motion.handle(2, repo.observe());
    assert_eq!(motion.poll(), Some(MotionEvent::Began), "{commands:?}");
    motion.changed(3, during.iter().map(|name| path(name)));
    assert_eq!(motion.deadline(), Some(3 + SETTLE_MS));
    motion.handle(3 + SETTLE_MS, repo.observe());
    let Some(MotionEvent::Settled(settled)) = motion.poll() else {
        panic!("{commands:?}: not settled")
    };
    assert!(!motion.is_moving() && motion.poll().is_none());
    let paths = settled.held.keys().cloned().collect();
    let at_head = repo.classify_after_motion(&paths).unwrap();
    let whose = at_head
        .iter()
        .map(|(path, at)| (path.to_string(), settled.whose(path, *at)));
    let whose = whose.collect();
    (settled, whose)
}

/// A look taken before the edit under test; the edit is in the tree but not in git's directory.
fn start(ground: &Ground) -> aura_tree::Observation {
    ground.repo().observe()
}

fn whose(answers: &BTreeMap<String, Whose>) -> Vec<(&str, Whose)> {
    answers
        .iter()
        .map(|(name, whose)| (name.as_str(), *whose))
        .collect()
}

#[test]
fn an_edit_while_git_is_still_is_published() {
    let ground = ground();
    let mut motion = Motion::new(0, ground.repo().observe());
    motion.changed(1, [path("a.rs")]);
    assert_eq!(motion.poll(), None);
    motion.handle(2, ground.repo().observe());
    assert_eq!(
        motion.poll(),
        Some(MotionEvent::Publish([path("a.rs")].into()))
    );
    assert_eq!((motion.poll(), motion.deadline()), (None, None));
}

#[test]
fn an_edit_saved_just_before_a_commit_is_published() {
    let ground = ground();
    ground.write("a.rs", "mine\n");
    let commands: &[&[&str]] = &[
        &["commit", "-qam", "x"],
        &["commit", "-q", "--allow-empty", "-m", "y"],
    ];
    let (settled, answers) = story(&ground, &["a.rs"], &[], commands);
    assert_eq!(
        (settled.kind, settled.head_changed),
        (MotionKind::Commit, true)
    );
    assert_eq!(whose(&answers), [("a.rs", Whose::User)]);
    // Even if the report came late.
    ground.write("a.rs", "mine again\n");
    let (_, answers) = story(
        &ground,
        &[],
        &["a.rs"],
        &[&["commit", "-qa", "--amend", "-m", "z"]],
    );
    assert_eq!(whose(&answers), [("a.rs", Whose::User)]);
}

#[test]
fn an_edit_saved_just_before_an_add_is_published() {
    let ground = ground();
    ground.write("a.rs", "mine\n");
    let (settled, answers) = story(&ground, &["a.rs"], &[], &[&["add", "-A"]]);
    assert_eq!(
        (settled.kind, settled.head_changed),
        (MotionKind::Index, false)
    );
    assert!(settled.index_changed);
    assert_eq!(whose(&answers), [("a.rs", Whose::User)]);
    // An edit back to what HEAD has is an edit too.
    ground.write("a.rs", "one\n");
    let (_, answers) = story(&ground, &["a.rs"], &[], &[&["add", "-A"]]);
    assert_eq!(whose(&answers), [("a.rs", Whose::User)]);
}

#[test]
fn a_checkout_is_not_an_edit_but_an_edit_beside_it_is() {
    let ground = ground();
    ground.write("b.rs", "mine\n");
    let (settled, answers) = story(
        &ground,
        &["b.rs"],
        &["a.rs"],
        &[&["checkout", "-q", "side"]],
    );
    assert_eq!(
        (settled.kind, settled.head_changed),
        (MotionKind::Tree, true)
    );
    assert_eq!(
        whose(&answers),
        [("a.rs", Whose::Git), ("b.rs", Whose::User)]
    );
}

#[test]
fn git_took_back_what_it_resets_stashes_or_restores() {
    let table: [(&[&[&str]], MotionKind); 4] = [
        (&[&["reset", "-q", "--hard"]], MotionKind::Tree),
        (&[&["reset", "-q", "--hard", "side"]], MotionKind::Tree),
        (&[&["stash", "-q"]], MotionKind::Tree),
        (&[&["checkout", "--", "a.rs"]], MotionKind::Index),
    ];
    for (commands, kind) in table {
        let ground = ground();
        ground.write("a.rs", "mine\n");
        let (settled, answers) = story(&ground, &["a.rs"], &["a.rs"], commands);
        assert!(
            settled.kind == kind || kind == MotionKind::Tree,
            "{commands:?}: {:?}",
            settled.kind
        );
        assert_eq!(whose(&answers), [("a.rs", Whose::Git)], "{commands:?}");
    }
}

#[test]
fn what_a_stash_brings_back_is_the_users() {
    let ground = ground();
    ground.write("a.rs", "mine\n");
    ground.git(&["stash", "-q"]);
    let (_, answers) = story(&ground, &[], &["a.rs"], &[&["stash", "pop", "-q"]]);
    assert_eq!(whose(&answers), [("a.rs", Whose::User)]);
}

#[test]
fn a_merge_and_a_rebase_are_git_moving_files() {
    for command in [
        &["merge", "-q", "side"][..],
        &["rebase", "-q", "side"],
        &["cherry-pick", "side"],
    ] {
        let ground = ground();
        ground.write("b.rs", "main\n");
        ground.git(&["commit", "-qam", "main"]);
        let (settled, answers) = story(&ground, &[], &["a.rs"], &[command]);
        assert_eq!(
            (settled.kind, settled.head_changed),
            (MotionKind::Tree, true),
            "{command:?}"
        );
        assert_eq!(whose(&answers), [("a.rs", Whose::Git)], "{command:?}");
    }
}

#[test]
fn an_operation_that_waits_for_the_user_holds_everything_until_it_ends() {
    for (command, abort) in [
        ("merge", "--abort"),
        ("rebase", "--abort"),
        ("cherry-pick", "--abort"),
    ] {
        let ground = ground();
        ground.write("a.rs", "main\n");
        ground.git(&["commit", "-qam", "main"]);
        let repo = ground.repo();
        let mut motion = Motion::new(0, repo.observe());
        assert!(
            !ground.try_git(&[command, "side"]),
            "{command} should conflict"
        );
        motion.handle(1, repo.observe());
        motion.changed(2, [path("a.rs")]);
        motion.handle(1_000_000, repo.observe());
        assert_eq!(motion.poll(), Some(MotionEvent::Began));
        assert_eq!(motion.poll(), None, "{command}");
        ground.git(&[command, abort]);
        motion.handle(1_000_001, repo.observe());
        motion.handle(1_000_001 + SETTLE_MS, repo.observe());
        let Some(MotionEvent::Settled(settled)) = motion.poll() else {
            panic!("{command}")
        };
        assert_eq!(settled.kind, MotionKind::Tree);
        let at_head = repo.classify_after_motion(&[path("a.rs")].into()).unwrap();
        assert_eq!(
            settled.whose(&path("a.rs"), at_head[&path("a.rs")]),
            Whose::Git
        );
    }
}

#[test]
fn a_lock_alone_holds_back_and_lets_go() {
    let ground = ground();
    let repo = ground.repo();
    let mut motion = Motion::new(0, repo.observe());
    fs::write(ground.at(".git/index.lock"), "").unwrap();
    motion.changed(1, [path("a.rs")]);
    motion.handle(1, repo.observe());
    motion.handle(500, repo.observe());
    assert_eq!(
        (motion.poll(), motion.poll()),
        (Some(MotionEvent::Began), None)
    );
    fs::remove_file(ground.at(".git/index.lock")).unwrap();
    motion.handle(600, repo.observe());
    motion.handle(600 + SETTLE_MS, repo.observe());
    let Some(MotionEvent::Settled(settled)) = motion.poll() else {
        panic!("not settled")
    };
    assert_eq!(settled.held.len(), 1);
    assert_eq!(
        (settled.kind, settled.index_changed),
        (MotionKind::Index, false)
    );
}
