//! Durations as people write them: `500ms`, `30s`, `5m`, `24h`, `2d`, `1h30m`.
//!
//! Invariant: a number without a unit, a sign or an overflow is refused, never guessed.

use std::time::Duration;

use aura_proto::limits::{LEAF_TTL_S, TOKEN_TTL_S_MAX};

/// A text is not a duration, or not one that is allowed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DurationError {
    /// Longer than allowed.
    #[error("longer than {max_s} seconds")]
    Long {
        /// Longest allowed.
        max_s: u64,
    },
    /// Not a number with a unit.
    #[error("write a number with a unit, such as 500ms, 90s, 24h or 2d")]
    Shape,
    /// Shorter than allowed.
    #[error("shorter than {min_ms} milliseconds")]
    Short {
        /// Shortest allowed.
        min_ms: u64,
    },
}

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
/// Longest duration that is read: ten years.
const MS_MAX: u64 = 3_650 * 86_400_000;

/// Reads a duration of any length.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let mut rest = text;
    let mut total_ms = 0_u64;
    while !rest.is_empty() {
        let (ms, after) = piece(rest)?;
        total_ms = total_ms.saturating_add(ms);
        rest = after;
    }
    if text.is_empty() {
        return Err(DurationError::Shape);
    }
    if MS_MAX < total_ms {
        return Err(DurationError::Long {
            max_s: MS_MAX / 1_000,
        });
    }
    Ok(Duration::from_millis(total_ms))
}

/// Reads how long an invite lives: one second to seven days.
pub(crate) fn parse_ttl(text: &str) -> Result<Duration, DurationError> {
    within(
        parse(text)?,
        Duration::from_secs(1),
        Duration::from_secs(TOKEN_TTL_S_MAX),
    )
}

/// Reads the pace of a link: 10 milliseconds to a day.
pub(crate) fn parse_pace(text: &str) -> Result<Duration, DurationError> {
    within(
        parse(text)?,
        Duration::from_millis(10),
        Duration::from_secs(86_400),
    )
}

/// Reads how long a device's certificate lives: one second to seven days, which bounds how stale a removal can be.
pub(crate) fn parse_leaf_life(text: &str) -> Result<Duration, DurationError> {
    within(
        parse(text)?,
        Duration::from_secs(1),
        Duration::from_secs(LEAF_TTL_S),
    )
}

/// Reads how long to wait; zero looks once.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, DurationError> {
    if text == "0" {
        Ok(Duration::ZERO)
    } else {
        parse(text)
    }
}

/// Milliseconds, as requests carry them.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn within(duration: Duration, min: Duration, max: Duration) -> Result<Duration, DurationError> {
    if duration < min {
        return Err(DurationError::Short {
            min_ms: millis(min),
        });
    }
    if max < duration {
        return Err(DurationError::Long {
            max_s: max.as_secs(),
        });
    }
    Ok(duration)
}

fn piece(text: &str) -> Result<(u64, &str), DurationError> {
    let digits = text
        .find(|sign: char| !sign.is_ascii_digit())
        .ok_or(DurationError::Shape)?;
    let (number, rest) = text.split_at(digits);
    let letters = rest
        .find(|sign: char| !sign.is_ascii_alphabetic())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    let (_, unit_ms) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or(DurationError::Shape)?;
    let number: u64 = number.parse().map_err(|_| DurationError::Shape)?;
    Ok((number.saturating_mul(*unit_ms), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let table = [
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
            ("2d", 172_800_000),
            ("1h30m", 5_400_000),
            ("0s", 0),
        ];
        for (text, ms) in table {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "", "0", "5", "-1", "-1s", "s", "1.5h", "1 h", "1w", "1h 2m", "١s", "1S",
        ] {
            assert_eq!(parse(text), Err(DurationError::Shape), "{text:?}");
        }
        assert!(parse("99999999999999999999d").is_err());
        assert!(parse("18446744073709551615d").is_err());
    }

    // case_17
    #[test]
    fn an_invite_lives_between_a_second_and_seven_days() {
        for text in ["0", "-1", "999d", "0s", "999ms", "604801s", "8d"] {
            assert!(parse_ttl(text).is_err(), "{text}");
        }
        for text in ["1s", "90s", "24h", "2d", "7d"] {
            assert!(parse_ttl(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_wait_of_nothing_and_a_pace_of_nothing_differ() {
        assert_eq!(parse_timeout("0"), Ok(Duration::ZERO));
        assert!(parse_pace("0ms").is_err());
        assert!(parse_pace("500ms").is_ok());
    }
}
