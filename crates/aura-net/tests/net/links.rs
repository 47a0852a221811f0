//! Links driven over TLS and over pipes.

use std::time::Duration;

use aura_net::{
    Clock, LinkEvent, LinkHandle,
    link::{self, LinkConfig, QUEUED_BYTES_MAX},
};
use aura_proto::{
    Code,
    frame::FrameType,
    limits::{LINK_WINDOW_BYTES, MESSAGE_BYTES_MAX, SEND_QUEUE_BYTES_MAX},
    message::Role,
    session::{CONTROL_STREAM, Class, Session, Side},
};
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    sync::mpsc,
};

use crate::team::{Team, addrs, mothership, nobody_revoked};

/// One end of a link.
struct End {
    handle: LinkHandle,
    streams: Vec<u32>,
    events: mpsc::Receiver<LinkEvent>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_cross_tls_both_ways_in_order() {
    let (mut client, mut server) = over_tls(&[Class::Patch]).await;
    let stream = client.streams[0];
    for number in 0..2_000_u32 {
        client
            .handle
            .send(stream, FrameType::PATCH_PUSH, numbered(number));
    }
    for number in 0..2_000 {
        let (on, payload) = server.message().await;
        assert_eq!((on, payload), (stream, numbered(number)));
        server
            .handle
            .send(stream, FrameType::PATCH_ACK, numbered(number));
    }
    for number in 0..2_000 {
        assert_eq!(client.message().await, (stream, numbered(number)));
    }
    assert_eq!((client.handle.queued(), server.handle.queued()), (0, 0));
}

#[tokio::test]
async fn a_heartbeat_overtakes_eight_mebibytes_of_bulk() {
    let (client, mut server) = over_pipe(16 << 10, &[Class::Bulk]).await;
    client.handle.send(
        client.streams[0],
        FrameType::WAL_EVENT,
        Bytes::from(vec![1; MESSAGE_BYTES_MAX]),
    );
    client.handle.send(
        CONTROL_STREAM,
        FrameType::HEARTBEAT,
        Bytes::from_static(b"beat"),
    );
    assert_eq!(
        server.message().await,
        (CONTROL_STREAM, Bytes::from_static(b"beat"))
    );
    // The transfer is under way; later heartbeats overtake it just as well.
    for _ in 0..5 {
        client.handle.send(
            CONTROL_STREAM,
            FrameType::HEARTBEAT,
            Bytes::from_static(b"beat"),
        );
        assert_eq!(server.message().await.0, CONTROL_STREAM);
        assert!(
            0 < client.handle.queued(),
            "the transfer ended before the heartbeat"
        );
    }
    let (stream, payload) = server.message().await;
    assert_eq!(
        (stream, payload.len()),
        (client.streams[0], MESSAGE_BYTES_MAX)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_crosses_tls_while_bulk_flows() {
    let (client, mut server) = over_tls(&[Class::Bulk]).await;
    let bulk = Bytes::from(vec![1; MESSAGE_BYTES_MAX]);
    for _ in 0..3 {
        client
            .handle
            .send(client.streams[0], FrameType::WAL_EVENT, bulk.clone());
    }
    client.handle.send(
        CONTROL_STREAM,
        FrameType::HEARTBEAT,
        Bytes::from_static(b"beat"),
    );
    let order = [server.message().await.0, server.message().await.0];
    assert_eq!(order, [CONTROL_STREAM, client.streams[0]]);
}

#[tokio::test]
async fn a_link_that_does_not_take_what_it_is_sent_is_closed_before_memory_is_full() {
    let (mut client, _server) = over_pipe(512, &[Class::Bulk]).await;
    let bulk = Bytes::from(vec![1; MESSAGE_BYTES_MAX]);
    let send = || {
        client
            .handle
            .send(client.streams[0], FrameType::WAL_EVENT, bulk.clone())
    };
    let taken = std::iter::from_fn(send).take(100).count();
    assert_eq!(taken, QUEUED_BYTES_MAX / MESSAGE_BYTES_MAX + 1);
    let (code, _, by_peer) = client.closed().await;
    assert_eq!((code, by_peer), (Code::RATE, false));
}

#[tokio::test]
async fn two_ends_that_send_at_once_through_a_narrow_pipe_both_get_on() {
    let (mut client, mut server) = over_pipe(512, &[Class::Bulk]).await;
    let stream = client.streams[0];
    let bulk = Bytes::from(vec![1; 2 << 20]);
    server
        .handle
        .send(CONTROL_STREAM, FrameType::PEER_EVENT, bulk.clone());
    client
        .handle
        .send(CONTROL_STREAM, FrameType::PEER_EVENT, bulk.clone());
    client
        .handle
        .send(stream, FrameType::WAL_EVENT, bulk.clone());
    let ((_, up), (_, more), (_, down)) = tokio::time::timeout(Duration::from_secs(60), async {
        let (up, down) = tokio::join!(server.message(), client.message());
        (up, server.message().await, down)
    })
    .await
    .expect("both ends wait for each other");
    assert_eq!([up.len(), more.len(), down.len()], [bulk.len(); 3]);
}

#[tokio::test]
async fn an_owner_that_does_not_take_stops_the_sender() {
    let (client, mut server) = over_pipe(64 << 10, &[Class::Patch]).await;
    let patch = Bytes::from(vec![1; 10 << 10]);
    for _ in 0..1_000 {
        client
            .handle
            .send(client.streams[0], FrameType::WAL_EVENT, patch.clone());
    }
    // Everything that can move has moved once the queue no longer shrinks.
    let mut queued = client.handle.queued();
    loop {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        if client.handle.queued() == queued {
            break;
        }
        queued = client.handle.queued();
    }
    let moved = 1_000 * patch.len() - queued;
    assert!(
        moved < 2 * LINK_WINDOW_BYTES as usize,
        "{moved} bytes were taken from the sender"
    );
    for _ in 0..1_000 {
        assert_eq!(server.message().await.1.len(), patch.len());
    }
}

#[tokio::test]
async fn a_queue_that_passed_its_limit_tells_when_it_has_drained() {
    let (mut client, mut server) = over_pipe(4 << 10, &[Class::Patch]).await;
    let patch = Bytes::from(vec![1; 10 << 10]);
    let mut count = 0;
    while client
        .handle
        .send(client.streams[0], FrameType::WAL_EVENT, patch.clone())
        .is_some_and(|queued| queued <= SEND_QUEUE_BYTES_MAX)
    {
        count += 1;
    }
    for _ in 0..=count {
        server.message().await;
    }
    assert!(matches!(
        client.events.recv().await,
        Some(LinkEvent::Drained)
    ));
    assert!(client.handle.queued() < SEND_QUEUE_BYTES_MAX / 2);
}

#[tokio::test]
async fn closing_tells_the_reason_behind_what_was_queued() {
    let (client, mut server) = over_tls(&[]).await;
    client.handle.send(
        CONTROL_STREAM,
        FrameType::MSG_SEND,
        Bytes::from_static(b"last words"),
    );
    client.handle.close(Code::SUPERSEDED, "a newer link");
    assert_eq!(server.message().await.1, Bytes::from_static(b"last words"));
    assert_eq!(
        server.closed().await,
        (Code::SUPERSEDED, "a newer link".to_owned(), true)
    );
    assert!(
        server.events.recv().await.is_none(),
        "closed is the last event"
    );
    let mut client = client;
    assert_eq!(
        client.closed().await,
        (Code::SUPERSEDED, "a newer link".to_owned(), false)
    );
}

#[tokio::test]
async fn a_link_ends_with_its_last_handle() {
    let (client, mut server) = over_tls(&[]).await;
    let second = client.handle.clone();
    drop(client.handle);
    second.send(
        CONTROL_STREAM,
        FrameType::MSG_SEND,
        Bytes::from_static(b"still here"),
    );
    assert_eq!(server.message().await.1, Bytes::from_static(b"still here"));
    drop(second);
    assert_eq!(server.closed().await, (Code::BYE, String::new(), true));
}

#[tokio::test]
async fn a_link_ends_when_its_owner_stops_listening() {
    let (client, mut server) = over_tls(&[]).await;
    drop(client.events);
    assert_eq!(server.closed().await.0, Code::BYE);
}

#[tokio::test]
async fn a_connection_that_breaks_is_nobodys_word() {
    let (pipe, other) = tokio::io::duplex(1 << 10);
    let (_handle, _, mut events) = link::spawn(pipe, Side::Client, false, &[], Clock::start());
    drop(other);
    assert!(matches!(
        events.recv().await,
        Some(LinkEvent::Closed { by_peer: false, .. })
    ));
    assert!(events.recv().await.is_none());
}

#[tokio::test]
async fn a_connection_that_takes_nothing_is_cut() {
    let (pipe, _full) = tokio::io::duplex(16);
    let (sender, mut events) = mpsc::channel(8);
    let clock = Clock::start();
    let config = LinkConfig {
        clock,
        stalled_ms: 50,
    };
    let handle = link::drive(
        pipe,
        Session::new(Side::Client, clock.mono_ms()),
        config,
        sender,
    );
    handle.send(
        CONTROL_STREAM,
        FrameType::HELLO,
        Bytes::from_static(b"longer than the pipe is wide"),
    );
    let event = events.recv().await;
    assert!(
        matches!(
            event,
            Some(LinkEvent::Closed {
                code: Code::TIMEOUT,
                ..
            })
        ),
        "{event:?}"
    );
}

#[tokio::test]
async fn a_reader_that_lives_and_grants_nothing_is_cut_and_told_why() {
    let (pipe, other) = tokio::io::duplex(2 << 20);
    let (sender, mut events) = mpsc::channel(64);
    let clock = Clock::start();
    let config = LinkConfig {
        clock,
        stalled_ms: 200,
    };
    let mut session = Session::new(Side::Client, clock.mono_ms());
    session.authenticated();
    let patch = session.open_stream(Class::Patch).unwrap();
    let writes = link::drive(pipe, session, config, sender);
    // The other end reads everything, takes none of it, and is heard of all the time.
    let (sender, mut untaken) = mpsc::channel(1);
    let mut session = Session::new(Side::Server, clock.mono_ms());
    session.authenticated();
    let reads = link::drive(other, session, LinkConfig::new(clock), sender);
    let body = Bytes::from(vec![7; 64 << 10]);
    for _ in 0..64 {
        writes.send(patch, FrameType::WAL_EVENT, body.clone());
    }
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    let event = loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(LinkEvent::Drained | LinkEvent::StreamReset { .. }) => {}
                event => break event,
            },
            _ = beat.tick() => {
                let ack = Bytes::from_static(b"ack");
                writes.send(CONTROL_STREAM, FrameType::HEARTBEAT_ACK, ack);
            }
        }
    };
    assert!(
        matches!(
            event,
            Some(LinkEvent::Closed {
                code: Code::TIMEOUT,
                ..
            })
        ),
        "{event:?}"
    );
    let mut taken = 0;
    let ended = loop {
        match untaken.recv().await.unwrap() {
            LinkEvent::Message { stream, .. } => taken += usize::from(stream == patch),
            LinkEvent::Closed { code, by_peer, .. } => break (code, by_peer),
            LinkEvent::Drained | LinkEvent::StreamReset { .. } => {}
        }
    };
    assert_eq!(ended, (Code::TIMEOUT, true));
    assert!((1..64).contains(&taken), "{taken} arrived");
    drop(reads);
}

