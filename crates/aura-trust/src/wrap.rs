//! What only one member can open, above all a team key: HPKE with X25519, HKDF-SHA256 and ChaCha20-Poly1305
//! (RFC 9180, base mode).
//!
//! Invariants:
//! - a wrap opens only for its addressee, in its team and epoch;
//! - a key that does not match the published commitment is never returned, so nobody gets a different one.

use std::convert::Infallible;

use aura_proto::{Digest, PeerId, TeamId};
use hpke::{
    Deserializable as _, OpModeR, OpModeS, Serializable as _,
    aead::ChaCha20Poly1305,
    kdf::HkdfSha256,
    kem::X25519HkdfSha256,
    rand_core::{TryCryptoRng, TryRng},
    setup_receiver, setup_sender_with_rng,
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::keys::{ReceiveKey, TeamKey};

/// Bytes of a wrapped team key: encapsulated key, secret, tag.
pub const WRAP_BYTES: usize = ENCAPSULATED_BYTES + 32 + 16;

const ENCAPSULATED_BYTES: usize = 32;
const PURPOSE: &[u8] = b"aura/v1/wrap\0";

type Kem = X25519HkdfSha256;

/// The receive key is not one that anything can be wrapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nothing can be wrapped to this receive key")]
pub struct WrapError;

/// Why a wrapped team key was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// It opened, and is not the key that the epoch commits to.
    #[error("the wrapped key is not the one that the epoch commits to")]
    Commitment,
    /// It is for another peer, team or epoch, or was changed.
    #[error("the wrapped key does not open for this peer")]
    Refused,
}

/// What everybody may see of a team key, to know that all were handed the same.
///
/// Covers the secret alone, so that an old secret under a new epoch number is recognised.
pub fn commit(key: &TeamKey) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("aura/v1/team-key-commitment");
    hasher.update(key.secret());
    Digest(*hasher.finalize().as_bytes())
}

/// Wraps `key` for `peer`, whose receive key is `to`; `random` serves this one wrap only.
pub fn wrap_key(
    key: &TeamKey,
    to: &[u8; 32],
    team: TeamId,
    peer: PeerId,
    random: [u8; 32],
) -> Result<Vec<u8>, WrapError> {
    seal_to(to, &info(team, peer, key.epoch), key.secret(), random)
}

/// Seals `plaintext` to a receive key under `info`; `random` serves this one time only.
pub(crate) fn seal_to(
    to: &[u8; 32],
    info: &[u8],
    plaintext: &[u8],
    random: [u8; 32],
) -> Result<Vec<u8>, WrapError> {
    let to = <Kem as hpke::Kem>::PublicKey::from_bytes(to).map_err(|_| WrapError)?;
    let (encapsulated, mut sender) = setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeS::Base,
        &to,
        info,
        &mut Stretched::new(random, info),
    )
    .map_err(|_| WrapError)?;
    let sealed = sender.seal(plaintext, b"").map_err(|_| WrapError)?;
    Ok([&encapsulated.to_bytes()[..], &sealed].concat())
}

/// Opens what [`seal_to`] made; nothing if it is for another key, under another `info`, or was changed.
pub(crate) fn open_from(
    receive: &ReceiveKey,
    info: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (encapsulated, sealed) = sealed.split_first_chunk::<ENCAPSULATED_BYTES>()?;
    let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated).ok()?;
    let mut receiver = setup_receiver::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeR::Base,
        &receive.secret,
        &encapsulated,
        info,
    )
    .ok()?;
    receiver.open(sealed, b"").ok().map(Zeroizing::new)
}

/// Unwraps the key of `epoch` and checks it against the epoch's commitment.
// spec: identity/5.3
pub fn unwrap_key(
    receive: &ReceiveKey,
    team: TeamId,
    peer: PeerId,
    epoch: u32,
    commitment: Digest,
    wrapped: &[u8],
) -> Result<TeamKey, UnwrapError> {
    let secret =
        open_from(receive, &info(team, peer, epoch), wrapped).ok_or(UnwrapError::Refused)?;
    let secret = secret
        .as_slice()
        .try_into()
        .map_err(|_| UnwrapError::Refused)?;
    let key = TeamKey::new(epoch, secret);
    if commit(&key) == commitment {
        Ok(key)
    } else {
        Err(UnwrapError::Commitment)
    }
}

