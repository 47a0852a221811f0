//! Single cases of identity, apply, refusal and difference, written out.
//!
//! Invariants:
//! - expected texts are whole files, so a stray byte shows.
#![cfg(feature = "default")]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use aura_semantic::{
    Change, Clash, ContentHash, FilePatch, Indexed, Landing, Op, OwnText, Refusal, Text, UnitId,
    UnitKind, apply, bring, diff_files, extract, land, language_of, outline, splice,
};
use common::{fixture, fresh, next};

const TWO: &str = "fn one() {\n    1\n}\n\nfn two() {\n    2\n}\n";

fn patch(path: &str, before: &str, after: &str) -> (Indexed, FilePatch) {
    let before = fresh(path, before.as_bytes());
    let after = next(&before, after.as_bytes());
    let patch = extract(Some(&before), Some(&after)).unwrap();
    (before, patch)
}

/// Carries the change `before` to `after` over to `here`, which came from `before` too.
fn carry(path: &str, before: &str, after: &str, here: &str) -> Result<String, Refusal> {
    let (before, patch) = patch(path, before, after);
    let here = next(&before, here.as_bytes());
    let applied = apply(Some(&here), &patch)?;
    Ok(String::from_utf8(applied.bytes().unwrap().to_vec()).unwrap())
}

fn id(file: &Indexed, name: &str) -> UnitId {
    let mut named = file
        .outline
        .units
        .iter()
        .zip(&file.ids)
        .filter(|(unit, _)| unit.qualified == name);
    *named.next().unwrap_or_else(|| panic!("no unit {name}")).1
}

fn conflict(result: Result<String, Refusal>) -> Box<Clash> {
    match result {
        Err(Refusal::Conflict(clash)) => clash,
        other => panic!("expected a conflict: {other:?}"),
    }
}

#[test]
fn extensions_choose_the_language() {
    let name = |path| language_of(path).map(aura_semantic::Language::name);
    assert_eq!(name("src/a.rs"), Some("rust"));
    assert_eq!(name("a.H"), Some("cpp"));
    assert_eq!(name("a.PY"), Some("python"));
    assert_eq!(name("a.d.ts"), Some("typescript"));
    assert_eq!(name("rs"), None);
    assert_eq!(name("dir.rs/file"), None);
}

#[test]
fn ids_hold_still_across_releases() {
    let file = fresh("src/a.rs", TWO.as_bytes());
    assert_eq!(UnitId::file("src/a.rs").to_string().len(), 32);
    let text: Vec<String> = file.ids.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "ad4b0fb6f19b3cbcd9a0170632f098ac",
            "09775b09793c15b31665d7353aee6520"
        ]
    );
    assert_eq!(text[0].parse::<UnitId>().unwrap(), file.ids[0]);
    assert!("xyz".parse::<UnitId>().is_err());
}

#[test]
fn s02_a_renamed_unit_keeps_its_id_and_its_patch_is_a_rename() {
    let (before, patch) = patch("a.rs", TWO, &TWO.replace("two", "zwei"));
    let [Op::Rename { unit, from, to, .. }] = &patch.ops[..] else {
        panic!("{:?}", patch.ops);
    };
    assert_eq!(
        (*unit, from.as_str(), to.as_str()),
        (id(&before, "two"), "two", "zwei")
    );
}

#[test]
fn s02_a_renamed_and_edited_function_keeps_its_id() {
    let before = fresh("risk.rs", &fixture("risk.rs"));
    let text = String::from_utf8(fixture("risk.rs")).unwrap();
    let edited = text
        .replace("pub fn level_of(", "pub fn classify(")
        .replace(
            "_ => level!(3)",
            "_ if score.is_nan() => level!(9),\n        _ => level!(3)",
        );
    let after = next(&before, edited.as_bytes());
    assert_eq!(id(&after, "classify"), id(&before, "level_of"));
}

#[test]
fn s02_a_renamed_container_keeps_its_id_and_its_members_theirs() {
    let text = String::from_utf8(fixture("risk.rs")).unwrap();
    let before = fresh("risk.rs", text.as_bytes());
    let after = next(&before, text.replace("RiskModel", "Model").as_bytes());
    for (old, new) in [
        ("RiskModel::score", "Model::score"),
        ("RiskModel::fmt", "Model::fmt"),
        ("RiskModel", "Model"),
    ] {
        assert_eq!(id(&before, old), id(&after, new));
    }
}

