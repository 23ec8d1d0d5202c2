//! Follows the itinerary of one request: takes places, waits in line, issues permits, and says who is
//! charged with what failed. [`Itinerary`] makes every decision.
//!
//! The caller sends the attempts. The proxy and the simulation are two such callers, so that the
//! simulation tests what serves.

mod blame;
mod hold;
mod live;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;

use config::OnceSpent;
use contract::{Picodollars, Signal};
use fleet::{
    Active, Busy, Deployment, Entry, Fleet, FleetModel, Permit, QuotaSpent, RequestSignals, Route,
    Scope, Slot, Wanted, now, wait_for_any,
};

use ledger::{Purse, Refused, Reservation};

use crate::{Event, Exhausted, Failure, Itinerary, RequestWeights, Step, Terms};

pub use hold::hold;

use blame::Blame;
use live::Live;

/// Events of a request beside its attempts.
pub trait WaitLog {
    /// The request was in line for this long.
    fn queued(&mut self, time: Duration);
    /// A deployment had no place for the request after it waited for `after`.
    fn passed_over(&mut self, deployment: &Arc<Deployment>, busy: Busy, after: Duration);
}

/// The itinerary of one request, with what is needed to follow it.
#[derive(Debug)]
pub struct Turns<'a, R> {
    fleet: &'a Fleet,
    live: Live<'a>,
    itinerary: Itinerary<'a>,
    blame: Blame<'a>,
    signals: Option<&'a Arc<RequestSignals>>,
    rng: R,
    /// A place that the request got while it was held.
    offered: Option<(usize, Slot)>,
    /// What the request may spend. None: no budget counts for it.
    purse: Option<&'a Purse>,
    /// Money for the attempt of the last permit.
    reserved: Option<Reservation>,
    /// The budget that had too little left.
    short: Option<Refused>,
    _active: Active<'a>,
}

/// A request that is about to be attempted.
#[derive(Debug, Clone, Copy)]
pub struct RoutedRequest<'a> {
    /// All models.
    pub fleet: &'a Fleet,
    /// The model of the request.
    pub model: &'a FleetModel,
    /// The route of the model in the snapshot of the request.
    pub route: &'a Route,
    /// The whole body, by which requests are told apart.
    pub body: &'a [u8],
    /// The rules for the request.
    pub terms: Terms,
    /// The deployments that it may go to.
    pub scope: Scope,
    /// What signals depend on. None if no strategy of the model asks for such signals.
    pub signals: Option<&'a Arc<RequestSignals>>,
}

impl<'a, R: Rng> Turns<'a, R> {
    /// Begins the itinerary of a request that arrives now. `weights` are those of its route, or its
    /// own. `rng` draws the order of the deployments.
    pub fn begin(
        asked: RoutedRequest<'a>,
        weights: impl Into<RequestWeights<'a>>,
        mut rng: R,
        now: Instant,
    ) -> Self {
        let RoutedRequest { fleet, model, route, body, terms, scope, signals } = asked;
        model.note(now);
        let (active, live) = (
            fleet.budget.enter(now),
            Live { model, route, endpoint: terms.endpoint, scope, holds: Duration::ZERO },
        );
        let weights = weights.into();
        if weights.hedge.is_some() {
            fleet.hedges.pay_in(terms.hedging.budget);
        }
        let itinerary = Itinerary::begin(weights, terms, &live, &mut rng, now);
        let blame = Blame::new(body, terms.endpoint);
        let (offered, purse, reserved, short) = Default::default();
        Self {
            fleet,
            live,
            itinerary,
            blame,
            signals,
            rng,
            offered,
            purse,
            reserved,
            short,
            _active: active,
        }
    }

    /// Brings the place that the request got while it was held. It is used if the first deployment
    /// is the one of the place.
    #[must_use]
    pub fn with_place(self, offered: Option<(usize, Slot)>) -> Self {
        Self { offered, ..self }
    }

    /// Reserves the money for each attempt in this purse. `short` is the budget that had too little left
    /// at the start, and `holds` how long the request waits for what is left.
    #[must_use]
    pub fn with_purse(
        mut self,
        purse: Option<&'a Purse>,
        short: Option<Refused>,
        holds: Duration,
    ) -> Self {
        self.live.holds = holds;
        Self { purse, short, ..self }
    }

