//! What the watcher tells about the usual ways to save.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use aura_tree::watch::WatchMode;
use aura_tree::{WatchEvent, Watcher};

use crate::ground::Ground;

struct Watched {
    events: Receiver<WatchEvent>,
    _watcher: Watcher,
    ground: Ground,
}

impl Watched {
    fn new(ground: Ground, mode: WatchMode) -> Self {
        let (tx, events) = channel();
        let _watcher = Watcher::start_in(&ground.repo(), mode, tx).unwrap();
        Self {
            events,
            _watcher,
            ground,
        }
    }

    /// Everything told until `mark.rs`, saved now, is told too; the mark itself is left out.
    fn told(&self) -> Vec<WatchEvent> {
        self.ground.write("mark.rs", "mark");
        let mut told = Vec::new();
        loop {
            let event = self
                .events
                .recv_timeout(Duration::from_secs(10))
                .expect("the mark is told");
            let WatchEvent::Changed(paths) = event else {
                told.push(event);
                continue;
            };
            let is_mark = paths.iter().any(|path| path.as_str() == "mark.rs");
            let rest: Vec<_> = paths
                .into_iter()
                .filter(|path| path.as_str() != "mark.rs")
                .collect();
            if !rest.is_empty() {
                told.push(WatchEvent::Changed(rest));
            }
            if is_mark {
                return told;
            }
        }
    }

    fn changed(&self) -> BTreeSet<String> {
        let told = self.told().into_iter();
        told.flat_map(|event| match event {
            WatchEvent::Changed(paths) => paths,
            WatchEvent::Degraded | WatchEvent::GitMoved | WatchEvent::Rescan => Vec::new(),
        })
        .map(String::from)
        .collect()
    }
}

fn watched() -> Watched {
    let ground = Ground::new(&[
        ("a.rs", "a"),
        ("src/b.rs", "b"),
        (".gitignore", "target/\n*.o\n"),
    ]);
    ground.write("target/debug/x.rs", "");
    Watched::new(ground, WatchMode::Events)
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn every_usual_way_to_save_is_told_once_under_the_right_name() {
    let watched = watched();
    let (file, beside) = (watched.ground.at("src/b.rs"), watched.ground.at("src/4913"));
    fs::write(&file, "in place").unwrap();
    assert_eq!(watched.changed(), set(&["src/b.rs"]));
    fs::write(&beside, "atomic").unwrap();
    fs::rename(&beside, &file).unwrap();
    assert_eq!(watched.changed(), set(&["src/b.rs"]));
    fs::rename(&file, watched.ground.at("src/b.rs~")).unwrap();
    fs::write(&file, "after backup").unwrap();
    assert!(watched.changed().contains("src/b.rs"));
    fs::remove_file(&file).unwrap();
    fs::write(&file, "created anew").unwrap();
    assert_eq!(watched.changed(), set(&["src/b.rs"]));
    fs::remove_file(&file).unwrap();
    assert_eq!(watched.changed(), set(&["src/b.rs"]));
}

#[test]
fn ignored_files_and_directories_are_not_told() {
    let watched = watched();
    watched.ground.write("target/debug/y.rs", "");
    watched.ground.write("src/b.o", "");
    watched.ground.write("target/new/z.rs", "");
    watched.ground.write(".aura/state", "");
    assert_eq!(watched.told(), []);
}

#[test]
fn a_file_that_a_directory_replaces_is_told_with_what_is_in_it() {
    let watched = watched();
    watched.ground.write("notes", "1");
    assert_eq!(watched.changed(), set(&["notes"]));
    fs::remove_file(watched.ground.at("notes")).unwrap();
    watched.ground.write("notes/first", "1");
    assert_eq!(watched.changed(), set(&["notes", "notes/first"]));
}

#[test]
fn files_in_directories_made_later_are_told() {
    let watched = watched();
    watched.ground.write("new/deep/er/c.rs", "1");
    assert_eq!(watched.changed(), set(&["new/deep/er/c.rs"]));
    watched.ground.write("new/deep/er/c.rs", "2");
    assert_eq!(watched.changed(), set(&["new/deep/er/c.rs"]));
    fs::rename(watched.ground.at("new"), watched.ground.at("moved")).unwrap();
    let told = watched.told();
    assert!(told.contains(&WatchEvent::Rescan), "{told:?}");
    watched.ground.write("moved/deep/er/c.rs", "3");
    assert_eq!(watched.changed(), set(&["moved/deep/er/c.rs"]));
}

#[test]
fn a_change_of_ignore_rules_asks_for_a_rescan_and_counts_at_once() {
    let watched = watched();
    watched.ground.write(".gitignore", "src/\n");
    assert!(watched.told().contains(&WatchEvent::Rescan));
    watched.ground.write("src/b.rs", "hidden now");
    watched.ground.write("target/debug/x.rs", "seen now");
    assert_eq!(watched.changed(), set(&["target/debug/x.rs"]));
}

#[test]
fn an_edit_before_a_git_command_is_told_before_it() {
    let watched = watched();
    watched.ground.write("a.rs", "mine");
    watched.ground.git(&["commit", "-qam", "x"]);
    let told = watched.told();
    let place = |wanted: &WatchEvent| told.iter().position(|event| event == wanted);
    let edit = told.iter().position(
        |event| matches!(event, WatchEvent::Changed(paths) if paths[0].as_str() == "a.rs"),
    );
    let git = place(&WatchEvent::GitMoved);
    assert!(edit.is_some() && git.is_some() && edit < git, "{told:?}");
}

#[test]
fn what_git_writes_is_told_between_two_motions() {
    let watched = watched();
    watched.ground.git(&["checkout", "-q", "-b", "topic/side"]);
    watched.ground.write("a.rs", "side");
    watched.ground.git(&["commit", "-qam", "side"]);
    watched.told();
    watched.ground.git(&["checkout", "-q", "main"]);
    let told = watched.told();
    let edit = told
        .iter()
        .position(|event| matches!(event, WatchEvent::Changed(_)))
        .unwrap();
    assert_eq!(told[..edit].last(), Some(&WatchEvent::GitMoved), "{told:?}");
    assert!(told[edit..].contains(&WatchEvent::GitMoved), "{told:?}");
}

#[test]
fn polling_tells_the_same_changes() {
    let ground = Ground::new(&[("a.rs", "a"), ("src/b.rs", "b")]);
    let watched = Watched::new(ground, WatchMode::Polling { interval_ms: 30 });
    for text in ["x", "y"] {
        watched.ground.write("src/b.rs", text);
        assert_eq!(watched.changed(), set(&["src/b.rs"]));
        fs::remove_file(watched.ground.at("mark.rs")).unwrap();
    }
    watched.ground.git(&["commit", "-qam", "x"]);
    assert!(watched.told().contains(&WatchEvent::GitMoved));
}
