//! Scrapes: each gateway asks the engines for their load at its interval.

use std::time::Duration;

use rand::RngExt;

use config::Scraping;

use crate::simulation::gateway::At;
use crate::simulation::random::stream;

use super::{Event, Run, SCRAPES};

impl Run<'_> {
    /// Plans the first scrape of each engine by each gateway that wants its numbers. The first
    /// gateway begins at once. The others begin at random times of a period.
    pub(super) fn begin_scrapes(&mut self) {
        let Some(scraping) = self.scenario.scraping else { return };
        for (gateway, state) in self.gateways.0.iter().enumerate() {
            for (site, _) in state.sites.iter().enumerate().filter(|(_, s)| s.engine.is_scraped()) {
                let name = [SCRAPES, gateway as u64, site as u64];
                let share = match gateway {
                    0 => 0.0,
                    _ => stream(self.scenario.seed, &name).random::<f64>(),
                };
                let first = scraping.period().mul_f64(share);
                self.events.plan(first, Event::Scrapes(At { gateway, site }));
            }
        }
    }

    /// Asks an engine for its load. The answer takes as long as the network does. An engine that is
    /// down gives none.
    pub(super) fn scrape(&mut self, at: At) {
        let Some(scraping) = self.scenario.scraping else { return };
        let machine = &self.machines[at.site];
        let moment = self.gateways[at].engine.moment(self.epoch + self.now);
        if let Some(moment) = moment.filter(|_| !machine.is_down(self.now)) {
            let told = self.now + self.trip(at);
            self.events.plan(told, Event::Scraped { at, load: machine.load(), moment });
        }
        self.events.plan(self.now + Scraping::period(&scraping), Event::Scrapes(at));
    }

    /// Time of the network to a deployment and back.
    fn trip(&self, at: At) -> Duration {
        let nanos = u64::try_from(self.now.as_nanos()).unwrap_or(u64::MAX);
        let name = [SCRAPES, at.gateway as u64, at.site as u64, nanos];
        self.scenario.sites[at.site].latency.seconds(&mut stream(self.scenario.seed, &name))
    }
}
