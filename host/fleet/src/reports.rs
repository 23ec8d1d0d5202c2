//! How often a kind of failure is told in the log: at once, then once a minute with its count.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two lines about one kind of failure.
const INTERVAL: Duration = Duration::from_secs(60);

/// The failures of one deployment that were not told yet. Kinds come from a bounded set.
#[derive(Debug, Default)]
pub struct Reports(Mutex<Vec<Kind>>);

#[derive(Debug)]
struct Kind {
    label: Cow<'static, str>,
    told: Instant,
    /// Failures since `told`.
    count: u64,
}

impl Reports {
    /// Counts a failure of this kind. Returns how many to tell of now, this one included. None: a
    /// line about it was written less than a minute ago.
    pub fn note(&self, label: Cow<'static, str>, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kind) = kinds.iter_mut().find(|kind| kind.label == label) else {
            kinds.push(Kind { label, told: now, count: 0 });
            return Some(1);
        };
        kind.count += 1;
        let due = now.saturating_duration_since(kind.told) >= INTERVAL;
        due.then(|| {
            kind.told = now;
            std::mem::take(&mut kind.count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_at_once_and_then_each_minute() {
        let (reports, start) = (Reports::default(), Instant::now());
        let note = |label: &'static str, second| {
            reports.note(label.into(), start + Duration::from_secs(second))
        };
        assert_eq!(note("connect", 0), Some(1));
        assert_eq!(note("tls", 1), Some(1));
        for second in 1..60 {
            assert_eq!(note("connect", second), None);
        }
        assert_eq!(note("connect", 60), Some(60));
        assert_eq!(note("connect", 61), None);
        assert_eq!(note("connect", 600), Some(2));
    }
}
