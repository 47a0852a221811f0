//! Three-way merge of whole files: lines first, syntax second, proof last.
//!
//! Invariants:
//! - what one side alone changed is taken as it is, and what git merges well by lines stays as git merges it;
//! - a clean answer has no more errors than both sides together brought, doubles no name, and keeps every line in a
//!   number between what both kept and what both together have; what was merged by syntax parses into the very tree
//!   that was meant, leaves what was put next to something there, and does not bring back what a side took out;
//! - swapping the sides gives the same verdict and, where clean, the same bytes.

mod align;
mod fate;
mod layout;
mod names;
mod odds;
mod piece;
mod reason;
mod replaced;
mod weave;

use std::collections::{BTreeMap, BTreeSet};

use tree_sitter::Tree;

use self::fate::has_lost_its_sense;
use self::layout::{Layout, plain};
use self::names::tears_names;
use self::piece::{Pieces, pieces};
pub use self::reason::{Part, Reason, Why};
use self::weave::{Woven, weave};
use crate::indexed::{Indexed, index_with_tree};
use crate::language::UnitKind;
use crate::lines::{Chunk, LineMerge, merge_in_doubt, merge_lines, merge_lines_by_myers};
use crate::markers::{Labels, render_diff3};
use crate::outline::{Budget, Problem};
use crate::value::UnitId;

/// Signs in a conflict marker, as git has them.
const MARKER_SIZE: usize = 7;

/// What made a merge clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeLevel {
    /// Lines alone.
    Lines,
    /// The identity of units.
    Units,
}

/// The outcome of a three-way merge of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileMerge {
    /// Both changes together.
    Clean {
        /// The merged file.
        bytes: Vec<u8>,
        /// How it was found.
        level: MergeLevel,
    },
    /// Changes that exclude each other.
    Conflict {
        /// The file with diff3 markers.
        bytes: Vec<u8>,
        /// The file in parts.
        chunks: Vec<Chunk>,
    },
}

/// Merges two changes of one file.
pub fn merge_files(path: &str, base: &[u8], ours: &[u8], theirs: &[u8]) -> FileMerge {
    merge_files_within(path, base, ours, theirs, &Budget::default())
}

/// Merges two changes of one file, parsing within a budget.
pub fn merge_files_within(
    path: &str,
    base: &[u8],
    ours: &[u8],
    theirs: &[u8],
    budget: &Budget,
) -> FileMerge {
    merge(path, [base, ours, theirs], budget).outcome
}

/// The outcome of a merge, and why it is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The outcome.
    pub outcome: FileMerge,
    /// Why one of the versions could only be handled as lines.
    pub problem: Option<Problem>,
    /// Why each conflict is one, in the order of the conflicts.
    pub reasons: Vec<Reason>,
}

/// Merges two changes of one file and says why.
pub fn merge_explained(
    path: &str,
    base: &[u8],
    ours: &[u8],
    theirs: &[u8],
    budget: &Budget,
) -> Explained {
    let merged = merge(path, [base, ours, theirs], budget);
    let reasons = match &merged.outcome {
        FileMerge::Clean { .. } => Vec::new(),
        FileMerge::Conflict { chunks, .. } => reason::reasons(path, chunks, merged.refused, budget),
    };
    Explained {
        outcome: merged.outcome,
        problem: merged.problem,
        reasons,
    }
}

struct Merged {
    outcome: FileMerge,
    problem: Option<Problem>,
    /// Why a merge of lines that was clean was not taken.
    refused: Option<Why>,
}

impl Merged {
    fn clean(bytes: Vec<u8>, level: MergeLevel, problem: Option<Problem>) -> Self {
        Self {
            outcome: FileMerge::Clean { bytes, level },
            problem,
            refused: None,
        }
    }

    fn laid_out(mut self, layout: Layout) -> Self {
        match &mut self.outcome {
            FileMerge::Clean { bytes, .. } => *bytes = layout.lay(bytes, true),
            FileMerge::Conflict { bytes, chunks } => {
                for (nth, chunk) in chunks.iter_mut().enumerate() {
                    let lay = |text: &mut Vec<u8>| *text = layout.lay(text, nth == 0);
                    match chunk {
                        Chunk::Clean(text) => lay(text),
                        Chunk::Conflict { base, ours, theirs } => {
                            [base, ours, theirs].into_iter().for_each(lay);
                        }
                    }
                }
                *bytes = render_diff3(chunks, MARKER_SIZE, Labels::default());
            }
        }
        self
    }
}

