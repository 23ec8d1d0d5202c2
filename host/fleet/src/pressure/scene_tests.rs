//! Gateways and engines in simulated time.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

const MS: Duration = Duration::from_millis(1);
const MAX: u32 = 1000;

/// The number of a request at its gateway, and when it was sent.
type Sent = (u32, Duration);

/// What happens at an engine that refuses what it has no place for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A client asks its gateway.
    Asks(usize),
    Arrives(usize, Sent),
    Refuses(usize, Sent),
    Finishes(usize, Sent),
    Answers(usize, Sent),
    Places(u32),
}

/// A gateway: its knowledge of the engine, its requests there, and its requests in line.
struct Gateway {
    pressure: Pressure,
    out: u32,
    waiting: u32,
}

/// Clients in a closed loop, at gateways that share one engine and have an API for the rest.
struct Scene {
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    gateways: Vec<Gateway>,
    served: Vec<u32>,
    places: u32,
    busy: u32,
    count: u64,
    random: u64,
    requests: u32,
    refusals: u32,
}

thread_local! {
    static JITTER: Cell<u64> = const { Cell::new(1) };
}

fn jitter() -> f64 {
    JITTER.set(xorshift(JITTER.get()));
    unit(JITTER.get()) * 2.0 - 1.0
}

fn xorshift(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ (state << 17)
}

/// A number from 0 to 1.
fn unit(state: u64) -> f64 {
    (state >> 11) as f64 / (1u64 << 53) as f64
}

const SERVICE: Duration = Duration::from_millis(500);
const API: Duration = Duration::from_millis(200);
const START: Duration = Duration::from_secs(10);

impl Scene {
    /// Runs for that many seconds. `starts`: when each gateway gets its clients, in seconds.
    /// `places`: the places of the engine, from a time on.
    fn run(starts: &[u64], clients: usize, places: &[(u64, u32)], seconds: u64, seed: u64) -> Self {
        JITTER.set(seed + 1);
        let pressure = || Pressure::new(Side::Local, jitter);
        let gateway = |_| Gateway { pressure: pressure(), out: 0, waiting: 0 };
        let mut scene = Self {
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            gateways: starts.iter().map(gateway).collect(),
            served: vec![0; starts.len()],
            places: places[0].1,
            busy: 0,
            count: 0,
            random: seed + 1,
            requests: 0,
            refusals: 0,
        };
        for (gateway, start) in starts.iter().enumerate() {
            scene.now = Duration::from_secs(*start);
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

    fn random(&mut self) -> f64 {
        self.random = xorshift(self.random);
        unit(self.random)
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
                if self.enters(at, now) {
                    return;
                }
                let gateway = &mut self.gateways[at];
                gateway.pressure.passed_over();
                // As an itinerary: what may become free soon is waited for before a standby is used.
                if gateway.pressure.is_hopeful() && gateway.out > 0 {
                    gateway.waiting += 1;
                } else {
                    self.plan_exactly(API, Event::Asks(at));
                }
            }
            Event::Arrives(at, sent) if self.busy < self.places => {
                self.busy += 1;
                let uneven = SERVICE.mul_f64(0.98 + 0.04 * self.random());
                self.plan_exactly(uneven, Event::Finishes(at, sent));
            }
            Event::Arrives(at, sent) => self.plan(MS, Event::Refuses(at, sent)),
            Event::Refuses(at, (level, sent)) => {
                self.refusals += 1;
                let Gateway { pressure, out, .. } = &mut self.gateways[at];
                pressure.refused((level, now - (self.now - sent)), *out, MAX, now);
                *out -= 1;
                self.plan_exactly(API, Event::Asks(at));
                self.serve(at, now);
            }
            Event::Finishes(at, sent) => {
                self.busy -= 1;
                self.served[at] += u32::from(self.now >= START);
                self.plan(MS, Event::Answers(at, sent));
            }
            Event::Answers(at, (_, sent)) => {
                let Gateway { pressure, out, .. } = &mut self.gateways[at];
                pressure.answered(now - (self.now - sent), *out, MAX, now);
                *out -= 1;
                self.serve(at, now);
                self.plan(MS, Event::Asks(at));
            }
        }
    }

    /// True if a request finds a place: it is sent.
    fn enters(&mut self, at: usize, now: Instant) -> bool {
        let Gateway { pressure, out, .. } = &mut self.gateways[at];
        let has_place = *out < pressure.room(*out, MAX, now).limit;
        if has_place {
            *out += 1;
            let sent = (*out, self.now);
            self.plan(MS, Event::Arrives(at, sent));
        }
        has_place
    }

    /// Sends the requests in line for which there is a place. Where none is out any more they go on
    /// to the API.
    fn serve(&mut self, at: usize, now: Instant) {
        while self.gateways[at].waiting > 0 && self.enters(at, now) {
            self.gateways[at].waiting -= 1;
        }
    }

    /// The share of the engine's capacity that each gateway got, after the start.
    fn used(&self, place_seconds: f64) -> Vec<f64> {
        let could = place_seconds / SERVICE.as_secs_f64();
        self.served.iter().map(|served| f64::from(*served) / could).collect()
    }
}

const SEEDS: u64 = 40;

/// The least and the median of the values.
fn least_and_median(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2])
}

#[test]
fn a_full_engine_is_kept_full() {
    for places in [1, 2, 4, 16] {
        for seed in 0..SEEDS {
            let scene = Scene::run(&[0], places as usize * 3, &[(0, places)], 60, seed);
            let used = scene.used(f64::from(places) * 50.0)[0];
            assert!(used > 0.95, "{used} of {places} places, seed {seed}");
            assert!(scene.refusals * 9 < scene.requests, "{} refused", scene.refusals);
        }
    }
}

#[test]
fn a_limit_follows_an_engine_that_changes() {
    let places = [(0, 4), (20, 2), (30, 4), (40, 8), (50, 4)];
    let could = 40.0 + 20.0 + 40.0 + 80.0 + 40.0;
    let used = |seed| Scene::run(&[0], 12, &places, 60, seed).used(could)[0];
    let (least, median) = least_and_median((0..SEEDS).map(used).collect());
    assert!(least > 0.93 && median > 0.95, "{least} {median}");
}

#[test]
fn gateways_share_an_engine() {
    for (places, clients) in [(4, 12), (8, 24)] {
        // The second one comes to an engine that the first one has filled.
        for late in [0, 5] {
            let run = |seed| {
                let scene = Scene::run(&[0, late], clients, &[(0, places)], 60, seed);
                let used = scene.used(f64::from(places) * 50.0);
                (used[0].min(used[1]), used[0] + used[1])
            };
            let (lesser, both): (Vec<_>, Vec<_>) = (0..SEEDS).map(run).unzip();
            let (least, median) = least_and_median(lesser);
            let (all, _) = least_and_median(both);
            assert!(all > 0.92 && least > 0.15 && median > 0.42, "{least} {median} {all}");
        }
    }
}
