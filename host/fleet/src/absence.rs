//! The time that a deployment is out, for an ejection or a suspicion.

use std::time::{Duration, Instant, SystemTime};

use super::{Condition, State};

/// Since when a deployment is out, and until when. After that it is half-open.
#[derive(Debug)]
pub(super) struct Absence {
    /// For people to read.
    pub(super) reason: String,
    since: SystemTime,
    began: Instant,
    until: Instant,
}

impl Absence {
    /// An absence that begins now.
    pub(super) fn new(reason: String, lasts: Duration, now: Instant) -> Self {
        Self { reason, since: SystemTime::now(), began: now, until: now + lasts }
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// The time from its beginning to its end.
    pub(super) fn lasts(&self) -> Duration {
        self.until - self.began
    }

    /// True if it began before something that was sent at `sent`.
    pub(super) fn began_before(&self, sent: Instant) -> bool {
        sent > self.began
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until <= now
    }

    /// Ends it now. Returns false if it was over.
    pub(super) fn cut_short(&mut self, now: Instant) -> bool {
        let lasted = !self.is_over(now);
        self.until = self.until.min(now);
        lasted
    }

    /// The state of the deployment: `condition`, then half-open.
    pub(super) fn state(&self, condition: Condition, now: Instant) -> State {
        let (condition, since) = match self.is_over(now) {
            false => (condition, self.since),
            true => (Condition::HalfOpen, self.since + self.lasts()),
        };
        State { condition, reason: Some(self.reason.clone()), since, factor: 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_open_counts_from_the_end() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut absence = Absence::new("a".to_owned(), 30 * second, now);
        let began = absence.since;
        let state = |absence: &Absence, at| {
            let State { condition, since, .. } = absence.state(Condition::Ejected, at);
            (condition, since.duration_since(began).expect("not before it began"))
        };
        assert_eq!(state(&absence, now + 29 * second), (Condition::Ejected, Duration::ZERO));
        assert_eq!(state(&absence, now + 30 * second), (Condition::HalfOpen, 30 * second));
        assert!(absence.cut_short(now + 10 * second));
        assert_eq!(state(&absence, now + 20 * second), (Condition::HalfOpen, 10 * second));
        assert!(!absence.cut_short(now + 20 * second), "it was over");
        assert_eq!(absence.lasts(), 10 * second);
    }
}
