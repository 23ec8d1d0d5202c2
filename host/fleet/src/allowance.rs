//! The requests per time that a remote deployment allows, learned from its headers and its
//! refusals.
//!
//! APIs limit the requests of a key by the minute, with a token bucket or a fixed window. Most tell
//! what is left (`x-ratelimit-remaining-requests` and the like). Some only refuse, and name a time
//! to wait. Between two refusals an API allowed exactly the requests that it answered. Their number
//! per time is the learned rate. Requests then go slightly faster than the learned rate: only a
//! request above it can show that the API raised its limit.
//!
//! Pure: the caller passes the time.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use config::QuotaUnit;

use super::ToldQuota;

/// Requests go faster than the learned rate by this factor. While demand exceeds the limit, this
/// costs one refusal in twenty requests.
const OVER: f64 = 1.05;
/// After this time without a refusal the learned rate rises by [`OVER`].
const RISES: Duration = Duration::from_secs(10);
/// After this time without a refusal the learned rate is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Refusals within this time count as one, because their requests were out at the same time.
const TOGETHER: Duration = Duration::from_millis(500);
/// The lowest rate that is learned, per second. One request in a minute shows whether more are
/// allowed.
const SLOWEST: f64 = 1.0 / 60.0;
/// Longest pause for an allowance that is used up.
const LONGEST: Duration = Duration::from_secs(3600);

/// The allowance as an answer's headers state it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// Requests that are left.
    pub(super) remaining: u32,
    /// Requests that a window has, if that is told.
    pub(super) limit: Option<u32>,
    /// Time until all of them, or the next ones, are allowed again.
    pub(super) reset: Duration,
}

impl Left {
    /// The tightest of what headers tell. The number of requests that remaining tokens allow is not
    /// known, so tokens count only once none is left. What names no time is no allowance.
    pub(super) fn tightest<'t>(told: impl Iterator<Item = &'t ToldQuota>) -> Option<Self> {
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let left = told.filter_map(|told| {
            let is_tokens = told.unit == QuotaUnit::Tokens;
            let left = Self {
                remaining: small(told.remaining),
                limit: told.limit.filter(|limit| *limit > 0 && !is_tokens).map(small),
                reset: told.reset?,
            };
            (!is_tokens || told.remaining == 0).then_some(left)
        });
        left.min_by_key(|left| (left.remaining, Reverse(left.reset)))
    }
}

/// The allowance of one deployment.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    learned: Option<Learned>,
    /// The last refusal, and the good answers since then.
    refused: Option<(Instant, u32)>,
    /// The allowance that the last answer reported, less the requests since then.
    told: Option<Told>,
}

#[derive(Debug, Clone, Copy)]
struct Learned {
    /// Requests per second.
    rate: f64,
    /// Requests that may go at `at`.
    saved: f64,
    at: Instant,
    /// When the rate was learned or rose last.
    since: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    remaining: u32,
    limit: Option<u32>,
    resets: Instant,
}

impl Allowance {
    /// True if no allowance is known, so that requests are not limited.
    pub(super) fn is_unknown(&self) -> bool {
        self.learned.is_none() && self.told.is_none() && self.refused.is_none()
    }

    /// When the next request may go. None: now.
    pub(super) fn closed(&mut self, now: Instant) -> Option<Instant> {
        self.told.take_if(|told| told.resets <= now);
        let told = self.told.filter(|told| told.remaining == 0).map(|told| told.resets);
        let learned = self.learned.as_mut().and_then(|learned| {
            let missing = 1.0 - learned.save(now);
            (missing > 0.0).then(|| now + Duration::from_secs_f64(missing / (learned.rate * OVER)))
        });
        told.max(learned)
    }

    /// The requests that may go now, as far as the deployment has told or the learned rate allows.
    /// None if neither is known.
    pub(super) fn left(&mut self, now: Instant) -> Option<f64> {
        self.told.take_if(|told| told.resets <= now);
        let told = self.told.map(|told| f64::from(told.remaining));
        let learned = self.learned.as_mut().map(|learned| learned.save(now).max(0.0).floor());
        [told, learned].into_iter().flatten().reduce(f64::min)
    }

    /// The used share of the allowance that was told, 0 to 1, and when its window turns. None: the
    /// deployment does not tell its limit.
    pub(super) fn used(&mut self, now: Instant) -> Option<(f64, Instant)> {
        self.told.take_if(|told| told.resets <= now);
        let Told { remaining, limit, resets } = self.told?;
        let left = f64::from(remaining) / f64::from(limit?);
        Some(((1.0 - left).max(0.0), resets))
    }

