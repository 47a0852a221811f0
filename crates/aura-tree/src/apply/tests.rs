//! An editor between two calls of one exchange.

#![allow(clippy::disallowed_methods)]
#![allow(clippy::unwrap_used)]

use std::{fs, io::Write as _};

use super::*;
use crate::kept::{
    GRACE_MS,
    tests::{Ground, a, ground, handed_over},
};

/// An incoming change takes a save away, at first only the start of it, and gives it back.
fn gives_way(ground: &Ground, [begun, saved]: [&str; 2], incoming: &str) {
    let parent = ground.copy.parent(&a()).unwrap();
    let place = ground.copy.store.place_for(&parent, &a()).unwrap();
    let [old, new] = ["old", incoming].map(|text| blake3::hash(text.as_bytes()));
    let name = SwapName::swap(&place, Some(new), old, &a());
    let staged = stage(&place, &name, incoming.as_bytes()).unwrap();
    let swap = Swap {
        copy: &ground.copy,
        now_ms: 0,
        path: &a(),
        parent: &parent,
        place,
        name,
    };
    ground.save(begun);
    let mut editor = File::options().append(true).open(ground.file()).unwrap();
    swap.trade().unwrap();
    assert_eq!(fs::read_to_string(ground.file()).unwrap(), incoming);
    let out = found(swap.place.directory(), &swap.name);
    let rest = saved.strip_prefix(begun).unwrap();
    editor.write_all(rest.as_bytes()).unwrap();
    swap.put_back(fingerprint_of(&staged, new).unwrap(), out);
    assert_eq!(fs::read_to_string(ground.file()).unwrap(), saved);
}

#[test]
fn case_067_a_save_is_kept_when_somebody_saves_over_it_who_read_what_stood_there_for_a_moment() {
    for begun in ["", "sav", "saved"] {
        let ground = ground();
        gives_way(&ground, [begun, "saved"], "incoming");
        ground.save("incoming and typed");
        let kept = handed_over(|keep| ground.copy.sweep_kept(GRACE_MS, keep));
        assert!(kept.iter().any(|kept| kept.bytes == b"saved"), "{begun:?}");
        assert!(kept.len() <= 2, "{kept:?}");
        assert!(handed_over(|keep| ground.copy.sweep_kept(2 * GRACE_MS, keep)).is_empty());
        assert_eq!(ground.names(".git/aura/kept"), [""; 0]);
    }
}

#[test]
fn a_save_that_was_given_back_and_stays_is_not_kept_twice() {
    let ground = ground();
    gives_way(&ground, ["saved"; 2], "incoming");
    assert!(handed_over(|keep| ground.copy.sweep_kept(GRACE_MS, keep)).is_empty());
    assert_eq!(ground.names(".git/aura/kept"), [""; 0]);
}
