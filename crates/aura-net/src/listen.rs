//! The listening side: caps before authentication, one deadline for the handshake.
//!
//! Invariants:
//! - sockets that have not authenticated are bounded, overall and per address;
//! - who finds its address full waits without costing a task, bounded as well, and no longer than two handshakes may take;
//! - a handshake ends within its deadline in total, however slowly its bytes come.

mod gate;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use aura_proto::{
    TeamId,
    limits::{PRE_AUTH_SOCKETS_MAX, PRE_AUTH_SOCKETS_PER_ADDRESS_MAX, TLS_MS_MAX},
};
use rustls::server::Acceptor;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{
    clock::Clock,
    tls::{
        ALPN_JOIN, ALPN_LINK, Calendar, Credentials, EXPORTER_LABEL, Faces, PeerIdentity, Revoked,
        TlsError, calendar, identity,
    },
};
use gate::{Gate, network_of};

pub use gate::Slot;

/// Connections that the kernel may hold for us: an office that returns at once must not be refused.
const BACKLOG: u32 = 4_096;
/// Accepted sockets that wait for a place: with those in the handshake, 512 peers behind one address.
const WAITING_PER_ADDRESS_MAX: usize = 512 - PRE_AUTH_SOCKETS_PER_ADDRESS_MAX;
/// The same for all addresses together.
const WAITING_MAX: usize = 2 * WAITING_PER_ADDRESS_MAX;
/// Finished handshakes that wait for the owner.
const READY_MAX: usize = 256;

/// A finished handshake.
pub struct Incoming {
    /// The session.
    pub stream: TlsStream<TcpStream>,
    /// Who it is; `None` for enrolment.
    pub identity: Option<PeerIdentity>,
    /// Where it comes from.
    pub remote: SocketAddr,
    /// Keying material of the session.
    pub exporter: [u8; 32],
    /// Counts against the caps until it is dropped: keep it until the peer has authenticated.
    pub slot: Slot,
}

/// Caps and deadlines of a listener.
#[derive(Clone)]
pub struct ListenConfig {
    /// Where the time comes from that certificates are compared with.
    pub calendar: Calendar,
    /// Deadline of the handshake, in total.
    pub handshake: Duration,
    /// Whether whoever has no certificate yet may ask for one here.
    pub enrols: bool,
    /// Sockets that have not authenticated, overall.
    pub strangers_max: usize,
    /// Sockets that have not authenticated, from one address.
    pub strangers_per_address_max: usize,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            calendar: calendar(),
            handshake: Duration::from_millis(TLS_MS_MAX),
            enrols: true,
            strangers_max: PRE_AUTH_SOCKETS_MAX,
            strangers_per_address_max: PRE_AUTH_SOCKETS_PER_ADDRESS_MAX,
        }
    }
}

/// A listening socket; stops when dropped.
pub struct Listener {
    local: SocketAddr,
    incoming: mpsc::Receiver<Incoming>,
    gate: Gate,
    renewer: Renewer,
    task: JoinHandle<()>,
}

/// Gives a listener a fresh certificate without closing it.
#[derive(Clone)]
pub struct Renewer {
    faces: Arc<ArcSwap<Faces>>,
    team: TeamId,
    revoked: Revoked,
    calendar: Calendar,
}

impl Renewer {
    /// Uses `credentials` for every handshake that begins from now on.
    pub fn renew(&self, credentials: &Credentials) -> Result<(), TlsError> {
        let faces = Faces::new(
            credentials,
            self.team,
            Arc::clone(&self.revoked),
            &self.calendar,
        )?;
        self.faces.store(Arc::new(faces));
        Ok(())
    }
}

impl Listener {
    /// Binds and begins to accept, with the caps and deadlines of the protocol.
    pub fn bind(
        addr: SocketAddr,
        credentials: &Credentials,
        team: TeamId,
        revoked: Revoked,
    ) -> Result<Self, ListenError> {
        Self::bind_with(addr, credentials, team, revoked, ListenConfig::default())
    }

    /// Binds and begins to accept.
    pub fn bind_with(
        addr: SocketAddr,
        credentials: &Credentials,
        team: TeamId,
        revoked: Revoked,
        config: ListenConfig,
    ) -> Result<Self, ListenError> {
        let faces = Faces::new(credentials, team, Arc::clone(&revoked), &config.calendar)
            .map_err(ListenError::Tls)?;
        let faces = Arc::new(ArcSwap::from_pointee(faces));
        let (socket, local) = listen(addr).map_err(|source| ListenError::Bind { addr, source })?;
        let (sender, incoming) = mpsc::channel(READY_MAX);
        let gate = Gate::new(config.strangers_max, config.strangers_per_address_max);
        let door = Door {
            gate: gate.clone(),
            faces: Arc::clone(&faces),
            handshake: config.handshake,
            enrols: config.enrols,
            sender,
            clock: Clock::start(),
            waiting: BTreeMap::new(),
            waiting_count: 0,
        };
        let task = tokio::spawn(door.run(socket));
        let renewer = Renewer {
            faces,
            team,
            revoked,
            calendar: config.calendar,
        };
        Ok(Self {
            local,
            incoming,
            gate,
            renewer,
            task,
        })
    }

