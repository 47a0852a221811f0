//! Which parts of a piece in one version are which parts of it in another.
//!
//! Invariants:
//! - units are paired by identity, wherever they stand; everything else keeps its order;
//! - the work is bounded: runs that differ are compared part by part only up to [`CELLS_MAX`] pairs.

use std::collections::{BTreeMap, BTreeSet};

use imara_diff::{Algorithm, Diff, InternedInput};

use super::piece::{Pieces, token};
use crate::similar;
use crate::value::UnitId;

/// Most pairs of parts of one run that are compared.
const CELLS_MAX: usize = 40_000;
/// Most tokens of a part that are compared.
const TOKENS_MAX: usize = 400;
/// Least likeness of two parts of one kind to be the same part, in percent.
const ALIKE_PERCENT: usize = 50;

/// The parts of one piece in two versions.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    /// For each part of the first version the part of the second.
    pub(crate) there: Vec<Option<usize>>,
    /// For each part of the second version the part of the first.
    pub(crate) back: Vec<Option<usize>>,
    /// Parts of the first version that stand elsewhere in the second: units only.
    pub(crate) is_moved: Vec<bool>,
}

impl Pairs {
    fn pair(&mut self, one: usize, other: usize) {
        self.there[one] = Some(other);
        self.back[other] = Some(one);
    }
}

/// The parts of a piece.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) pieces: &'a Pieces<'a>,
    pub(crate) parts: &'a [usize],
}

impl Parts<'_> {
    fn hash(&self, at: usize) -> u64 {
        self.pieces.get(self.parts[at]).hash
    }

    fn unit(&self, at: usize) -> Option<UnitId> {
        self.pieces.get(self.parts[at]).unit.map(|held| held.id)
    }
}

/// Pairs the parts of a piece in two versions.
pub(crate) fn align(one: Parts<'_>, other: Parts<'_>) -> Pairs {
    let mut pairs = Pairs {
        there: vec![None; one.parts.len()],
        back: vec![None; other.parts.len()],
        is_moved: vec![false; one.parts.len()],
    };
    by_identity(one, other, &mut pairs);
    let repeated = repeated(one).union(&repeated(other)).copied().collect();
    // Between units that stand in order in both, everything else is compared in order.
    let mut from = (0, 0);
    let anchors: Vec<(usize, usize)> = (0..one.parts.len())
        .filter(|at| !pairs.is_moved[*at])
        .filter_map(|at| Some((at, pairs.there[at]?)))
        .collect();
    let end = (one.parts.len(), other.parts.len());
    for to in anchors.into_iter().chain([end]) {
        between((one, other, &repeated), from, to, &mut pairs);
        from = (to.0 + 1, to.1 + 1);
    }
    pairs
}

/// Fields that more than one part fills.
fn repeated(parts: Parts<'_>) -> BTreeSet<u16> {
    let mut seen = BTreeSet::new();
    let fields = parts.parts.iter().map(|part| parts.pieces.get(*part).field);
    fields.filter(|field| !seen.insert(*field)).collect()
}

fn by_identity(one: Parts<'_>, other: Parts<'_>, pairs: &mut Pairs) {
    let ids = (0..other.parts.len()).filter_map(|at| Some((other.unit(at)?, at)));
    let ids: BTreeMap<UnitId, usize> = ids.collect();
    let mut found = Vec::new();
    for at in 0..one.parts.len() {
        if let Some(there) = one.unit(at).and_then(|id| ids.get(&id).copied()) {
            pairs.pair(at, there);
            found.push((at, there));
        }
    }
    let places: Vec<usize> = found.iter().map(|(_, there)| *there).collect();
    let in_order = longest_rising(&places);
    for (nth, (at, _)) in found.into_iter().enumerate() {
        pairs.is_moved[at] = !in_order[nth];
    }
}

/// Which values belong to one longest rising sequence.
fn longest_rising(values: &[usize]) -> Vec<bool> {
    let mut tails: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; values.len()];
    for (at, value) in values.iter().enumerate() {
        let place = tails.partition_point(|tail| values[*tail] < *value);
        before[at] = place.checked_sub(1).map(|place| tails[place]);
        if place == tails.len() {
            tails.push(at);
        } else {
            tails[place] = at;
        }
    }
    let mut in_order = vec![false; values.len()];
    let mut at = tails.last().copied();
    while let Some(index) = at {
        in_order[index] = true;
        at = before[index];
    }
    in_order
}

type At = (usize, usize);

/// Both versions, and the fields that several parts fill.
type Both<'a> = (Parts<'a>, Parts<'a>, &'a BTreeSet<u16>);

fn between(both: Both<'_>, from: At, to: At, pairs: &mut Pairs) {
    let (one, other, _) = both;
    let ours: Vec<usize> = (from.0..to.0)
        .filter(|at| pairs.there[*at].is_none())
        .collect();
    let theirs: Vec<usize> = (from.1..to.1)
        .filter(|at| pairs.back[*at].is_none())
        .collect();
    if ours.is_empty() || theirs.is_empty() {
        return;
    }
    let mut input = InternedInput {
        before: Vec::new(),
        after: Vec::new(),
        interner: imara_diff::Interner::new(ours.len() + theirs.len()),
    };
    for at in &ours {
        let token = input.interner.intern(one.hash(*at));
        input.before.push(token);
    }
    for at in &theirs {
        let token = input.interner.intern(other.hash(*at));
        input.after.push(token);
    }
    let diff = Diff::compute(Algorithm::Myers, &input);
    let (mut left, mut right) = (0, 0);
    for hunk in diff.hunks() {
        let [a, b] = [&hunk.before, &hunk.after].map(|r| r.start as usize..r.end as usize);
        while left < a.start {
            pairs.pair(ours[left], theirs[right]);
            (left, right) = (left + 1, right + 1);
        }
        run(both, &ours[a.clone()], &theirs[b.clone()], pairs);
        (left, right) = (a.end, b.end);
    }
    while left < ours.len() && right < theirs.len() {
        pairs.pair(ours[left], theirs[right]);
        (left, right) = (left + 1, right + 1);
    }
}

