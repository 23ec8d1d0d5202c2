//! Changes of a deployment's condition: ejections, pauses, returns.

use fleet::{Busy, Change};
use routing::{Cause, Event as Came};

use crate::simulation::attempt::SimulatedAttempt;
use crate::simulation::gateway::At;

use super::{Event, Run};

impl Run<'_> {
    /// Carries out a change, as the gateway does: requests in the deployment's line move on when it
    /// goes out of use, it begins slow start when it comes back, and the strategy is asked again.
    pub(super) fn tell(&mut self, at: At, change: Change) {
        let site = &self.gateways[at];
        match change {
            Change::None | Change::Due(_) => return,
            Change::Ejected { .. } => {
                site.load.record_ejection();
                site.signals.forget_prefixes();
                self.watch(at);
                self.disperse(at);
            }
            Change::Cooling { .. } | Change::Suspected { .. } => {
                self.watch(at);
                self.disperse(at);
            }
            Change::Restored => {
                site.load.forget();
                let (ramp, now) = (self.ramp(at), self.epoch + self.now);
                site.slots.come_back(ramp, &self.scenario.slow_start, now);
                self.watch(at);
            }
        }
        self.ask(at.gateway);
    }

    /// Plans to look at a deployment again whose condition changes without any event.
    fn watch(&mut self, at: At) {
        let (slow_start, now) = (&self.scenario.slow_start, self.epoch + self.now);
        let site = &mut self.gateways[at];
        let next = site.standing.next_change(now, slow_start).map(|next| next - self.epoch);
        if let Some(next) = next
            && site.changes.is_none_or(|planned| next < planned)
        {
            site.changes = Some(next);
            self.events.plan(next, Event::Changes(at));
        }
    }

    /// The condition of a deployment may have changed. Ignored if another time is planned since.
    pub(super) fn may_change(&mut self, at: At) {
        if self.gateways[at].changes == Some(self.now) {
            self.gateways[at].changes = None;
            self.ask(at.gateway);
            self.watch(at);
        }
    }

    /// Requests that wait for this deployment alone leave its line.
    fn disperse(&mut self, at: At) {
        for request in std::mem::take(&mut self.gateways[at].line) {
            let waiting = self.ways[request].as_mut().and_then(|way| way.waiting.as_mut());
            let Some(waiting) = waiting else { continue };
            waiting.sites.retain(|site| *site != at.site);
            if waiting.sites.is_empty() {
                self.leave_line(request);
                self.ready.push_back((request, Came::NoPlace(Busy::Dispersed)));
            }
        }
    }

    /// An engine goes down: its cache is empty, and all open attempts break.
    pub(super) fn breaks(&mut self, machine: usize) {
        self.machines[machine].cache.clear();
        for gateway in &self.gateways.0 {
            gateway.sites[machine].signals.forget_prefixes();
        }
        let broken = |(_, attempt): &(usize, &SimulatedAttempt)| {
            attempt.at.site == machine && attempt.is_open()
        };
        let open = self.attempts.iter().enumerate().filter(broken).map(|(id, _)| id);
        for id in open.collect::<Vec<_>>() {
            self.fails(id, self.unanswered(id, Cause::Broken.into()));
        }
    }
}
