//! Tokens and certificates that no honest program makes.
//!
//! Invariant: everything is signed by keys that a test holds; no check of the product is called to make them.

use std::{path::Path, sync::Arc, time::Duration};

use aura_net::Credentials;
use aura_proto::{PeerId, TeamId, message::Role};
use aura_trust::{Ca, IdentityKey, JoinClaims, Subject, TlsKey, make_join_jwt};
use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::BASE64URL_NOPAD;
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::Value;

/// The header that every honest invite has.
pub const HEADER: &str = r#"{"alg":"EdDSA","typ":"join+jwt"}"#;

/// A JWT of any header and payload, signed by whoever.
pub fn jwt(signer: &IdentityKey, header: &str, payload: &str) -> String {
    let input = unsigned(header, payload);
    let pair = Ed25519KeyPair::from_seed_unchecked(&*signer.to_bytes())
        .expect("every 32 bytes are the seed of an Ed25519 key");
    let signature = pair.sign(input.as_bytes());
    format!("{input}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

/// The part of a JWT that its signature covers.
pub fn unsigned(header: &str, payload: &str) -> String {
    [header, payload]
        .map(|text| BASE64URL_NOPAD.encode(text.as_bytes()))
        .join(".")
}

/// The payload of an honest invite, as an object to change.
pub fn payload(signer: &IdentityKey, claims: &JoinClaims) -> Value {
    let jwt = make_join_jwt(signer, claims);
    let payload = jwt.split('.').nth(1).unwrap_or_default();
    let json = BASE64URL_NOPAD.decode(payload.as_bytes());
    serde_json::from_slice(&json.unwrap_or_default()).unwrap_or(Value::Null)
}

/// The authority of a Mothership, read from its state directory.
pub fn authority(state: &Path) -> Ca {
    let read = |file| std::fs::read_to_string(state.join(file)).expect("the state is complete");
    Ca::from_pem(&read("ca.pem"), &read("ca.key")).expect("the state is good")
}

/// The identity of a Mothership, read from its state directory.
pub fn mothership_key(state: &Path) -> IdentityKey {
    let seed = std::fs::read(state.join("mothership.key")).expect("the state is complete");
    IdentityKey::from_seed(seed.try_into().expect("a key has 32 bytes"))
}

/// What an odd certificate says; [`Odd::of`] is one that would pass.
pub struct Odd {
    /// Names, each a URI.
    pub names: Vec<String>,
    /// Common name.
    pub common_name: String,
    /// Seconds since 1970.
    pub valid_s: (u64, u64),
    /// What it may be used for.
    pub usages: Vec<ExtendedKeyUsagePurpose>,
    /// Whether it claims to be an authority.
    pub is_ca: bool,
}

impl Odd {
    /// What policy says of a peer, valid for the hour before and after `now_s`.
    pub fn of(team: TeamId, role: Role, peer: PeerId, now_s: u64) -> Self {
        Self {
            names: vec![format!("aura://{team}/{}/{peer}", role.as_str())],
            common_name: "odd".to_owned(),
            valid_s: (now_s - 3_600, now_s + 3_600),
            usages: vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ],
            is_ca: false,
        }
    }

    fn params(&self) -> CertificateParams {
        let at = |s| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(s);
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (at(self.valid_s.0), at(self.valid_s.1));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, self.common_name.clone());
        let name = |uri: &String| SanType::URI(uri.as_str().try_into().expect("names are ASCII"));
        params.subject_alt_names = self.names.iter().map(name).collect();
        params.is_ca = if self.is_ca {
            IsCa::Ca(rcgen::BasicConstraints::Unconstrained)
        } else {
            IsCa::ExplicitNoCa
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if self.is_ca {
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        }
        params.extended_key_usages.clone_from(&self.usages);
        params
    }

    /// Signed by `ca`, for the TLS key of the holder.
    pub fn signed_by(&self, ca: &Ca, tls: &TlsKey) -> Credentials {
        let issuer = KeyPair::from_pem(&ca.key_pem()).expect("an authority's key is readable");
        let issuer = Issuer::from_ca_cert_der(ca.certificate(), issuer)
            .expect("an authority's certificate is readable");
        let certificate = self.params().signed_by(&pair(tls), &issuer);
        let certificate = certificate.expect("the parameters have an encoding");
        credentials(certificate.der().to_vec(), ca.certificate().to_vec(), tls)
    }

    /// Signed by its own key.
    pub fn self_signed(&self, tls: &TlsKey) -> Credentials {
        let certificate = self.params().self_signed(&pair(tls));
        let certificate = certificate
            .expect("the parameters have an encoding")
            .der()
            .to_vec();
        credentials(certificate.clone(), certificate, tls)
    }
}

/// A certificate as the authority issues it, whatever the Mothership would say to that.
pub fn issued(ca: &Ca, role: Role, peer: PeerId, tls: &TlsKey, now_s: u64) -> Credentials {
    let subject = Subject {
        team: ca.team(),
        role,
        peer,
        name: "issued".to_owned(),
    };
    let certificate = ca.issue(&tls.csr(), &subject, [5; 16], now_s, 3_600);
    let certificate = certificate.expect("the request holds");
    credentials(certificate, ca.certificate().to_vec(), tls)
}

fn pair(tls: &TlsKey) -> KeyPair {
    KeyPair::try_from(&tls.pkcs8()[..]).expect("a TLS key is readable")
}

fn credentials(certificate: Vec<u8>, ca: Vec<u8>, tls: &TlsKey) -> Credentials {
    Credentials {
        certificate,
        ca,
        key: Arc::new(tls.pkcs8()),
    }
}
