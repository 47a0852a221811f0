//! The units of one file version, and what could not be understood.
//!
//! Invariants:
//! - the units are in the order of their starts, every container before its members;
//! - units of one container do not overlap and lie within its inner range, so units and the gaps
//!   between them join to the file byte for byte;
//! - with a whole-file problem there are no units;
//! - the result depends on nothing but path, bytes and budget.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tree_sitter::Tree;

use crate::guard::is_too_much;
use crate::language::{Guard, Language, UnitKind, language_of};
use crate::parser::{parse, watched};
use crate::reparse::Parsed;
use crate::value::{ContentHash, OwnText, own_hash};
use crate::walk;

/// What may be spent on one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Largest file that is parsed, in bytes.
    pub bytes_max: usize,
    /// Deepest nesting of containers.
    pub depth_max: usize,
    /// Deepest nesting of brackets, or of signs like `-` in front of an operand, counted over the bytes without
    /// regard to strings.
    pub brackets_max: usize,
    /// Parser progress reports (a hundred parser operations each) allowed for any file, however
    /// small; ordinary source takes about ten a KiB. Counting instead of timing keeps two machines agreed.
    pub reports_base: usize,
    /// Parser progress reports allowed on top per started KiB of the file.
    pub reports_per_kib: usize,
    /// Parser progress reports allowed for any file, however large: 3 MiB of ordinary source.
    pub reports_max: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            bytes_max: 8 << 20,
            depth_max: 4096,
            brackets_max: 8192,
            reports_base: 2000,
            reports_per_kib: 24,
            reports_max: 32_000,
        }
    }
}

/// Why a file, or a part of it, has no units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Problem {
    /// The bytes do not look like text.
    Binary,
    /// More than a third of the file could not be parsed.
    Broken,
    /// This many regions outside of all units could not be parsed; the rest is fine.
    Errors(usize),
    /// The path's extension belongs to no grammar.
    NoGrammar,
    /// The parser did not finish within its budget.
    ParseBudget,
    /// The parser failed on this text before, and whoever watches it keeps the text from it.
    ParserFails,
    /// Nesting went past the budget.
    TooDeep,
    /// The file is larger than the budget.
    TooLarge,
}

/// One unit of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// The sort of unit.
    pub kind: UnitKind,
    /// The name in its container; empty when it has none.
    pub name: String,
    /// The name for people, through all containers.
    pub qualified: String,
    /// Parameter types, where the language tells functions apart by them.
    pub parameters: String,
    /// All of it, with attached comments and attributes.
    pub span: Range<usize>,
    /// The span without what is attached above and behind.
    pub core: Range<usize>,
    /// The name, where it is one piece of text.
    pub name_span: Option<Range<usize>>,
    /// From the start of the core to the start of the body, or all of the core.
    pub signature: Range<usize>,
    /// The body, if it has one.
    pub body: Option<Range<usize>>,
    /// Where members stand, for a container.
    pub inner: Option<Range<usize>>,
    /// The index of the container.
    pub parent: Option<usize>,
    /// The index after the last of its members and their members.
    pub end: usize,
    /// Hash of the own text.
    pub own_hash: ContentHash,
    /// It contains text that could not be parsed.
    pub opaque: bool,
    /// First line, counted from one.
    pub start_line: usize,
    /// Last line, counted from one.
    pub end_line: usize,
}

impl Unit {
    /// The unit's own text within the bytes of its file.
    pub fn own_text(&self, bytes: &[u8]) -> OwnText {
        let (head, foot) = self.own_slices(bytes);
        OwnText {
            head: head.into(),
            foot: foot.map(Into::into),
        }
    }

    pub(crate) fn own_slices<'a>(&self, bytes: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
        match &self.inner {
            None => (&bytes[self.span.clone()], None),
            Some(inner) => {
                let foot = &bytes[inner.end..self.span.end];
                (&bytes[self.span.start..inner.start], Some(foot))
            }
        }
    }
}

/// The units of a file and the problems met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// The language, if there is a grammar.
    pub language: Option<Language>,
    /// The units, containers before their members.
    pub units: Vec<Unit>,
    /// What could not be understood.
    pub problems: Vec<Problem>,
    /// Opaque units plus unparsable regions outside of units.
    pub errors: usize,
}

impl Outline {
    /// The problem for which the file can only be handled as a whole.
    pub fn whole_file_problem(&self) -> Option<Problem> {
        self.problems
            .iter()
            .copied()
            .find(|problem| !matches!(problem, Problem::Errors(_)))
    }

    fn whole_file(language: Option<Language>, problem: Problem) -> Self {
        Self {
            language,
            problems: vec![problem],
            ..Self::default()
        }
    }
}

/// Bytes at the start of a file that are looked at for binary content.
const SNIFF_BYTES: usize = 8192;
/// One NUL in this many sniffed bytes makes a file binary; source text has one in a literal.
const SNIFF_NUL_SHARE: usize = 16;

/// Finds the units of a file. Never fails: what cannot be understood is in `problems`.
pub fn outline(path: &str, bytes: &[u8], budget: &Budget) -> Outline {
    parsed(path, bytes, budget).0
}

/// The same, with the syntax tree if there is one.
pub(crate) fn parsed(path: &str, bytes: &[u8], budget: &Budget) -> (Outline, Option<Tree>) {
    parsed_from(path, bytes, None, budget)
}

