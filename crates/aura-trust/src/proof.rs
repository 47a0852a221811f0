//! Proofs that a key is held, each bound to one TLS session.
//!
//! Invariants:
//! - every proof covers the exporter value of the session, so that it is worth nothing in another;
//! - every part of a transcript has a fixed length (texts go in by hash), so that parts cannot shift.

use aura_proto::{Code, Digest, PeerId};

use crate::{
    keys::{IdentityKey, Purpose, verify},
    token::InviteSeed,
};

/// 32 bytes of TLS keying material (RFC 8446, section 7.5) that only the two ends of a session know.
pub type Exporter = [u8; 32];

/// What a newcomer proves: seed and identity key are held, for this request, in this session.
#[derive(Debug, Clone, Copy)]
pub struct JoinTranscript<'a> {
    /// Id of the invitation.
    pub jti: &'a [u8; 16],
    /// Identity key.
    pub peer: PeerId,
    /// Receive key.
    pub receive_key: &'a [u8; 32],
    /// PKCS#10 request, DER.
    pub csr: &'a [u8],
    /// Of the session.
    pub exporter: &'a Exporter,
}

impl JoinTranscript<'_> {
    fn with_parts<T>(&self, act: impl FnOnce(&[&[u8]]) -> T) -> T {
        let csr = Digest::of(self.csr);
        act(&[
            self.jti,
            &self.peer.0,
            self.receive_key,
            &csr.0,
            self.exporter,
        ])
    }
}

/// What a peer proves that asks for a fresh certificate.
#[derive(Debug, Clone, Copy)]
pub struct RenewTranscript<'a> {
    /// Identity key.
    pub peer: PeerId,
    /// PKCS#10 request, DER.
    pub csr: &'a [u8],
    /// Of the session.
    pub exporter: &'a Exporter,
}

impl RenewTranscript<'_> {
    fn with_parts<T>(&self, act: impl FnOnce(&[&[u8]]) -> T) -> T {
        let csr = Digest::of(self.csr);
        act(&[&self.peer.0, &csr.0, self.exporter])
    }
}

/// Which end of the session proves itself; a proof of one end is not one of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The end that dialled.
    Dialler,
    /// The end that answered.
    Answerer,
}

impl Side {
    fn byte(self) -> u8 {
        match self {
            Self::Dialler => 1,
            Self::Answerer => 2,
        }
    }
}

/// The newcomer's proof that it holds the seed of the invitation.
pub fn seed_proof(seed: &InviteSeed, transcript: &JoinTranscript<'_>) -> [u8; 64] {
    transcript.with_parts(|parts| seed.key().sign(Purpose::JoinSeed, parts))
}

/// The newcomer's proof that it holds its identity key.
pub fn identity_proof(key: &IdentityKey, transcript: &JoinTranscript<'_>) -> [u8; 64] {
    transcript.with_parts(|parts| key.sign(Purpose::JoinIdentity, parts))
}

/// Checks both proofs of a newcomer; `seed_key` comes from the checked JWT.
pub fn verify_join(
    seed_key: PeerId,
    transcript: &JoinTranscript<'_>,
    seed_proof: &[u8],
    identity_proof: &[u8],
) -> Result<(), Code> {
    transcript.with_parts(|parts| {
        verify(seed_key, Purpose::JoinSeed, parts, seed_proof)
            .and_then(|()| {
                verify(
                    transcript.peer,
                    Purpose::JoinIdentity,
                    parts,
                    identity_proof,
                )
            })
            .map_err(|_| Code::POP_FAILED)
    })
}

/// The proof that goes with a request for a fresh certificate.
pub fn renew_proof(key: &IdentityKey, transcript: &RenewTranscript<'_>) -> [u8; 64] {
    transcript.with_parts(|parts| key.sign(Purpose::Renew, parts))
}

/// Checks the proof of a request for a fresh certificate.
pub fn verify_renew(transcript: &RenewTranscript<'_>, proof: &[u8]) -> Result<(), Code> {
    transcript
        .with_parts(|parts| verify(transcript.peer, Purpose::Renew, parts, proof))
        .map_err(|_| Code::POP_FAILED)
}

