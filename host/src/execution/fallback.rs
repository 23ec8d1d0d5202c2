//! The attempts of one request, in the order of the draw, until one answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;

use crate::fleet::{Deployment, InFlight};

use super::attempt::{Begun, attempt};
use super::failure::{Cause, Exhausted, Failure, Phase};
use super::relay::{Body, Relay};
use super::request::{Journal, Request};
use super::upstream::Upstream;
use super::{headers, refusal};

/// What a request ends with: the answer of a deployment, or why there is none.
pub type Answer = Result<Response<Body>, (Exhausted, Journal)>;

/// One core's way to the deployments.
#[derive(Debug)]
pub struct Executor {
    upstream: Upstream,
}

impl Executor {
    /// An executor without connections; must be used on one thread, inside a `LocalSet`.
    #[must_use]
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Self { upstream: Upstream::new(tls) }
    }

    /// Draws, and attempts until a deployment answers. The journal goes with the answer's body.
    ///
    /// # Errors
    /// If every attempt failed.
    pub async fn execute(&self, request: Request, mut journal: Journal) -> Answer {
        let generation = Arc::clone(&request.snapshot.generation);
        let route = &request.snapshot.routes[request.model];
        let model = &generation.fleet.models[request.model];
        let usable = |i: usize| route.panic || route.states[i].eligible;
        let config = &generation.config;
        let order = super::draw(&route.weights, usable, config.fallback, &mut rand::rng());
        let end = Instant::from_std(journal.started) + config.timeouts.total;
        let mut failures = Vec::new();
        for i in order {
            let deployment = &model.deployments[i];
            let (started, in_flight) = (Instant::now(), deployment.load.enter());
            let outcome =
                attempt(&self.upstream, deployment, &request, journal.id(), &config.timeouts, end);
            match outcome.await {
                Ok(begun) => {
                    let took = started.elapsed();
                    journal.answering(&deployment.config, begun.head.status, took);
                    deployment.load.record_first_byte(took);
                    if begun.head.status.is_client_error() {
                        return Ok(refuse(begun, deployment, journal, end).await);
                    }
                    return Ok(respond(begun, deployment, in_flight, &request, journal, end));
                }
                Err(failure) => {
                    note(&failure, deployment, &mut journal, started.elapsed());
                    let over = failure.cause == Cause::TimedOut(Phase::Total)
                        || failure.ambiguous && !request.is_repeatable();
                    failures.push((deployment.config.name.clone(), failure));
                    if over {
                        break;
                    }
                }
            }
        }
        Err((Exhausted { failures }, journal))
    }
}

/// Charges a failed attempt to its deployment, and writes it down.
fn note(failure: &Failure, deployment: &Deployment, journal: &mut Journal, took: Duration) {
    let (name, label) = (&deployment.config.name, failure.cause.label());
    journal.attempted(&deployment.config, &label, took);
    deployment.load.record_outcome(true);
    if matches!(failure.cause, Cause::Credential(_)) {
        tracing::error!(
            model = %deployment.model, deployment = %name, cause = label,
            "the deployment does not accept its api_key"
        );
    }
}

/// Passes on what the client did wrong, in the upstream's words.
async fn refuse(
    begun: Begun,
    deployment: &Deployment,
    mut journal: Journal,
    end: Instant,
) -> Response<Body> {
    let (status, mut headers) = (begun.head.status, headers::down(&begun.head.headers));
    let text = match refusal::read(begun, end).await {
        Some(text) => refusal::redact(text, &deployment.config),
        None => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Bytes::from_static(UNREADABLE.as_bytes())
        }
    };
    headers.remove(CONTENT_LENGTH);
    deployment.load.record_outcome(false);
    journal.finished(status.as_u16(), "ok");
    journal.sent(text.len());
    let mut response = Response::new(Body::own(text));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Told instead of an upstream's error that cannot be read whole.
const UNREADABLE: &str = r#"{"error":{"message":"the deployment refused the request","type":"invalid_request_error","param":null,"code":null}}"#;

fn respond(
    begun: Begun,
    deployment: &Arc<Deployment>,
    in_flight: InFlight,
    request: &Request,
    journal: Journal,
    end: Instant,
) -> Response<Body> {
    let mut response = Response::new(());
    *response.status_mut() = begun.head.status;
    *response.headers_mut() = headers::down(&begun.head.headers);
    let relay = Relay::new(begun, deployment, in_flight, request, journal, end);
    if relay.changes_length() {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response.map(|()| Body::relay(relay))
}
