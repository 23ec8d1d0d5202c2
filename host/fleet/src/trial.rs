//! The trial of a candidate strategy beside the one in use: its counters, and the rule that ends
//! it. Requests on all cores add to the counters.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use config::{Rollback, TrialMode};
use contract::Role;

/// In multiples of `min_requests`. After this many requests of the candidate, the counts of both
/// strategies are halved, so that recent requests count more.
const WINDOW: u64 = 10;

/// The settings and the counters of one trial.
#[derive(Debug)]
pub struct Trial {
    mode: TrialMode,
    rollback: Rollback,
    in_use: Tally,
    candidate: Tally,
    faults: AtomicU64,
    /// Distances between the answers, in millionths.
    comparisons: Sum,
    /// Nanoseconds per answer: of the strategy in use, and of the candidate.
    time: [Sum; 2],
    /// Set once, when the trial ends: the reason.
    ended: OnceLock<String>,
}

/// Counts of the requests that one of the two strategies decided.
#[derive(Debug, Default)]
struct Tally {
    requests: AtomicU64,
    failed: AtomicU64,
    /// Requests and failed requests, never halved: for the metrics.
    all: [AtomicU64; 2],
}

/// Count, sum and maximum of some numbers. The unit is that of the field that holds it.
#[derive(Debug, Default)]
struct Sum {
    count: AtomicU64,
    sum: AtomicU64,
    largest: AtomicU64,
}

/// The counters of a trial, as they are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialReport {
    /// Questions that both strategies answered.
    pub compared: u64,
    /// Mean distance between their answers, from 0 (equal) to 1 (no deployment in common).
    pub divergence: f64,
    /// Largest distance between their answers.
    pub divergence_max: f64,
    /// Mean time per answer: of the strategy in use, and of the candidate. None without an answer
    /// to a question that both were asked.
    pub mean_time: [Option<Duration>; 2],
    /// Failed calls of the candidate.
    pub faults: u64,
    /// Requests that the strategy in use decided, and how many of them failed.
    pub in_use: [u64; 2],
    /// Requests that the candidate decided, and how many of them failed.
    pub candidate: [u64; 2],
    /// Why the trial ended. None while it runs.
    pub ended: Option<String>,
}

impl Trial {
    /// Starts a trial with all counters at 0.
    #[must_use]
    pub fn new(mode: TrialMode, rollback: Rollback) -> Self {
        let (in_use, candidate, faults, comparisons, time) = Default::default();
        let ended = OnceLock::new();
        Self { mode, rollback, in_use, candidate, faults, comparisons, time, ended }
    }

    /// Shadow, or canary with its share of the requests.
    #[must_use]
    pub fn mode(&self) -> TrialMode {
        self.mode
    }

    /// True if the candidate decides a share of the requests.
    #[must_use]
    pub fn is_canary(&self) -> bool {
        matches!(self.mode, TrialMode::Canary(_))
    }

    /// True until the trial ends. The trial of a shadow does not end.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.ended.get().is_none()
    }

    /// True if the candidate decides the request that drew `lot`, a random number from 0 to 1.
    #[must_use]
    pub fn falls_to_candidate(&self, lot: f64) -> bool {
        matches!(self.mode, TrialMode::Canary(share) if lot < share) && self.is_on()
    }

    /// Counts a failed call of the candidate. The trial of a canary ends at `rollback.faults` of
    /// them.
    pub fn fault(&self, what: &str) {
        let faults = self.faults.fetch_add(1, Ordering::Relaxed) + 1;
        if faults == u64::from(self.rollback.faults) {
            self.end(format!("{faults} faults, the last of them: {what}"));
        }
    }

    /// Compares two answers to one question. Each has one weight per deployment and sums to 1, or
    /// is empty if the request is held or refused.
    pub fn compare(&self, in_use: &[f64], candidate: &[f64]) {
        let apart = match in_use.len() == candidate.len() {
            true => in_use.iter().zip(candidate).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0,
            false => 1.0,
        };
        self.comparisons.add(millionths(apart));
    }

    /// Records how long one answer took.
    pub fn took(&self, role: Role, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.time[role as usize].add(nanos);
    }

    /// Counts a finished request for the strategy that decided it. The caller leaves out requests
    /// that the client gave up.
    pub fn request_ended(&self, role: Role, failed: bool) {
        let tally = match role {
            Role::Live => &self.in_use,
            Role::Candidate => &self.candidate,
        };
        tally.add(failed);
        if role == Role::Candidate && self.is_on() {
            self.judge();
        }
    }

    /// Ends the trial if the candidate's share of failed requests is larger by more than `margin`.
    fn judge(&self) {
        let least = u64::from(self.rollback.min_requests);
        let requests = self.candidate.requests.load(Ordering::Relaxed);
        if requests < least {
            return;
        }
        let (ours, theirs) = (self.candidate.failing(), self.in_use.failing());
        if ours > theirs + self.rollback.margin {
            let percent = |share: f64| format!("{:.1} %", share * 100.0);
            let (ours, theirs) = (percent(ours), percent(theirs));
            self.end(format!("{ours} of its requests failed, and {theirs} of the others"));
        } else if requests >= least * WINDOW {
            self.candidate.halve();
            self.in_use.halve();
        }
    }

    fn end(&self, why: String) {
        // A shadow decides nothing, so there is nothing to roll back.
        if self.is_canary() && self.ended.set(why.clone()).is_ok() {
            tracing::error!(why, "the candidate is rolled back: the strategy in use decides alone");
        }
    }

    /// Reads the counters, one by one: under load they may differ by a few requests.
    #[must_use]
    pub fn report(&self) -> TrialReport {
        let (compared, mean, max) = self.comparisons.read();
        let mean_time = self.time.each_ref().map(|time| {
            let (timed, nanos, _) = time.read();
            (timed > 0).then(|| Duration::from_secs_f64(nanos / 1e9))
        });
        TrialReport {
            compared,
            divergence: mean / 1e6,
            divergence_max: max / 1e6,
            mean_time,
            faults: self.faults.load(Ordering::Relaxed),
            in_use: self.in_use.all(),
            candidate: self.candidate.all(),
            ended: self.ended.get().cloned(),
        }
    }
}

