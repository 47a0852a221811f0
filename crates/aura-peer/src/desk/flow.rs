//! How the changes of others come in, for whoever wants to see it.
//!
//! Invariant: it is counted as things happen and kept in memory; nothing is asked of anybody for it.

use std::collections::VecDeque;

/// Deliveries of which the delay is kept.
const DELAYS_MAX: usize = 64;
/// What was stored longer ago was not on its way: it waited for this device.
const ON_ITS_WAY_MS: u64 = 60_000;

/// What came of one log since the daemon runs.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// How far the Mothership's clock is ahead of this one, in milliseconds, as it said when the link began.
    pub(crate) ahead_ms: i64,
    pub(crate) received: u64,
    /// Milliseconds since 1970.
    pub(crate) last_ms: Option<u64>,
    delays_ms: VecDeque<u64>,
}

impl Flow {
    /// An entry that the Mothership stored at `time_ms` is durable here.
    pub(super) fn delivered(&mut self, wall_ms: u64, time_ms: u64) {
        self.received += 1;
        self.last_ms = Some(wall_ms);
        let there_ms = wall_ms.saturating_add_signed(self.ahead_ms);
        let delay_ms = there_ms.saturating_sub(time_ms);
        if delay_ms < ON_ITS_WAY_MS {
            self.delays_ms.push_back(delay_ms);
        }
        if DELAYS_MAX < self.delays_ms.len() {
            self.delays_ms.pop_front();
        }
    }

    /// How long the last deliveries took from the Mothership's disk to this one, in milliseconds: half of them less.
    pub(crate) fn delay_p50_ms(&self) -> Option<u64> {
        let mut delays: Vec<u64> = self.delays_ms.iter().copied().collect();
        delays.sort_unstable();
        delays.get(delays.len().saturating_sub(1) / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_is_by_the_clock_of_the_mothership_and_old_entries_have_none() {
        let mut flow = Flow {
            ahead_ms: -5_000,
            ..Flow::default()
        };
        for delay_ms in [10, 20, 900] {
            flow.delivered(1_000_000 + delay_ms, 995_000);
        }
        flow.delivered(1_000_000, 1_000);
        assert_eq!((flow.received, flow.last_ms), (4, Some(1_000_000)));
        assert_eq!(flow.delay_p50_ms(), Some(20));
        (0..1_000).for_each(|_| flow.delivered(1_000_000, 994_997));
        assert_eq!(flow.delay_p50_ms(), Some(3));
        assert_eq!(flow.delays_ms.len(), DELAYS_MAX);
    }
}
