//! How attempts end, and what comes of it: an answer, a failure, an ejection, a place for the next.

use std::time::Duration;

use contract::Ending;
use fleet;

use crate::simulation::attempt::{Attempt, Ended};
use crate::simulation::record::Fate;

use super::{Event, Run};

impl Run<'_> {
    pub(super) fn answered(&mut self, id: usize) {
        if self.attempts[id].begun.is_none() {
            self.begun(id);
        }
        let Attempt { request, site: at, epoch, .. } = self.attempts[id];
        let site = &mut self.sites[at];
        site.cache.keep(&self.requests[request], self.requests[request].output);
        site.load.record_success();
        if site.ejections.epoch() == epoch {
            site.ejections.succeeded(&self.ejection);
        }
        let cost = site.cost(&self.requests[request]);
        self.records[request].cost += cost;
        self.close(id, Ending::Ok, Some(cost));
        self.finish(request, Fate::Ok);
    }

    /// An attempt fails, if it has not ended before and, of a time-out, not begun.
    pub(super) fn fails(&mut self, id: usize, ending: Ending) {
        let attempt = &self.attempts[id];
        let begun = attempt.begun.is_some();
        if !attempt.is_open() || (begun && ending == Ending::TimedOut) {
            return;
        }
        let (request, at) = (attempt.request, attempt.site);
        if ending == Ending::ClientError {
            self.close(id, ending, None);
            return self.finish(request, Fate::Refused);
        }
        self.sites[at].load.record_failure(self.now - attempt.since, self.now);
        let out = self.count_failure(id);
        self.close(id, ending, None);
        if out {
            self.ejected(at);
        }
        match begun {
            true => self.finish(request, Fate::Broken),
            false => self.ready.push_back(request),
        }
    }

    /// A request has taken as long as it may: what is under way for it is ended, and nothing more tried.
    pub(super) fn expires(&mut self, request: usize) {
        let way = &mut self.ways[request];
        way.attempts = 0;
        let open = way.attempt.filter(|id| self.attempts[*id].is_open());
        if way.waiting.is_some() {
            self.leave_line(request);
            self.finish(request, Fate::Failed);
        } else if let Some(id) = open {
            let begun = self.attempts[id].begun.is_some();
            self.fails(id, if begun { Ending::Broken } else { Ending::TimedOut });
        }
    }

    /// Counts a failure for ejection; says whether its deployment goes out for it.
    fn count_failure(&mut self, id: usize) -> bool {
        let Attempt { site: at, trial, epoch, .. } = self.attempts[id];
        let (now, fault) = (self.sites[at].instant(self.now), fleet::Fault::Answer);
        let out = (0..self.sites.len()).filter(|i| *i != at && self.sites[*i].is_out(self.now));
        let out = out.count();
        // As in the gateway: at most half are out, and never the last.
        let may_go = (out + 1) * 2 <= self.sites.len();
        let ejections = &mut self.sites[at].ejections;
        if trial {
            ejections.trial_failed("simulated", fault, &self.ejection, 0.0, now);
            return true;
        }
        if ejections.epoch() != epoch || ejections.out().is_some() {
            return false;
        }
        match ejections.failed("simulated", fault, &self.ejection) {
            Some(reason) if may_go => {
                ejections.eject(reason, &self.ejection, 0.0, now);
                true
            }
            _ => false,
        }
    }

    /// A deployment has gone out: nobody waits for it, and others are weighed anew.
    fn ejected(&mut self, at: usize) {
        let site = &mut self.sites[at];
        site.load.record_ejection();
        if let Some(out) = site.ejections.out() {
            let over = out.until.saturating_duration_since(site.instant(Duration::ZERO));
            self.events.plan(over, Event::Returns);
        }
        let waiting: Vec<usize> = self.sites[at].line.iter().copied().collect();
        for request in waiting {
            self.leave_line(request);
            self.ready.push_back(request);
        }
        self.decisions.ask(&self.sites, self.now);
    }

    /// Everything under way at a deployment breaks.
    pub(super) fn break_all(&mut self, at: usize) {
        let broken = |(_, attempt): &(usize, &Attempt)| attempt.site == at && attempt.is_open();
        let open = self.attempts.iter().enumerate().filter(broken).map(|(id, _)| id);
        for id in open.collect::<Vec<_>>() {
            let begun = self.attempts[id].begun.is_some();
            self.fails(id, if begun { Ending::Broken } else { Ending::Failed });
        }
    }

    /// The end of an attempt: its place goes to whoever waits for it.
    fn close(&mut self, id: usize, ending: Ending, cost: Option<f64>) {
        let attempt = &mut self.attempts[id];
        let ended = Ended { ending, cost, now: self.now };
        self.decisions.note(attempt.close(ended, &self.requests[attempt.request]));
        let (at, trial) = (attempt.site, attempt.trial);
        let site = &mut self.sites[at];
        site.busy -= 1;
        site.engine.cancel(id, self.now);
        if trial && ending == Ending::ClientError {
            site.ejections.give_back_trial();
        }
        if let Some(&request) = site.line.front() {
            self.leave_line(request);
            if !self.try_at(request, at) {
                self.ready.push_back(request);
            }
        }
    }

    pub(super) fn finish(&mut self, request: usize, fate: Fate) {
        let record = &mut self.records[request];
        record.fate = fate;
        record.total = self.now - self.requests[request].at;
        self.unfinished -= 1;
    }
}
