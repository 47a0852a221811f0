//! A file version with its units and their ids.
//!
//! Invariants:
//! - there is one id for each unit, in the order of the units;
//! - equal path, bytes, budget and past give equal ids on every machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use tree_sitter::Tree;

use crate::identity::{self, Version};
use crate::outline::{Budget, Outline, parsed_from};
use crate::reparse::Parsed;
use crate::value::{ContentHash, UnitId};

/// One version of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// The path by which ids and language were derived.
    pub path: String,
    /// The file, byte for byte.
    pub bytes: Arc<[u8]>,
    /// Its units.
    pub outline: Outline,
    /// The id of each unit.
    pub ids: Vec<UnitId>,
    /// What parsing may cost; checks of later edits use the same.
    pub budget: Budget,
}

impl Indexed {
    /// The hash of the whole file.
    pub fn hash(&self) -> ContentHash {
        ContentHash::of(&self.bytes)
    }

    /// The position of a unit in the outline.
    pub fn position(&self, id: UnitId) -> Option<usize> {
        self.ids.iter().position(|other| *other == id)
    }

    /// The first version of a file whose outline is known: what [`index`] gives without a version before.
    pub fn known(
        path: &str,
        bytes: impl Into<Arc<[u8]>>,
        outline: Outline,
        budget: &Budget,
    ) -> Self {
        Self {
            path: path.to_owned(),
            ids: identity::birth_ids(path, &outline),
            bytes: bytes.into(),
            outline,
            budget: budget.clone(),
        }
    }

    pub(crate) fn version(&self) -> Version<'_> {
        Version {
            outline: &self.outline,
            bytes: &self.bytes,
        }
    }

    /// The content that each unit has, by its id.
    pub fn contents(&self) -> BTreeMap<UnitId, ContentHash> {
        let hashes = self.outline.units.iter().map(|unit| unit.own_hash);
        self.ids.iter().copied().zip(hashes).collect()
    }

    pub(crate) fn is_structured(&self) -> bool {
        self.outline.whole_file_problem().is_none()
    }
}

/// Finds the units of a file and names them, carrying ids on from the version before.
pub fn index(
    path: &str,
    bytes: impl Into<Arc<[u8]>>,
    before: Option<&Indexed>,
    budget: &Budget,
) -> Indexed {
    index_with_tree(path, bytes, before.map(|before| (before, None)), budget).0
}

/// The same, with the syntax tree if there is one; faster where that of the version before is given.
pub(crate) fn index_with_tree(
    path: &str,
    bytes: impl Into<Arc<[u8]>>,
    before: Option<(&Indexed, Option<&Tree>)>,
    budget: &Budget,
) -> (Indexed, Option<Tree>) {
    let bytes = bytes.into();
    let known = before.and_then(|(before, tree)| {
        tree.map(|tree| Parsed {
            tree,
            bytes: &before.bytes,
        })
    });
    let (outline, tree) = parsed_from(path, &bytes, known, budget);
    let Some((before, _)) = before else {
        return (Indexed::known(path, bytes, outline, budget), tree);
    };
    let after = Version {
        outline: &outline,
        bytes: &bytes,
    };
    let indexed = Indexed {
        path: path.to_owned(),
        ids: identity::carried_ids(path, before.version(), &before.ids, after),
        bytes,
        outline,
        budget: budget.clone(),
    };
    (indexed, tree)
}

/// Carries ids from one outline to the next; the texts are needed to compare bodies.
pub fn match_outlines(
    before: (&Outline, &[u8]),
    before_ids: &[UnitId],
    after: (&Outline, &[u8]),
    path: &str,
) -> Vec<UnitId> {
    let before = Version {
        outline: before.0,
        bytes: before.1,
    };
    let after = Version {
        outline: after.0,
        bytes: after.1,
    };
    identity::carried_ids(path, before, before_ids, after)
}
