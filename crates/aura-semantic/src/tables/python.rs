//! Python.

use super::{BODY, NAME, names, rule};
use crate::language::{Body, Naming, Overloads, Table, UnitKind};

pub(super) const PYTHON: Table = Table {
    name: "python",
    extensions: &["py", "pyi", "pyw"],
    grammar: || tree_sitter_python::LANGUAGE.into(),
    rules: &[
        rule("function_definition", UnitKind::Function, NAME, BODY),
        rule("class_definition", UnitKind::Class, NAME, Body::After(":")),
        rule(
            "import_statement",
            UnitKind::Import,
            Naming::None,
            Body::None,
        ),
        rule(
            "import_from_statement",
            UnitKind::Import,
            Naming::None,
            Body::None,
        ),
        rule(
            "future_import_statement",
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
    ],
    wrappers: &[("decorated_definition", "definition")],
    exports: &[],
    comments: &["comment"],
    detached: &["#!", "# -*-"],
    attributes: &[],
    tails: &[";"],
    separator: None,
    transparent: &["block"],
    skipped: &[],
    functions: &["lambda"],
    overloads: Overloads::No,
    top: &[],
    hands_over: false,
    free: &[
        ("import_from_statement", &[]),
        ("dictionary", &["pair"]),
        ("set", &[]),
    ],
    keyed: &[],
    aligned: &[
        "block",
        "for_statement",
        "if_statement",
        "match_statement",
        "module",
        "try_statement",
        "while_statement",
        "with_statement",
    ],
    is_import_unique: false,
    is_ambiguous: false,
    guards: &[],
    references: &names::PYTHON,
};
