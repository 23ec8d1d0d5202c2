//! The itinerary of one request: which deployment is tried next, where the request waits, and when
//! it gives up.
//!
//! The caller owns the clock, the places and the sockets. It asks for a [`Step`], carries it out,
//! and reports the result as an [`Event`]:
//!
//! ```text
//! Ready -> Enter --- a place is free: Entered ----------------> Attempt -> sent, or Refused
//!            |                                                     ^
//!            +- the configured places are taken: Full ----+        |
//!            +- it has shown that it is full: Pressed      v        |
//!                 |                                       Wait ----+- a place: Placed
//!                 +-> the next; Wait if there is none --^    |
//!                                     none: NoPlace <--------+--> the next deployment
//! ```
//! An attempt that fails goes to [`Itinerary::failed`], and after it the caller is [`Event::Ready`]
//! again. A deployment that refused the request because it is full may take it later: the request
//! goes on to the next one, and waits for a place if there is none.
//!
//! The published weights decide how traffic is shared. Changes between two decisions (an ejection,
//! a cooling deployment) are looked up when a deployment's turn comes, so that no request waits for
//! the decision layer. The first attempt allocates nothing, and looks only at the deployment that
//! was drawn.

#[cfg(test)]
mod fitting;
mod hedging;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scene;
mod step;
#[cfg(test)]
mod tests;
mod wait;
#[cfg(test)]
mod when_full;

use std::time::{Duration, Instant};

use rand::Rng;

use answers::refusal::Sense;
use contract::WhenFull;
use fleet::{Budget, Busy, Outcome};

use super::cause::{Cause, Phase};
use super::draw::{Draw, HedgePlan, RequestWeights};
use super::exhausted::Exhausted;
use super::failure::{Failure, Overtime};

use wait::FullAt;

pub use hedging::Hedged;
pub use step::{Deployments, Event, Step, Terms, Unfit};

/// Most refusals by full deployments that cost a request none of its attempts.
const REFUSALS: u32 = 16;
/// A request waits at most that long for the end of a pause that a deployment asked for. Its client
/// is told of a longer one.
const COOLING: Duration = Duration::from_secs(10);

/// The attempts of one request: those made, and those still possible.
#[derive(Debug)]
pub struct Itinerary<'a> {
    terms: Terms,
    order: Draw<'a>,
    /// Drawn, but not tried yet.
    next: Option<usize>,
    /// The deployment whose turn it is.
    at: usize,
    /// Panic mode: nothing is eligible, so ejected deployments are tried too.
    panic: bool,
    /// Attempts that may still be made.
    left: u32,
    /// When the last attempt began. None before the first.
    began: Option<Instant>,
    /// Deployments that are full and may take the request later.
    full: Vec<FullAt>,
    /// What the request waits for.
    wanted: Vec<usize>,
    /// Deployments whose pauses it has waited for: each once, or a full queue would be tried again and
    /// again.
    cooled: Vec<usize>,
    /// When it leaves the line. None before it first waits.
    patience: Option<Instant>,
    /// What happens while the deployment that was drawn first is full.
    when_full: WhenFull,
    /// The deployment that it waits for before it takes the next one.
    awaited: Option<FullAt>,
    /// The second attempt that is still to be made, if the first takes long.
    hedge: Option<Box<HedgePlan>>,
    /// The attempt under way beside that at `at`: where, and when it began.
    beside: Option<(usize, Instant)>,
    /// The deployment of the second attempt, which the order may still have.
    hedged: Option<usize>,
    /// Attempts that were refused by a full deployment.
    refusals: u32,
    /// True if the retry budget refused an attempt.
    over_budget: bool,
    /// True if a deployment had no place in time, or no room in its queue.
    busy: bool,
    /// Set once the request did not fit a deployment. Only those that it may fit are left.
    unfit: Option<Unfit>,
    /// The failures so far, each with its deployment.
    failures: Vec<(usize, Failure)>,
}

