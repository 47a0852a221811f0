//! Swift.

use super::{BODY, NAME, import, names, only, path, rule, table};
use crate::language::{Body, Naming, Overloads, Rule, Table, UnitKind, When};

pub(super) const SWIFT: Table = Table {
    comments: &["comment", "multiline_comment"],
    detached: &["#!"],
    tails: &[";"],
    skipped: &["shebang_line"],
    overloads: Overloads::Own("parameter"),
    references: &names::SWIFT,
    ..table(
        "swift",
        &["swift"],
        || tree_sitter_swift::LANGUAGE.into(),
        RULES,
    )
};

const RULES: &[Rule] = &[
    import("import_declaration"),
    // One kind of node for class, struct, enum, actor and extension.
    only(
        When::Child(&["extension"]),
        rule(
            "class_declaration",
            UnitKind::Impl,
            Naming::Under(&[&["name"]]),
            MEMBERS,
        ),
    ),
    rule("class_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("protocol_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("function_declaration", UnitKind::Function, NAME, BODY),
    rule(
        "protocol_function_declaration",
        UnitKind::Function,
        NAME,
        Body::None,
    ),
    rule("init_declaration", UnitKind::Function, NAME, BODY),
    rule(
        "deinit_declaration",
        UnitKind::Function,
        Naming::Path(&[], "deinit"),
        BODY,
    ),
    rule(
        "subscript_declaration",
        UnitKind::Function,
        Naming::Path(&[], "subscript"),
        Body::First(&["computed_property"]),
    ),
    rule(
        "property_declaration",
        UnitKind::Constant,
        PATTERN,
        Body::First(&["computed_value", "willset_didset_block", "value"]),
    ),
    rule(
        "protocol_property_declaration",
        UnitKind::Constant,
        PATTERN,
        Body::None,
    ),
    rule("enum_entry", UnitKind::Constant, NAME, Body::None),
    rule("typealias_declaration", UnitKind::Type, NAME, Body::None),
    rule(
        "associatedtype_declaration",
        UnitKind::Type,
        NAME,
        Body::None,
    ),
];

const MEMBERS: Body = Body::Block(&["body"]);
const PATTERN: Naming = path(&[&["name"], &["bound_identifier"]]);
