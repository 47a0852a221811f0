//! The units of data and pages, written out.
//!
//! Invariants:
//! - a row of an expected outline is the kind and the qualified name of a unit, and its parameter types.
#![cfg(feature = "default")]
#![allow(clippy::unwrap_used)]

mod common;

use aura_semantic::{Budget, Op, apply, extract, outline};
use common::{check, fresh, next, text, unit};

/// Carries the change of one version to another over to a third.
fn carry(path: &str, before: &str, after: &str, here: &str) -> String {
    let before = fresh(path, before.as_bytes());
    let patch = extract(Some(&before), Some(&next(&before, after.as_bytes()))).unwrap();
    assert!(
        !matches!(patch.ops[..], [Op::File { .. }]),
        "{:?}",
        patch.ops
    );
    let applied = apply(Some(&next(&before, here.as_bytes())), &patch).unwrap();
    String::from_utf8(applied.bytes().unwrap().to_vec()).unwrap()
}

#[test]
fn json_members_are_units_without_commas_and_lists_are_text() {
    check("package.json", PACKAGE);
    let package = text("package.json");
    assert_eq!(
        unit("a.json", &package, "version"),
        "\"version\": \"2.4.1\""
    );
    assert_eq!(unit("a.json", &package, "license"), "\"license\": \"MIT\"");
    assert!(unit("a.json", &package, "scripts").ends_with("\n    }"));
    let engine = "\"engines\": { \"node\": \">=20\", \"npm\": \">=10\" }";
    assert_eq!(unit("a.json", &package, "engines"), engine);
}

#[test]
fn changes_of_two_people_to_neighbouring_json_members_compose() {
    let base = text("package.json");
    let sent = base.replace("\"^4.19.2\"", "\"^5.0.0\"");
    let here = base.replace("\"^8.11.5\"", "\"^9.0.0\"");
    let both = here.replace("\"^4.19.2\"", "\"^5.0.0\"");
    assert_eq!(carry("package.json", &base, &sent, &here), both);
}

#[test]
fn json_members_that_two_add_take_away_or_reorder_at_the_ends_stay_apart() {
    let of = |members: &[&str]| format!("{{\n  {}\n}}\n", members.join(",\n  "));
    let (one, two, three) = ("\"one\": 1", "\"two\": { \"a\": 1 }", "\"three\": [3]");
    let (four, five) = ("\"four\": 4", "\"five\": 5");
    let base = of(&[one, two, three]);
    for (sent, here, both) in [
        (
            of(&[one, two, three, four]),
            of(&[one, two, three, five]),
            of(&[one, two, three, four, five]),
        ),
        (
            of(&[four, one, two, three]),
            of(&[five, one, two, three]),
            of(&[four, five, one, two, three]),
        ),
        (
            of(&[one, two]),
            of(&[one, two, three, four]),
            of(&[one, two, four]),
        ),
        (
            of(&[two, three]),
            of(&[four, one, two, three]),
            of(&[four, two, three]),
        ),
        (
            of(&[one, two, three, four]),
            of(&[one, two]),
            of(&[one, two, four]),
        ),
        (
            of(&[three, one, two]),
            of(&[one, two, three, four]),
            of(&[three, one, two, four]),
        ),
    ] {
        assert_eq!(carry("a.json", &base, &sent, &here), both);
    }
    // With comments that have commas in them.
    let noted = base.replace("1,", "1, // first, of course");
    let sent = noted.replace("\n}\n", ", // third, too\n  \"four\": 4\n}\n");
    let here = noted.replace(",\n  \"three\": [3]", "");
    let both = here.replace("\n}\n", ", // third, too\n  \"four\": 4\n}\n");
    assert_eq!(carry("tsconfig.json", &noted, &sent, &here), both);
    assert_eq!(
        carry("tsconfig.json", &sent, &noted, &sent.replace("[3]", "[33]")),
        noted.replace("[3]", "[33]")
    );
    // Inside of one of them.
    let inner = base.replace("\"a\": 1", "\"a\": 1, \"b\": 2");
    let other = base.replace("\"a\": 1", "\"a\": 1, \"c\": 3");
    let both = base.replace("\"a\": 1", "\"a\": 1, \"b\": 2, \"c\": 3");
    assert_eq!(carry("a.json", &base, &inner, &other), both);
}

#[test]
fn a_json_file_that_is_a_list_is_one_unit() {
    let found = outline("a.json", b"[1, { \"a\": 2 }]\n", &Budget::default());
    assert_eq!(found.units.len(), 1);
}

