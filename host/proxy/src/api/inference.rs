//! The inference endpoints, which deployments answer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::{HeaderMap, Response, header};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use config::Sides;
use contract::Side;
use http1::{Refusal, Scan, scan};
use routing::{InferenceEndpoint, facts};

use crate::attempts::{self, Body, Early, Journal, Unanswered};
use crate::timeout::timeout_at;

use super::body::{collect, forget};
use super::error::Crowd;
use super::{Api, Client, Error, RequestBody, with_type};

const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The request header that restricts a request to one side.
const SIDE: &str = "x-gateway-side";

/// A body that arrives a byte at a time may take no longer than `total`.
const BODY_SLOW: Refusal = Refusal {
    status: 408,
    code: "timeout_total",
    message: "the body of the request did not arrive in time",
};

/// In bytes. Scanning a larger body takes more than a millisecond on a slow core.
const LARGE: usize = 128 * 1024;

impl Api {
    /// Reads the body, finds the model, and hands the request to the executor.
    pub(super) async fn infer(
        &self,
        request: hyper::Request<impl RequestBody>,
        endpoint: InferenceEndpoint,
        id: &Rc<str>,
        client: Client,
    ) -> Result<Response<Body>, Error> {
        let mut journal = self.journal(Rc::clone(id), endpoint.path());
        let request = match self.read(request, client, endpoint, &mut journal).await {
            Ok(request) => request,
            Err(error) => {
                journal.finished(error.status().as_u16(), error.outcome(), error.code().0);
                return Err(error);
            }
        };
        match request.snapshot.generation.config.keep_alive_comments {
            Some(every) if request.scan.stream => {
                Box::pin(self.early(request, journal, every)).await
            }
            _ => concluded(self.executor.execute(request, journal).await),
        }
    }

    /// Answers like any request if an answer begins within `every`, else begins a stream of
    /// comments, which the answer follows.
    async fn early(
        &self,
        request: Box<attempts::Request>,
        journal: Box<Journal>,
        every: Duration,
    ) -> Result<Response<Body>, Error> {
        let id: Rc<str> = journal.id().into();
        let end = Instant::from_std(request.terms(journal.started).end());
        let executor = Rc::clone(&self.executor);
        let mut answer =
            Box::pin(async move { concluded(executor.execute(request, journal).await) });
        if let Ok(answer) = timeout_at(Instant::now() + every, answer.as_mut()).await {
            return answer;
        }
        let (stop, gateway) = (Arc::clone(self.stop()), Arc::clone(&self.gateway));
        let answer = Box::pin(async move {
            answer.await.map_err(|error| {
                error.count(&gateway.metrics);
                error.object()
            })
        });
        let mut response =
            with_type(Body::early(Early { answer, every, end, id, stop }), "text/event-stream");
        attempts::live(response.headers_mut());
        Ok(response)
    }

    async fn read(
        &self,
        request: hyper::Request<impl RequestBody>,
        client: Client,
        endpoint: InferenceEndpoint,
        journal: &mut Journal,
    ) -> Result<Box<attempts::Request>, Error> {
        let snapshot = self.view.now();
        let limits = snapshot.generation.config.limits;
        if client.is_surplus {
            return Err(Error::Overloaded(Crowd::Connections));
        }
        let (mut head, body) = request.into_parts();
        if self.requests.in_use() >= limits.requests {
            forget(body).await;
            return Err(Error::Overloaded(Crowd::Requests));
        }
        if is_encoded(&head.headers) {
            return Err(Error::Encoding);
        }
        let config = &snapshot.generation.config;
        let peer = client.address.to_canonical();
        let trusted = config.trusted_proxies.iter().any(|network| network.contains(&peer));
        if !trusted {
            // They say where a request comes from.
            http1::headers::drop_forwarding(&mut head.headers);
        }
        let end = Instant::from_std(journal.started) + config.total.0;
        let read = timeout_at(end, collect(body, limits, &self.bodies)).await;
        let (body, held) = read.map_err(|_| Error::Refused(BODY_SLOW))??;
        let body = without_mark(body);
        // Taken only now: slow uploads must not take the places of requests that could be answered.
        let admitted = self.requests.take(1, limits.requests);
        journal.admitted = Some(admitted.ok_or(Error::Overloaded(Crowd::Requests))?);
        let scan = if body.len() > LARGE {
            // Boxed: few bodies are large.
            Box::pin(self.scan_aside(body.clone())).await?
        } else {
            scan(&body)?
        };
        let fleet = &snapshot.generation.fleet;
        let Some(model) = fleet.index_of(&scan.model) else {
            return Err(Error::no_such_model(&scan.model, fleet));
        };
        let sides = allowed_sides(&head.headers)?;
        // Which of two is paying would depend on the order in which proxies add them.
        if trusted && facts::tenants(&head.headers, &config.request) > 1 {
            return Err(Error::Tenants);
        }
        journal.asked(&fleet.models[model], scan.stream, body.len());
        let tenant = || facts::tenant_name(&head.headers, &config.request);
        if let Some(tenant) = trusted.then(tenant).flatten() {
            journal.bill(self.gateway.costs.tenants().name(tenant));
        }
        if http1::headers::passed(&head.headers, &self.gateway.hop) {
            return Err(Error::Loop(scan.model));
        }
        Ok(Box::new(attempts::Request {
            endpoint,
            client: peer,
            trusted,
            headers: head.headers,
            hop: Arc::clone(&self.gateway.hop),
            body,
            sides,
            _held: held,
            scan,
            snapshot,
            model,
        }))
    }
}

/// Drops a byte order mark, which some editors and clients write and engines refuse.
fn without_mark(mut body: Bytes) -> Bytes {
    if body.starts_with(UTF8_MARK) {
        body.advance(UTF8_MARK.len());
    }
    body
}

/// The sides that all values of the header allow.
fn allowed_sides(headers: &HeaderMap) -> Result<Sides, Error> {
    let mut sides = Sides::BOTH;
    for value in headers.get_all(SIDE) {
        let side = match value.as_bytes().trim_ascii() {
            b"local" => Side::Local,
            b"remote" => Side::Remote,
            _ => return Err(Error::Side),
        };
        sides = sides.and(Sides::only(side));
    }
    Ok(sides)
}

impl Api {
    /// Scans a large body on another thread, one at a time for each core.
    async fn scan_aside(&self, body: Bytes) -> Result<Scan, Error> {
        let _turn = self.large_scans.acquire().await.map_err(|_| Error::Internal)?;
        let scanned = spawn_blocking(move || scan(&body)).await;
        Ok(scanned.map_err(|_| Error::Internal)??)
    }
}

/// Turns the attempts' answer into the client's, and notes an error in the journal.
fn concluded(answer: attempts::Answer) -> Result<Response<Body>, Error> {
    answer.map_err(|(unanswered, mut journal)| {
        let error = match unanswered {
            Unanswered::Exhausted(exhausted) => Error::Exhausted(exhausted),
            Unanswered::Denied(denied) => Error::Denied(denied),
        };
        journal.finished(error.status().as_u16(), error.outcome(), error.code().0);
        error
    })
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    values.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}
