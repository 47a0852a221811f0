//! Names that one side replaced everywhere, while the other side went on using them.
//!
//! Invariant: what is looked at are words, whatever they mean, so that it holds for every language; a name counts as
//! renamed only where the side has a new word wherever it had the old one, between the same neighbours.

use std::collections::{BTreeMap, BTreeSet};

use super::Three;
use super::piece::Pieces;
use crate::indexed::Indexed;
use crate::similar::{is_word, tokens};
use crate::value::UnitId;

/// What is named and used stands twice at least.
const USES_MIN: usize = 2;

/// A longer unit is not looked into, in bytes: its words are compared with each other.
const UNIT_BYTES_MAX: usize = 64 << 10;

/// A text as words and single signs.
struct Said<'a> {
    tokens: Vec<&'a [u8]>,
    /// Where each word stands that may be a name.
    words: BTreeMap<&'a [u8], Vec<usize>>,
}

/// Whether the result still uses a name, within a unit or the name of a unit within the file, that one side renamed.
///
/// Words are compared, so it may be wrong: it is for merges that git leaves to a person.
pub(super) fn tears_names(files: Three<'_>, result: &Indexed) -> bool {
    let [base, ours, theirs] = files.map(units);
    let found = units(result);
    let is_torn = |(id, was): (&UnitId, &&[u8])| {
        let (Some(one), Some(two), Some(is)) = (ours.get(id), theirs.get(id), found.get(id)) else {
            return false;
        };
        let is_changed = ![one, two].contains(&was);
        is_changed && [one, two].into_iter().any(|side| tears(was, side, is))
    };
    base.iter().any(is_torn) || tears_unit(files, result)
}

/// Whether a side names something anew that the result has under both names.
fn tears(base: &[u8], side: &[u8], result: &[u8]) -> bool {
    if [base, side, result]
        .iter()
        .any(|text| UNIT_BYTES_MAX < text.len())
    {
        return false;
    }
    let [base, side, result] = [base, side, result].map(Said::new);
    let is_new = |word: &&[u8]| !base.has(word) && result.has(word);
    let new: Vec<&[u8]> = side.words.keys().copied().filter(is_new).collect();
    let mut left = base
        .words
        .iter()
        .filter(|(name, places)| USES_MIN <= places.len() && !side.has(name) && result.has(name));
    left.any(|(name, places)| {
        let is_renamed = |word: &&[u8]| {
            side.words[*word].len() == places.len()
                && base.around(name, word).is_subset(&side.around(word, word))
        };
        new.iter().any(is_renamed)
    })
}

/// Whether one side renamed a unit with all its uses in the file, while the other put a use of it to them.
fn tears_unit(files: Three<'_>, result: &Indexed) -> bool {
    let [base, ours, theirs] = files;
    let renamed = [renamed(base, ours), renamed(base, theirs)];
    if renamed.iter().all(Vec::is_empty) {
        return false;
    }
    let said = files.map(|file| Said::new(&file.bytes));
    let result = Said::new(&result.bytes);
    let count = |said: &Said<'_>, name: &str| said.words.get(name.as_bytes()).map_or(0, Vec::len);
    [(1, 2), (2, 1)].into_iter().any(|(renamer, user)| {
        let mut names = renamed[renamer - 1].iter().copied();
        names.any(|name| {
            count(&said[renamer], name) == 0
                && count(&said[0], name) < count(&said[user], name)
                && 0 < count(&result, name)
        })
    })
}

/// The names of units that have another one in a side.
fn renamed<'a>(base: &'a Indexed, side: &Indexed) -> Vec<&'a str> {
    let names = side.ids.iter().zip(&side.outline.units);
    let names: BTreeMap<UnitId, &str> = names.map(|(id, unit)| (*id, &*unit.name)).collect();
    let was = base.ids.iter().zip(&base.outline.units);
    let renamed = was.filter(|(id, unit)| {
        let now = names.get(id);
        now.is_some_and(|now| *now != unit.name) && is_name(unit.name.as_bytes())
    });
    renamed.map(|(_, unit)| &*unit.name).collect()
}

/// The texts of units without members.
fn units(file: &Indexed) -> BTreeMap<UnitId, &[u8]> {
    let units = file.outline.units.iter().zip(&file.ids);
    let leaves = units.filter(|(unit, _)| unit.inner.is_none());
    let texts = leaves.filter_map(|(unit, id)| Some((*id, file.bytes.get(unit.core.clone())?)));
    texts.collect()
}

/// Whether a word may be a name.
fn is_name(word: &[u8]) -> bool {
    let first = word.first();
    first.is_some_and(|first| !first.is_ascii_digit()) && word.iter().all(is_word)
}

impl<'a> Said<'a> {
    fn new(text: &'a [u8]) -> Self {
        let tokens: Vec<&[u8]> = tokens(text).collect();
        let mut words: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for (at, token) in tokens.iter().enumerate() {
            if is_name(token) {
                words.entry(token).or_default().push(at);
            }
        }
        Self { tokens, words }
    }

    fn has(&self, word: &[u8]) -> bool {
        self.words.contains_key(word)
    }

    /// What stands before and behind a word, where it was called `to` there as well.
    fn around<'b>(&self, word: &[u8], to: &'b [u8]) -> BTreeSet<[Option<&'b [u8]>; 2]>
    where
        'a: 'b,
    {
        let named = |at: Option<usize>| {
            let token = self.tokens.get(at?).copied()?;
            Some(if token == word { to } else { token })
        };
        let places = self.words.get(word).into_iter().flatten();
        places
            .map(|at| [named(at.checked_sub(1)), named(Some(at + 1))])
            .collect()
    }
}

