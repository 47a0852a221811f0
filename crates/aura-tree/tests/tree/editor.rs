//! An editor that saves while patches land on the same file.
//!
//! Each save is a new token. A token that no later save of the editor's own replaced must be in the
//! file, have been what an apply expected and built on, or come back from a kept inode.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use aura_tree::{Expect, WriteRefusal};

use crate::ground::{Ground, handed_over, path};

#[derive(Clone, Copy, Debug)]
enum Style {
    Atomic,
    BackupThenRename,
    DeleteThenCreate,
    InPlace,
}

/// Saves `text`, and is done when this returns.
fn save(style: Style, file: &Path, text: &str) {
    let beside = file.with_extension("tmp");
    match style {
        Style::Atomic => {
            fs::write(&beside, text).unwrap();
            fs::rename(&beside, file).unwrap();
        }
        Style::BackupThenRename => {
            fs::rename(file, &beside).ok();
            fs::write(file, text).unwrap();
        }
        Style::DeleteThenCreate => {
            fs::remove_file(file).ok();
            fs::write(file, text).unwrap();
        }
        Style::InPlace => fs::write(file, text).unwrap(),
    }
}

/// Plays one editor that never waits against one applier that never waits.
fn play(style: Style, saves: u32) {
    let ground = Ground::new(&[("a.rs", "start\n")]);
    let copy = ground.copy();
    let file = ground.at("a.rs");
    let done = AtomicBool::new(false);
    let mut had = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for token in 0..saves {
                save(style, &file, &format!("user {token}\n"));
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let Ok(before) = copy.root().read_file(&path("a.rs")) else {
                continue;
            };
            let mut new = before.bytes.clone();
            new.extend_from_slice(b"p");
            let expect = Expect::Hash(blake3::hash(&before.bytes));
            match copy.replace(0, &path("a.rs"), expect, Some(&new)) {
                Ok(_) => had.push(before.bytes),
                Err(WriteRefusal::Moved) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        had.extend(
            handed_over(|keep| copy.sweep_all(keep))
                .into_iter()
                .map(|rescued| rescued.bytes),
        );
    });
    check_last(style, &fs::read_to_string(&file).unwrap(), &had, saves);
    assert_eq!(ground.kept(), 0);
}

/// The last save has nothing of the editor's after it, so nothing excuses its absence.
fn check_last(style: Style, file: &str, rescued: &[Vec<u8>], saves: u32) {
    let token = format!("user {}\n", saves - 1);
    let in_file = file.starts_with(&token);
    let in_rescued = rescued
        .iter()
        .any(|bytes| bytes.starts_with(token.as_bytes()));
    assert!(
        in_file || in_rescued,
        "{style:?}: the last save is lost, the file holds {file:?}"
    );
}

/// Every round is a fresh race for one save, which must survive it.
fn race(style: Style, rounds: u32) -> [u32; 2] {
    let ground = Ground::new(&[("a.rs", "base")]);
    let copy = ground.copy();
    let file = ground.at("a.rs");
    let barrier = std::sync::Barrier::new(2);
    let mut outcomes = [0, 0];
    let mut lost = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..rounds {
                barrier.wait();
                // Spreads the save over the whole length of an apply.
                for _ in 0..(round % 40) * 400 {
                    std::hint::spin_loop();
                }
                save(style, &file, &format!("user {round}"));
                barrier.wait();
                barrier.wait();
            }
        });
        for round in 0..rounds {
            fs::write(&file, format!("base {round}")).unwrap();
            let base = blake3::hash(format!("base {round}").as_bytes());
            let token = format!("user {round}").into_bytes();
            barrier.wait();
            let done = copy.replace(0, &path("a.rs"), Expect::Hash(base), Some(b"ours"));
            barrier.wait();
            match done {
                Ok(_) => outcomes[0] += 1,
                Err(WriteRefusal::Moved) => outcomes[1] += 1,
                Err(other) => panic!("{other:?}"),
            }
            let rescued = handed_over(|keep| copy.sweep_all(keep));
            let in_file = fs::read(&file).is_ok_and(|bytes| bytes == token);
            // A save by rename also keeps the name, whichever came first.
            let may_come_back = !matches!(style, Style::Atomic);
            let came_back = rescued.iter().any(|rescued| rescued.bytes == token);
            let survived = in_file || (may_come_back && came_back);
            if !survived {
                lost.push(round);
            }
            barrier.wait();
        }
    });
    assert_eq!(lost, [0_u32; 0], "{style:?} lost saves; {outcomes:?}");
    outcomes
}

#[test]
fn case_067_no_in_place_save_is_lost() {
    race(Style::InPlace, 800);
    play(Style::InPlace, 800);
}

#[test]
fn case_067_no_atomic_save_is_lost() {
    let outcomes = race(Style::Atomic, 800);
    assert!(
        outcomes.iter().all(|count| 0 < *count),
        "no race happened: {outcomes:?}"
    );
    play(Style::Atomic, 800);
}

#[test]
fn case_067_no_save_with_a_backup_is_lost() {
    race(Style::BackupThenRename, 800);
    play(Style::BackupThenRename, 800);
}

#[test]
fn case_067_no_save_by_delete_and_create_is_lost() {
    race(Style::DeleteThenCreate, 800);
    play(Style::DeleteThenCreate, 800);
}
