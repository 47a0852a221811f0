//! Data: JSON, YAML, TOML.
//!
//! The units are the keyed entries, to any depth; a list is the text of its key.

use super::{rule, table};
#[cfg(feature = "lang-yaml")]
use crate::language::Guard;
use crate::language::{Body, Naming, Rule, Table, UnitKind};

#[cfg(feature = "lang-json")]
pub(super) const JSON: Table = Table {
    separator: Some(b','),
    top: &["object"],
    ..table(
        "json",
        &["json"],
        || tree_sitter_json::LANGUAGE.into(),
        JSON_RULES,
    )
};

#[cfg(feature = "lang-json")]
const JSON_RULES: &[Rule] = &[rule(
    "pair",
    UnitKind::Constant,
    Naming::Key(&[&["key"]]),
    Body::Nested("value", &["object"]),
)];

#[cfg(feature = "lang-yaml")]
pub(super) const YAML: Table = Table {
    transparent: &["block_node", "block_mapping"],
    top: &["document", "block_node", "block_mapping"],
    skipped: &["anchor", "tag"],
    hands_over: true,
    // The scanner keeps each level in four bytes of a kilobyte, and goes on behind its end.
    guards: &[Guard::Blocks(250)],
    ..table(
        "yaml",
        &["yml", "yaml"],
        || tree_sitter_yaml::LANGUAGE.into(),
        YAML_RULES,
    )
};

#[cfg(feature = "lang-yaml")]
const YAML_RULES: &[Rule] = &[rule(
    "block_mapping_pair",
    UnitKind::Constant,
    Naming::Key(&[&["key"]]),
    Body::Nested("value", &["block_mapping"]),
)];

#[cfg(feature = "lang-toml")]
pub(super) const TOML: Table = Table {
    hands_over: true,
    ..table(
        "toml",
        &["toml"],
        || tree_sitter_toml_ng::LANGUAGE.into(),
        TOML_RULES,
    )
};

#[cfg(feature = "lang-toml")]
const TOML_RULES: &[Rule] = &[
    rule("table", UnitKind::Module, TOML_KEY, Body::Below(&["]"])),
    rule(
        "table_array_element",
        UnitKind::Module,
        TOML_KEY,
        Body::Below(&["]]"]),
    ),
    rule("pair", UnitKind::Constant, TOML_KEY, Body::None),
];

#[cfg(feature = "lang-toml")]
const TOML_KEY: Naming = Naming::Key(&[&["bare_key", "dotted_key", "quoted_key"]]);
