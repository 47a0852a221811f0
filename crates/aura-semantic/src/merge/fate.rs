//! What became of what each side wrote: what was taken out is not there again, what was put between two statements
//! still stands between them, and a name is not used where nothing gives it a meaning any more.
//!
//! Invariants:
//! - what is compared are pieces of syntax by what they say, wherever they stand, so that it holds however the pieces
//!   were put together;
//! - where conflicts are left, a fault counts only if it is there whichever side is put into them;
//! - the work follows the number of pieces.
//!
//! It is for merges that git leaves to a person: it may refuse what was meant.

use std::collections::{BTreeMap, BTreeSet};

use super::align::have_most_in_common;
use super::names::Names;
use super::piece::Pieces;
use crate::language::UnitKind;
use crate::value::UnitId;

/// Fewer tokens are said again by chance, unless they are a statement.
const TOKENS_MIN: usize = 3;
/// Most pairs of statements of one stretch that are compared to tell an edit from an insertion.
const CELLS_MAX: usize = 400;

const BASE: usize = 0;
/// Each side and the other one.
const SIDES: [(usize, usize); 2] = [(1, 2), (2, 1)];

/// One version with where things stand in it.
struct Version<'a, 'b> {
    pieces: &'b Pieces<'a>,
    /// The piece around each piece, and which of its parts it is.
    around: Vec<Option<(usize, usize)>>,
    /// How often each thing is said, and where.
    said: BTreeMap<u64, (usize, usize)>,
}

impl<'a, 'b> Version<'a, 'b> {
    fn of(pieces: &'b Pieces<'a>) -> Self {
        let mut version = Self {
            pieces,
            around: vec![None; pieces.len()],
            said: BTreeMap::new(),
        };
        for at in 0..pieces.len() {
            for (nth, part) in pieces.children(at).iter().enumerate() {
                version.around[*part] = Some((at, nth));
            }
        }
        // Imports have no order and are put together from parts.
        let mut is_import = vec![false; pieces.len()];
        for at in (0..pieces.len()).rev() {
            let piece = pieces.get(at);
            let is_one = piece.unit.is_some_and(|held| held.kind == UnitKind::Import);
            is_import[at] =
                is_one || version.around[at].is_some_and(|(around, _)| is_import[around]);
            let is_said = piece.is_named && !piece.is_extra && !is_import[at];
            if is_said && version.says_enough(at) {
                version.said.entry(piece.hash).or_insert((0, at)).0 += 1;
            }
        }
        version
    }

    fn says_enough(&self, at: usize) -> bool {
        let kind = || self.pieces.kind_name(at);
        TOKENS_MIN <= self.pieces.tokens(at).len()
            || kind().contains("statement")
            || kind().contains("command")
    }

    fn hash(&self, at: usize) -> u64 {
        self.pieces.get(at).hash
    }

    fn count(&self, hash: u64) -> usize {
        self.said.get(&hash).map_or(0, |(count, _)| *count)
    }

    /// Where something is said, if it is said once.
    fn only(&self, hash: u64) -> Option<usize> {
        let (count, at) = self.said.get(&hash)?;
        (*count == 1).then_some(*at)
    }

    /// Whether a part is said in order with those around it.
    fn is_statement(&self, at: usize) -> bool {
        let piece = self.pieces.get(at);
        let is_apart = |kind| !matches!(kind, UnitKind::Constant | UnitKind::Statement);
        piece.is_named
            && !piece.is_extra
            && !piece.unit.is_some_and(|held| is_apart(held.kind))
            && self.says_enough(at)
    }
}

/// Whether the results do not do what either side meant with its statements and names: the merged file, or the file
/// with either side in the conflicts that are left.
pub(super) fn has_lost_its_sense(versions: [&Pieces<'_>; 3], results: &[&Pieces<'_>]) -> bool {
    let versions = versions.map(Version::of);
    let results: Vec<Version<'_, '_>> = results.iter().map(|found| Version::of(found)).collect();
    returns(&versions, &results)
        || SIDES
            .iter()
            .any(|(side, _)| misplaces(&versions, *side, &results))
        || SIDES
            .iter()
            .any(|(gone, user)| uses_what_is_gone(&versions, (*gone, *user), &results))
}

/// Whether something that one side took out is there again though the other one did not write it.
fn returns(versions: &[Version<'_, '_>; 3], results: &[Version<'_, '_>]) -> bool {
    let mut base = versions[BASE].said.iter();
    base.any(|(hash, (was, _))| {
        let [one, two] = [1, 2].map(|side| versions[side].count(*hash));
        let is = results.iter().map(|found| found.count(*hash)).min();
        let least = one.min(two);
        least < *was && *was <= one.max(two) && one + two < is.unwrap_or(0) + was
    })
}

/// Whether a statement that a side put next to another one stands elsewhere than that one in every result.
fn misplaces(versions: &[Version<'_, '_>; 3], side: usize, results: &[Version<'_, '_>]) -> bool {
    let here = &versions[side];
    (0..here.pieces.len()).any(|whole| {
        let parts = here.pieces.children(whole);
        let is_list =
            parts.len() > 1 && here.pieces.free(whole).is_none() && !here.pieces.is_listed(whole);
        is_list
            && inserted(versions, side, parts).iter().any(|new| {
                let is_elsewhere = |found: &Version<'_, '_>| stands_elsewhere(here, new, found);
                !results.is_empty() && results.iter().all(is_elsewhere)
            })
    })
}

/// A statement that a side inserted, and those before and behind it that stand in base, too.
struct Inserted {
    part: usize,
    before: Option<usize>,
    behind: Option<usize>,
}