    /// Counts a request that goes now.
    pub(super) fn spend(&mut self, now: Instant) {
        if let Some(told) = &mut self.told {
            told.remaining = told.remaining.saturating_sub(1);
        }
        if let Some(learned) = &mut self.learned {
            learned.saved = (learned.save(now) - 1.0).max(-1.0);
        }
    }

    /// Counts a refused request. `told`: the deployment named a time to wait. The caller observes
    /// that time, so one request may go right after it.
    pub(super) fn refused(&mut self, told: bool, now: Instant) {
        let Some((last, good)) = self.refused else {
            self.refused = Some((now, 0));
            return;
        };
        let apart = now.saturating_duration_since(last);
        if apart < TOGETHER {
            return;
        }
        let measured = f64::from(good) / apart.as_secs_f64();
        let rate = match self.learned {
            // Nothing to learn from yet.
            None if good == 0 => return,
            None => measured,
            Some(learned) if good == 0 => learned.rate / 2.0,
            // One window of answers is a small sample.
            Some(learned) => f64::midpoint(learned.rate, measured),
        };
        let rate = rate.max(SLOWEST);
        self.learned =
            Some(Learned { rate, saved: f64::from(u8::from(told)), at: now, since: now });
        self.refused = Some((now, 0));
    }

    /// Counts an answered request.
    pub(super) fn answered(&mut self, now: Instant) {
        let Some((last, good)) = &mut self.refused else { return };
        *good = good.saturating_add(1);
        if now.saturating_duration_since(*last) >= FORGOTTEN {
            (self.refused, self.learned) = (None, None);
        } else if let Some(learned) = &mut self.learned
            && now.saturating_duration_since(learned.since) >= RISES
        {
            learned.rate *= OVER;
            learned.since = now;
        }
    }

    /// Notes what an answer reports to be left. It may not include the `others` requests that were
    /// out.
    pub(super) fn told(&mut self, left: Left, others: u32, now: Instant) {
        let remaining = left.remaining.saturating_sub(others);
        let resets = now + left.reset.min(LONGEST);
        self.told = Some(Told { remaining, limit: left.limit, resets });
    }
}

impl Learned {
    /// Adds the requests that the time since the last call allows. Returns the sum, which is at
    /// most one second's worth, or one request if that is more.
    fn save(&mut self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.saved = (self.saved + passed * self.rate * OVER).min(self.rate.max(1.0));
        self.at = now;
        self.saved
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// An API of a key: allows `rate` requests per second, saves up `burst`, refuses the rest.
    struct Api {
        rate: f64,
        burst: f64,
        saved: f64,
        at: Instant,
    }

    impl Api {
        fn new(rate: f64, burst: f64, at: Instant) -> Self {
            Self { rate, burst, saved: burst, at }
        }

        fn ask(&mut self, now: Instant) -> bool {
            let passed = (now - self.at).as_secs_f64();
            self.saved = (self.saved + passed * self.rate).min(self.burst);
            self.at = now;
            let allowed = self.saved >= 1.0;
            self.saved -= f64::from(u8::from(allowed));
            allowed
        }
    }

    /// Offers `demand` requests per second for `seconds`, after a minute in which the rate is
    /// learned. Returns how many were answered and how many refused.
    fn run(api: &mut Api, demand: u32, seconds: u64, start: Instant) -> (u32, u32) {
        let (mut allowance, mut answered, mut refused) = (Allowance::default(), 0, 0);
        let mut cooling = start;
        let (warm, end) =
            (start + Duration::from_secs(60), start + Duration::from_secs(60 + seconds));
        let mut now = start;
        while now < end {
            if now >= cooling && allowance.closed(now).is_none() {
                allowance.spend(now);
                let good = api.ask(now);
                if good {
                    allowance.answered(now);
                } else {
                    allowance.refused(true, now);
                    // As APIs do, in whole seconds.
                    cooling = now + Duration::from_secs(1);
                }
                if now >= warm {
                    answered += u32::from(good);
                    refused += u32::from(!good);
                }
            }
            now += Duration::from_secs(1) / demand;
        }
        (answered, refused)
    }

    #[test]
    fn an_allowance_is_used_and_seldom_exceeded() {
        for rate in [0.5, 2.0, 10.0, 40.0f64] {
            for burst in [rate.max(2.0), rate * 60.0] {
                let start = Instant::now();
                let mut api = Api::new(rate, burst, start);
                let (answered, refused) = run(&mut api, 100, 300, start);
                let used = f64::from(answered) / (rate * 300.0);
                assert!(used > 0.9, "{used} of {rate} with {burst}");
                let share = f64::from(refused) / f64::from(answered + refused);
                assert!(share < 0.15, "{share} of {rate} with {burst}");
                assert!(refused < 30_000 / 20, "of all requests that came: {refused}");
            }
        }
    }

    #[test]
    fn what_is_told_is_kept() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        assert!(allowance.closed(now).is_none() && allowance.is_unknown());
        allowance.told(Left { remaining: 3, limit: None, reset: 1000 * MS }, 1, now);
        for _ in 0..2 {
            assert!(allowance.closed(now).is_none());
            allowance.spend(now);
        }
        assert_eq!(allowance.closed(now), Some(now + 1000 * MS));
        assert_eq!(allowance.closed(now + 999 * MS), Some(now + 1000 * MS));
        assert!(allowance.closed(now + 1000 * MS).is_none() && allowance.is_unknown());
        allowance.told(Left { remaining: 0, limit: None, reset: Duration::MAX }, 0, now);
        assert_eq!(allowance.closed(now), Some(now + LONGEST));
    }

