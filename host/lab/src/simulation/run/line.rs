//! Requests in line: how they enter a line, get a place, or leave without one.

use std::time::{Duration, Instant};

use fleet::{Busy, Entry};
use routing::Event as Came;

use crate::simulation::gateway::At;

use super::way::Wait;
use super::{Event, Run};

/// Shortest time between two looks at a deployment that opens by itself, as in the gateway.
const LOOK: Duration = Duration::from_millis(1);

impl Run<'_> {
    /// Puts a request into the lines that it wants. Fails if all of them are full, or all of the
    /// deployments are out of use.
    pub(super) fn stand_in_line(&mut self, request: usize, until: Instant) -> Result<(), Busy> {
        let (gateway, now) = (self.gateway_of[request], self.epoch + self.now);
        let Some(way) = self.ways[request].as_mut() else { return Err(Busy::Full) };
        let all = &mut self.gateways[gateway].sites;
        let panic = way.itinerary.is_panic();
        let mut sites = way.itinerary.wanted().to_vec();
        sites.retain(|at| all[*at].line.len() < all[*at].config.concurrency.queue as usize);
        if sites.is_empty() {
            return Err(Busy::Full);
        }
        sites.retain(|at| panic || all[*at].standing.is_worth_waiting(now));
        if sites.is_empty() {
            return Err(Busy::Dispersed);
        }
        for &at in &sites {
            all[at].line.push_back(request);
        }
        way.waiting = Some(Wait { sites: sites.clone(), since: self.now });
        way.visit += 1;
        let event = Event::Waited { request, visit: way.visit };
        self.events.plan(until - self.epoch, event);
        for site in sites {
            self.opens(At { gateway, site });
        }
        Ok(())
    }

    pub(super) fn leave_line(&mut self, request: usize) {
        let way = self.ways[request].as_mut();
        if let Some(Wait { sites, since }) = way.and_then(|way| way.waiting.take()) {
            for site in sites {
                let at = self.at(request, site);
                self.gateways[at].line.retain(|waiting| *waiting != request);
            }
            self.records[request].queued += self.now - since;
        }
    }

    /// Gives the free places of a deployment to the requests in its line.
    pub(super) fn serve(&mut self, at: At) {
        while let Some(&request) = self.gateways[at].line.front() {
            let site = &self.gateways[at];
            let Entry::Place(place) = site.slots.take(site.instant(self.now)) else { break };
            self.leave_line(request);
            if let Some(way) = &mut self.ways[request] {
                way.slot = Some(place);
            }
            self.go_on(request, Came::Placed(at.site));
        }
        self.opens(at);
    }

    /// Plans to look at a deployment again that may have places without any event.
    fn opens(&mut self, at: At) {
        let site = &mut self.gateways[at];
        if site.line.is_empty() {
            return;
        }
        if let Some(opens) = site.slots.opens(site.instant(self.now)) {
            let opens = (opens - self.epoch).max(self.now + LOOK);
            if site.opens.is_none_or(|planned| opens < planned) {
                site.opens = Some(opens);
                self.events.plan(opens, Event::Opens(at));
            }
        }
    }

    /// A deployment may have places. Ignored if an earlier look is planned since.
    pub(super) fn looks_at(&mut self, at: At) {
        if self.gateways[at].opens == Some(self.now) {
            self.gateways[at].opens = None;
            self.serve(at);
        }
    }
}
