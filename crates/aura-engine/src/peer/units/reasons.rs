//! Reasons that authors give to patches which they published before.
//!
//! Invariant: a patch keeps the first reason that it got.

use aura_proto::Writer;

use super::{Origin, Recorded, Units};

impl Units {
    /// The index of the recorded patch of an entry.
    pub fn index_of(&self, writer: Writer, author_seq: u64) -> Option<usize> {
        self.by_entry.get(&(writer, author_seq)).copied()
    }

    /// Takes the reason that its author gave later for an entry; the first reason stays.
    /// Answers the index of the patch that has it now.
    // spec: patch/5.2
    pub fn explain(&mut self, writer: Writer, author_seq: u64, why: &str) -> Option<usize> {
        let index = *self.by_entry.get(&(writer, author_seq))?;
        let recorded = &mut self.recorded[index];
        if recorded.why.is_some() {
            return None;
        }
        recorded.why = Some(why.to_owned());
        Some(index)
    }

    /// The newest entry of its author that tells what this one tells: itself, unless it was written again.
    pub fn retold(&self, writer: Writer, author_seq: u64) -> Option<Origin> {
        let told = self.of_entry(writer, author_seq)?;
        let is_same = |recorded: &&Recorded| {
            recorded.origin.writer.peer == writer.peer && recorded.touched == told.touched
        };
        let newest = self.recorded.iter().rev().find(is_same);
        newest.map(|recorded| recorded.origin)
    }
}
