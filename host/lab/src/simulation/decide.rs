//! The simulated decision layer: asks the strategy, and applies its answers.

use std::sync::Arc;
use std::time::Duration;

use config::Standby;
use contract::{
    Candidate, EndedAttempt, Fault, PathStrategy, Question, RawWeights, Strategy, Weights,
};
use fleet::{AttemptQueue, Eligible, Prospect};

use super::site::Site;
use super::workload::Request;

pub(super) struct Decisions<'a> {
    strategy: &'a mut dyn Strategy,
    standby: Standby,
    /// Set if the strategy decides for each request.
    on_path: Option<Arc<dyn PathStrategy>>,
    /// The last good weights, one for each deployment. None before the first: all are equal.
    last: Option<Vec<f64>>,
    attempt_queue: AttemptQueue,
    faults: u64,
    last_fault: Option<String>,
}

impl<'a> Decisions<'a> {
    pub(super) fn new(strategy: &'a mut dyn Strategy, standby: Standby) -> Self {
        let (on_path, attempt_queue) = (strategy.on_path(), AttemptQueue::default());
        Self { strategy, standby, on_path, last: None, attempt_queue, faults: 0, last_fault: None }
    }

    /// The eligible deployments at a time.
    pub(super) fn eligible(&self, sites: &[Site<'_>], now: Duration) -> Eligible {
        let prospects: Vec<Prospect> = sites.iter().map(|site| site.prospect(now)).collect();
        Eligible::among(&prospects, self.standby)
    }

    pub(super) fn learns(&self) -> bool {
        self.strategy.learns()
    }

    /// Refresh interval of the strategy.
    pub(super) fn refresh(&self) -> Option<Duration> {
        self.strategy.description().refresh
    }

    pub(super) fn faults(self) -> (u64, Option<String>) {
        (self.faults, self.last_fault)
    }

    /// Asks for the weights from now on. After a fault the last good ones stay.
    pub(super) fn ask(&mut self, sites: &[Site<'_>], now: Duration) {
        let eligible = self.eligible(sites, now);
        let (local, remote) = candidates(&eligible, sites, now);
        let answer = self.strategy.assign(&local, &remote);
        if let Some(weights) = self.judge(answer, &eligible, sites.len()) {
            self.last = Some(weights);
        }
    }

    /// The weights for one request, one for each deployment. Falls back to the last good weights.
    pub(super) fn weigh(
        &mut self,
        request: &Request,
        model: &str,
        eligible: &Eligible,
        sites: &[Site<'_>],
        now: Duration,
    ) -> Vec<f64> {
        let eligible = eligible.still(|i| sites[i].is_open(now));
        if let Some(on_path) = self.on_path.as_ref().filter(|_| eligible.is_assigned()) {
            let (local, remote) = candidates(&eligible, sites, now);
            let facts = request.facts(on_path.needs());
            let (facts, stream) = (&facts, request.stream);
            let question = Question { model, stream, facts, local: &local, remote: &remote };
            let answer = self.strategy.assign_request(question);
            if let Some(weights) = self.judge(answer, &eligible, sites.len()) {
                return weights;
            }
        }
        self.last.clone().unwrap_or_else(|| vec![1.0; sites.len()])
    }

    fn judge(
        &mut self,
        answer: Result<RawWeights, Fault>,
        eligible: &Eligible,
        sites: usize,
    ) -> Option<Vec<f64>> {
        let (local, remote) = (eligible.local.len(), eligible.remote.len());
        match answer.and_then(|raw| Ok(Weights::check(raw, local, remote)?)) {
            Ok(weights) => Some(eligible.spread(&weights, sites)),
            Err(fault) => {
                self.fault(&fault);
                None
            }
        }
    }

    fn fault(&mut self, fault: &Fault) {
        self.faults += 1;
        self.last_fault = Some(fault.to_string());
    }

    /// Queues an ended attempt for a strategy that learns.
    pub(super) fn note(&mut self, attempt: EndedAttempt) {
        if self.learns() {
            self.attempt_queue.add(attempt);
        }
    }

    /// Tells the strategy of the attempts that ended since the last call.
    pub(super) fn learn(&mut self) {
        let attempt_queue = self.attempt_queue.take();
        if !attempt_queue.is_empty()
            && let Err(fault) = self.strategy.outcome(&attempt_queue)
        {
            self.fault(&fault);
        }
    }
}

/// The eligible deployments as candidates, local and remote.
fn candidates<'s>(
    eligible: &Eligible,
    sites: &'s [Site<'_>],
    now: Duration,
) -> (Vec<Candidate<'s>>, Vec<Candidate<'s>>) {
    let of = |list: &[usize]| list.iter().map(|i| sites[*i].candidate(now)).collect();
    (of(&eligible.local), of(&eligible.remote))
}
