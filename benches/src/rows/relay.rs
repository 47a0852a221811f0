//! What a circuit costs: a link through the Mothership beside a direct one and beside bare TLS, all on loopback.

use std::{sync::Arc, time::Instant};

use aura_net::{
    Clock, Dialer, Expect, LinkEvent, LinkHandle, Listener,
    circuit::{Circuit, CircuitInlet, accept_through, circuit, dial_through},
    link,
    tls::calendar,
};
use aura_proto::{
    PeerId,
    frame::FrameType,
    limits::SEND_QUEUE_BYTES_MAX,
    message::{Auth, Message, RelayOpen, Role, feature},
    session::{Class, Side},
};
use aura_trust::auth_proof;
use bytes::Bytes;
use mothership_tests::wire::{Device, hello};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot},
};

use crate::{
    Failure, Ground,
    figure::{
        Against::{Limit, Peer},
        Bound::{AtLeast, AtMost},
        Figure,
    },
    host::{ms, now},
    load::bounded,
    server::Server,
};

/// Bytes that are sent one way.
const BYTES: usize = 128 << 20;
/// Bytes of one message.
const MESSAGE: usize = 64 << 10;
/// Messages that go there and back.
const ROUNDS: usize = 2_000;

pub(crate) async fn measure(ground: &Ground) -> Result<Vec<Figure>, Failure> {
    let server = Server::start(ground.scratch.path(), 2).await?;
    let bare = bounded("bare TLS", bare(&server)).await?;
    let direct = bounded("direct link", direct(&server)).await?;
    let relayed = bounded("relayed link", relayed(&server)).await?;
    Ok(vec![
        Figure::new("direct link, MB/s; the limit is bare TLS", direct.0)
            .limit(bare)
            .goal(AtLeast, 0.5, Limit),
        Figure::new("relayed link, MB/s; the peer is the direct link", relayed.0)
            .limit(bare)
            .peer(Some(direct.0))
            .goal(AtLeast, 0.25, Peer),
        Figure::new("direct link: there and back, p50 ms", direct.1),
        Figure::new(
            "relayed link: there and back, p50 ms; the peer is the direct link",
            relayed.1,
        )
        .peer(Some(direct.1))
        .goal(AtMost, 4.0, Peer),
    ])
}

/// A TLS session between the two devices, as a direct link has it: the dialler's end and the other one.
async fn sessions(
    server: &Server,
) -> Result<
    (
        impl AsyncRead + AsyncWrite + Send + Unpin + use<>,
        impl AsyncRead + AsyncWrite + Send + Unpin + use<>,
    ),
    Failure,
> {
    let (a, b) = (server.device(0), server.device(1));
    let nobody = || -> aura_net::Revoked { Arc::new(|_: PeerId| false) };
    let at = "127.0.0.1:0".parse()?;
    let mut listener = Listener::bind(at, &b.credentials, b.grant.team, nobody())?;
    let expect = Expect {
        role: Role::Member,
        peer: Some(b.key.peer()),
    };
    let dialer = Dialer::member(&a.credentials, expect, nobody(), &calendar())?;
    let local = [listener.local().to_string()];
    let (dialed, incoming) = tokio::join!(dialer.race(&local), listener.next());
    Ok((dialed?.stream, incoming.ok_or("nobody came")?.stream))
}

/// MB/s of the bare session.
async fn bare(server: &Server) -> Result<f64, Failure> {
    let (mut near, mut far) = sessions(server).await?;
    let begun = now();
    let sends = tokio::spawn(async move {
        let message = vec![7; MESSAGE];
        for _ in 0..BYTES / MESSAGE {
            near.write_all(&message).await?;
        }
        near.flush().await?;
        Ok::<_, std::io::Error>(near)
    });
    let mut buffer = vec![0; MESSAGE];
    let mut count = 0;
    while count < BYTES {
        count += far.read(&mut buffer).await?;
    }
    let rate = rate(begun);
    drop(sends.await??);
    Ok(rate)
}

fn rate(begun: Instant) -> f64 {
    BYTES as f64 / 1e6 / begun.elapsed().as_secs_f64()
}

/// MB/s and p50 of a round trip over a direct link.
async fn direct(server: &Server) -> Result<(f64, f64), Failure> {
    let (near, far) = sessions(server).await?;
    over_link(near, far).await
}

/// The same over a link in a circuit.
async fn relayed(server: &Server) -> Result<(f64, f64), Failure> {
    let (a, b) = (server.device(0), server.device(1));
    let (asker, offered) = (Control::open(&a).await?, Control::open(&b).await?);
    let taken = tokio::spawn(offered.take_circuit());
    let near = asker.ask_for(b.key.peer()).await?;
    let far = taken.await??;
    let (near_calendar, far_calendar) = (calendar(), calendar());
    let asked = dial_through(near, &a.credentials, b.key.peer(), &near_calendar);
    let nobody: aura_net::Revoked = Arc::new(|_: PeerId| false);
    let answered = accept_through(
        far,
        (&b.credentials, b.grant.team),
        a.key.peer(),
        nobody,
        &far_calendar,
    );
    let (asked, answered) = tokio::join!(asked, answered);
    over_link(asked?.stream, answered?.stream).await
}

