//! JavaScript and TypeScript, with and without markup.

use super::{BODY, MEMBERS, NAME, names, rule};
use crate::language::{Body, Naming, Overloads, Rule, Table, UnitKind};

#[cfg(feature = "lang-javascript")]
pub(super) const JAVASCRIPT: Table = script("javascript", &["js", "jsx", "mjs", "cjs"], || {
    tree_sitter_javascript::LANGUAGE.into()
});

#[cfg(feature = "lang-typescript")]
pub(super) const TYPESCRIPT: Table = script("typescript", &["ts", "mts", "cts"], || {
    tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into()
});

#[cfg(feature = "lang-typescript")]
pub(super) const TSX: Table = script("tsx", &["tsx"], || {
    tree_sitter_typescript::LANGUAGE_TSX.into()
});

const fn script(
    name: &'static str,
    extensions: &'static [&'static str],
    grammar: fn() -> tree_sitter::Language,
) -> Table {
    Table {
        name,
        extensions,
        grammar,
        rules: SCRIPT_RULES,
        wrappers: SCRIPT_WRAPPERS,
        exports: &["export_statement"],
        comments: &["comment", "html_comment"],
        detached: &[],
        attributes: &["decorator"],
        tails: &[";", ",", "empty_statement"],
        separator: None,
        transparent: &[],
        skipped: &["hash_bang_line"],
        functions: SCRIPT_FUNCTIONS,
        overloads: Overloads::No,
        top: &[],
        hands_over: false,
        free: &[
            ("named_imports", &[]),
            ("export_clause", &[]),
            ("object", &["pair", "shorthand_property_identifier"]),
            (
                "object_pattern",
                &[
                    "shorthand_property_identifier_pattern",
                    "pair_pattern",
                    "object_assignment_pattern",
                ],
            ),
            ("object_type", &[]),
            ("interface_body", &[]),
            ("enum_body", &[]),
            ("class_body", &["index_signature", "method_signature"]),
        ],
        keyed: &[],
        aligned: &[],
        is_import_unique: true,
        is_ambiguous: false,
        guards: &[],
        references: &names::SCRIPT,
    }
}

const SCRIPT_WRAPPERS: &[(&str, &str)] = &[
    ("export_statement", "declaration"),
    ("export_statement", "value"),
    ("ambient_declaration", ""),
];

const SCRIPT_FUNCTIONS: &[&str] = &[
    "arrow_function",
    "function_expression",
    "generator_function",
];

const SCRIPT_RULES: &[Rule] = &[
    rule("function_declaration", UnitKind::Function, NAME, BODY),
    rule(
        "generator_function_declaration",
        UnitKind::Function,
        NAME,
        BODY,
    ),
    rule("function_expression", UnitKind::Function, NAME, BODY),
    rule("arrow_function", UnitKind::Function, NAME, BODY),
    rule(
        "function_signature",
        UnitKind::Declaration,
        NAME,
        Body::None,
    ),
    rule("class_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("abstract_class_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("class", UnitKind::Class, NAME, MEMBERS),
    rule("method_definition", UnitKind::Function, NAME, BODY),
    rule("method_signature", UnitKind::Declaration, NAME, Body::None),
    rule(
        "abstract_method_signature",
        UnitKind::Declaration,
        NAME,
        Body::None,
    ),
    rule(
        "field_definition",
        UnitKind::Constant,
        Naming::Field("property"),
        Body::Field("value"),
    ),
    rule(
        "public_field_definition",
        UnitKind::Constant,
        NAME,
        Body::Field("value"),
    ),
    rule("interface_declaration", UnitKind::Type, NAME, BODY),
    rule("enum_declaration", UnitKind::Type, NAME, BODY),
    rule(
        "type_alias_declaration",
        UnitKind::Type,
        NAME,
        Body::Field("value"),
    ),
    rule("internal_module", UnitKind::Module, NAME, MEMBERS),
    rule("module", UnitKind::Module, NAME, MEMBERS),
    rule(
        "lexical_declaration",
        UnitKind::Constant,
        Naming::Binding,
        Body::None,
    ),
    rule(
        "variable_declaration",
        UnitKind::Constant,
        Naming::Binding,
        Body::None,
    ),
    rule(
        "import_statement",
        UnitKind::Import,
        Naming::None,
        Body::None,
    ),
    rule(
        "expression_statement",
        UnitKind::Constant,
        Naming::Assignment,
        Body::None,
    ),
];
