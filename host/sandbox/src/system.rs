//! Time and chance of the system.

use std::time::{SystemTime, UNIX_EPOCH};

use config::TimeZone;
use contract::{Moment, Surroundings};

/// The system's time in a zone, and random numbers.
#[derive(Debug, Clone, Default)]
pub struct System {
    zone: TimeZone,
}

impl System {
    /// The system's time in this zone.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self { zone }
    }
}

impl Surroundings for System {
    fn now(&self) -> Moment {
        // A clock before 1970 is wrong anyway.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let milliseconds = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        Moment { milliseconds, offset: self.zone.offset(milliseconds) }
    }

    fn draw(&self) -> f64 {
        rand::random()
    }
}
