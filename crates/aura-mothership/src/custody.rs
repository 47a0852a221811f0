//! The state directory: the CA, the Mothership's own keys, and who may look at them.
//!
//! Invariants:
//! - every secret is owner-only and refused when it is not; a damaged one is an error, never replaced;
//! - a directory belongs to one running Mothership.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use aura_api::{Exit, Failure, shell_operand};
use aura_net::Credentials;
use aura_proto::{TeamId, message::Role};
use aura_store::{
    FileError, FileLock, SecretFile, ensure_private_dir, lock_exclusive, sweep_temporaries,
    write_atomic,
};
use aura_trust::{Ca, CaError, IdentityKey, Subject, TlsKey};
use zeroize::Zeroizing;

use crate::bridge::{random, unix_seconds};

/// Life of the Mothership's own certificate; it is issued anew at each start, and at half of this.
pub(crate) const SERVER_TTL_S: u64 = 365 * 24 * 3_600;

/// Everything secret that the Mothership holds. It never holds a team key.
pub(crate) struct Custody {
    /// The certificate authority.
    pub(crate) ca: Ca,
    /// Signs checkpoints and box-made invites.
    pub(crate) key: IdentityKey,
    /// The TLS key.
    pub(crate) tls: TlsKey,
    /// The team.
    pub(crate) team: TeamId,
    /// The team's name, as written at the first start.
    pub(crate) team_name: String,
    dir: PathBuf,
    _lock: FileLock,
}

impl Custody {
    /// Opens the state directory, making it at the very first start.
    pub(crate) fn open(dir: &Path, name: Option<&str>) -> Result<Self, Failure> {
        ensure_private_dir(dir).map_err(|error| failure(&error, dir))?;
        let lock = lock_exclusive(&dir.join("lock")).map_err(|error| failure(&error, dir))?;
        sweep_temporaries(dir).map_err(|error| failure(&error, dir))?;
        let name_file = dir.join("team-name");
        let ca_file = dir.join("ca.pem");
        let is_new = !ca_file.exists() && !dir.join("wal").exists();
        if is_new {
            write_new(dir, name.unwrap_or("team"), &name_file, &ca_file)?;
        }
        let secret = |file: &str| seed(&dir.join(file));
        let certificate_pem = std::fs::read_to_string(&ca_file)
            .map_err(|error| damaged(&ca_file, &error.to_string()))?;
        let ca_key_file = dir.join("ca.key");
        let ca = Ca::from_pem(&certificate_pem, &pem(&ca_key_file)?)
            .map_err(|error| damaged(&ca_key_file, &error.to_string()))?;
        let key = IdentityKey::from_seed(*secret("mothership.key")?);
        let tls = TlsKey::from_seed(*secret("tls.key")?);
        let team = ca.team();
        let team_name = std::fs::read_to_string(&name_file)
            .map_err(|error| damaged(&name_file, &error.to_string()))?;
        Ok(Self {
            ca,
            key,
            tls,
            team,
            team_name,
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    /// What TLS needs, with a certificate of the Mothership's own that begins now.
    pub(crate) fn credentials(&self) -> Result<Credentials, Failure> {
        let subject = Subject {
            team: self.team,
            role: Role::Mothership,
            peer: self.key.peer(),
            name: self.team_name.clone(),
        };
        let (csr, now_s) = (self.tls.csr(), unix_seconds());
        let certificate = self
            .ca
            .issue(&csr, &subject, random(), now_s, SERVER_TTL_S)
            .map_err(|error| damaged(&self.dir.join("ca.pem"), &error.to_string()))?;
        Ok(Credentials {
            certificate,
            ca: self.ca.certificate().to_vec(),
            key: Arc::new(self.tls.pkcs8()),
        })
    }

    /// Where the log is.
    pub(crate) fn wal_dir(&self) -> PathBuf {
        self.dir.join("wal")
    }
}

fn write_new(dir: &Path, name: &str, name_file: &Path, ca_file: &Path) -> Result<(), Failure> {
    let unusable = |error: CaError| damaged(ca_file, &error.to_string());
    let key_file = dir.join("ca.key");
    let new = Ca::create(random(), random(), unix_seconds(), name).map_err(unusable)?;
    create(&key_file, new.key_pem().as_bytes())?;
    for file in ["mothership.key", "tls.key"] {
        create(&dir.join(file), &Zeroizing::new(random::<32>())[..])?;
    }
    write_atomic(name_file, name.as_bytes(), 0o600).map_err(|error| failure(&error, name_file))?;
    // The key may be that of an earlier attempt.
    let ca = Ca::certify(&pem(&key_file)?, random(), unix_seconds(), name).map_err(unusable)?;
    // Last, because its presence says that the directory is complete.
    write_atomic(ca_file, ca.certificate_pem().as_bytes(), 0o600)
        .map_err(|error| failure(&error, ca_file))
}

/// A key file of an attempt that did not get to its end is kept: it was never used.
fn create(path: &Path, secret: &[u8]) -> Result<(), Failure> {
    match SecretFile::new(path).create(secret) {
        Ok(()) | Err(FileError::Exists { .. }) => Ok(()),
        Err(error) => Err(failure(&error, path)),
    }
}

fn pem(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let bytes = SecretFile::new(path)
        .read()
        .map_err(|error| failure(&error, path))?;
    let text = str::from_utf8(&bytes).map_err(|_| damaged(path, "it is not a PEM file"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn seed(path: &Path) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let bytes = SecretFile::new(path)
        .read()
        .map_err(|error| failure(&error, path))?;
    let seed: [u8; 32] = bytes[..]
        .try_into()
        .map_err(|_| damaged(path, "it does not have the length of a key"))?;
    Ok(Zeroizing::new(seed))
}

fn damaged(path: &Path, why: &str) -> Failure {
    let message = format!(
        "{} cannot be used: {why}; it is not made anew",
        path.display()
    );
    Failure::new("AE-KEY-DAMAGED", Exit::INTEGRITY, message).next(
        "mothership backup restore FILE",
        "the file is needed as it was",
    )
}

/// A file error as users meet it.
pub(crate) fn failure(error: &FileError, path: &Path) -> Failure {
    match error {
        FileError::Locked { path } => {
            let message = format!(
                "another mothership runs on this directory ({})",
                path.display()
            );
            Failure::new("LOCKED", Exit::LOCKED, message)
                .next("mothership status", "see the one that runs")
        }
        FileError::UnsafePermissions { path, .. } => {
            let message = format!("{error}: {} must be yours alone", path.display());
            Failure::new("AE-UNSAFE", Exit::UNSAFE, message).next(
                format!("chmod go-rwx {}", shell_operand(path.display())),
                "nobody else may read it",
            )
        }
        _ => {
            let mut message = format!("{error} ({})", path.display());
            if let Some(cause) = std::error::Error::source(error) {
                message = format!("{message}: {cause}");
            }
            Failure::new("AE-STORAGE", Exit::STORAGE, message)
        }
    }
}
