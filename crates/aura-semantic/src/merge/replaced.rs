//! What stands in place of another part though it is not that one changed.

use super::align::{Pairs, are_alike};
use super::weave::{BASE, Clash, SIDES, Side, Weave};
use crate::language::UnitKind;

impl Weave<'_> {
    /// What stands in place of another is not that one changed, if the other side took out the old one or has the new
    /// one, too.
    pub(super) fn part_replaced(
        &self,
        whole: usize,
        parts: [&[usize]; 3],
        pairs: &mut [Pairs; 3],
    ) -> Result<(), Clash> {
        let is_free = self.versions[BASE].free(whole).is_some();
        for nth in 0..parts[BASE].len() {
            for side in SIDES {
                let there = SIDES.map(|side| pairs[side].there[nth].map(|at| parts[side][at]));
                let (Some(new), other) = (there[side - 1], 3 - side) else {
                    continue;
                };
                let is_new = |part: &usize| self.is_same((other, *part), (side, new));
                let old = parts[BASE][nth];
                // Most parts are as they were, and each is compared with many.
                if self.is_same((BASE, old), (side, new)) {
                    continue;
                }
                self.spend(parts[other].len())?;
                let is_there = parts[other].iter().any(is_new);
                let is_other = match is_free && self.part(BASE, old).unit.is_none() {
                    true => self.versions[BASE].key(old) != self.versions[side].key(new),
                    false => self.is_other(old, (side, new), is_there),
                };
                let is_replaced = match there[other - 1] {
                    // Both have the same in its place.
                    Some(theirs) if is_new(&theirs) => false,
                    Some(_) => is_other && is_there,
                    None => is_other,
                };
                if let Some(at) = pairs[side].there[nth].filter(|_| is_replaced) {
                    pairs[side].there[nth] = None;
                    pairs[side].back[at] = None;
                    pairs[side].is_moved[nth] = false;
                }
            }
        }
        Ok(())
    }

    /// Whether a changed unit has another name than its base and little of its text, or whatever text if that is surely new.
    fn is_other(&self, base: usize, (side, new): (Side, usize), is_new: bool) -> bool {
        let (Some(old), Some(unit)) = (self.part(BASE, base).unit, self.part(side, new).unit)
        else {
            return false;
        };
        if unit.kind == UnitKind::Import {
            return !self.is_grown(base, (side, new));
        }
        let is_unlike = || !are_alike(self.text(BASE, base), self.text(side, new));
        old.name != unit.name && (is_new || is_unlike())
    }

    /// Whether one of two versions of a part has every token of the other, in order.
    fn is_grown(&self, base: usize, (side, at): (Side, usize)) -> bool {
        let holds = |all: &[u64], some: &[u64]| {
            let mut all = all.iter();
            some.iter().all(|token| all.any(|other| other == token))
        };
        let (old, new) = (
            self.versions[BASE].tokens(base),
            self.versions[side].tokens(at),
        );
        holds(old, new) || holds(new, old)
    }
}