fn merge(path: &str, [base, ours, theirs]: [&[u8]; 3], budget: &Budget) -> Merged {
    let is_taken = [base, theirs].contains(&ours) | (theirs == base);
    if !is_taken && let Some(layout) = Layout::merged([base, ours, theirs]) {
        let [base, ours, theirs] = [base, ours, theirs].map(plain);
        return merge(path, [&base, &ours, &theirs], budget).laid_out(layout);
    }
    match merge_lines_by_myers(base, ours, theirs) {
        LineMerge::Clean(bytes) if is_taken => Merged::clean(bytes, MergeLevel::Lines, None),
        first => merge_edits(path, [base, ours, theirs], first, budget),
    }
}

/// Merges what both sides edited, of one layout, beginning with the merge by lines.
fn merge_edits(
    path: &str,
    [base, ours, theirs]: [&[u8]; 3],
    first: LineMerge,
    budget: &Budget,
) -> Merged {
    let (base_file, base_tree) = index_with_tree(path, base, None, budget);
    let known = Some((&base_file, base_tree.as_ref()));
    let side = |bytes: &[u8]| index_with_tree(path, bytes, known, budget);
    let ((ours_file, ours_tree), (theirs_file, theirs_tree)) = (side(ours), side(theirs));
    let files = [&base_file, &ours_file, &theirs_file];
    let mut problems = files.iter().map(|file| file.outline.whole_file_problem());
    let problem = problems.find_map(|problem| problem);
    let structured = problem.is_none();
    let second = match first {
        LineMerge::Clean(_) => None,
        LineMerge::Conflict(_) => Some(merge_lines(base, ours, theirs)),
    };
    let trees = [base_tree, ours_tree, theirs_tree];
    let gate = |merged: &[u8]| {
        let trees = trees.each_ref().map(Option::as_ref);
        structured.then(|| refusal(files, trees, merged)).flatten()
    };
    let (mut chunks, mut refused) = (None, None);
    for lines in [Some(first), second].into_iter().flatten() {
        match lines {
            LineMerge::Clean(merged) => match gate(&merged) {
                None => return Merged::clean(merged, MergeLevel::Lines, problem),
                Some(refusal) => refused = Some((refusal, merged)),
            },
            LineMerge::Conflict(found) => chunks = Some(found),
        }
    }
    let why = refused.as_ref().map(|(refusal, _)| refusal.why);
    let why = why.filter(|_| chunks.is_none());
    let mut chunks = chunks.unwrap_or_else(|| merge_in_doubt(base, ours, theirs));

    if structured && let [Some(base), Some(ours), Some(theirs)] = &trees {
        match by_pieces(files, [base, ours, theirs]) {
            Some(Woven { bytes, clashes, .. }) if clashes.is_empty() => {
                return Merged::clean(bytes, MergeLevel::Units, problem);
            }
            _ if let Some((refusal, merged)) = &refused
                && refusal.is_bearable =>
            {
                return Merged::clean(merged.clone(), MergeLevel::Lines, problem);
            }
            Some(woven) => {
                let woven = woven.chunks();
                if size(&woven) < size(&chunks) {
                    chunks = woven;
                }
            }
            None => {}
        }
    }
    let bytes = render_diff3(&chunks, MARKER_SIZE, Labels::default());
    Merged {
        outcome: FileMerge::Conflict { bytes, chunks },
        problem,
        refused: why,
    }
}

type Three<'a> = [&'a Indexed; 3];

/// Why a merge that looks clean is not taken.
struct Refusal {
    why: Why,
    /// Whether it is better than a conflict: all that is wrong is an import twice, and the language bears that.
    is_bearable: bool,
}

impl From<Why> for Refusal {
    fn from(why: Why) -> Self {
        Self {
            why,
            is_bearable: false,
        }
    }
}

/// How much of both sides a person has to read.
fn size(chunks: &[Chunk]) -> usize {
    let lines = |text: &[u8]| text.split_inclusive(|byte| *byte == b'\n').count();
    let sizes = chunks.iter().map(|chunk| match chunk {
        Chunk::Clean(_) => 0,
        Chunk::Conflict { ours, theirs, .. } => lines(ours) + lines(theirs),
    });
    sizes.sum()
}

