//! Three-way merge of what one unit has of its own.
//!
//! Invariants:
//! - what merges line by line is merged line by line, as every device ever did;
//! - the rest is merged by its syntax, if it is one piece and of a bearable size;
//! - swapping the sides gives the same text.

use crate::lines::{LineMerge, merge_lines};
use crate::merge::{FileMerge, merge_files};
use crate::value::{OwnText, Text};

/// Joins two changes of one own text in a file of this name; `None` when they exclude each other.
// spec: patch/3.3
pub fn join(path: &str, base: &OwnText, one: &OwnText, other: &OwnText) -> Option<OwnText> {
    merge(base, one, other, lines).or_else(|| syntax(path, base, one, other))
}

/// Merges the change of somebody else into a changed own text as [`join`] does; `None` when they exclude each other.
///
/// Where the change here is one of line ends alone, the other takes those that it finds.
pub fn merge_own(path: &str, base: &OwnText, mine: &OwnText, theirs: &OwnText) -> Option<OwnText> {
    let carry = |base: &[u8], mine: &[u8], theirs: &[u8]| {
        if base != mine && without_returns(base) == without_returns(mine) {
            return Some(with_ends_of(mine, theirs));
        }
        lines(base, mine, theirs)
    };
    merge(base, mine, theirs, carry).or_else(|| syntax(path, base, mine, theirs))
}

/// Merges head and foot apart.
fn merge(
    base: &OwnText,
    one: &OwnText,
    other: &OwnText,
    part: impl Fn(&[u8], &[u8], &[u8]) -> Option<Vec<u8>>,
) -> Option<OwnText> {
    let part = |base: &Text, one: &Text, other: &Text| {
        part(base.bytes(), one.bytes(), other.bytes()).map(Text)
    };
    let head = part(&base.head, &one.head, &other.head)?;
    let foot = match (&base.foot, &one.foot, &other.foot) {
        (None, None, None) => None,
        (Some(base), Some(one), Some(other)) => Some(part(base, one, other)?),
        _ => return None,
    };
    Some(OwnText { head, foot })
}

fn lines(base: &[u8], one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    match merge_lines(base, one, other) {
        LineMerge::Clean(merged) => Some(merged),
        LineMerge::Conflict(_) => None,
    }
}

/// Merges texts that are one piece each by their syntax.
fn syntax(path: &str, base: &OwnText, one: &OwnText, other: &OwnText) -> Option<OwnText> {
    let is_whole = [base, one, other].iter().all(|text| text.foot.is_none());
    let [base, one, other] = [base, one, other].map(|text| text.head.bytes());
    if !is_whole || JOINED_BYTES_MAX < base.len() + one.len() + other.len() {
        return None;
    }
    match merge_files(path, base, one, other) {
        FileMerge::Clean { bytes, .. } => Some(OwnText::leaf(&bytes)),
        FileMerge::Conflict { .. } => None,
    }
}

fn without_returns(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (at, byte) in text.iter().enumerate() {
        if *byte != b'\r' || text.get(at + 1) != Some(&b'\n') {
            out.push(*byte);
        }
    }
    out
}

/// `text` with the line end that most lines of `model` have.
fn with_ends_of(model: &[u8], text: &[u8]) -> Vec<u8> {
    let ends = model.iter().filter(|byte| **byte == b'\n').count();
    let returns = model.windows(2).filter(|pair| pair == b"\r\n").count();
    let plain = without_returns(text);
    if returns * 2 <= ends {
        return plain;
    }
    let mut out = Vec::with_capacity(plain.len() + ends);
    for byte in plain {
        if byte == b'\n' {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out
}

/// Longest three texts together, in bytes, that are joined by syntax; part of the protocol.
// spec: patch/3.3
const JOINED_BYTES_MAX: usize = 256 << 10;
