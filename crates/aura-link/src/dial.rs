//! The dialling side: every address at once, the first authenticated session wins.
//!
//! Invariants:
//! - a loser of the race is closed before it sent anything but a handshake;
//! - what became of each address, and in what time, is recorded.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use aura_proto::limits::TLS_MS_MAX;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    clock::Clock,
    tls::{
        Credentials, EXPORTER_LABEL, Expect, IDENTITY, PIN, PeerIdentity, REVOKED, ROLE, Revoked,
        TlsError, client_config, identity, join_config,
    },
};

/// A session with whom was expected.
pub struct Dialed {
    /// The session.
    pub stream: TlsStream<TcpStream>,
    /// Who answered.
    pub identity: PeerIdentity,
    /// The address that won.
    pub addr: String,
    /// Keying material of the session.
    pub exporter: [u8; 32],
    /// Certificates that the other end showed, DER.
    pub certificates: Vec<Vec<u8>>,
}

/// What became of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The address as announced.
    pub addr: String,
    /// `ok`, `refused`, `timeout`, `no_route`, `SERVER_PIN_MISMATCH` …
    pub result: String,
    /// How long it took in milliseconds.
    pub ms: u64,
}

/// Why nobody answered as expected.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No address led to whom was expected.
    #[error("no address answered: {}", summary(attempts))]
    Nobody {
        /// Each address and what became of it.
        attempts: Vec<Attempt>,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
}

impl DialError {
    /// Whether some address failed in this way.
    pub fn has(&self, result: &str) -> bool {
        match self {
            Self::Nobody { attempts } => attempts.iter().any(|attempt| attempt.result == result),
            Self::Tls(_) => false,
        }
    }
}

fn summary(attempts: &[Attempt]) -> String {
    let rows: Vec<String> = attempts
        .iter()
        .map(|attempt| format!("{} {}", attempt.addr, attempt.result))
        .collect();
    rows.join(", ")
}

/// Dials all addresses at once as an enrolled peer.
pub async fn dial(
    addrs: &[String],
    credentials: &Credentials,
    expect: Expect,
    revoked: Revoked,
) -> Result<Dialed, DialError> {
    let config = client_config(credentials, expect, revoked).map_err(DialError::Tls)?;
    race(addrs, config).await
}

/// Dials all addresses at once as a newcomer that knows the hash of the authority's key.
pub async fn dial_join(addrs: &[String], ca_hash: [u8; 32]) -> Result<Dialed, DialError> {
    let config = join_config(ca_hash).map_err(DialError::Tls)?;
    race(addrs, config).await
}

async fn race(addrs: &[String], config: Arc<ClientConfig>) -> Result<Dialed, DialError> {
    let mut running = JoinSet::new();
    for addr in addrs {
        let (addr, config) = (addr.clone(), Arc::clone(&config));
        running.spawn(async move {
            let clock = Clock::start();
            let limit = Duration::from_millis(TLS_MS_MAX);
            let result = match tokio::time::timeout(limit, connect(&addr, config)).await {
                Ok(result) => result,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            };
            (addr, result, clock.mono_ms())
        });
    }
    let mut attempts = Vec::new();
    while let Some(joined) = running.join_next().await {
        let Ok((addr, result, ms)) = joined else {
            continue;
        };
        match result {
            Ok(dialed) => return Ok(dialed),
            Err(error) => attempts.push(Attempt {
                addr,
                result: outcome(&error),
                ms,
            }),
        }
    }
    attempts.sort_by(|a, b| a.addr.cmp(&b.addr));
    Err(DialError::Nobody { attempts })
}

async fn connect(addr: &str, config: Arc<ClientConfig>) -> io::Result<Dialed> {
    let tcp = TcpStream::connect(addr).await?;
    tcp.set_nodelay(true)?;
    let remote: SocketAddr = tcp.peer_addr()?;
    let name = ServerName::IpAddress(remote.ip().into());
    let stream = TlsConnector::from(config).connect(name, tcp).await?;
    let (_, session) = stream.get_ref();
    let certificates = session.peer_certificates();
    let identity = identity(certificates).ok_or_else(|| io::Error::other(IDENTITY))?;
    let certificates = certificates
        .unwrap_or_default()
        .iter()
        .map(|der| der.to_vec())
        .collect();
    let exporter = session
        .export_keying_material([0; 32], EXPORTER_LABEL, None)
        .map_err(io::Error::other)?;
    Ok(Dialed {
        stream,
        identity,
        addr: addr.to_owned(),
        exporter,
        certificates,
    })
}

/// A word for what went wrong.
fn outcome(error: &io::Error) -> String {
    let text = error.to_string();
    for known in [PIN, ROLE, IDENTITY, REVOKED] {
        if text.contains(known) {
            return known.to_owned();
        }
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::TimedOut => "timeout".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no_route".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => "closed".to_owned(),
        _ => text,
    }
}
