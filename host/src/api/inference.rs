//! The endpoints that deployments answer.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::{Response, header};

use crate::execution::{self, Body, Journal, scan};

use super::{Api, Error};

impl Api {
    /// Reads the body, finds the model, hands over to the execution layer.
    pub(super) async fn infer(
        &self,
        request: hyper::Request<Incoming>,
        path: &'static str,
        id: &str,
    ) -> Result<Response<Body>, Error> {
        let log = self.gateway.access_log();
        let metrics = Arc::clone(&self.gateway.metrics);
        let mut journal = Journal::open(id.to_owned(), path, metrics, log);
        let request = match self.read(request, path, &mut journal).await {
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
        path: &'static str,
        journal: &mut Journal,
    ) -> Result<execution::Request, Error> {
        if self.gateway.is_draining() {
            return Err(Error::Stopping);
        }
        let snapshot = self.gateway.board.snapshot();
        let (head, body) = request.into_parts();
        let encoding = head.headers.get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|value| value.as_bytes() != b"identity") {
            return Err(Error::Encoding);
        }
        let body = collect(body, snapshot.generation.config.limits.body).await?;
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

async fn collect(body: Incoming, limit: usize) -> Result<Bytes, Error> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Error::TooLarge(limit));
    }
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge(limit)),
        Err(_) => Err(Error::Body),
    }
}
