//! Frames on their way into a connection: many leave in one write.
//!
//! Invariants:
//! - frames leave whole and in the order they came, however little a write takes;
//! - payloads are handed to the connection by reference.

use std::{collections::VecDeque, io, io::IoSlice};

use aura_proto::session::Frame;
use tokio::io::{AsyncWrite, AsyncWriteExt, WriteHalf};

/// Bytes gathered for one write: a heartbeat waits for no more than this.
const BATCH_BYTES: usize = 64 << 10;
/// Slices of one write: header and payload of 32 frames.
const SLICES_MAX: usize = 64;

/// A batch of frames, partly written.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Bytes of the first frame that are written.
    written: usize,
    needs_flush: bool,
}

impl Outgoing {
    /// Whether there is nothing left to do for the connection.
    pub(super) fn is_idle(&self) -> bool {
        self.frames.is_empty() && !self.needs_flush
    }

    /// Whether another frame fits into the batch.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < BATCH_BYTES && self.frames.len() < SLICES_MAX / 2
    }

    pub(super) fn push(&mut self, frame: Frame) {
        self.bytes += frame.header.len() + frame.payload.len();
        self.frames.push_back(frame);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes once, and flushes behind the last frame. Nothing is lost when this is dropped while it waits.
    pub(super) async fn advance<S: AsyncWrite>(
        &mut self,
        write: &mut WriteHalf<S>,
    ) -> io::Result<()> {
        if !self.frames.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = self.fill(&mut slices);
            let written = write.write_vectored(&slices[..count]).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.consume(written);
            self.needs_flush = true;
        }
        if self.frames.is_empty() {
            write.flush().await?;
            self.needs_flush = false;
        }
        Ok(())
    }

    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let mut skip = self.written;
        let mut count = 0;
        let parts = self
            .frames
            .iter()
            .flat_map(|frame| [&frame.header[..], &frame.payload[..]]);
        for part in parts {
            let rest = part.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(part.len());
            if count < SLICES_MAX && !rest.is_empty() {
                slices[count] = IoSlice::new(rest);
                count += 1;
            }
        }
        count
    }

    fn consume(&mut self, count: usize) {
        self.bytes -= count;
        self.written += count;
        while let Some(first) = self.frames.front() {
            let len = first.header.len() + first.payload.len();
            if self.written < len {
                break;
            }
            self.written -= len;
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;

    use super::*;

    #[test]
    fn frames_leave_whole_however_little_a_write_takes() {
        for step in 1..40 {
            let mut outgoing = Outgoing::default();
            let mut expected = Vec::new();
            for (number, len) in [0, 1, 30, 7].into_iter().enumerate() {
                let frame = Frame {
                    header: [number as u8; 10],
                    payload: Bytes::from(vec![number as u8 + 100; len]),
                };
                expected.extend_from_slice(&frame.header);
                expected.extend_from_slice(&frame.payload);
                outgoing.push(frame);
            }
            let mut got = Vec::new();
            while !outgoing.frames.is_empty() {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let count = outgoing.fill(&mut slices);
                let bytes: Vec<u8> = slices[..count]
                    .iter()
                    .flat_map(|slice| slice.to_vec())
                    .take(step)
                    .collect();
                got.extend_from_slice(&bytes);
                outgoing.consume(bytes.len());
            }
            assert_eq!(got, expected, "{step} bytes at a time");
            assert_eq!((outgoing.bytes, outgoing.written), (0, 0));
        }
    }
}
