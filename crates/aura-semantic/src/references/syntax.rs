//! What a language's table says about names that are used, and about what they are bound to.
//!
//! Invariants:
//! - a language is data: the empty table finds nothing, and a table that says too little loses references, never
//!   invents them;
//! - a part is a field of a node, or else the first child of that kind; an empty part is the first named child,
//!   `$` the last.

/// A node that calls something.
pub(crate) struct Call {
    pub(crate) node: &'static str,
    /// The part before a name that stands in a part of its own; empty where the callee is one expression.
    pub(crate) object: &'static str,
    pub(crate) callee: &'static str,
    pub(crate) arguments: &'static str,
}

/// A node that gives names a meaning.
pub(crate) struct Binding {
    pub(crate) node: &'static str,
    pub(crate) names: &'static [&'static str],
    /// The part with the declared type; empty if there is none.
    pub(crate) of_type: &'static str,
    pub(crate) value: &'static str,
}

/// What a leaf of an import stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// What the module exports without a name.
    Default,
    /// The first name of a path, which alone is bound.
    Head,
    /// The module itself, under this name.
    Module,
    /// A name, or a path whose last name is bound.
    Name,
}

/// What an import binds that names nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bare {
    /// All names of the module.
    All,
    /// The module, under its last name.
    Last,
    /// Nothing.
    Nothing,
}

/// A node that makes names of other files known.
pub(crate) struct ImportRule {
    pub(crate) node: &'static str,
    /// It is an import if it has one of these parts, or if there are none here.
    pub(crate) when: &'static [&'static str],
    /// The part that names the module; empty if paths do.
    pub(crate) module: &'static str,
    /// Lists below a common path: the kind and the part with the path.
    pub(crate) lists: &'static [(&'static str, &'static str)],
    /// Names under another name: the kind, the part with the path, the part with the other name.
    pub(crate) aliases: &'static [(&'static str, &'static str, &'static str)],
    /// Kinds that stand for all names below the path in them.
    pub(crate) wild: &'static [&'static str],
    /// A child that makes it an import of all names.
    pub(crate) star: &'static str,
    /// The kind of the parent (or empty), the kind of the leaf, and what it stands for.
    pub(crate) leaves: &'static [(&'static str, &'static str, Take)],
    pub(crate) bare: Bare,
}

/// How files and directories become modules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Modules {
    /// A path of a file, searched beside the importing one and then from wherever it ends so.
    Include,
    /// A dotted path of files and directories; dots in front go up.
    Dotted,
    /// No rule: functions and types are known everywhere.
    Everywhere,
    /// A directory is a package, known by the path below the module's name.
    Folder,
    /// Each file says of which package it is.
    Package,
    /// A path of a file relative to the importing one, without its extension.
    Relative,
    /// Files are modules below the root of a crate, with `crate`, `self` and `super`.
    Tree,
}

/// Everything that finding references needs to know about a language.
pub(crate) struct Syntax {
    /// Languages of one family know each other's names.
    pub(crate) family: &'static str,
    pub(crate) modules: Modules,
    /// Leaves that are names.
    pub(crate) names: &'static [&'static str],
    pub(crate) calls: &'static [Call],
    /// Access to a member: kind, part with the object, part with the name.
    pub(crate) members: &'static [(&'static str, &'static str, &'static str)],
    /// Kinds whose text is a path of names.
    pub(crate) paths: &'static [&'static str],
    /// Kinds that are worth what this part of them is.
    pub(crate) through: &'static [(&'static str, &'static str)],
    /// Kinds whose type is written in this part.
    pub(crate) casts: &'static [(&'static str, &'static str)],
    pub(crate) bindings: &'static [Binding],
    /// Type parameters: kind, part with the name, part with what they are at least.
    pub(crate) generics: &'static [(&'static str, &'static str, &'static str)],
    /// Kinds that end the life of what is bound in them.
    pub(crate) scopes: &'static [&'static str],
    /// Functions and types within bodies, which hide what has the same name outside.
    pub(crate) nested: &'static [&'static str],
    /// Names that refer to no unit: the kind of the parent and the field in it (or empty).
    pub(crate) labels: &'static [(&'static str, &'static str)],
    /// Fields of types: kind, part with the name, part with the type, child that must be there (or empty).
    pub(crate) fields: &'static [(&'static str, &'static str, &'static str, &'static str)],
    /// What a type is built upon: kind, part with the other types.
    pub(crate) bases: &'static [(&'static str, &'static str)],
    /// A type within another that lends it its members: kind, part with the type, part that it must not have.
    pub(crate) embeds: &'static [(&'static str, &'static str, &'static str)],
    /// The result of a function: kind, part with the type.
    pub(crate) returns: &'static [(&'static str, &'static str)],
    /// Nodes of names that are imported.
    pub(crate) imports: &'static [ImportRule],
    /// The node of a whole export and the child that makes it the one without a name.
    pub(crate) default_export: (&'static str, &'static str),
    /// The function that imports what its only argument names.
    pub(crate) require: &'static str,
    /// What stands before the name of an exported assignment.
    pub(crate) export_prefixes: &'static [&'static str],
    /// The node that says of which package the file is.
    pub(crate) package: &'static str,
    /// Words for the object whose method it is.
    pub(crate) own: &'static [&'static str],
    /// Words for its type.
    pub(crate) own_type: &'static [&'static str],
    /// Words for what its type is built upon.
    pub(crate) above: &'static [&'static str],
    /// Members are known by their bare names within their type.
    pub(crate) bare_members: bool,
    /// In patterns a name with a capital refers to something.
    pub(crate) capitals_refer: bool,
    /// Kinds of plain tokens, among which calls look like calls.
    pub(crate) tokens: &'static [&'static str],
    /// Words of types that are no types.
    pub(crate) words: &'static [&'static str],
    /// Types that are used like what is in them.
    pub(crate) wraps: &'static [&'static str],
    /// Methods whose result is used like what they were called on.
    pub(crate) passes: &'static [&'static str],
    /// Patterns that stand for what is in them.
    pub(crate) opens: &'static [&'static str],
    /// Names of methods that a call of their type calls.
    pub(crate) makers: &'static [&'static str],
    /// Methods that the types of the language itself have, so that a bare name says nothing.
    pub(crate) common: &'static [&'static str],
    /// The word in a signature that keeps a function within its file.
    pub(crate) private: &'static str,
}

/// A language of which nothing is known.
pub(crate) const NONE: Syntax = Syntax {
    family: "",
    modules: Modules::Everywhere,
    names: &[],
    calls: &[],
    members: &[],
    paths: &[],
    through: &[],
    casts: &[],
    bindings: &[],
    generics: &[],
    scopes: &[],
    nested: &[],
    labels: &[],
    fields: &[],
    bases: &[],
    embeds: &[],
    returns: &[],
    imports: &[],
    default_export: ("", ""),
    require: "",
    export_prefixes: &[],
    package: "",
    own: &["self", "this"],
    own_type: &[],
    above: &["super"],
    bare_members: false,
    capitals_refer: false,
    tokens: &[],
    words: &[],
    wraps: &[],
    passes: &[],
    opens: &[],
    makers: &[],
    common: &[],
    private: "",
};
