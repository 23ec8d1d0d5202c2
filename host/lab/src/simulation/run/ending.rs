//! Ends of attempts and their effects: an answer, a failure, an ejection, a freed place.

use config::SlowStart;
use contract::Ending;
use fleet::{AnswerTokens, Busy, Change, Outcome, Slot, may_go};
use routing::{Cause, Event as Came, Failure, Overtime, Phase};

use crate::simulation::attempt::{Ended, SimulatedAttempt};
use crate::simulation::record::Fate;

use super::{Event, Run};

impl Run<'_> {
    pub(super) fn answered(&mut self, id: usize) {
        if self.attempts[id].begun.is_none() {
            self.begun(id);
        }
        let SimulatedAttempt { request, site: at, .. } = self.attempts[id];
        let site = &mut self.sites[at];
        site.cache.keep(&self.requests[request], self.requests[request].output);
        let cost = site.cost(&self.requests[request]);
        self.records[request].cached = self.attempts[id].cached;
        let attempt = &mut self.attempts[id];
        if let Some(trace) = &mut attempt.trace {
            let (cached, completion) = (attempt.cached, self.requests[request].output);
            trace.tell(AnswerTokens {
                cached: Some(cached.into()),
                completion: Some(completion.into()),
                is_stream: self.requests[request].stream,
            });
        }
        self.settle(id, Outcome::Success);
        self.records[request].cost += cost;
        self.close(id, Ending::Ok, Some(cost));
        self.finish(request, Fate::Ok);
    }

    /// Fails an attempt. Does nothing if it has already ended.
    pub(super) fn fails(&mut self, id: usize, failure: Failure) {
        let SimulatedAttempt { request, site: at, begun, .. } = self.attempts[id];
        let Some(way) = self.ways[request].as_mut().filter(|_| self.attempts[id].is_open()) else {
            return;
        };
        let (outcome, ending) = match begun {
            Some(_) => (failure.outcome(Overtime::Nobody), Ending::Broken),
            None => {
                let ending = failure.ending();
                (way.itinerary.failed(failure), ending)
            }
        };
        let (change, stalled) = self.settle(id, outcome);
        self.close(id, if stalled { Ending::Stalled } else { ending }, None);
        if matches!(change, Change::Ejected { .. }) {
            self.ejected(at);
        }
        match begun {
            Some(_) => self.finish(request, Fate::Broken),
            None => self.ready.push_back((request, Came::Ready)),
        }
    }

    /// The deployment refuses the request itself, which counts neither for nor against the
    /// deployment.
    pub(super) fn refuses(&mut self, id: usize) {
        if self.attempts[id].is_open() {
            let SimulatedAttempt { request, site: at, turn, .. } = self.attempts[id];
            let site = &self.sites[at];
            site.standing.give_back(turn, site.instant(self.now));
            self.close(id, Ending::ClientError, None);
            self.finish(request, Fate::Refused);
        }
    }

    /// The first-byte time-out of an attempt.
    pub(super) fn is_due(&mut self, id: usize) {
        if self.attempts[id].begun.is_none() {
            let failure = Cause::TimedOut(Phase::FirstByte).into();
            self.fails(id, self.unanswered(id, failure));
        }
    }

    /// The failure of an attempt without any answer. Engines send the head of a stream at once, but
    /// that of a plain answer with its content. So only a plain request may have been processed.
    fn unanswered(&self, id: usize, failure: Failure) -> Failure {
        Failure { ambiguous: !self.requests[self.attempts[id].request].stream, ..failure }
    }

    /// The total time-out of a request: ends its wait or its attempt, and no further attempt
    /// follows.
    pub(super) fn expires(&mut self, request: usize) {
        let Some(way) = &self.ways[request] else { return };
        if way.waiting.is_some() {
            self.leave_line(request);
            self.ready.push_back((request, Came::NoPlace(Busy::Waited)));
        } else if let Some(id) = way.attempt {
            self.fails(id, Cause::TimedOut(Phase::Total).into());
        }
    }

    /// Records the outcome of an attempt at its deployment, and ejects the deployment if that is
    /// due. Also returns true if the deployment stalled.
    fn settle(&mut self, id: usize, outcome: Outcome) -> (Change, bool) {
        let SimulatedAttempt { site: at, turn, since, ref slot, .. } = self.attempts[id];
        let level = slot.as_ref().map_or(0, Slot::level);
        let site = &self.sites[at];
        let now = site.instant(self.now);
        let mut stalled = false;
        let outcome = outcome.judged(|| {
            stalled = site.slots.stall(level, site.instant(since), now);
            stalled
        });
        if let Some(trace) = self.attempts[id].trace.take() {
            trace.settle(&outcome, now);
        }
        match outcome.is_good() {
            Some(true) => {
                site.load.record_success();
                site.slots.answer(site.instant(since), now);
            }
            Some(false) => site.load.record_failure(self.now - since, self.now),
            None => {}
        }
        let others = self.sites.iter().enumerate().filter(|(other, _)| *other != at);
        let change = match site.standing.record(turn, outcome, now, &self.ejection, None) {
            Change::Due(reason) if may_go(others.map(|(_, other)| other.sibling(self.now))) => {
                site.standing.eject(turn, reason, &self.ejection, now)
            }
            change => change,
        };
        (change, stalled)
    }

    /// Handles an ejection: requests in the deployment's line move on, and the strategy is asked
    /// again.
    fn ejected(&mut self, at: usize) {
        let site = &self.sites[at];
        site.load.record_ejection();
        site.signals.forget_prefixes();
        let next = site.standing.next_change(site.instant(self.now), &SlowStart::default());
        if let Some(until) = next {
            self.events.plan(until - self.epoch, Event::Returns);
        }
        for request in std::mem::take(&mut self.sites[at].line) {
            let waiting = self.ways[request].as_mut().and_then(|way| way.waiting.as_mut());
            let Some(waiting) = waiting else { continue };
            waiting.sites.retain(|site| *site != at);
            if waiting.sites.is_empty() {
                self.leave_line(request);
                self.ready.push_back((request, Came::NoPlace(Busy::Dispersed)));
            }
        }
        self.decisions.ask(&self.sites, self.now);
    }

    /// Breaks all open attempts at a deployment.
    pub(super) fn break_all(&mut self, at: usize) {
        let broken =
            |(_, attempt): &(usize, &SimulatedAttempt)| attempt.site == at && attempt.is_open();
        let open = self.attempts.iter().enumerate().filter(broken).map(|(id, _)| id);
        for id in open.collect::<Vec<_>>() {
            self.fails(id, self.unanswered(id, Cause::Broken.into()));
        }
    }

    /// Closes an attempt and gives its place to the next request in line.
    fn close(&mut self, id: usize, ending: Ending, cost: Option<f64>) {
        let attempt = &mut self.attempts[id];
        if let Some(trace) = attempt.trace.take() {
            trace.end(self.epoch + self.now);
        }
        let ended = Ended { ending, cost, now: self.now };
        self.decisions.note(attempt.close(ended, &self.requests[attempt.request]));
        let at = attempt.site;
        self.sites[at].engine.cancel(id, self.now);
        self.serve(at);
        self.has_room(at);
    }

    pub(super) fn finish(&mut self, request: usize, fate: Fate) {
        let record = &mut self.records[request];
        record.fate = fate;
        record.total = self.now - self.requests[request].at;
        self.budget.end();
        self.unfinished -= 1;
    }
}
