//! What holds of the graph of references, whatever the files are.
//!
//! Invariants:
//! - a graph that was updated step by step answers as one that was built at once, in any order;
//! - hostile files cost no more than a bound and never a panic.
#![cfg(feature = "default")]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;

use aura_semantic::{
    ALERTS_MAX, Budget, CALLERS_MAX, Confidence, Effect, Graph, Indexed, Reference, UnitId, alerts,
    effects, index, references,
};
use common::{Dice, all_fixtures, edit, fixture, fresh, next};

/// The files of all labelled projects, each project in a directory of its own, and the fixtures.
fn files() -> BTreeMap<String, Indexed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/impact_cases");
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        for section in text.split("=== ").skip(1) {
            let (path, text) = section.split_once('\n').unwrap();
            if path != "expect" {
                let path = format!("{name}/{path}");
                all.insert(path.clone(), fresh(&path, text.as_bytes()));
            }
        }
    }
    for name in all_fixtures() {
        all.insert(name.to_owned(), fresh(name, &fixture(name)));
    }
    all
}

fn graph_of<'a>(files: impl Iterator<Item = &'a Indexed>) -> Graph {
    let mut graph = Graph::new();
    for file in files {
        graph.update(&file.path, Some(references(file)));
    }
    graph
}

type Answers = BTreeMap<UnitId, (Vec<Reference>, Vec<Reference>)>;

fn answers(graph: &Graph, files: &BTreeMap<String, Indexed>) -> Answers {
    let ids = files.values().flat_map(|file| &file.ids);
    ids.map(|id| (*id, (graph.callers(*id), graph.callees(*id))))
        .collect()
}

#[test]
fn the_order_of_files_does_not_matter() {
    let files = files();
    let forwards = answers(&graph_of(files.values()), &files);
    assert_eq!(forwards, answers(&graph_of(files.values().rev()), &files));
    let found = forwards
        .values()
        .map(|answer| answer.0.len())
        .sum::<usize>();
    assert!(found > 200, "{found}");
}

#[test]
fn callers_and_callees_are_two_sides_of_one_thing() {
    let files = files();
    let graph = graph_of(files.values());
    let answers = answers(&graph, &files);
    for (unit, (callers, callees)) in &answers {
        for caller in callers.iter().filter_map(|caller| caller.unit) {
            let back = answers[&caller]
                .1
                .iter()
                .find(|callee| callee.unit == Some(*unit));
            assert!(
                back.is_some(),
                "{:?} from {:?}",
                graph.unit(*unit),
                graph.unit(caller)
            );
        }
        for callee in callees.iter().filter_map(|callee| callee.unit) {
            let back = answers[&callee]
                .0
                .iter()
                .any(|caller| caller.unit == Some(*unit));
            let is_impl = graph
                .unit(*unit)
                .is_some_and(|unit| unit.kind.word() == "impl");
            assert!(
                back || is_impl,
                "{:?} to {:?}",
                graph.unit(*unit),
                graph.unit(callee)
            );
        }
    }
}

#[test]
fn an_updated_graph_answers_as_one_built_anew() {
    let mut files = files();
    let mut graph = graph_of(files.values());
    let paths: Vec<String> = files.keys().cloned().collect();
    let mut dice = Dice::new(7);
    for round in 0..60 {
        let path = &paths[dice.roll(paths.len())];
        if dice.roll(5) == 0 && files.contains_key(path) {
            files.remove(path);
            graph.update(path, None);
        } else if let Some(file) = files.get(path) {
            let bytes = edit(file, &mut dice, &round.to_string());
            let file = next(file, &bytes);
            graph.update(path, Some(references(&file)));
            files.insert(path.clone(), file);
        }
        if round % 15 == 14 {
            let anew = graph_of(files.values());
            assert_eq!(
                answers(&graph, &files),
                answers(&anew, &files),
                "round {round}"
            );
        }
    }
    for path in &paths {
        graph.update(path, None);
    }
    assert_eq!(format!("{graph:?}"), format!("{:?}", Graph::new()));
}

#[test]
fn alerts_name_direct_callers_and_how_the_unit_changed() {
    let lib = fresh(
        "lib/price.ts",
        b"export function price(a: number) {\n  return a;\n}\n",
    );
    let user = fresh(
        "app/main.ts",
        b"import { price } from \"../lib/price\";\n\nexport function quote() {\n  return price(1);\n}\n\nexport function show() {\n  return quote();\n}\n",
    );
    let other = fresh(
        "app/other.ts",
        b"function price() {}\n\nexport const all = () => price();\n",
    );
    let graph = graph_of([&lib, &user, &other].into_iter());
    let told = |after: &[u8]| {
        let changes = effects(&lib, &next(&lib, after));
        let found = alerts(&graph, &changes, &[].into());
        let rows: Vec<String> = found
            .iter()
            .map(|alert| {
                let word = alert.confidence.word();
                format!(
                    "{} {} {} {word}",
                    alert.caller.name,
                    alert.callee.name,
                    alert.effect.word()
                )
            })
            .collect();
        rows.join(", ")
    };
    assert_eq!(told(&lib.bytes), "");
    assert_eq!(
        told(b"export function price(a: number) {\n  return a + 1;\n}\n"),
        "quote price body certain"
    );
    assert_eq!(
        told(b"export function price(a: string) {\n  return a;\n}\n"),
        "quote price signature certain"
    );
    assert_eq!(
        told(b"export function cost(a: number) {\n  return a;\n}\n"),
        "quote price renamed certain"
    );
    assert_eq!(told(b""), "quote price deleted certain");
    let changes = effects(&lib, &next(&lib, b""));
    assert!(
        changes
            .iter()
            .all(|change| change.effect == Effect::Deleted)
    );
    assert!(alerts(&graph, &changes, &user.ids.iter().copied().collect()).is_empty());
}