/// What a side inserted into a list of statements, apart from what it edited there.
fn inserted(versions: &[Version<'_, '_>; 3], side: usize, parts: &[usize]) -> Vec<Inserted> {
    let (base, here) = (&versions[BASE], &versions[side]);
    let is_known = |part: &usize| {
        let hash = here.hash(*part);
        here.is_statement(*part) && base.only(hash).is_some() && here.only(hash).is_some()
    };
    let mut inserted = Vec::new();
    let mut before = None;
    for stretch in parts.split_inclusive(is_known) {
        let (new, behind) = match stretch.split_last() {
            Some((last, new)) if is_known(last) => (new, Some(*last)),
            _ => (stretch, None),
        };
        let gone = gone_between(versions, side, [before, behind]);
        let is_new = |part: &&usize| {
            let id = here.pieces.get(**part).unit.map(|held| held.id);
            here.is_statement(**part)
                && base.count(here.hash(**part)) == 0
                && !id.is_some_and(|id| base.pieces.has_unit(id))
        };
        let new: Vec<usize> = new.iter().filter(is_new).copied().collect();
        let is_little = new.len() * gone.len() <= CELLS_MAX;
        let is_edit = |part: &usize| {
            gone.iter().any(|old| {
                base.pieces.get(*old).kind == here.pieces.get(*part).kind
                    && have_most_in_common(base.pieces.tokens(*old), here.pieces.tokens(*part))
            })
        };
        if gone.len() < new.len() && is_little {
            let new = new.into_iter().filter(|part| !is_edit(part));
            inserted.extend(new.map(|part| Inserted {
                part,
                before,
                behind,
            }));
        }
        before = behind.or(before);
    }
    inserted
}

/// The statements of base between two that a side has as well, which it has no more.
fn gone_between(
    versions: &[Version<'_, '_>; 3],
    side: usize,
    ends: [Option<usize>; 2],
) -> Vec<usize> {
    let (base, here) = (&versions[BASE], &versions[side]);
    let place = |part: usize| base.around[base.only(here.hash(part))?];
    let [before, behind] = ends.map(|end| end.and_then(place));
    let Some((whole, _)) = before.or(behind) else {
        return Vec::new();
    };
    let parts = base.pieces.children(whole);
    let from = before
        .filter(|(around, _)| *around == whole)
        .map_or(0, |(_, nth)| nth + 1);
    let to = behind
        .filter(|(around, _)| *around == whole)
        .map_or(parts.len(), |(_, nth)| nth);
    let between = parts
        .get(from..to.max(from))
        .unwrap_or_default()
        .iter()
        .copied();
    let is_gone = |part: &usize| base.is_statement(*part) && here.count(base.hash(*part)) == 0;
    between.filter(is_gone).collect()
}

/// Whether a statement does not stand between those between which it was put.
fn stands_elsewhere(here: &Version<'_, '_>, new: &Inserted, found: &Version<'_, '_>) -> bool {
    let place = |part: usize| found.around[found.only(here.hash(part))?];
    let Some((around, nth)) = place(new.part) else {
        return false;
    };
    let is_before = |at: (usize, usize)| at.0 == around && at.1 < nth;
    let is_behind = |at: (usize, usize)| at.0 == around && nth < at.1;
    new.before.and_then(place).is_some_and(|at| !is_before(at))
        || new.behind.and_then(place).is_some_and(|at| !is_behind(at))
}

/// Whether every result uses a name that one side gave to nothing any more and the other one used once more.
fn uses_what_is_gone(
    versions: &[Version<'_, '_>; 3],
    (gone, user): (usize, usize),
    results: &[Version<'_, '_>],
) -> bool {
    let units = versions.each_ref().map(|version| units(version.pieces));
    let found: Vec<BTreeMap<UnitId, usize>> = results
        .iter()
        .map(|result| self::units(result.pieces))
        .collect();
    units[BASE].iter().any(|(id, base)| {
        let there = [gone, user].map(|version| units[version].get(id).copied());
        let [Some(gone_at), Some(user_at)] = there else {
            return false;
        };
        let was = versions[BASE].hash(*base);
        if was == versions[gone].hash(gone_at) || was == versions[user].hash(user_at) {
            return false;
        }
        let (was, without) = (
            names(&versions[BASE], *base),
            names(&versions[gone], gone_at),
        );
        let more = names(&versions[user], user_at);
        let is_torn = |name: &&[u8]| {
            !without.gives(name) && without.uses(name) == 0 && was.uses(name) < more.uses(name)
        };
        let torn: Vec<&[u8]> = was.given().filter(is_torn).collect();
        let mut left: BTreeSet<&[u8]> = torn.into_iter().collect();
        for (result, units) in results.iter().zip(&found) {
            let now = units.get(id).map(|at| names(result, *at));
            left.retain(|name| {
                now.as_ref()
                    .is_some_and(|now| !now.gives(name) && 0 < now.uses(name))
            });
        }
        !left.is_empty() && !results.is_empty()
    })
}

fn names<'a>(version: &Version<'a, '_>, at: usize) -> Names<'a> {
    Names::within(version.pieces, at)
}

/// Where functions stand.
fn units(pieces: &Pieces<'_>) -> BTreeMap<UnitId, usize> {
    let held = (0..pieces.len()).filter_map(|at| Some((pieces.get(at).unit?, at)));
    let leaves =
        held.filter(|(held, _)| matches!(held.kind, UnitKind::Function | UnitKind::Method));
    leaves.map(|(held, at)| (held.id, at)).collect()
}