#[test]
fn yaml_comments_stay_with_the_key_below_them() {
    check("pipeline.yaml", PIPELINE);
    let pipeline = text("pipeline.yaml");
    let defaults = unit("a.yml", &pipeline, "defaults");
    assert!(defaults.starts_with("# The comment stays with its key.\ndefaults: &defaults\n"));
    assert!(unit("a.yml", &pipeline, "concurrency").ends_with("cancel: true"));
    let steps = "a:\n  steps:\n    - b: 1\n      # deep\n\n  # shallow\n  c: 2\n# top\nd: 3\n";
    assert_eq!(
        unit("a.yml", steps, "a::steps"),
        "steps:\n    - b: 1\n      # deep"
    );
    assert_eq!(unit("a.yml", steps, "a::c"), "# shallow\n  c: 2");
    assert_eq!(unit("a.yml", steps, "d"), "# top\nd: 3");
}

#[test]
fn keys_of_all_documents_of_a_yaml_file_are_units() {
    let text = "---\nkind: a\nspec:\n  b: 1\n---\nkind: c\nspec: {}\n...\n";
    let found = outline("a.yaml", text.as_bytes(), &Budget::default());
    let names: Vec<&str> = found
        .units
        .iter()
        .map(|unit| unit.qualified.as_str())
        .collect();
    assert_eq!(names, ["kind", "spec", "spec::b", "kind", "spec"]);
}

#[test]
fn changes_of_two_people_to_neighbouring_yaml_keys_compose() {
    let base = text("pipeline.yaml");
    let sent = base.replace("timeout: 20", "timeout: 30");
    let here = base.replace("retries: 2", "retries: 4\n  verbose: yes");
    let both = here.replace("timeout: 20", "timeout: 30");
    assert_eq!(carry("pipeline.yaml", &base, &sent, &here), both);
}

#[test]
fn toml_tables_are_containers_and_have_the_comments_above_them() {
    check("server.toml", SERVER);
    let server = text("server.toml");
    let table = unit("a.toml", &server, "server");
    assert!(table.starts_with("# The comment stays with its table.\n[server]\n"));
    assert!(unit("a.toml", &server, "store").ends_with("07:30:00Z"));
    let copies = unit("a.toml", &server, "store.copies");
    assert!(copies.starts_with("# Where copies go.\n[store.copies]"));
    let beside = "[a] # of a\nb = 1\n";
    assert_eq!(unit("a.toml", beside, "a::b"), "b = 1");
}

#[test]
fn a_toml_table_that_moves_takes_its_comment_with_it() {
    let base = "[a]\nx = 1\n\n# Of b.\n[b]\ny = 2\n\n[c]\nz = 3\n";
    let sent = "[a]\nx = 1\n\n[c]\nz = 3\n\n# Of b.\n[b]\ny = 2\n";
    let here = base.replace("z = 3", "z = 4");
    assert_eq!(
        carry("a.toml", base, sent, &here),
        sent.replace("z = 3", "z = 4")
    );
}

#[test]
fn html_structure_is_nested_and_other_elements_are_named_by_their_id() {
    check("index.html", INDEX);
    let index = text("index.html");
    let berths = unit("a.html", &index, "html::body::main::#berths");
    assert!(berths.starts_with("<!-- The comment stays with its section. -->"));
    let open = "<html><body>\n<p>One\n<p id=two>Two\n</body></html>\n";
    assert_eq!(unit("a.html", open, "html::body::#two"), "<p id=two>Two");
}

#[test]
fn css_rules_are_named_by_their_selectors_and_groups_hold_them() {
    check("site.css", SITE);
    let site = text("site.css");
    let berth = unit("a.css", &site, ".berth > .name:hover, .berth::before");
    assert!(berth.starts_with("/* The comment stays with its rule. */\n.berth > .name"));
}

#[test]
fn markdown_sections_are_nested_and_their_blocks_have_no_names() {
    check("guide.md", GUIDE);
    let guide = text("guide.md");
    let night = unit("a.md", &guide, "Arrival::At night");
    assert!(night.starts_with("## At night\n") && night.ends_with("without a pilot."));
}

#[test]
fn changes_of_two_people_to_paragraphs_of_one_section_compose() {
    let base = text("guide.md");
    let sent = base.replace("sunset.", "dusk till dawn.");
    let here = base.replace(
        "## By day\n\nAny berth",
        "## In the daytime\n\nAny free berth",
    );
    let both = here.replace("sunset.", "dusk till dawn.");
    assert_eq!(carry("guide.md", &base, &sent, &here), both);
}

const PACKAGE: &str = r#"
    constant name
    constant version
    constant private
    constant description
    constant keywords
    module scripts
    constant scripts::build
    constant scripts::test
    constant scripts::lint
    module dependencies
    constant dependencies::express
    constant dependencies::pg
    constant dependencies::@harbour/tides
    module devDependencies
    constant devDependencies::eslint
    constant devDependencies::typescript
    module engines
    constant engines::node
    constant engines::npm
    module config
    module config::server
    constant config::server::port
    constant config::server::hosts
    module config::server::tls
    constant config::server::tls::cert
    constant config::server::tls::key
    module config::server::tls::versions
    constant config::server::tls::versions::min
    constant config::server::tls::versions::max
    constant config::berths
    module config::limits
    constant config::quoted \"key\"
    constant config::nächste
    constant workspaces
    module repository
    constant repository::type
    constant repository::url
    constant files
    constant license
