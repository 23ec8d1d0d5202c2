//! The number of requests that a deployment takes at a time, learned from its answers.
//!
//! A refusal sets a limit just below the number of requests that were out, and the limit rises again
//! by one for each round of good answers. A level that was refused is shunned for a while.

use std::time::Instant;

use super::offers::Offers;
use super::refused_level::RefusedLevel;
use super::sharing::Sharing;

/// Part of the limit that is kept after a refusal at a level that was good before.
const KEPT: f64 = 0.8;

/// The limit that one deployment taught.
#[derive(Debug, Default)]
pub(super) struct LearnedLimit {
    /// At least 1. None: the configured limit.
    limit: Option<u32>,
    /// The highest level at which a round of answers was good. 0: none is known.
    good: u32,
    /// Good answers since the limit changed. An answer counts only if as many requests as the limit
    /// were out.
    round: u32,
    /// When the limit last fell below what was good.
    fell: Option<Instant>,
    refused: Option<RefusedLevel>,
    /// When the limit was set last.
    changed: Option<Instant>,
    offers: Offers,
}

impl LearnedLimit {
    /// The learned limit, also if it is above the configured one.
    pub(super) fn learned(&self) -> Option<u32> {
        self.limit
    }

    /// The limit in force, at most the configured `max`.
    pub(super) fn in_force(&self, max: u32) -> u32 {
        self.limit.unwrap_or(max).min(max)
    }

    /// True if a round of answers was good at this level or above it.
    pub(super) fn was_good(&self, level: u32) -> bool {
        level <= self.good
    }

    /// True if the limit rose to this level after a lower one was good, and tries it now.
    pub(super) fn tries(&self, level: u32) -> bool {
        self.good > 0 && self.good < level && self.limit == Some(level)
    }

    /// True if the limit fell below what was good after this time.
    pub(super) fn fell_after(&self, time: Instant) -> bool {
        self.fell.is_some_and(|fell| time < fell)
    }

    /// Counts a request, which brings the next try of a refused level nearer.
    pub(super) fn count(&mut self) {
        if let Some(refused) = &mut self.refused {
            refused.count();
        }
    }

    /// A request was refused while nothing else was out: nothing is known of any level.
    pub(super) fn restart(&mut self, now: Instant) {
        self.good = 0;
        self.set(Some(1), now);
    }

    /// A request was refused at a level that was good before: others took the places.
    pub(super) fn crowded_out(&mut self, max: u32, sharing: &Sharing, now: Instant) {
        self.offers.taken();
        self.fall(max, false, sharing, now);
    }

    /// A request was refused while `out` were out, it included. At least two, and more than was good.
    pub(super) fn refused(&mut self, out: u32, max: u32, sharing: &Sharing, now: Instant) {
        let limit = self.in_force(max);
        let was_retry = self.limit == Some(out) && self.good + 1 == out;
        let lower = limit.min(out - 1);
        self.good = self.good.min(out - 1);
        // A limit that is lower already says nothing of that level.
        if out <= limit.saturating_add(1) {
            self.refuse_level(out, false, sharing, now);
        }
        let left = if was_retry { self.offers.left_of(lower) } else { lower };
        self.set(Some(left), now);
    }

    /// Requests stalled while `out` were out, more than was good. `max`: the highest limit from now
    /// on.
    pub(super) fn stalled_at(&mut self, out: u32, max: u32, sharing: &Sharing, now: Instant) {
        // Leaves a margin: at the level below, the next long prompt is late.
        let limit = kept(out, KEPT).min(max);
        self.set(Some(limit), now);
        self.refuse_level(limit + 1, true, sharing, now);
    }

    /// Too many requests stalled at a level that was good before.
    pub(super) fn stalled(&mut self, max: u32, sharing: &Sharing, now: Instant) {
        self.fall(max, true, sharing, now);
    }

    /// The answer to a request that was sent at `sent` was good. `out` requests were out, it
    /// included.
    pub(super) fn answered(
        &mut self,
        sent: Instant,
        out: u32,
        max: u32,
        sharing: &Sharing,
        now: Instant,
    ) {
        self.offers.earn();
        let Some(limit) = self.limit else { return };
        if out < limit {
            return;
        }
        // Requests that were sent before the limit was set do not show that it is good.
        if self.changed.is_none_or(|changed| sent >= changed) {
            self.round += 1;
            // An engine that refuses what it has no place for has taken one more: it has grown.
            self.refused.take_if(|refused| !refused.by_stall && refused.level <= limit);
        }
        let is_good = self.round >= limit;
        if is_good {
            self.good = self.good.max(limit);
            self.offers.regained(limit);
        }
        // With nothing known against any level the limit doubles with each round.
        if (is_good || self.refused.is_none()) && self.may_try(limit + 1, sharing, now) {
            self.set((limit + 1 < max).then_some(limit + 1), now);
        }
    }

    /// True if a limit may rise to this level.
    fn may_try(&self, level: u32, sharing: &Sharing, now: Instant) -> bool {
        self.refused.is_none_or(|refused| refused.allows(level, sharing.side, now))
    }

    fn refuse_level(&mut self, level: u32, by_stall: bool, sharing: &Sharing, now: Instant) {
        let before = self.refused.filter(|refused| refused.level == level);
        // One burst of refusals is one refusal.
        if before.is_some_and(|refused| !refused.allows(level, sharing.side, now)) {
            return;
        }
        let step = RefusedLevel::step(before, level, by_stall, sharing.is_shared(now));
        let until = now + sharing.jittered(step, now);
        self.refused = Some(RefusedLevel::new(level, by_stall, step, until));
    }

    /// Lowers the limit by a part, below what was good.
    fn fall(&mut self, max: u32, by_stall: bool, sharing: &Sharing, now: Instant) {
        let limit = kept(self.in_force(max), KEPT);
        self.fell = Some(now);
        self.good = self.good.min(limit);
        self.set(Some(limit), now);
        let step = RefusedLevel::step(None, limit + 1, by_stall, false);
        let until = now + sharing.jittered(step, now);
        self.refused = Some(RefusedLevel::new(limit + 1, by_stall, step, until));
    }

    /// Sets the limit, which begins a new round.
    fn set(&mut self, limit: Option<u32>, now: Instant) {
        self.limit = limit;
        self.round = 0;
        self.changed = Some(now);
    }
}

/// This part of a limit, rounded down, at least 1 and below the limit where that is above 1.
pub(super) fn kept(limit: u32, part: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a u32")]
    let part = (f64::from(limit) * part) as u32;
    part.clamp(1, limit.saturating_sub(1).max(1))
}
