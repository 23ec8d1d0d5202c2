//! Limits on the places of a deployment beside its configuration: the number that it was seen to
//! take, and the pauses that it asks for.

use std::time::Instant;

use contract::Side;

use super::pressure::{Pressure, Room};

/// The limits on places beside the configured one.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) pressure: Pressure,
    /// The end of a pause that the deployment asked for. Until then no place is given: a request
    /// that waits would take one, and be turned away again and again.
    paused: Option<Instant>,
}

impl Limits {
    pub(super) fn new(side: Side, jitter: fn() -> f64) -> Self {
        Self { pressure: Pressure::new(side, jitter), paused: None }
    }

    /// True if nothing limits the deployment but its configuration.
    pub(super) fn is_none(&self) -> bool {
        self.paused.is_none() && self.pressure.is_none()
    }

    /// Gives no place before then.
    pub(super) fn pause(&mut self, until: Instant) {
        self.paused = self.paused.max(Some(until));
    }

    /// The places for requests while `out` of them are taken.
    pub(super) fn room(&mut self, out: u32, max: u32, now: Instant) -> Room {
        self.paused.take_if(|until| *until <= now);
        match self.paused {
            Some(until) => Room { limit: 0, opens: Some(until), trial: false },
            None => self.pressure.room(out, max, now),
        }
    }
}
