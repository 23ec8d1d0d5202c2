//! A stream whose head was sent before any deployment answered, because `keep_alive_comments` is
//! set. Until the answer begins the client gets comments, which every reader of events skips. A
//! failure can no longer have a status of its own: it is told like one in the middle of a stream,
//! by an error event and an aborted connection.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::Response;
use hyper::body::Body as _;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep, sleep};

use routing::Phase;

use crate::stop::{Stage, Stop};
use crate::telemetry::catch;

use super::body::{Body, BoxError};
use super::fallback::is_live;

const COMMENT: Bytes = Bytes::from_static(b": keep-alive\n\n");
/// Largest error of a deployment that is told, in bytes.
const LONGEST: usize = 64 << 10;

/// The answer of a request, or the error object of the gateway.
pub(crate) type Awaited = Pin<Box<dyn Future<Output = Result<Response<Body>, Value>>>>;

/// What a stream needs that begins before its answer.
pub(crate) struct Early {
    /// The answer that is still to come.
    pub(crate) answer: Awaited,
    /// Time between two comments.
    pub(crate) every: Duration,
    /// Deadline of the whole request.
    pub(crate) end: Instant,
    /// The id of the request.
    pub(crate) id: Rc<str>,
    pub(crate) stop: Arc<Stop>,
}

/// The body of such a stream.
pub(super) struct Waiting {
    state: State,
    /// When the next comment is due.
    timer: Pin<Box<Sleep>>,
    every: Duration,
    end: Instant,
    id: Rc<str>,
    stop: Arc<Stop>,
}

