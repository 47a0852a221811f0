//! The lines in git's attributes that name the merge driver.
//!
//! Invariants:
//! - they stand in one marked block at the start of the file; every other byte stays as it is;
//! - taking the block out gives the bytes of before, or no file where there was none;
//! - what a `.gitattributes` says about the merge of a file is said again behind ours, as the file that the block is in
//!   weighs more than any of them.

use std::collections::BTreeMap;

use super::DRIVER;

const BEGIN: &str = "# aura init begins here; aura uninit takes it out";
/// Behind the first line of a block that the file was made for.
const MADE: &str = " (with the file)";
const END: &str = "# aura init ends here\n";
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A file of attributes: its directory from the root, with `/` behind it or empty, and its text.
pub(super) type Source = (Vec<u8>, Vec<u8>);

/// The block for these file types and exceptions.
pub(super) fn block<'a>(
    extensions: impl Iterator<Item = &'a str>,
    exceptions: &[Vec<u8>],
    is_new: bool,
) -> Vec<u8> {
    let made = if is_new { MADE } else { "" };
    let mut block = format!("{BEGIN}{made}\n").into_bytes();
    for extension in extensions {
        block.extend_from_slice(format!("*.{extension} merge={DRIVER}\n").as_bytes());
    }
    if !exceptions.is_empty() {
        block.extend_from_slice(b"# as .gitattributes says\n");
    }
    for line in exceptions {
        block.extend_from_slice(line);
        block.push(b'\n');
    }
    block.extend_from_slice(END.as_bytes());
    block
}

/// A file with the block in place of an older one.
pub(super) fn with_block(before: Option<&[u8]>, block: impl FnOnce(bool) -> Vec<u8>) -> Vec<u8> {
    let before = before.and_then(without_block);
    let (is_new, rest) = (before.is_none(), before.unwrap_or_default());
    // Git looks for a mark of the encoding at the very start only.
    let (mark, rest) = match rest.strip_prefix(BOM) {
        Some(rest) => (BOM, rest),
        None => (&[][..], &rest[..]),
    };
    [mark, &block(is_new), rest].concat()
}

/// A file without the block; `None` where the file was made for it.
pub(super) fn without_block(bytes: &[u8]) -> Option<Vec<u8>> {
    let Some((from, to)) = find_block(bytes) else {
        return Some(bytes.to_vec());
    };
    let rest = [&bytes[..from], &bytes[to..]].concat();
    let first = bytes[from..].split(|byte| *byte == b'\n').next();
    let is_made = first.is_some_and(|line| line.ends_with(MADE.as_bytes()));
    (!is_made || !rest.is_empty()).then_some(rest)
}

/// Whether a file has the block.
pub(super) fn has_block(bytes: &[u8]) -> bool {
    find_block(bytes).is_some()
}

fn find_block(bytes: &[u8]) -> Option<(usize, usize)> {
    let find = |from: usize, what: &str| {
        let mut windows = bytes[from..].windows(what.len());
        windows
            .position(|window| window == what.as_bytes())
            .map(|at| from + at)
    };
    let from = find(0, BEGIN)?;
    Some((from, find(from, END)? + END.len()))
}

/// What files of attributes, the weakest first, say about merges, as lines that can stand in one file at the root.
pub(super) fn exceptions(sources: &[Source]) -> Vec<Vec<u8>> {
    let mut macros: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    macros.insert(b"binary".to_vec(), b"-merge".to_vec());
    let mut exceptions = Vec::new();
    for (dir, text) in sources {
        let text = text.strip_prefix(BOM).unwrap_or(text);
        let text = without_block(text).unwrap_or_default();
        for line in text.split(|byte| *byte == b'\n') {
            let Some((pattern, attributes)) = parts(line) else {
                continue;
            };
            let tokens = attributes.split(u8::is_ascii_whitespace);
            let merge = tokens.rev().find_map(|token| meaning(token, &macros));
            let Some(merge) = merge else {
                continue;
            };
            match pattern.strip_prefix(b"[attr]") {
                Some(name) => {
                    macros.insert(name.to_vec(), merge);
                }
                None => {
                    let pattern = from_root(dir, &pattern);
                    exceptions.push([&pattern[..], b" ", &merge].concat());
                }
            }
        }
    }
    exceptions
}

/// The pattern and the attributes of a line, if it is no comment.
fn parts(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let line = line.trim_ascii();
    match line.first()? {
        b'#' => None,
        b'"' => unquoted(line),
        _ => {
            let end = line.iter().position(u8::is_ascii_whitespace)?;
            Some((line[..end].to_vec(), &line[end..]))
        }
    }
}

