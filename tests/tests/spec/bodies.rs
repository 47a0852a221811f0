//! Bodies of entries and facts of the Mothership, with their parts and bytes.

use aura_engine::{
    hub::record::{Admitted, Fact},
    peer::{
        activity::{ActivityBody, Spot},
        agreement::{Holding, PatchSet, StateBody},
        body::{Cause, EntryRef, INTENT_ENTRIES_MAX, IntentBody, PatchBody, VersionId},
        mail::{EntryName, MessageBody},
        units::Origin,
    },
};
use aura_proto::{
    Digest, Incarnation, PeerId, Writer, codec,
    message::{Role, RoutedBody},
    zone::{Covered, Place, Sealed, Tag, ZoneBody, ZoneDetails, ZoneMode},
};
use aura_semantic::{ContentHash, FilePatch, Op, OwnText, Text, Touched, UnitId, UnitKind};
use aura_trust::{KeyBody, KeyWrap, LastAccepted, MemberCard, MembershipBody};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    golden::{bytes, golden, hex, vectors},
    messages::{LOG, peer},
    second,
    trace::{Node, trace},
};

/// A body with what it must read back to.
struct Sample {
    name: String,
    node: Node,
    bytes: Vec<u8>,
}

fn sample<T>(name: impl Into<String>, value: &T) -> Sample
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let bytes = codec::encode(value);
    assert_eq!(&codec::decode::<T>(&bytes).unwrap(), value);
    Sample {
        name: name.into(),
        node: trace(value),
        bytes,
    }
}

/// Every body and fact.
pub(crate) fn nodes() -> Vec<Node> {
    samples().into_iter().map(|sample| sample.node).collect()
}

fn samples() -> Vec<Sample> {
    let mut samples = team();
    samples.extend(patches().iter().map(|(name, patch)| sample(*name, patch)));
    samples.push(sample("intent", &intent()));
    samples.push(sample("state", &state()));
    let answer = RoutedBody::Answer {
        id: [3; 16],
        passed: vec![PeerId([4; 32])],
    };
    samples.push(sample("a message that wants an answer", &RoutedBody::Probe));
    samples.push(sample("the answer to a message", &answer));
    samples.extend(zones().iter().map(|(name, body)| sample(*name, body)));
    samples.push(sample("what a zone covers", &zone_details()));
    samples.extend(messages().iter().map(|(name, body)| sample(*name, body)));
    samples.push(sample("what is edited", &activity()));
    samples.extend(facts().iter().map(|(name, fact)| sample(*name, fact)));
    samples
}

fn activity() -> ActivityBody {
    let spot = |unit, ago_ms| Spot {
        path: "src/risk.rs".to_owned(),
        unit,
        ago_ms,
    };
    ActivityBody {
        channel: "refs/heads/main".to_owned(),
        spots: vec![
            spot(Some((UnitId([5; 16]), "score".to_owned())), 0),
            spot(None, 61_000),
        ],
    }
}

