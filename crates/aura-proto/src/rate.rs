//! How often something may happen.

/// Counts what happens within fixed spans of time, in milliseconds of one clock.
#[derive(Debug, Clone)]
pub struct RateWindow {
    span_ms: u64,
    count_max: u32,
    started_ms: u64,
    count: u32,
}

impl RateWindow {
    /// Lets `count_max` through in each span.
    pub const fn new(span_ms: u64, count_max: u32) -> Self {
        Self {
            span_ms,
            count_max,
            started_ms: 0,
            count: 0,
        }
    }

    /// Whether one more would be let through now.
    pub fn has_room(&mut self, now_ms: u64) -> bool {
        if self.span_ms <= now_ms.saturating_sub(self.started_ms) {
            (self.started_ms, self.count) = (now_ms, 0);
        }
        self.count < self.count_max
    }

    /// Counts one more, if it is let through; whether it is.
    pub fn takes(&mut self, now_ms: u64) -> bool {
        let has_room = self.has_room(now_ms);
        self.count += u32::from(has_room);
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_allowed_are_let_through_in_each_span() {
        let mut window = RateWindow::new(1_000, 2);
        assert_eq!([0, 1, 999].map(|at| window.takes(at)), [true, true, false]);
        assert!(!window.has_room(999) && window.has_room(1_000));
        assert_eq!(
            [1_000, 1_001, 1_002].map(|at| window.takes(at)),
            [true, true, false]
        );
        // A clock that stands still, or runs back, lets nothing more through.
        assert!(!window.takes(500));
    }
}
