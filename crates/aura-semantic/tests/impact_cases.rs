//! Who calls whom in small projects, labelled by hand.
//!
//! Invariants:
//! - a case is one file below `tests/impact_cases`: `=== path` and the file's text, then `=== expect` with one line for
//!   each labelled unit: `path::name <- path::caller, …`, all that refer to it and no others; `/2` behind a name says
//!   with how many parameters;
//! - what is labelled is what the language means, whether it is found or not, so the figures are below one.
#![cfg(feature = "default")]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use aura_semantic::{Budget, Confidence, Graph, UnitId, index, references};

struct Case {
    name: String,
    files: Vec<(String, String)>,
    expected: Vec<(String, BTreeSet<String>)>,
}

fn read(path: &Path) -> Case {
    let text = fs::read_to_string(path).unwrap();
    let mut files: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        if let Some(heading) = line.strip_prefix("=== ") {
            files.push((heading.trim().to_owned(), String::new()));
        } else {
            files.last_mut().unwrap().1.push_str(line);
        }
    }
    let (_, labels) = files.pop().unwrap();
    let expected = labels.lines().filter(|line| !line.trim().is_empty());
    let expected = expected.map(|line| {
        let (callee, callers) = line.split_once("<-").unwrap();
        let callers = callers.split(',').map(|caller| caller.trim().to_owned());
        let callers = callers.filter(|caller| !caller.is_empty()).collect();
        (callee.trim().to_owned(), callers)
    });
    Case {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        files,
        expected: expected.collect(),
    }
}

/// The graph of a case, and its units by the names that labels give them.
fn built(case: &Case) -> (Graph, BTreeMap<String, UnitId>) {
    let mut graph = Graph::new();
    let mut units = BTreeMap::new();
    for (path, text) in &case.files {
        let file = index(path, text.as_bytes(), None, &Budget::default());
        for (unit, id) in file.outline.units.iter().zip(&file.ids) {
            let name = format!("{path}::{}", unit.qualified);
            let inside = unit.parameters.trim_matches(['(', ')']);
            let count = if inside.is_empty() {
                0
            } else {
                inside.split(',').count()
            };
            units.insert(format!("{name}/{count}"), *id);
            // A type goes before what is added to it.
            units.entry(name).or_insert(*id);
        }
        graph.update(path, Some(references(&file)));
    }
    (graph, units)
}

#[derive(Clone, Copy, Default)]
struct Score {
    right: usize,
    wrong: usize,
    missed: usize,
}

impl Score {
    fn add(&mut self, found: &BTreeSet<UnitId>, expected: &BTreeSet<UnitId>) {
        self.right += found.intersection(expected).count();
        self.wrong += found.difference(expected).count();
        self.missed += expected.difference(found).count();
    }

    fn precision(self) -> f64 {
        ratio(self.right, self.right + self.wrong)
    }

    fn recall(self) -> f64 {
        ratio(self.right, self.right + self.missed)
    }
}

#[allow(clippy::cast_precision_loss)]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/impact_cases");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

#[test]
fn callers_are_found_and_homonyms_are_not() {
    let mut all: BTreeMap<String, [Score; 2]> = BTreeMap::new();
    for case in cases() {
        let (graph, units) = built(&case);
        let language = case.name.split('-').next().unwrap().to_owned();
        for (callee, callers) in &case.expected {
            let unit = units
                .get(callee)
                .unwrap_or_else(|| panic!("{}: {callee}", case.name));
            let of = |caller: &String| {
                *units
                    .get(caller)
                    .unwrap_or_else(|| panic!("{}: {caller}", case.name))
            };
            let expected: BTreeSet<UnitId> = callers.iter().map(of).collect();
            let found = graph.callers(*unit);
            for (at, least) in [Confidence::Possible, Confidence::Likely]
                .into_iter()
                .enumerate()
            {
                let sure = found.iter().filter(|caller| caller.confidence >= least);
                let ids: BTreeSet<UnitId> = sure
                    .clone()
                    .map(|caller| caller.unit.unwrap_or(UnitId([0; 16])))
                    .collect();
                for key in [&language, &"all".to_owned()] {
                    all.entry(key.clone()).or_default()[at].add(&ids, &expected);
                }
                for caller in sure.filter(|_| at == 0) {
                    if !expected.contains(&caller.unit.unwrap_or(UnitId([0; 16]))) {
                        println!(
                            "{}: {callee} <- wrong {}::{} {:?}",
                            case.name, caller.path, caller.name, caller.confidence
                        );
                    }
                }
                for caller in callers.iter().filter(|_| at == 0) {
                    if !ids.contains(&of(caller)) {
                        println!("{}: {callee} <- missed {caller}", case.name);
                    }
                }
            }
        }
    }
    println!("language       right wrong missed precision recall | likely and certain");
    for (language, [every, sure]) in &all {
        println!(
            "{language:<14} {:>5} {:>5} {:>6} {:>9.3} {:>6.3} | {:.3} {:.3}",
            every.right,
            every.wrong,
            every.missed,
            every.precision(),
            every.recall(),
            sure.precision(),
            sure.recall()
        );
        let least = if language == "all" { 0.97 } else { 0.93 };
        assert!(every.precision() >= least, "precision of {language}");
        assert!(every.recall() >= least, "recall of {language}");
    }
}
