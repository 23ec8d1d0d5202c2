//! The endpoints that deployments answer.

use std::error::Error as StdError;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::{HeaderMap, Response, header};
use tokio::time::timeout;

use crate::execution::{self, Body, Journal, scan};

use super::{Api, Error, Refusal};

/// A body that comes a byte at a time is not waited for longer than any answer would be.
const BODY_SLOW: Refusal = Refusal {
    status: 408,
    code: "timeout_total",
    message: "the body of the request did not arrive in time",
};

impl Api {
    /// Reads the body, finds the model, hands over to the execution layer.
    pub(super) async fn infer(
        &self,
        request: hyper::Request<Incoming>,
        path: &'static str,
        id: &str,
        peer: IpAddr,
    ) -> Result<Response<Body>, Error> {
        let mut journal = self.journal(id.to_owned(), path);
        let request = match self.read(request, peer, path, &mut journal).await {
            Ok(request) => request,
            Err(error) => {
                journal.finished(error.status().as_u16(), "error");
                return Err(error);
            }
        };
        match self.executor.execute(request, journal).await {
            Ok(response) => Ok(response),
            Err((exhausted, mut journal)) => {
                let error = Error::Exhausted(exhausted);
                journal.finished(error.status().as_u16(), "error");
                Err(error)
            }
        }
    }

    async fn read(
        &self,
        request: hyper::Request<Incoming>,
        peer: IpAddr,
        path: &'static str,
        journal: &mut Journal,
    ) -> Result<execution::Request, Error> {
        let snapshot = self.gateway.board.snapshot();
        let (mut head, body) = request.into_parts();
        if is_encoded(&head.headers) {
            return Err(Error::Encoding);
        }
        let config = &snapshot.generation.config;
        let peer = peer.to_canonical();
        if !config.trusted_proxies.iter().any(|network| network.contains(&peer)) {
            execution::drop_forwarding(&mut head.headers);
        }
        let body = collect(body, config.limits.body, config.timeouts.total).await?;
        let scan = scan(&body)?;
        let fleet = &snapshot.generation.fleet;
        let Some(model) = fleet.index_of(&scan.model) else {
            let known = fleet.models.iter().map(|model| model.config.id.clone()).collect();
            return Err(Error::NoSuchModel { model: scan.model, known });
        };
        journal.asked(&fleet.models[model].config.id, scan.stream, body.len());
        let path_and_query = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(execution::Request {
            path,
            path_and_query,
            headers: head.headers,
            body,
            scan,
            snapshot,
            model,
        })
    }
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    values.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

async fn collect(body: Incoming, limit: usize, time: Duration) -> Result<Bytes, Error> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Error::TooLarge(limit));
    }
    let collected = timeout(time, Limited::new(body, limit).collect()).await;
    match collected.map_err(|_| Error::Refused(BODY_SLOW))? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge(limit)),
        Err(error) => Err(refusal(&*error).map_or(Error::Body, Error::Refused)),
    }
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
