//! Names in languages of which only calls are known.

use super::{NONE, bind, call, call_on};
use crate::references::syntax::Syntax;

pub(in super::super) const BASH: Syntax = Syntax {
    family: "shell",
    names: &["command_name"],
    ..NONE
};

pub(in super::super) const CSHARP: Syntax = Syntax {
    family: "csharp",
    names: &["identifier"],
    calls: &[
        call("invocation_expression", "function", "arguments"),
        call("object_creation_expression", "type", "arguments"),
    ],
    members: &[
        ("member_access_expression", "expression", "name"),
        ("qualified_name", "qualifier", "name"),
    ],
    through: &[
        ("await_expression", ""),
        ("parenthesized_expression", ""),
        ("generic_name", "identifier"),
    ],
    bindings: &[
        bind("variable_declaration", &["variable_declarator"], "type", ""),
        bind("variable_declarator", &["name"], "", ""),
        bind("parameter", &["name"], "type", ""),
        bind("foreach_statement", &["left"], "type", ""),
    ],
    scopes: &[
        "block",
        "method_declaration",
        "constructor_declaration",
        "lambda_expression",
        "local_function_statement",
    ],
    bases: &[("class_declaration", "base_list")],
    returns: &[("method_declaration", "returns")],
    own: &["this"],
    above: &["base"],
    bare_members: true,
    words: &["var", "readonly", "static", "ref", "out", "in"],
    wraps: &["Task", "ValueTask", "Nullable"],
    common: &[
        "Add",
        "Contains",
        "Dispose",
        "Equals",
        "GetHashCode",
        "Select",
        "ToList",
        "ToString",
        "Where",
    ],
    ..NONE
};

pub(in super::super) const KOTLIN: Syntax = Syntax {
    family: "kotlin",
    names: &["identifier"],
    calls: &[call("call_expression", "", "value_arguments")],
    members: &[("navigation_expression", "", "$")],
    bindings: &[
        bind("property_declaration", &["variable_declaration"], "", ""),
        bind("parameter", &["identifier"], "user_type", ""),
        bind("class_parameter", &["identifier"], "user_type", ""),
    ],
    scopes: &[
        "block",
        "function_declaration",
        "function_body",
        "lambda_literal",
    ],
    bare_members: true,
    common: &["add", "filter", "get", "let", "map", "put", "toString"],
    ..NONE
};

pub(in super::super) const LUA: Syntax = Syntax {
    family: "lua",
    names: &["identifier"],
    calls: &[call("function_call", "name", "arguments")],
    members: &[
        ("dot_index_expression", "table", "field"),
        ("method_index_expression", "table", "method"),
    ],
    bindings: &[
        bind("assignment_statement", &["variable_list"], "", ""),
        bind("parameters", &["identifier"], "", ""),
    ],
    scopes: &["block", "function_declaration", "function_definition"],
    ..NONE
};

pub(in super::super) const PHP: Syntax = Syntax {
    family: "php",
    names: &["name"],
    calls: &[
        call("function_call_expression", "function", "arguments"),
        call_on("member_call_expression", "object", "name", "arguments"),
        call_on(
            "nullsafe_member_call_expression",
            "object",
            "name",
            "arguments",
        ),
        call_on("scoped_call_expression", "scope", "name", "arguments"),
        call("object_creation_expression", "", "arguments"),
    ],
    members: &[("member_access_expression", "object", "name")],
    paths: &["qualified_name"],
    labels: &[("variable_name", ""), ("argument", "name")],
    bases: &[("class_declaration", "base_clause")],
    own: &["$this"],
    own_type: &["self", "static"],
    above: &["parent"],
    makers: &["__construct"],
    common: &["add", "all", "get", "set", "toArray"],
    ..NONE
};

pub(in super::super) const RUBY: Syntax = Syntax {
    family: "ruby",
    names: &["identifier", "constant"],
    calls: &[call_on("call", "receiver", "method", "arguments")],
    members: &[("scope_resolution", "scope", "name")],
    bindings: &[
        bind("assignment", &["left"], "", "right"),
        bind("method_parameters", &["identifier"], "", ""),
        bind("block_parameters", &["identifier"], "", ""),
        bind("optional_parameter", &["name"], "", ""),
        bind("keyword_parameter", &["name"], "", ""),
    ],
    scopes: &["method", "singleton_method", "block", "do_block"],
    bases: &[("class", "superclass")],
    own: &["self"],
    bare_members: true,
    makers: &["initialize"],
    common: &[
        "each", "first", "last", "map", "new", "select", "size", "to_s",
    ],
    ..NONE
};

pub(in super::super) const SCALA: Syntax = Syntax {
    family: "scala",
    names: &["identifier", "type_identifier"],
    calls: &[
        call("call_expression", "function", "arguments"),
        call("instance_expression", "", "arguments"),
    ],
    members: &[("field_expression", "value", "field")],
    bindings: &[
        bind("val_definition", &["pattern"], "type", "value"),
        bind("parameter", &["name"], "type", ""),
    ],
    scopes: &["block", "function_definition", "lambda_expression"],
    own: &["this"],
    bare_members: true,
    common: &["apply", "filter", "flatMap", "get", "map", "toString"],
    ..NONE
};

pub(in super::super) const SWIFT: Syntax = Syntax {
    family: "swift",
    names: &["simple_identifier", "type_identifier"],
    calls: &[call("call_expression", "", "call_suffix")],
    members: &[("navigation_expression", "target", "suffix")],
    bindings: &[
        bind(
            "property_declaration",
            &["name"],
            "type_annotation",
            "value",
        ),
        bind("parameter", &["name"], "type", ""),
    ],
    scopes: &["function_declaration", "function_body", "lambda_literal"],
    labels: &[("navigation_suffix", ""), ("value_argument_label", "")],
    own: &["self"],
    own_type: &["Self"],
    bare_members: true,
    makers: &["init"],
    common: &["append", "contains", "filter", "first", "map", "remove"],
    ..NONE
};
