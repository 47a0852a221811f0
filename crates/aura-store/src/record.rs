//! One record of the log: its layout, its checksums and the hash that chains it to the one before.
//!
//! Layout, little endian, at a multiple of [`ALIGN`] within its segment:
//! `magic 4 | kind 1 | zero 3 | len 4 | payload crc 4 | epoch 8 | lsn 8 | durable lsn 8 |
//! previous hash 32 | zero 4 | header crc 4`, then the payload, then zeros up to [`ALIGN`].
//! Both checksums are CRC-32/IEEE. The header's starts with the segment's salt, so no payload can
//! contain something that passes for a record; the payload's covers the padding as well.
//!
//! Invariants:
//! - `len` is not believed before the header checksum passed and it fits what is left (R1);
//! - every bit between a record's first and last byte is covered by a checksum;
//! - `durable lsn < lsn`: a record never vouches for itself.

use bytes::Bytes;

/// A link of the hash chain.
pub type Hash = [u8; 32];

/// The hash before the first record.
pub const ZERO_HASH: Hash = [0; 32];

/// Records start at multiples of this many bytes, so that a search for one has few places to look.
pub const ALIGN: usize = 8;

/// Bytes of a record before its payload.
pub const HEADER_BYTES: usize = 80;

const _: () = assert!(HEADER_BYTES.is_multiple_of(ALIGN));

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The log was opened for writing; starts an epoch and has no payload.
    Boot,
    /// The caller's bytes.
    Data,
}

/// A record read from disk, its payload shared with its neighbours' buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Position in the log, from 1, without gaps.
    pub lsn: u64,
    /// How many times the log had been opened for writing.
    pub epoch: u64,
    /// What it is for.
    pub kind: Kind,
    /// The caller's bytes; empty for [`Kind::Boot`].
    pub payload: Bytes,
}

/// A record while a log is streamed; the payload lives only during the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Position in the log, from 1, without gaps.
    pub lsn: u64,
    /// How many times the log had been opened for writing.
    pub epoch: u64,
    /// What it is for.
    pub kind: Kind,
    /// The caller's bytes; empty for [`Kind::Boot`].
    pub payload: &'a [u8],
}

/// The hash of the chain after a record: BLAKE3 of previous hash, lsn and epoch (little endian)
/// and payload.
#[must_use]
pub fn chain_hash(previous: &Hash, lsn: u64, epoch: u64, payload: &[u8]) -> Hash {
    let mut prefix = [0; 48];
    prefix[..32].copy_from_slice(previous);
    prefix[32..40].copy_from_slice(&lsn.to_le_bytes());
    prefix[40..].copy_from_slice(&epoch.to_le_bytes());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&prefix);
    hasher.update(payload);
    *hasher.finalize().as_bytes()
}

/// A decoded header whose checksum passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) len: u32,
    pub(crate) payload_crc: u32,
    pub(crate) epoch: u64,
    pub(crate) lsn: u64,
    pub(crate) durable_lsn: u64,
    pub(crate) previous: Hash,
}

impl Header {
    /// Bytes the record takes, padding included.
    pub(crate) fn stored_bytes(&self) -> usize {
        stored_bytes(self.len as usize)
    }
}

/// Bytes that a record with a payload of `len` bytes takes, padding included.
pub(crate) fn stored_bytes(len: usize) -> usize {
    HEADER_BYTES.saturating_add(len).saturating_add(ALIGN - 1) / ALIGN * ALIGN
}

/// Appends a record to a buffer; `header.len` and `header.payload_crc` are set from the payload.
pub(crate) fn encode(buffer: &mut Vec<u8>, salt: u64, mut header: Header, payload: &[&[u8]]) {
    let start = buffer.len();
    buffer.resize(start + HEADER_BYTES, 0);
    for part in payload {
        buffer.extend_from_slice(part);
    }
    let len = buffer.len() - start - HEADER_BYTES;
    buffer.resize(start + stored_bytes(len), 0);
    header.len = u32::try_from(len).expect("the log refuses payloads above its u32 limit");
    header.payload_crc = crc32fast::hash(&buffer[start + HEADER_BYTES..]);
    buffer[start..start + HEADER_BYTES].copy_from_slice(&header_bytes(salt, &header));
}

/// The payload of a record just encoded at `start`.
pub(crate) fn encoded_payload(buffer: &[u8], start: usize, len: usize) -> &[u8] {
    &buffer[start + HEADER_BYTES..start + HEADER_BYTES + len]
}

fn header_bytes(salt: u64, header: &Header) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[0..4].copy_from_slice(&MAGIC);
    bytes[4] = match header.kind {
        Kind::Boot => KIND_BOOT,
        Kind::Data => KIND_DATA,
    };
    bytes[8..12].copy_from_slice(&header.len.to_le_bytes());
    bytes[12..16].copy_from_slice(&header.payload_crc.to_le_bytes());
    bytes[16..24].copy_from_slice(&header.epoch.to_le_bytes());
    bytes[24..32].copy_from_slice(&header.lsn.to_le_bytes());
    bytes[32..40].copy_from_slice(&header.durable_lsn.to_le_bytes());
    bytes[40..72].copy_from_slice(&header.previous);
    let crc = header_crc(salt, &bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn header_crc(salt: u64, covered: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&salt.to_le_bytes());
    crc.update(covered);
    crc.finalize()
}

/// Decodes the header at the start of `bytes`; `None` unless checksum and every field are right
/// and the whole record fits into `bytes` (R1).
// spec: log/1.9
pub(crate) fn decode(bytes: &[u8], salt: u64) -> Option<Header> {
    let header = decode_header(bytes, salt)?;
    (header.stored_bytes() <= bytes.len()).then_some(header)
}

/// Decodes a header alone, without asking whether the payload fits behind it.
pub(crate) fn decode_header(bytes: &[u8], salt: u64) -> Option<Header> {
    let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
    if bytes[..4] != MAGIC || u32_at(bytes, CRC_AT) != header_crc(salt, &bytes[..CRC_AT]) {
        return None;
    }
    let kind = match bytes[4] {
        KIND_BOOT => Kind::Boot,
        KIND_DATA => Kind::Data,
        _ => return None,
    };
    let mut previous = ZERO_HASH;
    previous.copy_from_slice(&bytes[40..72]);
    let header = Header {
        kind,
        len: u32_at(bytes, 8),
        payload_crc: u32_at(bytes, 12),
        epoch: u64_at(bytes, 16),
        lsn: u64_at(bytes, 24),
        durable_lsn: u64_at(bytes, 32),
        previous,
    };
    (header.durable_lsn < header.lsn).then_some(header)
}

/// The payload behind a decoded header; `None` if its checksum does not match.
pub(crate) fn payload<'a>(bytes: &'a [u8], header: &Header) -> Option<&'a [u8]> {
    let padded = bytes.get(HEADER_BYTES..header.stored_bytes())?;
    if crc32fast::hash(padded) != header.payload_crc {
        return None;
    }
    padded.get(..header.len as usize)
}

/// Whether a record may start here; cheap enough to ask at every aligned offset.
pub(crate) fn starts_with_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// A little endian number inside a fixed layout.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// A little endian number inside a fixed layout.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

const MAGIC: [u8; 4] = *b"mRec";
const KIND_BOOT: u8 = 1;
const KIND_DATA: u8 = 2;
const CRC_AT: usize = HEADER_BYTES - 4;
