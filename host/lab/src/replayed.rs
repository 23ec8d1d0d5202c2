//! Time and chance that can be had again.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use contract::{Moment, Surroundings};

/// Monday, 2026-01-05 00:00 UTC, in milliseconds since 1970.
pub(crate) const BEGIN: u64 = 1_767_571_200_000;

/// Time that the owner sets, and random numbers of a seed.
#[derive(Debug)]
pub struct Replayed {
    /// Milliseconds since 1970-01-01 00:00 UTC.
    now: AtomicU64,
    /// Minutes that the time zone is ahead of UTC.
    offset: AtomicI32,
    chance: Mutex<StdRng>,
}

impl Replayed {
    /// Time begins on a Monday at midnight, UTC.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let chance = Mutex::new(StdRng::seed_from_u64(seed));
        Self { now: AtomicU64::new(BEGIN), offset: AtomicI32::new(0), chance }
    }

    /// Sets the time since the begin.
    pub fn set(&self, now: Duration) {
        let milliseconds = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.now.store(BEGIN.saturating_add(milliseconds), Ordering::Relaxed);
    }

    /// Sets the moment, and the offset of its time zone.
    pub fn set_moment(&self, Moment { milliseconds, offset }: Moment) {
        self.now.store(milliseconds, Ordering::Relaxed);
        self.offset.store(offset, Ordering::Relaxed);
    }
}

impl Default for Replayed {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Surroundings for Replayed {
    fn now(&self) -> Moment {
        Moment {
            milliseconds: self.now.load(Ordering::Relaxed),
            offset: self.offset.load(Ordering::Relaxed),
        }
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
        assert_eq!(b.now(), Moment { milliseconds: BEGIN, offset: 0 });
        let noon = Moment { milliseconds: 43_200_000, offset: -300 };
        b.set_moment(noon);
        assert_eq!(b.now(), noon);
        let drawn = |of: &Replayed| [of.draw(), of.draw()];
        let numbers = drawn(&a);
        assert_eq!(numbers, drawn(&b));
        assert!(numbers[0] != numbers[1] && numbers.iter().all(|n| (0.0..1.0).contains(n)));
        assert_ne!(drawn(&Replayed::new(8)), numbers);
    }
}
