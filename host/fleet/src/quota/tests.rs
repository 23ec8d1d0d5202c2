#![allow(clippy::unwrap_used)]

use config::TimeZone;
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Period = Period::Seconds(60);

fn quota(unit: QuotaUnit, amount: u64, per: Period, source: QuotaSource) -> Quota {
    Quota { unit, amount, per, source, time_zone: TimeZone::default() }
}

/// The quotas of a deployment, and a clock on which a minute begins.
struct Scene {
    quotas: Quotas,
    now: Instant,
    wall: Wall,
}

impl Scene {
    fn new(quotas: &[Quota]) -> Self {
        let now = Instant::now();
        let wall = Wall::Since(now);
        Self { quotas: Quotas::of(quotas, None, wall).unwrap(), now, wall }
    }

    fn counted(unit: QuotaUnit, amount: u64) -> Self {
        Self::new(&[quota(unit, amount, MINUTE, QuotaSource::Counted)])
    }

    fn told(unit: QuotaUnit, amount: u64) -> Self {
        Self::new(&[quota(unit, amount, MINUTE, QuotaSource::Headers)])
    }

    /// Begins an attempt that takes so many tokens at most, and as many probably.
    fn take(&self, tokens: u64) -> Result<QuotaHold, QuotaSpent> {
        let needs = QuotaNeeds { most: tokens, expected: tokens };
        let forbidden = self.quotas.forbids(needs, self.now);
        let taken = self.quotas.take(needs, self.now);
        assert_eq!(taken.as_ref().err(), forbidden.as_ref(), "both say the same");
        taken.inspect(QuotaHold::arm)
    }

    /// The wait of a request that does not fit, in seconds.
    fn wait(&self, tokens: u64) -> Option<u64> {
        self.take(tokens).expect_err("used up").wait.map(|wait| wait.as_secs())
    }

    fn tell(&self, hold: &QuotaHold, remaining: u64, seconds: u32) {
        self.told_by(hold, &[ToldQuota { limit: Some(10), ..left(remaining, seconds) }]);
    }

    fn told_by(&self, hold: &QuotaHold, told: &[ToldQuota]) {
        hold.tell(told, self.now);
    }

    fn used(&self) -> u64 {
        self.quotas.report(self.now)[0].used.unwrap()
    }
}

fn left(remaining: u64, seconds: u32) -> ToldQuota {
    let (unit, per, limit) = (QuotaUnit::Requests, None, None);
    ToldQuota { unit, per, limit, remaining, reset: Some(seconds * SECOND) }
}

#[test]
fn counted_requests_come_back_when_the_window_turns() {
    let mut scene = Scene::counted(QuotaUnit::Requests, 2);
    scene.now += 20 * SECOND;
    for _ in 0..2 {
        scene.take(0).unwrap();
    }
    assert_eq!((scene.wait(0), scene.used()), (Some(40), 2));
    assert_eq!(scene.quotas.closed(scene.now), Some(scene.now + 40 * SECOND));
    assert_eq!(scene.quotas.used(scene.now), Some((1.0, 40 * SECOND)));
    scene.now += 40 * SECOND;
    assert!(scene.quotas.closed(scene.now).is_none() && scene.take(0).is_ok());
    assert_eq!(scene.used(), 1);
}

#[test]
fn an_attempt_that_was_not_sent_gives_its_request_back_in_its_window_alone() {
    let mut scene = Scene::counted(QuotaUnit::Requests, 1);
    let hold = scene.take(0).unwrap();
    hold.settle(QuotaUse::Unsent, scene.now);
    hold.settle(QuotaUse::AtLeast(9), scene.now);
    let late = scene.take(0).expect("given back");
    scene.now += 60 * SECOND;
    let _next = scene.take(0).unwrap();
    late.settle(QuotaUse::Unsent, scene.now);
    assert_eq!(scene.used(), 1, "that of the window after it");
    // Not made at all.
    let scene = Scene::counted(QuotaUnit::Requests, 1);
    drop(scene.quotas.take(QuotaNeeds::default(), scene.now).unwrap());
    assert_eq!(scene.used(), 0);
}

