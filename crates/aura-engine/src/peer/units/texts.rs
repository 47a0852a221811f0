//! Where the text of a version is: in patches, which are read again out of the log.
//!
//! Invariants:
//! - a patch that was read for a text and does not carry it is not asked for it again;
//! - what is at hand is a part of what the log has, and bounded.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use aura_semantic::{Budget, ContentHash, FilePatch, Op, OwnText, Text, UnitId, outline};

/// Patches that are asked for one text.
const CARRIERS_MAX: usize = 4;
/// Patches whose texts are kept at hand: all that are asked for both sides and the base of what is compared.
const CARRIED_MAX: usize = 3 * CARRIERS_MAX;
/// Bytes of such texts, unless one patch alone has more.
const CARRIED_BYTES_MAX: usize = 32 << 20;

/// Reads the patch of a recorded index again; `None` when it cannot be opened.
pub(super) type Read<'a> = &'a dyn Fn(usize) -> Option<FilePatch>;

/// Which recorded patches carry which text.
#[derive(Debug, Default)]
pub(super) struct Texts {
    carriers: RefCell<BTreeMap<ContentHash, Vec<usize>>>,
    /// The texts of patches that were read last.
    carried: RefCell<Carried>,
}

impl Texts {
    /// Notes what the recorded patch `index` carries.
    pub(super) fn note(&mut self, index: usize, patch: &FilePatch) {
        for content in contents_of(patch) {
            let carriers = self.carriers.get_mut().entry(content).or_default();
            // One that cannot be opened is not the only one.
            if carriers.len() < CARRIERS_MAX {
                carriers.push(index);
            }
        }
    }

    /// Patches that may carry a text.
    pub(super) fn carriers(&self, content: ContentHash) -> Vec<usize> {
        let carriers = self.carriers.borrow();
        carriers.get(&content).cloned().unwrap_or_default()
    }

    /// How many patches may carry a text.
    pub(super) fn count(&self, content: ContentHash) -> usize {
        self.carriers.borrow().get(&content).map_or(0, Vec::len)
    }

    /// The text with this content.
    pub(super) fn get(&self, content: ContentHash, read: Read<'_>) -> Option<OwnText> {
        let carriers = self.carriers.borrow().get(&content).cloned();
        let mut lacking = Vec::new();
        let found = carriers.into_iter().flatten().find_map(|index| {
            if let Some(known) = self.carried.borrow().get(index) {
                let found = known.get(&content).cloned();
                lacking.extend(found.is_none().then_some(index));
                return found;
            }
            let texts = texts_in(&read(index)?);
            let found = texts.get(&content).cloned();
            lacking.extend(found.is_none().then_some(index));
            self.carried.borrow_mut().keep(index, texts);
            found
        });
        if !lacking.is_empty()
            && let Some(carriers) = self.carriers.borrow_mut().get_mut(&content)
        {
            carriers.retain(|index| !lacking.contains(index));
        }
        found
    }
}

type ByContent = BTreeMap<ContentHash, OwnText>;

/// Texts of the patches that were read last, the newest at the end.
#[derive(Debug, Default)]
struct Carried(VecDeque<(usize, ByContent)>);

impl Carried {
    fn get(&self, index: usize) -> Option<&ByContent> {
        let found = self.0.iter().find(|(known, _)| *known == index);
        found.map(|(_, texts)| texts)
    }

    fn keep(&mut self, index: usize, texts: ByContent) {
        self.0.push_back((index, texts));
        let bytes = |texts: &ByContent| -> usize {
            let heads = texts.values().map(|text| text.head.bytes().len());
            heads.sum()
        };
        let mut all: usize = self.0.iter().map(|(_, texts)| bytes(texts)).sum();
        while CARRIED_MAX < self.0.len() || CARRIED_BYTES_MAX < all && 1 < self.0.len() {
            let oldest = self.0.pop_front();
            all -= oldest.map_or(0, |(_, texts)| bytes(&texts));
        }
    }
}

/// The contents whose texts a patch carries.
fn contents_of(patch: &FilePatch) -> BTreeSet<ContentHash> {
    let plain = patch.ops.iter().flat_map(texts_of).map(|text| text.hash());
    let carries_units =
        |op: &&Op| matches!(op, Op::Delete { .. } | Op::File { .. } | Op::Insert { .. });
    let has_units = patch.ops.iter().any(|op| carries_units(&op));
    // What another operation names is in that operation's own texts, or in none.
    let plainly = patch.ops.iter().filter(|op| !carries_units(op));
    let plainly: BTreeSet<UnitId> = plainly.filter_map(Op::unit).collect();
    let file = UnitId::file(&patch.path);
    let rows = patch.touched.iter();
    let rows = rows.filter(|row| has_units && row.unit != file && !plainly.contains(&row.unit));
    let inner = rows.flat_map(|row| [row.before, row.after]).flatten();
    plain.chain(inner).collect()
}

/// Every text that a patch carries, those of units within others included.
fn texts_in(patch: &FilePatch) -> ByContent {
    let plain = patch.ops.iter().flat_map(texts_of);
    let inner = patch.ops.iter();
    let inner = inner.flat_map(|op| inner_texts_of(&patch.path, op));
    plain.chain(inner).map(|text| (text.hash(), text)).collect()
}

/// The own texts of the units within a text that an operation carries.
fn inner_texts_of(path: &str, op: &Op) -> Vec<OwnText> {
    let texts = match op {
        Op::Delete { base_text, .. } => vec![base_text],
        Op::File {
            base_text, text, ..
        } => base_text.iter().chain(text).collect(),
        Op::Insert { text, .. } => vec![text],
        Op::Gap { .. } | Op::Move { .. } | Op::Rename { .. } | Op::Replace { .. } => Vec::new(),
    };
    let within = |text: &Text| {
        let units = outline(path, text.bytes(), &Budget::default()).units;
        let own = units.iter().map(|unit| unit.own_text(text.bytes()));
        own.collect::<Vec<_>>()
    };
    texts.into_iter().flat_map(within).collect()
}

/// The texts that an operation carries.
fn texts_of(op: &Op) -> Vec<OwnText> {
    let leaf = |text: &Text| OwnText::leaf(text.bytes());
    match op {
        Op::Replace {
            base_text, text, ..
        }
        | Op::Rename {
            base_text, text, ..
        } => vec![base_text.clone(), text.clone()],
        Op::Insert { text, .. } => vec![leaf(text)],
        Op::Delete { base_text, .. } => vec![leaf(base_text)],
        Op::File {
            base_text, text, ..
        } => base_text.iter().chain(text).map(leaf).collect(),
        Op::Gap { .. } | Op::Move { .. } => Vec::new(),
    }
}