/// Pairs parts that are alike of two runs without an equal part, in order, so that their likeness is greatest.
fn run(both: Both<'_>, ours: &[usize], theirs: &[usize], pairs: &mut Pairs) {
    if ours.is_empty() || theirs.is_empty() || CELLS_MAX < ours.len() * theirs.len() {
        return;
    }
    let width = theirs.len() + 1;
    let mut best = vec![0_usize; (ours.len() + 1) * width];
    let mut worth = vec![0_usize; ours.len() * theirs.len()];
    let is_alone = |i: usize, j: usize| i == j && ours.len() == theirs.len();
    for (i, a) in ours.iter().enumerate().rev() {
        for (j, b) in theirs.iter().enumerate().rev() {
            let value = likeness(both, (*a, *b), is_alone(i, j));
            worth[i * theirs.len() + j] = value;
            let with = match value {
                0 => 0,
                value => value + best[(i + 1) * width + j + 1],
            };
            let without = best[(i + 1) * width + j].max(best[i * width + j + 1]);
            best[i * width + j] = with.max(without);
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < ours.len() && j < theirs.len() {
        let value = worth[i * theirs.len() + j];
        if value > 0 && best[i * width + j] == value + best[(i + 1) * width + j + 1] {
            pairs.pair(ours[i], theirs[j]);
            (i, j) = (i + 1, j + 1);
        } else if best[i * width + j] == best[(i + 1) * width + j] {
            i += 1;
        } else {
            j += 1;
        }
    }
}

/// Whether something became a part of something of its own kind, as `a + b` in `a + b + c`: it is not the whole then.
fn is_wrapped((one, inner): (Parts<'_>, usize), (other, outer): (Parts<'_>, usize)) -> bool {
    let tokens = one.pieces.tokens(inner);
    let kind = one.pieces.get(inner).kind;
    let is_inner =
        |at: &usize| other.pieces.get(*at).kind == kind && other.pieces.tokens(*at) == tokens;
    let parts = other.pieces.children(outer);
    1 < tokens.len()
        && other.pieces.get(outer).kind == kind
        && parts
            .iter()
            .any(|at| is_inner(at) || other.pieces.children(*at).iter().any(is_inner))
}

/// How much two parts are one part: zero for not at all.
fn likeness((one, other, repeated): Both<'_>, (a, b): At, is_alone: bool) -> usize {
    let (a, b) = (one.parts[a], other.parts[b]);
    let (left, right) = (one.pieces.get(a), other.pieces.get(b));
    if left.unit.is_some() || right.unit.is_some() {
        return 0;
    }
    if is_wrapped((one, a), (other, b)) || is_wrapped((other, b), (one, a)) {
        return 0;
    }
    if left.field != 0 && left.field == right.field && !repeated.contains(&left.field) {
        // What fills the same place is what was there, however it changed.
        return 100 + usize::from(left.kind == right.kind) * 50;
    }
    if left.kind != right.kind {
        return 0;
    }
    if !left.is_named {
        return 0;
    }
    let (ours, theirs) = (one.pieces.tokens(a), other.pieces.tokens(b));
    let is_leaf = one.pieces.children(a).is_empty() || other.pieces.children(b).is_empty();
    let is_token = ours.len() == 1 && theirs.len() == 1;
    if is_leaf && left.is_extra && right.is_extra {
        let words = [one.pieces.text(a), other.pieces.text(b)].map(words);
        let percent = share(&words[0], &words[1]);
        return if ALIKE_PERCENT <= percent { percent } else { 0 };
    }
    if is_leaf || is_token {
        // One name for another, where nothing else could be meant.
        return usize::from(is_alone) * 50;
    }
    let percent = share(ours, theirs);
    let is_same_start = ours.first() == theirs.first() && ours.get(1) == theirs.get(1);
    let least = if is_alone {
        ALIKE_PERCENT / 2
    } else {
        ALIKE_PERCENT
    };
    match percent {
        percent if least <= percent => percent + usize::from(is_same_start) * 10,
        _ => 0,
    }
}

/// Whether two texts have most of their words in common.
pub(crate) fn are_alike(one: &[u8], other: &[u8]) -> bool {
    ALIKE_PERCENT < share(&words(one), &words(other))
}

/// Whether two runs of tokens have most of them in common.
pub(crate) fn have_most_in_common(one: &[u64], other: &[u64]) -> bool {
    ALIKE_PERCENT <= share(one, other)
}

/// The words of a comment.
fn words(text: &[u8]) -> Vec<u64> {
    let words = text.split(|byte| !byte.is_ascii_alphanumeric() && byte.is_ascii());
    let words = words.filter(|word| !word.is_empty());
    words.map(|word| token(0, word)).collect()
}

/// Twice the common tokens over all tokens, in percent.
fn share(ours: &[u64], theirs: &[u64]) -> usize {
    let sorted = |tokens: &[u64]| {
        let mut tokens = tokens[..tokens.len().min(TOKENS_MAX)].to_vec();
        tokens.sort_unstable();
        tokens
    };
    similar::likeness(&sorted(ours), &sorted(theirs))
}
