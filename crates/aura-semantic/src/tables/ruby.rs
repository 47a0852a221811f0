//! Ruby.

use super::{BODY, NAME, import, names, only, rule, table};
use crate::language::{Body, Guard, Naming, Rule, Table, UnitKind, When};

pub(super) const RUBY: Table = Table {
    detached: &[
        "#!",
        "# frozen_string_literal:",
        "# encoding:",
        "# -*-",
        "# typed:",
    ],
    // The text of a here-document stands behind the statement that it is part of.
    tails: &[";", "empty_statement", "heredoc_body"],
    transparent: &["body_statement"],
    skipped: &["uninterpreted"],
    functions: &["lambda"],
    // The scanner keeps the length of the word in one byte.
    guards: &[Guard::HereWord(200)],
    references: &names::RUBY,
    free: &[("hash", &["pair"])],
    ..table(
        "ruby",
        &["rb", "rake", "gemspec"],
        || tree_sitter_ruby::LANGUAGE.into(),
        RULES,
    )
};

const RULES: &[Rule] = &[
    rule(
        "class",
        UnitKind::Class,
        NAME,
        Body::Direct(&["name", "superclass"], "end"),
    ),
    rule(
        "module",
        UnitKind::Module,
        NAME,
        Body::Direct(&["name"], "end"),
    ),
    rule(
        "singleton_class",
        UnitKind::Impl,
        Naming::Path(&[&["value"]], ""),
        Body::Direct(&["value"], "end"),
    ),
    rule("method", UnitKind::Function, NAME, BODY),
    rule(
        "singleton_method",
        UnitKind::Function,
        Naming::Span(&[&["object"]], &[&["name"]]),
        BODY,
    ),
    rule("alias", UnitKind::Declaration, NAME, Body::None),
    rule(
        "assignment",
        UnitKind::Constant,
        Naming::Bound(&[&["left"]], &[&["right"]]),
        Body::Field("right"),
    ),
    only(
        When::Text(
            &[&["method"]],
            &[
                "require",
                "require_relative",
                "load",
                "include",
                "extend",
                "prepend",
            ],
        ),
        import("call"),
    ),
    only(
        When::Text(
            &[&["method"]],
            &["attr_accessor", "attr_reader", "attr_writer"],
        ),
        rule(
            "call",
            UnitKind::Constant,
            Naming::Key(&[&["arguments"], &["simple_symbol", "string"]]),
            Body::None,
        ),
    ),
];
