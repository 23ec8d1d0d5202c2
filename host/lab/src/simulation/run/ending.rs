//! Ends of attempts and their effects: an answer, a failure, an ejection, a freed place.

use http::StatusCode;

use contract::Ending;
use fleet::{AnswerTokens, Busy, Change, Outcome, Slot, may_go};
use routing::{Cause, Event as Came, Failure, Overtime, Phase};

use crate::simulation::attempt::{Ended, SimulatedAttempt};
use crate::simulation::record::Fate;

use super::Run;

/// How an attempt ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    pub(super) ending: Ending,
    pub(super) status: Option<StatusCode>,
    pub(super) cost: Option<f64>,
    /// False if the request never reached the engine.
    pub(super) sent: bool,
}

impl Closing {
    pub(super) fn of(ending: Ending) -> Self {
        Self { ending, status: None, cost: None, sent: true }
    }
}

impl Run<'_> {
    pub(super) fn answered(&mut self, id: usize) {
        // A job that was cancelled at this very moment.
        if !self.attempts[id].is_open() {
            return;
        }
        if self.attempts[id].begun.is_none() {
            self.begun(id);
        }
        let SimulatedAttempt { request, at, .. } = self.attempts[id];
        let machine = &mut self.machines[at.site];
        machine.cache.keep(&self.requests[request], self.requests[request].output);
        let cost = machine.cost(&self.requests[request]);
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
        self.gateways[at].slots.hear(self.epoch + self.now);
        self.settle(id, Outcome::Success);
        self.records[request].cost += cost;
        self.close(id, Closing { cost: Some(cost), ..Closing::of(Ending::Ok) });
        self.finish(request, Fate::Ok);
    }

    /// Fails an attempt. Does nothing if it has already ended. An attempt beside it goes on.
    pub(super) fn fails(&mut self, id: usize, failure: Failure) {
        let SimulatedAttempt { request, at, begun, .. } = self.attempts[id];
        let Some(way) = self.ways[request].as_mut().filter(|_| self.attempts[id].is_open()) else {
            return;
        };
        let other = way.beside.take();
        let (status, sent) = (failure.cause.answered(), failure.cause != Cause::Connect);
        let (outcome, ending) = match begun {
            Some(_) => (failure.outcome(Overtime::Nobody), Ending::Broken),
            None => {
                match other {
                    Some(second) if second == id => way.itinerary.swap(),
                    Some(second) => way.attempt = Some(second),
                    None => {}
                }
                let ending = failure.ending();
                (way.itinerary.failed(failure), ending)
            }
        };
        let (change, stalled) = self.settle(id, outcome);
        let ending = if stalled { Ending::Stalled } else { ending };
        self.close(id, Closing { status, sent, ..Closing::of(ending) });
        if stalled {
            self.ask(at.gateway);
        }
        self.tell(at, change);
        match (begun, other) {
            (Some(_), _) => self.finish(request, Fate::Broken),
            (None, Some(_)) => {}
            (None, None) => self.ready.push_back((request, Came::Ready)),
        }
    }

    /// The deployment refuses the request itself, which counts neither for nor against the
    /// deployment.
    pub(super) fn refuses(&mut self, id: usize) {
        if self.attempts[id].is_open() {
            self.beats_the_other(id);
            let SimulatedAttempt { request, at, turn, .. } = self.attempts[id];
            let site = &self.gateways[at];
            site.standing.give_back(turn, site.instant(self.now));
            self.close(id, Closing::of(Ending::ClientError));
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
    pub(super) fn unanswered(&self, id: usize, failure: Failure) -> Failure {
        Failure { ambiguous: !self.requests[self.attempts[id].request].stream, ..failure }
    }

    /// The total time-out of a request: ends its wait or its attempts, and no further attempt
    /// follows.
    pub(super) fn expires(&mut self, request: usize) {
        let Some(way) = &self.ways[request] else { return };
        if way.waiting.is_some() {
            self.leave_line(request);
            self.ready.push_back((request, Came::NoPlace(Busy::Waited)));
        } else {
            for id in [way.attempt, way.beside].into_iter().flatten() {
                self.fails(id, Cause::TimedOut(Phase::Total).into());
            }
        }
    }

    /// Records the outcome of an attempt at its deployment, and ejects the deployment if that is
    /// due. Also returns true if the deployment stalled.
    fn settle(&mut self, id: usize, outcome: Outcome) -> (Change, bool) {
        let SimulatedAttempt { at, turn, since, ref slot, .. } = self.attempts[id];
        let level = slot.as_ref().map_or(0, Slot::level);
        let ramp = self.ramp(at);
        let site = &self.gateways[at];
        let now = site.instant(self.now);
        let mut stalled = false;
        if site.writing > 0 {
            // The last token of another answer is younger than any request that is late.
            site.slots.hear(now);
        }
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
        let outcome = match outcome {
            Outcome::Limited { cause, wait } => {
                let side = site.config.place.side;
                let wait = site.slots.refused(side, wait, (level, site.instant(since)), now);
                Outcome::Limited { cause, wait }
            }
            outcome => outcome,
        };
        let others = self.gateways[at.gateway].sites.iter().enumerate();
        let others = others.filter(|(other, _)| *other != at.site);
        let change = match site.standing.record(turn, outcome, now, &self.ejection, ramp) {
            Change::Due(reason) if may_go(others.map(|(_, other)| other.sibling(self.now))) => {
                site.standing.eject(turn, reason, &self.ejection, now)
            }
            change => change,
        };
        (change, stalled)
    }

    /// Closes an attempt and gives its place to the next request in line.
    pub(super) fn close(&mut self, id: usize, closing: Closing) {
        self.settle_money(id, closing);
        let attempt = &mut self.attempts[id];
        if let Some(started) = attempt.started {
            let end = self.scenario.duration;
            self.busy[attempt.at.site] += self.now.min(end) - started.min(end);
        }
        if let Some(trace) = attempt.trace.take() {
            trace.end(self.epoch + self.now);
        }
        let at = attempt.at;
        let request = &self.requests[attempt.request];
        let site = &mut self.gateways[at];
        site.writing -= u32::from(attempt.begun.is_some() && request.stream);
        site.engine.end();
        let Closing { ending, status, cost, .. } = closing;
        let ended = attempt.close(Ended { ending, status, cost, now: self.now }, request);
        self.gateways[at.gateway].decisions.note(ended);
        self.machines[at.site].engine.cancel(id, self.now);
        self.serve(at);
        self.has_room(at);
    }

    pub(super) fn finish(&mut self, request: usize, fate: Fate) {
        let record = &mut self.records[request];
        record.fate = fate;
        record.total = self.now - self.requests[request].at;
        self.gateways[self.gateway_of[request]].budget.end();
        self.unfinished -= 1;
    }
}
