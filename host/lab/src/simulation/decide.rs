//! The simulated decision layer: asks the strategy, and applies its answers.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use config::Standby;
use contract::{
    Candidate, Column, EndedAttempt, Fault, Hedge, PathStrategy, Question, RequestPlan, Situation,
    Strategy, Verdict, Weights,
};
use fleet::{AttemptQueue, Eligible, Prospect};
use routing::{HedgePlan, MOST_HOLDS, RequestWeights};

use crate::Replayed;

use super::money::Money;
use super::run::payer;
use super::site::Site;
use super::workload::Request;

pub(super) struct Decisions<'a> {
    strategy: &'a mut dyn Strategy,
    surroundings: &'a Replayed,
    /// The number of the next request that it is asked about.
    number: Cell<u32>,
    standby: Standby,
    /// Set if the strategy decides for each request.
    on_path: Option<Arc<dyn PathStrategy>>,
    /// The last good weights, one for each deployment. None before the first: all are equal.
    last: Option<Vec<f64>>,
    attempt_queue: AttemptQueue,
    faults: u64,
    last_fault: Option<String>,
}

impl<'a> Decisions<'a> {
    pub(super) fn new(
        strategy: &'a mut dyn Strategy,
        surroundings: &'a Replayed,
        standby: Standby,
    ) -> Self {
        let on_path = strategy.on_path();
        let (last, attempt_queue, faults, last_fault) = Default::default();
        let number = Cell::new(0);
        Self {
            strategy,
            surroundings,
            number,
            standby,
            on_path,
            last,
            attempt_queue,
            faults,
            last_fault,
        }
    }

