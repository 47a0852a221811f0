//! Names that one side replaced everywhere, while the other side went on using them.
//!
//! Invariant: what is looked at are words, whatever they mean, so that it holds for every language; a name counts as
//! renamed only where the side has a new word as often as it had the old one.

use std::collections::BTreeMap;

use super::Three;
use crate::indexed::Indexed;
use crate::value::UnitId;

/// What is named and used stands twice at least.
const USES_MIN: usize = 2;

type Words<'a> = BTreeMap<&'a [u8], usize>;

/// Whether the result still uses a name, within a unit or the name of a unit within the file, that one side renamed.
pub(super) fn tears_names(files: Three<'_>, result: &Indexed) -> bool {
    let [base, ours, theirs] = files.map(units);
    let found = units(result);
    let is_torn = |(id, was): (&UnitId, &&[u8])| {
        let (Some(one), Some(two), Some(is)) = (ours.get(id), theirs.get(id), found.get(id)) else {
            return false;
        };
        if [one, two].contains(&was) {
            return false;
        }
        let [was, is] = [was, is].map(|text| words(text));
        [one, two]
            .into_iter()
            .any(|side| tears(&was, &words(side), &is))
    };
    base.iter().any(is_torn) || tears_unit(files, result)
}

/// Whether a side names something anew that the result has under both names.
fn tears(base: &Words<'_>, side: &Words<'_>, result: &Words<'_>) -> bool {
    base.iter().any(|(name, count)| {
        let is_left = USES_MIN <= *count && !side.contains_key(name) && result.contains_key(name);
        let is_new = |(word, uses): (&&[u8], &usize)| {
            uses == count && !base.contains_key(*word) && result.contains_key(*word)
        };
        is_left && side.iter().any(is_new)
    })
}

/// Whether one side renamed a unit with all its uses in the file, and the other put a use of the old name to it.
fn tears_unit([base, ours, theirs]: Three<'_>, result: &Indexed) -> bool {
    let names = |file: &Indexed| -> BTreeMap<UnitId, String> {
        let units = file.outline.units.iter().zip(&file.ids);
        units.map(|(unit, id)| (*id, unit.name.clone())).collect()
    };
    let before = names(base);
    [(ours, theirs), (theirs, ours)]
        .into_iter()
        .any(|(renamer, user)| {
            let after = names(renamer);
            let renamed: Vec<&String> = before
                .iter()
                .filter(|(id, name)| after.get(id).is_some_and(|now| now != *name) && is_word(name))
                .map(|(_, name)| name)
                .collect();
            if renamed.is_empty() {
                return false;
            }
            let [was, of_renamer, of_user, is] =
                [base, renamer, user, result].map(|file| words(&file.bytes));
            let count =
                |words: &Words<'_>, name: &str| words.get(name.as_bytes()).copied().unwrap_or(0);
            renamed.into_iter().any(|name| {
                count(&of_renamer, name) == 0
                    && count(&was, name) < count(&of_user, name)
                    && 0 < count(&is, name)
            })
        })
}

/// The texts of units without members.
fn units(file: &Indexed) -> BTreeMap<UnitId, &[u8]> {
    let units = file.outline.units.iter().zip(&file.ids);
    let leaves = units.filter(|(unit, _)| unit.inner.is_none());
    let texts = leaves.filter_map(|(unit, id)| Some((*id, file.bytes.get(unit.core.clone())?)));
    texts.collect()
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn is_word(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|first| !first.is_ascii_digit()) && name.bytes().all(is_letter)
}

/// The words of a text that may be names, and how often each stands there.
fn words(text: &[u8]) -> Words<'_> {
    let mut words = BTreeMap::new();
    let all = text.split(|byte| !is_letter(*byte));
    for word in all.filter(|word| word.first().is_some_and(|first| !first.is_ascii_digit())) {
        *words.entry(word).or_default() += 1;
    }
    words
}
