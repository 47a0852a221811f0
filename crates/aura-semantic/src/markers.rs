//! Conflicts as text with markers.
//!
//! Invariants:
//! - markers stand on lines of their own, ended as the lines around them are;
//! - between the markers stand the very texts of the sides; what a style leaves out of them stands around them.

use crate::lines::Chunk;

/// What stands behind the conflict markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels<'a> {
    /// Behind `<<<<<<<`.
    pub ours: &'a str,
    /// Behind `|||||||`.
    pub base: &'a str,
    /// Behind `>>>>>>>`.
    pub theirs: &'a str,
}

impl Default for Labels<'_> {
    fn default() -> Self {
        Self {
            ours: "ours",
            base: "base",
            theirs: "theirs",
        }
    }
}

/// How much of a conflict the markers show, in the words of git's `merge.conflictStyle`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Both sides, as short as possible.
    #[default]
    Merge,
    /// The base as well.
    Diff3,
    /// The base as well; lines that both sides begin or end with stand outside.
    Zdiff3,
}

/// How conflicts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Markers<'a> {
    /// What is shown.
    pub style: Style,
    /// Signs in a marker.
    pub size: usize,
    /// What stands behind them.
    pub labels: Labels<'a>,
    /// What is said about each conflict behind the label of the first marker; nothing where it is empty or missing.
    pub notes: &'a [String],
}

/// Writes chunks as text with diff3 markers of `marker_size` signs.
pub fn render_diff3(chunks: &[Chunk], marker_size: usize, labels: Labels<'_>) -> Vec<u8> {
    render(
        chunks,
        Markers {
            style: Style::Diff3,
            size: marker_size,
            labels,
            notes: &[],
        },
    )
}

/// Writes chunks as text with markers.
pub fn render(chunks: &[Chunk], markers: Markers<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let crlf = uses_crlf(chunks);
    let mut notes = markers.notes.iter();
    for chunk in chunks {
        match chunk {
            Chunk::Clean(text) => out.extend_from_slice(text),
            Chunk::Conflict { base, ours, theirs } => {
                let note = notes.next().map_or("", String::as_str);
                let [head, ours, theirs, tail] = match markers.style {
                    Style::Diff3 => [&[][..], ours, theirs, &[]],
                    Style::Merge | Style::Zdiff3 => narrowed(ours, theirs),
                };
                out.extend_from_slice(head);
                let mut part = |sign: u8, label: &str, text: &[u8]| {
                    marker(&mut out, sign, markers.size, label, crlf);
                    out.extend_from_slice(text);
                };
                part(b'<', &noted(markers.labels.ours, note), ours);
                if markers.style != Style::Merge {
                    part(b'|', markers.labels.base, base);
                }
                part(b'=', "", theirs);
                part(b'>', markers.labels.theirs, b"");
                out.extend_from_slice(tail);
            }
        }
    }
    out
}

fn noted(label: &str, note: &str) -> String {
    match (label, note) {
        (label, "") => label.to_owned(),
        ("", note) => note.to_owned(),
        (label, note) => format!("{label}: {note}"),
    }
}

/// Two texts without the lines that both begin and end with: head, the rest of each, tail.
fn narrowed<'a>(ours: &'a [u8], theirs: &'a [u8]) -> [&'a [u8]; 4] {
    let lines =
        |text: &'a [u8]| -> Vec<&'a [u8]> { text.split_inclusive(|byte| *byte == b'\n').collect() };
    let (left, right) = (lines(ours), lines(theirs));
    let same = |(one, other): &(&&[u8], &&[u8])| one == other;
    let head = left.iter().zip(&right).take_while(same).count();
    let tails = left[head..].iter().rev().zip(right[head..].iter().rev());
    // A last line that is not ended is not moved behind a marker.
    let tails = tails.skip_while(|_| !ours.ends_with(b"\n"));
    let tail = tails.take_while(same).count();
    let len = |lines: &[&[u8]]| lines.iter().map(|line| line.len()).sum::<usize>();
    let head = len(&left[..head]);
    let tail = len(&left[left.len() - tail..]);
    [
        &ours[..head],
        &ours[head..ours.len() - tail],
        &theirs[head..theirs.len() - tail],
        &ours[ours.len() - tail..],
    ]
}

fn uses_crlf(chunks: &[Chunk]) -> bool {
    let first_line_end = |text: &[u8]| {
        let end = text.iter().position(|byte| *byte == b'\n')?;
        Some(end > 0 && text[end - 1] == b'\r')
    };
    let texts = chunks.iter().flat_map(|chunk| match chunk {
        Chunk::Clean(text) => vec![text],
        Chunk::Conflict { base, ours, theirs } => vec![ours, theirs, base],
    });
    texts
        .filter_map(|text| first_line_end(text))
        .next()
        .unwrap_or(false)
}

fn marker(out: &mut Vec<u8>, sign: u8, size: usize, label: &str, crlf: bool) {
    let line_end: &[u8] = if crlf { b"\r\n" } else { b"\n" };
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.extend_from_slice(line_end);
    }
    out.resize(out.len() + size, sign);
    if !label.is_empty() {
        out.push(b' ');
        out.extend_from_slice(label.as_bytes());
    }
    out.extend_from_slice(line_end);
}
