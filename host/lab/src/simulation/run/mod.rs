//! One strategy's run through a scenario.
//!
//! ```text
//! arrival -> weights (asked now, or the last) -> itinerary -> place, line, or the next deployment
//!                 attempt -> latency -> engine: line, prefill, decode -> answer
//!                     |          | takes long: a second attempt beside it, the quicker one answers
//!                     | failed before the first byte: the next deployment, while attempts are left
//! ```
//! The clock jumps from one event to the next. Each request, and its luck, is the same for every
//! strategy.

mod change;
mod ending;
mod event;
mod hedge;
mod hold;
mod line;
mod money;
mod scrape;
mod way;
mod work;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::RngExt;

use config::Ejection;
use contract::SignalSet;
use routing::Event as Came;

use super::Asked;
use super::attempt::SimulatedAttempt;
use super::events::Events;
use super::gateway::{At, Gateway, Gateways};
use super::machine::Machine;
use super::money::Pot;
use super::random::stream;
use super::record::Record;
use super::scenario::{Scenario, Trouble};
#[cfg(test)]
use super::site::Site;
use super::workload::Request;

use event::Event;
pub(super) use hold::Held;
pub(super) use money::{Spending, payer};
use way::Way;

/// Interval at which a strategy that learns is told of ended attempts.
const LEARN_INTERVAL: Duration = Duration::from_secs(1);
/// Names of the random streams. See [`stream`].
const DRAWS: u64 = 3;
const ATTEMPTS: u64 = 4;
const GATEWAYS: u64 = 5;
const SCRAPES: u64 = 6;

/// The changes of an engine's speed that are still to come.
type Changes<'a> = Box<dyn Iterator<Item = (Duration, f64)> + 'a>;

pub(super) struct Run<'a> {
    scenario: &'a Scenario,
    requests: &'a [Request],
    now: Duration,
    /// Start of the simulation as an `Instant`, for the gateway's own parts.
    epoch: Instant,
    events: Events<Event>,
    /// The engines, one for each deployment.
    machines: Vec<Machine<'a>>,
    /// For each engine.
    drifts: Vec<Changes<'a>>,
    gateways: Gateways<'a>,
    /// The gateway of each request.
    gateway_of: Vec<usize>,
    /// One for each request. None before its arrival.
    ways: Vec<Option<Way>>,
    attempts: Vec<SimulatedAttempt>,
    records: Vec<Record>,
    /// Requests that continue now, with the result of their last step.
    ready: VecDeque<(usize, Came)>,
    unfinished: usize,
    ejection: Ejection,
    /// The budgets, and what was spent of each.
    pots: Vec<Pot<'a>>,
    spending: Vec<Spending>,
    /// For each engine the time for which its places were at work while requests arrived.
    busy: Vec<Duration>,
}

/// The result of a run.
pub(super) struct Done {
    /// One for each request.
    pub(super) records: Vec<Record>,
    /// How often the strategy failed or gave invalid weights.
    pub(super) faults: u64,
    /// The last of those faults.
    pub(super) last_fault: Option<String>,
    /// What the gateways counted of each deployment.
    pub(super) counts: Vec<Counts>,
    /// Second attempts that the budget did not allow.
    pub(super) denied: u64,
    /// For each of [`Pot::all`].
    pub(super) spending: Vec<Spending>,
    /// For each engine the time for which its places were at work while requests arrived.
    pub(super) busy: Vec<Duration>,
}

