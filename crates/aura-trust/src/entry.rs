//! Signing and verifying entries and checkpoints.
//!
//! Invariants:
//! - a [`VerifiedEntry`] exists only after its signature was checked, or was made here;
//! - an entry is signed by the key that its header names as the writer.

use std::ops::Deref;

use aura_proto::{Digest, Entry, Header, LogId, PeerId, entry::EntryError, event::Checkpoint};

use crate::keys::{BadSignature, IdentityKey, Purpose, verify_bytes};

/// An entry whose author's signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedEntry(Entry);

impl VerifiedEntry {
    /// Signs an entry of this peer's own; what was just signed needs no check.
    pub fn signed_here(key: &IdentityKey, header: &Header, body: &[u8]) -> Result<Self, SignError> {
        sign_entry(key, header, body).map(Self)
    }

    /// The entry.
    pub fn entry(&self) -> &Entry {
        &self.0
    }

    /// The entry, without the knowledge that it was verified.
    pub fn into_entry(self) -> Entry {
        self.0
    }
}

impl Deref for VerifiedEntry {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.0
    }
}

/// Why an entry could not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Header and body do not make an entry.
    #[error("header and body do not make an entry")]
    Entry(#[source] EntryError),
    /// The header names another peer as the writer.
    #[error("the header names {writer} as the writer")]
    NotTheWriter {
        /// Who is named.
        writer: PeerId,
    },
}

/// Signs an entry; length and hash of the body are filled in.
pub fn sign_entry(key: &IdentityKey, header: &Header, body: &[u8]) -> Result<Entry, SignError> {
    let writer = header.writer.peer;
    if writer != key.peer() {
        return Err(SignError::NotTheWriter { writer });
    }
    let body_len = u32::try_from(body.len())
        .map_err(|_| SignError::Entry(EntryError::TooLarge { bytes: u32::MAX }))?;
    let header = Header {
        body_len,
        body_hash: Digest::of(body),
        ..header.clone()
    };
    let signature = key.sign(Purpose::Entry, &[&header.encode()]);
    Entry::assemble(&header, &signature, body).map_err(SignError::Entry)
}

/// Checks the author's signature of an entry.
pub fn verify_entry(entry: Entry) -> Result<VerifiedEntry, BadSignature> {
    let header = entry.header();
    verify_bytes(
        header.writer.peer,
        &header.signed_bytes(),
        entry.signature(),
    )?;
    Ok(VerifiedEntry(entry))
}

/// Signs that `log` has exactly the history `hash` up to `seq`.
pub fn sign_checkpoint(
    key: &IdentityKey,
    log: LogId,
    epoch: u64,
    seq: u64,
    time_ms: u64,
    hash: Digest,
) -> Checkpoint {
    let mut checkpoint = Checkpoint {
        log,
        epoch,
        seq,
        time_ms,
        hash,
        signature: [0; 64],
    };
    checkpoint.signature = key.sign_bytes(&checkpoint.signed_bytes());
    checkpoint
}

/// Checks a checkpoint against the key that signs checkpoints.
pub fn verify_checkpoint(checkpoint: &Checkpoint, by: PeerId) -> Result<(), BadSignature> {
    verify_bytes(by, &checkpoint.signed_bytes(), &checkpoint.signature)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aura_proto::{
        Incarnation, Kind, TeamId, Writer,
        entry::{HEADER_BYTES, PROTOCOL_LEVEL},
    };
    use bytes::Bytes;

    use super::*;

    fn key() -> IdentityKey {
        IdentityKey::from_seed([7; 32])
    }

    fn header() -> Header {
        Header {
            level: PROTOCOL_LEVEL,
            kind: Kind::PATCH,
            flags: 0,
            team: TeamId([1; 16]),
            log: LogId([2; 16]),
            writer: Writer {
                peer: key().peer(),
                incarnation: Incarnation(4),
            },
            author_seq: 1,
            prev: Digest::ZERO,
            lamport: 6,
            time_ms: 7,
            fence: 0,
            key_epoch: 1,
            body_len: 0,
            body_hash: Digest::ZERO,
        }
    }

    #[test]
    fn a_signed_entry_verifies_after_travelling() {
        let entry = sign_entry(&key(), &header(), b"sealed").unwrap();
        let verified = verify_entry(Entry::decode(entry.bytes().clone()).unwrap()).unwrap();
        assert_eq!(verified.entry(), &entry);
        assert_eq!(verified.header().body_len, 6);
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let entry = sign_entry(&key(), &header(), b"sealed").unwrap();
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = entry.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(forged) = Entry::decode(Bytes::from(bytes)) {
                assert_eq!(verify_entry(forged), Err(BadSignature), "bit {bit}");
            }
        }
    }

    #[test]
    fn nobody_signs_in_the_name_of_another() {
        let other = IdentityKey::from_seed([8; 32]);
        assert!(matches!(
            sign_entry(&other, &header(), b""),
            Err(SignError::NotTheWriter { .. })
        ));
    }

    #[test]
    fn a_checkpoint_verifies_for_its_signer_and_its_fields_only() {
        let checkpoint = sign_checkpoint(&key(), LogId([2; 16]), 1, 9, 5, Digest([3; 32]));
        verify_checkpoint(&checkpoint, key().peer()).unwrap();
        let other = IdentityKey::from_seed([8; 32]).peer();
        assert_eq!(verify_checkpoint(&checkpoint, other), Err(BadSignature));
        let moved = Checkpoint {
            seq: 10,
            ..checkpoint
        };
        assert_eq!(verify_checkpoint(&moved, key().peer()), Err(BadSignature));
    }
}
