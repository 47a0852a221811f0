//! Why a conflict is one, and in which unit.
//!
//! Invariants:
//! - a reason is found from the outcome alone, so it never changes what is merged;
//! - there is one for each conflict, in order; where nothing is known the unit is missing.

use std::fmt;
use std::ops::Range;

use crate::indexed::{Indexed, index};
use crate::language::UnitKind;
use crate::lines::Chunk;
use crate::outline::{Budget, Unit};
use crate::walk::is_blank;

/// Why two changes exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Both added one unit, differently.
    BothAdded,
    /// Both changed one part.
    BothChanged,
    /// Both put something at one place whose order may matter.
    BothInserted,
    /// By lines it would be clean, but bring back what one side took out.
    BroughtBack,
    /// By lines it would be clean, but not parse.
    Broken,
    /// Our side deleted what their side changed.
    DeletedByOurs,
    /// Their side deleted what our side changed.
    DeletedByTheirs,
    /// By lines it would be clean, but have a name or a key twice.
    Doubled,
    /// By lines it would be clean, but a line would be lost or stand too often.
    Lost,
    /// Both gave one unit another name.
    RenamedTwice,
}

impl Why {
    /// A word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::BothAdded => "both_added",
            Self::BothChanged => "both_changed",
            Self::BothInserted => "both_inserted",
            Self::BroughtBack => "brought_back",
            Self::Broken => "broken",
            Self::DeletedByOurs => "deleted_by_ours",
            Self::DeletedByTheirs => "deleted_by_theirs",
            Self::Doubled => "doubled",
            Self::Lost => "lost_line",
            Self::RenamedTwice => "renamed_twice",
        }
    }
}

/// The part of a unit that a conflict is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What it does.
    Body,
    /// What stands above it.
    Comment,
    /// What it is called with.
    Signature,
    /// More than one of these, or a unit that has none.
    Whole,
}

impl Part {
    /// A word for people and programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Comment => "comment",
            Self::Signature => "signature",
            Self::Whole => "whole",
        }
    }
}

/// Why one conflict is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The innermost unit that it is in: kind and full name.
    pub unit: Option<(UnitKind, String)>,
    /// The part of that unit.
    pub part: Part,
    /// Why.
    pub why: Why,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((kind, name)) = &self.unit {
            write!(f, "{kind} {name}, ")?;
        }
        let changed = match self.part {
            Part::Body => "body changed by both",
            Part::Comment => "comment changed by both",
            Part::Signature => "signature changed by both",
            Part::Whole => "changed by both",
        };
        f.write_str(match self.why {
            Why::BothAdded => "added by both",
            Why::BothChanged => changed,
            Why::BothInserted => "both inserted here",
            Why::BroughtBack => "lines alone would bring back what was removed",
            Why::Broken => "lines alone would not parse",
            Why::DeletedByOurs => "deleted by ours, changed by theirs",
            Why::DeletedByTheirs => "changed by ours, deleted by theirs",
            Why::Doubled => "lines alone would define it twice",
            Why::Lost => "lines alone would lose or repeat a line",
            Why::RenamedTwice => "renamed by both",
        })
    }
}

/// The file with every conflict settled for one side, and where they were.
struct Settled {
    file: Indexed,
    spans: Vec<Range<usize>>,
}

/// Why each conflict of a merge is one; `refused` says why clean lines were not taken.
pub(super) fn reasons(
    path: &str,
    chunks: &[Chunk],
    refused: Option<Why>,
    budget: &Budget,
) -> Vec<Reason> {
    let base = settled(path, chunks, 0, None, budget);
    let [ours, theirs] = [1, 2].map(|side| settled(path, chunks, side, Some(&base.file), budget));
    let versions = [&base, &ours, &theirs];
    let conflicts = chunks.iter().filter_map(|chunk| match chunk {
        Chunk::Clean(_) => None,
        Chunk::Conflict { base, ours, theirs } => Some([&base[..], ours, theirs]),
    });
    conflicts
        .enumerate()
        .map(|(nth, texts)| reason(versions, nth, texts, refused))
        .collect()
}

fn settled(
    path: &str,
    chunks: &[Chunk],
    side: usize,
    before: Option<&Indexed>,
    budget: &Budget,
) -> Settled {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for chunk in chunks {
        match chunk {
            Chunk::Clean(text) => bytes.extend_from_slice(text),
            Chunk::Conflict { base, ours, theirs } => {
                let text = [base, ours, theirs][side];
                let blank = text.len() - text.trim_ascii_start().len();
                let start = bytes.len() + blank;
                bytes.extend_from_slice(text);
                spans.push(start..start + text.trim_ascii().len());
            }
        }
    }
    Settled {
        file: index(path, bytes, before, budget),
        spans,
    }
}

