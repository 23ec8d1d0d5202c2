//! The way of a request: its decision, its itinerary, its attempts.

use std::sync::Arc;
use std::time::Duration;

use contract::Picodollars;
use fleet::{Busy, Slot, Turn};
use ledger::Reservation;
use routing::{Event as Came, InferenceEndpoint, Itinerary, Step, Terms};

use crate::simulation::attempt::SimulatedAttempt;
use crate::simulation::decide::Decided;
use crate::simulation::gateway::{At, Gateway};
use crate::simulation::machine::Luck;
use crate::simulation::random::{Stream, stream};
use crate::simulation::record::Fate;
use crate::simulation::site::Sites;

use super::money::Means;
use super::{ATTEMPTS, DRAWS, Event, Run};

/// A request that has arrived.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) itinerary: Itinerary<'static>,
    /// Random stream of its draws.
    pub(super) rng: Stream,
    /// Number of attempts made.
    pub(super) attempts: u32,
    /// Number of lines that it has entered.
    pub(super) visit: u32,
    /// What it waits for, while it is in line.
    pub(super) waiting: Option<Wait>,
    /// A place, between the step that took it and the attempt.
    pub(super) slot: Option<Slot>,
    /// What it may spend.
    pub(super) means: Means,
    /// Money, between the step that reserved it and the attempt.
    pub(super) money: Option<Reservation>,
    /// Index of its last attempt.
    pub(super) attempt: Option<usize>,
    /// Index of the second attempt, while it is under way beside the first one.
    pub(super) beside: Option<usize>,
}

/// A wait in line.
#[derive(Debug)]
pub(super) struct Wait {
    /// The deployments whose lines it is in.
    pub(super) sites: Vec<usize>,
    pub(super) since: Duration,
}

