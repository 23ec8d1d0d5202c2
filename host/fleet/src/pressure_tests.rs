//! The rules one by one, then gateways and engines in simulated time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);
const MAX: u32 = 1000;

fn new(side: Side) -> Pressure {
    Pressure::new(side, || 0.0)
}

/// A local deployment that refused one of `out` requests.
fn refused(out: u32, now: Instant) -> Pressure {
    let mut pressure = new(Side::Local);
    pressure.refused((out, now), out, MAX, now);
    pressure
}

fn limit(pressure: &mut Pressure, out: u32, now: Instant) -> u32 {
    pressure.room(out, MAX, now).limit
}

/// Lets a round of good answers come at the limit.
fn round(pressure: &mut Pressure, now: Instant) {
    let limit = pressure.limit(MAX).expect("a limit");
    (0..limit).for_each(|_| pressure.answered(limit, MAX, now));
}

#[test]
fn a_refusal_sets_the_limit_below_what_was_out() {
    let now = Instant::now();
    let mut pressure = new(Side::Local);
    assert!(pressure.is_none());
    assert_eq!(pressure.room(3, MAX, now), Room { limit: MAX, opens: None, trial: false });
    // Twelve at once, at an engine with four places.
    for out in (5..=12).rev() {
        pressure.refused((out, now), out, MAX, now);
        assert_eq!(pressure.limit(MAX), Some(out - 1));
    }
    assert_eq!((limit(&mut pressure, 4, now), pressure.is_none()), (4, false));
    assert_eq!(pressure.limit(4), None, "the configured limit is no higher");
}

#[test]
fn the_limit_rises_by_rounds_and_shuns_the_refused_level() {
    let now = Instant::now();
    let mut pressure = refused(5, now);
    pressure.refused((4, now), 4, MAX, now);
    assert_eq!(pressure.limit(MAX), Some(3));
    // The level of 4 was refused, and is tried again after a second.
    round(&mut pressure, now + 999 * MS);
    assert_eq!(pressure.limit(MAX), Some(3));
    round(&mut pressure, now + 1000 * MS);
    assert_eq!(pressure.limit(MAX), Some(4));
    round(&mut pressure, now + 1000 * MS);
    assert_eq!(pressure.limit(MAX), Some(5), "nothing is known against it");
    // Answers while places are free say nothing about the next one.
    (0..50).for_each(|_| pressure.answered(4, MAX, now + 1000 * MS));
    assert_eq!(pressure.limit(MAX), Some(5));
}

#[test]
fn a_refused_level_is_tried_less_and_less_often() {
    let mut now = Instant::now();
    let mut pressure = new(Side::Remote);
    pressure.refused((5, now), 5, MAX, now);
    for wait in [1, 2, 4, 8, 16, 30, 30].map(Duration::from_secs) {
        // Rounds without end do not bring a remote deployment's retry forward.
        (0..20).for_each(|_| round(&mut pressure, now + wait - MS));
        assert_eq!(pressure.limit(MAX), Some(4), "{wait:?}");
        now += wait;
        round(&mut pressure, now);
        assert_eq!(pressure.limit(MAX), Some(5), "{wait:?}");
        // A burst of refusals is one.
        pressure.refused((5, now), 5, MAX, now);
        pressure.refused((5, now), 5, MAX, now);
        assert!(pressure.limit(MAX) <= Some(4));
        (0..4).for_each(|_| round(&mut pressure, now));
    }
}

#[test]
fn a_busy_local_deployment_is_tried_again_sooner() {
    let now = Instant::now();
    let mut pressure = refused(5, now);
    round(&mut pressure, now);
    (4..REQUESTS).for_each(|_| pressure.passed_over());
    round(&mut pressure, now);
    assert_eq!(pressure.limit(MAX), Some(5));
}

