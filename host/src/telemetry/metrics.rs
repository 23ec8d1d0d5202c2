//! Prometheus metrics. Labels are bounded: model ids and deployment names come from the
//! configuration, never from a client.

use std::time::Duration;

use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
    Registry, TextEncoder,
};

use crate::fleet::{Condition, Snapshot};

/// Upper bounds in seconds: from a cache hit to a long answer.
const BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The gateway's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    refusals: IntCounterVec,
    attempts: IntCounterVec,
    duration: HistogramVec,
    first_byte: HistogramVec,
    requests_in_flight: IntGauge,
    in_flight: GaugeVec,
    error_rate: GaugeVec,
    weight: GaugeVec,
    healthy: GaugeVec,
    state: GaugeVec,
    strategy_calls: IntCounterVec,
    reloads: IntCounterVec,
    /// Lines of the access log that were lost because its file could not take them.
    pub access_log_dropped: IntCounter,
}

impl Metrics {
    /// Registers everything, at 0.
    ///
    /// # Errors
    /// If two metrics have one name: a fault of this file.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let place = ["model", "deployment", "side"];
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let gauge_of = |name: &str, help: &str, labels: &[&str]| {
            let vec = GaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let gauge = |name: &str, help: &str| gauge_of(name, help, &place);
        let histogram = |name: &str, help: &str, labels: &[&str]| {
            let opts = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
            let vec = HistogramVec::new(opts, labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let requests_in_flight =
            IntGauge::new("gateway_requests_in_flight", "Requests being answered.")?;
        registry.register(Box::new(requests_in_flight.clone()))?;
        let access_log_dropped =
            IntCounter::new("gateway_access_log_dropped_total", "Access log lines lost.")?;
        registry.register(Box::new(access_log_dropped.clone()))?;
        let reloads =
            counter("gateway_reloads_total", "Configurations loaded or refused.", &["result"])?;
        for result in ["loaded", "refused"] {
            // Seen from the start: an alert on a counter misses its first step from nothing to 1.
            reloads.with_label_values(&[result]);
        }
        Ok(Self {
            requests: counter(
                "gateway_requests_total",
                "Requests answered.",
                &["model", "status"],
            )?,
            refusals: counter(
                "gateway_refused_total",
                "What clients sent that is no good request, by the code of its error.",
                &["code"],
            )?,
            attempts: counter(
                "gateway_attempts_total",
                "Attempts at deployments, by how they ended.",
                &["model", "deployment", "side", "outcome"],
            )?,
            duration: histogram(
                "gateway_request_duration_seconds",
                "From a request's arrival to the end of its answer.",
                &["model"],
            )?,
            first_byte: histogram(
                "gateway_first_byte_seconds",
                "From an attempt's start to the first byte of its answer.",
                &["model", "deployment"],
            )?,
            in_flight: gauge("gateway_deployment_in_flight", "Attempts under way.")?,
            error_rate: gauge(
                "gateway_deployment_error_rate",
                "Share of recent attempts that failed, 0 to 1, as strategies see it.",
            )?,
            weight: gauge("gateway_deployment_weight", "Share of the model's traffic, 0 to 1.")?,
            healthy: gauge("gateway_deployment_healthy", "1: may be used; 0: not.")?,
            state: gauge_of(
                "gateway_deployment_state",
                "1 for the state the deployment is in, as /routing names it; 0 for all others.",
                &["model", "deployment", "side", "state"],
            )?,
            strategy_calls: counter(
                "gateway_strategy_calls_total",
                "Calls of the strategy, by how they ended.",
                &["strategy", "outcome"],
            )?,
            reloads,
            requests_in_flight,
            access_log_dropped,
            registry,
        })
    }

    /// Counts a request in; [`request_ended`](Self::request_ended) counts it out.
    pub fn request_started(&self) {
        self.requests_in_flight.inc();
    }

    /// Counts an answered request. `model` is a configured id, or empty.
    pub fn request_ended(&self, model: &str, status: u16, time: Duration) {
        self.requests_in_flight.dec();
        self.requests.with_label_values(&[model, &status.to_string()]).inc();
        self.duration.with_label_values(&[model]).observe(time.as_secs_f64());
    }

    /// Requests being answered.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.requests_in_flight.get()
    }

    /// Counts bytes that are no good request. `code` is one of the gateway's own.
    pub fn refused(&self, code: &'static str) {
        self.refusals.with_label_values(&[code]).inc();
    }

    /// Counts an attempt that ended.
    pub fn attempt(&self, model: &str, deployment: &str, side: &str, outcome: &str) {
        self.attempts.with_label_values(&[model, deployment, side, outcome]).inc();
    }

    /// Takes an attempt's time to first byte.
    pub fn first_byte(&self, model: &str, deployment: &str, time: Duration) {
        self.first_byte.with_label_values(&[model, deployment]).observe(time.as_secs_f64());
    }

    /// Counts calls of a strategy.
    pub fn strategy_calls(&self, strategy: &str, outcome: &str, calls: usize) {
        self.strategy_calls.with_label_values(&[strategy, outcome]).inc_by(calls as u64);
    }

    /// Counts a reload: `loaded` or `refused`.
    pub fn reload(&self, result: &str) {
        self.reloads.with_label_values(&[result]).inc();
    }

    /// Shows the weights and states of a snapshot, and forgets deployments that are gone.
    pub fn publish(&self, snapshot: &Snapshot) {
        self.weight.reset();
        self.healthy.reset();
        self.state.reset();
        for (model, route) in snapshot.generation.fleet.models.iter().zip(&snapshot.routes) {
            for (i, deployment) in model.deployments.iter().enumerate() {
                let config = &deployment.config;
                let labels = [&*model.config.id, &config.name, config.side.as_str()];
                self.weight.with_label_values(&labels).set(route.weights[i]);
                let state = &route.states[i];
                let is = |yes: bool| f64::from(u8::from(yes));
                self.healthy.with_label_values(&labels).set(is(state.is_eligible()));
                for condition in Condition::ALL {
                    let labels = [labels[0], labels[1], labels[2], condition.as_str()];
                    self.state.with_label_values(&labels).set(is(condition == state.condition));
                }
            }
        }
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// If the encoder fails.
    pub fn render(&self, snapshot: &Snapshot) -> prometheus::Result<Vec<u8>> {
        self.in_flight.reset();
        self.error_rate.reset();
        for deployment in snapshot.generation.fleet.deployments() {
            let config = &deployment.config;
            let labels = [&*deployment.model, &config.name, config.side.as_str()];
            self.in_flight.with_label_values(&labels).set(f64::from(deployment.load.in_flight()));
            self.error_rate.with_label_values(&labels).set(deployment.load.error_rate());
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