#[test]
fn tokens_are_reserved_and_settled() {
    let mut scene = Scene::counted(QuotaUnit::Tokens, 100);
    let (first, second) = (scene.take(60).unwrap(), scene.take(40).unwrap());
    assert_eq!(scene.wait(1), Some(1), "others may use less than they reserved");
    assert!(scene.quotas.closed(scene.now).is_none(), "nothing is used yet");
    first.settle(QuotaUse::Tokens(10), scene.now);
    assert_eq!(scene.used(), 50);
    second.settle(QuotaUse::AtLeast(5), scene.now);
    assert_eq!(scene.used(), 50, "all that was reserved");
    assert_eq!(scene.wait(51), Some(60));
    assert_eq!(scene.wait(101), None, "never");
    let more = scene.take(50).unwrap();
    more.settle(QuotaUse::AtLeast(70), scene.now);
    assert_eq!((scene.used(), scene.wait(1)), (120, Some(60)));
    scene.now += 60 * SECOND;
    // What is reserved when the window turns is used in the next one.
    let late = scene.take(70).unwrap();
    scene.now += 60 * SECOND;
    assert_eq!((scene.used(), scene.wait(31)), (70, Some(1)));
    drop(late);
    assert_eq!(scene.used(), 70, "dropped without an end");
}

#[test]
fn a_request_must_fit_in_all_quotas() {
    let scene = Scene::new(&[
        quota(QuotaUnit::Requests, 3, MINUTE, QuotaSource::Counted),
        quota(QuotaUnit::Tokens, 100, Period::Hour, QuotaSource::Counted),
    ]);
    let hold = scene.take(100).unwrap();
    hold.settle(QuotaUse::Tokens(100), scene.now);
    assert_eq!(scene.wait(1), Some(3600));
    assert_eq!(scene.used(), 1, "what was refused took no request");
    assert_eq!(scene.quotas.used(scene.now), Some((1.0, 3600 * SECOND)), "of the tightest");
    assert_eq!(scene.quotas.requests_left(scene.now), Some(2));
}

#[test]
fn clocks_that_change_bring_no_quota_back() {
    let start = Instant::now();
    let quota = quota(QuotaUnit::Requests, 1, MINUTE, QuotaSource::Counted);
    let wall = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let mut counted = counted::Counted::default();
    let mut turn = |at: u32, text| counted.turn(&quota, || wall(text), start + at * SECOND);
    let first = turn(0, "2026-11-30T12:00:10Z");
    assert_eq!(first, (1, start + 50 * SECOND));
    // Forward: the window lasts as long as it was to last.
    assert_eq!(turn(49, "2027-01-01T00:00:00Z"), first);
    // The machine's clock is a moment behind when the window ends.
    assert_eq!(turn(50, "2026-11-30T12:00:59.9Z"), (2, start + 110 * SECOND));
    // Back by a day: the window of then.
    assert_eq!(turn(110, "2026-11-29T12:00:30Z"), (3, start + 140 * SECOND));
}

#[test]
fn a_deployment_that_tells_nothing_has_no_known_limit() {
    let scene = Scene::told(QuotaUnit::Requests, 1);
    for _ in 0..50 {
        scene.take(0).unwrap();
    }
    assert!(scene.quotas.used(scene.now).is_none() && scene.quotas.closed(scene.now).is_none());
    let report = &scene.quotas.report(scene.now)[0];
    assert_eq!((report.limit, report.used, report.resets), (1, None, None));
}

