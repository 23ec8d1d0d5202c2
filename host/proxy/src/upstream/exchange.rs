//! One request on one connection, up to the head of its answer. It reads while it writes, because
//! an upstream may refuse a large body before it has read it.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use http1::response::{HeadReader, Malformed, ResponseHead};

use crate::timeout::{Deadline, timeout_at};
use routing::Cause;

use super::connection::Connection;
use super::request::Request;

/// How far an exchange came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing was written.
    Unsent,
    /// Something was written, and no byte came back.
    Sent,
    /// Something came back.
    Answering,
}

/// An exchange that failed before the head of an answer.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) cause: Cause,
    pub(super) progress: Progress,
}

/// The head of an answer, and the connection the body comes on.
#[derive(Debug)]
pub(super) struct Exchanged {
    pub(super) connection: Connection,
    pub(super) head: ResponseHead,
    /// Whether another request can follow on the connection.
    pub(super) reusable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    UnderWay,
    Done,
    Failed,
}

struct Exchange<'a> {
    connection: Connection,
    request: &'a Request,
    written: usize,
    sending: Sending,
    reader: HeadReader,
    answering: bool,
    head: Option<ResponseHead>,
}

/// Writes `request` and waits for the head of its answer. Dropping the future closes the
/// connection.
///
/// # Errors
/// Why there is no answer, and whether the upstream may have seen the request.
pub(super) async fn exchange(
    connection: Connection,
    request: &Request,
    deadline: Deadline,
) -> Result<Exchanged, Failed> {
    let mut exchange = Exchange {
        connection,
        request,
        written: 0,
        sending: Sending::UnderWay,
        reader: HeadReader::default(),
        answering: false,
        head: None,
    };
    let answer = timeout_at(deadline.at, poll_fn(|cx| exchange.poll(cx))).await;
    match answer.unwrap_or(Err(Cause::TimedOut(deadline.phase))) {
        Ok(head) => {
            let reusable = head.keep_alive && exchange.sending == Sending::Done;
            Ok(Exchanged { connection: exchange.connection, head, reusable })
        }
        Err(cause) => Err(Failed { cause, progress: exchange.progress() }),
    }
}

impl Exchange<'_> {
    fn progress(&self) -> Progress {
        match (self.answering, self.written) {
            (true, _) => Progress::Answering,
            (false, 0) => Progress::Unsent,
            (false, _) => Progress::Sent,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Cause>> {
        if self.sending == Sending::UnderWay {
            self.sending = match self.poll_send(cx) {
                Poll::Pending => Sending::UnderWay,
                Poll::Ready(Ok(())) => Sending::Done,
                // Read on: the upstream may have answered before it closed the connection.
                Poll::Ready(Err(_)) => Sending::Failed,
            };
        }
        while self.head.is_none() {
            if !matches!(ready!(self.connection.poll_fill(cx)), Ok(1..)) {
                return Poll::Ready(Err(Cause::Broken));
            }
            self.answering = true;
            let taken = self.reader.take(&mut self.connection.buffer);
            self.head = taken.map_err(|Malformed(why)| {
                tracing::debug!(why, "an upstream's answer is refused");
                Cause::Protocol
            })?;
        }
        // A success counts only once the whole request is sent. An error counts at once.
        let good = |head: &mut ResponseHead| head.parts.status.is_success();
        match self.sending {
            Sending::UnderWay => self.head.take_if(|head| !good(head)),
            Sending::Done | Sending::Failed => self.head.take(),
        }
        .map_or(Poll::Pending, |head| Poll::Ready(Ok(head)))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // One slice is written directly, without a copy.
            let (slices, count) = self.request.rest(self.written);
            if count == 0 {
                return self.connection.poll_flush(cx);
            }
            match ready!(self.connection.poll_write(cx, &slices[..count]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
    }
}
