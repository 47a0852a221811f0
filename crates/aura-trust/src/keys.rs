//! Identity keys, receive keys and team keys, and the one way to sign and to verify.
//!
//! Invariants:
//! - a signature covers the name of its purpose first, so that none can stand for another;
//! - a verifying key of small order is refused: under it one signature would fit many messages;
//! - secrets are wiped when dropped, print as `[redacted]` and leave only through functions that say so.

use std::{collections::BTreeMap, fmt};

use aura_proto::{
    PeerId, Reach, SignedActivity, SignedReach, TeamId, entry::SIGNING_PURPOSE,
    event::CHECKPOINT_PURPOSE,
};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use hpke::{Deserializable as _, Kem as _, Serializable as _, kem::X25519HkdfSha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{derive::derive, reader::Reader};

/// Team keys that one ring holds at most: one rotation a day for more than a decade.
pub const RING_EPOCHS_MAX: usize = 4_096;

/// First byte of an encoded key ring.
const RING_VERSION: u8 = 1;
/// Bytes of one team key in an encoded ring: epoch and secret.
const RING_ROW_BYTES: usize = 4 + 32;

/// What a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Who edits what now, by the device.
    Activity,
    /// The identity key of the end that dialled or answered, bound to one TLS session.
    Auth,
    /// The Mothership's word about the history of a log.
    Checkpoint,
    /// An entry, by its author.
    Entry,
    /// The identity key of a newcomer.
    JoinIdentity,
    /// The seed of the token that a newcomer holds.
    JoinSeed,
    /// Where a peer is, by the peer.
    Reach,
    /// A receive key, by the identity that it belongs to.
    ReceiveKey,
    /// The identity key of a peer that asks for a fresh certificate.
    Renew,
    /// A message that others pass on, by its writer.
    Routed,
}

impl Purpose {
    /// Every purpose, in order of name.
    pub const ALL: [Self; 10] = [
        Self::Activity,
        Self::Auth,
        Self::Checkpoint,
        Self::Entry,
        Self::JoinIdentity,
        Self::JoinSeed,
        Self::Reach,
        Self::ReceiveKey,
        Self::Renew,
        Self::Routed,
    ];

    /// What the signed bytes begin with; ends with a zero byte, so that no purpose begins another.
    ///
    /// All begin with `aura/`, which no JWT signing input can: `/` is not in its alphabet.
    pub fn prefix(self) -> &'static [u8] {
        match self {
            Self::Activity => b"aura/v1/activity\0",
            Self::Auth => b"aura/v1/auth\0",
            Self::Checkpoint => CHECKPOINT_PURPOSE,
            Self::Entry => SIGNING_PURPOSE,
            Self::JoinIdentity => b"aura/v1/join-identity\0",
            Self::JoinSeed => b"aura/v1/join-seed\0",
            Self::Reach => b"aura/v1/reach\0",
            Self::ReceiveKey => b"aura/v1/receive-key\0",
            Self::Renew => b"aura/v1/renew\0",
            Self::Routed => b"aura/v1/routed\0",
        }
    }
}

/// The signature does not belong to this key, purpose and content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// An Ed25519 signing key: a peer's identity, a Mothership's checkpoint key, or the key of an invitation.
pub struct IdentityKey {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
    peer: PeerId,
}

impl IdentityKey {
    /// The key of 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed)
            .expect("every 32 bytes are the seed of an Ed25519 key");
        let public = pair.public_key().as_ref();
        let peer = PeerId(
            public
                .try_into()
                .expect("an Ed25519 public key has 32 bytes"),
        );
        Self { seed, pair, peer }
    }

    /// The verifying key.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Signs the purpose and then `parts`, one after the other.
    ///
    /// Parts are not separated: all but the last must have a fixed length.
    pub fn sign(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; 64] {
        self.sign_bytes(&signed_bytes(purpose, parts))
    }

    /// Signs bytes that already say what they are for.
    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> [u8; 64] {
        let signature = self.pair.sign(bytes);
        signature
            .as_ref()
            .try_into()
            .expect("an Ed25519 signature has 64 bytes")
    }

    /// The 32 secret bytes, for a key file.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.seed.clone()
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey({}, [redacted])", self.peer.short())
    }
}

/// Checks that `peer` signed `parts` for `purpose`.
pub fn verify(
    peer: PeerId,
    purpose: Purpose,
    parts: &[&[u8]],
    signature: &[u8],
) -> Result<(), BadSignature> {
    verify_bytes(peer, &signed_bytes(purpose, parts), signature)
}

