//! How busy a deployment is and how its recent attempts went. Atomics, shared by all cores.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use contract::Candidate;

/// A failure enters the average latency with at least this time, and at least twice the average, so
/// that a deployment that fails fast does not look fast. Finagle's peak-EWMA balancer has the same
/// aim: there a bad answer counts at once, and a good one slowly.
const PENALTY: Duration = Duration::from_secs(5);
/// Upper limit of twice the average, so that repeated failures do not double it without end.
const WORST: Duration = Duration::from_secs(600);
/// A latency observed longer ago than this is ignored: a deployment that gets no traffic because it
/// was slow deserves another try. (Finagle's peak-EWMA decays for the same reason.)
const STALE: Duration = Duration::from_secs(60);
/// Weight of the newest observation in the moving averages: about the last twenty count.
const ALPHA: f64 = 0.1;

/// Live numbers of one deployment.
#[derive(Debug)]
pub struct Load {
    created: SystemTime,
    in_flight: AtomicU32,
    /// Milliseconds as the bits of an `f64`; NaN before the first answer.
    latency: AtomicU64,
    /// Time of the last latency observation, in milliseconds on the caller's clock.
    observed: AtomicU64,
    /// 0 to 1 as the bits of an `f64`.
    error_rate: AtomicU64,
    /// True if the last attempt that was evidence about the deployment failed.
    failing: AtomicBool,
    ejections: AtomicU64,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            created: SystemTime::now(),
            in_flight: AtomicU32::new(0),
            latency: AtomicU64::new(f64::NAN.to_bits()),
            observed: AtomicU64::new(0),
            error_rate: AtomicU64::new(0f64.to_bits()),
            failing: AtomicBool::new(false),
            ejections: AtomicU64::new(0),
        }
    }
}

impl Load {
    /// Counts one attempt in until the guard is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.begin();
        InFlight(Arc::clone(self))
    }

    /// Counts one attempt in. The caller must call [`end`](Self::end) once.
    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one attempt out.
    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// When the deployment was first configured.
    #[must_use]
    pub fn created(&self) -> SystemTime {
        self.created
    }

    /// Attempts in flight.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Moving average of the time to first byte in milliseconds, with a penalty for each failure.
    /// None before the first observation.
    #[must_use]
    pub fn latency(&self) -> Option<f64> {
        let value = f64::from_bits(self.latency.load(Ordering::Relaxed));
        (!value.is_nan()).then_some(value)
    }

    /// Like [`latency`](Self::latency), but None if nothing was observed in the minute before `now`
    /// on the caller's clock.
    #[must_use]
    pub fn recent_latency(&self, now: Duration) -> Option<f64> {
        let observed = Duration::from_millis(self.observed.load(Ordering::Relaxed));
        self.latency().filter(|_| now.saturating_sub(observed) < STALE)
    }

    /// Moving average of the share of failed attempts, 0 to 1.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        f64::from_bits(self.error_rate.load(Ordering::Relaxed))
    }

    /// True if the last attempt that was evidence about the deployment failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Records the time to first byte of one attempt, observed at `now` on the caller's clock.
    pub fn record_first_byte(&self, time: Duration, now: Duration) {
        average(&self.latency, time.as_secs_f64() * 1e3);
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.observed.store(now, Ordering::Relaxed);
    }

    /// Records an attempt that was cancelled after `time` without a first byte. `now` is on the
    /// caller's clock.
    pub fn record_unanswered(&self, time: Duration, now: Duration) {
        let is_slow = self.latency().is_none_or(|average| time.as_secs_f64() * 1e3 > average);
        if is_slow {
            self.record_first_byte(time, now);
        }
    }

    /// Records an attempt that ended well. Its time to first byte was recorded before.
    pub fn record_success(&self) {
        average(&self.error_rate, 0.0);
        self.failing.store(false, Ordering::Relaxed);
    }

    /// Records an attempt that failed after `took`, at `now` on the caller's clock. A client's
    /// mistake is no failure of the deployment.
    pub fn record_failure(&self, took: Duration, now: Duration) {
        average(&self.error_rate, 1.0);
        self.failing.store(true, Ordering::Relaxed);
        let slow = Duration::try_from_secs_f64(2.0 * self.latency().unwrap_or(0.0) / 1e3);
        let slow = slow.unwrap_or(WORST).min(WORST);
        self.record_first_byte(took.max(slow).max(PENALTY), now);
    }

    /// Records a failure that answers have followed.
    pub(super) fn record_past_failure(&self) {
        average(&self.error_rate, 1.0);
    }

    /// The numbers of `idle` that attempts have left, at `now` on the caller's clock.
    #[must_use]
    pub fn candidate<'p>(&self, idle: Candidate<'p>, now: Duration) -> Candidate<'p> {
        Candidate {
            in_flight: self.in_flight(),
            latency: self.recent_latency(now),
            error_rate: self.error_rate(),
            ..idle
        }
    }

    /// Counts an ejection.
    pub fn record_ejection(&self) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the deployment has been ejected.
    #[must_use]
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// The averages now, to take back a failure that is recorded next.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            latency: self.latency.load(Ordering::Relaxed),
            error_rate: self.error_rate.load(Ordering::Relaxed),
            failing: self.failing.load(Ordering::Relaxed),
        }
    }

    /// Takes back the failures since `mark`. Answers of other requests in between are forgotten with
    /// them, which moves an average by a tenth.
    pub(super) fn take_back(&self, mark: Mark) {
        self.latency.store(mark.latency, Ordering::Relaxed);
        self.error_rate.store(mark.error_rate, Ordering::Relaxed);
        self.failing.store(mark.failing, Ordering::Relaxed);
    }

    /// Resets the averages when the deployment comes back, so that old failures do not count twice.
    pub fn forget(&self) {
        self.latency.store(f64::NAN.to_bits(), Ordering::Relaxed);
        self.error_rate.store(0f64.to_bits(), Ordering::Relaxed);
        self.failing.store(false, Ordering::Relaxed);
    }
}

/// The averages at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    latency: u64,
    error_rate: u64,
    failing: bool,
}

/// Converts an instant to the process-wide clock of the deployments, which starts at its first use.
pub(super) fn clock(now: Instant) -> Duration {
    now.saturating_duration_since(epoch())
}

/// When the clock of the deployments started. Times are kept in whole milliseconds of this clock, so
/// simulated times that count from here give the same numbers in each run.
#[must_use]
pub fn epoch() -> Instant {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    *BEGAN.get_or_init(Instant::now)
}

pub(super) fn average(cell: &AtomicU64, new: f64) {
    let step = |bits| {
        let old = f64::from_bits(bits);
        let next = if old.is_nan() { new } else { old + ALPHA * (new - old) };
        Some(next.to_bits())
    };
    // The closure always returns Some, so the update cannot fail.
    let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
}

/// One attempt in flight, counted until dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Load>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.end();
    }
}
