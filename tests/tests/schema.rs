//! Answers of real programs against the schemas that these programs print.
//!
//! Invariant: a document that no test has seen fails the tests, as does a field that no schema names.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use aura_api::{Home, home::PROMPTS_FILE};
use jsonschema::{Validator, draft202012};
use mothership_tests::{Laptop, Mothership, Outcome, Team, binary, git, repo::Repo, token};
use serde_json::{Value, json};

/// What a program answers that has neither a home nor a team.
fn alone(program: &str, args: &[&str]) -> Outcome {
    let mut command = Command::new(binary(program));
    command.env_clear().args(args).arg("--json");
    Outcome::of(command.output().unwrap())
}

fn names(program: &str) -> Vec<String> {
    let list = alone(program, &["schema"]).ok();
    let rows = list["schemas"].as_array().unwrap().iter();
    rows.map(|row| row["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Allows no field that the schema does not name: what a later version may add, this one has to describe.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(parts) => {
            if parts.contains_key("properties") {
                parts.insert("additionalProperties".to_owned(), json!(false));
            }
            parts.values_mut().for_each(close);
        }
        Value::Array(parts) => parts.iter_mut().for_each(close),
        _ => {}
    }
}

/// The schemas that `aura schema` prints, and the documents that came.
struct Schemas {
    validators: BTreeMap<String, Validator>,
    seen: RefCell<BTreeSet<String>>,
}

impl Schemas {
    fn printed() -> Self {
        let validator = |name: String| {
            let mut schema = alone("aura", &["schema", &name]).ok();
            close(&mut schema);
            let validator = draft202012::new(&schema).unwrap();
            (name, validator)
        };
        Self {
            validators: names("aura").into_iter().map(validator).collect(),
            seen: RefCell::default(),
        }
    }

    /// Asserts that a document is what its schema says.
    #[track_caller]
    fn fits(&self, document: &Value) {
        let name = document["schema"].as_str();
        let name = name.unwrap_or_else(|| panic!("no schema is named: {document}"));
        let validator = self.validators.get(name);
        let validator = validator.unwrap_or_else(|| panic!("there is no schema {name}"));
        let errors = validator.iter_errors(document).into_errors();
        assert!(errors.is_empty(), "{name}: {errors}\n{document:#}");
        self.seen.borrow_mut().insert(name.to_owned());
    }

    /// Asserts that every line of an output is a document, and that a failure names the exit code.
    #[track_caller]
    fn fit(&self, outcome: Outcome) -> Outcome {
        assert!(!outcome.stdout.is_empty(), "{outcome:?}");
        for line in outcome.stdout.lines() {
            let document: Value = serde_json::from_str(line).unwrap();
            self.fits(&document);
        }
        let is_error = outcome.json["schema"] == "aura.error/1";
        if is_error {
            assert_eq!(outcome.json["error"]["exit"], outcome.exit, "{outcome:?}");
        } else {
            // Done, in conflict, or queued: answers all the same.
            assert!([0, 7, 11].contains(&outcome.exit), "{outcome:?}");
        }
        outcome
    }

    /// Asserts that a command succeeds and fits.
    #[track_caller]
    fn ok(&self, outcome: Outcome) -> Value {
        self.fit(outcome).ok()
    }

    /// Asserts that a command fails, and that the failure fits and says what to do.
    #[track_caller]
    fn fails(&self, outcome: Outcome) -> Value {
        let outcome = self.fit(outcome);
        assert_eq!(outcome.json["schema"], "aura.error/1", "{outcome:?}");
        assert_ne!(outcome.json["error"]["next"], json!([]), "{outcome:?}");
        outcome.json
    }

    #[track_caller]
    fn were_all_seen(&self) {
        let seen = self.seen.borrow();
        let unseen = self.validators.keys().filter(|name| !seen.contains(*name));
        let unseen: Vec<_> = unseen.collect();
        assert!(unseen.is_empty(), "no answer was {unseen:?}");
    }
}

