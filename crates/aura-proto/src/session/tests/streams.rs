//! Priorities, windows, ends, and two sessions joined in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

#[test]
fn a_heartbeat_leaves_before_queued_bulk() {
    let mut server = open(Side::Server);
    let bulk = server.open_stream(Class::Bulk).unwrap();
    let patch = server.open_stream(Class::Patch).unwrap();
    transmit(&mut server);
    server
        .send(
            bulk,
            FrameType::WAL_EVENT,
            Bytes::from(vec![0; MESSAGE_BYTES_MAX]),
        )
        .unwrap();
    assert_eq!(head(&server.poll_transmit().unwrap()).stream, bulk);
    server
        .send(patch, FrameType::WAL_EVENT, Bytes::from_static(b"patch"))
        .unwrap();
    server
        .send(
            CONTROL_STREAM,
            FrameType::HEARTBEAT,
            Bytes::from_static(b"beat"),
        )
        .unwrap();
    let order: Vec<_> = (0..3)
        .map(|_| head(&server.poll_transmit().unwrap()).stream)
        .collect();
    assert_eq!(order, [CONTROL_STREAM, patch, bulk]);
}

#[test]
fn streams_of_one_class_take_turns() {
    let mut server = open(Side::Server);
    let first = server.open_stream(Class::Patch).unwrap();
    let second = server.open_stream(Class::Patch).unwrap();
    transmit(&mut server);
    for stream in [first, second] {
        for _ in 0..3 {
            server
                .send(
                    stream,
                    FrameType::WAL_EVENT,
                    Bytes::from(vec![0; FRAGMENT_BYTES]),
                )
                .unwrap();
        }
    }
    let order: Vec<_> = transmit(&mut server)
        .iter()
        .map(|frame| head(frame).stream)
        .collect();
    assert_eq!(order, [first, second, first, second, first, second]);
}

#[test]
fn fragments_share_the_buffer_they_were_cut_from() {
    let mut server = open(Side::Server);
    let payload = Bytes::from(vec![0; 3 * FRAGMENT_BYTES]);
    let start = payload.as_ptr() as usize;
    server
        .send(CONTROL_STREAM, FrameType::PEER_EVENT, payload)
        .unwrap();
    let at: Vec<_> = transmit(&mut server)
        .iter()
        .map(|frame| frame.payload.as_ptr() as usize - start)
        .collect();
    assert_eq!(at, [0, FRAGMENT_BYTES, 2 * FRAGMENT_BYTES]);
}

#[test]
fn a_sender_stops_at_the_window_and_goes_on_when_the_owner_has_taken() {
    let mut pair = Pair::new();
    let stream = pair.client.open_stream(Class::Patch).unwrap();
    for _ in 0..64 {
        pair.client
            .send(
                stream,
                FrameType::PATCH_PUSH,
                Bytes::from(vec![0; 10 << 10]),
            )
            .unwrap();
    }
    pair.exchange(usize::MAX);
    assert_eq!(
        pair.client.queued_total(),
        64 * (10 << 10) - 25 * (10 << 10)
    );
    let mut count = 0;
    while pair.client.queued_total() != 0 || pair.server.has_event() {
        count += drain(&mut pair.server).len();
        pair.exchange(usize::MAX);
    }
    assert_eq!(count, 64);
    assert!(!pair.server.is_closed() && !pair.client.is_closed());
}

#[test]
fn an_owner_that_takes_nothing_stops_even_long_messages() {
    let mut pair = Pair::new();
    for class in Class::ALL {
        let stream = pair.client.open_stream(class).unwrap();
        for _ in 0..3 {
            pair.client
                .send(
                    stream,
                    FrameType::WAL_EVENT,
                    Bytes::from(vec![0; MESSAGE_BYTES_MAX]),
                )
                .unwrap();
        }
    }
    pair.exchange(usize::MAX);
    let arrived = 9 * MESSAGE_BYTES_MAX - pair.client.queued_total();
    assert!(
        arrived <= 3 * MESSAGE_BYTES_MAX + LINK_WINDOW_BYTES as usize,
        "{arrived} bytes held"
    );
    let mut count = 0;
    while pair.client.queued_total() != 0 || pair.server.has_event() {
        count += drain(&mut pair.server).len();
        pair.exchange(usize::MAX);
    }
    assert_eq!(count, 9);
}

