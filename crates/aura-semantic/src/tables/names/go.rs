//! Names in Go.

use super::{IMPORT, NONE, bind, call};
use crate::references::syntax::{Bare, ImportRule, Modules, Syntax, Take};

pub(in super::super) const GO: Syntax = Syntax {
    family: "go",
    modules: Modules::Folder,
    names: &[
        "identifier",
        "type_identifier",
        "field_identifier",
        "package_identifier",
    ],
    calls: &[
        call("call_expression", "function", "arguments"),
        call("composite_literal", "type", ""),
    ],
    members: &[
        ("selector_expression", "operand", "field"),
        ("qualified_type", "package", "name"),
    ],
    through: &[
        ("parenthesized_expression", ""),
        ("unary_expression", "operand"),
        ("generic_type", "type"),
    ],
    casts: &[("type_assertion_expression", "type")],
    bindings: &[
        bind("short_var_declaration", &["left"], "", "right"),
        bind("var_spec", &["name"], "type", "value"),
        bind("const_spec", &["name"], "type", "value"),
        bind("type_spec", &["name"], "", ""),
        bind("parameter_declaration", &["name"], "type", ""),
        bind("variadic_parameter_declaration", &["name"], "", ""),
        bind("range_clause", &["left"], "", ""),
        bind("type_switch_statement", &["alias"], "", ""),
    ],
    generics: &[("type_parameter_declaration", "name", "type")],
    scopes: &[
        "block",
        "function_declaration",
        "method_declaration",
        "func_literal",
        "if_statement",
        "for_statement",
        "expression_case",
        "type_case",
        "expression_switch_statement",
        "type_switch_statement",
        "function_type",
        "method_elem",
    ],
    labels: &[
        ("keyed_element", "key"),
        ("selector_expression", "field"),
        ("package_clause", ""),
        ("method_elem", "name"),
    ],
    fields: &[("field_declaration", "name", "type", "")],
    embeds: &[("field_declaration", "type", "name")],
    returns: &[
        ("function_declaration", "result"),
        ("method_declaration", "result"),
    ],
    imports: &[ImportRule {
        node: "import_spec",
        module: "path",
        star: "dot",
        leaves: &[("", "package_identifier", Take::Module)],
        bare: Bare::Last,
        ..IMPORT
    }],
    own: &[],
    above: &[],
    words: &["chan", "func", "interface", "struct", "error"],
    common: &[
        "Close", "Error", "Len", "Less", "Lock", "Read", "String", "Swap", "Unlock", "Write",
    ],
    ..NONE
};
