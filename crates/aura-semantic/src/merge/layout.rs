//! Line ends and byte order mark of a whole file, which one side may change while the other edits lines.
//!
//! Invariant: a version that has one kind of line end throughout, and the layout chosen, give back its very bytes.

use std::borrow::Cow;

const MARK: &[u8] = b"\xef\xbb\xbf";

/// How a file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    has_mark: bool,
    /// Whether every line ends in CR LF.
    is_crlf: bool,
}

impl Layout {
    /// The layout of a text; none where its lines end in more than one way, or there is none.
    fn of(text: &[u8]) -> Option<Self> {
        let ends = text.iter().filter(|byte| **byte == b'\n').count();
        let long = text.windows(2).filter(|pair| *pair == b"\r\n").count();
        // Of further returns before an end it is not clear whose they are.
        let is_odd = text.windows(2).any(|pair| pair == b"\r\r");
        let is_uniform = 0 < ends && (long == 0 || long == ends) && !is_odd;
        is_uniform.then(|| Self {
            has_mark: text.starts_with(MARK),
            is_crlf: 0 < long,
        })
    }

    /// The layout of a merge, if the versions differ in it.
    pub(super) fn merged([base, ours, theirs]: [&[u8]; 3]) -> Option<Self> {
        let [base, ours, theirs] = [Self::of(base)?, Self::of(ours)?, Self::of(theirs)?];
        // Of two values a third one cannot be made.
        let merge = |base: bool, ours: bool, theirs: bool| if ours == base { theirs } else { ours };
        let is_one = ours == base && theirs == base;
        (!is_one).then(|| Self {
            has_mark: merge(base.has_mark, ours.has_mark, theirs.has_mark),
            is_crlf: merge(base.is_crlf, ours.is_crlf, theirs.is_crlf),
        })
    }

    /// Lays out a text that has none.
    pub(super) fn lay(self, text: &[u8], is_first: bool) -> Vec<u8> {
        let mark = if self.has_mark && is_first { MARK } else { &[] };
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        let ended = lines.flat_map(|line| match line.strip_suffix(b"\n") {
            Some(said) if self.is_crlf => [said, b"\r\n"],
            _ => [line, b""],
        });
        [mark].into_iter().chain(ended).flatten().copied().collect()
    }
}

/// A text without its layout.
pub(super) fn plain(text: &[u8]) -> Cow<'_, [u8]> {
    let text = text.strip_prefix(MARK).unwrap_or(text);
    if !text.contains(&b'\r') {
        return Cow::Borrowed(text);
    }
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let plain = lines.flat_map(|line| match line.strip_suffix(b"\r\n") {
        Some(said) => [said, b"\n"],
        None => [line, b""],
    });
    Cow::Owned(plain.flatten().copied().collect())
}
