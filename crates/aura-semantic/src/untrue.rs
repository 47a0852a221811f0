//! Whether the versions that a patch tells of are those that its operations make.
//!
//! Invariants:
//! - a row tells of a unit that an operation names or whose text the patch carries, in the version of that text;
//! - of units that come or go with a text there are at most as many rows as the text has such units;
//! - texts are parsed only where a row needs it, within the default budget, so every device finds the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::outline::{Budget, Unit, outline};
use crate::patch::{FilePatch, OPS_MAX, Op, Touched};
use crate::value::{ContentHash, OwnText, Text, UnitId};

/// A patch that lies about what it changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the versions of {name} do not follow from the operations")]
pub struct Untrue {
    /// The unit lied about, or the file.
    pub name: String,
}

impl FilePatch {
    /// Checks that the touched units are those of the operations, in the versions that these make.
    ///
    /// A patch of a whole file may also tell of units that neither text has: that they are gone stays so.
    // spec: patch/2.8, patch/2.9
    pub fn check(&self) -> Result<(), Untrue> {
        let mut rows = BTreeMap::new();
        for row in &self.touched {
            if rows.insert(row.unit, row).is_some() {
                return Err(untrue(&row.name));
            }
        }
        if OPS_MAX < self.ops.len() || rows.is_empty() {
            return Err(untrue(&self.path));
        }
        let told = self.told(&rows)?;
        let mut others = self.touched.iter().filter(|row| !told.contains(&row.unit));
        let lie = match &self.ops[..] {
            [
                Op::File {
                    base_text, text, ..
                },
            ] => {
                let of = |text: &Option<Text>| Units::within(&self.path, text.as_ref());
                lie_of_whole(others, || (of(base_text), of(text)))
            }
            ops => {
                let mut gone = None;
                others.find(|row| {
                    let gone = gone.get_or_insert_with(|| Units::deleted(&self.path, ops));
                    let is_gone = |before| row.after.is_none() && gone.take(before);
                    !row.before.is_some_and(is_gone)
                })
            }
        };
        lie.map_or(Ok(()), |row| Err(untrue(&row.name)))
    }

    /// Whether a row tells another version of a unit that is given another place and nothing else.
    fn is_only_moved(&self, op: &Op, row: &Touched) -> bool {
        let edits = |op: &Op| match op {
            Op::Rename { unit, .. } | Op::Replace { unit, .. } => *unit == row.unit,
            _ => false,
        };
        matches!(op, Op::Move { .. }) && row.before != row.after && !self.ops.iter().any(edits)
    }

    /// The units that the operations name, each told as its operation makes it.
    fn told(&self, rows: &BTreeMap<UnitId, &Touched>) -> Result<BTreeSet<UnitId>, Untrue> {
        let file = UnitId::file(&self.path);
        let (mut told, mut placed) = (BTreeSet::new(), BTreeSet::new());
        for op in &self.ops {
            let unit = op.unit().unwrap_or(file);
            if let Op::Insert { name, .. } | Op::Move { name, .. } = op
                && !placed.insert(unit)
            {
                return Err(untrue(name));
            }
            if let Op::Move { .. } = op {
                told.insert(file);
            }
            match rows.get(&unit) {
                Some(row) if op.makes(row) && !self.is_only_moved(op, row) => told.insert(unit),
                Some(row) => return Err(untrue(&row.name)),
                None => return Err(untrue(&self.path)),
            };
            let of = |unit: &UnitId| rows.get(unit).copied();
            match op {
                Op::Insert {
                    text,
                    members,
                    name,
                    ..
                } => {
                    let are_new = members.iter().all(|member| placed.insert(*member));
                    let rows = members.iter().map(of);
                    if !are_new || !are_members(&self.path, text, of(&unit), rows) {
                        return Err(untrue(name));
                    }
                    told.extend(members);
                }
                Op::Delete {
                    base_text, name, ..
                } if !was_deleted(&self.path, base_text, of(&unit)) => {
                    return Err(untrue(name));
                }
                _ => {}
            }
        }
        Ok(told)
    }
}

fn untrue(name: &str) -> Untrue {
    Untrue {
        name: name.to_owned(),
    }
}

