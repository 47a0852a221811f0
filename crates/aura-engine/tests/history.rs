//! What was: versions at their moments, names and places that changed, and who wrote which line.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use aura_engine::peer::{
    body::PatchBody,
    units::{LineOrigin, Made, Moment, Origin, Recorded, Then, Units},
};
use aura_proto::{Incarnation, PeerId, Writer};
use aura_semantic::{Budget, Indexed, UnitId, extract, index};

/// A log that one author writes by saving files.
struct Log {
    units: Units,
    bodies: Vec<PatchBody>,
    files: BTreeMap<String, Indexed>,
}

impl Log {
    /// Files that git has before anybody writes.
    fn over(files: &[(&str, &str)]) -> Self {
        let parsed = |(path, text): &(&str, &str)| {
            let file = index(path, text.as_bytes(), None, &Budget::default());
            ((*path).to_owned(), file)
        };
        Self {
            units: Units::new(PeerId([2; 32]), "main"),
            bodies: Vec::new(),
            files: files.iter().map(parsed).collect(),
        }
    }

    /// Saves a file, an hour after the one before; nothing for a deletion. Answers the index of the patch.
    fn save(&mut self, path: &str, text: Option<&str>) -> usize {
        let before = self.files.get(path).cloned();
        let after =
            text.map(|text| index(path, text.as_bytes(), before.as_ref(), &Budget::default()));
        let patch = extract(before.as_ref(), after.as_ref()).unwrap();
        let body = self.units.body(patch, Made::default(), &|_| false).unwrap();
        match after {
            Some(after) => self.files.insert(path.to_owned(), after),
            None => self.files.remove(path),
        };
        self.tell(body)
    }

    fn tell(&mut self, body: PatchBody) -> usize {
        let k = self.bodies.len() as u64;
        let (peer, incarnation) = (PeerId([1; 32]), Incarnation(1));
        let origin = Origin {
            writer: Writer { peer, incarnation },
            author_seq: k + 1,
            lsn: k,
            time_ms: k * 60_000,
            seq: Some(k + 1),
        };
        self.bodies.push(body.clone());
        self.units.record(&body, origin).0
    }

    fn read(&self, recorded: &Recorded) -> Option<PatchBody> {
        let at = usize::try_from(recorded.origin.lsn).ok()?;
        self.bodies.get(at).cloned()
    }

    fn unit(&self, path: &str, name: &str) -> UnitId {
        self.units.id_of(path, name).unwrap()
    }

    /// The text of a unit at a moment, or what it was instead.
    fn at(&self, path: &str, name: &str, moment: Moment) -> String {
        let unit = self.unit(path, name);
        match self.units.at(path, unit, moment) {
            Then::Version(version) => {
                let content = self.units.content(path, unit, version).flatten().unwrap();
                let text = self.units.text(content, &|recorded| self.read(recorded));
                String::from_utf8(text.unwrap().flat()).unwrap()
            }
            Then::Absent => "absent".to_owned(),
            Then::Deleted(_) => "deleted".to_owned(),
            Then::Unrecorded => "unrecorded".to_owned(),
        }
    }

    fn deeds(&self, path: &str, name: &str) -> Vec<&'static str> {
        let history = self.units.history(path, self.unit(path, name));
        let deeds = history.iter();
        deeds
            .map(|(index, row)| self.units.deed(*index, *row))
            .collect()
    }

    /// The index of the patch that wrote each line of a unit as it is now; `git` for none.
    fn lines(&self, path: &str, name: &str) -> Vec<String> {
        let unit = self.unit(path, name);
        let content = self.files[path]
            .position(unit)
            .map(|at| self.files[path].outline.units[at].own_hash);
        let version = self.units.working(path, unit, content).unwrap();
        let origins = self
            .units
            .line_origins(path, unit, version, &|recorded| self.read(recorded));
        let word = |origin: LineOrigin| match origin {
            LineOrigin::Git => "git".to_owned(),
            LineOrigin::Told(index, _) => index.to_string(),
            LineOrigin::Unknown => "unknown".to_owned(),
        };
        origins.into_iter().map(word).collect()
    }
}

const ONE: &str = "fn f() {\n    one();\n    two();\n    three();\n}\n";

