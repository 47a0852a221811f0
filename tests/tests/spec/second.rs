//! A second implementation of the layouts, written from `proto-spec/` alone.
//!
//! It knows vectors, BLAKE3, SHA-512 and the curve, and nothing of the product: a test sees to that.

use curve25519_dalek::{EdwardsPoint, Scalar};
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha512};

use crate::golden::{array, bytes, number, text, unhex};

/// An entry in parts.
pub(crate) struct Entry {
    pub(crate) author: [u8; 32],
    pub(crate) body_hash: [u8; 32],
    pub(crate) signed: Vec<u8>,
    pub(crate) signature: [u8; 64],
    pub(crate) hash: [u8; 32],
}

/// Builds an entry of its fields, the author's seed and the body (entry/1).
pub(crate) fn entry(fields: &Value, seed: &[u8; 32], body: &[u8]) -> Entry {
    let author = public_key(seed);
    let body_hash = hash(&[body]);
    let mut header = vec![1];
    header.push(u8::try_from(number(fields, "level")).unwrap());
    header.extend(big(2, number(fields, "kind")));
    header.extend(big(2, number(fields, "flags")));
    header.extend(bytes(fields, "team"));
    header.extend(bytes(fields, "log"));
    header.extend(author);
    header.extend(big(8, number(fields, "incarnation")));
    header.extend(big(8, number(fields, "author_seq")));
    header.extend(bytes(fields, "prev"));
    for field in ["lamport", "time_ms", "fence"] {
        header.extend(big(8, number(fields, field)));
    }
    header.extend(big(4, number(fields, "key_epoch")));
    header.extend(big(4, body.len() as u64));
    header.extend(body_hash);
    let signed = [b"aura/v1/entry\0", &header[..]].concat();
    let signature = sign(seed, &signed);
    Entry {
        author,
        body_hash,
        hash: hash(&[&header, &signature]),
        signed,
        signature,
    }
}

/// A frame's header (framing/2.1).
pub(crate) fn frame_header(vector: &Value) -> Vec<u8> {
    let mut header = big(1, number(vector, "type"));
    header.extend(big(1, number(vector, "flags")));
    header.extend(big(4, number(vector, "stream")));
    header.extend(big(4, number(vector, "length")));
    header
}

/// A value of its parts, format byte first (framing/3).
pub(crate) fn value(parts: &[Value]) -> Vec<u8> {
    let mut out = vec![1];
    for part in parts {
        let mut words = part.as_str().unwrap().splitn(3, ' ').skip(1);
        let (kind, value) = (words.next().unwrap(), words.next().unwrap_or_default());
        let first = || value.split(' ').next().unwrap().parse().unwrap();
        match kind {
            "u8" | "option" | "bool" => out.push(u8::try_from(first()).unwrap()),
            "u16" | "u32" | "u64" | "length" | "variant" => out.extend(variable(first())),
            "bytes" => out.extend(HEXLOWER.decode(value.as_bytes()).unwrap()),
            "blob" => {
                let blob = HEXLOWER.decode(value.as_bytes()).unwrap();
                out.extend(variable(blob.len() as u64));
                out.extend(blob);
            }
            "text" => {
                out.extend(variable(value.len() as u64));
                out.extend(value.as_bytes());
            }
            other => panic!("{other} is no kind of part"),
        }
    }
    out
}

/// A number of variable length (framing/3.2).
pub(crate) fn variable(number: u64) -> Vec<u8> {
    let (mark, len) = match number {
        0..=250 => return big(1, number),
        251..=0xffff => (251, 2),
        0x1_0000..=0xffff_ffff => (252, 4),
        _ => (253, 8),
    };
    let mut little = big(len, number);
    little.reverse();
    [vec![mark], little].concat()
}

/// A checkpoint's fields, as they are signed and as they travel before the signature (sync/5.1).
pub(crate) fn checkpoint_fields(vector: &Value) -> Vec<u8> {
    let mut fields = bytes(vector, "log");
    for field in ["epoch", "seq", "time_ms"] {
        fields.extend(big(8, number(vector, field)));
    }
    fields.extend(bytes(vector, "hash"));
    fields
}

