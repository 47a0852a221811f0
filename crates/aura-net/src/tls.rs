//! Configurations of TLS: who may be at the other end of a session.
//!
//! Invariants:
//! - a server is verified against an expected role, and an expected peer where one is known;
//! - a client certificate must be of the team's authority, of this team, not the Mothership's and not revoked;
//! - a newcomer verifies the authority against its token's hash before it sends a byte of its own;
//! - a session never resumes another: the verifier is asked each time.

mod verify;

use std::sync::{Arc, OnceLock};

use aura_proto::{PeerId, TeamId, message::Role};
use aura_trust::CertIdentity;
use rustls::{
    ClientConfig, Error, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::CryptoProvider,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    time_provider::{DefaultTimeProvider, TimeProvider},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub use verify::Mismatch;
use verify::{MemberVerifier, ServerVerifier, Trust};

/// Protocol of authenticated links.
pub const ALPN_LINK: &[u8] = b"aura/1";
/// Protocol of enrolment.
pub const ALPN_JOIN: &[u8] = b"aura-join/1";
/// Label under which keying material is exported for proofs (RFC 8446, section 7.5).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-aura-channel";

/// Answers whether a peer was removed from the team.
pub type Revoked = Arc<dyn Fn(PeerId) -> bool + Send + Sync>;

/// Where the calendar time comes from that certificates are compared with.
pub type Calendar = Arc<dyn TimeProvider>;

/// The time of the operating system.
pub fn calendar() -> Calendar {
    Arc::new(DefaultTimeProvider)
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Credentials {
    /// Leaf, DER.
    pub certificate: Vec<u8>,
    /// Authority, DER.
    pub ca: Vec<u8>,
    /// Key of the leaf, PKCS#8.
    pub key: Arc<zeroize::Zeroizing<Vec<u8>>>,
}

/// What a verified certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The team.
    pub team: TeamId,
    /// What it may do.
    pub role: Role,
    /// Identity key.
    pub peer: PeerId,
    /// When the certificate ends, in seconds since 1970; a direct link ends with it.
    pub not_after_s: u64,
}

/// Whom a dialler expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// The role: the Mothership, or any role of a peer (which one, the roster knows better than a certificate).
    pub role: Role,
    /// The identity, where it is known.
    pub peer: Option<PeerId>,
}

/// Why a configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority's certificate is unusable.
    #[error("cannot use the certificate authority")]
    Authority,
    /// Certificate or key are unusable.
    #[error("cannot use the certificate")]
    Certificate(#[source] Error),
    /// The library refuses its own provider.
    #[error("cannot set up TLS 1.3")]
    Provider(#[source] Error),
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

fn roots(ca: &[u8]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(ca.to_vec()))
        .map_err(|_| TlsError::Authority)?;
    Ok(Arc::new(roots))
}

/// Reads the identity of the certificate at the end of a finished handshake.
pub(crate) fn identity(certificates: Option<&[CertificateDer<'_>]>) -> Option<PeerIdentity> {
    let leaf = certificates?.first()?;
    let CertIdentity {
        team,
        role,
        peer,
        not_after_s,
        ..
    } = CertIdentity::from_der(leaf).ok()?;
    Some(PeerIdentity {
        team,
        role,
        peer,
        not_after_s,
    })
}

fn chain(credentials: &Credentials) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = [&credentials.certificate, &credentials.ca]
        .map(|der| CertificateDer::from(der.clone()))
        .to_vec();
    (
        chain,
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(credentials.key.to_vec())),
    )
}

/// The two faces of a server: authenticated links, and enrolment.
#[derive(Clone)]
pub(crate) struct Faces {
    pub(crate) link: Arc<ServerConfig>,
    pub(crate) join: Arc<ServerConfig>,
}

impl Faces {
    pub(crate) fn new(
        credentials: &Credentials,
        team: TeamId,
        revoked: Revoked,
        calendar: &Calendar,
    ) -> Result<Self, TlsError> {
        let inner =
            WebPkiClientVerifier::builder_with_provider(roots(&credentials.ca)?, provider())
                .build()
                .map_err(|_| TlsError::Authority)?;
        let builder = || {
            ServerConfig::builder_with_details(provider(), Arc::clone(calendar))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .map_err(TlsError::Provider)
        };
        let (certificates, key) = chain(credentials);
        let mut link = builder()?
            .with_client_cert_verifier(Arc::new(MemberVerifier {
                inner,
                team,
                revoked,
            }))
            .with_single_cert(certificates.clone(), key.clone_key())
            .map_err(TlsError::Certificate)?;
        let mut join = builder()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(TlsError::Certificate)?;
        finish_server(&mut link, ALPN_LINK);
        finish_server(&mut join, ALPN_JOIN);
        Ok(Self {
            link: Arc::new(link),
            join: Arc::new(join),
        })
    }
}

fn finish_server(config: &mut ServerConfig, alpn: &[u8]) {
    config.alpn_protocols = vec![alpn.to_vec()];
    // A resumed session never asks the verifier again: a revoked peer would come back.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
}

/// The configuration of an enrolled peer that dials.
pub(crate) fn client_config(
    credentials: &Credentials,
    expect: Expect,
    revoked: Revoked,
    calendar: &Calendar,
) -> Result<Arc<ClientConfig>, TlsError> {
    let (_, team) =
        aura_trust::public_key_hash(&credentials.ca).map_err(|_| TlsError::Authority)?;
    let trust = Trust::Root {
        roots: roots(&credentials.ca)?,
        team,
    };
    let (certificates, key) = chain(credentials);
    let mut config = client_builder(
        ServerVerifier {
            trust,
            expect,
            revoked,
        },
        calendar,
    )?
    .with_client_auth_cert(certificates, key)
    .map_err(TlsError::Certificate)?;
    finish_client(&mut config, ALPN_LINK);
    Ok(Arc::new(config))
}

/// The configuration of a newcomer, who knows the hash of the authority's key and nothing else.
pub(crate) fn join_config(
    ca_hash: [u8; 32],
    calendar: &Calendar,
) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = ServerVerifier {
        trust: Trust::Pin(ca_hash),
        expect: Expect {
            role: Role::Mothership,
            peer: None,
        },
        revoked: Arc::new(|_| false),
    };
    let mut config = client_builder(verifier, calendar)?.with_no_client_auth();
    finish_client(&mut config, ALPN_JOIN);
    Ok(Arc::new(config))
}

fn client_builder(
    verifier: ServerVerifier,
    calendar: &Calendar,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, TlsError> {
    Ok(
        ClientConfig::builder_with_details(provider(), Arc::clone(calendar))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Provider)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier)),
    )
}

fn finish_client(config: &mut ClientConfig, alpn: &[u8]) {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
}
