//! The invitation as people copy it: `ms1-`, base32, a checksum of two characters.
//!
//! Invariants:
//! - one wrong character, two neighbours exchanged, or a cut is noticed before anything is dialled;
//! - one token has one text (but for letter case and surrounding white space);
//! - seed and JWT never print.
//!
//! Body, in bytes: version 1 · endpoints (count 1, then length 1 and text each) · team 16 · CA hash 32 ·
//! expiry 8 · seed 32 · JWT payload (length 2, bytes) · JWT signature 64 · sealed key ring (length 2, bytes).

use std::fmt;

use aura_proto::{Digest, TeamId, ids::base32};
use aws_lc_rs::aead::Aad;
use zeroize::Zeroizing;

use crate::{
    derive::derive,
    join_jwt::{pack, unpack},
    keys::{IdentityKey, KeyRing},
    reader::Reader,
    seal::{OpenError, cipher_from},
};

/// Addresses that one token may name.
pub const ENDPOINTS_MAX: usize = 8;
/// Bytes of one address; its length is one byte in the body.
pub const ENDPOINT_BYTES_MAX: usize = 255;
/// Bytes of the key ring in a token: 200 epochs.
pub const SEALED_RING_BYTES_MAX: usize = 8 << 10;
/// Characters of a token: a body of at most 2 + 2 KiB + 0.1 KiB + 4 KiB + 8 KiB, times 8/5, rounded up.
pub const TOKEN_TEXT_BYTES_MAX: usize = 24 << 10;

const PREFIX: &str = "ms1-";
const VERSION: u8 = 1;
const SALT_BYTES: usize = 24;
/// First byte of what is sealed under the seed; 1 was a key ring without the genesis.
const SEALED_VERSION: u8 = 2;

/// The secret of an invitation: known to inviter and invitee, never to the Mothership.
pub struct InviteSeed(Zeroizing<[u8; 32]>);

impl InviteSeed {
    /// The seed of 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key that proves possession of the seed; the JWT names its public half.
    pub fn key(&self) -> IdentityKey {
        IdentityKey::from_seed(derive(&*self.0, b"", &[b"aura/v1/invite-key\0"]))
    }
}

impl fmt::Debug for InviteSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteSeed([redacted])")
    }
}

/// An invitation.
pub struct Token {
    /// Where the Mothership may be reached, best first; 1 to [`ENDPOINTS_MAX`].
    pub endpoints: Vec<String>,
    /// The team.
    pub team: TeamId,
    /// SHA-256 of the certificate authority's public key, checked before anything is sent.
    pub ca_hash: [u8; 32],
    /// When it ends, in seconds since 1970; for display, the JWT decides.
    pub expires_s: u64,
    /// Proves possession and opens the key ring.
    pub seed: InviteSeed,
    /// What the Mothership checks.
    pub jwt: Zeroizing<String>,
    /// Genesis and team keys, sealed under the seed; absent when the Mothership made the token.
    pub sealed_ring: Option<Vec<u8>>,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("endpoints", &self.endpoints)
            .field("team", &self.team)
            .field("expires_s", &self.expires_s)
            .field("seed", &"[redacted]")
            .field("jwt", &"[redacted]")
            .field("has_ring", &self.sealed_ring.is_some())
            .finish_non_exhaustive()
    }
}

/// Why a text is not a token, or a token has no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenShapeError {
    /// A character is missing, wrong or too many.
    #[error("the token is incomplete or mistyped")]
    Checksum,
    /// The checksum is right and the contents are not.
    #[error("the token does not hold what a token holds")]
    Contents,
    /// The text does not begin as tokens do.
    #[error("a token begins with ms1-")]
    Prefix,
    /// Made by a program with another layout.
    #[error("unknown token version {version}")]
    Version {
        /// The version found.
        version: u8,
    },
}

impl TokenShapeError {
    /// The stable id that users see.
    pub const ID: &'static str = "AE-TOKEN-SHAPE";
}

impl Token {
    /// The text to hand over; whoever holds it may join.
    pub fn to_text(&self) -> Result<Zeroizing<String>, TokenShapeError> {
        let body = self.encode().ok_or(TokenShapeError::Contents)?;
        // Room for all of it from the start: growing would leave copies of the seed behind.
        let mut text = Zeroizing::new(String::with_capacity(TOKEN_TEXT_BYTES_MAX));
        text.push_str(PREFIX);
        base32().encode_append(&body, &mut text);
        text.push('-');
        text.push_str(&checksum(&body));
        Ok(text)
    }

