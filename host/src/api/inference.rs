//! The endpoints that deployments answer.

use std::error::Error as StdError;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Response, header};
use tokio::time::{Instant, timeout, timeout_at};

use crate::admission::{Hold, Quota};
use crate::config::Limits;
use crate::execution::{self, Body, Journal, scan};

use super::error::Crowd;
use super::{Api, Client, Error, Refusal};

/// A body that comes a byte at a time is not waited for longer than any answer would be.
const BODY_SLOW: Refusal = Refusal {
    status: 408,
    code: "timeout_total",
    message: "the body of the request did not arrive in time",
};

/// Room for so many bytes of a body that are only announced is made at once.
const AT_ONCE: usize = 128 << 10;
/// A body of no more bytes is read even if its request is refused, if it comes within this time.
const SMALL: u64 = 64 << 10;
const ON_ITS_WAY: Duration = Duration::from_millis(100);

impl Api {
    /// Reads the body, finds the model, hands over to the execution layer.
    pub(super) async fn infer(
        &self,
        request: hyper::Request<Incoming>,
        path: &'static str,
        id: &Rc<str>,
        client: Client,
    ) -> Result<Response<Body>, Error> {
        let mut journal = self.journal(Rc::clone(id), path);
        let request = match self.read(request, client, path, &mut journal).await {
            Ok(request) => request,
            Err(error) => {
                journal.finished(error.status().as_u16(), "error", error.code().0.into());
                return Err(error);
            }
        };
        match self.executor.execute(request, journal).await {
            Ok(response) => Ok(response),
            Err((exhausted, mut journal)) => {
                let error = Error::Exhausted(exhausted);
                journal.finished(error.status().as_u16(), "error", error.code().0.into());
                Err(error)
            }
        }
    }

    async fn read(
        &self,
        request: hyper::Request<Incoming>,
        client: Client,
        path: &'static str,
        journal: &mut Journal,
    ) -> Result<Box<execution::Request>, Error> {
        let snapshot = self.view.now();
        let limits = snapshot.generation.config.limits;
        if client.is_surplus {
            return Err(Error::Overloaded(Crowd::Connections));
        }
        let (mut head, body) = request.into_parts();
        let requests = &self.gateway.admission.requests;
        if requests.in_use() >= limits.requests {
            forget(body).await;
            return Err(Error::Overloaded(Crowd::Requests));
        }
        if is_encoded(&head.headers) {
            return Err(Error::Encoding);
        }
        let config = &snapshot.generation.config;
        let peer = client.address.to_canonical();
        if !config.trusted_proxies.iter().any(|network| network.contains(&peer)) {
            execution::drop_forwarding(&mut head.headers);
        }
        let bodies = &self.gateway.admission.bodies;
        let end = Instant::from_std(journal.started) + config.total.0;
        let read = timeout_at(end, collect(body, limits, bodies)).await;
        let (body, held) = read.map_err(|_| Error::Refused(BODY_SLOW))??;
        // Not before: slow uploads must not take the places of those that could be answered.
        let admitted = requests.take(1, limits.requests);
        journal.admitted = Some(admitted.ok_or(Error::Overloaded(Crowd::Requests))?);
        let scan = scan(&body)?;
        let fleet = &snapshot.generation.fleet;
        let Some(model) = fleet.index_of(&scan.model) else {
            let known = fleet.models.iter().map(|model| model.config.id.clone()).collect();
            return Err(Error::NoSuchModel { model: scan.model, known });
        };
        journal.asked(&fleet.models[model], scan.stream, body.len());
        let path_and_query = head.uri.into_parts().path_and_query;
        Ok(Box::new(execution::Request {
            path,
            path_and_query: path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")),
            client: peer,
            headers: head.headers,
            body,
            _held: held,
            scan,
            snapshot,
            model,
        }))
    }
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    values.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Reads and forgets a small body that is here or on its way, so that its connection can be used again: to
/// connect anew costs more than the refusal.
async fn forget(body: Incoming) {
    if body.size_hint().upper().is_some_and(|length| length <= SMALL) {
        // One that does not come ends its connection.
        let _ = timeout(ON_ITS_WAY, body.collect()).await;
    }
}

/// Reads a body whole. What it takes of all that may be held grows as it comes: a length that is only
/// announced takes nothing from others.
async fn collect(
    mut body: Incoming,
    limits: Limits,
    bodies: &Quota,
) -> Result<(Bytes, Hold), Error> {
    let too_large = || Error::TooLarge(limits.body);
    if body.size_hint().lower() > limits.body as u64 {
        return Err(too_large());
    }
    let full = || Error::Overloaded(Crowd::Bodies);
    let mut held = bodies.take(0, limits.bodies).ok_or_else(full)?;
    let (mut first, mut whole) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| refusal(&error).map_or(Error::Body, Error::Refused))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + whole.len() + data.len() > limits.body {
            return Err(too_large());
        }
        if !held.grow(data.len(), limits.bodies) {
            return Err(full());
        }
        // Most bodies come in one piece, which needs no copy.
        if first.is_empty() && whole.is_empty() {
            first = data;
        } else {
            if whole.is_empty() {
                // To make it bit by bit would copy what is there each time.
                let coming = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
                whole.reserve(first.len() + data.len() + coming.min(AT_ONCE));
            }
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&data);
        }
    }
    Ok((if whole.is_empty() { first } else { whole.freeze() }, held))
}

/// Why the body was refused on its way, if it was.
fn refusal(error: &(dyn StdError + 'static)) -> Option<Refusal> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(refusal) = inner.and_then(|inner| inner.downcast_ref::<Refusal>()) {
            return Some(*refusal);
        }
        cause = error.source();
    }
    None
}
