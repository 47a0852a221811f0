//! Rust.

use super::{BODY, MEMBERS, NAME, names, rule};
use crate::language::{Body, Naming, Overloads, Table, UnitKind};

pub(super) const RUST: Table = Table {
    name: "rust",
    extensions: &["rs"],
    grammar: || tree_sitter_rust::LANGUAGE.into(),
    rules: &[
        rule("function_item", UnitKind::Function, NAME, BODY),
        rule(
            "function_signature_item",
            UnitKind::Function,
            NAME,
            Body::None,
        ),
        rule("struct_item", UnitKind::Type, NAME, BODY),
        rule("enum_item", UnitKind::Type, NAME, BODY),
        rule("union_item", UnitKind::Type, NAME, BODY),
        rule("type_item", UnitKind::Type, NAME, Body::Field("type")),
        rule("associated_type", UnitKind::Type, NAME, Body::None),
        rule("trait_item", UnitKind::Class, NAME, MEMBERS),
        rule("impl_item", UnitKind::Impl, Naming::Impl, MEMBERS),
        rule("mod_item", UnitKind::Module, NAME, MEMBERS),
        rule(
            "foreign_mod_item",
            UnitKind::Module,
            Naming::Header,
            MEMBERS,
        ),
        rule("const_item", UnitKind::Constant, NAME, Body::Field("value")),
        rule(
            "static_item",
            UnitKind::Constant,
            NAME,
            Body::Field("value"),
        ),
        rule(
            "use_declaration",
            UnitKind::Import,
            Naming::None,
            Body::None,
        ),
        rule(
            "extern_crate_declaration",
            UnitKind::Import,
            Naming::None,
            Body::None,
        ),
        rule("macro_definition", UnitKind::Macro, NAME, Body::None),
    ],
    wrappers: &[],
    exports: &[],
    comments: &["line_comment", "block_comment"],
    detached: &["//!", "/*!"],
    attributes: &["attribute_item"],
    tails: &[";", "empty_statement"],
    separator: None,
    transparent: &[],
    skipped: &["shebang"],
    functions: &[],
    overloads: Overloads::No,
    top: &[],
    hands_over: false,
    free: &[
        ("use_list", &[]),
        ("field_declaration_list", &[]),
        ("enum_variant_list", &[]),
        (
            "field_initializer_list",
            &["field_initializer", "shorthand_field_initializer"],
        ),
    ],
    keyed: &[],
    is_import_unique: true,
    guards: &[],
    references: &names::RUST,
};
