//! Time and chance, as strategies see them.

use std::fmt::Debug;

/// A moment, as strategies are told it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since 1970-01-01 00:00 UTC.
    pub milliseconds: u64,
    /// Minutes that the configured time zone is ahead of UTC at that moment.
    pub offset: i32,
}

/// Where strategies get time and chance from: the system, or a simulation that can be run again.
pub trait Surroundings: Debug + Send + Sync {
    /// Now.
    fn now(&self) -> Moment;

    /// A random number from 0 to below 1.
    fn draw(&self) -> f64;
}
