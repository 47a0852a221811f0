//! How alike two units are, by their tokens.
//!
//! Invariants:
//! - a unit's own name counts as the same token on both sides;
//! - work is bounded: [`UNITS_MAX`] units a side, [`CANDIDATES_MAX`] comparisons a unit,
//!   [`TOKENS_MAX`] tokens a comparison, so at most 4096 × 12 × 4096 steps a file; containers within containers are
//!   read up to [`READ_FACTOR`] times the file, the outer ones first.

use std::collections::BTreeMap;

use crate::identity::Version;

/// Most unmatched units of a side that are searched.
pub(crate) const UNITS_MAX: usize = 4096;
/// Most candidates compared for one unit.
const CANDIDATES_MAX: usize = 12;
/// Most tokens of a unit that are looked at.
const TOKENS_MAX: usize = 4096;
/// How often all bytes of a file are read, at most, to find what its units say.
const READ_FACTOR: usize = 8;
/// Bytes of small files that are read whatever their size.
const READ_BYTES_MIN: usize = 64 << 10;
/// Tokens of all units of a side that are compared.
const TOKENS_ALL_MAX: usize = 1 << 20;
/// Fewer tokens say too little to call two units alike.
const TOKENS_MIN: usize = 8;
/// Rare tokens by which candidates are found.
const RARE: usize = 8;
/// A token in more units than this finds nobody.
const POSTINGS_MAX: usize = 64;
/// Least share of common tokens, in percent.
const ALIKE_PERCENT: usize = 60;
/// The same of words alone: signs are much the same in all code of one shape.
const ALIKE_WORDS_PERCENT: usize = 40;
/// Least lead over the second best, in percent.
const LEAD_PERCENT: usize = 15;

/// Splits bytes into words and single signs; white space is dropped.
pub(crate) fn tokens(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let blank = rest
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        rest = &rest[blank..];
        let length = rest.iter().take_while(|byte| is_word(byte)).count();
        let length = length.max(1).min(rest.len());
        let (token, after) = rest.split_at(length);
        rest = after;
        (!token.is_empty()).then_some(token)
    })
}

pub(crate) fn is_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii()
}

fn hash<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    // FNV-1a: stable everywhere, and collisions only cost precision of a guess.
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Each token, and whether it is a word.
fn masked(version: Version<'_>, index: usize) -> impl Iterator<Item = (u64, bool)> + '_ {
    let unit = version.unit(index);
    let name = unit.name_span.clone().map(|span| &version.bytes[span]);
    let all = tokens(&version.bytes[unit.core.clone()]);
    all.map(move |token| {
        let value = if Some(token) == name { 0 } else { hash(token) };
        (value, token.first().is_some_and(is_word))
    })
}

/// For units in the order of a file a hash of all tokens of each, in order, with the own name masked.
pub(crate) fn fingerprints(version: Version<'_>, free: &[usize]) -> Vec<(usize, u64)> {
    let most = version.bytes.len().saturating_mul(READ_FACTOR);
    let mut left = most.max(READ_BYTES_MIN);
    let mut prints = Vec::with_capacity(free.len());
    for index in free {
        let Some(rest) = left.checked_sub(version.unit(*index).core.len()) else {
            // What is smaller may still have room.
            continue;
        };
        left = rest;
        prints.push((*index, fingerprint(version, *index)));
    }
    prints
}

fn fingerprint(version: Version<'_>, index: usize) -> u64 {
    masked(version, index).fold(0, |print, (token, _)| {
        hash(print.to_le_bytes().iter().chain(&token.to_le_bytes()))
    })
}

struct Bag {
    index: usize,
    /// Sorted, with repeats.
    tokens: Vec<u64>,
    /// Those of them that are words.
    words: Vec<u64>,
}

fn bags(version: Version<'_>, free: &[usize]) -> Vec<Bag> {
    let mut left = TOKENS_ALL_MAX;
    let bags = free.iter().map(|index| {
        let tokens = masked(version, *index).take(TOKENS_MAX.min(left));
        let mut all: Vec<(u64, bool)> = tokens.collect();
        left -= all.len();
        all.sort_unstable();
        let words = all.iter().filter(|(_, is_word)| *is_word);
        Bag {
            index: *index,
            words: words.map(|(token, _)| *token).collect(),
            tokens: all.into_iter().map(|(token, _)| token).collect(),
        }
    });
    bags.filter(|bag| bag.tokens.len() >= TOKENS_MIN).collect()
}

/// Likeness in percent of two sorted lists: twice the common tokens over all tokens.
pub(crate) fn likeness(one: &[u64], other: &[u64]) -> usize {
    let (mut at, mut with, mut common) = (0, 0, 0_usize);
    while let (Some(left), Some(right)) = (one.get(at), other.get(with)) {
        match left.cmp(right) {
            std::cmp::Ordering::Less => at += 1,
            std::cmp::Ordering::Greater => with += 1,
            std::cmp::Ordering::Equal => {
                common += 1;
                at += 1;
                with += 1;
            }
        }
    }
    200 * common / (one.len() + other.len()).max(1)
}

type Free<'a> = (Version<'a>, Vec<usize>);