/// Two laptops that are linked with each other, both in mode live.
struct Stage {
    schemas: Schemas,
    team: Team,
    box_: Mothership,
    alice: Laptop,
    bob: Laptop,
}

impl Stage {
    fn new() -> Self {
        let schemas = Schemas::printed();
        let team = Team::new();
        let box_ = team.serve("127.0.0.1:0");
        schemas.fits(&box_.ready);
        let [mut alice, mut bob] = ["alice", "bob"].map(|name| team.laptop(name));
        for laptop in [&mut alice, &mut bob] {
            laptop.listen = Some("127.0.0.1:0".to_owned());
        }
        schemas.ok(alice.join(&token(&box_.ready), "alice", "live"));
        schemas.ok(alice.aura(&["config", "set", "members.approve", "auto"]));
        let invite = schemas.ok(alice.aura(&["invite", "--for", "bob"]));
        schemas.ok(bob.aura(&["join", &token(&invite), "--dry-run"]));
        schemas.ok(bob.join(&token(&invite), "bob", "live"));
        let stage = Self {
            schemas,
            team,
            box_,
            alice,
            bob,
        };
        stage.event(&stage.alice, "direct", "linked with bob");
        for laptop in [&stage.alice, &stage.bob] {
            laptop.synced();
        }
        stage
    }

    /// Asks alice's laptop, which has an answer.
    #[track_caller]
    fn asks(&self, args: &[&str]) -> Value {
        self.schemas.ok(self.alice.aura(args))
    }

    /// Waits for an event whose text contains this; all until then have to fit.
    #[track_caller]
    fn event(&self, laptop: &Laptop, kind: &str, text: &str) -> Value {
        laptop.event(|event| {
            self.schemas.fits(event);
            event["kind"] == kind && event["text"].as_str().unwrap().contains(text)
        })
    }

    /// Publishes an edit of alice's; answers its operation.
    fn publishes(&self, from: &str, to: &str) -> String {
        self.alice.edit("src/risk.rs", from, to);
        let published = self.asks(&["publish", "-m", to]);
        published["ops"][0]["op"].as_str().unwrap().to_owned()
    }

    fn states_are_asked_for(&self) {
        for args in [
            &["status"][..],
            &["peers"],
            &["reconnect"],
            &["members"],
            &["whoami"],
            &["config", "list"],
            &["config", "get", "publish"],
            &["mode"],
            &["mode", "live"],
            &["up"],
            &["wait", "--for", "synced", "--timeout", "30s"],
            &["netcheck"],
            &["netcheck", "bob"],
            &["ping", "bob"],
            &["test-message", "@bob"],
            &["conflicts"],
            &["diff"],
            &["inbox"],
            &["impact"],
            &["zone", "list"],
            &["daemon", "logs"],
            &["version"],
            &["help", "exit-codes"],
            &["schema"],
            &["man"],
            &["man", "--dir", "../pages"],
            &["init", "--show"],
            &["uninit", "--dry-run"],
        ] {
            self.asks(args);
        }
    }

    fn changes_come_and_go(&self) {
        self.schemas.ok(self.bob.aura(&["mode", "observe"]));
        let op = self.publishes("let cap = 100", "let cap = 250");
        self.event(&self.bob, "received", "");
        for args in [
            &["status"][..],
            &["diff"],
            &["pull", "--dry-run"],
            &["pull"],
            &["impact", "score"],
            &["mode", "live"],
        ] {
            self.schemas.ok(self.bob.aura(args));
        }
        for args in [
            &["log"][..],
            &["log", "score", "-n", "1"],
            &["log", "--dag"],
            &["log", "--dag", "--quick"],
            &["show", &op],
            &["show", "score", "--at", &op],
            &["show", "score", "--at", "2020-01-01"],
            &["blame", "src/risk.rs"],
            &["find", "score"],
            &["find", "score", "--at", &op],
        ] {
            self.asks(args);
        }
        let later = self.publishes("let cap = 250", "let cap = 300");
        self.asks(&["restore", "score", "--at", &op, "--dry-run"]);
        self.asks(&["restore", "score", "--at", &op]);
        self.asks(&["undo"]);
        self.schemas
            .fails(self.alice.aura(&["show", "score", "--at", "o-none"]));
        self.asks(&["show", &later]);
        self.asks(&["wait", "--for", "synced", "--timeout", "30s"]);
    }

