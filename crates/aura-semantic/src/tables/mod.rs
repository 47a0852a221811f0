//! One table per language, one file per family of languages.
//!
//! Invariants:
//! - everything that differs between languages is here;
//! - a kind of node without a rule becomes a statement, so a table that says too little loses
//!   names, never text;
//! - a language is there if its feature is; without any, every file is handled as a whole.

#[cfg(any(feature = "lang-c", feature = "lang-cpp"))]
mod c;
#[cfg(feature = "lang-csharp")]
mod csharp;
#[cfg(any(feature = "lang-json", feature = "lang-yaml", feature = "lang-toml"))]
mod data;
#[cfg(feature = "lang-go")]
mod go;
#[cfg(feature = "lang-java")]
mod java;
#[cfg(feature = "lang-kotlin")]
mod kotlin;
#[cfg(feature = "lang-lua")]
mod lua;
mod names;
#[cfg(any(feature = "lang-html", feature = "lang-css", feature = "lang-markdown"))]
mod page;
#[cfg(feature = "lang-php")]
mod php;
#[cfg(feature = "lang-python")]
mod python;
#[cfg(feature = "lang-ruby")]
mod ruby;
#[cfg(feature = "lang-rust")]
mod rust;
#[cfg(feature = "lang-scala")]
mod scala;
#[cfg(any(feature = "lang-javascript", feature = "lang-typescript"))]
mod script;
#[cfg(feature = "lang-bash")]
mod shell;
#[cfg(feature = "lang-swift")]
mod swift;

use crate::language::{Body, Naming, Overloads, Rule, Steps, Table, UnitKind, When};

/// Every language that has a grammar.
pub(crate) static TABLES: &[&Table] = &[
    #[cfg(feature = "lang-rust")]
    &rust::RUST,
    #[cfg(feature = "lang-python")]
    &python::PYTHON,
    #[cfg(feature = "lang-javascript")]
    &script::JAVASCRIPT,
    #[cfg(feature = "lang-typescript")]
    &script::TYPESCRIPT,
    #[cfg(feature = "lang-typescript")]
    &script::TSX,
    #[cfg(feature = "lang-go")]
    &go::GO,
    #[cfg(feature = "lang-java")]
    &java::JAVA,
    #[cfg(feature = "lang-c")]
    &c::C,
    #[cfg(feature = "lang-cpp")]
    &c::CPP,
    #[cfg(feature = "lang-csharp")]
    &csharp::CSHARP,
    #[cfg(feature = "lang-ruby")]
    &ruby::RUBY,
    #[cfg(feature = "lang-php")]
    &php::PHP,
    #[cfg(feature = "lang-bash")]
    &shell::BASH,
    #[cfg(feature = "lang-kotlin")]
    &kotlin::KOTLIN,
    #[cfg(feature = "lang-swift")]
    &swift::SWIFT,
    #[cfg(feature = "lang-scala")]
    &scala::SCALA,
    #[cfg(feature = "lang-lua")]
    &lua::LUA,
    #[cfg(feature = "lang-json")]
    &data::JSON,
    #[cfg(feature = "lang-yaml")]
    &data::YAML,
    #[cfg(feature = "lang-toml")]
    &data::TOML,
    #[cfg(feature = "lang-html")]
    &page::HTML,
    #[cfg(feature = "lang-css")]
    &page::CSS,
    #[cfg(feature = "lang-markdown")]
    &page::MARKDOWN,
];

const NAME: Naming = Naming::Field("name");
const BODY: Body = Body::Field("body");
const MEMBERS: Body = Body::Members("body");

/// A table that says nothing but its rules.
const fn table(
    name: &'static str,
    extensions: &'static [&'static str],
    grammar: fn() -> tree_sitter::Language,
    rules: &'static [Rule],
) -> Table {
    Table {
        name,
        extensions,
        grammar,
        rules,
        wrappers: &[],
        exports: &[],
        comments: &["comment"],
        detached: &[],
        attributes: &[],
        tails: &[],
        separator: None,
        transparent: &[],
        top: &[],
        skipped: &[],
        functions: &[],
        overloads: Overloads::No,
        hands_over: false,
        free: &[],
        keyed: &[],
        aligned: &[],
        is_import_unique: false,
        is_ambiguous: false,
        guards: &[],
        references: &names::NONE,
    }
}

const fn rule(node: &'static str, kind: UnitKind, naming: Naming, body: Body) -> Rule {
    Rule {
        node,
        when: When::Always,
        kind,
        naming,
        body,
    }
}

/// A rule with a condition.
const fn only(when: When, rule: Rule) -> Rule {
    Rule { when, ..rule }
}

const fn import(node: &'static str) -> Rule {
    rule(node, UnitKind::Import, Naming::None, Body::None)
}

/// A name at the end of steps that always lead somewhere.
const fn path(steps: Steps) -> Naming {
    Naming::Path(steps, "")
}
