//! Merging three versions of a file piece by piece.
//!
//! Invariants:
//! - what comes out is slices of the versions, but for words merged within a comment;
//! - neither side has a name: swapping them gives the same bytes;
//! - what both sides changed is taken apart until only one side changed each part; where that ends, it is a clash;
//! - nesting beyond [`DEPTH_MAX`] is a clash, so the stack is bounded.

use std::cell::Cell;
use std::collections::BTreeSet;

use super::align::{Pairs, Parts, align};
use super::piece::{END, Piece, Pieces, begin, token};
use crate::language::UnitKind;
use crate::lines::{Chunk, LineMerge, merge_in_doubt, merge_lines};
use crate::walk::is_blank;

/// Deepest nesting of pieces that is looked into.
const DEPTH_MAX: usize = 300;

/// Most pairs of parts that are compared to find what both sides brought: a second's work.
const PAIRS_MAX: usize = 60_000_000;

/// Both sides changed one thing in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clash;

/// What came out: the text, the tokens that are meant to be in it, how these are meant to hang together, and what is
/// left to a person.
#[derive(Debug, Default)]
pub(crate) struct Woven {
    pub(crate) bytes: Vec<u8>,
    pub(crate) tokens: Vec<u64>,
    pub(crate) shape: Vec<u64>,
    /// Whether both sides moved units of one list.
    pub(crate) is_moved_by_both: bool,
    pub(crate) clashes: Vec<Left>,
}

/// A stretch that both sides changed in two ways.
#[derive(Debug)]
pub(crate) struct Left {
    /// Where in the text it is to stand.
    pub(crate) at: usize,
    /// Base, ours and theirs.
    pub(crate) texts: [Vec<u8>; 3],
}

/// One of the two sides, as a number into the versions; zero is the base.
pub(super) type Side = usize;
pub(super) const BASE: Side = 0;
pub(super) const SIDES: [Side; 2] = [1, 2];

/// The same piece in base and both sides.
pub(super) type Three = [usize; 3];

pub(crate) struct Weave<'a> {
    pub(super) versions: [&'a Pieces<'a>; 3],
    out: Woven,
    depth: usize,
    /// Pairs of parts that may still be compared.
    left: Cell<usize>,
}

/// Merges files that were taken apart.
pub(crate) fn weave(versions: [&Pieces<'_>; 3]) -> Result<Woven, Clash> {
    let mut weave = Weave {
        versions,
        out: Woven::default(),
        depth: 0,
        left: Cell::new(PAIRS_MAX),
    };
    weave.piece(versions.map(Pieces::root))?;
    Ok(weave.out)
}

/// The parts of one piece while they are merged.
pub(super) struct List<'a> {
    pub(super) three: Three,
    pub(super) parts: [&'a [usize]; 3],
    /// From base to either side; the first is not used.
    pub(super) pairs: [Pairs; 3],
    /// For each place between parts of base what a side has there that base has not, or not there.
    pub(super) runs: [Vec<Vec<usize>>; 3],
    /// Parts that are written already, as the other side has the same.
    written: BTreeSet<(Side, usize)>,
    /// Kinds of parts whose order means nothing, if any: nothing stands for all.
    pub(super) free: Option<&'static [&'static str]>,
    /// Whether something of it is written.
    is_begun: bool,
    /// Where the last part of it that is written stands in each version, and whether it is a sign.
    last: [Option<usize>; 3],
    is_after_sign: bool,
}

