//! What arrives: bytes become frames, frames become messages, faults become the end of the link.
//!
//! Invariants:
//! - nothing is reserved from a length field: buffers grow with the bytes that came;
//! - a header is judged completely before the first byte of its payload is kept;
//! - once the gate is shut or the link closed, not one more byte is looked at.

use std::mem;

use bytes::Bytes;

use super::{
    CONTROL_STREAM, Class, ClosedBy, Event, Fault, Gate, Pending, Session, Side, Stream,
    credit::useless, fault, lane,
};
use crate::{
    codec,
    codes::Code,
    frame::{FRAME_HEADER_BYTES, Flags, FrameHeader, FrameType},
    limits::{
        FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, PRE_AUTH_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX,
    },
    message::Refusal,
};

/// Bytes held behind a proof that is being judged: one full read of a driver and a full frame.
const HELD_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

/// The frame that is arriving.
#[derive(Debug, Default)]
pub(super) struct Input {
    header: [u8; FRAME_HEADER_BYTES],
    filled: usize,
    frame: Option<Arriving>,
    begun_ms: Option<u64>,
}

#[derive(Debug)]
struct Arriving {
    header: FrameHeader,
    left: usize,
    keep: Keep,
}

/// What happens with a payload.
#[derive(Debug)]
enum Keep {
    /// Part of a message; the bytes of earlier fragments included.
    Message(Vec<u8>),
    /// Dropped as it comes, its credit given back.
    Nothing,
    /// A grant or a reset.
    Order(Vec<u8>),
}

impl Input {
    pub(super) fn begun_ms(&self) -> Option<u64> {
        self.begun_ms
    }

    pub(super) fn restart_clock(&mut self, now_ms: u64) {
        if self.begun_ms.is_some() {
            self.begun_ms = Some(now_ms);
        }
    }

    /// Takes header bytes from the front of `rest`; the header once it is complete.
    fn fill_header(&mut self, rest: &mut &[u8]) -> Option<FrameHeader> {
        let count = rest.len().min(FRAME_HEADER_BYTES - self.filled);
        let (front, back) = rest.split_at(count);
        self.header[self.filled..self.filled + count].copy_from_slice(front);
        self.filled += count;
        *rest = back;
        if self.filled < FRAME_HEADER_BYTES {
            return None;
        }
        self.filled = 0;
        Some(FrameHeader::decode(&self.header))
    }
}

impl Arriving {
    fn fill(&mut self, rest: &mut &[u8]) {
        let count = rest.len().min(self.left);
        let (front, back) = rest.split_at(count);
        match &mut self.keep {
            Keep::Message(bytes) | Keep::Order(bytes) => bytes.extend_from_slice(front),
            Keep::Nothing => {}
        }
        self.left -= count;
        *rest = back;
    }
}