/// Checks a signature over bytes that already say what they are for.
// spec: identity/1.3
pub(crate) fn verify_bytes(
    peer: PeerId,
    bytes: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    if has_small_order(&peer.0) {
        return Err(BadSignature);
    }
    UnparsedPublicKey::new(&ED25519, &peer.0)
        .verify(bytes, signature)
        .map_err(|_| BadSignature)
}

fn signed_bytes(purpose: Purpose, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = purpose.prefix().to_vec();
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// Whether `key` encodes one of the eight points of the curve whose order divides 8.
pub(crate) fn has_small_order(key: &[u8; 32]) -> bool {
    let mut y = *key;
    // The sign of x does not change the order.
    y[31] &= 0x7f;
    SMALL_ORDER_Y.contains(&y)
}

const fn near_prime(first: u8) -> [u8; 32] {
    let mut y = [0xff; 32];
    y[0] = first;
    y[31] = 0x7f;
    y
}

const fn small(first: u8) -> [u8; 32] {
    let mut y = [0; 32];
    y[0] = first;
    y
}

/// The y coordinates of the points of order 1, 2, 4 and 8, with the two forms that are not reduced mod p.
const SMALL_ORDER_Y: [[u8; 32]; 7] = [
    small(0),
    small(1),
    near_prime(0xec),
    near_prime(0xed),
    near_prime(0xee),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// The X25519 key to which team keys are wrapped.
pub struct ReceiveKey {
    seed: Zeroizing<[u8; 32]>,
    pub(crate) secret: <X25519HkdfSha256 as hpke::Kem>::PrivateKey,
    public: [u8; 32],
}

impl ReceiveKey {
    /// The key of 32 random bytes (RFC 9180, DeriveKeyPair).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let (secret, public) = X25519HkdfSha256::derive_keypair(&*seed);
        Self {
            seed,
            secret,
            public: public.to_bytes().into(),
        }
    }

    /// The public half, as member cards carry it.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// The 32 secret bytes, for a key file.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.seed.clone()
    }
}

impl fmt::Debug for ReceiveKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceiveKey([redacted])")
    }
}

/// Signs a receive key as belonging to the signer.
pub fn sign_receive_key(key: &IdentityKey, receive_key: &[u8; 32]) -> [u8; 64] {
    key.sign(Purpose::ReceiveKey, &[receive_key])
}

/// Checks that `receive_key` belongs to `peer` and that a key can be wrapped to it.
pub fn verify_receive_key(
    peer: PeerId,
    receive_key: &[u8; 32],
    signature: &[u8],
) -> Result<(), BadSignature> {
    <X25519HkdfSha256 as hpke::Kem>::PublicKey::from_bytes(receive_key)
        .map_err(|_| BadSignature)?;
    verify(peer, Purpose::ReceiveKey, &[receive_key], signature)
}

/// Signs where the holder of `key` is.
pub fn sign_reach(key: &IdentityKey, team: TeamId, reach: Reach) -> SignedReach {
    let signature = key.sign(Purpose::Reach, &[&reach.signed_parts(team)]);
    SignedReach {
        peer: key.peer(),
        reach,
        signature: signature.to_vec(),
    }
}

/// Checks that a peer said itself where it is, in the form that it may say it.
pub fn verify_reach(team: TeamId, said: &SignedReach) -> Result<(), BadSignature> {
    if !said.reach.is_well_formed() {
        return Err(BadSignature);
    }
    let parts = said.reach.signed_parts(team);
    verify(said.peer, Purpose::Reach, &[&parts], &said.signature)
}

/// Signs what a device says of its work; the signature that is in it is replaced.
pub fn sign_activity(key: &IdentityKey, team: TeamId, said: SignedActivity) -> SignedActivity {
    let signature = key.sign(Purpose::Activity, &[&said.signed_parts(team)]);
    SignedActivity {
        signature: signature.to_vec(),
        ..said
    }
}

/// Checks that a device said itself what it works on, in the form that it may say it.
// spec: activity/1.2
pub fn verify_activity(team: TeamId, said: &SignedActivity) -> Result<(), BadSignature> {
    if !said.is_well_formed() {
        return Err(BadSignature);
    }
    let (parts, peer) = (said.signed_parts(team), said.writer.peer);
    verify(peer, Purpose::Activity, &[&parts], &said.signature)
}

/// The secret that the readers of one epoch share.
pub struct TeamKey {
    /// Which epoch, from 1.
    pub epoch: u32,
    secret: Zeroizing<[u8; 32]>,
}