impl<'a> Weave<'a> {
    pub(super) fn part(&self, side: Side, at: usize) -> &'a Piece {
        self.versions[side].get(at)
    }

    pub(super) fn text(&self, side: Side, at: usize) -> &'a [u8] {
        self.versions[side].text(at)
    }

    /// Whether two pieces say the same, whatever the white space between their tokens.
    pub(super) fn is_same(&self, (side, at): (Side, usize), (other, with): (Side, usize)) -> bool {
        self.part(side, at).hash == self.part(other, with).hash
            && said(self.text(side, at)).eq(said(self.text(other, with)))
    }

    /// Counts pairs that are about to be compared; there is an end to it.
    pub(super) fn spend(&self, pairs: usize) -> Result<(), Clash> {
        let left = self.left.get().checked_sub(pairs).ok_or(Clash)?;
        self.left.set(left);
        Ok(())
    }

    fn put(&mut self, side: Side, at: usize) {
        self.out.bytes.extend_from_slice(self.text(side, at));
        self.out
            .tokens
            .extend_from_slice(self.versions[side].tokens(at));
        self.out
            .shape
            .extend_from_slice(self.versions[side].shape(at));
    }

    fn piece(&mut self, three: Three) -> Result<(), Clash> {
        let [base, ours, theirs] = [0, 1, 2].map(|side| self.text(side, three[side]));
        if ours == base || ours == theirs {
            self.put(2, three[2]);
            return Ok(());
        }
        if theirs == base {
            self.put(1, three[1]);
            return Ok(());
        }
        let kinds = [0, 1, 2].map(|side| self.part(side, three[side]).kind);
        let is_unit = [0, 1, 2].map(|side| self.part(side, three[side]).unit.is_some());
        let is_leaf = |side: Side| self.versions[side].children(three[side]).is_empty();
        if [0, 1, 2].into_iter().any(is_leaf) {
            return self.leaf(three);
        }
        let is_alike = kinds == [kinds[0]; 3] || is_unit == [true; 3];
        if !is_alike || self.depth == DEPTH_MAX {
            return Err(Clash);
        }
        let before = [
            self.out.bytes.len(),
            self.out.tokens.len(),
            self.out.clashes.len(),
        ];
        let shape = self.out.shape.len();
        let is_node = is_unit == [false; 3] && 0 < self.depth;
        if is_node {
            self.out.shape.push(begin(kinds[BASE]));
        }
        self.depth += 1;
        let done = self.parts(three);
        self.depth -= 1;
        match self.part(BASE, three[BASE]).is_extra {
            true => self.out.shape.truncate(shape),
            false if is_node => self.out.shape.push(END),
            false => {}
        }
        if done.is_err() && is_unit == [true; 3] {
            self.out.bytes.truncate(before[0]);
            self.out.tokens.truncate(before[1]);
            self.out.clashes.truncate(before[2]);
            self.leave(three);
            return Ok(());
        }
        done
    }

    /// Leaves a unit to a person, as far as its lines do not merge.
    fn leave(&mut self, three: Three) {
        let line = self.out.bytes.iter().rposition(|byte| *byte == b'\n');
        let line = line.map_or(0, |end| end + 1);
        // Markers stand on lines of their own.
        let lead = match is_blank(&self.out.bytes[line..]) {
            true => self.out.bytes.split_off(line),
            false => Vec::new(),
        };
        let texts = [0, 1, 2].map(|side| [&lead, self.text(side, three[side])].concat());
        let [base, ours, theirs] = &texts;
        let chunks = match merge_lines(base, ours, theirs) {
            LineMerge::Conflict(chunks) => chunks,
            // Its lines would merge, but not its syntax.
            LineMerge::Clean(_) => merge_in_doubt(base, ours, theirs),
        };
        for chunk in chunks {
            match chunk {
                Chunk::Clean(text) => self.out.bytes.extend(text),
                Chunk::Conflict { base, ours, theirs } => self.out.clashes.push(Left {
                    at: self.out.bytes.len(),
                    texts: [base, ours, theirs],
                }),
            }
        }
    }

    /// A token that both changed: a comment is merged by lines, anything else is one thing.
    fn leaf(&mut self, three: Three) -> Result<(), Clash> {
        let piece = self.part(BASE, three[0]);
        let kind = piece.kind;
        let is_comment = [0, 1, 2].iter().all(|side| {
            let piece = self.part(*side, three[*side]);
            piece.is_extra
                && piece.kind == kind
                && self.versions[*side].children(three[*side]).is_empty()
        });
        if !is_comment {
            return Err(Clash);
        }
        let [base, ours, theirs] = [0, 1, 2].map(|side| self.text(side, three[side]));
        match merge_lines(base, ours, theirs) {
            LineMerge::Clean(text) => {
                self.out.tokens.push(token(kind, &text));
                self.out.bytes.extend(text);
                Ok(())
            }
            LineMerge::Conflict(_) => Err(Clash),
        }
    }

    fn parts(&mut self, three: Three) -> Result<(), Clash> {
        self.refuse_at_odds(three)?;
        let versions = self.versions;
        let parts = [0, 1, 2].map(|side| versions[side].children(three[side]));
        let mut pairs = [0, 1, 2].map(|side| match side {
            BASE => Pairs::default(),
            side => align(
                Parts {
                    pieces: versions[BASE],
                    parts: parts[BASE],
                },
                Parts {
                    pieces: versions[side],
                    parts: parts[side],
                },
            ),
        });
        self.part_replaced(three[BASE], parts, &mut pairs)?;
        let moves = |side: Side| pairs[side].is_moved.contains(&true);
        self.out.is_moved_by_both |= SIDES.into_iter().all(moves);
        let runs = [0, 1, 2].map(|side| match side {
            BASE => Vec::new(),
            side => runs(&pairs[side], parts[BASE].len()),
        });
        let mut list = List {
            three,
            parts,
            pairs,
            runs,
            written: BTreeSet::new(),
            free: versions[BASE].free(three[BASE]),
            is_begun: false,
            last: [None; 3],
            is_after_sign: false,
        };
        self.refuse_torn(&list)?;
        self.refuse_rewritten(&list)?;
        self.refuse_twice(&list)?;
        self.refuse_emptied(&list)?;
        self.refuse_returned(&list)?;
        for nth in 0..=list.parts[BASE].len() {
            self.inserted(&mut list, nth)?;
            if nth < list.parts[BASE].len() {
                self.kept(&mut list, nth)?;
            }
        }
        let tails = [0, 1, 2].map(|side| {
            let count = list.parts[side].len();
            versions[side].gap(three[side], count)
        });
        self.space(choose(tails)?);
        Ok(())
    }

    /// A part of base.
    fn kept(&mut self, list: &mut List<'a>, nth: usize) -> Result<(), Clash> {
        let base = list.parts[BASE][nth];
        let there = SIDES.map(|side| list.pairs[side].there[nth]);
        let moved = SIDES.map(|side| list.pairs[side].is_moved[nth]);
        match there {
            [None, None] => Ok(()),
            [Some(at), None] | [None, Some(at)] => {
                let side = if there[0].is_some() { 1 } else { 2 };
                let is_same = self.is_same((side, list.parts[side][at]), (BASE, base));
                if is_same { Ok(()) } else { Err(Clash) }
            }
            [Some(_), Some(_)] if moved[0] || moved[1] => Ok(()),
            [Some(ours), Some(theirs)] => {
                let places = [nth, ours, theirs];
                let gap = self.gap_before(list, places)?;
                self.gap(list, gap);
                list.last = places.map(Some);
                list.is_after_sign = !self.part(BASE, base).is_named;
                let three = [base, list.parts[1][ours], list.parts[2][theirs]];
                self.piece(three)
            }
        }
    }

    /// The white space before a part that all versions have.
    fn gap_before(&self, list: &List<'a>, places: [usize; 3]) -> Result<&'a [u8], Clash> {
        let gap = |side: Side, at: usize| self.versions[side].gap(list.three[side], at);
        let follows = |side: &Side| match list.last[*side] {
            Some(last) => last + 1 == places[*side],
            None => !list.is_begun && places[*side] == 0,
        };
        let is_inserted = list.is_begun && list.last[BASE].is_none();
        if is_inserted && let Some(side) = SIDES.into_iter().find(|side| follows(side)) {
            return Ok(gap(side, places[side]));
        }
        if let Some(last) = list.last[BASE].filter(|_| list.is_after_sign)
            && !(0..3).any(|side| follows(&side))
        {
            return Ok(gap(BASE, last + 1));
        }
        choose([0, 1, 2].map(|side| gap(side, places[side])))
    }

    fn space(&mut self, gap: &[u8]) {
        self.out.bytes.extend_from_slice(gap);
        self.versions[BASE].say(gap, &mut self.out.tokens);
    }

    fn gap(&mut self, list: &mut List<'_>, gap: &[u8]) {
        self.space(gap);
        list.is_begun = true;
    }

    /// What the sides have at one place that base has not there.
    fn inserted(&mut self, list: &mut List<'a>, nth: usize) -> Result<(), Clash> {
        let [ours, theirs] = SIDES.map(|side| list.runs[side][nth].clone());
        let ours = self.wanted(list, (1, nth), ours)?;
        let theirs = self.wanted(list, (2, nth), theirs)?;
        if ours.is_empty() || theirs.is_empty() {
            for at in &ours {
                self.insert(list, 1, *at)?;
            }
            for at in &theirs {
                self.insert(list, 2, *at)?;
            }
            return Ok(());
        }
        let is_equal = ours.len() == theirs.len()
            && ours.iter().zip(&theirs).all(|(one, other)| {
                self.is_same((1, list.parts[1][*one]), (2, list.parts[2][*other]))
            });
        if is_equal {
            let side = self.lesser(list, (1, &ours), (2, &theirs));
            for at in if side == 1 { &ours } else { &theirs } {
                self.insert(list, side, *at)?;
            }
            return Ok(());
        }
        if !self.are_free(list, 1, &ours) || !self.are_free(list, 2, &theirs) {
            return Err(Clash);
        }
        self.refuse_same_number(list, nth, [&ours, &theirs])?;
        self.union(list, ours, theirs)
    }

    /// A run without what is not written there: what the other side deleted or wrote, too.
    fn wanted(
        &self,
        list: &List<'_>,
        (side, place): (Side, usize),
        run: Vec<usize>,
    ) -> Result<Vec<usize>, Clash> {
        let other = 3 - side;
        let mut wanted = Vec::new();
        for at in run {
            let piece = list.parts[side][at];
            let Some(nth) = list.pairs[side].back[at] else {
                let is_here = list.written.contains(&(side, at))
                    || self.is_only_elsewhere(list, (side, at))
                    || self.is_put_for_next(list, (side, at), place);
                if !is_here {
                    wanted.push(at);
                }
                continue;
            };
            // A unit that this side moved.
            match list.pairs[other].there[nth] {
                None if self.is_same((side, piece), (BASE, list.parts[BASE][nth])) => {}
                None => return Err(Clash),
                // Both moved it: to one place, or to two.
                Some(there) if list.pairs[other].is_moved[nth] => {
                    self.spend(list.parts[side].len() + list.parts[other].len())?;
                    let place = |side: Side, at: usize| {
                        let holds = |run: &Vec<usize>| run.contains(&at);
                        list.runs[side].iter().position(holds)
                    };
                    if place(side, at) != place(other, there) {
                        return Err(Clash);
                    }
                    if side == 1 {
                        wanted.push(at);
                    }
                }
                Some(_) => wanted.push(at),
            }
        }
        Ok(wanted)
    }

    /// Whether the other side put the very same in the place of the part before or behind.
    fn is_put_for_next(&self, list: &List<'_>, (side, at): (Side, usize), place: usize) -> bool {
        let other = 3 - side;
        let piece = list.parts[side][at];
        let part = self.part(side, piece);
        let is_listed = || self.versions[side].is_listed(list.three[side]);
        let is_statement = part.is_named && !part.is_extra && part.unit.is_none();
        if list.free.is_some() || !is_statement || is_listed() {
            return false;
        }
        let is_it = |nth: usize| {
            let Some(Some(there)) = list.pairs[other].there.get(nth) else {
                return false;
            };
            let there = list.parts[other][*there];
            self.part(other, there).hash == part.hash
                && self.is_same((side, piece), (other, there))
                && !self.is_same((side, piece), (BASE, list.parts[BASE][nth]))
        };
        is_it(place) || place.checked_sub(1).is_some_and(is_it)
    }

    /// Writes one part that base has not at this place.
    fn insert(&mut self, list: &mut List<'a>, side: Side, at: usize) -> Result<(), Clash> {
        let piece = list.parts[side][at];
        let place = match list.last[side] {
            // What stood between a sign and this is gone.
            Some(last) if list.is_after_sign && self.is_behind_named(list, side, at) => last + 1,
            None if !list.is_begun => 0,
            _ if list.is_begun && self.is_first(list, side, at) => at + 1,
            _ => at,
        };
        let gap = self.versions[side].gap(list.three[side], place);
        self.gap(list, gap);
        list.last = [None; 3];
        list.last[side] = Some(at);
        list.is_after_sign = !self.part(side, piece).is_named;
        if let Some(nth) = list.pairs[side].back[at] {
            let mut three = [list.parts[BASE][nth], 0, 0];
            for side in SIDES {
                let there = list.pairs[side].there[nth].ok_or(Clash)?;
                three[side] = list.parts[side][there];
            }
            return self.piece(three);
        }
        if let Some(twin) = self.twin(list, side, at)? {
            list.written.insert((3 - side, twin));
        }
        self.put(side, piece);
        Ok(())
    }

    /// Whether nothing but a sign, which is not before it now, stands before a unit that another one follows.
    fn is_first(&self, list: &List<'_>, side: Side, at: usize) -> bool {
        let parts = list.parts[side];
        let is_named = |at: usize| self.part(side, parts[at]).is_named;
        let is_led = match at.checked_sub(1) {
            None => is_blank(self.versions[side].gap(list.three[side], 0)),
            Some(before) => !is_named(before) && !list.is_after_sign,
        };
        let is_followed = at + 1 < parts.len() && is_named(at + 1);
        is_led && (is_followed || at == 0)
    }

    fn is_behind_named(&self, list: &List<'_>, side: Side, at: usize) -> bool {
        let before = at.checked_sub(1).map(|before| list.parts[side][before]);
        before.is_some_and(|before| self.part(side, before).is_named)
    }

    /// A unit that both added must be the same, at the same place; what else both put to one place stands there once.
    fn twin(&self, list: &List<'_>, side: Side, at: usize) -> Result<Option<usize>, Clash> {
        let other = 3 - side;
        let piece = list.parts[side][at];
        let part = self.part(side, piece);
        let unit = part.unit;
        let parts = list.parts[other];
        if !part.is_named || part.is_extra {
            return Ok(None);
        }
        self.spend(parts.len())?;
        let is_new = |nth: usize| list.pairs[other].back[nth].is_none();
        if unit.is_none() && list.free.is_none() {
            let is_twin = |nth: &usize| {
                is_new(*nth)
                    && self.part(other, parts[*nth]).hash == part.hash
                    && self.is_same((side, piece), (other, parts[*nth]))
                    && self.is_one_place(list, [(side, at), (other, *nth)])
            };
            return Ok((0..parts.len()).find(is_twin));
        }
        let is_twin = |nth: &usize| {
            let part = parts[*nth];
            is_new(*nth)
                && match (unit, self.part(other, part).unit) {
                    (Some(_), Some(_)) => self.is_one_unit((side, piece), (other, part)),
                    (None, None) => {
                        self.versions[side].key(piece) == self.versions[other].key(part)
                    }
                    _ => false,
                }
        };
        let Some(twin) = (0..parts.len()).find(is_twin) else {
            return Ok(None);
        };
        let is_same = self.is_same((side, piece), (other, parts[twin]));
        if is_same && self.is_one_place(list, [(side, at), (other, twin)]) {
            Ok(Some(twin))
        } else {
            Err(Clash)
        }
    }

    /// Whether nothing that is left stands between the places to which the sides put something.
    fn is_one_place(&self, list: &List<'_>, parts: [(Side, usize); 2]) -> bool {
        let [one, other] = parts.map(|(side, at)| {
            let run = list.runs[side].iter().position(|run| run.contains(&at));
            run.unwrap_or_default()
        });
        let is_gone = |nth: usize| {
            SIDES
                .iter()
                .any(|side| list.pairs[*side].there[nth].is_none())
        };
        (one.min(other)..one.max(other)).all(is_gone)
    }

    /// Which of two runs stands first.
    fn lesser(
        &self,
        list: &List<'_>,
        (one, ours): (Side, &[usize]),
        (other, theirs): (Side, &[usize]),
    ) -> Side {
        let text = |side: Side, run: &[usize]| -> (Vec<&[u8]>, Vec<&[u8]>) {
            let named = run.iter().copied();
            let named = named.filter(|at| self.part(side, list.parts[side][*at]).is_named);
            let texts = named.map(|at| self.text(side, list.parts[side][at]));
            let gaps = run.iter().flat_map(|at| [*at, at + 1]);
            let gaps = gaps.map(|at| self.versions[side].gap(list.three[side], at));
            (texts.collect(), gaps.collect())
        };
        if text(one, ours) <= text(other, theirs) {
            one
        } else {
            other
        }
    }

    /// Whether the order of these parts means nothing.
    pub(super) fn are_free(&self, list: &List<'_>, side: Side, run: &[usize]) -> bool {
        run.iter().all(|at| {
            let piece = self.part(side, list.parts[side][*at]);
            match piece.unit {
                Some(held) => held.is_named || held.kind == UnitKind::Import,
                None => list.free.is_some_and(|kinds| {
                    self.versions[side].is_one_of(list.parts[side][*at], kinds)
                }),
            }
        })
    }

    /// Both runs, where order means nothing: what both have once.
    fn union(
        &mut self,
        list: &mut List<'a>,
        ours: Vec<usize>,
        theirs: Vec<usize>,
    ) -> Result<(), Clash> {
        let first = self.lesser(list, (1, &ours), (2, &theirs));
        let second = 3 - first;
        let (one, other) = if first == 1 {
            (ours, theirs)
        } else {
            (theirs, ours)
        };
        let one = self.elements(list, first, &one)?;
        let mut rest = self.elements(list, second, &other)?;
        for element in &one {
            self.spend(2 * rest.len())?;
            let is_twin = |other: &Element| self.is_twin(list, (first, element), (second, other));
            let mut twins = rest.iter().filter(|other| is_twin(other));
            if twins.any(|twin| !self.is_equal(list, (first, element), (second, twin))) {
                return Err(Clash);
            }
            rest.retain(|other| !is_twin(other));
        }
        let is_sorted = |side: Side, run: &[Element]| {
            run.is_sorted_by_key(|element| self.text(side, list.parts[side][element.item]))
        };
        let is_list = list.free.is_some()
            || self.are_imports(list, first, &one) && self.are_imports(list, second, &rest);
        let is_sorted = is_list && is_sorted(first, &one) && is_sorted(second, &rest);
        let one = one.into_iter().map(|element| (first, element));
        let mut all: Vec<(Side, Element)> = one.collect();
        all.extend(rest.into_iter().map(|element| (second, element)));
        if is_sorted {
            all.sort_by_key(|(side, element)| self.text(*side, list.parts[*side][element.item]));
        }
        self.all(list, &all)
    }

    /// Writes elements with their comments and signs.
    fn all(&mut self, list: &mut List<'a>, all: &[(Side, Element)]) -> Result<(), Clash> {
        let mut is_open = false;
        for (nth, (side, element)) in all.iter().enumerate() {
            let lead = element.lead.filter(|_| !is_open || nth == 0);
            let has_signs = element.lead.is_some() || element.trail.is_some();
            if nth > 0 && !is_open && lead.is_none() && has_signs {
                return Err(Clash);
            }
            let before = lead.iter().chain(&element.notes);
            let behind = element.trail.iter().chain(&element.tail);
            for at in before.chain([&element.item]).chain(behind) {
                self.insert(list, *side, *at)?;
            }
            is_open = element.trail.is_some();
        }
        Ok(())
    }

    /// Whether two elements say the same, with all that is said about them.
    fn is_equal(
        &self,
        list: &List<'_>,
        (side, one): (Side, &Element),
        (other, two): (Side, &Element),
    ) -> bool {
        let all = |element: &Element| {
            let parts = element.notes.iter().chain([&element.item]);
            parts.chain(&element.tail).copied().collect::<Vec<usize>>()
        };
        let (ones, twos) = (all(one), all(two));
        let same = |(one, two): (&usize, &usize)| {
            self.is_same(
                (side, list.parts[side][*one]),
                (other, list.parts[other][*two]),
            )
        };
        ones.len() == twos.len() && ones.iter().zip(&twos).all(same)
    }

    fn are_imports(&self, list: &List<'_>, side: Side, run: &[Element]) -> bool {
        run.iter().all(|element| {
            let unit = self.part(side, list.parts[side][element.item]).unit;
            unit.is_some_and(|held| held.kind == UnitKind::Import)
        })
    }

    /// A run as what is listed, and the signs and comments before and behind it.
    fn elements(&self, list: &List<'_>, side: Side, run: &[usize]) -> Result<Vec<Element>, Clash> {
        let part = |at: usize| self.part(side, list.parts[side][at]);
        let is_on_line = |at: usize| {
            let gap = self.versions[side].gap(list.three[side], at);
            !gap.contains(&b'\n') && 0 < at
        };
        let mut elements: Vec<Element> = Vec::new();
        let (mut lead, mut notes) = (None, Vec::new());
        for at in run.iter().copied() {
            match elements.last_mut() {
                Some(last) if part(at).is_extra && is_on_line(at) => last.tail.push(at),
                // It speaks of what is not in the run.
                None if part(at).is_extra && is_on_line(at) => return Err(Clash),
                _ if part(at).is_extra => notes.push(at),
                _ if part(at).is_named => elements.push(Element {
                    lead: lead.take(),
                    notes: std::mem::take(&mut notes),
                    item: at,
                    trail: None,
                    tail: Vec::new(),
                }),
                Some(last) if last.trail.is_none() && last.lead.is_none() && notes.is_empty() => {
                    last.trail = Some(at);
                }
                _ => lead = Some(at),
            }
        }
        if !notes.is_empty() {
            return Err(Clash);
        }
        if let (Some(left), Some(last)) = (lead, elements.last_mut()) {
            last.trail = Some(left);
        }
        Ok(elements)
    }

    /// Whether two elements are of one key.
    fn is_twin(
        &self,
        list: &List<'_>,
        (side, one): (Side, &Element),
        (other, two): (Side, &Element),
    ) -> bool {
        let (one, two) = (list.parts[side][one.item], list.parts[other][two.item]);
        match (self.part(side, one).unit, self.part(other, two).unit) {
            (Some(_), Some(_)) => self.is_one_unit((side, one), (other, two)),
            _ => self.versions[side].key(one) == self.versions[other].key(two),
        }
    }
}