#[test]
fn what_is_two_hops_away_is_reached_on_demand() {
    let a = fresh(
        "a.py",
        b"def one():\n    return 1\n\n\ndef two():\n    return one()\n",
    );
    let b = fresh("b.py", b"from a import two as second\n\n\ndef three():\n    return second()\n\n\ndef four():\n    return three() + five()\n\n\ndef five():\n    return four()\n");
    let graph = graph_of([&a, &b].into_iter());
    let reached = |steps| {
        let rows = graph.reached_from(a.ids[0], steps).into_iter();
        rows.map(|(step, row)| format!("{step} {}", row.name))
            .collect::<Vec<_>>()
    };
    assert_eq!(reached(1), ["1 two"]);
    assert_eq!(reached(9), ["1 two", "2 three", "3 four", "4 five"]);
    assert_eq!(graph.find("a.py::two"), graph.find("two"));
    assert_eq!(graph.find("nothing"), []);
}

/// Runs with a small stack, so that recursion on input would show.
fn on_a_small_stack(job: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new()
        .stack_size(512 << 10)
        .spawn(job)
        .unwrap();
    thread.join().unwrap();
}

fn hostile_texts() -> Vec<(&'static str, String)> {
    let mut texts = Vec::new();
    let chain = |sign: &str, end: &str| format!("x{}", format!("{sign}a{end}").repeat(5000));
    texts.push((
        "chain.py",
        format!("def f(x):\n    return {}\n", chain(".", "()")),
    ));
    texts.push((
        "chain.js",
        format!("function f(x) {{ return {}; }}\n", chain(".", "()")),
    ));
    texts.push(("chain.rs", format!("fn f() {{ {}; }}\n", chain("::", ""))));
    texts.push((
        "nest.js",
        format!(
            "function f() {{ return {}1{}; }}\n",
            "g(".repeat(4000),
            ")".repeat(4000)
        ),
    ));
    texts.push((
        "nest.rs",
        format!("fn f() {{ m!{}{}; }}\n", "(".repeat(4000), ")".repeat(4000)),
    ));
    let mut many = String::new();
    for at in 0..20_000 {
        writeln!(many, "def f{at}():\n    return f{}()", (at * 7) % 20_000).unwrap();
    }
    texts.push(("many.py", many));
    let mut same = String::from("function g() { ");
    for at in 0..20_000 {
        write!(same, "let i = {at}; h(i); ").unwrap();
    }
    texts.push(("same.js", same + "}\n"));
    let mut locals = String::from("fn g() { ");
    for _ in 0..3000 {
        locals.push_str("let a = a.b(); ");
    }
    texts.push(("grow.rs", locals + "}\n"));
    let mut wild = String::new();
    for at in 0..3000 {
        writeln!(wild, "from m{} import *", at % 40).unwrap();
    }
    texts.push(("wild.py", wild + "def f():\n    return g()\n"));
    texts
}

#[test]
fn hostile_files_are_bounded() {
    on_a_small_stack(|| {
        for (path, text) in hostile_texts() {
            let file = index(path, text.as_bytes(), None, &Budget::default());
            let mut graph = Graph::new();
            graph.update(path, Some(references(&file)));
            for id in file.ids.iter().step_by(1 + file.ids.len() / 50) {
                assert!(graph.callers(*id).len() <= CALLERS_MAX);
                assert!(graph.callees(*id).len() <= CALLERS_MAX);
            }
        }
    });
}

#[test]
fn imports_in_a_ring_come_to_an_end() {
    on_a_small_stack(|| {
        let mut files = Vec::new();
        for at in 0..40 {
            let (to, back) = ((at + 1) % 40, (at + 39) % 40);
            let text = format!(
                "from m{to} import *\nfrom m{to} import g as h\nfrom m{back} import h as g\n\n\nclass A(B):\n    def f(self):\n        return g() + self.x()\n\n\nclass B(A):\n    x = A.x\n"
            );
            let path = format!("m{at}.py");
            files.push(index(&path, text.as_bytes(), None, &Budget::default()));
        }
        let graph = graph_of(files.iter());
        for file in &files {
            for id in &file.ids {
                graph.callers(*id);
                graph.callees(*id);
                graph.reached_from(*id, 3);
            }
        }
    });
}

#[test]
fn a_name_that_everybody_has_is_bounded() {
    let mut text = String::new();
    for at in 0..6000 {
        writeln!(text, "def f{at}():\n    return target()\n").unwrap();
    }
    text.push_str("def target():\n    return 1\n");
    let file = fresh("many.py", text.as_bytes());
    let graph = graph_of([&file].into_iter());
    let target = *file.ids.last().unwrap();
    let callers = graph.callers(target);
    assert_eq!(callers.len(), CALLERS_MAX);
    assert!(
        callers
            .iter()
            .all(|caller| caller.confidence == Confidence::Certain)
    );
    let changes = effects(&file, &next(&file, b"def other():\n    pass\n"));
    assert!(alerts(&graph, &changes, &[].into()).len() <= ALERTS_MAX);
}
