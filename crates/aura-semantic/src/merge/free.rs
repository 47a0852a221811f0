//! Lists whose order means nothing.

/// Kinds of nodes whose parts may stand in any order.
const FREE: &[&str] = &[
    // Rust
    "use_list",
    "field_declaration_list",
    "enum_variant_list",
    "field_initializer_list",
    // Python
    "import_from_statement",
    "dictionary",
    "set",
    // JavaScript, TypeScript
    "named_imports",
    "export_clause",
    "object",
    "object_pattern",
    "object_type",
    "interface_body",
    "enum_body",
    "class_body",
    // Go
    "import_spec_list",
    "interface_type",
    "literal_value",
    // Java
    "annotation_argument_list",
    "modifiers",
    // Markdown
    "list",
    "list_item",
    // C, C++
    "enumerator_list",
];

/// Whether parts of this kind of node may stand in any order.
pub(crate) fn is_free(kind: &str) -> bool {
    FREE.contains(&kind)
}