"#;

const PIPELINE: &str = "
    constant name
    constant version
    module on
    module on::push
    constant on::push::branches
    constant on::pull_request
    module defaults
    constant defaults::timeout
    constant defaults::retries
    constant defaults::shell
    module env
    constant env::CARGO_TERM_COLOR
    constant env::QUOTED KEY
    constant env::EMPTY
    module jobs
    module jobs::format
    constant jobs::format::<<
    constant jobs::format::runs-on
    constant jobs::format::steps
    module jobs::test
    constant jobs::test::needs
    module jobs::test::strategy
    module jobs::test::strategy::matrix
    constant jobs::test::strategy::matrix::os
    constant jobs::test::strategy::matrix::rust
    constant jobs::test::strategy::fail-fast
    constant jobs::test::steps
    module jobs::publish
    constant jobs::publish::needs
    constant jobs::publish::when
    module jobs::publish::secrets
    constant jobs::publish::secrets::token
    module jobs::publish::notify
    constant jobs::publish::notify::mail
    module jobs::publish::notify::chat
    constant jobs::publish::notify::chat::room
    constant jobs::publish::notify::chat::quiet
    constant complex key
    module concurrency
    constant concurrency::group
    constant concurrency::cancel
";

const SERVER: &str = "
    constant title
    constant revision
    constant quoted key
    constant owner.name
    constant owner.mail
    module server
    constant server::listen
    constant server::workers
    constant server::idle
    constant server::hosts
    constant server::limits
    module server.tls
    constant server.tls::certificate
    constant server.tls::key
    module store
    constant store::path
    constant store::started
    module store.copies
    constant store.copies::hours
    constant store.copies::text
    module berth
    constant berth::name
    constant berth::metres
    module berth
    constant berth::name
    constant berth::metres
    module berth
    constant berth::name
    constant berth::metres
    constant berth::ratio
    module berth.crane
    constant berth.crane::tons
    module features
    constant features::default
    constant features::tides
    module odd.table
    constant odd.table::literal key
";

const INDEX: &str = "
    statement statement
    module html
    module html::head
    statement html::head::statement
    statement html::head::statement
    statement html::head::statement
    statement html::head::style
    statement html::head::script
    module html::body
    module html::body::#top
    statement html::body::#top::statement
    module html::body::#top::nav
    statement html::body::#top::nav::statement
    statement html::body::#top::nav::statement
    module html::body::main
    module html::body::main::#ships
    statement html::body::main::#ships::statement
    statement html::body::main::#ships::statement
    statement html::body::main::#ships::#ship-list
    module html::body::main::#berths
    statement html::body::main::#berths::statement
    statement html::body::main::#berths::statement
    statement html::body::main::#berths::#booking
    module html::body::main::section
    statement html::body::main::section::statement
    statement html::body::main::section::#tides
    module html::body::#news
    statement html::body::#news::statement
    module html::body::footer
    statement html::body::footer::statement
    statement html::body::footer::#flag
    statement html::body::#start
";

const SITE: &str = r#"
    statement statement
    import import
    constant :root
    constant html, body
    constant .berth > .name:hover, .berth::before
    constant #ship-list td:nth-child(2n + 1)
    constant a[href^="https://"]
    constant @font-face
    module @keyframes swell
    constant @keyframes swell::from
    constant @keyframes swell::50%
    constant @keyframes swell::to
    module @media (max-width: 600px)
    constant @media (max-width: 600px)::.berth
    module @media (max-width: 600px)::@supports (display: grid)
    constant @media (max-width: 600px)::@supports (display: grid)::main
    constant @media (max-width: 600px)::.name
    module @supports not (display: grid)
    constant @supports not (display: grid)::main
    module @layer base
    constant @layer base::h1
    module @media print
    constant @media print::nav
    constant .nested
"#;

const GUIDE: &str = "
    statement statement
    statement statement
    module Arrival
    statement Arrival::statement
    statement Arrival::statement
    module Arrival::At night
    statement Arrival::At night::statement
    statement Arrival::At night::statement
    module Arrival::At night::Fog
    statement Arrival::At night::Fog::statement
    statement Arrival::At night::Fog::statement
    module Arrival::By day
    statement Arrival::By day::statement
    module Berths
    statement Berths::statement
    statement Berths::statement
    module Berths::North
    statement Berths::North::statement
    module Berths::South *(small boats)*
    statement Berths::South *(small boats)*::statement
    statement Berths::South *(small boats)*::Fees
    statement Berths::South *(small boats)*::statement
    statement Berths::South *(small boats)*::Discounts
    statement Berths::South *(small boats)*::statement
    statement Berths::South *(small boats)*::Late payment
    statement Berths::South *(small boats)*::statement
    statement Berths::South *(small boats)*::statement
    module Arrival
    statement Arrival::statement
    statement Arrival::statement
";