fn millionths(share: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share is 0 to 1, and a cast saturates"
    )]
    let millionths = (share * 1e6).round() as u64;
    millionths
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests, shown rounded")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Tally {
    fn add(&self, failed: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.all[0].fetch_add(1, Ordering::Relaxed);
        if failed {
            self.failed.fetch_add(1, Ordering::Relaxed);
            self.all[1].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The share of requests that failed, 0 to 1. 0 without requests.
    fn failing(&self) -> f64 {
        ratio(self.failed.load(Ordering::Relaxed), self.requests.load(Ordering::Relaxed))
    }

    fn halve(&self) {
        for count in [&self.requests, &self.failed] {
            // Subtracting keeps what other cores add meanwhile.
            let half = count.load(Ordering::Relaxed) / 2;
            count.fetch_sub(half, Ordering::Relaxed);
        }
    }

    fn all(&self) -> [u64; 2] {
        self.all.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

impl Sum {
    fn add(&self, number: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(number, Ordering::Relaxed);
        self.largest.fetch_max(number, Ordering::Relaxed);
    }

    /// The count, the mean and the maximum.
    fn read(&self) -> (u64, f64, f64) {
        let (count, sum) = (self.count.load(Ordering::Relaxed), self.sum.load(Ordering::Relaxed));
        (count, ratio(sum, count), ratio(self.largest.load(Ordering::Relaxed), 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLBACK: Rollback = Rollback { faults: 2, margin: 0.1, min_requests: 10 };

    fn canary() -> Trial {
        Trial::new(TrialMode::Canary(0.25), ROLLBACK)
    }

    #[test]
    fn a_canary_decides_for_its_share() {
        let trial = canary();
        assert!(trial.falls_to_candidate(0.0) && trial.falls_to_candidate(0.2499));
        assert!(!trial.falls_to_candidate(0.25));
        assert!(!Trial::new(TrialMode::Shadow, ROLLBACK).falls_to_candidate(0.0));
    }

    #[test]
    fn faults_end_a_canary_and_are_only_counted_of_a_shadow() {
        let (canary, shadow) = (canary(), Trial::new(TrialMode::Shadow, ROLLBACK));
        for trial in [&canary, &shadow] {
            (0..3).for_each(|_| trial.fault("trapped"));
            assert_eq!(trial.report().faults, 3);
        }
        assert!(shadow.is_on() && !canary.falls_to_candidate(0.0));
        let why = canary.report().ended.expect("why");
        assert_eq!(why, "2 faults, the last of them: trapped");
    }

    #[test]
    fn more_failed_requests_than_the_others_have_end_it() {
        let trial = canary();
        // A fifth of the requests of the strategy in use fail.
        (0..50).for_each(|i| trial.request_ended(Role::Live, i % 5 == 0));
        // At first a fifth of the candidate's fail, too.
        (0..50).for_each(|i| trial.request_ended(Role::Candidate, i % 5 == 0));
        assert!(trial.is_on());
        (0..50).for_each(|_| trial.request_ended(Role::Candidate, true));
        let why = trial.report().ended.expect("why");
        assert!(why.ends_with("of its requests failed, and 20.0 % of the others"), "{why}");
    }

    #[test]
    fn what_was_long_ago_counts_less() {
        let trial = canary();
        (0..2_000).for_each(|_| trial.request_ended(Role::Candidate, false));
        (0..200).for_each(|_| trial.request_ended(Role::Live, false));
        assert!(trial.candidate.requests.load(Ordering::Relaxed) <= 100);
        (0..10).for_each(|_| trial.request_ended(Role::Candidate, true));
        assert!(!trial.is_on());
        assert_eq!(trial.report().candidate, [2_010, 10]);
    }

    #[test]
    fn answers_are_compared() {
        let trial = canary();
        trial.compare(&[0.5, 0.5, 0.0], &[0.5, 0.5, 0.0]);
        trial.compare(&[1.0, 0.0, 0.0], &[0.0, 0.5, 0.5]);
        let report = trial.report();
        assert_eq!((report.compared, report.divergence, report.divergence_max), (2, 0.5, 1.0));
        assert_eq!(report.mean_time, [None, None]);
        trial.took(Role::Candidate, Duration::from_micros(1));
        trial.took(Role::Candidate, Duration::from_micros(3));
        assert_eq!(trial.report().mean_time, [None, Some(Duration::from_micros(2))]);
    }
}