/// Pairs of units alike enough to be one unit, renamed or moved and edited.
pub(crate) fn pairs(before: Free<'_>, after: Free<'_>) -> Vec<(usize, usize)> {
    let sizes = [before.1.len(), after.1.len()];
    if sizes.contains(&0) || sizes.iter().any(|size| *size > UNITS_MAX) {
        return Vec::new();
    }
    let ours = bags(before.0, &before.1);
    let theirs = bags(after.0, &after.1);
    let postings = postings(&ours);
    let mut scores: Vec<Vec<(usize, usize)>> = Vec::with_capacity(theirs.len());
    for bag in &theirs {
        let kind = after.0.unit(bag.index).kind.sort();
        let same_sort = |at: &usize| before.0.unit(ours[*at].index).kind.sort() == kind;
        let says_the_same =
            |at: &usize| ALIKE_WORDS_PERCENT <= likeness(&ours[*at].words, &bag.words);
        let near = candidates(bag, &postings).into_iter().filter(same_sort);
        let near = near.filter(says_the_same);
        let mut scored: Vec<(usize, usize)> = near
            .map(|at| (likeness(&ours[at].tokens, &bag.tokens), at))
            .collect();
        scored.sort_unstable_by(|one, other| other.cmp(one));
        scores.push(scored);
    }
    best_for_both(&scores, ours.len())
        .into_iter()
        .map(|(one, other)| (ours[one].index, theirs[other].index))
        .collect()
}

fn postings(bags: &[Bag]) -> BTreeMap<u64, Vec<usize>> {
    let mut postings: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, bag) in bags.iter().enumerate() {
        let mut tokens = bag.tokens.clone();
        tokens.dedup();
        for token in tokens {
            postings.entry(token).or_default().push(at);
        }
    }
    postings
}

fn candidates(bag: &Bag, postings: &BTreeMap<u64, Vec<usize>>) -> Vec<usize> {
    let mut tokens = bag.tokens.clone();
    tokens.dedup();
    let mut rare: Vec<(usize, u64)> = tokens
        .into_iter()
        .filter_map(|token| postings.get(&token).map(|found| (found.len(), token)))
        .filter(|(count, _)| *count <= POSTINGS_MAX)
        .collect();
    rare.sort_unstable();
    let mut votes: BTreeMap<usize, usize> = BTreeMap::new();
    for (_, token) in rare.iter().take(RARE) {
        for at in postings.get(token).into_iter().flatten() {
            *votes.entry(*at).or_insert(0) += 1;
        }
    }
    let mut ranked: Vec<(usize, usize)> =
        votes.into_iter().map(|(at, votes)| (votes, at)).collect();
    ranked.sort_unstable_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    ranked
        .into_iter()
        .take(CANDIDATES_MAX)
        .map(|(_, at)| at)
        .collect()
}

/// Keeps pairs that are the clear best seen from either side.
fn best_for_both(scores: &[Vec<(usize, usize)>], ours: usize) -> Vec<(usize, usize)> {
    let mut of_ours: Vec<Vec<(usize, usize)>> = vec![Vec::new(); ours];
    for (theirs, scored) in scores.iter().enumerate() {
        for (score, one) in scored {
            of_ours[*one].push((*score, theirs));
        }
    }
    let clear = |scored: &[(usize, usize)]| {
        let (score, best) = *scored.first()?;
        let second = scored.get(1).map_or(0, |(score, _)| *score);
        (score >= ALIKE_PERCENT && score >= second + LEAD_PERCENT).then_some(best)
    };
    for scored in &mut of_ours {
        scored.sort_unstable_by(|one, other| other.cmp(one));
    }
    let mutual = scores.iter().enumerate().filter_map(|(theirs, scored)| {
        let one = clear(scored)?;
        (clear(&of_ours[one]) == Some(theirs)).then_some((one, theirs))
    });
    mutual.collect()
}
