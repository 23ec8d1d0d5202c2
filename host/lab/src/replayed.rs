//! Time and chance that can be had again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use contract::{Moment, Surroundings};

/// Monday, 2026-01-05 00:00 UTC, in milliseconds since 1970.
const BEGIN: u64 = 1_767_571_200_000;

/// Time that the owner sets, and random numbers of a seed.
#[derive(Debug)]
pub struct Replayed {
    /// Milliseconds since [`BEGIN`].
    now: AtomicU64,
    chance: Mutex<StdRng>,
}

impl Replayed {
    /// Time begins on a Monday at midnight, UTC.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { now: AtomicU64::new(0), chance: Mutex::new(StdRng::seed_from_u64(seed)) }
    }

    /// Sets the time since the begin.
    pub fn set(&self, now: Duration) {
        let milliseconds = u64::try_from(now.as_millis()).unwrap_or(u64::MAX - BEGIN);
        self.now.store(milliseconds, Ordering::Relaxed);
    }
}

impl Default for Replayed {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Surroundings for Replayed {
    fn now(&self) -> Moment {
        let milliseconds = BEGIN.saturating_add(self.now.load(Ordering::Relaxed));
        Moment { milliseconds, offset: 0 }
    }

    fn draw(&self) -> f64 {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_set_and_chance_comes_again() {
        let [a, b] = [7, 7].map(Replayed::new);
        a.set(Duration::from_secs(90));
        assert_eq!(a.now(), Moment { milliseconds: BEGIN + 90_000, offset: 0 });
        assert_eq!(b.now().milliseconds, BEGIN);
        let drawn = |of: &Replayed| [of.draw(), of.draw()];
        let numbers = drawn(&a);
        assert_eq!(numbers, drawn(&b));
        assert!(numbers[0] != numbers[1] && numbers.iter().all(|n| (0.0..1.0).contains(n)));
        assert_ne!(drawn(&Replayed::new(8)), numbers);
    }
}
