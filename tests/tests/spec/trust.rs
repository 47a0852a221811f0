//! Keys, signatures, sealing, wraps, certificates and tokens.

use aura_proto::{
    Digest, Incarnation, Kind, LogId, PeerId, Reach, SignedActivity, TeamId, Visibility, Writer,
    message::{Role, RoutedBody},
};
use aura_trust::{
    Ca, CertIdentity, IdentityKey, InviteSeed, JoinClaims, JoinPolicy, JoinTranscript, KeyRing,
    Letter, Purpose, ReceiveKey, RenewTranscript, SealContext, Side, Subject, TeamKey, TlsKey,
    Token, auth_proof, check_join_jwt, commit, identity_proof, open, open_ring_from_invite,
    open_routed, renew_proof, seal, seal_ring_for_invite, seal_routed, seed_proof, sign_activity,
    sign_reach, sign_receive_key, unwrap_key, words, wrap_key,
};
use serde_json::{Value, json};

use crate::{
    golden::{array, bytes, golden, hex, text, unhex, vectors},
    messages::{LOG, TEAM},
    second,
};

const IDENTITY: [u8; 32] = [1; 32];
const SEED: [u8; 32] = [2; 32];
const TLS: [u8; 32] = [3; 32];
const RECEIVE: [u8; 32] = [4; 32];
const AUTHORITY: [u8; 32] = [5; 32];
const MOTHERSHIP: [u8; 32] = [6; 32];
const EXPORTER: [u8; 32] = [7; 32];
const SECRET: [u8; 32] = [8; 32];
const JTI: [u8; 16] = [9; 16];
const NOW_S: u64 = 1_800_000_000;

fn identity() -> IdentityKey {
    IdentityKey::from_seed(IDENTITY)
}

fn key(epoch: u32) -> TeamKey {
    TeamKey::new(epoch, SECRET)
}

fn ca() -> Ca {
    Ca::create(AUTHORITY, [0x11; 16], NOW_S, "acme").unwrap()
}

/// A signature with the purpose and the parts that it covers.
fn signature(
    name: &str,
    purpose: Purpose,
    seed: &[u8; 32],
    parts: &[&[u8]],
    made: [u8; 64],
) -> Value {
    let text = std::str::from_utf8(purpose.prefix())
        .unwrap()
        .trim_end_matches('\0');
    json!({
        "what": "signature",
        "name": name,
        "purpose": text,
        "seed": hex(seed),
        "parts": parts.iter().map(|part| hex(part)).collect::<Vec<_>>(),
        "signature": hex(&made),
    })
}

fn where_a_peer_is(key: &IdentityKey) -> Value {
    let addresses = ["10.0.1.5:7777", "[fd00::5]:7777"];
    let reach = Reach {
        counter: 1_800_000_000,
        visibility: Visibility::Open,
        addresses: addresses.map(|text| text.parse().unwrap()).to_vec(),
    };
    let team = TeamId([0xaa; 16]);
    // As the page lays it out, and not as the product does.
    let reach_signed = [
        &team.0[..],
        &1_800_000_000_u64.to_be_bytes(),
        &[0, 2],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 1, 5],
        &7_777_u16.to_be_bytes(),
        &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5],
        &7_777_u16.to_be_bytes(),
    ]
    .concat();
    let said = sign_reach(key, team, reach);
    signature(
        "where a peer is",
        Purpose::Reach,
        &IDENTITY,
        &[&reach_signed],
        said.signature.try_into().unwrap(),
    )
}

fn what_is_edited(key: &IdentityKey) -> Value {
    let unsigned = SignedActivity {
        log: LogId([0xbb; 16]),
        writer: Writer {
            peer: key.peer(),
            incarnation: Incarnation(7),
        },
        counter: 1_800_000_000_000,
        key_epoch: 1,
        sealed: vec![0xcc; 50],
        signature: Vec::new(),
    };
    let parts: [&[u8]; 7] = [
        &TEAM.0,
        &[0xbb; 16],
        &key.peer().0,
        &7_u64.to_be_bytes(),
        &1_800_000_000_000_u64.to_be_bytes(),
        &1_u32.to_be_bytes(),
        &[0xcc; 50],
    ];
    let said = sign_activity(key, TEAM, unsigned);
    let made = said.signature.try_into().unwrap();
    signature("what is edited", Purpose::Activity, &IDENTITY, &parts, made)
}

