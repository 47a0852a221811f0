//! The one escaper: text from outside never moves a cursor, changes a title or starts a line.
//!
//! Invariants:
//! - what comes out has no control, bidirectional or line-separating character;
//! - printable text comes out unchanged; escaped characters read `\u{..}`, in JSON as JSON has it;
//! - no invite token survives in a failure.

use std::io::{self, Write};

/// How a join token begins.
const TOKEN_PREFIX: &str = "ms1-";

/// One line of text that is safe on a terminal.
pub(crate) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        push(sign, &mut out);
    }
    out
}

/// Several lines: line feeds and tabs stay, everything else is escaped as in [`line`].
pub(crate) fn block(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '\n' | '\t' => out.push(sign),
            '\r' if signs.peek() == Some(&'\n') => {}
            _ => push(sign, &mut out),
        }
    }
    out
}

/// A JSON text that says the same and has no unsafe sign either.
pub(crate) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        if is_unsafe(sign) {
            let mut units = [0; 2];
            for unit in sign.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(sign);
        }
    }
    out
}

/// A log of JSON lines that people may look at in a terminal.
#[derive(Debug)]
pub struct JsonLog<W>(pub W);

impl<W: Write> Write for JsonLog<W> {
    fn write(&mut self, records: &[u8]) -> io::Result<usize> {
        for line in records.split_inclusive(|byte| *byte == b'\n') {
            let (record, end) = match line.strip_suffix(b"\n") {
                Some(record) => (record, &b"\n"[..]),
                None => (line, &b""[..]),
            };
            let text = json(&String::from_utf8_lossy(record));
            self.0.write_all(&[text.as_bytes(), end].concat())?;
        }
        Ok(records.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Replaces whatever looks like an invite token.
pub(crate) fn without_tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = find_token(rest) {
        let body = &rest[at + TOKEN_PREFIX.len()..];
        let end = body.find(|sign: char| !sign.is_ascii_alphanumeric() && sign != '-');
        out.push_str(&rest[..at]);
        out.push_str("ms1-[redacted]");
        rest = &body[end.unwrap_or(body.len())..];
    }
    out.push_str(rest);
    out
}

fn find_token(text: &str) -> Option<usize> {
    let is_prefix = |window: &[u8]| window.eq_ignore_ascii_case(TOKEN_PREFIX.as_bytes());
    text.as_bytes()
        .windows(TOKEN_PREFIX.len())
        .position(is_prefix)
}

fn push(sign: char, out: &mut String) {
    if is_unsafe(sign) {
        out.extend(sign.escape_unicode());
    } else {
        out.push(sign);
    }
}

/// C0, DEL, C1, line and paragraph separators, bidirectional controls and invisible joiners.
fn is_unsafe(sign: char) -> bool {
    sign.is_control()
        || matches!(sign,
            '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    // case_108
    #[test]
    fn a_name_cannot_set_the_title_ring_clear_or_turn_the_text_around() {
        let hostile =
            "bob\x1b]0;owned\x07\x1b[2J\u{202e}evil\n2026 INFO all is well\r\u{9b}31m\u{7f}";
        let shown = line(hostile);
        assert_eq!(
            shown,
            "bob\\u{1b}]0;owned\\u{7}\\u{1b}[2J\\u{202e}evil\\u{a}2026 INFO all is well\\u{d}\\u{9b}31m\\u{7f}"
        );
        assert!(!shown.chars().any(is_unsafe));
    }

    #[test]
    fn every_control_sign_is_escaped_and_every_other_plane_survives() {
        for sign in (0..=0x10_ffff).filter_map(char::from_u32) {
            let shown = line(&sign.to_string());
            assert!(!shown.chars().any(|sign| sign.is_control()), "{sign:?}");
            assert_eq!(
                shown.starts_with('\\'),
                is_unsafe(sign) || sign == '\\',
                "{sign:?}"
            );
        }
        assert_eq!(line("größe λ 漢字 🦀"), "größe λ 漢字 🦀");
    }

    #[test]
    fn json_says_the_same_without_unsafe_signs() {
        let hostile = "a\u{9b}\u{202e}\u{7f}\u{e0041}\x1b\n";
        let text = json(&serde_json::json!(hostile).to_string());
        assert!(text.is_ascii() && !text.bytes().any(|byte| byte < 0x20 || byte == 0x7f));
        let back: String = serde_json::from_str(&text).expect("it is still JSON");
        assert_eq!(back, hostile);
    }

    // case_108
    #[test]
    fn a_log_has_one_line_a_record_and_no_unsafe_sign() {
        let mut log = JsonLog(Vec::new());
        let record = serde_json::json!({"why": "a\u{9b}\u{202e}\n{\"fake\":1}"});
        write!(log, "{record}\n{record}\n").expect("a vector takes everything");
        let text = String::from_utf8(log.0).expect("it is still text");
        assert!(text.is_ascii());
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("it is still JSON"))
            .collect();
        assert_eq!(lines, [record.clone(), record]);
    }

    #[test]
    fn a_block_keeps_lines_and_tabs_only() {
        assert_eq!(block("a\r\n\tb\x1b[0m\rc"), "a\n\tb\\u{1b}[0m\\u{d}c");
    }

    #[test]
    fn a_token_in_a_message_is_not_repeated() {
        let text = "unexpected argument 'ms1-c7q2wabc-9d' found; MS1-XY, ms1-";
        let redacted = "unexpected argument 'ms1-[redacted]' found; ms1-[redacted], ms1-[redacted]";
        assert_eq!(without_tokens(text), redacted);
        assert_eq!(without_tokens("größe ms"), "größe ms");
    }
}