#[test]
fn refusals_below_what_was_good_are_of_others() {
    let now = Instant::now();
    let mut pressure = refused(11, now);
    round(&mut pressure, now);
    assert_eq!((pressure.limit(MAX), pressure.good), (Some(10), 10));
    pressure.refused((6, now), 6, MAX, now);
    assert_eq!((pressure.limit(MAX), pressure.good), (Some(8), 8), "0.8 of it");
    for _ in 0..20 {
        pressure.refused((2, now), 2, MAX, now);
    }
    assert_eq!(pressure.limit(MAX), Some(1), "never none");
}

#[test]
fn a_refusal_with_nothing_else_out_is_a_pause() {
    for (side, longest) in [(Side::Local, 2_000), (Side::Remote, 30_000)] {
        let (mut now, mut pressure, mut pause) = (Instant::now(), new(side), 100);
        for _ in 0..12 {
            pressure.refused((1, now), 1, MAX, now);
            let until = now + pause * MS;
            let closed = Room { limit: 0, opens: Some(until), trial: false };
            assert_eq!(pressure.room(0, MAX, until - MS), closed, "{side:?} {pause}");
            now = until;
            assert_eq!(limit(&mut pressure, 0, now), 1, "one trial");
            pause = (pause * 2).min(longest);
        }
        pressure.answered(1, MAX, now);
        pressure.refused((1, now), 1, MAX, now);
        assert_eq!(pressure.room(0, MAX, now).opens, Some(now + PAUSE), "from the beginning");
    }
}

#[test]
fn requests_shorten_the_pause_of_a_local_deployment() {
    for (side, open) in [(Side::Local, true), (Side::Remote, false)] {
        let now = Instant::now();
        let mut pressure = new(side);
        pressure.refused((1, now), 1, MAX, now);
        (1..REQUESTS).for_each(|_| pressure.passed_over());
        assert_eq!(limit(&mut pressure, 0, now), 0);
        pressure.passed_over();
        assert_eq!(limit(&mut pressure, 0, now) == 1, open, "{side:?}");
    }
}

#[test]
fn a_stall_lets_one_request_at_a_time_try() {
    let now = Instant::now();
    let mut pressure = new(Side::Local);
    pressure.stalls(now, 7, 1, MAX, now);
    assert!(pressure.stalled().is_some() && pressure.limit(MAX).is_none());
    assert_eq!(pressure.room(6, MAX, now), Room { limit: 7, opens: None, trial: true });
    pressure.admitted(true, now);
    assert_eq!(limit(&mut pressure, 7, now), 7, "one trial at a time");
    pressure.trial_ended();
    assert_eq!(limit(&mut pressure, 6, now), 7);
    assert!(!pressure.begun(now - MS), "sent before the stall");
    assert!(pressure.begun(now) && pressure.is_none());
}

#[test]
fn stalls_of_many_lower_the_limit() {
    let now = Instant::now();
    // 24 at an engine that answers eight in time.
    let mut pressure = new(Side::Local);
    for out in (9..=24).rev() {
        pressure.stalls(now, out, out, MAX, now);
    }
    assert_eq!(pressure.limit(MAX), Some(8));
    pressure.begun(now);
    round(&mut pressure, now);
    // Below what was good a single one is no sign.
    pressure.stalls(now, 6, 3, MAX, now);
    assert_eq!(pressure.limit(MAX), Some(8));
    (0..8).for_each(|_| pressure.answered(5, MAX, now));
    pressure.stalls(now, 6, 3, MAX, now);
    assert_eq!(pressure.limit(MAX), Some(8), "two of sixteen and more");
    (0..2).for_each(|_| pressure.stalls(now, 6, 3, MAX, now + MS));
    assert_eq!(pressure.limit(MAX), Some(6));
    // Those that were sent before the limit fell say nothing about the lower one.
    (0..9).for_each(|_| pressure.stalls(now, 6, 3, MAX, now + MS));
    assert_eq!(pressure.limit(MAX), Some(6));
}

