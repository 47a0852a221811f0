//! Clauses and their citations, in both directions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::golden::pages;

/// Every clause with its text, and a complaint for each number that is given twice.
fn clauses() -> BTreeMap<String, String> {
    let mut clauses = BTreeMap::new();
    for entry in fs::read_dir(pages()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let Some((name, text)) = line
                .strip_prefix("- **")
                .and_then(|rest| rest.split_once("** "))
            else {
                continue;
            };
            // 03-identity.md holds the clauses identity/…
            let page = path.file_stem().unwrap().to_str().unwrap();
            let part = page.split_once('-').map_or(page, |(_, part)| part);
            assert!(
                name.starts_with(&format!("{part}/")),
                "{name} stands in {page}"
            );
            assert!(
                clauses.insert(name.to_owned(), text.to_owned()).is_none(),
                "{name} twice"
            );
        }
    }
    clauses
}

/// Every Rust file of the workspace.
fn sources() -> Vec<PathBuf> {
    let root = pages().parent().unwrap().to_owned();
    let mut open: Vec<PathBuf> = ["crates", "bin", "tests", "benches"]
        .map(|dir| root.join(dir))
        .into();
    let mut files = Vec::new();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The clauses that the comments of a file cite, one or several with commas between.
fn citations(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let comments = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("//"));
    let mut cited = Vec::new();
    for (_, mut rest) in comments.filter_map(|comment| comment.split_once("spec: ")) {
        loop {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "/.".contains(c)));
            let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
            cited.push(name.trim_end_matches('.').to_owned());
            match behind.strip_prefix(", ") {
                Some(more) => rest = more,
                None => break,
            }
        }
    }
    cited
}

#[test]
fn every_citation_leads_to_a_clause() {
    let clauses = clauses();
    let mut astray = Vec::new();
    for path in sources() {
        let cited = citations(&path).into_iter();
        let lost = cited.filter(|name| !clauses.contains_key(name));
        astray.extend(lost.map(|name| format!("{name} in {}", path.display())));
    }
    assert!(astray.is_empty(), "{astray:#?}");
}

#[test]
fn every_clause_with_a_must_is_cited() {
    let cited: BTreeSet<String> = sources().iter().flat_map(|path| citations(path)).collect();
    let must = |text: &&String| text.contains("MUST");
    let clauses = clauses();
    let open: Vec<&String> = clauses
        .iter()
        .filter(|(name, text)| must(text) && !cited.contains(*name))
        .map(|(name, _)| name)
        .collect();
    assert!(open.is_empty(), "nothing shows {open:#?}");
}

#[test]
fn what_one_page_says_of_another_stands_there() {
    let clauses = clauses();
    for entry in fs::read_dir(pages()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_clause = quoted.split_once('/').is_some_and(|(part, number)| {
                part.chars().all(|c| c.is_ascii_lowercase())
                    && number.starts_with(|c: char| c.is_ascii_digit())
            });
            let is_known = || {
                // A section alone, such as log/1, stands for all of it.
                clauses.contains_key(quoted)
                    || clauses
                        .keys()
                        .any(|name| name.starts_with(&format!("{quoted}.")))
            };
            let is_protocol = quoted.starts_with("aura");
            assert!(
                !is_clause || is_protocol || is_known(),
                "{quoted} in {}",
                path.display()
            );
        }
    }
}
