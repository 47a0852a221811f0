//! Who may be at the other end of a TLS session.
//!
//! Invariants:
//! - a server is verified against an expected role, and an expected peer where one is known;
//! - a client certificate must be of the team's CA, of this team, not the Mothership's and not revoked;
//! - a newcomer verifies the CA against its token's hash before it sends a byte of its own.

use std::sync::Arc;

use aura_proto::{PeerId, TeamId, message::Role};
use aura_trust::{CertIdentity, public_key_hash};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    server::{
        NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

/// Protocol of authenticated links.
pub const ALPN_LINK: &[u8] = b"aura/1";
/// Protocol of enrolment.
pub const ALPN_JOIN: &[u8] = b"aura-join/1";
/// Label under which keying material is exported for proofs (RFC 8446, section 7.5).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-aura-channel";

/// Answers whether a peer was removed from the team.
pub type Revoked = Arc<dyn Fn(PeerId) -> bool + Send + Sync>;

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
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots(ca: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(ca.to_vec()))
        .map_err(|_| TlsError::Authority)?;
    Ok(roots)
}

/// Reads the identity of the certificate at the end of a finished handshake.
pub(crate) fn identity(certificates: Option<&[CertificateDer<'_>]>) -> Option<PeerIdentity> {
    let leaf = certificates?.first()?;
    let CertIdentity {
        team, role, peer, ..
    } = CertIdentity::from_der(leaf).ok()?;
    Some(PeerIdentity { team, role, peer })
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
pub(crate) fn server_configs(
    credentials: &Credentials,
    team: TeamId,
    revoked: Revoked,
) -> Result<(Arc<ServerConfig>, Arc<ServerConfig>), TlsError> {
    let roots = Arc::new(roots(&credentials.ca)?);
    let inner = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|_| TlsError::Authority)?;
    let verifier = Arc::new(MemberVerifier {
        inner,
        team,
        revoked,
    });
    let builder = || {
        ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Provider)
    };
    let (certificates, key) = chain(credentials);
    let mut link = builder()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates.clone(), key.clone_key())
        .map_err(TlsError::Certificate)?;
    let mut join = builder()?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(TlsError::Certificate)?;
    for (config, alpn) in [(&mut link, ALPN_LINK), (&mut join, ALPN_JOIN)] {
        config.alpn_protocols = vec![alpn.to_vec()];
        // A resumed session never asks the verifier again: a revoked peer would come back.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
    }
    Ok((Arc::new(link), Arc::new(join)))
}

/// Whom a dialler expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// The role that the certificate must name.
    pub role: Role,
    /// The identity, where it is known.
    pub peer: Option<PeerId>,
}

pub(crate) fn client_config(
    credentials: &Credentials,
    expect: Expect,
    revoked: Revoked,
) -> Result<Arc<ClientConfig>, TlsError> {
    let team = CertIdentity::from_der(&credentials.certificate).map_err(|_| TlsError::Authority)?;
    let trust = Trust::Root(Arc::new(roots(&credentials.ca)?));
    let verifier = Arc::new(ServerVerifier {
        trust,
        team: Some(team.team),
        expect,
        revoked,
    });
    let (certificates, key) = chain(credentials);
    let mut config = client_builder(verifier)?
        .with_client_auth_cert(certificates, key)
        .map_err(TlsError::Certificate)?;
    finish(&mut config, ALPN_LINK);
    Ok(Arc::new(config))
}

pub(crate) fn join_config(ca_hash: [u8; 32]) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Arc::new(ServerVerifier {
        trust: Trust::Pin(ca_hash),
        team: None,
        expect: Expect {
            role: Role::Mothership,
            peer: None,
        },
        revoked: Arc::new(|_| false),
    });
    let mut config = client_builder(verifier)?.with_no_client_auth();
    finish(&mut config, ALPN_JOIN);
    Ok(Arc::new(config))
}

fn client_builder(
    verifier: Arc<ServerVerifier>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>, TlsError> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Provider)?
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

fn finish(config: &mut ClientConfig, alpn: &[u8]) {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
}

/// Texts by which a failed verification is told apart; they stay inside this process.
pub(crate) const ROLE: &str = "ROLE_MISMATCH";
pub(crate) const IDENTITY: &str = "IDENTITY_MISMATCH";
pub(crate) const PIN: &str = "SERVER_PIN_MISMATCH";
pub(crate) const REVOKED: &str = "REVOKED";

fn refuse(why: &str) -> Error {
    Error::General(why.to_owned())
}

#[derive(Debug)]
enum Trust {
    Pin([u8; 32]),
    Root(Arc<RootCertStore>),
}

/// Verifies whoever was dialled.
struct ServerVerifier {
    trust: Trust,
    team: Option<TeamId>,
    expect: Expect,
    revoked: Revoked,
}

impl std::fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerVerifier({:?})", self.expect)
    }
}

impl ServerVerifier {
    /// The authority to check against: ours, or the one in the chain that has the pinned key.
    fn authority(&self, intermediates: &[CertificateDer<'_>]) -> Result<Arc<RootCertStore>, Error> {
        match &self.trust {
            Trust::Root(roots) => Ok(Arc::clone(roots)),
            Trust::Pin(pin) => {
                let has_pin = |der: &&CertificateDer<'_>| {
                    public_key_hash(der).is_ok_and(|(hash, _)| hash == *pin)
                };
                let ca = intermediates
                    .iter()
                    .find(has_pin)
                    .ok_or_else(|| refuse(PIN))?;
                roots(ca).map(Arc::new).map_err(|_| refuse(PIN))
            }
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = self.authority(intermediates)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &authority, &[], now, algorithms)?;
        let identity = CertIdentity::from_der(end_entity).map_err(|_| refuse(IDENTITY))?;
        if identity.role != self.expect.role && self.expect.role == Role::Mothership {
            return Err(refuse(ROLE));
        }
        let is_expected = self.expect.peer.is_none_or(|peer| peer == identity.peer)
            && self.team.is_none_or(|team| team == identity.team);
        if !is_expected {
            return Err(refuse(IDENTITY));
        }
        if (self.revoked)(identity.peer) {
            return Err(refuse(REVOKED));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refuse("TLS 1.2 is not spoken"))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Verifies whoever dialled: chain first, then identity, team and removal.
struct MemberVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    team: TeamId,
    revoked: Revoked,
}

impl std::fmt::Debug for MemberVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemberVerifier({})", self.team)
    }
}

impl ClientCertVerifier for MemberVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // A leaf comes from the authority itself: longer chains are not ours.
        let verified = self.inner.verify_client_cert(end_entity, &[], now)?;
        let identity = CertIdentity::from_der(end_entity).map_err(|_| refuse(IDENTITY))?;
        if identity.role == Role::Mothership {
            return Err(refuse(ROLE));
        }
        if identity.team != self.team {
            return Err(refuse(IDENTITY));
        }
        if (self.revoked)(identity.peer) {
            return Err(refuse(REVOKED));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(refuse("TLS 1.2 is not spoken"))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
