//! `resolve`: which text settles a conflict, and the user's editor.
//!
//! Invariants:
//! - nothing is sent while conflict markers remain in an edited text;
//! - the text lies in the owner-only home while it is edited, never beside the source.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use aura_api::{Call, Choice, Exit, Failure, docs};
use aura_semantic::{Labels, LineMerge, merge_lines, render_diff3};

use super::{Face, args::Resolve, client::not_understood, show};
use crate::{
    escape,
    output::{Outcome, Stop},
};

/// Longest text that settles a conflict: what fits a request when each byte is written as a number.
const TEXT_BYTES_MAX: u64 = 200 << 10;
/// Signs in a conflict marker, as git has them.
const MARKER_SIZE: usize = 7;

impl Face<'_, '_> {
    pub(super) fn resolve(&mut self, args: Resolve) -> Outcome {
        if args.choice.edit {
            return self.resolve_by_hand(&args);
        }
        let choice = match &args.choice {
            choice if choice.mine => Choice::Mine,
            choice if choice.theirs => Choice::Theirs,
            choice => match &choice.with {
                Some(file) => Choice::With {
                    bytes: self.text_of(file)?,
                },
                None => Choice::Both,
            },
        };
        let ids = if args.all { self.open_ids()? } else { args.ids };
        self.settle(ids, choice)
    }

    fn settle(&mut self, ids: Vec<String>, choice: Choice) -> Outcome {
        let document = self.ask(Call::Resolve { ids, choice })?;
        self.say(&document, |doc: &docs::Resolved, view| {
            show::resolved(doc, view)
        })?;
        Ok(Exit::DONE)
    }

    fn resolve_by_hand(&mut self, args: &Resolve) -> Outcome {
        if !self.screen.is_interactive() || self.common.no_input {
            let message = "an editor needs a terminal";
            return Err(Failure::new("AE-NO-TERMINAL", Exit::USAGE, message)
                .next("aura resolve ID --with FILE", "takes the text of a file")
                .into());
        }
        let ids = if args.all {
            self.open_ids()?
        } else {
            args.ids.clone()
        };
        let mut last = Exit::DONE;
        for id in ids {
            let conflict = self.conflict(&id)?;
            let bytes = self.edit(&conflict)?;
            last = self.settle(vec![conflict.id], Choice::With { bytes })?;
        }
        Ok(last)
    }

    fn open_ids(&mut self) -> Result<Vec<String>, Stop> {
        let document = self.ask(Call::Conflicts { id: None })?;
        let list: docs::Conflicts =
            serde_json::from_value(document).map_err(|_| not_understood("the conflicts"))?;
        Ok(list
            .conflicts
            .into_iter()
            .map(|conflict| conflict.id)
            .collect())
    }

    fn conflict(&mut self, id: &str) -> Result<docs::ConflictDoc, Stop> {
        let document = self.ask(Call::Conflicts {
            id: Some(id.to_owned()),
        })?;
        let list: docs::Conflicts =
            serde_json::from_value(document).map_err(|_| not_understood("the conflicts"))?;
        let mut found = list.conflicts.into_iter();
        match (found.next(), found.next()) {
            (Some(conflict), None) => Ok(conflict),
            (None, _) => Err(not_understood("the conflict").into()),
            (Some(_), Some(_)) => {
                let message = format!("{id} could be several conflicts");
                Err(Failure::new("AE-AMBIGUOUS", Exit::USAGE, message)
                    .next("aura conflicts", "the open ones and their ids")
                    .into())
            }
        }
    }