/// What is named in a piece of syntax, and how often each name is used.
#[derive(Default)]
pub(super) struct Names<'a> {
    given: BTreeSet<&'a [u8]>,
    used: BTreeMap<&'a [u8], usize>,
}

/// Words in the names of kinds that look a name up in something.
const LOOKUPS: &[&str] = &[
    "access",
    "argument",
    "attribute",
    "call",
    "field",
    "invocation",
    "member",
    "navigation",
    "scoped",
    "selector",
    "suffix",
];
/// Words in the names of kinds that give a name to something.
const GIVERS: &[&str] = &[
    "arrow_function",
    "binding",
    "catch",
    "closure",
    "declarat",
    "enhanced_for",
    "except",
    "for_",
    "foreach",
    "lambda",
    "local",
    "parameter",
    "pattern",
    "range_clause",
    "rescue",
    "var_spec",
    "with_item",
];
/// Kinds that give a name to something where it was not given one before.
const ASSIGNMENTS: &[&str] = &["assignment"];
/// Fields with the name that is given.
const GIVEN: &[&str] = &[
    "alias",
    "declarator",
    "left",
    "name",
    "parameter",
    "parameters",
    "pattern",
];
/// Words in the names of kinds that hold nothing but names that are given.
const NAME_HOLDERS: &[&str] = &["list", "parameter", "pattern", "target", "tuple"];
/// Words in the names of kinds of arguments that say for which parameter they are.
const NAMED_ARGUMENTS: &[&str] = &["keyword_argument", "named_argument"];
/// Words in the names of kinds of leaves that are no names to be looked up.
const NOT_USED: &[&str] = &[
    "comment", "content", "field", "key", "label", "property", "string",
];
/// Fields with a name that is looked up in something else.
const LOOKED_UP: &[&str] = &["attribute", "field", "key", "method", "property"];

impl<'a> Names<'a> {
    /// The names in a piece; those of properties and the like are not looked at.
    pub(super) fn within(pieces: &Pieces<'a>, whole: usize) -> Self {
        let mut names = Self::default();
        let mut open = vec![(whole, false)];
        while let Some((at, is_looked_up)) = open.pop() {
            let (kind, parts) = (pieces.kind_name(at), pieces.children(at));
            if parts.is_empty() {
                names.note_leaf(pieces, at, is_looked_up);
                continue;
            }
            names.given.extend(given_by(pieces, at));
            let first = parts.first().copied();
            let (is_lookup, is_named) = (has(kind, LOOKUPS), has(kind, NAMED_ARGUMENTS));
            let parts = parts.iter().copied();
            open.extend(parts.map(|part| {
                let is_first = Some(part) == first;
                (
                    part,
                    if is_named {
                        is_first
                    } else {
                        is_lookup && !is_first
                    },
                )
            }));
        }
        names
    }

    fn note_leaf(&mut self, pieces: &Pieces<'a>, at: usize, is_looked_up: bool) {
        let (piece, kind) = (pieces.get(at), pieces.kind_name(at));
        let is_no_name = has(kind, NOT_USED) && !kind.starts_with("shorthand");
        let is_use = piece.is_named
            && !piece.is_extra
            && !is_no_name
            && !fills(pieces, at, LOOKED_UP)
            && (!is_looked_up || !fills(pieces, at, &["name"]));
        if is_use {
            *self.used.entry(pieces.text(at)).or_insert(0) += 1;
        }
    }

    pub(super) fn given(&self) -> impl Iterator<Item = &'a [u8]> {
        self.given.iter().copied()
    }

    pub(super) fn gives(&self, name: &[u8]) -> bool {
        self.given.contains(name)
    }

    pub(super) fn uses(&self, name: &[u8]) -> usize {
        self.used.get(name).copied().unwrap_or(0)
    }
}

fn has(kind: &str, words: &[&str]) -> bool {
    words.iter().any(|word| kind.contains(word))
}

fn fills(pieces: &Pieces<'_>, at: usize, fields: &[&str]) -> bool {
    let name = pieces.language.field_name_for_id(pieces.get(at).field);
    name.is_some_and(|name| fields.contains(&name))
}

/// The names that a piece gives: the one in its field for that, or those that it merely lists.
fn given_by<'a>(pieces: &Pieces<'a>, at: usize) -> Vec<&'a [u8]> {
    let kind = pieces.kind_name(at);
    if !has(kind, GIVERS) && !ASSIGNMENTS.contains(&kind) {
        return Vec::new();
    }
    let parts = pieces.children(at);
    // `self.x = 1` and `@x = 1` name nothing that was not there.
    let is_name = |part: &usize| {
        let kind = pieces.kind_name(*part);
        let is_other = has(kind, &["instance", "global", "this", "self", "type"]);
        pieces.get(*part).is_named && pieces.children(*part).is_empty() && !is_other
    };
    let texts = |parts: &[usize]| -> Vec<&'a [u8]> {
        let names = parts.iter().copied().filter(is_name);
        names.map(|part| pieces.text(part)).collect()
    };
    let named = parts
        .iter()
        .copied()
        .find(|part| fills(pieces, *part, GIVEN));
    match named {
        Some(name) if pieces.children(name).is_empty() => texts(&[name]),
        Some(name) if has(pieces.kind_name(name), NAME_HOLDERS) => texts(pieces.children(name)),
        Some(_) => Vec::new(),
        None if has(kind, NAME_HOLDERS) => texts(parts),
        None => Vec::new(),
    }
}
