//! Runs of entries on the wire: what is pushed, and what is fanned out.
//!
//! Hand-laid, because these carry almost all bytes of the product: an entry is copied once into the run and
//! the run is shared by every subscriber.
//!
//! Invariants:
//! - a run is bounded by the message limit and its items are checked before they are believed;
//! - the fan-out of one commit batch is one run, encoded once.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    entry::{Entry, EntryError, entry_len},
    ids::{Digest, LogId},
};

/// What precedes a checkpoint under the Mothership's signature.
pub const CHECKPOINT_PURPOSE: &[u8] = b"aura/v1/checkpoint\0";
/// Bytes of an encoded checkpoint.
const CHECKPOINT_BYTES: usize = 16 + 8 + 8 + 8 + 32 + 64;

/// The Mothership's signed word that log `log` has exactly this history up to `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub log: LogId,
    /// Epoch of the Mothership's log when it signed.
    pub epoch: u64,
    /// Last position covered.
    pub seq: u64,
    /// The Mothership's clock in milliseconds since 1970.
    pub time_ms: u64,
    /// Running hash over all entries up to `seq`, see [`chain`].
    pub hash: Digest,
    /// Ed25519 over [`CHECKPOINT_PURPOSE`] and the fields above.
    pub signature: [u8; 64],
}

/// One step of the running hash of a log: covers position, time and entry.
// spec: log/2.3
pub fn chain(before: Digest, seq: u64, time_ms: u64, entry: Digest) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("aura/v1/log-chain");
    hasher.update(&before.0);
    hasher.update(&seq.to_be_bytes());
    hasher.update(&time_ms.to_be_bytes());
    hasher.update(&entry.0);
    Digest(*hasher.finalize().as_bytes())
}

impl Checkpoint {
    /// The bytes that the Mothership signs.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut out = CHECKPOINT_PURPOSE.to_vec();
        self.put_fields(&mut out);
        out
    }

    fn put_fields(&self, out: &mut impl BufMut) {
        out.put_slice(&self.log.0);
        out.put_u64(self.epoch);
        out.put_u64(self.seq);
        out.put_u64(self.time_ms);
        out.put_slice(&self.hash.0);
    }

    /// The fixed-size encoding: fields, then signature.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(CHECKPOINT_BYTES);
        self.put_fields(&mut out);
        out.put_slice(&self.signature);
        out
    }

    /// Reads what [`Checkpoint::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, RunError> {
        let mut rest = Cursor(bytes);
        let checkpoint = Self {
            log: LogId(rest.array()?),
            epoch: u64::from_be_bytes(rest.array()?),
            seq: u64::from_be_bytes(rest.array()?),
            time_ms: u64::from_be_bytes(rest.array()?),
            hash: Digest(rest.array()?),
            signature: rest.array()?,
        };
        if rest.0.is_empty() {
            Ok(checkpoint)
        } else {
            Err(RunError::Malformed)
        }
    }
}

/// Why bytes are not a run of entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// One entry is not an entry.
    #[error("entry {index} of the run")]
    Entry {
        /// Place within the run, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: EntryError,
    },
    /// The run ends early, late, or says what it may not.
    #[error("the run is malformed")]
    Malformed,
}

/// An entry with the place that the Mothership gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Position in the log, from 1 without gaps.
    pub seq: u64,
    /// When the Mothership stored it, milliseconds since 1970.
    pub time_ms: u64,
    /// The entry.
    pub entry: Entry,
}

/// The payload of WAL_EVENT: consecutive entries of one log, and the checkpoint of their batch if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRun {
    /// Which log.
    pub log: LogId,
    /// Consecutive positions.
    pub entries: Vec<Placed>,
    /// Covers the last of them, when present.
    pub checkpoint: Option<Checkpoint>,
}

/// The place and bytes of one stored entry, before decoding.
#[derive(Debug, Clone, Copy)]
pub struct PlacedBytes<'a> {
    /// Position in the log.
    pub seq: u64,
    /// When the Mothership stored it.
    pub time_ms: u64,
    /// The entry as stored.
    pub bytes: &'a [u8],
}

impl EventRun {
    /// Encodes a run from stored bytes without decoding them.
    pub fn encode<'a>(
        log: LogId,
        entries: impl Iterator<Item = PlacedBytes<'a>> + Clone,
        checkpoint: Option<&Checkpoint>,
    ) -> Bytes {
        let len: usize = entries.clone().map(|placed| 16 + placed.bytes.len()).sum();
        let mut out = BytesMut::with_capacity(17 + CHECKPOINT_BYTES + len);
        out.put_slice(&log.0);
        match checkpoint {
            Some(checkpoint) => {
                out.put_u8(1);
                out.put_slice(&checkpoint.encode());
            }
            None => out.put_u8(0),
        }
        for placed in entries {
            out.put_u64(placed.seq);
            out.put_u64(placed.time_ms);
            out.put_slice(placed.bytes);
        }
        out.freeze()
    }

    /// Reads a run and checks that its positions are consecutive.
    // spec: sync/3.2
    pub fn decode(bytes: &Bytes) -> Result<Self, RunError> {
        let mut rest = Cursor(bytes);
        let log = LogId(rest.array()?);
        let [has_checkpoint] = rest.array()?;
        let checkpoint = match has_checkpoint {
            0 => None,
            1 => Some(Checkpoint::decode(rest.slice(CHECKPOINT_BYTES)?)?),
            _ => return Err(RunError::Malformed),
        };
        let mut entries: Vec<Placed> = Vec::new();
        while !rest.0.is_empty() {
            let seq = u64::from_be_bytes(rest.array()?);
            let time_ms = u64::from_be_bytes(rest.array()?);
            let entry = rest.entry(bytes, entries.len())?;
            if entries
                .last()
                .is_some_and(|last| last.seq.checked_add(1) != Some(seq))
            {
                return Err(RunError::Malformed);
            }
            entries.push(Placed {
                seq,
                time_ms,
                entry,
            });
        }
        let covers = |checkpoint: &Checkpoint| {
            checkpoint.log == log && entries.last().is_none_or(|last| last.seq == checkpoint.seq)
        };
        if !checkpoint.as_ref().is_none_or(covers) {
            return Err(RunError::Malformed);
        }
        Ok(Self {
            log,
            entries,
            checkpoint,
        })
    }
}