    /// Reads a token as pasted: white space around it and upper case are tolerated.
    pub fn parse(text: &str) -> Result<Self, TokenShapeError> {
        let text = text.trim();
        let prefix = text.get(..PREFIX.len()).ok_or(TokenShapeError::Prefix)?;
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(TokenShapeError::Prefix);
        }
        if TOKEN_TEXT_BYTES_MAX < text.len() {
            return Err(TokenShapeError::Contents);
        }
        let (body, check) = text[PREFIX.len()..]
            .rsplit_once('-')
            .ok_or(TokenShapeError::Checksum)?;
        let body = base32()
            .decode(body.as_bytes())
            .map_err(|_| TokenShapeError::Checksum)?;
        let body = Zeroizing::new(body);
        // spec: identity/3.10
        if !checksum(&body).eq_ignore_ascii_case(check) {
            return Err(TokenShapeError::Checksum);
        }
        match body.split_first() {
            Some((&VERSION, rest)) => Self::decode(rest).ok_or(TokenShapeError::Contents),
            Some((&version, _)) => Err(TokenShapeError::Version { version }),
            None => Err(TokenShapeError::Contents),
        }
    }

    fn encode(&self) -> Option<Zeroizing<Vec<u8>>> {
        if !(1..=ENDPOINTS_MAX).contains(&self.endpoints.len()) {
            return None;
        }
        let mut out = Zeroizing::new(Vec::with_capacity(TOKEN_TEXT_BYTES_MAX));
        out.extend_from_slice(&[VERSION, u8::try_from(self.endpoints.len()).ok()?]);
        for endpoint in &self.endpoints {
            if !is_endpoint(endpoint) {
                return None;
            }
            out.push(u8::try_from(endpoint.len()).ok()?);
            out.extend_from_slice(endpoint.as_bytes());
        }
        out.extend_from_slice(&self.team.0);
        out.extend_from_slice(&self.ca_hash);
        out.extend_from_slice(&self.expires_s.to_be_bytes());
        out.extend_from_slice(&*self.seed.0);
        let (payload, signature) = unpack(&self.jwt)?;
        out.extend_from_slice(&u16::try_from(payload.len()).ok()?.to_be_bytes());
        out.extend_from_slice(&payload);
        out.extend_from_slice(&signature);
        let ring = self.sealed_ring.as_deref().unwrap_or_default();
        if SEALED_RING_BYTES_MAX < ring.len() || self.sealed_ring.is_some() && ring.is_empty() {
            return None;
        }
        out.extend_from_slice(&u16::try_from(ring.len()).ok()?.to_be_bytes());
        out.extend_from_slice(ring);
        Some(out)
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut rest = Reader(body);
        let count = usize::from(rest.u8()?);
        if !(1..=ENDPOINTS_MAX).contains(&count) {
            return None;
        }
        let mut endpoints = Vec::with_capacity(count);
        for _ in 0..count {
            let len = usize::from(rest.u8()?);
            let endpoint = std::str::from_utf8(rest.slice(len)?).ok()?;
            endpoints.push(is_endpoint(endpoint).then(|| endpoint.to_owned())?);
        }
        let team = TeamId(rest.array()?);
        let ca_hash = rest.array()?;
        let expires_s = rest.u64()?;
        let seed = InviteSeed::new(rest.array()?);
        let payload_len = usize::from(rest.u16()?);
        let payload = rest.slice(payload_len)?;
        let jwt = Zeroizing::new(pack(payload, &rest.array()?));
        unpack(&jwt)?;
        let ring_len = usize::from(rest.u16()?);
        let ring = rest.slice(ring_len)?;
        if !rest.0.is_empty() || SEALED_RING_BYTES_MAX < ring_len {
            return None;
        }
        let sealed_ring = (!ring.is_empty()).then(|| ring.to_vec());
        Some(Self {
            endpoints,
            team,
            ca_hash,
            expires_s,
            seed,
            jwt,
            sealed_ring,
        })
    }
}