    /// The eligible deployments at a time.
    pub(super) fn eligible(&self, sites: &[Site<'_>], now: Duration) -> Eligible {
        let prospects: Vec<Prospect> = sites.iter().map(|site| site.prospect(now)).collect();
        Eligible::among(&prospects, self.standby)
    }

    pub(super) fn learns(&self) -> bool {
        self.strategy.learns()
    }

    /// Refresh interval of the strategy.
    pub(super) fn refresh(&self) -> Option<Duration> {
        self.strategy.description().refresh
    }

    pub(super) fn faults(&self) -> (u64, Option<&String>) {
        (self.faults, self.last_fault.as_ref())
    }

    /// Asks for the weights from now on. After a fault the last good ones stay.
    pub(super) fn ask(&mut self, sites: &[Site<'_>], money: Option<&Money<'_>>, now: Duration) {
        let eligible = self.eligible(sites, now);
        let (local, remote) = candidates(&eligible, sites, now);
        let signals = self.signals(&eligible, sites, money, None, now);
        let situation = Situation { local: &local, remote: &remote, signals: &signals };
        self.surroundings.set(now);
        let answer = self.strategy.assign(situation);
        match answer.and_then(|raw| Ok(Weights::check(raw, local.len(), remote.len())?)) {
            Ok(weights) => self.last = Some(spread(&weights, &eligible, sites, now)),
            Err(fault) => self.fault(&fault),
        }
    }

    /// What happens with one request that was held so many times. After a fault the last good
    /// weights decide.
    pub(super) fn decide(
        &mut self,
        (request, held): (&Request, u32),
        model: &str,
        eligible: &Eligible,
        (sites, money): (&[Site<'_>], Option<&Money<'_>>),
        now: Duration,
    ) -> Decided {
        let eligible = eligible.still(|i| sites[i].is_open(now));
        let is_asked = held < MOST_HOLDS && eligible.is_assigned();
        if let Some(on_path) = self.on_path.as_ref().filter(|_| is_asked) {
            let (local, remote) = candidates(&eligible, sites, now);
            let facts = request.facts(on_path.description().needs);
            let (facts, stream) = (&facts, request.stream);
            let signals = self.signals(&eligible, sites, money, Some(request), now);
            let situation = Situation { local: &local, remote: &remote, signals: &signals };
            let question = Question { model, stream, facts, situation, held };
            self.surroundings.set(now);
            let answer = self.strategy.assign_request(question);
            let (deployments, reasons) =
                ([local.len(), remote.len()], self.strategy.description().reasons.len());
            match answer.and_then(|raw| Ok(Verdict::check(raw, deployments, reasons)?)) {
                Ok(Verdict::Route(plan)) => {
                    return Decided::Route(placed(plan, &eligible, sites, now));
                }
                Ok(Verdict::Hold(time)) => return Decided::Hold(time),
                Ok(Verdict::Refuse(_)) => return Decided::Refuse,
                Err(fault) => self.fault(&fault),
            }
        }
        let last = self.last.clone().unwrap_or_else(|| vec![1.0; sites.len()]);
        Decided::Route(last.into())
    }

    /// The values of the signals that the strategy asks for, as the gateway gives them.
    fn signals(
        &self,
        eligible: &Eligible,
        sites: &[Site<'_>],
        money: Option<&Money<'_>>,
        request: Option<&Request>,
        now: Duration,
    ) -> Vec<f64> {
        let columns = &self.strategy.description().signals;
        if columns.is_empty() {
            return Vec::new();
        }
        let is_row =
            |column: &&Option<Column>| column.as_ref().is_none_or(|column| !column.is_global());
        let wants = sites.iter().any(|site| site.signals.wants_requests());
        let of_request = request.filter(|_| wants).map(Request::signals);
        let mut values = Vec::new();
        for at in eligible.local.iter().chain(&eligible.remote) {
            let of = |column: &Option<Column>| match column {
                Some(column) => sites[*at].signal(column.signal, of_request.as_ref(), now),
                None => f64::NAN,
            };
            values.extend(columns.iter().filter(is_row).map(of));
        }
        let number = if request.is_some() { f64::from(self.number.get()) } else { f64::NAN };
        let global = |column: &Column| match &column.budget {
            Some(_) => money.map_or(f64::NAN, |money| money.signal(column, payer(request))),
            None => number,
        };
        values.extend(columns.iter().flatten().filter(|column| column.is_global()).map(global));
        if request.is_some() {
            self.number.set(self.number.get().wrapping_add(1));
        }
        values
    }

    fn fault(&mut self, fault: &Fault) {
        self.faults += 1;
        self.last_fault = Some(fault.to_string());
    }

    /// Queues an ended attempt for a strategy that learns.
    pub(super) fn note(&mut self, attempt: EndedAttempt) {
        if self.learns() {
            self.attempt_queue.add(attempt);
        }
    }

    /// Tells the strategy of the attempts that ended since the last call.
    pub(super) fn learn(&mut self) {
        let attempt_queue = self.attempt_queue.take();
        if !attempt_queue.is_empty()
            && let Err(fault) = self.strategy.outcome(&attempt_queue)
        {
            self.fault(&fault);
        }
    }
}

/// What happens with a request.
pub(super) enum Decided {
    /// It is sent.
    Route(RequestWeights<'static>),
    /// It waits for so long, or until there is room.
    Hold(Duration),
    /// It is refused.
    Refuse,
}

/// A strategy's plan for the eligible deployments, as one for all.
fn placed(
    plan: RequestPlan,
    eligible: &Eligible,
    sites: &[Site<'_>],
    now: Duration,
) -> RequestWeights<'static> {
    let weights = spread(&plan.weights, eligible, sites, now).into();
    let tiers = plan.tiers.map(|tiers| {
        let mut all = vec![0; sites.len()];
        let local = eligible.local.iter().zip(tiers.local());
        for (at, tier) in local.chain(eligible.remote.iter().zip(tiers.remote())) {
            all[*at] = *tier;
        }
        all
    });
    let hedge = plan.hedge.map(|Hedge { after, weights, max_cost }| {
        let weights = eligible.spread(&weights, sites.len());
        Box::new(HedgePlan { after, weights, max_cost })
    });
    RequestWeights { weights, tiers, when_full: plan.when_full, hedge }
}

/// One weight for each deployment, lower for those in slow start.
fn spread(weights: &Weights, eligible: &Eligible, sites: &[Site<'_>], now: Duration) -> Vec<f64> {
    let mut all = eligible.spread(weights, sites.len());
    eligible.lower(&mut all, |at| sites[at].state(now).factor);
    all
}

/// The eligible deployments as candidates, local and remote.
fn candidates<'s>(
    eligible: &Eligible,
    sites: &'s [Site<'_>],
    now: Duration,
) -> (Vec<Candidate<'s>>, Vec<Candidate<'s>>) {
    let of = |list: &[usize]| list.iter().map(|i| sites[*i].candidate(now)).collect();
    (of(&eligible.local), of(&eligible.remote))
}
