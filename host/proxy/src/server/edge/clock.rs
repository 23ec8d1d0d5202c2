//! The one timer of a connection. A deadline that moves back is applied only when the timer fires,
//! which is cheaper than moving the timer with every request.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A timer that may fire before its deadline.
#[derive(Debug)]
pub(super) struct Clock {
    timer: Pin<Box<Sleep>>,
}

impl Clock {
    /// A timer that fires after `first`.
    pub(super) fn new(first: Duration) -> Self {
        Self { timer: Box::pin(tokio::time::sleep(first)) }
    }

    /// Whether `due` has passed. If not, the task is woken then.
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
}
