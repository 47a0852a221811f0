//! Three-way merge of lines.
//!
//! Invariants:
//! - verdict and clean bytes are those of git with the histogram algorithm: changes of the two
//!   sides that touch are one region, and a region is clean when one side alone changed it or
//!   both made it the same;
//! - the output is made of slices of the inputs; a line ends as it ended there;
//! - swapping the sides changes nothing but the order within a conflict.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput};

/// The outcome of a three-way merge of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineMerge {
    /// Both changes together.
    Clean(Vec<u8>),
    /// The file in order, with at least one conflict.
    Conflict(Vec<Chunk>),
}

/// A part of a merge that has conflicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Lines both sides agree on.
    Clean(Vec<u8>),
    /// Lines changed in two ways.
    Conflict {
        /// The lines both came from.
        base: Vec<u8>,
        /// One change.
        ours: Vec<u8>,
        /// The other change.
        theirs: Vec<u8>,
    },
}

/// Merges two changes of one text, line by line.
pub fn merge_lines(base: &[u8], ours: &[u8], theirs: &[u8]) -> LineMerge {
    merge(Algorithm::Histogram, base, ours, theirs, false)
}

/// The same by the algorithm of `git merge-file`.
pub fn merge_lines_by_myers(base: &[u8], ours: &[u8], theirs: &[u8]) -> LineMerge {
    merge(Algorithm::Myers, base, ours, theirs, false)
}

/// Leaves every change that not both made to a person, for answers that look clean but are not.
pub(crate) fn merge_in_doubt(base: &[u8], ours: &[u8], theirs: &[u8]) -> Vec<Chunk> {
    match merge(Algorithm::Histogram, base, ours, theirs, true) {
        LineMerge::Conflict(chunks) => chunks,
        LineMerge::Clean(_) => vec![Chunk::Conflict {
            base: base.to_vec(),
            ours: ours.to_vec(),
            theirs: theirs.to_vec(),
        }],
    }
}

fn merge(
    algorithm: Algorithm,
    base: &[u8],
    ours: &[u8],
    theirs: &[u8],
    in_doubt: bool,
) -> LineMerge {
    if !in_doubt {
        if base == ours || ours == theirs {
            return LineMerge::Clean(theirs.to_vec());
        }
        if base == theirs {
            return LineMerge::Clean(ours.to_vec());
        }
    }
    let texts = [base, ours, theirs].map(starts);
    let sides = [hunks(algorithm, base, ours), hunks(algorithm, base, theirs)];
    assemble([base, ours, theirs], &texts, &regions(&sides), in_doubt)
}

/// Offsets at which lines start, and the end of the text.
pub(crate) fn starts(text: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    starts.extend(
        text.iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .map(|(at, _)| at + 1),
    );
    if starts.last() != Some(&text.len()) {
        starts.push(text.len());
    }
    starts
}

/// Largest product of two numbers of lines that are compared by histogram; part of the protocol, as all devices must
/// merge alike.
// spec: patch/3.3
const HISTOGRAM_MAX: usize = 25_000_000;

/// A change: lines of base, lines of the side.
pub(crate) type Hunk = (Range<usize>, Range<usize>);

/// What changed between two texts, as merges see it.
pub(crate) fn hunks_by_histogram(base: &[u8], side: &[u8]) -> Vec<Hunk> {
    hunks(Algorithm::Histogram, base, side)
}

fn hunks(algorithm: Algorithm, base: &[u8], side: &[u8]) -> Vec<Hunk> {
    let input = InternedInput::new(base, side);
    // Histogram takes the product of both lengths at worst.
    let algorithm = if HISTOGRAM_MAX < input.before.len() * input.after.len() {
        Algorithm::Myers
    } else {
        algorithm
    };
    let mut diff = Diff::compute(algorithm, &input);
    // git merges without the indentation heuristic, so neither is it used here.
    diff.postprocess_no_heuristic(&input);
    let wide = |range: &Range<u32>| range.start as usize..range.end as usize;
    diff.hunks()
        .map(|hunk| (wide(&hunk.before), wide(&hunk.after)))
        .collect()
}

/// Lines of base, ours and theirs that must be judged together.
type Region = [Range<usize>; 3];

fn regions(sides: &[Vec<Hunk>; 2]) -> Vec<Region> {
    let mut at = [0_usize; 2];
    // How far each side is ahead of base, in lines.
    let mut shift = [0_isize; 2];
    let mut regions = Vec::new();
    loop {
        let next = [0, 1].map(|side: usize| sides[side].get(at[side]).map(|hunk| hunk.0.start));
        let Some(start) = next.into_iter().flatten().min() else {
            return regions;
        };
        let begin = [moved(start, shift[0]), moved(start, shift[1])];
        let mut end = start;
        let mut grown = true;
        while grown {
            grown = false;
            for side in 0..2 {
                while let Some((old, new)) = sides[side].get(at[side])
                    && old.start <= end
                {
                    end = end.max(old.end);
                    shift[side] += new.len() as isize - old.len() as isize;
                    at[side] += 1;
                    grown = true;
                }
            }
        }
        regions.push([
            start..end,
            begin[0]..moved(end, shift[0]),
            begin[1]..moved(end, shift[1]),
        ]);
    }
}

fn moved(line: usize, shift: isize) -> usize {
    line.saturating_add_signed(shift)
}

fn assemble(
    texts: [&[u8]; 3],
    starts: &[Vec<usize>; 3],
    regions: &[Region],
    in_doubt: bool,
) -> LineMerge {
    let slice = |side: usize, lines: Range<usize>| {
        let offset = |line: usize| starts[side].get(line).copied().unwrap_or(texts[side].len());
        let (from, to) = (offset(lines.start), offset(lines.end));
        &texts[side][from..to.max(from)]
    };
    let mut chunks = Vec::new();
    let mut clean: Vec<u8> = Vec::new();
    let mut at = 0;
    for [base, ours, theirs] in regions {
        clean.extend_from_slice(slice(0, at..base.start));
        at = base.end;
        let [base, ours, theirs] = [
            slice(0, base.clone()),
            slice(1, ours.clone()),
            slice(2, theirs.clone()),
        ];
        if ours == theirs || !in_doubt && base == ours {
            clean.extend_from_slice(theirs);
        } else if !in_doubt && base == theirs {
            clean.extend_from_slice(ours);
        } else {
            if !clean.is_empty() {
                chunks.push(Chunk::Clean(std::mem::take(&mut clean)));
            }
            chunks.push(Chunk::Conflict {
                base: base.to_vec(),
                ours: ours.to_vec(),
                theirs: theirs.to_vec(),
            });
        }
    }
    clean.extend_from_slice(slice(0, at..starts[0].len().saturating_sub(1)));
    if chunks.is_empty() {
        return LineMerge::Clean(clean);
    }
    if !clean.is_empty() {
        chunks.push(Chunk::Clean(clean));
    }
    LineMerge::Conflict(chunks)
}
