//! The attempts of one request, in the order of the draw, until one answers.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;

use crate::fleet::{Deployment, Permit};

use super::attempt::{Begun, attempt};
use super::failure::{Cause, Exhausted, Phase};
use super::relay::{Body, Relay};
use super::request::{Journal, Request};
use super::turns::Turns;
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
        let (config, fleet) = (&generation.config, &generation.fleet);
        let mut turns =
            Turns::draw(fleet, model, route, config.fallback, Instant::now().into_std());
        let end = Instant::from_std(journal.started) + config.timeouts.total;
        let mut failures = Vec::new();
        while let Some(mut permit) = turns.next(Instant::now().into_std()) {
            let (started, deployment) = (Instant::now(), Arc::clone(permit.deployment()));
            let outcome =
                attempt(&self.upstream, &deployment, &request, journal.id(), &config.timeouts, end);
            match outcome.await {
                Ok(begun) => {
                    journal.answering(&deployment.config, begun.head.status, started.elapsed());
                    if begun.head.status.is_client_error() {
                        // Says nothing of the deployment: the permit is dropped.
                        return Ok(refuse(begun, &deployment, journal, end).await);
                    }
                    permit.begun(Instant::now().into_std());
                    return Ok(respond(begun, permit, &request, journal, end));
                }
                Err(failure) => {
                    let label = failure.cause.label();
                    journal.attempted(&deployment.config, &label, started.elapsed());
                    permit.settle(failure.outcome(), Instant::now().into_std());
                    let over = failure.cause == Cause::TimedOut(Phase::Total);
                    failures.push((deployment.config.name.clone(), failure));
                    if over {
                        break;
                    }
                }
            }
        }
        Err((turns.exhausted(failures, Instant::now().into_std()), journal))
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
    permit: Permit,
    request: &Request,
    journal: Journal,
    end: Instant,
) -> Response<Body> {
    let mut response = Response::new(());
    *response.status_mut() = begun.head.status;
    *response.headers_mut() = headers::down(&begun.head.headers);
    let relay = Relay::new(begun, permit, request, journal, end);
    if relay.changes_length() {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response.map(|()| Body::relay(relay))
}