/// Sends one way for the rate, then there and back for the round trip.
async fn over_link(
    near: impl AsyncRead + AsyncWrite + Send + 'static,
    far: impl AsyncRead + AsyncWrite + Send + 'static,
) -> Result<(f64, f64), Failure> {
    let clock = Clock::start();
    let (near, streams, mut back) = link::spawn(near, Side::Client, false, &[Class::Bulk], clock);
    let (far, _, mut there) = link::spawn(far, Side::Server, false, &[], clock);
    let stream = *streams.first().ok_or("no stream")?;
    near.authenticated();
    far.authenticated();
    let body = Bytes::from(vec![7; MESSAGE]);
    let (begun, mut sent, mut heard) = (now(), 0, 0);
    while heard < BYTES {
        while sent < BYTES && near.queued() < SEND_QUEUE_BYTES_MAX {
            near.send(stream, FrameType::WAL_EVENT, body.clone());
            sent += MESSAGE;
        }
        match there.recv().await {
            Some(LinkEvent::Message { payload, .. }) => heard += payload.len(),
            Some(LinkEvent::Drained | LinkEvent::StreamReset { .. }) => {}
            other => return Err(format!("{other:?}").into()),
        }
    }
    let rate = rate(begun);
    let mut trips = Vec::new();
    for _ in 0..ROUNDS {
        let begun = now();
        near.send(0, FrameType::MSG_SEND, Bytes::from_static(b"there"));
        message(&mut there).await?;
        far.send(0, FrameType::MSG_SEND, Bytes::from_static(b"back"));
        message(&mut back).await?;
        trips.push(ms(begun.elapsed()));
    }
    trips.sort_by(f64::total_cmp);
    Ok((rate, trips[ROUNDS / 2]))
}

async fn message(events: &mut mpsc::Receiver<LinkEvent>) -> Result<(u32, Message), Failure> {
    loop {
        match events.recv().await {
            Some(LinkEvent::Drained | LinkEvent::StreamReset { .. }) => {}
            Some(LinkEvent::Message {
                stream,
                kind,
                payload,
            }) => return Ok((stream, Message::decode(kind, payload)?)),
            other => return Err(format!("{other:?}").into()),
        }
    }
}

/// A ready control link of a device.
struct Control {
    handle: LinkHandle,
    events: mpsc::Receiver<LinkEvent>,
}

impl Control {
    async fn open(device: &Device) -> Result<Self, Failure> {
        let dialed = device.dial().await?;
        let (handle, _, mut events) =
            link::spawn(dialed.stream, Side::Client, false, &[], Clock::start());
        let say = |message: Message| {
            let (kind, payload) = message.encode();
            handle.send(0, kind, payload);
        };
        say(Message::Hello(hello(feature::RELAY)));
        message(&mut events).await?;
        let signature = auth_proof(&device.key, &dialed.exporter, aura_trust::Side::Dialler);
        say(Message::Auth(Auth {
            peer: device.key.peer(),
            signature: signature.to_vec(),
            reach: None,
        }));
        message(&mut events).await?;
        handle.authenticated();
        Ok(Self { handle, events })
    }

    /// Asks for a circuit, and answers when it stands.
    async fn ask_for(self, peer: PeerId) -> Result<Circuit, Failure> {
        let open = RelayOpen { peer, circuit: 0 };
        let (circuit, stands) = self.carry(open)?;
        stands.await?;
        Ok(circuit)
    }

    /// Takes the circuit that is offered next.
    async fn take_circuit(mut self) -> Result<Circuit, Failure> {
        loop {
            if let (0, Message::RelayOpen(offer)) = message(&mut self.events).await? {
                return Ok(self.carry(offer)?.0);
            }
        }
    }

    /// A circuit on a stream of its own, on which `open` was said; and what tells that the other side answered that.
    fn carry(mut self, open: RelayOpen) -> Result<(Circuit, oneshot::Receiver<()>), Failure> {
        let stream = (self.handle.open_stream(Class::Bulk)).map_err(|code| code.to_string())?;
        let (kind, payload) = Message::RelayOpen(open).encode();
        self.handle.send(stream, kind, payload);
        let (circuit, inlet) = circuit(self.handle.clone(), stream);
        let (says, stands) = oneshot::channel();
        tokio::spawn(async move {
            let mut says = Some(says);
            while let Ok((_, message)) = message(&mut self.events).await {
                arrived(&inlet, message, &mut says);
            }
        });
        Ok((circuit, stands))
    }
}

fn arrived(inlet: &CircuitInlet, message: Message, says: &mut Option<oneshot::Sender<()>>) {
    match message {
        Message::RelayData(bytes) => inlet.data(bytes),
        Message::RelayCredit(credit) => inlet.credit(credit.bytes),
        Message::RelayClose(close) => inlet.closed(close.code, &close.detail),
        Message::RelayOpen(_) => {
            if let Some(says) = says.take() {
                // Whoever waits for it may have given up.
                says.send(()).ok();
            }
        }
        _ => {}
    }
}
