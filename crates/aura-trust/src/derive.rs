//! Keys out of secrets: HKDF-SHA256.
//!
//! Invariants:
//! - every use names its purpose in `info`, so that no two uses of one secret give the same bytes.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};

/// HKDF-SHA256 with one output of `N` bytes, at most 255 × 32.
pub(crate) fn derive<const N: usize>(secret: &[u8], salt: &[u8], info: &[&[u8]]) -> [u8; N] {
    struct Len(usize);
    impl KeyType for Len {
        fn len(&self) -> usize {
            self.0
        }
    }
    const { assert!(N <= 255 * 32) };
    let mut out = [0; N];
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(info, Len(N))
        .and_then(|okm| okm.fill(&mut out))
        .expect("the output length is within what HKDF gives and equals the buffer");
    out
}
