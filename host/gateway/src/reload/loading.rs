//! The state of a load that its caller can see and cancel.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use sandbox::Cancellation;

use super::seen::{Seen, content};

/// A load under way. Its caller can see the files that it has looked at so far, and cancel it.
#[derive(Debug, Default)]
pub(crate) struct Loading {
    seen: Mutex<Seen>,
    cancellation: Cancellation,
    is_transient: AtomicBool,
}

impl Loading {
    /// Records a file's content. Must be called before the load reads the file: see [`Seen`].
    pub(super) fn look(&self, file: &Path) {
        let content = content(file);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).add(file, content);
    }

    /// The files that were recorded so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Canceled when the result of the load is no longer wanted.
    pub(crate) fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// Notes that the load failed for lack of time or of another resource of the machine.
    pub(super) fn mark_transient(&self) {
        self.is_transient.store(true, Ordering::Relaxed);
    }

    /// True if the load failed for lack of time or of another resource of the machine.
    pub(super) fn is_transient(&self) -> bool {
        self.is_transient.load(Ordering::Relaxed)
    }
}
