//! What the merge driver did, in a small file of git's directory.
//!
//! Invariants:
//! - the file stays below [`BYTES_MAX`] and a line: the oldest half goes first;
//! - a line that cannot be read is passed over;
//! - what cannot be written down changes nothing about the merge.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use aura_api::docs::{MergeFileDoc, MergeRunDoc};
use serde::{Deserialize, Serialize};

/// Longest record, but for its last line: 256 KiB.
const BYTES_MAX: usize = 256 << 10;

/// One run of the driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) at: String,
    pub(super) head: Option<String>,
    pub(super) ours: String,
    pub(super) base: String,
    pub(super) theirs: String,
    pub(super) file: MergeFileDoc,
}

/// Where the record of a work tree stands.
pub(super) fn path(git_dir: &Path) -> PathBuf {
    git_dir.join("aura").join("merges.ndjson")
}

/// Adds a run; `None` where that is not possible.
pub(super) fn add(path: &Path, run: &Run) -> Option<()> {
    let mut line = serde_json::to_string(run).ok()?;
    line.push('\n');
    fs::create_dir_all(path.parent()?).ok()?;
    let text = fs::read_to_string(path).unwrap_or_default();
    if BYTES_MAX < text.len() {
        let beside = path.with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&beside, newest(&text)).ok()?;
        fs::rename(&beside, path).ok()?;
    }
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).open(path).ok()?;
    file.write_all(line.as_bytes()).ok()
}

/// The newer half, in whole lines.
fn newest(text: &str) -> &str {
    let half = text.len() - text.len() / 2;
    let from = text.as_bytes()[half..]
        .iter()
        .position(|byte| *byte == b'\n');
    from.and_then(|from| text.get(half + from + 1..))
        .unwrap_or_default()
}

/// The operations of a record that touched a file, or all, newest first.
pub(super) fn operations(text: &str, wanted: Option<&str>, most: usize) -> Vec<MergeRunDoc> {
    let mut operations: Vec<MergeRunDoc> = Vec::new();
    let runs = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    for run in runs {
        let Run {
            at,
            head,
            ours,
            base,
            theirs,
            file,
        } = run;
        match operations.last_mut() {
            // The same file twice is a second attempt.
            Some(last)
                if (&last.head, &last.ours, &last.base, &last.theirs)
                    == (&head, &ours, &base, &theirs)
                    && last.files.iter().all(|known| known.path != file.path) =>
            {
                last.files.push(file);
            }
            _ => operations.push(MergeRunDoc {
                at,
                head,
                ours,
                base,
                theirs,
                files: vec![file],
            }),
        }
    }
    if let Some(wanted) = wanted {
        for operation in &mut operations {
            operation.files.retain(|file| file.path == wanted);
        }
        operations.retain(|operation| !operation.files.is_empty());
    }
    operations.reverse();
    operations.truncate(most);
    operations
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::aura::git::job;

    fn run(head: &str, path: &str) -> Run {
        Run {
            at: "2026-11-20T13:05:11Z".to_owned(),
            head: Some(head.to_owned()),
            ours: "HEAD".to_owned(),
            base: "1234567".to_owned(),
            theirs: "topic".to_owned(),
            file: job::file(path, "clean", "units"),
        }
    }

    #[test]
    fn runs_of_one_operation_are_told_together_newest_operation_first() {
        let runs = [run("a", "x"), run("a", "y"), run("b", "x"), run("b", "x")];
        let mut text: String = runs
            .iter()
            .map(|run| serde_json::to_string(run).unwrap() + "\n")
            .collect();
        text.push_str("{\"half");
        let paths = |wanted, most| -> Vec<Vec<String>> {
            let operations = operations(&text, wanted, most).into_iter();
            let files = operations.map(|operation| operation.files.into_iter());
            files
                .map(|files| files.map(|file| file.path).collect())
                .collect()
        };
        assert_eq!(paths(None, 9), [vec!["x"], vec!["x"], vec!["x", "y"]]);
        assert_eq!(paths(None, 1), [["x"]]);
        assert_eq!(paths(Some("y"), 9), [["y"]]);
        assert!(paths(Some("z"), 9).is_empty());
    }

    #[test]
    fn a_record_stays_small_and_keeps_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        for nth in 0..3000 {
            add(&path, &run(&format!("{nth:040}"), "src/some/file.rs")).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() <= BYTES_MAX + 1024, "{}", text.len());
        let newest = operations(&text, None, 2);
        assert_eq!(newest[0].head, Some(format!("{:040}", 2999)));
        assert_eq!(newest[1].head, Some(format!("{:040}", 2998)));
    }
}
