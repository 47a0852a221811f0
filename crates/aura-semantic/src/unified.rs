//! How one text became another, for people: what was taken out, what was put in, and which lines stayed.
//!
//! Invariant: the lines that stay are those of [`crate::merge_lines`], so a history of lines and a merge agree.

use std::ops::Range;

use crate::lines::{Hunk, hunks_by_histogram};

/// Lines that are shown around a change.
const CONTEXT: usize = 3;

/// For each line of `after`, the line of `before` that it is, counted from zero; none where it is new.
pub fn kept_lines(before: &[u8], after: &[u8]) -> Vec<Option<usize>> {
    let count = lines(after).len();
    let mut kept = Vec::with_capacity(count);
    let mut from = 0;
    for (was, is) in hunks_by_histogram(before, after) {
        let same = is.start.saturating_sub(kept.len());
        kept.extend((from..from + same).map(Some));
        kept.extend(is.map(|_| None));
        from = was.end;
    }
    let rest = count.saturating_sub(kept.len());
    kept.extend((from..from + rest).map(Some));
    kept
}

/// The change in the unified form of `diff -u`, without the lines that name files; empty when nothing changes.
///
/// Bytes that are not UTF-8 are shown as replacement characters.
pub fn unified(before: &[u8], after: &[u8]) -> String {
    let hunks = hunks_by_histogram(before, after);
    let (old, new) = (lines(before), lines(after));
    // A function ends without a line end; that is worth a word only where it changes.
    let ends = |text: &[u8]| text.is_empty() || text.ends_with(b"\n");
    let open_end = match ends(before) == ends(after) || before.is_empty() || after.is_empty() {
        true => "\n",
        false => "\n\\ No newline at end of file\n",
    };
    let mut text = String::new();
    for group in groups(&hunks) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            continue;
        };
        let lead = CONTEXT.min(first.0.start);
        let tail = CONTEXT.min(old.len() - last.0.end);
        let was = first.0.start - lead..last.0.end + tail;
        let is = first.1.start - lead..last.1.end + tail;
        text += &format!("@@ -{} +{} @@\n", place(&was), place(&is));
        let mut at = was.start;
        for (gone, come) in group {
            show(&mut text, ' ', &old[at..gone.start], open_end);
            show(&mut text, '-', &old[gone.clone()], open_end);
            show(&mut text, '+', &new[come.clone()], open_end);
            at = gone.end;
        }
        show(&mut text, ' ', &old[at..was.end], open_end);
    }
    text
}

/// Changes that stand so near to each other that they are shown together.
fn groups(hunks: &[Hunk]) -> impl Iterator<Item = &[Hunk]> {
    hunks.chunk_by(|one, next| next.0.start - one.0.end <= 2 * CONTEXT)
}

/// Start, counted from one, and length, as `diff -u` writes them.
fn place(lines: &Range<usize>) -> String {
    // An empty range is told by the line before it.
    let start = lines.start + usize::from(!lines.is_empty());
    format!("{start},{}", lines.len())
}

fn show(text: &mut String, sign: char, lines: &[&[u8]], open_end: &str) {
    for line in lines {
        text.push(sign);
        text.push_str(&String::from_utf8_lossy(line));
        if !line.ends_with(b"\n") {
            text.push_str(open_end);
        }
    }
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_as_diff_shows_it() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n";
        let after = before.replace("2\n3\n", "2\nthree\n").replace("16\n", "");
        let shown = unified(before.as_bytes(), after.as_bytes());
        assert_eq!(
            shown,
            "@@ -1,6 +1,6 @@\n 1\n 2\n-3\n+three\n 4\n 5\n 6\n@@ -13,4 +13,3 @@\n 13\n 14\n 15\n-16\n"
        );
    }

    #[test]
    fn nothing_to_show_is_an_empty_text_and_one_that_comes_or_goes_is_all_of_it() {
        assert_eq!(unified(b"a\n", b"a\n"), "");
        assert_eq!(unified(b"", b"a\nb\n"), "@@ -0,0 +1,2 @@\n+a\n+b\n");
        assert_eq!(unified(b"a\n", b""), "@@ -1,1 +0,0 @@\n-a\n");
        assert_eq!(
            unified(b"a", b"a\n"),
            "@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+a\n"
        );
        assert_eq!(unified(b"a\nb", b"a\nc"), "@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
    }

    #[test]
    fn lines_that_stay_are_told_by_their_old_numbers() {
        assert_eq!(
            kept_lines(b"a\nb\nc\n", b"new\na\nc\nd"),
            [None, Some(0), Some(2), None]
        );
        assert_eq!(kept_lines(b"", b"a\n"), [None]);
        assert_eq!(kept_lines(b"a\n", b""), []);
        assert_eq!(kept_lines(b"a\n", b"a\n"), [Some(0)]);
    }
}
