//! What one file defines, uses and imports, in a form that is small and does not depend on other files.
//!
//! Invariants:
//! - names stand once in a sorted pool; everything else refers to them by position;
//! - every list has a limit, so that a hostile file costs no more than a large one;
//! - equal files give equal values.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::language::{Language, UnitKind};
use crate::references::syntax::Syntax;
use crate::value::UnitId;

/// Most uses kept of one file: a file of 8 MiB with a use every 64 bytes.
pub(crate) const USES_MAX: usize = 1 << 17;
/// Most names in all chains of one file: four for each use.
pub(crate) const PARTS_MAX: usize = USES_MAX * 4;
/// Most imports kept of one file.
pub(crate) const IMPORTS_MAX: usize = 1 << 12;
/// Most fields and most bases kept of one file.
pub(crate) const FIELDS_MAX: usize = 1 << 15;
/// Most names in one chain; a longer one is cut, and what it begins with is unknown.
pub(crate) const CHAIN_MAX: usize = 32;
/// Longest name kept, in bytes; longer ones refer to nothing.
pub(crate) const NAME_BYTES_MAX: usize = 240;

/// What happens at one name of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Step {
    /// It is only named.
    Plain,
    /// It is called, with so many arguments.
    Call(u8),
    /// A value of this type is at hand.
    Made,
}

/// One name of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: u32,
    pub(crate) step: Step,
}

/// Names joined by member access, as positions in the list of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Chain {
    pub(crate) start: u32,
    pub(crate) len: u8,
    /// What the first name is a member of is known; it is a name of the scope.
    pub(crate) rooted: bool,
}

/// The unit of what stands outside of all units.
pub(crate) const NO_UNIT: u32 = u32::MAX;

/// A chain within a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Use {
    pub(crate) unit: u32,
    pub(crate) chain: Chain,
}

/// A unit, or a further name of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Definition {
    pub(crate) unit: u32,
    /// The last name, without what contains it.
    pub(crate) name: u32,
    pub(crate) qualified: u32,
    pub(crate) kind: UnitKind,
    /// How many parameters it takes, if it says so.
    pub(crate) parameters: Option<u8>,
    /// The declared type, the result's type, or the value.
    pub(crate) of: Option<Chain>,
    pub(crate) is_private: bool,
}

/// A field of a type that is no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Field {
    /// The qualified name of the type.
    pub(crate) owner: u32,
    pub(crate) name: u32,
    pub(crate) of: Option<Chain>,
    /// The unit in which it is said.
    pub(crate) unit: u32,
}

/// A name that another file gives a meaning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Import {
    /// The qualified name of the module within the file where it stands; empty for the file.
    pub(crate) within: u32,
    /// The name bound; without one, all names.
    pub(crate) bound: Option<u32>,
    /// The module in the language's own words; empty for none.
    pub(crate) module: u32,
    /// The path below the module.
    pub(crate) path: Chain,
}

/// A unit as the graph knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) id: UnitId,
    pub(crate) qualified: u32,
    pub(crate) kind: UnitKind,
    pub(crate) line: u32,
}

/// Names in rising order, in one piece: a repository has millions of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pool {
    text: Box<str>,
    ends: Box<[u32]>,
}

impl Pool {
    /// The names must be in rising order.
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for name in names {
            text.push_str(name);
            ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
        }
        Self {
            text: text.into(),
            ends: ends.into(),
        }
    }

    fn get(&self, at: u32) -> &str {
        let at = at as usize;
        let end = |at: usize| self.ends.get(at).map_or(0, |end| *end as usize);
        let start = at.checked_sub(1).map_or(0, end);
        self.text.get(start..end(at)).unwrap_or_default()
    }

    fn find(&self, text: &str) -> Option<u32> {
        let count = u32::try_from(self.ends.len()).ok()?;
        let (mut from, mut to) = (0, count);
        while from < to {
            let middle = from + (to - from) / 2;
            match self.get(middle).cmp(text) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => to = middle,
            }
        }
        None
    }
}

