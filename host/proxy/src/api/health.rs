//! `/health` says that the process lives, `/health/ready` that it takes new requests.

use hyper::{Response, StatusCode};
use serde_json::json;

use crate::attempts::Body;
use crate::gateway::Gateway;
use crate::stop::Stage;

pub(super) fn live() -> Response<Body> {
    super::json(&json!({"status": "ok"}))
}

pub(super) fn ready(gateway: &Gateway) -> Response<Body> {
    if gateway.stop.stage() == Stage::Serving {
        return super::json(&json!({"status": "ready"}));
    }
    let mut response = super::json(&json!({"status": "draining"}));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}
