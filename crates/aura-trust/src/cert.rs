//! The team's certificate authority and the certificates that it issues for TLS.
//!
//! Invariants:
//! - a certificate says what policy says: of the request it takes the public key and nothing else;
//! - an identity is exactly one name, `aura://<team>/<role>/<peer>`; the common name is never believed;
//! - the Mothership's certificate cannot dial, an authority's cannot be anybody's identity;
//! - serial numbers are random, so that a renewed certificate is another one.

use std::{fmt, time::Duration};

use aura_proto::{Digest, PeerId, TeamId, limits::LEAF_BACKDATE_S, message::Role};
use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm, SigningKey, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use x509_parser::{
    certificate::X509Certificate, certification_request::X509CertificationRequest,
    extensions::GeneralName, oid_registry::OID_SIG_ED25519, prelude::FromDer as _,
    x509::SubjectPublicKeyInfo,
};
use zeroize::{Zeroize as _, Zeroizing};

use crate::keys::{has_small_order, verify_bytes};

/// Life of the authority's own certificate in seconds: 5 years.
pub const CA_TTL_S: u64 = 5 * 365 * 24 * 3_600;
/// Largest certificate request or certificate read, in bytes; ours have less than 600.
pub const DER_BYTES_MAX: usize = 8 << 10;

/// Latest time that a certificate may name, in seconds since 1970: the end of the year 9999.
const TIME_S_MAX: u64 = 253_402_300_799;
/// Longest common name in characters (RFC 5280, ub-common-name).
const COMMON_NAME_CHARS_MAX: usize = 64;
/// What stands before the 32-byte seed in a PKCS#8 document of an Ed25519 key (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
];
/// What stands between the signed part and an Ed25519 signature: algorithm, then a bit string of 64 bytes.
const SIGNATURE_PREFIX: [u8; 10] = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x41, 0];

/// A key pair that is wiped when dropped.
struct SecretPair(KeyPair);

impl SecretPair {
    fn from_seed(seed: &[u8; 32]) -> Self {
        let document = Zeroizing::new([&PKCS8_PREFIX[..], seed].concat());
        Self::from_pkcs8(&PrivatePkcs8KeyDer::from(&document[..]))
            .expect("the prefix and any 32 bytes are an Ed25519 key in PKCS#8")
    }

    fn from_pkcs8(document: &PrivatePkcs8KeyDer<'_>) -> Option<Self> {
        KeyPair::from_pkcs8_der_and_sign_algo(document, &PKCS_ED25519)
            .ok()
            .map(Self)
    }
}

impl Drop for SecretPair {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for SecretPair {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for SecretPair {
    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        SigningKey::sign(&self.0, bytes)
    }
}

fn serial_number(mut random: [u8; 16]) -> SerialNumber {
    // Positive and never zero, in 16 bytes.
    random[0] = random[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&random)
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(
        DnType::CommonName,
        text.chars().take(COMMON_NAME_CHARS_MAX).collect::<String>(),
    );
    name
}

/// Parameters that hold from [`LEAF_BACKDATE_S`] before `now_s` to `until_s`; `None` past the year 9999.
fn valid_until(now_s: u64, until_s: u64) -> Option<CertificateParams> {
    if TIME_S_MAX < until_s || until_s <= now_s {
        return None;
    }
    let at = |s| date_time_ymd(1970, 1, 1) + Duration::from_secs(s);
    let mut params = CertificateParams::default();
    params.not_before = at(now_s.saturating_sub(LEAF_BACKDATE_S));
    params.not_after = at(until_s);
    Some(params)
}

/// The Ed25519 key of a peer's TLS endpoint.
pub struct TlsKey(SecretPair);

impl TlsKey {
    /// The key of 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SecretPair::from_seed(&Zeroizing::new(seed)))
    }

    /// The secret key as a PKCS#8 document, for TLS and for a key file.
    pub fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.0.serialized_der().to_vec())
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        self.0
            .der_bytes()
            .try_into()
            .expect("an Ed25519 public key has 32 bytes")
    }

    /// A certificate request (PKCS#10, DER) that names nothing but the key.
    pub fn csr(&self) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params
            .serialize_request(&self.0)
            .expect("a request without names and extensions has an encoding");
        request.der().to_vec()
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsKey([redacted])")
    }
}