/// Encodes the payload of PATCH_PUSH: a log and a run of entries.
pub fn encode_push<'a>(log: LogId, entries: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(&log.0);
    for entry in entries {
        out.put_slice(entry);
    }
    out.freeze()
}

/// Splits the payload of PATCH_PUSH into entries; an entry that is wrong by itself becomes an error in its
/// place and does not spoil the others.
pub fn decode_push(bytes: &Bytes) -> Result<(LogId, Vec<Result<Entry, EntryError>>), RunError> {
    let mut rest = Cursor(bytes);
    let log = LogId(rest.array()?);
    let mut entries = Vec::new();
    while !rest.0.is_empty() {
        let len = entry_len(rest.0).ok_or(RunError::Malformed)?;
        entries.push(Entry::decode(bytes.slice_ref(rest.slice(len)?)));
    }
    Ok((log, entries))
}

/// Takes fields from the front of a payload.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RunError> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(RunError::Malformed)?;
        self.0 = rest;
        Ok(*field)
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8], RunError> {
        let (field, rest) = self.0.split_at_checked(len).ok_or(RunError::Malformed)?;
        self.0 = rest;
        Ok(field)
    }

    fn entry(&mut self, whole: &Bytes, index: usize) -> Result<Entry, RunError> {
        // One whose length does not fit is decoded all the same: the error is the entry's, not the run's.
        let len = entry_len(self.0).unwrap_or(usize::MAX).min(self.0.len());
        let bytes = whole.slice_ref(self.slice(len)?);
        Entry::decode(bytes).map_err(|source| RunError::Entry { index, source })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Header, Incarnation, Kind, PeerId, TeamId, Writer, entry::PROTOCOL_LEVEL};

    fn entry(author_seq: u64, body: &[u8]) -> Entry {
        let header = Header {
            level: PROTOCOL_LEVEL,
            kind: Kind::PATCH,
            flags: 0,
            team: TeamId([1; 16]),
            log: LogId([2; 16]),
            writer: Writer {
                peer: PeerId([3; 32]),
                incarnation: Incarnation(4),
            },
            author_seq,
            prev: if author_seq == 1 {
                Digest::ZERO
            } else {
                Digest([8; 32])
            },
            lamport: 1,
            time_ms: 1,
            fence: 0,
            key_epoch: 1,
            body_len: body.len() as u32,
            body_hash: Digest::of(body),
        };
        Entry::assemble(&header, &[0; 64], body).unwrap()
    }

    fn run(seqs: &[u64]) -> Bytes {
        let entries: Vec<Entry> = (1..=seqs.len() as u64).map(|n| entry(n, b"body")).collect();
        let placed = seqs.iter().zip(&entries).map(|(seq, entry)| PlacedBytes {
            seq: *seq,
            time_ms: 5,
            bytes: entry.bytes(),
        });
        EventRun::encode(LogId([2; 16]), placed, None)
    }

    #[test]
    fn a_run_reads_back() {
        let decoded = EventRun::decode(&run(&[7, 8, 9])).unwrap();
        assert_eq!(
            decoded
                .entries
                .iter()
                .map(|placed| placed.seq)
                .collect::<Vec<_>>(),
            [7, 8, 9]
        );
    }

    #[test]
    fn a_run_with_a_hole_is_malformed() {
        assert_eq!(EventRun::decode(&run(&[7, 9])), Err(RunError::Malformed));
    }

    #[test]
    fn every_cut_of_a_run_is_refused_or_a_shorter_run() {
        let bytes = run(&[1, 2]);
        for len in 0..bytes.len() {
            if let Ok(shorter) = EventRun::decode(&bytes.slice(..len)) {
                assert!(shorter.entries.len() < 2);
            }
        }
    }

    #[test]
    fn one_bad_entry_of_a_push_does_not_spoil_the_others() {
        let good = entry(1, b"good");
        let mut bad = entry(2, b"bad!").bytes().to_vec();
        *bad.last_mut().unwrap() ^= 1;
        let payload = encode_push(LogId([2; 16]), [&good.bytes()[..], &bad].into_iter());
        let (_, entries) = decode_push(&payload).unwrap();
        assert_eq!(entries, [Ok(good), Err(EntryError::BodyHash)]);
    }

    #[test]
    fn the_chain_covers_position_time_and_entry() {
        let base = chain(Digest::ZERO, 1, 2, Digest([3; 32]));
        assert_ne!(base, chain(Digest::ZERO, 2, 2, Digest([3; 32])));
        assert_ne!(base, chain(Digest::ZERO, 1, 3, Digest([3; 32])));
        assert_ne!(base, chain(Digest::ZERO, 1, 2, Digest([4; 32])));
    }
}