/// The same, faster where the tree of a version of nearly this text is known.
pub(crate) fn parsed_from(
    path: &str,
    bytes: &[u8],
    before: Option<Parsed<'_>>,
    budget: &Budget,
) -> (Outline, Option<Tree>) {
    let language = language_of(path);
    let Some(found) = language else {
        return (Outline::whole_file(None, Problem::NoGrammar), None);
    };
    let problem = precheck(found.0.guards, bytes, budget);
    if let Some(problem) = problem {
        return (Outline::whole_file(language, problem), None);
    }
    let tree = match watched(found, path, bytes, || tree_of(found, bytes, before, budget)) {
        Some(Some(tree)) => tree,
        Some(None) => return (Outline::whole_file(language, Problem::ParseBudget), None),
        None => return (Outline::whole_file(language, Problem::ParserFails), None),
    };
    let Some(walked) = walk::walk(found.0, &tree, bytes, budget.depth_max) else {
        return (Outline::whole_file(language, Problem::TooDeep), None);
    };
    (finish(found, walked, bytes), Some(tree))
}

fn tree_of(
    language: Language,
    bytes: &[u8],
    before: Option<Parsed<'_>>,
    budget: &Budget,
) -> Option<Tree> {
    let before = before.filter(|_| !language.0.is_ambiguous);
    let edited = before.and_then(|before| before.edited(bytes));
    let tree = edited.and_then(|edited| parse(language, bytes, Some(&edited), budget));
    // In a text with errors it matters where the parser began.
    let tree = tree.filter(|tree| !tree.root_node().has_error());
    tree.or_else(|| parse(language, bytes, None, budget))
}

fn precheck(guards: &[Guard], bytes: &[u8], budget: &Budget) -> Option<Problem> {
    if bytes.len() > budget.bytes_max || u32::try_from(bytes.len()).is_err() {
        return Some(Problem::TooLarge);
    }
    let sniffed = &bytes[..bytes.len().min(SNIFF_BYTES)];
    let nuls = sniffed.iter().filter(|byte| **byte == 0).count();
    if nuls > 2 && nuls * SNIFF_NUL_SHARE > sniffed.len() {
        return Some(Problem::Binary);
    }
    let is_deep = depth(bytes) > budget.brackets_max || is_too_much(guards, bytes);
    is_deep.then_some(Problem::TooDeep)
}

/// The deepest nesting of brackets, or of signs in front of an operand, as a bound on what the parser will build.
fn depth(bytes: &[u8]) -> usize {
    let (mut brackets, mut signs, mut deepest) = (0_usize, 0_usize, 0);
    for byte in bytes {
        match byte {
            b'!' | b'&' | b'*' | b'+' | b'-' | b'~' => signs += 1,
            byte if byte.is_ascii_whitespace() => {}
            _ => signs = 0,
        }
        match byte {
            b'(' | b'[' | b'{' => brackets += 1,
            b')' | b']' | b'}' => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(brackets).max(signs);
    }
    deepest
}

fn finish(language: Language, walked: walk::Walked, bytes: &[u8]) -> Outline {
    let walk::Walked {
        mut units,
        gap_errors,
        gap_error_bytes,
    } = walked;
    let mut lines = LineCounter {
        bytes,
        at: 0,
        line: 1,
    };
    for unit in &mut units {
        unit.start_line = lines.at(unit.span.start);
        let inside = &bytes[unit.span.clone()];
        let breaks = inside.iter().filter(|byte| **byte == b'\n').count();
        unit.end_line = unit.start_line + if unit.inner.is_some() { 0 } else { breaks };
        let (head, foot) = unit.own_slices(bytes);
        unit.own_hash = own_hash(head, foot);
    }
    end_lines_of_containers(&mut units, bytes);
    let opaque = units.iter().filter(|unit| unit.opaque);
    let errors = opaque.clone().count() + gap_errors;
    // A broken unit with a name is still that unit; what has no name is text.
    let nameless = opaque.filter(|unit| unit.inner.is_none() && unit.name.is_empty());
    let lost = gap_error_bytes + nameless.map(|unit| unit.core.len()).sum::<usize>();
    let mut problems = Vec::new();
    if gap_errors > 0 {
        problems.push(Problem::Errors(gap_errors));
    }
    if lost.saturating_mul(3) > bytes.len() {
        problems.insert(0, Problem::Broken);
        units.clear();
    }
    Outline {
        language: Some(language),
        units,
        problems,
        errors,
    }
}

fn end_lines_of_containers(units: &mut [Unit], bytes: &[u8]) {
    let mut ends: Vec<usize> = (0..units.len())
        .filter(|at| units[*at].inner.is_some())
        .collect();
    ends.sort_by_key(|at| units[*at].span.end);
    let mut lines = LineCounter {
        bytes,
        at: 0,
        line: 1,
    };
    for at in ends {
        units[at].end_line = lines.at(units[at].span.end);
    }
}

/// Counts lines for offsets that never go back, so that a file is counted once.
struct LineCounter<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl LineCounter<'_> {
    fn at(&mut self, offset: usize) -> usize {
        if offset > self.at {
            let passed = &self.bytes[self.at..offset];
            self.line += passed.iter().filter(|byte| **byte == b'\n').count();
            self.at = offset;
        }
        self.line
    }
}
