//! The clock and the random numbers of events that no caller brings about: a freed place, the end
//! of a wait, the jitter of a pause.

use std::time::Instant;

/// The time now. Inside a runtime whose clock is paused, as in tests and in the simulation, it is the
/// time of that clock.
#[must_use]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Jitter from -1 to 1, at random.
pub(super) fn jitter() -> f64 {
    rand::random::<f64>() * 2.0 - 1.0
}