    fn a_conflict_is_settled(&self) {
        let ask = |args: &[&str]| self.schemas.fit(self.bob.aura(args));
        ask(&["config", "set", "publish", "intent"]);
        self.bob
            .edit("src/risk.rs", "name.to_owned()", "name.to_uppercase()");
        self.publishes("name.to_owned()", "name.to_lowercase()");
        self.bob.event(|event| {
            self.schemas.fits(event);
            event["kind"] == "received" && event["symbol"] == "load"
        });
        assert_eq!(ask(&["pull"]).exit, 7);
        ask(&["publish", "-m", "loud"]);
        self.event(&self.alice, "conflict", "");
        self.event(&self.bob, "conflict", "");
        let list = ask(&["conflicts"]);
        let id = list.json["conflicts"][0]["id"].as_str().unwrap();
        for args in [
            &["conflicts", "show", id][..],
            &["status"],
            &["resolve", id, "--theirs"],
            &["config", "set", "publish", "save"],
            &["down"],
            &["down"],
            &["daemon", "restart"],
        ] {
            ask(args);
        }
        self.bob.synced();
    }

    fn zones_and_messages_go_to_and_fro(&self) {
        let (ask, bob) = (|args: &[&str]| self.asks(args), &self.bob);
        let zone = ask(&["zone", "claim", "score", "--block", "--why", "tuning"]);
        let zone = zone["ids"][0].as_str().unwrap();
        self.event(bob, "zone", zone);
        let held = bob.aura(&["zone", "claim", "score", "--why", "mine"]);
        let held = self.schemas.fails(held);
        assert_eq!(held["error"]["exit"], 8);
        self.schemas
            .ok(bob.aura(&["zone", "ask", zone, "may I, please?"]));
        self.event(&self.alice, "zone_ask", "may I, please?");
        let zones = ask(&["zone", "list"]);
        let question = zones["zones"][0]["asks"][0]["id"].as_str().unwrap();
        ask(&["zone", "deny", question, "not yet"]);
        for args in [
            &["status"][..],
            &["zone", "extend", zone, "--ttl", "2h"],
            &["zone", "why", "src/risk.rs"],
            &["zone", "release", zone],
            &["zone", "release", "--all"],
        ] {
            ask(args);
        }
        let sent = ask(&["msg", "send", "@bob", "done", "--about", "score"]);
        let id = sent["id"].as_str().unwrap();
        self.event(bob, "message", "done");
        for args in [
            &["status"][..],
            &["inbox", "--unread"],
            &["msg", "read", id],
            &["msg", "reply", id, "thanks"],
            &["msg", "ack", id],
        ] {
            self.schemas.ok(bob.aura(args));
        }
        self.event(&self.alice, "message", "thanks");
        ask(&["inbox"]);
    }

