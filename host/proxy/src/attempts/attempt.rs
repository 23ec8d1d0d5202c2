//! One attempt: sends a request to one deployment and reads its answer up to the commit point.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::http::response::Parts;
use hyper::{HeaderMap, StatusCode};
use tokio::time::Instant;

use answers::commit::{Commit, Defect, End, Shape, Verdict};
use contract::Side;
use fleet::Deployment;
use http1::UsageWish;
use http1::headers::{Passing, Up};
use http1::response::ResponseFraming;
use routing::{Cause, Failure, InferenceEndpoint, Phase};

use crate::timeout::{Span, timeout_at};
use crate::upstream::{Answer, Incoming, Outgoing, Upstream};

use super::burst::{self, Burst};
use super::dropped::on_dropped;
use super::journal::AttemptNote;
use super::load;
use super::request::Request;
use super::verdict::{Judged, Rejection, judge};

/// An answer that goes to the client.
#[derive(Debug)]
pub(super) enum Begun {
    /// The answer is past its commit point.
    Committed(Box<Committed>),
    /// The request is wrong, in the upstream's words.
    Rejection(Box<Rejection>),
}

/// An answer past its commit point.
#[derive(Debug)]
pub(super) struct Committed {
    /// Status and headers as the upstream sent them.
    pub(super) head: Parts,
    /// The bytes up to the commit point.
    pub(super) first: Bytes,
    /// The rest of the body, behind `unread`.
    pub(super) rest: Rest,
    /// Bytes of the body that came with the first ones, and have not been judged.
    pub(super) unread: Bytes,
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
    note: AttemptNote<'_>,
    mut span: Span,
) -> Result<Begun, Failure> {
    let mut wish = wish_for(request).filter(|_| deployment.is_asked_for_usage());
    let wished = wish.is_some();
    loop {
        let Some(begun) = send(upstream, deployment, request, note, span, wish).await? else {
            // Sent again without the question. The refusal is no failure, and no attempt of its
            // own.
            (wish, span.now) = (None, Instant::now());
            continue;
        };
        // The answer proves that the question was the reason. An engine may also repeat the request
        // in an error about something else.
        let is_proof = wished && wish.is_none() && matches!(begun, Begun::Committed(_));
        if is_proof && deployment.refuse_usage() {
            tracing::info!(
                model = %deployment.model, deployment = %deployment.config.name,
                "the deployment does not know `stream_options`: its streams are not asked for usage \
                 until the next reload"
            );
        }
        return Ok(begun);
    }
}

/// The edit that asks for the usage of a stream. None if the request needs none.
fn wish_for(request: &Request) -> Option<&UsageWish> {
    let is_known = matches!(
        request.endpoint,
        InferenceEndpoint::ChatCompletions | InferenceEndpoint::Completions
    );
    request.scan.usage_wish.as_ref().filter(|_| is_known)
}

/// Sends a request once, edited by `wish`. None: the deployment refuses the edit.
async fn send(
    upstream: &Upstream,
    deployment: &Deployment,
    request: &Request,
    note: AttemptNote<'_>,
    span: Span,
    wish: Option<&UsageWish>,
) -> Result<Option<Begun>, Failure> {
    let timeouts = &deployment.config.timeouts;
    let rules = &request.snapshot.generation.config.headers;
    // A remote API is not told the client's address.
    let (client, passing) = match deployment.config.side {
        Side::Local => (Some(request.client), Passing::AllBut(&rules.not_to_local)),
        Side::Remote => (None, Passing::Only(&rules.to_remote)),
    };
    let (headers, request_id) = (&request.headers, note.id);
    let outgoing = Outgoing {
        endpoint: &deployment.config.endpoint,
        api_key: deployment.config.api_key.as_ref(),
        path: request.endpoint.relative_path(),
        headers: Up {
            headers,
            request_id,
            client,
            hop: &request.hop,
            asks_load: deployment.engine.wants_report(span.now.into_std()),
            passing,
            on_dropped,
        },
        body: body_for(request, &deployment.config.provider_model_id, wish),
        repeatable: request.terms(note.started).is_repeatable(),
        pool_idle: timeouts.pool_idle,
        began: span.now,
    };
    let connect = span.deadline(timeouts.connect, Phase::Connect);
    let first_byte = |now: Instant| {
        note.sending(now.into_std());
        Span { now, ..span }.deadline(timeouts.first_byte, Phase::FirstByte)
    };
    let answer = upstream.send(&outgoing, connect, first_byte).await?;
    load::take(&deployment.engine, &answer.head.headers);
    if !answer.head.status.is_success() {
        // Boxed: refusals are rare, and would enlarge the future of every request.
        let judged = judge(answer, deployment, request, span.end, wish.is_some());
        return Ok(match Box::pin(judged).await? {
            Judged::Rejection(rejection) => Some(Begun::Rejection(rejection)),
            Judged::UsageRefused => None,
        });
    }
    match answer.head.status {
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => return Err(Cause::Empty.into()),
        // No part was asked for: this one may have less than the whole answer.
        status @ StatusCode::PARTIAL_CONTENT => return Err(Cause::Unexpected(status).into()),
        _ => {}
    }
    if is_encoded(&answer.head.headers) {
        // Its error, its end and its usage cannot be read. Another deployment may do better.
        return Err(Cause::Encoded.into());
    }
    let shape = shape(&answer.head, request.scan.stream);
    let sent = &deployment.config.provider_model_id;
    let mut commit = Commit::new(shape);
    if wish.is_some() {
        commit = commit.without_usage_event();
    }
    let committed = begin(answer, commit, timeouts.idle, span.end, sent).await?;
    Ok(Some(Begun::Committed(committed)))
}

