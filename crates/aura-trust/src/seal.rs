//! Sealing bodies, so that the coordinator stores and relays what it cannot read.
//!
//! Invariants:
//! - each body has its own key and AES nonce, both derived from the team key, 24 random bytes and the context;
//! - a body opens only under the epoch, team, log, author, number and kind that it was sealed for.

use aura_proto::{Kind, LogId, SignedActivity, TeamId, Writer, activity::ACTIVITY_KIND};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::{derive::derive, keys::TeamKey};

/// Bytes that sealing adds to a body: nonce and tag.
pub const SEAL_OVERHEAD_BYTES: usize = SALT_BYTES + TAG_BYTES;

const SALT_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const AES_KEY_BYTES: usize = 32;
const AES_NONCE_BYTES: usize = 12;
const CONTEXT_BYTES: usize = 16 + 16 + 32 + 8 + 8 + 2;
const PURPOSE: &[u8] = b"aura/v1/seal\0";

/// The place of a sealed body; a body moved to another place does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealContext {
    /// The team.
    pub team: TeamId,
    /// The log within the team.
    pub log: LogId,
    /// Who sealed it, in which incarnation.
    pub writer: Writer,
    /// The writer's number of the entry.
    pub author_seq: u64,
    /// What the entry says.
    pub kind: Kind,
}

impl SealContext {
    fn encode(&self) -> [u8; CONTEXT_BYTES] {
        let mut out = Vec::with_capacity(CONTEXT_BYTES);
        out.extend_from_slice(&self.team.0);
        out.extend_from_slice(&self.log.0);
        out.extend_from_slice(&self.writer.peer.0);
        out.extend_from_slice(&self.writer.incarnation.0.to_be_bytes());
        out.extend_from_slice(&self.author_seq.to_be_bytes());
        out.extend_from_slice(&self.kind.0.to_be_bytes());
        out.try_into()
            .expect("the fields above add up to CONTEXT_BYTES")
    }
}

impl SealContext {
    /// The place of what a device says of its work.
    // spec: activity/1.1
    pub fn of_activity(team: TeamId, said: &SignedActivity) -> Self {
        Self {
            team,
            log: said.log,
            writer: said.writer,
            author_seq: said.counter,
            kind: ACTIVITY_KIND,
        }
    }
}

impl From<&aura_proto::Header> for SealContext {
    fn from(header: &aura_proto::Header) -> Self {
        Self {
            team: header.team,
            log: header.log,
            writer: header.writer,
            author_seq: header.author_seq,
            kind: header.kind,
        }
    }
}

/// Why a body did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another key, another place, or changed bytes; the three cannot be told apart.
    #[error("the body does not open with this key in this place")]
    Refused,
    /// Fewer bytes than sealing adds.
    #[error("a sealed body of {bytes} bytes is too short")]
    TooShort {
        /// How many there were.
        bytes: usize,
    },
}

/// Seals `plaintext` with 24 random bytes: nonce, then AES-256-GCM ciphertext and tag.
pub fn seal(key: &TeamKey, context: &SealContext, nonce: [u8; 24], plaintext: &[u8]) -> Vec<u8> {
    let context = context.encode();
    let (cipher, aes_nonce) = body_cipher(key, &context, &nonce);
    let mut out = Vec::with_capacity(plaintext.len() + SEAL_OVERHEAD_BYTES);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plaintext);
    let tag = cipher
        .seal_in_place_separate_tag(aes_nonce, Aad::from(context), &mut out[SALT_BYTES..])
        .expect("a body in memory is far below the 64 GiB that AES-GCM takes");
    out.extend_from_slice(tag.as_ref());
    out
}

/// Opens what [`seal`] made.
pub fn open(key: &TeamKey, context: &SealContext, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let too_short = OpenError::TooShort {
        bytes: sealed.len(),
    };
    let (nonce, rest) = sealed.split_first_chunk::<SALT_BYTES>().ok_or(too_short)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(too_short)?;
    let context = context.encode();
    let (cipher, aes_nonce) = body_cipher(key, &context, nonce);
    let mut plaintext = vec![0; ciphertext.len()];
    cipher
        .open_separate_gather(
            aes_nonce,
            Aad::from(context),
            ciphertext,
            tag,
            &mut plaintext,
        )
        .map_err(|_| OpenError::Refused)?;
    Ok(plaintext)
}

