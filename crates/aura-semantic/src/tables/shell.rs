//! Shells.

use super::{BODY, NAME, import, names, only, path, rule, table};
use crate::language::{Body, Rule, Table, UnitKind, When};

pub(super) const BASH: Table = Table {
    detached: &["#!"],
    tails: &[";", ";;"],
    references: &names::BASH,
    ..table(
        "bash",
        &["sh", "bash"],
        || tree_sitter_bash::LANGUAGE.into(),
        RULES,
    )
};

const RULES: &[Rule] = &[
    rule("function_definition", UnitKind::Function, NAME, BODY),
    rule(
        "variable_assignment",
        UnitKind::Constant,
        NAME,
        Body::Field("value"),
    ),
    rule(
        "declaration_command",
        UnitKind::Constant,
        path(&[&["variable_assignment", "variable_name"], &["name"]]),
        Body::None,
    ),
    only(
        When::Text(&[&["name"]], &["source", "."]),
        import("command"),
    ),
];
