//! What open conflicts cost, whatever somebody claims.

#![allow(clippy::unwrap_used, missing_docs)]

use std::cell::Cell;

use aura_engine::peer::{
    body::{Cause, PatchBody, VersionId},
    units::{Origin, Recorded, Units},
};
use aura_proto::{Incarnation, PeerId, Writer};
use aura_semantic::{ContentHash, FilePatch, Op, Touched, UnitId};

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