impl<'a> Itinerary<'a> {
    /// Draws the deployment that is tried first. `weights` has one weight per deployment.
    pub fn begin(
        weights: impl Into<RequestWeights<'a>>,
        terms: Terms,
        deployments: &impl Deployments,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Self {
        let RequestWeights { weights, tiers, when_full, hedge } = weights.into();
        let mut itinerary = Self {
            terms,
            order: Draw::new(weights, tiers, terms.fallback.standby),
            next: None,
            at: 0,
            panic: terms.panic,
            left: terms.fallback.attempts,
            began: None,
            full: Vec::new(),
            wanted: Vec::new(),
            cooled: Vec::new(),
            patience: None,
            when_full,
            awaited: None,
            hedge,
            beside: None,
            hedged: None,
            refusals: 0,
            over_budget: false,
            busy: false,
            unfit: None,
            failures: Vec::new(),
        };
        itinerary.next = itinerary.draw(deployments, rng, now);
        // All eligible deployments have gone out of use since the snapshot.
        if itinerary.next.is_none() && !itinerary.panic {
            itinerary.panic = true;
            itinerary.order.restart();
            itinerary.next = itinerary.draw(deployments, rng, now);
        }
        itinerary
    }

    /// True if nothing was eligible when the request arrived. Attempts are then made although the
    /// deployment is out.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.panic
    }

