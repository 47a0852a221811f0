//! One table per language.
//!
//! Invariants:
//! - everything that differs between languages is here;
//! - a kind of node without a rule becomes a statement, so a table that says too little loses
//!   names, never text.

use crate::language::{Body, Naming, Rule, Table, UnitKind};

const fn rule(node: &'static str, kind: UnitKind, naming: Naming, body: Body) -> Rule {
    Rule {
        node,
        kind,
        naming,
        body,
    }
}

const NAME: Naming = Naming::Field("name");
const BODY: Body = Body::Field("body");
const MEMBERS: Body = Body::Members("body");

/// Every language that has a grammar.
pub(crate) static TABLES: &[Table] = &[RUST, PYTHON, JAVASCRIPT, TYPESCRIPT, TSX, GO, JAVA, C, CPP];

const RUST: Table = Table {
    name: "rust",
    extensions: &["rs"],
    grammar: || tree_sitter_rust::LANGUAGE.into(),
    rules: &[
        rule("function_item", UnitKind::Function, NAME, BODY),
        rule(
            "function_signature_item",
            UnitKind::Function,
            NAME,
            Body::None,
        ),
        rule("struct_item", UnitKind::Type, NAME, BODY),
        rule("enum_item", UnitKind::Type, NAME, BODY),
        rule("union_item", UnitKind::Type, NAME, BODY),
        rule("type_item", UnitKind::Type, NAME, Body::Field("type")),
        rule("associated_type", UnitKind::Type, NAME, Body::None),
        rule("trait_item", UnitKind::Class, NAME, MEMBERS),
        rule("impl_item", UnitKind::Impl, Naming::Impl, MEMBERS),
        rule("mod_item", UnitKind::Module, NAME, MEMBERS),
        rule(
            "foreign_mod_item",
            UnitKind::Module,
            Naming::Header,
            MEMBERS,
        ),
        rule("const_item", UnitKind::Constant, NAME, Body::Field("value")),
        rule(
            "static_item",
            UnitKind::Constant,
            NAME,
            Body::Field("value"),
        ),
        rule(
            "use_declaration",
            UnitKind::Import,
            Naming::None,
            Body::None,
        ),
        rule(
            "extern_crate_declaration",
            UnitKind::Import,
            Naming::None,
            Body::None,
        ),
        rule("macro_definition", UnitKind::Macro, NAME, Body::None),
    ],
    wrappers: &[],
    exports: &[],
    comments: &["line_comment", "block_comment"],
    detached: &["//!", "/*!"],
    attributes: &["attribute_item"],
    tails: &[";", "empty_statement"],
    transparent: &[],
    skipped: &["shebang"],
    functions: &[],
    overloads: false,
};

const PYTHON: Table = Table {
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
    transparent: &["block"],
    skipped: &[],
    functions: &["lambda"],
    overloads: false,
};

const JAVASCRIPT: Table = Table {
    name: "javascript",
    extensions: &["js", "jsx", "mjs", "cjs"],
    grammar: || tree_sitter_javascript::LANGUAGE.into(),
    rules: SCRIPT_RULES,
    wrappers: SCRIPT_WRAPPERS,
    exports: &["export_statement"],
    comments: &["comment", "html_comment"],
    detached: &[],
    attributes: &["decorator"],
    tails: &[";", ",", "empty_statement"],
    transparent: &[],
    skipped: &["hash_bang_line"],
    functions: SCRIPT_FUNCTIONS,
    overloads: false,
};

const TYPESCRIPT: Table = Table {
    name: "typescript",
    extensions: &["ts", "mts", "cts"],
    grammar: || tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
    ..JAVASCRIPT
};

const TSX: Table = Table {
    name: "tsx",
    extensions: &["tsx"],
    grammar: || tree_sitter_typescript::LANGUAGE_TSX.into(),
    ..JAVASCRIPT
};

