//! Multiplexing of one link: many streams of messages over one ordered run of bytes, without a clock or a socket.
//!
//! Feed it with [`Session::receive`] and [`Session::tick`], order with [`Session::send`], and drain
//! [`Session::poll_event`] and [`Session::poll_transmit`] after every call.
//!
//! Invariants:
//! - messages of one stream arrive complete, unchanged and in order, however the bytes were cut;
//! - a frame of a class never leaves while one of a higher class could;
//! - a fault of the other side closes the link with a code; it never panics and never reaches another link;
//! - what the other side can make this one hold is bounded: unfinished messages by [`MESSAGE_BYTES_MAX`] for each
//!   class and for the control stream, finished ones by that again plus the link window;
//! - before [`Session::authenticated`] nothing but stream 0 is read or written, and [`PRE_AUTH_BYTES_MAX`] bytes are the end.
//!
//! A stream opens with its first frame. [`Session::open_stream`] sends an empty grant (WINDOW of 0) at once, so
//! that ids reach the other side in order although a later stream may have the higher priority. An empty frame
//! with [`Flags::END`] ends a half without carrying a message. ERROR with END on stream 0 ends the link.

mod credit;
mod inbox;
mod outbox;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::{
    RateWindow, codec,
    codes::Code,
    frame::{FRAME_HEADER_BYTES, Flags, FrameHeader, FrameType},
    limits::{
        AUTH_MS_MAX, FRAME_MS_MAX, LINK_WINDOW_BYTES, MESSAGE_BYTES_MAX, PRE_AUTH_BYTES_MAX,
        RESETS_PER_10S_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX,
    },
    message::Refusal,
};
use credit::Window;
use inbox::Input;
use outbox::SendHalf;

/// The stream that exists from the start, in both directions.
pub const CONTROL_STREAM: u32 = 0;

/// Longest text that travels with a closing code, in bytes.
pub const DETAIL_BYTES_MAX: usize = 512;

/// As much of a reason as may travel, or be believed.
pub fn cut_detail(detail: &str) -> &str {
    &detail[..detail.floor_char_boundary(DETAIL_BYTES_MAX)]
}

/// Bytes of stream 0 that may wait to be taken while the driver goes on reading: one window of a stream.
const BEHIND_BYTES: usize = STREAM_WINDOW_BYTES as usize;

/// Streams that this side reset and whose frames may still be under way: two full sets of one side.
const REFUSED_MAX: usize = 2 * STREAMS_MAX;

/// Which end of the link this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The side that dialled; opens odd streams.
    Client,
    /// The side that was dialled; opens even streams.
    Server,
}

/// Priority of a stream, highest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Heartbeats, zones, messages, answers.
    Control,
    /// Fresh patches.
    Patch,
    /// Catch-up and transfers.
    Bulk,
}

impl Class {
    /// Every class, in order of priority.
    pub const ALL: [Self; 3] = [Self::Control, Self::Patch, Self::Bulk];

    fn bits(self) -> u8 {
        (self as u8) << Flags::CLASS_SHIFT
    }

    fn of(flags: Flags) -> Option<Self> {
        Self::ALL
            .get(usize::from(
                (flags.0 & Flags::CLASS_MASK) >> Flags::CLASS_SHIFT,
            ))
            .copied()
    }
}

/// Who ended a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBy {
    /// This side, of its own will or because of a fault of the other.
    Local,
    /// The other side, with a reason.
    Remote,
    /// Nobody said: the connection underneath ended.
    Transport,
}

/// What happened on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A whole message arrived.
    Message {
        /// The stream; answers go there too.
        stream: u32,
        /// Its type.
        kind: FrameType,
        /// Its payload, still encoded.
        payload: Bytes,
    },
    /// The other side will send nothing more on the stream.
    StreamEnded {
        /// Which.
        stream: u32,
    },
    /// The other side gave the stream up; what was queued for it is dropped.
    StreamReset {
        /// Which.
        stream: u32,
        /// Why.
        code: Code,
    },
    /// The link is over; the last event.
    Closed {
        /// Why.
        code: Code,
        /// One line for people; never trusted, always escaped when shown.
        detail: String,
        /// Who ended it.
        by: ClosedBy,
    },
}

/// One frame on its way out; the payload is shared with whatever was given to [`Session::send`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The encoded header.
    pub header: [u8; FRAME_HEADER_BYTES],
    /// What follows it.
    pub payload: Bytes,
}

