//! The queue of ended attempts for a strategy that learns from them.

use std::sync::{Mutex, PoisonError};

use contract::EndedAttempt;

/// Attempts that may wait. Further ones are dropped.
const MOST: usize = 4096;

/// Filled by requests on all cores, emptied by the decision thread.
#[derive(Debug, Default)]
pub struct AttemptQueue(Mutex<Vec<EndedAttempt>>);

impl AttemptQueue {
    /// Adds an attempt. Drops it if the queue is full.
    pub fn add(&self, attempt: EndedAttempt) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST {
            waiting.push(attempt);
        }
    }

    /// Takes all attempts from the queue.
    #[must_use]
    pub fn take(&self) -> Vec<EndedAttempt> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use contract::Ending;

    #[test]
    fn what_waits_is_bounded() {
        let attempt_queue = AttemptQueue::default();
        let attempt = EndedAttempt::new(0, Ending::Ok, Duration::ZERO);
        (0..MOST + 10).for_each(|_| attempt_queue.add(attempt));
        assert_eq!((attempt_queue.take().len(), attempt_queue.take().len()), (MOST, 0));
    }
}
