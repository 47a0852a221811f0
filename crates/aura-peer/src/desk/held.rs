//! Why a saved file, or a part of it, does not travel.

use std::fmt;

use aura_tree::root::FILE_BYTES_MAX;

use super::claim::zone_name;

/// Why something is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// It is no text.
    Binary,
    /// It is a symbolic link, or below one.
    Link,
    /// It is too large to be shared.
    TooLarge,
    /// Somebody has to settle first what becomes of a deleted file of that name.
    Orphaned,
    /// Somebody else's zone blocks it.
    Zone(u64),
    /// Publishing is paused.
    Paused,
    /// Anything else, in words.
    Other(String),
}

impl Held {
    /// Whether it is held back for what it is, not for what it holds.
    pub(crate) fn is_left_out(&self) -> bool {
        matches!(self, Self::Binary | Self::Link | Self::TooLarge)
    }
}

impl From<&str> for Held {
    fn from(why: &str) -> Self {
        Self::Other(why.to_owned())
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary => f.write_str("UNSUPPORTED_ENCODING: it holds a NUL, so it is no text"),
            Self::Link => {
                f.write_str("LINK: it is a symbolic link, or below one; links are not shared")
            }
            Self::TooLarge => {
                write!(f, "TOO_LARGE: it is larger than {} MiB", FILE_BYTES_MAX >> 20)
            }
            Self::Orphaned => f.write_str(
                "CONFLICT: it was deleted while others worked in it; aura conflicts shows what to settle first",
            ),
            Self::Zone(fence) => {
                let name = zone_name(*fence);
                write!(f, "{name} of somebody else blocks it; see: aura zone list")
            }
            Self::Paused => f.write_str("publishing is paused; aura resume goes on"),
            Self::Other(why) => f.write_str(why),
        }
    }
}
