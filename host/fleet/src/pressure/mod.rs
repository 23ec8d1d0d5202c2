//! The signs of pressure on a deployment: refusals, stalls, what is left of an allowance.
//!
//! A full engine is not a broken one. A refusal (429, 503) sets a limit just below the number of
//! requests that were out ([`learned_limit`]). A request without a first byte in time, while others
//! are answered, is a stall: the engine queues more than it can do.
//!
//! The gateway may share an engine with other gateways. None of them sees the others. Their limits
//! converge by the two rules of TCP's congestion control (Chiu and Jain, 1989): a gateway that
//! takes more gives up more, and all rise alike. A gateway that fills the engine offers a place
//! from time to time ([`offers`]). The values were tuned by simulation. Its tests hold them to 95 %
//! use of an engine, and to 42 % in the median for the lesser of two gateways. `bench/busy`
//! measures both with real gateways.
//!
//! Pure: the caller passes the time, the number of requests that are out, and the configured
//! maximum.

use std::time::{Duration, Instant, SystemTime};

use contract::Side;

use super::allowance::{Allowance, Left};

mod given_up;
mod learned_limit;
mod offers;
mod pause;
mod ramp;
mod refused_level;
#[cfg(test)]
mod scene_tests;
mod sharing;
mod stall;
mod stall_rate;
#[cfg(test)]
mod tests;

use given_up::GivenUp;
use learned_limit::LearnedLimit;
use pause::Pause;
pub(super) use ramp::LimitRamp;
use sharing::Sharing;
use stall::Stall;
use stall_rate::StallRate;

/// Requests sent within this time are one burst. As they are given up one by one, the number that
/// is still out shows how many the engine took.
const BURST: Duration = Duration::from_millis(100);

/// The signs of pressure on one deployment, and what they taught.
#[derive(Debug)]
pub(super) struct Pressure {
    sharing: Sharing,
    limit: LearnedLimit,
    /// When the first request was refused.
    first_refusal: Option<Instant>,
    pause: Option<Pause>,
    stall: Option<Stall>,
    stall_rate: StallRate,
    /// When the first request was sent that got no first byte in time.
    burst: Option<Instant>,
    given_up: GivenUp,
    ramp: Option<LimitRamp>,
    allowance: Allowance,
}

/// The places at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// The number of requests that may be out.
    pub(super) limit: u32,
    /// When there may be more, without any event.
    pub(super) opens: Option<Instant>,
    /// True if the next request tries whether a stall is over.
    pub(super) trial: bool,
}

impl Pressure {
    pub(super) fn new(side: Side, jitter: fn() -> f64) -> Self {
        Self {
            sharing: Sharing::new(side, jitter),
            limit: LearnedLimit::default(),
            first_refusal: None,
            pause: None,
            stall: None,
            stall_rate: StallRate::default(),
            burst: None,
            given_up: GivenUp::default(),
            ramp: None,
            allowance: Allowance::default(),
        }
    }

    /// True if nothing limits the deployment but its configuration.
    pub(super) fn is_none(&self) -> bool {
        self.limit.learned().is_none()
            && self.pause.is_none()
            && self.stall.is_none()
            && self.given_up.is_empty()
            && self.ramp.is_none()
            && self.allowance.is_unknown()
    }

    /// The learned limit, if it is below the configured one.
    pub(super) fn limit(&self, max: u32) -> Option<u32> {
        self.limit.learned().filter(|limit| *limit < max)
    }

    /// True if a place is expected when a request ends: the deployment is neither paused nor
    /// stalled.
    pub(super) fn is_hopeful(&self) -> bool {
        self.pause.is_none() && self.stall.is_none()
    }

    /// Since when no new request got a first byte.
    pub(super) fn stalled(&self) -> Option<SystemTime> {
        self.stall.map(|stall| stall.began)
    }

    /// The places for requests while `out` of them are taken.
    pub(super) fn room(&mut self, out: u32, max: u32, now: Instant) -> Room {
        let mut room = Room { limit: self.limit.in_force(max), opens: None, trial: false };
        if let Some(ramp) = self.ramp {
            match ramp.limit(now) {
                Some((limit, next)) => {
                    room.limit = room.limit.min(limit);
                    room.opens = Some(next);
                }
                None => self.ramp = None,
            }
        }
        if let Some((given_up, next)) = self.given_up.alive(now) {
            room.limit = room.limit.saturating_sub(given_up).max(1);
            room.opens = Some(room.opens.map_or(next, |opens| opens.min(next)));
        }
        let paused = self.pause.and_then(|pause| pause.closed(self.sharing.side, now));
        if let Some(opens) = paused.or_else(|| self.allowance.closed(now)) {
            return Room { limit: 0, opens: Some(opens), trial: false };
        }
        if let Some(stall) = self.stall {
            let one_more = if stall.on_trial { out } else { out + 1 };
            room.limit = room.limit.min(one_more);
            room.trial = true;
        }
        room
    }

    /// Counts a request that found no place.
    pub(super) fn passed_over(&mut self) {
        self.counts();
    }

    /// A request was admitted. `trial`: it tries whether a stall is over.
    pub(super) fn admitted(&mut self, trial: bool, now: Instant) {
        self.allowance.spend(now);
        if let Some(stall) = self.stall.as_mut().filter(|_| trial) {
            stall.on_trial = true;
        }
    }