    /// The money that is reserved for the attempt of the last permit.
    pub fn reserved(&mut self) -> Option<Reservation> {
        self.reserved.take()
    }

    /// When a second attempt is to be made beside the one under way. None: never.
    #[must_use]
    pub fn hedges_at(&self) -> Option<Instant> {
        self.itinerary.hedges_at()
    }

    /// The permit for a second attempt beside the one under way, and the probability with which its
    /// deployment was drawn. None if no place is free, or the budget does not allow it.
    pub fn hedge(&mut self, now: Instant) -> Option<(Permit, f64)> {
        let (live, signals, fleet) = (self.live, self.signals, self.fleet);
        let all = &live.model.deployments;
        let price = |at: usize| {
            let signals = signals.map(|signals| &**signals);
            all[at].signal(Signal::RequestCost, signals, now)
        };
        let (mut denied, purse, mut reserved) = (false, self.purse, None);
        let take = |at: usize| {
            if denied {
                return None;
            }
            let Entry::Place(slot) = all[at].slots.try_enter(now) else { return None };
            let quota = all[at].take_quota(live.scope.needs(), now).ok()?;
            let money = purse.map_or(Ok(None), |purse| purse.reserve_now(at)).ok()?;
            let permit = Deployment::admit(&all[at], slot, now);
            denied = permit.is_some() && !fleet.hedges.withdraw();
            match permit.filter(|_| !denied) {
                Some(mut permit) => {
                    reserved = money;
                    permit.use_quota(quota);
                    Some(permit)
                }
                None => {
                    if let Some(money) = money {
                        money.settle(Picodollars::ZERO);
                    }
                    None
                }
            }
        };
        let hedged = self.itinerary.hedge(&live, price, take, &mut self.rng, now)?;
        let mut permit = hedged.taken;
        self.reserved = reserved;
        if let Some(signals) = signals {
            permit.carry(signals);
        }
        Some((permit, hedged.probability))
    }

    /// Swaps the two attempts under way: later calls are about the other one.
    pub fn swap(&mut self) {
        self.itinerary.swap();
    }

    /// The permit for the next attempt. None: there are no more attempts. Waits in line for a place
    /// if the itinerary says so.
    pub async fn next(&mut self, log: &mut impl WaitLog) -> Option<Permit> {
        let (live, budget) = (self.live, &*self.fleet.budget);
        let mut now = now();
        let mut event = Event::Ready;
        let mut slot = None;
        loop {
            match self.itinerary.step(event, &live, budget, &mut self.rng, now) {
                Step::Enter(at) => {
                    (event, slot) = match self.offered.take() {
                        Some((of, place)) if of == at => (Event::Entered, Some(place)),
                        // Dropped, a place is free for others.
                        _ => enter(&live.model.deployments[at], log, now),
                    };
                }
                Step::Wait { until } => {
                    // A place that the retry budget did not allow to use is free for others.
                    slot = None;
                    // Boxed: few requests wait, and the others stay small.
                    let placed = Box::pin(self.wait(until)).await;
                    let since = std::mem::replace(&mut now, fleet::now());
                    log.queued(now.saturating_duration_since(since));
                    event = match placed {
                        Ok((at, place)) => {
                            slot = Some(place);
                            Event::Placed(at)
                        }
                        Err(busy) => {
                            for at in self.itinerary.wanted() {
                                let deployment = &live.model.deployments[*at];
                                log.passed_over(deployment, busy, now - since);
                            }
                            Event::NoPlace(busy)
                        }
                    };
                }
                Step::PassOver(at) => {
                    let deployment = &live.model.deployments[at];
                    log.passed_over(deployment, Busy::Dispersed, Duration::ZERO);
                    event = Event::NoPlace(Busy::Dispersed);
                }
                Step::Attempt(at) => {
                    let deployment = &live.model.deployments[at];
                    let Ok(quota) = deployment.take_quota(live.scope.needs(), now) else {
                        slot = None;
                        event = Event::Refused;
                        continue;
                    };
                    if !self.pays(at).await {
                        match self.short.as_ref().map(|refused| refused.then) {
                            Some(OnceSpent::Refuse) => return None,
                            Some(OnceSpent::Hold(time)) => self.live.holds = time,
                            _ => {}
                        }
                        slot = None;
                        event = Event::Refused;
                        continue;
                    }
                    let admit = match self.itinerary.is_panic() {
                        true => Deployment::admit_in_panic,
                        false => Deployment::admit,
                    };
                    let permit = slot.take().and_then(|slot| admit(deployment, slot, now));
                    if let Some(mut permit) = permit {
                        self.itinerary.began(now);
                        permit.use_quota(quota);
                        if let Some(signals) = self.signals {
                            permit.carry(signals);
                        }
                        return Some(permit);
                    }
                    // The deployment was ejected or began to cool since it was chosen.
                    self.unpay();
                    event = Event::Refused;
                }
                Step::GiveUp => return None,
            }
        }
    }

