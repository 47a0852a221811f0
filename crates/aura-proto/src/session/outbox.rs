//! What leaves: queues of the streams, and which frame is next.
//!
//! Invariants:
//! - a stream stands in the ring of its class at most once, and stands there whenever it could send;
//! - long messages begun and unfinished are at most [`MESSAGE_BYTES_MAX`] in each lane, which the receiver checks;
//! - payloads are cut by reference and never copied.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::{CONTROL_STREAM, Class, Frame, Gate, SendError, Session, lane};
use crate::{
    codes::Code,
    frame::{Flags, FrameType},
    limits::{FRAGMENT_BYTES, MESSAGE_BYTES_MAX},
};

/// The sending half of a stream.
#[derive(Debug)]
pub(super) struct SendHalf {
    queue: VecDeque<(FrameType, Bytes)>,
    queued: usize,
    credit: u32,
    /// Length of the long message whose first fragment has left.
    begun: usize,
    end: End,
    in_ring: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// The last queued frame is to carry the end.
    Wanted,
    Sent,
}

/// Why nothing of a stream can leave now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocked {
    /// A long message waits for others of its lane.
    Lane,
    /// The link's window is used up.
    Link,
    /// The stream has nothing, or its window is used up.
    Stream,
}

impl SendHalf {
    pub(super) fn new(credit: u32) -> Self {
        Self {
            queue: VecDeque::new(),
            queued: 0,
            credit,
            begun: 0,
            end: End::Open,
            in_ring: false,
        }
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queued
    }

    pub(super) fn queued_messages(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn reserved(&self) -> usize {
        self.begun
    }

    pub(super) fn is_done(&self) -> bool {
        self.end == End::Sent
    }

    fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.end == End::Wanted
    }

    /// Bytes of the next fragment.
    fn next_len(&self) -> usize {
        self.queue
            .front()
            .map_or(0, |(_, payload)| payload.len().min(FRAGMENT_BYTES))
    }

    /// Length of the next message if its first fragment is still to leave and it needs several.
    fn starts_long(&self) -> Option<usize> {
        let len = self.queue.front()?.1.len();
        (self.begun == 0 && FRAGMENT_BYTES < len).then_some(len)
    }

    /// Adds credit; whether it stays within the window.
    pub(super) fn add_credit(&mut self, bytes: u32, window: u32) -> bool {
        self.credit = self.credit.saturating_add(bytes);
        self.credit <= window
    }

    /// Cuts the next frame.
    fn cut(&mut self, id: u32, class: Class) -> Frame {
        let Some((kind, payload)) = self.queue.front_mut() else {
            self.end = End::Sent;
            return Frame::new(
                FrameType::WINDOW,
                class.bits() | Flags::END,
                id,
                Bytes::new(),
            );
        };
        let kind = *kind;
        let piece = payload.split_to(payload.len().min(FRAGMENT_BYTES));
        self.queued -= piece.len();
        let mut flags = class.bits();
        if payload.has_remaining() {
            if self.begun == 0 {
                self.begun = piece.len() + payload.len();
            }
            flags |= Flags::MORE;
        } else {
            self.begun = 0;
            self.queue.pop_front();
            if self.queue.is_empty() && self.end == End::Wanted {
                self.end = End::Sent;
                flags |= Flags::END;
            }
        }
        Frame::new(kind, flags, id, piece)
    }
}

