//! Keys, certificate and team of this device, on disk.
//!
//! Invariants:
//! - keys are made here, once, owner-only, and never leave; a damaged one is an error, never replaced;
//! - the team key ring is replaced whole or not at all;
//! - the genesis is the one of the invite or the first that was accepted, and stays.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use aura_api::{Exit, Failure, shell_operand};
use aura_engine::peer::control::Leaf;
use aura_net::Credentials;
use aura_proto::{Digest, PeerId, TeamId, codec, limits::LEAF_BACKDATE_S, message::Role};
use aura_store::{FileError, SecretFile, ensure_private_dir, sweep_temporaries, write_atomic};
use aura_trust::{CertIdentity, IdentityKey, KeyRing, ReceiveKey, Root, TlsKey};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{chain, clock::random};

/// The team as this device joined it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Enrolment {
    pub(crate) team: TeamId,
    pub(crate) team_name: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) endpoints: Vec<String>,
    pub(crate) checkpoint_key: PeerId,
    pub(crate) ca_hash: [u8; 32],
    #[serde(with = "serde_bytes")]
    pub(crate) ca: Vec<u8>,
    #[serde(with = "serde_bytes")]
    pub(crate) certificate: Vec<u8>,
    pub(crate) founder: bool,
}

/// Keys and enrolment.
pub(crate) struct Identity {
    dir: PathBuf,
    pub(crate) key: IdentityKey,
    pub(crate) receive: ReceiveKey,
    pub(crate) tls: TlsKey,
    pub(crate) enrolment: Option<Enrolment>,
    pub(crate) ring: KeyRing,
    /// Hash of the team's genesis, once it is known.
    pub(crate) genesis: Option<Digest>,
}

impl Identity {
    /// Opens the identity of a home, making keys at the very first start.
    pub(crate) fn open(home: &Path) -> Result<Self, Failure> {
        let dir = home.join("identity");
        ensure_private_dir(&dir).map_err(|error| failure(&error, &dir))?;
        sweep_temporaries(&dir).map_err(|error| failure(&error, &dir))?;
        let seed = |file: &str| seed(&dir.join(file));
        let key = IdentityKey::from_seed(seed("peer.key")?);
        let receive = ReceiveKey::from_seed(seed("receive.key")?);
        let tls = TlsKey::from_seed(seed("tls.key")?);
        let enrolment = match std::fs::read(dir.join("team")) {
            Ok(bytes) => {
                Some(codec::decode(&bytes).map_err(|error| damaged(&dir.join("team"), &error))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(&dir.join("team"), &error)),
        };
        let genesis_file = dir.join("genesis");
        let genesis = match std::fs::read(&genesis_file) {
            Ok(bytes) => {
                let hash = codec::decode(&bytes);
                Some(hash.map_err(|error| damaged(&genesis_file, &error))?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(&genesis_file, &error)),
        };
        let ring_file = dir.join("ring.key");
        let has_ring = ring_file.try_exists();
        let ring = if has_ring.map_err(|error| unreadable(&ring_file, &error))? {
            let bytes = SecretFile::new(&ring_file)
                .read()
                .map_err(|error| failure(&error, &ring_file))?;
            KeyRing::from_bytes(&bytes).map_err(|error| damaged(&ring_file, &error))?
        } else {
            KeyRing::new()
        };
        Ok(Self {
            dir,
            key,
            receive,
            tls,
            enrolment,
            ring,
            genesis,
        })
    }

    /// A second handle on the identity key, for a machine that signs.
    pub(crate) fn key_again(&self) -> IdentityKey {
        IdentityKey::from_seed(*self.key.to_bytes())
    }

    pub(crate) fn save_enrolment(&mut self, enrolment: Enrolment) -> Result<(), Failure> {
        let path = self.dir.join("team");
        write_atomic(&path, &codec::encode(&enrolment), 0o600)
            .map_err(|error| failure(&error, &path))?;
        self.enrolment = Some(enrolment);
        Ok(())
    }

    /// Keeps the hash of the genesis: no other one counts from now on.
    pub(crate) fn save_genesis(&mut self, genesis: Digest) -> Result<(), Failure> {
        let path = self.dir.join("genesis");
        write_atomic(&path, &codec::encode(&genesis), 0o600)
            .map_err(|error| failure(&error, &path))?;
        self.genesis = Some(genesis);
        Ok(())
    }

    /// Takes what an invite says about the team; without a word about it, the first genesis that holds will count.
    pub(crate) fn begin_trust(&mut self, handed: Option<(Digest, KeyRing)>) -> Result<(), Failure> {
        let Some((genesis, ring)) = handed else {
            let path = self.dir.join("genesis");
            self.genesis = None;
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(unreadable(&path, &error))
                }
                Ok(()) | Err(_) => Ok(()),
            };
        };
        self.ring = ring;
        self.save_ring()?;
        self.save_genesis(genesis)
    }

