//! What two changes must not be put together, though each is in a part of its own.

use super::piece::Divided;
use super::weave::{BASE, Clash, List, SIDES, Side, Three, Weave};

/// Fields with what a choice depends on.
const CONDITIONS: &[&str] = &["condition"];
/// Fields with where names are looked up.
const SOURCES: &[&str] = &["module_name", "path", "source"];
/// So many tokens are not written twice by chance.
const COPY_TOKENS: usize = 24;

impl Weave<'_> {
    /// A branch that one side put to a choice, or took from it, was meant for what the choice depended on before; and
    /// a name that one side put to an import for where names came from before.
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
        match is_torn(CONDITIONS, has_other_branches) || is_torn(SOURCES, has_other_names) {
            true => Err(Clash),
            false => Ok(()),
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
