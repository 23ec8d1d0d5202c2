//! `/routing`: which strategies decide, what it decided, who is healthy, how the last reload went.

mod strategies;

use std::time::SystemTime;

use hyper::{HeaderMap, Response, header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use fleet::{FleetModel, Route, Snapshot};

use crate::attempts::Body;
use crate::gateway::Gateway;

/// Endpoints are shown only to whoever brings the admin token.
pub(super) fn show(gateway: &Gateway, snapshot: &Snapshot, headers: &HeaderMap) -> Response<Body> {
    let generation = &snapshot.generation;
    let admin = is_admin(gateway, headers);
    let pairs = generation.fleet.models.iter().zip(&snapshot.routes);
    let models: Map<String, Value> = pairs
        .map(|(model, route)| (model.config.id.clone(), show_model(model, route, admin)))
        .collect();
    super::json(&json!({
        "strategy": strategies::show(snapshot, 0),
        "strategies": strategies::of_models(snapshot),
        "models": models,
        "reload": {
            "loaded_at": rfc3339(generation.loaded_at),
            "last_error": gateway.board.reload().last_error,
        },
    }))
}

fn show_model(model: &FleetModel, route: &Route, admin: bool) -> Value {
    let show = |(i, deployment): (usize, &std::sync::Arc<fleet::Deployment>)| {
        let (config, state) = (&deployment.config, &route.states[i]);
        let mut shown = json!({
            "name": config.name,
            "side": config.side,
            "weight": route.weights[i],
            "state": state.condition.as_str(),
            "reason": state.reason,
            "since": rfc3339(state.since),
        });
        if admin {
            shown["endpoint"] = config.endpoint.to_string().into();
        }
        shown
    };
    let deployments: Vec<Value> = model.deployments.iter().enumerate().map(show).collect();
    json!({"panic": route.eligible.panic, "deployments": deployments})
}

/// Compares digests, so that the time taken says nothing of the token.
fn is_admin(gateway: &Gateway, headers: &HeaderMap) -> bool {
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
