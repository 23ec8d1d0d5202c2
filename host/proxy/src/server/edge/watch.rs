//! Watches a client while its request is answered: whether it is still there, and whether the body
//! that the service reads arrives in time.
//!
//! hyper's own check would allocate a buffer of 8 KiB for each request, into which nothing is ever
//! read. So hyper is told that clients may half-close their connection, and leaves the check to
//! this module.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use tokio::io::Interest;

use crate::attempts::BoxError;

use super::link::Link;

const GONE: &str = "the client went away while its request was answered";
/// How often the client is checked while the buffer is full.
const LOOK: Duration = Duration::from_millis(250);

/// hyper with the settings that the gate needs: the gate keeps the client's time limits, and
/// [`Watch`] notices that a client leaves.
pub(in crate::server) fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).half_close(true);
    http
}

/// Watches the client of one connection.
#[derive(Debug)]
pub(in crate::server) struct Watch {
    link: Rc<Link>,
    /// How long a body may be silent.
    idle: Duration,
}

impl Watch {
    pub(super) fn new(link: Rc<Link>, idle: Duration) -> Self {
        Self { link, idle }
    }

    /// Polls a connection of [`http`], and checks its client. Ready when the connection has ended
    /// and must be dropped.
    ///
    /// # Errors
    /// An error of hyper, or that the client left while its request was answered.
    pub(in crate::server) fn poll<C>(
        &self,
        connection: Pin<&mut C>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        match connection.poll(cx) {
            Poll::Pending => self.poll_client(cx).map(|()| Err(GONE.into())),
            Poll::Ready(ended) => Poll::Ready(ended.map_err(BoxError::from)),
        }
    }

    fn poll_client(&self, cx: &mut Context<'_>) -> Poll<()> {
        let due = {
            let source = self.link.source.borrow();
            // If the client is gone, reading the body fails by itself.
            (source.left() > 0 && !source.gone).then(|| source.since + self.idle)
        };
        if let Some(due) = due
            && self.link.is_busy()
            && self.link.is_past(due, cx)
            && self.link.source.borrow_mut().set_slow()
        {
            // Polled again, so that the service sees the mark. The service reads first: after a
            // core stood still, data and time-out may come together, and then the data counts.
            cx.waker().wake_by_ref();
        }
        self.link.poll_gone(cx)
    }
}

impl Link {
    /// Ready when the client has left during the answer. Pending while its request is still
    /// arriving.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_watched() {
            return Poll::Pending;
        }
        let mut source = self.source.borrow_mut();
        while !source.buffer.is_full() {
            match source.fill(cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => {
                    source.gone = true;
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        // The buffer is full. Without a read, only the runtime's view of the socket shows a close.
        let ready = pin!(source.stream.ready(Interest::READABLE)).poll(cx);
        if matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed()) {
            source.gone = true;
            return Poll::Ready(());
        }
        self.wake_within(LOOK, cx);
        Poll::Pending
    }
}
