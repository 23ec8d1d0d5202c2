//! Drives the itinerary of one request: takes places, waits in line and issues permits.
//! [`Itinerary`] makes every decision.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use answers::refusal::Feature;
use config::Modalities;
use fleet::{
    Active, Busy, Deployment, Entry, Fleet, FleetModel, Outcome, Permit, Route, Scope, Slot,
    Wanted, wait_for_any,
};
use routing::{
    Deployments, Event, Exhausted, Failure, InferenceEndpoint, Itinerary, Lack, Step, Terms, Unfit,
};

use super::journal::Journal;

/// The current state of a model's deployments.
#[derive(Debug, Clone, Copy)]
struct Live<'a> {
    model: &'a FleetModel,
    route: &'a Route,
    endpoint: InferenceEndpoint,
    scope: Scope,
}

impl Deployments for Live<'_> {
    fn is_eligible(&self, at: usize) -> bool {
        self.route.states[at].is_eligible()
    }

    fn is_open(&self, at: usize, now: Instant) -> bool {
        let deployment = &self.model.deployments[at];
        deployment.is_open(now) && !deployment.lacks(self.endpoint as usize, now)
    }

    fn cools_until(&self, at: usize, now: Instant) -> Option<Instant> {
        self.model.deployments[at].cools_until(now)
    }

    fn is_up(&self, at: usize) -> bool {
        self.model.deployments[at].health.as_ref().is_none_or(|health| health.is_up())
    }

    fn is_failing(&self, at: usize) -> bool {
        self.model.deployments[at].load.is_failing()
    }

    fn patience(&self, at: usize) -> Duration {
        self.model.deployments[at].config.concurrency.wait
    }

    fn is_forbidden(&self, at: usize) -> bool {
        !self.scope.is_all() && self.scope.forbids(&self.model.deployments[at].config).is_some()
    }

    fn fits(&self, at: usize, unfit: Unfit) -> bool {
        let capability = |at: usize| self.model.deployments[at].config.capability;
        let has = |what| capability(at).input.has(what);
        match unfit.lack {
            Lack::Context => {
                let said = unfit.context_length.unwrap_or(u64::MAX);
                capability(at).context_length > capability(unfit.at).context_length.min(said)
            }
            Lack::Feature(Feature::Tools) => capability(at).tools,
            Lack::Feature(Feature::Images) => has(Modalities::IMAGE),
            Lack::Feature(Feature::Audio) => has(Modalities::AUDIO),
            Lack::Feature(Feature::Video) => has(Modalities::VIDEO),
            Lack::Feature(Feature::Other) => false,
        }
    }
}

/// The itinerary of one request, with what is needed to follow it.
#[derive(Debug)]
pub(super) struct Turns<'a> {
    fleet: &'a Fleet,
    live: Live<'a>,
    itinerary: Itinerary<'a>,
    _active: Active<'a>,
}

impl<'a> Turns<'a> {
    /// Begins the itinerary of a request that arrives now. `weights` are those of `route`, or the
    /// request's own.
    pub(super) fn begin(
        fleet: &'a Fleet,
        model: &'a FleetModel,
        route: &'a Route,
        weights: impl Into<Cow<'a, [f64]>>,
        terms: Terms,
        scope: Scope,
        now: Instant,
    ) -> Self {
        model.note(now);
        let (active, live) =
            (fleet.budget.enter(now), Live { model, route, endpoint: terms.endpoint, scope });
        let itinerary = Itinerary::begin(weights, terms, &live, &mut rand::rng(), now);
        Self { fleet, live, itinerary, _active: active }
    }

    /// The permit for the next attempt. None: there are no more attempts. Waits in line for a place
    /// if the itinerary says so.
    pub(super) async fn next(&mut self, journal: &mut Journal) -> Option<Permit> {
        let (live, budget) = (self.live, &*self.fleet.budget);
        let mut now = Instant::now();
        let mut event = Event::Ready;
        let mut slot = None;
        loop {
            match self.itinerary.step(event, &live, budget, &mut rand::rng(), now) {
                Step::Enter(at) => {
                    (event, slot) = enter(&live.model.deployments[at], journal, now);
                }
                Step::Wait { until } => {
                    // Boxed: few requests wait, and the others stay small.
                    let placed = Box::pin(self.wait(until)).await;
                    let since = std::mem::replace(&mut now, Instant::now());
                    journal.queued(now.saturating_duration_since(since));
                    event = match placed {
                        Ok((at, place)) => {
                            slot = Some(place);
                            Event::Placed(at)
                        }
                        Err(busy) => {
                            for at in self.itinerary.wanted() {
                                let deployment = &live.model.deployments[*at];
                                journal.passed_over(deployment, busy, now - since);
                            }
                            Event::NoPlace(busy)
                        }
                    };
                }
                Step::PassOver(at) => {
                    let deployment = &live.model.deployments[at];
                    journal.passed_over(deployment, Busy::Dispersed, Duration::ZERO);
                    event = Event::NoPlace(Busy::Dispersed);
                }
                Step::Attempt(at) => {
                    let deployment = &live.model.deployments[at];
                    let admit = match self.itinerary.is_panic() {
                        true => Deployment::admit_in_panic,
                        false => Deployment::admit,
                    };
                    if let Some(permit) = slot.take().and_then(|slot| admit(deployment, slot, now))
                    {
                        self.itinerary.began(now);
                        return Some(permit);
                    }
                    // The deployment was ejected or began to cool since it was chosen.
                    event = Event::Refused;
                }
                Step::GiveUp => return None,
            }
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
        let in_use =
            |at: usize| panic || live.model.deployments[at].is_worth_waiting(Instant::now());
        wait_for_any(wanted, until, in_use).await
    }

    /// Records the failure of the last attempt. Returns the outcome for the deployment.
    pub(super) fn failed(&mut self, failure: Failure) -> Outcome {
        self.itinerary.failed(failure)
    }

    /// What the client is told if no attempt succeeded.
    pub(super) fn exhausted(self, now: Instant) -> Exhausted {
        let Live { model, scope, .. } = self.live;
        let forbidden = model.deployments.iter().find_map(|d| scope.forbids(&d.config));
        let name = |at: usize| model.deployments[at].config.name.clone();
        let exhausted = self.itinerary.exhausted(name, &model.config.id, model.wait(now), now);
        Exhausted { forbidden, ..exhausted }
    }
}

/// Takes a place without waiting, if one is free.
fn enter(
    deployment: &Arc<Deployment>,
    journal: &mut Journal,
    now: Instant,
) -> (Event, Option<Slot>) {
    match deployment.slots.try_enter(now) {
        Entry::Place(place) => (Event::Entered, Some(place)),
        Entry::Full => (Event::Full, None),
        Entry::Pressed { soon } => {
            journal.passed_over(deployment, Busy::Pressed, Duration::ZERO);
            (Event::Pressed { soon }, None)
        }
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