    fn text_of(&mut self, file: &Path) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let read = if file == Path::new("-") {
            (&mut *self.input)
                .take(TEXT_BYTES_MAX + 1)
                .read_to_end(&mut bytes)
        } else {
            File::open(self.dir.join(file))
                .and_then(|file| file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes))
        };
        read.map_err(|error| {
            let message = format!("cannot read {}: {error}", file.display());
            Failure::new("AE-USAGE", Exit::USAGE, message).next(
                "aura resolve ID --with FILE",
                "a file that can be read, or - for standard input",
            )
        })?;
        bounded(bytes)
    }

    fn edit(&self, conflict: &docs::ConflictDoc) -> Result<Vec<u8>, Failure> {
        let home = self.home()?;
        home.prepare()?;
        let name = Path::new(&conflict.path).file_name().unwrap_or_default();
        let path = home
            .run_dir()
            .join(format!("edit-{}-{}", std::process::id(), name.display()));
        let draft = Draft::create(path, &both_sides(conflict))?;
        self.open_editor(&draft.path)?;
        let bytes = bounded(fs::read(&draft.path).map_err(|error| edit_failure(&error))?)?;
        if has_markers(&bytes) {
            let message = format!(
                "{} still has conflict markers; nothing was done",
                conflict.id
            );
            return Err(Failure::new("AE-MARKERS", Exit::CONFLICT, message)
                .next(format!("aura resolve {} --edit", conflict.id), "once more"));
        }
        Ok(bytes)
    }

    fn open_editor(&self, path: &Path) -> Result<(), Failure> {
        let editor = ["VISUAL", "EDITOR"]
            .into_iter()
            .find_map(|name| self.env.text(name));
        let editor = editor.unwrap_or("vi");
        // The variable is a command line, as git takes it.
        let status = Command::new("sh")
            .args(["-c", &format!("{editor} \"$@\""), editor])
            .arg(path)
            .status()
            .map_err(|error| edit_failure(&error))?;
        if status.success() {
            return Ok(());
        }
        let message = format!("the editor {} ended with {status}", escape::line(editor));
        Err(Failure::new("AE-EDITOR", Exit::FAILED, message)
            .next("aura resolve ID --with FILE", "takes the text of a file"))
    }
}

/// A text on its way through the editor; removed when dropped.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn create(path: PathBuf, text: &[u8]) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&path).map_err(|error| edit_failure(&error))?;
        let draft = Self { path };
        file.write_all(text).map_err(|error| edit_failure(&error))?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // A draft that stays lies in a directory of ours and is in nobody's way.
        fs::remove_file(&self.path).ok();
    }
}

/// Both sides in one text, with markers where they differ.
pub(super) fn both_sides(conflict: &docs::ConflictDoc) -> Vec<u8> {
    let text = |side: &docs::SideDoc| side.text.clone().unwrap_or_default().into_bytes();
    let base = conflict.base.as_ref().map(text).unwrap_or_default();
    match merge_lines(&base, &text(&conflict.mine), &text(&conflict.theirs)) {
        LineMerge::Clean(bytes) => bytes,
        LineMerge::Conflict(chunks) => {
            let theirs = escape::line(&conflict.theirs.author);
            let labels = Labels {
                ours: "yours",
                base: "base",
                theirs: &theirs,
            };
            render_diff3(&chunks, MARKER_SIZE, labels)
        }
    }
}

/// Whether a line begins like a conflict marker of ours.
pub(super) fn has_markers(bytes: &[u8]) -> bool {
    let begins = |line: &[u8]| {
        [b"<<<<<<< ", b"||||||| ", b">>>>>>> "]
            .iter()
            .any(|marker| line.starts_with(*marker))
    };
    bytes.split(|byte| *byte == b'\n').any(begins)
}

fn bounded(bytes: Vec<u8>) -> Result<Vec<u8>, Failure> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) <= TEXT_BYTES_MAX {
        return Ok(bytes);
    }
    let message = format!("the text is longer than {} KiB", TEXT_BYTES_MAX >> 10);
    Err(Failure::new("AE-TOO-LARGE", Exit::USAGE, message)
        .next("aura resolve ID --mine", "then edit the file and save it"))
}

fn edit_failure(error: &std::io::Error) -> Failure {
    Failure::new(
        "AE-EDITOR",
        Exit::FAILED,
        format!("the text cannot be edited: {error}"),
    )
}