#[test]
fn s02_a_method_moved_to_another_class_keeps_its_id() {
    let before = "class A:\n    def run(self, task):\n        return task.start(self.queue)\n\n    def a(self):\n        pass\n\n\nclass B:\n    def b(self):\n        pass\n";
    let after = "class A:\n    def a(self):\n        pass\n\n\nclass B:\n    def b(self):\n        pass\n\n    def run(self, task):\n        return task.start(self.queue)\n";
    let old = fresh("a.py", before.as_bytes());
    let new = next(&old, after.as_bytes());
    assert_eq!(id(&old, "A::run"), id(&new, "B::run"));
    let found = extract(Some(&old), Some(&new)).unwrap();
    assert!(
        found.ops.iter().any(|op| matches!(op, Op::Move { .. })),
        "{:?}",
        found.ops
    );
}

#[test]
fn overloads_are_told_apart_by_their_parameters() {
    let before = fresh("Ledger.java", &fixture("Ledger.java"));
    let text = String::from_utf8(fixture("Ledger.java")).unwrap();
    let edited = text.replace("add((long) amount);", "add((long) amount + 0);");
    let after = next(&before, edited.as_bytes());
    let found = extract(Some(&before), Some(&after)).unwrap();
    let [Op::Replace { unit, .. }] = found.ops[..] else {
        panic!("{:?}", found.ops)
    };
    let unit = &before.outline.units[before.position(unit).unwrap()];
    assert_eq!(
        (unit.name.as_str(), unit.parameters.as_str()),
        ("add", "(int)")
    );
}

#[test]
fn editing_a_method_changes_its_hash_only_and_editing_the_header_the_class_only() {
    let text = String::from_utf8(fixture("orders.py")).unwrap();
    let touched = |edited: String| -> Vec<String> {
        let (_, patch) = patch("orders.py", &text, &edited);
        patch
            .touched
            .into_iter()
            .map(|touched| touched.name)
            .collect()
    };
    assert_eq!(
        touched(text.replace("net *= 1 - share", "net *= 2")),
        ["Order::gross"]
    );
    assert_eq!(
        touched(text.replace("class Order(object):", "class Order:")),
        ["Order"]
    );
    let added = touched(text.replace(
        "    class Meta:",
        "    def empty(self):\n        return not self.lines\n\n    class Meta:",
    ));
    assert_eq!(added, ["Order::empty"]);
}

#[test]
fn two_edits_of_one_function_merge_by_lines_or_conflict() {
    let base = "fn a() {\n    one();\n    two();\n    three();\n    four();\n}\n";
    let sent = base.replace("one()", "uno()");
    let here = base.replace("four()", "quattro()");
    let merged = here.replace("one()", "uno()");
    assert_eq!(carry("a.rs", base, &sent, &here).unwrap(), merged);
    let clash = conflict(carry("a.rs", base, &sent, &base.replace("one()", "eins()")));
    assert_eq!(clash.name, "a");
    assert!(
        clash
            .mine
            .unwrap()
            .head
            .0
            .windows(4)
            .any(|text| text == b"eins")
    );
    assert!(
        clash
            .theirs
            .unwrap()
            .head
            .0
            .windows(3)
            .any(|text| text == b"uno")
    );
}

#[test]
fn a_change_of_a_function_that_was_renamed_here_lands_under_the_new_name() {
    let here = TWO.replace("fn two", "fn zwei");
    let sent = TWO.replace("    2", "    2 + 2");
    // In the shorter function name and changed line touch: lines cannot tell, syntax can.
    let longer = |text: &str| text.replace("() {\n", "() {\n    start();\n");
    for shape in [|text: &str| text.to_owned(), longer] {
        let landed = carry("a.rs", &shape(TWO), &shape(&sent), &shape(&here)).unwrap();
        assert_eq!(landed, shape(&sent.replace("fn two", "fn zwei")));
    }
}

#[test]
fn deleting_what_was_edited_here_is_a_conflict_and_editing_what_was_deleted_a_mismatch() {
    let without = "fn one() {\n    1\n}\n";
    let edited = TWO.replace("    2", "    22");
    assert_eq!(conflict(carry("a.rs", TWO, without, &edited)).theirs, None);
    let refusal = carry("a.rs", TWO, &edited, without).unwrap_err();
    assert!(matches!(refusal, Refusal::BaseMismatch { name, .. } if name == "two"));
    assert_eq!(carry("a.rs", TWO, without, without).unwrap(), without);
}

#[test]
fn inserting_is_idempotent_and_two_bodies_for_one_name_conflict() {
    let with = |body: &str| format!("{TWO}\nfn three() {{\n    {body}\n}}\n");
    assert_eq!(
        carry("a.rs", TWO, &with("3"), &with("3")).unwrap(),
        with("3")
    );
    let clash = conflict(carry("a.rs", TWO, &with("3"), &with("4")));
    assert_eq!((clash.name.as_str(), clash.base), ("three", None));
}

