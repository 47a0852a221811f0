//! The only clock.
//!
//! Invariant: the monotonic reading never goes back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts counting.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Milliseconds since the start.
    pub fn mono_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The instant of a monotonic reading, for timers.
    pub fn at(&self, mono_ms: u64) -> Instant {
        self.start + Duration::from_millis(mono_ms)
    }

    /// Milliseconds since 1970; may jump.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn wall_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
