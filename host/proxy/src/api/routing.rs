//! `/routing`: the strategies in use, their decisions, the state of deployments, and the last
//! reload. For one deployment, its signals.

mod budgets;
#[cfg(test)]
mod documented;
mod only;
mod strategies;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hyper::{HeaderMap, header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use contract::Signal;
use fleet::{EngineSignals, FleetModel, QuotaReport, Quotas, Route, Snapshot};

use crate::gateway::Gateway;
use crate::render::{Page, write_json};

pub(super) use only::Only;

/// The whole page. Its keys are in alphabetical order.
pub(super) struct RoutingPage {
    gateway: Arc<Gateway>,
    snapshot: Arc<Snapshot>,
    /// The request has the admin token, which shows endpoints.
    admin: bool,
    only: Only,
    /// Indices of the models, in the order of their ids.
    order: Vec<usize>,
    part: Part,
    /// At least one entry of `strategies` was written.
    has_own: bool,
}

/// The part that is written next.
#[derive(Debug, Clone, Copy)]
enum Part {
    Begin,
    /// The nth model.
    Model(usize),
    /// The nth model's own strategy, if it has one.
    Strategy(usize),
}

impl RoutingPage {
    pub(super) fn new(
        gateway: &Arc<Gateway>,
        snapshot: Arc<Snapshot>,
        headers: &HeaderMap,
        only: Only,
    ) -> Self {
        let (admin, order) = (is_admin(gateway, headers), Vec::new());
        let (gateway, part) = (Arc::clone(gateway), Part::Begin);
        Self { gateway, snapshot, admin, only, order, part, has_own: false }
    }

    fn reload(&self) -> Value {
        json!({
            "loaded_at": rfc3339(self.snapshot.generation.loaded_at),
            "last_error": self.gateway.board.reload().last_error,
        })
    }
}

impl Page for RoutingPage {
    fn write(&mut self, text: &mut Vec<u8>) -> bool {
        let snapshot = &self.snapshot;
        let models = &snapshot.generation.fleet.models;
        match self.part {
            Part::Begin => {
                self.order = (0..models.len()).filter(|at| self.only.shows(&models[*at])).collect();
                self.order.sort_by(|a, b| models[*a].config.id.cmp(&models[*b].config.id));
                text.push(b'{');
                if let Some(budgets) = budgets::show(snapshot) {
                    text.extend(br#""budgets":"#);
                    write_json(text, &budgets);
                    text.push(b',');
                }
                text.extend(br#""models":{"#);
                self.part = Part::Model(0);
            }
            Part::Model(nth) => match self.order.get(nth) {
                Some(&at) => {
                    let (model, route) = (&models[at], &snapshot.routes[at]);
                    let shown = show_model(model, route, self.admin, &self.only);
                    write_entry(text, nth == 0, &model.config.id, &shown);
                    self.part = Part::Model(nth + 1);
                }
                None => {
                    text.extend(br#"},"reload":"#);
                    write_json(text, &self.reload());
                    text.extend(br#","strategies":{"#);
                    self.part = Part::Strategy(0);
                }
            },
            Part::Strategy(nth) => {
                let Some(&at) = self.order.get(nth) else {
                    text.extend(br#"},"strategy":"#);
                    write_json(text, &strategies::show(snapshot, 0));
                    text.push(b'}');
                    return false;
                };
                let model = &models[at].config;
                if model.strategy != 0 {
                    let strategy = strategies::show(snapshot, model.strategy);
                    write_entry(text, !self.has_own, &model.id, &strategy);
                    self.has_own = true;
                }
                self.part = Part::Strategy(nth + 1);
            }
        }
        true
    }
}

/// Adds an entry to an object.
fn write_entry(text: &mut Vec<u8>, is_first: bool, key: &str, value: &Value) {
    if !is_first {
        text.push(b',');
    }
    write_json(text, &key);
    text.push(b':');
    write_json(text, value);
}

fn show_model(model: &FleetModel, route: &Route, admin: bool, only: &Only) -> Value {
    let show = |(i, deployment): (usize, &Arc<fleet::Deployment>)| {
        let (config, state) = (&deployment.config, &route.states[i]);
        let pressure = deployment.slots.report();
        let mut shown = json!({
            "name": config.name,
            "side": config.side,
            "weight": route.weights[i],
            "state": state.condition.as_str(),
            "reason": state.reason,
            "since": rfc3339(state.since),
            "limit": pressure.limit.unwrap_or_else(|| deployment.slots.max()),
            "refusals": pressure.refusals,
            "stalls": pressure.stalls,
        });
        if let Some(quotas) = &deployment.quotas {
            shown["quotas"] = show_quotas(quotas);
        }
        if let Some(load) = show_load(&deployment.engine) {
            shown["engine"] = load;
        }
        if admin {
            shown["endpoint"] = config.endpoint.to_string().into();
        }
        if only.has_signals() {
            shown["signals"] = show_signals(deployment);
        }
        shown
    };
    let is_shown =
        |(_, d): &(usize, &Arc<fleet::Deployment>)| only.shows_deployment(&d.config.name);
    let deployments = model.deployments.iter().enumerate().filter(is_shown);
    let deployments: Vec<Value> = deployments.map(show).collect();
    json!({"panic": route.eligible.panic, "deployments": deployments})
}

/// The quotas of a deployment. Unknown numbers are null.
fn show_quotas(quotas: &Quotas) -> Value {
    let show = |quota: QuotaReport| {
        json!({
            "unit": quota.unit.as_str(),
            "per": quota.per,
            "source": quota.source.as_str(),
            "limit": quota.limit,
            "used": quota.used,
            "resets_s": quota.resets.map(|time| time.as_secs_f64()),
        })
    };
    quotas.report(fleet::now()).into_iter().map(show).collect()
}

/// What the engine tells of its load. None: it is not asked, or nothing was ever told. Unknown
/// numbers are null.
fn show_load(engine: &EngineSignals) -> Option<Value> {
    if !engine.is_asked() {
        return None;
    }
    let now = fleet::now();
    let known = |signal| Some(engine.value(signal, now)).filter(|value| !value.is_nan());
    let age = known(Signal::EngineAge)?;
    Some(json!({
        "running": known(Signal::EngineRunning),
        "waiting": known(Signal::EngineWaiting),
        "kv": known(Signal::EngineKv),
        "prefix_hit": known(Signal::EnginePrefixHit),
        "age_ms": age,
    }))
}

/// The signals that are known without a request, by name.
fn show_signals(deployment: &fleet::Deployment) -> Value {
    let known = deployment.known_signals(Instant::now());
    let shown: Map<String, Value> =
        known.map(|(signal, value)| (signal.name().to_owned(), value.into())).collect();
    shown.into()
}

/// Compares digests, so that the time taken reveals nothing about the token.
pub(super) fn is_admin(gateway: &Gateway, headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    match (&gateway.admin_token, given) {
        (Some(token), Some(given)) => Sha256::digest(token.expose()) == Sha256::digest(given),
        _ => false,
    }
}

fn rfc3339(time: SystemTime) -> Option<String> {
    OffsetDateTime::from(time).format(&Rfc3339).ok()
}
