//! The itinerary of one request: which deployment is tried next, where it waits in line, and when it gives up.
//!
//! The caller owns the clock, the places and the sockets. It asks for a [`Step`], takes it, and reports what came
//! of it as an [`Event`]:
//!
//! ```text
//! Ready -> Enter --- a place is free: Entered ----------------> Attempt -> sent, or Refused
//!            |                                                     ^
//!            +------ none is free: Full -> Wait -- a place: Entered-+
//!                                    |       |
//!                                    |       +- none: NoPlace -> the next deployment
//!                                    +-> PassOver: NoPlace ----> the next deployment
//! ```
//! An attempt that fails goes to [`Itinerary::failed`], and after it the caller is [`Event::Ready`] again.
//!
//! The published weights say how traffic is shared. Whatever changes between two decisions (an ejection, a deployment
//! that asks to be left alone) is looked up when a turn comes, so that no request waits for the decision layer. The
//! first attempt allocates nothing, and looks at the deployment it is drawn for alone.

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use rand::Rng;

use config::{Ambiguous, Fallback};
use fleet::{Budget, Busy, Outcome};

use super::InferenceEndpoint;
use super::cause::{Cause, Phase};
use super::draw::Draw;
use super::exhausted::Exhausted;
use super::failure::{Failure, Overtime};

/// What an itinerary looks up of the deployments of its model, each by its position there.
pub trait Deployments {
    /// Whether the published snapshot lets traffic go there.
    fn is_eligible(&self, at: usize) -> bool;
    /// Whether it lets requests through now.
    fn is_open(&self, at: usize, now: Instant) -> bool;
    /// Whether it asks to be left alone now.
    fn is_cooling(&self, at: usize, now: Instant) -> bool;
    /// Whether its probes succeed.
    fn is_up(&self, at: usize) -> bool;
    /// Whether its last attempt failed.
    fn is_failing(&self, at: usize) -> bool;
    /// The longest that a request waits in its line.
    fn patience(&self, at: usize) -> Duration;
}

/// What is fixed about a request when it arrives.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The configured rules.
    pub fallback: Fallback,
    /// The endpoint that is asked.
    pub endpoint: InferenceEndpoint,
    /// The snapshot found nothing eligible: ejected deployments are tried too.
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

    /// Whether the request may be sent again where nobody knows if it was answered.
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
    /// Wait in its line for a place.
    Wait {
        /// The deployment.
        at: usize,
        /// The latest time to leave the line.
        until: Instant,
    },
    /// Pass it over: it has no place, and nobody waits for one at a deployment that is down.
    PassOver(usize),
    /// Make the attempt with the place taken there, if the deployment lets it through.
    Attempt(usize),
    /// Try nothing more: [`Itinerary::exhausted`] says why.
    GiveUp,
}

/// What came of a [`Step`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The request needs an attempt: it arrived, or the attempt before failed.
    Ready,
    /// No place is free.
    Full,
    /// A place is taken.
    Entered,
    /// The line led to no place.
    NoPlace(Busy),
    /// The deployment let no attempt through: it went out of use meanwhile.
    Refused,
}

/// The turns of one request.
#[derive(Debug)]
pub struct Itinerary<'a> {
    terms: Terms,
    order: Draw<'a>,
    /// Drawn already.
    next: Option<usize>,
    /// The deployment whose turn it is.
    at: usize,
    /// Nothing is eligible: what is left is tried all the same.
    panic: bool,
    /// Attempts that may still be made.
    left: u32,
    /// When the last attempt began. None before the first.
    began: Option<Instant>,
    over_budget: bool,
    busy: bool,
    /// By deployment.
    failures: Vec<(usize, Failure)>,
}

impl<'a> Itinerary<'a> {
    /// Draws the deployment that is tried first, by one weight for each deployment.
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
            failures: Vec::new(),
        };
        itinerary.next = itinerary.draw(deployments, rng, now);
        if itinerary.next.is_none() && !itinerary.panic {
            itinerary.panic = true;
            itinerary.order.restart();
            itinerary.next = itinerary.draw(deployments, rng, now);
        }
        itinerary
    }

    /// Whether nothing was eligible when the request arrived: the attempt is made although the deployment is out.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        self.panic
    }

    /// When the whole request must be over.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.terms.end()
    }

    /// What to do after `event`.
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

    /// That attempt failed. Gives what this says of its deployment.
    pub fn failed(&mut self, failure: Failure) -> Outcome {
        let given = self.began.map(|began| self.end().saturating_duration_since(began));
        let overtime = Overtime::of(given.unwrap_or_default(), self.terms.total);
        let outcome = failure.outcome(overtime);
        if self.is_last(&failure) {
            self.left = 0;
        }
        self.failures.push((self.at, failure));
        outcome
    }

    /// Why no attempt succeeded. `name` gives the name of a deployment; `model` is blamed for the time that was spent
    /// in line; `wait` is the shortest time after which a deployment may be used again.
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
        Exhausted { failures, wait, over_budget, busy }
    }

    /// The next deployment that may be tried at all.
    fn turn(&mut self, deployments: &impl Deployments, rng: &mut impl Rng, now: Instant) -> Step {
        if self.left == 0 || now >= self.end() {
            return Step::GiveUp;
        }
        while let Some(at) = self.next.take().or_else(|| self.draw(deployments, rng, now)) {
            if self.panic || deployments.is_open(at, now) {
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
        let usable = |at: usize| match panic {
            true => !deployments.is_cooling(at, now),
            false => deployments.is_eligible(at) && deployments.is_open(at, now),
        };
        self.order.next(usable, rng)
    }

    /// Where the request waits that finds no place.
    fn line(&self, deployments: &impl Deployments, now: Instant) -> Step {
        let at = self.at;
        match self.panic || deployments.is_up(at) {
            true => Step::Wait { at, until: self.end().min(now + deployments.patience(at)) },
            false => Step::PassOver(at),
        }
    }

    /// Whether the attempt may be made that has a place. Every attempt but the first is taken from the retry budget,
    /// which keeps requests from multiplying where everything fails. An attempt at a deployment that does not fail
    /// is made whatever the budget says, so that no request is lost that could have been saved.
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

    /// Whether no other deployment is tried after `failure`: it says so, or the request may have been answered
    /// already, for the second time where it may be repeated.
    fn is_last(&self, failure: &Failure) -> bool {
        let answered = |(_, failure): &(usize, Failure)| failure.ambiguous;
        let again = !self.terms.is_repeatable() || self.failures.iter().any(answered);
        !failure.cause.facts().elsewhere || (failure.ambiguous && again)
    }
}
