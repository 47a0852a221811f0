//! Names of files in a repository, as every member of a team can hold them.
//!
//! Invariants:
//! - a [`RepoPath`] is relative, separated by `/`, in NFC, within [`PATH_BYTES_MAX`],
//!   [`PATH_COMPONENTS_MAX`] and [`COMPONENT_BYTES_MAX`];
//! - no component climbs, is empty, or names git's or our own directory under the spelling rules of
//!   any file system we know of;
//! - no component holds a character that hides, reorders or ends a line;
//! - the rules are the same on every platform, so a path accepted by one member is accepted by all.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

use crate::limits::{COMPONENT_BYTES_MAX, PATH_BYTES_MAX, PATH_COMPONENTS_MAX};

/// A checked path of a file, relative to the root of the working tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoPath(String);

/// Why a text is not a [`RepoPath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// The text is no path inside a repository, or it reaches into git's directory.
    #[error("path refused: {0}")]
    Path(PathFault),
    /// The path cannot exist on every platform the team may use.
    #[error("path is not portable: {0}")]
    Portable(PortableFault),
    /// The path belongs to git's configuration or to us.
    #[error("path is reserved")]
    Reserved,
}

/// What makes a text no path at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathFault {
    /// It starts at the root of a file system.
    #[error("it is absolute")]
    Absolute,
    /// It uses `\`, which separates components on some platforms.
    #[error("it holds a backslash")]
    Backslash,
    /// One component has more than [`COMPONENT_BYTES_MAX`] bytes.
    #[error("a component is too long")]
    ComponentTooLong,
    /// It holds a control character, NUL and line ends included.
    #[error("it holds a control character")]
    Control,
    /// A component is empty, `.` or `..`.
    #[error("a component is empty or climbs")]
    Dots,
    /// It has no bytes.
    #[error("it is empty")]
    Empty,
    /// A component names git's directory under some file system's rules.
    #[error("it reaches into git's directory")]
    Git,
    /// It holds a character that cannot be seen or that reorders its neighbours.
    #[error("it holds an invisible or reordering character")]
    Invisible,
    /// It has more than [`PATH_BYTES_MAX`] bytes.
    #[error("it is too long")]
    TooLong,
    /// It has more than [`PATH_COMPONENTS_MAX`] components.
    #[error("it is too deep")]
    TooDeep,
}

/// What keeps a path off some platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PortableFault {
    /// It holds one of `: * ? " < > |`.
    #[error("it holds a character that is special on some platform")]
    Character,
    /// A component is the name of a device on some platform.
    #[error("a component names a device")]
    Device,
    /// It is not in Unicode normalisation form C.
    #[error("it is not in normal form C")]
    NotNormal,
    /// A component ends in a dot or a space.
    #[error("a component ends in a dot or a space")]
    TrailingDotOrSpace,
}

impl PathError {
    /// The stable id shown to people and programs.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Path(_) => "PATH",
            Self::Portable(_) => "PATH_PORTABLE",
            Self::Reserved => "PATH_RESERVED",
        }
    }
}

impl RepoPath {
    /// The path as text, components separated by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components from the root down; never empty.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.0.split('/')
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The directory above as text, or `None` when that is the root of the working tree.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// The part of the file name after its last dot; `None` for names such as `.eslintrc`.
    pub fn extension(&self) -> Option<&str> {
        match self.file_name().rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => Some(extension),
            Some(_) | None => None,
        }
    }

    /// The key under which two paths collide on a file system that ignores case or composition.
    pub fn fold_key(&self) -> String {
        fold_key(&self.0)
    }
}

/// The key under which two names collide on a file system that ignores case or composition.
///
/// Upper case first: it is what joins `ß` with `ss` and both forms of the final sigma.
pub fn fold_key(name: &str) -> String {
    name.nfd()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfc()
        .collect()
}

/// A name as people type it, composed as the names of paths are.
pub fn composed(name: &str) -> String {
    name.nfc().collect()
}

impl AsRef<str> for RepoPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<RepoPath> for String {
    fn from(path: RepoPath) -> Self {
        path.0
    }
}

impl TryFrom<&str> for RepoPath {
    type Error = PathError;

    fn try_from(text: &str) -> Result<Self, PathError> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for RepoPath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        check(&text)?;
        Ok(Self(text))
    }
}

/// Asserts the invariants in the module header.
///
/// The whole path is checked for one kind of fault before the next, so that `a:/.git/x` is
/// refused as an attack and not as an unportable name.
// spec: patch/2.7
fn check(text: &str) -> Result<(), PathError> {
    check_shape(text).map_err(PathError::Path)?;
    let mut reserved = false;
    for component in text.split('/') {
        let name = seen_name(component);
        if is_git_directory(&name) {
            return Err(PathError::Path(PathFault::Git));
        }
        reserved |= is_reserved(&name);
    }
    if reserved {
        return Err(PathError::Reserved);
    }
    check_portable(text).map_err(PathError::Portable)
}