impl TeamKey {
    /// The key of `epoch` made of 32 random bytes.
    pub fn new(epoch: u32, secret: [u8; 32]) -> Self {
        Self {
            epoch,
            secret: Zeroizing::new(secret),
        }
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// By what readers of the epoch know each other on a network that they share with strangers.
    pub fn lan_key(&self, team: TeamId) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(derive(&*self.secret, &team.0, &[b"aura/v1/lan-key\0"]))
    }

    /// A second copy of the secret, for a ring that lives elsewhere.
    pub fn duplicate(&self) -> Self {
        Self {
            epoch: self.epoch,
            secret: self.secret.clone(),
        }
    }
}

impl fmt::Debug for TeamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TeamKey(epoch {}, [redacted])", self.epoch)
    }
}

/// The team keys that a peer holds, by epoch.
#[derive(Debug, Default)]
pub struct KeyRing {
    keys: BTreeMap<u32, TeamKey>,
}

/// Why a team key does not go into a ring, or bytes are not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The ring holds another secret for that epoch.
    #[error("epoch {epoch} already has another key")]
    Conflict {
        /// Which epoch.
        epoch: u32,
    },
    /// More epochs than [`RING_EPOCHS_MAX`].
    #[error("the key ring is full")]
    Full,
    /// The bytes are not an encoded ring.
    #[error("the bytes are not a key ring")]
    Malformed,
}

impl KeyRing {
    /// A ring without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key; adding the same again changes nothing, another secret for the epoch is refused.
    pub fn insert(&mut self, key: TeamKey) -> Result<(), RingError> {
        if let Some(held) = self.keys.get(&key.epoch) {
            let is_same = *held.secret() == *key.secret();
            return if is_same {
                Ok(())
            } else {
                Err(RingError::Conflict { epoch: key.epoch })
            };
        }
        if key.epoch == 0 {
            return Err(RingError::Malformed);
        }
        if RING_EPOCHS_MAX <= self.keys.len() {
            return Err(RingError::Full);
        }
        self.keys.insert(key.epoch, key);
        Ok(())
    }

    /// The key of the highest epoch held.
    pub fn current(&self) -> Option<&TeamKey> {
        self.keys.values().next_back()
    }

    /// The key of `epoch`.
    pub fn get(&self, epoch: u32) -> Option<&TeamKey> {
        self.keys.get(&epoch)
    }