fn passed_on(key: &IdentityKey) -> Value {
    let to = ReceiveKey::from_seed(RECEIVE);
    let letter = Letter {
        team: TEAM,
        id: [0x44; 16],
        to: PeerId([0x55; 32]),
        receive_key: &to.public(),
        time_ms: 1_800_000_000_000,
        body: &RoutedBody::Probe,
    };
    let routed = seal_routed(key, &letter, [0x66; 32]).unwrap();
    assert_eq!(open_routed(&to, TEAM, &routed), Some(RoutedBody::Probe));
    let parts: [&[u8]; 6] = [
        &TEAM.0,
        &[0x44; 16],
        &key.peer().0,
        &[0x55; 32],
        &1_800_000_000_000_u64.to_be_bytes(),
        &routed.sealed,
    ];
    let signature_of = routed.signature.clone().try_into().unwrap();
    let name = "a message that others pass on";
    signature(name, Purpose::Routed, &IDENTITY, &parts, signature_of)
}

fn signatures() -> Vec<Value> {
    let (key, csr) = (identity(), TlsKey::from_seed(TLS).csr());
    let receive = ReceiveKey::from_seed(RECEIVE).public();
    let join = JoinTranscript {
        jti: &JTI,
        peer: key.peer(),
        receive_key: &receive,
        csr: &csr,
        exporter: &EXPORTER,
    };
    let renew = RenewTranscript {
        peer: key.peer(),
        csr: &csr,
        exporter: &EXPORTER,
    };
    let invite = InviteSeed::new(SEED);
    let invite_seed = *invite.key().to_bytes();
    let (peer, hash) = (key.peer().0, Digest::of(&csr).0);
    let joined: [&[u8]; 5] = [&JTI, &peer, &receive, &hash, &EXPORTER];
    vec![
        signature(
            "a dialler's AUTH",
            Purpose::Auth,
            &IDENTITY,
            &[&[1], &EXPORTER],
            auth_proof(&key, &EXPORTER, Side::Dialler),
        ),
        signature(
            "an answerer's AUTH",
            Purpose::Auth,
            &IDENTITY,
            &[&[2], &EXPORTER],
            auth_proof(&key, &EXPORTER, Side::Answerer),
        ),
        signature(
            "identity of a newcomer",
            Purpose::JoinIdentity,
            &IDENTITY,
            &joined,
            identity_proof(&key, &join),
        ),
        signature(
            "seed of a newcomer",
            Purpose::JoinSeed,
            &invite_seed,
            &joined,
            seed_proof(&invite, &join),
        ),
        signature(
            "receive key",
            Purpose::ReceiveKey,
            &IDENTITY,
            &[&receive],
            sign_receive_key(&key, &receive),
        ),
        passed_on(&key),
        where_a_peer_is(&key),
        what_is_edited(&key),
        signature(
            "renewal",
            Purpose::Renew,
            &IDENTITY,
            &[&peer, &hash, &EXPORTER],
            renew_proof(&key, &renew),
        ),
    ]
}

fn derived() -> Vec<Value> {
    let list: Vec<String> = (0..=255).map(|byte| words(&[byte], 1)).collect();
    vec![
        json!({
            "what": "identity key",
            "seed": hex(&IDENTITY),
            "peer": hex(&identity().peer().0),
            "text": identity().peer().to_string(),
        }),
        json!({
            "what": "key of an invite's seed",
            "seed": hex(&SEED),
            "key_seed": hex(&*InviteSeed::new(SEED).key().to_bytes()),
            "public": hex(&InviteSeed::new(SEED).key().peer().0),
        }),
        json!({
            "what": "commitment",
            "secret": hex(&SECRET),
            "commitment": hex(&commit(&key(1)).0),
        }),
        json!({"what": "words of a fingerprint", "words": list.join(" ")}),
    ]
}

fn context(author_seq: u64) -> SealContext {
    SealContext {
        team: TEAM,
        log: LOG,
        writer: Writer {
            peer: identity().peer(),
            incarnation: Incarnation(3),
        },
        author_seq,
        kind: Kind::PATCH,
    }
}

