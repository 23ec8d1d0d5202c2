//! Metrics of candidates, which are tried beside the strategies in use, and of strategies that are
//! off the request path.

use std::collections::BTreeMap;

use fleet::{Snapshot, StrategyInfo, TrialReport};

use super::families::{Each, Family, Scrape};
use super::samples::{Kind, Samples};

/// Labels of a trial: the strategy in use and the candidate.
const TRIAL: [&str; 2] = ["strategy", "candidate"];

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "gateway_strategy_off_path",
        help: "1 if the strategy is off the request path for its faults or its CPU time, else 0.",
        kind: Kind::Gauge,
        labels: &["strategy"],
        each: Each::Fleet(off_path),
    },
    Family {
        name: "gateway_strategy_rests",
        help: "1 if the strategy is not asked off the request path for a time, else 0.",
        kind: Kind::Gauge,
        labels: &["strategy"],
        each: Each::Fleet(rests),
    },
    Family {
        name: "gateway_candidate_compared_total",
        help: "Questions that the candidate and the strategy in use both answered.",
        kind: Kind::Counter,
        labels: &TRIAL,
        each: Each::Fleet(|scrape, samples| {
            each(scrape, |labels, report| samples.count(&labels, report.compared));
        }),
    },
    Family {
        name: "gateway_candidate_divergence",
        help: "Mean distance of the two answers: 0 is equal, 1 is disjoint.",
        kind: Kind::Gauge,
        labels: &TRIAL,
        each: Each::Fleet(|scrape, samples| {
            each(scrape, |labels, report| samples.add(&labels, report.divergence));
        }),
    },
    Family {
        name: "gateway_candidate_seconds",
        help: "Mean time to answer, of the strategy in use and of the candidate.",
        kind: Kind::Gauge,
        labels: &[TRIAL[0], TRIAL[1], "by"],
        each: Each::Fleet(|scrape, samples| {
            each(scrape, |[strategy, candidate], report| {
                for (by, time) in ["in_use", "candidate"].into_iter().zip(report.mean_time) {
                    let seconds = time.unwrap_or_default().as_secs_f64();
                    samples.add(&[strategy, candidate, by], seconds);
                }
            });
        }),
    },
    Family {
        name: "gateway_candidate_faults_total",
        help: "Faults of the candidate.",
        kind: Kind::Counter,
        labels: &TRIAL,
        each: Each::Fleet(|scrape, samples| {
            each(scrape, |labels, report| samples.count(&labels, report.faults));
        }),
    },
    Family {
        name: "gateway_candidate_requests_total",
        help: "Requests of the trial, by who decided and how they ended.",
        kind: Kind::Counter,
        labels: &[TRIAL[0], TRIAL[1], "decided_by", "result"],
        each: Each::Fleet(requests),
    },
    Family {
        name: "gateway_candidate_rolled_back",
        help: "1 if the trial was rolled back, else 0.",
        kind: Kind::Gauge,
        labels: &TRIAL,
        each: Each::Fleet(|scrape, samples| {
            each(scrape, |labels, report| {
                samples.add(&labels, f64::from(u8::from(report.ended.is_some())));
            });
        }),
    },
];

/// Calls `each` for each trial. Trials with the same two names are one series, which shows the last
/// of them.
fn each(scrape: &Scrape<'_>, mut each: impl FnMut([&str; 2], TrialReport)) {
    let mut trials = BTreeMap::new();
    for strategy in &scrape.snapshot.generation.strategies {
        if let Some(candidate) = &strategy.candidate {
            let labels = [&*strategy.name, &*candidate.strategy.name];
            trials.insert(labels, &candidate.trial);
        }
    }
    for (labels, trial) in trials {
        each(labels, trial.report());
    }
}

fn requests(scrape: &Scrape<'_>, samples: &mut Samples<'_>) {
    each(scrape, |[strategy, candidate], report| {
        for (by, [all, failed]) in [("in_use", report.in_use), ("candidate", report.candidate)] {
            for (result, count) in [("ok", all.saturating_sub(failed)), ("failed", failed)] {
                samples.count(&[strategy, candidate, by, result], count);
            }
        }
    });
}

fn off_path(scrape: &Scrape<'_>, samples: &mut Samples<'_>) {
    let mut off: BTreeMap<&str, bool> = BTreeMap::new();
    for strategy in strategies(scrape.snapshot) {
        if let Some(path) = &strategy.on_path {
            // Several strategies may have one name, for several models.
            *off.entry(&strategy.name).or_default() |= path.status().off.is_some();
        }
    }
    for (strategy, off) in off {
        samples.add(&[strategy], f64::from(u8::from(off)));
    }
}

fn rests(scrape: &Scrape<'_>, samples: &mut Samples<'_>) {
    let mut all: BTreeMap<&str, bool> = BTreeMap::new();
    let Snapshot { generation, strategy_states, .. } = scrape.snapshot;
    for (strategy, state) in generation.strategies.iter().zip(strategy_states) {
        *all.entry(&strategy.name).or_default() |= state.rests_for.is_some();
    }
    for (strategy, rests) in all {
        samples.add(&[strategy], f64::from(u8::from(rests)));
    }
}

fn strategies(snapshot: &Snapshot) -> impl Iterator<Item = &StrategyInfo> {
    snapshot.generation.strategies.iter().flat_map(|strategy| {
        let candidate = strategy.candidate.as_deref().map(|candidate| &candidate.strategy);
        [Some(strategy), candidate].into_iter().flatten()
    })
}
