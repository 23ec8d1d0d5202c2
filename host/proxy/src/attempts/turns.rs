//! Whose turn it is: the deployments that one request may try, one after the other.
//!
//! The snapshot says how traffic is shared; what has happened since (an ejection, a deployment that asks
//! to be left alone) is looked up when a turn comes, so that no request waits for the decision layer.

use std::sync::Arc;
use std::time::Instant;

use config::{Fallback, RetryBudget};
use fleet::{Active, Busy, Deployment, Fleet, FleetModel, Permit, Route, Slot};
use routing::Draw;

use super::failure::{Exhausted, Failure};
use super::journal::Journal;

/// The turns of one request.
#[derive(Debug)]
pub(super) struct Turns<'a> {
    fleet: &'a Fleet,
    model: &'a FleetModel,
    route: &'a Route,
    order: Draw<'a>,
    /// Drawn already.
    next: Option<usize>,
    /// Nothing is eligible: what is left is tried all the same.
    panic: bool,
    /// Attempts that `fallback.attempts` leaves.
    left: u32,
    /// No attempt was made yet.
    first: bool,
    over_budget: bool,
    /// A deployment had no place for the request.
    busy: bool,
    budget: RetryBudget,
    _active: Active<'a>,
}

impl<'a> Turns<'a> {
    /// Draws the order for a request that arrives now, by `weights`: those of `route`, or its own.
    pub(super) fn draw(
        fleet: &'a Fleet,
        model: &'a FleetModel,
        route: &'a Route,
        weights: &'a [f64],
        fallback: Fallback,
        now: Instant,
    ) -> Self {
        model.note(now);
        let mut turns = Self {
            fleet,
            model,
            route,
            order: Draw::new(weights, fallback.standby),
            next: None,
            panic: route.eligible.panic,
            left: fallback.attempts,
            first: true,
            over_budget: false,
            busy: false,
            budget: fallback.budget,
            _active: fleet.budget.enter(now),
        };
        turns.next = turns.draw_next(now);
        if turns.next.is_none() && !turns.panic {
            turns.panic = true;
            turns.order = Draw::new(weights, fallback.standby);
            turns.next = turns.draw_next(now);
        }
        turns
    }

    /// The deployment whose turn is next. It may have to be passed over: attempts are counted as they are made.
    fn draw_next(&mut self, now: Instant) -> Option<usize> {
        let (panic, route, deployments) = (self.panic, self.route, &self.model.deployments);
        let usable = |i: usize| match panic {
            true => !deployments[i].is_cooling(now),
            false => route.states[i].is_eligible() && deployments[i].is_open(now),
        };
        self.order.next(usable, &mut rand::rng())
    }

    /// The permit for the next attempt; None: there is to be no further one.
    ///
    /// Every attempt but the first is taken from the retry budget, which is against requests that are
    /// multiplied where everything fails: an attempt at a deployment that does not fail is made
    /// whatever the budget says, so that no request is lost that could have been saved.
    ///
    /// Where a deployment has no place for it the request waits in line, until `end` at the latest;
    /// where the line is full the next deployment is tried, which costs no attempt.
    pub(super) async fn next(&mut self, journal: &mut Journal, end: Instant) -> Option<Permit> {
        let mut now = Instant::now();
        if self.left == 0 || now >= end {
            return None;
        }
        let permit = loop {
            let turn = self.next.take().or_else(|| self.draw_next(now))?;
            let deployment = &self.model.deployments[turn];
            if !self.panic && !deployment.is_open(now) {
                continue;
            }
            let slot = match deployment.slots.try_enter() {
                Some(slot) => Some(slot),
                None => {
                    let slot = self.wait_for(deployment, journal, end).await;
                    now = Instant::now();
                    slot
                }
            };
            // What is not attempted costs nothing: only who has a place pays for it.
            let Some(slot) = slot else { continue };
            let affordable = self.first || self.fleet.budget.withdraw(self.budget, now);
            if !affordable && (self.panic || deployment.load.is_failing()) {
                if !std::mem::replace(&mut self.over_budget, true) {
                    self.fleet.budget.deny();
                }
                continue;
            }
            // While it waited the deployment may have gone out of use.
            let admit = if self.panic { Deployment::admit_in_panic } else { Deployment::admit };
            if let Some(permit) = admit(deployment, slot, now) {
                break permit;
            }
        };
        self.first = false;
        self.left -= 1;
        Some(permit)
    }

    /// A place at a deployment after some time in line.
    async fn wait_for(
        &mut self,
        deployment: &Arc<Deployment>,
        journal: &mut Journal,
        end: Instant,
    ) -> Option<Slot> {
        let since = Instant::now();
        let is_up = || deployment.health.as_ref().is_none_or(|health| health.is_up());
        let place = match self.panic || is_up() {
            true => deployment.slots.enter(deployment.config.concurrency, end).await,
            false => Err(Busy::Dispersed),
        };
        journal.queued(since.elapsed());
        if let Err(busy) = place {
            self.busy |= busy != Busy::Dispersed;
            journal.passed_over(deployment, busy, since.elapsed());
        }
        place.ok()
    }

    /// What the client is told when no attempt succeeded.
    pub(super) fn exhausted(self, failures: Vec<(String, Failure)>, now: Instant) -> Exhausted {
        let (wait, over_budget, busy) = (self.model.wait(now), self.over_budget, self.busy);
        Exhausted { failures, wait, over_budget, busy }
    }
}
