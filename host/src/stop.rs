//! How far the orderly stop of the process has come, for every layer to see.
//!
//! ```text
//! Serving -- signal --> Leaving -- accept --> Draining -- grace --> Over
//! ```

use std::sync::atomic::{AtomicU8, Ordering};

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
        Changes(self.changed.subscribe())
    }

    /// Ready once `stage` has come.
    pub async fn reached(&self, stage: Stage) {
        // An error would mean that the sender is gone, which `self` holds.
        let _ = self.changed.subscribe().wait_for(|now| *now >= stage).await;
    }
}

/// The changes of a [`Stop`].
#[derive(Debug)]
pub(crate) struct Changes(watch::Receiver<Stage>);

impl Changes {
    /// Ready when the stage has changed since this was last ready.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left who could stop the process.
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stages_only_go_forward_and_wake_those_who_wait() {
        let stop = Stop::default();
        let mut changes = stop.changes();
        stop.enter(Stage::Draining);
        changes.next().await;
        stop.enter(Stage::Leaving);
        assert_eq!(stop.stage(), Stage::Draining);
        tokio::join!(stop.reached(Stage::Over), async { stop.enter(Stage::Over) });
        changes.next().await;
        assert_eq!(stop.stage(), Stage::Over);
    }
}
