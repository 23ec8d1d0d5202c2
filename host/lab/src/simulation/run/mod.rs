//! One strategy's run through a scenario.
//!
//! ```text
//! arrival -> weights (asked now, or the last) -> itinerary -> place, line, or the next deployment
//!                 attempt -> latency -> engine: line, prefill, decode -> answer
//!                     | failed before the first byte: the next deployment, while attempts are left
//! ```
//! The clock jumps from one event to the next. Each request, and its luck, is the same for every
//! strategy.

mod ending;
mod hold;
mod line;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Ejection, Hedging};
use contract::{SignalSet, Strategy};
use fleet::{Budget, Busy, Change, ModelSignals, PrefixIndex, Slot};
use routing::{Cause, Event as Came, InferenceEndpoint, Itinerary, Step, Terms};

use super::attempt::SimulatedAttempt;
use super::decide::{Decided, Decisions};
use super::engine::Stage;
use super::events::Events;
use super::random::{Stream, stream};
use super::record::{Fate, Record};
use super::scenario::{Scenario, Trouble};
use super::site::{Luck, Site, Sites};
use super::workload::Request;
use crate::Replayed;

use hold::Held;

/// Interval at which a strategy that learns is told of ended attempts.
const LEARN_INTERVAL: Duration = Duration::from_secs(1);
/// Names of the random streams. See [`stream`].
const DRAWS: u64 = 3;
const ATTEMPTS: u64 = 4;

/// All events but those inside engines.
#[derive(Debug)]
pub(super) enum Event {
    Arrives(usize),
    /// A request's time in a line is over. Ignored if the request has left that line: it then has
    /// another `visit`.
    Waited {
        request: usize,
        visit: u32,
    },
    /// An attempt reaches its engine.
    Reaches {
        attempt: usize,
        slow: f64,
    },
    Fails {
        attempt: usize,
        cause: Cause,
    },
    /// The deployment refuses a request that is too long for it.
    Refuses(usize),
    /// The first byte of an attempt's answer is due.
    Due(usize),
    /// The total time-out of a request.
    Expires(usize),
    Refresh,
    Learn,
    /// A deployment goes down.
    Breaks(usize),
    /// A deployment may have places again.
    Opens(usize),
    /// A request that was held so many times is decided again, if it is still held.
    Again {
        request: usize,
        held: u32,
    },
    /// An ejection is over.
    Returns,
}

/// A request that has arrived.
#[derive(Debug)]
struct Way {
    itinerary: Itinerary<'static>,
    /// Random stream of its draws.
    rng: Stream,
    /// Number of attempts made.
    attempts: u32,
    /// Number of lines that it has entered.
    visit: u32,
    /// What it waits for, while it is in line.
    waiting: Option<Wait>,
    /// A place, between the step that took it and the attempt.
    slot: Option<Slot>,
    /// Index of its last attempt.
    attempt: Option<usize>,
}

/// A wait in line.
#[derive(Debug)]
struct Wait {
    /// The deployments whose lines it is in.
    sites: Vec<usize>,
    since: Duration,
}

pub(super) struct Run<'a> {
    scenario: &'a Scenario,
    requests: &'a [Request],
    now: Duration,
    /// Start of the simulation as an `Instant`, for the gateway's own parts.
    epoch: Instant,
    events: Events<Event>,
    sites: Vec<Site<'a>>,
    decisions: Decisions<'a>,
    /// One for each request. None before its arrival.
    ways: Vec<Option<Way>>,
    attempts: Vec<SimulatedAttempt>,
    records: Vec<Record>,
    /// Requests that continue now, with the result of their last step.
    ready: VecDeque<(usize, Came)>,
    /// Requests that the strategy holds, in the order in which they began to wait.
    held: VecDeque<Held>,
    unfinished: usize,
    ejection: Ejection,
    budget: Budget,
}

