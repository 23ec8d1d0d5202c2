//! A request that has found its model.

use std::net::IpAddr;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::http::uri::PathAndQuery;

use config::Ambiguous;
use fleet::Held;
use fleet::admission::CoreHold;
use http1::Scan;

/// A request ready to be attempted.
#[derive(Debug)]
pub struct Request {
    /// The endpoint.
    pub path: &'static str,
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
    /// Whether it may be sent again where it is not known if it was answered: all endpoints only
    /// compute, but for Responses, which can store what they answer and call tools.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        let fallback = &self.snapshot.generation.config.fallback;
        self.path != "/v1/responses" && fallback.ambiguous == Ambiguous::Once
    }
}