    /// When the whole request must be over.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.terms.end()
    }

    /// The deployments whose places it waits for, after [`Step::Wait`].
    #[must_use]
    pub fn wanted(&self) -> &[usize] {
        &self.wanted
    }

    /// The step to take after `event`.
    pub fn step(
        &mut self,
        event: Event,
        deployments: &impl Deployments,
        budget: &Budget,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Step {
        match event {
            Event::Full => match self.when_full {
                WhenFull::AsConfigured => return self.queue(None, deployments, now),
                when_full => {
                    let full = FullAt { at: self.at, soon: true };
                    if let Some(step) = self.pass(full, when_full, deployments, now) {
                        return step;
                    }
                }
            },
            Event::Pressed { soon } => {
                let full = FullAt { at: self.at, soon };
                if let Some(step) = self.pass(full, self.when_full, deployments, now) {
                    return step;
                }
            }
            Event::Placed(at) => {
                self.at = at;
                self.awaited = None;
                self.full.retain(|full| full.at != at);
                if self.is_affordable(deployments, budget, now) {
                    return Step::Attempt(at);
                }
            }
            Event::Entered => {
                if self.is_affordable(deployments, budget, now) {
                    return Step::Attempt(self.at);
                }
            }
            Event::NoPlace(busy) => {
                self.busy |= busy != Busy::Dispersed;
                // It has waited for all of them.
                self.full.retain(|full| !self.wanted.contains(&full.at));
                // If the others are full too, it waits for this one with them.
                let again = self.awaited.take().filter(|_| busy == Busy::Waited);
                self.full.extend(again);
            }
            Event::Ready | Event::Refused => {}
        }
        self.turn(deployments, rng, now)
    }

    /// The probability with which the deployment of the last attempt was drawn among those that had
    /// not failed before.
    #[must_use]
    pub fn probability(&self) -> f64 {
        let failed = |at| self.failures.iter().any(|(failed, _)| *failed == at);
        self.order.probability(self.at, failed)
    }

    /// The attempt of the last [`Step::Attempt`] began. Only attempts that are made are counted.
    pub fn began(&mut self, now: Instant) {
        self.began = Some(now);
        self.left = self.left.saturating_sub(1);
    }

    /// Records that the attempt under way failed. An attempt beside it takes its place. Returns the
    /// outcome for the deployment.
    pub fn failed(&mut self, failure: Failure) -> Outcome {
        let given = self.began.map(|began| self.end().saturating_duration_since(began));
        let overtime = Overtime::of(given.unwrap_or_default(), self.terms.total);
        let outcome = failure.outcome(overtime);
        if self.is_last(&failure) {
            self.left = 0;
        } else if failure.is_refusal() {
            self.refusals += 1;
            if self.refusals <= REFUSALS {
                // The engine has done nothing.
                self.left += 1;
                self.full.push(FullAt { at: self.at, soon: false });
            }
        }
        if let Cause::Unfit(lack, _) = failure.cause {
            let said = failure.said.as_deref().and_then(Sense::context_length);
            self.unfit = Some(Unfit { at: self.at, lack, context_length: said });
        }
        self.failures.push((self.at, failure));
        if let Some((at, began)) = self.beside.take() {
            (self.at, self.began) = (at, Some(began));
        }
        outcome
    }

    /// The reasons why no attempt succeeded. `name` returns the name of a deployment. A total
    /// time-out that is no attempt's failure is listed under `model`. `wait` is the shortest time
    /// until a deployment may be used again.
    #[must_use]
    pub fn exhausted(
        self,
        name: impl Fn(usize) -> String,
        model: &str,
        wait: Option<Duration>,
        now: Instant,
    ) -> Exhausted {
        let (over_budget, busy, end) = (self.over_budget, self.busy, self.end());
        let failures = self.failures.into_iter().map(|(at, failure)| (name(at), failure));
        let mut failures: Vec<(String, Failure)> = failures.collect();
        let total = Cause::TimedOut(Phase::Total);
        if now >= end && failures.iter().all(|(_, failure)| failure.cause != total) {
            failures.push((model.to_owned(), total.into()));
        }
        Exhausted { failures, wait, over_budget, busy, forbidden: None, short: None, quota: None }
    }

    /// The step for the next deployment that may be tried.
    fn turn(&mut self, deployments: &impl Deployments, rng: &mut impl Rng, now: Instant) -> Step {
        if self.left == 0 || now >= self.end() {
            return Step::GiveUp;
        }
        while let Some(at) = self.next.take().or_else(|| self.draw(deployments, rng, now)) {
            let is_open = self.panic || deployments.is_open(at, now);
            if !is_open || self.hedged == Some(at) || !self.may_try(deployments, at) {
                continue;
            }
            // A deployment that was bought is kept full before a standby is paid.
            if self.order.is_standby(at) && self.full.iter().any(|full| full.soon) {
                self.next = Some(at);
                return self.line(|full| full.soon, deployments, now);
            }
            self.at = at;
            return Step::Enter(at);
        }
        let until = self.end().min(now + COOLING);
        let unfit = self.unfit;
        // A request does not wait for a long pause, nor for a deployment that it does not fit.
        self.full.retain(|full| {
            unfit.is_none_or(|unfit| deployments.fits(full.at, unfit))
                && deployments.cools_until(full.at, now).is_none_or(|cools| cools <= until)
        });
        if self.full.is_empty() && self.patience.is_none_or(|patience| now < patience) {
            self.full = self.cooling(deployments, until, now);
            self.cooled.extend(self.full.iter().map(|full| full.at));
        }
        match self.full.is_empty() {
            true => Step::GiveUp,
            false => self.line(|_| true, deployments, now),
        }
    }

    fn draw(
        &mut self,
        deployments: &impl Deployments,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Option<usize> {
        let panic = self.panic;
        let usable = |at: usize| {
            !deployments.is_forbidden(at)
                && match panic {
                    true => deployments.cools_until(at, now).is_none(),
                    false => deployments.is_eligible(at) && deployments.is_open(at, now),
                }
        };
        self.order.next(usable, rng)
    }

    /// False if the deployment is forbidden, or lacks what another one lacked.
    fn may_try(&self, deployments: &impl Deployments, at: usize) -> bool {
        !deployments.is_forbidden(at) && self.unfit.is_none_or(|unfit| deployments.fits(at, unfit))
    }

    /// True if the attempt may be made. Every extra attempt costs retry budget, except those after
    /// a refusal by a full deployment. The budget keeps requests from multiplying when everything
    /// fails. An attempt at a deployment that is not failing is made even without budget, because
    /// it may save the request.
    fn is_affordable(
        &mut self,
        deployments: &impl Deployments,
        budget: &Budget,
        now: Instant,
    ) -> bool {
        let was_refused = self.failures.last().is_some_and(|(_, failure)| failure.is_refusal());
        let affordable = self.began.is_none()
            || was_refused
            || budget.withdraw(self.terms.fallback.budget, now)
            || !(self.panic || deployments.is_failing(self.at));
        if !affordable && !std::mem::replace(&mut self.over_budget, true) {
            budget.deny();
        }
        affordable
    }

    /// True if no other deployment is tried after `failure`: its cause forbids it, or the request
    /// may have been answered already. A repeatable request stops only at its second such failure.
    fn is_last(&self, failure: &Failure) -> bool {
        let answered = |(_, failure): &(usize, Failure)| failure.ambiguous;
        let again = !self.terms.is_repeatable() || self.failures.iter().any(answered);
        !failure.cause.facts().elsewhere || (failure.ambiguous && again)
    }
}
