//! How many requests a deployment takes at a time, learned from what it refuses.
//!
//! A full engine is not a broken one. A refusal (429, 503) sets a limit just below the number of
//! requests that were out, and the limit rises again by one for each round of good answers. A
//! request without a first byte in time, while others are answered, is a stall: the engine queues
//! more than it can do.
//!
//! The gateway may share an engine with other gateways. None of them sees the others, so the
//! limits converge by the two rules of TCP's congestion control (Chiu and Jain, 1989): the one
//! that takes more gives up more, and all rise alike. A gateway that fills the engine offers a place
//! from time to time ([`offers`]). The values were tuned by simulation. Its tests hold them to 95 %
//! use of an engine, and to 42 % in the median for the lesser of two gateways. `bench/busy` measures
//! both with real gateways.
//!
//! Pure: the caller passes the time, the number of requests that are out, and the configured
//! maximum.

use std::time::{Duration, Instant, SystemTime};

use contract::Side;

use super::allowance::{Allowance, Quota};

mod given_up;
mod offers;
mod ramp;
mod refused_level;
#[cfg(test)]
mod scene_tests;
mod stall;
#[cfg(test)]
mod tests;

use given_up::GivenUp;
use offers::Offers;
pub(super) use ramp::LimitRamp;
use refused_level::{REQUESTS, RefusedLevel};
use stall::Stall;

/// Pause after a refusal while nothing else was out. It doubles up to [`Pressure::longest_pause`].
const PAUSE: Duration = Duration::from_millis(100);
/// A deployment counts as shared for that long after a refusal that was not of our making.
const SHARED: Duration = Duration::from_secs(60);
/// Part of the limit that is kept after a refusal at a level that was good before.
const KEPT: f64 = 0.8;
/// Stalls below the last good level lower the limit once they are one in so many answers, and at
/// least two. A single slow prompt is no sign of a full engine.
const STALLS: u32 = 10;
/// Requests that were sent so close together are one burst: the number that is left of them when each
/// is given up shows how many the engine took.
const BURST: Duration = Duration::from_millis(100);

/// What is known of the pressure on one deployment.
#[derive(Debug)]
pub(super) struct Pressure {
    side: Side,
    /// The learned limit, at least 1. None: the configured one.
    limit: Option<u32>,
    /// When the first limit was learned.
    since: Option<Instant>,
    /// The highest level at which a round of answers was good. 0: none is known.
    good: u32,
    /// Good answers since the limit changed that came while it was reached.
    round: u32,
    /// Good answers and stalls since the limit last fell for stalls.
    answered: u32,
    stalls: u32,
    /// When the limit last fell below what was good.
    fell: Option<Instant>,
    refused: Option<RefusedLevel>,
    pause: Option<Pause>,
    stall: Option<Stall>,
    given_up: GivenUp,
    ramp: Option<LimitRamp>,
    allowance: Allowance,
    /// When the limit was set last.
    changed: Option<Instant>,
    /// When the first request was sent that got no first byte in time.
    burst: Option<Instant>,
    offers: Offers,
    /// The last refusal that was not of our making.
    shared: Option<Instant>,
    /// Returns jitter from -1 to 1: gateways that share an engine must not try together.
    jitter: fn() -> f64,
}