    #[test]
    fn refusals_at_one_time_are_one() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        for at in 0..5 {
            allowance.refused(false, now + at * MS);
        }
        assert!(allowance.closed(now + 5 * MS).is_none(), "nothing is known of the rate");
        let later = now + 2000 * MS;
        (0..4).for_each(|_| allowance.answered(later));
        allowance.refused(false, later);
        let opens = allowance.closed(later).expect("the rate is known");
        let gap = (opens - later).as_secs_f64();
        assert!((gap - 0.5 / OVER).abs() < 0.01, "four in two seconds: {gap}");
    }

    #[test]
    fn something_is_known_after_each_sign() {
        let now = Instant::now();
        let mut refused = Allowance::default();
        refused.refused(false, now);
        assert!(!refused.is_unknown());
        let mut told = Allowance::default();
        told.told(Left { remaining: 9, limit: None, reset: 1000 * MS }, 0, now);
        assert!(!told.is_unknown());
        refused.refused = None;
        refused.learned = Some(Learned { rate: 1.0, saved: 0.0, at: now, since: now });
        assert!(!refused.is_unknown());
    }

    #[test]
    fn refusals_without_answers_teach_no_rate() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        allowance.refused(false, now);
        allowance.refused(false, now + 2000 * MS);
        assert!(allowance.closed(now + 2000 * MS).is_none());
    }

    #[test]
    fn a_learned_rate_opens_with_time() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        allowance.refused(false, now);
        (0..2).for_each(|_| allowance.answered(now));
        // The least time between two refusals that are not one.
        let then = now + TOGETHER;
        allowance.refused(false, then);
        let gap = Duration::from_secs_f64(1.0 / (4.0 * OVER));
        for nth in 0..5 {
            let from = then + gap * nth;
            assert!(allowance.closed(from + gap - 2 * MS).is_some(), "{nth}");
            assert!(allowance.closed(from + gap + MS).is_none(), "{nth}");
            allowance.spend(from + gap + MS);
        }
        // An idle second saves up a second's worth, and no more.
        let idle = then + 10_000 * MS;
        for _ in 0..4 {
            assert!(allowance.closed(idle).is_none());
            allowance.spend(idle);
        }
        assert!(allowance.closed(idle).is_some());
    }

    #[test]
    fn a_rate_rises_and_is_forgotten() {
        let (mut allowance, now) = (Allowance::default(), Instant::now());
        allowance.refused(false, now);
        allowance.answered(now);
        allowance.refused(false, now + 1000 * MS);
        let rate = |allowance: &Allowance| allowance.learned.map(|learned| learned.rate);
        assert_eq!(rate(&allowance), Some(1.0));
        allowance.answered(now + 10_999 * MS);
        assert_eq!(rate(&allowance), Some(1.0));
        allowance.answered(now + 11_000 * MS);
        assert_eq!(rate(&allowance), Some(OVER));
        allowance.refused(false, now + 12_000 * MS);
        allowance.refused(false, now + 13_000 * MS);
        assert!(rate(&allowance).is_some_and(|rate| rate < 0.5), "nothing was answered");
        allowance.answered(now + 13_000 * MS + FORGOTTEN);
        assert!(allowance.is_unknown());
    }

    proptest! {
        #[test]
        fn it_never_closes_for_good(steps in prop::collection::vec((0..4u8, 0..5_000u64), 0..200)) {
            let (mut allowance, mut now) = (Allowance::default(), Instant::now());
            for (step, wait) in steps {
                now += Duration::from_millis(wait);
                match step {
                    0 => allowance.refused(wait % 2 == 0, now),
                    1 => allowance.answered(now),
                    2 => allowance.told(Left { remaining: 0, limit: None, reset: 10 * MS }, 3, now),
                    _ => allowance.spend(now),
                }
                let opens = allowance.closed(now);
                prop_assert!(opens.is_none_or(|at| at > now && at <= now + 2 * LONGEST));
            }
        }
    }
}
