//! What a guest writes to the gateway's log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::text::printable;

/// Messages of one call, or, on the request path, of one [`SECOND`]; those past it are dropped.
const MESSAGES: u32 = 100;
/// Calls for requests come by the thousand: their messages are counted together for so long.
const SECOND: Duration = Duration::from_secs(1);
/// Bytes of one message; the rest is cut.
const MESSAGE: usize = 1_024;

/// How much an operator wants to know of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// A guest's way to the log, with what it may still write in this call.
pub(super) struct Log {
    /// The strategy's name.
    strategy: Arc<str>,
    left: u32,
    /// When a second of the request path began.
    since: Option<Instant>,
}

impl Log {
    pub(super) fn new(strategy: Arc<str>) -> Self {
        Self { strategy, left: MESSAGES, since: None }
    }

    /// From now on under this name: a strategy's own is known only after `describe`.
    pub(super) fn rename(&mut self, strategy: Arc<str>) {
        self.strategy = strategy;
    }

    /// Begins a call.
    pub(super) fn refill(&mut self) {
        self.left = MESSAGES;
    }

    /// Begins a call on the request path.
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
