//! How busy a deployment is and how its recent attempts went: atomics, shared by all cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Weight of the newest observation in the moving averages: about the last twenty count.
const ALPHA: f64 = 0.1;

/// Live numbers of one deployment.
#[derive(Debug)]
pub struct Load {
    created: SystemTime,
    in_flight: AtomicU32,
    /// Milliseconds as the bits of an `f64`; NaN before the first answer.
    latency: AtomicU64,
    /// 0 to 1 as the bits of an `f64`.
    error_rate: AtomicU64,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            created: SystemTime::now(),
            in_flight: AtomicU32::new(0),
            latency: AtomicU64::new(f64::NAN.to_bits()),
            error_rate: AtomicU64::new(0f64.to_bits()),
        }
    }
}

impl Load {
    /// Counts one attempt in until the guard is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// When the deployment was first configured.
    #[must_use]
    pub fn created(&self) -> SystemTime {
        self.created
    }

    /// Attempts under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Moving average of the time to first byte in milliseconds; None before the first.
    #[must_use]
    pub fn latency(&self) -> Option<f64> {
        let value = f64::from_bits(self.latency.load(Ordering::Relaxed));
        (!value.is_nan()).then_some(value)
    }

    /// Moving average of failed attempts, 0 to 1.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        f64::from_bits(self.error_rate.load(Ordering::Relaxed))
    }

    /// Takes the time to first byte of one attempt.
    pub fn record_first_byte(&self, time: Duration) {
        average(&self.latency, time.as_secs_f64() * 1e3);
    }

    /// Takes how one attempt ended. What a client did wrong is no failure of the deployment.
    pub fn record_outcome(&self, failed: bool) {
        average(&self.error_rate, f64::from(u8::from(failed)));
    }
}

fn average(cell: &AtomicU64, new: f64) {
    let step = |bits| {
        let old = f64::from_bits(bits);
        let next = if old.is_nan() { new } else { old + ALPHA * (new - old) };
        Some(next.to_bits())
    };
    // The closure never refuses, so neither does this.
    let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
}

/// One attempt under way: counted until dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Load>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
