//! Turns a scenario as written into a checked one.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use http::StatusCode;

use config::{Diagnostic, Diagnostics, Document, Fallback, PathStep, Scraping, schema};
use contract::{Place, Price, Side};
use fleet::Tariff;
use routing::{Cause, Failure};

use crate::simulation::random::{Distribution, seconds};

use super::raw::{
    RawArrivals, RawBursts, RawDeployment, RawDistribution, RawDrift, RawGateway, RawKind,
    RawOutage, RawRefusal, RawShape, RawSide, ScenarioFile,
};
use super::{
    Arrivals, Bursts, Drift, Kind, Outage, Refusal, Scenario, Session, Site, Trouble, recorded,
    trace,
};

/// Checks a scenario. Names of other files in it are relative to `folder`.
pub(super) fn check(document: &Document, folder: &Path) -> Result<Scenario, Diagnostics> {
    let raw: ScenarioFile = typed(document)?;
    let mut check = Check { document, folder, errors: Vec::new() };
    let mut sites = check.sites(&raw);
    let kinds: Vec<Kind> =
        raw.requests.iter().enumerate().map(|(i, kind)| check.kind(i, kind)).collect();
    if kinds.iter().all(|kind| kind.share == 0.0) {
        check.error(&["requests".into()], "all shares are 0", "give one that is above 0");
    }
    let arrivals = check.arrivals(&raw.arrivals, raw.duration);
    let duration = check.duration(raw.duration, &arrivals);
    let scraping = check.scraping(&raw.gateway);
    let budgets = check.budgets(raw.budgets, &raw.model, &mut sites);
    let Some(arrivals) = arrivals.filter(|_| check.errors.is_empty()) else {
        return Err(Diagnostics::new(check.errors));
    };
    let ScenarioFile { description, seed, model, max_output_length, gateway, .. } = raw;
    let fallback = Fallback { attempts: gateway.attempts, ..Fallback::default() };
    let (first_byte, total) = (seconds(gateway.first_byte), seconds(gateway.total));
    Ok(Scenario {
        description,
        seed,
        duration,
        model,
        sites,
        arrivals,
        kinds,
        fallback,
        first_byte,
        total,
        cores: gateway.cores,
        gateways: gateway.gateways,
        scraping,
        hedging: gateway.hedge,
        slow_start: gateway.slow_start,
        max_output_length,
        budgets,
    })
}

fn typed<T: DeserializeOwned + schemars::JsonSchema>(
    document: &Document,
) -> Result<T, Diagnostics> {
    let schema = schemars::schema_for!(T).to_value();
    let value = schema::value(document, &[], &schema).map_err(Diagnostics::new)?;
    serde_json::from_value(value)
        .map_err(|error| Diagnostics::from(document.error(&[], error.to_string(), "")))
}

pub(super) struct Check<'a> {
    pub(super) document: &'a Document,
    folder: &'a Path,
    pub(super) errors: Vec<Diagnostic>,
}

