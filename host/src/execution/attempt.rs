//! One attempt: a request sent to one deployment, up to the first byte of an answer that may go to
//! the client.

use std::future::poll_fn;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::http::response::Parts;
use tokio::time::{Instant, timeout_at};

use crate::config::Timeouts;
use crate::fleet::Deployment;

use super::failure::{Cause, Failure, Phase, within};
use super::headers;
use super::request::Request;
use super::upstream::{Answer, Deadline, Incoming, Outgoing, Upstream};

/// An answer that may go to the client: its head and the first of its body have come.
#[derive(Debug)]
pub(super) struct Begun {
    /// As the upstream sent it.
    pub(super) head: Parts,
    /// The first piece; None for an answer without a body.
    pub(super) first: Option<Bytes>,
    /// The rest, with the connection it comes on.
    pub(super) rest: Incoming,
}

/// Sends `request` to `deployment`; `end` is when the whole request must be over.
///
/// # Errors
/// If another deployment may be tried: no byte has gone to the client.
pub(super) async fn attempt(
    upstream: &Upstream,
    deployment: &Deployment,
    request: &Request,
    id: &str,
    timeouts: &Timeouts,
    end: Instant,
) -> Result<Begun, Failure> {
    let outgoing = Outgoing {
        endpoint: &deployment.config.endpoint,
        api_key: deployment.config.api_key.as_ref(),
        path_and_query: &request.path_and_query,
        headers: headers::up(&request.headers, id),
        body: body_for(request, &deployment.config.provider_model_id),
        repeatable: request.is_repeatable(),
    };
    let until = |limit: Duration, phase| {
        let now = Instant::now();
        let (wait, phase) = within(limit, phase, end.saturating_duration_since(now));
        (now + wait, phase)
    };
    let connect = until(timeouts.connect, Phase::Connect);
    let first_byte = until(timeouts.connect + timeouts.first_byte, Phase::FirstByte);
    begin(upstream.send(&outgoing, connect, first_byte).await?, first_byte).await
}

/// Judges the head, then waits for the first of the body.
async fn begin(
    Answer { head, body: mut rest }: Answer,
    (deadline, phase): Deadline,
) -> Result<Begun, Failure> {
    if let Some(cause) = verdict(head.status) {
        return Err(Failure::with_headers(cause, &head.headers));
    }
    match timeout_at(deadline, poll_fn(|cx| rest.poll_chunk(cx))).await {
        Err(_) => Err(Cause::TimedOut(phase).into()),
        Ok(Some(Err(error))) => Err(Cause::from(error).into()),
        Ok(Some(Ok(first))) => Ok(Begun { head, first: Some(first), rest }),
        Ok(None) => Ok(Begun { head, first: None, rest }),
    }
}

/// Why an answer of this status does not go to the client. None: it does, be it good or the
/// client's own fault.
fn verdict(status: StatusCode) -> Option<Cause> {
    match status.as_u16() {
        401 | 403 | 407 => Some(Cause::Credential(status)),
        408 | 429 => Some(Cause::Status(status)),
        200..=299 | 400..=499 => None,
        500..=599 => Some(Cause::Status(status)),
        _ => Some(Cause::Unexpected(status)),
    }
}

/// The body as this deployment is to see it: byte for byte the client's, but for the model's name
/// where the deployment knows the model by another.
fn body_for(request: &Request, name: &str) -> Bytes {
    if request.scan.model == name {
        return request.body.clone();
    }
    let quoted = serde_json::Value::from(name).to_string();
    let at = &request.scan.model_at;
    let mut body = BytesMut::with_capacity(request.body.len() + quoted.len());
    body.extend_from_slice(&request.body[..at.start]);
    body.extend_from_slice(quoted.as_bytes());
    body.extend_from_slice(&request.body[at.end..]);
    body.freeze()
}