fn reason(versions: [&Settled; 3], nth: usize, texts: [&[u8]; 3], refused: Option<Why>) -> Reason {
    // What the sides have says more than what both left behind.
    let found = [1, 2, 0].into_iter().find_map(|side: usize| {
        let Settled { file, spans } = versions[side];
        Some((side, unit_at(file, spans.get(nth)?)?))
    });
    let why = refused.unwrap_or_else(|| why(versions, nth, texts, found));
    let Some((side, at)) = found else {
        return Reason {
            unit: None,
            part: Part::Whole,
            why,
        };
    };
    let unit = &versions[side].file.outline.units[at];
    Reason {
        unit: (!unit.qualified.is_empty()).then(|| (unit.kind, unit.qualified.clone())),
        part: part(unit, &differing(&versions[side].spans[nth], texts, side)),
        why,
    }
}

/// Where in a side the texts begin and cease to differ.
fn differing(span: &Range<usize>, texts: [&[u8]; 3], side: usize) -> Range<usize> {
    let texts = texts.map(<[u8]>::trim_ascii);
    let common = |mut all: [&mut dyn Iterator<Item = &u8>; 3]| {
        let mut count = 0;
        loop {
            let [one, other, third] = all.each_mut().map(Iterator::next);
            if one.is_none() || one != other || one != third {
                return count;
            }
            count += 1;
        }
    };
    let [mut a, mut b, mut c] = texts.map(<[u8]>::iter);
    let head = common([&mut a, &mut b, &mut c]);
    let [mut a, mut b, mut c] = texts.map(|text| text[head..].iter().rev());
    let tail = common([&mut a, &mut b, &mut c]);
    let end = span.start + texts[side].len() - tail;
    span.start + head..end.max(span.start + head)
}

/// The innermost named unit around a place, or the first that begins there.
fn unit_at(file: &Indexed, span: &Range<usize>) -> Option<usize> {
    if span.is_empty() {
        return None;
    }
    let units = &file.outline.units;
    let named = |at: &usize| !units[*at].name.is_empty();
    let begun = || {
        let is_begun = |at: &usize| span.contains(&units[*at].core.start);
        (0..units.len()).filter(named).find(is_begun)
    };
    let is_around = |at: &usize| {
        let whole = &units[*at].span;
        whole.start <= span.start && span.end <= whole.end
    };
    let around = (0..units.len()).filter(named).rfind(is_around);
    match (around, begun()) {
        // What begins in a container says more than the container.
        (Some(outer), Some(inner)) if units[outer].inner.is_some() => Some(inner),
        (Some(outer), _) => Some(outer),
        (None, inner) => inner,
    }
}

fn part(unit: &Unit, span: &Range<usize>) -> Part {
    let holds = |range: &Range<usize>| range.start <= span.start && span.end <= range.end;
    match &unit.body {
        _ if span.end <= unit.core.start => Part::Comment,
        Some(body) if holds(body) => Part::Body,
        Some(_) if holds(&unit.signature) => Part::Signature,
        _ => Part::Whole,
    }
}

fn why(
    versions: [&Settled; 3],
    nth: usize,
    [base, ours, theirs]: [&[u8]; 3],
    found: Option<(usize, usize)>,
) -> Why {
    match [base, ours, theirs].map(is_blank) {
        [true, _, _] => {
            let names = [1, 2].map(|side| {
                let Settled { file, spans } = versions[side];
                let units = file.outline.units.iter();
                let begun = units.filter(|unit| spans[nth].contains(&unit.core.start));
                let named = begun.filter(|unit| !unit.name.is_empty());
                named
                    .map(|unit| (unit.kind.sort(), unit.qualified.as_str()))
                    .collect::<Vec<_>>()
            });
            match names[0].iter().any(|name| names[1].contains(name)) {
                true => Why::BothAdded,
                false => Why::BothInserted,
            }
        }
        [false, true, _] => Why::DeletedByOurs,
        [false, _, true] => Why::DeletedByTheirs,
        [false, false, false] => {
            let id = found.and_then(|(side, at)| versions[side].file.ids.get(at).copied());
            let names = versions.map(|version| {
                let at = version.file.position(id?)?;
                Some(version.file.outline.units[at].name.as_str())
            });
            match names {
                [Some(base), Some(ours), Some(theirs)]
                    if base != ours && base != theirs && ours != theirs =>
                {
                    Why::RenamedTwice
                }
                _ => Why::BothChanged,
            }
        }
    }
}
