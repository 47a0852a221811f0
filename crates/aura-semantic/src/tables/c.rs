//! C and C++.

use super::{BODY, MEMBERS, NAME, names, rule};
use crate::language::{Body, Naming, Overloads, Rule, Table, UnitKind};

#[cfg(feature = "lang-c")]
pub(super) const C: Table = family("c", &["c", "h"], || tree_sitter_c::LANGUAGE.into(), C_RULES);

#[cfg(feature = "lang-cpp")]
pub(super) const CPP: Table = Table {
    wrappers: &[("template_declaration", "")],
    overloads: Overloads::List("parameters"),
    // Whether a name is a type or a value is open in many places.
    is_ambiguous: true,
    references: &names::CPP,
    ..family(
        "cpp",
        &[
            "cpp", "cc", "cxx", "c++", "hpp", "hh", "hxx", "h++", "ipp", "tpp", "C", "H",
        ],
        || tree_sitter_cpp::LANGUAGE.into(),
        CPP_RULES,
    )
};

const fn family(
    name: &'static str,
    extensions: &'static [&'static str],
    grammar: fn() -> tree_sitter::Language,
    rules: &'static [Rule],
) -> Table {
    Table {
        name,
        extensions,
        grammar,
        rules,
        wrappers: &[],
        exports: &[],
        comments: &["comment"],
        detached: &[],
        attributes: &[],
        tails: &[";"],
        separator: None,
        transparent: &[],
        skipped: &["access_specifier"],
        functions: &[],
        overloads: Overloads::No,
        top: &[],
        hands_over: false,
        free: &[
            ("enumerator_list", &[]),
            ("field_declaration_list", &["field_declaration"]),
        ],
        keyed: &[],
        aligned: &[],
        is_import_unique: false,
        is_ambiguous: false,
        guards: &[],
        references: &names::C,
    }
}

#[cfg(feature = "lang-c")]
const C_RULES: &[Rule] = &[
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
];

#[cfg(feature = "lang-cpp")]
const CPP_RULES: &[Rule] = &[
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
];

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
