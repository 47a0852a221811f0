//! What travels between devices and the real `mothership`, and what does not have to.
//!
//! Numbers are those of the capabilities.

#![allow(clippy::unwrap_used, missing_docs)]

mod bulk;
mod contract;
mod fan_out;
mod negotiate;
mod reconcile;

/// xorshift64: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn shuffle<T>(&mut self, rows: &mut [T]) {
        for last in (1..rows.len()).rev() {
            rows.swap(last, self.below(last + 1));
        }
    }
}