/// Addresses are printed before anything is verified, so nothing but visible ASCII is one.
fn is_endpoint(text: &str) -> bool {
    (1..=ENDPOINT_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// CRC-10 (polynomial 0x233) as two characters: every burst of up to ten bits, which is any one character or
/// two neighbours, is noticed for certain.
fn checksum(body: &[u8]) -> String {
    let mut crc = 0x3ff_u16;
    for byte in body {
        crc ^= u16::from(*byte) << 2;
        for _ in 0..8 {
            crc = if crc & 0x200 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x233
            } & 0x3ff;
        }
    }
    // Ten bits to the front: the first two of the characters that 16 bits give.
    base32().encode(&(crc << 6).to_be_bytes())[..2].to_owned()
}

/// Seals what a newcomer trusts, the hash of the genesis and the team keys, so that only the bearer of the token reads
/// it, and nobody else can have written it.
///
/// The nonce is derived from the contents, so that sealing two rings under one seed is safe.
pub fn seal_ring_for_invite(genesis: Digest, ring: &KeyRing, seed: &InviteSeed) -> Vec<u8> {
    let ring = ring.to_bytes();
    let mut out = Zeroizing::new(Vec::with_capacity(1 + genesis.0.len() + ring.len()));
    out.push(SEALED_VERSION);
    out.extend_from_slice(&genesis.0);
    out.extend_from_slice(&ring);
    let nonce_key = Zeroizing::new(derive(&*seed.0, b"", &[b"aura/v1/invite-ring-nonce\0"]));
    let contents = blake3::keyed_hash(&nonce_key, &out);
    let salt = &contents.as_bytes()[..SALT_BYTES];
    let (cipher, nonce) = ring_cipher(seed, salt);
    let tag = cipher
        .seal_in_place_separate_tag(nonce, Aad::empty(), &mut out)
        .expect("a key ring in memory is far below the 64 GiB that AES-GCM takes");
    [salt, &out, tag.as_ref()].concat()
}

/// Opens what [`seal_ring_for_invite`] made: the hash of the genesis, and the team keys.
pub fn open_ring_from_invite(
    sealed: &[u8],
    seed: &InviteSeed,
) -> Result<(Digest, KeyRing), OpenError> {
    let (salt, ciphertext) = sealed
        .split_at_checked(SALT_BYTES)
        .ok_or(OpenError::TooShort {
            bytes: sealed.len(),
        })?;
    let (cipher, nonce) = ring_cipher(seed, salt);
    let mut bytes = Zeroizing::new(ciphertext.to_vec());
    let plain = cipher
        .open_in_place(nonce, Aad::empty(), &mut bytes)
        .map_err(|_| OpenError::Refused)?;
    let mut rest = Reader(plain);
    if rest.u8() != Some(SEALED_VERSION) {
        return Err(OpenError::Refused);
    }
    let genesis = Digest(rest.array().ok_or(OpenError::Refused)?);
    let ring = KeyRing::from_bytes(rest.0).map_err(|_| OpenError::Refused)?;
    Ok((genesis, ring))
}

fn ring_cipher(
    seed: &InviteSeed,
    salt: &[u8],
) -> (aws_lc_rs::aead::LessSafeKey, aws_lc_rs::aead::Nonce) {
    cipher_from(&Zeroizing::new(derive(
        &*seed.0,
        salt,
        &[b"aura/v1/invite-ring\0"],
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aura_proto::{PeerId, message::Role};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        join_jwt::{JoinClaims, make_join_jwt},
        keys::TeamKey,
    };

    const GENESIS: Digest = Digest([6; 32]);

    fn ring() -> KeyRing {
        let mut ring = KeyRing::new();
        ring.insert(TeamKey::new(1, [9; 32])).unwrap();
        ring
    }

    fn token(sealed_ring: Option<Vec<u8>>) -> Token {
        let seed = InviteSeed::new([8; 32]);
        let claims = JoinClaims {
            audience: PeerId([2; 32]),
            subject: Some("bob".to_owned()),
            jti: [3; 16],
            issued_at_s: 1_800_000_000,
            not_before_s: 1_800_000_000,
            expires_s: 1_800_086_400,
            role: Role::Member,
            team: TeamId([4; 16]),
            ca_hash: [5; 32],
            uses: 1,
            seed_key: seed.key().peer(),
        };
        Token {
            endpoints: vec![
                "10.0.1.5:7777".to_owned(),
                "box.acme.example:7777".to_owned(),
            ],
            team: TeamId([4; 16]),
            ca_hash: [5; 32],
            expires_s: 1_800_086_400,
            jwt: Zeroizing::new(make_join_jwt(&IdentityKey::from_seed([1; 32]), &claims)),
            seed,
            sealed_ring,
        }
    }

    fn with_ring() -> Token {
        token(Some(seal_ring_for_invite(
            GENESIS,
            &ring(),
            &InviteSeed::new([8; 32]),
        )))
    }

    fn assert_same(a: &Token, b: &Token) {
        assert_eq!(
            (
                &a.endpoints,
                a.team,
                a.ca_hash,
                a.expires_s,
                &a.jwt,
                &a.sealed_ring
            ),
            (
                &b.endpoints,
                b.team,
                b.ca_hash,
                b.expires_s,
                &b.jwt,
                &b.sealed_ring
            )
        );
        assert_eq!(*a.seed.0, *b.seed.0);
    }

    #[test]
    fn a_token_reads_back_from_its_text() {
        for token in [token(None), with_ring()] {
            let text = token.to_text().unwrap();
            assert_same(&Token::parse(&text).unwrap(), &token);
            let pasted = format!("\n  {} \r\n", text.to_uppercase());
            assert_same(&Token::parse(&pasted).unwrap(), &token);
        }
    }

    #[test]
    fn every_wrong_character_is_noticed() {
        let text = with_ring().to_text().unwrap();
        for at in 0..text.len() {
            for wrong in *b"a7xm-0l\xc3" {
                let mut changed = text.as_bytes().to_vec();
                if changed[at] != wrong {
                    changed[at] = wrong;
                    let changed = String::from_utf8_lossy(&changed);
                    assert!(Token::parse(&changed).is_err(), "character {at}");
                }
            }
        }
    }

    #[test]
    fn every_exchange_of_two_neighbours_is_noticed() {
        let text = token(None).to_text().unwrap();
        for at in 1..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed.swap(at - 1, at);
            if changed != text.as_bytes() {
                assert!(
                    Token::parse(std::str::from_utf8(&changed).unwrap()).is_err(),
                    "at {at}"
                );
            }
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let text = with_ring().to_text().unwrap();
        for len in 0..text.len() {
            assert!(Token::parse(&text[..len]).is_err(), "cut at {len}");
            assert!(
                Token::parse(&text[text.len() - len..]).is_err(),
                "last {len}"
            );
        }
    }

    #[test]
    fn a_text_of_another_kind_is_told_from_a_mistyped_one() {
        assert_eq!(Token::parse("hello").unwrap_err(), TokenShapeError::Prefix);
        assert_eq!(Token::parse("é").unwrap_err(), TokenShapeError::Prefix);
        assert_eq!(Token::parse("ms1-").unwrap_err(), TokenShapeError::Checksum);
        let later = [9, 1, 2];
        let text = format!("ms1-{}-{}", base32().encode(&later), checksum(&later));
        assert_eq!(
            Token::parse(&text).unwrap_err(),
            TokenShapeError::Version { version: 9 }
        );
        let long = format!("ms1-{}", "a".repeat(TOKEN_TEXT_BYTES_MAX));
        assert_eq!(Token::parse(&long).unwrap_err(), TokenShapeError::Contents);
    }

    #[test]
    fn neither_seed_nor_jwt_nor_ring_shows_in_debug_output() {
        let token = with_ring();
        let shown = format!("{token:?} {:?}", token.seed);
        assert!(
            !shown.contains(&token.jwt[..10]) && !shown.contains("8, 8"),
            "{shown}"
        );
        assert_eq!(shown.matches("[redacted]").count(), 3);
    }

    #[test]
    fn a_token_without_an_address_or_with_an_unprintable_one_has_no_text() {
        let mut odd = token(None);
        for endpoints in [
            vec![],
            vec!["a".to_owned(); 9],
            vec!["a\u{1b}[2J".to_owned()],
            vec![String::new()],
        ] {
            odd.endpoints = endpoints;
            assert_eq!(odd.to_text().unwrap_err(), TokenShapeError::Contents);
        }
    }

    #[test]
    fn the_ring_of_a_token_opens_with_its_seed_only() {
        let seed = InviteSeed::new([8; 32]);
        let sealed = seal_ring_for_invite(GENESIS, &ring(), &seed);
        let (genesis, opened) = open_ring_from_invite(&sealed, &seed).unwrap();
        assert_eq!(genesis, GENESIS);
        assert_eq!(opened.to_bytes(), ring().to_bytes());
        let other = InviteSeed::new([7; 32]);
        assert_eq!(
            open_ring_from_invite(&sealed, &other).unwrap_err(),
            OpenError::Refused
        );
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open_ring_from_invite(&changed, &seed).is_err());
            assert!(open_ring_from_invite(&sealed[..at], &seed).is_err());
        }
    }

    #[test]
    fn the_longest_token_fits_the_limit() {
        let mut longest = token(Some(vec![1; SEALED_RING_BYTES_MAX]));
        longest.endpoints = vec!["e".repeat(ENDPOINT_BYTES_MAX); ENDPOINTS_MAX];
        let payload = vec![b'x'; 2_900];
        longest.jwt = Zeroizing::new(pack(&payload, &[0; 64]));
        let text = longest.to_text().unwrap();
        assert_same(&Token::parse(&text).unwrap(), &longest);
    }

    proptest! {
        #[test]
        fn any_token_reads_back(
            endpoints in proptest::collection::vec("[!-~]{1,60}", 1..=8),
            team: [u8; 16], ca_hash: [u8; 32], expires_s: u64, seed: [u8; 32],
            payload in proptest::collection::vec(any::<u8>(), 0..900),
            ring in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..300)),
        ) {
            let token = Token {
                endpoints, team: TeamId(team), ca_hash, expires_s,
                seed: InviteSeed::new(seed),
                jwt: Zeroizing::new(pack(&payload, &[7; 64])),
                sealed_ring: ring,
            };
            assert_same(&Token::parse(&token.to_text().unwrap()).unwrap(), &token);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = Token::parse(&text);
            let _ = Token::parse(&format!("ms1-{text}"));
        }

        #[test]
        fn no_body_makes_the_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Token::decode(&body);
        }
    }
}
