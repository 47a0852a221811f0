//! Text from outside, made harmless for a terminal.
//!
//! Invariant: the result has no control character, no escape sequence and nothing that reorders text.

/// Replaces control, escape and bidirectional characters by `\u{…}`.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || reorders(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

fn reorders(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_108_terminal_escapes_become_visible_text() {
        let hostile = "a\u{1b}]0;x\u{7}b\u{1b}[2Jc\u{202e}d\ne";
        let shown = escape(hostile);
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}', '\n']));
        assert_eq!(escape("plain ünïcode"), "plain ünïcode");
    }
}
