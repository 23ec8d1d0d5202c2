//! Requests in line: how they enter a line, get a place, or leave without one.

use std::time::Instant;

use fleet::Entry;
use routing::Event as Came;

use crate::simulation::site::Site;

use super::{Event, Run, Wait};

impl Run<'_> {
    /// Puts a request into the lines that it wants. False if all of them are full.
    pub(super) fn stand_in_line(&mut self, request: usize, until: Instant) -> bool {
        let Some(way) = self.ways[request].as_mut() else { return false };
        let has_room = |at: &usize| {
            let site: &Site<'_> = &self.sites[*at];
            site.line.len() < site.config.concurrency.queue as usize
        };
        let sites: Vec<usize> = way.itinerary.wanted().iter().copied().filter(has_room).collect();
        if sites.is_empty() {
            return false;
        }
        for &at in &sites {
            self.sites[at].line.push_back(request);
        }
        way.waiting = Some(Wait { sites: sites.clone(), since: self.now });
        way.visit += 1;
        let event = Event::Waited { request, visit: way.visit };
        self.events.plan(until - self.epoch, event);
        for at in sites {
            self.opens(at);
        }
        true
    }

    pub(super) fn leave_line(&mut self, request: usize) {
        let way = self.ways[request].as_mut();
        if let Some(Wait { sites, since }) = way.and_then(|way| way.waiting.take()) {
            for at in sites {
                self.sites[at].line.retain(|waiting| *waiting != request);
            }
            self.records[request].queued += self.now - since;
        }
    }

    /// Gives the free places of a deployment to the requests in its line.
    pub(super) fn serve(&mut self, at: usize) {
        while let Some(&request) = self.sites[at].line.front() {
            let site = &self.sites[at];
            let Entry::Place(place) = site.slots.try_enter(site.instant(self.now)) else { break };
            self.leave_line(request);
            if let Some(way) = &mut self.ways[request] {
                way.slot = Some(place);
            }
            self.go_on(request, Came::Placed(at));
        }
        self.opens(at);
    }

    /// Plans to look at a deployment again that may have places without any event.
    pub(super) fn opens(&mut self, at: usize) {
        let site = &self.sites[at];
        if site.line.is_empty() {
            return;
        }
        if let Some(opens) = site.slots.opens(site.instant(self.now)) {
            self.events.plan(opens - self.epoch, Event::Opens(at));
        }
    }
}
