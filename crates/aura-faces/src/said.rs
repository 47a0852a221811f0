//! What texts say that somebody can type, tried on the description of the command line.
//!
//! Invariant: a command that a text names is one; it may only leave out what it does not speak of.

#![allow(clippy::unwrap_used)]

use clap::{Command, error::ErrorKind};

const README: &str = include_str!("../../../README.md");

/// The words of a command as a shell splits them, for the quotes that texts use.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, ' ') => words.push(String::new()),
            _ => words.last_mut().unwrap().push(c),
        }
    }
    // Brackets are around what may be left out.
    let bare = |word: String| word.trim_matches(['[', ']']).to_owned();
    let words = words.into_iter().map(bare);
    words
        .filter(|word| !word.is_empty() && word != "…")
        .collect()
}

/// Panics at a command that there is not; what a shell does with it, and what is said of it, is left out.
fn check(program: &Command, line: &str) {
    let ends = ["  ", " > ", " < ", " | ", " && ", " #"];
    let line = ends
        .iter()
        .fold(line, |line, end| line.split(end).next().unwrap());
    let parsed = program.clone().try_get_matches_from(words(line));
    let kind = parsed.err().map(|error| (error.kind(), error.to_string()));
    let is_short = |kind: ErrorKind| {
        use ErrorKind as K;
        matches!(
            kind,
            K::MissingRequiredArgument
                | K::MissingSubcommand
                | K::DisplayHelpOnMissingArgumentOrSubcommand
                | K::DisplayHelp
                | K::DisplayVersion
        )
    };
    if let Some((kind, text)) = kind {
        // What takes a value says so when it has none.
        let is_bare = kind == ErrorKind::InvalidValue && text.contains("a value is required");
        assert!(is_short(kind) || is_bare, "{line}: {text}");
    }
}

/// Panics at a command of `program` in the README that there is not; answers how many there are.
pub(crate) fn readme_names_real_commands(program: &Command) -> usize {
    let name = program.get_name();
    let spans = README.split('`').skip(1).step_by(2);
    let lines = README.lines();
    let begins = |text: &&str| text.split(' ').next() == Some(name) && text.contains(' ');
    let said: Vec<&str> = spans.chain(lines).map(str::trim).filter(begins).collect();
    said.iter().for_each(|line| check(program, line));
    said.len()
}

/// Panics at an example in a help that there is not; answers how many there are.
pub(crate) fn examples_are_real_commands(program: &Command) -> usize {
    fn examples(command: &Command, name: &str, found: &mut Vec<String>) {
        let text = command.get_before_long_help().map(ToString::to_string);
        let text = text.unwrap_or_default();
        let lines = text.lines().map(str::trim);
        let typed = lines.filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(' '))
        });
        found.extend(typed.map(str::to_owned));
        for below in command.get_subcommands() {
            examples(below, name, found);
        }
    }
    let mut found = Vec::new();
    examples(program, program.get_name(), &mut found);
    found.iter().for_each(|line| check(program, line));
    found.len()
}