impl Check<'_> {
    pub(super) fn error(&mut self, at: &[PathStep], message: impl Into<String>, help: &str) {
        self.errors.push(self.document.error(at, message, help));
    }

    fn sites(&mut self, raw: &ScenarioFile) -> Vec<Site> {
        let mut names = HashSet::new();
        let sum: f64 = raw.deployments.iter().map(|deployment| deployment.weight).sum();
        if sum == 0.0 {
            let help = "give one that is above 0";
            self.error(&["deployments".into()], "all weights are 0", help);
        }
        let mut sites = Vec::with_capacity(raw.deployments.len());
        for (index, deployment) in raw.deployments.iter().enumerate() {
            let at = |key: &str| [PathStep::from("deployments"), index.into(), key.into()];
            if !names.insert(&*deployment.name) {
                let message = format!("the name `{}` is given twice", deployment.name);
                self.error(&at("name"), message, "give each deployment a name of its own");
            }
            let outages: Vec<Outage> = deployment
                .outages
                .iter()
                .enumerate()
                .filter_map(|(i, outage)| {
                    let mut at = at("outages").to_vec();
                    at.push(i.into());
                    self.outage(&at, outage)
                })
                .collect();
            let latency = self.distribution(&at("latency"), &deployment.latency);
            let refusal = deployment.refuses.as_ref();
            let refusal = refusal.and_then(|refusal| self.refusal(&at("refuses"), refusal));
            let drift = deployment.drift.as_ref();
            let drift = drift.and_then(|drift| self.drift(&at("drift"), drift));
            let tariff = self.tariff(&at("price"), deployment.price.as_ref());
            let site = site(raw, deployment, latency, sum);
            sites.push(Site { outages, refusal, drift, tariff, ..site });
        }
        sites
    }

    fn outage(&mut self, at: &[PathStep], raw: &RawOutage) -> Option<Outage> {
        if raw.to <= raw.from {
            self.error(at, "it ends before it begins", "let `to` be later than `from`");
            return None;
        }
        let kind = match (raw.failing, raw.slow, raw.stall) {
            (None, None, false) => Trouble::Down,
            (Some(share), None, false) => Trouble::Failing(share),
            (None, Some(times), false) => Trouble::Slow(times),
            (None, None, true) => Trouble::Stalled,
            _ => {
                let message = "`failing`, `slow` and `stall` are different outages";
                self.error(at, message, "write an entry for each");
                return None;
            }
        };
        Some(Outage { from: seconds(raw.from), to: seconds(raw.to), kind })
    }

    fn refusal(&mut self, at: &[PathStep], raw: &RawRefusal) -> Option<Refusal> {
        let status = StatusCode::from_u16(raw.status).ok();
        let says_full = |status: &StatusCode| Failure::from(Cause::Status(*status)).is_refusal();
        let Some(status) = status.filter(says_full) else {
            let at = [at, &["status".into()]].concat();
            let message = format!("{} does not say that an engine is full", raw.status);
            self.error(&at, message, "give 429, 498, 503 or 529");
            return None;
        };
        let (queue, retry_after) = (raw.queue as usize, raw.retry_after.map(seconds));
        Some(Refusal { queue, status, retry_after })
    }

    fn drift(&mut self, at: &[PathStep], raw: &RawDrift) -> Option<Drift> {
        match (raw.period, raw.amplitude, &raw.steps) {
            (Some(period), Some(amplitude), None) => Some(Drift::Wave { period, amplitude }),
            (None, None, Some(steps)) => {
                let steps: Vec<_> = steps.iter().map(|s| (seconds(s.from), s.speed)).collect();
                if !steps.is_sorted_by(|a, b| a.0 < b.0) {
                    let help = "let each `from` be later than the one before";
                    self.error(
                        &[at, &["steps".into()]].concat(),
                        "the steps are not in order",
                        help,
                    );
                }
                Some(Drift::Steps(steps))
            }
            _ => {
                let help = "give `period` and `amplitude`, or `steps`";
                self.error(at, "neither a whole wave nor steps alone", help);
                None
            }
        }
    }

    /// How engines are scraped, if they are. The range is that of `signals.interval`.
    fn scraping(&mut self, raw: &RawGateway) -> Option<Scraping> {
        if raw.scrape > 0.0 && raw.scrape < 0.05 {
            let help = "give 0, or 0.05 to 60 seconds";
            self.error(&["gateway".into(), "scrape".into()], "the interval is too short", help);
        }
        (raw.scrape > 0.0).then(|| Scraping {
            interval: seconds(raw.scrape),
            gateways: raw.gateways.into(),
            ..Scraping::default()
        })
    }

    fn kind(&mut self, index: usize, raw: &RawKind) -> Kind {
        let at = |key: &str| vec![PathStep::from("requests"), index.into(), key.into()];
        let session = raw.session.as_ref().map(|session| {
            let inner = |key: &str| [at("session"), vec![key.into()]].concat();
            Session {
                turns: self.distribution(&inner("turns"), &session.turns),
                pause: self.distribution(&inner("pause"), &session.pause),
            }
        });
        Kind {
            share: raw.share,
            prompt: self.distribution(&at("prompt"), &raw.prompt),
            output: self.distribution(&at("output"), &raw.output),
            system: raw.system,
            session,
            tenant: raw.tenant.clone(),
            stream: raw.stream,
            max_tokens: raw.max_tokens,
        }
    }

    /// Converts a distribution. After an error the value is arbitrary, because the scenario is
    /// refused.
    fn distribution(&mut self, at: &[PathStep], raw: &RawDistribution) -> Distribution {
        let shape = match raw {
            RawDistribution::Constant(value) => return Distribution::Constant(*value),
            RawDistribution::Shape(shape) => shape,
        };
        match shape {
            RawShape { uniform: Some(bounds), lognormal: None, exponential: None } => {
                let [from, to] = [bounds[0], bounds[1]];
                if to < from {
                    self.error(at, "the second is less than the first", "swap the two numbers");
                }
                Distribution::Uniform(from, to)
            }
            RawShape { uniform: None, lognormal: Some(shape), exponential: None } => {
                let max = shape.max.unwrap_or(1e9);
                Distribution::LogNormal { median: shape.median, sigma: shape.sigma, max }
            }
            RawShape { uniform: None, lognormal: None, exponential: Some(mean) } => {
                Distribution::Exponential { mean: *mean }
            }
            _ => {
                let help = "give one of `uniform`, `lognormal`, `exponential`, or a number";
                self.error(at, "not exactly one distribution", help);
                Distribution::Constant(0.0)
            }
        }
    }

    fn arrivals(&mut self, raw: &RawArrivals, duration: Option<f64>) -> Option<Arrivals> {
        let at = |key: &str| [PathStep::from("arrivals"), key.into()];
        if raw.speed.is_some() && raw.log.is_none() && raw.trace.is_none() {
            self.error(&at("speed"), "only recorded requests have a speed", "remove it");
        }
        for (key, given) in [("from", raw.from.is_some()), ("limit", raw.limit.is_some())] {
            if given && raw.trace.is_none() {
                self.error(&at(key), "`from` and `limit` need a trace", "remove it");
            }
        }
        let bursts = raw.bursts.as_ref().and_then(|bursts| self.bursts(raw, bursts));
        match (raw.rate, &raw.steps, raw.log.as_ref().or(raw.trace.as_ref())) {
            _ if raw.log.is_some() && raw.trace.is_some() => self.not_one_source(),
            (Some(rate), None, None) => {
                Some(Arrivals::Rate { steps: vec![(Duration::ZERO, rate)], bursts })
            }
            (None, Some(steps), None) => {
                let steps: Vec<_> = steps.iter().map(|s| (seconds(s.from), s.rate)).collect();
                if !steps.is_sorted_by(|a, b| a.0 < b.0) {
                    let help = "let each `from` be later than the one before";
                    self.error(&at("steps"), "the steps are not in order", help);
                }
                Some(Arrivals::Rate { steps, bursts: None })
            }
            (None, None, Some(file)) => self.recorded(raw, file, duration, bursts),
            _ => self.not_one_source(),
        }
    }

    /// Bursts at a rate of their own, or of recorded requests at a speed of their own.
    fn bursts(&mut self, arrivals: &RawArrivals, raw: &RawBursts) -> Option<Bursts> {
        let at = ["arrivals".into(), "bursts".into()];
        if raw.lasting >= raw.every {
            let help = "let `lasting` be less than `every`";
            self.error(&at, "one burst runs into the next", help);
        }
        let is_recorded = arrivals.log.is_some() || arrivals.trace.is_some();
        let rate = match (raw.rate, raw.speed) {
            (Some(rate), None) if arrivals.rate.is_some() => rate,
            (None, Some(speed)) if is_recorded => speed,
            _ => {
                let help =
                    "give bursts of a `rate` a `rate`, and those of a log or trace a `speed`";
                self.error(&at, "these bursts do not fit their source", help);
                return None;
            }
        };
        Some(Bursts { every: seconds(raw.every), lasting: seconds(raw.lasting), rate })
    }

    fn not_one_source(&mut self) -> Option<Arrivals> {
        let help = "give one of `rate`, `steps`, `log` and `trace`";
        self.error(&["arrivals".into()], "not exactly one source of arrivals", help);
        None
    }

    /// Reads the file of `log` or `trace`.
    fn recorded(
        &mut self,
        raw: &RawArrivals,
        file: &str,
        duration: Option<f64>,
        bursts: Option<Bursts>,
    ) -> Option<Arrivals> {
        let (path, speed) = (self.folder.join(file), raw.speed.unwrap_or(1.0));
        // Bursts take a longer part of it than the speed between them says.
        let duration = duration.filter(|_| bursts.is_none());
        let (key, read, help) = if raw.trace.is_some() {
            let limit = raw.limit.map(|limit| limit as usize);
            let part = trace::Part { from: raw.from.unwrap_or(0.0), duration, limit, speed };
            let help = "name a CSV like Azure's or JSON lines like Mooncake's, relative to this \
                        file; an access log of the gateway goes under `log`";
            ("trace", trace::read(&path, part), help)
        } else {
            let help = "name the file that `logging.output` of routing.yaml names";
            ("log", recorded::read(&path, speed), help)
        };
        match read {
            Ok(requests) => Some(Arrivals::Recorded(match bursts {
                Some(bursts) => bursts.compress(requests, speed),
                None => requests,
            })),
            Err(cause) => {
                self.error(&["arrivals".into(), key.into()], cause, help);
                None
            }
        }
    }

    fn duration(&mut self, given: Option<f64>, arrivals: &Option<Arrivals>) -> Duration {
        match (given, arrivals) {
            (Some(given), _) => seconds(given),
            (None, Some(Arrivals::Recorded(requests))) => {
                let last = requests.last().map_or(Duration::ZERO, |request| request.at);
                last + Duration::from_secs(1)
            }
            (None, Some(Arrivals::Rate { .. })) => {
                self.error(&[], "the key `duration` is missing", "add `duration: ...` in seconds");
                Duration::ZERO
            }
            (None, None) => Duration::ZERO,
        }
    }
}

/// A deployment whose engine has no outages, refuses nothing and keeps its speed.
fn site(file: &ScenarioFile, raw: &RawDeployment, latency: Distribution, weights: f64) -> Site {
    let concurrency = raw.concurrency;
    let price = raw.price.as_ref();
    let side = match raw.side {
        RawSide::Local => Side::Local,
        RawSide::Remote => Side::Remote,
    };
    let place = Place {
        weight: raw.weight / weights,
        capacity: concurrency.max,
        price: price.map(|price| Price {
            prompt: price.prompt,
            cached: price.prompt,
            completion: price.completion,
        }),
        context_length: raw.context_length,
        ..Place::new(&raw.name, &file.model, side)
    };
    Site {
        place,
        concurrency,
        parallel: raw.parallel as usize,
        latency,
        prefill: raw.prefill,
        decode: raw.decode,
        slowdown: raw.slowdown,
        jitter: raw.jitter,
        cache: raw.cache,
        failures: raw.failures,
        outages: Vec::new(),
        refusal: None,
        drift: None,
        tariff: Tariff::default(),
        budgets: 0,
    }
}