/// Merges by syntax; what comes out must parse into the very tree that was meant.
fn by_pieces(files: Three<'_>, trees: [&Tree; 3]) -> Option<Woven> {
    let versions: Vec<Pieces<'_>> = files
        .iter()
        .zip(trees)
        .map(|(file, tree)| pieces(file, tree))
        .collect();
    let [base, ours, theirs] = &versions[..] else {
        return None;
    };
    let woven = weave([base, ours, theirs]).ok()?;
    // Of two that both move units about, what is whose may depend on who is asked first.
    if woven.is_moved_by_both && weave([base, theirs, ours]).ok()?.bytes != woven.bytes {
        return None;
    }
    let budget = &files[0].budget;
    if !woven.clashes.is_empty() {
        let is_sound = is_sound_either_way(files, trees, [base, ours, theirs], &woven);
        return is_sound.then_some(woven);
    }
    let known = Some((files[0], Some(trees[0])));
    let (result, tree) = index_with_tree(&files[0].path, &woven.bytes[..], known, budget);
    let found = pieces(&result, &tree?);
    let is_meant =
        found.tokens(found.root()) == woven.tokens && found.shape(found.root()) == woven.shape;
    let is_sound = ill_formed(trees.map(Some), files, &found).is_none()
        && unsound(files, &result).is_none()
        && !makes_up_import(files, &result)
        && !tears_names(files, &result)
        && !has_lost_its_sense([base, ours, theirs], &[&found]);
    (is_meant && is_sound).then_some(woven)
}

/// Whether an import of one thing names what no version does: half of its path is from either side.
fn makes_up_import(files: Three<'_>, result: &Indexed) -> bool {
    fn imports(file: &Indexed) -> impl Iterator<Item = &[u8]> {
        let units = file.outline.units.iter();
        let imports = units.filter(|unit| unit.kind == UnitKind::Import);
        imports.filter_map(|unit| file.bytes.get(unit.core.clone()))
    }
    let known: BTreeSet<&[u8]> = files.into_iter().flat_map(imports).collect();
    let is_of_one = |text: &[u8]| !text.iter().any(|byte| b",({".contains(byte));
    imports(result).any(|text| is_of_one(text) && !known.contains(text))
}

