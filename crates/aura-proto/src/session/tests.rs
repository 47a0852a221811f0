//! Faults of the other side, and what the other tests are built from.

#![allow(clippy::unwrap_used)]

mod streams;

use bytes::Bytes;

use super::*;
use crate::limits::{EMPTY_FRAMES_PER_S_MAX, FRAGMENT_BYTES, FRAME_BYTES_MAX};

#[test]
fn a_frame_beyond_the_limit_closes_before_its_payload() {
    for len in [u32::MAX, FRAME_BYTES_MAX as u32 + 1] {
        let mut server = open(Side::Server);
        server.receive(0, &header(FrameType::PATCH_PUSH, 0, 1, len));
        assert_eq!(closed(&mut server), Some(Code::FRAME_TOO_LARGE));
    }
}

#[test]
fn a_type_that_needs_a_payload_is_refused_without() {
    let mut server = open(Side::Server);
    server.receive(0, &header(FrameType::PATCH_PUSH, 0, 1, 0));
    assert_eq!(closed(&mut server), Some(Code::FRAME_INVALID));
}

#[test]
fn a_frame_cut_at_any_byte_delivers_nothing_and_silence_closes() {
    let bytes = frame(FrameType::PATCH_PUSH, 0, 1, b"0123456789");
    for cut in 1..bytes.len() {
        let mut server = open(Side::Server);
        server.receive(1_000, &bytes[..cut]);
        assert_eq!(server.poll_event(), None, "cut at {cut}");
        assert_eq!(server.deadline(), Some(1_000 + FRAME_MS_MAX));
        server.tick(1_000 + FRAME_MS_MAX - 1);
        assert!(!server.is_closed());
        server.tick(1_000 + FRAME_MS_MAX);
        assert_eq!(closed(&mut server), Some(Code::TIMEOUT), "cut at {cut}");
    }
}

#[test]
fn a_complete_frame_leaves_no_deadline() {
    let mut server = open(Side::Server);
    server.receive(0, &frame(FrameType::PATCH_PUSH, 0, 1, b"x"));
    assert_eq!(server.deadline(), None);
}

#[test]
fn reading_that_this_side_held_up_is_not_held_against_the_other() {
    let mut server = open(Side::Server);
    server.receive(0, &frame(FrameType::PATCH_PUSH, 0, 1, b"0123456789")[..12]);
    server.reading_resumed(FRAME_MS_MAX);
    server.tick(FRAME_MS_MAX + 1);
    assert!(!server.is_closed());
}

#[test]
fn an_unknown_type_is_ignored_if_optional_and_closes_if_not() {
    let mut server = open(Side::Server);
    server.receive(0, &frame(FrameType(0xEE), Flags::OPTIONAL, 0, b"later"));
    server.receive(0, &frame(FrameType(0xEE), Flags::OPTIONAL, 1, b"later"));
    server.receive(0, &frame(FrameType::PATCH_PUSH, 0, 1, b"x"));
    assert!(matches!(
        server.poll_event(),
        Some(Event::Message { stream: 1, .. })
    ));
    server.receive(0, &frame(FrameType(0xEE), 0, 0, b"now"));
    assert_eq!(closed(&mut server), Some(Code::UNKNOWN_FRAME));
}

#[test]
fn stream_ids_may_not_be_reused_go_backwards_or_have_the_wrong_parity() {
    let push = |stream| frame(FrameType::PATCH_PUSH, 0, stream, b"x");
    let end = |stream| frame(FrameType::PATCH_PUSH, Flags::END, stream, b"x");
    let reset = |stream| frame(FrameType::RESET, 0, stream, &[0, 0]);
    let cases = [
        ("wrong parity", vec![push(2)]),
        ("backwards", vec![push(5), push(3)]),
        ("wrap", vec![push(u32::MAX), push(1)]),
        ("used after its end", vec![end(1), push(1)]),
        ("reused after a reset", vec![push(1), reset(1), push(1)]),
        ("opened twice", vec![opening(1), opening(1)]),
        ("reset of zero", vec![reset(0)]),
        ("reset before opening", vec![reset(1)]),
        (
            "grant before opening",
            vec![frame(FrameType::WINDOW, 0, 1, &[0, 0, 0, 9])],
        ),
    ];
    for (name, frames) in cases {
        let mut server = open(Side::Server);
        server.receive(0, &frames.concat());
        assert_eq!(closed(&mut server), Some(Code::STREAM_INVALID), "{name}");
    }
}

