//! One attempt: a request sent to one deployment, up to the point where its answer becomes the
//! client's.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::http::response::Parts;
use tokio::time::Instant;

use answers::commit::{Commit, Defect, End, Shape, Verdict};
use contract::Side;
use fleet::Deployment;
use http1::headers::Up;
use http1::response::Framing;
use routing::{Cause, Failure, Phase};

use crate::timeout::{Span, timeout_at};
use crate::upstream::{Answer, Incoming, Outgoing, Upstream};

use super::journal::Journal;
use super::request::Request;
use super::retry_after::retry_after;

/// An answer that goes to the client.
#[derive(Debug)]
pub(super) enum Begun {
    /// Good, as far as it has come.
    Committed(Box<Committed>),
    /// What the client did wrong, in the upstream's words.
    Refusal(Box<Answer>),
}

/// An answer past its commit point.
#[derive(Debug)]
pub(super) struct Committed {
    /// As the upstream sent it.
    pub(super) head: Parts,
    /// What goes to the client first.
    pub(super) first: Bytes,
    /// What may still come.
    pub(super) rest: Rest,
    /// Judges what comes.
    pub(super) commit: Commit,
}

/// What may come after the first of an answer.
#[derive(Debug)]
pub(super) enum Rest {
    /// Nothing: it is whole.
    Whole,
    /// More of it.
    Coming(Incoming),
    /// Nothing good: it has failed already.
    Failed(Defect),
}

/// Sends `request` to `deployment`; `span` is from the beginning of the attempt to when the whole request must be
/// over.
///
/// # Errors
/// If another deployment may be tried: no byte has gone to the client.
pub(super) async fn attempt(
    upstream: &Upstream,
    deployment: &Deployment,
    request: &Request,
    journal: &Journal,
    span: Span,
) -> Result<Begun, Failure> {
    let timeouts = &deployment.config.timeouts;
    // A remote API is told no more of one's users than trusted proxies say.
    let client = (deployment.config.side == Side::Local).then_some(request.client);
    let outgoing = Outgoing {
        endpoint: &deployment.config.endpoint,
        api_key: deployment.config.api_key.as_ref(),
        path_and_query: request.path_and_query.as_str(),
        headers: Up { headers: &request.headers, request_id: journal.id(), client },
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
    if shape == Shape::Opaque && answer.body.framing() == Framing::UntilClose {
        // Nobody could ever tell that it is whole, and nobody asked for it: while another deployment
        // may give one that is, it is no answer.
        tracing::debug!("an encoded answer without a length is refused");
        return Err(Cause::Protocol.into());
    }
    let committed = begin(answer, shape, timeouts.idle, span.end).await?;
    Ok(Begun::Committed(committed))
}

/// Reads an answer up to its commit point. A stream has until `first_byte` for its first content,
/// whatever comes before; a plain answer may take its time once it has begun.
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

/// What the end of a body says.
pub(super) fn how(framing: Framing) -> End {
    match framing {
        Framing::Empty | Framing::Length | Framing::Chunked => End::Framed,
        Framing::UntilClose => End::Closed,
    }
}

/// How an answer is to be read; `asked` is whether the client asked for a stream. Engines that forget
/// to say what they send are taken at the client's word.
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

/// Why an answer of this status does not go to the client. None: it does, be it good or the
/// client's own fault.
fn verdict(status: StatusCode) -> Option<Cause> {
    match status.as_u16() {
        // 402: the account behind the gateway's own key is empty.
        401..=403 | 407 => Some(Cause::Credential(status)),
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
