//! What became of what each side wrote: what was taken out is not there again, what was put between two statements
//! still stands between them, and a name is not used where nothing gives it a meaning any more.
//!
//! Invariant: what is compared are pieces of syntax by what they say, wherever they stand, so that it holds however the
//! pieces were put together. It is for merges that git leaves to a person: it may refuse what was meant.

use std::collections::{BTreeMap, BTreeSet};

use super::piece::Pieces;
use crate::language::UnitKind;
use crate::value::UnitId;

/// Fewer tokens are said again by chance.
const TOKENS_MIN: usize = 3;

/// Base, ours, theirs and the result.
type Four<'a> = [&'a Pieces<'a>; 4];

const BASE: usize = 0;
const RESULT: usize = 3;
/// Each side and the other one.
const SIDES: [(usize, usize); 2] = [(1, 2), (2, 1)];

/// Where things stand in one version.
struct Places {
    /// The piece around each piece.
    around: Vec<Option<usize>>,
    /// How often each thing is said, and where.
    said: BTreeMap<u64, (usize, usize)>,
}

impl Places {
    fn of(pieces: &Pieces<'_>) -> Self {
        let mut places = Self {
            around: vec![None; pieces.len()],
            said: BTreeMap::new(),
        };
        for at in 0..pieces.len() {
            for part in pieces.children(at) {
                places.around[*part] = Some(at);
            }
        }
        // Imports have no order and are put together from parts.
        let mut is_import = vec![false; pieces.len()];
        for at in (0..pieces.len()).rev() {
            let piece = pieces.get(at);
            let is_one = piece.unit.is_some_and(|held| held.kind == UnitKind::Import);
            is_import[at] = is_one || places.around[at].is_some_and(|around| is_import[around]);
            let is_said = piece.is_named && !piece.is_extra && !is_import[at];
            if is_said && TOKENS_MIN <= pieces.tokens(at).len() {
                let said = places.said.entry(piece.hash).or_insert((0, at));
                said.0 += 1;
            }
        }
        places
    }

    fn count(&self, hash: u64) -> usize {
        self.said.get(&hash).map_or(0, |(count, _)| *count)
    }

    /// Where something is said, if it is said once.
    fn only(&self, hash: u64) -> Option<usize> {
        let (count, at) = self.said.get(&hash)?;
        (*count == 1).then_some(*at)
    }
}

/// Whether the result does not do what either side meant with its statements and names.
pub(super) fn has_lost_its_sense(versions: Four<'_>) -> bool {
    let places = versions.map(Places::of);
    returns(&places)
        || SIDES
            .iter()
            .any(|(side, _)| misplaces(versions, &places, *side))
        || SIDES
            .iter()
            .any(|(gone, user)| uses_what_is_gone(versions, *gone, *user))
}

/// Whether something that one side took out is there again though the other one did not write it.
fn returns(places: &[Places; 4]) -> bool {
    let mut base = places[BASE].said.iter();
    base.any(|(hash, (was, _))| {
        let [one, two, is] = [1, 2, RESULT].map(|version| places[version].count(*hash));
        let least = one.min(two);
        least < *was && *was <= one.max(two) && one + two < is + was
    })
}

/// Whether a statement that a side put next to another one stands elsewhere than that one now.
fn misplaces(versions: Four<'_>, places: &[Places; 4], side: usize) -> bool {
    let (pieces, result) = (versions[side], versions[RESULT]);
    let is_new = |part: usize| {
        let hash = pieces.get(part).hash;
        is_statement(pieces, part)
            && places[BASE].count(hash) == 0
            && places[side].only(hash).is_some()
    };
    (0..pieces.len()).any(|whole| {
        let parts = pieces.children(whole);
        let is_list = parts.len() > 1 && pieces.free(whole).is_none() && !pieces.is_listed(whole);
        if !is_list || !parts.iter().any(|part| is_new(*part)) {
            return false;
        }
        // Where each part that can be told from all others stands in the result.
        let known = |part: usize| {
            let hash = pieces.get(part).hash;
            let is_there = is_statement(pieces, part)
                && places[BASE].only(hash).is_some()
                && places[side].only(hash).is_some();
            is_there.then(|| places[RESULT].only(hash)).flatten()
        };
        let place = |at: usize| {
            let around = places[RESULT].around[at]?;
            let nth = result.children(around).iter().position(|part| *part == at);
            Some((around, nth?))
        };
        parts.iter().enumerate().any(|(nth, part)| {
            let Some(now) = Some(*part)
                .filter(|part| is_new(*part))
                .and_then(|part| places[RESULT].only(pieces.get(part).hash))
                .and_then(place)
            else {
                return false;
            };
            let before = parts[..nth].iter().rev().find_map(|part| known(*part));
            let behind = parts[nth + 1..].iter().find_map(|part| known(*part));
            let is_before = |at: usize| place(at).is_some_and(|at| at.0 == now.0 && at.1 < now.1);
            let is_behind = |at: usize| place(at).is_some_and(|at| at.0 == now.0 && now.1 < at.1);
            before.is_some_and(|at| !is_before(at)) || behind.is_some_and(|at| !is_behind(at))
        })
    })
}