    /// Reserves the money for an attempt. Returns false if a budget has too little left: the deployment
    /// is not tried.
    async fn pays(&mut self, at: usize) -> bool {
        let Some(purse) = self.purse else { return true };
        match purse.reserve(at).await {
            Ok(reserved) => {
                self.reserved = reserved;
                true
            }
            Err(refused) => {
                self.short = Some(refused);
                false
            }
        }
    }

    /// Gives the money back for an attempt that is not made.
    fn unpay(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            reserved.settle(Picodollars::ZERO);
        }
    }

    /// Waits in line for a place at one of the deployments that the itinerary wants.
    async fn wait(&self, until: Instant) -> Result<(usize, Slot), Busy> {
        let live = self.live;
        let wanted = self.itinerary.wanted().iter().map(|&at| {
            let deployment = &live.model.deployments[at];
            Wanted { at, slots: &deployment.slots, queue: deployment.config.concurrency.queue }
        });
        let panic = self.itinerary.is_panic();
        let in_use = |at: usize| panic || live.model.deployments[at].is_worth_waiting(now());
        wait_for_any(wanted, until, in_use).await
    }

    /// Records that the answer to an attempt is past its commit point.
    pub fn committed(&mut self, permit: &mut Permit, now: Instant) {
        self.blame.known(true, now);
        permit.begun(now);
        permit.deployment().answered(self.live.endpoint as usize, now);
    }

    /// Ends the attempt under way, which failed before its commit point. An attempt beside it takes
    /// its place. Returns true if the deployment stalled: it answered others meanwhile.
    pub fn failed(&mut self, permit: Permit, failure: Failure, now: Instant) -> bool {
        let failed = (failure.cause, failure.may_be_poison());
        let outcome = self.itinerary.failed(failure);
        self.blame.settle(permit, failed, outcome, now)
    }

    /// The probability with which the deployment of the last attempt was drawn.
    #[must_use]
    pub fn probability(&self) -> f64 {
        self.itinerary.probability()
    }

    /// True if nothing was eligible when the request arrived.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.itinerary.is_panic()
    }

    /// What the client is told if no attempt succeeded.
    pub fn exhausted(mut self, now: Instant) -> Exhausted {
        self.blame.known(false, now);
        let Live { model, scope, .. } = self.live;
        let why = |d: &Arc<Deployment>| scope.forbids_now(d, || now);
        let forbidden = model.deployments.iter().find_map(why);
        let quota = quota_spent(model, scope, now).map(Box::new);
        let name = |at: usize| model.deployments[at].config.name.clone();
        let exhausted = self.itinerary.exhausted(name, &model.config.id, model.wait(now), now);
        Exhausted { forbidden, short: self.short, quota, ..exhausted }
    }
}

/// The quota that fits the request soonest, of those deployments that only a quota forbids.
fn quota_spent(model: &FleetModel, scope: Scope, now: Instant) -> Option<QuotaSpent> {
    if scope.is_all() {
        return None;
    }
    let within = model.deployments.iter().filter(|d| scope.forbids(&d.config).is_none());
    let spent = within.filter_map(|d| d.quota_forbids(scope.needs(), now));
    spent.min_by_key(|spent| spent.wait.unwrap_or(Duration::MAX))
}

/// Takes a place without waiting, if one is free.
fn enter(
    deployment: &Arc<Deployment>,
    log: &mut impl WaitLog,
    now: Instant,
) -> (Event, Option<Slot>) {
    match deployment.slots.try_enter(now) {
        Entry::Place(place) => (Event::Entered, Some(place)),
        Entry::Full => (Event::Full, None),
        Entry::Pressed { soon } => {
            log.passed_over(deployment, Busy::Pressed, Duration::ZERO);
            (Event::Pressed { soon }, None)
        }
    }
}
