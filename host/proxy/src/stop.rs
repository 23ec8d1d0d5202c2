//! How far the orderly stop of the process has come, for every layer to see.
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

/// A part of the stop; each is later than those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// There is none yet.
    #[default]
    Serving,
    /// The gateway is not ready any more, and still accepts and answers: whoever sends it traffic needs
    /// time to notice. Every answer ends its connection.
    Leaving,
    /// Nothing is accepted. What is in flight is finished.
    Draining,
    /// Time is up. What is left is told so and cut.
    Over,
}

/// The stage that a process is in. It never goes back.
#[derive(Debug, Default)]
pub struct Stop {
    /// What `changed` holds, for those who look often.
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

    /// Enters `stage`, and wakes everyone who waits for that. An earlier one than the present has no
    /// effect.
    pub fn enter(&self, stage: Stage) {
        self.changed.send_if_modified(|now| {
            let later = *now < stage;
            if later {
                *now = stage;
                // Before anybody wakes: they look here.
                self.stage.store(stage as u8, Ordering::Release);
            }
            later
        });
    }

    /// Every change from now on.
    pub(crate) fn changes(&self) -> Changes {
        Changes { asked: None, next: next(self.changed.subscribe()) }
    }

    /// Ready once `stage` has come.
    pub async fn reached(&self, stage: Stage) {
        // An error would mean that the sender is gone, which `self` holds.
        let _ = self.changed.subscribe().wait_for(|now| *now >= stage).await;
    }
}

/// The changes of a [`Stop`].
pub(crate) struct Changes {
    /// Who is woken by the next one.
    asked: Option<Arc<Asked>>,
    next: Next,
}

type Next = Pin<Box<dyn Future<Output = watch::Receiver<Stage>> + Send>>;

/// A task that is to be woken, and whether it has been since it asked.
struct Asked {
    task: Waker,
    woken: AtomicBool,
}

impl Wake for Asked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Before it wakes: then it looks here.
        self.woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

/// Ready when `receiver` has something new.
fn next(mut receiver: watch::Receiver<Stage>) -> Next {
    Box::pin(async move {
        if receiver.changed().await.is_err() {
            // Nobody is left who could stop the process.
            std::future::pending().await
        }
        receiver
    })
}

impl Changes {
    /// Ready when the stage has changed since this was last ready. For a task that asks again and was woken by
    /// something else it takes two comparisons; a future of tokio's takes a lock to see whether it wakes the right one.
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
            // One that moved from task to task, and one that asks again.
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
        // As by the first of two changes, of which both are seen when it is polled.
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
