//! What an itinerary asks of its caller, and what the caller reports.

use std::time::{Duration, Instant};

use config::{Ambiguous, Fallback, Hedging};
use fleet::Busy;

use crate::InferenceEndpoint;
use crate::cause::Lack;

/// The live state of a model's deployments. Deployments are positions in the model.
pub trait Deployments {
    /// True if it is eligible in the published snapshot.
    fn is_eligible(&self, at: usize) -> bool;
    /// True if it would admit a request now.
    fn is_open(&self, at: usize, now: Instant) -> bool;
    /// When its pause is over, if it asked for one.
    fn cools_until(&self, at: usize, now: Instant) -> Option<Instant>;
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
    /// The configured rules of second attempts.
    pub hedging: Hedging,
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
    /// Wait in line for a place at one of the deployments that [`Itinerary::wanted`] lists.
    Wait {
        /// The latest time to leave the line.
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
    /// All places that are configured are taken.
    Full,
    /// The deployment has shown that it is full. `soon`: a place becomes free when an attempt ends.
    Pressed {
        /// True if waiting is worth it.
        soon: bool,
    },
    /// A place is taken.
    Entered,
    /// Waiting gave a place at this deployment.
    Placed(usize),
    /// Waiting gave no place.
    NoPlace(Busy),
    /// The deployment did not admit the attempt: it went out of use meanwhile.
    Refused,
}
