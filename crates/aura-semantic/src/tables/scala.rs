//! Scala, with braces and with indentation.

use super::{BODY, NAME, import, names, only, path, rule, table};
use crate::language::{Body, Naming, Overloads, Rule, Table, UnitKind, When};

pub(super) const SCALA: Table = Table {
    comments: &["comment", "block_comment"],
    detached: &["#!", "//>"],
    tails: &[";"],
    // Further parameter lists of an extension.
    skipped: &["end_marker", "parameters", "self_type"],
    overloads: Overloads::List("parameters"),
    free: &[("namespace_selectors", &[])],
    references: &names::SCALA,
    ..table(
        "scala",
        &["scala", "sc", "sbt"],
        || tree_sitter_scala::LANGUAGE.into(),
        RULES,
    )
};

const RULES: &[Rule] = &[
    import("import_declaration"),
    import("export_declaration"),
    rule("package_clause", UnitKind::Module, NAME, MEMBERS),
    rule("package_object", UnitKind::Class, NAME, MEMBERS),
    rule("class_definition", UnitKind::Class, NAME, MEMBERS),
    rule("object_definition", UnitKind::Class, NAME, MEMBERS),
    rule("trait_definition", UnitKind::Class, NAME, MEMBERS),
    rule("enum_definition", UnitKind::Class, NAME, MEMBERS),
    rule(
        "enum_case_definitions",
        UnitKind::Constant,
        path(&[&["simple_enum_case", "full_enum_case"], &["name"]]),
        Body::None,
    ),
    only(
        When::Child(&["template_body", "with_template_body"]),
        rule("given_definition", UnitKind::Class, GIVEN, MEMBERS),
    ),
    rule("given_definition", UnitKind::Constant, GIVEN, BODY),
    only(
        When::Child(&["{"]),
        rule(
            "extension_definition",
            UnitKind::Impl,
            EXTENDED,
            Body::Direct(&["parameters", "{"], "}"),
        ),
    ),
    rule(
        "extension_definition",
        UnitKind::Impl,
        EXTENDED,
        Body::Below(&["parameters"]),
    ),
    rule("function_definition", UnitKind::Function, NAME, BODY),
    rule("function_declaration", UnitKind::Function, NAME, Body::None),
    rule(
        "val_definition",
        UnitKind::Constant,
        BOUND,
        Body::Field("value"),
    ),
    rule(
        "var_definition",
        UnitKind::Constant,
        BOUND,
        Body::Field("value"),
    ),
    rule("val_declaration", UnitKind::Constant, NAME, Body::None),
    rule("var_declaration", UnitKind::Constant, NAME, Body::None),
    rule("type_definition", UnitKind::Type, NAME, Body::Field("type")),
];

const MEMBERS: Body = Body::Block(&["body"]);
/// A given may have no name but that of its type.
const GIVEN: Naming = path(&[&["name", "return_type"]]);
const EXTENDED: Naming = Naming::Under(&[&["parameters"], &["parameter"], &["type"]]);
const BOUND: Naming = path(&[&["pattern"]]);
