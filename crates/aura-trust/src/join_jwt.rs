//! The signed half of an invitation: a JWT that says who may join what, until when.
//!
//! Invariants:
//! - the algorithm is fixed here; the header may repeat it and say the type, nothing else;
//! - a claim or header member that appears twice, is unknown or of another JSON type is refused;
//! - the signature is checked before any claim but the issuer is believed.

use std::{collections::BTreeMap, fmt};

use aura_proto::{Code, PeerId, TeamId, ids::base32, limits::TOKEN_LEEWAY_S, message::Role};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::{Value, json};

use crate::{
    keys::{IdentityKey, has_small_order},
    membership::is_name,
};

/// Longest JWT in bytes; ours have about 600.
pub(crate) const JWT_BYTES_MAX: usize = 4 << 10;
/// Most joins that one invitation may allow.
pub const USES_MAX: u32 = 10_000;

/// Latest time that a claim may name, in seconds since 1970: the end of the year 9999.
const TIME_S_MAX: u64 = 253_402_300_799;
/// The one header that is written.
const HEADER: &str = r#"{"alg":"EdDSA","typ":"join+jwt"}"#;
const ALGORITHM: &str = "EdDSA";
const HEADER_TYPE: &str = "join+jwt";
const CLAIM_TYPE: &str = "join";
/// Claims that must be there; no others may.
const CLAIMS: [&str; 13] = [
    "aud", "ca", "cnf", "exp", "iat", "iss", "jti", "nbf", "role", "sub", "team", "typ", "uses",
];

/// What an invitation says. The issuer is not among it: that is whoever signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinClaims {
    /// `aud`: the checkpoint key of the one Mothership that may take it.
    pub audience: PeerId,
    /// `sub`: the name that the newcomer gets if it asks for none, or anyone.
    pub subject: Option<String>,
    /// `jti`: 128 random bits.
    pub jti: [u8; 16],
    /// `iat`: made at, in seconds since 1970.
    pub issued_at_s: u64,
    /// `nbf`: not to be taken before, in seconds since 1970.
    pub not_before_s: u64,
    /// `exp`: not to be taken after, in seconds since 1970.
    pub expires_s: u64,
    /// `role`: what the newcomer may do.
    pub role: Role,
    /// `team`.
    pub team: TeamId,
    /// `ca`: SHA-256 of the certificate authority's public key.
    pub ca_hash: [u8; 32],
    /// `uses`: how many may join with it.
    pub uses: u32,
    /// `cnf`: verifying key of the invitation's seed.
    pub seed_key: PeerId,
}

/// What a Mothership asks of an invitation.
pub struct JoinPolicy<'a> {
    /// Now, in seconds since 1970.
    pub now_s: u64,
    /// The Mothership's own checkpoint key.
    pub audience: PeerId,
    /// Its team.
    pub team: TeamId,
    /// The key of an issuer that may invite at this moment: an admin, or the Mothership itself.
    pub issuers: &'a dyn Fn(&str) -> Option<PeerId>,
    /// Longest life of an invitation in seconds.
    pub ttl_s_max: u64,
}

/// An invitation that passed every check but those that need state: uses and revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedJoin {
    /// Who signed it.
    pub issuer: PeerId,
    /// What it says.
    pub claims: JoinClaims,
}

/// Signs an invitation.
pub fn make_join_jwt(issuer: &IdentityKey, claims: &JoinClaims) -> String {
    let payload = json!({
        "aud": claims.audience.to_string(),
        "ca": base32().encode(&claims.ca_hash),
        "cnf": claims.seed_key.to_string(),
        "exp": claims.expires_s,
        "iat": claims.issued_at_s,
        "iss": issuer.peer().to_string(),
        "jti": base32().encode(&claims.jti),
        "nbf": claims.not_before_s,
        "role": claims.role.as_str(),
        "sub": claims.subject.as_deref().unwrap_or("*"),
        "team": claims.team.to_string(),
        "typ": CLAIM_TYPE,
        "uses": claims.uses,
    });
    sign_parts(issuer, HEADER.as_bytes(), payload.to_string().as_bytes())
}

/// Checks an invitation; the code of a refusal says which check failed first.
// spec: identity/3.2
pub fn check_join_jwt(jwt: &str, policy: &JoinPolicy<'_>) -> Result<AcceptedJoin, Code> {
    let parts = Parts::split(jwt).ok_or(Code::TOKEN_INVALID)?;
    if parts.header.get("alg").and_then(Value::as_str) != Some(ALGORITHM)
        || parts
            .header
            .keys()
            .any(|member| member != "alg" && member != "typ")
    {
        return Err(Code::TOKEN_INVALID);
    }
    let issuer = parts
        .claim_text("iss")
        .and_then(|issuer| (policy.issuers)(issuer))
        .ok_or(Code::TOKEN_ISSUER)?;
    if !parts.is_signed_by(issuer) {
        return Err(Code::TOKEN_INVALID);
    }
    if parts.header.get("typ").and_then(Value::as_str) != Some(HEADER_TYPE)
        || parts.claim_text("typ") != Some(CLAIM_TYPE)
    {
        return Err(Code::TOKEN_TYPE);
    }
    if parts.claim_text("aud") != Some(&policy.audience.to_string()) {
        return Err(Code::TOKEN_AUDIENCE);
    }
    let claims = parts.claims().ok_or(Code::TOKEN_INVALID)?;
    check_policy(&claims, policy)?;
    Ok(AcceptedJoin { issuer, claims })
}

