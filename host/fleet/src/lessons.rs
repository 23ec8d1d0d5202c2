//! Attempts that have ended, on their way to a strategy that learns from them.

use std::sync::{Mutex, PoisonError};

use contract::Attempt;

/// Attempts that wait to be told; more are left out.
const MOST: usize = 4096;

/// Filled by requests on all cores, emptied by the decision thread.
#[derive(Debug, Default)]
pub struct Lessons(Mutex<Vec<Attempt>>);

impl Lessons {
    /// Adds an attempt, unless too many wait.
    pub fn add(&self, attempt: Attempt) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST {
            waiting.push(attempt);
        }
    }

    /// All that wait.
    #[must_use]
    pub fn take(&self) -> Vec<Attempt> {
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
        let lessons = Lessons::default();
        let attempt = Attempt {
            deployment: 0,
            ending: Ending::Ok,
            status: None,
            first_byte: None,
            total: Duration::ZERO,
            prompt_tokens: None,
            completion_tokens: None,
            cost: None,
        };
        (0..MOST + 10).for_each(|_| lessons.add(attempt));
        assert_eq!((lessons.take().len(), lessons.take().len()), (MOST, 0));
    }
}