    /// Where the trust in the team's log begins.
    pub(crate) fn root(&self) -> Root {
        let is_founder = self.enrolment.as_ref().is_some_and(|own| own.founder);
        match self.genesis {
            Some(genesis) => Root::Genesis(genesis),
            None if is_founder => Root::Founder(self.key.peer()),
            None => Root::Any,
        }
    }

    pub(crate) fn save_ring(&self) -> Result<(), Failure> {
        let path = self.dir.join("ring.key");
        write_atomic(&path, &self.ring.to_bytes(), 0o600).map_err(|error| failure(&error, &path))
    }

    /// The certificate in use, once enrolled, and how a fresh one is asked for.
    pub(crate) fn leaf(&self) -> Option<Leaf> {
        let certificate = &self.enrolment.as_ref()?.certificate;
        let leaf = CertIdentity::from_der(certificate).ok()?;
        Some(Leaf {
            issued_s: leaf.not_before_s + LEAF_BACKDATE_S,
            ends_s: leaf.not_after_s,
            csr: self.tls.csr(),
        })
    }

    /// What TLS needs, once enrolled.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        let enrolment = self.enrolment.as_ref()?;
        Some(Credentials {
            certificate: enrolment.certificate.clone(),
            ca: enrolment.ca.clone(),
            key: Arc::new(self.tls.pkcs8()),
        })
    }
}

fn seed(path: &Path) -> Result<[u8; 32], Failure> {
    let file = SecretFile::new(path);
    if !path.exists() {
        match file.create(&random::<32>()) {
            Ok(()) | Err(FileError::Exists { .. }) => {}
            Err(error) => return Err(failure(&error, path)),
        }
    }
    let bytes = file.read().map_err(|error| failure(&error, path))?;
    bytes[..].try_into().map_err(|_| {
        let message = format!(
            "{} does not hold a key; it is not made anew",
            path.display()
        );
        Failure::new("AE-KEY-DAMAGED", Exit::INTEGRITY, message).next(
            "restore the file from a backup",
            "or remove it and ask for a new invite",
        )
    })
}

/// A document of the daemon's; none yet is an empty one, and nothing else is.
pub(crate) fn read_json<T: Default + DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| unreadable(path, &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> Failure {
    let message = format!("{} cannot be read: {}", path.display(), chain(error));
    Failure::new("AE-STORAGE", Exit::STORAGE, message).next(
        "restore the file from a backup",
        "or remove it to begin anew",
    )
}

fn damaged(path: &Path, error: &dyn std::error::Error) -> Failure {
    let message = format!("{} is damaged: {}", path.display(), chain(error));
    Failure::new("AE-KEY-DAMAGED", Exit::INTEGRITY, message)
        .next("restore the file from a backup", "or ask for a new invite")
}

/// A file error as users meet it.
pub(crate) fn failure(error: &FileError, path: &Path) -> Failure {
    match error {
        FileError::UnsafePermissions { path, .. } => {
            let message = format!("{error}: {} must be yours alone", path.display());
            Failure::new("AE-UNSAFE", Exit::UNSAFE, message).next(
                format!("chmod go-rwx {}", shell_operand(path.display())),
                "nobody else may read it",
            )
        }
        FileError::Locked { .. } => {
            let message = format!("another daemon has {}", path.display());
            Failure::new("LOCKED", Exit::LOCKED, message).next("aura down", "stop the other one")
        }
        _ => Failure::new(
            "AE-STORAGE",
            Exit::STORAGE,
            format!("{}: {}", path.display(), chain(error)),
        ),
    }
}