impl Frame {
    fn new(kind: FrameType, flags: u8, stream: u32, payload: Bytes) -> Self {
        let len =
            u32::try_from(payload.len()).expect("payloads are cut to fragments far below 4 GiB");
        Self {
            header: FrameHeader {
                kind,
                flags: Flags(flags),
                stream,
                len,
            }
            .encode(),
            payload,
        }
    }
}

/// Why a message was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The link is over.
    #[error("the link is closed")]
    Closed,
    /// A type that must carry a payload came without one.
    #[error("a message of type {kind:?} needs a payload")]
    Empty {
        /// The type.
        kind: FrameType,
    },
    /// The stream was ended, reset or never opened.
    #[error("stream {stream} is not open")]
    StreamGone {
        /// Which.
        stream: u32,
    },
    /// The message is longer than [`MESSAGE_BYTES_MAX`].
    #[error("a message of {bytes} bytes is longer than the limit")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
}

/// What may arrive now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// HELLO, nothing else.
    Hello,
    /// AUTH, or on the dialling side WELCOME.
    Auth,
    /// On the dialling side: AUTH came, WELCOME must follow.
    Welcome,
    /// Nothing, until the owner has judged the proof.
    Judged,
    /// Enrolment; `begun` once anything arrived.
    Join { begun: bool },
    /// Everything of an authenticated link.
    Open,
}

/// A fault of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fault {
    code: Code,
    detail: &'static str,
}

fn fault<T>(code: Code, detail: &'static str) -> Result<T, Fault> {
    Err(Fault { code, detail })
}

/// The receiving half of a stream.
#[derive(Debug)]
struct ReceiveHalf {
    window: Window,
    /// Type and bytes of a message whose last fragment is still to come.
    partial: Option<(FrameType, Vec<u8>)>,
    /// Bytes counted for `partial`, also while the parser holds them.
    partial_bytes: usize,
    ended: bool,
}

#[derive(Debug)]
struct Stream {
    class: Class,
    receive: ReceiveHalf,
    send: SendHalf,
}

impl Stream {
    fn new(class: Class) -> Self {
        let window = Window::new(STREAM_WINDOW_BYTES);
        Self {
            class,
            receive: ReceiveHalf {
                window,
                partial: None,
                partial_bytes: 0,
                ended: false,
            },
            send: SendHalf::new(STREAM_WINDOW_BYTES),
        }
    }
}

/// An event with what its taking gives back to the sender.
#[derive(Debug)]
struct Pending {
    event: Event,
    stream: u32,
    /// Window bytes to give back.
    credit: u32,
    /// Payload bytes held.
    bytes: usize,
}

/// One link, seen from one side.
#[derive(Debug)]
pub struct Session {
    side: Side,
    now_ms: u64,
    /// When the link must be authenticated, while it is not.
    auth_by_ms: Option<u64>,
    gate: Gate,
    closed: bool,
    pre_auth_bytes: usize,
    /// Bytes that came behind a proof which the owner is still judging.
    held: Vec<u8>,
    input: Input,
    streams: BTreeMap<u32, Stream>,
    /// Streams that this side reset; their late frames are dropped.
    refused: BTreeSet<u32>,
    next_local: Option<u32>,
    last_remote: u32,
    open_local: usize,
    open_remote: usize,
    events: VecDeque<Pending>,
    /// Payload bytes in `events`.
    untaken: usize,
    /// The part of `untaken` that came on stream 0.
    untaken_control: usize,
    window: Window,
    /// Credit of unfinished messages that waits until the owner has caught up, by stream.
    parked: BTreeMap<u32, u32>,
    /// Unfinished bytes received, by lane (see [`lane`]).
    unfinished: [usize; 4],
    resets: RateWindow,
    empties: RateWindow,
    urgent: VecDeque<Frame>,
    /// Messages of the control stream that were said before this side held the link for authenticated: nothing
    /// overtakes them, since the other side allows nothing before them.
    proofs: usize,
    rings: [VecDeque<u32>; 3],
    /// The stream of each class whose long message starts next.
    first_in_line: [Option<u32>; 4],
    /// Bytes of long messages begun and not finished, by lane.
    reserved: [usize; 4],
    link_credit: u32,
    granted_sent: u64,
    queued: usize,
    farewell: Option<Frame>,
}

/// Long messages of one lane are bounded together: the control stream, then each class.
fn lane(stream: u32, class: Class) -> usize {
    if stream == CONTROL_STREAM {
        0
    } else {
        1 + class as usize
    }
}

impl Session {
    /// A link on which both sides are still to say who they are.
    pub fn new(side: Side, now_ms: u64) -> Self {
        Self::with_gate(side, now_ms, Gate::Hello)
    }

