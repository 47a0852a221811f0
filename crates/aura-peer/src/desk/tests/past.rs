//! What was, and what a look at it costs.

use aura_api::At;
use aura_engine::peer::units::Moment;

use super::{
    super::{Mode, restore::Wish, take::Wanted},
    Log, Person, reads,
};

const MODEL: &str = "\
import os


class Model:
    def load(self):
        return 1

    def score(self):
        return 2
";

fn wish(symbol: &str, op: &str) -> Wish {
    Wish {
        symbol: symbol.to_owned(),
        at: At::Op(op.to_owned()),
        why: None,
        is_dry_run: false,
    }
}

fn two(mode: Mode) -> (Log, Person, Person) {
    let files = [("README", "a team\n")];
    let people = (Person::new(1, mode, &files), Person::new(2, mode, &files));
    (Log::default(), people.0, people.1)
}

#[test]
fn a_file_whose_units_have_changed_since_comes_back_as_it_was_published() {
    let (mut log, mut alice, _) = two(Mode::Observe);
    alice.writes("model.py", MODEL);
    let first = alice.publishes(&mut log);
    alice.edits("model.py", "return 1", "return 11");
    alice.publishes(&mut log);
    alice.edits("model.py", "\n    def score(self):\n        return 2\n", "");
    alice.publishes(&mut log);
    let wish = wish("model.py", &first);
    let done = alice.desk.restore(&wish, &alice.ring).unwrap();
    assert_eq!(done.state, "restored");
    assert_eq!(alice.reads("model.py"), MODEL);
    assert_eq!(alice.desk.units.forked_count(), 0);
}

#[test]
fn a_file_is_not_restored_while_something_newer_of_it_waits() {
    for (from, to) in [("return 1", "return 11"), ("import os", "import sys")] {
        let (mut log, mut alice, mut bob) = two(Mode::Live);
        alice.writes("model.py", MODEL);
        let first = alice.publishes(&mut log);
        bob.hears(&log);
        alice.edits("model.py", "return 2", "return 22");
        alice.publishes(&mut log);
        bob.hears(&log);
        assert_eq!(bob.reads("model.py"), alice.reads("model.py"));
        bob.desk.set_mode(Mode::Observe, &bob.ring);
        alice.edits("model.py", from, to);
        alice.publishes(&mut log);
        bob.hears(&log);
        let before = bob.reads("model.py");
        let wish = wish("model.py", &first);
        let refused = bob.desk.restore(&wish, &bob.ring).unwrap_err();
        assert_eq!(refused.id, "AE-MOVED", "{to}");
        assert_eq!(refused.next[0].cmd, "aura pull model.py");
        assert_eq!(bob.reads("model.py"), before);
        bob.desk.pull(&Wanted::default(), &bob.ring);
        assert_eq!(bob.reads("model.py"), alice.reads("model.py"));
        bob.desk.restore(&wish, &bob.ring).unwrap();
        bob.tells(&mut log);
        alice.hears(&log);
        assert_eq!(alice.reads("model.py"), MODEL);
        assert_eq!(alice.desk.units.forked_count(), 0);
    }
}

#[test]
fn of_names_in_the_past_only_those_that_are_shown_are_opened() {
    let (mut log, mut alice, _) = two(Mode::Observe);
    for n in 0..20 {
        let path = format!("f{n}.py");
        alice.writes(&path, &format!("def rate_{n}():\n    return {n}\n"));
        alice.publishes(&mut log);
    }
    let moment = Moment::Behind(19);
    let mut reads_for = |limit: usize| {
        let before = reads();
        let found = alice.desk.find_at("rate", moment, limit, &alice.ring);
        (found.unwrap().len(), reads() - before)
    };
    // The first look reads what the next ones know.
    reads_for(1);
    let (few, count_few) = reads_for(1);
    let (all, count_all) = reads_for(100);
    // One more says that there is more.
    assert_eq!((few, all), (2, 20));
    assert!(count_few + 15 < count_all, "{count_few} of {count_all}");
}
