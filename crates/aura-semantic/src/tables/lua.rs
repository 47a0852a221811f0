//! Lua.

use super::{BODY, NAME, names, rule, table};
use crate::language::{Body, Naming, Rule, Table, UnitKind};

pub(super) const LUA: Table = Table {
    tails: &[";", "empty_statement"],
    skipped: &["hash_bang_line"],
    functions: &["function_definition"],
    free: &[("table_constructor", &["field"])],
    references: &names::LUA,
    ..table("lua", &["lua"], || tree_sitter_lua::LANGUAGE.into(), RULES)
};

const RULES: &[Rule] = &[
    rule("function_declaration", UnitKind::Function, NAME, BODY),
    rule(
        "assignment_statement",
        UnitKind::Constant,
        BOUND,
        Body::None,
    ),
    rule(
        "variable_declaration",
        UnitKind::Constant,
        BOUND,
        Body::None,
    ),
];

const BOUND: Naming = Naming::Bound(
    &[&["assignment_statement"], &["variable_list"], &["name"]],
    &[&["assignment_statement"], &["expression_list"], &["value"]],
);
