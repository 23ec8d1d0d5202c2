//! The itinerary of one request: which deployment is tried next, where the request waits, and when
//! it gives up.
//!
//! The caller owns the clock, the places and the sockets. It asks for a [`Step`], carries it out,
//! and reports the result as an [`Event`]:
//!
//! ```text
//! Ready -> Enter --- a place is free: Entered ----------------> Attempt -> sent, or Refused
//!            |                                                     ^
//!            +------ none is free: Full -> Wait -- a place: Entered-+
//!                                    |       |
//!                                    |       +- none: NoPlace -> the next deployment
//!                                    +-> PassOver: NoPlace ----> the next deployment
//! ```
//! An attempt that fails goes to [`Itinerary::failed`], and after it the caller is [`Event::Ready`]
//! again.
//!
//! The published weights decide how traffic is shared. Changes between two decisions (an ejection,
//! a cooling deployment) are looked up when a deployment's turn comes, so that no request waits for
//! the decision layer. The first attempt allocates nothing, and looks only at the deployment that
//! was drawn.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use rand::Rng;

use answers::refusal::Sense;
use config::{Ambiguous, Fallback};
use fleet::{Budget, Busy, Outcome};

use super::InferenceEndpoint;
use super::cause::{Cause, Lack, Phase};
use super::draw::Draw;
use super::exhausted::Exhausted;
use super::failure::{Failure, Overtime};

/// The live state of a model's deployments. Deployments are positions in the model.
pub trait Deployments {
    /// True if it is eligible in the published snapshot.
    fn is_eligible(&self, at: usize) -> bool;
    /// True if it would admit a request now.
    fn is_open(&self, at: usize, now: Instant) -> bool;
    /// True if it asked for a pause that is not over.
    fn is_cooling(&self, at: usize, now: Instant) -> bool;
    /// True if its probes succeed.
    fn is_up(&self, at: usize) -> bool;
    /// True if its last attempt failed.
    fn is_failing(&self, at: usize) -> bool;
    /// The longest time that a request waits in its queue.
    fn patience(&self, at: usize) -> Duration;
    /// True if it is forbidden to the request. Nothing overrides that.
    fn is_forbidden(&self, _at: usize) -> bool {
        false
    }
    /// True if it may take a request that did not fit another deployment.
    fn fits(&self, _at: usize, _unfit: Unfit) -> bool {
        false
    }
}

/// Why a request did not fit a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit {
    /// The deployment.
    pub at: usize,
    /// What it lacks.
    pub lack: Lack,
    /// The context length that it names, in tokens.
    pub context_length: Option<u64>,
}

/// The rules for one request, fixed when it arrives.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The configured rules of fallback.
    pub fallback: Fallback,
    /// The endpoint of the request.
    pub endpoint: InferenceEndpoint,
    /// True if nothing was eligible in the snapshot. Ejected deployments are then tried too.
    pub panic: bool,
    /// When the request arrived.
    pub started: Instant,
    /// How long it may take, over all attempts.
    pub total: Duration,
}

impl Terms {
    /// When the whole request must be over.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.started + self.total
    }

    /// True if the request may be sent again although it may have been answered already.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.endpoint.is_repeatable() && self.fallback.ambiguous == Ambiguous::Once
    }
}

/// What the caller does next. Deployments are positions in their model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Take a place at this deployment, if one is free.
    Enter(usize),
    /// Wait in its queue for a place.
    Wait {
        /// The deployment.
        at: usize,
        /// The latest time to leave the queue.
        until: Instant,
    },
    /// Skip it: it has no free place and is down, so waiting for it is pointless.
    PassOver(usize),
    /// Make the attempt with the place taken there, if the deployment admits it.
    Attempt(usize),
    /// Try nothing more: [`Itinerary::exhausted`] says why.
    GiveUp,
}

/// The result of a [`Step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The request needs an attempt: it arrived, or the attempt before failed.
    Ready,
    /// No place is free.
    Full,
    /// A place is taken.
    Entered,
    /// Waiting gave no place.
    NoPlace(Busy),
    /// The deployment did not admit the attempt: it went out of use meanwhile.
    Refused,
}

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
        weights: impl Into<Cow<'a, [f64]>>,
        terms: Terms,
        deployments: &impl Deployments,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Self {
        let mut itinerary = Self {
            terms,
            order: Draw::new(weights, terms.fallback.standby),
            next: None,
            at: 0,
            panic: terms.panic,
            left: terms.fallback.attempts,
            began: None,
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
            Event::Full => return self.line(deployments, now),
            Event::Entered => {
                if self.is_affordable(deployments, budget, now) {
                    return Step::Attempt(self.at);
                }
            }
            Event::NoPlace(busy) => self.busy |= busy != Busy::Dispersed,
            Event::Ready | Event::Refused => {}
        }
        self.turn(deployments, rng, now)
    }

    /// The attempt of the last [`Step::Attempt`] began. Only attempts that are made are counted.
    pub fn began(&mut self, now: Instant) {
        self.began = Some(now);
        self.left = self.left.saturating_sub(1);
    }

    /// The attempt that began last has failed. Returns the outcome for its deployment.
    pub fn failed(&mut self, failure: Failure) -> Outcome {
        let given = self.began.map(|began| self.end().saturating_duration_since(began));
        let overtime = Overtime::of(given.unwrap_or_default(), self.terms.total);
        let outcome = failure.outcome(overtime);
        if self.is_last(&failure) {
            self.left = 0;
        }
        if let Cause::Unfit(lack, _) = failure.cause {
            let said = failure.said.as_deref().and_then(Sense::context_length);
            self.unfit = Some(Unfit { at: self.at, lack, context_length: said });
        }
        self.failures.push((self.at, failure));
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
        Exhausted { failures, wait, over_budget, busy, forbidden: None }
    }

    /// The step for the next deployment that may be tried.
    fn turn(&mut self, deployments: &impl Deployments, rng: &mut impl Rng, now: Instant) -> Step {
        if self.left == 0 || now >= self.end() {
            return Step::GiveUp;
        }
        while let Some(at) = self.next.take().or_else(|| self.draw(deployments, rng, now)) {
            if self.may_try(deployments, at) && (self.panic || deployments.is_open(at, now)) {
                self.at = at;
                return Step::Enter(at);
            }
        }
        Step::GiveUp
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
                    true => !deployments.is_cooling(at, now),
                    false => deployments.is_eligible(at) && deployments.is_open(at, now),
                }
        };
        self.order.next(usable, rng)
    }

    /// False if the deployment is forbidden, or lacks what another one lacked.
    fn may_try(&self, deployments: &impl Deployments, at: usize) -> bool {
        !deployments.is_forbidden(at) && self.unfit.is_none_or(|unfit| deployments.fits(at, unfit))
    }

    /// The step for a deployment that has no free place.
    fn line(&self, deployments: &impl Deployments, now: Instant) -> Step {
        let at = self.at;
        match self.panic || deployments.is_up(at) {
            true => Step::Wait { at, until: self.end().min(now + deployments.patience(at)) },
            false => Step::PassOver(at),
        }
    }

    /// True if the attempt may be made. Every attempt but the first costs retry budget, which keeps
    /// requests from multiplying when everything fails. At a deployment that does not fail the
    /// attempt is made even without budget, so that no request is lost that could be saved.
    fn is_affordable(
        &mut self,
        deployments: &impl Deployments,
        budget: &Budget,
        now: Instant,
    ) -> bool {
        let affordable = self.began.is_none()
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