const SCRIPT_WRAPPERS: &[(&str, &str)] = &[
    ("export_statement", "declaration"),
    ("export_statement", "value"),
    ("ambient_declaration", ""),
];

const SCRIPT_FUNCTIONS: &[&str] = &[
    "arrow_function",
    "function_expression",
    "generator_function",
];

const SCRIPT_RULES: &[Rule] = &[
    rule("function_declaration", UnitKind::Function, NAME, BODY),
    rule(
        "generator_function_declaration",
        UnitKind::Function,
        NAME,
        BODY,
    ),
    rule("function_expression", UnitKind::Function, NAME, BODY),
    rule("arrow_function", UnitKind::Function, NAME, BODY),
    rule(
        "function_signature",
        UnitKind::Declaration,
        NAME,
        Body::None,
    ),
    rule("class_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("abstract_class_declaration", UnitKind::Class, NAME, MEMBERS),
    rule("class", UnitKind::Class, NAME, MEMBERS),
    rule("method_definition", UnitKind::Function, NAME, BODY),
    rule("method_signature", UnitKind::Declaration, NAME, Body::None),
    rule(
        "abstract_method_signature",
        UnitKind::Declaration,
        NAME,
        Body::None,
    ),
    rule(
        "field_definition",
        UnitKind::Constant,
        Naming::Field("property"),
        Body::Field("value"),
    ),
    rule(
        "public_field_definition",
        UnitKind::Constant,
        NAME,
        Body::Field("value"),
    ),
    rule("interface_declaration", UnitKind::Type, NAME, BODY),
    rule("enum_declaration", UnitKind::Type, NAME, BODY),
    rule(
        "type_alias_declaration",
        UnitKind::Type,
        NAME,
        Body::Field("value"),
    ),
    rule("internal_module", UnitKind::Module, NAME, MEMBERS),
    rule("module", UnitKind::Module, NAME, MEMBERS),
    rule(
        "lexical_declaration",
        UnitKind::Constant,
        Naming::Binding,
        Body::None,
    ),
    rule(
        "variable_declaration",
        UnitKind::Constant,
        Naming::Binding,
        Body::None,
    ),
    rule(
        "import_statement",
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
];

const GO: Table = Table {
    name: "go",
    extensions: &["go"],
    grammar: || tree_sitter_go::LANGUAGE.into(),
    rules: &[
        rule("function_declaration", UnitKind::Function, NAME, BODY),
        rule(
            "method_declaration",
            UnitKind::Method,
            Naming::Receiver,
            BODY,
        ),
        rule(
            "type_declaration",
            UnitKind::Type,
            Naming::Spec(&["type_spec", "type_alias"]),
            Body::None,
        ),
        rule(
            "const_declaration",
            UnitKind::Constant,
            Naming::Spec(&["const_spec"]),
            Body::None,
        ),
        rule(
            "var_declaration",
            UnitKind::Constant,
            Naming::Spec(&["var_spec"]),
            Body::None,
        ),
        rule(
            "import_declaration",
            UnitKind::Import,
            Naming::None,
            Body::None,
        ),
    ],
    wrappers: &[],
    exports: &[],
    comments: &["comment"],
    detached: &["//go:build", "// +build"],
    attributes: &[],
    tails: &[";"],
    transparent: &[],
    skipped: &[],
    functions: &["func_literal"],
    overloads: false,
};

const JAVA: Table = Table {
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
    transparent: &["enum_body_declarations"],
    skipped: &[],
    functions: &[],
    overloads: true,
};

const C: Table = Table {
    name: "c",
    extensions: &["c", "h"],
    grammar: || tree_sitter_c::LANGUAGE.into(),
    rules: &[
        rule("struct_specifier", UnitKind::Type, NAME, BODY),
        rule("union_specifier", UnitKind::Type, NAME, BODY),
        C_FUNCTION,
        C_DECLARATION,
        C_TYPEDEF,
        C_ENUM,
        C_INCLUDE,
        C_DEFINE,
        C_MACRO,
        C_IF,
        C_IFDEF,
        C_ELSE,
        C_ELIF,
        C_ELIFDEF,
        C_LINKAGE,
    ],
    wrappers: &[],
    exports: &[],
    comments: &["comment"],
    detached: &[],
    attributes: &[],
    tails: &[";"],
    transparent: &[],
    skipped: &["access_specifier"],
    functions: &[],
    overloads: false,
};

const CPP: Table = Table {
    name: "cpp",
    extensions: &[
        "cpp", "cc", "cxx", "c++", "hpp", "hh", "hxx", "h++", "ipp", "tpp", "C", "H",
    ],
    grammar: || tree_sitter_cpp::LANGUAGE.into(),
    rules: &[
        rule("class_specifier", UnitKind::Class, NAME, MEMBERS),
        rule("struct_specifier", UnitKind::Class, NAME, MEMBERS),
        rule("union_specifier", UnitKind::Class, NAME, MEMBERS),
        rule("namespace_definition", UnitKind::Module, NAME, MEMBERS),
        rule("alias_declaration", UnitKind::Type, NAME, Body::None),
        rule("concept_definition", UnitKind::Type, NAME, Body::None),
        rule(
            "using_declaration",
            UnitKind::Import,
            Naming::None,
            Body::None,
        ),
        rule(
            "field_declaration",
            UnitKind::Constant,
            Naming::Declarator,
            Body::None,
        ),
        C_FUNCTION,
        C_DECLARATION,
        C_TYPEDEF,
        C_ENUM,
        C_INCLUDE,
        C_DEFINE,
        C_MACRO,
        C_IF,
        C_IFDEF,
        C_ELSE,
        C_ELIF,
        C_ELIFDEF,
        C_LINKAGE,
    ],
    wrappers: &[("template_declaration", "")],
    overloads: true,
    ..C
};

const C_FUNCTION: Rule = rule(
    "function_definition",
    UnitKind::Function,
    Naming::Declarator,
    BODY,
);
const C_DECLARATION: Rule = rule(
    "declaration",
    UnitKind::Constant,
    Naming::Declarator,
    Body::None,
);
const C_TYPEDEF: Rule = rule(
    "type_definition",
    UnitKind::Type,
    Naming::Declarator,
    Body::None,
);
const C_ENUM: Rule = rule("enum_specifier", UnitKind::Type, NAME, BODY);
const C_INCLUDE: Rule = rule(
    "preproc_include",
    UnitKind::Import,
    Naming::None,
    Body::None,
);
const C_DEFINE: Rule = rule("preproc_def", UnitKind::Macro, NAME, Body::Field("value"));
const C_MACRO: Rule = rule(
    "preproc_function_def",
    UnitKind::Macro,
    NAME,
    Body::Field("value"),
);
const C_IF: Rule = rule(
    "preproc_if",
    UnitKind::Module,
    Naming::Header,
    Body::Direct(&["condition"], "#endif"),
);
const C_IFDEF: Rule = rule(
    "preproc_ifdef",
    UnitKind::Module,
    Naming::Header,
    Body::Direct(&["name"], "#endif"),
);
const C_ELSE: Rule = rule(
    "preproc_else",
    UnitKind::Module,
    Naming::Header,
    Body::Direct(&[], ""),
);
const C_ELIF: Rule = rule(
    "preproc_elif",
    UnitKind::Module,
    Naming::Header,
    Body::Direct(&["condition"], ""),
);
const C_ELIFDEF: Rule = rule(
    "preproc_elifdef",
    UnitKind::Module,
    Naming::Header,
    Body::Direct(&["name"], ""),
);
const C_LINKAGE: Rule = rule(
    "linkage_specification",
    UnitKind::Module,
    Naming::Header,
    MEMBERS,
);