/// Whether what stands around the conflicts parses and makes sense with either side in them.
fn is_sound_either_way(
    files: Three<'_>,
    trees: [&Tree; 3],
    versions: [&Pieces<'_>; 3],
    woven: &Woven,
) -> bool {
    let known = Some((files[0], Some(trees[0])));
    let budget = &files[0].budget;
    let filled = [1, 2].map(|side| {
        let mut text = Vec::new();
        let mut from = 0;
        for left in &woven.clashes {
            text.extend_from_slice(&woven.bytes[from..left.at]);
            text.extend_from_slice(&left.texts[side]);
            from = left.at;
        }
        text.extend_from_slice(&woven.bytes[from..]);
        index_with_tree(&files[0].path, text, known, budget)
    });
    let errors_max = errors_max(files);
    let is_whole = |result: &Indexed| {
        result.outline.whole_file_problem().is_none() && result.outline.errors <= errors_max
    };
    let [(ours, Some(ours_tree)), (theirs, Some(theirs_tree))] = &filled else {
        return false;
    };
    let found = [pieces(ours, ours_tree), pieces(theirs, theirs_tree)];
    // What a conflict has in it with one side alone is no fault of what stands around it.
    let is_ill_formed = |found| ill_formed(trees.map(Some), files, found).is_some();
    let is_unsound = |result: &Indexed| unsound(files, result).is_some();
    let is_torn = |result: &Indexed| tears_names(files, result);
    is_whole(ours)
        && is_whole(theirs)
        && !found.iter().all(is_ill_formed)
        && !(is_unsound(ours) && is_unsound(theirs))
        && !(is_torn(ours) && is_torn(theirs))
        && !has_lost_its_sense(versions, &found.each_ref())
}

/// The gate: why a merge of lines may not be taken, see the invariants of this file.
fn refusal(files: Three<'_>, trees: [Option<&Tree>; 3], merged: &[u8]) -> Option<Refusal> {
    let base = files[0];
    let known = Some((base, trees[0]));
    let (result, tree) = index_with_tree(&base.path, merged, known, &base.budget);
    let found = tree.as_ref().map(|tree| pieces(&result, tree));
    let ill_formed = found.and_then(|found| ill_formed(trees, files, &found));
    ill_formed
        .map(Refusal::from)
        .or_else(|| unsound(files, &result))
}

fn unsound([base, ours, theirs]: Three<'_>, result: &Indexed) -> Option<Refusal> {
    let errors_max = errors_max([base, ours, theirs]);
    let brings_back = || brings_back([base, ours, theirs], result);
    if !result.is_structured() || errors_max < result.outline.errors {
        return Some(Why::Broken.into());
    }
    if misplaces([base, ours, theirs], result) {
        return Some(Why::Broken.into());
    }
    if !keeps_lines([&base.bytes, &ours.bytes, &theirs.bytes], &result.bytes) {
        return Some(Why::Lost.into());
    }
    let doubled = doubled_names([ours, theirs], result);
    if doubled.is_empty() {
        return brings_back().then(|| Why::BroughtBack.into());
    }
    let language = result.outline.language;
    let bears_imports = language.is_some_and(|language| !language.0.is_import_unique);
    let are_imports = doubled.iter().all(|kind| *kind == UnitKind::Import);
    Some(Refusal {
        why: Why::Doubled,
        is_bearable: bears_imports && are_imports && !brings_back(),
    })
}

/// Whether a unit stands in a function that no version has it in: its lines ended up in what they were meant to be
/// behind.
fn misplaces(files: Three<'_>, result: &Indexed) -> bool {
    fn within(file: &Indexed) -> impl Iterator<Item = (&str, UnitId)> {
        let units = &file.outline.units;
        let all = units.iter().zip(&file.ids);
        let within = all.filter(|(unit, _)| {
            let parent = unit.parent.map(|parent| units[parent].kind.sort());
            !unit.name.is_empty() && parent == Some(UnitKind::Function.sort())
        });
        within.map(|(unit, id)| (unit.name.as_str(), *id))
    }
    let (names, ids): (BTreeSet<&str>, BTreeSet<UnitId>) =
        files.into_iter().flat_map(within).unzip();
    within(result).any(|(name, id)| !names.contains(name) && !ids.contains(&id))
}

/// What each side brought may stand in the result together.
fn errors_max(files: Three<'_>) -> usize {
    let [base, ours, theirs] = files.map(|file| file.outline.errors);
    (ours + theirs).saturating_sub(base).max(ours).max(theirs)
}

/// Why what parses is not what it should be in its language: a key stands more often in one list than in any list of
/// either side, a reference leads nowhere, or a line is not in its column.
fn ill_formed(trees: [Option<&Tree>; 3], files: Three<'_>, result: &Pieces<'_>) -> Option<Why> {
    let (doubled, dangling, ragged) = (result.doubled(), result.dangling(), result.ragged());
    if doubled.is_empty() && dangling.is_empty() && ragged == 0 {
        return None;
    }
    let sides = [1, 2].map(|side| trees[side].map(|tree| pieces(files[side], tree)));
    let sides = || sides.iter().flatten();
    let known: Vec<_> = sides().map(Pieces::doubled).collect();
    let is_more = |(key, count): (&(u16, &[u8]), &usize)| {
        let most = known.iter().filter_map(|known| known.get(key)).max();
        most.is_none_or(|most| most < count)
    };
    let is_torn = |name: &&[u8]| !sides().any(|side| side.dangling().contains(name));
    if doubled.iter().any(is_more) {
        Some(Why::Doubled)
    } else if dangling.iter().any(is_torn) || sides().all(|side| side.ragged() < ragged) {
        Some(Why::Broken)
    } else {
        None
    }
}

/// The kinds of names, or imports, that stand more often in one place than on either side.
fn doubled_names([ours, theirs]: [&Indexed; 2], result: &Indexed) -> BTreeSet<UnitKind> {
    let [ours, theirs, result] = [ours, theirs, result].map(counts);
    let most = |key| ours.get(key).max(theirs.get(key)).copied().unwrap_or(1);
    let doubled = result
        .iter()
        .filter(|(key, count)| most(key).max(1) < **count);
    doubled.map(|((_, kind, ..), _)| *kind).collect()
}

type Place<'a> = (Option<UnitId>, UnitKind, &'a [u8], &'a str);

/// How often what may be defined once stands in each container.
fn counts(file: &Indexed) -> BTreeMap<Place<'_>, usize> {
    let mut counts = BTreeMap::new();
    let rules = file
        .outline
        .language
        .map_or(&[][..], |language| language.0.rules);
    // What is a module because there are keys in it is a key; other modules may be open to additions.
    let is_key = rules.iter().all(|rule| rule.kind != UnitKind::Module);
    for unit in &file.outline.units {
        // A table of TOML, though not one of several.
        let is_table = || {
            let text = file.bytes.get(unit.core.clone()).unwrap_or_default();
            text.starts_with(b"[") && !text.starts_with(b"[[")
        };
        let name = match unit.kind {
            UnitKind::Module if is_key || is_table() => unit.name.as_bytes(),
            UnitKind::Import => file.bytes.get(unit.span.clone()).unwrap_or_default(),
            UnitKind::Class
            | UnitKind::Constant
            | UnitKind::Function
            | UnitKind::Method
            | UnitKind::Type => unit.name.as_bytes(),
            _ => continue,
        };
        if !name.is_empty() {
            let parent = unit.parent.and_then(|parent| file.ids.get(parent).copied());
            let key = (parent, unit.kind.sort(), name, unit.parameters.as_str());
            *counts.entry(key).or_insert(0) += 1;
        }
    }
    counts
}

