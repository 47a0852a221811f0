//! Kotlin.

use super::{NAME, import, names, path, rule, table};
use crate::language::{Body, Naming, Overloads, Rule, Steps, Table, UnitKind};

pub(super) const KOTLIN: Table = Table {
    comments: &["line_comment", "block_comment"],
    tails: &[";", ","],
    skipped: &["shebang"],
    overloads: Overloads::List("function_value_parameters"),
    // An annotation at the start of a file is that of the file or of what follows.
    is_ambiguous: true,
    references: &names::KOTLIN,
    ..table(
        "kotlin",
        &["kt", "kts"],
        || tree_sitter_kotlin_ng::LANGUAGE.into(),
        RULES,
    )
};

const RULES: &[Rule] = &[
    import("import"),
    rule("class_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("object_declaration", UnitKind::Class, NAME, MEMBERS),
    rule(
        "companion_object",
        UnitKind::Class,
        Naming::Path(&[&["name"]], "companion"),
        MEMBERS,
    ),
    rule(
        "enum_entry",
        UnitKind::Constant,
        path(&[&["identifier"]]),
        Body::First(&["class_body"]),
    ),
    rule(
        "function_declaration",
        UnitKind::Function,
        Naming::Span(RECEIVER, &[&["name"]]),
        Body::First(&["function_body"]),
    ),
    rule(
        "secondary_constructor",
        UnitKind::Function,
        Naming::Path(&[], "constructor"),
        Body::First(&["block"]),
    ),
    rule(
        "anonymous_initializer",
        UnitKind::Statement,
        Naming::Path(&[], "init"),
        Body::First(&["block"]),
    ),
    rule(
        "property_declaration",
        UnitKind::Constant,
        Naming::Span(
            RECEIVER,
            &[
                &["variable_declaration", "multi_variable_declaration"],
                &["identifier"],
            ],
        ),
        Body::First(&["getter"]),
    ),
    rule("type_alias", UnitKind::Type, path(&[&["type"]]), Body::None),
];

const MEMBERS: Body = Body::Block(&["class_body", "enum_class_body"]);
/// The type that an extension extends; the type behind the name is no receiver.
const RECEIVER: Steps = &[&["user_type", "nullable_type", "parenthesized_type"]];
