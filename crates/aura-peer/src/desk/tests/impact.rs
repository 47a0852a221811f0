//! Whose code a change touches: what is read for it, and what a start and a restart leave of it.

use aura_trust::TeamKey;

use super::{
    super::{Mode, impact::build},
    Log, Person, reads,
};

const RISK: &str = "\
pub fn load(name: &str) -> usize {
    name.len()
}

pub fn score() -> u32 {
    3
}
";

const API: &str = "\
use crate::risk::{load, score};

pub fn quote() -> usize {
    load(\"risk\")
}

pub fn limit() -> u32 {
    score()
}
";

const FILES: [(&str, &str); 3] = [
    ("src/lib.rs", "mod api;\nmod risk;\n"),
    ("src/risk.rs", RISK),
    ("src/many.rs", ""),
];

impl Person {
    fn builds(&mut self) {
        let files = self.desk.files_for_graph();
        let analyses = self.desk.analyses();
        let graph = build(self.desk.copy.root(), &files, &analyses);
        self.desk.has_graph(graph);
    }

    /// Weighs everything, files that have changed as well.
    fn weighs(&mut self) {
        while self.desk.weigh_deadline().is_some() {
            self.desk.weigh(&self.ring);
        }
    }

    fn alerts(&self) -> Vec<String> {
        let alerts = self.desk.open_alerts().iter();
        let row = |alert: &super::super::impact::Alert| {
            let (caller, callee) = (&alert.caller.1, &alert.callee.1);
            format!("{caller} uses {callee}: {}", alert.effect.word())
        };
        alerts.map(row).collect()
    }
}

/// Alice, and carol who wrote what uses `load` and `score`.
fn two(mode: Mode) -> (Log, Person, Person) {
    let mut log = Log::default();
    let alice = Person::new(1, Mode::Observe, &FILES);
    let mut carol = Person::new(2, mode, &FILES);
    carol.writes("src/api.rs", API);
    carol.publishes(&mut log);
    (log, alice, carol)
}

/// Alice changes what carol may use, and carol hears of it and weighs it.
fn is_told(carol: &mut Person, alice: &mut Person, log: &mut Log, (from, to): (&str, &str)) {
    alice.edits("src/risk.rs", from, to);
    alice.publishes(log);
    carol.hears(log);
    carol.weighs();
}

/// Carol, whose `quote` uses what alice gave another name.
fn told_of_a_rename() -> Person {
    let (mut log, mut alice, mut carol) = two(Mode::Observe);
    carol.builds();
    is_told(&mut carol, &mut alice, &mut log, ("fn load", "fn fetch"));
    carol
}

/// How often a file system is asked when a change of `load` is weighed that so many functions use.
fn reads_with_callers(count: usize) -> u64 {
    let (mut log, mut alice, mut carol) = two(Mode::Observe);
    let callers = (0..count).map(|n| format!("pub fn f{n}() {{\n    load(\"{n}\");\n}}\n"));
    let text = format!("use crate::risk::load;\n{}", callers.collect::<String>());
    carol.writes("src/many.rs", &text);
    carol.builds();
    carol.weighs();
    alice.edits("src/risk.rs", "name.len()", "name.len() + 1");
    alice.publishes(&mut log);
    carol.hears(&log);
    let before = reads();
    carol.desk.weigh(&carol.ring);
    let count_read = reads() - before;
    assert_eq!(carol.alerts().len(), count + 1);
    count_read
}

#[test]
fn a_file_of_many_callers_is_read_once_for_a_patch() {
    let (few, many) = (reads_with_callers(2), reads_with_callers(40));
    // What git answers comes in one piece or in several.
    assert!(many < few + 10, "{many} after {few}");
}

#[test]
fn a_deletion_and_a_rename_that_are_written_before_the_graph_is_there_are_told() {
    let (mut log, mut alice, mut carol) = two(Mode::Live);
    alice.edits("src/risk.rs", "fn load", "fn fetch");
    alice.publishes(&mut log);
    let at = RISK.find("pub fn score").unwrap();
    let score = RISK[at..].to_owned();
    alice.edits("src/risk.rs", &score, "");
    alice.publishes(&mut log);
    carol.hears(&log);
    assert_eq!(carol.reads("src/risk.rs"), alice.reads("src/risk.rs"));
    carol.builds();
    carol.weighs();
    let told = ["quote uses load: renamed", "limit uses score: deleted"];
    assert_eq!(carol.alerts(), told);
    // Afterwards the graph is as the files are.
    assert!(carol.desk.callers_of("load").is_empty());
}

#[test]
fn what_a_daemon_had_not_weighed_is_weighed_by_the_next_one() {
    for mode in [Mode::Live, Mode::Observe] {
        for is_built in [false, true] {
            let (mut log, mut alice, mut carol) = two(mode);
            if is_built {
                carol.builds();
            }
            alice.edits("src/risk.rs", "fn load", "fn fetch");
            alice.publishes(&mut log);
            carol.hears(&log);
            let mut carol = carol.restarts();
            carol.builds();
            carol.weighs();
            assert_eq!(carol.alerts(), ["quote uses load: renamed"], "{mode:?}");
        }
    }
}

#[test]
fn what_came_under_a_key_that_was_late_is_weighed_after_a_restart_as_well() {
    let (mut log, mut alice, mut carol) = two(Mode::Observe);
    let mut bob = Person::new(3, Mode::Observe, &FILES);
    carol.builds();
    alice.ring.insert(TeamKey::new(2, [8; 32])).unwrap();
    alice.edits("src/risk.rs", "fn load", "fn fetch");
    alice.publishes(&mut log);
    bob.edits("src/risk.rs", "    3", "    4");
    bob.publishes(&mut log);
    carol.hears(&log);
    carol.weighs();
    assert_eq!(carol.alerts(), ["limit uses score: body"]);
    carol.ring.insert(TeamKey::new(2, [8; 32])).unwrap();
    carol.desk.unseal(&carol.ring);
    let mut carol = carol.restarts();
    carol.builds();
    carol.weighs();
    let told = ["limit uses score: body", "quote uses load: renamed"];
    assert_eq!(carol.alerts(), told);
}

#[test]
fn what_was_weighed_is_not_weighed_again_by_the_next_daemon() {
    let mut carol = told_of_a_rename();
    let id = carol.desk.open_alerts()[0].id();
    carol.desk.acknowledge(&[id]).unwrap();
    let mut carol = carol.restarts();
    carol.builds();
    carol.weighs();
    assert_eq!(carol.alerts(), Vec::<String>::new());
}

#[test]
fn an_alert_that_is_put_off_comes_back_in_time_and_at_once_when_it_gets_worse() {
    let (mut log, mut alice, mut carol) = two(Mode::Observe);
    carol.builds();
    let body = ("name.len()", "name.len() + 1");
    is_told(&mut carol, &mut alice, &mut log, body);
    let until = |carol: &Person, now| carol.desk.open_alerts()[0].snoozed_until(now);
    assert_eq!(until(&carol, 0), None);
    let ids = carol.desk.snooze(&[], 100).unwrap();
    assert_eq!(ids, [carol.desk.open_alerts()[0].id()]);
    assert_eq!((until(&carol, 99), until(&carol, 100)), (Some(100), None));
    let missing = carol.desk.snooze(&["i-99".to_owned()], 200);
    assert_eq!(missing, Err("i-99".to_owned()));
    let mut carol = carol.restarts();
    assert_eq!(until(&carol, 99), Some(100));
    carol.builds();
    is_told(&mut carol, &mut alice, &mut log, ("fn load", "fn fetch"));
    assert_eq!(carol.alerts(), ["quote uses load: renamed"]);
    assert_eq!(until(&carol, 0), None);
}

#[test]
fn acknowledging_one_that_is_not_open_closes_none() {
    let mut carol = told_of_a_rename();
    let ids = ["i-1", "i-99"].map(str::to_owned);
    assert_eq!(carol.desk.acknowledge(&ids), Err("i-99".to_owned()));
    assert_eq!(carol.alerts().len(), 1);
    carol.desk.acknowledge(&ids[..1]).unwrap();
    assert_eq!(carol.alerts(), Vec::<String>::new());
}

const SHOP: &str = "class Foo:\n    def price(self, grams):\n        return grams * 3\n\n    def name(self):\n        return \"foo\"\n\n\ndef top(n):\n    return n + 1\n";
const MINE: &str = "from shop import Foo, top\n\n\ndef mine(f: Foo):\n    return f.price(1)\n\n\nclass Till:\n    def rows(self):\n        return top(2)\n";

/// Alice with a shop, and carol who wrote what uses it.
fn shop() -> (Log, Person, Person) {
    let files = [("shop.py", SHOP), ("mine.py", "")];
    let mut log = Log::default();
    let mut alice = Person::new(1, Mode::Live, &files);
    let mut carol = Person::new(2, Mode::Live, &files);
    carol.writes("mine.py", MINE);
    carol.publishes(&mut log);
    carol.builds();
    alice.hears(&log);
    (log, alice, carol)
}

#[test]
fn a_member_that_changes_while_its_class_is_renamed_is_told_by_the_name_that_was_used() {
    let (mut log, mut alice, mut carol) = shop();
    alice.edits("shop.py", "class Foo", "class Bar");
    alice.edits("shop.py", "price(self, grams)", "price(self, grams, tax)");
    alice.publishes(&mut log);
    carol.hears(&log);
    carol.weighs();
    let told = ["mine uses Foo: renamed", "mine uses Foo::price: signature"];
    assert_eq!(carol.alerts(), told);
}

#[test]
fn what_somebody_else_took_to_another_file_or_renamed_is_still_of_whoever_wrote_it() {
    let (mut log, mut alice, mut carol) = shop();
    let moved = alice.reads("mine.py");
    alice.writes("yours.py", &moved);
    std::fs::remove_file(alice.dir.path().join("repo/mine.py")).unwrap();
    alice.publishes(&mut log);
    alice.edits("yours.py", "class Till", "class Desk");
    alice.publishes(&mut log);
    carol.hears(&log);
    assert!(carol.reads("yours.py").contains("class Desk"));
    carol.weighs();
    assert_eq!(carol.alerts(), Vec::<String>::new());
    alice.edits("shop.py", "price(self, grams)", "price(self, grams, tax)");
    alice.edits("shop.py", "top(n)", "top(n, m)");
    alice.publishes(&mut log);
    carol.hears(&log);
    carol.weighs();
    let told = [
        "mine uses Foo::price: signature",
        "Desk::rows uses top: signature",
    ];
    let mut alerts = carol.alerts();
    alerts.sort_unstable_by_key(|row| std::cmp::Reverse(row.clone()));
    assert_eq!(alerts, told);
}