fn body_cipher(
    key: &TeamKey,
    context: &[u8; CONTEXT_BYTES],
    salt: &[u8; SALT_BYTES],
) -> (LessSafeKey, Nonce) {
    let info: [&[u8]; 3] = [PURPOSE, &key.epoch.to_be_bytes(), context];
    let material = Zeroizing::new(derive::<{ AES_KEY_BYTES + AES_NONCE_BYTES }>(
        key.secret(),
        salt,
        &info,
    ));
    cipher_from(&material)
}

/// AES-256-GCM key and nonce from 44 derived bytes that serve one message only.
pub(crate) fn cipher_from(
    material: &[u8; AES_KEY_BYTES + AES_NONCE_BYTES],
) -> (LessSafeKey, Nonce) {
    let (key, nonce) = material.split_at(AES_KEY_BYTES);
    let key = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes 32 bytes");
    let nonce = Nonce::try_assume_unique_for_key(nonce).expect("AES-GCM takes 12 bytes");
    (LessSafeKey::new(key), nonce)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aura_proto::{Incarnation, PeerId};
    use proptest::prelude::*;

    use super::*;

    fn key() -> TeamKey {
        TeamKey::new(1, [7; 32])
    }

    fn context() -> SealContext {
        SealContext {
            team: TeamId([1; 16]),
            log: LogId([2; 16]),
            writer: Writer {
                peer: PeerId([3; 32]),
                incarnation: Incarnation(4),
            },
            author_seq: 5,
            kind: Kind::PATCH,
        }
    }

    #[test]
    fn a_body_does_not_open_in_another_place() {
        let sealed = seal(&key(), &context(), [9; 24], b"fn price()");
        let writer = context().writer;
        let elsewhere = [
            SealContext {
                team: TeamId([9; 16]),
                ..context()
            },
            SealContext {
                log: LogId([9; 16]),
                ..context()
            },
            SealContext {
                writer: Writer {
                    peer: PeerId([9; 32]),
                    ..writer
                },
                ..context()
            },
            SealContext {
                writer: Writer {
                    incarnation: Incarnation(9),
                    ..writer
                },
                ..context()
            },
            SealContext {
                author_seq: 9,
                ..context()
            },
            SealContext {
                kind: Kind::INTENT,
                ..context()
            },
        ];
        for place in elsewhere {
            assert_eq!(
                open(&key(), &place, &sealed),
                Err(OpenError::Refused),
                "{place:?}"
            );
        }
        assert_eq!(open(&key(), &context(), &sealed).unwrap(), b"fn price()");
    }

    #[test]
    fn a_body_does_not_open_with_another_key_or_epoch() {
        let sealed = seal(&key(), &context(), [9; 24], b"fn price()");
        for other in [TeamKey::new(1, [8; 32]), TeamKey::new(2, [7; 32])] {
            assert_eq!(open(&other, &context(), &sealed), Err(OpenError::Refused));
        }
    }

    #[test]
    fn every_flipped_byte_and_every_cut_of_a_sealed_body_is_noticed() {
        let sealed = seal(&key(), &context(), [9; 24], b"fn price()");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&key(), &context(), &changed).is_err(), "byte {at}");
            assert!(open(&key(), &context(), &sealed[..at]).is_err(), "cut {at}");
        }
    }

    #[test]
    fn equal_texts_at_two_places_or_with_two_nonces_share_no_ciphertext() {
        let text = [0; 64];
        let one = seal(&key(), &context(), [9; 24], &text);
        let elsewhere = SealContext {
            author_seq: 6,
            ..context()
        };
        for other in [
            seal(&key(), &context(), [8; 24], &text),
            seal(&key(), &elsewhere, [9; 24], &text),
        ] {
            for (a, b) in one[24..].chunks(16).zip(other[24..].chunks(16)) {
                assert_ne!(a, b);
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(text: Vec<u8>, nonce: [u8; 24], secret: [u8; 32], epoch: u32) {
            let key = TeamKey::new(epoch, secret);
            let sealed = seal(&key, &context(), nonce, &text);
            prop_assert_eq!(sealed.len(), text.len() + SEAL_OVERHEAD_BYTES);
            prop_assert_eq!(open(&key, &context(), &sealed).unwrap(), text);
        }
    }
}
