//! Names of logs, units and versions.

use aura_engine::peer::{
    body::{Cause, PatchBody, VersionId},
    units::{Origin, Recorded, Units},
};
use aura_proto::{Incarnation, LogId, Writer};
use aura_semantic::{
    Budget, ContentHash, FilePatch, Op, OwnText, Text, Touched, UnitId, index, language_of,
};
use serde_json::{Value, json};

use crate::{
    golden::{array, bytes, golden, hex, text, vectors},
    messages::{TEAM, peer},
    second,
};

/// One small file of each language, with namesakes, members and something without a name.
const SOURCES: [(&str, &str); 9] = [
    (
        "src/risk.rs",
        "use std::fmt;\n\npub fn score() {}\n\nstruct Risk;\n\nimpl Risk {\n    fn new() -> Self {\n        Self\n    }\n}\n\nimpl Risk {\n    fn new2() {}\n}\n",
    ),
    (
        "orders.py",
        "import os\n\n\ndef total():\n    return 1\n\n\nclass Order:\n    def total(self):\n        return 2\n\n\ntotal = total()\n",
    ),
    (
        "shapes.ts",
        "export interface Shape { area(): number }\n\nexport function area(s: Shape) { return s.area(); }\n",
    ),
    ("panel.tsx", "export const Panel = () => <p>hello</p>;\n"),
    ("cart.js", "function add(a) { return a; }\nadd(1);\n"),
    (
        "queue.go",
        "package queue\n\ntype Queue struct{}\n\nfunc (q *Queue) Push() {}\n",
    ),
    (
        "Ledger.java",
        "class Ledger {\n  void add(int a) {}\n  void add(long a) {}\n}\n",
    ),
    (
        "ring.c",
        "#include <stdio.h>\n\nstatic int ring_size = 3;\n\nint ring(void) { return ring_size; }\n",
    ),
    (
        "pool.cpp",
        "namespace pool {\nclass Pool {\n public:\n  int size() const { return 0; }\n};\nint size(int a);\nint size(long a);\n}\n",
    ),
];

fn births() -> Vec<Value> {
    let born = |(path, source): (&str, &str)| {
        let indexed = index(path, source.as_bytes(), None, &Budget::default());
        let units = indexed
            .outline
            .units
            .iter()
            .zip(&indexed.ids)
            .map(|(unit, id)| {
                json!({
                    "parent": unit.parent,
                    "kind": unit.kind.word(),
                    "name": unit.name,
                    "parameters": unit.parameters,
                    "text": String::from_utf8_lossy(&source.as_bytes()[unit.span.clone()]),
                    "own": hex(&unit.own_hash.0),
                    "id": hex(&id.0),
                })
            });
        json!({
            "what": "birth",
            "path": path,
            "language": language_of(path).unwrap().name(),
            "source": source,
            "file": hex(&UnitId::file(path).0),
            "units": units.collect::<Vec<_>>(),
        })
    };
    SOURCES.into_iter().map(born).collect()
}

fn contents() -> Vec<Value> {
    let texts: [(&str, Option<&str>); 4] = [
        ("", None),
        ("fn a() {}\n", None),
        ("impl A {\n", Some("}\n")),
        ("", Some("")),
    ];
    let content = |(head, foot): (&str, Option<&str>)| {
        let own = OwnText {
            head: head.into(),
            foot: foot.map(Text::from),
        };
        json!({"what": "content", "head": head, "foot": foot, "hash": hex(&own.hash().0)})
    };
    texts.map(content).into()
}

fn versions() -> Vec<Value> {
    let (a, b) = (VersionId([1; 16]), VersionId([2; 16]));
    let content = Some(ContentHash([3; 32]));
    let cases: [(&str, &[VersionId], Option<ContentHash>); 6] = [
        ("at birth", &[], content),
        ("after one", &[a], content),
        ("a join", &[a, b], content),
        ("a join, parents the other way round", &[b, a], content),
        ("a join, one parent twice", &[b, a, b], content),
        ("deleted", &[a], None),
    ];
    let version = |(name, parents, content): (&str, &[VersionId], Option<ContentHash>)| {
        let unit = UnitId([4; 16]);
        json!({
            "what": "version",
            "name": name,
            "unit": hex(&unit.0),
            "parents": parents.iter().map(|parent| hex(&parent.0)).collect::<Vec<_>>(),
            "content": content.map(|content| hex(&content.0)),
            "version": hex(&VersionId::of(unit, parents, content).0),
        })
    };
    cases.map(version).into()
}

