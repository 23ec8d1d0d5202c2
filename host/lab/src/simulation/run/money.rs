//! Money of requests: reserved before an attempt, settled at its end, as the gateway does.

use std::time::Duration;

use config::OnceSpent;
use contract::{Ending, Picodollars};
use fleet::Consumed;
use ledger::{Payer, Purse, Refused};

use crate::simulation::gateway::Gateway;
use crate::simulation::money::Pot;
use crate::simulation::record::Fate;
use crate::simulation::report::POINTS;
use crate::simulation::workload::Request;

use super::ending::Closing;
use super::{Event, Run};

/// What the budgets say of a request when it arrives.
#[derive(Debug, Default)]
pub(super) struct Means {
    pub(super) purse: Option<Purse>,
    /// Budgets that have too little left, as bits.
    pub(super) short: u64,
    /// The one that had too little last.
    pub(super) refused: Option<Refused>,
    /// How long the request waits at least for what they do not cover.
    pub(super) holds: Duration,
}

/// What was spent of one budget, by all gateways together.
#[derive(Debug, Clone, Default)]
pub(in crate::simulation) struct Spending {
    /// The most in one window.
    pub(in crate::simulation) most: Picodollars,
    /// In the window under way, at the end of each step of a report.
    pub(in crate::simulation) steps: Vec<Picodollars>,
}

impl Means {
    /// True if a budget refuses the request.
    pub(super) fn refuses(&self) -> bool {
        self.purse.as_ref().is_some_and(|purse| purse.refuses(self.short))
    }
}

impl Run<'_> {
    /// What a request may spend that arrives now.
    pub(super) fn means(&self, request: usize) -> Means {
        let Gateway { sites, money, .. } = &self.gateways[self.gateway_of[request]];
        let usual = |at: usize| sites[at].signals.usual_answer();
        let purse = money.as_ref().and_then(|one| one.purse(&self.requests[request], usual));
        let (short, refused) = purse.as_ref().map_or((0, None), Purse::short);
        let holds = purse.as_ref().and_then(|purse| purse.holds(short)).unwrap_or_default();
        Means { purse, short, refused, holds }
    }

    /// Reserves the money for an attempt. Returns false if a budget has too little left.
    pub(super) fn pays(&mut self, request: usize, site: usize) -> bool {
        let Some(way) = &mut self.ways[request] else { return false };
        let Some(purse) = &way.means.purse else { return true };
        match purse.reserve_now(site) {
            Ok(money) => {
                way.money = money;
                true
            }
            Err(refused) => {
                if let OnceSpent::Hold(time) = refused.then {
                    way.means.holds = time;
                }
                way.means.refused = Some(refused);
                way.slot = None;
                // The place is free for others.
                let at = self.at(request, site);
                self.gateways[at].opens = Some(self.now);
                self.events.plan(self.now, Event::Opens(at));
                false
            }
        }
    }

    /// True if the request ends because a budget has too little left for an attempt.
    pub(super) fn is_refused(&self, request: usize) -> bool {
        let way = self.ways[request].as_ref();
        let refused = way.and_then(|way| way.means.refused.as_ref());
        refused.is_some_and(|refused| refused.then == OnceSpent::Refuse)
    }

    /// Ends a request that no deployment has answered.
    pub(super) fn give_up(&mut self, request: usize) {
        let Some(way) = self.ways[request].take() else { return };
        let (name, now) = (|at: usize| at.to_string(), self.epoch + self.now);
        let mut exhausted = way.itinerary.exhausted(name, &self.scenario.model, None, now);
        exhausted.short = way.means.refused;
        let is_short = exhausted.short_of().is_some();
        self.finish(request, if is_short { Fate::Broke } else { Fate::Failed });
    }

    /// Settles what an attempt has cost.
    pub(super) fn settle_money(&mut self, id: usize, closing: Closing) {
        let attempt = &mut self.attempts[id];
        let Some(money) = attempt.money.take() else { return };
        let request = &self.requests[attempt.request];
        let consumed = Consumed {
            prompt: request.prompt.into(),
            completion: request.output.into(),
            ..Consumed::default()
        };
        let cost = self.scenario.sites[attempt.at.site].tariff.cost(consumed);
        let is_error = attempt.begun.is_none() && closing.status.is_some();
        let cost = match closing.ending {
            Ending::Ok => cost,
            Ending::ClientError | Ending::Refused => Picodollars::ZERO,
            // Providers bill no errors.
            _ if !closing.sent || is_error => Picodollars::ZERO,
            // What may have been paid.
            _ => money.stake().most,
        };
        money.settle(cost);
        for at in 0..self.pots.len() {
            let spent = self.spent(at);
            self.spending[at].most = self.spending[at].most.max(spent);
        }
    }

    /// Plans to look at the budgets at the end of each step of a report: just before, because a window
    /// may end with it.
    pub(super) fn begin_tells(&mut self) {
        if self.pots.is_empty() {
            return;
        }
        for point in 0..POINTS {
            self.events.plan(self.end_of_step(point), Event::Tells);
        }
    }

    /// Notes what is spent at the end of a step.
    pub(super) fn tell_spent(&mut self) {
        for at in 0..self.pots.len() {
            let spent = self.spent(at);
            self.spending[at].steps.push(spent);
        }
    }

    /// What was spent. Steps after the last request are added.
    pub(super) fn spendings(&mut self) -> Vec<Spending> {
        let told = self.spending.first().map_or(POINTS, |spending| spending.steps.len());
        for point in told..POINTS {
            self.set_clocks(self.end_of_step(point));
            self.tell_spent();
        }
        std::mem::take(&mut self.spending)
    }

    pub(super) fn set_clocks(&self, now: Duration) {
        self.gateways.0.iter().filter_map(|one| one.money.as_ref()).for_each(|one| one.set(now));
    }

    fn end_of_step(&self, point: usize) -> Duration {
        let step = self.scenario.duration / u32::try_from(POINTS).unwrap_or(u32::MAX);
        let end = step * u32::try_from(point + 1).unwrap_or(u32::MAX);
        end.saturating_sub(Duration::from_micros(1))
    }

    /// What all gateways have spent of a budget in the window under way.
    fn spent(&self, at: usize) -> Picodollars {
        let pot: &Pot<'_> = &self.pots[at];
        let all = self.gateways.0.iter().filter_map(|one| one.money.as_ref());
        all.map(|one| one.spent(pot)).sum()
    }
}

/// Who is told how budgets stand.
pub(in crate::simulation) fn payer(request: Option<&Request>) -> Payer<'_> {
    request.map_or(Payer::Anybody, |request| Payer::Tenant(request.tenant.as_deref()))
}