#[test]
fn an_insertion_finds_its_neighbour_after_the_file_was_reordered() {
    let here = "fn two() {\n    2\n}\n\nfn one() {\n    1\n}\n";
    let sent = TWO.replace("\nfn two", "\n/// New.\nfn new() {}\n\nfn two");
    let expected = "fn two() {\n    2\n}\n\nfn one() {\n    1\n}\n\n/// New.\nfn new() {}\n";
    assert_eq!(carry("a.rs", TWO, &sent, here).unwrap(), expected);
}

#[test]
fn comments_between_units_survive_deletions_around_them() {
    let here = TWO.replace("}\n\nfn two", "}\n\n// Kept.\n\nfn two");
    let landed = carry("a.rs", TWO, "fn one() {\n    1\n}\n", &here).unwrap();
    assert!(landed.contains("// Kept."), "{landed}");
}

#[test]
fn a_change_made_with_line_feeds_takes_the_line_ends_of_its_target() {
    let here = TWO.replace('\n', "\r\n");
    let sent = TWO.replace("    2\n", "    2\n        + 2\n");
    assert_eq!(
        carry("a.rs", TWO, &sent, &here).unwrap(),
        sent.replace('\n', "\r\n")
    );
}

fn spliced(text: &str) -> Refusal {
    let file = fresh("a.rs", TWO.as_bytes());
    splice(&file, file.ids[0], &OwnText::leaf(text.as_bytes())).unwrap_err()
}

#[test]
fn text_that_breaks_out_of_its_function_is_refused() {
    for text in [
        "fn one() {} fn evil() {}",
        "fn one() {}\n\nfn evil() {}",
        "fn one() {}\n}\nfn evil() {",
        "",
        "/* ",
        "fn one() {} /*",
        "fn one() {",
        "// only a comment",
        "fn one() { \"",
    ] {
        let refusal = spliced(text);
        let known = matches!(
            refusal,
            Refusal::NotOneFunction { .. } | Refusal::WouldNotParse { .. }
        );
        assert!(known, "{text:?}: {refusal:?}");
    }
    assert!(matches!(spliced("fn two() {}"), Refusal::Ambiguous { .. }));
}

#[test]
fn python_text_that_dedents_out_of_its_method_is_refused() {
    let file = fresh(
        "a.py",
        b"class A:\n    def a(self):\n        pass\n\n    def b(self):\n        pass\n",
    );
    let method = id(&file, "A::a");
    for text in [
        "def a(self):\n        pass\n\ndef evil():\n    pass",
        "pass\nevil()",
    ] {
        let refusal = splice(&file, method, &OwnText::leaf(text.as_bytes())).unwrap_err();
        assert!(
            matches!(
                refusal,
                Refusal::NotOneFunction { .. } | Refusal::WouldNotParse { .. }
            ),
            "{refusal:?}"
        );
    }
}

#[test]
fn a_replacement_that_lies_about_its_name_is_refused() {
    let (before, mut patch) = patch("a.rs", TWO, &TWO.replace("    2", "    3"));
    let Op::Replace { text, .. } = &mut patch.ops[0] else {
        panic!("a replacement")
    };
    *text = OwnText::leaf(b"fn zwei() {}");
    let refusal = apply(Some(&before), &patch).unwrap_err();
    assert!(matches!(refusal, Refusal::NameChanged { found, .. } if found == "zwei"));
    let Op::Replace { text, .. } = &mut patch.ops[0] else {
        panic!("a replacement")
    };
    *text = OwnText::leaf(b"struct two;");
    let refusal = apply(Some(&before), &patch).unwrap_err();
    assert!(matches!(refusal, Refusal::NotOneFunction { .. }));
}

/// A landing among units that nobody else inserted.
fn landing(older: &BTreeSet<UnitId>) -> Landing<'_> {
    Landing {
        older,
        is_newer: &|_| false,
        is_back: false,
        is_seen: false,
    }
}