    /// The address in use.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The next finished handshake; `None` once the listener has stopped.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.incoming.recv().await
    }

    /// Sockets that have not authenticated.
    pub fn strangers(&self) -> usize {
        self.gate.total()
    }

    /// Where a renewed certificate goes.
    pub fn renewer(&self) -> Renewer {
        self.renewer.clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why nobody can be listened to.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be used.
    #[error("cannot listen on {addr}")]
    Bind {
        /// Which.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
}

fn listen(addr: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    let listener = socket.listen(BACKLOG)?;
    let local = listener.local_addr()?;
    Ok((listener, local))
}

/// An accepted socket whose address has no place.
struct Waiting {
    stream: TcpStream,
    remote: SocketAddr,
    since_ms: u64,
}

/// Accepts, and sends on to the handshake.
struct Door {
    gate: Gate,
    faces: Arc<ArcSwap<Faces>>,
    handshake: Duration,
    enrols: bool,
    sender: mpsc::Sender<Incoming>,
    clock: Clock,
    waiting: BTreeMap<IpAddr, VecDeque<Waiting>>,
    waiting_count: usize,
}

impl Door {
    async fn run(mut self, listener: TcpListener) {
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, remote)) => self.arrive(stream, remote),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept");
                        // Out of descriptors: the ones in use end, and a pause costs less than a spin.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                },
                () = self.gate.freed() => self.admit_waiting(),
                () = self.sender.closed() => return,
            }
        }
    }

    fn arrive(&mut self, stream: TcpStream, remote: SocketAddr) {
        let network = network_of(remote.ip());
        let is_first = !self.waiting.contains_key(&network);
        if is_first && let Some(slot) = self.gate.enter(network) {
            return self.begin(stream, remote, slot);
        }
        self.forget_late();
        let queue = self.waiting.entry(network).or_default();
        if self.waiting_count < WAITING_MAX && queue.len() < WAITING_PER_ADDRESS_MAX {
            queue.push_back(Waiting {
                stream,
                remote,
                since_ms: self.clock.mono_ms(),
            });
            self.waiting_count += 1;
        } else {
            tracing::debug!(%remote, "too many strangers");
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
    }

    /// Lets in who waits, as far as there are places.
    fn admit_waiting(&mut self) {
        self.forget_late();
        let networks: Vec<IpAddr> = self.waiting.keys().copied().collect();
        for network in networks {
            while let Some(slot) = self.gate.enter(network) {
                let Some(next) = self.waiting.get_mut(&network).and_then(VecDeque::pop_front)
                else {
                    break;
                };
                self.waiting_count -= 1;
                self.begin(next.stream, next.remote, slot);
            }
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
    }

    /// Closes who has waited for two handshakes: one to end, and its own.
    fn forget_late(&mut self) {
        let patience = u64::try_from(2 * self.handshake.as_millis()).unwrap_or(u64::MAX);
        let now = self.clock.mono_ms();
        for queue in self.waiting.values_mut() {
            while queue
                .front()
                .is_some_and(|first| patience <= now.saturating_sub(first.since_ms))
            {
                queue.pop_front();
                self.waiting_count -= 1;
            }
        }
    }

    fn begin(&self, stream: TcpStream, remote: SocketAddr, slot: Slot) {
        let (faces, sender, limit) = (self.faces.load_full(), self.sender.clone(), self.handshake);
        let enrols = self.enrols;
        tokio::spawn(async move {
            match tokio::time::timeout(limit, shake(stream, remote, (&faces, enrols), slot)).await {
                // The receiver is gone only when the server stops.
                Ok(Ok(incoming)) => drop(sender.send(incoming).await),
                Ok(Err(error)) => tracing::info!(%remote, %error, "handshake refused"),
                Err(_) => tracing::info!(%remote, "handshake too slow"),
            }
        });
    }
}

async fn shake(
    stream: TcpStream,
    remote: SocketAddr,
    (faces, enrols): (&Faces, bool),
    slot: Slot,
) -> io::Result<Incoming> {
    stream.set_nodelay(true)?;
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let offers = |wanted: &[u8]| {
        start
            .client_hello()
            .alpn()
            .is_some_and(|mut offered| offered.any(|alpn| alpn == wanted))
    };
    let config = if offers(ALPN_LINK) {
        &faces.link
    } else if enrols && offers(ALPN_JOIN) {
        &faces.join
    } else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no protocol of ours offered",
        ));
    };
    let stream = start.into_stream(Arc::clone(config)).await?;
    let (_, session) = stream.get_ref();
    let identity = identity(session.peer_certificates());
    let exporter = session
        .export_keying_material([0; 32], EXPORTER_LABEL, None)
        .map_err(io::Error::other)?;
    Ok(Incoming {
        stream,
        identity,
        remote,
        exporter,
        slot,
    })
}
