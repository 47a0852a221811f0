//! What is counted before a parser sees a file, because a grammar's own scanner could not bear
//! more: it would abort the process, or take a time that grows with the square of the file.
//!
//! Invariants:
//! - linear in the bytes, times a constant or a logarithm;
//! - in doubt a count is above what the scanner would come to, not below.

use std::collections::BTreeMap;

use crate::language::Guard;

/// Whether a file has more of something than the scanner of its grammar can bear.
pub(crate) fn is_too_much(guards: &[Guard], bytes: &[u8]) -> bool {
    guards.iter().any(|guard| match *guard {
        Guard::Blocks(max) => blocks(bytes) > max,
        Guard::Elements(max) => has_deep_elements(bytes, max),
        Guard::HereWord(max) => has_long_here_word(bytes, max),
    })
}

/// A bound on how many indented blocks are open at once.
///
/// The columns of open blocks rise, but for a step back here and there; so there are at most three
/// for each column in which a line may open one, and those that follow each other on one line.
fn blocks(bytes: &[u8]) -> usize {
    let (mut columns, mut signs_max) = (0, 0);
    for line in bytes.split(|byte| *byte == b'\n' || *byte == b'\r') {
        let is_sign = |at: usize| {
            let ends = line.get(at + 1).is_none_or(u8::is_ascii_whitespace);
            ends && line.get(at).is_some_and(|byte| b"-?:".contains(byte))
        };
        let mut at = 0;
        while line.get(at).is_some_and(u8::is_ascii_whitespace) || is_sign(at) {
            at += 1;
        }
        if at < line.len() {
            columns = columns.max(at + 1);
        }
        let signs = (0..line.len()).filter(|at| is_sign(*at)).count();
        signs_max = signs_max.max(signs);
    }
    columns * 3 + signs_max
}

/// Whether more elements than this may be open at once.
///
/// Every start counts. An end counts if an element waits for it, and if it surely stands in the
/// text: from the first doubt on none does.
fn has_deep_elements(bytes: &[u8], max: usize) -> bool {
    let mut open: Vec<Vec<u8>> = Vec::new();
    let mut waiting: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let (mut at, mut is_sure) = (0, true);
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'<') {
        let start = at + found + 1;
        let is_end = bytes[start..].starts_with(b"/");
        let name = name_at(&bytes[start + usize::from(is_end)..]);
        at = start;
        if is_end {
            let waits = is_sure && waiting.get(&name).is_some_and(|count| *count > 0);
            let place = waits.then(|| open.iter().rposition(|inner| *inner == name));
            for inner in open.drain(place.flatten().unwrap_or(open.len())..) {
                if let Some(count) = waiting.get_mut(&inner) {
                    *count = count.saturating_sub(1);
                }
            }
            continue;
        }
        if is_sure {
            match past_tag(bytes, start, &name) {
                Some(end) => at = end,
                None => is_sure = false,
            }
        }
        if name.first().is_some_and(u8::is_ascii_alphanumeric) && !VOID.contains(&&name[..]) {
            *waiting.entry(name.clone()).or_default() += 1;
            open.push(name);
            if open.len() > max {
                return true;
            }
        }
    }
    false
}

/// The name that a tag starts with.
fn name_at(tag: &[u8]) -> Vec<u8> {
    let ends = |byte: &&u8| byte.is_ascii_whitespace() || b"/<>".contains(byte);
    let name = tag.iter().take_while(|byte| !ends(byte));
    name.map(u8::to_ascii_lowercase).collect()
}

/// Where the text goes on behind a comment, or a start with all that is no markup; none if there
/// is a doubt.
fn past_tag(bytes: &[u8], start: usize, name: &[u8]) -> Option<usize> {
    let find = |from: usize, what: &[u8]| {
        let rest = bytes.get(from..)?;
        let place = rest
            .windows(what.len())
            .position(|at| at.eq_ignore_ascii_case(what));
        place.map(|place| from + place)
    };
    if bytes[start..].starts_with(b"!--") {
        return Some(find(start + 3, b"-->")? + 3);
    }
    let mut at = start + name.len();
    let mut is_value = false;
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        match byte {
            b'>' => break,
            b'<' => return None,
            b'"' | b'\'' if !is_value => return None,
            b'"' | b'\'' => at = find(at, &[byte])? + 1,
            _ => {}
        }
        is_value = byte == b'=' || (is_value && byte.is_ascii_whitespace());
    }
    match name {
        b"script" => find(at, b"</script"),
        b"style" => find(at, b"</style"),
        _ => Some(at),
    }
}

/// Whether a word that may end a here-document is longer than this, in bytes.
fn has_long_here_word(bytes: &[u8], max: usize) -> bool {
    let openings = bytes.windows(2).enumerate();
    let mut openings = openings.filter(|(_, pair)| pair == b"<<");
    openings.any(|(at, _)| {
        let rest = &bytes[at + 2..];
        let sign = usize::from(matches!(rest.first(), Some(b'-' | b'~')));
        let word = &rest[sign..];
        let quote = word.first().copied().filter(|byte| b"\"'`".contains(byte));
        let is_in = |byte: &&u8| match quote {
            Some(quote) => **byte != quote,
            None => byte.is_ascii_alphanumeric() || **byte == b'_' || !byte.is_ascii(),
        };
        let inside = word.iter().skip(usize::from(quote.is_some()));
        inside.take(max + 1).take_while(is_in).count() > max
    })
}

/// Elements that nothing closes.
const VOID: [&[u8]; 14] = [
    b"area", b"base", b"br", b"col", b"embed", b"hr", b"img", b"input", b"link", b"meta", b"param",
    b"source", b"track", b"wbr",
];
