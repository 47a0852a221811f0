//! A. Join tokens.

use std::{
    fs,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use aura_net::{Clock, dial_join};
use aura_proto::{
    Code,
    limits::TOKEN_TTL_S_MAX,
    message::{JoinRequest, Role},
};
use aura_trust::{IdentityKey, InviteSeed, JoinClaims, Token, make_join_jwt};
use aws_lc_rs::hmac;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use mothership_tests::{
    papers::{self, HEADER},
    scene::Scene,
    strace::{Fault, Strace},
    wire::{Device, Refused, refused},
};
use serde_json::{Value, json};
use tokio::{sync::Barrier, task::JoinSet};

#[tokio::test(flavor = "multi_thread")]
async fn case_002_of_fifty_devices_with_one_token_one_is_admitted() {
    one_of_many(50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h15_a_token_survives_a_hundred_redemptions_at_once() {
    one_of_many(100).await;
}

/// Sockets that may wait behind one address before anybody asks.
const READY: usize = 50;

/// One token, `count` keys: one is in, and everybody else is told that it was used. Many ask in the same moment.
async fn one_of_many(count: usize) {
    let scene = Scene::new().await;
    let members = scene.peers().len();
    let invite = scene.team.invite();
    let start = Arc::new(Barrier::new(READY));
    let mut joining = JoinSet::new();
    for n in 0..count {
        let (invite, name) = (invite.clone(), format!("p{n}"));
        let start = (n < READY).then(|| Arc::clone(&start));
        joining.spawn(async move { verdict(&invite, &name, start).await });
    }
    let verdicts = joining.join_all().await;
    let told = |verdict| verdicts.iter().filter(|found| **found == verdict).count();
    assert_eq!(told(Ok(())), 1, "{verdicts:?}");
    assert_eq!(told(Err(Code::TOKEN_REPLAYED)), count - 1, "{verdicts:?}");
    assert_eq!(scene.peers().len(), members + 1);
    scene.is_calm().await;
}

/// What becomes of a device that waits for the others before it asks; one whose session took too long in the crowd
/// tries again.
async fn verdict(invite: &str, name: &str, mut start: Option<Arc<Barrier>>) -> Result<(), Code> {
    let token = Token::parse(invite).unwrap();
    loop {
        let dialed = dial_join(&token.endpoints, token.ca_hash).await;
        if let Some(start) = start.take() {
            start.wait().await;
        }
        let Ok(dialed) = dialed else { continue };
        match Device::join_over(dialed, &token, name, |_| {}).await {
            Ok(_) => return Ok(()),
            Err(failure) => match failure.downcast_ref::<Refused>() {
                Some(refused) if refused.code != Code::BYE => return Err(refused.code),
                Some(_) | None => {}
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_004_an_invite_that_ended_ten_seconds_ago_is_expired() {
    let scene = Scene::new().await;
    let now_s = now_s();
    let ended = Invite::new(&scene, |claims| {
        claims.issued_at_s = now_s - 100;
        claims.not_before_s = now_s - 100;
        claims.expires_s = now_s - 10;
    });
    assert_eq!(ended.present(ended.jwt()).await, Err(Code::TOKEN_EXPIRED));
    assert_eq!(scene.peers().len(), 2);
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_005_an_expiry_that_is_no_time_is_invalid() {
    let odd = [
        None,
        Some(json!(format!("{}", now_s() + 100))),
        Some(json!(1e300)),
        Some(json!(-1)),
        Some(json!(i64::MAX)),
    ];
    check(Code::TOKEN_INVALID, |invite| {
        let odd = odd.iter();
        odd.map(|value| invite.with("exp", value.clone())).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_006_an_invite_for_400_days_lives_too_long() {
    let scene = Scene::new().await;
    let long = Invite::new(&scene, |claims| {
        claims.expires_s = claims.issued_at_s + 400 * 86_400;
    });
    let refused = long.present(long.jwt()).await;
    assert_eq!(refused, Err(Code::TOKEN_TTL_TOO_LONG));
    let longest = Invite::new(&scene, |claims| {
        claims.expires_s = claims.issued_at_s + TOKEN_TTL_S_MAX;
    });
    assert_eq!(longest.present(longest.jwt()).await, Ok(()));
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_007_an_audience_other_than_exactly_this_mothership_is_refused() {
    check(Code::TOKEN_AUDIENCE, |invite| {
        let ours = invite.claims.audience.to_string();
        let other = IdentityKey::from_seed([9; 32]).peer().to_string();
        let odd = [None, Some(json!(other)), Some(json!([ours, other]))];
        odd.map(|value| invite.with("aud", value)).to_vec()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_008_an_invite_that_another_mothership_signed_is_refused() {
    check(Code::TOKEN_ISSUER, |invite| {
        let other = IdentityKey::from_seed([9; 32]);
        vec![make_join_jwt(&other, &invite.claims)]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_009_no_spelling_of_the_algorithm_none_passes() {
    check(Code::TOKEN_INVALID, |invite| {
        let unsigned = |alg| {
            let header = json!({ "alg": alg, "typ": "join+jwt" }).to_string();
            format!(
                "{}.",
                papers::unsigned(&header, &invite.payload().to_string())
            )
        };
        ["none", "None", "nOnE", "EdDSA"].map(unsigned).to_vec()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_010_an_hmac_keyed_with_the_public_key_does_not_pass() {
    check(Code::TOKEN_INVALID, |invite| {
        let key = invite.signer.peer().0;
        let spki = [
            &[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0],
            &key[..],
        ]
        .concat();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            BASE64.encode(&spki)
        );
        let header = r#"{"alg":"HS256","typ":"join+jwt"}"#;
        let input = papers::unsigned(header, &invite.payload().to_string());
        let signed = |secret: &[u8]| {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
            format!("{input}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
        };
        vec![signed(pem.as_bytes()), signed(&key)]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_011_a_header_that_points_to_a_key_is_not_followed() {
    let scene = Scene::new().await;
    let keys = TcpListener::bind("127.0.0.1:0").unwrap();
    keys.set_nonblocking(true).unwrap();
    let url = format!("https://{}/keys", keys.local_addr().unwrap());
    let pointers = [
        ("kid", json!("../../../../canary")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", json!("k".repeat(2_000))),
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("jwk", json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA" })),
    ];
    let invite = Invite::new(&scene, |_| {});
    let under = |member: &str, value: &Value| {
        let header = json!({ "alg": "EdDSA", "typ": "join+jwt", member: value });
        papers::jwt(
            &invite.signer,
            &header.to_string(),
            &invite.payload().to_string(),
        )
    };
    let trace = scene.team.dir.path().join("trace");
    let args = [
        "-o",
        trace.to_str().unwrap(),
        "-e",
        "trace=openat,open,connect",
    ];
    let strace = Strace::attach(scene.mothership.pid(), &args);
    for (member, value) in &pointers {
        let refused = invite.present(under(member, value)).await;
        assert_eq!(refused, Err(Code::TOKEN_INVALID), "{member}");
    }
    // So long a header does not even get through to whoever reads tokens.
    let long = under("kid", &json!("k".repeat(64 << 10)));
    assert_eq!(invite.present(long).await, Err(Code::TOO_LARGE));
    drop(strace);
    let calls = fs::read_to_string(trace).unwrap();
    assert!(!calls.contains("canary"), "{calls}");
    assert!(!calls.contains("AF_INET"), "{calls}");
    assert!(keys.accept().is_err(), "somebody asked for the key");
    assert_eq!(scene.peers().len(), 2);
    assert_eq!(invite.present(invite.jwt()).await, Ok(()));
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_012_a_claim_that_appears_twice_is_invalid() {
    check(Code::TOKEN_INVALID, |invite| {
        let text = invite.payload().to_string();
        let twice = |more: &str| {
            let text = format!("{},{more}}}", text.strip_suffix('}').unwrap());
            papers::jwt(&invite.signer, HEADER, &text)
        };
        vec![
            twice(r#""role":"admin""#),
            twice(r#""role":"member""#),
            twice(r#""\u0072ole":"admin""#),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_013_a_token_of_another_kind_is_of_the_wrong_type() {
    check(Code::TOKEN_TYPE, |invite| {
        let kinds = ["session", "federation"].map(|kind| invite.with("typ", Some(json!(kind))));
        let header = r#"{"alg":"EdDSA","typ":"JWT"}"#;
        let plain = papers::jwt(&invite.signer, header, &invite.payload().to_string());
        [&kinds[..], &[plain]].concat()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_014_a_failed_proof_of_possession_uses_nothing_up() {
    type Alter = fn(&mut JoinRequest);
    let alters: [Alter; 5] = [
        |request| request.seed_proof.clear(),
        |request| request.identity_proof.clear(),
        |request| request.seed_proof[0] ^= 1,
        |request| request.seed_proof.clone_from(&request.identity_proof),
        // The proofs of one key do not hold for another.
        |request| request.peer = IdentityKey::from_seed([9; 32]).peer(),
    ];
    let scene = Scene::new().await;
    let invite = scene.team.invite();
    for alter in alters {
        let code = refused(Device::join_with(&invite, "bob", alter).await);
        assert_eq!(code, Code::POP_FAILED);
    }
    assert_eq!(scene.peers().len(), 2);
    Device::join(&invite, "bob").await.unwrap();
    assert_eq!(scene.peers().len(), 3);
    scene.is_calm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_015_a_death_between_token_and_certificate_costs_neither() {
    // Dead with the use written and not synced, and dead with it synced and not told.
    for fault in ["fdatasync", "sendto,sendmsg,writev"] {
        let mut scene = Scene::new().await;
        let text = scene.team.invite();
        let token = Token::parse(&text).unwrap();
        let dialed = dial_join(&token.endpoints, token.ca_hash).await.unwrap();
        let strace = Strace::attach(scene.mothership.pid(), &Fault::kill(fault, 1).args());
        let lost = Device::join_over(dialed, &token, "bob", |_| {}).await;
        assert!(lost.is_err(), "{fault}: it was told");
        assert_eq!(scene.mothership.wait(), None, "{fault}: it lives");
        drop(strace);
        scene.restart("-KILL").await;
        let bob = Device::join(&text, "bob").await.unwrap();
        let eve = Device::join(&text, "eve").await;
        assert_eq!(refused(eve), Code::TOKEN_REPLAYED);
        let peers = scene.peers();
        let listed = peers.iter().find(|peer| peer["name"] == "bob").unwrap();
        assert_eq!(listed["peer"], bob.key.peer().to_string());
        assert_eq!(peers.len(), 3);
        bob.connect().await.unwrap();
        scene.is_calm().await;
    }
}

/// Presents JWTs that are wrong in one way; each is refused with `code` and noted, and none uses the invite up.
async fn check(code: Code, forged: impl Fn(&Invite) -> Vec<String>) {
    let scene = Scene::new().await;
    let invite = Invite::new(&scene, |_| {});
    for jwt in forged(&invite) {
        assert_eq!(invite.present(jwt.clone()).await, Err(code), "{jwt}");
        let noted = scene.mothership.event(|event| event["kind"] == "refused");
        let text = noted["text"].as_str().unwrap();
        assert!(text.starts_with(&code.to_string()), "{text}");
    }
    assert_eq!(scene.peers().len(), 2);
    assert_eq!(invite.present(invite.jwt()).await, Ok(()));
    scene.is_calm().await;
}

/// An invite that the admin signed.
struct Invite {
    token: Token,
    signer: IdentityKey,
    claims: JoinClaims,
}

impl Invite {
    fn new(scene: &Scene, alter: impl FnOnce(&mut JoinClaims)) -> Self {
        let model = Token::parse(&scene.invite).unwrap();
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let seed = InviteSeed::new([n; 32]);
        let now_s = now_s();
        let mut claims = JoinClaims {
            audience: scene.admin.grant.checkpoint_key,
            subject: None,
            jti: [n; 16],
            issued_at_s: now_s,
            not_before_s: now_s,
            expires_s: now_s + 3_600,
            role: Role::Member,
            team: model.team,
            ca_hash: model.ca_hash,
            uses: 1,
            seed_key: seed.key().peer(),
        };
        alter(&mut claims);
        let signer = IdentityKey::from_seed(*scene.admin.key.to_bytes());
        let token = Token {
            jwt: make_join_jwt(&signer, &claims).into(),
            seed,
            ..model
        };
        Self {
            token,
            signer,
            claims,
        }
    }

    fn jwt(&self) -> String {
        self.token.jwt.to_string()
    }

    fn payload(&self) -> Value {
        papers::payload(&self.signer, &self.claims)
    }

    /// The invite with one claim replaced, or removed when there is no value; validly signed.
    fn with(&self, claim: &str, value: Option<Value>) -> String {
        let mut payload = self.payload();
        let members = payload.as_object_mut().unwrap();
        members.remove(claim);
        members.extend(value.map(|value| (claim.to_owned(), value)));
        papers::jwt(&self.signer, HEADER, &payload.to_string())
    }

    /// Presents a JWT, with proofs that hold.
    async fn present(&self, jwt: String) -> Result<(), Code> {
        let token = &self.token;
        let dialed = dial_join(&token.endpoints, token.ca_hash).await.unwrap();
        let alter = |request: &mut JoinRequest| request.jwt = jwt;
        match Device::join_over(dialed, token, "newcomer", alter).await {
            Ok(_) => Ok(()),
            failed => Err(refused(failed)),
        }
    }
}

fn now_s() -> u64 {
    Clock::start().wall_ms() / 1_000
}