    /// A link of the enrolment protocol: only HELLO, ERROR, JOIN and RENEW, and never anything more.
    pub fn join(side: Side, now_ms: u64) -> Self {
        Self::with_gate(side, now_ms, Gate::Join { begun: false })
    }

    fn with_gate(side: Side, now_ms: u64, gate: Gate) -> Self {
        let first_local = match side {
            Side::Client => 1,
            Side::Server => 2,
        };
        Self {
            side,
            now_ms,
            auth_by_ms: Some(now_ms.saturating_add(AUTH_MS_MAX)),
            gate,
            closed: false,
            pre_auth_bytes: 0,
            held: Vec::new(),
            input: Input::default(),
            streams: BTreeMap::from([(CONTROL_STREAM, Stream::new(Class::Control))]),
            refused: BTreeSet::new(),
            next_local: Some(first_local),
            last_remote: 0,
            open_local: 0,
            open_remote: 0,
            events: VecDeque::new(),
            untaken: 0,
            untaken_control: 0,
            window: Window::new(LINK_WINDOW_BYTES),
            parked: BTreeMap::new(),
            unfinished: [0; 4],
            resets: RateWindow::new(10_000, RESETS_PER_10S_MAX),
            empties: RateWindow::new(1_000, crate::limits::EMPTY_FRAMES_PER_S_MAX),
            urgent: VecDeque::new(),
            proofs: 0,
            rings: Default::default(),
            first_in_line: [None; 4],
            reserved: [0; 4],
            link_credit: LINK_WINDOW_BYTES,
            granted_sent: 0,
            queued: 0,
            farewell: None,
        }
    }

    /// Takes the next event; taking a message gives its bytes back to the sender as credit.
    pub fn poll_event(&mut self) -> Option<Event> {
        let pending = self.events.pop_front()?;
        self.untaken -= pending.bytes;
        if pending.stream == CONTROL_STREAM {
            self.untaken_control -= pending.bytes;
        }
        self.give_back(pending.stream, pending.credit);
        self.release_parked();
        Some(pending.event)
    }

    /// Whether an event waits to be taken.
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether more bytes may be fed now: not while a proof is judged, not after the end.
    pub fn wants_input(&self) -> bool {
        !self.closed && self.gate != Gate::Judged
    }

    /// Whether so much of stream 0, which has no window, waits to be taken that reading should pause.
    pub fn is_behind(&self) -> bool {
        BEHIND_BYTES < self.untaken_control
    }

    /// Whether the link is over.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Lifts the caps of strangers, and handles what arrived behind the proof.
    pub fn authenticated(&mut self) {
        if matches!(self.gate, Gate::Join { .. } | Gate::Open) {
            return;
        }
        self.gate = Gate::Open;
        let control = self.streams.get(&CONTROL_STREAM);
        self.proofs = control.map_or(0, |control| control.send.queued_messages());
        self.auth_by_ms = None;
        let held = std::mem::take(&mut self.held);
        self.parse(&held);
    }

    /// Opens a stream of `class`; `STREAM_LIMIT` when too many are open, `PROTOCOL` on the enrolment protocol.
    ///
    /// Before authentication the number is taken already, and everything of the stream waits.
    pub fn open_stream(&mut self, class: Class) -> Result<u32, Code> {
        if self.closed {
            return Err(Code::BYE);
        }
        if matches!(self.gate, Gate::Join { .. }) {
            return Err(Code::PROTOCOL);
        }
        if STREAMS_MAX <= self.open_local {
            return Err(Code::STREAM_LIMIT);
        }
        let stream = self.next_local.ok_or(Code::STREAM_INVALID)?;
        self.next_local = stream.checked_add(2);
        self.open_local += 1;
        self.streams.insert(stream, Stream::new(class));
        self.urgent.push_back(Frame::new(
            FrameType::WINDOW,
            class.bits(),
            stream,
            grant(0),
        ));
        Ok(stream)
    }

    /// Gives a stream up in both directions at once.
    pub fn reset(&mut self, stream: u32, code: Code) {
        if stream == CONTROL_STREAM || self.remove_stream(stream).is_none() {
            return;
        }
        self.refuse(stream, code);
    }

    /// Ends the link: what is queued on stream 0 still leaves, then the reason.
    pub fn close(&mut self, code: Code, detail: &str) {
        if !self.closed {
            self.end(code, detail, ClosedBy::Local, true);
        }
    }

