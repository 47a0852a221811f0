//! Where a join token comes from.
//!
//! Invariant: no failure here carries any part of a token.

use std::{
    ffi::OsStr,
    fs::File,
    io::{BufRead, Read},
    path::Path,
};

use aura_api::{Exit, Failure};

/// Longest text that is looked at; tokens are far shorter.
const TEXT_BYTES_MAX: u64 = 64 << 10;

/// Reads a token from the argument, `-`, `@FILE` or the environment; none at all is fine.
pub(super) fn read(
    argument: Option<&str>,
    variable: Option<&OsStr>,
    dir: &Path,
    input: &mut dyn BufRead,
) -> Result<Option<String>, Failure> {
    let text = match (argument, variable) {
        (None, None) => return Ok(None),
        (None, Some(variable)) => variable.to_str().map(str::to_owned).ok_or_else(shape)?,
        (Some("-"), _) => bounded(input, "standard input")?,
        (Some(text), _) => match text.strip_prefix('@') {
            None => text.to_owned(),
            Some(file) => {
                let path = dir.join(file);
                let opened = File::open(&path)
                    .map_err(|error| unreadable(&path.display().to_string(), &error.to_string()))?;
                bounded(opened, &path.display().to_string())?
            }
        },
    };
    check(text.trim()).map(Some)
}

fn bounded(from: impl Read, name: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = from.take(TEXT_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| unreadable(name, &error.to_string()))?;
    Ok(text)
}

/// Tells a token from anything else; whether it is a good one, the daemon sees.
fn check(text: &str) -> Result<String, Failure> {
    let begins = text
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("ms1-"));
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if begins && is_plain {
        Ok(text.to_owned())
    } else {
        Err(shape())
    }
}

fn shape() -> Failure {
    let message = "this is no join token, or it is cut off: it begins with ms1-";
    Failure::new("AE-TOKEN-SHAPE", Exit::USAGE, message).next(
        "aura join @FILE",
        "with the whole line that the mothership printed, in a file",
    )
}

fn unreadable(name: &str, why: &str) -> Failure {
    Failure::new(
        "AE-USAGE",
        Exit::USAGE,
        format!("cannot read the token from {name}: {why}"),
    )
    .next("aura join TOKEN", "the token itself, or @FILE")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Cursor;

    use super::*;

    const TOKEN: &str = "ms1-c7q2wabc-9d";

    fn from(argument: Option<&str>, variable: Option<&str>) -> Result<Option<String>, Failure> {
        let mut input = Cursor::new(format!("  {TOKEN}\n"));
        read(
            argument,
            variable.map(OsStr::new),
            Path::new("/"),
            &mut input,
        )
    }

    #[test]
    fn a_token_comes_from_the_argument_the_input_a_file_or_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
        let at_file = format!("@{}", file.display());
        for (argument, variable) in [
            (Some(TOKEN), None),
            (Some("-"), None),
            (Some(at_file.as_str()), None),
            (None, Some(TOKEN)),
            (Some(TOKEN), Some("ms1-other-xx")),
        ] {
            assert_eq!(from(argument, variable).unwrap().as_deref(), Some(TOKEN));
        }
        assert_eq!(from(None, None).unwrap(), None);
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        for text in [
            "hunter2",
            "",
            "ms1",
            "@/no/such/file",
            "ms1-a\nb",
            "ms1-\u{e9}",
            "é",
        ] {
            let failure = from(Some(text), None).unwrap_err();
            assert_eq!(failure.exit, Exit::USAGE, "{text}");
            assert!(!failure.message.contains("hunter2"));
        }
    }
}
