//! Manual pages, made from the same description as the help.
//!
//! Invariant: every command that the help shows has a page of its own, with its examples.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aura_api::{Exit, Failure, docs, shell_word};
use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use crate::{
    common::{answer, to_value},
    completions::paths,
    escape,
    output::{Outcome, Screen},
};

/// `man`: the page of the program, or all pages as files below a directory.
pub(crate) fn man(
    screen: &mut Screen<'_>,
    mut program: Command,
    base: &Path,
    dir: Option<&Path>,
) -> Outcome {
    program.build();
    let mut document = docs::ManPages {
        schema: docs::ManPages::SCHEMA.to_owned(),
        files: Vec::new(),
        page: None,
    };
    let text = match dir {
        None => {
            let text = page(&program, program.get_name(), &program);
            document.page = Some(text.clone());
            text
        }
        Some(dir) => {
            let dir = base.join(dir);
            let files = write_all(&program, &dir).map_err(|(path, error)| {
                let message = format!("cannot write {}: {error}", path.display());
                Failure::new("AE-OUTPUT", Exit::USAGE, message).next(
                    format!("{} man --dir DIR", program.get_name()),
                    "where you may write",
                )
            })?;
            document.files = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            let (count, shown) = (files.len(), dir.display().to_string());
            let first = dir.join(file_name(program.get_name()));
            let first = escape::line(&shell_word(first.display()));
            format!(
                "{count} pages in {}; read one with: man {first}",
                escape::line(&shown)
            )
        }
    };
    answer(screen, &to_value(&document), |_| text)?;
    Ok(Exit::DONE)
}

/// Writes the page of each command; answers the files.
fn write_all(program: &Command, dir: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    fs::create_dir_all(dir).map_err(|error| (dir.to_owned(), error))?;
    let mut files = Vec::new();
    for (words, command) in paths(program) {
        let file = dir.join(file_name(&words));
        fs::write(&file, page(program, &words, command)).map_err(|error| (file.clone(), error))?;
        files.push(file);
    }
    Ok(files)
}

/// `aura zone claim` has its page in `aura-zone-claim.1`, where man looks for `man aura zone claim`.
fn file_name(words: &str) -> String {
    format!("{}.1", words.replace(' ', "-"))
}

/// The page of a command, in the language of man.
fn page(program: &Command, words: &str, command: &Command) -> String {
    let version = program.get_version().unwrap_or_default();
    let man = Man::new(command.clone())
        .title(words.replace(' ', "-").to_uppercase())
        .source(format!("{} {version}", program.get_name()))
        .manual("Mothership");
    let mut bytes = Vec::new();
    man.render(&mut bytes)
        .expect("memory takes whatever is written");
    String::from_utf8_lossy(&bytes).into_owned() + &examples(command)
}

/// The examples of the help, which the generator of pages leaves out.
fn examples(command: &Command) -> String {
    let Some(text) = command.get_before_long_help().map(ToString::to_string) else {
        return String::new();
    };
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]).control("nf", []);
    // The first line says that examples follow, and so does the heading.
    for line in text.lines().skip(1) {
        roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    roff.control("fi", []);
    roff.render()
}
