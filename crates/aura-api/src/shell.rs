//! Text from outside in a command that people and programs paste into a shell.
//!
//! Invariants:
//! - a shell reads back exactly the text, as one word: nothing in it is run, expanded or split;
//! - an operand is never taken for an option.

use std::fmt::Display;

/// A word that means this text; plain text stays as it is.
pub fn shell_word(text: impl Display) -> String {
    let text = text.to_string();
    // No tilde, no equals sign and no caret: shells expand them in some places.
    let is_plain = |sign: char| sign.is_alphanumeric() || "%+,-./:@_".contains(sign);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// The last word of a command: behind a `--` where it looks like an option.
pub fn shell_operand(text: impl Display) -> String {
    let text = text.to_string();
    let word = shell_word(&text);
    match text.starts_with('-') {
        true => format!("-- {word}"),
        false => word,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_meant_as_one_word() {
        for text in [
            "",
            "src/risk.rs::score",
            "Größe",
            "x; touch PWNED #",
            "$(touch PWNED) `touch PWNED` ${HOME} $HOME",
            "it's 'quoted' \"twice\" \\ and \\' so",
            "'",
            "''",
            "a\nb\tc\r",
            "~ ~root * ? [a] {b,c} !! ^a^b =ls a=b",
            "a && b || c | d > e < f & ( g )",
            "\u{a0}\u{2028}\u{202e}",
        ] {
            let script = format!("printf '<%s>' {}", shell_word(text));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            let read = String::from_utf8(output.stdout).unwrap();
            assert_eq!(read, format!("<{text}>"), "{script}");
        }
    }

    #[test]
    fn plain_words_stay_readable() {
        for text in ["src/risk.rs::Risk.score", "o-k7et4h", "bob@mbp", "größe_2"] {
            assert_eq!(shell_word(text), text);
            assert_eq!(shell_operand(text), text);
        }
    }

    #[test]
    fn an_operand_is_no_option() {
        assert_eq!(shell_operand("--help"), "-- --help");
        assert_eq!(shell_operand("-x y"), "-- '-x y'");
        assert_eq!(shell_operand("'-x"), r"''\''-x'");
        assert_eq!(shell_operand(""), "''");
    }
}