/// One step of the running hash (log/2.3).
pub(crate) fn chain(before: &[u8; 32], seq: u64, time_ms: u64, entry: &[u8; 32]) -> [u8; 32] {
    let parts = [before, &big(8, seq)[..], &big(8, time_ms), entry];
    derived("aura/v1/log-chain", &parts)
}

/// The name of a version (patch/2.3).
pub(crate) fn version(vector: &Value) -> [u8; 16] {
    let parents = vector["parents"].as_array().unwrap();
    let mut parents: Vec<Vec<u8>> = parents.iter().map(unhex).collect();
    parents.sort();
    parents.dedup();
    let hashed = [
        array::<16>(vector, "unit").to_vec(),
        big(8, parents.len() as u64),
        parents.concat(),
        optional(&vector["content"]),
    ];
    short(derived("aura/v1/version", &[&hashed.concat()]))
}

/// The log of a repository (entry/2.3).
pub(crate) fn log_of_repository(team: &[u8], root: &str) -> [u8; 16] {
    let hashed = [team, root.as_bytes()];
    short(derived("aura/v1/log-of-repository", &hashed))
}

/// The content of a leaf, or of a container (patch/2.6).
pub(crate) fn content(head: &[u8], foot: Option<&[u8]>) -> [u8; 32] {
    let Some(foot) = foot else {
        return hash(&[head]);
    };
    let len = (head.len() as u64).to_le_bytes();
    derived("aura-semantic container own content 1", &[&len, head, foot])
}

/// The ids at birth of a file's units, containers before their members (patch/4.1 to 4.3).
pub(crate) fn births(vector: &Value) -> Vec<[u8; 16]> {
    let file = digest(
        "aura-semantic file id 1",
        &[text(vector, "path").as_bytes()],
    );
    assert_eq!(short(file), array(vector, "file"));
    let mut keys: Vec<[u8; 32]> = Vec::new();
    let mut births: Vec<[u8; 32]> = Vec::new();
    for unit in vector["units"].as_array().unwrap() {
        let parent = unit["parent"]
            .as_u64()
            .map(|at| births[usize::try_from(at).unwrap()]);
        let name = text(unit, "name").as_bytes();
        let own = bytes(unit, "own");
        let parts = [
            &parent.unwrap_or(file)[..],
            text(unit, "kind").as_bytes(),
            name,
            text(unit, "parameters").as_bytes(),
            if name.is_empty() { &own } else { &[] },
        ];
        let key = digest("aura-semantic unit key 1", &parts);
        let ordinal = keys.iter().filter(|known| **known == key).count() as u64;
        keys.push(key);
        births.push(digest(
            "aura-semantic unit id 1",
            &[&key, &ordinal.to_le_bytes()],
        ));
    }
    births.into_iter().map(short).collect()
}

/// What a conflict is called (patch/3.6).
pub(crate) fn conflict(vector: &Value) -> String {
    let heads = vector["heads"].as_array().unwrap();
    let mut heads: Vec<Vec<u8>> = heads.iter().map(unhex).collect();
    heads.sort();
    let parts = [bytes(vector, "unit"), heads.concat()];
    let hash = derived("aura/v1/conflict", &[&parts.concat()]);
    let name = BASE32_NOPAD.encode(&hash)[..6].to_lowercase();
    format!("c-{name}")
}

/// HKDF-SHA256 of RFC 5869, up to 32 bytes.
pub(crate) fn hkdf(secret: &[u8], salt: &[u8], info: &[u8]) -> [u8; 32] {
    hmac(&hmac(salt, secret), &[info, &[1]].concat())
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let pad = |with: u8| -> Vec<u8> {
        let padded = key.iter().copied().chain(std::iter::repeat(0)).take(64);
        padded.map(|byte| byte ^ with).collect()
    };
    let inner = Sha256::digest([&pad(0x36)[..], message].concat());
    Sha256::digest([&pad(0x5c)[..], &inner].concat()).into()
}

