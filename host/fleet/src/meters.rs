//! Plain counters of models, deployments and strategies. Requests on all cores add to them, and a
//! scrape reads them. The fleet does not know the format of the metrics.
//!
//! Counters survive reloads while their model or deployment stays configured. Those of strategies
//! are kept by name, also after the strategy is gone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ledger::Meter;

use super::Busy;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts by label. Each count takes a lock, so labels must be rare. They must come from a bounded
/// set.
#[derive(Debug)]
pub struct Tally<L>(Mutex<BTreeMap<L, u64>>);

impl<L> Default for Tally<L> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<L: Ord + Clone> Tally<L> {
    /// Adds `count` to a label, creating it at 0.
    pub fn add(&self, label: L, count: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(label).or_default() += count;
    }

    /// A copy of all counts.
    #[must_use]
    pub fn all(&self) -> BTreeMap<L, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A histogram of durations, with buckets from 5 ms to 300 s.
#[derive(Debug, Default)]
pub struct Durations {
    /// Counts of each bucket alone. The last bucket has no upper bound.
    buckets: [AtomicU64; Durations::BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Durations {
    /// Upper bounds of the buckets, in seconds.
    pub const BOUNDS: [f64; 14] =
        [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

    /// Counts a duration.
    pub fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = Self::BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// For each bound, the number of durations up to it. The last entry is the total.
    #[must_use]
    pub fn cumulative(&self) -> [u64; Durations::BOUNDS.len() + 1] {
        let mut sum = 0;
        self.buckets.each_ref().map(|bucket| {
            sum += bucket.load(Ordering::Relaxed);
            sum
        })
    }

    /// The sum of all durations, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64()
    }
}

/// Counters of the requests of one model.
#[derive(Debug, Default)]
pub struct ModelMeters {
    model: String,
    /// Requests answered with status 200.
    pub ok: Counter,
    /// Requests answered with another status, by status.
    pub others: Tally<u16>,
    /// Second attempts whose answer the client got.
    pub hedges_won: Counter,
    /// Second attempts that failed, or came after the first.
    pub hedges_lost: Counter,
    /// Second attempts that were under way when the client left.
    pub hedges_cancelled: Counter,
    /// From a request's arrival to the end of its answer.
    pub durations: Durations,
}

impl ModelMeters {
    /// Counters of the model with this id. The empty id is for requests that name no known model.
    #[must_use]
    pub fn of(model: &str) -> Self {
        Self { model: model.to_owned(), ..Self::default() }
    }

    /// Id of the model, or empty.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Counts a request that was answered.
    pub fn ended(&self, status: u16, time: Duration) {
        match status {
            200 => self.ok.inc(),
            other => self.others.add(other, 1),
        }
        self.durations.observe(time);
    }
}

/// Why an engine's work was wasted: nobody got its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waste {
    /// The client went away.
    ClientGone,
    /// A time limit passed.
    Timeout,
    /// The engine or the gateway failed.
    Broken,
    /// The gateway stopped.
    Stopping,
    /// Another attempt of the request began its answer first.
    Hedged,
}

impl Waste {
    /// Every cause, in the order of the discriminants. `cause as usize` is the index of a counter.
    pub const ALL: [Self; 5] =
        [Self::ClientGone, Self::Timeout, Self::Broken, Self::Stopping, Self::Hedged];

    /// Its label in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Stopping => "stopping",
            Self::Hedged => "hedged",
        }
    }
}

/// Wasted work of one cause.
#[derive(Debug, Default)]
pub struct Wasted {
    /// Attempts whose answer nobody got.
    pub attempts: Counter,
    nanoseconds: Counter,
}

impl Wasted {
    /// Time that engines worked on them, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanoseconds.get()).as_secs_f64()
    }
}

/// Counters of the attempts at one deployment.
#[derive(Debug, Default)]
pub struct DeploymentMeters {
    /// Attempts that ended well.
    pub ok: Counter,
    /// All other attempts that ended, by outcome.
    pub others: Tally<Cow<'static, str>>,
    /// From an attempt's start to the first byte of its answer.
    pub first_bytes: Durations,
    /// What they took and cost.
    pub costs: Arc<Meter>,
    wasted: [Wasted; Waste::ALL.len()],
    overflows: [Counter; Busy::ALL.len()],
}