impl Session {
    /// Takes bytes from the connection, cut anywhere; faults become [`Event::Closed`].
    pub fn receive(&mut self, now_ms: u64, bytes: &[u8]) {
        self.now_ms = self.now_ms.max(now_ms);
        if self.closed {
            return;
        }
        if self.gate != Gate::Judged {
            self.parse(bytes);
        } else if HELD_BYTES_MAX < self.held.len() + bytes.len() {
            self.fail(Fault {
                code: Code::RATE,
                detail: "too much was sent before the proof was judged",
            });
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    pub(super) fn parse(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !self.closed && !rest.is_empty() {
            if self.gate == Gate::Judged {
                self.held.extend_from_slice(rest);
                return;
            }
            if let Err(fault) = self.step(&mut rest) {
                self.fail(fault);
            }
        }
    }

    /// Moves one header or one payload forward by what `rest` has of it.
    fn step(&mut self, rest: &mut &[u8]) -> Result<(), Fault> {
        let mut frame = match self.input.frame.take() {
            Some(frame) => frame,
            None => {
                self.input.begun_ms.get_or_insert(self.now_ms);
                let Some(header) = self.input.fill_header(rest) else {
                    return Ok(());
                };
                let keep = self.admit(&header)?;
                Arriving {
                    header,
                    left: header.len as usize,
                    keep,
                }
            }
        };
        frame.fill(rest);
        if 0 < frame.left {
            self.input.frame = Some(frame);
            return Ok(());
        }
        self.input.begun_ms = None;
        self.finish_frame(frame)
    }

    /// Judges a header: what to do with its payload, or why the link must end.
    // spec: framing/2.3
    fn admit(&mut self, header: &FrameHeader) -> Result<Keep, Fault> {
        let is_known = header.kind.name().is_some();
        if !header.is_within_limit() {
            return fault(Code::FRAME_TOO_LARGE, "a frame is longer than the limit");
        }
        if !is_known && !header.flags.has(Flags::OPTIONAL) {
            return fault(
                Code::UNKNOWN_FRAME,
                "a frame of unknown type that is not optional",
            );
        }
        // One end for each stream is bounded by the streams themselves.
        let is_idle = header.len == 0 && !is_bare_end(header);
        if is_idle || matches!(header.kind, FrameType::HEARTBEAT | FrameType::HEARTBEAT_ACK) {
            useless(&mut self.empties, self.now_ms)?;
        }
        self.admit_at_gate(header)?;
        match header.kind {
            FrameType::WINDOW | FrameType::RESET if !is_bare_end(header) => {
                self.admit_order(header)
            }
            _ if header.stream == CONTROL_STREAM => self.admit_control(header, is_known),
            _ => self.admit_data(header, is_known),
        }
    }

    /// Whether the frame may come at this point of the session.
    fn admit_at_gate(&mut self, header: &FrameHeader) -> Result<(), Fault> {
        use FrameType as T;
        let is_expected = match (self.gate, header.kind) {
            (Gate::Open, T::HELLO | T::AUTH | T::WELCOME | T::JOIN_REQUEST | T::JOIN_GRANT) => {
                false
            }
            (Gate::Open, T::RENEW_REQUEST) => self.side == Side::Server,
            (Gate::Open, T::RENEW_GRANT) => self.side == Side::Client,
            (Gate::Open, _) => return Ok(()),
            (_, T::ERROR) => true,
            (Gate::Hello, kind) => kind == T::HELLO,
            (Gate::Auth, T::AUTH) => true,
            (Gate::Auth | Gate::Welcome, T::WELCOME) => self.side == Side::Client,
            (Gate::Join { begun }, T::HELLO) => !begun,
            (Gate::Join { .. }, T::JOIN_REQUEST | T::RENEW_REQUEST) => self.side == Side::Server,
            (Gate::Join { .. }, T::JOIN_GRANT | T::RENEW_GRANT) => self.side == Side::Client,
            (Gate::Auth | Gate::Welcome | Gate::Judged | Gate::Join { .. }, _) => false,
        };
        if !is_expected {
            return fault(Code::PROTOCOL, "a frame that is not allowed at this point");
        }
        if self.gate == Gate::Open {
            return Ok(());
        }
        if header.stream != CONTROL_STREAM {
            return fault(Code::PROTOCOL, "a stream before authentication");
        }
        if PRE_AUTH_BYTES_MAX < header.len as usize {
            return fault(
                Code::FRAME_TOO_LARGE,
                "a frame is longer than the limit before authentication",
            );
        }
        self.pre_auth_bytes += FRAME_HEADER_BYTES + header.len as usize;
        if PRE_AUTH_BYTES_MAX < self.pre_auth_bytes {
            return fault(Code::TOO_LARGE, "too many bytes before authentication");
        }
        Ok(())
    }

    fn admit_order(&mut self, header: &FrameHeader) -> Result<Keep, Fault> {
        let expected = if header.kind == FrameType::WINDOW {
            4
        } else {
            2
        };
        if header.len != expected || header.flags.has(Flags::MORE | Flags::END) {
            return fault(Code::FRAME_INVALID, "a grant or reset of the wrong length");
        }
        Ok(Keep::Order(Vec::new()))
    }

    /// Stream 0 has no window, but what it may hold is bounded all the same.
    fn admit_control(&mut self, header: &FrameHeader, is_known: bool) -> Result<Keep, Fault> {
        let ends = header.flags.has(Flags::END);
        if (ends && header.kind != FrameType::ERROR)
            || Class::of(header.flags) != Some(Class::Control)
        {
            return fault(
                Code::PROTOCOL,
                "stream 0 ends only with a reason, and has only one class",
            );
        }
        if MESSAGE_BYTES_MAX + FRAME_BYTES_MAX < self.untaken_control + header.len as usize {
            return fault(
                Code::FLOW_CONTROL,
                "too much on stream 0 while the reader is behind",
            );
        }
        if !is_known {
            return Ok(Keep::Nothing);
        }
        if ends && let Some(control) = self.streams.get_mut(&CONTROL_STREAM) {
            // The reason for closing may cut off a message that will never be finished.
            control.receive.partial = None;
            self.unfinished[0] -= mem::take(&mut control.receive.partial_bytes);
        }
        self.admit_fragment(header)
    }

    fn admit_data(&mut self, header: &FrameHeader, is_known: bool) -> Result<Keep, Fault> {
        let Some(class) = Class::of(header.flags) else {
            return fault(Code::FRAME_INVALID, "a class that does not exist");
        };
        self.open_by_remote(header.stream, class)?;
        if !self.window.allows(header.len) {
            return fault(
                Code::FLOW_CONTROL,
                "more was sent than the link's window allows",
            );
        }
        self.window.take(header.len);
        let Some(stream) = self.streams.get_mut(&header.stream) else {
            return Ok(Keep::Nothing);
        };
        if stream.receive.ended {
            return fault(Code::STREAM_INVALID, "a stream was used after its end");
        }
        if stream.class != class {
            return fault(Code::FRAME_INVALID, "a stream changed its class");
        }
        if !stream.receive.window.allows(header.len) {
            return fault(
                Code::FLOW_CONTROL,
                "more was sent than the stream's window allows",
            );
        }
        stream.receive.window.take(header.len);
        if !is_known {
            return Ok(Keep::Nothing);
        }
        self.admit_fragment(header)
    }

    /// Checks that the frame continues or begins a message, and how long that message may become.
    fn admit_fragment(&mut self, header: &FrameHeader) -> Result<Keep, Fault> {
        let Some(stream) = self.streams.get_mut(&header.stream) else {
            return Ok(Keep::Nothing);
        };
        let has_more = header.flags.has(Flags::MORE);
        if has_more && header.flags.has(Flags::END) {
            return fault(Code::FRAME_INVALID, "a stream ends within a message");
        }
        let lane = lane(header.stream, stream.class);
        let partial = match stream.receive.partial.take() {
            Some((kind, _)) if kind != header.kind => {
                return fault(
                    Code::PROTOCOL,
                    "a message was cut off by one of another type",
                );
            }
            Some((_, bytes)) => bytes,
            None if header.len == 0
                && !has_more
                && header.kind.needs_payload()
                && !is_bare_end(header) =>
            {
                return fault(
                    Code::FRAME_INVALID,
                    "a type that needs a payload came without",
                );
            }
            None => Vec::new(),
        };
        if has_more || !partial.is_empty() {
            let len = header.len as usize;
            if MESSAGE_BYTES_MAX < self.unfinished[lane] + len {
                return fault(
                    Code::TOO_LARGE,
                    "unfinished messages are longer than the limit",
                );
            }
            self.unfinished[lane] += len;
            stream.receive.partial_bytes += len;
        }
        Ok(Keep::Message(partial))
    }

    /// Finds the stream or opens it; a stream that this side refused stays absent without a fault.
    // spec: framing/2.5
    fn open_by_remote(&mut self, id: u32, class: Class) -> Result<(), Fault> {
        if self.streams.contains_key(&id) || self.refused.contains(&id) {
            return Ok(());
        }
        if self.is_local(id) || id <= self.last_remote {
            return fault(
                Code::STREAM_INVALID,
                "a stream that cannot be opened or used again",
            );
        }
        self.last_remote = id;
        if STREAMS_MAX <= self.open_remote {
            useless(&mut self.resets, self.now_ms)?;
            self.refuse(id, Code::STREAM_LIMIT);
            return Ok(());
        }
        self.open_remote += 1;
        self.streams.insert(id, Stream::new(class));
        Ok(())
    }

    fn finish_frame(&mut self, frame: Arriving) -> Result<(), Fault> {
        let Arriving { header, keep, .. } = frame;
        match keep {
            Keep::Order(payload) if header.kind == FrameType::WINDOW => {
                self.take_grant(&header, &payload)?
            }
            Keep::Order(payload) => self.take_reset(&header, &payload)?,
            Keep::Nothing => self.give_back(header.stream, header.len),
            Keep::Message(bytes) => self.take_fragment(&header, bytes)?,
        }
        if header.stream != CONTROL_STREAM && header.flags.has(Flags::END) {
            self.end_by_remote(header.stream);
        }
        Ok(())
    }

    fn take_fragment(&mut self, header: &FrameHeader, bytes: Vec<u8>) -> Result<(), Fault> {
        let id = header.stream;
        let Some(stream) = self.streams.get_mut(&id) else {
            // Reset by this side while the frame was arriving.
            self.give_back(id, header.len);
            return Ok(());
        };
        if header.flags.has(Flags::MORE) {
            stream.receive.partial = Some((header.kind, bytes));
            self.give_back_unfinished(id, header.len);
            return Ok(());
        }
        let lane = lane(id, stream.class);
        self.unfinished[lane] -= mem::take(&mut stream.receive.partial_bytes);
        if bytes.is_empty() {
            if is_bare_end(header) {
                return Ok(());
            }
            if header.kind.needs_payload() {
                return fault(
                    Code::FRAME_INVALID,
                    "a message of several fragments without a payload",
                );
            }
        }
        self.take_message(header, Bytes::from(bytes));
        Ok(())
    }

    fn take_message(&mut self, header: &FrameHeader, payload: Bytes) {
        if header.kind == FrameType::ERROR
            && header.stream == CONTROL_STREAM
            && header.flags.has(Flags::END)
        {
            let refusal = codec::decode(&payload).unwrap_or(Refusal {
                code: Code::DECODE,
                detail: "closed without a readable reason".to_owned(),
            });
            return self.end(refusal.code, &refusal.detail, ClosedBy::Remote, false);
        }
        self.pass_gate(header.kind);
        self.untaken += payload.len();
        if header.stream == CONTROL_STREAM {
            self.untaken_control += payload.len();
        }
        let pending = Pending {
            stream: header.stream,
            credit: header.len,
            bytes: payload.len(),
            event: Event::Message {
                stream: header.stream,
                kind: header.kind,
                payload,
            },
        };
        self.events.push_back(pending);
    }

    /// Moves the gate on after a message that it let through.
    fn pass_gate(&mut self, kind: FrameType) {
        self.gate = match (self.gate, kind, self.side) {
            (Gate::Hello, FrameType::HELLO, _) => Gate::Auth,
            (Gate::Auth, FrameType::AUTH, Side::Server) => Gate::Judged,
            (Gate::Auth, FrameType::AUTH, Side::Client) => Gate::Welcome,
            (Gate::Auth | Gate::Welcome, FrameType::WELCOME, _) => Gate::Judged,
            (Gate::Join { .. }, kind, _) => {
                if kind != FrameType::HELLO {
                    self.auth_by_ms = None;
                }
                Gate::Join { begun: true }
            }
            (gate, _, _) => gate,
        };
    }

    fn take_grant(&mut self, header: &FrameHeader, payload: &[u8]) -> Result<(), Fault> {
        let bytes = u32::from_be_bytes(
            payload
                .try_into()
                .expect("the length was checked with the header"),
        );
        let id = header.stream;
        if id == CONTROL_STREAM {
            self.link_credit = self.link_credit.saturating_add(bytes);
            return if bytes == 0 || crate::limits::LINK_WINDOW_BYTES < self.link_credit {
                fault(Code::FLOW_CONTROL, "a grant beyond the link's window")
            } else {
                Ok(())
            };
        }
        if bytes == 0 {
            return self.take_opening(header);
        }
        let granted = self
            .streams
            .get_mut(&id)
            .map(|stream| stream.send.add_credit(bytes, STREAM_WINDOW_BYTES));
        match granted {
            Some(false) => fault(Code::FLOW_CONTROL, "a grant beyond the stream's window"),
            Some(true) => {
                self.enlist(id);
                Ok(())
            }
            None if self.was_opened(id) => useless(&mut self.empties, self.now_ms),
            None => fault(
                Code::STREAM_INVALID,
                "a grant for a stream that was never opened",
            ),
        }
    }

    /// An empty grant is how a stream opens; anywhere else it is an attempt to reuse one.
    fn take_opening(&mut self, header: &FrameHeader) -> Result<(), Fault> {
        let Some(class) = Class::of(header.flags) else {
            return fault(Code::FRAME_INVALID, "a class that does not exist");
        };
        if self.is_local(header.stream) || header.stream <= self.last_remote {
            return fault(
                Code::STREAM_INVALID,
                "a stream that cannot be opened or used again",
            );
        }
        self.open_by_remote(header.stream, class)
    }

    fn take_reset(&mut self, header: &FrameHeader, payload: &[u8]) -> Result<(), Fault> {
        useless(&mut self.resets, self.now_ms)?;
        if !self.was_opened(header.stream) {
            return fault(
                Code::STREAM_INVALID,
                "a reset of a stream that was never opened",
            );
        }
        let code = u16::from_be_bytes(
            payload
                .try_into()
                .expect("the length was checked with the header"),
        );
        self.reset_by_remote(header.stream, Code(code));
        Ok(())
    }

    fn was_opened(&self, id: u32) -> bool {
        if id == CONTROL_STREAM {
            false
        } else if self.is_local(id) {
            self.next_local.is_none_or(|next| id < next)
        } else {
            id <= self.last_remote
        }
    }

    fn end_by_remote(&mut self, id: u32) {
        self.refused.remove(&id);
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.receive.ended = true;
        let event = Event::StreamEnded { stream: id };
        self.events.push_back(Pending {
            event,
            stream: id,
            credit: 0,
            bytes: 0,
        });
        self.remove_if_done(id);
    }
}

/// Whether the frame ends a half and carries no message.
fn is_bare_end(header: &FrameHeader) -> bool {
    header.len == 0 && header.flags.has(Flags::END)
}