/// Whether something is there again that one side took out, under its name or the one that the other side gave it.
fn brings_back(files: Three<'_>, result: &Indexed) -> bool {
    type Names<'a> = BTreeMap<UnitId, (UnitKind, &'a str)>;
    // What is short, such as a key and its number, is alike by chance: another one in its place is no renaming.
    let says_enough = |kind| matches!(kind, UnitKind::Class | UnitKind::Function | UnitKind::Type);
    fn names(file: &Indexed) -> Names<'_> {
        let units = file.outline.units.iter().zip(&file.ids);
        units
            .map(|(unit, id)| (*id, (unit.kind.sort(), unit.name.as_str())))
            .collect()
    }
    let [base, ours, theirs] = files.map(names);
    let found = names(result);
    let of = |names: &Names<'_>| -> BTreeSet<(UnitKind, String)> {
        let all = names.values();
        all.map(|(kind, name)| (*kind, (*name).to_owned()))
            .collect()
    };
    let all = [&ours, &theirs, &found].map(of);
    let has = |names: &BTreeSet<(UnitKind, String)>, (kind, name): (UnitKind, &str)| {
        names.contains(&(kind, name.to_owned()))
    };
    base.iter().any(|(id, was)| {
        let takes_out = |names: &Names<'_>, all| !names.contains_key(id) && !has(all, *was);
        let is_back = found.get(id).is_some_and(|is| is.1 == was.1);
        let is_renamed = |by: &Names<'_>, gone: &BTreeSet<(UnitKind, String)>| {
            let now = by
                .get(id)
                .filter(|now| now.1 != was.1 && says_enough(was.0));
            now.is_some_and(|now| !now.1.is_empty() && !has(gone, *now) && has(&all[2], *now))
        };
        !was.1.is_empty()
            && (takes_out(&ours, &all[0]) && (is_back || is_renamed(&theirs, &all[0]))
                || takes_out(&theirs, &all[1]) && (is_back || is_renamed(&ours, &all[1])))
    })
}

/// Whether every line that says something stands as often as it can have been meant to.
fn keeps_lines([base, ours, theirs]: [&[u8]; 3], merged: &[u8]) -> bool {
    let mut counts: BTreeMap<&[u8], [usize; 4]> = BTreeMap::new();
    for (side, text) in [base, ours, theirs, merged].into_iter().enumerate() {
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if line
                .iter()
                .any(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
            {
                counts.entry(line).or_default()[side] += 1;
            }
        }
    }
    counts.values().all(|[base, ours, theirs, merged]| {
        // Each side may have taken out another one of them.
        let least = (ours + theirs)
            .saturating_sub(*base)
            .min(*base)
            .min(*ours)
            .min(*theirs);
        // Both sides may have added the same line to the same place.
        let most = (ours + theirs)
            .saturating_sub(*base)
            .max(*ours)
            .max(*theirs);
        // A line that no version has was put together of what both changed in it.
        let is_new = base + ours + theirs == 0;
        least <= *merged && (is_new || *merged <= most)
    })
}
