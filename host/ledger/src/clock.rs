//! The time of budgets: that of the machine, or that of a simulation.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Says what time it is.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The clock of the machine.
    #[default]
    Machine,
    /// Microseconds since 1970, which a simulation sets.
    Set(Arc<AtomicI64>),
}

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::Machine => Timestamp::now(),
            Self::Set(time) => {
                let time = Timestamp::from_microsecond(time.load(Ordering::Relaxed));
                time.unwrap_or(Timestamp::MAX)
            }
        }
    }
}
