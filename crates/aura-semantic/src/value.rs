//! The small values that travel: unit ids, content hashes, byte texts.
//!
//! Invariants:
//! - bytes are carried as they are; nothing here decodes or normalises them;
//! - ids and hashes are hexadecimal in human-readable formats and plain bytes elsewhere.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Bytes reserved before any has arrived, when a sequence announces its length.
const RESERVE_MAX: usize = 4096;

/// The text was not the hexadecimal form of an id or hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} hexadecimal digits")]
pub struct ParseHexError {
    /// Digits the form has.
    pub digits: usize,
}

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseHexError;

            fn from_str(text: &str) -> Result<Self, ParseHexError> {
                let mut bytes = [0; $length];
                read_hex(text.as_bytes(), &mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(de::Error::custom)
                } else {
                    Ok(Self(<[u8; $length]>::deserialize(deserializer)?))
                }
            }
        }
    };
}

fixed_bytes! {
    /// Names one unit for its whole life, through renames and moves.
    UnitId, 16
}

fixed_bytes! {
    /// BLAKE3 hash of some content.
    ContentHash, 32
}

impl ContentHash {
    /// Hashes plain bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

fn read_hex(digits: &[u8], bytes: &mut [u8]) -> Result<(), ParseHexError> {
    let wrong = ParseHexError {
        digits: bytes.len().saturating_mul(2),
    };
    if digits.len() != wrong.digits {
        return Err(wrong);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(wrong);
    for (pair, byte) in digits.chunks_exact(2).zip(bytes) {
        let value = digit(pair[0])? * 16 + digit(pair[1])?;
        *byte = u8::try_from(value).map_err(|_| wrong)?;
    }
    Ok(())
}

/// A run of bytes of a file, in whatever encoding the file has.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(pub Vec<u8>);

impl Text {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Text, E> {
        Ok(Text(bytes.to_vec()))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Text, E> {
        Ok(Text(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Text, A::Error> {
        let mut bytes = Vec::with_capacity(sequence.size_hint().unwrap_or(0).min(RESERVE_MAX));
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        Ok(Text(bytes))
    }
}

/// The text that is a unit's own: all of it for a leaf; what stands before its members and what
/// stands after them for a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OwnText {
    /// The whole text of a leaf, or a container's text up to and with its opening.
    pub head: Text,
    /// A container's closing; `None` for a leaf.
    pub foot: Option<Text>,
}

impl OwnText {
    /// The own text of a unit without members.
    pub fn leaf(bytes: &[u8]) -> Self {
        Self {
            head: bytes.into(),
            foot: None,
        }
    }

    /// Head and foot as one text, each beginning on a line of its own.
    pub fn flat(&self) -> Vec<u8> {
        let mut flat = self.head.bytes().to_vec();
        if let Some(foot) = &self.foot {
            if !flat.is_empty() && !flat.ends_with(b"\n") {
                flat.push(b'\n');
            }
            flat.extend_from_slice(foot.bytes());
        }
        flat
    }

    /// The hash by which versions of a unit are told apart: for a leaf the plain hash of its
    /// bytes.
    pub fn hash(&self) -> ContentHash {
        own_hash(self.head.bytes(), self.foot.as_ref().map(Text::bytes))
    }
}

/// Hashes own content: see [`OwnText::hash`].
pub(crate) fn own_hash(head: &[u8], foot: Option<&[u8]>) -> ContentHash {
    let Some(foot) = foot else {
        return ContentHash::of(head);
    };
    let mut hasher = blake3::Hasher::new_derive_key("aura-semantic container own content 1");
    hasher.update(&(head.len() as u64).to_le_bytes());
    hasher.update(head);
    hasher.update(foot);
    ContentHash(*hasher.finalize().as_bytes())
}
