//! The entry: the one replicated thing. Signed by its author, chained to the author's previous entry.
//!
//! Invariants:
//! - one value has one encoding: fixed positions, big-endian numbers, no optional fields;
//! - the signature covers every byte of the header, the header covers the body by hash and length;
//! - an entry of an unknown kind decodes, verifies and is forwarded byte for byte.
//!
//! Layout, in bytes (spec: entry/1.1): version 1 · level 1 · kind 2 · flags 2 · team 16 · log 16 · author 32 ·
//! incarnation 8 · author_seq 8 · prev 32 · lamport 8 · time_ms 8 · fence 8 · key_epoch 4 · body_len 4 ·
//! body_hash 32 · signature 64 · body.

use bytes::Bytes;

use crate::{
    ids::{Digest, Incarnation, LogId, PeerId, TeamId, Writer},
    limits::BODY_BYTES_MAX,
};

/// The layout version that this code writes; others are refused.
pub const ENTRY_VERSION: u8 = 1;
/// The protocol level that this code writes; never goes down per author.
pub const PROTOCOL_LEVEL: u8 = 1;
/// Bytes of the signed header.
pub const HEADER_BYTES: usize = 182;
/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;
/// Bytes before the body: header and signature.
pub const HEAD_BYTES: usize = HEADER_BYTES + SIGNATURE_BYTES;
/// What precedes the header under the author's signature, so that no other signature can stand for it.
pub const SIGNING_PURPOSE: &[u8] = b"aura/v1/entry\0";

/// What an entry says. Unknown numbers are kept and forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

impl Kind {
    /// A change of units or whole files; sealed.
    pub const PATCH: Self = Self(1);
    /// The reason for earlier patches; sealed.
    pub const INTENT: Self = Self(2);
    /// A claim, grant or release of a zone.
    pub const ZONE: Self = Self(3);
    /// A message between members; sealed.
    pub const MESSAGE: Self = Self(4);
    /// Who belongs to the team; readable, signed by an admin.
    pub const MEMBERSHIP: Self = Self(5);
    /// A team key epoch and its wraps; readable, the key itself is wrapped.
    pub const KEY: Self = Self(6);
    /// The manifest of a snapshot.
    pub const SNAPSHOT: Self = Self(7);
    /// The request to erase entries.
    pub const PURGE: Self = Self(8);
    /// What a device has of a file; sealed.
    pub const STATE: Self = Self(9);
}

/// The signed part of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Protocol level of the author; monotone per author.
    pub level: u8,
    /// What the entry says.
    pub kind: Kind,
    /// Reserved bits; forwarded as they are.
    pub flags: u16,
    /// The team.
    pub team: TeamId,
    /// The log within the team.
    pub log: LogId,
    /// Who wrote it, in which incarnation.
    pub writer: Writer,
    /// The writer's contiguous number in this log, from 1.
    pub author_seq: u64,
    /// Hash of the writer's previous entry in this log; zero for the first.
    pub prev: Digest,
    /// Persistent logical clock of the author.
    pub lamport: u64,
    /// The author's wall clock in milliseconds since 1970: information, never order.
    pub time_ms: u64,
    /// Fencing number of the zone grant that the write relies on; 0 for none.
    pub fence: u64,
    /// Which team key sealed the body; 0 for a body in the clear.
    pub key_epoch: u32,
    /// Length of the body in bytes.
    pub body_len: u32,
    /// BLAKE3 of the body as it travels (sealed).
    pub body_hash: Digest,
}

/// Why bytes are not an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The body does not hash to what the header says.
    #[error("the body does not match its hash")]
    BodyHash,
    /// The bytes end early or late for the lengths inside.
    #[error("an entry of {expected} bytes came as {found}")]
    Length {
        /// What the header implies.
        expected: usize,
        /// What was there.
        found: usize,
    },
    /// The first number of a writer is 1, and only the first has no predecessor.
    #[error("author_seq {author_seq} does not go with this predecessor")]
    Numbering {
        /// The number found.
        author_seq: u64,
    },
    /// The body is larger than an entry may carry.
    #[error("a body of {bytes} bytes is over the limit of {BODY_BYTES_MAX}")]
    TooLarge {
        /// Declared length.
        bytes: u32,
    },
    /// Written in a layout that this code does not know.
    #[error("unknown entry version {version}")]
    Version {
        /// The version found.
        version: u8,
    },
}

