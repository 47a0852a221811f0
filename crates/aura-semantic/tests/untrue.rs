//! Patches that lie about the versions that they make.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use aura_semantic::{
    ContentHash, FilePatch, Indexed, Landing, Op, Refusal, Text, Touched, UnitId, extract, land,
};
use common::{fresh, next};

const TWO: &str = "fn one() {\n    1\n}\n\nfn two() {\n    2\n}\n";

#[test]
fn a_patch_that_lies_about_what_it_changes_is_found_out() {
    let (before, honest) = patch("a.rs", TWO, &TWO.replace("    2", "    3"));
    assert_eq!(honest.check(), Ok(()));
    let one = id(&before, "one");
    type Lie<'a> = &'a dyn Fn(&mut FilePatch);
    let lies: [(&str, Lie<'_>); 7] = [
        ("nothing is touched", &|patch| patch.touched.clear()),
        ("nothing is done", &|patch| patch.ops.clear()),
        ("another unit is touched", &|patch| {
            patch.touched[0].unit = one
        }),
        ("a unit is touched for nothing", &|patch| {
            let row = patch.touched[0].clone();
            patch.touched.push(Touched { unit: one, ..row });
        }),
        ("a row stands twice", &|patch| {
            patch.touched.push(patch.touched[0].clone());
        }),
        ("the text is another", &|patch| {
            patch.touched[0].after = Some(ContentHash([7; 32]));
        }),
        ("the base is another", &|patch| {
            let Op::Replace { base, .. } = &mut patch.ops[0] else {
                panic!("a replacement")
            };
            *base = ContentHash([7; 32]);
        }),
    ];
    for (lie, tell) in lies {
        let mut patch = honest.clone();
        tell(&mut patch);
        assert!(patch.check().is_err(), "{lie}");
    }
}

#[test]
fn a_patch_tells_of_no_unit_that_its_texts_do_not_have() {
    let whole = |before: Option<&str>, after: Option<&str>| {
        let before = before.map(|text| fresh("a.rs", text.as_bytes()));
        let after = after.map(|text| fresh("a.rs", text.as_bytes()));
        extract(before.as_ref(), after.as_ref()).unwrap()
    };
    let module = "mod m {\n    fn one() {}\n\n    fn two() {}\n}\n";
    let with = format!("{TWO}\n{module}");
    let honest = [
        whole(None, Some(TWO)),
        whole(Some(&with), None),
        patch("a.rs", TWO, &with).1,
        patch("a.rs", &with, TWO).1,
    ];
    let last = |patch: &mut FilePatch| patch.touched.last().unwrap().clone();
    type Lie<'a> = &'a dyn Fn(&mut FilePatch);
    let lies: [(&str, Lie<'_>); 3] = [
        ("a version that no text has", &|patch| {
            let row = patch.touched.last_mut().unwrap();
            let told = row.after.as_mut().or(row.before.as_mut());
            *told.unwrap() = ContentHash([7; 32]);
        }),
        ("one unit more", &|patch| {
            let row = last(patch);
            let unit = UnitId([7; 16]);
            patch.touched.push(Touched { unit, ..row });
        }),
        ("another unit in the place of one", &|patch| {
            let mut row = last(patch);
            (row.before, row.after) = (row.after, row.before);
            patch.touched.push(Touched {
                unit: UnitId([7; 16]),
                ..row
            });
        }),
    ];
    for patch in honest {
        assert_eq!(patch.check(), Ok(()));
        for (lie, tell) in lies {
            let mut patch = patch.clone();
            tell(&mut patch);
            assert!(patch.check().is_err(), "{lie}: {:?}", patch.touched);
        }
    }
}

#[test]
fn a_container_does_not_come_with_one_member_twice_or_within_itself() {
    let with = format!("{TWO}\nmod m {{\n    fn a() {{}}\n\n    fn b() {{}}\n}}\n");
    let (_, honest) = patch("a.rs", TWO, &with);
    assert_eq!(honest.check(), Ok(()));
    for (at, is_own) in [(0, false), (1, false), (0, true), (1, true)] {
        let mut lie = honest.clone();
        for op in &mut lie.ops {
            if let Op::Insert { unit, members, .. } = op {
                // Nothing is told of what came with it.
                lie.touched.retain(|row| !members.contains(&row.unit));
                members[at] = if is_own { *unit } else { members[1 - at] };
            }
        }
        assert!(lie.check().is_err(), "{at} {is_own}");
    }
}

#[test]
fn a_whole_file_lands_only_with_the_versions_that_it_tells() {
    let base = fresh("a.rs", TWO.as_bytes());
    let here = next(&base, TWO.replace("    1", "    10").as_bytes());
    let after = next(&here, TWO.replace("    1", "    100").as_bytes());
    let mut patch = extract(None, Some(&after)).unwrap();
    let (file, one) = (patch.touched[0].clone(), id(&base, "one"));
    patch.touched = vec![file, row(&here, &after, one)];
    patch.ops = vec![Op::File {
        base: Some(here.hash()),
        base_text: Some(Text(here.bytes.to_vec())),
        text: Some(Text(after.bytes.to_vec())),
    }];
    let older = BTreeSet::from([one]);
    let (applied, _) = land(Some(&here), &patch, &landing(&older)).unwrap();
    assert_eq!(applied.bytes(), Some(&after.bytes[..]));
    // Told of a version that the text does not make, and of a unit as gone that it does not have.
    patch.touched[1].after = base.outline.units.first().map(|unit| unit.own_hash);
    let refusal = land(Some(&here), &patch, &landing(&older)).unwrap_err();
    assert!(
        matches!(refusal, Refusal::BaseMismatch { unit, .. } if unit == one),
        "{refusal:?}"
    );
    patch.touched[1].after = None;
    let (applied, landed) = land(Some(&here), &patch, &landing(&older)).unwrap();
    let left = applied.after.unwrap();
    assert_eq!(left.position(one), None);
    assert!(
        matches!(&landed.ops[..], [Op::File { text: Some(text), .. }] if text.bytes() == &left.bytes[..])
    );
}

/// What a patch tells of a unit.
fn row(before: &Indexed, after: &Indexed, unit: UnitId) -> Touched {
    let hash = |file: &Indexed| Some(file.outline.units[file.position(unit)?].own_hash);
    Touched {
        unit,
        name: "one".to_owned(),
        before: hash(before),
        after: hash(after),
    }
}

fn patch(path: &str, before: &str, after: &str) -> (Indexed, FilePatch) {
    let before = fresh(path, before.as_bytes());
    let after = next(&before, after.as_bytes());
    let patch = extract(Some(&before), Some(&after)).unwrap();
    (before, patch)
}

fn id(file: &Indexed, name: &str) -> UnitId {
    let mut units = file.outline.units.iter();
    file.ids[units.position(|unit| unit.qualified == name).unwrap()]
}

fn landing(older: &BTreeSet<UnitId>) -> Landing<'_> {
    Landing {
        older,
        is_newer: &|_| false,
        is_back: false,
        is_seen: false,
    }
}
