//! What open conflicts cost, whatever somebody claims.

#![allow(clippy::unwrap_used, missing_docs)]

use std::cell::Cell;

use aura_engine::peer::{
    body::{Cause, PatchBody, VersionId},
    units::{Made, Origin, Recorded, Units},
};
use aura_proto::{Incarnation, PeerId, Writer, limits::BODY_BYTES_MAX};
use aura_semantic::{Budget, ContentHash, FilePatch, Op, Touched, UnitId, extract, index};

fn unit(n: u32) -> UnitId {
    let mut id = [9; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    UnitId(id)
}

/// A row and the versions that it follows.
type Row = (Touched, Vec<VersionId>);

fn row(n: u32, after: u8, parents: &[VersionId]) -> Row {
    let touched = Touched {
        unit: unit(n),
        name: format!("f{n}"),
        before: None,
        after: Some(ContentHash([after; 32])),
    };
    (touched, parents.to_vec())
}

/// A patch of a file that tells whatever it likes.
fn body(path: &str, rows: Vec<Row>) -> PatchBody {
    let text = Some("x".into());
    let (touched, parents) = rows.into_iter().unzip();
    PatchBody {
        channel: "main".to_owned(),
        commit: String::new(),
        cause: Cause::Edit,
        why: None,
        patch: FilePatch {
            path: path.to_owned(),
            base: None,
            result: None,
            ops: vec![Op::File {
                base: None,
                base_text: None,
                text,
            }],
            touched,
        },
        parents,
    }
}

fn told(bodies: &[PatchBody]) -> Units {
    let mut units = Units::new(PeerId([2; 32]), "main");
    for (k, body) in (0..).zip(bodies) {
        let peer = PeerId([1; 32]);
        let incarnation = Incarnation(1);
        let origin = Origin {
            writer: Writer { peer, incarnation },
            author_seq: k + 1,
            lsn: k,
            time_ms: 0,
            seq: Some(k + 1),
        };
        units.record(body, origin);
    }
    units
}

#[test]
fn a_patch_is_read_once_for_texts_that_it_does_not_carry() {
    // Two sides of many units with texts that patch after patch claims to have.
    let claims = (0..12_u32).map(|n| {
        let claimed = [row(1_000 + n, 1, &[]), row(1_000 + n + 20, 2, &[])];
        body(&format!("claims/{n}"), claimed.into())
    });
    let side = |after| (0..50).map(|n| row(n, after, &[])).collect();
    let sides = [body("a", side(1)), body("a", side(2))];
    let bodies: Vec<PatchBody> = claims.chain(sides).collect();
    let units = told(&bodies);
    let reads = Cell::new(0);
    let read = |recorded: &Recorded| {
        reads.set(reads.get() + 1);
        bodies
            .get(usize::try_from(recorded.origin.lsn).ok()?)
            .cloned()
    };
    for _ in 0..3 {
        assert_eq!(units.open_conflicts(&read).len(), 50);
    }
    assert!(reads.get() <= bodies.len(), "{} reads", reads.get());
}

#[test]
fn a_version_told_in_another_file_is_not_told_here() {
    let one = body("a", vec![row(1, 1, &[])]);
    let (_, version, _) = one.versions().next().unwrap();
    let lies = [
        body("b", vec![row(1, 2, &[version])]),
        body("b", vec![row(1, 3, &[version])]),
    ];
    let alone = told(std::slice::from_ref(&one));
    // Before and after what they lie about.
    for at in [0, 1] {
        let mut bodies = lies.to_vec();
        bodies.insert(at * 2, one.clone());
        let units = told(&bodies);
        assert_eq!(units.heads("a", unit(1)), [version]);
        for content in 1..4 {
            let content = Some(ContentHash([content; 32]));
            let working = |units: &Units| units.working("a", unit(1), content);
            assert_eq!(working(&units), working(&alone));
        }
        let conflicts = units.conflicts(&|_| None, &|_, _| None);
        assert!(conflicts.iter().all(|conflict| conflict.path == "b"));
    }
}

/// Processor time of this thread, in milliseconds.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<u64>().unwrap() / 1_000_000
}

/// Patches of one file that each tell one version of every unit, and what it follows.
fn rounds(rounds: u32, units: u32, parents: impl Fn(u32, u32) -> Vec<VersionId>) -> Vec<PatchBody> {
    let rows = |k| (0..units).map(|n| row_of(n, k, &parents(n, k))).collect();
    (0..rounds).map(|k| body("a", rows(k))).collect()
}