impl Run<'_> {
    pub(super) fn arrives(&mut self, index: usize) {
        let now = self.epoch + self.now;
        self.gateways[self.gateway_of[index]].budget.begin(now);
        self.decide(index, 0);
    }

    /// Decides a request that was held so many times, and begins its way.
    pub(super) fn decide(&mut self, index: usize, held: u32) {
        let (scenario, request, now) = (self.scenario, &self.requests[index], self.now);
        self.see(self.gateway_of[index]);
        let means = self.means(index);
        if means.refuses() {
            return self.finish(index, Fate::Broke);
        }
        let gateway = &mut self.gateways[self.gateway_of[index]];
        let Gateway { decisions, sites, money, .. } = gateway;
        let mut eligible = decisions.eligible(sites, now);
        if means.short != 0 {
            eligible = eligible.within(|at| sites[at].config.budgets & means.short == 0);
        }
        let (model, seen) = (&scenario.model, (&**sites, money.as_ref()));
        let decided = decisions.decide((request, held), model, &eligible, seen, now);
        let weights = match decided {
            Decided::Route(weights) => weights,
            Decided::Hold(time) => return self.hold(index, held, time),
            Decided::Refuse => return self.finish(index, Fate::Denied),
        };
        gateway.rate.note(self.epoch + now);
        if weights.hedge.is_some() {
            gateway.hedges.pay_in(scenario.hedging.budget);
        }
        let terms = Terms {
            fallback: scenario.fallback,
            hedging: scenario.hedging,
            endpoint: InferenceEndpoint::ChatCompletions,
            panic: eligible.panic,
            started: self.epoch + request.at,
            total: scenario.total,
        };
        let (short, holds) = (means.short, means.holds);
        let sites = Sites { all: &gateway.sites, now, short, holds };
        let mut rng = stream(scenario.seed, &[DRAWS, index as u64]);
        let itinerary = Itinerary::begin(weights, terms, &sites, &mut rng, self.epoch + now);
        let (attempts, visit, waiting, attempt, beside) = Default::default();
        let (slot, money) = Default::default();
        let way =
            Way { itinerary, rng, attempts, visit, waiting, slot, means, money, attempt, beside };
        self.ways[index] = Some(way);
        self.events.plan(request.at + scenario.total, Event::Expires(index));
        self.ready.push_back((index, Came::Ready));
    }

    /// Continues a request after the result of its last step, until it makes an attempt, waits in a
    /// line, or ends.
    pub(super) fn go_on(&mut self, request: usize, mut came: Came) {
        while let Some(way) = &mut self.ways[request] {
            let gateway = &self.gateways[self.gateway_of[request]];
            let (all, now) = (&gateway.sites, self.epoch + self.now);
            let Means { short, holds, .. } = way.means;
            let sites = Sites { all, now: self.now, short, holds };
            came = match way.itinerary.step(came, &sites, &gateway.budget, &mut way.rng, now) {
                Step::Enter(at) => all[at].enter(&mut way.slot, now),
                Step::Wait { until } => match self.stand_in_line(request, until) {
                    Ok(()) => return,
                    Err(busy) => Came::NoPlace(busy),
                },
                Step::PassOver(_) => Came::NoPlace(Busy::Dispersed),
                Step::Attempt(at) => match self.pays(request, at) {
                    true if self.try_at(request, at) => return,
                    false if self.is_refused(request) => return self.give_up(request),
                    _ => Came::Refused,
                },
                Step::GiveUp => return self.give_up(request),
            };
        }
    }

    /// Makes an attempt with a free place. False if the deployment does not admit it.
    fn try_at(&mut self, request: usize, site: usize) -> bool {
        let (at, now) = (self.at(request, site), self.epoch + self.now);
        let Some(way) = &mut self.ways[request] else { return false };
        let standing = &self.gateways[at].standing;
        let turn = match way.itinerary.is_panic() {
            true => standing.admit_in_panic(now),
            false => standing.admit(now),
        };
        let money = way.money.take();
        let Some(admission) = turn.zip(way.slot.take()) else {
            if let Some(money) = money {
                money.settle(Picodollars::ZERO);
            }
            return false;
        };
        way.itinerary.began(now);
        let probability = way.itinerary.probability();
        let hedges_at = way.itinerary.hedges_at();
        let id = self.attempt(request, at, admission, probability);
        self.attempts[id].money = money;
        if let Some(way) = &mut self.ways[request] {
            way.attempt = Some(id);
        }
        if let Some(due) = hedges_at {
            self.events.plan(due - self.epoch, Event::Hedges(id));
        }
        true
    }

    /// Makes an attempt that was admitted. Returns its index.
    pub(super) fn attempt(
        &mut self,
        request: usize,
        at: At,
        admission: (Turn, Slot),
        probability: f64,
    ) -> usize {
        let (site, wanted) = (&mut self.gateways[at], &self.requests[request]);
        let id = self.attempts.len();
        let number = self.ways[request].as_mut().map_or(0, |way| {
            way.attempts += 1;
            way.attempts
        });
        // Named by request and attempt, so that the luck is the same for every strategy.
        let name = self.scenario.fallback.attempts.checked_sub(number).unwrap_or(number);
        let mut rng = stream(self.scenario.seed, &[ATTEMPTS, request as u64, u64::from(name)]);
        let mut made = SimulatedAttempt::new(request, at, self.now, site, admission, rng.clone());
        (made.queued, made.probability) = (self.records[request].queued, probability);
        if site.signals.wants_requests()
            && let Some(trace) = &mut made.trace
        {
            trace.carry(&Arc::new(wanted.signals()));
        }
        site.engine.begin();
        self.attempts.push(made);
        let tokens = u64::from(wanted.prompt) + u64::from(wanted.output);
        let (latency, event) = match self.machines[at.site].luck(self.now, &mut rng) {
            Luck::Good { latency, .. } if tokens > site.config.place.context_length => {
                (latency, Event::Refuses(id))
            }
            Luck::Good { latency, slow } => (latency, Event::Reaches { attempt: id, slow }),
            Luck::Bad { latency, cause } => (latency, Event::Fails { attempt: id, cause }),
        };
        self.events.plan(self.now + latency, event);
        self.events.plan(self.now + self.scenario.first_byte, Event::Due(id));
        id
    }
}