fn check_shape(text: &str) -> Result<(), PathFault> {
    if text.is_empty() {
        return Err(PathFault::Empty);
    }
    if PATH_BYTES_MAX < text.len() {
        return Err(PathFault::TooLong);
    }
    if text.starts_with('/') {
        return Err(PathFault::Absolute);
    }
    for c in text.chars() {
        match c {
            '\\' => return Err(PathFault::Backslash),
            _ if c.is_control() => return Err(PathFault::Control),
            _ if is_invisible(c) => return Err(PathFault::Invisible),
            _ => {}
        }
    }
    if PATH_COMPONENTS_MAX < text.split('/').count() {
        return Err(PathFault::TooDeep);
    }
    for component in text.split('/') {
        if matches!(component, "" | "." | "..") {
            return Err(PathFault::Dots);
        }
        if COMPONENT_BYTES_MAX < component.len() {
            return Err(PathFault::ComponentTooLong);
        }
    }
    Ok(())
}

fn check_portable(text: &str) -> Result<(), PortableFault> {
    if !is_nfc(text) {
        return Err(PortableFault::NotNormal);
    }
    if text.contains([':', '*', '?', '"', '<', '>', '|']) {
        return Err(PortableFault::Character);
    }
    for component in text.split('/') {
        if component.ends_with(['.', ' ']) {
            return Err(PortableFault::TrailingDotOrSpace);
        }
        if is_device(component) {
            return Err(PortableFault::Device);
        }
    }
    Ok(())
}

/// Whether a character reorders text, breaks lines or shows nothing.
///
/// The joiners U+200C and U+200D stay legal: some scripts cannot be written without them.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}' | '\u{200E}' | '\u{200F}'
        | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
        | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// The name a forgiving file system would take a component for.
///
/// HFS+ skips joiners, NTFS drops trailing dots and spaces and everything from the colon of a
/// stream, both ignore case.
fn seen_name(component: &str) -> String {
    let visible: String = component
        .chars()
        .filter(|c| !matches!(c, '\u{200C}' | '\u{200D}'))
        .collect();
    let before_stream = visible.split(':').next().unwrap_or("");
    fold_key(before_stream.trim_end_matches(['.', ' ']))
}

fn is_git_directory(name: &str) -> bool {
    name == ".git" || has_short_name(name, "git")
}

fn is_reserved(name: &str) -> bool {
    name == ".aura"
        || name.starts_with(TEMPORARY_PREFIX)
        || has_short_name(name, "aura")
        || matches!(name, ".gitmodules" | ".gitattributes")
        || has_short_name(name, "gitmod")
        || has_short_name(name, "gitatt")
        || has_hashed_short_name(name, "gi7eba")
        || has_hashed_short_name(name, "gi7d29")
}

/// Whether `name` is `stem~N`, the first form of a short name on NTFS.
fn has_short_name(name: &str, stem: &str) -> bool {
    name.strip_prefix(stem)
        .and_then(|rest| rest.strip_prefix('~'))
        .is_some_and(is_number)
}

