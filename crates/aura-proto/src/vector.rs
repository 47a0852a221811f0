//! Version vectors: what a replica holds, in a size that follows the number of writers.
//!
//! Invariants:
//! - a writer's numbers are contiguous from 1, so one number per writer says everything;
//! - a number never goes down.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Writer;

/// Highest contiguous `author_seq` held per writer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionVector(BTreeMap<Writer, u64>);

impl VersionVector {
    /// Highest contiguous number held of `writer`; 0 when nothing is held.
    pub fn get(&self, writer: &Writer) -> u64 {
        self.0.get(writer).copied().unwrap_or(0)
    }

    /// Whether entry `seq` of `writer` is held.
    pub fn holds(&self, writer: &Writer, seq: u64) -> bool {
        seq <= self.get(writer)
    }

    /// Records that everything of `writer` up to `seq` is held.
    pub fn observe(&mut self, writer: Writer, seq: u64) {
        let held = self.0.entry(writer).or_insert(0);
        *held = seq.max(*held);
    }

    /// Takes over whatever `other` holds beyond this vector.
    pub fn merge(&mut self, other: &Self) {
        for (writer, seq) in &other.0 {
            self.observe(*writer, *seq);
        }
    }

    /// Writers and their highest number, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Writer, u64)> {
        self.0.iter().map(|(writer, seq)| (writer, *seq))
    }

    /// Ranges that this vector holds and `other` lacks, as (writer, first, last).
    pub fn beyond(&self, other: &Self) -> Vec<(Writer, u64, u64)> {
        self.iter()
            .filter(|(writer, seq)| other.get(writer) < *seq)
            .map(|(writer, seq)| (*writer, other.get(writer) + 1, seq))
            .collect()
    }

    /// How many writers are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Incarnation, PeerId};

    fn writer(n: u8) -> Writer {
        Writer {
            peer: PeerId([n; 32]),
            incarnation: Incarnation(1),
        }
    }

    #[test]
    fn ranges_beyond_another_vector_are_exact() {
        let mut mine = VersionVector::default();
        mine.observe(writer(1), 5);
        mine.observe(writer(2), 3);
        let mut theirs = VersionVector::default();
        theirs.observe(writer(1), 2);
        theirs.observe(writer(2), 9);
        assert_eq!(mine.beyond(&theirs), vec![(writer(1), 3, 5)]);
    }

    #[test]
    fn a_number_never_goes_down() {
        let mut vector = VersionVector::default();
        vector.observe(writer(1), 5);
        vector.observe(writer(1), 2);
        assert_eq!(vector.get(&writer(1)), 5);
    }
}
