//! C#.

use super::{BODY, MEMBERS, NAME, import, names, path, rule, table};
use crate::language::{Body, Naming, Overloads, Rule, Table, UnitKind};

pub(super) const CSHARP: Table = Table {
    wrappers: &[("global_statement", "")],
    tails: &[";", ","],
    skipped: &[
        "preproc_define",
        "preproc_endregion",
        "preproc_error",
        "preproc_line",
        "preproc_nullable",
        "preproc_pragma",
        "preproc_region",
        "preproc_undef",
        "preproc_warning",
        "shebang_directive",
    ],
    overloads: Overloads::List("parameters"),
    references: &names::CSHARP,
    ..table(
        "csharp",
        &["cs"],
        || tree_sitter_c_sharp::LANGUAGE.into(),
        RULES,
    )
};

const RULES: &[Rule] = &[
    import("using_directive"),
    import("extern_alias_directive"),
    rule("namespace_declaration", UnitKind::Module, NAME, MEMBERS),
    rule(
        "file_scoped_namespace_declaration",
        UnitKind::Module,
        NAME,
        Body::None,
    ),
    rule("class_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("struct_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("interface_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("record_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("enum_declaration", UnitKind::Class, NAME, MEMBERS),
    rule(
        "enum_member_declaration",
        UnitKind::Constant,
        NAME,
        Body::Field("value"),
    ),
    rule("delegate_declaration", UnitKind::Type, NAME, Body::None),
    rule("method_declaration", UnitKind::Function, EXPLICIT, BODY),
    rule("constructor_declaration", UnitKind::Function, NAME, BODY),
    rule(
        "destructor_declaration",
        UnitKind::Function,
        Naming::Span(&[&["~"]], &[&["name"]]),
        BODY,
    ),
    rule(
        "operator_declaration",
        UnitKind::Function,
        path(&[&["operator"]]),
        BODY,
    ),
    rule(
        "conversion_operator_declaration",
        UnitKind::Function,
        Naming::Span(&[&["operator"]], &[&["type"]]),
        BODY,
    ),
    rule("local_function_statement", UnitKind::Function, NAME, BODY),
    rule("property_declaration", UnitKind::Constant, EXPLICIT, ACCESS),
    rule("event_declaration", UnitKind::Constant, EXPLICIT, ACCESS),
    rule(
        "indexer_declaration",
        UnitKind::Function,
        Naming::Span(&[&["explicit_interface_specifier"]], &[&["this"]]),
        ACCESS,
    ),
    rule(
        "field_declaration",
        UnitKind::Constant,
        VARIABLE,
        Body::None,
    ),
    rule(
        "event_field_declaration",
        UnitKind::Constant,
        VARIABLE,
        Body::None,
    ),
    rule(
        "preproc_if",
        UnitKind::Module,
        Naming::Header,
        Body::Direct(&["condition"], "#endif"),
    ),
    rule(
        "preproc_elif",
        UnitKind::Module,
        Naming::Header,
        Body::Direct(&["condition"], ""),
    ),
    rule(
        "preproc_else",
        UnitKind::Module,
        Naming::Header,
        Body::Direct(&[], ""),
    ),
];

/// A member of an interface that is named with it.
const EXPLICIT: Naming = Naming::Span(&[&["explicit_interface_specifier"]], &[&["name"]]);
const VARIABLE: Naming = path(&[
    &["variable_declaration"],
    &["variable_declarator"],
    &["name"],
]);
const ACCESS: Body = Body::First(&["accessors", "value"]);