/// The signature of AUTH.
pub fn auth_proof(key: &IdentityKey, exporter: &Exporter, side: Side) -> [u8; 64] {
    key.sign(Purpose::Auth, &[&[side.byte()], exporter])
}

/// Checks the signature of AUTH by the other end, which stands on `side`.
pub fn verify_auth(
    peer: PeerId,
    exporter: &Exporter,
    side: Side,
    signature: &[u8],
) -> Result<(), Code> {
    verify(peer, Purpose::Auth, &[&[side.byte()], exporter], signature)
        .map_err(|_| Code::POP_FAILED)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key() -> IdentityKey {
        IdentityKey::from_seed([1; 32])
    }

    fn seed() -> InviteSeed {
        InviteSeed::new([2; 32])
    }

    fn join() -> JoinTranscript<'static> {
        JoinTranscript {
            jti: &[3; 16],
            peer: key().peer(),
            receive_key: &[4; 32],
            csr: b"request",
            exporter: &[5; 32],
        }
    }

    #[test]
    fn case_014_a_join_without_or_with_the_wrong_proof_fails() {
        let (by_seed, by_identity) = (
            seed_proof(&seed(), &join()),
            identity_proof(&key(), &join()),
        );
        let seed_key = seed().key().peer();
        verify_join(seed_key, &join(), &by_seed, &by_identity).unwrap();
        let other_seed = seed_proof(&InviteSeed::new([9; 32]), &join());
        let other_key = identity_proof(&IdentityKey::from_seed([9; 32]), &join());
        let pairs: [(&[u8], &[u8]); 6] = [
            (b"", &by_identity),
            (&by_seed, b""),
            (&other_seed, &by_identity),
            (&by_seed, &other_key),
            (&by_identity, &by_seed),
            (&by_seed, &by_seed),
        ];
        for (by_seed, by_identity) in pairs {
            assert_eq!(
                verify_join(seed_key, &join(), by_seed, by_identity),
                Err(Code::POP_FAILED)
            );
        }
    }

    #[test]
    fn a_join_proof_is_worth_nothing_for_another_request_or_session() {
        let (by_seed, by_identity) = (
            seed_proof(&seed(), &join()),
            identity_proof(&key(), &join()),
        );
        let others = [
            JoinTranscript {
                jti: &[9; 16],
                ..join()
            },
            JoinTranscript {
                peer: IdentityKey::from_seed([9; 32]).peer(),
                ..join()
            },
            JoinTranscript {
                receive_key: &[9; 32],
                ..join()
            },
            JoinTranscript {
                csr: b"another request",
                ..join()
            },
            JoinTranscript {
                exporter: &[9; 32],
                ..join()
            },
        ];
        for other in others {
            assert_eq!(
                verify_join(seed().key().peer(), &other, &by_seed, &by_identity),
                Err(Code::POP_FAILED)
            );
        }
    }

    #[test]
    fn a_renewal_proof_holds_for_its_request_and_session_only() {
        let renew = RenewTranscript {
            peer: key().peer(),
            csr: b"request",
            exporter: &[5; 32],
        };
        let proof = renew_proof(&key(), &renew);
        verify_renew(&renew, &proof).unwrap();
        let others = [
            RenewTranscript {
                csr: b"another",
                ..renew
            },
            RenewTranscript {
                exporter: &[9; 32],
                ..renew
            },
            RenewTranscript {
                peer: IdentityKey::from_seed([9; 32]).peer(),
                ..renew
            },
        ];
        for other in others {
            assert_eq!(verify_renew(&other, &proof), Err(Code::POP_FAILED));
        }
    }

    #[test]
    fn a_proof_of_one_end_cannot_be_sent_back_as_that_of_the_other() {
        let proof = auth_proof(&key(), &[5; 32], Side::Dialler);
        verify_auth(key().peer(), &[5; 32], Side::Dialler, &proof).unwrap();
        let refused = Err(Code::POP_FAILED);
        assert_eq!(
            verify_auth(key().peer(), &[5; 32], Side::Answerer, &proof),
            refused
        );
        assert_eq!(
            verify_auth(key().peer(), &[6; 32], Side::Dialler, &proof),
            refused
        );
    }
}
