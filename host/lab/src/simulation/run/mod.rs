//! One strategy's run through a scenario.
//!
//! ```text
//! arrival -> weights (asked now, or the last) -> itinerary -> place, line, or the next deployment
//!                 attempt -> latency -> engine: line, prefill, decode -> answer
//!                     | failed before the first byte: the next deployment, while attempts are left
//! ```
//! The clock jumps from one thing that happens to the next. Requests, and what chance does to each of them, are
//! the same for every strategy.

mod ending;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use config::Ejection;
use contract::Strategy;
use fleet::{Budget, Busy, Change};
use routing::{Cause, Event as Came, InferenceEndpoint, Itinerary, Step, Terms};

use super::attempt::Attempt;
use super::decide::Decisions;
use super::engine::Stage;
use super::events::Events;
use super::random::{Stream, stream};
use super::record::{Fate, Record};
use super::scenario::{Scenario, Trouble};
use super::site::{Luck, Site, Sites};
use super::workload::Request;

/// Between two calls of a strategy that learns.
const LESSON: Duration = Duration::from_secs(1);
/// Names of the streams of chance.
const DRAWS: u64 = 3;
const ATTEMPTS: u64 = 4;

/// What can happen beside what engines do.
#[derive(Debug)]
pub(super) enum Event {
    Arrives(usize),
    /// A request has waited in line as long as it may, unless it has gone on since.
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
    /// The deployment finds the request too long, and says so.
    Refuses(usize),
    /// The first byte of an attempt's answer is due.
    Due(usize),
    /// A request has taken as long as it may.
    Expires(usize),
    Refresh,
    Lesson,
    /// A deployment goes down.
    Breaks(usize),
    /// An ejection is over.
    Returns,
}

/// A request on its way.
#[derive(Debug)]
struct Way {
    itinerary: Itinerary<'static>,
    /// What chance says of its draws.
    rng: Stream,
    /// Attempts made.
    attempts: u32,
    /// Counts its visits of lines.
    visit: u32,
    /// The deployment in whose line it is, and since when.
    waiting: Option<(usize, Duration)>,
    /// The last attempt.
    attempt: Option<usize>,
}

pub(super) struct Run<'a> {
    scenario: &'a Scenario,
    requests: &'a [Request],
    now: Duration,
    /// What the beginning of the simulation is called in the gateway's own time.
    epoch: Instant,
    events: Events<Event>,
    sites: Vec<Site<'a>>,
    decisions: Decisions<'a>,
    /// One for each request that has arrived.
    ways: Vec<Option<Way>>,
    attempts: Vec<Attempt>,
    records: Vec<Record>,
    /// Requests that go on now, and what came of their last step.
    ready: VecDeque<(usize, Came)>,
    unfinished: usize,
    ejection: Ejection,
    budget: Budget,
}