/// Nothing was out, and the deployment still refused: others keep it full.
#[derive(Debug, Clone, Copy)]
struct Pause {
    step: Duration,
    until: Instant,
    requests: u32,
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
            side,
            limit: None,
            since: None,
            good: 0,
            round: 0,
            answered: 0,
            stalls: 0,
            fell: None,
            refused: None,
            pause: None,
            stall: None,
            given_up: GivenUp::default(),
            ramp: None,
            allowance: Allowance::default(),
            changed: None,
            burst: None,
            offers: Offers::default(),
            shared: None,
            jitter,
        }
    }

    /// True if nothing limits the deployment but its configuration.
    pub(super) fn is_none(&self) -> bool {
        self.limit.is_none()
            && self.pause.is_none()
            && self.stall.is_none()
            && self.given_up.is_empty()
            && self.ramp.is_none()
            && self.allowance.is_unknown()
    }

    /// The learned limit, if it is below the configured one.
    pub(super) fn limit(&self, max: u32) -> Option<u32> {
        self.limit.filter(|limit| *limit < max)
    }

    /// True if a place is expected when a request ends: neither did the deployment refuse a request
    /// with nothing else out, nor does it stall.
    pub(super) fn is_hopeful(&self) -> bool {
        self.pause.is_none() && self.stall.is_none()
    }

    /// Since when no new request got a first byte.
    pub(super) fn stalled(&self) -> Option<SystemTime> {
        self.stall.map(|stall| stall.began)
    }

    /// The places for requests while `out` of them are taken.
    pub(super) fn room(&mut self, out: u32, max: u32, now: Instant) -> Room {
        let mut room =
            Room { limit: self.limit.unwrap_or(max).min(max), opens: None, trial: false };
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
        if let Some(pause) = self.pause
            && now < pause.until
            && !(self.side == Side::Local && pause.requests >= REQUESTS)
        {
            return Room { limit: 0, opens: Some(pause.until), trial: false };
        }
        if let Some(opens) = self.allowance.closed(now) {
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
    pub(super) fn told(&mut self, quota: Quota, others: u32, now: Instant) {
        self.allowance.told(quota, others, now);
    }

    /// The requests that the allowance has left. None if none is known.
    pub(super) fn quota(&mut self, now: Instant) -> Option<f64> {
        self.allowance.left(now)
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
        let since = *self.since.get_or_insert(now);
        let out = if sent > since { level.max(out) } else { out };
        if out <= 1 {
            let step = self.pause.map_or(PAUSE, |pause| (pause.step * 2).min(self.longest_pause()));
            let until = now + self.jittered(step, now);
            self.pause = Some(Pause { step, until, requests: 0 });
            self.shared = Some(now);
            self.good = 0;
            self.set(Some(1), now);
            return;
        }
        let limit = self.limit.unwrap_or(max).min(max);
        if out <= self.good {
            self.shared = Some(now);
            self.offers.taken();
            self.fall_to(kept(limit, KEPT), false, now);
            return;
        }
        let was_retry = self.limit == Some(out) && self.good + 1 == out;
        let lower = limit.min(out - 1);
        self.good = self.good.min(out - 1);
        // A limit that is lower already says nothing of that level.
        if out <= limit.saturating_add(1) {
            self.refuse_level(out, false, now);
        }
        let left = if was_retry { self.offers.left_of(lower) } else { lower };
        self.set(Some(left), now);
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
        if self.stall.is_none() && self.good > 0 && self.good < out && self.limit == Some(out) {
            let limit = kept(out, KEPT);
            self.set(Some(limit), now);
            self.refuse_level(limit + 1, true, now);
            return;
        }
        self.stall = Some(Stall::again(self.stall, sent, now));
        // A request sent above the present limit, after the burst that set it, says nothing about it.
        // Neither does a request that may have waited behind others that were given up.
        let burst = *self.burst.get_or_insert(sent) + BURST;
        let is_above = sent > burst && self.limit.is_some_and(|limit| level > limit);
        if is_above || (was_delayed && sent > burst) {
            return;
        }
        // The limit fell after this request was sent, and may be low enough now.
        self.stalls += u32::from(self.fell.is_none_or(|fell| sent >= fell));
        // Alone in the engine's queue: it is slow, and fewer requests would not help.
        if unanswered <= 1 || out <= 1 {
            return;
        }
        if out > self.good {
            // Leaves a margin: at the level below, the next long prompt is late.
            let limit = self.limit.unwrap_or(max).min(max).min(kept(out, KEPT));
            self.set(Some(limit), now);
            self.refuse_level(limit + 1, true, now);
        } else if self.stalls >= 2 && self.stalls.saturating_mul(STALLS) >= self.answered {
            let limit = self.limit.unwrap_or(max).min(max);
            self.fall_to(kept(limit, KEPT), true, now);
        } else {
            return;
        }
        (self.answered, self.stalls) = (0, 0);
    }

    /// True if a request without a first byte in time belongs to a stall that is known, so that it
    /// is no failure although nobody was answered since it was sent: it was sent before the stall,
    /// or the engine may still work on requests that were given up.
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
        self.answered = self.answered.saturating_add(1);
        self.counts();
        let _ = self.given_up.alive(now);
        self.offers.earn();
        self.allowance.answered(now);
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
        if (is_good || self.refused.is_none()) && self.may_try(limit + 1, now) {
            self.set((limit + 1 < max).then_some(limit + 1), now);
        }
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
        if let Some(refused) = &mut self.refused {
            refused.count();
        }
        if let Some(pause) = &mut self.pause {
            pause.requests = pause.requests.saturating_add(1);
        }
    }

    /// True if a limit may rise to this level.
    fn may_try(&self, level: u32, now: Instant) -> bool {
        self.refused.is_none_or(|refused| refused.allows(level, self.side, now))
    }

    fn refuse_level(&mut self, level: u32, by_stall: bool, now: Instant) {
        let before = self.refused.filter(|refused| refused.level == level);
        // One burst of refusals is one refusal.
        if before.is_some_and(|refused| !refused.allows(level, self.side, now)) {
            return;
        }
        let step = RefusedLevel::step(before, level, by_stall, self.is_shared(now));
        let wait = self.jittered(step, now);
        self.refused = Some(RefusedLevel::new(level, by_stall, step, now + wait));
    }

    fn fall_to(&mut self, limit: u32, by_stall: bool, now: Instant) {
        self.fell = Some(now);
        self.good = self.good.min(limit);
        self.set(Some(limit), now);
        let step = RefusedLevel::step(None, limit + 1, by_stall, false);
        let wait = self.jittered(step, now);
        self.refused = Some(RefusedLevel::new(limit + 1, by_stall, step, now + wait));
    }

    /// Sets the limit, which begins a new round.
    fn set(&mut self, limit: Option<u32>, now: Instant) {
        self.limit = limit;
        self.round = 0;
        self.changed = Some(now);
    }

    /// True if a local deployment is used by others, too.
    fn is_shared(&self, now: Instant) -> bool {
        self.side == Side::Local
            && self.shared.is_some_and(|at| now.saturating_duration_since(at) < SHARED)
    }

    /// The longest pause after a refusal while nothing was out. A refusal by a local deployment
    /// costs little, its owner wants it full, and the place that another gateway offers is free for
    /// no longer than an answer takes.
    fn longest_pause(&self) -> Duration {
        match self.side {
            Side::Local => Duration::from_secs(1),
            Side::Remote => Duration::from_secs(30),
        }
    }

    fn jittered(&self, time: Duration, now: Instant) -> Duration {
        // Gateways in step would never find the places that the others yield.
        let most = if self.is_shared(now) { 0.5 } else { 0.1 };
        time.mul_f64(1.0 + most * (self.jitter)().clamp(-1.0, 1.0))
    }
}

/// This part of a limit, rounded down, at least 1 and below the limit where that is above 1.
fn kept(limit: u32, part: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a u32")]
    let part = (f64::from(limit) * part) as u32;
    part.clamp(1, limit.saturating_sub(1).max(1))
}
