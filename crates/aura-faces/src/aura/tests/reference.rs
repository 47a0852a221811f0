//! Manual pages and schemas of `aura`.
//!
//! Invariant: both are made from what the program is built with.

use super::*;
use crate::completions::paths;

#[test]
fn every_command_that_the_help_shows_has_a_manual_page_with_its_examples() {
    let laptop = Laptop::new();
    let written = laptop.run(&["man", "--dir", "pages", "--json"]).json();
    let mut program = Args::command();
    program.build();
    let dir = laptop.dir.path().join("pages");
    let mut expected = Vec::new();
    for (words, command) in paths(&program) {
        let name = words.replace(' ', "-");
        let file = dir.join(format!("{name}.1"));
        let page = fs::read_to_string(&file).unwrap();
        let about = command.get_about().unwrap().to_string();
        assert!(
            page.contains(&format!(".TH {} 1", name.to_uppercase())),
            "{page}"
        );
        assert!(
            page.contains(&about.replace('-', "\\-").replace('\'', "\\*(Aq"))
                && page.contains(".SH EXAMPLES"),
            "{page}"
        );
        expected.push(file.display().to_string());
    }
    assert_eq!(written["files"], json!(expected));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), expected.len());
    for name in ["aura", "aura-zone", "aura-zone-claim"] {
        assert!(dir.join(format!("{name}.1")).exists(), "{name}");
    }
    assert!(!dir.join("aura-merge-worker.1").exists());
}

#[test]
fn the_page_of_the_program_is_printed_and_names_the_pages_of_its_commands() {
    let laptop = Laptop::new();
    let page = laptop.run(&["man"]).out;
    for part in [".TH AURA 1", "aura\\-zone(1)", "aura status "] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let document = laptop.run(&["man", "--json"]).json();
    assert_eq!(document["page"], page);
}

#[test]
fn pages_that_cannot_be_written_are_a_failure_with_a_way_out() {
    let laptop = Laptop::new();
    let file = laptop.file("taken", "");
    let failed = laptop.run(&["man", "--dir", &file, "--json"]);
    assert_eq!(failed.exit(), 2);
    let error = &failed.json()["error"];
    assert_eq!(error["id"], "AE-OUTPUT");
    assert_eq!(error["next"][0]["cmd"], "aura man --dir DIR");
}

#[test]
fn a_schema_is_found_with_and_without_its_version_and_an_unknown_one_has_a_way_out() {
    let laptop = Laptop::new();
    let whole = laptop.run(&["schema", "aura.status/1"]).out;
    assert_eq!(laptop.run(&["schema", "status"]).out, whole);
    let schema: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(laptop.run(&["schema", "status", "--json"]).json(), schema);
    let list = laptop.run(&["schema"]).out;
    assert!(
        list.contains("aura.status/1") && list.contains("Answer of `status`."),
        "{list}"
    );
    let failed = laptop.run(&["schema", "aura.stats"]);
    assert_eq!((failed.exit(), failed.out.as_str()), (2, ""));
    assert!(
        failed.err.contains("[AE-NO-SCHEMA]\nnext: aura schema\n"),
        "{}",
        failed.err
    );
}