#[test]
fn slow_start_ramps_the_limit() {
    let now = Instant::now();
    let mut pressure = new(Side::Local);
    let lasts = 10_000 * MS;
    pressure.ramp(Some(LimitRamp { from: 2, to: 12, began: now, lasts }));
    assert!(!pressure.is_none());
    let room = pressure.room(0, MAX, now);
    assert_eq!(room, Room { limit: 2, opens: Some(now + 1000 * MS), trial: false });
    assert_eq!(limit(&mut pressure, 0, now + 5000 * MS), 7);
    assert_eq!(limit(&mut pressure, 0, now + 9999 * MS), 11);
    assert_eq!(limit(&mut pressure, 0, now + lasts), MAX);
    assert!(pressure.is_none());
    pressure.ramp(Some(LimitRamp { from: 1, to: 1, began: now, lasts }));
    assert_eq!(pressure.room(0, MAX, now).limit, 1);
    assert!(pressure.room(0, MAX, now).opens > Some(now));
}

proptest! {
    /// There is always a way on: a place, a request that is out, or a time at which there is one.
    #[test]
    fn it_never_closes_for_good(
        steps in prop::collection::vec((0..7u8, 1..20u32, 0..2_000u32), 0..100),
        max in 1..20u32,
        remote in any::<bool>(),
    ) {
        let side = if remote { Side::Remote } else { Side::Local };
        let (mut pressure, mut now) = (new(side), Instant::now());
        for (step, out, wait) in steps {
            now += wait * MS;
            match step {
                0 => pressure.refused((out, now), out, max, now),
                1 => pressure.stalls(now, out, out, max, now),
                2 => pressure.answered(out, max, now),
                3 => pressure.spent(out % 2 == 0, now),
                4 => pressure.passed_over(),
                5 => pressure.admitted(true, now),
                _ => pressure.trial_ended(),
            }
            pressure.trial_ended();
            let room = pressure.room(0, max, now);
            prop_assert!(room.limit <= max);
            prop_assert!(room.limit > 0 || room.opens.is_some_and(|opens| opens > now));
        }
    }
}

/// The number of a request at its gateway, and when it was sent.
type Sent = (u32, Duration);

/// What happens at an engine that refuses what it has no place for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A client asks its gateway.
    Asks(usize),
    Arrives(usize, Sent),
    Refuses(usize, Sent),
    Finishes(usize),
    Answers(usize),
    Places(u32),
}

/// Clients in a closed loop, at gateways that share one engine and have an API for the rest.
struct Scene {
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    gateways: Vec<(Pressure, u32)>,
    served: Vec<u32>,
    places: u32,
    busy: u32,
    count: u64,
    random: u64,
    requests: u32,
    refusals: u32,
}

const SERVICE: Duration = Duration::from_millis(500);
const API: Duration = Duration::from_millis(200);
const START: Duration = Duration::from_secs(10);

impl Scene {
    fn run(
        gateways: usize,
        clients: usize,
        places: &[(u64, u32)],
        seconds: u64,
        seed: u64,
    ) -> Self {
        let pressure = |_| (new(Side::Local), 0);
        let mut scene = Self {
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            gateways: (0..gateways).map(pressure).collect(),
            served: vec![0; gateways],
            places: places[0].1,
            busy: 0,
            count: 0,
            random: seed + 1,
            requests: 0,
            refusals: 0,
        };
        for gateway in 0..gateways {
            (0..clients).for_each(|_| scene.plan(10 * MS, Event::Asks(gateway)));
        }
        for (at, places) in places {
            scene.events.push(Reverse((Duration::from_secs(*at), 0, Event::Places(*places))));
        }
        let start = Instant::now();
        while let Some(Reverse((at, _, event))) = scene.events.pop()
            && at < Duration::from_secs(seconds)
        {
            scene.now = at;
            scene.happens(event, start + at);
        }
        scene
    }

