//! What is to be carried out of a patch on a working copy.
//!
//! Invariants:
//! - what is there already is not carried out again, and what stands in the way is never replaced;
//! - moves and the text between units leave no version behind, so they are carried out once.

use std::collections::BTreeSet;

use aura_semantic::{ContentHash, FilePatch, Indexed, Op, Touched, UnitId};

use super::{super::body::PatchBody, Relation, Standpoint, Units, has_all_units, is_placement};

impl Units {
    /// What is to be carried out of the recorded patch `index` on a working copy whose units have `contents`; nothing
    /// when all of it is there. A unit that stands in the way keeps its part back, and a file as one piece all of it;
    /// `Err` names it where nothing else is left.
    ///
    /// Moves and the text between units leave no version behind: they are carried out only when `loose` says that this
    /// copy has not done so yet.
    pub fn plan(
        &self,
        index: usize,
        body: &PatchBody,
        contents: &dyn Fn(UnitId) -> Option<ContentHash>,
        loose: Loose<'_>,
    ) -> Result<Option<Plan>, Obstacle> {
        let (mut known, mut older) = (BTreeSet::new(), BTreeSet::new());
        let (mut held, mut stands) = (BTreeSet::new(), None);
        let mut is_loose = loose.waits;
        let mut patch = body.patch.clone();
        let is_whole = patch.is_whole();
        let file = UnitId::file(&patch.path);
        if self.replaces(index, contents(file)) {
            return Ok(Some(Plan::of_seen(patch)));
        }
        for ((unit, version, _), row) in body.versions().zip(&body.patch.touched) {
            let between = unit == file && !is_whole;
            if is_placement(&patch, row) {
                known.insert(unit);
                continue;
            }
            let content = contents(unit);
            let mut here = self.standpoint(&patch.path, unit, content);
            match self.relation_to(&mut here, version) {
                // All that the patch did between units was done by whatever led to this file; if it was.
                Relation::Known if between => {
                    is_loose = is_loose && !self.led_here(&here, loose.shows);
                }
                _ if between => {}
                Relation::Known => {
                    known.insert(unit);
                }
                Relation::Forward => {
                    older.insert(unit);
                }
                Relation::Concurrent if unit == file && self.may_merge(&here) => {}
                Relation::Concurrent => {
                    let name = row.name.clone();
                    let obstacle = Obstacle { unit, name };
                    if is_whole || !is_by_itself(&patch, unit) {
                        return Err(obstacle);
                    }
                    held.insert(unit);
                    stands.get_or_insert(obstacle);
                }
            }
        }
        if is_loose {
            let is_there = |unit| known.contains(&unit) && contents(unit).is_some();
            move_again(&mut patch.ops, &is_there);
        }
        self.leave_out(index, &mut patch, is_loose, (&known, &held));
        match stands {
            Some(obstacle) if patch.ops.is_empty() => Err(obstacle),
            None if patch.ops.is_empty() => Ok(None),
            stands => Ok(Some(Plan {
                patch,
                older,
                stands,
                is_seen: false,
            })),
        }
    }
}

impl Units {
    /// A whole file without versions of its own here is merged by lines, or refused there; but of two that replaced it
    /// in different ways the second waits until somebody has settled that.
    fn may_merge(&self, here: &Standpoint) -> bool {
        !self.is_told_whole(here) && self.heads(&here.path, here.unit).len() < 2
    }

    /// Takes out of a patch what is `known` here already, and what is `held` back.
    fn leave_out(
        &self,
        index: usize,
        patch: &mut FilePatch,
        is_loose: bool,
        (known, held): (&BTreeSet<UnitId>, &BTreeSet<UnitId>),
    ) {
        // What was done to a file as one piece is known by its units, once these went on by themselves.
        let are_units_here = patch.is_whole() && has_all_units(patch, known);
        let file = UnitId::file(&patch.path);
        patch.ops.retain(|op| match op {
            Op::File { .. } => !known.contains(&file) && (is_loose || !are_units_here),
            Op::Gap { .. } => is_loose,
            Op::Move { unit, .. } => is_loose && !self.is_moved_after(index, *unit),
            op => (op.unit()).is_none_or(|unit| !known.contains(&unit) && !held.contains(&unit)),
        });
        patch.touched.retain(|row| !held.contains(&row.unit));
    }
}

