//! `merge-driver`: one file of a merge that git makes.
//!
//! Invariants:
//! - it ends with 0 for clean and 1 for a conflict, once the file that git gave holds the merge;
//! - where that cannot be, it ends with [`STOP`], as git takes whatever stands there for a conflict otherwise;
//! - a conflict of texts has markers in the file, never our side alone;
//! - where syntax does not help, the bytes are those of `git merge-file`;
//! - writing the result is the last thing it does, so whoever finds it dead can merge anew.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStrExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use aura_api::Exit;
use aura_semantic::{Chunk, Labels, LineMerge, Markers, Style, merge_lines_by_myers, render};

use super::{
    Git,
    job::{self, Job, Judged},
    record,
    worker::Worker,
};
use crate::{aura::Face, aura::local::write_whole, escape};

/// Signs of a marker where git says nothing.
const MARKER_SIZE: usize = 7;
/// Longest marker that is made.
const MARKER_SIZE_MAX: usize = 1000;
/// Makes git stop before anything is merged, as all codes above 128 do; `git merge-file` fails with the same.
const STOP: Exit = Exit(255);
/// How git calls the sides of a merge of bases, which nobody asked for.
const TEMPORARY: &str = "Temporary merge branch";

/// What git gave to the driver.
#[derive(Debug, PartialEq, Eq)]
struct Given {
    /// Base, ours, which is written over, and theirs.
    files: [PathBuf; 3],
    marker_size: usize,
    path: String,
    /// Names of base, ours and theirs.
    labels: [String; 3],
}

/// What becomes of the file that git gave as ours.
enum Ours {
    /// It is a merge as it stands.
    Stays,
    Becomes(Vec<u8>),
    /// Nobody knows: a file could not be read.
    Unread,
}

impl Given {
    /// Reads `%O %A %B %L %P %S %X %Y`; what is not there, or was not filled in by an older git, is made up.
    fn read(dir: &Path, given: &[OsString]) -> Option<Self> {
        let file = |nth: usize| given.get(nth).map(|file| dir.join(file));
        let text = |nth: usize, sign: &str| {
            let text = given.get(nth)?.to_string_lossy().into_owned();
            (!text.is_empty() && text != sign).then(|| text.replace(['\n', '\r'], " "))
        };
        let size = text(3, "%L").and_then(|size| size.parse().ok());
        let label = |nth, sign, name: &str| text(nth, sign).unwrap_or_else(|| name.to_owned());
        Some(Self {
            files: [file(0)?, file(1)?, file(2)?],
            marker_size: size
                .filter(|size| (1..=MARKER_SIZE_MAX).contains(size))
                .unwrap_or(MARKER_SIZE),
            path: label(4, "%P", ""),
            labels: [
                label(5, "%S", "base"),
                label(6, "%X", "ours"),
                label(7, "%Y", "theirs"),
            ],
        })
    }

    fn labels(&self) -> Labels<'_> {
        let [base, ours, theirs] = &self.labels;
        Labels { ours, base, theirs }
    }

    fn job(&self) -> Option<Job> {
        let mut texts = self.files.each_ref().map(|file| fs::read(file).ok());
        let is_there = texts.iter().all(Option::is_some);
        let texts = texts.each_mut().map(|text| text.take().unwrap_or_default());
        is_there.then(|| Job {
            path: self.path.clone(),
            texts,
        })
    }
}

impl Face<'_, '_> {
    /// `merge-driver`.
    pub(in crate::aura) fn merge_driver(&mut self, given: &[OsString]) -> Exit {
        let Some(given) = Given::read(&self.dir, given) else {
            self.screen
                .note("git gives at least three files; see aura merge-driver --help");
            return STOP;
        };
        // Whatever breaks in here, git gets a merge.
        let merged = catch_unwind(AssertUnwindSafe(|| self.merge_by_syntax(&given)));
        let (judged, ours) = match merged {
            Ok(Some((judged, Some(bytes)))) => (judged, Ours::Becomes(bytes)),
            Ok(Some((judged, None))) => self.merge_by_text(&given, judged),
            Ok(None) => self.merge_by_text(&given, empty(&given).text("unreadable")),
            Err(_) => self.merge_by_text(&given, empty(&given).text("failed")),
        };
        let is_clean = judged.is_clean();
        catch_unwind(AssertUnwindSafe(|| self.record(&given, judged))).ok();
        let is_there = match ours {
            Ours::Stays => true,
            Ours::Becomes(bytes) => self.write(&given, &bytes),
            Ours::Unread => false,
        };
        match (is_there, is_clean) {
            (false, _) => STOP,
            (true, true) => Exit::DONE,
            (true, false) => Exit::FAILED,
        }
    }

    /// What the syntax comes to, if it does.
    fn merge_by_syntax(&self, given: &Given) -> Option<(Judged, Option<Vec<u8>>)> {
        let job = given.job()?;
        let worker = Worker {
            exe: &self.exe,
            env: &self.env,
            limit: self.common.timeout,
        };
        let judged = worker.judge(&job);
        let bytes = judged.chunks.as_ref().map(|chunks| match &chunks[..] {
            [Chunk::Clean(bytes)] => bytes.clone(),
            chunks => {
                let markers = Markers {
                    style: self.style(),
                    size: given.marker_size,
                    labels: given.labels(),
                    notes: &judged.notes(),
                };
                render(chunks, markers)
            }
        });
        Some((judged, bytes))
    }

