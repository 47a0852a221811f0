//! What runs in a circuit, with a relay between that can read, alter and drop.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use aura_net::{
    Clock, LinkEvent, LinkHandle,
    circuit::{Asked, Circuit, CircuitInlet, Offered, accept_through, circuit, dial_through},
    link::{self, LinkConfig},
};
use aura_proto::{
    Code,
    frame::FrameType,
    limits::{RELAY_MESSAGE_BYTES, RELAY_WINDOW_BYTES, STREAM_WINDOW_BYTES},
    message::{Message, Role},
    session::{Class, Session, Side},
};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use crate::team::{Member, Team, calendar, nobody_revoked};

/// What the relay makes of bytes that it passes on.
type Meddle = fn(Bytes) -> Bytes;

/// A link from a device to the relay.
struct Leg {
    circuit: Circuit,
    relay: LinkHandle,
    stream: u32,
    events: mpsc::Receiver<LinkEvent>,
}

fn drive(
    pipe: tokio::io::DuplexStream,
    side: Side,
) -> (LinkHandle, u32, mpsc::Receiver<LinkEvent>) {
    let clock = Clock::start();
    let mut session = Session::new(side, clock.mono_ms());
    session.authenticated();
    let stream = session.open_stream(Class::Bulk).unwrap();
    let (sender, events) = mpsc::channel(64);
    let handle = link::drive(pipe, session, LinkConfig::new(clock), sender);
    (handle, stream, events)
}

fn leg() -> Leg {
    let (near, far) = tokio::io::duplex(64 << 10);
    let (own, stream, mut arriving) = drive(near, Side::Client);
    let (relay, _, events) = drive(far, Side::Server);
    let (circuit, inlet) = circuit(own, stream);
    tokio::spawn(async move {
        while let Some(event) = arriving.recv().await {
            take(&inlet, event);
        }
    });
    Leg {
        circuit,
        relay,
        stream,
        events,
    }
}

/// What the owner of a link does with what comes for its circuit.
fn take(inlet: &CircuitInlet, event: LinkEvent) {
    match event {
        LinkEvent::Message { kind, payload, .. } => match Message::decode(kind, payload).unwrap() {
            Message::RelayData(bytes) => inlet.data(bytes),
            Message::RelayCredit(credit) => inlet.credit(credit.bytes),
            Message::RelayClose(close) => inlet.closed(close.code, &close.detail),
            other => panic!("{other:?}"),
        },
        LinkEvent::Closed { code, detail, .. } => inlet.closed(code, &detail),
        LinkEvent::Drained | LinkEvent::StreamReset { .. } => {}
    }
}

/// Passes on from one leg to the other, and notes everything that it sees.
async fn pass_on(
    mut from: mpsc::Receiver<LinkEvent>,
    to: (LinkHandle, u32),
    meddle: Meddle,
    seen: Arc<Mutex<Vec<u8>>>,
) {
    while let Some(LinkEvent::Message { kind, payload, .. }) = from.recv().await {
        seen.lock().unwrap().extend_from_slice(&payload);
        let payload = match kind {
            FrameType::RELAY_DATA => meddle(payload),
            _ => payload,
        };
        to.0.send(to.1, kind, payload);
    }
}

/// Two devices, what the relay between them makes of what the first one sends, and everything that it sees.
fn joined(meddle: Meddle) -> (Circuit, Circuit, Arc<Mutex<Vec<u8>>>) {
    let (asker, offered) = (leg(), leg());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let ways = [
        (
            asker.events,
            (offered.relay.clone(), offered.stream),
            meddle,
        ),
        (
            offered.events,
            (asker.relay, asker.stream),
            (|bytes| bytes) as Meddle,
        ),
    ];
    for (from, to, meddle) in ways {
        tokio::spawn(pass_on(from, to, meddle, Arc::clone(&seen)));
    }
    (asker.circuit, offered.circuit, seen)
}

async fn shake(
    team: &Team,
    (near, far): (Circuit, Circuit),
    (dialler, answerer): (&Member, &Member),
    expected: &Member,
) -> (std::io::Result<Asked>, std::io::Result<Offered>) {
    let calendar = calendar();
    let dial = dial_through(near, &dialler.credentials, expected.peer, &calendar);
    let revoked = nobody_revoked();
    let accept = accept_through(
        far,
        (&answerer.credentials, team.id()),
        dialler.peer,
        revoked,
        &calendar,
    );
    tokio::join!(dial, accept)
}

