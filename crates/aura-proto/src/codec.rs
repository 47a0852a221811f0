//! bincode behind one module: frame payloads and rows of views, never what is signed or hashed.
//!
//! Invariants:
//! - the first byte names the format, so that another codec can follow without a flag day;
//! - decoding is bounded by [`MESSAGE_BYTES_MAX`] and refuses bytes left over;
//! - wire types are plain enums and structs that only grow at their end.

use bincode::config::{self, Config};
use serde::{Serialize, de::DeserializeOwned};

use crate::limits::MESSAGE_BYTES_MAX;

/// Format byte of bincode 2 in its standard configuration.
pub const FORMAT_BINCODE: u8 = 1;

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not decode as the expected type.
    #[error("the bytes are not of the expected type")]
    Malformed,
    /// Bytes were left over after the value.
    #[error("{count} bytes left over")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// The value is larger than a message may be.
    #[error("over the limit of {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
    /// The format byte names no known format.
    #[error("unknown format {format}")]
    UnknownFormat {
        /// The byte found, 0 when there was none.
        format: u8,
    },
}

// spec: framing/3.7
fn bounded() -> impl Config {
    config::standard().with_limit::<{ MESSAGE_BYTES_MAX }>()
}

/// Encodes `value`, format byte first.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT_BINCODE];
    bincode::serde::encode_into_std_write(value, &mut bytes, config::standard())
        .expect("wire types are plain enums and structs, and writing to memory cannot fail");
    bytes
}

/// Decodes a whole value and nothing but the value.
// spec: framing/2.11, framing/3.1
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let Some((&format, rest)) = bytes.split_first() else {
        return Err(DecodeError::UnknownFormat { format: 0 });
    };
    if format != FORMAT_BINCODE {
        return Err(DecodeError::UnknownFormat { format });
    }
    let (value, consumed) =
        bincode::serde::decode_from_slice(rest, bounded()).map_err(|_| DecodeError::Malformed)?;
    if consumed != rest.len() {
        return Err(DecodeError::Trailing {
            count: rest.len() - consumed,
        });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_value_reads_back() {
        let value = (7u64, "text".to_owned(), vec![1u8, 2, 3]);
        assert_eq!(
            decode::<(u64, String, Vec<u8>)>(&encode(&value)).unwrap(),
            value
        );
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let mut bytes = encode(&7u64);
        bytes.push(0);
        assert_eq!(
            decode::<u64>(&bytes),
            Err(DecodeError::Trailing { count: 1 })
        );
    }

    #[test]
    fn a_declared_length_beyond_the_cap_allocates_nothing() {
        // A bincode length of 2^63 in front of five bytes.
        let bytes = [FORMAT_BINCODE, 253, 0, 0, 0, 0, 0, 0, 0, 128, 1, 2, 3, 4, 5];
        assert_eq!(decode::<Vec<u8>>(&bytes), Err(DecodeError::Malformed));
    }

    #[test]
    fn an_unknown_format_is_named() {
        assert_eq!(
            decode::<u64>(&[9, 0]),
            Err(DecodeError::UnknownFormat { format: 9 })
        );
    }
}
