//! The HTTP API: one file per endpoint, and one place that turns errors into answers.

mod body;
mod costs;
mod error;
mod health;
mod inference;
mod metrics;
mod models;
mod routing;
mod visitor;

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::sync::Semaphore;
use tokio_rustls::rustls::ClientConfig;

use ::routing::InferenceEndpoint;
use config::ClientTimeouts;
use fleet::CoreView;
use fleet::admission::{CoreQuota, Hold};
use http1::Refusal;

use crate::attempts::{Body, Desk, Executor, Journal, RequestOutcome};
use crate::gateway::Gateway;
use crate::render::Page;
use crate::stop::{Stage, Stop};
use crate::telemetry::catch;

pub(crate) use body::RequestBody;
use error::Error;
use visitor::Visitor;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The client at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    /// Peer address of the connection.
    pub(crate) address: IpAddr,
    /// The connection is beyond the limit, and is answered with an error.
    pub(crate) is_surplus: bool,
}

/// One core's API.
#[derive(Debug)]
pub(crate) struct Api {
    gateway: Arc<Gateway>,
    view: CoreView,
    desk: Rc<Desk>,
    executor: Rc<Executor>,
    requests: CoreQuota,
    bodies: CoreQuota,
    /// One permit: large bodies are scanned one after the other.
    large_scans: Semaphore,
    /// Most connections that the limit of open files leaves room for.
    most: usize,
    /// Only this machine reaches the listener.
    is_loopback: bool,
}

