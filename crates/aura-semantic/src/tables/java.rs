//! Java.

use super::{BODY, MEMBERS, NAME, names, rule};
use crate::language::{Body, Naming, Overloads, Table, UnitKind};

pub(super) const JAVA: Table = Table {
    name: "java",
    extensions: &["java"],
    grammar: || tree_sitter_java::LANGUAGE.into(),
    rules: &[
        rule(
            "import_declaration",
            UnitKind::Import,
            Naming::None,
            Body::None,
        ),
        rule("class_declaration", UnitKind::Class, NAME, MEMBERS),
        rule("interface_declaration", UnitKind::Class, NAME, MEMBERS),
        rule("enum_declaration", UnitKind::Class, NAME, MEMBERS),
        rule("record_declaration", UnitKind::Class, NAME, MEMBERS),
        rule(
            "annotation_type_declaration",
            UnitKind::Class,
            NAME,
            MEMBERS,
        ),
        rule("method_declaration", UnitKind::Function, NAME, BODY),
        rule("constructor_declaration", UnitKind::Function, NAME, BODY),
        rule(
            "compact_constructor_declaration",
            UnitKind::Function,
            NAME,
            BODY,
        ),
        rule(
            "field_declaration",
            UnitKind::Constant,
            Naming::Declarator,
            Body::None,
        ),
        rule(
            "constant_declaration",
            UnitKind::Constant,
            Naming::Declarator,
            Body::None,
        ),
        rule("enum_constant", UnitKind::Constant, NAME, BODY),
    ],
    wrappers: &[],
    exports: &[],
    comments: &["line_comment", "block_comment"],
    detached: &[],
    attributes: &[],
    tails: &[";", ","],
    separator: None,
    transparent: &["enum_body_declarations"],
    skipped: &[],
    functions: &[],
    overloads: Overloads::List("parameters"),
    top: &[],
    hands_over: false,
    free: &[
        ("annotation_argument_list", &["element_value_pair"]),
        ("modifiers", &[]),
    ],
    keyed: &[],
    aligned: &[],
    is_import_unique: false,
    is_ambiguous: false,
    guards: &[],
    references: &names::JAVA,
};
