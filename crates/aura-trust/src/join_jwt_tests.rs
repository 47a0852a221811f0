//! Every way to present a join JWT that must not pass, and the one that must.
//!
//! Invariants:
//! - each case changes one thing of a JWT that is otherwise accepted.

#![allow(clippy::unwrap_used)]
use aura_proto::limits::TOKEN_TTL_S_MAX;

use super::*;

const NOW_S: u64 = 1_800_000_000;

fn admin() -> IdentityKey {
    IdentityKey::from_seed([1; 32])
}

fn claims() -> JoinClaims {
    JoinClaims {
        audience: PeerId([2; 32]),
        subject: None,
        jti: [3; 16],
        issued_at_s: NOW_S,
        not_before_s: NOW_S,
        expires_s: NOW_S + 86_400,
        role: Role::Member,
        team: TeamId([4; 16]),
        ca_hash: [5; 32],
        uses: 1,
        seed_key: PeerId([6; 32]),
    }
}

fn check_at(jwt: &str, now_s: u64) -> Result<AcceptedJoin, Code> {
    let issuers = |issuer: &str| (issuer == admin().peer().to_string()).then(|| admin().peer());
    check_join_jwt(
        jwt,
        &JoinPolicy {
            now_s,
            audience: PeerId([2; 32]),
            team: TeamId([4; 16]),
            issuers: &issuers,
            ttl_s_max: TOKEN_TTL_S_MAX,
        },
    )
}

fn code(jwt: &str) -> Option<Code> {
    check_at(jwt, NOW_S).err()
}

/// The payload of the accepted JWT, as an object to change.
fn payload() -> Value {
    let jwt = make_join_jwt(&admin(), &claims());
    serde_json::from_slice(&unpack(&jwt).unwrap().0).unwrap()
}

fn signed(payload: &str) -> String {
    sign_parts(&admin(), HEADER.as_bytes(), payload.as_bytes())
}

/// The accepted JWT with one claim replaced, or removed when there is no value.
fn with(claim: &str, value: Option<Value>) -> String {
    let mut payload = payload();
    let members = payload.as_object_mut().unwrap();
    members.remove(claim);
    if let Some(value) = value {
        members.insert(claim.to_owned(), value);
    }
    signed(&payload.to_string())
}

/// The accepted payload under another header, validly signed.
fn under(header: &str) -> String {
    sign_parts(
        &admin(),
        header.as_bytes(),
        payload().to_string().as_bytes(),
    )
}

fn unsigned(header: &str) -> String {
    let [header, payload] =
        [header, &payload().to_string()].map(|text| BASE64URL_NOPAD.encode(text.as_bytes()));
    format!("{header}.{payload}.")
}