impl EntryError {
    /// The stable id that users and logs see.
    pub fn id(&self) -> &'static str {
        match self {
            Self::BodyHash => "BODY_HASH",
            Self::Length { .. } => "ENTRY_LENGTH",
            Self::Numbering { .. } => "ENTRY_NUMBERING",
            Self::TooLarge { .. } => "TOO_LARGE",
            Self::Version { .. } => "VERSION",
        }
    }
}

impl Header {
    /// The canonical bytes of the header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&[ENTRY_VERSION, self.level]);
        out.extend_from_slice(&self.kind.0.to_be_bytes());
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(&self.team.0);
        out.extend_from_slice(&self.log.0);
        out.extend_from_slice(&self.writer.peer.0);
        out.extend_from_slice(&self.writer.incarnation.0.to_be_bytes());
        out.extend_from_slice(&self.author_seq.to_be_bytes());
        out.extend_from_slice(&self.prev.0);
        out.extend_from_slice(&self.lamport.to_be_bytes());
        out.extend_from_slice(&self.time_ms.to_be_bytes());
        out.extend_from_slice(&self.fence.to_be_bytes());
        out.extend_from_slice(&self.key_epoch.to_be_bytes());
        out.extend_from_slice(&self.body_len.to_be_bytes());
        out.extend_from_slice(&self.body_hash.0);
        out.try_into()
            .expect("the fields above add up to HEADER_BYTES")
    }

    /// Reads a header from exactly [`HEADER_BYTES`] bytes.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, EntryError> {
        let mut fields = Fields(bytes);
        let [version] = fields.take();
        if version != ENTRY_VERSION {
            return Err(EntryError::Version { version });
        }
        let [level] = fields.take();
        let header = Self {
            level,
            kind: Kind(u16::from_be_bytes(fields.take())),
            flags: u16::from_be_bytes(fields.take()),
            team: TeamId(fields.take()),
            log: LogId(fields.take()),
            writer: Writer {
                peer: PeerId(fields.take()),
                incarnation: Incarnation(u64::from_be_bytes(fields.take())),
            },
            author_seq: u64::from_be_bytes(fields.take()),
            prev: Digest(fields.take()),
            lamport: u64::from_be_bytes(fields.take()),
            time_ms: u64::from_be_bytes(fields.take()),
            fence: u64::from_be_bytes(fields.take()),
            key_epoch: u32::from_be_bytes(fields.take()),
            body_len: u32::from_be_bytes(fields.take()),
            body_hash: Digest(fields.take()),
        };
        if header.body_len as usize > BODY_BYTES_MAX {
            return Err(EntryError::TooLarge {
                bytes: header.body_len,
            });
        }
        if header.author_seq == 0 || (header.author_seq == 1) != (header.prev == Digest::ZERO) {
            return Err(EntryError::Numbering {
                author_seq: header.author_seq,
            });
        }
        Ok(header)
    }

    /// The bytes that the author signs: purpose, then header.
    pub fn signed_bytes(&self) -> Vec<u8> {
        [SIGNING_PURPOSE, &self.encode()].concat()
    }
}

/// Takes fixed-size fields from the front of a header.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self
            .0
            .split_first_chunk::<N>()
            .expect("the fields add up to HEADER_BYTES");
        self.0 = rest;
        *field
    }
}

/// One entry as it travels and is stored: decoded header, signature and body over the same bytes.
///
/// Holding an `Entry` says that its layout and body hash are right; whether the signature is, says
/// `aura_trust::verify_entry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    header: Header,
    bytes: Bytes,
    hash: Digest,
}