#[test]
fn what_is_told_counts_less_what_was_sent_since() {
    let mut scene = Scene::told(QuotaUnit::Requests, 99);
    let (first, _second) = (scene.take(0).unwrap(), scene.take(0).unwrap());
    scene.tell(&first, 3, 30);
    assert_eq!(scene.quotas.requests_left(scene.now), Some(2), "the second is not in it");
    for _ in 0..2 {
        scene.take(0).unwrap();
    }
    assert_eq!(scene.wait(0), Some(30));
    assert_eq!(scene.quotas.closed(scene.now), Some(scene.now + 30 * SECOND));
    assert_eq!(scene.quotas.used(scene.now), Some((1.0, 30 * SECOND)));
    scene.now += 30 * SECOND;
    // The limit is presumed to be left, once.
    for _ in 0..10 {
        scene.take(0).unwrap();
    }
    assert_eq!(scene.wait(0), Some(60));
    scene.now += 60 * SECOND;
    for _ in 0..50 {
        scene.take(0).unwrap();
    }
}

#[test]
fn later_answers_count_and_earlier_ones_only_lower() {
    let mut scene = Scene::told(QuotaUnit::Requests, 99);
    let holds: Vec<_> = (0..4).map(|_| scene.take(0).unwrap()).collect();
    let left = |scene: &Scene| scene.quotas.requests_left(scene.now);
    scene.tell(&holds[2], 5, 30);
    assert_eq!(left(&scene), Some(4));
    scene.tell(&holds[0], 9, 30);
    assert_eq!(left(&scene), Some(4), "older, and no less");
    scene.tell(&holds[1], 4, 30);
    assert_eq!(left(&scene), Some(2), "older, and less");
    scene.tell(&holds[3], 8, 30);
    assert_eq!(left(&scene), Some(8), "newer");
    // An answer of the window before, which was told as it was then.
    let old = scene.take(0).unwrap();
    scene.now += 30 * SECOND;
    let _next = scene.take(0).unwrap();
    scene.tell(&old, 0, 20);
    assert_eq!(left(&scene), Some(9));
    // One that was sent then, and tells of a longer window.
    scene.tell(&old, 0, 50);
    assert_eq!(left(&scene), Some(0));
}

#[test]
fn nonsense_is_bounded_or_ignored() {
    let scene = Scene::told(QuotaUnit::Requests, 5);
    let hold = scene.take(0).unwrap();
    scene.tell(&hold, 0, 0);
    assert!(scene.quotas.closed(scene.now).is_none(), "a window that is over");
    scene.tell(&hold, 0, u32::MAX);
    assert_eq!(scene.wait(0), Some(60), "at most a window");
    scene.tell(&hold, u64::MAX, 30);
    assert_eq!(scene.quotas.requests_left(scene.now), Some(10), "at most the limit");
    scene.told_by(&hold, &[ToldQuota { limit: Some(0), reset: None, ..left(0, 0) }]);
    assert_eq!(scene.wait(0), Some(60), "a time that is not told is a window");
}

#[test]
fn told_tokens_must_suffice_for_the_request() {
    let scene = Scene::told(QuotaUnit::Tokens, 1000);
    let told = |remaining, limit| ToldQuota {
        unit: QuotaUnit::Tokens,
        limit: Some(limit),
        ..left(remaining, 20)
    };
    let hold = scene.take(100).unwrap();
    // As Anthropic tells them: of prompts, of answers, of both.
    scene.told_by(&hold, &[told(900, 1000), told(150, 200), told(1050, 1200)]);
    assert_eq!(scene.wait(151), Some(20));
    assert!(scene.quotas.closed(scene.now).is_none(), "smaller ones fit");
    let _small = scene.take(100).unwrap();
    assert_eq!(scene.wait(51), Some(20));
    // A request that is estimated to be larger than the limit is tried with a whole one.
    let scene = Scene::told(QuotaUnit::Tokens, 1000);
    let hold = scene.take(100).unwrap();
    scene.told_by(&hold, &[told(200, 200)]);
    scene.take(300).unwrap();
}

