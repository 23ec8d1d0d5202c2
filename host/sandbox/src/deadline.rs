//! The end of calls that do not end by themselves.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::timeout;

/// What comes of a call to a guest within `limit`; None: it is past that, and to be dropped. Must be polled inside a
/// tokio runtime with time.
///
/// A guest that waits, on a WASI clock, is ended by a timer. One that computes gives the thread back at each tick
/// of the epoch, to be polled again at once, and the runtime looks at its timers only after 61 such polls
/// (`event_interval` of tokio's runtimes): so the time is looked at here, too, after each of them.
pub(super) async fn within<T>(
    limit: Duration,
    mut call: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    // Nearly every call is over at once, and a timer that is never needed is a twentieth of its time. What is needed
    // for the others is in a box, so that the future of each request is small.
    match poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => Box::pin(rest(limit, call)).await,
    }
}

/// The same of a call that has begun.
async fn rest<T>(limit: Duration, mut call: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let began = Instant::now();
    let computed = poll_fn(|cx| match call.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if began.elapsed() >= limit => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    timeout(limit, computed).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::Cell;
    use std::pin::pin;
    use std::rc::Rc;

    use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(5);

    /// As the requests of a core are run.
    fn runtime() -> LocalRuntime {
        Builder::new_current_thread().enable_time().build_local(LocalOptions::default()).unwrap()
    }

    #[test]
    fn a_guest_that_computes_ends_with_the_first_look_past_its_deadline() {
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let endless = poll_fn(move |cx| {
            counted.set(counted.get() + 1);
            // A tick of the epoch.
            std::thread::sleep(Duration::from_millis(1));
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        let runtime = runtime();
        let call = runtime.spawn_local(async { within(LIMIT, pin!(endless)).await });
        assert_eq!(runtime.block_on(call).unwrap(), None);
        // The first is before the time is taken; each of the others takes a millisecond at least.
        assert!(polls.get() <= 6, "{polls:?}");
    }

    #[test]
    fn a_guest_that_waits_is_not_waited_for() {
        let waits = pin!(std::future::pending::<()>());
        assert_eq!(runtime().block_on(within(LIMIT, waits)), None);
    }

    #[test]
    fn an_answer_in_time_is_one_at_the_first_poll_or_later() {
        let runtime = runtime();
        assert_eq!(runtime.block_on(within(LIMIT, pin!(async { 1 }))), Some(1));
        let later = async {
            tokio::task::yield_now().await;
            2
        };
        assert_eq!(runtime.block_on(within(Duration::from_secs(60), pin!(later))), Some(2));
    }
}