    /// Merges lines as git does; what has no text stays as ours is.
    fn merge_by_text(&mut self, given: &Given, judged: Judged) -> (Judged, Ours) {
        let [base, ours, theirs] = &given.files;
        let [base_label, ours_label, theirs_label] = &given.labels;
        let texts = given.files.each_ref().map(fs::read);
        let is_binary =
            |text: &Result<Vec<u8>, _>| text.as_ref().is_ok_and(|text| job::is_binary(text));
        if texts.iter().any(is_binary) {
            let path = escape::line(&given.path);
            self.screen.note(&format!(
                "{path} is binary: ours stays, and git calls it a conflict"
            ));
            return (judged.by_text(false), Ours::Stays);
        }
        let size = format!("--marker-size={}", given.marker_size);
        let mut command = self.git().command();
        command.args(["merge-file", "-p", "-q", &size]);
        for label in [ours_label, base_label, theirs_label] {
            command.args(["-L", label]);
        }
        command.arg("--").args([ours, base, theirs]);
        if let Ok(merged) = command.output() {
            match merged.status.code() {
                Some(0) => return (judged.by_text(true), Ours::Becomes(merged.stdout)),
                Some(1..=127) => return (judged.by_text(false), Ours::Becomes(merged.stdout)),
                _ => {}
            }
        }
        let [Ok(base), Ok(ours), Ok(theirs)] = &texts else {
            self.screen.note("git's files of this merge cannot be read");
            return (judged.by_text(false), Ours::Unread);
        };
        let merged = merge_lines_by_myers(base, ours, theirs);
        let judged = judged.by_lines(&merged);
        let bytes = match merged {
            LineMerge::Clean(bytes) => bytes,
            LineMerge::Conflict(chunks) => {
                let markers = Markers {
                    style: Style::Merge,
                    size: given.marker_size,
                    labels: given.labels(),
                    notes: &[],
                };
                render(&chunks, markers)
            }
        };
        (judged, Ours::Becomes(bytes))
    }

    fn write(&mut self, given: &Given, bytes: &[u8]) -> bool {
        let written = write_whole(&given.files[1], bytes);
        if let Err(failure) = &written {
            self.screen.note(&escape::line(&failure.message));
        }
        written.is_ok()
    }

    fn style(&self) -> Style {
        let style = self.git().line(&["config", "--get", "merge.conflictStyle"]);
        match style.as_deref() {
            Some("diff3") => Style::Diff3,
            Some("zdiff3") => Style::Zdiff3,
            _ => Style::Merge,
        }
    }

    fn record(&self, given: &Given, judged: Judged) -> Option<()> {
        let [base, ours, theirs] = given.labels.clone();
        if ours.starts_with(TEMPORARY) {
            return None;
        }
        let said = self
            .git()
            .say(&["rev-parse", "--absolute-git-dir", "HEAD"])
            .ok()?;
        let mut lines = said.out.split(|byte| *byte == b'\n');
        let git_dir = Path::new(std::ffi::OsStr::from_bytes(lines.next()?)).to_owned();
        let head = lines.next().map(String::from_utf8_lossy);
        let run = record::Run {
            at: format!("{:.0}", self.screen.view().now),
            head: head
                .filter(|_| said.code == Some(0))
                .map(|head| head.into_owned()),
            ours,
            base,
            theirs,
            file: judged.file,
        };
        git_dir.is_absolute().then_some(())?;
        record::add(&record::path(&git_dir), &run)
    }

    pub(super) fn git(&self) -> Git<'_> {
        Git {
            dir: &self.dir,
            env: &self.env,
        }
    }
}

/// A job without its texts, for what is said about it.
fn empty(given: &Given) -> Job {
    Job {
        path: given.path.clone(),
        texts: [const { Vec::new() }; 3],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(given: &[&str]) -> Option<Given> {
        let given: Vec<OsString> = given.iter().map(OsString::from).collect();
        Given::read(Path::new("/w"), &given)
    }

    #[test]
    fn what_git_does_not_fill_in_is_made_up() {
        let full = read(&["o", "a", "b", "9", "src/x.rs", "1234567", "HEAD", "topic"]).unwrap();
        assert_eq!(full.files[1], Path::new("/w/a"));
        assert_eq!((full.marker_size, full.path.as_str()), (9, "src/x.rs"));
        assert_eq!(full.labels, ["1234567", "HEAD", "topic"]);
        let old = read(&["o", "a", "b", "x", "src/x.rs", "%S", "%X", "%Y"]).unwrap();
        assert_eq!(old.marker_size, 7);
        assert_eq!(old.labels, ["base", "ours", "theirs"]);
        let bare = read(&["o", "a", "b"]).unwrap();
        assert_eq!(bare.path, "");
        assert_eq!(read(&["o", "a", "b", "4000000000"]).unwrap().marker_size, 7);
        assert_eq!(read(&["o", "a"]), None);
    }
}
