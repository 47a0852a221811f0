//! Saves out of an editor that has not seen what was written into its file meanwhile.
//!
//! Whoever saves such a file changes something and gives every function back the text that it had when the editor
//! read it. What a colleague did would be taken back for everybody, and nobody would have meant it.
//!
//! Invariants:
//! - a function is given the colleague's text again only where the save has all of the text before it, and changes
//!   something else: who takes a change back and does nothing else means it;
//! - it is done once for each change, so who saves the old text again means it, too.

use std::collections::{BTreeMap, VecDeque};

use aura_api::Failure;
use aura_proto::RepoPath;
use aura_semantic::{ContentHash, Indexed, OwnText, UnitId, merge_own, splice};
use aura_tree::{Expect, WriteRefusal};

use super::{Desk, storage, take::MOVED_RETRY_MS};

/// Most changes of others that are remembered.
const ROWS_MAX: usize = 1_000;

/// What somebody else's change made of a function in a file.
#[derive(Debug)]
struct Row {
    path: RepoPath,
    unit: UnitId,
    before: OwnText,
    after: ContentHash,
}

/// What others changed in the files lately.
#[derive(Debug, Default)]
pub(super) struct Lately {
    rows: VecDeque<Row>,
}

impl Lately {
    /// Takes in what a patch of somebody else made of a file.
    pub(super) fn note(
        &mut self,
        path: &RepoPath,
        before: Option<&Indexed>,
        after: Option<&Indexed>,
    ) {
        let (Some(before), Some(after)) = (before, after) else {
            return;
        };
        let now: BTreeMap<UnitId, ContentHash> = contents(after).collect();
        for (nth, (unit, content)) in contents(before).enumerate() {
            let Some(now) = now.get(&unit).filter(|now| **now != content) else {
                continue;
            };
            self.rows.push_back(Row {
                path: path.clone(),
                unit,
                before: before.outline.units[nth].own_text(&before.bytes),
                after: *now,
            });
        }
        let more = self.rows.len().saturating_sub(ROWS_MAX);
        self.rows.drain(..more);
    }

    /// Takes what is known of a file out.
    fn take(&mut self, path: &RepoPath) -> Vec<Row> {
        let rows = std::mem::take(&mut self.rows).into_iter();
        let (of_it, others) = rows.partition(|row: &Row| row.path == *path);
        self.rows = others;
        Vec::from_iter::<VecDeque<Row>>(of_it)
    }
}

fn contents(file: &Indexed) -> impl Iterator<Item = (UnitId, ContentHash)> + '_ {
    let units = file.outline.units.iter().map(|unit| unit.own_hash);
    file.ids.iter().copied().zip(units)
}

impl Desk {
    /// Gives functions what others did to them while the editor that saved this file had not read it again.
    pub(super) fn bring_up_to_date(&mut self, path: &RepoPath) -> Result<(), Failure> {
        if !self.lately.rows.iter().any(|row| row.path == *path) {
            return Ok(());
        }
        let Ok(disk) = self.copy.root().read_file(path) else {
            return Ok(());
        };
        if self.shadows.equals(path, &disk.bytes) {
            return Ok(());
        }
        let Some(shadow) = self.shadow(path)? else {
            return Ok(());
        };
        let expect = Expect::Hash(blake3::hash(&disk.bytes));
        let saved = aura_semantic::index(path.as_str(), disk.bytes, Some(&shadow), &self.budget);
        let rows = self.lately.take(path);
        let Some(mended) = mended(&rows, &shadow, &saved) else {
            // What the file still has of it may yet be overwritten.
            let is_there = |row: &Row| content_of(&saved, row.unit) == Some(row.after);
            self.lately.rows.extend(rows.into_iter().filter(is_there));
            return Ok(());
        };
        let now_ms = self.clock.mono_ms();
        match self.copy.replace(now_ms, path, expect, Some(&mended.bytes)) {
            Ok(_) => {
                let text = format!(
                    "{} was saved by an editor that had not seen what others did to it; theirs is there again",
                    path.as_str()
                );
                self.notice("kept", None, text);
                Ok(())
            }
            Err(WriteRefusal::Moved) => {
                self.lately.rows.extend(rows);
                self.retry_in(MOVED_RETRY_MS);
                Ok(())
            }
            Err(refusal) => Err(storage(&refusal)),
        }
    }
}

fn content_of(file: &Indexed, unit: UnitId) -> Option<ContentHash> {
    Some(file.outline.units[file.position(unit)?].own_hash)
}

fn text_of(file: &Indexed, unit: UnitId) -> Option<OwnText> {
    Some(file.outline.units[file.position(unit)?].own_text(&file.bytes))
}

/// The saved file with what others did, if the save is one of an editor that had not seen it.
fn mended(rows: &[Row], shadow: &Indexed, saved: &Indexed) -> Option<Indexed> {
    let mut mended = saved.clone();
    let mut reverted = shadow.clone();
    let mut count = 0;
    for row in rows {
        let (Some(theirs), Some(mine)) = (text_of(shadow, row.unit), text_of(saved, row.unit))
        else {
            continue;
        };
        // Did the save take all of it back?
        let is_back = theirs != mine
            && theirs.hash() == row.after
            && merge_own(&saved.path, &theirs, &row.before, &mine).as_ref() == Some(&mine);
        if !is_back {
            continue;
        }
        let Some(both) = merge_own(&saved.path, &row.before, &theirs, &mine) else {
            continue;
        };
        mended = splice(&mended, row.unit, &both).ok()?.after?;
        reverted = splice(&reverted, row.unit, &row.before).ok()?.after?;
        count += 1;
    }
    let is_all = reverted.bytes == saved.bytes;
    (0 < count && !is_all).then_some(mended)
}