    /// For which reasons what fails is the affair of other tests.
    fn failures_fit_as_well(&self) {
        for args in [
            &["nonsense"][..],
            &["status", "--json=nothing"],
            &["schema", "nonsense"],
            &["man", "--dir", "src/risk.rs"],
            &["help", "nonsense"],
            &["join", "ms1-nonsense"],
            &["show", "o-zzzzzz"],
            &["restore", "nothing", "--at", "2h"],
            &["blame", "nowhere.rs"],
            &["undo", "o-zzzzzz"],
            &["log", "nothing"],
            &["impact", "nothing"],
            &["impact", "ack", "i-999"],
            &["resolve", "c-none", "--mine"],
            &["conflicts", "show", "c-none"],
            &["publish", "nothing"],
            &["config", "get", "nothing"],
            &["config", "set", "publish", "never"],
            &["mode", "sideways"],
            &["members", "approve", "nobody"],
            &["ping", "nobody"],
            &["test-message", "nobody"],
            &["netcheck", "nobody"],
            &["reconnect", "nobody"],
            &["zone", "extend", "z-999999"],
            &["zone", "ask", "z-999999", "may I?"],
            &["msg", "send", "@nobody", "lost"],
            &["msg", "ack", "m-zzzzzz"],
            &["wait", "--for", "peer:nobody", "--timeout", "100ms"],
            &["outline", "nowhere.rs"],
            &["merge", "no", "such", "files", "--path", "risk.rs"],
            &["merge", "preview", "nowhere"],
        ] {
            self.schemas.fails(self.alice.aura(args));
        }
        for args in [
            &["nonsense"][..],
            &["schema", "nonsense"],
            &["peer", "revoke", "nobody"],
            &["token", "revoke", "nothing"],
            &["serve", "--heartbeat", "0s"],
        ] {
            self.schemas.fails(self.team.mothership(args));
        }
    }

    fn the_mothership_is_asked_beside_and_without_a_server(&mut self) {
        let invite = self.schemas.ok(self.team.mothership(&["invite"]));
        let id = invite["id"].as_str().unwrap();
        let reads = [
            &["status"][..],
            &["peer", "list"],
            &["token", "list"],
            &["log"],
            &["wal", "stat"],
            &["wal", "tail"],
            &["wal", "verify"],
        ];
        let more = [
            &["version"][..],
            &["help", "exit-codes"],
            &["schema"],
            &["man"],
            &["token", "revoke", id],
            &["peer", "revoke", "bob", "--reason", "sold"],
        ];
        for args in reads.iter().chain(&more) {
            self.schemas.ok(self.team.mothership(args));
        }
        self.box_.event(|event| {
            self.schemas.fits(event);
            event["kind"] == "revoked"
        });
        assert_eq!(self.box_.signal("-TERM"), Some(0));
        for args in reads {
            self.schemas.fit(self.team.mothership(args));
        }
        self.alice
            .edit("src/risk.rs", "let cap = 300", "let cap = 400");
        for args in [
            &["publish"][..],
            &["msg", "send", "@all", "anybody?"],
            &["status"],
            &["peers"],
            &["zone", "list"],
            &["zone", "claim", "score", "--why", "alone"],
            &["invite"],
        ] {
            self.schemas.fit(self.alice.aura(args));
        }
    }

    /// The file that shell prompts read is a document as well.
    fn the_prompt_has_its_file(&self) {
        let file = Home::at(self.alice.home.clone())
            .run_dir()
            .join(PROMPTS_FILE);
        let prompts = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        self.schemas.fits(&prompts);
    }

    /// What somebody does who wants to be left alone, or looks for a fault.
    fn somebody_holds_still_and_looks_around(&self) {
        for args in [&["pause", "--out"][..], &["resume"], &["doctor"]] {
            self.schemas.ok(self.alice.aura(args));
        }
        let report = self.team.dir.path().join("report.txt");
        let report = report.to_str().unwrap();
        self.schemas
            .ok(self.alice.aura(&["bugreport", "-o", report]));
        fs::write(self.alice.repo.join("src/staged.rs"), "fn s() {}\n").unwrap();
        git(&self.alice.repo, &["add", "src/staged.rs"]);
        self.schemas
            .ok(self.alice.aura(&["git-hook", "pre-commit"]));
    }

