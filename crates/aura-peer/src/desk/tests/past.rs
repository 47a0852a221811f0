//! What was, and what a look at it costs.

use aura_engine::peer::units::Moment;

use super::{super::Mode, Log, Person, reads};

fn two(mode: Mode) -> (Log, Person, Person) {
    let files = [("README", "a team\n")];
    let people = (Person::new(1, mode, &files), Person::new(2, mode, &files));
    (Log::default(), people.0, people.1)
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
    assert!(count_few + 18 <= count_all, "{count_few} of {count_all}");
}
