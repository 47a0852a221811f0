//! Time and randomness of the daemon.

use aura_engine::Now;
pub(crate) use aura_net::Clock;
use jiff::Timestamp;

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes, or nothing is safe");
    bytes
}

/// This moment, for machines.
pub(crate) fn now(clock: Clock) -> Now {
    Now {
        mono_ms: clock.mono_ms(),
        wall_ms: clock.wall_ms(),
    }
}

/// A moment for documents.
pub(crate) fn rfc3339(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}
