//! Signs of other gateways or users at the same engine.

use std::time::{Duration, Instant};

use contract::Side;

/// Time that a deployment counts as shared after a refusal that others caused.
const SHARED: Duration = Duration::from_secs(60);
/// Most jitter of a wait, as a part of it.
const JITTER: f64 = 0.1;
/// The same at a shared deployment: gateways in step would never find the places that the others
/// yield.
const JITTER_SHARED: f64 = 0.5;

/// Knows whether others use one deployment, and spreads waits so that gateways do not try in step.
#[derive(Debug)]
pub(super) struct Sharing {
    pub(super) side: Side,
    /// The last refusal that others caused.
    refused: Option<Instant>,
    /// Returns jitter from -1 to 1: gateways that share an engine must not try together.
    jitter: fn() -> f64,
}

impl Sharing {
    pub(super) fn new(side: Side, jitter: fn() -> f64) -> Self {
        Self { side, refused: None, jitter }
    }

    /// Notes a refusal that others caused: they fill the engine.
    pub(super) fn crowded_out(&mut self, now: Instant) {
        self.refused = Some(now);
    }

    /// True if a local deployment is used by others, too.
    pub(super) fn is_shared(&self, now: Instant) -> bool {
        self.side == Side::Local
            && self.refused.is_some_and(|at| now.saturating_duration_since(at) < SHARED)
    }

    /// A wait of about `time`.
    pub(super) fn jittered(&self, time: Duration, now: Instant) -> Duration {
        let most = if self.is_shared(now) { JITTER_SHARED } else { JITTER };
        time.mul_f64(1.0 + most * (self.jitter)().clamp(-1.0, 1.0))
    }
}
