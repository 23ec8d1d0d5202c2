//! What an engine tells of its load, corrected by the gateway's own requests.
//!
//! The numbers of an engine are old: between two scrapes a burst would go to the engine that looked
//! idle, and engines tell zeros for seconds after a start. So the gateway's own requests count
//! first. They are known exactly; the engine's numbers add what others send.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use config::{ENGINE_SIGNALS, Scraping};
use contract::Signal;

use super::Counter;
use super::load::clock;

/// One value for each of [`ENGINE_SIGNALS`], in its order.
pub type EngineNumbers<T> = [T; ENGINE_SIGNALS.len()];

/// Most requests that are believed.
const MOST_REQUESTS: f64 = 1e9;
const RUNNING: usize = Signal::EngineRunning as usize;
const WAITING: usize = Signal::EngineWaiting as usize;

/// The load of one engine. Deployments with the same origin and the same sources share it. Atomics,
/// written by scrapes and by all cores. A reader may see the numbers of two readings side by side.
#[derive(Debug, Default)]
pub struct EngineSignals {
    is_asked: AtomicBool,
    /// Milliseconds after which a number is unknown.
    stale_after: AtomicU64,
    /// Milliseconds after which a report with an answer is worth its cost.
    report_after: AtomicU64,
    /// Whether several engines answer here. The report of an answer is about one of them only.
    is_several: AtomicBool,
    /// Attempts of this gateway under way.
    in_flight: AtomicU32,
    /// Most attempts under way at a time since the last scrape began.
    peak: AtomicU32,
    numbers: EngineNumbers<Number>,
    /// When the newest number was read: see [`stamp`].
    read: AtomicU64,
    /// Scrapes that ended, whether well or not.
    pub scrapes: Counter,
    /// Scrapes that gave no number.
    pub failures: Counter,
}

/// A number, and when it was read. `running` is stored without the gateway's own attempts.
#[derive(Debug)]
struct Number {
    /// The bits of an `f64`, NaN if it is unknown.
    value: AtomicU64,
    /// See [`stamp`].
    read: AtomicU64,
}

impl Default for Number {
    fn default() -> Self {
        Self { value: AtomicU64::new(f64::NAN.to_bits()), read: AtomicU64::new(0) }
    }
}

/// The moment that the numbers of an engine are of: when a scrape began, or an answer came.
#[derive(Debug, Clone, Copy)]
pub struct EngineMoment {
    at: Instant,
    /// Own attempts under way.
    in_flight: u32,
    /// True for a scrape: the engine counts its requests at some time between its begin and its
    /// end.
    lasts: bool,
}