/// Why there is no certificate authority.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The certificate is not a readable certificate of an Ed25519 authority.
    #[error("cannot read the certificate of the authority")]
    Certificate,
    /// The key is not a readable Ed25519 key.
    #[error("cannot read the key of the authority")]
    Key,
    /// Key and certificate do not belong together.
    #[error("key and certificate of the authority do not belong together")]
    Mismatch,
    /// The time lies outside of what certificates can say.
    #[error("the time {now_s} is outside of what a certificate can say")]
    Time {
        /// Seconds since 1970.
        now_s: u64,
    },
}

/// Why no certificate was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The authority's own certificate has ended, or does before the new one would begin.
    #[error("the authority's certificate has ended")]
    AuthorityEnded,
    /// The request asks for the identity key: one key, one purpose.
    #[error("the request reuses the identity key")]
    KeyReused,
    /// The request is not one, or is not signed by the key that it names.
    #[error("the certificate request does not hold")]
    Request,
    /// The time lies outside of what certificates can say, or the life is zero.
    #[error("the certificate would have no life")]
    Time,
}

/// Whom a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The team.
    pub team: TeamId,
    /// What it may do.
    pub role: Role,
    /// Identity key.
    pub peer: PeerId,
    /// Display name; goes into the common name for people and is never read back.
    pub name: String,
}

/// A team's certificate authority.
pub struct Ca {
    issuer: Issuer<'static, SecretPair>,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    public_key_hash: [u8; 32],
    team: TeamId,
    ends_s: u64,
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ca({}, [redacted])", self.team.short())
    }
}

impl Ca {
    /// A new authority whose key comes from 32 random bytes and whose serial number from 16.
    pub fn create(
        seed: [u8; 32],
        serial: [u8; 16],
        now_s: u64,
        team_name: &str,
    ) -> Result<Self, CaError> {
        let key = SecretPair::from_seed(&Zeroizing::new(seed));
        Self::self_signed(key, serial, now_s, team_name)
    }

    /// The authority of a key that was written down and has no certificate yet.
    pub fn certify(
        key_pem: &str,
        serial: [u8; 16],
        now_s: u64,
        team_name: &str,
    ) -> Result<Self, CaError> {
        Self::self_signed(pair_of(key_pem)?, serial, now_s, team_name)
    }

    fn self_signed(
        key: SecretPair,
        serial: [u8; 16],
        now_s: u64,
        team_name: &str,
    ) -> Result<Self, CaError> {
        let mut params =
            valid_until(now_s, now_s.saturating_add(CA_TTL_S)).ok_or(CaError::Time { now_s })?;
        params.serial_number = Some(serial_number(serial));
        params.distinguished_name = common_name(team_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(|_| CaError::Certificate)?;
        Self::assemble(certificate.pem(), certificate.der().clone(), key)
    }

    /// Reads what [`Ca::certificate_pem`] and [`Ca::key_pem`] wrote.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, CaError> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| CaError::Certificate)?;
        Self::assemble(certificate.to_owned(), der, pair_of(key)?)
    }

    fn assemble(
        certificate_pem: String,
        certificate: CertificateDer<'static>,
        key: SecretPair,
    ) -> Result<Self, CaError> {
        let parsed = parse_certificate(&certificate).map_err(|_| CaError::Certificate)?;
        let public_key = ed25519_key(parsed.public_key()).ok_or(CaError::Certificate)?;
        let signature = parsed.signature_value.data.as_ref();
        if key.der_bytes() != public_key.0
            || verify_bytes(public_key, parsed.tbs_certificate.as_ref(), signature).is_err()
        {
            return Err(CaError::Mismatch);
        }
        if !parsed.is_ca() {
            return Err(CaError::Certificate);
        }
        let ends_s = u64::try_from(parsed.validity().not_after.timestamp())
            .map_err(|_| CaError::Certificate)?;
        let public_key_hash = hash_of(parsed.public_key());
        let team = team_of(parsed.public_key());
        let issuer =
            Issuer::from_ca_cert_der(&certificate, key).map_err(|_| CaError::Certificate)?;
        Ok(Self {
            issuer,
            certificate,
            certificate_pem,
            public_key_hash,
            team,
            ends_s,
        })
    }

    /// The certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The secret key, PEM, for a key file.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().0.serialize_pem())
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of the public key (as SubjectPublicKeyInfo); what tokens pin.
    pub fn public_key_hash(&self) -> [u8; 32] {
        self.public_key_hash
    }

    /// The team that this authority is the root of.
    pub fn team(&self) -> TeamId {
        self.team
    }

    /// When its certificate ends, in seconds since 1970.
    pub fn ends_s(&self) -> u64 {
        self.ends_s
    }

