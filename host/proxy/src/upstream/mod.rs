//! The upstream client sends a request and returns head and body of the answer. Dropping the future
//! or the body cancels the request by closing its connection.
//!
//! It has the part of HTTP/1.1 that a gateway needs: it only ever sends POST with a length. Answers
//! may be hostile, so ambiguous ones are refused. A request spawns nothing and shares nothing
//! between threads: it and its body hold the connection, which otherwise is in a pool of one core.
//!
//! ```text
//! send: request -> pool or connect -> exchange (connection, head) -> body -> pool
//! ```

mod body;
mod connect;
mod connection;
mod exchange;
mod pool;
mod request;
mod resolve;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::http::response::Parts;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls::ClientConfig;

use config::{Endpoint, Secret};
use http1::headers::Up;

use crate::timeout::Deadline;
use routing::{Cause, Failure};

pub(crate) use body::{BodyError, Incoming};
use connect::Connector;
use exchange::{Exchanged, Failed, Progress, exchange};
use pool::{Pool, Shelf};
use request::Request;
pub(crate) use resolve::SharedNames;

/// Longest idle time of a connection for a request that must not be sent twice.
const FRESH: Duration = Duration::from_secs(1);

/// One core's upstream connections.
#[derive(Debug)]
pub(crate) struct Upstream {
    connector: Connector,
    pool: Rc<Pool>,
}

/// The request that is sent: always a POST.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) endpoint: &'a Endpoint,
    /// The credential of the deployment, if it has one.
    pub(crate) api_key: Option<&'a Secret>,
    /// `/chat/completions`, appended to the endpoint's prefix.
    pub(crate) path: &'a str,
    /// All but `host`, credential and length.
    pub(crate) headers: Up<'a>,
    /// The whole body, in parts.
    pub(crate) body: [Bytes; 5],
    /// Whether the upstream may see the request twice.
    pub(crate) repeatable: bool,
    /// How long connections to the origin are kept unused from now on.
    pub(crate) pool_idle: Duration,
    /// When the attempt began.
    pub(crate) began: Instant,
}

/// An answer whose body is still coming.
#[derive(Debug)]
pub(crate) struct Answer {
    /// As the upstream sent it.
    pub(crate) head: Parts,
    pub(crate) body: Incoming,
    /// Deadline for the first content.
    pub(crate) first_byte: Deadline,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SendError {
    pub(crate) cause: Cause,
    /// What went wrong in detail, for the log.
    pub(crate) detail: Option<Box<str>>,
    /// At least a part of the request was written, and no byte came back: the upstream may be at
    /// work on it.
    pub(crate) written: bool,
}

impl Upstream {
    /// A client without connections.
    pub(crate) fn new(tls: Arc<ClientConfig>) -> Self {
        Self { connector: Connector::new(tls), pool: Rc::default() }
    }

    /// Closes expired idle connections while the client exists. Without this nothing would close
    /// them when no requests come.
    pub(crate) fn sweep(&self) -> impl Future<Output = ()> + use<> {
        pool::sweep(Rc::downgrade(&self.pool))
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// A pooled connection that turns out to be closed is replaced by a new one, once, unless the
    /// upstream may have seen a request that must not be repeated.
    ///
    /// # Errors
    /// Why there is no answer. `connect` bounds the making of a connection. `first_byte` gives the
    /// deadline of the answer: it is called with the time whenever the request is about to be
    /// written.
    pub(crate) async fn send(
        &self,
        outgoing: &Outgoing<'_>,
        connect: Deadline,
        first_byte: impl Fn(Instant) -> Deadline,
    ) -> Result<Answer, SendError> {
        let origin = &outgoing.endpoint.origin;
        let request = Request::new(outgoing).ok_or(Cause::Broken)?;
        let shelf = self.pool.shelf(origin, outgoing.pool_idle);
        let at_most = if outgoing.repeatable { Duration::MAX } else { FRESH };
        let pooled = poll_fn(|cx| Poll::Ready(shelf.take(cx, outgoing.began, at_most))).await;
        let mut written = false;
        if let Some(connection) = pooled {
            let first_byte = first_byte(outgoing.began);
            match exchange(connection, &request, first_byte).await {
                // The upstream closed the connection while it was idle, or died at work on the
                // request. Both look alike.
                Err(failed) if failed.on_a_closed_connection(outgoing.repeatable) => {
                    written = failed.progress == Progress::Sent;
                }
                exchanged => return Ok(answer(exchanged?, shelf, first_byte)),
            }
        }
        let before = |error: SendError| SendError { written: written || error.written, ..error };
        // Boxed: most requests find a connection, and need no room for making one.
        let connected = Box::pin(self.connector.connect(origin, connect.at));
        let connected = timeout_at(connect.at, connected).await;
        let late = || Err(Cause::TimedOut(connect.phase).into());
        let connection = connected.unwrap_or_else(|_| late()).map_err(before)?;
        let first_byte = first_byte(Instant::now());
        let exchanged = exchange(connection, &request, first_byte).await;
        Ok(answer(exchanged.map_err(|failed| before(failed.into()))?, shelf, first_byte))
    }
}

fn answer(exchanged: Exchanged, shelf: Rc<Shelf>, first_byte: Deadline) -> Answer {
    let Exchanged { connection, head, reusable } = exchanged;
    let body = Incoming::new(connection, head.decoder, reusable.then_some(shelf));
    Answer { head: head.parts, body, first_byte }
}

impl Failed {
    /// True if the server seems to have closed the idle connection, so that the request may be sent
    /// again.
    fn on_a_closed_connection(&self, repeatable: bool) -> bool {
        let harmless = match self.progress {
            Progress::Unsent => true,
            Progress::Sent => repeatable,
            Progress::Answering => false,
        };
        self.cause == Cause::Broken && harmless
    }
}

impl From<Failed> for SendError {
    fn from(failed: Failed) -> Self {
        Self { cause: failed.cause, detail: None, written: failed.progress == Progress::Sent }
    }
}

impl From<SendError> for Failure {
    fn from(SendError { cause, detail, written }: SendError) -> Self {
        Self { ambiguous: written, detail, ..cause.into() }
    }
}

impl From<BodyError> for Cause {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Truncated | BodyError::Broken => Self::Truncated,
            BodyError::Malformed(_) => Self::Protocol,
        }
    }
}

/// A failure before anything was written.
impl From<Cause> for SendError {
    fn from(cause: Cause) -> Self {
        Self { cause, detail: None, written: false }
    }
}
