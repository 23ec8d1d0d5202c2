//! Lives through a day of the market of `oracle/world.py` with this strategy, in the place of the
//! gateway: draws by its weights, makes its second attempts, and tells it each second how attempts
//! ended. Prices change by the hour, as by a reload.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::fs;
use std::io::{self, Write as _};

use gateway_strategy::clock::Moment;
use gateway_strategy::testing::{configured, deployment, place, set_draws, set_now, set_signals};
use gateway_strategy::{
    Attempt, Deployment, Ending, Learning as _, Plan, Price, Request, RequestStrategy as _, Side,
    Verdict,
};
use routewise::RouteWise;
use serde_json::{Value, json};

const NAMES: [&str; 8] =
    ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "quota", "slots"];
const QUOTA: usize = 6;
const SLOTS: usize = 7;
/// Requests of a quota, its milliseconds, and requests at a time of the slots.
const OF_QUOTA: u32 = 250;
const WINDOW: f64 = 4.0 * 3_600_000.0;
const AT_A_TIME: u32 = 2;
/// The objective in milliseconds, and tokens a second of an answer that has begun.
const OBJECTIVE: f64 = 3_000.0;
const SPEED: f64 = 60.0;
/// Milliseconds until a failure shows, from the decision to a second attempt, and between two reports.
const FAILED: f64 = 1_000.0;
const OVERHEAD: f64 = 5.0;
const REPORT: f64 = 1_000.0;

/// What happens at a time, in microseconds, so that times have an order.
type Event = Reverse<(u64, u64, Kind)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Arrive(usize),
    Second(usize),
    /// The first byte of an attempt of a request, or its failure.
    First(usize, usize),
    End(usize, usize),
    Report,
}

struct Asked {
    at: f64,
    prompt: f64,
    output: f64,
    first_bytes: Vec<Option<f64>>,
    prices: Vec<(f64, f64)>,
}

/// A request under way.
#[derive(Default)]
struct Flight {
    plan: Plan,
    tried: BTreeSet<usize>,
    attempts: Vec<Sent>,
    is_done: bool,
}

struct Sent {
    to: usize,
    since: f64,
    is_alive: bool,
}

struct Market {
    asked: Vec<Asked>,
    alpha: f64,
    strategy: Option<(u64, RouteWise)>,
    events: BinaryHeap<Event>,
    flights: Vec<Flight>,
    busy: u32,
    used: (u64, u32),
    reports: Vec<Attempt>,
    dice: u64,
    times: Vec<f64>,
    dollars: f64,
    hedged: u32,
    refused: u32,
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().expect("a file of requests");
    let alpha = arguments.next().and_then(|text| text.parse().ok()).expect("an alpha");
    let text = fs::read_to_string(file).expect("a file");
    let asked: Vec<Asked> = text.lines().map(read).collect();
    let mut market = Market {
        flights: asked.iter().map(|_| Flight::default()).collect(),
        events: BinaryHeap::new(),
        asked,
        alpha,
        strategy: None,
        busy: 0,
        used: (0, 0),
        reports: Vec::new(),
        dice: 1,
        times: Vec::new(),
        dollars: 0.0,
        hedged: 0,
        refused: 0,
    };
    for request in 0..market.asked.len() {
        market.push(market.asked[request].at, Kind::Arrive(request));
    }
    market.run();
    writeln!(io::stdout(), "{}", market.figures())
}