/// What a run comes to.
pub(super) struct Done {
    /// One for each request.
    pub(super) records: Vec<Record>,
    /// How often the strategy had no good answer.
    pub(super) faults: u64,
    /// The last of those faults.
    pub(super) last_fault: Option<String>,
    /// By deployment.
    pub(super) ejections: Vec<u64>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        requests: &'a [Request],
        strategy: &'a mut dyn Strategy,
    ) -> Self {
        let epoch = Instant::now();
        let site = |(id, config)| Site::new(id, config, epoch);
        let mut run = Self {
            scenario,
            requests,
            now: Duration::ZERO,
            epoch,
            events: Events::new(),
            sites: (0..).zip(&scenario.sites).map(site).collect(),
            decisions: Decisions::new(strategy, scenario.fallback.standby),
            ways: Vec::new(),
            attempts: Vec::new(),
            records: requests.iter().map(|_| Record::default()).collect(),
            ready: VecDeque::new(),
            unfinished: requests.len(),
            ejection: Ejection::default(),
            budget: Budget::new(epoch),
        };
        run.ways.resize_with(requests.len(), || None);
        run
    }

    pub(super) fn run(mut self) -> Done {
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
        Done { records: self.records, faults, last_fault, ejections }
    }

    fn begin(&mut self) {
        for (index, site) in self.scenario.sites.iter().enumerate() {
            for outage in site.outages.iter().filter(|outage| outage.kind == Trouble::Down) {
                self.events.plan(outage.from, Event::Breaks(index));
            }
        }
        if self.decisions.learns() {
            self.events.plan(LESSON, Event::Lesson);
        }
        // First of what happens at 0.
        self.refresh();
        for (index, request) in self.requests.iter().enumerate() {
            self.events.plan(request.at, Event::Arrives(index));
        }
    }

    /// When the next thing happens: events come before what engines do at the same time.
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
            Event::Lesson => {
                self.decisions.learn();
                self.events.plan(self.now + LESSON, Event::Lesson);
            }
            Event::Breaks(site) => {
                self.sites[site].cache.clear();
                self.break_all(site);
            }
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
        let (scenario, request, now) = (self.scenario, &self.requests[index], self.now);
        let eligible = self.decisions.eligible(&self.sites, now);
        let weights = self.decisions.weigh(request, &scenario.model, &eligible, &self.sites, now);
        let terms = Terms {
            fallback: scenario.fallback,
            endpoint: InferenceEndpoint::ChatCompletions,
            panic: eligible.panic,
            started: self.epoch + now,
            total: scenario.total,
        };
        let sites = Sites { all: &self.sites, now };
        let mut rng = stream(scenario.seed, &[DRAWS, index as u64]);
        self.budget.begin(terms.started);
        let itinerary = Itinerary::begin(weights, terms, &sites, &mut rng, terms.started);
        let (attempts, visit, waiting, attempt) = Default::default();
        self.ways[index] = Some(Way { itinerary, rng, attempts, visit, waiting, attempt });
        self.events.plan(now + scenario.total, Event::Expires(index));
        self.ready.push_back((index, Came::Ready));
    }

    /// Takes a request from what came of its last step to an attempt, into a line, or to its end.
    fn go_on(&mut self, request: usize, mut came: Came) {
        while let Some(way) = &mut self.ways[request] {
            let (sites, now) = (Sites { all: &self.sites, now: self.now }, self.epoch + self.now);
            came = match way.itinerary.step(came, &sites, &self.budget, &mut way.rng, now) {
                Step::Enter(at) if self.sites[at].is_full() => Came::Full,
                Step::Enter(_) => Came::Entered,
                Step::Wait { at, until } => match self.stand_in_line(request, at, until) {
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

    /// Puts a request into the line of a deployment, if there is room.
    fn stand_in_line(&mut self, request: usize, at: usize, until: Instant) -> bool {
        let site = &mut self.sites[at];
        let has_room = site.line.len() < site.config.concurrency.queue as usize;
        if let Some(way) = self.ways[request].as_mut().filter(|_| has_room) {
            site.line.push_back(request);
            way.waiting = Some((at, self.now));
            way.visit += 1;
            let event = Event::Waited { request, visit: way.visit };
            self.events.plan(until - self.epoch, event);
        }
        has_room
    }

    fn leave_line(&mut self, request: usize) {
        let way = self.ways[request].as_mut();
        if let Some((at, since)) = way.and_then(|way| way.waiting.take()) {
            self.sites[at].line.retain(|waiting| *waiting != request);
            self.records[request].queued += self.now - since;
        }
    }

    /// Makes an attempt with a free place, if the deployment lets it through.
    fn try_at(&mut self, request: usize, at: usize) -> bool {
        let (site, wanted) = (&mut self.sites[at], &self.requests[request]);
        let now = site.instant(self.now);
        let Some(way) = &mut self.ways[request] else { return false };
        let turn = match way.itinerary.is_panic() {
            true => site.standing.admit_in_panic(now),
            false => site.standing.admit(now),
        };
        let Some(turn) = turn else { return false };
        way.itinerary.began(now);
        let id = self.attempts.len();
        way.attempts += 1;
        way.attempt = Some(id);
        site.busy += 1;
        let number = self.scenario.fallback.attempts.saturating_sub(way.attempts);
        let mut rng = stream(self.scenario.seed, &[ATTEMPTS, request as u64, u64::from(number)]);
        self.attempts.push(Attempt::new(request, at, self.now, site, turn, rng.clone()));
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

    /// What goes to the client has begun. Of a plain answer that is so when it is whole.
    fn begun(&mut self, id: usize) {
        let attempt = &mut self.attempts[id];
        attempt.begun = Some(self.now);
        let site = &mut self.sites[attempt.site];
        site.load.record_first_byte(self.now - attempt.since, self.now);
        let record = &mut self.records[attempt.request];
        record.first_byte = Some(self.now - self.requests[attempt.request].at);
        record.site = Some(attempt.site);
        let now = site.instant(self.now);
        if site.standing.begun(&mut attempt.turn, now, None) == Change::Restored {
            site.load.forget();
            self.decisions.ask(&self.sites, self.now);
        }
    }
}
