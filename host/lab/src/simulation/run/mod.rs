//! One strategy's run through a scenario.
//!
//! ```text
//! arrival -> weights (asked now, or the last) -> draw -> place, line, or the next deployment
//!                 attempt -> latency -> engine: line, prefill, decode -> answer
//!                     | failed before the first byte: the next deployment, while attempts are left
//! ```
//! The clock jumps from one thing that happens to the next. Requests, and what chance does to each of them, are
//! the same for every strategy.

mod ending;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use config::Ejection;
use contract::{Ending, Strategy};
use routing::draw;

use super::attempt::Attempt;
use super::decide::Decisions;
use super::engine::Stage;
use super::events::Events;
use super::random::stream;
use super::record::{Fate, Record};
use super::scenario::{Scenario, Trouble};
use super::site::{Luck, Site};
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
        ending: Ending,
    },
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
#[derive(Debug, Default)]
struct Way {
    /// Deployments that are still to be tried.
    order: VecDeque<usize>,
    attempts: u32,
    /// Counts its visits of lines.
    visit: u32,
    /// The deployment in whose line it is, and since when.
    waiting: Option<(usize, Duration)>,
    /// The last attempt.
    attempt: Option<usize>,
    /// Nothing was eligible: what is ejected is tried too.
    panic: bool,
}

pub(super) struct Run<'a> {
    scenario: &'a Scenario,
    requests: &'a [Request],
    now: Duration,
    events: Events<Event>,
    sites: Vec<Site<'a>>,
    decisions: Decisions<'a>,
    ways: Vec<Way>,
    attempts: Vec<Attempt>,
    records: Vec<Record>,
    /// Requests that go on to their next deployment now.
    ready: VecDeque<usize>,
    unfinished: usize,
    ejection: Ejection,
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
            events: Events::new(),
            sites: (0..).zip(&scenario.sites).map(site).collect(),
            decisions: Decisions::new(strategy),
            ways: Vec::new(),
            attempts: Vec::new(),
            records: requests.iter().map(|_| Record::default()).collect(),
            ready: VecDeque::new(),
            unfinished: requests.len(),
            ejection: Ejection::default(),
        };
        run.ways.resize_with(requests.len(), Way::default);
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
            while let Some(request) = self.ready.pop_front() {
                self.go_on(request);
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
                if self.ways[request].visit == visit && self.ways[request].waiting.is_some() {
                    self.leave_line(request);
                    self.ready.push_back(request);
                }
            }
            Event::Reaches { attempt, slow } => self.reaches(attempt, slow),
            Event::Fails { attempt, ending } => self.fails(attempt, ending),
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
        let request = &self.requests[index];
        let weights = self.decisions.weigh(request, &self.scenario.model, &self.sites, self.now);
        let mut rng = stream(self.scenario.seed, &[DRAWS, index as u64]);
        // Some that are drawn may be passed over: attempts are counted as they are made.
        let all = config::Fallback { attempts: u32::MAX, ..self.scenario.fallback };
        let open = |i: usize| self.sites[i].is_open(self.now);
        let mut order = draw(&weights, open, all, &mut rng);
        let panic = order.is_empty();
        if panic {
            order = draw(&weights, |_| true, all, &mut rng);
        }
        let attempts = self.scenario.fallback.attempts;
        self.ways[index] = Way { order: order.into(), attempts, panic, ..Way::default() };
        self.events.plan(self.now + self.scenario.total, Event::Expires(index));
        self.ready.push_back(index);
    }

    /// The next deployment of a request: a place at it, or in its line, or the one after it.
    fn go_on(&mut self, request: usize) {
        while self.ways[request].attempts > 0
            && let Some(at) = self.ways[request].order.pop_front()
        {
            let site = &mut self.sites[at];
            if !self.ways[request].panic && !site.is_open(self.now) {
                continue;
            }
            let limit = site.config.concurrency;
            if site.busy < limit.max {
                if self.try_at(request, at) {
                    return;
                }
            } else if site.line.len() < limit.queue as usize {
                site.line.push_back(request);
                let way = &mut self.ways[request];
                way.waiting = Some((at, self.now));
                way.visit += 1;
                let event = Event::Waited { request, visit: way.visit };
                self.events.plan(self.now + limit.wait, event);
                return;
            }
        }
        self.finish(request, Fate::Failed);
    }

    fn leave_line(&mut self, request: usize) {
        if let Some((at, since)) = self.ways[request].waiting.take() {
            self.sites[at].line.retain(|waiting| *waiting != request);
            self.records[request].queued += self.now - since;
        }
    }

    /// Makes an attempt, unless the deployment was ejected while the request waited.
    fn try_at(&mut self, request: usize, at: usize) -> bool {
        let site = &mut self.sites[at];
        let (now, is_out) = (site.instant(self.now), site.ejections.out().is_some());
        let trial = is_out && site.ejections.try_out(now);
        if is_out && !trial && !self.ways[request].panic {
            return false;
        }
        site.busy += 1;
        let (id, wanted) = (self.attempts.len(), &self.requests[request]);
        self.ways[request].attempts -= 1;
        self.ways[request].attempt = Some(id);
        let number = u64::from(self.ways[request].attempts);
        let mut rng = stream(self.scenario.seed, &[ATTEMPTS, request as u64, number]);
        let attempt = Attempt::new(request, at, self.now, site, trial, rng.clone());
        self.attempts.push(attempt);
        let tokens = u64::from(wanted.prompt) + u64::from(wanted.output);
        let (latency, event) = match site.luck(self.now, &mut rng) {
            Luck::Good { latency, .. } if tokens > site.config.place.context_length => {
                (latency, Event::Fails { attempt: id, ending: Ending::ClientError })
            }
            Luck::Good { latency, slow } => (latency, Event::Reaches { attempt: id, slow }),
            Luck::Bad { latency } => {
                (latency, Event::Fails { attempt: id, ending: Ending::Failed })
            }
        };
        self.events.plan(self.now + latency, event);
        let late = Event::Fails { attempt: id, ending: Ending::TimedOut };
        self.events.plan(self.now + self.scenario.first_byte, late);
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
        if attempt.trial && site.ejections.restore(now) {
            site.load.forget();
            attempt.trial = false;
            attempt.epoch = site.ejections.epoch();
            self.decisions.ask(&self.sites, self.now);
        }
    }
}
