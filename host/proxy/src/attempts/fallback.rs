//! Attempts a request at one deployment after another, in the order of the draw, until one answers.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
};
use hyper::{HeaderMap, Response};
use rand::Rng;
use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;

use answers::commit::Shape;
use config::HeaderRules;
use contract::Ending;
use fleet::Permit;
use http1::headers::Down;
use routing::{Cause, Exhausted, Failure, Phase, RoutedRequest, Turns};

use crate::timeout::Span;
use crate::upstream::Upstream;

use super::attempt::{Begun, Committed, attempt};
use super::body::Body;
use super::choice::{Chosen, Denied, choose};
use super::complaint;
use super::dropped::on_dropped;
use super::hedge::Way;
use super::journal::Journal;
use super::limits;
use super::means::Means;
use super::refusal;
use super::relay::Relay;
use super::request::Request;
use super::verdict::Rejection;

/// The end of a request: the answer of a deployment, or why there is none.
pub(crate) type Answer = Result<Response<Body>, (Unanswered, Box<Journal>)>;

/// Why no deployment answered.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Every attempt failed, or none could be made.
    Exhausted(Exhausted),
    /// A strategy refused the request.
    Denied(Denied),
}

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Executes requests on one core. Owns the core's upstream connections.
#[derive(Debug)]
pub(crate) struct Executor {
    upstream: Upstream,
}

impl Executor {
    /// Creates an executor without connections. Must be called inside a `LocalRuntime`, because it
    /// spawns a local task that closes idle connections.
    #[must_use]
    pub(crate) fn new(tls: Arc<ClientConfig>) -> Self {
        let upstream = Upstream::new(tls);
        tokio::task::spawn_local(upstream.sweep());
        Self { upstream }
    }

    /// Draws an order of deployments, and attempts until one answers. The journal moves into the
    /// answer's body.
    ///
    /// # Errors
    /// If every attempt failed, or a strategy refused the request.
    pub(crate) async fn execute(&self, request: Box<Request>, mut journal: Box<Journal>) -> Answer {
        let generation = &request.snapshot.generation;
        let route = &request.snapshot.routes[request.model];
        let (fleet, model) = (&generation.fleet, &generation.fleet.models[request.model]);
        let Means { purse, scope, short, holds } = match Means::of(&request) {
            Ok(means) => means,
            Err(exhausted) => return Err((Unanswered::Exhausted(exhausted), journal)),
        };
        let terms = request.terms(journal.started);
        let (body, signals) = (&request.body, None);
        let asked = RoutedRequest { fleet, model, route, body, terms, scope, signals };
        let (weights, place, signals) = match choose(&request, asked, &mut journal).await {
            Chosen::Route { weights, place, signals } => (weights, place, signals),
            Chosen::Denied(denied) => return Err((Unanswered::Denied(denied), journal)),
        };
        journal.asked_for(&request, signals.as_deref());
        let asked = RoutedRequest { signals: signals.as_ref(), ..asked };
        let end = Instant::from_std(terms.end());
        let now = Instant::now().into_std();
        let mut turns = Turns::begin(asked, weights, rand::rng(), now)
            .with_place(place)
            .with_purse(purse.as_ref(), short, holds);
        while let Some(permit) = turns.next(&mut *journal).await {
            let probability = match journal.attempt_queue {
                Some(_) => turns.probability(),
                None => 1.0,
            };
            let span = Span { now: Instant::from_std(permit.issued()), end };
            let (mut permit, begun) = match turns.hedges_at() {
                None => {
                    let deployment = permit.deployment();
                    let note = journal.trying(&permit, probability, turns.reserved());
                    let begun = attempt(&self.upstream, deployment, &request, note, span).await;
                    (permit, begun)
                }
                Some(due) => {
                    let way = Way { upstream: &self.upstream, request: &request, end };
                    // Boxed: few requests have a second attempt, and the others stay small.
                    let due = Instant::from_std(due);
                    let first = (permit, probability);
                    Box::pin(way.race(first, due, &mut turns, &mut journal)).await
                }
            };
            match begun {
                // A wrong request says nothing about the deployment: the permit is dropped
                // unsettled.
                Ok(Begun::Rejection(rejection)) => {
                    return Ok(reject(*rejection, &permit, &request, journal).await);
                }
                Ok(Begun::Committed(committed)) => {
                    let now = Instant::now();
                    turns.committed(&mut permit, now.into_std());
                    if permit.hears_quota() {
                        permit.told(&limits::told(&committed.head.headers), now.into_std());
                    }
                    return Ok(respond(committed, permit, &request, journal, Span { now, end }));
                }
                Err(failure) => fail(failure, permit, &mut turns, &mut journal).await,
            }
        }
        let exhausted = turns.exhausted(Instant::now().into_std());
        Err((Unanswered::Exhausted(exhausted), journal))
    }
}

