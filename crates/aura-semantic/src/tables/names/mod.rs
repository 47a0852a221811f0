//! How names are used and bound, one table per family of languages.
//!
//! Invariants:
//! - everything about references that differs between languages is here;
//! - a table that says too little loses references, never invents them.
#![cfg_attr(
    not(feature = "default"),
    allow(
        unused_imports,
        reason = "what only the tables of absent languages name"
    )
)]

mod c;
mod go;
mod java;
mod plain;
mod python;
mod rust;
mod script;

pub(super) use crate::references::syntax::NONE;
pub(super) use c::{C, CPP};
pub(super) use go::GO;
pub(super) use java::JAVA;
pub(super) use plain::{BASH, CSHARP, KOTLIN, LUA, PHP, RUBY, SCALA, SWIFT};
pub(super) use python::PYTHON;
pub(super) use rust::RUST;
pub(super) use script::SCRIPT;

use crate::references::syntax::{Bare, Binding, Call, ImportRule};

/// A call whose callee is one expression.
const fn call(node: &'static str, callee: &'static str, arguments: &'static str) -> Call {
    Call {
        node,
        object: "",
        callee,
        arguments,
    }
}

/// A call with the object and the name in parts of their own.
const fn call_on(
    node: &'static str,
    object: &'static str,
    callee: &'static str,
    arguments: &'static str,
) -> Call {
    Call {
        node,
        object,
        callee,
        arguments,
    }
}

const fn bind(
    node: &'static str,
    names: &'static [&'static str],
    of_type: &'static str,
    value: &'static str,
) -> Binding {
    Binding {
        node,
        names,
        of_type,
        value,
    }
}

const IMPORT: ImportRule = ImportRule {
    node: "",
    when: &[],
    module: "",
    lists: &[],
    aliases: &[],
    wild: &[],
    star: "",
    leaves: &[],
    bare: Bare::Nothing,
};
