//! How much a strategy may write to the log in a minute.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time after which a new quota begins.
const MINUTE: Duration = Duration::from_secs(60);
/// Maximum messages in a minute. Further ones are dropped.
const MESSAGES: u64 = 600;
/// Maximum bytes of all messages in a minute.
const BYTES: u64 = 128 << 10;

/// The quota of one strategy, which its instances on all cores share.
#[derive(Debug, Default)]
pub(super) struct LogQuota {
    minute: Mutex<Minute>,
    /// True if the minute has dropped messages. Read without the lock.
    has_dropped: AtomicBool,
}

#[derive(Debug, Default)]
struct Minute {
    /// Its first message. None before the first.
    began: Option<Instant>,
    messages: u64,
    bytes: u64,
    dropped: Dropped,
}

/// Messages that were dropped in one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) messages: u64,
    /// Their bytes, each message cut to its maximum.
    pub(super) bytes: u64,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// True if it is written.
    pub(super) fits: bool,
    /// True if it is the first of its minute that is dropped.
    pub(super) is_first_dropped: bool,
    /// What the minute before has dropped, if this message begins a new one.
    pub(super) over: Option<Dropped>,
}

impl LogQuota {
    /// Counts a message of so many bytes.
    pub(super) fn take(&self, bytes: usize, now: Instant) -> Taken {
        self.with(|minute| {
            let over = minute.end(now);
            minute.began.get_or_insert(now);
            let bytes = bytes as u64;
            let fits = minute.messages < MESSAGES && minute.bytes + bytes <= BYTES;
            let dropped = &mut minute.dropped;
            let is_first_dropped = !fits && dropped.messages == 0;
            if fits {
                minute.messages += 1;
                minute.bytes += bytes;
            } else {
                dropped.messages += 1;
                dropped.bytes += bytes;
            }
            Taken { fits, is_first_dropped, over }
        })
    }

    /// True if the minute has dropped messages, which [`Self::over`] or [`Self::take`] will tell.
    pub(super) fn has_dropped(&self) -> bool {
        self.has_dropped.load(Ordering::Relaxed)
    }

    /// What the minute has dropped, if it is over. Each message is told once.
    pub(super) fn over(&self, now: Instant) -> Option<Dropped> {
        self.with(|minute| minute.end(now))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Minute) -> T) -> T {
        // Nothing in `act` can panic between related changes.
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut minute);
        self.has_dropped.store(minute.dropped.messages > 0, Ordering::Relaxed);
        result
    }
}

impl Minute {
    /// Begins a new minute if this one is over. Returns what it has dropped, if anything.
    fn end(&mut self, now: Instant) -> Option<Dropped> {
        let is_over = |began| now.saturating_duration_since(began) >= MINUTE;
        if !self.began.is_some_and(is_over) {
            return None;
        }
        let dropped = std::mem::take(self).dropped;
        (dropped.messages > 0).then_some(dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: Taken = Taken { fits: true, is_first_dropped: false, over: None };

    #[test]
    fn messages_of_a_minute_are_bounded_and_the_others_told_once() {
        let (quota, start) = (LogQuota::default(), Instant::now());
        assert!((0..MESSAGES).all(|_| quota.take(10, start) == WRITTEN));
        assert!(!quota.has_dropped());
        assert!(quota.take(10, start).is_first_dropped);
        let later = start + MINUTE - Duration::from_nanos(1);
        let taken = Taken { fits: false, is_first_dropped: false, over: None };
        assert_eq!(quota.take(10, later), taken);
        assert!(quota.has_dropped() && quota.over(later).is_none());
        let dropped = Dropped { messages: 2, bytes: 20 };
        assert_eq!(quota.over(start + MINUTE), Some(dropped));
        assert!(!quota.has_dropped());
        assert_eq!(quota.over(start + 3 * MINUTE), None);
        assert_eq!(quota.take(10, start + 3 * MINUTE), WRITTEN);
    }

    #[test]
    fn bytes_of_a_minute_are_bounded_too() {
        let (quota, start) = (LogQuota::default(), Instant::now());
        let fits = (0..MESSAGES).filter(|_| quota.take(1 << 10, start).fits).count();
        assert_eq!(fits as u64, BYTES >> 10);
        let dropped = Dropped { messages: MESSAGES - 128, bytes: (MESSAGES - 128) << 10 };
        assert_eq!(quota.take(1, start + MINUTE), Taken { over: Some(dropped), ..WRITTEN });
    }
}
