//! The extra attempts that the retry budget may give, counted without its code.

use config::RetryBudget;
use tokio::time::Instant;

/// Requests count for this long, in seconds, and extra attempts against them.
const MEMORY: f64 = 10.0;

/// An upper bound of the extra attempts so far.
#[derive(Debug)]
pub(crate) struct Allowance {
    budget: RetryBudget,
    began: Instant,
    arrived: u32,
    active: u32,
    /// Seconds of all active requests together, and until when they are counted.
    active_seconds: (f64, Instant),
    taken: u32,
}

impl Allowance {
    pub(crate) fn new(budget: RetryBudget, began: Instant) -> Self {
        Self { budget, began, arrived: 0, active: 0, active_seconds: (0.0, began), taken: 0 }
    }

    /// A request arrives.
    pub(crate) fn enter(&mut self) {
        self.pass();
        self.arrived += 1;
        self.active += 1;
    }

    /// A request needs no further attempt.
    pub(crate) fn leave(&mut self) {
        self.pass();
        self.active -= 1;
    }

    /// An extra attempt is made. False if there are more than there may be.
    ///
    /// The budget lets the extra attempts of ten seconds be a share of the requests that are active
    /// or came in these. Each request brings its share once when it comes, and again for each ten
    /// seconds that it stays.
    pub(crate) fn take(&mut self) -> bool {
        self.pass();
        self.taken += 1;
        let stayed = self.active_seconds.0 / MEMORY + f64::from(self.active);
        let share = f64::from(self.budget.percent) / 100.0;
        let seconds = self.began.elapsed().as_secs_f64() + 1.0;
        let most = share * (f64::from(self.arrived) + stayed)
            + f64::from(self.budget.per_second) * seconds;
        f64::from(self.taken) <= most + 1e-6
    }

    fn pass(&mut self) {
        let now = Instant::now();
        let passed = now.duration_since(self.active_seconds.1).as_secs_f64();
        self.active_seconds = (self.active_seconds.0 + passed * f64::from(self.active), now);
    }
}
