//! The listening side: caps before authentication, one deadline for the handshake.
//!
//! Invariants:
//! - sockets that have not authenticated are bounded, overall and per address;
//! - a handshake ends within [`TLS_MS_MAX`] in total, however slowly its bytes come.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aura_proto::{
    TeamId,
    limits::{PRE_AUTH_SOCKETS_MAX, PRE_AUTH_SOCKETS_PER_ADDRESS_MAX, TLS_MS_MAX},
};
use rustls::{ServerConfig, server::Acceptor};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::tls::{
    ALPN_JOIN, ALPN_LINK, Credentials, EXPORTER_LABEL, PeerIdentity, Revoked, TlsError, identity,
    server_configs,
};

/// Connections that the kernel may hold for us: an office that returns at once must not be refused.
const BACKLOG: u32 = 4_096;

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

/// A listening socket.
pub struct Listener {
    local: SocketAddr,
    incoming: mpsc::Receiver<Incoming>,
}

impl Listener {
    /// Binds and begins to accept.
    pub fn bind(
        addr: SocketAddr,
        credentials: &Credentials,
        team: TeamId,
        revoked: Revoked,
    ) -> Result<Self, ListenError> {
        let (link, join) = server_configs(credentials, team, revoked).map_err(ListenError::Tls)?;
        let socket = if addr.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        };
        let bind = || -> io::Result<TcpListener> {
            let socket = socket?;
            socket.set_reuseaddr(true)?;
            socket.bind(addr)?;
            socket.listen(BACKLOG)
        };
        let listener = bind().map_err(|source| ListenError::Bind { addr, source })?;
        let local = listener
            .local_addr()
            .map_err(|source| ListenError::Bind { addr, source })?;
        let (sender, incoming) = mpsc::channel(256);
        tokio::spawn(accept(listener, Faces { link, join }, sender));
        Ok(Self { local, incoming })
    }

    /// The address in use.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The next finished handshake.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.incoming.recv().await
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

#[derive(Clone)]
struct Faces {
    link: Arc<ServerConfig>,
    join: Arc<ServerConfig>,
}

async fn accept(listener: TcpListener, faces: Faces, sender: mpsc::Sender<Incoming>) {
    let gate = Gate::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sender.closed() => return,
        };
        let Ok((stream, remote)) = accepted else {
            // Out of descriptors: the ones in use end, and a pause costs less than a spin.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Some(slot) = gate.enter(remote.ip()) else {
            continue;
        };
        let (faces, sender) = (faces.clone(), sender.clone());
        tokio::spawn(async move {
            let limit = Duration::from_millis(TLS_MS_MAX);
            let shaken = tokio::time::timeout(limit, shake(stream, remote, faces, slot)).await;
            match shaken {
                Ok(Ok(incoming)) => {
                    // The receiver is gone only when the server stops.
                    sender.send(incoming).await.ok();
                }
                Ok(Err(error)) => tracing::debug!(%remote, %error, "handshake refused"),
                Err(_) => tracing::debug!(%remote, "handshake too slow"),
            }
        });
    }
}

async fn shake(
    stream: TcpStream,
    remote: SocketAddr,
    faces: Faces,
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
        faces.link
    } else if offers(ALPN_JOIN) {
        faces.join
    } else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no protocol of ours offered",
        ));
    };
    let stream = start.into_stream(config).await?;
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

/// Counts sockets that have not authenticated.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One counted socket.
pub struct Slot {
    gate: Gate,
    address: IpAddr,
}

impl Gate {
    fn enter(&self, address: IpAddr) -> Option<Slot> {
        let address = network_of(address);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = held.values().sum();
        let from_here = held.get(&address).copied().unwrap_or(0);
        if PRE_AUTH_SOCKETS_MAX <= total || PRE_AUTH_SOCKETS_PER_ADDRESS_MAX <= from_here {
            return None;
        }
        held.insert(address, from_here + 1);
        Some(Slot {
            gate: self.clone(),
            address,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut held = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

/// The unit of counting: an IPv4 address, or the /64 of an IPv6 one.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => {
            let prefix = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(prefix.into())
        }
    }
}