#[test]
fn a_good_invitation_passes_and_says_what_was_signed() {
    for subject in [None, Some("bob".to_owned())] {
        let claims = JoinClaims {
            subject,
            ..claims()
        };
        let jwt = make_join_jwt(&admin(), &claims);
        let accepted = check_at(&jwt, NOW_S).unwrap();
        assert_eq!(
            accepted,
            AcceptedJoin {
                issuer: admin().peer(),
                claims: claims.clone()
            }
        );
        assert_eq!(inspect_join_jwt(&jwt), Some(claims));
        let (payload, signature) = unpack(&jwt).unwrap();
        assert_eq!(pack(&payload, &signature), jwt);
    }
    assert_eq!(
        code(&with("sub", Some(json!("bob")))),
        None,
        "the changes below must be the reason"
    );
    assert_eq!(code(&under(r#"{"typ":"join+jwt","alg":"EdDSA"}"#)), None);
}

#[test]
fn case_004_an_invitation_that_ended_ten_seconds_ago_is_expired() {
    let jwt = make_join_jwt(&admin(), &claims());
    let expires_s = claims().expires_s;
    assert_eq!(check_at(&jwt, expires_s + 10), Err(Code::TOKEN_EXPIRED));
    assert_eq!(
        check_at(&jwt, expires_s + TOKEN_LEEWAY_S + 1),
        Err(Code::TOKEN_EXPIRED)
    );
    assert!(check_at(&jwt, expires_s + TOKEN_LEEWAY_S).is_ok());
}

#[test]
fn case_005_an_expiry_that_is_no_time_is_invalid() {
    let odd = [
        None,
        Some(json!("1800000100")),
        Some(json!(1e300)),
        Some(json!(-1)),
        Some(json!(i64::MAX)),
        Some(json!(u64::MAX)),
        Some(json!(null)),
        Some(json!((NOW_S + 100) as f64)),
        Some(json!([NOW_S + 100])),
    ];
    for value in odd {
        assert_eq!(
            code(&with("exp", value.clone())),
            Some(Code::TOKEN_INVALID),
            "{value:?}"
        );
    }
}

#[test]
fn case_006_an_invitation_for_400_days_lives_too_long() {
    let expires_s = NOW_S + 400 * 86_400;
    let jwt = make_join_jwt(
        &admin(),
        &JoinClaims {
            expires_s,
            ..claims()
        },
    );
    assert_eq!(code(&jwt), Some(Code::TOKEN_TTL_TOO_LONG));
    let longest = JoinClaims {
        expires_s: NOW_S + TOKEN_TTL_S_MAX,
        ..claims()
    };
    assert_eq!(code(&make_join_jwt(&admin(), &longest)), None);
}

#[test]
fn case_007_an_audience_other_than_exactly_this_mothership_is_refused() {
    let ours = PeerId([2; 32]).to_string();
    let other = PeerId([9; 32]).to_string();
    let odd = [
        None,
        Some(json!(other)),
        Some(json!([ours, other])),
        Some(json!([ours])),
    ];
    for value in odd {
        assert_eq!(
            code(&with("aud", value.clone())),
            Some(Code::TOKEN_AUDIENCE),
            "{value:?}"
        );
    }
}

#[test]
fn case_008_the_issuer_of_another_mothership_is_refused() {
    let stranger = IdentityKey::from_seed([9; 32]);
    assert_eq!(
        code(&make_join_jwt(&stranger, &claims())),
        Some(Code::TOKEN_ISSUER)
    );
    assert_eq!(code(&with("iss", None)), Some(Code::TOKEN_ISSUER));
    let in_the_admins_name = sign_parts(
        &stranger,
        HEADER.as_bytes(),
        payload().to_string().as_bytes(),
    );
    assert_eq!(code(&in_the_admins_name), Some(Code::TOKEN_INVALID));
}

#[test]
fn case_009_no_spelling_of_the_algorithm_none_passes() {
    for alg in ["none", "None", "nOnE", "NONE", "eddsa", "EdDSA ", ""] {
        let header = json!({ "alg": alg, "typ": "join+jwt" }).to_string();
        assert_eq!(code(&unsigned(&header)), Some(Code::TOKEN_INVALID), "{alg}");
        assert_eq!(
            code(&under(&header)),
            Some(Code::TOKEN_INVALID),
            "{alg}, signed"
        );
    }
    assert_eq!(code(&unsigned(HEADER)), Some(Code::TOKEN_INVALID));
    assert_eq!(
        code(&under(r#"{"typ":"join+jwt"}"#)),
        Some(Code::TOKEN_INVALID)
    );
}

#[test]
fn case_010_an_hmac_keyed_with_the_public_key_does_not_pass() {
    let header = r#"{"alg":"HS256","typ":"join+jwt"}"#;
    let input = unsigned(header).trim_end_matches('.').to_owned();
    let spki = [
        &[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0],
        &admin().peer().0[..],
    ]
    .concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        data_encoding::BASE64.encode(&spki)
    );
    for secret in [pem.as_bytes(), &admin().peer().0] {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let tag = aws_lc_rs::hmac::sign(&key, input.as_bytes());
        let jwt = format!("{input}.{}", BASE64URL_NOPAD.encode(tag.as_ref()));
        assert_eq!(code(&jwt), Some(Code::TOKEN_INVALID));
    }
}

#[test]
fn case_011_a_header_that_points_to_a_key_is_invalid() {
    let long = "k".repeat(64 << 10);
    let pointers = [
        ("kid", json!("../../../../etc/passwd")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", json!(long)),
        ("jku", json!("https://127.0.0.1/keys")),
        ("x5u", json!("https://127.0.0.1/chain")),
        ("jwk", json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA" })),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
    ];
    for (member, value) in pointers {
        let header = json!({ "alg": "EdDSA", "typ": "join+jwt", member: value }).to_string();
        assert_eq!(code(&under(&header)), Some(Code::TOKEN_INVALID), "{member}");
    }
}

#[test]
fn case_012_a_claim_or_header_member_that_appears_twice_is_invalid() {
    let text = payload().to_string();
    let twice = format!(r#"{},"role":"admin"}}"#, text.strip_suffix('}').unwrap());
    assert_eq!(code(&signed(&twice)), Some(Code::TOKEN_INVALID));
    let same = format!(r#"{},"role":"member"}}"#, text.strip_suffix('}').unwrap());
    assert_eq!(code(&signed(&same)), Some(Code::TOKEN_INVALID));
    let escaped = format!(
        r#"{},"\u0072ole":"admin"}}"#,
        text.strip_suffix('}').unwrap()
    );
    assert_eq!(code(&signed(&escaped)), Some(Code::TOKEN_INVALID));
    let header = r#"{"alg":"EdDSA","typ":"join+jwt","alg":"EdDSA"}"#;
    assert_eq!(code(&under(header)), Some(Code::TOKEN_INVALID));
}

#[test]
fn case_013_a_token_of_another_kind_is_of_the_wrong_type() {
    for kind in ["session", "federation", "JOIN", "join+jwt"] {
        assert_eq!(
            code(&with("typ", Some(json!(kind)))),
            Some(Code::TOKEN_TYPE),
            "{kind}"
        );
    }
    assert_eq!(code(&with("typ", None)), Some(Code::TOKEN_TYPE));
    for header in [r#"{"alg":"EdDSA","typ":"JWT"}"#, r#"{"alg":"EdDSA"}"#] {
        assert_eq!(code(&under(header)), Some(Code::TOKEN_TYPE), "{header}");
    }
    let session = format!(r#"{{"typ":"session","iss":"{}"}}"#, admin().peer());
    assert_eq!(code(&signed(&session)), Some(Code::TOKEN_TYPE));
}

#[test]
fn a_claim_of_another_type_or_value_is_invalid() {
    let odd = [
        ("role", json!("owner")),
        ("role", json!("mothership")),
        ("uses", json!(0)),
        ("uses", json!(10_001)),
        ("uses", json!(1.0)),
        ("jti", json!("aaaa")),
        ("sub", json!("")),
        ("sub", json!("a\u{1b}[2J")),
        ("cnf", json!({ "jkt": "x" })),
        ("ca", json!(null)),
        ("iat", json!("now")),
        ("nbf", json!(true)),
        ("admin", json!(true)),
    ];
    for (claim, value) in odd {
        assert_eq!(
            code(&with(claim, Some(value.clone()))),
            Some(Code::TOKEN_INVALID),
            "{claim} {value}"
        );
    }
    for claim in [
        "ca", "cnf", "iat", "jti", "nbf", "role", "sub", "team", "uses",
    ] {
        assert_eq!(
            code(&with(claim, None)),
            Some(Code::TOKEN_INVALID),
            "without {claim}"
        );
    }
}

#[test]
fn an_invitation_from_the_future_is_invalid() {
    let starts_later = |s| JoinClaims {
        not_before_s: NOW_S + s,
        ..claims()
    };
    assert_eq!(
        code(&make_join_jwt(&admin(), &starts_later(TOKEN_LEEWAY_S + 1))),
        Some(Code::TOKEN_INVALID)
    );
    assert_eq!(
        code(&make_join_jwt(&admin(), &starts_later(TOKEN_LEEWAY_S))),
        None
    );
    let made_later = JoinClaims {
        issued_at_s: NOW_S + 60,
        ..claims()
    };
    assert_eq!(
        code(&make_join_jwt(&admin(), &made_later)),
        Some(Code::TOKEN_INVALID)
    );
    let ends_first = JoinClaims {
        expires_s: NOW_S - 1,
        ..claims()
    };
    assert_eq!(
        code(&make_join_jwt(&admin(), &ends_first)),
        Some(Code::TOKEN_INVALID)
    );
}

#[test]
fn an_invitation_into_another_team_is_for_somebody_else() {
    let jwt = make_join_jwt(
        &admin(),
        &JoinClaims {
            team: TeamId([9; 16]),
            ..claims()
        },
    );
    assert_eq!(code(&jwt), Some(Code::TOKEN_AUDIENCE));
}

#[test]
fn a_jwt_of_another_shape_is_invalid() {
    let jwt = make_join_jwt(&admin(), &claims());
    let (input, _) = jwt.rsplit_once('.').unwrap();
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let shapes = [
        String::new(),
        "..".to_owned(),
        input.to_owned(),
        format!("{input}."),
        format!("{jwt}."),
        format!("{jwt}.e30"),
        format!("{jwt}="),
        format!("{jwt} "),
        "a".repeat(JWT_BYTES_MAX + 1),
        signed("[]"),
        signed("{} {}"),
        under("null"),
        signed(&format!(r#"{{"iss":{deep}}}"#)),
    ];
    for shape in shapes {
        assert!(
            matches!(code(&shape), Some(Code::TOKEN_INVALID)),
            "{shape:.40}"
        );
    }
}

#[test]
fn every_changed_character_of_a_jwt_is_refused() {
    let jwt = make_join_jwt(&admin(), &claims());
    for at in 0..jwt.len() {
        let mut changed = jwt.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(
            code(&String::from_utf8(changed).unwrap()).is_some(),
            "character {at}"
        );
    }
}
