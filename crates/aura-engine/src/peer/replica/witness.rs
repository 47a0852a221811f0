//! What the history of a log was at its last positions, to compare with what others verified.
//!
//! Nobody but the Mothership gives places, so two devices that verified different histories were shown different ones.

use std::collections::VecDeque;

use aura_proto::Digest;

/// Positions that are remembered: what others were shown in the last minutes, and 40 KB for each log.
pub const WITNESSED_MAX: usize = 1_024;

/// The running hashes of the newest positions.
#[derive(Debug, Default)]
pub(super) struct Witness(VecDeque<(u64, Digest)>);

impl Witness {
    /// The history has come to this.
    pub(super) fn note(&mut self, seq: u64, hash: Digest) {
        if WITNESSED_MAX <= self.0.len() {
            self.0.pop_front();
        }
        self.0.push_back((seq, hash));
    }

    /// Whether another one's head is on this history; nothing where that cannot be told.
    pub(super) fn agrees(&self, seq: u64, hash: Digest) -> Option<bool> {
        let first = self.0.front()?.0;
        let at = usize::try_from(seq.checked_sub(first)?).ok()?;
        let (known, own) = self.0.get(at)?;
        (*known == seq).then_some(*own == hash)
    }
}
