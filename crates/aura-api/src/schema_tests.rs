//! The table of documents against the sources: nothing is forgotten, nothing is made by hand.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::json;

use super::*;

/// Every name of a document that stands below a directory: between quotes, as a literal, or between backticks, as
/// in comments.
fn names_in(dir: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names_in(&path, names);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let words = text.split(['"', '`']).filter(|word| is_name(word));
            names.extend(words.map(str::to_owned));
        }
    }
}

fn is_name(text: &str) -> bool {
    let after = |program: &str| text.strip_prefix(program);
    let Some((word, version)) = after("aura.")
        .or(after("mothership."))
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let is_word = word
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_word && !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
}

#[test]
fn every_document_that_the_sources_name_is_in_the_table_and_no_other() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut named = BTreeSet::new();
    names_in(crates, &mut named);
    let listed: BTreeSet<String> = DOCUMENTS
        .iter()
        .map(|document| document.name.to_owned())
        .collect();
    assert_eq!(named, listed);
}

#[test]
fn the_table_is_in_order_and_no_name_stands_twice() {
    let names: Vec<&str> = DOCUMENTS.iter().map(|document| document.name).collect();
    assert!(names.is_sorted_by(|one, other| one < other), "{names:?}");
}

#[test]
fn a_schema_names_its_document_and_describes_every_field() {
    fn check(schema: &Value, path: &str) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            assert!(
                field["description"].is_string(),
                "{path}.{name} says nothing"
            );
        }
        for (name, row) in schema["$defs"].as_object().into_iter().flatten() {
            check(row, &format!("{path} {name}"));
        }
    }
    for document in DOCUMENTS {
        let schema = document.schema();
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        assert_eq!(schema["title"], document.name);
        assert_eq!(schema["properties"]["schema"]["const"], document.name);
        assert!(!document.about().is_empty(), "{}", document.name);
        check(&schema, document.name);
        let text = schema.to_string();
        assert!(
            !text.contains("\\n") && !text.contains("\"format\""),
            "{text}"
        );
    }
}

#[test]
fn what_came_later_and_what_may_be_null_is_not_required() {
    let required = |name: &str| {
        let schema = Document::find(name, "aura").unwrap().schema();
        let fields = schema["required"].as_array().unwrap().clone();
        move |field: &str| fields.contains(&json!(field))
    };
    let status = required("aura.status/1");
    assert!(status("schema") && status("seq") && status("needs_you"));
    assert!(!status("zones") && !status("team"));
    let joined = required("aura.join/1");
    assert!(joined("index_ms") && !joined("was_member") && !joined("git"));
    let failed = Document::find("aura.error/1", "aura").unwrap().schema();
    let required = &failed["$defs"]["Failure"]["required"];
    assert_eq!(
        *required,
        json!(["id", "exit", "message", "next", "retryable"])
    );
}

#[test]
fn a_document_is_found_by_its_name_and_the_own_one_by_its_last_word() {
    let found =
        |name: &str, program: &str| Document::find(name, program).map(|document| document.name);
    assert_eq!(found("aura.log/1", "mothership"), Some("aura.log/1"));
    assert_eq!(found("aura.log", "mothership"), Some("aura.log/1"));
    assert_eq!(found("log", "mothership"), Some("mothership.log/1"));
    assert_eq!(found("log", "aura"), Some("aura.log/1"));
    assert_eq!(found("wal_stat", "aura"), Some("mothership.wal_stat/1"));
    for nothing in [
        "",
        "aura",
        "aura.log/",
        "aura.log/one",
        "aura.",
        "/1",
        "Log",
    ] {
        assert_eq!(found(nothing, "aura"), None, "{nothing:?}");
    }
}