#[test]
fn a_text_brought_onto_an_older_version_keeps_the_name_that_was_told() {
    let lie = b"fn zwei() {}";
    let (two, mut replacement) = patch("a.rs", TWO, &TWO.replace("    2", "    3"));
    let Op::Replace { text, .. } = &mut replacement.ops[0] else {
        panic!("a replacement")
    };
    *text = OwnText::leaf(lie);
    let (one, mut insertion) = patch("a.rs", "fn one() {\n    1\n}\n", TWO);
    let inserted = apply(Some(&one), &insertion).unwrap().after.unwrap();
    let Some(Op::Insert { text, .. }) = insertion
        .ops
        .iter_mut()
        .find(|op| matches!(op, Op::Insert { .. }))
    else {
        panic!("an insertion")
    };
    *text = Text(lie.to_vec());
    for (here, patch) in [(two, replacement), (inserted, insertion)] {
        let older = BTreeSet::from([id(&here, "two")]);
        let refusal = land(Some(&here), &patch, &landing(&older)).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::NameChanged { found, .. } if found == "zwei"),
            "{refusal:?}"
        );
    }
}

#[test]
fn splicing_back_an_old_version_restores_it_even_under_its_old_name() {
    let before = fresh("a.rs", TWO.as_bytes());
    let after = next(&before, TWO.replace("two", "zwei").as_bytes());
    let old = before.outline.units[1].own_text(&before.bytes);
    let restored = splice(&after, before.ids[1], &old).unwrap();
    assert_eq!(restored.bytes(), Some(TWO.as_bytes()));
    assert_eq!(restored.after.unwrap().ids, before.ids);
}

/// A file brought to have, or lose, a unit of another version of it.
fn brought(path: &str, here: &str, other: &str, name: &str, text: Option<&OwnText>) -> String {
    let other = fresh(path, other.as_bytes());
    let here = next(&other, here.as_bytes());
    let op = bring(&here, id(&other, name), name, text).unwrap();
    let patch = FilePatch {
        path: path.to_owned(),
        base: None,
        result: None,
        ops: vec![op],
        touched: Vec::new(),
    };
    let applied = apply(Some(&here), &patch).unwrap();
    String::from_utf8(applied.bytes().unwrap().to_vec()).unwrap()
}

#[test]
fn a_unit_is_brought_to_a_text_whatever_version_of_it_is_here() {
    let text = |text: &str| OwnText::leaf(text.as_bytes());
    let zwei = text("fn zwei() {\n    2\n}");
    let renamed = TWO.replace("two", "zwei");
    for here in [
        TWO.to_owned(),
        TWO.replace("    2", "    3 + 3"),
        renamed.clone(),
    ] {
        assert_eq!(brought("a.rs", &here, TWO, "two", Some(&zwei)), renamed);
    }
    let without = "fn one() {\n    1\n}\n";
    assert_eq!(brought("a.rs", &renamed, TWO, "two", None), without);
    let back = brought("a.rs", without, TWO, "two", Some(&zwei));
    assert_eq!(back, renamed);
    let class = "class A:\n    def a(self):\n        pass\n\n    def b(self):\n        pass\n";
    let short = "class A:\n    def a(self):\n        pass\n";
    let method = text("def b(self):\n        pass");
    assert_eq!(brought("a.py", short, class, "A::b", Some(&method)), class);
}

#[test]
fn comments_that_exclude_each_other_both_stay_in_an_order_of_their_own() {
    let with = |comment: &str| format!("{TWO}\n// {comment}\n");
    let both_of = |mine: &str, theirs: &str| {
        let (before, patch) = patch("a.rs", TWO, &with(theirs));
        let here = next(&before, with(mine).as_bytes());
        assert!(matches!(
            apply(Some(&here), &patch),
            Err(Refusal::Conflict(_))
        ));
        let (applied, _) = land(Some(&here), &patch, &landing(&BTreeSet::new())).unwrap();
        String::from_utf8(applied.bytes().unwrap().to_vec()).unwrap()
    };
    let both = with("hers") + "\n// his\n";
    assert_eq!(both_of("hers", "his"), both);
    assert_eq!(both_of("his", "hers"), both);
}

#[test]
fn files_are_created_replaced_and_deleted_as_wholes() {
    let file = fresh("a.rs", TWO.as_bytes());
    let created = extract(None, Some(&file)).unwrap();
    assert_eq!(created.base, None);
    assert_eq!(apply(None, &created).unwrap().after.unwrap().ids, file.ids);
    assert_eq!(
        apply(Some(&file), &created).unwrap().bytes(),
        Some(TWO.as_bytes())
    );
    let names: Vec<&str> = created
        .touched
        .iter()
        .map(|touched| touched.name.as_str())
        .collect();
    assert_eq!((names[0], names.len()), ("a.rs", 3));
    let deleted = extract(Some(&file), None).unwrap();
    assert_eq!(apply(Some(&file), &deleted).unwrap().after, None);
    assert_eq!(apply(None, &deleted).unwrap().after, None);
    let edited = next(&file, b"fn other() {}\n");
    assert!(matches!(
        apply(Some(&edited), &deleted),
        Err(Refusal::Conflict(_))
    ));
    assert_eq!(extract(None, None), None);
    assert_eq!(extract(Some(&file), Some(&file)), None);
}