/// What a working copy tells of moves and of the text between units.
#[derive(Clone, Copy)]
pub struct Loose<'a> {
    /// Whether those of the patch wait to be carried out.
    pub waits: bool,
    /// Whether the file shows what a recorded patch does between units.
    pub shows: &'a dyn Fn(usize) -> bool,
}

/// What is to be carried out on a working copy.
#[derive(Debug)]
pub struct Plan {
    /// The operations that are not there yet.
    pub patch: FilePatch,
    /// Units of which the working copy has a version that the patch follows.
    pub older: BTreeSet<UnitId>,
    /// A unit that stands in the way of the rest of the patch.
    pub stands: Option<Obstacle>,
    /// Whether whoever made the patch has seen the very file that is there.
    pub is_seen: bool,
}

impl Plan {
    /// The patch of a file of which its author has seen every byte that is there.
    fn of_seen(patch: FilePatch) -> Self {
        Self {
            older: patch.touched.iter().map(|row| row.unit).collect(),
            patch,
            stands: None,
            is_seen: true,
        }
    }

    /// A file that is deleted with every unit that `here` has of it is deleted, whatever became of the others before;
    /// `is_gone` tells of a unit whether other patches delete it.
    pub fn of_all_that_is_left(
        mut self,
        here: Option<&Indexed>,
        is_gone: &dyn Fn(UnitId) -> bool,
    ) -> Self {
        if let (true, Some(here)) = (self.patch.deletes_file(), here) {
            let gone = self.patch.touched.iter().filter(|row| row.after.is_none());
            let gone: BTreeSet<UnitId> = gone.map(|row| row.unit).collect();
            let is_left = |unit: &UnitId| {
                !(is_gone(*unit) || gone.contains(unit) && self.older.contains(unit))
            };
            let is_known = !here.ids.is_empty() || says_no_more(here, &self.patch);
            if is_known && !here.ids.iter().any(is_left) {
                self.older.insert(UnitId::file(&self.patch.path));
            }
        }
        self
    }
}

/// The unit that stands between a patch and a working copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The unit.
    pub unit: UnitId,
    /// Its name.
    pub name: String,
}

/// Whether a file without units says nothing but what a patch that deletes it with units knew of it.
pub fn says_no_more(here: &Indexed, deletion: &FilePatch) -> bool {
    let [
        Op::File {
            base_text: Some(base),
            text: None,
            ..
        },
    ] = &deletion.ops[..]
    else {
        return false;
    };
    let lines = |text| -> BTreeSet<&[u8]> {
        let lines = <[u8]>::split(text, |byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.filter(|line| !line.is_empty()).collect()
    };
    let file = UnitId::file(&deletion.path);
    let mut rows = deletion.touched.iter();
    here.ids.is_empty()
        && rows.any(|row| row.unit != file && row.before.is_some())
        && lines(&here.bytes[..]).is_subset(&lines(base.bytes()))
}

/// Whether the part of a unit in a patch can be left out: nothing else comes or goes with it as one text.
fn is_by_itself(patch: &FilePatch, unit: UnitId) -> bool {
    let named: BTreeSet<UnitId> = patch.ops.iter().filter_map(Op::unit).collect();
    let file = UnitId::file(&patch.path);
    let is_named = |row: &Touched| row.unit == file || named.contains(&row.unit);
    let goes = |op: &Op| match op {
        Op::Insert { members, .. } => members.is_empty(),
        Op::Delete { .. } => patch.touched.iter().all(is_named),
        _ => true,
    };
    let mut own = patch.ops.iter().filter(|op| op.unit() == Some(unit));
    own.clone().next().is_some() && own.all(goes)
}

/// Makes an insertion a move where the unit is there already.
// spec: patch/3.8
fn move_again(ops: &mut [Op], is_there: &dyn Fn(UnitId) -> bool) {
    for op in ops {
        if let Op::Insert {
            unit,
            name,
            parent,
            after,
            before,
            gap,
            ..
        } = op
            && is_there(*unit)
        {
            *op = Op::Move {
                unit: *unit,
                name: std::mem::take(name),
                parent: *parent,
                after: *after,
                before: *before,
                gap: std::mem::take(gap),
            };
        }
    }
}
