//! Deadlines of guest calls.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::timeout;

/// Runs a guest call for at most `limit`. Returns None past it, and the caller must drop the call.
/// Must be polled inside a Tokio runtime with time enabled.
///
/// A timer ends a guest that waits on a WASI clock. A guest that computes yields at each tick of
/// the epoch and is polled again at once. The runtime checks its timers only after 61 such polls
/// (Tokio's `event_interval`), so this function also checks the time after each poll.
pub(super) async fn within<T>(
    limit: Duration,
    mut call: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    // Nearly every call ends in its first poll, and a timer would add a twentieth to its time. The
    // rest is boxed, so that the future of each request stays small.
    match poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => Box::pin(rest(limit, call)).await,
    }
}

/// Continues a call that did not end in its first poll.
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

    /// A runtime like the one that serves a core's requests.
    fn runtime() -> LocalRuntime {
        Builder::new_current_thread().enable_time().build_local(LocalOptions::default()).unwrap()
    }

    #[test]
    fn a_guest_that_computes_ends_with_the_first_look_past_its_deadline() {
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let endless = poll_fn(move |cx| {
            counted.set(counted.get() + 1);
            // Stands for one tick of the epoch.
            std::thread::sleep(Duration::from_millis(1));
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        let runtime = runtime();
        let call = runtime.spawn_local(async { within(LIMIT, pin!(endless)).await });
        assert_eq!(runtime.block_on(call).unwrap(), None);
        // The first poll is not timed. Each of the others takes at least a millisecond.
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
