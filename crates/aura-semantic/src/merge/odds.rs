//! What two changes must not be put together, though each is in a part of its own.

use std::collections::BTreeMap;

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
        let is_torn = is_torn(CONDITIONS, has_other_branches)
            || is_torn(SOURCES, has_other_names)
            || self.are_targets_torn(three);
        if is_torn { Err(Clash) } else { Ok(()) }
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

    /// What one side took out and the other wrote as something of another kind, or put into something, was changed by
    /// the other.
    pub(super) fn refuse_rewritten(&self, list: &List<'_>) -> Result<(), Clash> {
        for side in SIDES.into_iter().filter(|_| list.free.is_none()) {
            let is_gone = |nth: usize, side: Side| list.pairs[side].there[nth].is_none();
            let count = list.parts[BASE].len();
            let mut from = 0;
            while from < count {
                let end = (from..count).find(|nth| !is_gone(*nth, side));
                let end = end.unwrap_or(count);
                let run = list.runs[side][from].iter();
                let run = run.filter(|at| list.pairs[side].back[**at].is_none());
                let new: Vec<usize> = run.map(|at| list.parts[side][*at]).collect();
                let gone = (from..end).filter(|nth| is_gone(*nth, 3 - side));
                let gone: Vec<usize> = gone.map(|nth| list.parts[BASE][nth]).collect();
                let of_other = &list.runs[3 - side][from..=end];
                let is_rewritten =
                    |old: &usize| new.iter().any(|new| self.is_rewritten(*old, (side, *new)));
                if of_other.iter().all(Vec::is_empty)
                    && gone.len() * new.len() <= CELLS_MAX
                    && gone.iter().any(is_rewritten)
                {
                    return Err(Clash);
                }
                from = end + 1;
            }
        }
        Ok(())
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
        was.kind != is.kind
            && is_statement(was)
            && is_statement(is)
            && said.iter().all(|tokens| STATEMENT_TOKENS <= tokens.len())
            && have_most_in_common(said[0], said[1])
    }

    /// What both put into one list at two places was meant to be in it once.
    pub(super) fn refuse_twice(&self, list: &List<'_>) -> Result<(), Clash> {
        if list.free.is_some() {
            return Ok(());
        }
        let new = |side: Side| {
            let runs = list.runs[side].iter().enumerate();
            let parts = runs.flat_map(|(place, run)| run.iter().map(move |at| (place, *at)));
            parts.filter(move |(_, at)| {
                let part = self.part(side, list.parts[side][*at]);
                let is_new = list.pairs[side].back[*at].is_none();
                is_new && part.is_named && !part.is_extra && part.unit.is_none()
            })
        };
        let hash = |side: Side, at: usize| self.part(side, list.parts[side][at]).hash;
        let ours: BTreeMap<u64, (usize, usize)> = new(1)
            .map(|(place, at)| (hash(1, at), (place, at)))
            .collect();
        let is_twice = |(place, at): (usize, usize)| {
            let Some((there, twin)) = ours.get(&hash(2, at)) else {
                return false;
            };
            let pieces = [list.parts[1][*twin], list.parts[2][at]];
            let is_once = |(side, piece): (Side, usize)| {
                let is_it = |part: &&usize| self.is_same((side, **part), (side, piece));
                list.parts[side].iter().filter(is_it).count() == 1
            };
            *there != place
                && self.is_same((1, pieces[0]), (2, pieces[1]))
                && (self.versions[1].is_listed(list.three[1])
                    || COPY_TOKENS <= self.versions[1].tokens(pieces[0]).len())
                && is_once((1, pieces[0]))
                && is_once((2, pieces[1]))
        };
        if new(2).any(is_twice) {
            Err(Clash)
        } else {
            Ok(())
        }
    }

    /// What one side put amid what the other took out has lost its place.
    pub(super) fn refuse_torn(&self, list: &List<'_>) -> Result<(), Clash> {
        for side in SIDES {
            let other = 3 - side;
            let is_gone = |nth: usize| list.pairs[side].there[nth].is_none();
            for nth in 1..list.parts[BASE].len() {
                let run = &list.runs[other][nth];
                let is_new = |at: &usize| list.pairs[other].back[*at].is_none();
                if run.iter().any(is_new)
                    && is_gone(nth - 1)
                    && is_gone(nth)
                    && !self.are_free(list, other, run)
                {
                    return Err(Clash);
                }
            }
        }
        Ok(())
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
