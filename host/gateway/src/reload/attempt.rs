//! One load under way, as those see it who wait for it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use sandbox::Cancellation;

use super::seen::{Seen, content};

/// A load under way. Who started it can see which files it goes by so far, and cancel it.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    seen: Mutex<Seen>,
    cancellation: Cancellation,
    may_pass: AtomicBool,
}

impl Attempt {
    /// Looks at a file before it is read.
    pub(super) fn look(&self, file: &Path) {
        let content = content(file);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).add(file, content);
    }

    /// The files so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it is still wanted.
    pub(crate) fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    /// Notes that it failed for want of time, or of something else of the machine.
    pub(super) fn may_pass(&self) {
        self.may_pass.store(true, Ordering::Relaxed);
    }

    /// Whether it failed for such a want.
    pub(super) fn passes(&self) -> bool {
        self.may_pass.load(Ordering::Relaxed)
    }
}