    /// Issues a certificate (DER) for the key of a request and the subject that policy names.
    ///
    /// Lives `ttl_s` from `now_s`, at most as long as the authority; `serial` are random bytes.
    pub fn issue(
        &self,
        csr: &[u8],
        subject: &Subject,
        serial: [u8; 16],
        now_s: u64,
        ttl_s: u64,
    ) -> Result<Vec<u8>, IssueError> {
        let key = requested_key(csr).ok_or(IssueError::Request)?;
        if key.der_bytes() == subject.peer.0 {
            return Err(IssueError::KeyReused);
        }
        if self.ends_s <= now_s {
            return Err(IssueError::AuthorityEnded);
        }
        let until_s = now_s.saturating_add(ttl_s).min(self.ends_s);
        let mut params = valid_until(now_s, until_s).ok_or(IssueError::Time)?;
        let uri = identity_uri(subject.team, subject.role, subject.peer);
        params.serial_number = Some(serial_number(serial));
        params.distinguished_name = common_name(&subject.name);
        params.subject_alt_names = vec![SanType::URI(
            uri.try_into().expect("base32 and role words are ASCII"),
        )];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages(subject.role);
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(|_| IssueError::Request)?;
        Ok(certificate.der().to_vec())
    }
}

/// Peers dial and are dialled; the Mothership only answers, so its certificate is no client's.
fn pair_of(key_pem: &str) -> Result<SecretPair, CaError> {
    let document =
        PrivatePkcs8KeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| CaError::Key)?;
    SecretPair::from_pkcs8(&document).ok_or(CaError::Key)
}

fn usages(role: Role) -> Vec<ExtendedKeyUsagePurpose> {
    match role {
        Role::Mothership => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Role::Admin | Role::Member | Role::Agent | Role::Observer | Role::Relay => {
            vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ]
        }
    }
}

fn identity_uri(team: TeamId, role: Role, peer: PeerId) -> String {
    format!("aura://{team}/{}/{peer}", role.as_str())
}

/// The key of a request that is signed by that key.
// spec: identity/2.9
fn requested_key(csr: &[u8]) -> Option<rcgen::SubjectPublicKeyInfo> {
    if DER_BYTES_MAX < csr.len() {
        return None;
    }
    let (rest, request) = X509CertificationRequest::from_der(csr).ok()?;
    let info = &request.certification_request_info;
    let key = ed25519_key(&info.subject_pki)?;
    let signature = request.signature_value.data.as_ref();
    // The parser is lenient about what stands outside of the signed part; one request has one encoding.
    let is_canonical = csr.ends_with(&[info.raw, &SIGNATURE_PREFIX, signature].concat());
    if !rest.is_empty() || !is_canonical {
        return None;
    }
    verify_bytes(key, info.raw, signature).ok()?;
    rcgen::SubjectPublicKeyInfo::from_der(info.subject_pki.raw).ok()
}

fn ed25519_key(info: &SubjectPublicKeyInfo<'_>) -> Option<PeerId> {
    let is_ed25519 =
        info.algorithm.algorithm == OID_SIG_ED25519 && info.algorithm.parameters.is_none();
    let key: [u8; 32] = info.subject_public_key.data.as_ref().try_into().ok()?;
    (is_ed25519 && !has_small_order(&key)).then_some(PeerId(key))
}

fn hash_of(info: &SubjectPublicKeyInfo<'_>) -> [u8; 32] {
    digest(&SHA256, info.raw)
        .as_ref()
        .try_into()
        .expect("SHA-256 has 32 bytes")
}

fn team_of(info: &SubjectPublicKeyInfo<'_>) -> TeamId {
    let hash = Digest::of(info.raw);
    TeamId(*hash.0.first_chunk().expect("16 of 32 bytes"))
}

fn parse_certificate(der: &[u8]) -> Result<X509Certificate<'_>, CertError> {
    if DER_BYTES_MAX < der.len() {
        return Err(CertError::Malformed);
    }
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| CertError::Malformed)?;
    if rest.is_empty() {
        Ok(certificate)
    } else {
        Err(CertError::Malformed)
    }
}

/// SHA-256 of the public key in a certificate (DER), to compare with what a token pins, and the team that an
/// authority with this key is the root of.
pub fn public_key_hash(certificate: &[u8]) -> Result<([u8; 32], TeamId), CertError> {
    let certificate = parse_certificate(certificate)?;
    Ok((
        hash_of(certificate.public_key()),
        team_of(certificate.public_key()),
    ))
}

