//! The records of a peer's log file.
//!
//! Invariant: what was stored reads back; anything else is an error, never a guess.
// spec: log/3.2

use aura_proto::{
    Code, Entry, Incarnation, PeerId, Writer,
    entry::HEAD_BYTES,
    event::{Checkpoint, Placed},
    limits::BODY_BYTES_MAX,
};
use bytes::{BufMut, Bytes, BytesMut};

/// Longest record: tag, position, time and the longest entry.
pub const RECORD_BYTES_MAX: usize = 1 + 8 + 8 + HEAD_BYTES + BODY_BYTES_MAX;

const TAG_OWN: u8 = 1;
const TAG_PLACED: u8 = 2;
const TAG_OWN_PLACED: u8 = 3;
const TAG_CHECKPOINT: u8 = 4;
const TAG_INCARNATION: u8 = 5;
const TAG_RETIRED: u8 = 6;
const TAG_HEARD: u8 = 7;
const TAG_HEARD_PLACED: u8 = 8;
const TAG_EVIDENCE: u8 = 9;
const TAG_GIVEN_UP: u8 = 10;

/// One record of a peer's log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An own entry, queued.
    Own(Entry),
    /// Somebody else's entry at its place.
    Placed(Placed),
    /// The place of an own entry.
    OwnPlaced {
        /// Position in the Mothership's log.
        seq: u64,
        /// Stored at, milliseconds since 1970.
        time_ms: u64,
        /// Which entry.
        own: Own,
    },
    /// A verified checkpoint.
    Checkpoint(Checkpoint),
    /// From here on own entries carry this incarnation.
    Incarnation(Incarnation),
    /// An own entry that can never be placed, because its number was taken; it was written again.
    Retired(Own),
    /// Somebody else's entry without a place, from a neighbour.
    Heard(Entry),
    /// The place of such an entry.
    HeardPlaced(Settled),
    /// A second entry under a number that its author had used, from a neighbour: proof, and nothing else.
    Evidence(Entry),
    /// The Mothership refused an entry of another for good: it is no longer held, nor what its writer wrote after it.
    GivenUp(GivenUp),
}

/// An entry of another that the Mothership refused for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUp {
    /// Whose.
    pub writer: Writer,
    /// Its number.
    pub author_seq: u64,
    /// Why.
    pub code: Code,
}

/// Where an entry of another stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Position in the Mothership's log.
    pub seq: u64,
    /// Stored at, milliseconds since 1970.
    pub time_ms: u64,
    /// Whose.
    pub writer: Writer,
    /// Its number.
    pub author_seq: u64,
}

/// Names an own entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Own {
    /// Under which incarnation.
    pub incarnation: Incarnation,
    /// Its number.
    pub author_seq: u64,
}

impl Own {
    /// The name of an entry of this device.
    pub fn of(entry: &Entry) -> Self {
        let header = entry.header();
        Self {
            incarnation: header.writer.incarnation,
            author_seq: header.author_seq,
        }
    }

    fn put(self, out: &mut BytesMut) {
        out.put_u64(self.incarnation.0);
        out.put_u64(self.author_seq);
    }
}

/// Why bytes are not a record of a peer's log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record of the peer's log does not decode")]
pub struct RecordError;