    /// A number from 0 to 1, by xorshift.
    fn random(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Plans an event after a time of up to 1.5 times `about`.
    fn plan(&mut self, about: Duration, event: Event) {
        let after = about.mul_f64(0.5 + self.random());
        self.plan_exactly(after, event);
    }

    fn plan_exactly(&mut self, after: Duration, event: Event) {
        self.count += 1;
        self.events.push(Reverse((self.now + after, self.count, event)));
    }

    fn happens(&mut self, event: Event, now: Instant) {
        match event {
            Event::Places(places) => self.places = places,
            Event::Asks(at) => {
                self.requests += 1;
                let (pressure, out) = &mut self.gateways[at];
                if *out < pressure.room(*out, MAX, now).limit {
                    *out += 1;
                    let sent = (*out, self.now);
                    self.plan(MS, Event::Arrives(at, sent));
                } else {
                    pressure.passed_over();
                    self.plan_exactly(API, Event::Asks(at));
                }
            }
            Event::Arrives(at, _) if self.busy < self.places => {
                self.busy += 1;
                let uneven = SERVICE.mul_f64(0.98 + 0.04 * self.random());
                self.plan_exactly(uneven, Event::Finishes(at));
            }
            Event::Arrives(at, sent) => self.plan(MS, Event::Refuses(at, sent)),
            Event::Refuses(at, (level, sent)) => {
                self.refusals += 1;
                let (pressure, out) = &mut self.gateways[at];
                pressure.refused((level, now - (self.now - sent)), *out, MAX, now);
                *out -= 1;
                self.plan_exactly(API, Event::Asks(at));
            }
            Event::Finishes(at) => {
                self.busy -= 1;
                self.served[at] += u32::from(self.now >= START);
                self.plan(MS, Event::Answers(at));
            }
            Event::Answers(at) => {
                let (pressure, out) = &mut self.gateways[at];
                pressure.answered(*out, MAX, now);
                *out -= 1;
                self.plan(MS, Event::Asks(at));
            }
        }
    }

    /// What each gateway got of what the engine could do from the start on.
    fn used(&self, place_seconds: f64) -> Vec<f64> {
        let could = place_seconds / SERVICE.as_secs_f64();
        self.served.iter().map(|served| f64::from(*served) / could).collect()
    }
}

const SEEDS: u64 = 20;

#[test]
fn a_full_engine_is_kept_full() {
    for places in [1, 2, 4, 16] {
        for seed in 0..SEEDS {
            let scene = Scene::run(1, places as usize * 3, &[(0, places)], 60, seed);
            let used = scene.used(f64::from(places) * 50.0)[0];
            // Of few places each yielded one is a large part.
            let goal = if places < 4 { 0.92 } else { 0.95 };
            assert!(used > goal, "{used} of {places} places, seed {seed}");
            assert!(scene.refusals * 20 < scene.requests, "{} refused", scene.refusals);
        }
    }
}

#[test]
fn a_limit_follows_an_engine_that_changes() {
    let places = [(0, 4), (20, 2), (30, 4), (40, 8), (50, 4)];
    let used =
        |seed| Scene::run(1, 12, &places, 60, seed).used(40.0 + 20.0 + 40.0 + 80.0 + 40.0)[0];
    let mean = (0..SEEDS).map(used).sum::<f64>() / SEEDS as f64;
    assert!(mean > 0.92, "{mean}");
}

#[test]
fn gateways_share_an_engine() {
    for (places, clients) in [(4, 12), (8, 24)] {
        let (mut least, mut both) = (Vec::new(), 0.0);
        for seed in 0..SEEDS {
            let used =
                Scene::run(2, clients, &[(0, places)], 70, seed).used(f64::from(places) * 60.0);
            least.push(used[0].min(used[1]));
            both += used.iter().sum::<f64>() / SEEDS as f64;
        }
        least.sort_by(f64::total_cmp);
        assert!(both > 0.95, "{both} of {places}");
        assert!(least[0] > 0.25 && least[least.len() / 2] > 0.4, "{least:?} of {places}");
    }
}