/// Why a certificate is nobody's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertError {
    /// It belongs to an authority.
    #[error("the certificate belongs to an authority")]
    Authority,
    /// It does not name exactly one identity of ours.
    #[error("the certificate does not name exactly one identity")]
    Identity,
    /// Its key is not an Ed25519 key.
    #[error("the certificate's key is not an Ed25519 key")]
    Key,
    /// It is not a readable certificate.
    #[error("the certificate cannot be read")]
    Malformed,
    /// It does not say what it may be used for, or more than TLS.
    #[error("the certificate is not for TLS alone")]
    Usage,
}

/// What a leaf certificate says; whether a trusted authority says so, the TLS library has checked before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertIdentity {
    /// The team.
    pub team: TeamId,
    /// What it may do.
    pub role: Role,
    /// Identity key.
    pub peer: PeerId,
    /// Holds from, in seconds since 1970.
    pub not_before_s: u64,
    /// Holds until, in seconds since 1970.
    pub not_after_s: u64,
    /// Whether it may prove the end that dials.
    pub may_dial: bool,
    /// Whether it may prove the end that answers.
    pub may_answer: bool,
    /// TLS key.
    pub public_key: [u8; 32],
    /// Serial number, big-endian.
    pub serial: Vec<u8>,
}

impl CertIdentity {
    /// Reads a leaf certificate; the common name is not looked at.
    pub fn from_der(der: &[u8]) -> Result<Self, CertError> {
        let certificate = parse_certificate(der)?;
        let constraints = certificate
            .basic_constraints()
            .map_err(|_| CertError::Malformed)?;
        if constraints.is_some_and(|constraints| constraints.value.ca) {
            return Err(CertError::Authority);
        }
        let (may_dial, may_answer) = tls_usage(&certificate)?;
        let (team, role, peer) = sole_identity(&certificate)?;
        let validity = certificate.validity();
        let time_s = |s: i64| u64::try_from(s).map_err(|_| CertError::Malformed);
        Ok(Self {
            team,
            role,
            peer,
            not_before_s: time_s(validity.not_before.timestamp())?,
            not_after_s: time_s(validity.not_after.timestamp())?,
            may_dial,
            may_answer,
            public_key: ed25519_key(certificate.public_key())
                .ok_or(CertError::Key)?
                .0,
            serial: certificate.raw_serial().to_vec(),
        })
    }

    /// Whether it holds at `now_s` (seconds since 1970), both ends included.
    pub fn holds_at(&self, now_s: u64) -> bool {
        self.not_before_s <= now_s && now_s <= self.not_after_s
    }

    /// When to renew, in seconds since 1970: at half of its life.
    pub fn renew_at_s(&self) -> u64 {
        self.not_before_s + self.not_after_s.saturating_sub(self.not_before_s) / 2
    }
}

// spec: identity/2.6
fn tls_usage(certificate: &X509Certificate<'_>) -> Result<(bool, bool), CertError> {
    let key_usage = certificate.key_usage().map_err(|_| CertError::Malformed)?;
    if key_usage.is_none_or(|usage| usage.value.flags != 1) {
        // Bit 0 is digitalSignature; any other bit, certificate signing above all, is not for us.
        return Err(CertError::Usage);
    }
    let extended = certificate
        .extended_key_usage()
        .map_err(|_| CertError::Malformed)?;
    let usage = extended.ok_or(CertError::Usage)?.value;
    let has_more = usage.any
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    if has_more || !(usage.client_auth || usage.server_auth) {
        return Err(CertError::Usage);
    }
    Ok((usage.client_auth, usage.server_auth))
}

// spec: identity/2.2
fn sole_identity(certificate: &X509Certificate<'_>) -> Result<(TeamId, Role, PeerId), CertError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| CertError::Identity)?;
    match names.map(|names| names.value.general_names.as_slice()) {
        Some([GeneralName::URI(uri)]) => parse_identity(uri).ok_or(CertError::Identity),
        _ => Err(CertError::Identity),
    }
}

fn parse_identity(uri: &str) -> Option<(TeamId, Role, PeerId)> {
    let mut parts = uri.strip_prefix("aura://")?.split('/');
    let team = parts.next()?.parse().ok()?;
    let role = Role::from_word(parts.next()?)?;
    let peer: PeerId = parts.next()?.parse().ok()?;
    // Comparing the text refuses a second spelling and anything left over.
    let is_canonical = identity_uri(team, role, peer) == uri;
    (is_canonical && !has_small_order(&peer.0)).then_some((team, role, peer))
}

#[cfg(test)]
#[path = "cert_tests.rs"]
mod tests;
