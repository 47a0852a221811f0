//! Go.

use super::{BODY, NAME, names, rule};
use crate::language::{Body, Naming, Overloads, Table, UnitKind};

pub(super) const GO: Table = Table {
    name: "go",
    extensions: &["go"],
    grammar: || tree_sitter_go::LANGUAGE.into(),
    rules: &[
        rule("function_declaration", UnitKind::Function, NAME, BODY),
        rule(
            "method_declaration",
            UnitKind::Method,
            Naming::Receiver,
            BODY,
        ),
        rule(
            "type_declaration",
            UnitKind::Type,
            Naming::Spec(&["type_spec", "type_alias"]),
            Body::None,
        ),
        rule(
            "const_declaration",
            UnitKind::Constant,
            Naming::Spec(&["const_spec"]),
            Body::None,
        ),
        rule(
            "var_declaration",
            UnitKind::Constant,
            Naming::Spec(&["var_spec"]),
            Body::None,
        ),
        rule(
            "import_declaration",
            UnitKind::Import,
            Naming::None,
            Body::None,
        ),
    ],
    wrappers: &[],
    exports: &[],
    comments: &["comment"],
    detached: &["//go:build", "// +build"],
    attributes: &[],
    tails: &[";"],
    separator: None,
    transparent: &[],
    skipped: &[],
    functions: &["func_literal"],
    overloads: Overloads::No,
    top: &[],
    hands_over: false,
    free: &[
        ("import_spec_list", &[]),
        ("interface_type", &[]),
        ("literal_value", &["keyed_element"]),
        ("field_declaration_list", &[]),
    ],
    keyed: &[],
    aligned: &[],
    is_import_unique: true,
    is_ambiguous: false,
    guards: &[],
    references: &names::GO,
};
