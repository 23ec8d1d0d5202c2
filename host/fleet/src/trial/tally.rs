//! Counts and means of the requests of one strategy, and the test whether they are worse than those
//! of another.

use std::time::Duration;

/// Standard errors by which a mean must be above what is allowed. The test runs after each request,
/// so two or three would be exceeded by chance.
const CERTAIN: f64 = 4.0;

/// How a request of a trial ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecidedRequest {
    /// The client got a 5xx, or an answer that was cut.
    pub failed: bool,
    /// Attempts that it took, the one that was answered among them.
    pub attempts: u32,
    /// An attempt failed, so that another one was needed. One that is cancelled beside another does
    /// not count.
    pub fell_back: bool,
    /// From the arrival to the first byte of the answer. None without an answer.
    pub first_byte: Option<Duration>,
    /// Dollars that its answer cost by the configured prices. None if its usage is not known.
    pub cost: Option<f64>,
}

/// Means of the recent requests that one of the two strategies decided.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TrialMeans {
    /// Attempts a request. None without requests.
    pub attempts: Option<f64>,
    /// The share of requests that fell back, 0 to 1. None without requests.
    pub fallback: Option<f64>,
    /// Time to the first byte. None without answers.
    pub first_byte: Option<Duration>,
    /// Dollars. None without an answer whose usage is known.
    pub cost: Option<f64>,
}

/// Counts of the requests that one of the two strategies decided.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Requests and failed requests, never halved: for the metrics.
    pub(super) all: [u64; 2],
    /// 1 for each request that failed, 0 for each other.
    pub(super) failed: Moments,
    /// 1 for each request that fell back, 0 for each other.
    pub(super) fallback: Moments,
    pub(super) attempts: Moments,
    /// In seconds.
    pub(super) first_byte: Moments,
    /// In dollars.
    pub(super) cost: Moments,
}

impl Tally {
    pub(super) fn add(&mut self, request: DecidedRequest) {
        let DecidedRequest { failed, attempts, fell_back, first_byte, cost } = request;
        self.all[0] += 1;
        self.all[1] += u64::from(failed);
        self.failed.add(f64::from(u8::from(failed)));
        self.fallback.add(f64::from(u8::from(fell_back)));
        self.attempts.add(f64::from(attempts));
        if let Some(first_byte) = first_byte {
            self.first_byte.add(first_byte.as_secs_f64());
        }
        if let Some(cost) = cost {
            self.cost.add(cost);
        }
    }

    /// Makes later requests count twice as much as those so far.
    pub(super) fn halve(&mut self) {
        let Self { all: _, failed, fallback, attempts, first_byte, cost } = self;
        for moments in [failed, fallback, attempts, first_byte, cost] {
            moments.halve();
        }
    }

    pub(super) fn means(&self) -> TrialMeans {
        TrialMeans {
            attempts: self.attempts.mean(),
            fallback: self.fallback.mean(),
            first_byte: self.first_byte.mean().map(Duration::from_secs_f64),
            cost: self.cost.mean(),
        }
    }
}

/// Count, sum and sum of squares of numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    pub(super) fn add(&mut self, number: f64) {
        self.count += 1.0;
        self.sum += number;
        self.squares += number * number;
    }

    fn halve(&mut self) {
        for sum in [&mut self.count, &mut self.sum, &mut self.squares] {
            *sum /= 2.0;
        }
    }

    /// How many there are. Old ones count less than 1.
    pub(super) fn count(&self) -> f64 {
        self.count
    }

    pub(super) fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }

    /// The square of the standard error of the mean.
    fn variance_of_mean(&self, mean: f64) -> f64 {
        ((self.squares / self.count - mean * mean) / self.count).max(0.0)
    }

    /// The mean of these numbers and that of the `others`, if this one is surely larger than
    /// `factor` x the other + `margin`. Both need `least` numbers. The test is Welch's, with
    /// [`CERTAIN`] in place of a quantile.
    pub(super) fn exceed(
        &self,
        others: &Self,
        (factor, margin): (f64, f64),
        least: f64,
    ) -> Option<[f64; 2]> {
        let enough = self.count >= least && others.count >= least;
        let (ours, theirs) = self.mean().zip(others.mean()).filter(|_| enough)?;
        let of_others = factor * factor * others.variance_of_mean(theirs);
        let error = (self.variance_of_mean(ours) + of_others).sqrt();
        (ours > factor * theirs + margin + CERTAIN * error).then_some([ours, theirs])
    }
}
