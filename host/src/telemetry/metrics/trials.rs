//! Strategies that are tried beside those in use, and strategies that are off the request path.

use prometheus::{GaugeVec, IntCounterVec, Result};

use crate::fleet::{CandidateInfo, Snapshot, StrategyInfo};

use super::families::Families;

/// Of a trial: the strategy in use and the candidate.
const TRIAL: [&str; 2] = ["strategy", "candidate"];

/// See the module.
#[derive(Debug)]
pub(super) struct Trials {
    off_path: GaugeVec,
    compared: IntCounterVec,
    divergence: GaugeVec,
    seconds: GaugeVec,
    faults: IntCounterVec,
    requests: IntCounterVec,
    rolled_back: GaugeVec,
}

impl Trials {
    pub(super) fn register(families: &Families<'_>) -> Result<Self> {
        let gauge = |name, help| families.gauge(name, help, &TRIAL);
        let counter = |name, help| families.counter(name, help, &TRIAL);
        Ok(Self {
            off_path: families.gauge(
                "gateway_strategy_off_path",
                "1 if the strategy is off the request path for its faults, else 0.",
                &["strategy"],
            )?,
            compared: counter(
                "gateway_candidate_compared_total",
                "Questions that the candidate and the strategy in use both answered.",
            )?,
            divergence: gauge(
                "gateway_candidate_divergence",
                "Mean distance of the two answers: 0 is equal, 1 is disjoint.",
            )?,
            seconds: families.gauge(
                "gateway_candidate_seconds",
                "Mean time to answer, of the strategy in use and of the candidate.",
                &[TRIAL[0], TRIAL[1], "by"],
            )?,
            faults: counter("gateway_candidate_faults_total", "Faults of the candidate.")?,
            requests: families.counter(
                "gateway_candidate_requests_total",
                "Requests of the trial, by who decided and how they ended.",
                &[TRIAL[0], TRIAL[1], "decided_by", "result"],
            )?,
            rolled_back: gauge(
                "gateway_candidate_rolled_back",
                "1 if the trial was rolled back, else 0.",
            )?,
        })
    }

    /// Takes what the trials have counted themselves.
    pub(super) fn refresh(&self, snapshot: &Snapshot) {
        for counts in [&self.compared, &self.faults, &self.requests] {
            counts.reset();
        }
        for gauges in [&self.off_path, &self.divergence, &self.seconds, &self.rolled_back] {
            gauges.reset();
        }
        for strategy in &snapshot.generation.strategies {
            self.path(strategy);
            if let Some(candidate) = &strategy.candidate {
                self.path(&candidate.strategy);
                self.trial(&strategy.name, candidate);
            }
        }
    }

    fn path(&self, strategy: &StrategyInfo) {
        if let Some(path) = &strategy.on_path {
            let gauge = self.off_path.with_label_values(&[&strategy.name]);
            // Of one name there may be several, for several models.
            gauge.set(gauge.get().max(f64::from(u8::from(path.status().off))));
        }
    }

    fn trial(&self, strategy: &str, CandidateInfo { strategy: candidate, trial }: &CandidateInfo) {
        let (labels, report) = ([strategy, &candidate.name], trial.report());
        self.compared.with_label_values(&labels).inc_by(report.compared);
        self.divergence.with_label_values(&labels).set(report.divergence);
        for (by, time) in ["in_use", "candidate"].into_iter().zip(report.mean_time) {
            let seconds = self.seconds.with_label_values(&[labels[0], labels[1], by]);
            seconds.set(time.unwrap_or_default().as_secs_f64());
        }
        self.faults.with_label_values(&labels).inc_by(report.faults);
        let rolled_back = f64::from(u8::from(report.ended.is_some()));
        self.rolled_back.with_label_values(&labels).set(rolled_back);
        for (by, [all, failed]) in [("in_use", report.in_use), ("candidate", report.candidate)] {
            for (result, count) in [("ok", all.saturating_sub(failed)), ("failed", failed)] {
                let labels = [labels[0], labels[1], by, result];
                self.requests.with_label_values(&labels).inc_by(count);
            }
        }
    }
}
