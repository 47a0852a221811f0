//! Moments of the past as people write them: `2h`, `14:19`, `2026-11-20`, `2026-11-20T14:19`, or with a zone.
//!
//! Invariant: a moment without a zone is in the user's; one that cannot be read is refused, never guessed.

use std::time::Duration;

use aura_api::At;
use jiff::{Timestamp, civil, tz::TimeZone};

use crate::duration;

/// A text is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write how long ago, such as 2h, or a time such as 14:19, 2026-11-20 or 2026-11-20T14:19")]
pub(crate) struct MomentError;

/// A moment, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// So long before now.
    Ago(Duration),
    /// At this point of time.
    At(Timestamp),
    /// On this day at this time, in the user's zone.
    Local(civil::DateTime),
    /// The last time that clocks showed this, in the user's zone.
    OfDay(civil::Time),
}

/// A moment of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum When {
    /// Right behind an operation.
    Op(String),
    /// At a position of the log.
    Seq(u64),
    /// At a point of time.
    Moment(Moment),
}

/// Reads a point of time.
pub(crate) fn parse_time(text: &str) -> Result<Moment, MomentError> {
    if let Ok(ago) = duration::parse(text) {
        return Ok(Moment::Ago(ago));
    }
    if let Ok(at) = text.parse() {
        return Ok(Moment::At(at));
    }
    if let Ok(local) = text.parse() {
        return Ok(Moment::Local(local));
    }
    text.parse().map(Moment::OfDay).map_err(|_| MomentError)
}

/// Reads an operation, a position of the log, or a point of time.
pub(crate) fn parse(text: &str) -> Result<When, MomentError> {
    if text.starts_with("o-") {
        return Ok(When::Op(text.to_owned()));
    }
    match text.parse() {
        Ok(seq) => Ok(When::Seq(seq)),
        Err(_) => parse_time(text).map(When::Moment),
    }
}

impl Moment {
    /// The point of time, in milliseconds since 1970.
    pub(crate) fn ms(self, now: Timestamp) -> u64 {
        let zone = TimeZone::system();
        let at = match self {
            Self::Ago(ago) => {
                let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                return u64::try_from(now.as_millisecond().saturating_sub(ago)).unwrap_or(0);
            }
            Self::At(at) => Some(at),
            Self::Local(local) => zone.to_timestamp(local).ok(),
            Self::OfDay(time) => {
                let today = zone.to_datetime(now).date();
                let at = |day: civil::Date| zone.to_timestamp(day.to_datetime(time)).ok();
                let today_at = at(today).filter(|at| *at <= now);
                today_at.or_else(|| at(today.yesterday().ok()?))
            }
        };
        at.and_then(|at| u64::try_from(at.as_millisecond()).ok())
            .unwrap_or(0)
    }
}

impl When {
    /// As requests carry it.
    pub(crate) fn at(self, now: Timestamp) -> At {
        match self {
            Self::Op(op) => At::Op(op),
            Self::Seq(seq) => At::Seq(seq),
            Self::Moment(moment) => At::TimeMs(moment.ms(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now: Timestamp = "2026-11-20T13:05:11Z".parse().unwrap();
        let ms = |text: &str| parse_time(text).unwrap().ms(now);
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond() as u64;
        assert_eq!(ms("2h"), at("2026-11-20T11:05:11Z"));
        assert_eq!(ms("2026-11-20T11:05:11Z"), at("2026-11-20T11:05:11Z"));
        assert_eq!(ms("2026-11-20T12:05:11+01:00"), at("2026-11-20T11:05:11Z"));
        let local = |text: &str| {
            let local: civil::DateTime = text.parse().unwrap();
            TimeZone::system()
                .to_timestamp(local)
                .unwrap()
                .as_millisecond() as u64
        };
        assert_eq!(ms("2026-11-19"), local("2026-11-19T00:00:00"));
        assert_eq!(ms("2026-11-19T14:19"), local("2026-11-19T14:19:00"));
        // Never in the future.
        let of_day = |text: &str| ms(text) <= at("2026-11-20T13:05:11Z");
        assert!(of_day("00:00") && of_day("14:19") && of_day("23:59"));
        assert!(at("2026-11-19T13:05:11Z") < ms("14:19"));
    }

    #[test]
    fn an_operation_a_position_and_a_time_are_told_apart() {
        assert_eq!(parse("o-7f5p"), Ok(When::Op("o-7f5p".to_owned())));
        assert_eq!(parse("57"), Ok(When::Seq(57)));
        let two_hours = Moment::Ago(Duration::from_secs(7_200));
        assert_eq!(parse("2h"), Ok(When::Moment(two_hours)));
        for text in ["", "yesterday", "-1", "2026-13-01", "25:00", "c-12"] {
            assert_eq!(parse(text), Err(MomentError), "{text:?}");
        }
    }
}
