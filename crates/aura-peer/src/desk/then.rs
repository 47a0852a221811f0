//! What a unit, or a file as one piece, was at a moment.
//!
//! Invariants:
//! - a unit that came from another file was what it was there;
//! - a file is told as one piece only where a patch carries it whole and nothing came between: its parts go on by
//!   themselves.

use aura_api::{At, Failure};
use aura_engine::peer::units::{Moment, Recorded, Then};
use aura_semantic::{Op, OwnText, Text};
use aura_trust::KeyRing;

use super::{Desk, symbols::Symbol};

/// How a unit was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It had not been written yet.
    Absent,
    /// It was deleted.
    Deleted,
    /// It was there.
    Present,
    /// The log does not tell.
    Unrecorded,
}

/// What a unit was.
#[derive(Debug)]
pub(crate) struct Was {
    pub(crate) state: State,
    /// The unit as the log knew it then: of another file, if it was moved since.
    pub(crate) symbol: Symbol,
    /// The patch and row that made it so; none where git alone knows it.
    pub(crate) from: Option<(usize, usize)>,
    /// Its text, as far as it is at hand.
    pub(crate) text: Option<OwnText>,
}

impl Desk {
    /// What a unit was at a moment.
    pub(crate) fn was(&self, symbol: &Symbol, at: &At, ring: &KeyRing) -> Result<Was, Failure> {
        let moment = self.moment(at)?;
        if symbol.is_file() {
            return Ok(self.file_was(symbol, moment, ring));
        }
        let named = match at {
            At::Op(op) => Some(self.operation(op)?),
            At::Seq(_) | At::TimeMs(_) => None,
        };
        // Whoever names an operation on the unit means that version, whatever came beside it.
        let told = named.and_then(|(index, row)| self.told_by(symbol, index, row));
        let (symbol, then) = told.unwrap_or_else(|| self.then_of(symbol, moment));
        let (state, version) = match then {
            Then::Absent => (State::Absent, None),
            Then::Deleted(version) => (State::Deleted, Some(version)),
            Then::Version(version) => (State::Present, Some(version)),
            Then::Unrecorded => (State::Unrecorded, None),
        };
        let from =
            version.and_then(|version| self.units.teller(&symbol.path, symbol.unit, version));
        let content =
            version.and_then(|version| self.units.content(&symbol.path, symbol.unit, version));
        let bodies = |recorded: &Recorded| self.body(recorded, ring);
        let text = content
            .flatten()
            .and_then(|content| self.units.text(content, &bodies));
        Ok(Was {
            state,
            symbol,
            from,
            text,
        })
    }

    /// The version that a row of a recorded patch gave a unit, under whatever name it had then.
    fn told_by(&self, symbol: &Symbol, index: usize, row: usize) -> Option<(Symbol, Then)> {
        let recorded = self.units.recorded().get(index)?;
        let (unit, _, version, _) = recorded.touched.get(row)?;
        let is_it = |one: &Symbol| one.path == recorded.path && one.unit == *unit;
        let one = self.lineage(symbol).into_iter().find(is_it)?;
        let content = self.units.content(&one.path, *unit, *version)?;
        let then = match content {
            Some(_) => Then::Version(*version),
            None => Then::Deleted(*version),
        };
        Some((one, then))
    }

    fn then_of(&self, symbol: &Symbol, moment: Moment) -> (Symbol, Then) {
        let mut one = symbol.clone();
        // One that was written by moving it was there before. Each step leads to what was written earlier.
        loop {
            let then = self.units.at(&one.path, one.unit, moment);
            let before = match then {
                Then::Absent => self.units.came_from(&one.path, one.unit),
                Then::Deleted(_) | Then::Unrecorded | Then::Version(_) => None,
            };
            let Some((path, unit)) = before else {
                return (one, then);
            };
            (one.path, one.unit) = (path, unit);
        }
    }

    fn file_was(&self, symbol: &Symbol, moment: Moment, ring: &KeyRing) -> Was {
        let patches = self.units.patches_of(&symbol.path);
        let passed = patches.partition_point(|index| self.units.is_by(*index, moment));
        let (before, after) = patches.split_at(passed);
        let whole = |index: Option<&usize>| {
            let mut ops = self.body_of(*index?, ring)?.patch.ops;
            match ops.pop() {
                Some(Op::File {
                    base_text, text, ..
                }) => Some((base_text, text)),
                _ => None,
            }
        };
        let row = |index: usize| {
            let touched = self.units.recorded()[index].touched.iter();
            let mut rows = touched.enumerate();
            rows.find(|(_, row)| row.0 == symbol.unit)
                .map_or(0, |(row, _)| row)
        };
        let made = whole(before.last()).map(|(_, text)| text);
        let known = made.or_else(|| whole(after.first()).map(|(text, _)| text));
        let state = match (&known, before) {
            (Some(Some(_)), _) => State::Present,
            (Some(None), []) => State::Absent,
            (Some(None), _) => State::Deleted,
            (None, _) => State::Unrecorded,
        };
        let text = known
            .flatten()
            .map(|text: Text| OwnText::leaf(text.bytes()));
        Was {
            state,
            symbol: symbol.clone(),
            from: before.last().map(|index| (*index, row(*index))),
            text,
        }
    }
}
