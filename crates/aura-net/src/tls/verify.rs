//! The two verifiers: chain and time by the library, identity by ours.
//!
//! Invariants:
//! - a leaf is signed by the authority itself; longer chains are not looked at;
//! - what a certificate names is read only after its signature and time were found good.

use std::{fmt, sync::Arc};

use aura_proto::{TeamId, message::Role};
use aura_trust::{CertIdentity, public_key_hash};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::verify_tls13_signature,
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Expect, Revoked, provider, roots};

/// Why the other end is not whom this end accepts, although its certificate is well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It names another peer or another team than expected, or nobody.
    #[error("the other end is not the peer that was dialled")]
    Identity,
    /// Its authority is not the one that the token names.
    #[error("the server's authority is not the one that the token names")]
    Pin,
    /// It names a role that does not stand at this end.
    #[error("the other end's certificate is for another role")]
    Role,
}

impl From<Mismatch> for Error {
    fn from(mismatch: Mismatch) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(mismatch))))
    }
}

impl Mismatch {
    /// The mismatch that a failed handshake was about.
    pub(crate) fn of(error: &Error) -> Option<Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(other)) => {
                other.0.downcast_ref().copied()
            }
            _ => None,
        }
    }
}

const REVOKED: Error = Error::InvalidCertificate(CertificateError::Revoked);

/// What a dialler trusts.
#[derive(Debug)]
pub(super) enum Trust {
    /// Any authority whose public key has this SHA-256.
    Pin([u8; 32]),
    /// The authority of this team.
    Root {
        roots: Arc<RootCertStore>,
        team: TeamId,
    },
}

impl Trust {
    /// The authority to check against, and its team.
    fn authority(
        &self,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(Arc<RootCertStore>, TeamId), Error> {
        match self {
            Self::Root { roots, team } => Ok((Arc::clone(roots), *team)),
            Self::Pin(pin) => intermediates
                .iter()
                .find_map(|der| {
                    let (hash, team) = public_key_hash(der).ok()?;
                    let is_pinned = hash == *pin;
                    is_pinned.then(|| roots(der).ok().map(|roots| (roots, team)))?
                })
                .ok_or_else(|| Mismatch::Pin.into()),
        }
    }
}

/// Verifies whoever was dialled.
pub(super) struct ServerVerifier {
    pub(super) trust: Trust,
    pub(super) expect: Expect,
    pub(super) revoked: Revoked,
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerVerifier({:?})", self.expect)
    }
}

impl ServerCertVerifier for ServerVerifier {
    // spec: identity/2.3
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (authority, team) = self.trust.authority(intermediates)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &authority, &[], now, algorithms)?;
        let identity = CertIdentity::from_der(end_entity).map_err(|_| Mismatch::Identity)?;
        let is_mothership = identity.role == Role::Mothership;
        if is_mothership != (self.expect.role == Role::Mothership) || !identity.may_answer {
            return Err(Mismatch::Role.into());
        }
        if identity.team != team || self.expect.peer.is_some_and(|peer| peer != identity.peer) {
            return Err(Mismatch::Identity.into());
        }
        if (self.revoked)(identity.peer) {
            return Err(REVOKED);
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12_is_not_spoken())
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

/// Verifies whoever dialled.
pub(super) struct MemberVerifier {
    pub(super) inner: Arc<dyn ClientCertVerifier>,
    pub(super) team: TeamId,
    pub(super) revoked: Revoked,
}

impl fmt::Debug for MemberVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberVerifier({})", self.team)
    }
}

impl ClientCertVerifier for MemberVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A stranger learns nothing about the team's authority.
        &[]
    }

    // spec: identity/2.4
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, &[], now)?;
        let identity = CertIdentity::from_der(end_entity).map_err(|_| Mismatch::Identity)?;
        if identity.role == Role::Mothership || !identity.may_dial {
            return Err(Mismatch::Role.into());
        }
        if identity.team != self.team {
            return Err(Mismatch::Identity.into());
        }
        if (self.revoked)(identity.peer) {
            return Err(REVOKED);
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12_is_not_spoken())
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

fn tls12_is_not_spoken() -> Error {
    Error::General("TLS 1.2 is not spoken".to_owned())
}
