//! The trial of a candidate strategy beside the one in use: its counters, and the rule that ends
//! it. Requests on all cores add to the counters.

mod outlook;
mod tally;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use config::{Rollback, TrialMode};
use contract::Role;

use crate::{FleetModel, RequestSignals};

pub use outlook::TrialOutlook;
pub use tally::{DecidedRequest, TrialMeans};

use outlook::Outlooks;
use tally::Tally;

/// In multiples of `min_requests`. After this many requests of the candidate, the counts of both
/// strategies are halved, so that recent requests count more.
const WINDOW: f64 = 10.0;

/// The settings and the counters of one trial.
#[derive(Debug)]
pub struct Trial {
    mode: TrialMode,
    rollback: Rollback,
    /// By role.
    tallies: [Mutex<Tally>; 2],
    faults: AtomicU64,
    /// Distances between the answers, in millionths.
    comparisons: Sum,
    outlooks: Mutex<Outlooks>,
    /// Nanoseconds per answer: of the strategy in use, and of the candidate.
    time: [Sum; 2],
    /// Set once, when the trial ends: the reason.
    ended: OnceLock<String>,
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
    /// What to expect by the answers of the strategy in use, and of the candidate.
    pub outlook: [TrialOutlook; 2],
    /// Mean time per answer: of the strategy in use, and of the candidate. None without an answer
    /// to a question that both were asked.
    pub mean_time: [Option<Duration>; 2],
    /// Failed calls of the candidate.
    pub faults: u64,
    /// Requests that the strategy in use decided, and how many of them failed.
    pub in_use: [u64; 2],
    /// Requests that the candidate decided, and how many of them failed.
    pub candidate: [u64; 2],
    /// Means of the recent requests of the strategy in use, and of the candidate.
    pub means: [TrialMeans; 2],
    /// Why the trial ended. None while it runs.
    pub ended: Option<String>,
}

