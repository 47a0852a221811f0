//! PHP.

use super::{BODY, MEMBERS, NAME, import, names, only, path, rule, table};
use crate::language::{Body, Naming, Rule, Table, UnitKind, When};

pub(super) const PHP: Table = Table {
    tails: &[";", ",", "empty_statement"],
    skipped: &["php_tag", "php_end_tag", "text", "text_interpolation"],
    functions: &["anonymous_function", "arrow_function"],
    free: &[
        ("array_creation_expression", &["array_element_initializer"]),
        ("namespace_use_group", &[]),
    ],
    is_import_unique: true,
    references: &names::PHP,
    ..table(
        "php",
        &["php"],
        || tree_sitter_php::LANGUAGE_PHP.into(),
        RULES,
    )
};

const RULES: &[Rule] = &[
    rule("namespace_definition", UnitKind::Module, NAME, MEMBERS),
    import("namespace_use_declaration"),
    import("use_declaration"),
    rule("class_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("interface_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("trait_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("enum_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("enum_case", UnitKind::Constant, NAME, Body::Field("value")),
    rule("function_definition", UnitKind::Function, NAME, BODY),
    rule("method_declaration", UnitKind::Function, NAME, BODY),
    rule(
        "const_declaration",
        UnitKind::Constant,
        path(&[&["const_element"], &["name"]]),
        Body::None,
    ),
    rule(
        "property_declaration",
        UnitKind::Constant,
        path(&[&["property_element"], &["name"]]),
        Body::None,
    ),
    only(
        When::Child(&[
            "include_expression",
            "include_once_expression",
            "require_expression",
            "require_once_expression",
        ]),
        import("expression_statement"),
    ),
    rule(
        "expression_statement",
        UnitKind::Constant,
        Naming::Assignment,
        Body::None,
    ),
];
