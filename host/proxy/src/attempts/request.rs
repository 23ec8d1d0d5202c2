//! A request that has found its model.

use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::http::uri::PathAndQuery;

use fleet::Held;
use fleet::admission::CoreHold;
use http1::Scan;
use routing::{InferenceEndpoint, Terms};

/// A request ready to be attempted.
#[derive(Debug)]
pub(crate) struct Request {
    /// What it asks for.
    pub endpoint: InferenceEndpoint,
    /// Path and query as the client sent them, `/v1/...`.
    pub path_and_query: PathAndQuery,
    /// Where it comes from.
    pub client: IpAddr,
    /// The client's headers.
    pub headers: HeaderMap,
    /// The body, read once.
    pub body: Bytes,
    /// What the body takes of all that may be held.
    pub(crate) _held: CoreHold,
    /// What routing needs of it.
    pub scan: Scan,
    /// The weights it is routed by, from start to end.
    pub snapshot: Held,
    /// Index of its model.
    pub model: usize,
}

impl Request {
    /// What is fixed about it, which arrived at `started`.
    #[must_use]
    pub(crate) fn terms(&self, started: Instant) -> Terms {
        let generation = &self.snapshot.generation;
        Terms {
            fallback: generation.config.fallback,
            endpoint: self.endpoint,
            panic: self.snapshot.routes[self.model].eligible.panic,
            started,
            total: generation.fleet.models[self.model].config.total.0,
        }
    }
}
