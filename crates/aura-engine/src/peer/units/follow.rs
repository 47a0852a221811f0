//! What was edited while somebody took it to another file: the edit follows it there.
//!
//! Invariants:
//! - only the device that took a unit away owes this, so that it is done once;
//! - it is found from the log alone, and found again until it is done.

use std::{collections::BTreeMap, sync::Arc};

use aura_semantic::{ContentHash, OwnText, UnitId};

use super::{Bodies, Row, Units, forks::Fork, history::simple};

/// An edit of a unit that this device took out of a file and put into another one meanwhile.
#[derive(Debug, Clone)]
pub struct DueFollow {
    /// The file that the unit was in.
    pub path: String,
    /// The unit there, which this device deleted.
    pub unit: UnitId,
    /// Its name there.
    pub name: String,
    /// Where it is now: the file and the unit in it.
    pub to: (Arc<str>, UnitId),
    /// Its text when both began.
    pub base: OwnText,
    /// The text that the other gave it.
    pub theirs: OwnText,
}

impl Units {
    /// Edits that are to follow what this device took to other files.
    // spec: patch/3.12
    pub fn due_follows(&self, bodies: Bodies<'_>) -> Vec<DueFollow> {
        let open = self.forks();
        open.filter_map(|fork| self.due_follow(&fork, bodies))
            .collect()
    }

    fn due_follow(&self, fork: &Fork<'_>, bodies: Bodies<'_>) -> Option<DueFollow> {
        let [gone, edited] = match fork.content(fork.first.1) {
            None => [fork.first, fork.second],
            Some(_) => [fork.second, fork.first],
        };
        let is_placed = |recorded: usize| self.recorded[recorded].origin.seq.is_some();
        let is_mine = self.recorded[gone.0].origin.writer.peer == self.me;
        let is_gone = fork.content(gone.1).is_none() && fork.content(edited.1).is_some();
        let is_due = fork.heads.len() == 2 && is_mine && is_gone;
        if !is_due || !is_placed(gone.0) || !is_placed(edited.0) {
            return None;
        }
        let common = fork.file.graph.common(fork.unit, gone.1, edited.1)?;
        let base = self.text_of(fork, common, bodies)?;
        Some(DueFollow {
            path: fork.path.to_string(),
            unit: fork.unit,
            name: fork.name.to_owned(),
            to: self.went_to(gone.0, fork.unit, is_telling(&base))?,
            base,
            theirs: self.text_of(fork, edited.1, bodies)?,
        })
    }

    /// Where the author of a patch that deletes a unit put it: where a unit of its text and name began, within a
    /// container of any name if the text is telling, or where one of its name is in the file that most of its file
    /// went to.
    fn went_to(&self, index: usize, unit: UnitId, is_telling: bool) -> Option<(Arc<str>, UnitId)> {
        let there = self.recorded.get(index)?;
        let row = there.touched.iter().find(|row| row.0 == unit)?;
        let mut born = self.born_of(index, row).into_iter();
        let is_it =
            |(path, to): &(Arc<str>, UnitId)| is_telling || self.id_of(path, &row.1) == Some(*to);
        if let Some(found) = born.find(is_it) {
            return Some(found);
        }
        let (mut files, mut gone) = (BTreeMap::new(), 0);
        for row in there.touched.iter().filter(|row| there.is_unit(row)) {
            gone += 1;
            for (path, _) in self.born_of(index, row) {
                *files.entry(path).or_insert(0_usize) += 1;
            }
        }
        let (path, count) = files.into_iter().max_by_key(|(_, count)| *count)?;
        let to = self.id_of(&path, &row.1).filter(|_| gone <= 2 * count)?;
        Some((path, to))
    }

    /// Units of other files that began with the text and name of one that a row of a patch deletes, by the same author.
    fn born_of(&self, index: usize, (unit, name, version, _): &Row) -> Vec<(Arc<str>, UnitId)> {
        let there = &self.recorded[index];
        let parents = self.parents(&there.path, *unit, *version).iter();
        let had = parents.filter_map(|parent| self.content(&there.path, *unit, *parent)?);
        let born = |content: ContentHash| {
            let carriers = self.texts.carriers(content).into_iter();
            let others = carriers.filter(move |other| self.is_moved_between(index, *other));
            others.flat_map(move |other| {
                let here = &self.recorded[other];
                let rows = here.touched.iter().filter(move |row| {
                    simple(&row.1) == simple(name)
                        && self.is_birth(here, row)
                        && self.content(&here.path, row.0, row.2) == Some(Some(content))
                });
                rows.map(|row| (Arc::clone(&here.path), row.0))
            })
        };
        had.flat_map(born).collect()
    }
}

/// So many bytes that are not space are hardly written twice: `Self::new()` in a `default` is, in many types.
const TELLING_BYTES: usize = 64;

fn is_telling(text: &OwnText) -> bool {
    let bytes = text.head.bytes().iter();
    TELLING_BYTES <= bytes.filter(|byte| !byte.is_ascii_whitespace()).count()
}
