//! What two changes must not be put together, though each is in a part of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::align::have_most_in_common;
use super::piece::{Divided, Piece};
use super::weave::{BASE, Clash, List, SIDES, Side, Three, Weave};
use crate::language::UnitKind;

/// Fields with what a choice depends on.
const CONDITIONS: &[&str] = &["condition"];
/// Fields with where names are looked up.
const SOURCES: &[&str] = &["module_name", "path", "source"];
/// Fields with what is given a value.
const TARGETS: &[&str] = &["left"];
/// Most pairs of parts of one stretch that are compared to see what was rewritten.
const CELLS_MAX: usize = 1_000;
/// Fewer tokens are in many statements by chance.
const STATEMENT_TOKENS: usize = 6;
/// So many tokens are not written twice by chance.
const COPY_TOKENS: usize = 24;

/// What is to be in a list once.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Name(&'a [u8]),
    Said(&'a [u64]),
}

/// What a side has in place of parts of base that follow each other.
#[derive(Default)]
struct Stretch {
    /// New pieces.
    new: Vec<usize>,
    /// Whether there is nothing else in it.
    is_empty: bool,
}

/// What a side has in place of what it took out.
#[derive(Default)]
struct Replaced {
    stretches: Vec<Stretch>,
    /// The stretch that each part of base was in, if it is gone.
    of: Vec<Option<usize>>,
}

impl Replaced {
    fn by(list: &List<'_>, side: Side) -> Self {
        let mut replaced = Self::default();
        let there = &list.pairs[side].there;
        let mut from = 0;
        for stretch in there.chunk_by(|one, other| one.is_none() == other.is_none()) {
            let to = from + stretch.len();
            let is_gone = stretch.iter().all(Option::is_none);
            let nth = is_gone.then_some(replaced.stretches.len());
            replaced.of.extend(stretch.iter().map(|_| nth));
            if is_gone {
                let run = list.runs[side][from].iter();
                let new = run.filter(|at| list.pairs[side].back[**at].is_none());
                replaced.stretches.push(Stretch {
                    new: new.map(|at| list.parts[side][*at]).collect(),
                    is_empty: list.runs[side][from..=to].iter().all(Vec::is_empty),
                });
            }
            from = to;
        }
        replaced
    }

    fn stretch(&self, nth: usize) -> Option<&Stretch> {
        self.stretches.get(self.of[nth]?)
    }
}