impl DeploymentMeters {
    /// The outcome of an attempt that ended well. It is frequent, so it has a counter without a
    /// lock.
    pub const OK: &'static str = "ok";

    /// Counts an attempt that ended. Outcomes must come from a bounded set.
    pub fn ended(&self, outcome: Cow<'static, str>) {
        match &*outcome {
            Self::OK => self.ok.inc(),
            _ => self.others.add(outcome, 1),
        }
    }

    /// Counts an attempt whose answer nobody got after the engine had worked on it for `time`.
    pub fn waste(&self, cause: Waste, time: Duration) {
        let wasted = &self.wasted[cause as usize];
        wasted.attempts.inc();
        wasted.nanoseconds.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts a request that got no slot.
    pub fn overflow(&self, busy: Busy) {
        self.overflows[busy as usize].inc();
    }

    /// The work wasted for this cause.
    #[must_use]
    pub fn wasted(&self, cause: Waste) -> &Wasted {
        &self.wasted[cause as usize]
    }

    /// Requests that got no slot for this reason.
    #[must_use]
    pub fn overflows(&self, busy: Busy) -> u64 {
        self.overflows[busy as usize].get()
    }
}

/// Counters of calls to the strategies of one name.
#[derive(Debug, Default)]
pub struct StrategyMeters {
    /// Calls that were answered well.
    pub ok: Counter,
    /// Calls that failed, by cause.
    pub faults: Tally<&'static str>,
}

/// The counters of strategies, by name. Several strategies of one name count together.
#[derive(Debug, Default)]
pub struct StrategyTable(Mutex<BTreeMap<String, Arc<StrategyMeters>>>);

impl StrategyTable {
    /// The counters of the strategies of this name, created on first use.
    #[must_use]
    pub fn of(&self, name: &str) -> Arc<StrategyMeters> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(table.entry(name.to_owned()).or_default())
    }

    /// All counters, sorted by name.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Arc<StrategyMeters>)> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.iter().map(|(name, meters)| (name.clone(), Arc::clone(meters))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_buckets_by_their_upper_bound() {
        let durations = Durations::default();
        for millis in [5, 6, 1000, 400_000] {
            durations.observe(Duration::from_millis(millis));
        }
        let cumulative = durations.cumulative();
        assert_eq!(cumulative, [1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert!((durations.seconds() - 401.011).abs() < 1e-9);
    }

    #[test]
    fn attempts_are_counted_by_outcome() {
        let meters = DeploymentMeters::default();
        for outcome in ["ok", "connect", "ok", "status_500", "connect"] {
            meters.ended(outcome.into());
        }
        let others: Vec<_> = meters.others.all().into_iter().collect();
        assert_eq!(
            (meters.ok.get(), others),
            (2, vec![("connect".into(), 2), ("status_500".into(), 1)])
        );
    }

    #[test]
    fn waste_and_overflow_are_counted_by_cause() {
        let meters = DeploymentMeters::default();
        meters.waste(Waste::Timeout, Duration::from_millis(1500));
        meters.waste(Waste::Timeout, Duration::from_millis(500));
        meters.overflow(Busy::Waited);
        for cause in Waste::ALL {
            let expected = if cause == Waste::Timeout { (2, 2.0) } else { (0, 0.0) };
            let wasted = meters.wasted(cause);
            assert_eq!((wasted.attempts.get(), wasted.seconds()), expected);
        }
        assert_eq!(Busy::ALL.map(|busy| meters.overflows(busy)), [0, 1, 0, 0]);
    }

    #[test]
    fn strategies_of_one_name_count_together() {
        let table = StrategyTable::default();
        table.of("a").ok.inc();
        table.of("a").ok.inc();
        table.of("b").faults.add("trap", 3);
        let all = table.all();
        assert_eq!((all[0].1.ok.get(), all[1].1.faults.all()["trap"]), (2, 3));
    }
}