/// A token's text of its parts (identity/3.10 to 3.12).
pub(crate) fn token(vector: &Value) -> String {
    let endpoints = vector["endpoints"].as_array().unwrap();
    let mut body = vec![1, u8::try_from(endpoints.len()).unwrap()];
    for endpoint in endpoints {
        let endpoint = endpoint.as_str().unwrap();
        body.push(u8::try_from(endpoint.len()).unwrap());
        body.extend(endpoint.bytes());
    }
    body.extend(bytes(vector, "team"));
    body.extend(bytes(vector, "ca_hash"));
    body.extend(big(8, number(vector, "expires_s")));
    body.extend(bytes(vector, "seed"));
    let jwt: Vec<&str> = text(vector, "jwt").split('.').collect();
    let part = |at: usize| BASE64URL_NOPAD.decode(jwt[at].as_bytes()).unwrap();
    let signed = format!("{}.{}", jwt[0], jwt[1]);
    assert_eq!(part(0), br#"{"alg":"EdDSA","typ":"join+jwt"}"#);
    assert_eq!(
        part(2),
        sign(&array(vector, "issuer_seed"), signed.as_bytes())
    );
    body.extend(big(2, part(1).len() as u64));
    body.extend(part(1));
    body.extend(part(2));
    let ring = optional(&vector["ring"]);
    body.extend(big(2, ring.len() as u64));
    body.extend(ring);
    let text = BASE32_NOPAD.encode(&body).to_lowercase();
    format!("ms1-{text}-{}", checksum(&body))
}

/// CRC-10, bit by bit, as two characters.
fn checksum(body: &[u8]) -> String {
    let bits = body
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)));
    let crc = bits.fold(0x3ff, |crc: u16, bit| {
        let carry = (crc >> 9) ^ bit;
        ((crc << 1) & 0x3ff) ^ (0x233 * carry)
    });
    let alphabet = b"abcdefghijklmnopqrstuvwxyz234567";
    [crc >> 5, crc & 31]
        .map(|at| char::from(alphabet[usize::from(at)]))
        .iter()
        .collect()
}

/// The digest of parts with their lengths (patch/4.1).
pub(crate) fn digest(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hashed = Vec::new();
    for part in parts {
        hashed.extend((part.len() as u64).to_le_bytes());
        hashed.extend_from_slice(part);
    }
    derived(context, &[&hashed])
}

fn optional(value: &Value) -> Vec<u8> {
    if value.is_null() {
        Vec::new()
    } else {
        unhex(value)
    }
}

/// The first half of a hash.
pub(crate) fn short(hash: [u8; 32]) -> [u8; 16] {
    hash[..16].try_into().unwrap()
}

pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    blake3::hash(&parts.concat()).into()
}

fn derived(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    blake3::derive_key(context, &parts.concat())
}

/// The last `len` bytes of a number, big-endian.
fn big(len: usize, number: u64) -> Vec<u8> {
    number.to_be_bytes()[8 - len..].to_vec()
}

/// RFC 8032, section 5.1.5: the secret scalar and the prefix of a seed.
fn expand(seed: &[u8; 32]) -> (Scalar, [u8; 32]) {
    let hashed: [u8; 64] = Sha512::digest(seed).into();
    let (mut scalar, mut prefix) = ([0; 32], [0; 32]);
    scalar.copy_from_slice(&hashed[..32]);
    prefix.copy_from_slice(&hashed[32..]);
    scalar[0] &= 248;
    scalar[31] = scalar[31] & 127 | 64;
    (Scalar::from_bytes_mod_order(scalar), prefix)
}

pub(crate) fn public_key(seed: &[u8; 32]) -> [u8; 32] {
    EdwardsPoint::mul_base(&expand(seed).0).compress().0
}

/// RFC 8032, section 5.1.6.
pub(crate) fn sign(seed: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let scalar_of =
        |parts: &[&[u8]]| Scalar::from_bytes_mod_order_wide(&Sha512::digest(parts.concat()).into());
    let (secret, prefix) = expand(seed);
    let nonce = scalar_of(&[&prefix, message]);
    let point = EdwardsPoint::mul_base(&nonce).compress().0;
    let challenge = scalar_of(&[&point, &public_key(seed), message]);
    let response = nonce + challenge * secret;
    [point, response.to_bytes()].concat().try_into().unwrap()
}

#[test]
fn c04_the_second_implementation_knows_nothing_of_the_first() {
    let source = include_str!("second.rs");
    // In two pieces, or this line would find itself.
    assert!(!source.contains(concat!("aura", "_")));
    assert_eq!(
        HEXLOWER.encode(&public_key(&[0; 32])),
        "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
    );
}
