//! Metrics of models, deployments and strategies: made anew at each scrape, from what the fleet counts and
//! from the snapshot in use. A deployment that is gone is gone from the metrics too.

use prometheus::proto::{MetricFamily, MetricType};

use fleet::{Busy, Deployment, DeploymentMeters, ModelMeters, Route, Snapshot, Waste};

use super::samples::Samples;
use super::trials;

/// Labels of a deployment.
const PLACE: [&str; 3] = ["model", "deployment", "side"];

/// What a scrape reads.
pub(super) struct Scrape<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// Requests that name no model that there is.
    pub(super) unrouted: &'a ModelMeters,
}

/// A family: what it is called, and what adds its samples.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
    pub(super) labels: &'static [&'static str],
    pub(super) samples: fn(&Scrape<'_>, &mut Samples),
}

impl Family {
    /// The family with its samples; nothing if it has none.
    pub(super) fn gather(&self, scrape: &Scrape<'_>) -> Vec<MetricFamily> {
        let mut samples = Samples::new(self.kind, self.labels);
        (self.samples)(scrape, &mut samples);
        samples.family(self.name, self.help).into_iter().collect()
    }
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().chain(trials::FAMILIES)
}

const FAMILIES: &[Family] = &[
    Family {
        name: "gateway_requests_total",
        help: "Requests answered.",
        kind: MetricType::COUNTER,
        labels: &["model", "status"],
        samples: requests,
    },
    Family {
        name: "gateway_request_duration_seconds",
        help: "From the arrival of a request to the end of its answer.",
        kind: MetricType::HISTOGRAM,
        labels: &["model"],
        samples: |scrape, samples| {
            for meters in scrape.models() {
                samples.durations(&[meters.model()], &meters.durations);
            }
        },
    },
    Family {
        name: "gateway_attempts_total",
        help: "Attempts at deployments, by how they ended.",
        kind: MetricType::COUNTER,
        labels: &[PLACE[0], PLACE[1], PLACE[2], "outcome"],
        samples: attempts,
    },
    Family {
        name: "gateway_first_byte_seconds",
        help: "From the start of an attempt to the first byte of its answer.",
        kind: MetricType::HISTOGRAM,
        labels: &["model", "deployment"],
        samples: |scrape, samples| {
            for deployment in scrape.deployments() {
                let [model, name, _] = place(deployment);
                samples.durations(&[model, name], &deployment.meters.first_bytes);
            }
        },
    },
    Family {
        name: "gateway_wasted_attempts_total",
        help: "Attempts that an engine worked on without a delivered answer.",
        kind: MetricType::COUNTER,
        labels: &[PLACE[0], PLACE[1], PLACE[2], "cause"],
        samples: |scrape, samples| {
            by_cause(scrape, |at, cause, meters| {
                samples.count(
                    &[at[0], at[1], at[2], cause.as_str()],
                    meters.wasted(cause).attempts.get(),
                );
            });
        },
    },
    Family {
        name: "gateway_wasted_seconds_total",
        help: "Seconds that engines worked on undelivered answers.",
        kind: MetricType::COUNTER,
        labels: &[PLACE[0], PLACE[1], PLACE[2], "cause"],
        samples: |scrape, samples| {
            by_cause(scrape, |at, cause, meters| {
                samples.add(&[at[0], at[1], at[2], cause.as_str()], meters.wasted(cause).seconds());
            });
        },
    },
    Family {
        name: "gateway_retries_denied_total",
        help: "Requests that the retry budget allowed no further attempt.",
        kind: MetricType::COUNTER,
        labels: &[],
        samples: |scrape, samples| {
            samples.count(&[], scrape.snapshot.generation.fleet.budget.denied());
        },
    },
    Family {
        name: "gateway_deployment_overflow_total",
        help: "Requests that found no place at a deployment and went on to the next.",
        kind: MetricType::COUNTER,
        labels: &[PLACE[0], PLACE[1], PLACE[2], "reason"],
        samples: |scrape, samples| {
            for deployment in scrape.deployments() {
                let [model, name, side] = place(deployment);
                for busy in Busy::ALL {
                    let count = deployment.meters.overflows(busy);
                    samples.count(&[model, name, side, busy.as_str()], count);
                }
            }
        },
    },
    Family {
        name: "gateway_deployment_queued",
        help: "Requests that wait for a place at the deployment.",
        kind: MetricType::GAUGE,
        labels: &PLACE,
        samples: |scrape, samples| {
            gauge(scrape, samples, |deployment, _, _| deployment.slots.waiting() as f64);
        },
    },
    Family {
        name: "gateway_deployment_in_flight",
        help: "Attempts under way.",
        kind: MetricType::GAUGE,
        labels: &PLACE,
        samples: |scrape, samples| {
            gauge(scrape, samples, |deployment, _, _| f64::from(deployment.load.in_flight()));
        },
    },
    Family {
        name: "gateway_deployment_error_rate",
        help: "Share of recent attempts that failed, 0 to 1, as strategies see it.",
        kind: MetricType::GAUGE,
        labels: &PLACE,
        samples: |scrape, samples| {
            gauge(scrape, samples, |deployment, _, _| deployment.load.error_rate());
        },
    },
    Family {
        name: "gateway_deployment_weight",
        help: "Share of the model's traffic, 0 to 1.",
        kind: MetricType::GAUGE,
        labels: &PLACE,
        samples: |scrape, samples| gauge(scrape, samples, |_, route, at| route.weights[at]),
    },
    Family {
        name: "gateway_deployment_healthy",
        help: "1 if the deployment is eligible, else 0.",
        kind: MetricType::GAUGE,
        labels: &PLACE,
        samples: |scrape, samples| {
            gauge(scrape, samples, |_, route, at| {
                f64::from(u8::from(route.states[at].is_eligible()))
            });
        },
    },
    Family {
        name: "gateway_deployment_state",
        help: "1, with the state that the deployment is in as a label.",
        kind: MetricType::GAUGE,
        labels: &[PLACE[0], PLACE[1], PLACE[2], "state"],
        samples: |scrape, samples| {
            scrape.each_place(|deployment, route, at| {
                let ([model, name, side], state) = (place(deployment), &route.states[at]);
                samples.add(&[model, name, side, state.condition.as_str()], 1.0);
            });
        },
    },
    Family {
        name: "gateway_ejections_total",
        help: "Ejections of the deployment.",
        kind: MetricType::COUNTER,
        labels: &PLACE,
        samples: |scrape, samples| {
            for deployment in scrape.deployments() {
                samples.count(&place(deployment), deployment.load.ejections());
            }
        },
    },
    Family {
        name: "gateway_strategy_calls_total",
        help: "Calls of the strategy, by how they ended.",
        kind: MetricType::COUNTER,
        labels: &["strategy", "outcome"],
        samples: strategy_calls,
    },
];