/// Something listed, with the signs that separate it.
#[derive(Clone, Debug)]
struct Element {
    lead: Option<usize>,
    /// Comments before it.
    notes: Vec<usize>,
    item: usize,
    trail: Option<usize>,
    /// Comments behind it, on its line.
    tail: Vec<usize>,
}

/// For each place in base, before its parts and after them all, what a side has there.
fn runs(pairs: &Pairs, count: usize) -> Vec<Vec<usize>> {
    let mut runs = vec![Vec::new(); count + 1];
    let mut place = 0;
    for (at, back) in pairs.back.iter().enumerate() {
        match back {
            Some(nth) if !pairs.is_moved[*nth] => place = nth + 1,
            _ => runs[place].push(at),
        }
    }
    runs
}

/// The white space of whichever side changed it; of two changes the lesser.
fn choose([base, ours, theirs]: [&[u8]; 3]) -> Result<&[u8], Clash> {
    if ours == base {
        Ok(theirs)
    } else if theirs == base {
        Ok(ours)
    } else if said(ours).eq(said(theirs)) {
        Ok(ours.min(theirs))
    } else if said(ours).eq(said(base)) {
        // Commas mean more than white space.
        Ok(theirs)
    } else if said(theirs).eq(said(base)) {
        Ok(ours)
    } else {
        Err(Clash)
    }
}

impl Woven {
    /// The file in parts, each conflict on lines of its own.
    pub(crate) fn chunks(self) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut from = 0;
        for Left { at, mut texts } in self.clashes {
            if from < at {
                chunks.push(Chunk::Clean(self.bytes[from..at].to_vec()));
            }
            from = at.max(from);
            let rest = &self.bytes[from..];
            let end = [&b"\n"[..], b"\r\n"]
                .into_iter()
                .find(|end| rest.starts_with(end));
            let is_open = |text: &Vec<u8>| !text.is_empty() && !text.ends_with(b"\n");
            if let Some(end) = end.filter(|_| texts.iter().any(is_open)) {
                from += end.len();
                for text in texts.iter_mut().filter(|text| is_open(text)) {
                    text.extend_from_slice(end);
                }
            }
            let [base, ours, theirs] = texts;
            chunks.push(Chunk::Conflict { base, ours, theirs });
        }
        if from < self.bytes.len() {
            chunks.push(Chunk::Clean(self.bytes[from..].to_vec()));
        }
        chunks
    }
}

/// What a text says, without white space.
fn said(text: &[u8]) -> impl Iterator<Item = &u8> {
    text.iter().filter(|byte| !byte.is_ascii_whitespace())
}