#[test]
fn what_a_unit_was_is_told_by_position_by_time_and_by_operation() {
    let mut log = Log::over(&[("a.rs", ONE)]);
    log.save("a.rs", Some(&ONE.replace("one", "eins")));
    log.save("a.rs", Some("fn g() {}\n"));
    log.save("a.rs", Some(&format!("fn g() {{}}\n\n{ONE}")));
    let body = ONE.trim_end();
    assert_eq!(log.at("a.rs", "f", Moment::Seq(0)), body);
    assert_eq!(log.at("a.rs", "g", Moment::Seq(0)), "absent");
    for moment in [Moment::Seq(1), Moment::Time(59_999), Moment::Behind(0)] {
        assert_eq!(log.at("a.rs", "f", moment), body.replace("one", "eins"));
        assert_eq!(log.at("a.rs", "g", moment), "absent");
    }
    for moment in [Moment::Seq(2), Moment::Time(60_000), Moment::Behind(1)] {
        assert_eq!(log.at("a.rs", "f", moment), "deleted");
        assert_eq!(log.at("a.rs", "g", moment), "fn g() {}");
    }
    for moment in [
        Moment::Seq(u64::MAX),
        Moment::Time(u64::MAX),
        Moment::Behind(2),
    ] {
        assert_eq!(log.at("a.rs", "f", moment), body);
    }
    assert_eq!(log.deeds("a.rs", "f"), ["replace", "delete", "insert"]);
    assert_eq!(log.deeds("a.rs", "g"), ["insert"]);
}

#[test]
fn each_line_belongs_to_the_version_that_wrote_it() {
    let mut log = Log::over(&[("a.rs", ONE)]);
    log.save("a.rs", Some(&ONE.replace("one", "eins")));
    log.save(
        "a.rs",
        Some(
            &ONE.replace("one", "eins")
                .replace("three();", "three();\n    four();"),
        ),
    );
    assert_eq!(
        log.lines("a.rs", "f"),
        ["git", "0", "git", "git", "1", "git"]
    );
    // Who takes a line back has written it again.
    log.save(
        "a.rs",
        Some(&ONE.replace("three();", "three();\n    four();")),
    );
    assert_eq!(
        log.lines("a.rs", "f"),
        ["git", "2", "git", "git", "1", "git"]
    );
    log.save("a.rs", Some(&ONE.replace("fn f", "fn h")));
    assert_eq!(log.lines("a.rs", "h"), ["3", "2", "git", "git", "git"]);
    assert_eq!(log.deeds("a.rs", "h").last(), Some(&"rename"));
}

#[test]
fn lines_of_two_sides_keep_their_authors_where_the_sides_were_joined() {
    let mut log = Log::over(&[("a.rs", ONE)]);
    let start = log.files.clone();
    log.save("a.rs", Some(&ONE.replace("one", "eins")));
    // Somebody who has not heard of it.
    let mut other = Log::over(&[("a.rs", ONE)]);
    other.save("a.rs", Some(&ONE.replace("three", "drei")));
    log.tell(other.bodies[0].clone());
    let unit = log.unit("a.rs", "f");
    let heads = log.units.heads("a.rs", unit);
    assert_eq!(heads.len(), 2);
    let shape = &log.units.shapes()[0];
    assert_eq!(
        (shape.versions, shape.heads.len(), shape.forks.len()),
        (2, 2, 1)
    );
    let joined = ONE.replace("one", "eins").replace("three", "drei");
    log.files = start;
    let after = index(
        "a.rs",
        joined.as_bytes(),
        log.files.get("a.rs"),
        &Budget::default(),
    );
    let patch = extract(log.files.get("a.rs"), Some(&after)).unwrap();
    let mut body = log.units.body(patch, Made::default(), &|_| false).unwrap();
    body.parents = vec![heads];
    log.files.insert("a.rs".to_owned(), after);
    log.tell(body);
    assert_eq!(log.lines("a.rs", "f"), ["git", "0", "git", "1", "git"]);
    let shape = &log.units.shapes()[0];
    assert_eq!(
        (shape.heads.len(), shape.merges.len(), shape.forks.len()),
        (1, 1, 1)
    );
    assert_eq!(log.units.forked_count(), 0);
}

#[test]
fn a_function_that_went_to_another_file_is_known_by_its_text_and_its_name() {
    let mut log = Log::over(&[("a.rs", ONE), ("b.rs", "fn g() {}\n"), ("c.rs", "")]);
    log.save("b.rs", Some(&format!("fn g() {{}}\n\n{ONE}")));
    log.save("a.rs", Some("fn a() {}\n"));
    let from = |log: &Log, path: &str| log.units.came_from(path, log.unit(path, "f"));
    let (path, unit) = from(&log, "b.rs").unwrap();
    assert_eq!((&*path, unit), ("a.rs", log.unit("a.rs", "f")));
    // Another text under that name is another function.
    log.save("c.rs", Some(&ONE.replace("one", "eins")));
    assert_eq!(from(&log, "c.rs"), None);
    assert_eq!(from(&log, "a.rs"), None);
}

#[test]
fn a_name_that_was_given_up_is_remembered_with_its_container() {
    let model = "struct M;\n\nimpl M {\n    fn f(&self) -> u8 {\n        1\n    }\n}\n";
    let mut log = Log::over(&[("a.rs", model)]);
    let index = log.save("a.rs", Some(&model.replace("fn f", "fn g")));
    let recorded = &log.units.recorded()[index];
    let (unit, name, ..) = &recorded.touched[0];
    assert_eq!(&**name, "M::g");
    assert_eq!(
        recorded.former_name(*unit).map(|name| &**name),
        Some("M::f")
    );
}
