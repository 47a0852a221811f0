//! Identifiers as distinct types, so that none can stand where another belongs.
//!
//! Invariants:
//! - an identifier is a fixed number of bytes; its text form is lower-case base32 without padding;
//! - a [`PeerId`] *is* the peer's Ed25519 verifying key: no look-up stands between a name and a proof.

use std::{fmt, str::FromStr};

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier of {expected_bytes} bytes in base32")]
pub struct ParseIdError {
    /// How many bytes the identifier has.
    pub expected_bytes: usize,
}

/// The base32 alphabet of RFC 4648 in lower case, without padding.
pub fn base32() -> &'static Encoding {
    static ENCODING: std::sync::OnceLock<Encoding> = std::sync::OnceLock::new();
    ENCODING.get_or_init(|| {
        let mut spec = Specification::new();
        spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        spec.translate.from.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        spec.translate.to.push_str("abcdefghijklmnopqrstuvwxyz");
        spec.encoding()
            .expect("the alphabet above is a valid base32 alphabet")
    })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Length in bytes.
            pub const BYTES: usize = $bytes;

            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// The first eight characters of the text form, for people.
            pub fn short(&self) -> String {
                self.to_string()[..8].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base32().encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let error = ParseIdError { expected_bytes: $bytes };
                let bytes = base32().decode(text.as_bytes()).map_err(|_| error.clone())?;
                bytes.try_into().map(Self).map_err(|_| error)
            }
        }
    };
}

id!(
    /// A team: the first 16 bytes of the BLAKE3 hash of its certificate authority's public key.
    TeamId,
    16
);
id!(
    /// A log: one per repository (keyed hash of its root commit) and one for the team's own affairs.
    LogId,
    16
);
id!(
    /// A peer (a device): its Ed25519 verifying key.
    PeerId,
    32
);
id!(
    /// A BLAKE3 hash of 32 bytes.
    Digest,
    32
);

impl Digest {
    /// The hash before the first entry of any chain.
    pub const ZERO: Self = Self([0; 32]);

    /// Hashes `bytes` with BLAKE3.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl LogId {
    /// The log of the team's own affairs: membership, keys, messages, zones.
    pub const TEAM: Self = Self([0; 16]);

    /// The log of the repository whose oldest parentless commit is `root_commit` (hex text).
    ///
    /// The hash is keyed by the team, so that two teams cannot recognise that they share a repository.
    pub fn of_repository(team: TeamId, root_commit: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("aura/v1/log-of-repository");
        hasher.update(&team.0);
        hasher.update(root_commit.as_bytes());
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }
}

/// Which life of a peer's disk wrote an entry; changes when a restored backup would reuse numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// The author of a contiguous run of entries: a peer in one of its incarnations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Writer {
    /// The signing peer.
    pub peer: PeerId,
    /// Which life of its disk.
    pub incarnation: Incarnation,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_text_form_reads_back() {
        let id = PeerId([7; 32]);
        assert_eq!(id.to_string().parse::<PeerId>().unwrap(), id);
        assert_eq!(id.to_string().to_uppercase().parse::<PeerId>().unwrap(), id);
    }

    #[test]
    fn a_text_of_another_length_is_refused() {
        assert!(PeerId([7; 32]).to_string().parse::<TeamId>().is_err());
        assert!("not base32!".parse::<TeamId>().is_err());
    }

    #[test]
    fn two_teams_cannot_recognise_a_shared_repository() {
        let root = "4b1e9d";
        assert_ne!(
            LogId::of_repository(TeamId([1; 16]), root),
            LogId::of_repository(TeamId([2; 16]), root)
        );
    }
}