    /// Tells that the connection underneath ended or was given up; nobody can be told why any more.
    pub fn transport_ended(&mut self, code: Code, detail: &str) {
        if !self.closed {
            self.end(code, detail, ClosedBy::Transport, false);
        }
    }

    /// Tells that the other side refused below this protocol, as TLS does with a revoked certificate.
    pub fn refused_below(&mut self, code: Code, detail: &str) {
        if !self.closed {
            self.end(code, detail, ClosedBy::Remote, false);
        }
    }

    /// Tells the time; closes the link when a deadline has passed.
    pub fn tick(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        if self
            .deadline()
            .is_some_and(|deadline| deadline <= self.now_ms)
        {
            let detail = if self.auth_by_ms.is_some_and(|by| by <= self.now_ms) {
                "not authenticated in time"
            } else {
                "a frame was begun and not finished"
            };
            self.fail(Fault {
                code: Code::TIMEOUT,
                detail,
            });
        }
    }

    /// When [`Session::tick`] is wanted next, in the milliseconds of the caller's clock.
    pub fn deadline(&self) -> Option<u64> {
        if self.closed {
            return None;
        }
        let frame = self
            .input
            .begun_ms()
            .map(|begun| begun.saturating_add(FRAME_MS_MAX));
        frame.into_iter().chain(self.auth_by_ms).min()
    }

    /// Tells that reading had stopped because of this side, so a frame that is half here has not been slow.
    pub fn reading_resumed(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.input.restart_clock(self.now_ms);
    }

    fn fail(&mut self, Fault { code, detail }: Fault) {
        if !self.closed {
            self.end(code, detail, ClosedBy::Local, false);
        }
    }

    fn end(&mut self, code: Code, detail: &str, by: ClosedBy, keep_control: bool) {
        self.closed = true;
        let detail = cut_detail(detail).to_owned();
        let control = self
            .streams
            .remove(&CONTROL_STREAM)
            .filter(|_| keep_control);
        self.streams.clear();
        self.queued = 0;
        if let Some(control) = control {
            self.queued = control.send.queued_bytes();
            self.streams.insert(CONTROL_STREAM, control);
        } else {
            self.urgent.clear();
        }
        self.held = Vec::new();
        self.input = Input::default();
        self.parked.clear();
        let refusal = Refusal { code, detail };
        if by == ClosedBy::Local {
            let payload = Bytes::from(codec::encode(&refusal));
            self.farewell = Some(Frame::new(
                FrameType::ERROR,
                Flags::END,
                CONTROL_STREAM,
                payload,
            ));
        }
        let event = Event::Closed {
            code,
            detail: refusal.detail,
            by,
        };
        self.events.push_back(Pending {
            event,
            stream: CONTROL_STREAM,
            credit: 0,
            bytes: 0,
        });
    }

    /// Forgets a stream and everything counted for it.
    fn remove_stream(&mut self, id: u32) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        if self.is_local(id) {
            self.open_local -= 1;
        } else {
            self.open_remote -= 1;
        }
        let lane = lane(id, stream.class);
        self.unfinished[lane] -= stream.receive.partial_bytes;
        self.reserved[lane] -= stream.send.reserved();
        self.queued -= stream.send.queued_bytes();
        if self.first_in_line[lane] == Some(id) {
            self.first_in_line[lane] = None;
        }
        Some(stream)
    }

    /// Removes the stream once both halves have ended.
    fn remove_if_done(&mut self, id: u32) {
        if id != CONTROL_STREAM
            && self
                .streams
                .get(&id)
                .is_some_and(|stream| stream.receive.ended && stream.send.is_done())
        {
            self.remove_stream(id);
        }
    }

    /// Tells the other side to stop, and drops what it has sent meanwhile.
    fn refuse(&mut self, stream: u32, code: Code) {
        let payload = Bytes::copy_from_slice(&code.0.to_be_bytes());
        self.urgent
            .push_back(Frame::new(FrameType::RESET, 0, stream, payload));
        self.refused.insert(stream);
        if REFUSED_MAX < self.refused.len() {
            self.refused.pop_first();
        }
    }

    fn is_local(&self, stream: u32) -> bool {
        (stream % 2 == 1) == (self.side == Side::Client)
    }
}

fn grant(bytes: u32) -> Bytes {
    Bytes::copy_from_slice(&bytes.to_be_bytes())
}

const _: () =
    assert!(FRAME_HEADER_BYTES < PRE_AUTH_BYTES_MAX && PRE_AUTH_BYTES_MAX < MESSAGE_BYTES_MAX);
