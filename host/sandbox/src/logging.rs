//! A guest's access to the gateway's log, with a quota.

use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, enabled, error, info, warn};

use super::log_quota::{Dropped, LogQuota};
use super::text::printable;

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

/// Writes to the log for one instance.
pub(super) struct Log {
    /// The strategy's name.
    strategy: Arc<str>,
    /// The quota that all instances of the strategy share.
    quota: Arc<LogQuota>,
}

impl Log {
    pub(super) fn new(strategy: Arc<str>, quota: Arc<LogQuota>) -> Self {
        Self { strategy, quota }
    }

    /// Changes the strategy's name, because its own is known only after `describe`.
    pub(super) fn rename(&mut self, strategy: Arc<str>) {
        self.strategy = strategy;
    }

    /// Called at the start of a call: tells of messages that were dropped in a minute that is over.
    pub(super) fn begin(&self) {
        if self.quota.has_dropped() {
            self.tell(self.quota.over(Instant::now()));
        }
    }

    pub(super) fn write(&self, level: Level, message: &str) {
        // What the log leaves out by its level must not use up the quota.
        let is_heard = match level {
            Level::Debug => enabled!(target: "strategy", tracing::Level::DEBUG),
            Level::Info => enabled!(target: "strategy", tracing::Level::INFO),
            Level::Warn => enabled!(target: "strategy", tracing::Level::WARN),
            Level::Error => enabled!(target: "strategy", tracing::Level::ERROR),
        };
        if !is_heard {
            return;
        }
        let (strategy, message) = (&*self.strategy, printable(message, MESSAGE));
        let taken = self.quota.take(message.len(), Instant::now());
        self.tell(taken.over);
        if taken.is_first_dropped {
            warn!(strategy, "the strategy's further messages of this minute are dropped");
        }
        if !taken.fits {
            return;
        }
        match level {
            Level::Debug => debug!(target: "strategy", strategy, "{message}"),
            Level::Info => info!(target: "strategy", strategy, "{message}"),
            Level::Warn => warn!(target: "strategy", strategy, "{message}"),
            Level::Error => error!(target: "strategy", strategy, "{message}"),
        }
    }

    fn tell(&self, dropped: Option<Dropped>) {
        if let Some(Dropped { messages, bytes }) = dropped {
            let strategy = &*self.strategy;
            warn!(strategy, messages, bytes, "messages of the strategy were dropped in a minute");
        }
    }
}
