//! When the strategy is asked, and what becomes of its answers: the decision layer, simulated.

use std::sync::Arc;
use std::time::Duration;

use contract::Side;
use contract::{Attempt, Candidate, Fault, PathStrategy, Question, RawWeights, Strategy, Weights};
use fleet::Lessons;

use super::site::Site;
use super::workload::Request;

pub(super) struct Decisions<'a> {
    strategy: &'a mut dyn Strategy,
    /// It is asked for each request.
    on_path: Option<Arc<dyn PathStrategy>>,
    /// What it last said well, one for each deployment. None: even.
    last: Option<Vec<f64>>,
    lessons: Lessons,
    faults: u64,
    last_fault: Option<String>,
}

impl<'a> Decisions<'a> {
    pub(super) fn new(strategy: &'a mut dyn Strategy) -> Self {
        let (on_path, lessons) = (strategy.on_path(), Lessons::default());
        Self { strategy, on_path, last: None, lessons, faults: 0, last_fault: None }
    }

    pub(super) fn learns(&self) -> bool {
        self.strategy.learns()
    }

    /// How often it wants to be asked.
    pub(super) fn refresh(&self) -> Option<Duration> {
        self.strategy.description().refresh
    }

    pub(super) fn faults(self) -> (u64, Option<String>) {
        (self.faults, self.last_fault)
    }

    /// Asks how to share what comes from now on.
    pub(super) fn ask(&mut self, sites: &[Site<'_>], now: Duration) {
        let (local, remote) = candidates(sites, now);
        let answer = self.strategy.assign(&local, &remote);
        if let Some(weights) = self.judge(answer, &local, &remote, sites.len()) {
            self.last = Some(weights);
        }
    }

    /// The weights for one request, one for each deployment.
    pub(super) fn weigh(
        &mut self,
        request: &Request,
        model: &str,
        sites: &[Site<'_>],
        now: Duration,
    ) -> Vec<f64> {
        if let Some(on_path) = &self.on_path {
            let (local, remote) = candidates(sites, now);
            let facts = request.facts(on_path.needs());
            let (facts, stream) = (&facts, request.stream);
            let question = Question { model, stream, facts, local: &local, remote: &remote };
            let answer = self.strategy.assign_request(question);
            if let Some(weights) = self.judge(answer, &local, &remote, sites.len()) {
                return weights;
            }
        }
        self.last.clone().unwrap_or_else(|| vec![1.0; sites.len()])
    }

    fn judge(
        &mut self,
        answer: Result<RawWeights, Fault>,
        local: &[Candidate<'_>],
        remote: &[Candidate<'_>],
        sites: usize,
    ) -> Option<Vec<f64>> {
        let checked = answer.and_then(|raw| Ok(Weights::check(raw, local.len(), remote.len())?));
        match checked {
            Ok(weights) => {
                let mut all = vec![0.0; sites];
                let of_local = local.iter().zip(weights.local());
                for (candidate, weight) in of_local.chain(remote.iter().zip(weights.remote())) {
                    all[candidate.id as usize] = *weight;
                }
                Some(all)
            }
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

    /// Keeps how an attempt went, for one that learns.
    pub(super) fn note(&mut self, attempt: Attempt) {
        if self.learns() {
            self.lessons.add(attempt);
        }
    }

    /// Tells it what has ended since the last time.
    pub(super) fn learn(&mut self) {
        let lessons = self.lessons.take();
        if !lessons.is_empty()
            && let Err(fault) = self.strategy.outcome(&lessons)
        {
            self.fault(&fault);
        }
    }
}

/// Local and remote ones that traffic may go to; all, where that is none.
fn candidates<'s>(
    sites: &'s [Site<'_>],
    now: Duration,
) -> (Vec<Candidate<'s>>, Vec<Candidate<'s>>) {
    let panic = !sites.iter().any(|site| site.is_open(now));
    let eligible = sites.iter().filter(|site| panic || site.is_open(now));
    let seen = eligible.map(|site| site.candidate(now));
    seen.partition(|candidate| candidate.place.side == Side::Local)
}
