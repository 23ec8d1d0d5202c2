//! The names of all metrics, by what they are of.

use std::cell::RefCell;

use prometheus::core::Collector;
use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, Result,
};

/// Upper bounds in seconds: from a cache hit to a long answer.
const BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
pub(super) const PLACE: [&str; 3] = ["model", "deployment", "side"];

/// Makes metrics and registers them.
pub(super) struct Families<'a> {
    registry: &'a Registry,
    /// All that were registered: the registry itself tells only of those that have a series.
    registered: RefCell<Vec<Box<dyn Collector>>>,
}

impl<'a> Families<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        Self { registry, registered: RefCell::default() }
    }

    pub(super) fn into_registered(self) -> Vec<Box<dyn Collector>> {
        self.registered.into_inner()
    }

    pub(super) fn of<T: Collector + Clone + 'static>(&self, metric: T) -> Result<T> {
        self.registry.register(Box::new(metric.clone()))?;
        self.registered.borrow_mut().push(Box::new(metric.clone()));
        Ok(metric)
    }

    /// A counter without labels.
    pub(super) fn count(&self, name: &str, help: &str) -> Result<IntCounter> {
        self.of(IntCounter::new(name, help)?)
    }

    pub(super) fn counter(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
        self.of(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn seconds(&self, name: &str, help: &str, labels: &[&str]) -> Result<CounterVec> {
        self.of(CounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec> {
        self.of(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec> {
        let opts = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
        self.of(HistogramVec::new(opts, labels)?)
    }
}

/// What clients asked.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) ended: IntCounterVec,
    pub(super) refused: IntCounterVec,
    pub(super) duration: HistogramVec,
    pub(super) in_flight: IntGauge,
}

impl Requests {
    pub(super) fn register(families: &Families<'_>) -> Result<Self> {
        Ok(Self {
            ended: families.counter(
                "gateway_requests_total",
                "Requests answered.",
                &["model", "status"],
            )?,
            refused: families.counter(
                "gateway_refused_total",
                "Requests refused as invalid, by the code of the error.",
                &["code"],
            )?,
            duration: families.histogram(
                "gateway_request_duration_seconds",
                "From the arrival of a request to the end of its answer.",
                &["model"],
            )?,
            in_flight: families
                .of(IntGauge::new("gateway_requests_in_flight", "Requests being answered.")?)?,
        })
    }
}

/// What was tried for them.
#[derive(Debug)]
pub(super) struct Attempts {
    pub(super) ended: IntCounterVec,
    pub(super) first_byte: HistogramVec,
    pub(super) wasted: IntCounterVec,
    pub(super) wasted_seconds: CounterVec,
    pub(super) retries_denied: IntCounter,
}

impl Attempts {
    pub(super) fn register(families: &Families<'_>) -> Result<Self> {
        let with = |label| [PLACE[0], PLACE[1], PLACE[2], label];
        Ok(Self {
            ended: families.counter(
                "gateway_attempts_total",
                "Attempts at deployments, by how they ended.",
                &with("outcome"),
            )?,
            first_byte: families.histogram(
                "gateway_first_byte_seconds",
                "From the start of an attempt to the first byte of its answer.",
                &["model", "deployment"],
            )?,
            wasted: families.counter(
                "gateway_wasted_attempts_total",
                "Attempts that an engine worked on without a delivered answer.",
                &with("cause"),
            )?,
            wasted_seconds: families.seconds(
                "gateway_wasted_seconds_total",
                "Seconds that engines worked on undelivered answers.",
                &with("cause"),
            )?,
            retries_denied: families.count(
                "gateway_retries_denied_total",
                "Requests that the retry budget allowed no further attempt.",
            )?,
        })
    }
}

/// How deployments are doing.
#[derive(Debug)]
pub(super) struct Deployments {
    pub(super) in_flight: GaugeVec,
    pub(super) error_rate: GaugeVec,
    pub(super) weight: GaugeVec,
    pub(super) healthy: GaugeVec,
    pub(super) state: GaugeVec,
    pub(super) ejections: IntCounterVec,
}

impl Deployments {
    pub(super) fn register(families: &Families<'_>) -> Result<Self> {
        let gauge = |name, help| families.gauge(name, help, &PLACE);
        Ok(Self {
            in_flight: gauge("gateway_deployment_in_flight", "Attempts under way.")?,
            error_rate: gauge(
                "gateway_deployment_error_rate",
                "Share of recent attempts that failed, 0 to 1, as strategies see it.",
            )?,
            weight: gauge("gateway_deployment_weight", "Share of the model's traffic, 0 to 1.")?,
            healthy: gauge(
                "gateway_deployment_healthy",
                "1 if the deployment is eligible, else 0.",
            )?,
            state: families.gauge(
                "gateway_deployment_state",
                "1 for the state that the deployment is in, 0 for all others.",
                &[PLACE[0], PLACE[1], PLACE[2], "state"],
            )?,
            ejections: families.counter(
                "gateway_ejections_total",
                "Ejections of the deployment.",
                &PLACE,
            )?,
        })
    }
}

/// What goes on beside requests.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) strategy_calls: IntCounterVec,
    pub(super) reloads: IntCounterVec,
}

impl Control {
    pub(super) fn register(families: &Families<'_>) -> Result<Self> {
        let reloads = families.counter(
            "gateway_reloads_total",
            "Reloads of the configuration: loaded or refused.",
            &["result"],
        )?;
        for result in ["loaded", "refused"] {
            // Seen from the start: an alert on a counter misses its first step from nothing to 1.
            reloads.with_label_values(&[result]);
        }
        Ok(Self {
            strategy_calls: families.counter(
                "gateway_strategy_calls_total",
                "Calls of the strategy, by how they ended.",
                &["strategy", "outcome"],
            )?,
            reloads,
        })
    }
}