#[test]
fn headers_belong_to_the_quota_of_their_window() {
    let of = |per| quota(QuotaUnit::Requests, 100, per, QuotaSource::Headers);
    let scene = Scene::new(&[of(MINUTE), of(Period::Day)]);
    let used = || scene.quotas.report(scene.now).iter().map(|one| one.used).collect::<Vec<_>>();
    let hold = scene.take(0).unwrap();
    let named = |per, remaining| ToldQuota { per, limit: Some(100), ..left(remaining, 10) };
    scene.told_by(&hold, &[named(Some(Period::Day), 40)]);
    assert_eq!(used(), [None, Some(60)]);
    scene.told_by(&hold, &[named(None, 70), named(Some(Period::Day), 50)]);
    assert_eq!(used(), [Some(30), Some(50)]);
    scene.told_by(&hold, &[ToldQuota { unit: QuotaUnit::Tokens, ..named(None, 1) }]);
    assert_eq!(used(), [Some(30), Some(50)], "of no quota");
}

#[test]
fn a_reload_keeps_counts_of_the_same_kind() {
    let requests = |amount| quota(QuotaUnit::Requests, amount, MINUTE, QuotaSource::Counted);
    let mut scene = Scene::new(&[requests(3)]);
    let hold = scene.take(0).unwrap();
    scene.take(0).unwrap();
    let tokens = quota(QuotaUnit::Tokens, 9, MINUTE, QuotaSource::Counted);
    scene.quotas = Quotas::of(&[tokens, requests(2)], Some(&scene.quotas), scene.wall).unwrap();
    assert_eq!(
        scene.quotas.report(scene.now).iter().map(|one| one.used).collect::<Vec<_>>(),
        [Some(0), Some(2)]
    );
    assert_eq!(scene.wait(0), Some(60), "a lower amount counts at once");
    hold.settle(QuotaUse::Unsent, scene.now);
    assert!(scene.take(0).is_ok(), "attempts from before the reload settle in it");
    assert!(Quotas::of(&[], Some(&scene.quotas), scene.wall).is_none());
}

#[test]
fn what_turned_is_told_once() {
    let mut scene = Scene::counted(QuotaUnit::Requests, 1);
    let turned =
        |scene: &Scene| scene.quotas.turned(scene.now).map(|(_, at)| at).collect::<Vec<_>>();
    assert_eq!(turned(&scene), []);
    scene.take(0).unwrap();
    assert_eq!(turned(&scene), [Turned::Closed(scene.now + 60 * SECOND)]);
    assert_eq!(turned(&scene), []);
    scene.now += 60 * SECOND;
    assert_eq!(turned(&scene), [Turned::Opened]);
    assert_eq!(turned(&scene), []);
}

proptest! {
    #[test]
    fn no_order_of_attempts_passes_a_counted_quota(
        steps in prop::collection::vec((0..4u8, 1..60u64, 0..30u64), 0..200),
    ) {
        let mut scene = Scene::counted(QuotaUnit::Tokens, 100);
        let (mut open, mut window, mut used) = (Vec::new(), 0, 0);
        for (step, tokens, wait) in steps {
            scene.now += Duration::from_secs(wait);
            let minute = (scene.now - scene.start()).as_secs() / 60;
            if minute != window {
                (window, used) = (minute, 0);
            }
            match step {
                0 | 1 => open.extend(scene.take(tokens).ok().map(|hold| (hold, tokens))),
                _ if open.is_empty() => {}
                step => {
                    let (hold, most) = open.swap_remove(usize::try_from(tokens).unwrap() % open.len());
                    let (spent, of) = match step {
                        2 => (most / 2, QuotaUse::Tokens(most / 2)),
                        _ => (most, QuotaUse::AtLeast(0)),
                    };
                    hold.settle(of, scene.now);
                    used += spent;
                }
            }
            let reserved: u64 = open.iter().map(|(_, most)| most).sum();
            prop_assert_eq!(scene.used(), used + reserved);
            prop_assert!(used <= 100);
        }
    }
}

impl Scene {
    fn start(&self) -> Instant {
        match self.wall {
            Wall::Since(start) => start,
            Wall::Machine => self.now,
        }
    }
}
