//! The dialling side: every address at once, the first authenticated session wins.
//!
//! Invariants:
//! - a loser of the race is closed before it sent anything but a handshake;
//! - what became of each address, and in what time, is recorded, whoever wins.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use aura_proto::limits::TLS_MS_MAX;
use rustls::{AlertDescription, CertificateError, ClientConfig, Error};
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    clock::Clock,
    tls::{
        Calendar, Credentials, EXPORTER_LABEL, Expect, Mismatch, PeerIdentity, Revoked, TlsError,
        calendar, client_config, identity, join_config,
    },
};

/// Addresses dialled in one race: what a peer may announce, four times over for a token with several servers.
pub const ADDRS_MAX: usize = 4 * aura_proto::limits::HINTS_MAX;

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
    /// Every address and what became of it, by address.
    pub attempts: Vec<Attempt>,
}

/// What became of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The address as announced.
    pub addr: String,
    /// `ok`, `slower`, `refused`, `timeout`, `no_route`, `SERVER_PIN_MISMATCH` …
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

/// A prepared race: whom to expect, and how to prove who this is.
#[derive(Clone)]
pub struct Dialer {
    config: Arc<ClientConfig>,
    limit: Duration,
}

impl Dialer {
    /// Dials as an enrolled peer.
    pub fn member(
        credentials: &Credentials,
        expect: Expect,
        revoked: Revoked,
        calendar: &Calendar,
    ) -> Result<Self, TlsError> {
        client_config(credentials, expect, revoked, calendar).map(Self::with)
    }

    /// Dials as a newcomer that knows the hash of the authority's key.
    pub fn newcomer(ca_hash: [u8; 32], calendar: &Calendar) -> Result<Self, TlsError> {
        join_config(ca_hash, calendar).map(Self::with)
    }

    /// Replaces the time that one address has, from the first packet to the last of the handshake.
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    fn with(config: Arc<ClientConfig>) -> Self {
        Self {
            config,
            limit: Duration::from_millis(TLS_MS_MAX),
        }
    }

    /// Dials the addresses (at most [`ADDRS_MAX`]) at once; the first session with whom was expected wins.
    pub async fn race(&self, addrs: &[String]) -> Result<Dialed, DialError> {
        let clock = Clock::start();
        let mut open: BTreeMap<String, ()> = BTreeMap::new();
        let mut running = JoinSet::new();
        for addr in addrs {
            if open.len() < ADDRS_MAX && open.insert(addr.clone(), ()).is_none() {
                let (dialer, addr) = (self.clone(), addr.clone());
                running.spawn(async move { (dialer.one(&addr).await, addr) });
            }
        }
        let mut attempts = Vec::new();
        let mut winner = None;
        while let Some(joined) = running.join_next().await {
            let Ok((result, addr)) = joined else { continue };
            open.remove(&addr);
            let outcome = match &result {
                Ok(_) => "ok".to_owned(),
                Err(error) => word(error),
            };
            attempts.push(Attempt {
                addr,
                result: outcome,
                ms: clock.mono_ms(),
            });
            if let Ok(dialed) = result {
                winner = Some(dialed);
                break;
            }
        }
        // Dropping what still runs closes its sockets.
        running.abort_all();
        let ms = clock.mono_ms();
        attempts.extend(open.into_keys().map(|addr| Attempt {
            addr,
            result: "slower".to_owned(),
            ms,
        }));
        attempts.sort_by(|a, b| a.addr.cmp(&b.addr));
        match winner {
            Some(dialed) => Ok(Dialed { attempts, ..dialed }),
            None => Err(DialError::Nobody { attempts }),
        }
    }

    async fn one(&self, addr: &str) -> io::Result<Dialed> {
        let connecting = connect(addr, Arc::clone(&self.config));
        match tokio::time::timeout(self.limit, connecting).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Dials all addresses at once as an enrolled peer.
pub async fn dial(
    addrs: &[String],
    credentials: &Credentials,
    expect: Expect,
    revoked: Revoked,
) -> Result<Dialed, DialError> {
    let dialer =
        Dialer::member(credentials, expect, revoked, &calendar()).map_err(DialError::Tls)?;
    dialer.race(addrs).await
}

/// Dials all addresses at once as a newcomer that knows the hash of the authority's key.
pub async fn dial_join(addrs: &[String], ca_hash: [u8; 32]) -> Result<Dialed, DialError> {
    let dialer = Dialer::newcomer(ca_hash, &calendar()).map_err(DialError::Tls)?;
    dialer.race(addrs).await
}

async fn connect(addr: &str, config: Arc<ClientConfig>) -> io::Result<Dialed> {
    let tcp = TcpStream::connect(addr).await?;
    tcp.set_nodelay(true)?;
    let remote: SocketAddr = tcp.peer_addr()?;
    let name = ServerName::IpAddress(remote.ip().into());
    let stream = TlsConnector::from(config).connect(name, tcp).await?;
    let (_, session) = stream.get_ref();
    let certificates = session.peer_certificates();
    let identity =
        identity(certificates).ok_or_else(|| io::Error::other(Error::from(Mismatch::Identity)))?;
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
        attempts: Vec::new(),
    })
}

/// The error of the TLS library within an error of the connection.
pub(crate) fn tls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// A word for what went wrong.
fn word(error: &io::Error) -> String {
    let known = tls_error(error).and_then(|error| match (Mismatch::of(error), error) {
        (Some(Mismatch::Identity), _) => Some("IDENTITY_MISMATCH"),
        (Some(Mismatch::Pin), _) => Some("SERVER_PIN_MISMATCH"),
        (Some(Mismatch::Role), _) => Some("ROLE_MISMATCH"),
        (None, Error::InvalidCertificate(CertificateError::Revoked))
        | (None, Error::AlertReceived(AlertDescription::CertificateRevoked)) => Some("REVOKED"),
        (
            None,
            Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ),
        ) => Some("CERTIFICATE_EXPIRED"),
        (
            None,
            Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            ),
        ) => Some("CERTIFICATE_NOT_YET_VALID"),
        (None, _) => None,
    });
    if let Some(known) = known {
        return known.to_owned();
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::TimedOut => "timeout".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no_route".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => "closed".to_owned(),
        _ => error.to_string(),
    }
}