/// What an attribute says about merges, if anything.
fn meaning(token: &[u8], macros: &BTreeMap<Vec<u8>, Vec<u8>>) -> Option<Vec<u8>> {
    let is_merge = matches!(token, b"merge" | b"-merge" | b"!merge")
        || token.starts_with(b"merge=") && token.len() > b"merge=".len();
    if is_merge {
        return Some(token.to_vec());
    }
    macros.get(token).cloned()
}

/// A pattern of a directory as one of the root.
fn from_root(dir: &[u8], pattern: &[u8]) -> Vec<u8> {
    let mut path = Vec::new();
    for byte in dir {
        if b"*?[\\".contains(byte) {
            path.push(b'\\');
        }
        path.push(*byte);
    }
    let inner = pattern.strip_suffix(b"/").unwrap_or(pattern);
    if !dir.is_empty() && !inner.contains(&b'/') {
        path.extend_from_slice(b"**/");
    }
    // At the root a pattern without a slash stands for any depth, so its leading slash matters.
    let pattern = match dir {
        [] => pattern,
        _ => pattern.strip_prefix(b"/").unwrap_or(pattern),
    };
    path.extend_from_slice(pattern);
    quoted(path)
}

fn quoted(text: Vec<u8>) -> Vec<u8> {
    let is_plain = |byte: &u8| !byte.is_ascii_whitespace() && !byte.is_ascii_control();
    let is_word = text.first().is_some_and(|first| !b"\"#!".contains(first));
    if is_word && text.iter().all(is_plain) {
        return text;
    }
    let mut out = vec![b'"'];
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            byte if byte.is_ascii_control() => {
                out.extend_from_slice(format!("\\{byte:03o}").as_bytes());
            }
            byte => out.push(byte),
        }
    }
    out.push(b'"');
    out
}

/// A pattern in quotes as C has them, and the rest of its line.
fn unquoted(line: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut text = Vec::new();
    let mut at = 1;
    loop {
        let byte = *line.get(at)?;
        at += 1;
        match byte {
            b'"' => return Some((text, &line[at..])),
            b'\\' => {
                let escaped = *line.get(at)?;
                at += 1;
                text.push(match escaped {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    b'0'..=b'3' => {
                        let digits = std::str::from_utf8(line.get(at - 1..at + 2)?).ok()?;
                        at += 2;
                        u8::from_str_radix(digits, 8).ok()?
                    }
                    other => other,
                });
            }
            byte => text.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(is_new: bool) -> Vec<u8> {
        block(["rs"].into_iter(), &[], is_new)
    }

    #[test]
    fn taking_out_what_was_put_in_gives_the_bytes_of_before() {
        let befores: [Option<&[u8]>; 7] = [
            None,
            Some(b""),
            Some(b"*.c merge=x\n"),
            Some(b"*.c merge=x"),
            Some(b"\r\n\xff *.c\r\n"),
            Some(b"\xef\xbb\xbf*.c merge=x\n"),
            Some(b"# aura"),
        ];
        for before in befores {
            let once = with_block(before, rust);
            assert!(has_block(&once));
            assert_eq!(with_block(Some(&once), rust), once, "{before:?}");
            let after = without_block(&once);
            assert_eq!(after.as_deref(), before, "{before:?}");
        }
        // What was written since stays, whoever made the file.
        let made = [with_block(None, rust), b"*.c merge=x\n".to_vec()].concat();
        assert_eq!(without_block(&made).as_deref(), Some(&b"*.c merge=x\n"[..]));
    }

    #[test]
    fn what_is_said_about_merges_is_said_again_with_its_directory() {
        let sources: [Source; 3] = [
            (Vec::new(), b"*.lock -merge\n".to_vec()),
            (
                Vec::new(),
                b"# *.x merge\n*.rs text\n[attr]gen merge=ours -diff\n/a.rs gen\n*.png binary\n".to_vec(),
            ),
            (
                b"a dir/".to_vec(),
                b"*.json merge=union\n/b.rs !merge\nx/y.rs text -merge eol=lf\n\"q\\\"\\040.rs\" merge".to_vec(),
            ),
        ];
        let found = exceptions(&sources);
        let text: Vec<_> = found
            .iter()
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        assert_eq!(
            text,
            [
                "*.lock -merge",
                "/a.rs merge=ours",
                "*.png -merge",
                "\"a dir/**/*.json\" merge=union",
                "\"a dir/b.rs\" !merge",
                "\"a dir/x/y.rs\" -merge",
                "\"a dir/**/q\\\" .rs\" merge",
            ]
        );
    }

    #[test]
    fn our_own_block_in_a_tracked_file_is_no_exception() {
        let tracked = with_block(Some(b"*.md merge=union\n"), rust);
        let found = exceptions(&[(Vec::new(), tracked)]);
        assert_eq!(found, [b"*.md merge=union".to_vec()]);
    }
}
