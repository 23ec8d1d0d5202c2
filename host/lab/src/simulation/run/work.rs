//! The work of engines: from the arrival of an attempt to the first byte of its answer.

use fleet::Ramp;

use crate::simulation::engine::Stage;
use crate::simulation::gateway::At;

use super::Run;

impl Run<'_> {
    /// An attempt reaches its engine, which may be too full for it.
    pub(super) fn reaches(&mut self, id: usize, slow: f64) {
        let attempt = &mut self.attempts[id];
        if !attempt.is_open() {
            return;
        }
        let request = &self.requests[attempt.request];
        let machine = &mut self.machines[attempt.at.site];
        if let Some(refusal) = machine.refusal() {
            return self.fails(id, refusal);
        }
        attempt.cached = machine.cache.known(request);
        let job = machine.job(id, request, slow, attempt.rng());
        attempt.reached = self.now;
        machine.engine.submit(job, self.now);
    }

    pub(super) fn engines(&mut self) {
        for index in 0..self.machines.len() {
            if self.machines[index].engine.next() != Some(self.now) {
                continue;
            }
            for (id, stage) in self.machines[index].engine.advance(self.now) {
                match stage {
                    Stage::Started => self.started(id),
                    Stage::FirstToken => self.first_token(id),
                    Stage::Done => self.answered(id),
                }
            }
        }
    }

    fn started(&mut self, id: usize) {
        let attempt = &mut self.attempts[id];
        attempt.started = Some(self.now);
        let waited = self.now - attempt.reached;
        let has_other = self.ways[attempt.request].as_ref().is_some_and(|way| way.beside.is_some());
        // Of two attempts at a time, the one that wins says how long the request waited.
        let counted = match has_other {
            true => &mut attempt.waited,
            false => &mut self.records[attempt.request].queued,
        };
        *counted += waited;
    }

    fn first_token(&mut self, id: usize) {
        let attempt = &self.attempts[id];
        let request = &self.requests[attempt.request];
        self.machines[attempt.at.site].cache.keep(request, 0);
        // A job that was cancelled at this very moment.
        if request.stream && attempt.is_open() {
            self.begun(id);
        }
    }

    /// Notes the first byte to the client. A plain answer is sent only when it is complete.
    pub(super) fn begun(&mut self, id: usize) {
        self.beats_the_other(id);
        let attempt = &mut self.attempts[id];
        attempt.begun = Some(self.now);
        let (at, request) = (attempt.at, attempt.request);
        let ramp = self.ramp(at);
        let (attempt, site) = (&mut self.attempts[id], &mut self.gateways[at]);
        site.writing += u32::from(self.requests[request].stream);
        site.load.record_first_byte(self.now - attempt.since, self.now);
        if let Some(trace) = &mut attempt.trace {
            trace.begin(self.epoch + self.now);
        }
        let record = &mut self.records[request];
        record.queued += std::mem::take(&mut attempt.waited);
        record.first_byte = Some(self.now - self.requests[request].at);
        record.site = Some(at.site);
        let now = site.instant(self.now);
        let since = site.instant(attempt.since);
        let stall_is_over = attempt.slot.as_mut().is_some_and(|slot| slot.begin(since, now));
        let change = site.standing.begun(&mut attempt.turn, now, ramp);
        if stall_is_over {
            self.serve(at);
            self.ask(at.gateway);
        }
        self.tell(at, change);
    }

    /// The slow start of a deployment that is restored now. None: it gets its whole weight at once.
    pub(super) fn ramp(&self, at: At) -> Option<Ramp> {
        let now = self.epoch + self.now;
        let rate = self.gateways[at.gateway].rate.per_second(now);
        Ramp::begin(rate, &self.scenario.slow_start, now)
    }
}
