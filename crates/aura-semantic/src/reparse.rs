//! Parsing a version of a text from the tree of another version.
//!
//! Invariants:
//! - the tree that comes out is the one that parsing the text alone gives: where the parser has to recover from an
//!   error, and so depends on where it began, nothing is reused, nor where a grammar reads one text in two ways;
//! - a hint at worst costs time: what stands in no hunk is equal in both texts.

use tree_sitter::{InputEdit, Point, Tree};

use crate::lines::{hunks_by_histogram, starts};

/// A version whose tree is known.
#[derive(Clone, Copy)]
pub(crate) struct Parsed<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) bytes: &'a [u8],
}

impl Parsed<'_> {
    /// Its tree with the places marked that another version changes; none where nothing may be reused.
    pub(crate) fn edited(self, after: &[u8]) -> Option<Tree> {
        if self.tree.root_node().has_error() {
            return None;
        }
        let lines = [self.bytes, after].map(starts);
        let at = |side: usize, line: usize| {
            let starts: &[usize] = &lines[side];
            starts.get(line).or(starts.last()).copied().unwrap_or(0)
        };
        let row = |row| Point { row, column: 0 };
        let mut tree = self.tree.clone();
        // From the end on, so that what is in front of a hunk stands where it stood.
        for (old, new) in hunks_by_histogram(self.bytes, after).iter().rev() {
            let start = at(0, old.start);
            let length = at(1, new.end) - at(1, new.start);
            tree.edit(&InputEdit {
                start_byte: start,
                old_end_byte: at(0, old.end),
                new_end_byte: start + length,
                start_position: row(old.start),
                old_end_position: row(old.end),
                new_end_position: row(old.start + new.len()),
            });
        }
        Some(tree)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{env, fs, path::Path};

    use super::*;
    use crate::outline::{Budget, parsed, parsed_from};

    /// Kind, error, start and end of each node, in order.
    fn nodes(tree: &Tree) -> Vec<(u16, bool, usize, usize)> {
        let mut cursor = tree.walk();
        let mut nodes = Vec::new();
        loop {
            let node = cursor.node();
            let is_odd = node.is_error() || node.is_missing();
            nodes.push((node.kind_id(), is_odd, node.start_byte(), node.end_byte()));
            if cursor.goto_first_child() {
                continue;
            }
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return nodes;
                }
            }
        }
    }

    fn roll(seed: &mut u64, sides: usize) -> usize {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        (*seed % sides as u64) as usize
    }

    /// Some lines taken out, doubled, exchanged or cut short, wherever they stand.
    fn edited(bytes: &[u8], seed: &mut u64) -> Vec<u8> {
        let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        for _ in 0..=roll(seed, 4) {
            let at = roll(seed, lines.len());
            let other = roll(seed, lines.len());
            match roll(seed, 4) {
                0 if lines.len() > 1 => drop(lines.remove(at)),
                1 => lines.insert(other, lines[at]),
                2 => lines.swap(at, other),
                _ => lines[at] = &lines[at][roll(seed, lines[at].len())..],
            }
        }
        lines.concat()
    }

    #[test]
    fn from_the_tree_of_another_version_comes_the_tree_that_the_text_alone_gives() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let (mut reused, mut files) = (0, 0);
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let before = fs::read(&path).unwrap();
            let budget = Budget::default();
            let (_, Some(tree)) = parsed(name, &before, &budget) else {
                continue;
            };
            files += 1;
            let mut seed = 0x9e37_79b9_7f4a_7c15_u64 ^ files;
            for round in 0..100 {
                let after = edited(&before, &mut seed);
                let known = Parsed {
                    tree: &tree,
                    bytes: &before,
                };
                let (outline, from) = parsed_from(name, &after, Some(known), &budget);
                let (alone, fresh) = parsed(name, &after, &budget);
                assert_eq!(outline, alone, "{name}, round {round}");
                let [from, fresh] = [&from, &fresh].map(|tree| tree.as_ref().map(nodes));
                assert!(from == fresh, "{name}, round {round}");
                let is_reused = known.edited(&after).is_some() && alone.errors == 0;
                reused += usize::from(is_reused);
            }
        }
        assert!(files > 20 && reused > 500, "{files}, {reused}");
    }
}