/// What one file defines, uses and imports: see [`crate::references`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReferences {
    pub(crate) language: Option<Language>,
    pub(crate) pool: Pool,
    pub(crate) parts: Vec<Part>,
    pub(crate) units: Vec<Known>,
    pub(crate) definitions: Vec<Definition>,
    /// Positions of definitions in the order of their qualified names.
    pub(crate) by_qualified: Vec<u32>,
    pub(crate) uses: Vec<Use>,
    /// In the order of what they bind, those of all names first.
    pub(crate) imports: Vec<Import>,
    /// In the order of types and names.
    pub(crate) fields: Vec<Field>,
    /// The qualified name of a type, and one that it is built upon; in the order of names.
    pub(crate) bases: Vec<(u32, Chain)>,
    /// The package that the file says it is of, or the name that a manifest gives to its directory.
    pub(crate) package: Option<Box<str>>,
    /// Some of it went past a limit and was left out.
    pub(crate) cut: bool,
}

impl FileReferences {
    /// How many different references its units make.
    pub fn uses_count(&self) -> usize {
        self.uses.len()
    }

    /// How many names it defines.
    pub fn definitions_count(&self) -> usize {
        self.definitions.len()
    }

    /// Whether a limit was reached, so that some references are missing.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Gives back the room that lists took to grow: they change no more.
    pub(crate) fn shrink(&mut self) {
        self.parts.shrink_to_fit();
        self.units.shrink_to_fit();
        self.definitions.shrink_to_fit();
        self.uses.shrink_to_fit();
        self.imports.shrink_to_fit();
        self.fields.shrink_to_fit();
        self.bases.shrink_to_fit();
    }

    pub(crate) fn syntax(&self) -> &'static Syntax {
        self.language
            .map_or(&super::syntax::NONE, |language| language.0.references)
    }

    pub(crate) fn text(&self, name: u32) -> &str {
        self.pool.get(name)
    }

    pub(crate) fn chain(&self, chain: Chain) -> &[Part] {
        let start = chain.start as usize;
        let end = start.saturating_add(usize::from(chain.len));
        self.parts.get(start..end).unwrap_or_default()
    }

    /// The position of a name in the pool.
    pub(crate) fn name(&self, text: &str) -> Option<u32> {
        self.pool.find(text)
    }

    /// The imports of all names of some module.
    pub(crate) fn wild_imports(&self) -> &[Import] {
        let end = self
            .imports
            .partition_point(|import| import.bound.is_none());
        &self.imports[..end]
    }

    /// The imports that bind a name, in the order of the file.
    pub(crate) fn imports_of(&self, bound: &str) -> &[Import] {
        let Some(wanted) = self.name(bound) else {
            return &[];
        };
        let from = self
            .imports
            .partition_point(|import| import.bound < Some(wanted));
        let to = self
            .imports
            .partition_point(|import| import.bound <= Some(wanted));
        &self.imports[from..to]
    }

    /// The first field of this name that a type has.
    pub(crate) fn field(&self, owner: u32, name: &str) -> Option<&Field> {
        let key = (owner, self.name(name)?);
        let of = |field: &Field| (field.owner, field.name);
        let at = self.fields.partition_point(|field| of(field) < key);
        self.fields.get(at).filter(|field| of(field) == key)
    }

    /// What a type is built upon.
    pub(crate) fn bases(&self, owner: u32) -> impl Iterator<Item = Chain> + '_ {
        let from = self.bases.partition_point(|base| base.0 < owner);
        let rest = self.bases[from..]
            .iter()
            .take_while(move |base| base.0 == owner);
        rest.map(|base| base.1)
    }

    /// The definitions of a qualified name, in the order of the file.
    pub(crate) fn defined(&self, qualified: &str) -> impl Iterator<Item = usize> + '_ {
        let wanted = self.name(qualified);
        let of = |at: &u32| self.definitions[*at as usize].qualified;
        let from = wanted.map_or(self.by_qualified.len(), |wanted| {
            self.by_qualified.partition_point(|at| of(at) < wanted)
        });
        let rest = self.by_qualified[from..].iter();
        rest.take_while(move |at| Some(of(at)) == wanted)
            .map(|at| *at as usize)
    }
}