/// Ends an attempt that failed before its commit point.
pub(super) async fn fail<R: Rng>(
    mut failure: Failure,
    permit: Permit,
    turns: &mut Turns<'_, R>,
    journal: &mut Journal,
) {
    // Redacted here: the client may be told these words if every attempt fails.
    refusal::redact(&mut failure, &permit.deployment().redactor).await;
    let (cause, ending) = (failure.cause, failure.ending());
    let now = Instant::now().into_std();
    complaint::tell(permit.deployment(), &failure, journal.id(), now);
    if cause == Cause::TimedOut(Phase::FirstByte) {
        let stalled = turns.failed(permit, failure, now);
        journal.failed(cause, if stalled { Ending::Stalled } else { ending });
    } else {
        journal.failed(cause, ending);
        turns.failed(permit, failure, now);
    }
}

/// The headers of an answer that go to the client.
fn down(headers: HeaderMap, request: &Request) -> HeaderMap {
    let rules = &request.snapshot.generation.config.headers;
    let HeaderRules { not_to_clients: dropped, rate_limits, .. } = rules;
    Down { dropped, asked: &request.headers, rate_limits: *rate_limits, on_dropped }.pass(headers)
}

/// Tells the client in the upstream's words that its request is wrong.
async fn reject(
    Rejection { head, text }: Rejection,
    permit: &Permit,
    request: &Request,
    mut journal: Box<Journal>,
) -> Response<Body> {
    let redactor = &permit.deployment().redactor;
    let status = head.status;
    journal.rejected(status, Instant::now().into_std());
    let mut headers = down(head.headers, request);
    refusal::redact_headers(&mut headers, redactor);
    let text = match text {
        Some(text) => refusal::mask(text, redactor).await,
        None => None,
    };
    let text = match text {
        Some(text) => text,
        None => {
            headers.remove(CONTENT_ENCODING);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Bytes::from_static(UNREADABLE.as_bytes())
        }
    };
    // Redaction may have changed the length.
    headers.remove(CONTENT_LENGTH);
    journal.sent(text.len());
    let mut response = Response::new(Body::own(text));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Replaces an error body of an upstream that cannot be read whole.
const UNREADABLE: &str = r#"{"error":{"message":"the deployment refused the request","type":"invalid_request_error","param":null,"code":null}}"#;

/// Marks a stream as one that no cache keeps and no proxy holds back: nginx would send it all at
/// its end.
pub(crate) fn live(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

/// True if [`live`] has marked the answer.
pub(super) fn is_live(headers: &HeaderMap) -> bool {
    headers.contains_key(X_ACCEL_BUFFERING)
}

fn respond(
    mut committed: Box<Committed>,
    permit: Permit,
    request: &Request,
    mut journal: Box<Journal>,
    span: Span,
) -> Response<Body> {
    let redactor = &permit.deployment().redactor;
    journal.answering(committed.head.status, span.now.into_std());
    let mut response = Response::new(());
    *response.status_mut() = committed.head.status;
    let mut down = down(std::mem::take(&mut committed.head.headers), request);
    if refusal::tells(&down, redactor) {
        refusal::redact_headers(&mut down, redactor);
    }
    *response.headers_mut() = down;
    if committed.commit.shape() == Shape::Stream {
        live(response.headers_mut());
    }
    let relay = Relay::new(committed, permit, &request.scan.model, journal, span);
    // Renaming changes the length, and an error event adds to it.
    if !relay.keeps_length() {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response.map(|()| Body::relay(relay))
}
