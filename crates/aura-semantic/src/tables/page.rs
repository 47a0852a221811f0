//! Pages: HTML, CSS, Markdown.

#[cfg(feature = "lang-css")]
use super::import;
#[cfg(feature = "lang-markdown")]
use super::path;
use super::{only, rule, table};
#[cfg(any(feature = "lang-html", feature = "lang-css"))]
use crate::language::Naming;
use crate::language::{Body, Rule, Table, UnitKind, When};
#[cfg(feature = "lang-html")]
use crate::language::{Guard, Steps};

/// What gives a page its structure is a container; another element is one text, with a name if it
/// has an id.
#[cfg(feature = "lang-html")]
pub(super) const HTML: Table = Table {
    guards: &[Guard::Elements(2000)],
    ..table(
        "html",
        &["html", "htm"],
        || tree_sitter_html::LANGUAGE.into(),
        HTML_RULES,
    )
};

#[cfg(feature = "lang-html")]
const HTML_RULES: &[Rule] = &[
    only(
        When::Text(
            TAG,
            &[
                "html", "head", "body", "header", "nav", "main", "section", "article", "aside",
                "footer",
            ],
        ),
        rule(
            "element",
            UnitKind::Module,
            Naming::Attribute("id", TAG),
            Body::Direct(&[], "end_tag"),
        ),
    ),
    rule(
        "element",
        UnitKind::Statement,
        Naming::Attribute("id", &[]),
        Body::None,
    ),
    rule(
        "script_element",
        UnitKind::Statement,
        Naming::Attribute("id", TAG),
        RAW,
    ),
    rule(
        "style_element",
        UnitKind::Statement,
        Naming::Attribute("id", TAG),
        RAW,
    ),
];

#[cfg(feature = "lang-html")]
const TAG: Steps = &[&["start_tag", "self_closing_tag"], &["tag_name"]];
#[cfg(feature = "lang-html")]
const RAW: Body = Body::First(&["raw_text"]);

#[cfg(feature = "lang-css")]
pub(super) const CSS: Table = Table {
    comments: &["comment", "js_comment"],
    tails: &[";"],
    keyed: &["block"],
    ..table(
        "css",
        &["css"],
        || tree_sitter_css::LANGUAGE.into(),
        CSS_RULES,
    )
};

#[cfg(feature = "lang-css")]
const CSS_RULES: &[Rule] = &[
    import("import_statement"),
    rule(
        "rule_set",
        UnitKind::Constant,
        BEFORE,
        Body::First(&["block"]),
    ),
    rule(
        "keyframe_block",
        UnitKind::Constant,
        BEFORE,
        Body::First(&["block"]),
    ),
    rule("keyframes_statement", UnitKind::Module, BEFORE, HOLDER),
    rule("media_statement", UnitKind::Module, BEFORE, HOLDER),
    rule("supports_statement", UnitKind::Module, BEFORE, HOLDER),
    rule("scope_statement", UnitKind::Module, BEFORE, HOLDER),
    // A font has declarations, a layer has rules.
    only(
        When::Holds(
            "block",
            &[
                "rule_set",
                "at_rule",
                "media_statement",
                "supports_statement",
            ],
        ),
        rule("at_rule", UnitKind::Module, BEFORE, HOLDER),
    ),
    rule(
        "at_rule",
        UnitKind::Constant,
        BEFORE,
        Body::First(&["block"]),
    ),
];

#[cfg(feature = "lang-css")]
const BEFORE: Naming = Naming::Before(&["block", "keyframe_block_list"]);
#[cfg(feature = "lang-css")]
const HOLDER: Body = Body::Block(&["block", "keyframe_block_list"]);

/// Sections are containers named by their headings; their paragraphs, lists and tables are units
/// without a name.
#[cfg(feature = "lang-markdown")]
pub(super) const MARKDOWN: Table = Table {
    comments: &[],
    top: &["section"],
    skipped: &["block_continuation"],
    free: &[("list", &[])],
    ..table(
        "markdown",
        &["md", "markdown"],
        || tree_sitter_md::LANGUAGE.into(),
        MARKDOWN_RULES,
    )
};

#[cfg(feature = "lang-markdown")]
const MARKDOWN_RULES: &[Rule] = &[
    only(
        When::Child(&["atx_heading"]),
        rule(
            "section",
            UnitKind::Module,
            path(&[&["atx_heading"], &["heading_content"]]),
            Body::Below(&["atx_heading"]),
        ),
    ),
    rule(
        "setext_heading",
        UnitKind::Statement,
        path(&[&["heading_content"]]),
        Body::None,
    ),
];
