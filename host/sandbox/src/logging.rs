//! A guest's access to the gateway's log, with a quota.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::text::printable;

/// Maximum messages of one call or, on the request path, of one [`SECOND`]. Further ones are
/// dropped.
const MESSAGES: u32 = 100;
/// Window of the quota on the request path, where thousands of calls a second may each write.
const SECOND: Duration = Duration::from_secs(1);
/// Maximum bytes of one message. The rest is cut off.
const MESSAGE: usize = 1_024;

/// Severity of a message, the same for all versions of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Writes to the log for one instance, within its quota.
pub(super) struct Log {
    /// The strategy's name.
    strategy: Arc<str>,
    /// Messages that may still be written.
    left: u32,
    /// Start of the current window on the request path.
    since: Option<Instant>,
}

impl Log {
    pub(super) fn new(strategy: Arc<str>) -> Self {
        Self { strategy, left: MESSAGES, since: None }
    }

    /// Changes the strategy's name, because its own is known only after `describe`.
    pub(super) fn rename(&mut self, strategy: Arc<str>) {
        self.strategy = strategy;
    }

    /// Refills the quota at the start of a call.
    pub(super) fn refill(&mut self) {
        self.left = MESSAGES;
    }

    /// Refills the quota at the start of a call on the request path, if the window is over.
    pub(super) fn refill_by_time(&mut self) {
        if self.left == MESSAGES {
            return;
        }
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) >= SECOND {
            self.left = MESSAGES;
            self.since = None;
        }
    }

    pub(super) fn write(&mut self, level: Level, message: &str) {
        let strategy = &*self.strategy;
        let Some(left) = self.left.checked_sub(1) else { return };
        self.left = left;
        let message = printable(message, MESSAGE);
        match level {
            Level::Debug => tracing::debug!(target: "strategy", strategy, "{message}"),
            Level::Info => tracing::info!(target: "strategy", strategy, "{message}"),
            Level::Warn => tracing::warn!(target: "strategy", strategy, "{message}"),
            Level::Error => tracing::error!(target: "strategy", strategy, "{message}"),
        }
        if left == 0 {
            tracing::warn!(strategy, "the strategy's further messages in this call are dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_writes_a_hundred_messages() {
        let mut log = Log::new("x".into());
        for _ in 0..150 {
            log.write(Level::Debug, "again");
        }
        assert_eq!(log.left, 0);
        log.refill();
        assert_eq!(log.left, MESSAGES);
    }

    #[test]
    fn calls_of_a_second_on_the_path_share_their_messages() {
        let mut log = Log::new("x".into());
        for _ in 0..30 {
            log.refill_by_time();
            (0..10).for_each(|_| log.write(Level::Debug, "again"));
        }
        assert_eq!(log.left, 0);
        log.since = Instant::now().checked_sub(SECOND);
        log.refill_by_time();
        assert_eq!(log.left, MESSAGES);
    }
}
