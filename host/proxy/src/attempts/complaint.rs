//! The log's lines about failures of deployments: one a minute for each kind.

use std::time::Instant;

use fleet::Deployment;
use routing::{Charged, Failure};

/// Tells of a failed attempt, unless its kind was told of within the last minute. The host is told,
/// but neither the path nor the key.
pub(super) fn tell(deployment: &Deployment, failure: &Failure, request_id: &str, now: Instant) {
    let facts = failure.cause.facts();
    // Faults of clients and of the gateway, and requests that do not fit, say nothing of it.
    let is_its_own = match facts.charged {
        Charged::Deployment(_) => true,
        Charged::Nobody => facts.elsewhere && facts.again,
        Charged::Client | Charged::Gateway => false,
    };
    if !is_its_own {
        return;
    }
    let kind = failure.cause.label();
    let Some(times) = deployment.reports.note(kind.clone(), now) else { return };
    // The engine's message may repeat a prompt, which is not for the log. Its code does not.
    let code = failure.said.as_ref().and_then(|said| said.code.as_deref());
    let detail = failure.detail.as_deref().or(code).unwrap_or_default();
    tracing::warn!(
        request_id,
        model = %deployment.model,
        deployment = %deployment.config.name,
        host = %deployment.config.endpoint.origin.host,
        kind = %kind,
        cause = %failure.cause,
        detail,
        times,
        "an attempt failed"
    );
}
