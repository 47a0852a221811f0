//! What travels between peers: operations on the units of one file, and why they may be refused.
//!
//! Invariants:
//! - an operation carries the text it was made on, so that a three-way merge never lacks its base;
//! - hashes of unit versions are [`OwnText::hash`]; hashes of files are plain.

use serde::{Deserialize, Serialize};

use crate::language::UnitKind;
use crate::outline::Problem;
use crate::value::{ContentHash, OwnText, Text, UnitId};

/// Most unit operations of one patch; a larger change travels as a whole file.
pub(crate) const OPS_MAX: usize = 4096;

/// One operation on a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Removes a unit with its members.
    Delete {
        /// The unit.
        unit: UnitId,
        /// Its name.
        name: String,
        /// Plain hash of `base_text`.
        base: ContentHash,
        /// All its text, members included.
        base_text: Text,
    },
    /// Creates (`base` none), replaces or deletes (`text` none) the whole file.
    File {
        /// Plain hash of the file before.
        base: Option<ContentHash>,
        /// The file before.
        base_text: Option<Text>,
        /// The file after.
        text: Option<Text>,
    },
    /// Changes what stands between units.
    Gap {
        /// The container; `None` for the file.
        parent: Option<UnitId>,
        /// The unit before the gap; `None` for the start of the container.
        after: Option<UnitId>,
        /// The unit behind the gap; `None` for the end of the container.
        next: Option<UnitId>,
        /// The gap before.
        base_text: Text,
        /// The gap after.
        text: Text,
    },
    /// Adds a unit with its members.
    Insert {
        /// The new unit.
        unit: UnitId,
        /// Its kind.
        kind: UnitKind,
        /// Its name.
        name: String,
        /// The container; `None` for the file.
        parent: Option<UnitId>,
        /// The unit before it.
        after: Option<UnitId>,
        /// The unit behind it.
        before: Option<UnitId>,
        /// What separates it from `after`, or from what follows if it is the first.
        gap: Text,
        /// All its text, members included.
        text: Text,
        /// Ids of the units inside, in the order of their starts.
        members: Vec<UnitId>,
    },
    /// Moves a unit with its members, text unchanged.
    Move {
        /// The unit.
        unit: UnitId,
        /// Its name.
        name: String,
        /// The new container; `None` for the file.
        parent: Option<UnitId>,
        /// The unit before it.
        after: Option<UnitId>,
        /// The unit behind it.
        before: Option<UnitId>,
        /// As in [`Op::Insert`].
        gap: Text,
    },
    /// Changes a unit's own text together with its name.
    Rename {
        /// The unit.
        unit: UnitId,
        /// The name before.
        from: String,
        /// The name after.
        to: String,
        /// Hash of `base_text`.
        base: ContentHash,
        /// The own text before.
        base_text: OwnText,
        /// The own text after.
        text: OwnText,
    },
    /// Changes a unit's own text under the same name.
    Replace {
        /// The unit.
        unit: UnitId,
        /// Its name.
        name: String,
        /// Hash of `base_text`.
        base: ContentHash,
        /// The own text before.
        base_text: OwnText,
        /// The own text after.
        text: OwnText,
    },
}

/// One change of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePatch {
    /// The file.
    pub path: String,
    /// Plain hash of the file before; `None` if there was none.
    pub base: Option<ContentHash>,
    /// Plain hash of the file after; `None` if there is none.
    pub result: Option<ContentHash>,
    /// The operations, to be applied in order.
    pub ops: Vec<Op>,
    /// Every unit whose own content changed or that moved; with a [`Op::File`], [`Op::Gap`] or [`Op::Move`] also
    /// the pseudo unit of the file, whose versions are plain hashes of the whole file.
    pub touched: Vec<Touched>,
}

/// A new version of one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// The unit.
    pub unit: UnitId,
    /// Its qualified name, or the path for a file.
    pub name: String,
    /// Its version before; `None` if it is new.
    pub before: Option<ContentHash>,
    /// Its version after; `None` if it is gone.
    pub after: Option<ContentHash>,
}

impl FilePatch {
    /// Whether it replaces the file as one piece.
    pub fn is_whole(&self) -> bool {
        matches!(self.ops[..], [Op::File { .. }])
    }

    /// Whether it deletes the file as one piece.
    pub fn deletes_file(&self) -> bool {
        matches!(self.ops[..], [Op::File { text: None, .. }])
    }
}

impl Op {
    /// The unit that it changes; `None` for the file.
    pub fn unit(&self) -> Option<UnitId> {
        match self {
            Self::Delete { unit, .. }
            | Self::Insert { unit, .. }
            | Self::Move { unit, .. }
            | Self::Rename { unit, .. }
            | Self::Replace { unit, .. } => Some(*unit),
            Self::File { .. } | Self::Gap { .. } => None,
        }
    }
}

/// Two changes of one text that exclude each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clash {
    /// The unit, or the pseudo unit of the file.
    pub unit: UnitId,
    /// Its name.
    pub name: String,
    /// What both came from; `None` if both added it.
    pub base: Option<OwnText>,
    /// What is here; `None` if it was deleted here.
    pub mine: Option<OwnText>,
    /// What was to come; `None` if it was to be deleted.
    pub theirs: Option<OwnText>,
}

/// Why an operation was not carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More than one unit could be meant, or a second unit of one name would arise.
    #[error("more than one unit is called {name}")]
    Ambiguous {
        /// The unit meant.
        unit: UnitId,
        /// Its name.
        name: String,
    },
    /// What the operation was made on is not here.
    #[error("the version of {name} that the change was made on is not here")]
    BaseMismatch {
        /// The unit meant.
        unit: UnitId,
        /// Its name.
        name: String,
    },
    /// Both sides changed the same thing.
    #[error("{} was changed in two ways", .0.name)]
    Conflict(Box<Clash>),
    /// A change of content would also change the name.
    #[error("the change of {name} would rename it to {found}")]
    NameChanged {
        /// The unit.
        unit: UnitId,
        /// Its name.
        name: String,
        /// The name found after the change.
        found: String,
    },
    /// The text is not exactly one unit, or reaches beyond its place.
    #[error("the text for {name} is not exactly one unit")]
    NotOneFunction {
        /// The unit.
        unit: UnitId,
        /// Its name.
        name: String,
    },
    /// Parsing the result went past its budget.
    #[error("parsing the result takes too long")]
    ParseBudget,
    /// The result nests too deep.
    #[error("the result is nested too deep")]
    TooDeep,
    /// The result is too large.
    #[error("the result is too large")]
    TooLarge,
    /// The file here has no units.
    #[error("the file cannot be edited by unit: {problem:?}")]
    Unsupported {
        /// Why it has none.
        problem: Problem,
    },
    /// The result would have more errors than the file has.
    #[error("{name} would not parse")]
    WouldNotParse {
        /// The unit that would be broken, or the file.
        unit: UnitId,
        /// Its name.
        name: String,
    },
}
