//! Requests that the strategy holds: they are decided again when there is room, or their time is
//! over.

use std::time::Duration;

use crate::simulation::gateway::At;

use super::{Event, Run};

/// A request that is held.
#[derive(Debug)]
pub(in crate::simulation) struct Held {
    request: usize,
    /// How often it was held before.
    times: u32,
    since: Duration,
}

impl Run<'_> {
    /// Holds a request for `time`, or until a deployment that is full has a place again.
    pub(super) fn hold(&mut self, request: usize, times: u32, time: Duration) {
        let end = self.requests[request].at + self.scenario.total;
        self.gateways[self.gateway_of[request]].held.push_back(Held {
            request,
            times,
            since: self.now,
        });
        let over = (self.now + time).min(end);
        self.events.plan(over, Event::Again { request, held: times });
    }

    /// Decides a request again that was held `times` times before. Does nothing if it is no longer
    /// held.
    pub(super) fn decide_again(&mut self, request: usize, times: u32) {
        let is_it = |held: &Held| held.request == request && held.times == times;
        let waiting = &mut self.gateways[self.gateway_of[request]].held;
        let Some(at) = waiting.iter().position(is_it) else { return };
        if let Some(held) = waiting.remove(at) {
            self.records[request].queued += self.now - held.since;
            self.decide(request, times + 1);
        }
    }

    /// A deployment has a place again: the request that is held the longest is decided again.
    pub(super) fn has_room(&mut self, at: At) {
        let (site, gateway) = (&self.gateways[at], &self.gateways[at.gateway]);
        let is_free = site.line.is_empty() && site.slots.taken() < site.slots.limit();
        if let Some(first) = gateway.held.front().filter(|_| is_free) {
            let (request, held) = (first.request, first.times);
            self.events.plan(self.now, Event::Again { request, held });
        }
    }
}