fn info(team: TeamId, peer: PeerId, epoch: u32) -> Vec<u8> {
    [PURPOSE, &team.0, &peer.0, &epoch.to_be_bytes()].concat()
}

/// A generator that stretches 32 random bytes from the caller.
///
/// The context goes in as well: the same bytes used for two addressees by mistake still give two keys.
struct Stretched(blake3::OutputReader);

impl Stretched {
    fn new(mut random: [u8; 32], context: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("aura/v1/wrap-randomness");
        hasher.update(&random);
        hasher.update(context);
        random.zeroize();
        Self(hasher.finalize_xof())
    }
}

impl TryRng for Stretched {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Stretched {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEAM: TeamId = TeamId([1; 16]);
    const BOB: PeerId = PeerId([2; 32]);

    fn bob() -> ReceiveKey {
        ReceiveKey::from_seed([3; 32])
    }

    fn key() -> TeamKey {
        TeamKey::new(4, [5; 32])
    }

    fn wrapped() -> Vec<u8> {
        wrap_key(&key(), &bob().public(), TEAM, BOB, [6; 32]).unwrap()
    }

    #[test]
    fn a_wrapped_key_opens_for_its_addressee() {
        assert_eq!(wrapped().len(), WRAP_BYTES);
        let again = unwrap_key(&bob(), TEAM, BOB, 4, commit(&key()), &wrapped()).unwrap();
        assert_eq!((again.epoch, again.secret()), (4, key().secret()));
    }

    #[test]
    fn a_wrapped_key_opens_for_nobody_else_and_nowhere_else() {
        let carol = ReceiveKey::from_seed([9; 32]);
        let commitment = commit(&key());
        let attempts = [
            unwrap_key(&carol, TEAM, BOB, 4, commitment, &wrapped()),
            unwrap_key(&bob(), TeamId([9; 16]), BOB, 4, commitment, &wrapped()),
            unwrap_key(&bob(), TEAM, PeerId([9; 32]), 4, commitment, &wrapped()),
            unwrap_key(&bob(), TEAM, BOB, 5, commitment, &wrapped()),
        ];
        for attempt in attempts {
            assert_eq!(attempt.unwrap_err(), UnwrapError::Refused);
        }
    }

    #[test]
    fn a_member_that_is_handed_a_different_key_notices() {
        let other = TeamKey::new(4, [6; 32]);
        let wrapped = wrap_key(&other, &bob().public(), TEAM, BOB, [6; 32]).unwrap();
        assert_eq!(
            unwrap_key(&bob(), TEAM, BOB, 4, commit(&key()), &wrapped).unwrap_err(),
            UnwrapError::Commitment
        );
    }

    #[test]
    fn every_flipped_byte_and_every_cut_of_a_wrap_is_noticed() {
        let wrapped = wrapped();
        for at in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert!(unwrap_key(&bob(), TEAM, BOB, 4, commit(&key()), &changed).is_err());
            assert!(unwrap_key(&bob(), TEAM, BOB, 4, commit(&key()), &wrapped[..at]).is_err());
        }
    }

    #[test]
    fn nothing_is_wrapped_to_a_key_that_gives_every_sender_the_same_secret() {
        assert_eq!(
            wrap_key(&key(), &[0; 32], TEAM, BOB, [6; 32]),
            Err(WrapError)
        );
    }

    #[test]
    fn random_bytes_used_twice_still_give_two_wraps() {
        let other = wrap_key(&key(), &bob().public(), TEAM, PeerId([9; 32]), [6; 32]).unwrap();
        assert_ne!(wrapped()[..ENCAPSULATED_BYTES], other[..ENCAPSULATED_BYTES]);
    }
}