#[test]
fn nothing_overtakes_the_proofs_of_the_side_that_holds_the_link_for_authenticated_first() {
    let mut server = Session::new(Side::Server, 0);
    server.receive(0, &frame(FrameType::HELLO, 0, 0, b"hello"));
    server.receive(0, &frame(FrameType::AUTH, 0, 0, b"proof"));
    for kind in [FrameType::HELLO, FrameType::AUTH, FrameType::WELCOME] {
        server.send(0, kind, Bytes::from_static(b"mine")).unwrap();
    }
    server.authenticated();
    server.open_stream(Class::Patch).unwrap();
    let sent = transmit(&mut server);
    let kinds: Vec<FrameType> = sent.iter().map(|frame| head(frame).kind).collect();
    let expected = [
        FrameType::HELLO,
        FrameType::AUTH,
        FrameType::WELCOME,
        FrameType::WINDOW,
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn the_65th_stream_alone_is_refused() {
    let mut server = open(Side::Server);
    for index in 0..=STREAMS_MAX as u32 {
        server.receive(0, &frame(FrameType::PATCH_PUSH, 0, 2 * index + 1, b"x"));
    }
    let refused = 2 * STREAMS_MAX as u32 + 1;
    let sent = transmit(&mut server);
    let reset = sent
        .iter()
        .find(|frame| head(frame).kind == FrameType::RESET)
        .unwrap();
    assert_eq!(head(reset).stream, refused);
    assert_eq!(reset.payload[..], Code::STREAM_LIMIT.0.to_be_bytes());

    // What was under way for the refused stream is dropped, and the others live.
    server.receive(0, &frame(FrameType::PATCH_PUSH, 0, refused, b"late"));
    server.receive(0, &frame(FrameType::PATCH_PUSH, 0, 1, b"y"));
    assert_eq!(drain(&mut server).len(), STREAMS_MAX + 1);
    assert!(!server.is_closed());
}

#[test]
fn opening_more_than_the_limit_is_refused_here_too() {
    let mut client = open(Side::Client);
    for index in 0..STREAMS_MAX as u32 {
        assert_eq!(client.open_stream(Class::Bulk), Ok(2 * index + 1));
    }
    assert_eq!(client.open_stream(Class::Bulk), Err(Code::STREAM_LIMIT));
    client.reset(1, Code::BYE);
    assert!(client.open_stream(Class::Bulk).is_ok());
}

#[test]
fn a_flood_of_opened_and_reset_streams_closes() {
    let mut server = open(Side::Server);
    let mut count = 0;
    for index in 0..10_000 {
        let id = 2 * index + 1;
        server.receive(
            0,
            &[opening(id), frame(FrameType::RESET, 0, id, &[0, 0])].concat(),
        );
        if server.is_closed() {
            break;
        }
        count += 1;
    }
    assert_eq!(count, RESETS_PER_10S_MAX);
    assert_eq!(closed(&mut server), Some(Code::RATE));
}

#[test]
fn a_flood_of_empty_frames_or_heartbeats_closes() {
    let floods = [
        header(FrameType::HEARTBEAT, 0, 0, 0).to_vec(),
        frame(FrameType::HEARTBEAT, 0, 0, b"a nonce"),
        header(FrameType::PATCH_PUSH, Flags::MORE, 1, 0).to_vec(),
    ];
    for flood in floods {
        let mut server = open(Side::Server);
        for _ in 0..EMPTY_FRAMES_PER_S_MAX {
            server.receive(5_000, &flood);
            while server.poll_event().is_some() {}
        }
        assert!(!server.is_closed());
        server.receive(5_000, &flood);
        assert_eq!(closed(&mut server), Some(Code::RATE));
    }
}

#[test]
fn heartbeats_at_their_own_pace_never_close() {
    let mut server = open(Side::Server);
    for second in 0..10_000 {
        server.receive(
            second * 1_000,
            &frame(FrameType::HEARTBEAT, 0, 0, b"a nonce"),
        );
        while server.poll_event().is_some() {}
    }
    assert!(!server.is_closed());
}

#[test]
fn a_message_beyond_the_limit_closes() {
    let mut server = open(Side::Server);
    let fragment = frame(
        FrameType::PEER_EVENT,
        Flags::MORE,
        0,
        &vec![7; FRAME_BYTES_MAX],
    );
    for _ in 0..MESSAGE_BYTES_MAX / FRAME_BYTES_MAX {
        server.receive(0, &fragment);
    }
    assert!(!server.is_closed());
    server.receive(0, &frame(FrameType::PEER_EVENT, 0, 0, b"x"));
    assert_eq!(closed(&mut server), Some(Code::TOO_LARGE));
}

#[test]
fn more_than_the_window_closes() {
    let mut server = open(Side::Server);
    let quarter = vec![1; STREAM_WINDOW_BYTES as usize / 4];
    for _ in 0..4 {
        server.receive(0, &frame(FrameType::PATCH_PUSH, 0, 1, &quarter));
    }
    assert!(!server.is_closed());
    server.receive(0, &frame(FrameType::PATCH_PUSH, 0, 1, b"x"));
    assert_eq!(closed(&mut server), Some(Code::FLOW_CONTROL));
}

#[test]
fn more_than_the_windows_of_all_streams_together_closes() {
    let mut server = open(Side::Server);
    let whole = vec![1; STREAM_WINDOW_BYTES as usize];
    for index in 0..LINK_WINDOW_BYTES / STREAM_WINDOW_BYTES {
        server.receive(0, &frame(FrameType::PATCH_PUSH, 0, 2 * index + 1, &whole));
    }
    assert!(!server.is_closed());
    server.receive(0, &frame(FrameType::PATCH_PUSH, 0, 101, b"x"));
    assert_eq!(closed(&mut server), Some(Code::FLOW_CONTROL));
}

#[test]
fn a_grant_beyond_the_window_closes() {
    let mut server = open(Side::Server);
    server.receive(0, &frame(FrameType::WINDOW, 0, 0, &1u32.to_be_bytes()));
    assert_eq!(closed(&mut server), Some(Code::FLOW_CONTROL));
}

#[test]
fn unfinished_messages_of_all_streams_are_bounded_together() {
    let mut server = open(Side::Server);
    let piece = vec![1; 128 << 10];
    let mut sent = 0;
    'flood: for _ in 0..STREAMS_MAX {
        for index in 0..STREAMS_MAX as u32 {
            server.receive(
                0,
                &frame(
                    FrameType::WAL_EVENT,
                    Flags::MORE | Class::Bulk.bits(),
                    2 * index + 1,
                    &piece,
                ),
            );
            transmit(&mut server);
            if server.is_closed() {
                break 'flood;
            }
            sent += piece.len();
        }
    }
    assert_eq!(sent, MESSAGE_BYTES_MAX);
    assert_eq!(closed(&mut server), Some(Code::TOO_LARGE));
}

#[test]
fn a_message_cut_off_by_another_type_closes() {
    let mut server = open(Side::Server);
    server.receive(0, &frame(FrameType::PATCH_PUSH, Flags::MORE, 1, b"a"));
    server.receive(0, &frame(FrameType::MSG_SEND, 0, 1, b"b"));
    assert_eq!(closed(&mut server), Some(Code::PROTOCOL));
}

#[test]
fn the_order_of_the_first_frames_is_fixed() {
    let hello = frame(FrameType::HELLO, 0, 0, b"h");
    let auth = frame(FrameType::AUTH, 0, 0, b"a");
    let welcome = frame(FrameType::WELCOME, 0, 0, b"w");
    let push = frame(FrameType::PATCH_PUSH, 0, 1, b"p");
    let join = frame(FrameType::JOIN_REQUEST, 0, 0, b"j");
    let cases = [
        (Side::Server, vec![&auth]),
        (Side::Server, vec![&hello, &hello]),
        (Side::Server, vec![&push]),
        (Side::Server, vec![&hello, &push]),
        (Side::Server, vec![&hello, &welcome]),
        (Side::Server, vec![&join]),
        (Side::Client, vec![&welcome]),
        (Side::Client, vec![&hello, &auth, &auth]),
    ];
    for (side, frames) in cases {
        let mut session = Session::new(side, 0);
        for bytes in &frames {
            session.receive(0, bytes);
        }
        assert_eq!(
            closed(&mut session),
            Some(Code::PROTOCOL),
            "{side:?} {frames:?}"
        );
    }
}

#[test]
fn what_follows_a_proof_waits_for_the_verdict() {
    let mut server = Session::new(Side::Server, 0);
    let bytes = [
        frame(FrameType::HELLO, 0, 0, b"h"),
        frame(FrameType::AUTH, 0, 0, b"a"),
        frame(FrameType::PATCH_PUSH, 0, 1, b"p"),
    ]
    .concat();
    server.receive(0, &bytes);
    assert_eq!(drain(&mut server).len(), 2);
    assert!(!server.wants_input());
    server.receive(0, &frame(FrameType::PATCH_PUSH, 0, 1, b"q"));
    assert_eq!(server.poll_event(), None);
    server.authenticated();
    assert_eq!(drain(&mut server).len(), 2);
}

#[test]
fn what_is_queued_on_streams_waits_for_the_verdict() {
    let mut client = Session::new(Side::Client, 0);
    let stream = client.open_stream(Class::Patch).unwrap();
    client
        .send(stream, FrameType::WAL_SUBSCRIBE, Bytes::from_static(b"?"))
        .unwrap();
    client
        .send(CONTROL_STREAM, FrameType::HELLO, Bytes::from_static(b"h"))
        .unwrap();
    let kinds = |sent: Vec<Frame>| {
        sent.iter()
            .map(|frame| head(frame).kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(transmit(&mut client)), [FrameType::HELLO]);
    client.authenticated();
    assert_eq!(
        kinds(transmit(&mut client)),
        [FrameType::WINDOW, FrameType::WAL_SUBSCRIBE]
    );
}

#[test]
fn a_second_hello_or_auth_after_the_verdict_closes() {
    for kind in [
        FrameType::HELLO,
        FrameType::AUTH,
        FrameType::WELCOME,
        FrameType::JOIN_REQUEST,
    ] {
        let mut server = open(Side::Server);
        server.receive(0, &frame(kind, 0, 0, b"again"));
        assert_eq!(closed(&mut server), Some(Code::PROTOCOL));
    }
}

#[test]
fn a_stranger_may_send_few_bytes() {
    let mut server = Session::new(Side::Server, 0);
    server.receive(
        0,
        &header(FrameType::HELLO, 0, 0, PRE_AUTH_BYTES_MAX as u32 + 1),
    );
    assert_eq!(closed(&mut server), Some(Code::FRAME_TOO_LARGE));

    let mut server = Session::new(Side::Server, 0);
    let half = vec![0; PRE_AUTH_BYTES_MAX / 2];
    server.receive(0, &frame(FrameType::HELLO, Flags::MORE, 0, &half));
    assert!(!server.is_closed());
    server.receive(0, &frame(FrameType::HELLO, 0, 0, &half));
    assert_eq!(closed(&mut server), Some(Code::TOO_LARGE));
}

#[test]
fn a_stranger_has_a_total_deadline_however_it_drips() {
    let mut server = Session::new(Side::Server, 0);
    let bytes = frame(FrameType::HELLO, 0, 0, &[0; 100]);
    for (second, byte) in bytes.iter().take(9).enumerate() {
        server.receive(second as u64 * 1_000, &[*byte]);
    }
    server.tick(AUTH_MS_MAX - 1);
    assert!(!server.is_closed());
    server.tick(AUTH_MS_MAX);
    assert_eq!(closed(&mut server), Some(Code::TIMEOUT));
}

#[test]
fn enrolment_takes_join_frames_and_nothing_else() {
    let mut server = Session::join(Side::Server, 0);
    server.receive(0, &frame(FrameType::HELLO, 0, 0, b"h"));
    server.receive(0, &frame(FrameType::JOIN_REQUEST, 0, 0, b"j"));
    assert_eq!(drain(&mut server).len(), 2);
    assert_eq!(server.open_stream(Class::Patch), Err(Code::PROTOCOL));
    server.authenticated();
    server.receive(0, &frame(FrameType::PATCH_PUSH, 0, 1, b"p"));
    assert_eq!(closed(&mut server), Some(Code::PROTOCOL));
}

impl Session {
    /// Asserts what must hold between any two calls.
    fn check(&self) {
        let queued: usize = self
            .streams
            .values()
            .map(|stream| stream.send.queued_bytes())
            .sum();
        assert_eq!(queued, self.queued);
        assert_eq!(
            self.untaken,
            self.events
                .iter()
                .map(|pending| pending.bytes)
                .sum::<usize>()
        );
        if self.closed {
            return;
        }
        let mut unfinished = [0; 4];
        let mut reserved = [0; 4];
        for (id, stream) in &self.streams {
            unfinished[lane(*id, stream.class)] += stream.receive.partial_bytes;
            if *id != CONTROL_STREAM {
                reserved[lane(*id, stream.class)] += stream.send.reserved();
            }
        }
        assert_eq!(unfinished, self.unfinished);
        assert_eq!(reserved, self.reserved);
        let local = self
            .streams
            .keys()
            .filter(|id| **id != 0 && self.is_local(**id))
            .count();
        assert_eq!(local, self.open_local);
        assert_eq!(self.streams.len() - 1 - local, self.open_remote);
        assert!(self.open_remote <= STREAMS_MAX && self.open_local <= STREAMS_MAX);
    }
}

/// Two authenticated sessions and the bytes between them.
struct Pair {
    client: Session,
    server: Session,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            client: Session::new(Side::Client, 0),
            server: Session::new(Side::Server, 0),
        };
        let word = |text: &'static str| Bytes::from_static(text.as_bytes());
        pair.client
            .send(CONTROL_STREAM, FrameType::HELLO, word("h"))
            .unwrap();
        pair.client
            .send(CONTROL_STREAM, FrameType::AUTH, word("a"))
            .unwrap();
        pair.server
            .send(CONTROL_STREAM, FrameType::HELLO, word("h"))
            .unwrap();
        pair.exchange(3);
        pair.server
            .send(CONTROL_STREAM, FrameType::WELCOME, word("w"))
            .unwrap();
        pair.server.authenticated();
        pair.exchange(3);
        pair.client.authenticated();
        assert_eq!(
            (drain(&mut pair.client).len(), drain(&mut pair.server).len()),
            (2, 2)
        );
        pair
    }

    /// Carries everything both ways, cut every `cut` bytes, until neither has anything to send.
    fn exchange(&mut self, cut: usize) {
        while self.exchange_some(64, cut) {}
    }

    fn exchange_some(&mut self, frames: usize, cut: usize) -> bool {
        let up = carry(&mut self.client, &mut self.server, frames, cut);
        let down = carry(&mut self.server, &mut self.client, frames, cut);
        up || down
    }
}

