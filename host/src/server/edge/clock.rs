//! The one timer of a connection. It is set seldom: a timer that fires too early is set again, which
//! is cheaper than to move it with every request.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// See the module.
#[derive(Debug)]
pub(super) struct Clock {
    timer: Pin<Box<Sleep>>,
    /// When it fires since [`wake`](Self::wake) was asked last, and for how long that was.
    wakes: Option<(Instant, Duration)>,
}

impl Clock {
    /// A timer that fires after `first`.
    pub(super) fn new(first: Duration) -> Self {
        Self { timer: Box::pin(tokio::time::sleep(first)), wakes: None }
    }

    /// Whether it is later than `due`. If not, the task is woken then.
    pub(super) fn is_past(&mut self, due: Instant, cx: &mut Context<'_>) -> bool {
        if self.timer.deadline() > due {
            self.timer.as_mut().reset(due);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return true;
            }
            self.timer.as_mut().reset(due);
        }
        false
    }

    /// Wakes the task after `at_most`, or earlier. It is asked each time a request's task is polled: a timer that
    /// was set here and has not fired is early enough for the same time, and is not looked at.
    pub(super) fn wake(&mut self, at_most: Duration, cx: &mut Context<'_>) {
        let is_set = |(fires, within)| fires == self.timer.deadline() && within <= at_most;
        if self.wakes.is_some_and(is_set) && !self.timer.is_elapsed() {
            return;
        }
        let due = Instant::now() + at_most;
        if self.is_past(due, cx) {
            cx.waker().wake_by_ref();
        }
        self.wakes = Some((self.timer.deadline(), at_most));
    }
}
