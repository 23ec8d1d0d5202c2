//! The attempts of one request, in the order of the draw, until one answers.

use std::sync::Arc;

use hyper::Response;
use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;

use crate::fleet::{Deployment, InFlight};

use super::attempt::{Begun, attempt};
use super::failure::{Cause, Exhausted, Phase};
use super::headers;
use super::relay::{Body, Relay};
use super::request::{Journal, Request};
use super::upstream::Upstream;

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
            let (name, side) = (&deployment.config.name, deployment.config.side.as_str());
            let (started, in_flight) = (Instant::now(), deployment.load.enter());
            let id = journal.id().to_owned();
            let outcome =
                attempt(&self.upstream, deployment, &request, &id, &config.timeouts, end).await;
            let took = started.elapsed();
            match outcome {
                Ok(begun) => {
                    journal.attempted(name, side, "ok", took);
                    journal.answering(name, side, begun.head.status.as_u16(), took);
                    deployment.load.record_first_byte(took);
                    return Ok(respond(begun, deployment, in_flight, &request, journal, end));
                }
                Err(failure) => {
                    let label = failure.cause.label();
                    journal.attempted(name, side, &label, took);
                    deployment.load.record_outcome(true);
                    if matches!(failure.cause, Cause::Credential(_)) {
                        tracing::error!(
                            model = %deployment.model, deployment = %name, cause = label,
                            "the deployment does not accept its api_key"
                        );
                    }
                    let over = failure.cause == Cause::TimedOut(Phase::Total);
                    failures.push((name.clone(), failure));
                    if over {
                        break;
                    }
                }
            }
        }
        Err((Exhausted { failures }, journal))
    }
}

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
        response.headers_mut().remove(hyper::header::CONTENT_LENGTH);
    }
    response.map(|()| Body::relay(relay))
}
