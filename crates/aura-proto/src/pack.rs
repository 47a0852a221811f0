//! Compression of bodies before they are sealed; what is sealed cannot be compressed any more.
//!
//! Invariants:
//! - the first byte names the format: [`FORMAT_BINCODE`] as it is, [`FORMAT_ZSTD`] a zstd frame of such bytes;
//! - output is read in steps and refused at the cap, whatever a frame claims or however well it packs.
// spec: patch/1.5

use std::io::Read;

use crate::{
    codec::{DecodeError, FORMAT_BINCODE},
    limits::MESSAGE_BYTES_MAX,
};

/// Format byte of a zstd frame (RFC 8878) that holds bytes of another format.
pub const FORMAT_ZSTD: u8 = 2;

/// Below this many bytes a frame's own overhead eats what it saves.
const WORTH_BYTES: usize = 200;
/// Level 1 packs source code to a third at some 300 MB/s; higher levels cost a save more than they save a link.
const LEVEL: i32 = 1;
/// Largest window that a frame may ask for, as a power of two: the message cap.
const WINDOW_LOG_MAX: u32 = MESSAGE_BYTES_MAX.ilog2();

/// Packs encoded bytes when that makes them smaller; what nobody would unpack stays as it is.
pub fn pack(plain: Vec<u8>) -> Vec<u8> {
    if plain.len() < WORTH_BYTES || MESSAGE_BYTES_MAX < plain.len() {
        return plain;
    }
    let Ok(frame) = zstd::encode_all(&plain[..], LEVEL) else {
        return plain;
    };
    if plain.len() <= frame.len() + 1 {
        return plain;
    }
    let mut packed = Vec::with_capacity(frame.len() + 1);
    packed.push(FORMAT_ZSTD);
    packed.extend_from_slice(&frame);
    packed
}

/// Unpacks what [`pack`] made.
///
/// Errors: `TooLarge` past [`MESSAGE_BYTES_MAX`], `Malformed` for a broken frame, `UnknownFormat`.
pub fn unpack(packed: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
    let format = packed.first().copied().unwrap_or(0);
    match format {
        FORMAT_BINCODE if packed.len() <= MESSAGE_BYTES_MAX => return Ok(packed),
        FORMAT_BINCODE => return Err(DecodeError::TooLarge),
        FORMAT_ZSTD => {}
        format => return Err(DecodeError::UnknownFormat { format }),
    }
    let mut decoder =
        zstd::Decoder::with_buffer(&packed[1..]).map_err(|_| DecodeError::Malformed)?;
    decoder
        .window_log_max(WINDOW_LOG_MAX)
        .map_err(|_| DecodeError::Malformed)?;
    let mut plain = Vec::new();
    decoder
        .take(MESSAGE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|_| DecodeError::Malformed)?;
    if MESSAGE_BYTES_MAX < plain.len() {
        return Err(DecodeError::TooLarge);
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_packed_comes_back_and_source_shrinks() {
        let source = [
            &[FORMAT_BINCODE][..],
            &b"    let score = cap.min(a);\n".repeat(40),
        ]
        .concat();
        let packed = pack(source.clone());
        assert!(packed.len() * 3 < source.len());
        assert_eq!(unpack(packed).unwrap(), source);
    }

    #[test]
    fn what_does_not_shrink_stays_as_it_is() {
        let short = vec![FORMAT_BINCODE, 7];
        assert_eq!(pack(short.clone()), short);
        assert_eq!(unpack(short.clone()).unwrap(), short);
    }

    #[test]
    fn case_039_a_frame_that_unpacks_to_a_gibibyte_is_too_large_at_the_cap() {
        let mut packed = vec![FORMAT_ZSTD];
        let zeros = std::io::repeat(0).take(1 << 30);
        zstd::stream::copy_encode(zeros, &mut packed, 19).unwrap();
        assert!(packed.len() < 1 << 20);
        assert_eq!(unpack(packed), Err(DecodeError::TooLarge));
    }

    #[test]
    fn broken_frames_are_malformed() {
        let packed = pack([&[FORMAT_BINCODE][..], &[b'x'; 1_000]].concat());
        for len in 1..packed.len() {
            assert_eq!(
                unpack(packed[..len].to_vec()),
                Err(DecodeError::Malformed),
                "{len}"
            );
        }
        assert_eq!(
            unpack(vec![9, 9]),
            Err(DecodeError::UnknownFormat { format: 9 })
        );
    }
}
