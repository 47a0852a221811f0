//! What is held back, and what no longer is.

use std::collections::BTreeSet;

use aura_proto::RepoPath;

use super::{Mode, Person, git};

#[test]
fn what_git_has_as_it_is_needs_nobody_when_it_is_looked_at_again() {
    let mut alice = Person::new(1, Mode::Observe, &[("a.rs", "fn a() {}\n")]);
    alice.writes("long", &"a line\n".repeat(10 << 17));
    let paths = BTreeSet::from([RepoPath::try_from("long").unwrap()]);
    alice.desk.publish_saves(&paths, &alice.ring).unwrap();
    assert!(alice.desk.held_back.keys().eq(&paths));
    let repo = alice.dir.path().join("repo");
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "-q", "-m", "long"]);
    let mut alice = alice.restarts();
    alice.desk.publish_saves(&paths, &alice.ring).unwrap();
    assert!(alice.desk.held_back.is_empty());
}