fn row_of(n: u32, content: u32, parents: &[VersionId]) -> Row {
    let (mut touched, parents) = row(n, 0, parents);
    touched.after = Some(content_of(content));
    (touched, parents)
}

fn content_of(n: u32) -> ContentHash {
    ContentHash::of(&n.to_be_bytes())
}

#[test]
fn what_a_version_costs_does_not_depend_on_how_many_there_are() {
    let heads = |count| rounds(count, 200, |_, _| Vec::new());
    let mut chains = Vec::new();
    for count in [50, 200] {
        let mut tips: Vec<Vec<VersionId>> = vec![Vec::new(); 200];
        let mut chain = Vec::new();
        for k in 0..count {
            let round = body(
                "a",
                (0..200).map(|n| row_of(n, k, &tips[n as usize])).collect(),
            );
            tips = round
                .versions()
                .map(|(_, version, _)| vec![version])
                .collect();
            chain.push(round);
        }
        chain.reverse();
        chains.push(chain);
    }
    let wide = |n| -> Vec<VersionId> {
        let root = |p| VersionId::of(unit(n), &[], Some(content_of(p)));
        (0..500).map(root).collect()
    };
    let wide_rounds = |count| {
        rounds(
            count,
            8,
            |n, k| if k < count / 2 { wide(n) } else { Vec::new() },
        )
    };
    let long = chains.pop().unwrap();
    let cases = [
        ("heads", heads(50), heads(200)),
        ("a chain from its end", chains.pop().unwrap(), long),
        ("wide versions", wide_rounds(50), wide_rounds(200)),
    ];
    for (name, few, many) in cases {
        let cost = |bodies: &[PatchBody]| {
            let begun = cpu_ms();
            told(bodies);
            cpu_ms() - begun
        };
        let (few, many) = (cost(&few), cost(&many));
        // Four times as many: squares would cost sixteen times as much.
        assert!(many < 8 * few + 200, "{name}: {few} ms, then {many} ms");
    }
}

#[test]
fn s06_heads_are_the_same_in_whatever_order_they_were_told_and_from_wherever_they_are_seen() {
    let on = |channel: &str, mut body: PatchBody| {
        body.channel = channel.to_owned();
        body
    };
    let version = |body: &PatchBody| body.versions().next().unwrap().1;
    let first = on("main", body("a", vec![row(1, 1, &[])]));
    let second = on("side", body("a", vec![row(1, 2, &[version(&first)])]));
    let third = on("main", body("a", vec![row(1, 3, &[version(&second)])]));
    let apart = on("main", body("a", vec![row(1, 4, &[version(&first)])]));
    let mut both = [version(&third), version(&apart)];
    both.sort_unstable();
    let bodies = [first, second.clone(), third, apart];
    for shift in 0..bodies.len() {
        let mut turned = bodies.clone();
        turned.rotate_left(shift);
        for turned in [
            turned.clone(),
            turned
                .into_iter()
                .rev()
                .collect::<Vec<_>>()
                .try_into()
                .unwrap(),
        ] {
            let mut units = told(&turned);
            assert_eq!(units.heads("a", unit(1)), both);
            units.set_channel("side");
            assert_eq!(units.heads("a", unit(1)), [version(&second)]);
            units.set_channel("main");
            assert_eq!(units.heads("a", unit(1)), both);
        }
    }
}

#[test]
fn a_file_of_many_functions_is_one_patch_and_names_that_were_made_up_are_refused() {
    let text: String = (0..15_000).map(|n| format!("fn f{n}() {{}}\n\n")).collect();
    let file = index("a.rs", text.as_bytes(), None, &Budget::default());
    let patch = extract(None, Some(&file)).unwrap();
    let units = Units::new(PeerId([2; 32]), "main");
    let honest = units.body(patch, Made::default(), &|_| false).unwrap();
    assert_eq!(honest.check(), Ok(()));
    let bytes = honest.encode();
    assert!(bytes.len() < BODY_BYTES_MAX);
    assert_eq!(PatchBody::decode(bytes), Ok(honest.clone()));
    let mut lie = honest;
    for (n, row) in (0..).zip(&mut lie.patch.touched[1..]) {
        (row.unit, row.after) = (unit(n), Some(ContentHash([7; 32])));
    }
    assert!(PatchBody::decode(lie.encode()).is_err());
}
