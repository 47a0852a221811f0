//! Certificates for those who do not make their own: the compared server, and TLS without a server.

use std::{fs, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, client::Resumption, crypto::CryptoProvider,
    server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::Failure;

/// An authority, and one certificate for both ends.
pub(crate) struct Pki {
    ca_pem: String,
    leaf_pem: String,
    key_pem: String,
}

impl Pki {
    pub(crate) fn new() -> Result<Self, Failure> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate()?;
        let ca_pem = params.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate()?;
        let leaf =
            CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &issuer)?;
        Ok(Self {
            ca_pem,
            leaf_pem: leaf.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// Writes `ca.pem`, `leaf.pem` and `key.pem`.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), Failure> {
        fs::write(dir.join("ca.pem"), &self.ca_pem)?;
        fs::write(dir.join("leaf.pem"), &self.leaf_pem)?;
        fs::write(dir.join("key.pem"), &self.key_pem)?;
        Ok(())
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca_pem.as_bytes())?)?;
        Ok(Arc::new(roots))
    }

    fn leaf(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
        let leaf = CertificateDer::from_pem_slice(self.leaf_pem.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())?;
        Ok((vec![leaf], key))
    }

    /// TLS 1.3, shows its certificate and wants one, never resumes.
    pub(crate) fn client(&self) -> Result<ClientConfig, Failure> {
        let (leaf, key) = self.leaf()?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(leaf, key)?;
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// The other end of [`Pki::client`].
    pub(crate) fn server(&self) -> Result<ServerConfig, Failure> {
        let (leaf, key) = self.leaf()?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots()?, provider()).build()?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(leaf, key)?;
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
