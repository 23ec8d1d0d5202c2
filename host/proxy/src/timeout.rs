//! Turns a time limit into a deadline, and waits for a future until then. A future that is ready at
//! once costs little: a body that arrived with its head, an answer whose first bytes are here.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::task::coop::{Unconstrained, unconstrained};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, Timeout};

use routing::Phase;

/// The time from now to the deadline of the whole request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) now: Instant,
    /// Deadline of the whole request.
    pub(crate) end: Instant,
}

/// A deadline, and the time limit that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    /// The time limit that has passed at the deadline.
    pub(crate) phase: Phase,
}

impl Span {
    /// The deadline for `limit` from now, or that of the request if it is earlier.
    pub(crate) fn deadline(self, limit: Duration, phase: Phase) -> Deadline {
        let left = self.end.saturating_duration_since(self.now);
        if left < limit {
            return Deadline { at: self.now + left, phase: Phase::Total };
        }
        Deadline { at: self.now + limit, phase }
    }
}

/// The output of `future`, if it is ready by `deadline`. Unlike [`tokio::time::timeout_at`] it
/// makes no timer before it has to wait: a timer counts a reference to the runtime.
///
/// # Errors
/// If `future` is not ready by `deadline`.
pub(crate) async fn timeout_at<F: Future>(
    deadline: Instant,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut timer = pin!(None::<Unconstrained<Timeout<std::future::Pending<()>>>>);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if timer.is_none() {
            let elapsed = tokio::time::timeout_at(deadline, std::future::pending());
            // Unconstrained: the timer must fire even if `future` has used up the budget of the
            // task.
            timer.set(Some(unconstrained(elapsed)));
        }
        match timer.as_mut().as_pin_mut().map(|timer| timer.poll(cx)) {
            Some(Poll::Ready(Err(elapsed))) => Poll::Ready(Err(elapsed)),
            _ => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn the_end_of_the_request_cuts_every_limit() {
        let now = Instant::now();
        let [short, long] = [1, 60].map(Duration::from_secs);
        let span = Span { now, end: now + short };
        let total = Deadline { at: now + short, phase: Phase::Total };
        assert_eq!(span.deadline(long, Phase::Idle), total);
        let idle = Deadline { at: now + short, phase: Phase::Idle };
        assert_eq!(
            span.deadline(short, Phase::Idle),
            idle,
            "the limit itself, where both end at once"
        );
        let late = Span { now: now + long, ..span }.deadline(short, Phase::Idle);
        assert_eq!(late, Deadline { at: now + long, phase: Phase::Total });
    }

    #[tokio::test]
    async fn what_comes_in_time_is_taken_and_what_does_not_is_not_waited_for() {
        let (past, far) = (Instant::now(), Instant::now() + Duration::from_secs(1000));
        assert_eq!(timeout_at(past, async { 1 }).await.unwrap(), 1, "it is there");
        let (sender, receiver) = oneshot::channel();
        let send = async {
            tokio::task::yield_now().await;
            sender.send(2).unwrap();
        };
        let (received, ()) = tokio::join!(timeout_at(far, receiver), send);
        assert_eq!(received.unwrap().unwrap(), 2);
        timeout_at(past, std::future::pending::<()>()).await.unwrap_err();
        let soon = Instant::now() + Duration::from_millis(5);
        timeout_at(soon, std::future::pending::<()>()).await.unwrap_err();
        assert!(Instant::now() >= soon);
    }
}