fn carry(from: &mut Session, to: &mut Session, frames: usize, cut: usize) -> bool {
    let mut bytes = Vec::new();
    for _ in 0..frames {
        let Some(frame) = from.poll_transmit() else {
            break;
        };
        bytes.extend_from_slice(&frame.header);
        bytes.extend_from_slice(&frame.payload);
    }
    for piece in bytes.chunks(cut) {
        to.receive(0, piece);
    }
    !bytes.is_empty()
}

fn deliver(to: &mut Session, frame: &Frame) {
    to.receive(0, &frame.header);
    to.receive(0, &frame.payload);
}

fn open(side: Side) -> Session {
    let mut session = Session::new(side, 0);
    session.authenticated();
    session
}

fn closed(session: &mut Session) -> Option<Code> {
    drain(session).into_iter().find_map(|event| match event {
        Event::Closed {
            code,
            by: ClosedBy::Local,
            ..
        } => Some(code),
        _ => None,
    })
}

fn drain(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

fn transmit(session: &mut Session) -> Vec<Frame> {
    std::iter::from_fn(|| session.poll_transmit()).collect()
}

fn head(frame: &Frame) -> FrameHeader {
    FrameHeader::decode(&frame.header)
}

fn header(kind: FrameType, flags: u8, stream: u32, len: u32) -> [u8; FRAME_HEADER_BYTES] {
    FrameHeader {
        kind,
        flags: Flags(flags),
        stream,
        len,
    }
    .encode()
}

fn frame(kind: FrameType, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(kind, flags, stream, payload.len() as u32).to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

fn opening(stream: u32) -> Vec<u8> {
    frame(FrameType::WINDOW, 0, stream, &[0; 4])
}