/// Whether `name` is a short name on NTFS after the plain ones ran out: the number grows to the
/// left over a hash of the long name, eight characters in all.
fn has_hashed_short_name(name: &str, stem: &str) -> bool {
    name.len() == 8
        && name
            .split_once('~')
            .is_some_and(|(head, number)| stem.starts_with(head) && is_number(number))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether Windows opens a device under this name, whatever its extension.
fn is_device(component: &str) -> bool {
    let stem = component
        .split('.')
        .next()
        .unwrap_or("")
        .trim_end_matches(' ');
    let stem = stem.to_ascii_lowercase();
    if matches!(
        stem.as_str(),
        "con" | "prn" | "aux" | "nul" | "conin$" | "conout$"
    ) {
        return true;
    }
    let port = stem
        .strip_prefix("com")
        .or_else(|| stem.strip_prefix("lpt"));
    port.is_some_and(|port| {
        let mut digits = port.chars();
        matches!(digits.next(), Some('0'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
    })
}

/// How names of our own short-lived files start when they must lie beside the target.
pub const TEMPORARY_PREFIX: &str = ".aura-tmp-";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn id(text: &str) -> &'static str {
        match RepoPath::try_from(text) {
            Ok(_) => "ok",
            Err(err) => err.id(),
        }
    }

    #[test]
    fn case_079_paths_that_climb_or_are_malformed_are_refused() {
        let long = "a/".repeat(2499) + "aa";
        let deep = vec!["a"; 200].join("/");
        let wide = "a".repeat(256);
        for text in [
            "../x",
            "/etc/passwd",
            "a/../../x",
            "",
            ".",
            "..",
            "a//b",
            "a/",
            "a/.",
            "a/./b",
            "a\0b",
            "a\nb",
            "a\tb",
            "a\u{7f}b",
            "a\u{85}b",
            &long,
            &deep,
            &wide,
        ] {
            assert_eq!(id(text), "PATH", "{text:?}");
        }
    }

    #[test]
    fn case_080_no_spelling_reaches_into_the_git_directory() {
        for text in [
            ".git/hooks/post-checkout",
            ".GIT/config",
            ".git./x",
            ".git /x",
            ".git. . /x",
            "git~1/x",
            "GIT~12",
            ".g\u{200c}it/x",
            ".git\u{200d}",
            ".gi\u{feff}t/x",
            ".git::$INDEX_ALLOCATION/x",
            ".git:stream",
            "a\\..\\.git\\x",
            "a/b/.Git/c",
            ".git",
            ".g\u{131}t/../x",
            "c:/.git/x",
        ] {
            assert_eq!(id(text), "PATH", "{text:?}");
        }
    }

    #[test]
    fn case_081_reserved_names_are_refused_at_every_depth() {
        for text in [
            ".aura/state",
            ".AURA/x",
            ".aura./x",
            ".gitmodules",
            ".gitattributes",
            "a/.gitattributes",
            ".GitModules",
            "gitmod~1",
            "gi7eba~1",
            "gi7eb~12",
            "GI7D29~1",
            "aura~1/x",
            ".gitmodules:x",
            "src/.aura-tmp-x",
        ] {
            assert_eq!(id(text), "PATH_RESERVED", "{text:?}");
        }
    }

    #[test]
    fn case_082_names_some_platform_cannot_hold_are_refused() {
        for text in [
            "CON",
            "nul.rs",
            "COM1",
            "aux.c",
            "a:b",
            "x.",
            "x ",
            "a*",
            "a?",
            "a\"",
            "a<",
            "a>",
            "a|",
            "LPT9.txt",
            "com¹",
            "src/prn .rs",
            "cafe\u{301}.rs",
            "conin$",
        ] {
            assert_eq!(id(text), "PATH_PORTABLE", "{text:?}");
        }
    }

    #[test]
    fn names_that_lie_to_the_reader_are_refused() {
        for text in [
            "a\u{202e}sr.exe",
            "a\u{2066}b",
            "a\u{200b}b",
            "a\u{2028}b",
            "a\u{61c}b",
        ] {
            assert_eq!(id(text), "PATH", "{text:?}");
        }
    }

    #[test]
    fn ordinary_source_names_are_accepted() {
        for text in [
            "src/main.rs",
            ".eslintrc.js",
            "my file.py",
            "日本/ファイル.rs",
            "café.rs",
            ".gitignore",
            ".github/x.yml",
            "console.rs",
            "common.c",
            "com10.c",
            "a~1",
            "git~",
            "git~x",
            "...a",
            "-rf",
            "naïve test.ts",
            "نمی\u{200c}خواهم.py",
            "gi7eba~12",
            "aux_.c",
            "[id].tsx",
            "(group)/page.tsx",
            "@types/x.d.ts",
            "$lib/x.js",
            "a+b&c.rs",
            ".auraignore",
        ] {
            assert_eq!(id(text), "ok", "{text:?}");
        }
        let longest = "a".repeat(255);
        assert_eq!(id(&longest), "ok");
    }

    #[test]
    fn paths_that_differ_in_case_or_composition_share_a_key() {
        let key = |text: &str| RepoPath::try_from(text).unwrap().fold_key();
        assert_eq!(key("Src/Main.rs"), key("src/main.RS"));
        assert_eq!(key("straße.rs"), key("STRASSE.rs"));
        assert_eq!(key("Σας.rs"), key("σασ.rs"));
        assert_eq!(fold_key("cafe\u{301}"), fold_key("CAFÉ"));
        assert_ne!(key("a.rs"), key("b.rs"));
    }

    #[test]
    fn parts_of_a_path_are_found() {
        let path = RepoPath::try_from("a/b/c.test.ts").unwrap();
        assert_eq!(path.file_name(), "c.test.ts");
        assert_eq!(path.parent(), Some("a/b"));
        assert_eq!(path.extension(), Some("ts"));
        assert_eq!(
            path.components().collect::<Vec<_>>(),
            ["a", "b", "c.test.ts"]
        );
        let dotted = RepoPath::try_from(".eslintrc").unwrap();
        assert_eq!((dotted.parent(), dotted.extension()), (None, None));
    }

    #[test]
    fn a_decoded_path_is_checked_like_any_other() {
        let config = bincode::config::standard();
        let decode = |text: &str| {
            let bytes = bincode::serde::encode_to_vec(text, config).unwrap();
            bincode::serde::decode_from_slice::<RepoPath, _>(&bytes, config).map(|(path, _)| path)
        };
        assert_eq!(decode("src/a.rs").unwrap().as_str(), "src/a.rs");
        assert!(decode("../a.rs").is_err());
        assert!(decode(".git/config").is_err());
    }
}