impl Trial {
    /// Starts a trial with all counters at 0.
    #[must_use]
    pub fn new(mode: TrialMode, rollback: Rollback) -> Self {
        let (tallies, faults, comparisons, outlooks, time) = Default::default();
        let ended = OnceLock::new();
        Self { mode, rollback, tallies, faults, comparisons, outlooks, time, ended }
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

    /// Records what to expect by the two answers to one question about `model`. `request` is None
    /// off the request path.
    pub fn expect(
        &self,
        model: &FleetModel,
        [in_use, candidate]: [&[f64]; 2],
        request: Option<&RequestSignals>,
        now: Instant,
    ) {
        self.outlooks().add(model, [in_use, candidate], request, now);
    }

    fn outlooks(&self) -> MutexGuard<'_, Outlooks> {
        self.outlooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records how long one answer took.
    pub fn took(&self, role: Role, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.time[role as usize].add(nanos);
    }

    /// Counts a finished request for the strategy that decided it. The caller leaves out requests
    /// that the client gave up.
    pub fn request_ended(&self, role: Role, request: DecidedRequest) {
        self.tally(role).add(request);
        if role == Role::Candidate && self.is_on() {
            self.judge();
        }
    }

    fn tally(&self, role: Role) -> MutexGuard<'_, Tally> {
        self.tallies[role as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the trial if the candidate's requests are worse than the settings allow.
    fn judge(&self) {
        // No other code locks both, so the order of the locks cannot deadlock.
        let (mut candidate, mut in_use) = (self.tally(Role::Candidate), self.tally(Role::Live));
        let least = f64::from(self.rollback.min_requests);
        let requests = candidate.failed.count();
        if requests < least {
            return;
        }
        if let Some(why) = worse(&self.rollback, &candidate, &in_use) {
            self.end(why);
        } else if requests >= least * WINDOW {
            candidate.halve();
            in_use.halve();
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
        let read = |role| {
            let tally = self.tally(role);
            (tally.all, tally.means())
        };
        let [(in_use, of_in_use), (candidate, of_candidate)] =
            [Role::Live, Role::Candidate].map(read);
        TrialReport {
            compared,
            divergence: mean / 1e6,
            divergence_max: max / 1e6,
            outlook: self.outlooks().read(),
            mean_time,
            faults: self.faults.load(Ordering::Relaxed),
            in_use,
            candidate,
            means: [of_in_use, of_candidate],
            ended: self.ended.get().cloned(),
        }
    }
}

/// Why the candidate's requests are worse than the settings allow. None if they are not.
fn worse(rollback: &Rollback, candidate: &Tally, in_use: &Tally) -> Option<String> {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let failing = |tally: &Tally| tally.failed.mean().unwrap_or(0.0);
    let (ours, theirs) = (failing(candidate), failing(in_use));
    if ours > theirs + rollback.margin {
        let (ours, theirs) = (percent(ours), percent(theirs));
        return Some(format!("{ours} of its requests failed, and {theirs} of the others"));
    }
    let least = f64::from(rollback.min_requests);
    if let Some(means) =
        candidate.fallback.exceed(&in_use.fallback, (1.0, rollback.fallback), least)
    {
        let [ours, theirs] = means.map(percent);
        return Some(format!("{ours} of its requests fell back, and {theirs} of the others"));
    }
    if let Some([ours, theirs]) =
        candidate.attempts.exceed(&in_use.attempts, (1.0, rollback.attempts), least)
    {
        return Some(format!(
            "its requests took {ours:.2} attempts on average, and the others {theirs:.2}"
        ));
    }
    if let Some(part) = rollback.first_byte
        && let Some(means) =
            candidate.first_byte.exceed(&in_use.first_byte, (1.0 + part, 0.0), least)
    {
        let [ours, theirs] = means.map(|seconds| format!("{:.0} ms", seconds * 1e3));
        return Some(format!(
            "the first byte came after {ours} on average, and after {theirs} for the others"
        ));
    }
    let means = candidate.cost.exceed(&in_use.cost, (1.0 + rollback.cost?, 0.0), least)?;
    let [ours, theirs] = means.map(|dollars| format!("${dollars:.6}"));
    Some(format!("its requests cost {ours} on average, and the others {theirs}"))
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

    const ROLLBACK: Rollback = Rollback {
        faults: 2,
        margin: 0.1,
        min_requests: 10,
        fallback: 0.1,
        attempts: 0.5,
        first_byte: Some(0.5),
        cost: Some(1.0),
    };
    const GOOD: DecidedRequest = DecidedRequest {
        failed: false,
        attempts: 1,
        fell_back: false,
        first_byte: Some(Duration::from_millis(100)),
        cost: Some(0.01),
    };
    const FAILED: DecidedRequest = DecidedRequest { failed: true, ..GOOD };

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
        (0..50)
            .for_each(|i| trial.request_ended(Role::Live, if i % 5 == 0 { FAILED } else { GOOD }));
        // At first a fifth of the candidate's fail, too.
        (0..50).for_each(|i| {
            trial.request_ended(Role::Candidate, if i % 5 == 0 { FAILED } else { GOOD })
        });
        assert!(trial.is_on());
        (0..50).for_each(|_| trial.request_ended(Role::Candidate, FAILED));
        let why = trial.report().ended.expect("why");
        assert!(why.ends_with("of its requests failed, and 20.0 % of the others"), "{why}");
    }

    #[test]
    fn what_was_long_ago_counts_less() {
        let trial = canary();
        (0..2_000).for_each(|_| trial.request_ended(Role::Candidate, GOOD));
        (0..200).for_each(|_| trial.request_ended(Role::Live, GOOD));
        assert!(trial.tally(Role::Candidate).failed.count() <= 100.0);
        (0..10).for_each(|_| trial.request_ended(Role::Candidate, FAILED));
        assert!(!trial.is_on());
        assert_eq!(trial.report().candidate, [2_010, 10]);
    }

    /// Why a trial ends whose requests repeat these, for each of the two strategies.
    fn end_of(in_use: &[DecidedRequest], candidate: &[DecidedRequest]) -> Option<String> {
        let trial = canary();
        for number in 0..600 {
            trial.request_ended(Role::Live, in_use[number % in_use.len()]);
            trial.request_ended(Role::Candidate, candidate[number % candidate.len()]);
        }
        trial.report().ended
    }

    #[test]
    fn what_is_worse_by_its_margin_ends_it_and_is_named() {
        let second = DecidedRequest { attempts: 2, fell_back: true, ..GOOD };
        let third = DecidedRequest { attempts: 3, ..second };
        let beside = DecidedRequest { attempts: 2, ..GOOD };
        let slow = DecidedRequest { first_byte: Some(Duration::from_millis(200)), ..GOOD };
        let dear = DecidedRequest { cost: Some(0.03), ..GOOD };
        let cases = [
            (GOOD, second, "100.0 % of its requests fell back, and 0.0 % of the others"),
            (GOOD, beside, "its requests took 2.00 attempts on average, and the others 1.00"),
            (second, third, "its requests took 3.00 attempts on average, and the others 2.00"),
            (
                GOOD,
                slow,
                "the first byte came after 200 ms on average, and after 100 ms for the others",
            ),
            (GOOD, dear, "its requests cost $0.030000 on average, and the others $0.010000"),
        ];
        for (in_use, candidate, why) in cases {
            assert_eq!(end_of(&[in_use], &[candidate]).as_deref(), Some(why));
            assert_eq!(end_of(&[candidate], &[candidate]), None);
            assert_eq!(end_of(&[candidate], &[in_use]), None, "what is better ends nothing");
        }
    }

    #[test]
    fn what_may_be_chance_ends_nothing() {
        // Each tenth answer takes 30 times as long, on both sides; they come at other times.
        let slow = DecidedRequest { first_byte: Some(Duration::from_secs(3)), ..GOOD };
        let early = [&[slow][..], &[GOOD; 9]].concat();
        let late = [&[GOOD; 9][..], &[slow]].concat();
        assert_eq!(end_of(&late, &early), None);
        assert_eq!(end_of(&early, &late), None);
    }

    #[test]
    fn what_is_unknown_or_not_set_is_not_compared() {
        let unknown = DecidedRequest { first_byte: None, cost: None, ..GOOD };
        assert_eq!(end_of(&[unknown], &[GOOD]), None);
        assert_eq!(end_of(&[GOOD], &[unknown]), None);
        let free = DecidedRequest { cost: Some(0.0), ..GOOD };
        let trial = Trial::new(TrialMode::Canary(0.5), Rollback { cost: None, ..ROLLBACK });
        for _ in 0..100 {
            trial.request_ended(Role::Live, free);
            trial.request_ended(Role::Candidate, GOOD);
        }
        let report = trial.report();
        assert_eq!(report.ended, None);
        assert_eq!(
            report.means.map(|means| means.cost.map(|cost| cost > 0.0)),
            [Some(false), Some(true)]
        );
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
