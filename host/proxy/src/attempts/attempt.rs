//! One attempt: sends a request to one deployment and reads its answer up to the commit point.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::http::response::Parts;
use tokio::time::Instant;

use answers::commit::{Commit, Defect, End, Shape, Verdict};
use contract::Side;
use fleet::Deployment;
use http1::headers::{Passing, Up};
use http1::response::ResponseFraming;
use routing::{Cause, Failure, Phase};

use crate::timeout::{Span, timeout_at};
use crate::upstream::{Answer, Incoming, Outgoing, Upstream};

use super::dropped::on_dropped;
use super::journal::Journal;
use super::request::Request;
use super::retry_after::retry_after;

/// An answer that goes to the client.
#[derive(Debug)]
pub(super) enum Begun {
    /// The answer is past its commit point.
    Committed(Box<Committed>),
    /// A client error (4xx), in the upstream's words.
    Refusal(Box<Answer>),
}

/// An answer past its commit point.
#[derive(Debug)]
pub(super) struct Committed {
    /// Status and headers as the upstream sent them.
    pub(super) head: Parts,
    /// The bytes up to the commit point.
    pub(super) first: Bytes,
    /// The rest of the body.
    pub(super) rest: Rest,
    /// Judges the rest of the body as it arrives.
    pub(super) commit: Commit,
}

/// What follows the first bytes of an answer.
#[derive(Debug)]
pub(super) enum Rest {
    /// Nothing: the answer is whole.
    Whole,
    /// More of the body.
    Coming(Incoming),
    /// Nothing: the answer failed right after its commit point.
    Failed(Defect),
}

/// Sends `request` to `deployment`. `span` runs from the start of the attempt to the deadline of
/// the whole request.
///
/// # Errors
/// If the attempt failed. No byte has gone to the client, so another deployment may be tried.
pub(super) async fn attempt(
    upstream: &Upstream,
    deployment: &Deployment,
    request: &Request,
    journal: &Journal,
    span: Span,
) -> Result<Begun, Failure> {
    let timeouts = &deployment.config.timeouts;
    let rules = &request.snapshot.generation.config.headers;
    // A remote API is not told the client's address.
    let (client, passing) = match deployment.config.side {
        Side::Local => (Some(request.client), Passing::AllBut(&rules.not_to_local)),
        Side::Remote => (None, Passing::Only(&rules.to_remote)),
    };
    let (headers, request_id) = (&request.headers, journal.id());
    let outgoing = Outgoing {
        endpoint: &deployment.config.endpoint,
        api_key: deployment.config.api_key.as_ref(),
        path: request.endpoint.relative_path(),
        headers: Up { headers, request_id, client, passing, on_dropped },
        body: body_for(request, &deployment.config.provider_model_id),
        repeatable: request.terms(journal.started).is_repeatable(),
        pool_idle: timeouts.pool_idle,
        began: span.now,
    };
    let connect = span.deadline(timeouts.connect, Phase::Connect);
    let first_byte = |now: Instant| {
        journal.sending(now.into_std());
        Span { now, ..span }.deadline(timeouts.first_byte, Phase::FirstByte)
    };
    let answer = upstream.send(&outgoing, connect, first_byte).await?;
    if let Some(cause) = verdict(answer.head.status) {
        let retry_after = retry_after(&answer.head.headers);
        return Err(Failure { retry_after, ..cause.into() });
    }
    if answer.head.status.is_client_error() {
        return Ok(Begun::Refusal(Box::new(answer)));
    }
    let shape = shape(&answer.head, request.scan.stream);
    if shape == Shape::Opaque && answer.body.framing() == ResponseFraming::UntilClose {
        // Nothing shows whether an encoded body that ends with its connection is whole, and the
        // gateway asked for `identity`. Another deployment may do better.
        tracing::debug!("an encoded answer without a length is refused");
        return Err(Cause::Protocol.into());
    }
    let committed = begin(answer, shape, timeouts.idle, span.end).await?;
    Ok(Begun::Committed(committed))
}

/// Reads an answer up to its commit point. A stream must bring its first content by `first_byte`,
/// whatever else it sends before. A plain answer must bring its first byte by then; after that it
/// may pause for at most `idle`.
async fn begin(
    Answer { head, mut body, first_byte }: Answer,
    shape: Shape,
    idle: Duration,
    end: Instant,
) -> Result<Box<Committed>, Failure> {
    let mut commit = Commit::new(shape);
    let mut limit = first_byte;
    loop {
        let chunk = timeout_at(limit.at, std::future::poll_fn(|cx| body.poll_chunk(cx))).await;
        let verdict = match chunk.map_err(|_| Cause::TimedOut(limit.phase))? {
            Some(Ok(chunk)) => commit.feed(chunk),
            None => {
                let first = commit.end(how(body.framing()))?;
                return Ok(Box::new(Committed { head, first, rest: Rest::Whole, commit }));
            }
            Some(Err(error)) => return Err(Cause::from(error).into()),
        };
        match verdict {
            Verdict::Hold if commit.shape() == Shape::Stream => {}
            Verdict::Hold => limit = Span { now: Instant::now(), end }.deadline(idle, Phase::Idle),
            Verdict::Pass(first) => {
                return Ok(Box::new(Committed { head, first, rest: Rest::Coming(body), commit }));
            }
            Verdict::Fail { pass, defect } if commit.is_committed() => {
                let rest = Rest::Failed(defect);
                return Ok(Box::new(Committed { head, first: pass, rest, commit }));
            }
            Verdict::Fail { defect, .. } => return Err(defect.into()),
        }
    }
}

/// How the end of a body is known: by its framing, or only by the close of the connection.
pub(super) fn how(framing: ResponseFraming) -> End {
    match framing {
        ResponseFraming::Empty | ResponseFraming::Length | ResponseFraming::Chunked => End::Framed,
        ResponseFraming::UntilClose => End::Closed,
    }
}

/// How an answer is read. The content type decides. If it says neither JSON nor event stream,
/// `asked` decides: whether the client asked for a stream.
fn shape(head: &Parts, asked: bool) -> Shape {
    let headers = &head.headers;
    let encoded = headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
    if encoded || head.status == StatusCode::NO_CONTENT {
        return Shape::Opaque;
    }
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let is = |name: &[u8]| kind.get(..name.len()).is_some_and(|s| s.eq_ignore_ascii_case(name));
    if is(b"text/event-stream") || (asked && !is(b"application/json")) {
        Shape::Stream
    } else {
        Shape::Plain { json: is(b"application/json") }
    }
}

/// Why an answer of this status is not passed on to the client. None: the answer is passed on,
/// because it is a success or blames the request.
fn verdict(status: StatusCode) -> Option<Cause> {
    match status.as_u16() {
        // 402: the account of the gateway's own key has no credit.
        401..=403 | 407 => Some(Cause::Credential(status)),
        408 | 429 => Some(Cause::Status(status)),
        200..=299 | 400..=499 => None,
        500..=599 => Some(Cause::Status(status)),
        _ => Some(Cause::Unexpected(status)),
    }
}

/// The request body for this deployment: the client's bytes, with the model's name replaced if the
/// deployment has another.
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
