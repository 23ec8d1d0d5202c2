//! The upstream client: `send(deployment, request) -> response head + body`. Dropping the future or
//! the body cancels the request by closing its connection.
//!
//! This module is narrow so that it can be replaced whole. It is hyper's `client::conn` over a pool
//! that belongs to one core: nothing here is shared between threads.

mod body;
mod connect;
mod pool;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use hyper::http::response::Parts;
use hyper::{HeaderMap, header};
use tokio::time::{Instant, timeout_at};

use crate::config::{Endpoint, Origin, Secret};

use super::failure::{Cause, Phase};
pub(super) use body::{Framing, Incoming};
use connect::Connector;
use pool::Pool;

type Sender = SendRequest<Full<Bytes>>;

/// One core's upstream connections.
#[derive(Debug)]
pub(super) struct Upstream {
    connector: Connector,
    pool: Pool,
}

/// What is sent: always a POST.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    /// Where to.
    pub(super) endpoint: &'a Endpoint,
    /// The credential of the place, if it has one.
    pub(super) api_key: Option<&'a Secret>,
    /// `/v1/...`, appended to the endpoint's prefix.
    pub(super) path_and_query: &'a str,
    /// Without `host`, credential and length.
    pub(super) headers: HeaderMap,
    /// Whole.
    pub(super) body: Bytes,
}

/// An answer of which the head has come.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: Parts,
    pub(super) body: Incoming,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SendError {
    pub(super) cause: Cause,
    /// The request was written, in part at least, and no byte came back.
    pub(super) written: bool,
}

impl SendError {
    fn unsent(cause: Cause) -> Self {
        Self { cause, written: false }
    }

    fn sent(cause: Cause) -> Self {
        Self { cause, written: true }
    }
}

impl Upstream {
    /// A client without connections.
    pub(super) fn new(tls: std::sync::Arc<tokio_rustls::rustls::ClientConfig>) -> Self {
        Self { connector: Connector::new(tls), pool: Pool::default() }
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// A pooled connection that its server closed while it was idle is replaced by a new one, once:
    /// no byte of an answer had come on it. Only a `repeatable` request is sent on a pooled one, because
    /// the server may have taken it all the same.
    ///
    /// # Errors
    /// Why there is no answer; `connect` bounds each connection, `head` the wait for the answer.
    pub(super) async fn send(
        &self,
        outgoing: &Outgoing<'_>,
        repeatable: bool,
        connect: (Instant, Phase),
        head: (Instant, Phase),
    ) -> Result<Answer, SendError> {
        let origin = &outgoing.endpoint.origin;
        if let Some(sender) = repeatable.then(|| self.pool.take(origin)).flatten() {
            match self.exchange(origin, sender, outgoing, head).await {
                Err(SendError { cause: Cause::Broken, .. }) => {}
                answered => return answered,
            }
        }
        let connected = timeout_at(connect.0, self.connector.connect(origin)).await;
        let connected = connected.map_err(|_| Cause::TimedOut(connect.1)).flatten();
        let sender = connected.map_err(SendError::unsent)?;
        self.exchange(origin, sender, outgoing, head).await
    }

    async fn exchange(
        &self,
        origin: &Origin,
        mut sender: Sender,
        outgoing: &Outgoing<'_>,
        (deadline, phase): (Instant, Phase),
    ) -> Result<Answer, SendError> {
        let request = request(outgoing).ok_or(SendError::unsent(Cause::Broken))?;
        let answer = timeout_at(deadline, sender.send_request(request)).await;
        let answer = answer.map_err(|_| SendError::sent(Cause::TimedOut(phase)))?;
        let (head, body) = answer.map_err(|_| SendError::sent(Cause::Broken))?.into_parts();
        let body = Incoming::new(body, &head.headers, self.pool.lease(origin.clone(), sender));
        Ok(Answer { head, body })
    }
}

/// None where a configured key or path cannot be written as HTTP, which the configuration excludes.
fn request(outgoing: &Outgoing<'_>) -> Option<hyper::Request<Full<Bytes>>> {
    let uri = format!("{}{}", outgoing.endpoint.prefix, outgoing.path_and_query);
    let mut request = hyper::Request::post(uri).body(Full::new(outgoing.body.clone())).ok()?;
    let headers = request.headers_mut();
    *headers = outgoing.headers.clone();
    let host = outgoing.endpoint.origin.authority();
    headers.insert(header::HOST, header::HeaderValue::from_str(&host).ok()?);
    if let Some(key) = outgoing.api_key {
        let mut value = header::HeaderValue::from_str(&format!("Bearer {}", key.expose())).ok()?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Some(request)
}

/// Longest idle time of a pooled connection: vLLM and uvicorn close theirs after 5 s, and a request
/// on a connection that is being closed is lost.
const IDLE: Duration = Duration::from_secs(4);