impl EngineSignals {
    /// Whether its numbers are asked for.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.is_asked.load(Relaxed)
    }

    /// Sets whether its numbers are asked for. `scraping` says how long each of them is used.
    pub fn ask(&self, is_asked: bool, scraping: &Scraping) {
        self.stale_after.store(millis(scraping.stale_after()), Relaxed);
        self.report_after.store(millis(2 * scraping.interval), Relaxed);
        self.is_asked.store(is_asked, Relaxed);
    }

    /// True if the next answer should report the load: all numbers are older than two intervals. A
    /// report costs vLLM as much as a scrape, and a line of its log.
    #[must_use]
    pub fn wants_report(&self, now: Instant) -> bool {
        self.takes_reports()
            && age(self.read.load(Relaxed), now)
                .is_none_or(|age| age > self.report_after.load(Relaxed))
    }

    /// Whether the numbers of an answer count.
    #[must_use]
    pub fn takes_reports(&self) -> bool {
        self.is_asked() && !self.is_several.load(Relaxed)
    }

    /// Sets whether several engines answer here, as a scrape says.
    pub fn set_several(&self, is_several: bool) {
        self.is_several.store(is_several, Relaxed);
    }

    /// Counts an attempt in.
    pub fn begin(&self) {
        let in_flight = self.in_flight.fetch_add(1, Relaxed) + 1;
        // Few attempts are a peak, and a read costs less than a write that cores contend for.
        if in_flight > self.peak.load(Relaxed) {
            self.peak.fetch_max(in_flight, Relaxed);
        }
    }

    /// Counts an attempt out.
    pub fn end(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// The moment of a scrape that begins now. An engine has one scrape at a time.
    #[must_use]
    pub fn moment(&self, at: Instant) -> EngineMoment {
        let in_flight = self.in_flight.load(Relaxed);
        self.peak.store(in_flight, Relaxed);
        EngineMoment { at, in_flight, lasts: true }
    }

    /// The moment of numbers that came with an answer. For the engine its request is over; for the
    /// gateway it is still under way.
    #[must_use]
    pub fn moment_of_answer(&self, at: Instant) -> EngineMoment {
        let in_flight = self.in_flight.load(Relaxed).saturating_sub(1);
        EngineMoment { at, in_flight, lasts: false }
    }

    /// The gateway's own requests among the `running` ones that the engine told. An attempt that
    /// began or ended during a scrape may be among them or not. It is if the number allows that:
    /// else it would count for another client's until the next scrape, long after its end.
    fn own(&self, running: f64, moment: EngineMoment) -> f64 {
        let [mut least, mut most] = [moment.in_flight; 2];
        if moment.lasts {
            let now = self.in_flight.load(Relaxed);
            least = least.min(now);
            most = most.max(now).max(self.peak.load(Relaxed));
        }
        running.clamp(least.into(), most.into())
    }

    /// Takes numbers of the engine. None: not told, the last one stays. A number that cannot be is
    /// unknown: requests are from 0 to 10^9, ratios from 0 to 1. Older numbers than the last are
    /// ignored. Returns how many are known.
    pub fn record(&self, numbers: EngineNumbers<Option<f64>>, moment: EngineMoment) -> usize {
        let at = stamp(moment.at);
        let mut known = 0;
        for (index, value) in numbers.into_iter().enumerate() {
            let (Some(value), number) = (value, &self.numbers[index]) else { continue };
            if number.read.load(Relaxed) > at {
                continue;
            }
            let most = if index <= WAITING { MOST_REQUESTS } else { 1.0 };
            let mut value = if (0.0..=most).contains(&value) { value } else { f64::NAN };
            known += usize::from(!value.is_nan());
            if index == RUNNING {
                value -= self.own(value, moment);
            }
            number.value.store(value.to_bits(), Relaxed);
            number.read.store(at, Relaxed);
        }
        if known > 0 {
            self.read.fetch_max(at, Relaxed);
        }
        known
    }

    /// The value of a signal at `now`. NaN: unknown, too old, or not a signal of engines.
    #[must_use]
    pub fn value(&self, signal: Signal, now: Instant) -> f64 {
        match signal {
            Signal::EngineRunning => self.running(now),
            Signal::EngineWaiting | Signal::EngineKv | Signal::EnginePrefixHit => {
                self.number(signal as usize, now).map_or(f64::NAN, |(value, _)| value)
            }
            Signal::EngineAge => self.age(now),
            _ => f64::NAN,
        }
    }

    /// The requests that the engine works on: what it told, with the attempts that began since and
    /// without those that ended. At least the gateway's own, except for as many as wait there.
    fn running(&self, now: Instant) -> f64 {
        let Some((others, _)) = self.number(RUNNING, now) else { return f64::NAN };
        let own = f64::from(self.in_flight.load(Relaxed));
        let waiting = self.number(WAITING, now).map_or(0.0, |(waiting, _)| waiting);
        (others + own).max(own - waiting).max(0.0)
    }

    /// Milliseconds since the oldest of its known numbers was read. If none is known, since the
    /// last one was.
    fn age(&self, now: Instant) -> f64 {
        let known = (0..ENGINE_SIGNALS.len()).filter_map(|index| self.number(index, now));
        let oldest = known.map(|(_, age)| age).max();
        let last = || age(self.read.load(Relaxed), now);
        oldest.or_else(last).map_or(f64::NAN, |age| age as f64)
    }

    /// A number that is known and not too old, with its age in milliseconds.
    fn number(&self, index: usize, now: Instant) -> Option<(f64, u64)> {
        let number = &self.numbers[index];
        let value = f64::from_bits(number.value.load(Relaxed));
        let age = age(number.read.load(Relaxed), now).filter(|_| !value.is_nan())?;
        (age <= self.stale_after.load(Relaxed)).then_some((value, age))
    }
}

/// A time as an atomic keeps it: milliseconds on the clock of the process, from 1. 0 is never.
fn stamp(at: Instant) -> u64 {
    millis(clock(at)).saturating_add(1)
}

