//! The only clock.
//!
//! Invariants:
//! - the monotonic reading never goes back;
//! - where the system offers it, the reading counts the time that a machine was suspended: a lease that ended
//!   while a laptop slept has ended.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads time; a copy continues the same count.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Duration,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self {
            started: since_boot(),
        }
    }

    /// Milliseconds since the start.
    pub fn mono_ms(&self) -> u64 {
        let elapsed = since_boot().saturating_sub(self.started);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    /// The instant of a monotonic reading, for timers; a reading that is past means now.
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn at(&self, mono_ms: u64) -> Instant {
        let now = Instant::now();
        let wait = Duration::from_millis(mono_ms.saturating_sub(self.mono_ms()));
        now.checked_add(wait).unwrap_or(now)
    }

    /// Milliseconds since 1970; may jump.
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn wall_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Time since the machine started, suspended or not.
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

/// Time since the process first asked.
#[cfg(not(target_os = "linux"))]
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
fn since_boot() -> Duration {
    static FIRST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    FIRST.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_never_go_back_and_a_past_reading_means_now() {
        let clock = Clock::start();
        let first = clock.mono_ms();
        let early = clock.at(0);
        assert!(first <= clock.mono_ms());
        assert!(early <= clock.at(first + 60_000));
        assert!(clock.at(u64::MAX) <= clock.at(u64::MAX) + Duration::from_secs(1));
    }
}
