//! A circuit of a relay as a stream of bytes, and the same mutual TLS on it as on a direct connection.
//!
//! Invariants:
//! - at most [`RELAY_WINDOW_BYTES`] of one direction are under way: what was read is granted anew, what is not granted
//!   is not sent, and who sends more loses the circuit;
//! - the relay carries records of TLS and learns lengths and times; what it alters ends the session within.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use aura_proto::{
    Code, PeerId, TeamId,
    limits::{FRAGMENT_BYTES, RELAY_MESSAGE_BYTES, RELAY_WINDOW_BYTES, TLS_MS_MAX, relay_cost},
    message::{Message, RelayClose, RelayCredit, Role},
};
use bytes::{Buf, Bytes};
use rustls::{ClientConfig, CommonState, ServerConfig};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::{
    LinkHandle,
    tls::{
        Calendar, Credentials, EXPORTER_LABEL, Expect, Faces, PeerIdentity, Revoked, client_config,
        identity,
    },
};

/// Bytes that are granted together, so that a grant does not follow each record.
const GRANT_BYTES: u32 = RELAY_WINDOW_BYTES / 4;

/// Bytes of a record of TLS in a circuit: one fits into one message, with all that TLS adds.
const RECORD_BYTES: usize = FRAGMENT_BYTES - 256;
const _: () = assert!(aura_proto::limits::RELAY_GRANT_BYTES_MIN <= GRANT_BYTES);

/// The stream of bytes of one end; ends the circuit when dropped.
pub struct Circuit {
    shared: Arc<Shared>,
}

/// Where the owner of the link puts what arrives for a circuit.
pub struct CircuitInlet {
    shared: Arc<Shared>,
}

struct Shared {
    link: LinkHandle,
    stream: u32,
    state: Mutex<State>,
}

struct State {
    arrived: VecDeque<Bytes>,
    /// Bytes that the other end may still send.
    granted: u32,
    /// Bytes taken and not granted anew.
    taken: u32,
    /// Bytes that this end may still send.
    room: u32,
    /// Why it is over.
    closed: Option<(Code, String)>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Both halves of a circuit that is carried on `stream` of `link`.
pub fn circuit(link: LinkHandle, stream: u32) -> (Circuit, CircuitInlet) {
    let state = Mutex::new(State {
        arrived: VecDeque::new(),
        granted: RELAY_WINDOW_BYTES,
        taken: 0,
        room: RELAY_WINDOW_BYTES,
        closed: None,
        reader: None,
        writer: None,
    });
    let shared = Arc::new(Shared {
        link,
        stream,
        state,
    });
    let inlet = CircuitInlet {
        shared: Arc::clone(&shared),
    };
    (Circuit { shared }, inlet)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, message: &Message) -> bool {
        let (kind, payload) = message.encode();
        self.link.send(self.stream, kind, payload).is_some()
    }

    /// Ends the circuit once; `is_told` by the other side, which needs no answer.
    fn end(&self, code: Code, detail: &str, is_told: bool) {
        let mut state = self.lock();
        if state.closed.is_some() {
            return;
        }
        state.closed = Some((code, detail.to_owned()));
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
        if !is_told {
            let detail = detail.to_owned();
            let circuit = 0;
            self.send(&Message::RelayClose(RelayClose {
                circuit,
                code,
                detail,
            }));
        }
        self.link.finish(self.stream);
    }
}

