//! A quota that the deployment counts, and tells in the headers of its answers.
//!
//! An answer tells what was left when the deployment took its request. Attempts that were sent later
//! are not in it, so they are taken off. An answer to an earlier attempt may be older: it can only
//! lower what is left.
//!
//! A deployment that tells nothing has no limit that is known. Once its window turns, what it told
//! is over. Its whole limit is then presumed to be left for one more window, so that not all waiting
//! requests go at once.

use std::time::{Duration, Instant};

/// Two clocks that the same answer is timed by may differ by so much.
const SLACK: Duration = Duration::from_secs(1);

/// What an answer says of one quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tale {
    pub(super) limit: Option<u64>,
    pub(super) remaining: u64,
    /// Time until the window turns, at most its length.
    pub(super) reset: Duration,
}

/// Where an attempt stands among all that were sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its number, from 1 on.
    number: u64,
    /// What all attempts up to it were expected to take.
    sum: u64,
}

/// What is known of the quota.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The attempt sent last.
    last: Mark,
    latest: Option<Latest>,
    /// The attempt that was sent last before the window turned, and when it turned.
    turned: Option<(u64, Instant)>,
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    /// The attempt that told it.
    mark: Mark,
    remaining: u64,
    limit: Option<u64>,
    resets: Instant,
    /// Nothing was told yet in this window.
    is_presumed: bool,
}

impl Told {
    /// Goes on to the window of now, which has the length `period`. `usual` is the limit of a
    /// deployment that tells none.
    pub(super) fn turn(&mut self, period: Duration, usual: u64, now: Instant) {
        let Some(over) = self.latest.filter(|latest| latest.resets <= now) else { return };
        self.turned = Some((self.last.number, over.resets));
        let resets = over.resets.checked_add(period);
        let mark = self.last;
        self.latest = resets.filter(|at| *at > now && !over.is_presumed).map(|resets| Latest {
            mark,
            remaining: over.limit.unwrap_or(usual),
            resets,
            is_presumed: true,
            ..over
        });
    }

    /// Counts an attempt that is sent now, and is expected to take `amount`.
    pub(super) fn send(&mut self, amount: u64) -> Mark {
        self.last = Mark { number: self.last.number + 1, sum: self.last.sum.wrapping_add(amount) };
        self.last
    }

    /// Takes back an attempt that was not sent.
    pub(super) fn give_back(&mut self, mark: Mark, amount: u64) {
        // Attempts after it have it in their sums, so only the last one can be taken back.
        if self.last == mark {
            self.last.sum = mark.sum.wrapping_sub(amount);
        }
    }

    /// Records what the answer to the attempt of `mark`, sent at `sent`, tells.
    pub(super) fn tell(&mut self, tale: Tale, mark: Mark, sent: Instant, now: Instant) {
        let is_over = self
            .turned
            .is_some_and(|(number, at)| mark.number <= number && sent + tale.reset <= at + SLACK);
        if is_over || tale.reset.is_zero() {
            return;
        }
        let limit = tale.limit.filter(|limit| *limit > 0);
        let remaining = limit.map_or(tale.remaining, |limit| tale.remaining.min(limit));
        let resets = now.checked_add(tale.reset).unwrap_or(now);
        let new = Latest { mark, remaining, limit, resets, is_presumed: false };
        let is_news = self.latest.is_none_or(|latest| {
            latest.is_presumed
                || mark.number >= latest.mark.number
                || self.left_of(&new) < self.left_of(&latest)
        });
        if is_news {
            let known = self.latest.and_then(|latest| latest.limit);
            self.latest = Some(Latest { limit: limit.or(known), ..new });
        }
    }

    /// What is left, when the window turns, and the limit. None: nothing is known.
    pub(super) fn left(&self) -> Option<(u64, Instant, Option<u64>)> {
        let latest = self.latest.as_ref()?;
        Some((self.left_of(latest), latest.resets, latest.limit))
    }

    fn left_of(&self, latest: &Latest) -> u64 {
        latest.remaining.saturating_sub(self.last.sum.wrapping_sub(latest.mark.sum))
    }
}
