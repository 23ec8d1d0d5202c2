//! Checks `routing.yaml` by itself. [`join`](super::join) adds its deployments to the models.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use contract::Side;

use super::document::steps;
use super::endpoint::BaseUrl;
use super::given::Given;
use super::limits::SharedConcurrency;
use super::models::{Check, join, typed, without_deployments};
use super::probing::GivenProbe;
use super::raw::routing::{RawEntry, RoutingFile};
use super::raw::strategy::RawStrategy;
use super::signals::GivenSignals;
use super::strategy::Own;
use super::timeouts::TimeLimits;
use super::{Config, Diagnostic, Document, Endpoint, LogOutput, PathStep, Secret, schema};

/// The parts of `routing.yaml` that are joined with the models.
pub(super) struct Entries {
    pub(super) document: Arc<Document>,
    pub(super) list: Vec<Entry>,
    /// True if every part of the file is here. False: parts with errors were dropped.
    pub(super) whole: bool,
    /// Concurrency for all deployments, and for those of a side.
    pub(super) concurrency: SharedConcurrency,
    /// Time limits for all models.
    pub(super) timeouts: TimeLimits,
    /// Models that have a strategy of their own.
    pub(super) strategies: Vec<Own>,
}

/// An entry of `local_deployment` or `remote_deployment`.
pub(super) struct Entry {
    /// Its position in the file.
    pub(super) at: Vec<PathStep>,
    pub(super) side: Side,
    /// None: it is invalid or unknown, which is reported already.
    pub(super) base: Option<BaseUrl>,
    /// What stands before the paths of the API, if it is given.
    pub(super) path: Option<String>,
    pub(super) models: Vec<String>,
    pub(super) name: Option<String>,
    pub(super) api_key: Option<Secret>,
    pub(super) health: Option<GivenProbe>,
    pub(super) signals: Option<GivenSignals>,
    pub(super) concurrency: Given,
    pub(super) timeouts: Given,
}

impl Entry {
    /// The endpoint that routes are joined by.
    pub(super) fn join_key(&self) -> Option<&Endpoint> {
        self.base.as_ref().map(|base| &base.join_key)
    }
}

/// Checks the file. Returns its lists, and a configuration without models.
pub(super) fn check(
    document: Arc<Document>,
    errors: &mut Vec<Diagnostic>,
) -> Option<(Entries, Config)> {
    let document = without_deployments(document, errors);
    let (raw, whole): (RoutingFile, _) = typed(&document, &schema::routing(), errors)?;
    let mut check = Check { document: &document, whole, errors };
    let trusted_proxies = check.networks(&raw.trusted_proxies);
    let probing = raw.probing();
    let ejection = check.ejection(raw.ejection);
    let limits = check.limits(raw.limits);
    let request = check.request(raw.request);
    let headers = check.header_rules(raw.headers);
    let (cors, hosts) = (check.cors(raw.cors), check.hosts(raw.hosts));
    let time_zone = check.time_zone(raw.time_zone);
    let budgets = check.budgets(raw.budgets, &time_zone);
    let mut list = check.list(Side::Local, raw.local_deployment);
    list.extend(check.list(Side::Remote, raw.remote_deployment));
    let first = RawStrategy {
        routing_strategy: raw.routing_strategy,
        routing_parameter: raw.routing_parameter,
        sha256: raw.sha256,
        candidate: raw.candidate,
    };
    let mut strategies = vec![check.strategy(&[], first)];
    let mut own = Vec::new();
    for (model, raw) in raw.strategies {
        let at = steps!["strategies", model.as_str()];
        own.push(Own { model, strategy: strategies.len() });
        strategies.push(check.strategy(&at, raw));
    }
    let config = Config {
        models: Vec::new(),
        strategies,
        timeouts: raw.timeouts.attempt(),
        total: raw.timeouts.total(),
        client_timeouts: raw.timeouts.client(),
        trusted_proxies,
        fallback: raw.fallback,
        hedging: raw.hedge,
        probing,
        ejection,
        slow_start: raw.slow_start,
        scraping: raw.signals,
        sandbox: raw.sandbox,
        request,
        headers,
        cors,
        hosts,
        keep_alive_comments: raw.keep_alive_comments,
        time_zone,
        budgets,
        ledger: raw.ledger,
        limits,
        shutdown: raw.shutdown,
        access_log: log_output(raw.logging.output),
        routing_file: Some(Arc::clone(&document)),
        warnings: Vec::new(),
    };
    let (concurrency, timeouts) = (raw.concurrency, raw.timeouts);
    Some((Entries { document, list, whole, concurrency, timeouts, strategies: own }, config))
}

/// The output of the access log. None if it is absent or empty.
fn log_output(output: Option<String>) -> Option<LogOutput> {
    let output = output.filter(|output| !output.is_empty())?;
    Some(match output.as_str() {
        "stdout" | "-" => LogOutput::Stdout,
        file => LogOutput::File(file.into()),
    })
}

impl Check<'_> {
    fn networks(&mut self, texts: &[String]) -> Vec<IpNet> {
        let mut network = |(index, text): (usize, &String)| {
            // A single address is a network, too.
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            if network.is_err() {
                let at = steps!["trusted_proxies", index];
                let help = "write an address or a network: 10.0.0.0/8";
                self.errors.push(self.document.error(&at, "this is not a network", help));
            }
            network.ok()
        };
        texts.iter().enumerate().filter_map(&mut network).collect()
    }

    fn list(&mut self, side: Side, raw: Vec<RawEntry>) -> Vec<Entry> {
        let key = match side {
            Side::Local => "local_deployment",
            Side::Remote => "remote_deployment",
        };
        let mut entry = |(index, raw): (usize, RawEntry)| {
            let at = steps![key, index];
            Entry {
                base: self.endpoint(&join(&at, "endpoint"), Some(&raw.endpoint)),
                path: self.path(&at, raw.path),
                health: self.health(&at, raw.health.as_ref()),
                signals: self.signals(&at, raw.signals),
                at: at.to_vec(),
                side,
                models: raw.models,
                name: raw.name,
                api_key: self.key(&at, raw.api_key),
                concurrency: raw.concurrency,
                timeouts: raw.timeouts,
            }
        };
        raw.into_iter().enumerate().map(&mut entry).collect()
    }
}
