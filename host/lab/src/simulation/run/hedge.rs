//! The second attempt of a request, beside one that takes long. The first of the two to begin its
//! answer goes to the client, and the other is cancelled.

use contract::{Ending, Picodollars, Signal};
use fleet::Entry;

use crate::simulation::gateway::{At, Gateway};
use crate::simulation::record::Second;
use crate::simulation::site::Sites;

use super::{Run, ending::Closing};

impl Run<'_> {
    /// A second attempt is due beside this one. Does nothing if this one has begun its answer or
    /// failed, if no place is free, or if the budget does not allow it.
    pub(super) fn hedge(&mut self, beside: usize) {
        let attempt = &self.attempts[beside];
        let (request, now) = (attempt.request, self.epoch + self.now);
        let Some(way) = self.ways[request].as_mut().filter(|way| way.attempt == Some(beside))
        else {
            return;
        };
        if !attempt.is_open() || attempt.begun.is_some() {
            return;
        }
        let gateway = self.gateway_of[request];
        let Gateway { sites, hedges, .. } = &self.gateways[gateway];
        let wants = sites.iter().any(|site| site.signals.wants_requests());
        let signals = wants.then(|| self.requests[request].signals());
        let price = |at: usize| sites[at].signal(Signal::RequestCost, signals.as_ref(), self.now);
        let (mut denied, purse) = (false, way.means.purse.as_ref());
        let take = |at: usize| {
            let site = &sites[at];
            if denied {
                return None;
            }
            let Entry::Place(slot) = site.slots.enter_behind(site.line.len(), now) else {
                return None;
            };
            let money = purse.map_or(Ok(None), |purse| purse.reserve_now(at)).ok()?;
            let turn = site.standing.admit(now);
            denied = turn.is_some() && !hedges.withdraw();
            match turn.filter(|_| !denied) {
                Some(turn) => Some((turn, slot, money)),
                None => {
                    if let Some(turn) = turn {
                        site.standing.give_back(turn, now);
                    }
                    if let Some(money) = money {
                        money.settle(Picodollars::ZERO);
                    }
                    None
                }
            }
        };
        let (short, holds) = (way.means.short, way.means.holds);
        let live = Sites { all: sites, now: self.now, short, holds };
        let hedged = way.itinerary.hedge(&live, price, take, &mut way.rng, now);
        let Some(hedged) = hedged else { return };
        let at = At { gateway, site: hedged.at };
        let (turn, slot, money) = hedged.taken;
        let id = self.attempt(request, at, (turn, slot), hedged.probability);
        self.attempts[id].money = money;
        if let Some(way) = &mut self.ways[request] {
            way.beside = Some(id);
        }
        self.records[request].second = Some(Second::Lost);
    }

    /// An attempt begins its answer: one beside it is cancelled. That is no failure of its
    /// deployment.
    pub(super) fn beats_the_other(&mut self, id: usize) {
        let request = self.attempts[id].request;
        let Some(way) = &mut self.ways[request] else { return };
        let Some(beside) = way.beside.take() else { return };
        let loser = if beside == id {
            way.itinerary.swap();
            self.records[request].second = Some(Second::Won);
            way.attempt.replace(id)
        } else {
            Some(beside)
        };
        let Some(loser) = loser else { return };
        let attempt = &self.attempts[loser];
        let site = &self.gateways[attempt.at];
        site.load.record_unanswered(self.now - attempt.since, self.now);
        site.standing.give_back(attempt.turn, site.instant(self.now));
        // An engine that has begun to read the prompt charges it.
        let cost = match attempt.started {
            Some(_) => self.machines[attempt.at.site].cost_of_prompt(&self.requests[request]),
            None => 0.0,
        };
        self.records[request].cost += cost;
        self.close(loser, Closing { cost: Some(cost), ..Closing::of(Ending::Hedged) });
    }
}
