//! `merge explain`: what the merge driver did.
//!
//! Invariant: it reads the record of the driver and nothing else of the merge.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use aura_api::{
    Exit,
    docs::{self, MergeFileDoc},
};

use super::{record, setup::Places};
use crate::{
    aura::Face,
    common::{answer, to_value},
    escape,
    output::{Outcome, Paint, View},
};

impl Face<'_, '_> {
    /// `merge explain`.
    pub(in crate::aura) fn explain(&mut self, file: Option<&Path>, most: usize) -> Outcome {
        let git = self.git();
        let places = Places::find(git)?;
        let wanted = file.map(|file| below(&places.root, &self.dir.join(file)));
        let git_dir = git.ask(&["rev-parse", "--absolute-git-dir"])?;
        let git_dir = PathBuf::from(String::from_utf8_lossy(&git_dir).trim_end());
        // No record is an empty one.
        let text = fs::read_to_string(record::path(&git_dir)).unwrap_or_default();
        let document = docs::MergeExplained {
            schema: docs::MergeExplained::SCHEMA.to_owned(),
            merges: record::operations(&text, wanted.as_deref(), most),
        };
        answer(self.screen, &to_value(&document), |view| {
            if document.merges.is_empty() {
                return match &wanted {
                    Some(file) => format!(
                        "the merge driver has not merged {} here; what one side alone changed does not come to it",
                        escape::line(file)
                    ),
                    None => "the merge driver has not run here; aura init sets it up".to_owned(),
                };
            }
            let told = document.merges.iter().map(|merge| {
                let mut text = format!(
                    "{} merged into {} at {}\n",
                    escape::line(&merge.theirs),
                    escape::line(&merge.ours),
                    escape::line(&merge.at)
                );
                text.extend(merge.files.iter().map(|file| show_file(view, file)));
                text
            });
            told.collect::<Vec<_>>().join("\n")
        })?;
        Ok(Exit::DONE)
    }
}

/// The path of a file as git names it; the file need not be there.
fn below(root: &Path, file: &Path) -> String {
    let parent = file
        .parent()
        .and_then(|parent| fs::canonicalize(parent).ok());
    let full = match (parent, file.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => file.to_owned(),
    };
    let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let path = full.strip_prefix(&root).unwrap_or(&full);
    path.to_string_lossy().into_owned()
}

/// One file of a merge, for people.
pub(super) fn show_file(view: &View, file: &MergeFileDoc) -> String {
    let verdict = match file.verdict.as_str() {
        "clean" => view.paint(Paint::Good, "clean   "),
        "conflict" => view.paint(Paint::Bad, "conflict"),
        _ => view.paint(Paint::Warn, "unknown "),
    };
    let level = match file.level.as_str() {
        "units" => "by syntax",
        "lines" => "by lines, and its syntax agrees",
        "tree" => "by its place",
        _ => "by lines alone",
    };
    let because = file.because.as_deref().map(because).unwrap_or_default();
    let path = escape::line(&file.path);
    let mut text = format!("  {verdict}  {path}  {level}{because}\n");
    for reason in &file.reasons {
        // A string takes whatever is written.
        writeln!(text, "            {}", escape::line(&reason.text)).ok();
    }
    for (side, units) in [("ours", &file.ours), ("theirs", &file.theirs)] {
        if !units.is_empty() {
            let units = escape::line(&units.join(", "));
            writeln!(text, "            {side:<6} changed {units}").ok();
        }
    }
    text
}

fn because(code: &str) -> String {
    let known = match code {
        "binary" => "it is binary",
        "broken" => "a version does not parse",
        "failed" => "the driver broke",
        "no_grammar" => "no grammar for it",
        "no_worker" => "the worker could not be started",
        "not_set_up" => "not named in the attributes",
        "parse_budget" => "parsing took too long",
        "too_deep" => "nested too deep",
        "too_large" => "larger than 1 MiB",
        "unreadable" => "git's files could not be read",
        "worker_died" => "the worker died",
        "worker_garbled" => "the worker said nothing sound",
        "worker_late" => "the worker took too long",
        other => other,
    };
    format!(" ({})", escape::line(known))
}