/// Statuses of a model that are there before the first request has one: an alert on a counter misses its
/// first step from nothing to 1.
const STATUSES: [u16; 4] = [429, 502, 503, 504];
/// Outcomes of attempts that are there from the start, likewise.
const OUTCOMES: [&str; 5] =
    ["connect", "status_429", "status_500", "status_503", "timeout_first_byte"];
/// How a call of a strategy fails.
const FAULTS: [&str; 5] = ["busy", "off", "refused", "timeout", "trap"];

impl Scrape<'_> {
    /// Counters of each model, and of requests that name none.
    fn models(&self) -> impl Iterator<Item = &ModelMeters> {
        let models = self.snapshot.generation.fleet.models.iter();
        models.map(|model| &*model.meters).chain([self.unrouted])
    }

    fn deployments(&self) -> impl Iterator<Item = &Deployment> {
        self.snapshot.generation.fleet.deployments().map(|deployment| &**deployment)
    }

    /// Each deployment, its model's route and its position there.
    fn each_place<'s>(&'s self, mut each: impl FnMut(&'s Deployment, &'s Route, usize)) {
        for (model, route) in
            self.snapshot.generation.fleet.models.iter().zip(&self.snapshot.routes)
        {
            for (at, deployment) in model.deployments.iter().enumerate() {
                each(deployment, route, at);
            }
        }
    }
}

fn place(deployment: &Deployment) -> [&str; 3] {
    [&deployment.model, &deployment.config.name, deployment.config.side.as_str()]
}

fn gauge(
    scrape: &Scrape<'_>,
    samples: &mut Samples,
    value: impl Fn(&Deployment, &Route, usize) -> f64,
) {
    scrape.each_place(|deployment, route, at| {
        samples.add(&place(deployment), value(deployment, route, at));
    });
}

fn by_cause(scrape: &Scrape<'_>, mut each: impl FnMut([&str; 3], Waste, &DeploymentMeters)) {
    for deployment in scrape.deployments() {
        for cause in Waste::ALL {
            each(place(deployment), cause, &deployment.meters);
        }
    }
}

fn requests(scrape: &Scrape<'_>, samples: &mut Samples) {
    for meters in scrape.models() {
        let mut others = meters.others.all();
        if !meters.model().is_empty() {
            samples.count(&[meters.model(), "200"], meters.ok.get());
            STATUSES.iter().for_each(|status| _ = others.entry(*status).or_default());
        } else if meters.ok.get() > 0 {
            samples.count(&["", "200"], meters.ok.get());
        }
        for (status, count) in others {
            samples.count(&[meters.model(), &status.to_string()], count);
        }
    }
}

fn attempts(scrape: &Scrape<'_>, samples: &mut Samples) {
    for deployment in scrape.deployments() {
        let ([model, name, side], meters) = (place(deployment), &deployment.meters);
        samples.count(&[model, name, side, DeploymentMeters::OK], meters.ok.get());
        let mut others = meters.others.all();
        OUTCOMES.iter().for_each(|outcome| _ = others.entry((*outcome).into()).or_default());
        for (outcome, count) in others {
            samples.count(&[model, name, side, &outcome], count);
        }
    }
}

fn strategy_calls(scrape: &Scrape<'_>, samples: &mut Samples) {
    for (strategy, meters) in scrape.snapshot.generation.fleet.strategies.all() {
        samples.count(&[&strategy, "ok"], meters.ok.get());
        let mut faults = meters.faults.all();
        FAULTS.iter().for_each(|fault| _ = faults.entry(fault).or_default());
        for (fault, count) in faults {
            samples.count(&[&strategy, fault], count);
        }
    }
}