impl Weave<'_> {
    /// A branch that one side put to a choice, or took from it, was meant for what the choice depended on before; a
    /// name that one side put to an import for where names came from before; and the names that both gave to values
    /// for what had been given.
    pub(super) fn refuse_at_odds(&self, three: Three) -> Result<(), Clash> {
        let is_torn = |fields, is_other: fn(&Divided, &Divided) -> bool| {
            let divided = [0, 1, 2].map(|side| self.versions[side].divided(three[side], fields));
            let [Some(base), Some(ours), Some(theirs)] = divided else {
                return false;
            };
            let is_of = |one: &Divided, other| one.named != base.named && is_other(&base, other);
            ours.named != theirs.named && (is_of(&ours, &theirs) || is_of(&theirs, &ours))
        };
        let has_other_branches =
            |base: &Divided, side: &Divided| base.others_count != side.others_count;
        let has_other_names = |base: &Divided, side: &Divided| base.others != side.others;
        // A condition that was turned round and branches that changed places mend one thing twice.
        let has_swapped = |base: &Divided, side: &Divided| {
            let sorted = |tokens: &[u64]| {
                let mut tokens = tokens.to_vec();
                tokens.sort_unstable();
                tokens
            };
            base.others != side.others && sorted(&base.others) == sorted(&side.others)
        };
        let is_torn = is_torn(CONDITIONS, has_other_branches)
            || is_torn(CONDITIONS, has_swapped)
            || is_torn(SOURCES, has_other_names)
            || self.is_operation_torn(three)
            || self.are_targets_torn(three);
        if is_torn { Err(Clash) } else { Ok(()) }
    }

    /// Whether one side changed the sign of an operation and the other one what it is applied to: two ways to mend one
    /// thing undo each other.
    fn is_operation_torn(&self, three: Three) -> bool {
        if !self.versions[BASE].is_operation(three[BASE]) {
            return false;
        }
        let split = [0, 1, 2].map(|side| self.versions[side].operation(three[side]));
        let [base, ours, theirs] = split;
        let has_other_sign = |one: &(Vec<&[u8]>, Vec<u64>), two: &(Vec<&[u8]>, Vec<u64>)| {
            one.0 != base.0 && one.0 != two.0 && two.1 != base.1
        };
        has_other_sign(&ours, &theirs) || has_other_sign(&theirs, &ours)
    }

    /// Whether both sides changed what is given a value, and either what is given.
    fn are_targets_torn(&self, three: Three) -> bool {
        let divided = [0, 1, 2].map(|side| self.versions[side].divided(three[side], TARGETS));
        let [Some(base), Some(ours), Some(theirs)] = divided else {
            return false;
        };
        let are_other = |one: &Divided, two: &Divided| one.named != two.named;
        let is_given_other = |side: &Divided| side.others != base.others;
        are_other(&ours, &base)
            && are_other(&theirs, &base)
            && are_other(&ours, &theirs)
            && (is_given_other(&ours) || is_given_other(&theirs))
    }

    /// What is there in neither side was rewritten, not taken out, by whoever has something alike in its place: in
    /// another kind or in something else, while the other took it out, or in whatever way, while the other did so, too.
    pub(super) fn refuse_rewritten(&self, list: &List<'_>) -> Result<(), Clash> {
        if list.free.is_some() {
            return Ok(());
        }
        let replaced = SIDES.map(|side| Replaced::by(list, side));
        let gone = (0..list.parts[BASE].len()).filter_map(|nth| {
            let [ours, theirs] = replaced.each_ref().map(|side| side.stretch(nth));
            Some((list.parts[BASE][nth], [ours?, theirs?]))
        });
        let gone: Vec<(usize, [&Stretch; 2])> = gone.collect();
        let cells = gone
            .iter()
            .flat_map(|(_, sides)| sides.map(|side| side.new.len()));
        if CELLS_MAX < cells.sum() {
            return Ok(());
        }
        let is_torn = |(old, sides): &(usize, [&Stretch; 2])| {
            let [ours, theirs] = SIDES.map(|side| {
                let new = sides[side - 1].new.iter().copied();
                let alike = new.filter(|new| self.is_rewritten(*old, (side, *new)));
                alike.collect::<Vec<usize>>()
            });
            let is_other_kind =
                |side: Side, new: &usize| self.part(side, *new).kind != self.part(BASE, *old).kind;
            let is_same = |one: &usize| theirs.iter().any(|two| self.is_same((1, *one), (2, *two)));
            sides[1].is_empty && ours.iter().any(|new| is_other_kind(1, new))
                || sides[0].is_empty && theirs.iter().any(|new| is_other_kind(2, new))
                || !ours.is_empty() && !theirs.is_empty() && !ours.iter().any(is_same)
        };
        if gone.iter().any(is_torn) {
            Err(Clash)
        } else {
            Ok(())
        }
    }

    /// What both sides together leave nothing of was not meant to be empty by either.
    pub(super) fn refuse_emptied(&self, list: &List<'_>) -> Result<(), Clash> {
        let is_element = |side: Side, part: usize| {
            let piece = self.part(side, part);
            piece.is_named && !piece.is_extra
        };
        let has_any = |side: Side| list.parts[side].iter().any(|part| is_element(side, *part));
        let brings = |side: &Side| list.runs[*side].iter().any(|run| !run.is_empty());
        let mut base = list.parts[BASE].iter().enumerate();
        let is_left = |nth: usize| {
            SIDES
                .iter()
                .all(|side| list.pairs[*side].there[nth].is_some())
        };
        let leaves = base.any(|(nth, part)| is_element(BASE, *part) && is_left(nth));
        match !leaves && SIDES.into_iter().all(has_any) && !SIDES.iter().any(brings) {
            true => Err(Clash),
            false => Ok(()),
        }
    }

    fn is_rewritten(&self, old: usize, (side, new): (Side, usize)) -> bool {
        let (was, is) = (self.part(BASE, old), self.part(side, new));
        let said = [
            self.versions[BASE].tokens(old),
            self.versions[side].tokens(new),
        ];
        let is_statement = |piece: &Piece| {
            let is_import = piece.unit.is_some_and(|held| held.kind == UnitKind::Import);
            piece.is_named && !piece.is_extra && !is_import
        };
        is_statement(was)
            && is_statement(is)
            && said.iter().all(|tokens| STATEMENT_TOKENS <= tokens.len())
            && have_most_in_common(said[0], said[1])
    }

    /// What both put into one list at two places was meant to be in it once.
    pub(super) fn refuse_twice(&self, list: &List<'_>) -> Result<(), Clash> {
        if list.free.is_some() {
            return Ok(());
        }
        let [ours, theirs] = SIDES.map(|side| self.brought(list, side));
        let is_twice =
            |(key, place): (&Key<'_>, &usize)| ours.get(key).is_some_and(|other| other != place);
        if theirs.iter().any(is_twice) {
            Err(Clash)
        } else {
            Ok(())
        }
    }

    /// What a side put into a list once, and where: by its name, by what it is between commas, or by all it says if
    /// that is much.
    fn brought(&self, list: &List<'_>, side: Side) -> BTreeMap<Key<'_>, usize> {
        let (pieces, whole) = (self.versions[side], list.three[side]);
        let is_listed = pieces.is_listed(whole);
        let key = |at: usize| -> Option<Key<'_>> {
            let part = list.parts[side][at];
            if !pieces.is_element(part) {
                return None;
            }
            let said = pieces.tokens(part);
            let is_much = is_listed || COPY_TOKENS <= said.len();
            let name = pieces.name_in(part, (whole, is_listed)).map(Key::Name);
            name.or_else(|| is_much.then_some(Key::Said(said)))
        };
        let mut counts: BTreeMap<Key<'_>, usize> = BTreeMap::new();
        for key in (0..list.parts[side].len()).filter_map(key) {
            *counts.entry(key).or_default() += 1;
        }
        let runs = list.runs[side].iter().enumerate();
        let parts = runs.flat_map(|(place, run)| run.iter().map(move |at| (place, *at)));
        let new = parts.filter(|(_, at)| list.pairs[side].back[*at].is_none());
        let keys = new.filter_map(|(place, at)| Some((key(at)?, place)));
        keys.filter(|(key, _)| counts.get(key) == Some(&1))
            .collect()
    }

    /// Where both go on counting what is enumerated, each takes the next number, which is meant to be there once.
    pub(super) fn refuse_same_number(
        &self,
        list: &List<'_>,
        nth: usize,
        runs: [&[usize]; 2],
    ) -> Result<(), Clash> {
        let whole = list.three[BASE];
        if !self.versions[BASE].kind_name(whole).contains("enum") {
            return Ok(());
        }
        let mut before = list.parts[BASE][..nth].iter().rev();
        let before = before.find(|part| self.part(BASE, **part).is_named);
        let Some(last) = before.and_then(|part| last_number(self.text(BASE, *part))) else {
            return Ok(());
        };
        let next = |side: Side| {
            let mut parts = runs[side - 1].iter().map(|at| list.parts[side][*at]);
            let part = parts.find(|part| self.part(side, *part).is_named)?;
            last_number(self.text(side, part))
        };
        match (next(1), next(2)) {
            (Some(one), Some(two)) if one == two && Some(one) == last.checked_add(1) => Err(Clash),
            _ => Ok(()),
        }
    }

    /// What one side moved within a list with an order while the other took it out is not there again.
    pub(super) fn refuse_returned(&self, list: &List<'_>) -> Result<(), Clash> {
        if list.free.is_some() {
            return Ok(());
        }
        let hash = |side: Side, part: &usize| self.part(side, *part).hash;
        for side in SIDES {
            let kept = list.parts[3 - side].iter();
            let kept: BTreeSet<u64> = kept.map(|part| hash(3 - side, part)).collect();
            let base = list.parts[BASE].iter().enumerate();
            let gone = base.filter(|(nth, _)| list.pairs[side].there[*nth].is_none());
            let gone = gone.map(|(_, part)| hash(BASE, part));
            let returned: BTreeSet<u64> = gone.filter(|hash| !kept.contains(hash)).collect();
            let mut new = list.runs[side].iter().flatten().filter(|at| {
                let part = list.parts[side][**at];
                list.pairs[side].back[**at].is_none() && self.versions[side].is_element(part)
            });
            if new.any(|at| returned.contains(&hash(side, &list.parts[side][*at]))) {
                return Err(Clash);
            }
        }
        Ok(())
    }

    /// What one side put amid what the other took out has lost its place.
    pub(super) fn refuse_torn(&self, list: &List<'_>) -> Result<(), Clash> {
        for side in SIDES {
            let other = 3 - side;
            let is_gone = |nth: usize| list.pairs[side].there[nth].is_none();
            for nth in 1..list.parts[BASE].len() {
                let run = &list.runs[other][nth];
                let is_new = |at: &usize| list.pairs[other].back[*at].is_none();
                if !run.iter().any(is_new) || !is_gone(nth - 1) || !is_gone(nth) {
                    continue;
                }
                // What stood before and behind it was put into something: it may belong there as well.
                let is_elsewhere = |nth| self.is_within_another(list, side, nth);
                if !self.are_free(list, other, run) || is_elsewhere(nth - 1)? && is_elsewhere(nth)?
                {
                    return Err(Clash);
                }
            }
        }
        Ok(())
    }

    /// Whether a unit of base that is not in the list of a side is somewhere else there.
    fn is_within_another(&self, list: &List<'_>, side: Side, nth: usize) -> Result<bool, Clash> {
        let Some(unit) = self.part(BASE, list.parts[BASE][nth]).unit else {
            return Ok(false);
        };
        self.spend(self.versions[side].len())?;
        Ok(self.versions[side].has_unit(unit.id))
    }

    /// Whether what stands at a new place in a list without an order is in base at another, and the other side took it
    /// out of the list.
    pub(super) fn is_only_elsewhere(&self, list: &List<'_>, (side, at): (Side, usize)) -> bool {
        let piece = list.parts[side][at];
        let other = 3 - side;
        let part = self.part(side, piece);
        if list.free.is_none() || part.unit.is_some() || !part.is_named {
            return false;
        }
        let is_it = |version: Side, part: usize| self.is_same((version, part), (side, piece));
        let mut parts = list.parts[BASE].iter().enumerate();
        let was =
            parts.any(|(nth, part)| list.pairs[side].there[nth].is_none() && is_it(BASE, *part));
        was && !list.parts[other].iter().any(|part| is_it(other, *part))
    }

    /// Whether two new units are one: by their ids, or by what they say, at length under two names as well.
    pub(super) fn is_one_unit(
        &self,
        (side, one): (Side, usize),
        (other, two): (Side, usize),
    ) -> bool {
        let id = |side: Side, at| self.part(side, at).unit.map(|unit| unit.id);
        id(side, one) == id(other, two)
            || self.is_same((side, one), (other, two))
            || self.is_copy((side, one), (other, two))
    }

    fn is_copy(&self, (side, one): (Side, usize), (other, two): (Side, usize)) -> bool {
        let kind = |side: Side, at| self.part(side, at).unit.map(|unit| unit.kind);
        let tokens = |side: Side, at| self.versions[side].tokens(at);
        let (ones, twos) = (tokens(side, one), tokens(other, two));
        let mut differing = ones.iter().zip(twos).filter(|(one, two)| one != two);
        kind(side, one) == kind(other, two)
            && COPY_TOKENS <= ones.len()
            && ones.len() == twos.len()
            && differing.nth(1).is_none()
    }
}

/// The number that a text ends with, if it is of some length beyond it.
fn last_number(text: &[u8]) -> Option<u64> {
    let end = text.iter().rposition(u8::is_ascii_alphanumeric)? + 1;
    let begin = text[..end]
        .iter()
        .rposition(|byte| !byte.is_ascii_digit())?
        + 1;
    let is_word = text[begin - 1].is_ascii_alphanumeric() || text[begin - 1] == b'_';
    let digits = std::str::from_utf8(&text[begin..end]).ok()?;
    digits.parse().ok().filter(|_| !is_word)
}