#[tokio::test]
async fn a_fault_of_the_other_side_is_answered_with_its_code_before_the_end() {
    let (pipe, mut other) = tokio::io::duplex(1 << 10);
    let (_handle, _, mut events) = link::spawn(pipe, Side::Server, false, &[], Clock::start());
    tokio::io::AsyncWriteExt::write_all(&mut other, &[0xEE; 10])
        .await
        .unwrap();
    let event = events.recv().await;
    assert!(
        matches!(
            event,
            Some(LinkEvent::Closed {
                code: Code::FRAME_TOO_LARGE,
                by_peer: false,
                ..
            })
        ),
        "{event:?}"
    );
    let mut answer = Vec::new();
    other.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer[0], FrameType::ERROR.0);
}

impl End {
    async fn next(&mut self) -> LinkEvent {
        let next = tokio::time::timeout(Duration::from_secs(60), self.events.recv());
        next.await
            .expect("nothing happens on the link")
            .expect("the link is over")
    }

    /// The next message, past any word about queues.
    async fn message(&mut self) -> (u32, Bytes) {
        loop {
            match self.next().await {
                LinkEvent::Message {
                    stream, payload, ..
                } => return (stream, payload),
                LinkEvent::Drained | LinkEvent::StreamReset { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn closed(&mut self) -> (Code, String, bool) {
        match self.next().await {
            LinkEvent::Closed {
                code,
                detail,
                by_peer,
            } => (code, detail, by_peer),
            other => panic!("{other:?}"),
        }
    }
}

/// A message of 10 KiB that begins with its number.
fn numbered(number: u32) -> Bytes {
    let mut bytes = vec![0; 10 << 10];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Bytes::from(bytes)
}

async fn over_tls(classes: &[Class]) -> (End, End) {
    let team = Team::new();
    let server = team.member(Role::Mothership);
    let mut listener = team.listener(&server.credentials, nobody_revoked());
    let member = team.member(Role::Member);
    let dialed = member
        .dialer(mothership())
        .race(&addrs(&listener))
        .await
        .unwrap();
    let incoming = listener.next().await.unwrap();
    authenticated(dialed.stream, incoming.stream, classes).await
}

async fn over_pipe(width: usize, classes: &[Class]) -> (End, End) {
    let (one, other) = tokio::io::duplex(width);
    authenticated(one, other, classes).await
}

async fn authenticated<A, B>(client: A, server: B, classes: &[Class]) -> (End, End)
where
    A: AsyncRead + AsyncWrite + Send + 'static,
    B: AsyncRead + AsyncWrite + Send + 'static,
{
    let clock = Clock::start();
    let (handle, streams, events) = link::spawn(client, Side::Client, false, classes, clock);
    let mut client = End {
        handle,
        streams,
        events,
    };
    let (handle, streams, events) = link::spawn(server, Side::Server, false, &[], clock);
    let mut server = End {
        handle,
        streams,
        events,
    };
    let word = Bytes::from_static;
    client
        .handle
        .send(CONTROL_STREAM, FrameType::HELLO, word(b"hello"));
    client
        .handle
        .send(CONTROL_STREAM, FrameType::AUTH, word(b"auth"));
    server
        .handle
        .send(CONTROL_STREAM, FrameType::HELLO, word(b"hello"));
    server.message().await;
    server.message().await;
    server
        .handle
        .send(CONTROL_STREAM, FrameType::WELCOME, word(b"welcome"));
    server.handle.authenticated();
    client.message().await;
    client.message().await;
    client.handle.authenticated();
    (client, server)
}