impl CircuitInlet {
    /// Bytes arrived.
    pub fn data(&self, bytes: Bytes) {
        let mut state = self.shared.lock();
        // What comes behind the end is for nobody.
        if state.closed.is_some() {
            return;
        }
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let Some(granted) = state.granted.checked_sub(relay_cost(len)) else {
            drop(state);
            let detail = "more came than was granted";
            return self.shared.end(Code::FLOW_CONTROL, detail, false);
        };
        state.granted = granted;
        state.arrived.push_back(bytes);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The other end has taken so many bytes.
    pub fn credit(&self, bytes: u32) {
        let mut state = self.shared.lock();
        state.room = state.room.saturating_add(bytes).min(RELAY_WINDOW_BYTES);
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// Whether it is over for this end.
    pub fn is_over(&self) -> bool {
        self.shared.lock().closed.is_some()
    }

    /// The relay or the other end has ended it, or the link that carried it is gone.
    pub fn closed(&self, code: Code, detail: &str) {
        self.shared.end(code, detail, true);
    }
}

impl Drop for Circuit {
    fn drop(&mut self) {
        self.shared.end(Code::BYE, "", false);
        self.shared.lock().arrived.clear();
    }
}

impl AsyncRead for Circuit {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        let Some(front) = state.arrived.front_mut() else {
            // As with a connection: what came before the end is read first.
            if state.closed.is_some() {
                return Poll::Ready(Ok(()));
            }
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        let count = front.len().min(into.remaining());
        into.put_slice(&front[..count]);
        front.advance(count);
        state.taken += u32::try_from(count).unwrap_or(u32::MAX);
        if state.arrived.front().is_some_and(Bytes::is_empty) {
            state.arrived.pop_front();
            state.taken += RELAY_MESSAGE_BYTES;
        }
        let bytes = state.taken;
        if GRANT_BYTES <= bytes && state.closed.is_none() {
            state.taken = 0;
            state.granted += bytes;
            drop(state);
            self.shared
                .send(&Message::RelayCredit(RelayCredit { bytes }));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Circuit {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.shared.lock();
        if let Some((code, detail)) = &state.closed {
            let why = format!("the circuit is closed: {code} {detail}");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, why)));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = state.room.saturating_sub(RELAY_MESSAGE_BYTES);
        let count = bytes.len().min(room as usize).min(FRAGMENT_BYTES);
        if count == 0 {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        state.room -= relay_cost(u32::try_from(count).unwrap_or(u32::MAX));
        drop(state);
        let bytes = Bytes::copy_from_slice(&bytes[..count]);
        if !self.shared.send(&Message::RelayData(bytes)) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.end(Code::BYE, "", false);
        Poll::Ready(Ok(()))
    }
}

/// A session with another member within a circuit.
pub struct Through<S> {
    /// The session.
    pub stream: S,
    /// Who is at the other end.
    pub identity: PeerIdentity,
    /// Keying material of the session.
    pub exporter: [u8; 32],
}

/// The session of whoever asked for the circuit, with that very peer.
pub type Asked = Through<client::TlsStream<Circuit>>;
/// The session of whoever was offered it.
pub type Offered = Through<server::TlsStream<Circuit>>;

/// Begins the session from the side that asked for the circuit.
pub async fn dial_through(
    circuit: Circuit,
    credentials: &Credentials,
    peer: PeerId,
    calendar: &Calendar,
) -> io::Result<Asked> {
    let expect = Expect {
        // Which role it has, the roster knows better than its certificate.
        role: Role::Member,
        peer: Some(peer),
    };
    let revoked: Revoked = Arc::new(|_| false);
    let config = client_config(credentials, expect, revoked, calendar).map_err(io::Error::other)?;
    let mut config = ClientConfig::clone(&config);
    config.max_fragment_size = Some(RECORD_BYTES);
    // No name is sent; the library wants one all the same.
    let name = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, circuit);
    let stream = within_limit(connecting).await?;
    let (_, session) = stream.get_ref();
    let exported = session.export_keying_material([0; 32], EXPORTER_LABEL, None);
    let (identity, exporter) = met(session, exported, peer)?;
    Ok(Through {
        stream,
        identity,
        exporter,
    })
}

/// Answers the session that the peer who asked for the circuit begins.
// spec: peers/6.2
pub async fn accept_through(
    circuit: Circuit,
    (credentials, team): (&Credentials, TeamId),
    peer: PeerId,
    revoked: Revoked,
    calendar: &Calendar,
) -> io::Result<Offered> {
    let faces = Faces::new(credentials, team, revoked, calendar).map_err(io::Error::other)?;
    let mut config = ServerConfig::clone(&faces.link);
    config.max_fragment_size = Some(RECORD_BYTES);
    let accepting = TlsAcceptor::from(Arc::new(config)).accept(circuit);
    let stream = within_limit(accepting).await?;
    let (_, session) = stream.get_ref();
    let exported = session.export_keying_material([0; 32], EXPORTER_LABEL, None);
    let (identity, exporter) = met(session, exported, peer)?;
    Ok(Through {
        stream,
        identity,
        exporter,
    })
}

/// What a finished handshake says of the other end, which has to be this peer.
fn met(
    state: &CommonState,
    exported: Result<[u8; 32], rustls::Error>,
    peer: PeerId,
) -> io::Result<(PeerIdentity, [u8; 32])> {
    let identity = identity(state.peer_certificates()).filter(|met| met.peer == peer);
    let identity = identity.ok_or_else(|| io::Error::other("another peer is at the other end"))?;
    Ok((identity, exported.map_err(io::Error::other)?))
}

async fn within_limit<T>(handshake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let limit = Duration::from_millis(TLS_MS_MAX);
    tokio::time::timeout(limit, handshake)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
