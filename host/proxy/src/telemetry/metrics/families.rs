//! Metrics of models, deployments and strategies. They are rebuilt at each scrape, from the
//! counters of the fleet and the snapshot in use. A deployment that is removed is removed from the
//! metrics too.

use fleet::{
    Busy, Deployment, DeploymentMeters, EngineSignals, FleetModel, ModelMeters, Route, Snapshot,
    Waste,
};
use ledger::History;

use super::samples::{Kind, Samples};
use super::{budgets, costs, quotas, trials};

/// Labels of a deployment.
pub(super) const PLACE: [&str; 3] = ["model", "deployment", "side"];

/// The input of a scrape.
pub(super) struct Scrape<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// Meters of requests that name no known model.
    pub(super) unrouted: &'a ModelMeters,
    pub(super) costs: &'a History,
}

/// A metric family: its description, and the function that adds its samples.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) each: Each,
}

/// How the samples of a family are added.
#[derive(Clone, Copy)]
pub(super) enum Each {
    /// All at once, for the whole fleet.
    Fleet(fn(&Scrape<'_>, &mut Samples<'_>)),
    /// Once for each model, and once for requests that name no known model.
    Meters(fn(&ModelMeters, &mut Samples<'_>)),
    /// Once for each model, for all its deployments.
    Model(fn(&FleetModel, &Route, &mut Samples<'_>)),
    /// Once for each deployment, with the labels [`PLACE`].
    Gauge(Value),
    /// Once for each deployment, with the labels [`PLACE`].
    Counter(Count),
    /// Once for each deployment whose engine is scraped, with the labels [`PLACE`].
    Scrapes(CountScrapes),
}

type Value = fn(&Deployment, &Route, usize) -> f64;
type Count = fn(&Deployment) -> u64;
type CountScrapes = fn(&EngineSignals) -> u64;

impl Each {
    /// Adds the samples of one model.
    fn add(self, model: &FleetModel, route: &Route, samples: &mut Samples<'_>) {
        let deployments = model.deployments.iter();
        match self {
            Self::Fleet(_) | Self::Meters(_) => {}
            Self::Model(add) => add(model, route, samples),
            Self::Gauge(value) => deployments.enumerate().for_each(|(at, deployment)| {
                samples.add(&place(deployment), value(deployment, route, at));
            }),
            Self::Counter(count) => deployments.for_each(|deployment| {
                samples.count(&place(deployment), count(deployment));
            }),
            Self::Scrapes(count) => deployments.for_each(|deployment| {
                let engine = &deployment.engine;
                if engine.is_asked() || engine.scrapes.get() > 0 {
                    samples.count(&place(deployment), count(engine));
                }
            }),
        }
    }
}

/// How far the families are written.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    family: usize,
    /// Index of the family's next model.
    model: usize,
    /// `HELP` and `TYPE` of the family are written.
    is_headed: bool,
}

impl Cursor {
    /// Writes one family of one model, or of the whole fleet. False: there was none left.
    pub(super) fn write_next(&mut self, scrape: &Scrape<'_>, text: &mut Vec<u8>) -> bool {
        let Some(family) = all().nth(self.family) else {
            return false;
        };
        let (models, at) = (&scrape.snapshot.generation.fleet.models, self.model);
        let mut samples = Samples::new(family, self.is_headed, text);
        let is_last = match family.each {
            Each::Fleet(add) => {
                add(scrape, &mut samples);
                true
            }
            Each::Meters(add) => {
                add(models.get(at).map_or(scrape.unrouted, |model| &model.meters), &mut samples);
                at >= models.len()
            }
            each => {
                if let Some(model) = models.get(at) {
                    each.add(model, &scrape.snapshot.routes[at], &mut samples);
                }
                at + 1 >= models.len()
            }
        };
        *self = match is_last {
            true => Self { family: self.family + 1, ..Self::default() },
            false => Self { model: at + 1, is_headed: samples.is_headed(), ..*self },
        };
        true
    }
}

/// All families of the fleet.
pub(super) fn all() -> impl Iterator<Item = &'static Family> {
    let more = costs::FAMILIES.iter().chain(budgets::FAMILIES).chain(quotas::FAMILIES);
    let more = more.chain(trials::FAMILIES);
    FAMILIES.iter().chain(more)
}

const FAMILIES: &[Family] = &[
    Family {
        name: "gateway_requests_total",
        help: "Requests answered.",
        kind: Kind::Counter,
        labels: &["model", "status"],
        each: Each::Meters(requests),
    },
    Family {
        name: "gateway_request_duration_seconds",
        help: "From the arrival of a request to the end of its answer.",
        kind: Kind::Histogram,
        labels: &["model"],
        each: Each::Meters(|meters, samples| {
            samples.durations(&[meters.model()], &meters.durations);
        }),
    },
    Family {
        name: "gateway_attempts_total",
        help: "Attempts at deployments, by how they ended.",
        kind: Kind::Counter,
        labels: &[PLACE[0], PLACE[1], PLACE[2], "outcome"],
        each: Each::Model(attempts),
    },
    Family {
        name: "gateway_first_byte_seconds",
        help: "From the start of an attempt to the first byte of its answer.",
        kind: Kind::Histogram,
        labels: &["model", "deployment"],
        each: Each::Model(|model, _, samples| {
            for deployment in &model.deployments {
                let [model, name, _] = place(deployment);
                samples.durations(&[model, name], &deployment.meters.first_bytes);
            }
        }),
    },
    Family {
        name: "gateway_wasted_attempts_total",
        help: "Attempts that an engine worked on without a delivered answer.",
        kind: Kind::Counter,
        labels: &[PLACE[0], PLACE[1], PLACE[2], "cause"],
        each: Each::Model(|model, _, samples| {
            by_cause(model, |at, cause, meters| {
                samples.count(
                    &[at[0], at[1], at[2], cause.as_str()],
                    meters.wasted(cause).attempts.get(),
                );
            });
        }),
    },
    Family {
        name: "gateway_wasted_seconds_total",
        help: "Seconds that engines worked on undelivered answers.",
        kind: Kind::Counter,
        labels: &[PLACE[0], PLACE[1], PLACE[2], "cause"],
        each: Each::Model(|model, _, samples| {
            by_cause(model, |at, cause, meters| {
                samples.add(&[at[0], at[1], at[2], cause.as_str()], meters.wasted(cause).seconds());
            });
        }),
    },
    Family {
        name: "gateway_retries_denied_total",
        help: "Requests that the retry budget allowed no further attempt.",
        kind: Kind::Counter,
        labels: &[],
        each: Each::Fleet(|scrape, samples| {
            samples.count(&[], scrape.snapshot.generation.fleet.budget.denied());
        }),
    },
    Family {
        name: "gateway_hedges_total",
        help: "Second attempts beside a first that took long, by whether the client got their answer or left before it.",
        kind: Kind::Counter,
        labels: &["model", "result"],
        each: Each::Model(|model, _, samples| {
            let (id, meters) = (&*model.config.id, &model.meters);
            samples.count(&[id, "won"], meters.hedges_won.get());
            samples.count(&[id, "lost"], meters.hedges_lost.get());
            samples.count(&[id, "cancelled"], meters.hedges_cancelled.get());
        }),
    },
    Family {
        name: "gateway_hedges_denied_total",
        help: "Second attempts that the budget did not allow.",
        kind: Kind::Counter,
        labels: &[],
        each: Each::Fleet(|scrape, samples| {
            samples.count(&[], scrape.snapshot.generation.fleet.hedges.denied());
        }),
    },
    Family {
        name: "gateway_deployment_overflow_total",
        help: "Requests that found no place at a deployment and went on to the next.",
        kind: Kind::Counter,
        labels: &[PLACE[0], PLACE[1], PLACE[2], "reason"],
        each: Each::Model(|model, _, samples| {
            for deployment in &model.deployments {
                let [model, name, side] = place(deployment);
                for busy in Busy::ALL {
                    let count = deployment.meters.overflows(busy);
                    samples.count(&[model, name, side, busy.as_str()], count);
                }
            }
        }),
    },
    gauge(
        "gateway_deployment_queued",
        "Requests that wait for a place at the deployment.",
        |deployment, _, _| deployment.slots.waiting() as f64,
    ),
    gauge(
        "gateway_deployment_limit",
        "Requests that the deployment takes at a time: as configured, or less as learned.",
        |deployment, _, _| {
            let limit = deployment.slots.report().limit;
            f64::from(limit.unwrap_or_else(|| deployment.slots.max()))
        },
    ),
    counter(
        "gateway_deployment_refusals_total",
        "Attempts that a full deployment refused (429, 503 and the like).",
        |deployment| deployment.slots.report().refusals,
    ),
    counter(
        "gateway_deployment_stalls_total",
        "Attempts without a first byte in time, while the deployment answered others.",
        |deployment| deployment.slots.report().stalls,
    ),
    scrapes(
        "gateway_engine_scrapes_total",
        "Scrapes of the deployment's engine, where its numbers are asked for.",
        |engine| engine.scrapes.get(),
    ),
    scrapes(
        "gateway_engine_scrape_failures_total",
        "Scrapes of the deployment's engine that gave no number.",
        |engine| engine.failures.get(),
    ),
    gauge("gateway_deployment_in_flight", "Attempts under way.", |deployment, _, _| {
        f64::from(deployment.load.in_flight())
    }),
    gauge(
        "gateway_deployment_error_rate",
        "Share of recent attempts that failed, 0 to 1, as strategies see it.",
        |deployment, _, _| deployment.load.error_rate(),
    ),
    gauge("gateway_deployment_weight", "Share of the model's traffic, 0 to 1.", |_, route, at| {
        route.weights[at]
    }),
    gauge(
        "gateway_deployment_healthy",
        "1 if the deployment is eligible, else 0.",
        |_, route, at| f64::from(u8::from(route.states[at].is_eligible())),
    ),
    Family {
        name: "gateway_deployment_state",
        help: "1, with the state that the deployment is in as a label.",
        kind: Kind::Gauge,
        labels: &[PLACE[0], PLACE[1], PLACE[2], "state"],
        each: Each::Model(|model, route, samples| {
            for (deployment, state) in model.deployments.iter().zip(&route.states) {
                let [model, name, side] = place(deployment);
                samples.count(&[model, name, side, state.condition.as_str()], 1);
            }
        }),
    },
    counter("gateway_ejections_total", "Ejections of the deployment.", |deployment| {
        deployment.load.ejections()
    }),
    Family {
        name: "gateway_strategy_calls_total",
        help: "Calls of the strategy, by how they ended.",
        kind: Kind::Counter,
        labels: &["strategy", "outcome"],
        each: Each::Fleet(strategy_calls),
    },
];

/// Statuses that a model has from the start, with 0: an alert on a counter misses its first step
/// from nothing to 1.
const STATUSES: [u16; 4] = [429, 502, 503, 504];
/// Outcomes of attempts that a deployment has from the start, for the same reason.
const OUTCOMES: [&str; 5] =
    ["connect", "status_429", "status_500", "status_503", "timeout_first_byte"];
/// Faults that a strategy has from the start, for the same reason.
const FAULTS: [&str; 6] = ["busy", "cpu", "off", "refused", "timeout", "trap"];

pub(super) fn place(deployment: &Deployment) -> [&str; 3] {
    [&deployment.model, &deployment.config.name, deployment.config.side.as_str()]
}

/// A gauge of each deployment. `value` gets the deployment's position in the route, too.
const fn gauge(name: &'static str, help: &'static str, value: Value) -> Family {
    Family { name, help, kind: Kind::Gauge, labels: &PLACE, each: Each::Gauge(value) }
}

/// A counter of each deployment.
const fn counter(name: &'static str, help: &'static str, value: Count) -> Family {
    Family { name, help, kind: Kind::Counter, labels: &PLACE, each: Each::Counter(value) }
}

/// A counter of scrapes. It is there from the first scrape on.
const fn scrapes(name: &'static str, help: &'static str, count: CountScrapes) -> Family {
    Family { name, help, kind: Kind::Counter, labels: &PLACE, each: Each::Scrapes(count) }
}

fn by_cause(model: &FleetModel, mut each: impl FnMut([&str; 3], Waste, &DeploymentMeters)) {
    for deployment in &model.deployments {
        for cause in Waste::ALL {
            each(place(deployment), cause, &deployment.meters);
        }
    }
}

fn requests(meters: &ModelMeters, samples: &mut Samples<'_>) {
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

fn attempts(model: &FleetModel, _: &Route, samples: &mut Samples<'_>) {
    for deployment in &model.deployments {
        let ([model, name, side], meters) = (place(deployment), &deployment.meters);
        samples.count(&[model, name, side, DeploymentMeters::OK], meters.ok.get());
        let mut others = meters.others.all();
        OUTCOMES.iter().for_each(|outcome| _ = others.entry((*outcome).into()).or_default());
        for (outcome, count) in others {
            samples.count(&[model, name, side, &outcome], count);
        }
    }
}

fn strategy_calls(scrape: &Scrape<'_>, samples: &mut Samples<'_>) {
    for (strategy, meters) in scrape.snapshot.generation.fleet.strategies.all() {
        samples.count(&[&strategy, "ok"], meters.ok.get());
        let mut faults = meters.faults.all();
        FAULTS.iter().for_each(|fault| _ = faults.entry(fault).or_default());
        for (fault, count) in faults {
            samples.count(&[&strategy, fault], count);
        }
    }
}
