//! What a language table says, and which table a path has.
//!
//! Invariants:
//! - a language is data: no code here or elsewhere asks for a language by name;
//! - a node falls under the first rule of a table that has its kind and whose condition holds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::references::syntax::Syntax;
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

/// A way down from a node. Each step goes to the first of its parts that is there, see
/// [`crate::steps::part`]; a step that leads nowhere is left out.
pub(crate) type Steps = &'static [&'static [&'static str]];

/// Where a unit's name is found.
#[derive(Clone, Copy)]
pub(crate) enum Naming {
    /// The left side of an assignment, anywhere below the only child.
    Assignment,
    /// The value of the attribute of this name in the first child, behind a `#`; without one, the
    /// end of the steps.
    Attribute(&'static str, Steps),
    /// The text before the first of these parts, or all of it.
    Before(&'static [&'static str]),
    /// The first declarator of a binding; a function value makes it a function.
    Binding,
    /// The end of the first steps; a function at the end of the second makes it a function.
    Bound(Steps, Steps),
    /// Down the chain of `declarator` fields.
    Declarator,
    /// The text of a field.
    Field(&'static str),
    /// The text before the members.
    Header,
    /// `trait` for `type`.
    Impl,
    /// The end of the steps, without quotes around it or the colon of a symbol before it.
    Key(Steps),
    /// Nowhere: the unit is known by its content.
    None,
    /// The end of the steps, or this word where they lead nowhere.
    Path(Steps, &'static str),
    /// The `name` field, below the receiver's type.
    Receiver,
    /// All from the start of the end of the first steps, if that stands before, to the end of the
    /// end of the second.
    Span(Steps, Steps),
    /// The `name` of the first descendant of one of these kinds, two levels deep at most.
    Spec(&'static [&'static str]),
    /// The text before the members, which themselves stand below the end of the steps.
    Under(Steps),
}

/// Where a unit's body is, and whether it holds members.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    /// Members are the node's own children after the first token of this kind.
    After(&'static str),
    /// Members are the node's own children after the first of these parts and a comment on its
    /// last line.
    Below(&'static [&'static str]),
    /// Members are the children of the first of these parts, between braces, or to its end behind
    /// a colon or the token before it.
    Block(&'static [&'static str]),
    /// Members are the node's own children after the last of these parts, up to the closing
    /// token named second.
    Direct(&'static [&'static str], &'static str),
    /// A field that is opaque to us.
    Field(&'static str),
    /// The first of these parts, opaque to us.
    First(&'static [&'static str]),
    /// A field whose children, between braces, are members.
    Members(&'static str),
    /// A field; seen through transparent nodes it may be of one of these kinds. Then its children
    /// are members and the unit is a module; else it is opaque to us.
    Nested(&'static str, &'static [&'static str]),
    /// No body.
    None,
}

/// What must hold of a node besides its kind.
#[derive(Clone, Copy)]
pub(crate) enum When {
    /// Nothing.
    Always,
    /// A child is of one of these kinds.
    Child(&'static [&'static str]),
    /// The part named first has a child of one of these kinds.
    Holds(&'static str, &'static [&'static str]),
    /// The end of the steps is one of these words.
    Text(Steps, &'static [&'static str]),
}

/// How one node kind becomes a unit.
pub(crate) struct Rule {
    pub(crate) node: &'static str,
    pub(crate) when: When,
    pub(crate) kind: UnitKind,
    pub(crate) naming: Naming,
    pub(crate) body: Body,
}

/// What tells functions of one name apart.
#[derive(Clone, Copy)]
pub(crate) enum Overloads {
    /// The types in this part of a function.
    List(&'static str),
    /// Nothing.
    No,
    /// The types in its own children of this kind.
    Own(&'static str),
}

/// What a grammar's own scanner cannot bear; a file with more is handled as a whole.
#[derive(Clone, Copy)]
pub(crate) enum Guard {
    /// So many levels of indented blocks.
    Blocks(usize),
    /// So many elements in each other.
    Elements(usize),
    /// So many bytes in the word that ends a here-document.
    HereWord(usize),
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
    /// What stands between any two units of a container: it is no part of either.
    pub(crate) separator: Option<u8>,
    /// Node kinds without a unit of their own whose children are members.
    pub(crate) transparent: &'static [&'static str],
    /// Node kinds around all units of a file.
    pub(crate) top: &'static [&'static str],
    /// Node kinds that stay in the gap.
    pub(crate) skipped: &'static [&'static str],
    /// Node kinds of values that make a binding a function.
    pub(crate) functions: &'static [&'static str],
    /// What tells functions of one name apart.
    pub(crate) overloads: Overloads,
    /// Comments at the end of a unit that nothing closes, and no deeper than it, stand before
    /// what follows it.
    pub(crate) hands_over: bool,
    /// Node kinds whose parts may stand in any order: these kinds of parts, or all.
    pub(crate) free: &'static [(&'static str, &'static [&'static str])],
    /// Further node kinds in which no key should stand twice.
    pub(crate) keyed: &'static [&'static str],
    /// Node kinds whose parts begin in one column, as it means something.
    pub(crate) aligned: &'static [&'static str],
    /// Whether a file with one import twice is no program.
    pub(crate) is_import_unique: bool,
    pub(crate) guards: &'static [Guard],
    /// Whether a text may be read in two ways, so that it matters from which version's tree it is parsed.
    pub(crate) is_ambiguous: bool,
    /// How names are used and bound.
    pub(crate) references: &'static Syntax,
}

/// A language with a grammar.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Language(pub(crate) &'static Table);

impl Language {
    /// The lower case name.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The extensions of its files, without the dot.
    pub fn extensions(self) -> &'static [&'static str] {
        self.0.extensions
    }
}

/// Every language that there is a grammar for.
pub fn languages() -> impl Iterator<Item = Language> {
    TABLES.iter().copied().map(Language)
}

impl From<Language> for String {
    fn from(language: Language) -> Self {
        language.name().to_owned()
    }
}

impl TryFrom<String> for Language {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let found = languages().find(|language| language.name() == name);
        found.ok_or_else(|| format!("there is no grammar for {name}"))
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
