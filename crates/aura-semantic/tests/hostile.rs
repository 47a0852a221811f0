//! Inputs made to break us: deep, long, many, binary, broken.
//!
//! Invariants:
//! - each runs on a thread with two megabytes of stack, so a recursive walk would abort the test.
#![cfg(feature = "default")]
#![allow(clippy::unwrap_used)]

mod common;

use aura_semantic::{Budget, Op, Problem, Refusal, apply, diff_files, extract, outline, splice};
use aura_semantic::{OwnText, merge_files};
use common::{all_fixtures, fixture, fresh, next};

fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(work)
        .unwrap();
    thread.join().unwrap();
}

fn problem(path: &str, bytes: &[u8]) -> Option<Problem> {
    outline(path, bytes, &Budget::default()).whole_file_problem()
}

#[test]
fn a_hundred_thousand_brackets_are_answered_with_a_problem() {
    on_a_small_stack(|| {
        for name in all_fixtures() {
            for open in ["(", "[", "{"] {
                let text = open.repeat(100_000);
                assert_eq!(
                    problem(name, text.as_bytes()),
                    Some(Problem::TooDeep),
                    "{name}"
                );
            }
        }
    });
}

#[test]
fn a_hundred_thousand_levels_without_brackets_do_not_overflow() {
    on_a_small_stack(|| {
        let minus = format!("const A: i32 = {}1;\nfn b() {{}}\n", "-".repeat(100_000));
        let calls = format!("fn a() {{ x{}; }}\n", ".y()".repeat(100_000));
        let ifs = format!("void f(void) {{ {} ; }}\n", "if (1) ".repeat(100_000));
        let ends = "#if A\n".repeat(5_000) + &"#endif\n".repeat(5_000);
        for (path, text) in [
            ("a.rs", minus),
            ("b.rs", calls),
            ("c.c", ifs),
            ("d.c", ends),
        ] {
            let file = fresh(path, text.as_bytes());
            let known = file.outline.whole_file_problem();
            assert!(known.is_some() || !file.ids.is_empty(), "{path}");
        }
    });
}

#[test]
fn nested_modules_work_up_to_the_depth_of_the_budget() {
    on_a_small_stack(|| {
        let nest = |levels: usize| "mod a {".repeat(levels) + &"}".repeat(levels);
        let file = fresh("a.rs", nest(3_400).as_bytes());
        assert_eq!(file.ids.len(), 3_400);
        let inner = file.ids.len() - 1;
        let text = OwnText {
            head: "mod b {".into(),
            foot: Some("}".into()),
        };
        let edited = splice(&file, file.ids[inner], &text).unwrap();
        assert!(edited.bytes().unwrap().len() == file.bytes.len());
        assert_eq!(
            problem("a.rs", nest(5_000).as_bytes()),
            Some(Problem::TooDeep)
        );
    });
}

#[test]
fn a_line_of_eight_megabytes_is_answered() {
    on_a_small_stack(|| {
        let mut line = b"fn a() { let x = \"".to_vec();
        line.resize((8 << 20) - 3, b'x');
        line.extend_from_slice(b"\";}");
        assert_eq!(problem("a.rs", &line), None);
        line.push(b' ');
        assert_eq!(problem("a.rs", &line), Some(Problem::TooLarge));
        let sum = "1+".repeat(4 << 20);
        let parsed = problem("a.py", &sum.as_bytes()[..(8 << 20) - 1]);
        assert!(matches!(
            parsed,
            None | Some(Problem::ParseBudget | Problem::Broken)
        ));
    });
}

#[test]
fn a_hundred_thousand_functions_are_indexed_and_patched() {
    on_a_small_stack(|| {
        let mut text = String::new();
        for number in 0..100_000 {
            text.push_str(&format!("fn f{number}() -> u32 {{\n    {number}\n}}\n\n"));
        }
        let before = fresh("many.rs", text.as_bytes());
        assert_eq!(before.ids.len(), 100_000);
        let edited = text.replace("    500\n", "    500 + 1\n");
        let after = next(&before, edited.as_bytes());
        let patch = extract(Some(&before), Some(&after)).unwrap();
        assert!(matches!(patch.ops[..], [Op::Replace { .. }]));
        let applied = apply(Some(&before), &patch).unwrap();
        assert_eq!(applied.bytes(), Some(edited.as_bytes()));
    });
}

#[test]
fn binary_and_unknown_files_are_whole_files() {
    assert_eq!(
        problem("a.rs", &b"a\0b\0c\0d\0".repeat(100)),
        Some(Problem::Binary)
    );
    assert_eq!(problem("a.xyz", b"text"), Some(Problem::NoGrammar));
    assert_eq!(problem("noextension", b"text"), Some(Problem::NoGrammar));
    let before = fresh("a.xyz", b"one\ntwo\nthree\n");
    let after = next(&before, b"one\n2\nthree\n");
    let patch = extract(Some(&before), Some(&after)).unwrap();
    assert!(matches!(patch.ops[..], [Op::File { .. }]));
    let here = next(&before, b"one\ntwo\nthree\nfour\n");
    let applied = apply(Some(&here), &patch).unwrap();
    assert_eq!(applied.bytes(), Some(&b"one\n2\nthree\nfour\n"[..]));
    assert!(applied.merged);
}