impl Record {
    /// The entry that a record brings; what only gives one its place, or proves a fault, brings none.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Heard(entry) | Self::Own(entry) => Some(entry),
            Self::Placed(placed) => Some(&placed.entry),
            Self::Checkpoint(_)
            | Self::Evidence(_)
            | Self::GivenUp(_)
            | Self::HeardPlaced(_)
            | Self::Incarnation(_)
            | Self::OwnPlaced { .. }
            | Self::Retired(_) => None,
        }
    }

    /// The bytes of the record.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Own(entry) => {
                out.put_u8(TAG_OWN);
                out.put_slice(entry.bytes());
            }
            Self::Placed(placed) => {
                out.put_u8(TAG_PLACED);
                out.put_u64(placed.seq);
                out.put_u64(placed.time_ms);
                out.put_slice(placed.entry.bytes());
            }
            Self::OwnPlaced { seq, time_ms, own } => {
                out.put_u8(TAG_OWN_PLACED);
                out.put_u64(*seq);
                out.put_u64(*time_ms);
                own.put(&mut out);
            }
            Self::Checkpoint(checkpoint) => {
                out.put_u8(TAG_CHECKPOINT);
                out.put_slice(&checkpoint.encode());
            }
            Self::Incarnation(incarnation) => {
                out.put_u8(TAG_INCARNATION);
                out.put_u64(incarnation.0);
            }
            Self::Retired(own) => {
                out.put_u8(TAG_RETIRED);
                own.put(&mut out);
            }
            Self::Heard(entry) => {
                out.put_u8(TAG_HEARD);
                out.put_slice(entry.bytes());
            }
            Self::HeardPlaced(settled) => {
                out.put_u8(TAG_HEARD_PLACED);
                out.put_u64(settled.seq);
                out.put_u64(settled.time_ms);
                put_name(&mut out, settled.writer, settled.author_seq);
            }
            Self::Evidence(entry) => {
                out.put_u8(TAG_EVIDENCE);
                out.put_slice(entry.bytes());
            }
            Self::GivenUp(given_up) => {
                out.put_u8(TAG_GIVEN_UP);
                put_name(&mut out, given_up.writer, given_up.author_seq);
                out.put_u16(given_up.code.0);
            }
        }
        out.freeze()
    }

    /// Reads a record.
    pub fn decode(bytes: &Bytes) -> Result<Self, RecordError> {
        let number = |at: usize| -> Result<u64, RecordError> {
            let field = bytes.get(at..at + 8).ok_or(RecordError)?;
            Ok(u64::from_be_bytes(
                field.try_into().map_err(|_| RecordError)?,
            ))
        };
        let own = |at: usize| -> Result<Own, RecordError> {
            Ok(Own {
                incarnation: Incarnation(number(at)?),
                author_seq: number(at + 8)?,
            })
        };
        let writer = |at: usize| -> Result<Writer, RecordError> {
            let peer = bytes.get(at..at + 32).and_then(|peer| peer.try_into().ok());
            Ok(Writer {
                peer: PeerId(peer.ok_or(RecordError)?),
                incarnation: Incarnation(number(at + 32)?),
            })
        };
        let entry = |at: usize| -> Result<Entry, RecordError> {
            if bytes.len() < at {
                return Err(RecordError);
            }
            Entry::decode(bytes.slice(at..)).map_err(|_| RecordError)
        };
        match bytes.first() {
            Some(&TAG_OWN) => Ok(Self::Own(entry(1)?)),
            Some(&TAG_PLACED) => {
                let placed = Placed {
                    seq: number(1)?,
                    time_ms: number(9)?,
                    entry: entry(17)?,
                };
                Ok(Self::Placed(placed))
            }
            Some(&TAG_OWN_PLACED) => Ok(Self::OwnPlaced {
                seq: number(1)?,
                time_ms: number(9)?,
                own: own(17)?,
            }),
            Some(&TAG_CHECKPOINT) => Checkpoint::decode(&bytes[1..])
                .map(Self::Checkpoint)
                .map_err(|_| RecordError),
            Some(&TAG_INCARNATION) => Ok(Self::Incarnation(Incarnation(number(1)?))),
            Some(&TAG_RETIRED) => Ok(Self::Retired(own(1)?)),
            Some(&TAG_HEARD) => Ok(Self::Heard(entry(1)?)),
            Some(&TAG_HEARD_PLACED) => Ok(Self::HeardPlaced(Settled {
                seq: number(1)?,
                time_ms: number(9)?,
                writer: writer(17)?,
                author_seq: number(57)?,
            })),
            Some(&TAG_EVIDENCE) => Ok(Self::Evidence(entry(1)?)),
            Some(&TAG_GIVEN_UP) => {
                let code = bytes.get(49..51).and_then(|code| code.try_into().ok());
                Ok(Self::GivenUp(GivenUp {
                    writer: writer(1)?,
                    author_seq: number(41)?,
                    code: Code(u16::from_be_bytes(code.ok_or(RecordError)?)),
                }))
            }
            Some(_) | None => Err(RecordError),
        }
    }
}

fn put_name(out: &mut BytesMut, writer: Writer, author_seq: u64) {
    out.put_slice(&writer.peer.0);
    out.put_u64(writer.incarnation.0);
    out.put_u64(author_seq);
}