fn read(line: &str) -> Asked {
    let value: Value = serde_json::from_str(line).expect("JSON");
    let real = |value: &Value| value.as_f64().expect("a number");
    let list = |key: &str| value[key].as_array().expect("a list").clone();
    Asked {
        at: real(&value["at"]),
        prompt: real(&value["prompt"]),
        output: real(&value["output"]),
        first_bytes: list("first_bytes").iter().map(Value::as_f64).collect(),
        prices: list("prices").iter().map(|pair| (real(&pair[0]), real(&pair[1]))).collect(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within a day")]
#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
impl Market {
    fn push(&mut self, at: f64, kind: Kind) {
        let order = self.events.len() as u64;
        self.events.push(Reverse(((at * 1_000.0).round() as u64, order, kind)));
    }

    fn run(&mut self) {
        while let Some(Reverse((at, _, kind))) = self.events.pop() {
            let now = at as f64 / 1_000.0;
            set_now(Moment { milliseconds: now as u64, offset: 0 });
            let window = (now / WINDOW) as u64;
            if self.used.0 != window {
                self.used = (window, 0);
            }
            match kind {
                Kind::Arrive(request) => self.arrive(now, request),
                Kind::Second(request) => self.second(now, request),
                Kind::First(request, attempt) => self.first(now, request, attempt),
                Kind::End(request, attempt) => self.end(now, request, attempt),
                Kind::Report => {
                    let reports = std::mem::take(&mut self.reports);
                    self.strategy(now).outcome(&reports);
                }
            }
        }
    }

    fn roll(&mut self) -> f64 {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The strategy, configured with the prices of this hour.
    fn strategy(&mut self, now: f64) -> &mut RouteWise {
        let hour = (now / 3_600_000.0) as u64;
        if self.strategy.as_ref().is_none_or(|(of, _)| *of != hour) {
            let last = self.asked.partition_point(|one| one.at <= now).saturating_sub(1);
            let prices = &self.asked[last].prices;
            let place = |(at, name): (usize, &&str)| {
                let mut place = place(name, Side::Remote);
                let (prompt, completion) = prices[at];
                place.price = (at != QUOTA).then_some(Price { prompt, cached: prompt, completion });
                place
            };
            let places = NAMES.iter().enumerate().map(place).collect();
            let parameters = json!({"alpha": self.alpha, "slo_ms": OBJECTIVE}).to_string();
            let strategy = configured(&parameters, places).expect("good parameters");
            self.strategy = Some((hour, strategy));
        }
        &mut self.strategy.as_mut().expect("just made").1
    }

    fn is_full(&self, to: usize) -> bool {
        to == SLOTS && self.busy >= AT_A_TIME || to == QUOTA && self.used.1 >= OF_QUOTA
    }

    fn arrive(&mut self, now: f64, request: usize) {
        let one = |id: u32| -> Deployment {
            let is_slots = id as usize == SLOTS;
            let (limit, in_flight) = if is_slots { (AT_A_TIME, self.busy) } else { (1_000, 0) };
            Deployment { limit, in_flight, ..deployment(id) }
        };
        let all: Vec<Deployment> = (0..NAMES.len() as u32).map(one).collect();
        let used = f64::from(self.used.1) / f64::from(OF_QUOTA);
        let signal = |at| [f64::NAN, if at == QUOTA { used } else { f64::NAN }];
        let signals: Vec<f64> = (0..NAMES.len()).flat_map(signal).collect();
        set_signals(&signals);
        set_draws(&[self.roll()]);
        let prompt_tokens = Some(self.asked[request].prompt as u32);
        let asked = Request { prompt_tokens, stream: true, ..Request::default() };
        let verdict = self.strategy(now).assign_request(&asked, &[], &all);
        let Verdict::Route(plan) = verdict else { panic!("{verdict:?}") };
        self.flights[request].plan = plan;
        self.next(now, request);
        let hedge = self.flights[request].plan.hedge.as_ref();
        if let Some(after) = hedge.map(|hedge| f64::from(hedge.after)) {
            self.push(now + after, Kind::Second(request));
        }
    }

    /// Sends a request to the next deployment.
    fn next(&mut self, now: f64, request: usize) {
        let roll = self.roll();
        let flight = &self.flights[request];
        let weights = &flight.plan.weights.remote;
        let weight = |to: usize| {
            let may = !flight.tried.contains(&to) && !self.is_full(to);
            if may { weights[to] } else { 0.0 }
        };
        let mut point = roll * (0..NAMES.len()).map(weight).sum::<f64>();
        let drawn = (0..NAMES.len()).filter(|to| weight(*to) > 0.0).find(|to| {
            point -= weight(*to);
            point < 0.0
        });
        match drawn {
            Some(to) => self.send(now, request, to),
            None => self.refused += 1,
        }
    }

    fn send(&mut self, now: f64, request: usize, to: usize) {
        self.busy += u32::from(to == SLOTS);
        self.used.1 += u32::from(to == QUOTA);
        let took = self.asked[request].first_bytes[to].unwrap_or(FAILED);
        let flight = &mut self.flights[request];
        flight.tried.insert(to);
        flight.attempts.push(Sent { to, since: now, is_alive: true });
        let attempt = flight.attempts.len() - 1;
        self.push(now + took, Kind::First(request, attempt));
    }

    fn second(&mut self, now: f64, request: usize) {
        let flight = &self.flights[request];
        let waits = flight.attempts.iter().all(|sent| sent.is_alive) && !flight.is_done;
        let Some(hedge) = flight.plan.hedge.as_ref().filter(|_| waits) else { return };
        let to = hedge.weights.remote.iter().position(|weight| *weight > 0.0);
        if let Some(to) = to.filter(|to| !self.is_full(*to) && !flight.tried.contains(to)) {
            self.hedged += 1;
            self.send(now + OVERHEAD, request, to);
        }
    }

    fn first(&mut self, now: f64, request: usize, attempt: usize) {
        let flight = &mut self.flights[request];
        let sent = &mut flight.attempts[attempt];
        if !sent.is_alive {
            return;
        }
        sent.is_alive = false;
        let (to, since) = (sent.to, sent.since);
        if self.asked[request].first_bytes[to].is_none() {
            self.busy -= u32::from(to == SLOTS);
            let is_last = !flight.attempts.iter().any(|sent| sent.is_alive);
            self.report(now, to, Ending::Failed, f64::NAN, now - since, None);
            if is_last {
                self.next(now, request);
            }
            return;
        }
        flight.is_done = true;
        let alive = flight.attempts.iter_mut().filter(|sent| sent.is_alive);
        let lost: Vec<(usize, f64)> = alive
            .map(|sent| {
                sent.is_alive = false;
                (sent.to, sent.since)
            })
            .collect();
        self.times.push(now - self.asked[request].at);
        self.pay(request, to, self.asked[request].output);
        for (to, since) in lost {
            self.busy -= u32::from(to == SLOTS);
            self.pay(request, to, 0.0);
            self.report(now, to, Ending::Hedged, f64::NAN, now - since, None);
        }
        let writes = self.asked[request].output / SPEED * 1_000.0;
        self.push(now + writes, Kind::End(request, attempt));
    }

    fn end(&mut self, now: f64, request: usize, attempt: usize) {
        let Sent { to, since, .. } = self.flights[request].attempts[attempt];
        self.busy -= u32::from(to == SLOTS);
        let first_byte = self.asked[request].first_bytes[to].unwrap_or(FAILED);
        self.report(now, to, Ending::Ok, first_byte, now - since, Some(request));
    }

    fn pay(&mut self, request: usize, to: usize, output: f64) {
        let Asked { prompt, prices, .. } = &self.asked[request];
        self.dollars += prices[to].0 * prompt + prices[to].1 * output;
    }

    fn report(
        &mut self,
        now: f64,
        to: usize,
        ending: Ending,
        first_byte: f64,
        total: f64,
        answered: Option<usize>,
    ) {
        if self.reports.is_empty() {
            self.push((now / REPORT).floor() * REPORT + REPORT, Kind::Report);
        }
        let tokens = |of: fn(&Asked) -> f64| answered.map(|at| of(&self.asked[at]) as u32);
        self.reports.push(Attempt {
            deployment: to as u32,
            request: 0,
            session: None,
            tenant: None,
            ending,
            status: None,
            queued: 0.0,
            first_byte,
            total,
            probability: 1.0,
            prompt_tokens: tokens(|asked| asked.prompt),
            cached_tokens: None,
            completion_tokens: tokens(|asked| asked.output),
            reasoning_tokens: None,
            cost: f64::NAN,
        });
    }

    fn figures(&mut self) -> Value {
        self.times.sort_unstable_by(f64::total_cmp);
        let (times, count) = (&self.times, self.times.len());
        json!({
            "dollars": self.dollars,
            "mean": times.iter().sum::<f64>() / count as f64,
            "p50": times[count / 2],
            "p99": times[count * 99 / 100],
            "late": times.iter().filter(|took| **took > OBJECTIVE).count() as f64 / count as f64,
            "hedged": f64::from(self.hedged) / count as f64,
            "refused": self.refused,
        })
    }
}
