//! What an entry of a zone says: leases on files and units, in words that the Mothership can compare and not read.
//!
//! A zone is a claim in the log of its repository; its fence is the position of that claim. Who holds what follows from
//! the log alone: the Mothership and every device fold the same entries by the same rules.
//!
//! Invariants:
//! - places are named by keyed hashes of each prefix, so that whether one holds another can be seen, and what it is not;
//! - whatever else is said is sealed for members.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    codec::{self, DecodeError},
    limits::{PATH_COMPONENTS_MAX, ZONE_DETAILS_BYTES_MAX, ZONE_PLACES_MAX, ZONE_TTL_MS_MAX},
};

/// A keyed hash: of a branch, of a path or one of its prefixes, or of a unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tag(pub [u8; 16]);

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({:02x}{:02x})", self.0[0], self.0[1])
    }
}

/// A file, a directory or a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// What it is in, from the outermost directory on.
    pub above: Vec<Tag>,
    /// It.
    pub own: Tag,
}

impl Place {
    /// Whether `other` is this place, or in it.
    pub fn holds(&self, other: &Self) -> bool {
        self.own == other.own || other.above.contains(&self.own)
    }

    /// Whether one of two places holds the other.
    pub fn meets(&self, other: &Self) -> bool {
        self.holds(other) || other.holds(self)
    }
}

/// What a zone does to the changes of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ZoneMode {
    /// They are told.
    Warn,
    /// Their changes there do not count.
    Block,
}

/// Bytes that only members open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The team key that sealed them.
    pub key_epoch: u32,
    /// As `patch/3` seals a body, for this place in the log.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// The body of an entry of kind ZONE; not sealed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ZoneBody {
    /// Its author wants a zone.
    Claim {
        /// What it does to the changes of others.
        mode: ZoneMode,
        /// The branch that it is for; none for all.
        branch: Option<Tag>,
        /// What it covers.
        places: Vec<Place>,
        /// How long it lasts after the last change of its holder in it, in milliseconds.
        ttl_ms: u64,
        /// Whether zones of others that are in the way end with it.
        takes: bool,
        /// What it covers and why, in words.
        details: Sealed,
    },
    /// A zone is over: its holder says so, or the Mothership, whose clock decides.
    End {
        /// Which.
        fence: u64,
    },
    /// Its holder wants a zone to last for so long from now on.
    Extend {
        /// Which.
        fence: u64,
        /// In milliseconds.
        ttl_ms: u64,
    },
    /// Its author asks the holder of a zone for it.
    Ask {
        /// Which.
        fence: u64,
        /// In words.
        details: Sealed,
    },
    /// The holder answers; a zone that is granted is the asker's from this entry on.
    Answer {
        /// Position of the question.
        ask: u64,
        /// Whether it is granted.
        grants: bool,
        /// In words.
        details: Sealed,
    },
}

/// What a zone covers and why, as members read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneDetails {
    /// Each place, as its holder named it.
    pub covers: Vec<Covered>,
    /// The branch; none for all.
    pub branch: Option<String>,
    /// Why, or what is asked or answered.
    pub text: String,
}

/// One place of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    /// The file or directory.
    pub path: String,
    /// A unit of the file: its id and its name.
    pub unit: Option<([u8; 16], String)>,
}

impl ZoneBody {
    /// The bytes of the body.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads what [`ZoneBody::encode`] wrote, as far as an honest device writes it.
    // spec: zones/1.3
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body: Self = codec::decode(bytes)?;
        let is_sound = match &body {
            Self::Claim {
                places,
                ttl_ms,
                details,
                ..
            } => {
                let is_place = |place: &Place| place.above.len() <= PATH_COMPONENTS_MAX + 1;
                (1..=ZONE_PLACES_MAX).contains(&places.len())
                    && places.iter().all(is_place)
                    && (1..=ZONE_TTL_MS_MAX).contains(ttl_ms)
                    && details.is_sound()
            }
            Self::Extend { ttl_ms, .. } => (1..=ZONE_TTL_MS_MAX).contains(ttl_ms),
            Self::Ask { details, .. } | Self::Answer { details, .. } => details.is_sound(),
            Self::End { .. } => true,
        };
        is_sound.then_some(body).ok_or(DecodeError::Malformed)
    }
}

impl Sealed {
    fn is_sound(&self) -> bool {
        self.bytes.len() <= ZONE_DETAILS_BYTES_MAX
    }
}

impl ZoneDetails {
    /// The bytes that are sealed.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads what [`ZoneDetails::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }
}
