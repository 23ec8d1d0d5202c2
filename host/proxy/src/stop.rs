//! The stages of an orderly shutdown, visible to every layer.
//!
//! ```text
//! Serving -- signal --> Leaving -- accept --> Draining -- grace --> Over
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use tokio::sync::watch;

/// A stage of the shutdown. The order of the variants is the order in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// No shutdown has begun.
    #[default]
    Serving,
    /// The gateway reports that it is not ready, but still accepts and answers: load balancers need
    /// time to notice. Every answer closes its connection.
    Leaving,
    /// Nothing is accepted. Requests in flight are finished.
    Draining,
    /// The grace period is over. Requests in flight get an error and are cut off.
    Over,
}

/// The current stage of a process. It only moves forward.
#[derive(Debug, Default)]
pub struct Stop {
    /// The value of `changed`, cheap to read often.
    stage: AtomicU8,
    changed: watch::Sender<Stage>,
}

impl Stop {
    /// The stage now.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Serving,
            1 => Stage::Leaving,
            2 => Stage::Draining,
            _ => Stage::Over,
        }
    }

    /// Enters `stage`, and wakes everyone who waits for a change. No effect unless `stage` is later
    /// than the current one.
    pub fn enter(&self, stage: Stage) {
        self.changed.send_if_modified(|now| {
            let later = *now < stage;
            if later {
                *now = stage;
                // Stored before anyone wakes, because they read it.
                self.stage.store(stage as u8, Ordering::Release);
            }
            later
        });
    }

    /// All changes from now on.
    pub(crate) fn changes(&self) -> Changes {
        Changes { asked: None, next: next(self.changed.subscribe()) }
    }

    /// Resolves once `stage` or a later one is reached.
    pub async fn reached(&self, stage: Stage) {
        // Cannot fail: `self` holds the sender.
        let _ = self.changed.subscribe().wait_for(|now| *now >= stage).await;
    }
}

/// The changes of a [`Stop`], for one task.
pub(crate) struct Changes {
    /// The task that the next change wakes.
    asked: Option<Arc<Asked>>,
    next: Next,
}

type Next = Pin<Box<dyn Future<Output = watch::Receiver<Stage>> + Send>>;

/// A task to wake, and whether it was woken since it asked.
struct Asked {
    task: Waker,
    woken: AtomicBool,
}

impl Wake for Asked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Stored before the wake-up, because the woken task reads it.
        self.woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

/// Resolves when `receiver` has a new value.
fn next(mut receiver: watch::Receiver<Stage>) -> Next {
    Box::pin(async move {
        if receiver.changed().await.is_err() {
            // The sender is gone: no change can follow.
            std::future::pending().await
        }
        receiver
    })
}

impl Changes {
    /// Ready when the stage has changed since this was last ready. A task that polls again after an
    /// unrelated wake-up pays two comparisons. A future of tokio's would take a lock to compare
    /// wakers.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waits = |asked: &Arc<Asked>| {
            asked.task.will_wake(cx.waker()) && !asked.woken.load(Ordering::Acquire)
        };
        if self.asked.as_ref().is_some_and(waits) {
            return Poll::Pending;
        }
        let asked = Arc::new(Asked { task: cx.waker().clone(), woken: AtomicBool::new(false) });
        self.asked = Some(Arc::clone(&asked));
        let receiver = ready!(self.next.as_mut().poll(&mut Context::from_waker(&asked.into())));
        self.asked = None;
        self.next = next(receiver);
        Poll::Ready(())
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// A task that counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_asked_last_is_woken() {
        let stop = Stop::default();
        let mut changes = stop.changes();
        let tasks = [Arc::<Woken>::default(), Arc::<Woken>::default()];
        let woken = || [0, 1].map(|task| tasks[task].0.load(Ordering::Relaxed));
        for (stage, task) in [(Stage::Leaving, 0), (Stage::Draining, 1)] {
            let waker = Waker::from(Arc::clone(&tasks[task]));
            let mut cx = Context::from_waker(&waker);
            // The future moves to another task, which then polls again.
            for _ in 0..2 {
                assert_eq!(
                    changes.poll_next(&mut Context::from_waker(Waker::noop())),
                    Poll::Pending
                );
                assert_eq!(changes.poll_next(&mut cx), Poll::Pending);
                assert_eq!(changes.poll_next(&mut cx), Poll::Pending);
            }
            stop.enter(stage);
            assert_eq!(changes.poll_next(&mut cx), Poll::Ready(()));
        }
        assert_eq!(woken(), [1, 1]);
    }

    #[test]
    fn a_task_that_was_woken_for_nothing_is_woken_again() {
        let stop = Stop::default();
        let mut changes = stop.changes();
        let task = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&task));
        let mut cx = Context::from_waker(&waker);
        assert_eq!(changes.poll_next(&mut cx), Poll::Pending);
        // As after the first of two changes that one poll sees together.
        changes.next = next(stop.changed.subscribe());
        changes.asked.as_ref().expect("it waits").wake_by_ref();
        assert_eq!(changes.poll_next(&mut cx), Poll::Pending);
        stop.enter(Stage::Leaving);
        assert_eq!(task.0.load(Ordering::Relaxed), 2);
        assert_eq!(changes.poll_next(&mut cx), Poll::Ready(()));
    }

    #[tokio::test]
    async fn stages_only_go_forward_and_wake_those_who_wait() {
        let stop = Stop::default();
        let mut changes = stop.changes();
        stop.enter(Stage::Draining);
        poll_fn(|cx| changes.poll_next(cx)).await;
        stop.enter(Stage::Leaving);
        assert_eq!(stop.stage(), Stage::Draining);
        tokio::join!(stop.reached(Stage::Over), async { stop.enter(Stage::Over) });
        poll_fn(|cx| changes.poll_next(cx)).await;
        assert_eq!(stop.stage(), Stage::Over);
    }
}