/// Events of one deployment, at all gateways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) ejections: u64,
    /// Attempts that it refused because it was full.
    pub(super) refusals: u64,
    /// Attempts without a first byte in time, while others were answered.
    pub(super) stalls: u64,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        requests: &'a [Request],
        strategies: impl Iterator<Item = Asked<'a>>,
        signals: SignalSet,
    ) -> Self {
        // The fleet keeps times in milliseconds of its clock.
        let epoch = fleet::epoch();
        let gateway = |strategy| Gateway::new(scenario, strategy, signals, epoch);
        let gateways: Vec<_> = strategies.map(gateway).collect();
        assert_eq!(gateways.len(), usize::from(scenario.gateways), "one for each gateway");
        let drifts = scenario.sites.iter().map(|site| match &site.drift {
            Some(drift) => drift.changes(),
            None => Box::new(std::iter::empty()),
        });
        let pots = Pot::all(scenario);
        let mut run = Self {
            scenario,
            requests,
            now: Duration::ZERO,
            epoch,
            events: Events::new(),
            machines: scenario.sites.iter().map(Machine::new).collect(),
            drifts: drifts.collect(),
            gateways: Gateways(gateways),
            gateway_of: (0..requests.len()).map(|request| drawn(scenario, request)).collect(),
            ways: Vec::new(),
            attempts: Vec::new(),
            records: requests.iter().map(|_| Record::default()).collect(),
            ready: VecDeque::new(),
            unfinished: requests.len(),
            ejection: Ejection::default(),
            spending: vec![Spending::default(); pots.len()],
            pots,
            busy: vec![Duration::ZERO; scenario.sites.len()],
        };
        run.ways.resize_with(requests.len(), || None);
        run
    }

    pub(super) fn run(mut self) -> Done {
        self.run_through();
        self.done()
    }

    /// Like [`run`](Self::run). Returns the deployments as the first gateway sees them then, too.
    #[cfg(test)]
    pub(super) fn run_to_the_end(mut self) -> (Done, Vec<Site<'a>>) {
        self.run_through();
        let done = self.done();
        (done, self.gateways.0.swap_remove(0).sites)
    }

    fn run_through(&mut self) {
        self.begin();
        while self.unfinished > 0
            && let Some(at) = self.next()
        {
            self.now = at;
            self.set_clocks(at);
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
    }

    fn done(&mut self) -> Done {
        let (mut faults, mut last_fault, mut denied) = (0, None, 0);
        let mut counts = vec![Counts::default(); self.machines.len()];
        for gateway in &self.gateways.0 {
            let (its, last) = gateway.decisions.faults();
            faults += its;
            last_fault = last.cloned().or(last_fault);
            denied += gateway.hedges.denied();
            for (sum, site) in counts.iter_mut().zip(&gateway.sites) {
                let pressure = site.slots.report();
                sum.ejections += site.load.ejections();
                sum.refusals += pressure.refusals;
                sum.stalls += pressure.stalls;
            }
        }
        let records = std::mem::take(&mut self.records);
        let (spending, busy) = (self.spendings(), std::mem::take(&mut self.busy));
        Done { records, faults, last_fault, counts, denied, spending, busy }
    }

    fn begin(&mut self) {
        for (index, site) in self.scenario.sites.iter().enumerate() {
            for outage in &site.outages {
                match outage.kind {
                    Trouble::Down => self.events.plan(outage.from, Event::Breaks(index)),
                    Trouble::Stalled => {
                        let event = Event::Stalls { machine: index, until: outage.to };
                        self.events.plan(outage.from, event);
                    }
                    Trouble::Failing(_) | Trouble::Slow(_) => {}
                }
            }
            self.drift(index);
        }
        if self.gateways.0.iter().any(|gateway| gateway.decisions.learns()) {
            self.events.plan(LEARN_INTERVAL, Event::Learn);
        }
        self.begin_scrapes();
        self.begin_tells();
        // The first event at time 0: arrivals need weights.
        for gateway in 0..self.gateways.0.len() {
            self.refresh(gateway);
        }
        for (index, request) in self.requests.iter().enumerate() {
            self.events.plan(request.at, Event::Arrives(index));
        }
    }

    /// Plans the next change of an engine's speed.
    fn drift(&mut self, machine: usize) {
        if let Some((from, pace)) = self.drifts[machine].next() {
            self.events.plan(from, Event::Drifts { machine, pace });
        }
    }

    /// Time of the next event. At equal times, the queue's events come before those of engines.
    fn next(&self) -> Option<Duration> {
        let engines = self.machines.iter().filter_map(|machine| machine.engine.next()).min();
        [self.events.next(), engines].into_iter().flatten().min()
    }

    fn refresh(&mut self, gateway: usize) {
        self.ask(gateway);
        if let Some(interval) = self.gateways[gateway].decisions.refresh() {
            self.events.plan(self.now + interval, Event::Refresh(gateway));
        }
    }

    /// Asks the strategy of a gateway for its weights.
    fn ask(&mut self, gateway: usize) {
        self.see(gateway);
        let Gateway { decisions, sites, money, .. } = &mut self.gateways[gateway];
        decisions.ask(sites, money.as_ref(), self.now);
    }

    /// Shows the engines as they are to a gateway that does not scrape them.
    fn see(&mut self, gateway: usize) {
        for (site, machine) in self.gateways[gateway].sites.iter_mut().zip(&self.machines) {
            site.engine.see(machine.load());
        }
    }

    fn at(&self, request: usize, site: usize) -> At {
        At { gateway: self.gateway_of[request], site }
    }
}

/// The gateway that a request goes to.
fn drawn(scenario: &Scenario, request: usize) -> usize {
    match scenario.gateways {
        0 | 1 => 0,
        gateways => stream(scenario.seed, &[GATEWAYS, request as u64])
            .random_range(0..usize::from(gateways)),
    }
}