/// Reads an answer up to its commit point. A stream must bring its first content by `first_byte`,
/// whatever else it sends before. A plain answer must bring its first byte by then; after that it
/// may pause for at most `idle`. `sent` is the model's name as it was sent.
async fn begin(
    Answer { head, mut body, first_byte }: Answer,
    mut commit: Commit,
    idle: Duration,
    end: Instant,
    sent: &str,
) -> Result<Box<Committed>, Failure> {
    let failed = |defect| Failure::of_defect(defect, sent);
    let (mut limit, mut burst, mut unread) = (first_byte, Burst::default(), Bytes::new());
    let begun =
        |commit, first, unread, rest| Ok(Box::new(Committed { head, first, rest, unread, commit }));
    loop {
        burst.pause().await;
        let verdict = if unread.is_empty() {
            let chunk = timeout_at(limit.at, std::future::poll_fn(|cx| body.poll_chunk(cx))).await;
            match chunk.map_err(|_| Cause::TimedOut(limit.phase))? {
                Some(Ok(chunk)) => {
                    unread = chunk;
                    continue;
                }
                None => {
                    let first = commit.end(how(body.framing())).map_err(failed)?;
                    return begun(commit, first, unread, Rest::Whole);
                }
                Some(Err(error)) => return Err(Cause::from(error).into()),
            }
        } else {
            let rest = burst::cut(&mut unread);
            let chunk = std::mem::replace(&mut unread, rest);
            burst.note(chunk.len());
            commit.feed(chunk)
        };
        match verdict {
            Verdict::Hold if commit.shape() == Shape::Stream => {}
            Verdict::Hold => limit = Span { now: Instant::now(), end }.deadline(idle, Phase::Idle),
            Verdict::Pass(first) => return begun(commit, first, unread, Rest::Coming(body)),
            Verdict::Fail { pass, defect } if commit.is_committed() => {
                return begun(commit, pass, unread, Rest::Failed(defect));
            }
            Verdict::Fail { defect, .. } => return Err(failed(defect)),
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

/// True if the body has a coding other than `identity`. Names of codings ignore case.
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    codings.any(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    })
}

/// How an answer is read. The content type decides. If it says neither JSON nor event stream,
/// `asked` decides: whether the client asked for a stream.
fn shape(head: &Parts, asked: bool) -> Shape {
    let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let is = |name: &[u8]| kind.get(..name.len()).is_some_and(|s| s.eq_ignore_ascii_case(name));
    if is(b"text/event-stream") || (asked && !is(b"application/json")) {
        Shape::Stream
    } else {
        Shape::Plain
    }
}

/// The request body for this deployment: the client's bytes, with the model's name replaced if the
/// deployment has another, and with the question for usage. The bytes are shared: a request holds
/// its body once.
fn body_for(request: &Request, name: &str, wish: Option<&UsageWish>) -> [Bytes; 5] {
    let renamed = (request.scan.model != name).then(|| {
        let quoted = serde_json::Value::from(name).to_string();
        (request.scan.model_at.clone(), Bytes::from(quoted))
    });
    let asked = wish.map(|wish| (wish.at.clone(), Bytes::from_static(wish.text.as_bytes())));
    edited(&request.body, renamed, asked)
}

/// An edit of a body: the bytes to replace, and their replacement.
type Edit = (Range<usize>, Bytes);

/// A body with up to two edits, in parts.
fn edited(body: &Bytes, first: Option<Edit>, second: Option<Edit>) -> [Bytes; 5] {
    let start = |edit: &Option<Edit>| edit.as_ref().map(|(at, _)| at.start);
    let edits = if start(&first) < start(&second) { [first, second] } else { [second, first] };
    let (mut parts, mut from, mut next) = (<[Bytes; 5]>::default(), 0, 0);
    for (at, text) in edits.into_iter().flatten() {
        parts[next] = body.slice(from..at.start);
        parts[next + 1] = text;
        (from, next) = (at.end, next + 2);
    }
    parts[next] = body.slice(from..);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_made_in_any_order() {
        let body = Bytes::from_static(b"0123456789");
        let edit =
            |at: Range<usize>, text: &'static str| Some((at, Bytes::from_static(text.as_bytes())));
        for (first, second, want) in [
            (None, None, "0123456789"),
            (edit(2..4, "a"), None, "01a456789"),
            (None, edit(10..10, "b"), "0123456789b"),
            (edit(2..4, "a"), edit(4..4, "b"), "01ab456789"),
            (edit(8..9, "a"), edit(0..3, "b"), "b34567a9"),
        ] {
            assert_eq!(edited(&body, first, second).concat(), want.as_bytes());
        }
    }
}
