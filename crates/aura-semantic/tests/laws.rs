//! The laws of outline, identity, patch and apply, over fixtures of every language.
//!
//! Invariants:
//! - `AURA_FUZZ_PATCHES` sets the number of random patches per language.
#![cfg(feature = "default")]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use aura_semantic::{ContentHash, Indexed, Op, Problem, UnitId, apply, extract, without};
use common::{
    Dice, all_fixtures, assert_tiled, bodies, code_fixtures, disguises, edit, edit_body, fixture,
    fresh, next,
};

fn patches() -> u64 {
    std::env::var("AURA_FUZZ_PATCHES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(200)
}

#[test]
fn units_and_gaps_join_to_the_file_in_every_disguise() {
    for name in all_fixtures() {
        for (disguise, bytes) in disguises(&fixture(name)) {
            assert_tiled(name, &bytes);
            let found = fresh(name, &bytes).outline.units.len();
            // YAML is not indented with tabs.
            let strange = name.ends_with(".yaml") && disguise == "tabs";
            let healthy = disguise != "nul" && disguise != "latin-1" && !strange;
            if healthy {
                let plain = fresh(name, &fixture(name)).outline.units.len();
                assert_eq!(found, plain, "{name} as {disguise}");
            }
        }
    }
}

#[test]
fn s01_fixtures_parse_without_a_problem_and_every_unit_has_an_id_of_its_own() {
    for name in all_fixtures() {
        let file = fresh(name, &fixture(name));
        assert_eq!(file.outline.problems, Vec::<Problem>::new(), "{name}");
        let ids: std::collections::BTreeSet<_> = file.ids.iter().collect();
        assert_eq!(ids.len(), file.outline.units.len(), "{name}");
        assert!(ids.len() > 12, "{name} has units");
    }
}

#[test]
fn s04_a_patch_carried_out_on_its_base_gives_its_result_byte_for_byte() {
    for name in all_fixtures() {
        let (mut whole_file, mut made) = (0, 0);
        for (disguise, bytes) in disguises(&fixture(name)) {
            let count = patches().div_ceil(8);
            for seed in 0..count {
                let mut dice = Dice::new(seed * 31 + 7);
                let mut before = fresh(name, &bytes);
                for step in 0..1 + dice.roll(3) {
                    let edited = edit(&before, &mut dice, &format!("{seed}x{step}"));
                    let after = next(&before, &edited);
                    assert_tiled(name, &edited);
                    made += 1;
                    whole_file += check_law(&before, &after, &format!("{name} {disguise} {seed}"));
                    before = after;
                }
            }
        }
        assert!(
            whole_file * 4 <= made,
            "{name}: {whole_file} whole files of {made}"
        );
    }
}

/// Checks the law both ways; returns how many patches were whole files.
fn check_law(before: &Indexed, after: &Indexed, note: &str) -> u64 {
    let Some(patch) = extract(Some(before), Some(after)) else {
        assert_eq!(before.bytes, after.bytes, "{note}");
        return 0;
    };
    let applied = apply(Some(before), &patch).expect(note);
    assert_eq!(applied.bytes(), Some(&after.bytes[..]), "{note}");
    assert_eq!(
        applied.after.as_ref().map(|file| &file.ids),
        Some(&after.ids),
        "{note}"
    );
    assert!(!applied.merged, "{note}");
    patch.check().expect(note);
    let again = apply(Some(after), &patch).expect(note);
    assert_eq!(
        again.bytes(),
        Some(&after.bytes[..]),
        "{note}: twice is once"
    );
    u64::from(matches!(patch.ops[..], [Op::File { .. }]))
}

#[test]
fn what_a_patch_did_can_be_taken_out_again_and_the_patch_brings_it_back() {
    for name in code_fixtures() {
        let (mut exact, mut left) = (0, 0);
        let base = fresh(name, &fixture(name));
        for seed in 0..patches() {
            let mut dice = Dice::new(seed * 37 + 11);
            let after = next(&base, &edit(&base, &mut dice, &seed.to_string()));
            let Some(patch) = extract(Some(&base), Some(&after)) else {
                continue;
            };
            let note = format!("{name} {seed}: {:?}", patch.ops);
            let taken = without(Some(&after), &patch, &|_| true);
            if !taken.left.is_empty() {
                left += 1;

                continue;
            }
            let taken = taken.file.unwrap();
            exact += u64::from(taken.bytes == base.bytes);
            assert_eq!(texts_of(&taken), texts_of(&base), "{note}");
            let again = extract(Some(&taken), Some(&after)).expect(&note);
            let again = apply(Some(&taken), &again).unwrap();
            assert_eq!(again.bytes(), Some(&after.bytes[..]), "{note}");
        }
        // Members that were moved out of their container are not moved back.
        assert!(left * 20 <= patches(), "{name}: {left} of {}", patches());
        assert!(patches() < exact * 2, "{name}: {exact} of {}", patches());
    }
}

#[test]
fn a_patch_is_taken_out_of_a_file_in_which_others_went_on() {
    for name in code_fixtures() {
        let base = fresh(name, &fixture(name));
        let units = bodies(&base);
        for pair in units.windows(2) {
            let mine = next(&base, &edit_body(&base, pair[0], "mine"));
            let both = next(&mine, &edit_body(&mine, pair[1], "theirs"));
            let theirs = next(&base, &edit_body(&base, pair[1], "theirs"));
            let patch = extract(Some(&base), Some(&mine)).unwrap();
            let taken = without(Some(&both), &patch, &|_| true);
            assert_eq!(taken.file.unwrap().bytes, theirs.bytes, "{name}");
            // What stands otherwise by now stays.
            let stays = without(Some(&both), &patch, &|_| false);
            assert_eq!(stays.file.unwrap().bytes, both.bytes, "{name}");
        }
    }
}

/// What the units say, in no order; a unit that was moved to another container is not moved back.
fn texts_of(file: &Indexed) -> Vec<ContentHash> {
    let mut texts: Vec<_> = file.outline.units.iter().map(|u| u.own_hash).collect();
    texts.sort();
    texts
}

#[test]
fn a_body_edit_lands_in_a_file_whose_other_units_were_edited_and_moved() {
    for name in code_fixtures() {
        for (disguise, bytes) in disguises(&fixture(name)) {
            let base = fresh(name, &bytes);
            for (turn, unit) in bodies(&base).into_iter().enumerate() {
                let sent = next(&base, &edit_body(&base, unit, "sent"));
                let patch = extract(Some(&base), Some(&sent)).unwrap();
                assert!(
                    matches!(patch.ops[..], [Op::Replace { .. }]),
                    "{name}: {:?}",
                    patch.ops
                );
                assert_eq!(
                    patch.touched.len(),
                    1,
                    "a method's edit is the method's alone"
                );
                let id = base.ids[unit];
                let here = receiver(&base, id, turn as u64);
                let applied = apply(Some(&here), &patch).unwrap_or_else(|refusal| {
                    panic!("{name} as {disguise}: {refusal}");
                });
                assert_foreign_bytes_stay(&here, applied.after.as_ref().unwrap(), id, &sent);
            }
        }
    }
}

/// The base after edits and moves of units other than `id`.
fn receiver(base: &Indexed, id: UnitId, seed: u64) -> Indexed {
    let mut here = base.clone();
    let mut dice = Dice::new(seed + 99);
    for step in 0..12 {
        let edited = next(&here, &edit(&here, &mut dice, &format!("here{step}")));
        let text = |file: &Indexed| {
            let at = file.position(id)?;
            Some((
                file.outline.units[at].own_hash,
                file.outline.units[at].name.clone(),
            ))
        };
        let sound = edited.outline.errors <= here.outline.errors;
        let same = text(&edited) == text(&here) && text(&here).is_some();
        if sound && same && edited.outline.whole_file_problem().is_none() {
            here = edited;
        }
    }
    here
}

fn assert_foreign_bytes_stay(here: &Indexed, after: &Indexed, id: UnitId, sent: &Indexed) {
    let own = |file: &Indexed| -> BTreeMap<UnitId, ContentHash> {
        let hashes = file.outline.units.iter().map(|unit| unit.own_hash);
        file.ids.iter().copied().zip(hashes).collect()
    };
    let (mut was, mut is) = (own(here), own(after));
    assert_eq!(
        is.get(&id),
        own(sent).get(&id),
        "the unit has the sent text"
    );
    was.remove(&id);
    is.remove(&id);
    assert_eq!(was, is, "no other unit changed");
    let span = |file: &Indexed| file.outline.units[file.position(id).unwrap()].span.clone();
    let (old, new) = (span(here), span(after));
    assert_eq!(here.bytes[..old.start], after.bytes[..new.start]);
    assert_eq!(here.bytes[old.end..], after.bytes[new.end..]);
}

#[test]
fn edits_of_two_people_to_different_units_commute() {
    for name in code_fixtures() {
        let base = fresh(name, &fixture(name));
        let some = bodies(&base);
        let (first, second) = (some[0], some[some.len() - 1]);
        let one = extract(
            Some(&base),
            Some(&next(&base, &edit_body(&base, first, "one"))),
        )
        .unwrap();
        let two = extract(
            Some(&base),
            Some(&next(&base, &edit_body(&base, second, "two"))),
        )
        .unwrap();
        let both = |patches: [&aura_semantic::FilePatch; 2]| {
            let mut file = base.clone();
            for patch in patches {
                file = apply(Some(&file), patch).unwrap().after.unwrap();
            }
            file
        };
        assert_eq!(both([&one, &two]), both([&two, &one]), "{name}");
    }
}

#[test]
fn s03_ids_are_the_same_whichever_file_is_indexed_first() {
    let index_all = |names: Vec<&str>| -> BTreeMap<String, Vec<UnitId>> {
        names
            .into_iter()
            .map(|name| (name.to_string(), fresh(name, &fixture(name)).ids))
            .collect()
    };
    let forwards = index_all(all_fixtures().collect());
    let backwards = index_all(all_fixtures().rev().collect());
    assert_eq!(forwards, backwards);
}
