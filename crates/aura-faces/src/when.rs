//! Moments as people say them.
//!
//! Invariant: a moment that cannot be read is shown as it came, escaped.

use jiff::{Timestamp, tz::TimeZone};

use crate::escape;

/// How long before `now` something was: `9 s ago`, `3 min ago`, `2 h ago`, `4 d ago`.
pub(crate) fn ago(moment: &str, now: Timestamp) -> String {
    match moment.parse::<Timestamp>() {
        Err(_) => escape::line(moment),
        Ok(at) => match now.as_second().saturating_sub(at.as_second()) {
            seconds if seconds < 0 => format!("in {}", span(seconds.unsigned_abs())),
            0 => "now".to_owned(),
            seconds => format!("{} ago", span(seconds.unsigned_abs())),
        },
    }
}

/// How long until a moment, or `ended … ago`.
pub(crate) fn until(moment: &str, now: Timestamp) -> String {
    match moment.parse::<Timestamp>() {
        Err(_) => escape::line(moment),
        Ok(at) if now <= at => {
            format!(
                "in {}",
                span(
                    at.as_second()
                        .saturating_sub(now.as_second())
                        .unsigned_abs()
                )
            )
        }
        Ok(_) => format!("ended {}", ago(moment, now)),
    }
}

/// The time of day in the user's zone, `14:02:07`.
pub(crate) fn clock(moment: &str) -> String {
    match moment.parse::<Timestamp>() {
        Err(_) => escape::line(moment),
        Ok(at) => at
            .to_zoned(TimeZone::system())
            .strftime("%H:%M:%S")
            .to_string(),
    }
}

/// A length of time in its largest fitting unit.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn moments_are_told_from_now() {
        let now: Timestamp = "2026-11-20T13:05:11Z".parse().unwrap();
        assert_eq!(ago("2026-11-20T13:05:11Z", now), "now");
        assert_eq!(ago("2026-11-20T13:02:07Z", now), "3 min ago");
        assert_eq!(ago("2026-11-20T13:05:02Z", now), "9 s ago");
        assert_eq!(ago("2026-11-18T13:05:11Z", now), "2 d ago");
        assert_eq!(until("2026-11-21T13:05:11Z", now), "in 24 h");
        assert_eq!(until("2026-11-20T12:05:11Z", now), "ended 60 min ago");
        assert_eq!(ago("\x1b[2J", now), "\\u{1b}[2J");
    }
}
