//! Names in a text: paths, and the type that a declaration names.
//!
//! Invariants:
//! - a text is read once, and only its beginning if it is long.

use crate::references::syntax::Syntax;

/// Most bytes of a type or a path that are read.
const TEXT_BYTES_MAX: usize = 1024;

/// Names joined by `::`, `.` or `\`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) names: Vec<String>,
    /// How many angle or square brackets it stands in.
    pub(crate) depth: usize,
    /// Something that is no name stands before the first separator.
    pub(crate) cut: bool,
}

/// All paths of a text, in their order.
pub(crate) fn paths(text: &[u8]) -> Vec<Path> {
    let text = &text[..text.len().min(TEXT_BYTES_MAX)];
    let text = String::from_utf8_lossy(text);
    let mut found: Vec<Path> = Vec::new();
    let mut depth = 0_usize;
    let mut word = String::new();
    // Whether the next word continues the last path of its depth.
    let mut joins = false;
    let mut chars = text.chars().chain([' ']).peekable();
    let mut before = ' ';
    while let Some(next) = chars.next() {
        if next.is_alphanumeric() || next == '_' || next == '$' {
            word.push(next);
            continue;
        }
        if !word.is_empty() {
            let name = std::mem::take(&mut word);
            put(&mut found, name, depth, joins);
            joins = false;
            before = 'a';
        }
        match next {
            '<' | '[' => {
                depth += 1;
                joins = false;
            }
            '>' if before == '-' || before == '=' => {}
            '>' | ']' => depth = depth.saturating_sub(1),
            '.' | '\\' => joins = true,
            ':' if before == ':' => joins = true,
            '\'' => skip_lifetime(&mut chars),
            _ => {}
        }
        if !next.is_whitespace() {
            before = next;
        }
    }
    found
}

fn put(found: &mut Vec<Path>, name: String, depth: usize, joins: bool) {
    if joins {
        let open = found.iter_mut().rev().find(|path| path.depth <= depth);
        match open {
            Some(path) if path.depth == depth => return path.names.push(name),
            _ => {
                return found.push(Path {
                    names: vec![name],
                    depth,
                    cut: true,
                });
            }
        }
    }
    found.push(Path {
        names: vec![name],
        depth,
        cut: false,
    });
}

/// Passes over the name of a lifetime; what stands between two quotes is read.
fn skip_lifetime(chars: &mut std::iter::Peekable<impl Iterator<Item = char> + Clone>) {
    let mut ahead = chars.clone();
    let is_name = |next: &char| next.is_alphanumeric() || *next == '_' || *next == '.';
    let mut count = 0;
    let closing = loop {
        match ahead.next() {
            Some(next) if is_name(&next) => count += 1,
            other => break other,
        }
    };
    if closing != Some('\'') {
        for _ in 0..count {
            chars.next();
        }
    }
}

/// The path of the type that a text names, seen through what only wraps it.
pub(crate) fn type_path(syntax: &Syntax, text: &[u8]) -> Option<Vec<String>> {
    if text.windows(2).any(|pair| pair == b"[]") {
        return None;
    }
    let mut depth = 0;
    for path in paths(text) {
        let last = path.names.last()?;
        if path.depth != depth || syntax.words.contains(&last.as_str()) {
            continue;
        }
        if syntax.wraps.contains(&last.as_str()) {
            depth += 1;
            continue;
        }
        return Some(path.names).filter(|_| !path.cut);
    }
    None
}

/// The paths of all types that stand side by side in a text.
pub(crate) fn type_paths(syntax: &Syntax, text: &[u8]) -> Vec<Vec<String>> {
    let is_type = |path: &Path| {
        let last = path.names.last().map_or("", String::as_str);
        path.depth == 0 && !path.cut && !syntax.words.contains(&last)
    };
    let found = paths(text).into_iter().filter(is_type);
    found.map(|path| path.names).collect()
}

#[cfg(test)]
mod tests {
    use super::{paths, type_path};
    use crate::references::syntax::{NONE, Syntax};

    const RUST_LIKE: Syntax = Syntax {
        words: &["mut", "dyn"],
        wraps: &["Arc", "Result"],
        ..NONE
    };

    fn type_of(text: &str) -> String {
        type_path(&RUST_LIKE, text.as_bytes()).map_or("-".into(), |names| names.join("/"))
    }

    #[test]
    fn a_type_is_seen_through_its_wrappers() {
        assert_eq!(type_of("&'a mut crate::risk::Model<T>"), "crate/risk/Model");
        assert_eq!(type_of("Arc<dyn Store>"), "Store");
        assert_eq!(type_of("Result<Arc<a::Model>, Error>"), "a/Model");
        assert_eq!(type_of("Vec<Model>"), "Vec");
        assert_eq!(type_of("[]Model"), "-");
        assert_eq!(type_of("*risk.Model"), "risk/Model");
        assert_eq!(type_of("'Model'"), "Model");
    }

    #[test]
    fn a_path_behind_something_else_is_cut() {
        let found = paths(b"<T as Into<U>>::into");
        assert_eq!(found.last().map(|path| path.cut), Some(true));
        let found = paths(b"Vec::<Model>::new");
        assert_eq!(found[0].names, ["Vec", "new"]);
    }
}