impl Api {
    /// Must be called inside a `LocalRuntime`.
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        tls: Arc<ClientConfig>,
        most: usize,
        is_loopback: bool,
    ) -> Self {
        let executor = Rc::new(Executor::new(tls));
        let desk = Rc::new(Desk {
            metrics: Arc::clone(&gateway.metrics),
            logging: Arc::clone(&gateway.logging),
            stop: Arc::clone(&gateway.stop),
        });
        let view = CoreView::of(Arc::clone(&gateway.board));
        let (requests, bodies) =
            (gateway.admission.requests.on_core(), gateway.admission.bodies.on_core());
        let large_scans = Semaphore::new(1);
        Self { gateway, view, desk, executor, requests, bodies, large_scans, most, is_loopback }
    }

    /// Takes a place for a new connection. True: the connection is one of the few
    /// beyond the limit, whose requests are refused. None: there is no room for more of those.
    pub(crate) fn admit(&self) -> Option<(Hold, bool)> {
        let connections = &self.gateway.admission.connections;
        let limit = self.view.now().generation.config.limits.connections;
        let limit = limit.min(self.most);
        if let Some(place) = connections.take(1, limit) {
            return Some((place, false));
        }
        let place = connections.take(1, limit + limit / 8 + 16).map(|place| (place, true));
        if place.is_none() {
            self.gateway.metrics.shed("connections");
        }
        place
    }

    /// Time limits for a client that connects now.
    pub(crate) fn client_timeouts(&self) -> ClientTimeouts {
        self.view.now().generation.config.client_timeouts
    }

    /// The stage of the shutdown.
    pub(crate) fn stop(&self) -> &Arc<Stop> {
        &self.gateway.stop
    }

    /// Answers one request. This outer handler turns errors, panics and the end of the process into
    /// answers, and adds the request id. It must be polled when the stage of the shutdown changes.
    pub(crate) async fn answer(
        &self,
        request: Request<impl RequestBody>,
        client: Client,
    ) -> Response<Body> {
        let id = request_id(request.headers());
        let (visitor, preflight) = {
            let snapshot = self.view.now();
            let config = &snapshot.generation.config;
            let visitor = Visitor::of(&request, config, self.is_loopback);
            let preflight = visitor.preflight(&request, &config.cors);
            (visitor, preflight)
        };
        let mut response = match (&visitor, preflight) {
            (_, Some(answer)) => self.finish(Ok(answer), &id),
            (Visitor::Refused { refusal, .. }, None) => {
                self.turn_away(*refusal, request.uri().path(), &id)
            }
            _ => self.answer_visitor(request, &id, client).await,
        };
        visitor.mark(response.headers_mut());
        response
    }

    /// Refuses a request because of its sender. A request to an inference endpoint gets a line in
    /// the access log.
    fn turn_away(&self, refusal: Refusal, path: &str, id: &Rc<str>) -> Response<Body> {
        if let Some(endpoint) = InferenceEndpoint::at(trimmed(path)) {
            let mut journal = self.journal(Rc::clone(id), endpoint.path());
            journal.finished(refusal.status, RequestOutcome::Refused, refusal.code.into());
        }
        self.finish(Err(Error::Refused(refusal)), id)
    }

    async fn answer_visitor(
        &self,
        request: Request<impl RequestBody>,
        id: &Rc<str>,
        client: Client,
    ) -> Response<Body> {
        let mut dispatched = pin!(self.dispatch(request, id, client));
        let answer = poll_fn(|cx| match catch(|| dispatched.as_mut().poll(cx)) {
            Ok(Poll::Pending) if self.stop().stage() == Stage::Over => {
                Poll::Ready(Err(Error::Stopping))
            }
            Ok(answer) => answer,
            Err(panic) => {
                panic.log_of_request(id);
                Poll::Ready(Err(Error::Internal))
            }
        });
        self.finish(answer.await, id)
    }

    /// Answers input that is no valid request.
    pub(crate) fn refuse(&self, refusal: Refusal) -> Response<Body> {
        let id = random_id();
        let mut journal = self.journal(Rc::clone(&id), "");
        journal.finished(refusal.status, RequestOutcome::Refused, refusal.code.into());
        self.finish(Err(Error::Refused(refusal)), &id)
    }

    fn journal(&self, id: Rc<str>, path: &'static str) -> Box<Journal> {
        Journal::open(id, path, Rc::clone(&self.desk))
    }

    fn finish(&self, answer: Result<Response<Body>, Error>, id: &str) -> Response<Body> {
        if let Err(error) = &answer {
            error.count(&self.gateway.metrics);
        }
        let mut response = answer.unwrap_or_else(Error::into_response);
        if let Ok(id) = HeaderValue::from_str(id) {
            response.headers_mut().insert(X_REQUEST_ID, id);
        }
        if self.stop().stage() > Stage::Serving {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn dispatch(
        &self,
        request: Request<impl RequestBody>,
        id: &Rc<str>,
        client: Client,
    ) -> Result<Response<Body>, Error> {
        let path = trimmed(request.uri().path());
        if let Some(endpoint) = InferenceEndpoint::at(path) {
            allow(&request, &[Method::POST])?;
            return self.infer(request, endpoint, id, client).await;
        }
        let read = [Method::GET, Method::HEAD];
        let snapshot = self.view.now();
        match path {
            "/v1/models" => {
                allow(&request, &read)?;
                let page = models::ModelsPage::new(Arc::clone(&snapshot));
                self.page(Box::new(page), "application/json").await
            }
            "/routing" => {
                allow(&request, &read)?;
                let snapshot = Arc::clone(&snapshot);
                let only = routing::Only::of(request.uri().query());
                let headers = request.headers();
                let page = routing::RoutingPage::new(&self.gateway, snapshot, headers, only);
                self.page(Box::new(page), "application/json").await
            }
            "/routing/costs" => {
                allow(&request, &read)?;
                let page = costs::CostsPage::new(&self.gateway, &request)?;
                self.page(Box::new(page), "application/json").await
            }
            "/health" => allow(&request, &read).map(|()| health::live()),
            "/health/ready" => allow(&request, &read).map(|()| health::ready(&self.gateway)),
            "/metrics" => {
                allow(&request, &read)?;
                let page = metrics::MetricsPage::new(&self.gateway, Arc::clone(&snapshot));
                self.page(Box::new(page), "text/plain; version=0.0.4").await
            }
            _ => match path.strip_prefix("/v1/models/") {
                Some(model) => {
                    allow(&request, &read)?;
                    models::show(&snapshot, model)
                }
                None => Err(Error::NoSuchPath(path.to_owned())),
            },
        }
    }
}

impl Api {
    /// Answers with a page whose size grows with the fleet.
    async fn page(&self, page: Box<dyn Page>, kind: &'static str) -> Result<Response<Body>, Error> {
        let rendered = self.gateway.renderer.begin(page).await;
        let rendered = rendered.map_err(|error| {
            tracing::error!(%error, "a page was not rendered");
            Error::Internal
        })?;
        Ok(with_type(Body::page(rendered), kind))
    }
}

/// A path without a final slash, which some clients add.
fn trimmed(path: &str) -> &str {
    path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path)
}

fn allow<B>(request: &Request<B>, methods: &[Method]) -> Result<(), Error> {
    if methods.contains(request.method()) {
        return Ok(());
    }
    let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
    Err(Error::Method { allowed: allowed.join(", ") })
}

/// The client's own id if it is printable ASCII of at most 128 bytes, else a random one.
fn request_id(headers: &hyper::HeaderMap) -> Rc<str> {
    let given = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
    match given
        .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()))
    {
        Some(id) => id.into(),
        None => random_id(),
    }
}

fn random_id() -> Rc<str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut id = *b"req_00000000000000000000000000000000";
    for (pair, byte) in id[4..].chunks_exact_mut(2).zip(rand::random::<u128>().to_be_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    // All of it is ASCII.
    str::from_utf8(&id).unwrap_or_default().into()
}

fn json(value: &serde_json::Value) -> Response<Body> {
    with_type(Body::own(value.to_string()), "application/json")
}

fn with_type(body: Body, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