#[test]
fn attached_comments_and_attributes_belong_to_their_unit() {
    let file = fresh("risk.rs", &fixture("risk.rs"));
    let text = |name: &str| {
        let unit = &file.outline.units[file.position(id(&file, name)).unwrap()];
        String::from_utf8(file.bytes[unit.span.clone()].to_vec()).unwrap()
    };
    assert!(text("RiskModel::score").starts_with("// Scores one position.\n    #[inline]\n"));
    assert!(text("level_of").starts_with("/// Picks the level"));
    assert!(text("tests").starts_with("#[cfg(test)]"));
    let script = fresh("cart.jsx", &fixture("cart.jsx"));
    let exported = &script.outline.units[script.position(id(&script, "withTax")).unwrap()];
    assert_eq!(exported.kind, UnitKind::Function);
    assert!(script.bytes[exported.span.clone()].starts_with(b"export const withTax"));
}

#[test]
fn a_difference_tells_body_signature_name_place_and_comment_apart() {
    let before = "/// A.\nfn a(x: u32) {\n    one(x);\n}\n\nfn b() {\n    two();\n    three();\n}\n\nfn c() {}\n\nfn d() {\n    four(4);\n}\n";
    let after = "/// B.\nfn a(x: u32) {\n    one(x);\n}\n\nfn d() {\n    four(4);\n}\n\nfn bb() {\n    two();\n    three();\n}\n\nfn e(x: u32) {}\n";
    let found: Vec<(String, Change)> = diff_files("a.rs", before.as_bytes(), after.as_bytes())
        .into_iter()
        .map(|change| (change.name, change.change))
        .collect();
    let expected = [
        ("a", Change::Comment),
        ("d", Change::Moved),
        (
            "bb",
            Change::Renamed {
                from: "b".to_owned(),
            },
        ),
        ("e", Change::Added),
        ("c", Change::Removed),
    ];
    assert_eq!(
        found,
        expected.map(|(name, change)| (name.to_owned(), change))
    );
    let one = |before: &str, after: &str| -> Vec<Change> {
        diff_files("a.rs", before.as_bytes(), after.as_bytes())
            .into_iter()
            .map(|change| change.change)
            .collect()
    };
    assert_eq!(one("fn a() { 1 }", "fn a() { 2 }"), [Change::Body]);
    assert_eq!(one("fn a() { 1 }", "pub fn a() { 1 }"), [Change::Signature]);
    assert_eq!(
        one("fn a() { 1 }", "fn a(x: u8) { 2 }"),
        [Change::Signature, Change::Body]
    );
}

#[test]
fn wire_types_survive_json() {
    let text = fixture("orders.py");
    let before = fresh("orders.py", &text);
    let mut edited = text.clone();
    edited.extend_from_slice(b"\nx = '\xff\x00'\n");
    let patch = extract(Some(&before), Some(&next(&before, &edited))).unwrap();
    let json = serde_json::to_string(&patch).unwrap();
    assert_eq!(serde_json::from_str::<FilePatch>(&json).unwrap(), patch);
    let hash = ContentHash::of(b"x");
    assert_eq!(serde_json::to_string(&hash).unwrap(), format!("\"{hash}\""));
}

#[test]
fn wire_types_survive_bincode_with_texts_as_plain_runs_of_bytes() {
    let (_, patch) = patch("a.rs", TWO, &TWO.replace("    2", "    3"));
    let config = bincode::config::standard();
    let bytes = bincode::serde::encode_to_vec(&patch, config).unwrap();
    assert!(
        bytes.windows(9).any(|run| run == b"fn two() "),
        "texts are not element by element"
    );
    let (back, used): (FilePatch, usize) =
        bincode::serde::decode_from_slice(&bytes, config).unwrap();
    assert_eq!((back, used), (patch, bytes.len()));
    let cut = bincode::serde::decode_from_slice::<FilePatch, _>(&bytes[..bytes.len() - 1], config);
    assert!(cut.is_err());
    assert_eq!(Text::from("x").bytes(), b"x");
}

#[test]
fn an_outline_of_bytes_that_are_not_text_names_units_with_escapes() {
    let found = outline(
        "a.py",
        b"def a\xff():\n    pass\n\ndef b():\n    pass\n",
        &aura_semantic::Budget::default(),
    );
    assert!(found.units.iter().any(|unit| unit.name == "b"));
}