impl Entry {
    /// Reads an entry that fills `bytes` exactly, and checks the body against its hash.
    // spec: entry/1.4
    pub fn decode(bytes: Bytes) -> Result<Self, EntryError> {
        let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(EntryError::Length {
                expected: HEAD_BYTES,
                found: bytes.len(),
            });
        };
        let header = Header::decode(head)?;
        let expected = HEAD_BYTES + header.body_len as usize;
        if bytes.len() != expected {
            return Err(EntryError::Length {
                expected,
                found: bytes.len(),
            });
        }
        if Digest::of(&bytes[HEAD_BYTES..]) != header.body_hash {
            return Err(EntryError::BodyHash);
        }
        let hash = Digest::of(&bytes[..HEAD_BYTES]);
        Ok(Self {
            header,
            bytes,
            hash,
        })
    }

    /// Joins a header, the author's signature over it and the body that the header describes.
    pub fn assemble(
        header: &Header,
        signature: &[u8; SIGNATURE_BYTES],
        body: &[u8],
    ) -> Result<Self, EntryError> {
        let bytes = [&header.encode()[..], signature, body].concat();
        Self::decode(Bytes::from(bytes))
    }

    /// The signed fields.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The author's signature.
    pub fn signature(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..HEAD_BYTES]
    }

    /// The body as it travels.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEAD_BYTES..)
    }

    /// The whole entry as it travels.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// BLAKE3 of header and signature: the name under which the next entry of the author chains to it.
    pub fn hash(&self) -> Digest {
        self.hash
    }
}

/// Reads the declared length of an entry from its first bytes, for splitting a run of entries.
///
/// `None` when the bytes are too few to tell or the length is over the cap.
pub fn entry_len(bytes: &[u8]) -> Option<usize> {
    let field = bytes.get(HEADER_BYTES - 36..HEADER_BYTES - 32)?;
    let body_len = u32::from_be_bytes(field.try_into().ok()?) as usize;
    (body_len <= BODY_BYTES_MAX).then_some(HEAD_BYTES + body_len)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn header(body: &[u8]) -> Header {
        Header {
            level: PROTOCOL_LEVEL,
            kind: Kind::PATCH,
            flags: 0,
            team: TeamId([1; 16]),
            log: LogId([2; 16]),
            writer: Writer {
                peer: PeerId([3; 32]),
                incarnation: Incarnation(4),
            },
            author_seq: 1,
            prev: Digest::ZERO,
            lamport: 6,
            time_ms: 7,
            fence: 0,
            key_epoch: 1,
            body_len: body.len() as u32,
            body_hash: Digest::of(body),
        }
    }

    #[test]
    fn an_entry_reads_back_byte_for_byte() {
        let entry = Entry::assemble(&header(b"sealed"), &[9; 64], b"sealed").unwrap();
        let again = Entry::decode(entry.bytes().clone()).unwrap();
        assert_eq!(again.header(), &header(b"sealed"));
        assert_eq!(again.header().encode(), entry.bytes()[..HEADER_BYTES]);
        assert_eq!(&again.body()[..], b"sealed");
        assert_eq!(entry_len(entry.bytes()), Some(entry.bytes().len()));
    }

    #[test]
    fn every_cut_and_every_surplus_byte_is_refused() {
        let entry = Entry::assemble(&header(b"sealed"), &[9; 64], b"sealed").unwrap();
        for len in 0..entry.bytes().len() {
            assert!(
                Entry::decode(entry.bytes().slice(..len)).is_err(),
                "cut at {len}"
            );
        }
        let longer = [&entry.bytes()[..], b"x"].concat();
        assert!(Entry::decode(Bytes::from(longer)).is_err());
    }

    #[test]
    fn a_flipped_body_byte_is_noticed_before_any_signature_is_checked() {
        let entry = Entry::assemble(&header(b"sealed"), &[9; 64], b"sealed").unwrap();
        let mut bytes = entry.bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(Entry::decode(Bytes::from(bytes)), Err(EntryError::BodyHash));
    }

    #[test]
    fn an_unknown_kind_decodes() {
        let unknown = Header {
            kind: Kind(999),
            flags: 0xffff,
            ..header(b"")
        };
        let entry = Entry::assemble(&unknown, &[9; 64], b"").unwrap();
        assert_eq!(entry.header().kind, Kind(999));
    }

    #[test]
    fn a_first_entry_has_no_predecessor_and_a_later_one_has() {
        let first = Header {
            prev: Digest([1; 32]),
            ..header(b"")
        };
        assert!(matches!(
            Entry::assemble(&first, &[9; 64], b""),
            Err(EntryError::Numbering { author_seq: 1 })
        ));
        let later = Header {
            author_seq: 2,
            ..header(b"")
        };
        assert!(Entry::assemble(&later, &[9; 64], b"").is_err());
    }
}
