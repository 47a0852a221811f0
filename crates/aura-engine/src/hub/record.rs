//! What the Mothership's log records say.
//!
//! Layout (spec: log/3.1): tag 1, then for an entry `seq 8 · time_ms 8 · entry`, for a fact its encoding.
//!
//! Invariants:
//! - facts only grow at their end; an unknown tag stops the replay instead of being skipped.

use aura_proto::{
    Entry, LogId, PeerId,
    codec::{self, DecodeError},
    entry::EntryError,
    message::Role,
};
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

const TAG_ENTRY: u8 = 1;
const TAG_FACT: u8 = 2;
/// Bytes before the entry in its record.
pub const ENTRY_PREFIX_BYTES: usize = 1 + 8 + 8;

/// A fact about the team that only the Mothership may establish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// The team came into being.
    Founded {
        /// Display name.
        team_name: String,
        /// Milliseconds since 1970.
        at_ms: u64,
    },
    /// A token was used and a peer admitted: both or neither.
    Joined {
        /// Who.
        member: Admitted,
        /// Which token.
        jti: String,
        /// How often that token may be used in all.
        uses: u32,
        /// Milliseconds since 1970.
        at_ms: u64,
    },
    /// A peer got a fresh certificate.
    Renewed {
        /// Who.
        peer: PeerId,
        /// The certificate, DER.
        certificate: Vec<u8>,
        /// Seconds since 1970 when it ends.
        not_after_s: u64,
        /// Milliseconds since 1970.
        at_ms: u64,
    },
    /// A peer was removed for good.
    Revoked {
        /// Who.
        peer: PeerId,
        /// Why, for people.
        reason: String,
        /// Milliseconds since 1970.
        at_ms: u64,
    },
    /// The Mothership signed an invite itself.
    TokenMade {
        /// Token id.
        jti: String,
        /// For whom.
        name: Option<String>,
        /// Role of the newcomer.
        role: Role,
        /// How often it can be used.
        uses: u32,
        /// Seconds since 1970 when it ends.
        expires_s: u64,
        /// Milliseconds since 1970.
        at_ms: u64,
    },
    /// A token was ended before its time.
    TokenRevoked {
        /// Token id.
        jti: String,
        /// Milliseconds since 1970.
        at_ms: u64,
    },
}

/// A peer as it was admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// Identity key.
    pub peer: PeerId,
    /// Unique name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// X25519 key for team keys.
    pub receive_key: [u8; 32],
    /// Identity signature over it.
    pub receive_key_signature: Vec<u8>,
    /// The certificate, DER; handed out again to the same key.
    pub certificate: Vec<u8>,
    /// Seconds since 1970 when it ends.
    pub not_after_s: u64,
    /// Whether it is the first member.
    pub founder: bool,
}

/// One record of the Mothership's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An entry and the place it got.
    Entry {
        /// Position within its log.
        seq: u64,
        /// When, in milliseconds since 1970.
        time_ms: u64,
        /// The entry.
        entry: Entry,
    },
    /// A fact.
    Fact(Fact),
}

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The entry inside is not an entry.
    #[error("the entry of the record")]
    Entry(#[source] EntryError),
    /// The fact inside does not decode.
    #[error("the fact of the record")]
    Fact(#[source] DecodeError),
    /// The record ends early.
    #[error("the record ends early")]
    Short,
    /// The record is of a kind that this build does not know.
    #[error("unknown record tag {tag}; a newer version wrote this log")]
    UnknownTag {
        /// The tag.
        tag: u8,
    },
}

impl Record {
    /// The bytes of the record.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Entry {
                seq,
                time_ms,
                entry,
            } => {
                let mut out = BytesMut::with_capacity(ENTRY_PREFIX_BYTES + entry.bytes().len());
                out.put_u8(TAG_ENTRY);
                out.put_u64(*seq);
                out.put_u64(*time_ms);
                out.put_slice(entry.bytes());
                out.freeze()
            }
            Self::Fact(fact) => {
                let mut out = vec![TAG_FACT];
                out.extend_from_slice(&codec::encode(fact));
                Bytes::from(out)
            }
        }
    }

    /// Reads a record.
    pub fn decode(bytes: &Bytes) -> Result<Self, RecordError> {
        match bytes.first() {
            None => Err(RecordError::Short),
            Some(&TAG_ENTRY) => {
                let (seq, time_ms, entry) = split_entry(bytes).ok_or(RecordError::Short)?;
                let entry = Entry::decode(bytes.slice_ref(entry)).map_err(RecordError::Entry)?;
                Ok(Self::Entry {
                    seq,
                    time_ms,
                    entry,
                })
            }
            Some(&TAG_FACT) => codec::decode(&bytes[1..])
                .map(Self::Fact)
                .map_err(RecordError::Fact),
            Some(&tag) => Err(RecordError::UnknownTag { tag }),
        }
    }
}

/// Position, time and entry bytes of an entry record, without decoding the entry; for fan-out from the log.
pub fn split_entry(record: &[u8]) -> Option<(u64, u64, &[u8])> {
    let rest = record.strip_prefix(&[TAG_ENTRY])?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let (time_ms, entry) = rest.split_first_chunk::<8>()?;
    Some((
        u64::from_be_bytes(*seq),
        u64::from_be_bytes(*time_ms),
        entry,
    ))
}

/// One line for people about a record; names nothing that is sealed.
pub fn describe(record: &Record) -> (&'static str, Option<u64>, String) {
    match record {
        Record::Entry {
            seq,
            time_ms,
            entry,
        } => {
            let header = entry.header();
            let log = if header.log == LogId::TEAM {
                "team".to_owned()
            } else {
                header.log.short()
            };
            let text = format!(
                "log {log} position {seq}: kind {} of {} number {}, {} bytes sealed",
                header.kind.0,
                header.writer.peer.short(),
                header.author_seq,
                header.body_len
            );
            ("entry", Some(*time_ms), text)
        }
        Record::Fact(fact) => {
            let (kind, at_ms, text) = describe_fact(fact);
            (kind, Some(at_ms), text)
        }
    }
}

fn describe_fact(fact: &Fact) -> (&'static str, u64, String) {
    match fact {
        Fact::Founded { team_name, at_ms } => ("founded", *at_ms, format!("team {team_name}")),
        Fact::Joined {
            member, jti, at_ms, ..
        } => {
            let text = format!(
                "{} as {} with token {jti}",
                member.name,
                member.role.as_str()
            );
            ("joined", *at_ms, text)
        }
        Fact::Renewed { peer, at_ms, .. } => ("renewed", *at_ms, peer.short()),
        Fact::Revoked {
            peer,
            reason,
            at_ms,
        } => ("revoked", *at_ms, format!("{}: {reason}", peer.short())),
        Fact::TokenMade {
            jti,
            name,
            role,
            uses,
            at_ms,
            ..
        } => {
            let whom = name.as_deref().unwrap_or("anybody");
            (
                "token",
                *at_ms,
                format!("{jti} for {whom} as {}, {uses} uses", role.as_str()),
            )
        }
        Fact::TokenRevoked { jti, at_ms } => ("token_revoked", *at_ms, jti.clone()),
    }
}

impl Fact {
    /// When the fact was established, milliseconds since 1970.
    pub fn at_ms(&self) -> u64 {
        match self {
            Self::Founded { at_ms, .. }
            | Self::Joined { at_ms, .. }
            | Self::Renewed { at_ms, .. }
            | Self::Revoked { at_ms, .. }
            | Self::TokenMade { at_ms, .. }
            | Self::TokenRevoked { at_ms, .. } => *at_ms,
        }
    }
}