/// The first row of a whole file's patch that tells of what its texts do not have.
fn lie_of_whole<'a>(
    mut others: impl Iterator<Item = &'a Touched>,
    texts: impl Fn() -> (Units, Units),
) -> Option<&'a Touched> {
    let mut found = None;
    others.find(|row| {
        if row.before.is_none() && row.after.is_none() {
            return false;
        }
        let (was, is) = found.get_or_insert_with(&texts);
        let is_named = was.has(&row.name, row.before) || is.has(&row.name, row.after);
        let is_there =
            |units: &mut Units, hash: Option<ContentHash>| hash.is_none_or(|hash| units.take(hash));
        !is_named || !is_there(was, row.before) || !is_there(is, row.after)
    })
}

/// Whether the rows of an inserted unit and of its members tell of what its text has.
fn are_members<'a>(
    path: &str,
    text: &Text,
    unit: Option<&'a Touched>,
    members: impl ExactSizeIterator<Item = Option<&'a Touched>>,
) -> bool {
    let is_leaf = |row: &Touched| row.after == Some(OwnText::leaf(text.bytes()).hash());
    if members.len() == 0 && unit.is_some_and(is_leaf) {
        return true;
    }
    let units = outline(path, text.bytes(), &Budget::default()).units;
    let is_so = |(row, found): (Option<&'a Touched>, &Unit)| {
        row.is_none_or(|row| row.before.is_none() && row.after == Some(found.own_hash))
    };
    let is_whole = |first: &Unit| first.end == units.len();
    units.len() == members.len() + 1
        && units.first().is_some_and(is_whole)
        && std::iter::once(unit).chain(members).zip(&units).all(is_so)
}

/// Whether a row tells of the unit that a text is; one that was gone before may say so.
fn was_deleted(path: &str, base_text: &Text, unit: Option<&Touched>) -> bool {
    let Some(before) = unit.and_then(|row| row.before) else {
        return true;
    };
    let units = || outline(path, base_text.bytes(), &Budget::default()).units;
    before == OwnText::leaf(base_text.bytes()).hash()
        || units().first().is_some_and(|unit| unit.own_hash == before)
}

/// The units of some texts by version: of how many no row has told yet, and what they are called.
struct Units(BTreeMap<ContentHash, (usize, BTreeSet<String>)>);

impl Units {
    /// All of a text.
    fn within(path: &str, text: Option<&Text>) -> Self {
        let mut all = Self(BTreeMap::new());
        all.add(path, text.into_iter(), 0);
        all
    }

    /// Those that go with what the operations delete.
    fn deleted(path: &str, ops: &[Op]) -> Self {
        let texts = ops.iter().filter_map(|op| match op {
            Op::Delete { base_text, .. } => Some(base_text),
            _ => None,
        });
        let mut all = Self(BTreeMap::new());
        all.add(path, texts, 1);
        all
    }

    fn add<'a>(&mut self, path: &str, texts: impl Iterator<Item = &'a Text>, from: usize) {
        for text in texts {
            let units = outline(path, text.bytes(), &Budget::default()).units;
            for unit in units.into_iter().skip(from) {
                let (count, names) = self.0.entry(unit.own_hash).or_default();
                *count += 1;
                names.insert(unit.qualified);
            }
        }
    }

    fn has(&self, name: &str, hash: Option<ContentHash>) -> bool {
        let known = hash.and_then(|hash| self.0.get(&hash));
        known.is_some_and(|(_, names)| names.contains(name))
    }

    /// Takes a unit of this version; `false` when there is none left.
    fn take(&mut self, hash: ContentHash) -> bool {
        let count = self.0.get_mut(&hash).map(|(count, _)| count);
        let left = count.and_then(|count| Some((count.checked_sub(1)?, count)));
        left.map(|(less, count)| *count = less).is_some()
    }
}

impl Op {
    /// Whether it makes the version that a row tells, so far as its own texts show without being parsed.
    fn makes(&self, row: &Touched) -> bool {
        let versions = (row.before, row.after);
        match self {
            Self::Delete { .. } => row.after.is_none(),
            Self::File {
                base,
                base_text,
                text,
            } => {
                let hash = |text: &Text| ContentHash::of(text.bytes());
                let made = (base_text.as_ref().map(hash), text.as_ref().map(hash));
                *base == made.0 && versions == made
            }
            Self::Gap { .. } | Self::Move { .. } => true,
            Self::Insert { .. } => row.before.is_none() && row.after.is_some(),
            Self::Rename {
                base,
                base_text,
                text,
                ..
            }
            | Self::Replace {
                base,
                base_text,
                text,
                ..
            } => {
                let made = (Some(base_text.hash()), Some(text.hash()));
                Some(*base) == made.0 && versions == made
            }
        }
    }
}