#[test]
fn a_deep_body_is_refused_and_not_spliced() {
    on_a_small_stack(|| {
        let file = fresh("a.rs", b"fn a() {}\n\nfn b() {}\n");
        let deep = format!(
            "fn a() {{ {}{} }}",
            "(".repeat(100_000),
            ")".repeat(100_000)
        );
        let refusal = splice(&file, file.ids[0], &OwnText::leaf(deep.as_bytes()));
        assert_eq!(refusal, Err(Refusal::TooDeep));
        let large = format!("fn a() {{ \"{}\" }}", "x".repeat(9 << 20));
        let refusal = splice(&file, file.ids[0], &OwnText::leaf(large.as_bytes()));
        assert_eq!(refusal, Err(Refusal::TooLarge));
    });
}

#[test]
fn the_parser_stops_when_its_budget_is_spent() {
    let budget = Budget {
        reports_base: 2,
        reports_per_kib: 0,
        ..Budget::default()
    };
    let text = fixture("risk.rs").repeat(50);
    let found = outline("risk.rs", &text, &budget);
    assert_eq!(found.whole_file_problem(), Some(Problem::ParseBudget));
    assert!(found.units.is_empty());
}

#[test]
fn no_truncation_of_a_fixture_makes_anything_panic() {
    for name in all_fixtures() {
        let whole = fixture(name);
        let full = fresh(name, &whole);
        for end in (0..whole.len()).step_by(97) {
            let cut = next(&full, &whole[..end]);
            common::assert_tiled(name, &cut.bytes);
            let patch = extract(Some(&full), Some(&cut)).unwrap();
            assert_eq!(
                apply(Some(&full), &patch).unwrap().bytes(),
                Some(&whole[..end])
            );
            diff_files(name, &whole, &whole[..end]);
            merge_files(name, &whole, &whole[..end], &whole[end..]);
        }
    }
}

#[test]
fn a_brace_that_swallows_the_file_makes_it_a_whole_file_and_not_a_mass_deletion() {
    let text = [b"{\n".as_slice(), &fixture("shapes.ts")].concat();
    assert_eq!(problem("shapes.ts", &text), Some(Problem::Broken));
}

#[test]
fn a_broken_unit_is_opaque_and_the_others_are_fine() {
    let text = b"fn one() {\n    1\n}\n\nfn two() {\n    let = ;\n}\n\nfn three() {\n    3\n}\n";
    let file = fresh("a.rs", text);
    let opaque: Vec<(&str, bool)> = file
        .outline
        .units
        .iter()
        .map(|unit| (unit.name.as_str(), unit.opaque))
        .collect();
    assert_eq!(opaque, [("one", false), ("two", true), ("three", false)]);
}

#[test]
fn what_the_scanner_of_a_grammar_cannot_bear_is_answered_with_a_problem() {
    on_a_small_stack(|| {
        let steps = |step: &str| -> String {
            let lines = (0..300).map(|level| " ".repeat(level) + step);
            lines.collect()
        };
        let word = "A".repeat(300);
        for (path, text) in [
            ("a.yaml", "- ".repeat(300)),
            ("a.yaml", steps("k:\n")),
            ("a.yaml", steps("- k:\n")),
            ("a.yaml", "k: [\n".to_owned() + &": ".repeat(300)),
            ("a.rb", format!("x = <<~{word}\n a #{{b}} c\n{word}\n")),
            ("a.rb", format!("x = <<\"{word}\"\n a #{{b}} c\n{word}\n")),
            ("a.html", "<div>".repeat(100_000)),
            ("a.html", "<div></x>".repeat(100_000)),
            ("a.html", "<script>".repeat(1_000_000)),
            ("a.html", "<!--<a ".repeat(1_000_000)),
            ("a.html", "<div><!--</div>-->".repeat(100_000)),
            ("a.html", "<div a='</div>'>".repeat(100_000)),
            ("a.html", "<div><script></div></script>".repeat(100_000)),
        ] {
            let found = problem(path, text.as_bytes());
            assert_eq!(found, Some(Problem::TooDeep), "{path}: {}", &text[..20]);
        }
    });
}

#[test]
fn what_only_looks_deep_is_no_problem() {
    let line = |text: &str| text.repeat(20_000);
    for (path, text) in [
        ("a.yaml", "- k: v\n  # a: b: c\n".repeat(9_000)),
        ("a.rb", line("x <<\"text\"\n\n\ny << z\n")),
        ("a.html", line("<p>a<br>b <img src=c> <input></p>\n")),
        (
            "a.html",
            line("<p a='<b>'><!-- <b> --><script>'<b>'</script></p>\n"),
        ),
    ] {
        assert_eq!(problem(path, text.as_bytes()), None, "{path}");
    }
}

#[test]
fn members_of_nested_data_are_units_to_any_depth() {
    on_a_small_stack(|| {
        let json = "{\"a\":".repeat(3_000) + "1" + &"}".repeat(3_000);
        assert_eq!(fresh("a.json", json.as_bytes()).ids.len(), 3_000);
        let hashes = |level: usize| "#".repeat(level % 6 + 1);
        let sections = (0..5_000).map(|level| format!("{} a{level}\n\ntext\n\n", hashes(level)));
        let file = fresh("a.md", sections.collect::<String>().as_bytes());
        assert_eq!(file.ids.len(), 10_000);
        let quotes = fresh("b.md", ">".repeat(100_000).as_bytes());
        assert!(quotes.outline.whole_file_problem().is_some() || !quotes.ids.is_empty());
    });
}
