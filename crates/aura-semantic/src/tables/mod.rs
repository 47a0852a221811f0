//! One table per language, one file per family of languages.
//!
//! Invariants:
//! - everything that differs between languages is here;
//! - a kind of node without a rule becomes a statement, so a table that says too little loses
//!   names, never text;
//! - a language is there if its feature is; without any, every file is handled as a whole.

#[cfg(any(feature = "lang-c", feature = "lang-cpp"))]
mod c;
#[cfg(feature = "lang-go")]
mod go;
#[cfg(feature = "lang-java")]
mod java;
#[cfg(feature = "lang-python")]
mod python;
#[cfg(feature = "lang-rust")]
mod rust;
#[cfg(any(feature = "lang-javascript", feature = "lang-typescript"))]
mod script;

use crate::language::{Body, Naming, Rule, Table, UnitKind};

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
];

const NAME: Naming = Naming::Field("name");
const BODY: Body = Body::Field("body");
const MEMBERS: Body = Body::Members("body");

const fn rule(node: &'static str, kind: UnitKind, naming: Naming, body: Body) -> Rule {
    Rule {
        node,
        kind,
        naming,
        body,
    }
}