fn messages() -> [(&'static str, MessageBody); 2] {
    let named = EntryName {
        peer: peer(2),
        incarnation: Incarnation(7),
        author_seq: 301,
    };
    let text = MessageBody::Text {
        to: vec![peer(1)],
        about: Some("src/risk.rs::score".to_owned()),
        re: Some(named),
        is_urgent: false,
        text: "ok?".to_owned(),
    };
    let ack = MessageBody::Ack { of: named };
    [("a message", text), ("note of a message", ack)]
}

fn zone_details() -> ZoneDetails {
    let covered = |unit| Covered {
        path: "src/risk.rs".to_owned(),
        unit,
    };
    ZoneDetails {
        covers: vec![covered(None), covered(Some(([5; 16], "score".to_owned())))],
        branch: Some("refs/heads/main".to_owned()),
        text: "invoices".to_owned(),
    }
}

fn zones() -> [(&'static str, ZoneBody); 6] {
    let details = Sealed {
        key_epoch: 1,
        bytes: vec![7; 40],
    };
    let claim = |mode| ZoneBody::Claim {
        mode,
        branch: Some(Tag([2; 16])),
        places: vec![Place {
            above: vec![Tag([3; 16]), Tag([4; 16])],
            own: Tag([5; 16]),
        }],
        ttl_ms: 3_600_000,
        takes: false,
        details: details.clone(),
    };
    let ask = ZoneBody::Ask {
        fence: 300,
        details: details.clone(),
    };
    let answer = ZoneBody::Answer {
        ask: 301,
        grants: true,
        details: details.clone(),
    };
    let extend = ZoneBody::Extend {
        fence: 300,
        ttl_ms: 7_200_000,
    };
    [
        ("a claim that warns", claim(ZoneMode::Warn)),
        ("a claim that blocks", claim(ZoneMode::Block)),
        ("the end of a zone", ZoneBody::End { fence: 300 }),
        ("a zone that lasts longer", extend),
        ("a question about a zone", ask),
        ("the answer about a zone", answer),
    ]
}

fn card(n: u8, role: Role) -> MemberCard {
    MemberCard {
        peer: peer(n),
        name: format!("peer-{n}"),
        role,
        receive_key: [n + 100; 32],
        receive_key_signature: vec![n; 64],
    }
}

fn team() -> Vec<Sample> {
    let last = LastAccepted {
        log: LOG,
        incarnation: Incarnation(7),
        author_seq: 300,
    };
    let genesis = MembershipBody::Genesis {
        team_name: "acme".to_owned(),
        founder: card(1, Role::Admin),
    };
    let remove = MembershipBody::Remove {
        peer: peer(2),
        reason: "laptop sold".to_owned(),
        last_accepted: vec![last],
    };
    let set_role = MembershipBody::SetRole {
        peer: peer(2),
        role: Role::Observer,
    };
    let set_key = MembershipBody::SetReceiveKey {
        receive_key: [9; 32],
        receive_key_signature: vec![8; 64],
    };
    let wrap = |n| KeyWrap {
        peer: peer(n),
        wrapped: vec![n; 80],
    };
    let key = KeyBody {
        epoch: 2,
        parent: Digest([3; 32]),
        commitment: Digest([4; 32]),
        wraps: vec![wrap(1), wrap(2)],
    };
    vec![
        sample("genesis", &genesis),
        sample("add", &MembershipBody::Add(card(2, Role::Member))),
        sample("remove", &remove),
        sample("set role", &set_role),
        sample("set receive key", &set_key),
        sample("key", &key),
    ]
}

fn intent() -> IntentBody {
    let named = |author_seq| EntryRef {
        incarnation: Incarnation(7),
        author_seq,
    };
    IntentBody {
        why: "a higher cap".to_owned(),
        entries: vec![named(301), named(302)],
    }
}

fn state() -> StateBody {
    let text = Text::from("fn f() {}\n");
    StateBody {
        channel: "refs/heads/main".to_owned(),
        path: "src/a.rs".to_owned(),
        holding: Holding {
            patches: PatchSet([5; 16]),
            blob: Some("4b825dc642cb6eb9a060e54bf8d69288fbee4904".to_owned()),
            is_complete: true,
            content: Some(ContentHash::of(text.bytes())),
        },
        text: Some(text),
    }
}

fn unit(n: u8) -> UnitId {
    UnitId([n; 16])
}

fn content(n: u8) -> ContentHash {
    ContentHash([n; 32])
}

fn patch(cause: Cause, ops: Vec<Op>, touched: Vec<Touched>) -> PatchBody {
    PatchBody {
        channel: "refs/heads/main".to_owned(),
        commit: "4b825dc642cb6eb9a060e54bf8d69288fbee4904".to_owned(),
        cause,
        why: None,
        parents: vec![vec![VersionId([1; 16]), VersionId([2; 16])]; touched.len()],
        patch: FilePatch {
            path: "src/risk.rs".to_owned(),
            base: Some(content(1)),
            result: Some(content(2)),
            ops,
            touched,
        },
    }
}

fn touched(before: Option<u8>, after: Option<u8>) -> Vec<Touched> {
    vec![Touched {
        unit: unit(3),
        name: "Risk::score".to_owned(),
        before: before.map(content),
        after: after.map(content),
    }]
}

fn replace() -> Op {
    Op::Replace {
        unit: unit(3),
        name: "score".to_owned(),
        base: content(4),
        base_text: OwnText::leaf(b"fn score() {}\n"),
        text: OwnText::leaf(b"fn score() { 1 }\n"),
    }
}

fn rename() -> Op {
    let container = |foot: &str| OwnText {
        head: "impl Risk {\r\n".into(),
        foot: Some(foot.into()),
    };
    Op::Rename {
        unit: unit(3),
        from: "Risk".to_owned(),
        to: "Chance".to_owned(),
        base: content(4),
        base_text: container("}"),
        text: container("}\n"),
    }
}

fn delete() -> Op {
    Op::Delete {
        unit: unit(3),
        name: "score".to_owned(),
        base: content(4),
        base_text: Text(b"fn score() {}\xff".to_vec()),
    }
}

fn relocate() -> Op {
    Op::Move {
        unit: unit(3),
        name: "score".to_owned(),
        parent: Some(unit(4)),
        after: Some(unit(5)),
        before: Some(unit(6)),
        gap: "\n\n".into(),
    }
}

fn gap() -> Op {
    Op::Gap {
        parent: Some(unit(4)),
        after: Some(unit(3)),
        next: Some(unit(5)),
        base_text: "\n".into(),
        text: "\n// two\n".into(),
    }
}

fn file(base: Option<&str>, text: Option<&str>) -> Op {
    Op::File {
        base: base.map(|base| ContentHash::of(base.as_bytes())),
        base_text: base.map(Into::into),
        text: text.map(Into::into),
    }
}

/// One patch of each operation, kind of unit and cause.
fn patches() -> Vec<(&'static str, PatchBody)> {
    let why = PatchBody {
        why: Some("a higher cap".to_owned()),
        ..patch(Cause::Edit, vec![replace()], touched(Some(4), Some(5)))
    };
    let files = vec![
        file(None, Some("a")),
        file(Some("a"), Some("b")),
        file(Some("b"), None),
    ];
    let row = |name, cause, ops, touched| (name, patch(cause, ops, touched));
    vec![
        ("replace", why),
        row(
            "rename",
            Cause::Undo,
            vec![rename()],
            touched(Some(4), Some(5)),
        ),
        row(
            "delete",
            Cause::Resolve,
            vec![delete()],
            touched(Some(4), None),
        ),
        row(
            "move and gap",
            Cause::Merge,
            vec![relocate(), gap()],
            touched(Some(4), Some(4)),
        ),
        row("insert", Cause::Edit, inserts(), touched(None, Some(5))),
        row("files", Cause::Edit, files, Vec::new()),
    ]
}

/// An insertion of every kind of unit.
fn inserts() -> Vec<Op> {
    let kinds = [
        UnitKind::Class,
        UnitKind::Constant,
        UnitKind::Declaration,
        UnitKind::File,
        UnitKind::Function,
        UnitKind::Impl,
        UnitKind::Import,
        UnitKind::Macro,
        UnitKind::Method,
        UnitKind::Module,
        UnitKind::Statement,
        UnitKind::Type,
    ];
    let insert = |(n, kind): (u8, UnitKind)| Op::Insert {
        unit: unit(n),
        kind,
        name: format!("unit_{n}"),
        parent: (n % 2 == 0).then(|| unit(100)),
        after: (n % 3 == 0).then(|| unit(101)),
        before: (n % 5 == 0).then(|| unit(102)),
        gap: "\n".into(),
        text: "x".into(),
        members: (0..n % 3).map(|member| unit(200 + member)).collect(),
    };
    (1..).zip(kinds).map(insert).collect()
}

/// One fact of each variant.
pub(crate) fn facts() -> Vec<(&'static str, Fact)> {
    let at_ms = 1_800_000_000_000;
    let jti = || "abcdefghijklmnopqrstuvwxyz".to_owned();
    let member = Admitted {
        peer: peer(1),
        name: "alice".to_owned(),
        role: Role::Admin,
        receive_key: [2; 32],
        receive_key_signature: vec![3; 64],
        certificate: vec![4; 300],
        not_after_s: 1_800_604_800,
        founder: true,
    };
    vec![
        (
            "founded",
            Fact::Founded {
                team_name: "acme".to_owned(),
                at_ms,
            },
        ),
        (
            "joined",
            Fact::Joined {
                member,
                jti: jti(),
                uses: 1,
                at_ms,
            },
        ),
        (
            "renewed",
            Fact::Renewed {
                peer: peer(1),
                certificate: vec![5; 300],
                not_after_s: 1_801_209_600,
                at_ms,
            },
        ),
        (
            "revoked",
            Fact::Revoked {
                peer: peer(1),
                reason: "laptop sold".to_owned(),
                at_ms,
            },
        ),
        (
            "token made",
            Fact::TokenMade {
                jti: jti(),
                name: Some("bob".to_owned()),
                role: Role::Member,
                uses: 10_000,
                expires_s: 1_800_086_400,
                at_ms,
            },
        ),
        ("token revoked", Fact::TokenRevoked { jti: jti(), at_ms }),
    ]
}

#[test]
fn every_body_has_its_bytes_and_reads_back() {
    let rows: Vec<_> = samples()
        .iter()
        .map(|sample| {
            json!({
                "name": sample.name,
                "parts": sample.node.parts(),
                "bytes": hex(&sample.bytes),
            })
        })
        .collect();
    golden("bodies.json", &rows);
}

// spec: framing/3.6
#[test]
fn bodies_have_the_bytes_that_the_pages_give_them() {
    for vector in vectors("bodies.json") {
        let parts = vector["parts"].as_array().unwrap();
        assert_eq!(
            second::value(parts),
            bytes(&vector, "bytes"),
            "{}",
            vector["name"]
        );
    }
}

// spec: patch/2.5
#[test]
fn a_patch_needs_parents_for_each_touched_unit() {
    for (name, body) in patches() {
        assert_eq!(PatchBody::decode(body.encode()).unwrap(), body, "{name}");
        let more = PatchBody {
            parents: [&body.parents[..], &[Vec::new()]].concat(),
            ..body
        };
        assert!(PatchBody::decode(more.encode()).is_err(), "{name}");
    }
}

// spec: patch/5.3
#[test]
fn an_intent_names_some_entries_and_not_too_many_and_is_read_back() {
    let named = intent().entries[0];
    let with = |entries| IntentBody {
        entries,
        ..intent()
    };
    assert_eq!(IntentBody::decode(intent().encode()).unwrap(), intent());
    assert!(intent().check().is_ok());
    assert!(with(Vec::new()).check().is_err());
    assert!(with(vec![named; INTENT_ENTRIES_MAX]).check().is_ok());
    assert!(with(vec![named; INTENT_ENTRIES_MAX + 1]).check().is_err());
    let long = IntentBody {
        why: "y".repeat((64 << 10) + 1),
        ..intent()
    };
    assert!(long.check().is_err());
}

// spec: patch/6.1, patch/6.3
#[test]
fn a_state_is_read_back_and_says_what_its_text_is() {
    assert_eq!(StateBody::decode(state().encode()).unwrap(), state());
    assert!(state().check().is_ok());
    let mut other = state();
    other.text = Some(Text::from("fn g() {}\n"));
    assert!(other.check().is_err());
    for path in ["../a.rs", ".git/config", "a\u{202e}.rs"] {
        let path = path.to_owned();
        assert!(StateBody { path, ..state() }.check().is_err());
    }
    let mut long = state();
    long.holding.blob = Some("b".repeat(65));
    assert!(long.check().is_err());
}

// spec: patch/6.2
#[test]
fn a_set_of_patches_is_called_the_same_in_whatever_order_they_came() {
    let origin = |author_seq| Origin {
        writer: Writer {
            peer: peer(1),
            incarnation: Incarnation(7),
        },
        author_seq,
        lsn: 0,
        time_ms: 0,
        seq: None,
    };
    let set = |numbers: &[u64]| {
        let mut set = PatchSet::default();
        numbers.iter().for_each(|number| set.add(&origin(*number)));
        set
    };
    assert_eq!(set(&[1, 2, 3]), set(&[3, 1, 2]));
    assert_ne!(set(&[1, 2]), set(&[1, 3]));
    let mut hasher = blake3::Hasher::new_derive_key("aura/v1/patch-set");
    hasher.update(&peer(1).0);
    hasher.update(&7_u64.to_be_bytes());
    hasher.update(&1_u64.to_be_bytes());
    assert_eq!(set(&[1]).0, hasher.finalize().as_bytes()[..16]);
}
