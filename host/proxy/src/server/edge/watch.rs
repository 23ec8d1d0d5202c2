//! Looks after a client while its request is answered: whether it is still there, and whether the body that the
//! service reads comes in time.
//!
//! hyper would look for itself, and for that makes a buffer of 8 KiB for each request, into which nothing is ever read:
//! it is told that clients may close their half of a connection, and leaves it to this.

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
/// How often a client is looked for behind bytes that cannot be read yet.
const LOOK: Duration = Duration::from_millis(250);

/// hyper, as the gate needs it: the gate keeps the client's time, and [`Watch`] looks after the client.
pub(in crate::server) fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None).half_close(true);
    http
}

/// See the module.
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

    /// Polls a connection of [`http`], and looks after its client. Ready when it has ended, and is to be dropped.
    ///
    /// # Errors
    /// hyper's, or that the client has gone while its request was answered.
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
            // Who reads the body finds out that its client is gone.
            (source.left() > 0 && !source.gone).then(|| source.since + self.idle)
        };
        if let Some(due) = due
            && self.link.is_busy()
            && self.link.is_past(due, cx)
            && self.link.source.borrow_mut().set_slow()
        {
            // The service shall see it, which looks first whether there is something to read: a core that stood still
            // sees both at once.
            cx.waker().wake_by_ref();
        }
        self.link.poll_gone(cx)
    }
}

impl Link {
    /// Ready when the client has gone while its request, which has come whole, is answered.
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
        // There is more to read, but no room: what the system knows of the connection is looked at.
        let ready = pin!(source.stream.ready(Interest::READABLE)).poll(cx);
        if matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed()) {
            source.gone = true;
            return Poll::Ready(());
        }
        self.wake_within(LOOK, cx);
        Poll::Pending
    }
}