    /// Commands on files and on git, in a clone without a team.
    fn git_and_files_need_no_team(&self) {
        let versions =
            ["100", "200", "300"].map(|cap| format!("fn cap() -> u32 {{\n    {cap}\n}}\n"));
        let bytes = versions.each_ref().map(|text| Some(text.as_bytes()));
        let repo = Repo::forked(&[("src/cap.rs", bytes)]);
        for (name, text) in ["base.rs", "ours.rs", "theirs.rs"].iter().zip(&versions) {
            fs::write(repo.root.join(name), text).unwrap();
        }
        let merge = [
            "merge",
            "base.rs",
            "ours.rs",
            "theirs.rs",
            "--path",
            "cap.rs",
        ];
        for args in [
            &["init", "--dry-run"][..],
            &["init"],
            &["merge", "preview", "topic"],
            &["outline", "src/cap.rs"],
            &["diff", "--files", "base.rs", "ours.rs"],
            &["merge", "base.rs", "ours.rs", "base.rs", "--path", "cap.rs"],
        ] {
            self.schemas.ok(repo.aura(args));
        }
        // A conflict is an answer, and git's own exit code.
        let conflict = repo.aura(&merge);
        assert_eq!((conflict.exit, &conflict.json["clean"]), (1, &json!(false)));
        self.schemas.fits(&conflict.json);
        repo.try_git(&["merge", "topic"]);
        let explained = self.schemas.ok(repo.aura(&["merge", "explain"]));
        assert_eq!(explained["merges"][0]["files"][0]["path"], "src/cap.rs");
        self.schemas.ok(repo.aura(&["uninit"]));
        self.schemas.fails(repo.aura(&["status"]));
    }
}

#[test]
fn every_answer_of_a_team_of_two_fits_its_schema_and_every_schema_has_an_answer() {
    let mut stage = Stage::new();
    stage.states_are_asked_for();
    stage.changes_come_and_go();
    stage.a_conflict_is_settled();
    stage.zones_and_messages_go_to_and_fro();
    stage.failures_fit_as_well();
    stage.git_and_files_need_no_team();
    stage.the_prompt_has_its_file();
    stage.somebody_holds_still_and_looks_around();
    stage.the_mothership_is_asked_beside_and_without_a_server();
    stage.schemas.were_all_seen();
}

#[test]
fn both_programs_print_the_same_schemas_and_each_is_one_of_draft_2020_12() {
    let all = names("aura");
    assert_eq!(all, names("mothership"));
    for name in &all {
        let schema = alone("aura", &["schema", name]).ok();
        assert!(draft202012::meta::is_valid(&schema), "{schema}");
        assert_eq!(schema, alone("mothership", &["schema", name]).ok());
        let validator = draft202012::new(&schema).unwrap();
        assert!(
            !validator.is_valid(&json!({"schema": "aura.other/1"})),
            "{name}"
        );
    }
}

#[test]
fn a_schema_that_there_is_not_is_wrong_usage_with_a_way_out() {
    for program in ["aura", "mothership"] {
        for name in ["nonsense", "aura.status/2", "", "../etc/passwd"] {
            let failed = alone(program, &["schema", name]).fails(2, "AE-NO-SCHEMA");
            let step = &failed["error"]["next"][0]["cmd"];
            assert_eq!(*step, format!("{program} schema"));
        }
    }
}

#[test]
fn man_shows_every_page_that_is_written() {
    let dir = tempfile::tempdir().unwrap();
    for program in ["aura", "mothership"] {
        let pages = dir.path().join(program);
        let written = alone(program, &["man", "--dir", pages.to_str().unwrap()]).ok();
        let files = written["files"].as_array().unwrap();
        assert!(10 < files.len(), "{written}");
        for file in files.iter().map(|file| file.as_str().unwrap()) {
            let page = fs::read_to_string(file).unwrap();
            assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH EXAMPLES"));
            let shown = Command::new("groff")
                .args(["-k", "-man", "-Tutf8", "-ww", file])
                .output();
            let shown = shown.expect("groff shows manual pages");
            let complaints = String::from_utf8_lossy(&shown.stderr).into_owned();
            assert!(
                shown.status.success() && complaints.is_empty(),
                "{file}: {complaints}"
            );
        }
    }
}