fn sealed() -> Vec<Value> {
    let bodies: [(u32, u64, &[u8]); 3] = [
        (1, 1, b""),
        (1, 2, b"fn score() {}\n"),
        (u32::MAX, u64::MAX, &[0; 100]),
    ];
    let row = |(epoch, author_seq, plain): (u32, u64, &[u8])| {
        let (key, context, nonce) = (key(epoch), context(author_seq), [0x24; 24]);
        let sealed = seal(&key, &context, nonce, plain);
        assert_eq!(open(&key, &context, &sealed).unwrap(), plain);
        json!({
            "what": "sealed body",
            "team_key": hex(&SECRET),
            "epoch": epoch,
            "team": hex(&TEAM.0),
            "log": hex(&LOG.0),
            "author": hex(&context.writer.peer.0),
            "incarnation": 3,
            "author_seq": author_seq,
            "kind": 1,
            "nonce": hex(&nonce),
            "plain": hex(plain),
            "sealed": hex(&sealed),
        })
    };
    bodies.map(row).into()
}

fn wrapped() -> Value {
    let receive = ReceiveKey::from_seed(RECEIVE);
    let (key, peer) = (key(2), identity().peer());
    let wrapped = wrap_key(&key, &receive.public(), TEAM, peer, [0x33; 32]).unwrap();
    unwrap_key(&receive, TEAM, peer, 2, commit(&key), &wrapped).unwrap();
    json!({
        "what": "wrapped team key",
        "receive_seed": hex(&RECEIVE),
        "receive_key": hex(&receive.public()),
        "team": hex(&TEAM.0),
        "peer": hex(&peer.0),
        "epoch": 2,
        "secret": hex(&SECRET),
        "commitment": hex(&commit(&key).0),
        "wrapped": hex(&wrapped),
    })
}

fn certificates() -> Vec<Value> {
    let ca = ca();
    let csr = TlsKey::from_seed(TLS).csr();
    let leaf = |role, name: &str| {
        let subject = Subject {
            team: ca.team(),
            role,
            peer: identity().peer(),
            name: name.to_owned(),
        };
        let der = ca
            .issue(&csr, &subject, [0x22; 16], NOW_S, 7 * 86_400)
            .unwrap();
        let read = CertIdentity::from_der(&der).unwrap();
        assert_eq!((read.role, read.peer), (role, subject.peer));
        json!({
            "what": "leaf certificate",
            "uri": format!("aura://{}/{}/{}", ca.team(), role.as_str(), subject.peer),
            "not_before_s": read.not_before_s,
            "not_after_s": read.not_after_s,
            "may_dial": read.may_dial,
            "der": hex(&der),
        })
    };
    vec![
        json!({
            "what": "authority",
            "seed": hex(&AUTHORITY),
            "der": hex(ca.certificate()),
            "ca_hash": hex(&ca.public_key_hash()),
            "team": hex(&ca.team().0),
            "team_text": ca.team().to_string(),
        }),
        json!({"what": "certificate request", "tls_seed": hex(&TLS), "der": hex(&csr)}),
        leaf(Role::Member, "alice"),
        leaf(Role::Mothership, "acme"),
    ]
}

fn claims(team: TeamId, ca_hash: [u8; 32], subject: Option<&str>) -> JoinClaims {
    JoinClaims {
        audience: IdentityKey::from_seed(MOTHERSHIP).peer(),
        subject: subject.map(str::to_owned),
        jti: JTI,
        issued_at_s: NOW_S,
        not_before_s: NOW_S,
        expires_s: NOW_S + 86_400,
        role: Role::Member,
        team,
        ca_hash,
        uses: 1,
        seed_key: InviteSeed::new(SEED).key().peer(),
    }
}