    /// The keys held, in order of epoch.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &TeamKey> {
        self.keys.values()
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The secret bytes, for a key file: version, then epoch and secret of each key in order.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Vec::with_capacity(1 + self.keys.len() * RING_ROW_BYTES);
        bytes.push(RING_VERSION);
        for key in self.keys.values() {
            bytes.extend_from_slice(&key.epoch.to_be_bytes());
            bytes.extend_from_slice(key.secret());
        }
        Zeroizing::new(bytes)
    }

    /// Reads what [`KeyRing::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RingError> {
        let mut rest = Reader(bytes);
        if rest.u8() != Some(RING_VERSION) {
            return Err(RingError::Malformed);
        }
        let mut ring = Self::new();
        while !rest.0.is_empty() {
            let epoch = rest.u32().ok_or(RingError::Malformed)?;
            let mut secret = rest.array::<32>().ok_or(RingError::Malformed)?;
            if ring.current().is_some_and(|last| epoch <= last.epoch) {
                return Err(RingError::Malformed);
            }
            ring.insert(TeamKey::new(epoch, secret))?;
            secret.zeroize();
        }
        Ok(ring)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key() -> IdentityKey {
        IdentityKey::from_seed([7; 32])
    }

    #[test]
    fn a_signature_verifies_for_its_key_purpose_and_content_only() {
        let signature = key().sign(Purpose::Auth, &[b"ab", b"c"]);
        let peer = key().peer();
        verify(peer, Purpose::Auth, &[b"abc"], &signature).unwrap();
        for purpose in Purpose::ALL
            .into_iter()
            .filter(|purpose| *purpose != Purpose::Auth)
        {
            assert!(
                verify(peer, purpose, &[b"abc"], &signature).is_err(),
                "{purpose:?}"
            );
        }
        assert!(verify(peer, Purpose::Auth, &[b"abd"], &signature).is_err());
        let other = IdentityKey::from_seed([8; 32]).peer();
        assert!(verify(other, Purpose::Auth, &[b"abc"], &signature).is_err());
    }

    #[test]
    fn a_lan_key_is_of_one_epoch_and_team_and_tells_nothing_of_the_secret() {
        let of = |secret: u8, team: u8| *TeamKey::new(1, [secret; 32]).lan_key(TeamId([team; 16]));
        assert_eq!(of(9, 1), of(9, 1));
        assert_ne!(of(9, 1), of(8, 1));
        assert_ne!(of(9, 1), of(9, 2));
        assert_ne!(of(9, 1), [9; 32]);
    }

    #[test]
    fn no_purpose_begins_another_and_all_carry_the_version() {
        for a in Purpose::ALL {
            assert!(a.prefix().starts_with(b"aura/v1/") && a.prefix().ends_with(b"\0"));
            for b in Purpose::ALL.into_iter().filter(|b| a != *b) {
                assert!(!b.prefix().starts_with(a.prefix()));
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_a_signature_is_noticed() {
        let signature = key().sign(Purpose::Renew, &[b"x"]);
        for bit in 0..512 {
            let mut flipped = signature;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                verify(key().peer(), Purpose::Renew, &[b"x"], &flipped).is_err(),
                "bit {bit}"
            );
        }
        assert!(verify(key().peer(), Purpose::Renew, &[b"x"], &signature[..63]).is_err());
        assert!(verify(key().peer(), Purpose::Renew, &[b"x"], b"").is_err());
    }

    #[test]
    fn a_key_of_small_order_verifies_nothing() {
        // Under the neutral element the signature (neutral element, 0) fits every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let accepts_everything = UnparsedPublicKey::new(&ED25519, &neutral)
            .verify(b"anything", &signature)
            .is_ok();
        assert!(accepts_everything, "the check below would test nothing");
        assert_eq!(
            verify(PeerId(neutral), Purpose::Entry, &[b"anything"], &signature),
            Err(BadSignature)
        );
    }

    #[test]
    fn keys_come_back_from_their_bytes() {
        let again = IdentityKey::from_seed(*key().to_bytes());
        assert_eq!(again.peer(), key().peer());
        let receive = ReceiveKey::from_seed([9; 32]);
        assert_eq!(
            ReceiveKey::from_seed(*receive.to_bytes()).public(),
            receive.public()
        );
    }

    #[test]
    fn no_secret_shows_in_debug_output() {
        let mut ring = KeyRing::new();
        ring.insert(TeamKey::new(1, [0xaa; 32])).unwrap();
        let shown = format!(
            "{:?} {:?} {ring:?}",
            IdentityKey::from_seed([0xaa; 32]),
            ReceiveKey::from_seed([0xaa; 32])
        );
        assert_eq!(shown.matches("[redacted]").count(), 3, "{shown}");
        assert!(!shown.contains("170") && !shown.contains("aa, "), "{shown}");
    }

    #[test]
    fn a_ring_reads_back_and_its_current_key_is_the_newest() {
        let mut ring = KeyRing::new();
        ring.insert(TeamKey::new(2, [2; 32])).unwrap();
        ring.insert(TeamKey::new(1, [1; 32])).unwrap();
        let again = KeyRing::from_bytes(&ring.to_bytes()).unwrap();
        assert_eq!(again.current().unwrap().epoch, 2);
        assert_eq!(again.get(1).unwrap().secret(), &[1; 32]);
    }

    #[test]
    fn every_cut_of_a_ring_is_refused_or_shorter() {
        let mut ring = KeyRing::new();
        ring.insert(TeamKey::new(1, [1; 32])).unwrap();
        ring.insert(TeamKey::new(2, [2; 32])).unwrap();
        let bytes = ring.to_bytes();
        for len in 0..bytes.len() {
            if let Ok(shorter) = KeyRing::from_bytes(&bytes[..len]) {
                assert!(shorter.iter().count() < 2);
            }
        }
        assert!(matches!(
            KeyRing::from_bytes(&[9]),
            Err(RingError::Malformed)
        ));
    }

    #[test]
    fn a_second_key_for_an_epoch_is_refused() {
        let mut ring = KeyRing::new();
        ring.insert(TeamKey::new(1, [1; 32])).unwrap();
        ring.insert(TeamKey::new(1, [1; 32])).unwrap();
        assert_eq!(
            ring.insert(TeamKey::new(1, [2; 32])),
            Err(RingError::Conflict { epoch: 1 })
        );
    }

    #[test]
    fn a_receive_key_belongs_to_the_identity_that_signed_it() {
        let receive = ReceiveKey::from_seed([9; 32]).public();
        let signature = sign_receive_key(&key(), &receive);
        verify_receive_key(key().peer(), &receive, &signature).unwrap();
        assert!(verify_receive_key(key().peer(), &[1; 32], &signature).is_err());
    }
}