#[test]
fn long_messages_of_one_class_take_turns_and_short_ones_pass() {
    let mut pair = Pair::new();
    let streams: Vec<u32> = (0..4)
        .map(|_| pair.client.open_stream(Class::Bulk).unwrap())
        .collect();
    for stream in &streams[..3] {
        pair.client
            .send(
                *stream,
                FrameType::WAL_EVENT,
                Bytes::from(vec![0; MESSAGE_BYTES_MAX]),
            )
            .unwrap();
    }
    pair.client
        .send(
            streams[3],
            FrameType::WAL_EVENT,
            Bytes::from_static(b"short"),
        )
        .unwrap();
    let mut order = Vec::new();
    while pair.client.queued_total() != 0 || pair.server.has_event() {
        pair.exchange(usize::MAX);
        order.extend(
            drain(&mut pair.server)
                .into_iter()
                .filter_map(|event| match event {
                    Event::Message { stream, .. } => Some(stream),
                    _ => None,
                }),
        );
    }
    assert_eq!(order, [streams[3], streams[0], streams[1], streams[2]]);
    assert!(!pair.server.is_closed() && !pair.client.is_closed());
}

#[test]
fn a_stream_is_forgotten_when_both_halves_have_ended() {
    let mut pair = Pair::new();
    for _ in 0..3 * STREAMS_MAX {
        let stream = pair.client.open_stream(Class::Control).unwrap();
        pair.client
            .send(stream, FrameType::WAL_SUBSCRIBE, Bytes::from_static(b"?"))
            .unwrap();
        pair.client.finish(stream);
        pair.exchange(usize::MAX);
        assert_eq!(drain(&mut pair.server).len(), 2);
        pair.server
            .send(stream, FrameType::WAL_HEAD, Bytes::from_static(b"!"))
            .unwrap();
        pair.exchange(usize::MAX);
        pair.server.finish(stream);
        pair.exchange(usize::MAX);
        assert_eq!(
            drain(&mut pair.client).last(),
            Some(&Event::StreamEnded { stream })
        );
        assert_eq!(
            pair.server
                .send(stream, FrameType::WAL_HEAD, Bytes::from_static(b"!")),
            Err(SendError::StreamGone { stream })
        );
    }
    assert_eq!(
        (pair.client.streams.len(), pair.server.streams.len()),
        (1, 1)
    );
}

#[test]
fn a_reset_drops_what_was_queued_and_gives_the_link_its_credit_back() {
    let mut pair = Pair::new();
    for _ in 0..40 {
        let stream = pair.client.open_stream(Class::Bulk).unwrap();
        pair.client
            .send(
                stream,
                FrameType::WAL_EVENT,
                Bytes::from(vec![0; 200 << 10]),
            )
            .unwrap();
        for _ in 0..5 {
            let frame = pair.client.poll_transmit().unwrap();
            deliver(&mut pair.server, &frame);
        }
        pair.server.reset(stream, Code::BUSY);
        pair.exchange(usize::MAX);
        assert!(drain(&mut pair.client).contains(&Event::StreamReset {
            stream,
            code: Code::BUSY
        }));
        assert_eq!(pair.client.queued_total(), 0);
    }
    assert!(!pair.server.is_closed() && !pair.client.is_closed());
}