/// Whether a part is said in order with those around it.
fn is_statement(pieces: &Pieces<'_>, at: usize) -> bool {
    let piece = pieces.get(at);
    let is_apart = |kind| !matches!(kind, UnitKind::Constant | UnitKind::Statement);
    piece.is_named
        && !piece.is_extra
        && !piece.unit.is_some_and(|held| is_apart(held.kind))
        && TOKENS_MIN <= pieces.tokens(at).len()
}

/// What is named in a unit, and how often each name is used.
#[derive(Default)]
struct Names<'a> {
    given: BTreeSet<&'a [u8]>,
    used: BTreeMap<&'a [u8], usize>,
}

/// Whether the result uses a name that one side gave to nothing any more and the other one used once more.
fn uses_what_is_gone(versions: Four<'_>, gone: usize, user: usize) -> bool {
    let units = versions.map(units);
    units[BASE].iter().any(|(id, base)| {
        let there = [gone, user, RESULT].map(|version| units[version].get(id).copied());
        let [Some(gone_at), Some(user_at), Some(result_at)] = there else {
            return false;
        };
        let hash = |version: usize, at: usize| versions[version].get(at).hash;
        let was = hash(BASE, *base);
        if was == hash(gone, gone_at) || was == hash(user, user_at) {
            return false;
        }
        let names = |version: usize, at: usize| versions[version].names_within(at);
        let (was, without) = (names(BASE, *base), names(gone, gone_at));
        let (more, now) = (names(user, user_at), names(RESULT, result_at));
        let used = |names: &Names<'_>, name: &[u8]| names.used.get(name).copied().unwrap_or(0);
        was.given.iter().any(|name| {
            !without.given.contains(name)
                && used(&without, name) == 0
                && !now.given.contains(name)
                && used(&was, name) < used(&more, name)
                && 0 < used(&now, name)
        })
    })
}

/// Where units without members stand.
fn units(pieces: &Pieces<'_>) -> BTreeMap<UnitId, usize> {
    let held = (0..pieces.len()).filter_map(|at| Some((pieces.get(at).unit?, at)));
    let leaves =
        held.filter(|(held, _)| matches!(held.kind, UnitKind::Function | UnitKind::Method));
    leaves.map(|(held, at)| (held.id, at)).collect()
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
    "selector",
    "scoped",
    "suffix",
];
/// Words in the names of kinds that give a name to something.
const GIVERS: &[&str] = &[
    "assign",
    "binding",
    "declarat",
    "let",
    "local",
    "parameter",
    "pattern",
    "variable",
    "var_spec",
];
/// Words in the names of kinds of leaves that are no names to be looked up.
const NOT_USED: &[&str] = &[
    "comment", "content", "field", "key", "label", "property", "string",
];
/// Fields with a name that is looked up in something else.
const LOOKED_UP: &[&str] = &["attribute", "field", "key", "method", "property"];

impl<'a> Pieces<'a> {
    /// The names in a piece; those of properties and the like are not looked at.
    fn names_within(&self, whole: usize) -> Names<'a> {
        let mut names = Names::default();
        let mut open = vec![(whole, "")];
        let has = |kind: &str, words: &[&str]| words.iter().any(|word| kind.contains(word));
        while let Some((at, around)) = open.pop() {
            let (kind, parts) = (self.kind_name(at), self.children(at));
            if !parts.is_empty() {
                if has(kind, GIVERS) {
                    names.given.extend(self.given_by(at));
                }
                let first = parts.first().copied();
                let is_lookup = has(kind, LOOKUPS);
                let of = |part: usize| {
                    if is_lookup && Some(part) != first {
                        "."
                    } else {
                        kind
                    }
                };
                open.extend(parts.iter().map(|part| (*part, of(*part))));
                continue;
            }
            let piece = self.get(at);
            let is_use = piece.is_named
                && !piece.is_extra
                && !has(kind, NOT_USED)
                && !self.fills(at, LOOKED_UP)
                && (around != "." || !self.fills(at, &["name"]));
            if is_use {
                *names.used.entry(self.text(at)).or_insert(0) += 1;
            }
        }
        names
    }

    fn fills(&self, at: usize, fields: &[&str]) -> bool {
        let field = self.get(at).field;
        let name = self.language.field_name_for_id(field);
        name.is_some_and(|name| fields.contains(&name))
    }

    /// The names that a piece gives: those in its name, or the mere names that it lists.
    fn given_by(&self, at: usize) -> Vec<&'a [u8]> {
        let fields = ["name", "left", "declarator", "pattern"];
        let parts = self.children(at);
        let named = parts
            .iter()
            .copied()
            .find(|part| self.fills(*part, &fields));
        let is_name = |part: &usize| self.get(*part).is_named && self.children(*part).is_empty();
        match named {
            Some(name) if is_name(&name) => vec![self.text(name)],
            Some(name) => {
                let parts = self.children(name).iter().copied();
                parts.filter(is_name).map(|part| self.text(part)).collect()
            }
            None => {
                let parts = parts.iter().copied().filter(is_name);
                parts.map(|part| self.text(part)).collect()
            }
        }
    }
}