    /// A remote deployment refused a request because of its allowance of requests per time.
    /// `told`: it named a time to wait.
    pub(super) fn spent(&mut self, told: bool, now: Instant) {
        self.allowance.refused(told, now);
    }

    /// A remote deployment told what is left of its allowance, while `others` requests were out
    /// beside the one that it answered.
    pub(super) fn told(&mut self, left: Left, others: u32, now: Instant) {
        self.allowance.told(left, others, now);
    }

    /// The requests that the allowance has left. None if none is known.
    pub(super) fn quota(&mut self, now: Instant) -> Option<f64> {
        self.allowance.left(now)
    }

    /// The used share of the allowance, and when its window turns. None if it is not known.
    pub(super) fn quota_used(&mut self, now: Instant) -> Option<(f64, Instant)> {
        self.allowance.used(now)
    }

    /// The request that tried whether a stall is over has ended.
    pub(super) fn trial_ended(&mut self) {
        if let Some(stall) = &mut self.stall {
            stall.on_trial = false;
        }
    }

    /// A request was refused. It was admitted as the request number `level` at `sent`, and `out`
    /// requests are out now, it included.
    pub(super) fn refused(
        &mut self,
        (level, sent): (u32, Instant),
        out: u32,
        max: u32,
        now: Instant,
    ) {
        self.ramp = None;
        // Of requests that were sent in one burst, the engine may have refused any. The number that
        // is left when each refusal comes shows how many it took. Later each request has its level,
        // whatever ended since it was sent.
        let first = *self.first_refusal.get_or_insert(now);
        let out = if sent > first { level.max(out) } else { out };
        if out <= 1 {
            self.pause = Some(Pause::again(self.pause, &self.sharing, now));
            self.sharing.crowded_out(now);
            self.limit.restart(now);
        } else if self.limit.was_good(out) {
            self.sharing.crowded_out(now);
            self.limit.crowded_out(max, &self.sharing, now);
        } else {
            self.limit.refused(out, max, &self.sharing, now);
        }
    }

    /// A request got no first byte in time, although others were answered. It was admitted as the
    /// request number `level` at `sent`. `out` requests are out, it included, and `unanswered` of
    /// them have no first byte yet.
    pub(super) fn stalls(
        &mut self,
        (level, sent): (u32, Instant),
        out: u32,
        unanswered: u32,
        max: u32,
        now: Instant,
    ) {
        let was_delayed = self.given_up.delayed(sent);
        self.given_up.add(now);
        // A level that is tried is too high. That explains it: the level below is good.
        if self.stall.is_none() && self.limit.tries(out) {
            self.limit.stalled_at(out, out, &self.sharing, now);
            return;
        }
        self.stall = Some(Stall::again(self.stall, sent, now));
        // Two kinds of requests say nothing about the present limit: those sent above it after the
        // burst that set it, and those that may have waited behind others that were given up.
        let burst = *self.burst.get_or_insert(sent) + BURST;
        let is_above = sent > burst && self.limit.learned().is_some_and(|limit| level > limit);
        if is_above || (was_delayed && sent > burst) {
            return;
        }
        // The limit fell after this request was sent, and may be low enough now.
        if !self.limit.fell_after(sent) {
            self.stall_rate.stall();
        }
        // Alone in the engine's queue: it is slow, and fewer requests would not help.
        if unanswered <= 1 || out <= 1 {
            return;
        }
        if !self.limit.was_good(out) {
            self.limit.stalled_at(out, self.limit.in_force(max), &self.sharing, now);
        } else if self.stall_rate.is_high() {
            self.limit.stalled(max, &self.sharing, now);
        } else {
            return;
        }
        self.stall_rate = StallRate::default();
    }

    /// True if a known stall explains a request without a first byte in time: the request was sent
    /// before the stall, or the engine may still work on requests that were given up. Then it is no
    /// failure, although nobody was answered since it was sent.
    pub(super) fn explains(&self, sent: Instant) -> bool {
        self.stall.is_some_and(|stall| stall.explains(sent))
    }

    /// An answer has begun, to a request that was sent at `sent`.
    pub(super) fn begun(&mut self, sent: Instant) -> bool {
        self.stall.take_if(|stall| sent >= stall.since).is_some()
    }

    /// The answer to a request that was sent at `sent` was good. `out` requests were out, it
    /// included.
    pub(super) fn answered(&mut self, sent: Instant, out: u32, max: u32, now: Instant) {
        self.pause = None;
        self.stall_rate.answer();
        self.counts();
        let _ = self.given_up.alive(now);
        self.allowance.answered(now);
        self.limit.answered(sent, out, max, &self.sharing, now);
    }

    /// Begins slow start. None ends it.
    pub(super) fn ramp(&mut self, ramp: Option<LimitRamp>) {
        self.ramp = ramp;
    }

    /// Forgets the stall: the deployment was ejected, or came back.
    pub(super) fn forget_stall(&mut self) {
        self.stall = None;
    }

    fn counts(&mut self) {
        self.limit.count();
        if let Some(pause) = &mut self.pause {
            pause.count();
        }
    }
}