fn has(seen: &Mutex<Vec<u8>>, needle: &[u8]) -> bool {
    let seen = seen.lock().unwrap();
    seen.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn c27_the_relay_sees_neither_who_speaks_nor_what_is_said() {
    let team = Team::new();
    let (ana, bob) = (team.member(Role::Member), team.member(Role::Member));
    let (near, far, seen) = joined(|bytes| bytes);
    let (asked, offered) = shake(&team, (near, far), (&ana, &bob), &bob).await;
    let (mut asked, mut offered) = (asked.unwrap(), offered.unwrap());
    assert_eq!(asked.identity.peer, bob.peer);
    assert_eq!(offered.identity.peer, ana.peer);
    assert_eq!(asked.exporter, offered.exporter);
    asked.stream.write_all(b"a canary in a mine").await.unwrap();
    asked.stream.flush().await.unwrap();
    let mut heard = [0; 18];
    offered.stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"a canary in a mine");
    assert!(!has(&seen, b"canary"));
    for peer in [ana.peer, bob.peer] {
        assert!(!has(&seen, &peer.0) && !has(&seen, peer.to_string().as_bytes()));
    }
    // Whatever was sent was seen.
    assert!(500 < seen.lock().unwrap().len());
}

#[tokio::test]
async fn c27_what_the_relay_alters_ends_the_session_within() {
    static IS_ALTERING: AtomicBool = AtomicBool::new(false);
    let flip = |bytes: Bytes| {
        let mut bytes = bytes.to_vec();
        if IS_ALTERING.load(Ordering::SeqCst)
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 1;
        }
        Bytes::from(bytes)
    };
    let team = Team::new();
    let (ana, bob) = (team.member(Role::Member), team.member(Role::Member));
    let (near, far, _) = joined(flip);
    let (asked, offered) = shake(&team, (near, far), (&ana, &bob), &bob).await;
    let (mut asked, mut offered) = (asked.unwrap(), offered.unwrap());
    IS_ALTERING.store(true, Ordering::SeqCst);
    asked.stream.write_all(b"score").await.unwrap();
    asked.stream.flush().await.unwrap();
    let mut heard = Vec::new();
    let error = offered.stream.read_to_end(&mut heard).await.unwrap_err();
    assert_eq!(
        (heard.len(), error.kind()),
        (0, std::io::ErrorKind::InvalidData)
    );
}

// spec: peers/6.2
#[tokio::test]
async fn a_relay_that_leads_to_another_member_is_found_out() {
    let team = Team::new();
    let (ana, bob, eve) = (
        team.member(Role::Member),
        team.member(Role::Member),
        team.member(Role::Member),
    );
    let (near, far, _) = joined(|bytes| bytes);
    let (asked, offered) = shake(&team, (near, far), (&ana, &eve), &bob).await;
    assert!(asked.is_err());
    assert!(offered.is_err());
    // And so is one that brings another member than it said.
    let (near, far, _) = joined(|bytes| bytes);
    let calendar = calendar();
    let dial = dial_through(near, &eve.credentials, bob.peer, &calendar);
    let accept = accept_through(
        far,
        (&bob.credentials, team.id()),
        ana.peer,
        nobody_revoked(),
        &calendar,
    );
    let (_, offered) = tokio::join!(dial, accept);
    assert!(offered.is_err());
}

#[tokio::test]
async fn no_more_than_a_window_is_under_way_while_the_other_end_does_not_read() {
    let (mut near, mut far, seen) = joined(|bytes| bytes);
    let count = 3 * RELAY_WINDOW_BYTES as usize;
    let sent = tokio::spawn(async move {
        near.write_all(&vec![7; count]).await.unwrap();
        near
    });
    let mut head = [0; 1];
    far.read_exact(&mut head).await.unwrap();
    // Everything that can move has moved once nothing more is seen.
    let mut before = 0;
    loop {
        for _ in 0..2_000 {
            tokio::task::yield_now().await;
        }
        let now = seen.lock().unwrap().len();
        if now == before {
            break;
        }
        before = now;
    }
    let slack = STREAM_WINDOW_BYTES as usize / 4;
    assert!(before <= RELAY_WINDOW_BYTES as usize + slack, "{before}");
    let mut rest = vec![0; count - 1];
    far.read_exact(&mut rest).await.unwrap();
    assert!(rest.iter().all(|byte| *byte == 7));
    drop(sent.await.unwrap());
    // The end of one is the end of the other.
    assert_eq!(far.read(&mut head).await.unwrap(), 0);
    let error = far.write_all(b"more").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn whoever_sends_more_than_was_granted_loses_the_circuit_and_not_the_link() {
    let (near, far) = tokio::io::duplex(4 << 20);
    let (own, stream, _arriving) = drive(near, Side::Client);
    let (_relay, _, mut events) = drive(far, Side::Server);
    let (mut circuit, inlet) = circuit(own.clone(), stream);
    let most = (RELAY_WINDOW_BYTES - RELAY_MESSAGE_BYTES) as usize;
    inlet.data(Bytes::from(vec![1; most]));
    inlet.data(Bytes::from_static(b"one more"));
    let Some(LinkEvent::Message { kind, payload, .. }) = events.recv().await else {
        panic!("nothing was said");
    };
    let Message::RelayClose(close) = Message::decode(kind, payload).unwrap() else {
        panic!("{kind:?}");
    };
    assert_eq!(close.code, Code::FLOW_CONTROL);
    let mut all = Vec::new();
    circuit.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), most);
    assert!(inlet.is_over());
    assert!(
        own.send(0, FrameType::MSG_SEND, Bytes::from_static(b"on"))
            .is_some()
    );
}