fn tokens() -> Vec<Value> {
    let ca = ca();
    let mut ring = KeyRing::new();
    ring.insert(key(1)).unwrap();
    ring.insert(TeamKey::new(3, [0x44; 32])).unwrap();
    let seed = InviteSeed::new(SEED);
    let genesis = Digest([0x66; 32]);
    let sealed = seal_ring_for_invite(genesis, &ring, &seed);
    let opened = open_ring_from_invite(&sealed, &seed).unwrap();
    assert_eq!((opened.0, opened.1.to_bytes()), (genesis, ring.to_bytes()));
    let mut rows = vec![json!({
        "what": "sealed key ring",
        "seed": hex(&SEED),
        "genesis": hex(&genesis.0),
        "ring": hex(&ring.to_bytes()),
        "sealed": hex(&sealed),
    })];
    for (name, subject, sealed_ring) in [
        ("box-made", None, None),
        ("by a member", Some("bob"), Some(sealed)),
    ] {
        let claims = claims(ca.team(), ca.public_key_hash(), subject);
        let issuer = IdentityKey::from_seed(MOTHERSHIP);
        let token = Token {
            endpoints: vec![
                "10.0.1.5:7777".to_owned(),
                "box.example.org:7777".to_owned(),
            ],
            team: ca.team(),
            ca_hash: ca.public_key_hash(),
            expires_s: claims.expires_s,
            seed: InviteSeed::new(SEED),
            jwt: aura_trust::make_join_jwt(&issuer, &claims).into(),
            sealed_ring,
        };
        let text = token.to_text().unwrap();
        let read = Token::parse(&text).unwrap();
        assert_eq!(read.jwt, token.jwt);
        assert_eq!(accepted(&read.jwt), claims);
        rows.push(json!({
            "what": "token",
            "name": name,
            "endpoints": token.endpoints,
            "team": hex(&token.team.0),
            "ca_hash": hex(&token.ca_hash),
            "expires_s": token.expires_s,
            "seed": hex(&SEED),
            "issuer_seed": hex(&MOTHERSHIP),
            "jwt": *token.jwt,
            "ring": token.sealed_ring.as_deref().map(hex),
            "text": *text,
        }));
    }
    rows
}

/// What a Mothership accepts of a JWT.
fn accepted(jwt: &str) -> JoinClaims {
    let mothership = IdentityKey::from_seed(MOTHERSHIP).peer();
    let issuers = |id: &str| id.parse::<PeerId>().ok().filter(|id| *id == mothership);
    let policy = JoinPolicy {
        now_s: NOW_S,
        audience: mothership,
        team: ca().team(),
        issuers: &issuers,
        ttl_s_max: 7 * 86_400,
    };
    check_join_jwt(jwt, &policy).unwrap().claims
}

#[test]
fn keys_seals_certificates_and_tokens_have_their_bytes_and_read_back() {
    let mut rows = signatures();
    rows.extend(derived());
    rows.extend(sealed());
    rows.push(wrapped());
    rows.extend(certificates());
    rows.extend(tokens());
    golden("trust.json", &rows);
}

// spec: identity/1.2, identity/3.10, identity/3.11
#[test]
fn signatures_and_tokens_are_what_the_pages_give() {
    let mut purposes = Vec::new();
    for vector in vectors("trust.json") {
        match text(&vector, "what") {
            "signature" => {
                let purpose = text(&vector, "purpose");
                let parts = vector["parts"].as_array().unwrap().iter();
                let mut signed = format!("{purpose}\0").into_bytes();
                parts.for_each(|part| signed.extend(unhex(part)));
                let made = second::sign(&array(&vector, "seed"), &signed);
                assert_eq!(made, array(&vector, "signature"), "{}", vector["name"]);
                purposes.push(purpose.to_owned());
            }
            "identity key" => {
                assert_eq!(
                    second::public_key(&array(&vector, "seed")),
                    array(&vector, "peer")
                );
            }
            "token" => assert_eq!(second::token(&vector), text(&vector, "text")),
            "key of an invite's seed" => {
                let made = second::hkdf(&bytes(&vector, "seed"), b"", b"aura/v1/invite-key\0");
                assert_eq!(made, array(&vector, "key_seed"));
                assert_eq!(
                    second::public_key(&array(&vector, "key_seed")),
                    array(&vector, "public")
                );
            }
            "commitment" => {
                let made = blake3::derive_key("aura/v1/team-key-commitment", &SECRET);
                assert_eq!(made, array(&vector, "commitment"));
            }
            _ => {}
        }
    }
    // Entries and checkpoints have files of their own.
    for purpose in Purpose::ALL {
        let name = std::str::from_utf8(purpose.prefix())
            .unwrap()
            .trim_end_matches('\0');
        let elsewhere = matches!(purpose, Purpose::Entry | Purpose::Checkpoint);
        assert_eq!(
            purposes.iter().any(|held| held == name),
            !elsewhere,
            "{name}"
        );
    }
}
