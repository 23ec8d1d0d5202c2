//! The clock by which windows of the calendar begin.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// A clock that tells the time of the calendar.
#[derive(Debug, Clone, Copy, Default)]
pub enum Wall {
    /// That of the machine.
    #[default]
    Machine,
    /// A simulated one, on which the year 1970 begins at this moment.
    Since(Instant),
}

impl Wall {
    /// The time at `now`.
    pub(super) fn at(self, now: Instant) -> Timestamp {
        match self {
            Self::Machine => Timestamp::now(),
            Self::Since(start) => {
                let passed: Duration = now.saturating_duration_since(start);
                let seconds = i64::try_from(passed.as_secs()).unwrap_or(i64::MAX);
                let nanos = i32::try_from(passed.subsec_nanos()).unwrap_or_default();
                Timestamp::new(seconds, nanos).unwrap_or(Timestamp::MAX)
            }
        }
    }
}
