//! What a language table says, and which table a path has.
//!
//! Invariants:
//! - a language is data: no code here or elsewhere asks for a language by name;
//! - a node kind has at most one rule in a table.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::tables::TABLES;

/// The sort of a unit.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum UnitKind {
    /// A type whose members are units: class, interface, trait.
    Class,
    /// A constant, static, variable or field.
    Constant,
    /// A function without a body.
    Declaration,
    /// A whole file, as a pseudo unit.
    File,
    /// A free function.
    Function,
    /// Members added to a type elsewhere.
    Impl,
    /// An import.
    Import,
    /// A macro.
    Macro,
    /// A function in a class or implementation.
    Method,
    /// A named or conditional group of items.
    Module,
    /// Anything else that stands by itself.
    #[default]
    Statement,
    /// A type without member units.
    Type,
}

impl UnitKind {
    /// The kind without regard to where the unit stands, so that moves keep it.
    pub(crate) fn sort(self) -> Self {
        if self == Self::Method {
            Self::Function
        } else {
            self
        }
    }

    /// A lower case word for people and keys.
    pub fn word(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Constant => "constant",
            Self::Declaration => "declaration",
            Self::File => "file",
            Self::Function => "function",
            Self::Impl => "impl",
            Self::Import => "import",
            Self::Macro => "macro",
            Self::Method => "method",
            Self::Module => "module",
            Self::Statement => "statement",
            Self::Type => "type",
        }
    }
}

impl fmt::Display for UnitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Where a unit's name is found.
#[derive(Clone, Copy)]
pub(crate) enum Naming {
    /// The left side of an assignment, anywhere below the only child.
    Assignment,
    /// The first declarator of a binding; a function value makes it a function.
    Binding,
    /// Down the chain of `declarator` fields.
    Declarator,
    /// The text of a field.
    Field(&'static str),
    /// The text before the members.
    Header,
    /// `trait` for `type`.
    Impl,
    /// Nowhere: the unit is known by its content.
    None,
    /// The `name` field, below the receiver's type.
    Receiver,
    /// The `name` of the first descendant of one of these kinds, two levels deep at most.
    Spec(&'static [&'static str]),
}

/// Where a unit's body is, and whether it holds members.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    /// Members are the node's own children after the first token of this kind.
    After(&'static str),
    /// Members are the node's own children after the last of these fields, up to the closing
    /// token named second.
    Direct(&'static [&'static str], &'static str),
    /// A field that is opaque to us.
    Field(&'static str),
    /// A field whose children, between braces, are members.
    Members(&'static str),
    /// No body.
    None,
}

/// How one node kind becomes a unit.
pub(crate) struct Rule {
    pub(crate) node: &'static str,
    pub(crate) kind: UnitKind,
    pub(crate) naming: Naming,
    pub(crate) body: Body,
}

/// Everything known about a language.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) extensions: &'static [&'static str],
    pub(crate) grammar: fn() -> tree_sitter::Language,
    pub(crate) rules: &'static [Rule],
    /// Node kinds around a unit that belong to it, and the field that holds it; an empty field
    /// means the first child that has a rule.
    pub(crate) wrappers: &'static [(&'static str, &'static str)],
    /// Wrappers that stand for an import when they wrap nothing.
    pub(crate) exports: &'static [&'static str],
    pub(crate) comments: &'static [&'static str],
    /// Comment openings that speak of the file, not of the next unit.
    pub(crate) detached: &'static [&'static str],
    /// Node kinds that belong to the unit below them.
    pub(crate) attributes: &'static [&'static str],
    /// Node kinds that close the unit before them.
    pub(crate) tails: &'static [&'static str],
    /// Node kinds without a unit of their own whose children are members.
    pub(crate) transparent: &'static [&'static str],
    /// Node kinds that stay in the gap.
    pub(crate) skipped: &'static [&'static str],
    /// Node kinds of values that make a binding a function.
    pub(crate) functions: &'static [&'static str],
    /// Whether parameter types tell functions of one name apart.
    pub(crate) overloads: bool,
}

/// A language with a grammar.
#[derive(Clone, Copy)]
pub struct Language(pub(crate) &'static Table);

impl Language {
    /// The lower case name.
    pub fn name(self) -> &'static str {
        self.0.name
    }
}

impl PartialEq for Language {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Language {}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

/// Finds the language of a path by its extension.
pub fn language_of(path: &str) -> Option<Language> {
    let file = path.rsplit(['/', '\\']).next()?;
    let (_, extension) = file.rsplit_once('.')?;
    let holds = |table: &&Table| table.extensions.contains(&extension);
    let lower = extension.to_ascii_lowercase();
    let folded = |table: &&Table| table.extensions.contains(&lower.as_str());
    TABLES
        .iter()
        .copied()
        .find(holds)
        .or_else(|| TABLES.iter().copied().find(folded))
        .map(Language)
}
