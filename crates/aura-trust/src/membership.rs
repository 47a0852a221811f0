//! What entries of the team's log say about members and team keys.
//!
//! Invariants:
//! - variants and fields are only ever appended (the codec numbers them by position);
//! - what a body says counts only where [`crate::Roster`] accepts it.

use aura_proto::{
    Digest, Incarnation, LogId, PeerId,
    codec::{self, DecodeError},
    limits::NAME_BYTES_MAX,
    message::Role,
};
use serde::{Deserialize, Serialize};

/// Who a member is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCard {
    /// Identity key.
    pub peer: PeerId,
    /// Name that is unique in the team.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// X25519 key to which team keys are wrapped.
    pub receive_key: [u8; 32],
    /// The member's own signature over `receive_key`, so that nobody can put another in its place.
    #[serde(with = "serde_bytes")]
    pub receive_key_signature: Vec<u8>,
}

/// Up to where entries of a removed member count, in one log and incarnation; in the same log, no others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastAccepted {
    /// Which log.
    pub log: LogId,
    /// Which life of the member's disk.
    pub incarnation: Incarnation,
    /// The last number accepted.
    pub author_seq: u64,
}

/// The body of an entry of kind MEMBERSHIP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipBody {
    /// The first entry: its author founds the team and becomes its first admin.
    Genesis {
        /// Display name of the team.
        team_name: String,
        /// The author.
        founder: MemberCard,
    },
    /// An admin admits a peer.
    Add(MemberCard),
    /// An admin removes a peer, for ever.
    Remove {
        /// Who.
        peer: PeerId,
        /// Why, for people.
        reason: String,
        /// Which of its entries still count.
        last_accepted: Vec<LastAccepted>,
    },
    /// An admin changes what a member may do.
    SetRole {
        /// Who.
        peer: PeerId,
        /// What it may do from now on.
        role: Role,
    },
    /// A member replaces its own receive key.
    SetReceiveKey {
        /// The new key.
        receive_key: [u8; 32],
        /// The member's signature over it.
        #[serde(with = "serde_bytes")]
        receive_key_signature: Vec<u8>,
    },
}

impl MembershipBody {
    /// The bytes of the body.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads what [`MembershipBody::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }
}

/// A team key wrapped for one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyWrap {
    /// For whom.
    pub peer: PeerId,
    /// What [`crate::wrap_key`] made.
    #[serde(with = "serde_bytes")]
    pub wrapped: Vec<u8>,
}

/// The body of an entry of kind KEY: a new epoch, or an epoch handed to members that lack it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyBody {
    /// Which epoch, from 1.
    pub epoch: u32,
    /// Commitment of the epoch before; zero for the first.
    pub parent: Digest,
    /// Commitment of this epoch's key, from [`crate::commit`].
    pub commitment: Digest,
    /// The key for each recipient, in order of identity key.
    pub wraps: Vec<KeyWrap>,
}

impl KeyBody {
    /// The bytes of the body.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads what [`KeyBody::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }
}

/// Whether `text` can be the name of a member: short, visible, without white space around it, and not `*`.
pub fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text != "*"
        && text.trim() == text
        && !text.chars().any(|c| c.is_control() || reorders_text(c))
}

/// Invisible characters that change the order of what stands around them, or join it.
fn reorders_text(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_body_reads_back() {
        let body = MembershipBody::Remove {
            peer: PeerId([1; 32]),
            reason: "left".to_owned(),
            last_accepted: vec![LastAccepted {
                log: LogId::TEAM,
                incarnation: Incarnation(4),
                author_seq: 9,
            }],
        };
        assert_eq!(MembershipBody::decode(&body.encode()).unwrap(), body);
        let body = KeyBody {
            epoch: 1,
            parent: Digest::ZERO,
            commitment: Digest([2; 32]),
            wraps: vec![KeyWrap {
                peer: PeerId([1; 32]),
                wrapped: vec![7; 80],
            }],
        };
        assert_eq!(KeyBody::decode(&body.encode()).unwrap(), body);
    }

    #[test]
    fn the_key_for_a_thousand_members_fits_one_body() {
        let wraps = (0..1_000)
            .map(|_| KeyWrap {
                peer: PeerId([1; 32]),
                wrapped: vec![7; crate::WRAP_BYTES],
            })
            .collect();
        let body = KeyBody {
            epoch: 1,
            parent: Digest::ZERO,
            commitment: Digest([2; 32]),
            wraps,
        };
        assert!(body.encode().len() < aura_proto::limits::BODY_BYTES_MAX / 8);
    }

    #[test]
    fn a_name_is_visible_and_cannot_reorder_the_line_that_shows_it() {
        for name in ["bob", "Zoë", "bob@thinkpad", "王"] {
            assert!(is_name(name), "{name}");
        }
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        for name in [
            "",
            "*",
            " bob",
            "bob\n",
            "a\u{1b}[2J",
            "a\u{202e}b",
            "a\u{200b}b",
            &long,
        ] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