/// The result of a run.
pub(super) struct Done {
    /// One for each request.
    pub(super) records: Vec<Record>,
    /// How often the strategy failed or gave invalid weights.
    pub(super) faults: u64,
    /// The last of those faults.
    pub(super) last_fault: Option<String>,
    /// Number of ejections of each deployment.
    pub(super) ejections: Vec<u64>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        requests: &'a [Request],
        strategy: &'a mut dyn Strategy,
        surroundings: &'a Replayed,
        signals: SignalSet,
    ) -> Self {
        let epoch = Instant::now();
        let (model, index) = <(Arc<ModelSignals>, Arc<PrefixIndex>)>::default();
        let site = |(id, config)| {
            let site = Site::new(id, config, epoch, (Arc::clone(&model), Arc::clone(&index)));
            site.signals.want(signals, epoch);
            site
        };
        let mut run = Self {
            scenario,
            requests,
            now: Duration::ZERO,
            epoch,
            events: Events::new(),
            sites: (0..).zip(&scenario.sites).map(site).collect(),
            decisions: Decisions::new(strategy, surroundings, scenario.fallback.standby),
            ways: Vec::new(),
            attempts: Vec::new(),
            records: requests.iter().map(|_| Record::default()).collect(),
            ready: VecDeque::new(),
            held: VecDeque::new(),
            unfinished: requests.len(),
            ejection: Ejection::default(),
            budget: Budget::new(epoch),
        };
        run.ways.resize_with(requests.len(), || None);
        run
    }

    pub(super) fn run(self) -> Done {
        self.run_to_the_end().0
    }

    /// Like [`run`](Self::run). Returns the deployments as they are then, too.
    pub(super) fn run_to_the_end(mut self) -> (Done, Vec<Site<'a>>) {
        self.begin();
        while self.unfinished > 0
            && let Some(at) = self.next()
        {
            self.now = at;
            if self.events.next() == Some(at) {
                if let Some(event) = self.events.take() {
                    self.happens(event);
                }
            } else {
                self.engines();
            }
            while let Some((request, came)) = self.ready.pop_front() {
                self.go_on(request, came);
            }
        }
        let ejections = self.sites.iter().map(|site| site.load.ejections()).collect();
        let (faults, last_fault) = self.decisions.faults();
        (Done { records: self.records, faults, last_fault, ejections }, self.sites)
    }

    fn begin(&mut self) {
        for (index, site) in self.scenario.sites.iter().enumerate() {
            for outage in site.outages.iter().filter(|outage| outage.kind == Trouble::Down) {
                self.events.plan(outage.from, Event::Breaks(index));
            }
        }
        if self.decisions.learns() {
            self.events.plan(LEARN_INTERVAL, Event::Learn);
        }
        // The first event at time 0: arrivals need weights.
        self.refresh();
        for (index, request) in self.requests.iter().enumerate() {
            self.events.plan(request.at, Event::Arrives(index));
        }
    }

    /// Time of the next event. At equal times, the queue's events come before those of engines.
    fn next(&self) -> Option<Duration> {
        let engines = self.sites.iter().filter_map(|site| site.engine.next()).min();
        [self.events.next(), engines].into_iter().flatten().min()
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Arrives(request) => self.arrives(request),
            Event::Waited { request, visit } => {
                let way = self.ways[request].as_ref();
                if way.is_some_and(|way| way.visit == visit && way.waiting.is_some()) {
                    self.leave_line(request);
                    self.ready.push_back((request, Came::NoPlace(Busy::Waited)));
                }
            }
            Event::Reaches { attempt, slow } => self.reaches(attempt, slow),
            Event::Fails { attempt, cause } => self.fails(attempt, cause.into()),
            Event::Refuses(attempt) => self.refuses(attempt),
            Event::Due(attempt) => self.is_due(attempt),
            Event::Expires(request) => self.expires(request),
            Event::Refresh => self.refresh(),
            Event::Learn => {
                self.decisions.learn();
                self.events.plan(self.now + LEARN_INTERVAL, Event::Learn);
            }
            Event::Breaks(site) => {
                self.sites[site].cache.clear();
                self.sites[site].signals.forget_prefixes();
                self.break_all(site);
            }
            Event::Opens(site) => self.serve(site),
            Event::Again { request, held } => self.decide_again(request, held),
            Event::Returns => self.decisions.ask(&self.sites, self.now),
        }
    }

    fn refresh(&mut self) {
        self.decisions.ask(&self.sites, self.now);
        if let Some(interval) = self.decisions.refresh() {
            self.events.plan(self.now + interval, Event::Refresh);
        }
    }

    fn arrives(&mut self, index: usize) {
        self.budget.begin(self.epoch + self.now);
        self.decide(index, 0);
    }

    /// Decides a request that was held so many times, and begins its way.
    fn decide(&mut self, index: usize, held: u32) {
        let (scenario, request, now) = (self.scenario, &self.requests[index], self.now);
        let eligible = self.decisions.eligible(&self.sites, now);
        let asked = (request, held);
        let decided = self.decisions.decide(asked, &scenario.model, &eligible, &self.sites, now);
        let weights = match decided {
            Decided::Route(weights) => weights,
            Decided::Hold(time) => return self.hold(index, held, time),
            Decided::Refuse => return self.finish(index, Fate::Denied),
        };
        let terms = Terms {
            fallback: scenario.fallback,
            hedging: Hedging::default(),
            endpoint: InferenceEndpoint::ChatCompletions,
            panic: eligible.panic,
            started: self.epoch + request.at,
            total: scenario.total,
        };
        let sites = Sites { all: &self.sites, now };
        let mut rng = stream(scenario.seed, &[DRAWS, index as u64]);
        let itinerary = Itinerary::begin(weights, terms, &sites, &mut rng, self.epoch + now);
        let (attempts, visit, waiting, slot, attempt) = Default::default();
        self.ways[index] = Some(Way { itinerary, rng, attempts, visit, waiting, slot, attempt });
        self.events.plan(request.at + scenario.total, Event::Expires(index));
        self.ready.push_back((index, Came::Ready));
    }

    /// Continues a request after the result of its last step, until it makes an attempt, waits in a
    /// line, or ends.
    fn go_on(&mut self, request: usize, mut came: Came) {
        while let Some(way) = &mut self.ways[request] {
            let (sites, now) = (Sites { all: &self.sites, now: self.now }, self.epoch + self.now);
            came = match way.itinerary.step(came, &sites, &self.budget, &mut way.rng, now) {
                Step::Enter(at) => self.sites[at].enter(&mut way.slot, now),
                Step::Wait { until } => match self.stand_in_line(request, until) {
                    true => return,
                    false => Came::NoPlace(Busy::Full),
                },
                Step::PassOver(_) => Came::NoPlace(Busy::Dispersed),
                Step::Attempt(at) => match self.try_at(request, at) {
                    true => return,
                    false => Came::Refused,
                },
                Step::GiveUp => return self.finish(request, Fate::Failed),
            };
        }
    }

    /// Makes an attempt with a free place. False if the deployment does not admit it.
    fn try_at(&mut self, request: usize, at: usize) -> bool {
        let (site, wanted) = (&mut self.sites[at], &self.requests[request]);
        let now = site.instant(self.now);
        let Some(way) = &mut self.ways[request] else { return false };
        let turn = match way.itinerary.is_panic() {
            true => site.standing.admit_in_panic(now),
            false => site.standing.admit(now),
        };
        let Some(admission) = turn.zip(way.slot.take()) else { return false };
        way.itinerary.began(now);
        let id = self.attempts.len();
        way.attempts += 1;
        way.attempt = Some(id);
        // Named by request and attempt, so that the luck is the same for every strategy.
        let number = self.scenario.fallback.attempts.saturating_sub(way.attempts);
        let mut rng = stream(self.scenario.seed, &[ATTEMPTS, request as u64, u64::from(number)]);
        let mut made = SimulatedAttempt::new(request, at, self.now, site, admission, rng.clone());
        (made.queued, made.probability) =
            (self.records[request].queued, way.itinerary.probability());
        if site.signals.wants_requests()
            && let Some(trace) = &mut made.trace
        {
            trace.carry(&Arc::new(wanted.signals()));
        }
        self.attempts.push(made);
        let tokens = u64::from(wanted.prompt) + u64::from(wanted.output);
        let (latency, event) = match site.luck(self.now, &mut rng) {
            Luck::Good { latency, .. } if tokens > site.config.place.context_length => {
                (latency, Event::Refuses(id))
            }
            Luck::Good { latency, slow } => (latency, Event::Reaches { attempt: id, slow }),
            Luck::Bad { latency, cause } => (latency, Event::Fails { attempt: id, cause }),
        };
        self.events.plan(self.now + latency, event);
        self.events.plan(self.now + self.scenario.first_byte, Event::Due(id));
        true
    }

    fn reaches(&mut self, id: usize, slow: f64) {
        let attempt = &mut self.attempts[id];
        if !attempt.is_open() {
            return;
        }
        let (site, request) = (&mut self.sites[attempt.site], &self.requests[attempt.request]);
        attempt.cached = site.cache.known(request);
        let job = site.job(id, request, slow, attempt.rng());
        attempt.reached = self.now;
        site.engine.submit(job, self.now);
    }

    fn engines(&mut self) {
        for at in 0..self.sites.len() {
            if self.sites[at].engine.next() != Some(self.now) {
                continue;
            }
            for (id, stage) in self.sites[at].engine.advance(self.now) {
                match stage {
                    Stage::Started => self.started(id),
                    Stage::FirstToken => self.first_token(id),
                    Stage::Done => self.answered(id),
                }
            }
        }
    }

    fn started(&mut self, id: usize) {
        let attempt = &self.attempts[id];
        self.records[attempt.request].queued += self.now - attempt.reached;
    }

    fn first_token(&mut self, id: usize) {
        let attempt = &self.attempts[id];
        let request = &self.requests[attempt.request];
        self.sites[attempt.site].cache.keep(request, 0);
        if request.stream {
            self.begun(id);
        }
    }

    /// Notes the first byte to the client. A plain answer is sent only when it is complete.
    fn begun(&mut self, id: usize) {
        let attempt = &mut self.attempts[id];
        attempt.begun = Some(self.now);
        let site = &mut self.sites[attempt.site];
        site.load.record_first_byte(self.now - attempt.since, self.now);
        if let Some(trace) = &mut attempt.trace {
            trace.begin(self.epoch + self.now);
        }
        let record = &mut self.records[attempt.request];
        record.first_byte = Some(self.now - self.requests[attempt.request].at);
        record.site = Some(attempt.site);
        let now = site.instant(self.now);
        if let Some(slot) = &mut attempt.slot {
            slot.begin(site.instant(attempt.since), now);
        }
        if site.standing.begun(&mut attempt.turn, now, None) == Change::Restored {
            site.load.forget();
            self.decisions.ask(&self.sites, self.now);
        }
    }
}