/// Milliseconds from a stamp to `now`. None: never.
fn age(stamp_then: u64, now: Instant) -> Option<u64> {
    (stamp_then > 0).then(|| stamp(now).saturating_sub(stamp_then))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: EngineNumbers<Option<f64>> = [Some(3.0), Some(2.0), Some(0.5), Some(0.25)];

    struct Scene {
        engine: EngineSignals,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let engine = EngineSignals::default();
            engine.ask(true, &Scraping::default());
            Self { engine, now: Instant::now() + Duration::from_secs(1) }
        }

        fn pass(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
        }

        fn record(&self, numbers: EngineNumbers<Option<f64>>) -> usize {
            self.engine.record(numbers, self.engine.moment(self.now))
        }

        /// Values that are unknown are None.
        fn values(&self) -> [Option<f64>; 5] {
            let all = ENGINE_SIGNALS.map(|(signal, _)| signal);
            let value = |signal| {
                let value = self.engine.value(signal, self.now);
                (!value.is_nan()).then_some(value)
            };
            [value(all[0]), value(all[1]), value(all[2]), value(all[3]), value(Signal::EngineAge)]
        }

        fn running(&self) -> f64 {
            self.engine.value(Signal::EngineRunning, self.now)
        }
    }

    #[test]
    fn numbers_age_and_become_unknown() {
        let mut scene = Scene::new();
        assert_eq!(scene.values(), [None; 5]);
        assert_eq!(scene.record(ALL), 4);
        assert_eq!(scene.values(), [Some(3.0), Some(2.0), Some(0.5), Some(0.25), Some(0.0)]);
        scene.pass(5_000);
        assert_eq!(scene.values(), [Some(3.0), Some(2.0), Some(0.5), Some(0.25), Some(5_000.0)]);
        scene.pass(1);
        assert_eq!(scene.values(), [None, None, None, None, Some(5_001.0)]);
        assert!(scene.engine.value(Signal::Limit, scene.now).is_nan());
    }

    #[test]
    fn reports_are_wanted_where_scrapes_are_late() {
        let mut scene = Scene::new();
        let wants = |scene: &Scene| scene.engine.wants_report(scene.now);
        assert!(wants(&scene), "nothing was ever known");
        scene.record(ALL);
        scene.pass(1_000);
        assert!(!wants(&scene));
        scene.pass(1);
        assert!(wants(&scene));
        scene.record([None, Some(1.0), None, None]);
        assert!(!wants(&scene), "a report is as good as a scrape");
        scene.pass(2_000);
        scene.engine.set_several(true);
        assert!(!wants(&scene) && !scene.engine.takes_reports());
        scene.engine.set_several(false);
        scene.engine.ask(false, &Scraping::default());
        assert!(!wants(&scene) && !scene.engine.takes_reports());
    }

    #[test]
    fn a_burst_between_scrapes_is_seen() {
        let scene = Scene::new();
        (0..2).for_each(|_| scene.engine.begin());
        assert_eq!(scene.record([Some(7.0), Some(0.0), None, None]), 2);
        (0..10).for_each(|_| scene.engine.begin());
        assert_eq!(scene.running(), 17.0);
        (0..12).for_each(|_| scene.engine.end());
        assert_eq!(scene.running(), 5.0);
    }

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Step {
        /// Of the request.
        Start,
        End,
        /// Of the scrape: it begins, the engine counts, the numbers are there.
        Ask,
        Count,
        Read,
    }
    const STEPS: [Step; 5] = [Step::Start, Step::End, Step::Ask, Step::Count, Step::Read];

    /// Plays one scrape and one own request, in every order of their steps. Others have so many
    /// requests. Returns the order, and after each step how many requests count as those of others.
    fn each_order(others: f64) -> Vec<(Vec<Step>, Vec<f64>)> {
        let orders =
            (0..5_usize.pow(5)).map(|n| [625, 125, 25, 5, 1].map(|place| STEPS[n / place % 5]));
        let at = |order: &[Step], step| order.iter().position(|one| *one == step);
        let is_order = |order: &[Step; 5]| {
            let at = STEPS.map(|step| at(order, step));
            at.iter().all(Option::is_some) && at[0] < at[1] && at[2] < at[3] && at[3] < at[4]
        };
        let play = |order: [Step; 5]| {
            let scene = Scene::new();
            scene.record([Some(others), Some(0.0), None, None]);
            let (mut own, mut moment, mut told) = (0.0, None, 0.0);
            let after = order.map(|step| {
                match step {
                    Step::Start => {
                        scene.engine.begin();
                        own = 1.0;
                    }
                    Step::End => {
                        scene.engine.end();
                        own = 0.0;
                    }
                    Step::Ask => moment = Some(scene.engine.moment(scene.now)),
                    Step::Count => told = others + own,
                    Step::Read => {
                        let moment = moment.expect("it has begun");
                        scene.engine.record([Some(told), Some(0.0), None, None], moment);
                    }
                }
                scene.running() - own
            });
            (order.to_vec(), after.to_vec())
        };
        orders.filter(is_order).map(play).collect()
    }

    #[test]
    fn an_own_request_is_never_taken_for_anothers() {
        let orders = each_order(0.0);
        assert_eq!(orders.len(), 10);
        for (order, others) in orders {
            assert_eq!(others, [0.0; 5], "{order:?}");
        }
    }

    #[test]
    fn requests_of_others_stay_in_sight() {
        for (order, others) in each_order(3.0) {
            assert!(
                others.iter().all(|others| [2.0, 3.0].contains(others)),
                "{order:?} {others:?}"
            );
            let at = |step| order.iter().position(|one| *one == step);
            let is_apart = at(Step::Read) < at(Step::Start)
                || at(Step::End) < at(Step::Ask)
                || (at(Step::Start) < at(Step::Ask) && at(Step::Read) < at(Step::End));
            assert!(!is_apart || others == [3.0; 5], "{order:?} {others:?}");
        }
    }

    #[test]
    fn a_slow_scrape_does_not_add_up_requests_one_after_another() {
        let scene = Scene::new();
        let moment = scene.engine.moment(scene.now);
        for _ in 0..20 {
            scene.engine.begin();
            scene.engine.end();
        }
        scene.engine.record([Some(5.0), Some(0.0), None, None], moment);
        assert_eq!(scene.running(), 4.0, "at most one of them was its own");
    }

    #[test]
    fn own_requests_count_even_if_the_engine_tells_zero() {
        let scene = Scene::new();
        (0..8).for_each(|_| scene.engine.begin());
        scene.record([Some(0.0), None, None, None]);
        assert_eq!(scene.running(), 8.0);
        scene.record([Some(0.0), Some(6.0), None, None]);
        assert_eq!(scene.running(), 2.0, "six of them wait");
        scene.record([Some(0.0), Some(60.0), None, None]);
        assert_eq!(scene.running(), 0.0);
        (0..8).for_each(|_| scene.engine.end());
        assert_eq!(scene.running(), 0.0, "never below");
    }

    #[test]
    fn an_answer_tells_the_load_without_its_request() {
        let scene = Scene::new();
        (0..3).for_each(|_| scene.engine.begin());
        let moment = scene.engine.moment_of_answer(scene.now);
        scene.engine.record([Some(2.0), None, None, None], moment);
        scene.engine.end();
        assert_eq!(scene.running(), 2.0);
    }

    #[test]
    fn numbers_that_cannot_be_are_unknown() {
        let scene = Scene::new();
        for lie in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -1e300, 1e300] {
            scene.record(ALL);
            assert_eq!(scene.record([Some(lie); 4]), 0);
            assert_eq!(scene.values()[..4], [None; 4], "{lie}");
        }
        assert_eq!(scene.record([Some(1.0), Some(1e9), Some(1.0), Some(1.0)]), 4);
        assert_eq!(scene.record([Some(1.1e9), Some(1.1e9), Some(1.01), Some(1.01)]), 0);
    }

    #[test]
    fn each_number_has_its_own_age() {
        let mut scene = Scene::new();
        scene.record(ALL);
        let late = scene.engine.moment(scene.now);
        scene.pass(2_000);
        scene.record([None, Some(9.0), None, None]);
        assert_eq!(scene.values()[4], Some(2_000.0), "the oldest number says the age");
        scene.engine.record(ALL, late);
        assert_eq!(scene.values()[1], Some(9.0), "a slow scrape does not undo a newer number");
        scene.pass(4_000);
        assert_eq!(scene.values(), [None, Some(9.0), None, None, Some(4_000.0)]);
    }
}