impl Session {
    /// Queues a message and says how many bytes the link has queued now; the payload is shared, not copied.
    pub fn send(
        &mut self,
        stream: u32,
        kind: FrameType,
        payload: Bytes,
    ) -> Result<usize, SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        if MESSAGE_BYTES_MAX < payload.len() {
            return Err(SendError::TooLarge {
                bytes: payload.len(),
            });
        }
        if payload.is_empty() && kind.needs_payload() {
            return Err(SendError::Empty { kind });
        }
        let half = match self.streams.get_mut(&stream) {
            Some(found) if found.send.end == End::Open => &mut found.send,
            Some(_) | None => return Err(SendError::StreamGone { stream }),
        };
        half.queued += payload.len();
        self.queued += payload.len();
        half.queue.push_back((kind, payload));
        self.enlist(stream);
        Ok(self.queued)
    }

    /// Ends this side's half of a stream behind what is queued on it; stream 0 ends with the link.
    pub fn finish(&mut self, stream: u32) {
        if stream == CONTROL_STREAM {
            return;
        }
        if let Some(found) = self.streams.get_mut(&stream)
            && found.send.end == End::Open
        {
            found.send.end = End::Wanted;
            self.enlist(stream);
        }
    }

    /// Payload bytes that wait on a stream; 0 for one that is not open.
    pub fn queued_bytes(&self, stream: u32) -> usize {
        self.streams
            .get(&stream)
            .map_or(0, |found| found.send.queued)
    }

    /// Payload bytes that wait on the link.
    pub fn queued_total(&self) -> usize {
        self.queued
    }

    /// Payload bytes of streams that have left: what the other side's grants have made possible.
    pub fn granted_bytes_sent(&self) -> u64 {
        self.granted_sent
    }

    /// Takes the next frame to write, by priority and within the windows.
    pub fn poll_transmit(&mut self) -> Option<Frame> {
        let is_open = self.gate == Gate::Open;
        if is_open
            && self.proofs == 0
            && let Some(frame) = self.urgent.pop_front()
        {
            return Some(frame);
        }
        if let Some(frame) = self.cut_control() {
            // Proofs are short: each is one frame.
            self.proofs = self.proofs.saturating_sub(1);
            return Some(frame);
        }
        if self.closed {
            return self.farewell.take();
        }
        if !is_open {
            return None;
        }
        Class::ALL
            .into_iter()
            .find_map(|class| self.cut_of_class(class))
    }

    fn cut_control(&mut self) -> Option<Frame> {
        let control = self
            .streams
            .get_mut(&CONTROL_STREAM)
            .filter(|control| control.send.has_work())?;
        let before = control.send.queued;
        let frame = control.send.cut(CONTROL_STREAM, Class::Control);
        self.queued -= before - control.send.queued;
        Some(frame)
    }

    /// The next frame of a class, its streams in turn.
    fn cut_of_class(&mut self, class: Class) -> Option<Frame> {
        for _ in 0..self.rings[class as usize].len() {
            let id = self.rings[class as usize].pop_front()?;
            match self.blocked(id) {
                Some(Blocked::Stream) => {
                    if let Some(stream) = self.streams.get_mut(&id) {
                        stream.send.in_ring = false;
                    }
                }
                Some(Blocked::Link) => {
                    self.rings[class as usize].push_front(id);
                    return None;
                }
                Some(Blocked::Lane) => self.rings[class as usize].push_back(id),
                None => return self.cut_stream(id, class),
            }
        }
        None
    }

    /// What keeps a stream from sending; a long message that must wait gets the first place in line.
    // spec: framing/2.13
    fn blocked(&mut self, id: u32) -> Option<Blocked> {
        let Some(stream) = self
            .streams
            .get(&id)
            .filter(|stream| stream.send.has_work())
        else {
            return Some(Blocked::Stream);
        };
        let len = stream.send.next_len();
        if (stream.send.credit as usize) < len {
            return Some(Blocked::Stream);
        }
        if (self.link_credit as usize) < len {
            return Some(Blocked::Link);
        }
        let total = stream.send.starts_long()?;
        let lane = lane(id, stream.class);
        let is_first = self.first_in_line[lane].is_none_or(|first| first == id);
        if is_first && self.reserved[lane] + total <= MESSAGE_BYTES_MAX {
            self.first_in_line[lane] = None;
            self.reserved[lane] += total;
            return None;
        }
        self.first_in_line[lane].get_or_insert(id);
        Some(Blocked::Lane)
    }

    fn cut_stream(&mut self, id: u32, class: Class) -> Option<Frame> {
        let half = &mut self.streams.get_mut(&id)?.send;
        let begun = half.begun;
        let frame = half.cut(id, class);
        let len = u32::try_from(frame.payload.len()).ok()?;
        half.credit -= len;
        if begun != 0 && half.begun == 0 {
            self.reserved[lane(id, class)] -= begun;
        }
        half.in_ring = half.has_work();
        if half.in_ring {
            self.rings[class as usize].push_back(id);
        }
        self.link_credit -= len;
        self.granted_sent += u64::from(len);
        self.queued -= len as usize;
        self.remove_if_done(id);
        Some(frame)
    }

    /// Puts a stream into the ring of its class if it has something to send.
    pub(super) fn enlist(&mut self, id: u32) {
        if id == CONTROL_STREAM {
            return;
        }
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.send.in_ring
            && stream.send.has_work()
        {
            stream.send.in_ring = true;
            self.rings[stream.class as usize].push_back(id);
        }
    }

    /// The other side gave a stream up.
    pub(super) fn reset_by_remote(&mut self, id: u32, code: Code) {
        self.refused.remove(&id);
        if self.remove_stream(id).is_some() {
            let event = super::Event::StreamReset { stream: id, code };
            self.events.push_back(super::Pending {
                event,
                stream: id,
                credit: 0,
                bytes: 0,
            });
        }
    }
}