/// Reads what an invitation claims, without knowing whether any of it is true; for display only.
pub fn inspect_join_jwt(jwt: &str) -> Option<JoinClaims> {
    Parts::split(jwt)?.claims()
}

fn check_policy(claims: &JoinClaims, policy: &JoinPolicy<'_>) -> Result<(), Code> {
    let latest_start_s = policy.now_s.saturating_add(TOKEN_LEEWAY_S);
    if claims.team != policy.team {
        return Err(Code::TOKEN_AUDIENCE);
    }
    if claims.expires_s < claims.issued_at_s || claims.expires_s < claims.not_before_s {
        return Err(Code::TOKEN_INVALID);
    }
    if policy.ttl_s_max < claims.expires_s - claims.issued_at_s {
        return Err(Code::TOKEN_TTL_TOO_LONG);
    }
    if claims.expires_s.saturating_add(TOKEN_LEEWAY_S) < policy.now_s {
        return Err(Code::TOKEN_EXPIRED);
    }
    if latest_start_s < claims.not_before_s || latest_start_s < claims.issued_at_s {
        return Err(Code::TOKEN_INVALID);
    }
    Ok(())
}

/// Payload and signature of a JWT that carries exactly the header written here.
pub(crate) fn unpack(jwt: &str) -> Option<(Vec<u8>, [u8; 64])> {
    let mut segments = jwt.split('.');
    let (header, payload, signature) = (segments.next()?, segments.next()?, segments.next()?);
    if segments.next().is_some() || JWT_BYTES_MAX < jwt.len() {
        return None;
    }
    if header != BASE64URL_NOPAD.encode(HEADER.as_bytes()) {
        return None;
    }
    let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?;
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
    Some((payload, signature.try_into().ok()?))
}

/// The JWT of a payload and signature from [`unpack`].
pub(crate) fn pack(payload: &[u8], signature: &[u8; 64]) -> String {
    [HEADER.as_bytes(), payload, signature]
        .map(|segment| BASE64URL_NOPAD.encode(segment))
        .join(".")
}

fn sign_parts(issuer: &IdentityKey, header: &[u8], payload: &[u8]) -> String {
    let input = [header, payload]
        .map(|segment| BASE64URL_NOPAD.encode(segment))
        .join(".");
    let signature = BASE64URL_NOPAD.encode(&issuer.sign_bytes(input.as_bytes()));
    format!("{input}.{signature}")
}

/// A JWT taken apart, nothing of it believed.
struct Parts<'a> {
    header: BTreeMap<String, Value>,
    payload: BTreeMap<String, Value>,
    signed: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn split(jwt: &'a str) -> Option<Self> {
        if JWT_BYTES_MAX < jwt.len() {
            return None;
        }
        let (signed, signature) = jwt.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        Some(Self {
            header: object(header)?,
            payload: object(payload)?,
            signed,
            signature,
        })
    }

    fn claim_text(&self, name: &str) -> Option<&str> {
        self.payload.get(name)?.as_str()
    }

    fn claim_time_s(&self, name: &str) -> Option<u64> {
        let time_s = self.payload.get(name)?.as_u64()?;
        (time_s <= TIME_S_MAX).then_some(time_s)
    }

    fn claim_bytes<const N: usize>(&self, name: &str) -> Option<[u8; N]> {
        base32()
            .decode(self.claim_text(name)?.as_bytes())
            .ok()?
            .try_into()
            .ok()
    }

    fn is_signed_by(&self, issuer: PeerId) -> bool {
        let key = DecodingKey::from_ed_der(&issuer.0);
        !has_small_order(&issuer.0)
            && crypto::verify(
                self.signature,
                self.signed.as_bytes(),
                &key,
                Algorithm::EdDSA,
            )
            .unwrap_or(false)
    }

    fn claims(&self) -> Option<JoinClaims> {
        if !self.payload.keys().map(String::as_str).eq(CLAIMS) {
            return None;
        }
        let subject = match self.claim_text("sub")? {
            "*" => None,
            name if is_name(name) => Some(name.to_owned()),
            _ => return None,
        };
        let role = Role::from_word(self.claim_text("role")?)?;
        let uses = u32::try_from(self.payload.get("uses")?.as_u64()?).ok()?;
        if role == Role::Mothership || !(1..=USES_MAX).contains(&uses) {
            return None;
        }
        Some(JoinClaims {
            audience: PeerId(self.claim_bytes("aud")?),
            subject,
            jti: self.claim_bytes("jti")?,
            issued_at_s: self.claim_time_s("iat")?,
            not_before_s: self.claim_time_s("nbf")?,
            expires_s: self.claim_time_s("exp")?,
            role,
            team: TeamId(self.claim_bytes("team")?),
            ca_hash: self.claim_bytes("ca")?,
            uses,
            seed_key: PeerId(self.claim_bytes("cnf")?),
        })
    }
}

fn object(segment: &str) -> Option<BTreeMap<String, Value>> {
    let json = BASE64URL_NOPAD.decode(segment.as_bytes()).ok()?;
    serde_json::from_slice::<Object>(&json)
        .ok()
        .map(|object| object.0)
}

/// A JSON object in which no member appears twice.
struct Object(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a member appears twice"));
                    }
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
#[path = "join_jwt_tests.rs"]
mod tests;
