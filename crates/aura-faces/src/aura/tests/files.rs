//! Commands on files alone, and the editor.
//!
//! Invariant: no home is made by any of them.

use super::*;

const BASE: &str = "fn a() {\n    1;\n}\n\nfn b() {\n    2;\n}\n";

#[test]
fn outline_and_diff_of_files_need_no_team() {
    let laptop = Laptop::new();
    let (old, new) = (
        laptop.file("old.rs", BASE),
        laptop.file("new.rs", &BASE.replace('2', "3")),
    );
    let outline = laptop
        .run(&["outline", &old, "--path", "src/x.rs", "--json"])
        .json();
    assert_eq!(outline["schema"], "aura.outline/1");
    let names: Vec<&Value> = outline["units"]
        .as_array()
        .unwrap()
        .iter()
        .map(|unit| &unit["name"])
        .collect();
    assert_eq!(names, [&json!("a"), &json!("b")]);
    assert_eq!(outline["units"][0]["path"], "src/x.rs");
    let diff = laptop
        .run(&["diff", "--files", &old, &new, "--path", "x.rs", "--json"])
        .json();
    assert_eq!(diff["changes"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&diff["changes"][0]["name"], &diff["changes"][0]["change"]),
        (&json!("b"), &json!("body"))
    );
    assert!(!laptop.home().root().exists());
}

#[test]
fn merge_ends_with_0_1_or_2_and_never_writes_an_input() {
    let laptop = Laptop::new();
    let base = laptop.file("base.rs", BASE);
    let ours = laptop.file("ours.rs", &BASE.replace('1', "10"));
    let theirs = laptop.file("theirs.rs", &BASE.replace('2', "20"));
    let both = BASE.replace('1', "10").replace('2', "20");
    let run = laptop.run(&["merge", &base, &ours, &theirs, "--path", "x.rs"]);
    assert_eq!((run.exit(), run.out), (0, both.clone()));

    let run = laptop.run(&[
        "merge", &base, &ours, &theirs, "--path", "x.rs", "-o", "out.rs", "--json",
    ]);
    assert_eq!((run.exit(), &run.json()["clean"]), (0, &json!(true)));
    assert_eq!(
        fs::read_to_string(laptop.dir.path().join("out.rs")).unwrap(),
        both
    );

    let clash = laptop.file("clash.rs", &BASE.replace('1', "11"));
    let run = laptop.run(&["merge", &base, &ours, &clash, "--path", "x.rs"]);
    assert_eq!(run.exit(), 1);
    assert!(
        run.out.contains("<<<<<<< ours") && run.out.contains("||||||| base"),
        "{}",
        run.out
    );
    let run = laptop.run(&["merge", &base, &ours, &clash, "--path", "x.rs", "--json"]);
    assert_eq!((run.exit(), &run.json()["conflicts"]), (1, &json!(1)));

    for args in [
        &[
            "merge", &base, &ours, &theirs, "--path", "x.rs", "-o", "ours.rs",
        ][..],
        &["merge", &base, &ours, "missing.rs", "--path", "x.rs"],
        &["merge", &base, &ours, &theirs],
    ] {
        assert_eq!(laptop.run(args).exit(), 2, "{args:?}");
    }
    assert_eq!(fs::read_to_string(&ours).unwrap(), BASE.replace('1', "10"));
}

#[test]
fn both_sides_of_a_conflict_are_edited_in_one_text_and_markers_are_noticed() {
    let side = |text: &str| docs::SideDoc {
        op: None,
        author: "bob\x1b".to_owned(),
        at: None,
        text: Some(text.to_owned()),
        deleted: false,
    };
    let conflict = docs::ConflictDoc {
        id: "c-1".to_owned(),
        symbol: "a".to_owned(),
        path: "a.rs".to_owned(),
        since: String::new(),
        reason: String::new(),
        base: Some(side("cap = 1\nend\n")),
        mine: side("cap = 2\nend\n"),
        theirs: side("cap = 3\nend\n"),
    };
    let text = String::from_utf8(super::super::editor::both_sides(&conflict)).unwrap();
    assert_eq!(
        text,
        "<<<<<<< yours\ncap = 2\n||||||| base\ncap = 1\n=======\ncap = 3\n>>>>>>> bob\\u{1b}\nend\n"
    );
    assert!(super::super::editor::has_markers(text.as_bytes()));
    assert!(!super::super::editor::has_markers(
        b"a <<<<<<< b\n=======\n"
    ));
}

#[test]
fn an_editor_is_not_opened_where_nobody_sits() {
    let laptop = Laptop::new();
    let run = laptop.run(&["resolve", "c-1", "--edit", "--json"]);
    assert_eq!(
        (run.exit(), &run.json()["error"]["id"]),
        (2, &json!("AE-NO-TERMINAL"))
    );
    assert!(!Path::new(laptop.home().root()).exists());
}