enum State {
    /// The first comment is due.
    Begun(Awaited),
    /// The answer has not begun.
    Awaited(Awaited),
    /// The answer is a stream, which is passed on.
    Streaming(Body),
    /// The answer is an error instead of a stream. Its bytes so far.
    Refused(Body, BytesMut),
    /// The client has been told of a failure. Its connection must be aborted.
    Told,
    Ended,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Waiting {
    pub(super) fn new(Early { answer, every, end, id, stop }: Early) -> Self {
        let timer = Box::pin(sleep(every));
        Self { state: State::Begun(answer), timer, every, end, id, stop }
    }

    pub(super) fn end(&self) -> Instant {
        self.end
    }

    pub(super) fn is_end(&self) -> bool {
        match &self.state {
            State::Streaming(body) => body.is_end_stream(),
            state => matches!(state, State::Ended),
        }
    }

    /// Ends the stream, because the client's connection was given up at this time limit.
    pub(super) fn give_up(&mut self, phase: Phase) {
        match &mut self.state {
            State::Streaming(body) => body.give_up(phase),
            // Dropping the answer cancels its attempts.
            state => *state = State::Ended,
        }
    }

    /// The next piece of the stream. None: it has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Begun(answer) => {
                    self.state = State::Awaited(answer);
                    return Poll::Ready(Some(Ok(COMMENT)));
                }
                State::Awaited(answer) => {
                    if let Some(piece) = ready!(self.poll_answer(answer, cx)) {
                        return Poll::Ready(Some(Ok(piece)));
                    }
                }
                State::Streaming(mut body) => {
                    let next = Pin::new(&mut body).poll_frame(cx);
                    self.state = State::Streaming(body);
                    let next = ready!(next).map(|next| next.map(|frame| frame.into_data()));
                    return Poll::Ready(next.map(|data| data.map(Result::unwrap_or_default)));
                }
                State::Refused(body, said) => {
                    if let Some(event) = ready!(self.poll_refusal(body, said, cx)) {
                        return Poll::Ready(Some(Ok(event)));
                    }
                }
                State::Told => return Poll::Ready(Some(Err("no answer followed".into()))),
                State::Ended => return Poll::Ready(None),
            }
        }
    }

    /// Polls the answer. Returns a comment or an error event, or None when the answer has begun.
    fn poll_answer(&mut self, mut answer: Awaited, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match catch(|| answer.as_mut().poll(cx)) {
            Err(panic) => {
                panic.log_of_request(&self.id);
                Poll::Ready(Some(
                    self.told("the gateway failed; its log says why", "internal_error"),
                ))
            }
            Ok(Poll::Ready(Ok(response))) => {
                self.state = match is_live(response.headers()) {
                    true => State::Streaming(response.into_body()),
                    false => State::Refused(response.into_body(), BytesMut::new()),
                };
                Poll::Ready(None)
            }
            Ok(Poll::Ready(Err(error))) => Poll::Ready(Some(self.event(&error))),
            Ok(Poll::Pending) if self.stop.stage() == Stage::Over => {
                Poll::Ready(Some(self.told("the gateway is stopping", "stopping")))
            }
            Ok(Poll::Pending) => {
                self.state = State::Awaited(answer);
                ready!(self.timer.as_mut().poll(cx));
                self.timer.as_mut().reset(Instant::now() + self.every);
                Poll::Ready(Some(COMMENT))
            }
        }
    }

    /// Reads an answer that is no stream, and tells the error in it.
    fn poll_refusal(
        &mut self,
        mut body: Body,
        mut said: BytesMut,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Bytes>> {
        match Pin::new(&mut body).poll_frame(cx) {
            Poll::Pending => {
                self.state = State::Refused(body, said);
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) if said.len() <= LONGEST => {
                said.extend_from_slice(&frame.into_data().unwrap_or_default());
                self.state = State::Refused(body, said);
                Poll::Ready(None)
            }
            Poll::Ready(_) => {
                let object = serde_json::from_slice(&said).ok();
                Poll::Ready(Some(match object {
                    Some(object @ Value::Object(_)) if object.get("error").is_some() => {
                        self.event(&object)
                    }
                    _ => self.told("the deployment answered without a stream", "no_stream"),
                }))
            }
        }
    }

    fn told(&mut self, message: &str, code: &str) -> Bytes {
        let error =
            json!({"message": message, "type": "server_error", "param": null, "code": code});
        self.event(&json!({ "error": error }))
    }

    /// The last event of the stream. It is never `[DONE]`.
    fn event(&mut self, object: &Value) -> Bytes {
        self.state = State::Told;
        format!("data: {object}\n\n").into()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};

    use super::*;

    async fn all(answer: Awaited, most: usize) -> Vec<Result<String, String>> {
        let (every, end) = (Duration::from_secs(5), Instant::now() + Duration::from_secs(60));
        let early = Early { answer, every, end, id: "id-1".into(), stop: Arc::default() };
        let mut waiting = Waiting::new(early);
        let mut pieces = Vec::new();
        while pieces.len() < most {
            let Some(piece) = poll_fn(|cx| waiting.poll(cx)).await else { break };
            let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("text");
            pieces.push(piece.map(text).map_err(|error| error.to_string()));
        }
        pieces
    }

    fn response(headers: &[(&str, &str)], body: &'static str) -> Response<Body> {
        let mut response = Response::builder();
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(Body::own(body)).expect("a response")
    }

    #[tokio::test(start_paused = true)]
    async fn comments_come_until_the_answer_does() {
        let start = Instant::now();
        let pieces = all(Box::pin(pending()), 4).await;
        assert!(pieces.iter().all(|piece| piece.as_deref() == Ok(": keep-alive\n\n")));
        assert_eq!(start.elapsed().as_secs(), 15, "one at once, three after 5 s each");
        let late = async {
            sleep(Duration::from_secs(7)).await;
            Ok(response(&[("x-accel-buffering", "no")], "data: x\n\n"))
        };
        let pieces = all(Box::pin(late), 9).await;
        let comment = || Ok(": keep-alive\n\n".to_owned());
        assert_eq!(pieces, [comment(), comment(), Ok("data: x\n\n".into())]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_an_event_and_an_abort() {
        let own = json!({"error": {"code": "no_deployment_answered"}});
        let said = "{\n\"error\": {\"code\": \"context\"}}";
        let plain = "{\"choices\": []}";
        for (answer, code) in [
            (Err(own), "no_deployment_answered"),
            (Ok(response(&[], said)), "context"),
            (Ok(response(&[], plain)), "no_stream"),
        ] {
            let pieces = all(Box::pin(ready(answer)), 9).await;
            let [Ok(_), Ok(event), Err(_)] = &pieces[..] else { panic!("{pieces:?}") };
            let object = event.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n"));
            let object: Value = serde_json::from_str(object.expect("an event")).expect("JSON");
            assert_eq!(object["error"]["code"], code);
        }
    }
}