/// Two writers replace one line of a unit in different ways.
fn conflict() -> Value {
    let unit = UnitId([5; 16]);
    let base = OwnText::leaf(b"one\n");
    let mut units = Units::new(peer(1), "main");
    let mut bodies = Vec::new();
    for n in 1..=2 {
        let text = OwnText::leaf(format!("two by {n}\n").as_bytes());
        let touched = Touched {
            unit,
            name: "f".to_owned(),
            before: Some(base.hash()),
            after: Some(text.hash()),
        };
        let op = Op::Replace {
            unit,
            name: "f".to_owned(),
            base: base.hash(),
            base_text: base.clone(),
            text,
        };
        let body = PatchBody {
            channel: "main".to_owned(),
            commit: String::new(),
            cause: Cause::Edit,
            why: None,
            patch: FilePatch {
                path: "a.rs".to_owned(),
                base: None,
                result: None,
                ops: vec![op],
                touched: vec![touched],
            },
            parents: vec![vec![VersionId::birth(unit, base.hash())]],
        };
        let origin = Origin {
            writer: Writer {
                peer: peer(n),
                incarnation: Incarnation(1),
            },
            author_seq: 1,
            lsn: u64::from(n),
            time_ms: 0,
            seq: Some(u64::from(n)),
        };
        units.record(&body, origin);
        bodies.push(body);
    }
    let read = |recorded: &Recorded| {
        let at = usize::try_from(recorded.origin.lsn).ok()?.checked_sub(1)?;
        bodies.get(at).cloned()
    };
    let conflicts = units.conflicts(&read, &|_, _| None);
    let conflict = conflicts.first().unwrap();
    json!({
        "what": "conflict",
        "unit": hex(&unit.0),
        "heads": conflict.heads.iter().map(|head| hex(&head.0)).collect::<Vec<_>>(),
        "id": conflict.id,
    })
}

fn logs() -> Vec<Value> {
    let roots = [
        "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
    ];
    let log = |root: &str| {
        let log = LogId::of_repository(TEAM, root);
        json!({"what": "log", "team": hex(&TEAM.0), "root": root, "log": hex(&log.0)})
    };
    roots.map(log).into()
}

#[test]
fn logs_units_and_versions_have_their_names() {
    let mut rows = logs();
    rows.extend(births());
    rows.extend(contents());
    rows.extend(versions());
    rows.push(conflict());
    golden("units.json", &rows);
}

#[test]
fn logs_units_and_versions_have_the_names_that_the_pages_give_them() {
    for vector in vectors("units.json") {
        match text(&vector, "what") {
            "log" => {
                let log = second::log_of_repository(&bytes(&vector, "team"), text(&vector, "root"));
                assert_eq!(log, array(&vector, "log"));
            }
            "version" => {
                let name = text(&vector, "name");
                assert_eq!(
                    second::version(&vector),
                    array(&vector, "version"),
                    "{name}"
                );
            }
            "content" => {
                let (head, foot) = (text(&vector, "head").as_bytes(), vector["foot"].as_str());
                assert_eq!(
                    second::content(head, foot.map(str::as_bytes)),
                    array(&vector, "hash")
                );
            }
            "birth" => {
                let ids = second::births(&vector);
                let units = vector["units"].as_array().unwrap();
                assert!(!units.is_empty() && ids.len() == units.len());
                for (id, unit) in ids.iter().zip(units) {
                    assert_eq!(
                        *id,
                        array(unit, "id"),
                        "{} in {}",
                        unit["name"],
                        vector["path"]
                    );
                }
            }
            "conflict" => assert_eq!(second::conflict(&vector), text(&vector, "id")),
            other => panic!("{other}"),
        }
    }
}