#[test]
fn closing_sends_the_control_stream_first_and_then_the_reason() {
    let mut pair = Pair::new();
    let stream = pair.server.open_stream(Class::Patch).unwrap();
    pair.server
        .send(stream, FrameType::WAL_EVENT, Bytes::from_static(b"dropped"))
        .unwrap();
    pair.server
        .send(
            CONTROL_STREAM,
            FrameType::PEER_EVENT,
            Bytes::from_static(b"last"),
        )
        .unwrap();
    pair.server.close(Code::REVOKED, "removed by ana");
    pair.exchange(usize::MAX);
    let events = drain(&mut pair.client);
    assert!(matches!(
        &events[0],
        Event::Message {
            kind: FrameType::PEER_EVENT,
            ..
        }
    ));
    assert_eq!(
        events[1],
        Event::Closed {
            code: Code::REVOKED,
            detail: "removed by ana".to_owned(),
            by: ClosedBy::Remote
        }
    );
    assert_eq!(events.len(), 2);
    assert_eq!(
        pair.server
            .send(0, FrameType::ERROR, Bytes::from_static(b"x")),
        Err(SendError::Closed)
    );
}

#[test]
fn an_error_without_end_is_a_message_and_the_link_goes_on() {
    let mut pair = Pair::new();
    pair.server
        .send(
            CONTROL_STREAM,
            FrameType::ERROR,
            Bytes::from_static(b"refused"),
        )
        .unwrap();
    pair.exchange(usize::MAX);
    assert!(matches!(
        drain(&mut pair.client)[..],
        [Event::Message {
            kind: FrameType::ERROR,
            ..
        }]
    ));
    assert!(!pair.client.is_closed());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cutting_and_interleaving_delivers_every_stream_in_order(
        script in prop::collection::vec((0usize..6, 1usize..120_000, 1usize..4_000, 0usize..4), 1..40),
        big_cuts in any::<bool>(),
    ) {
        let mut pair = Pair::new();
        let mut ids = vec![CONTROL_STREAM];
        for index in 0..5 {
            ids.push(pair.client.open_stream(Class::ALL[index % 3]).unwrap());
        }
        let mut sent: BTreeMap<u32, Vec<Bytes>> = BTreeMap::new();
        let mut got: BTreeMap<u32, Vec<Bytes>> = BTreeMap::new();
        let mut take = |server: &mut Session, count: usize| {
            for _ in 0..count {
                if let Some(Event::Message { stream, payload, .. }) = server.poll_event() {
                    got.entry(stream).or_default().push(payload);
                }
            }
        };
        for (number, (stream, len, cut, taken)) in script.into_iter().enumerate() {
            let payload: Bytes = (0..len).map(|at| (at * 7 + number) as u8).collect();
            pair.client.send(ids[stream], FrameType::MSG_SEND, payload.clone()).unwrap();
            sent.entry(ids[stream]).or_default().push(payload);
            let frames = taken;
            pair.exchange_some(frames, if big_cuts { cut * 16 } else { cut });
            take(&mut pair.server, taken);
        }
        while pair.client.queued_total() != 0 || pair.server.has_event() {
            pair.exchange(4_096);
            take(&mut pair.server, 2);
        }
        prop_assert!(!pair.server.is_closed() && !pair.client.is_closed());
        prop_assert_eq!(sent, got);
        pair.client.check();
        pair.server.check();
    }

    #[test]
    fn no_bytes_from_outside_panic(
        frames in prop::collection::vec((any::<u8>(), any::<u8>(), 0u32..6, prop::collection::vec(any::<u8>(), 0..40)), 0..60),
        cut in 1usize..50,
    ) {
        let mut server = open(Side::Server);
        let own = server.open_stream(Class::Bulk).unwrap();
        server.send(own, FrameType::WAL_EVENT, Bytes::from(vec![0; 50_000])).unwrap();
        let bytes: Vec<u8> = frames
            .into_iter()
            .flat_map(|(kind, flags, stream, payload)| {
                let kinds = [0x04, 0x05, 0x06, 0x12, 0x20, 0x60, kind];
                frame(FrameType(kinds[usize::from(kind) % 7]), flags & 0x1f, stream, &payload)
            })
            .collect();
        for piece in bytes.chunks(cut) {
            server.receive(0, piece);
            transmit(&mut server);
            server.check();
        }
    }
}
