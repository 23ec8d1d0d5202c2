//! One suspicion: how many different requests it takes, and how long the deployment is then out.

use std::time::{Duration, Instant};

use crate::absence::Absence;
use crate::{Change, Condition};

/// Time after which another request may try a deployment whose trial has not ended.
const TRIAL: Duration = Duration::from_secs(10);

/// What a deployment is suspected of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// The deployment refuses the gateway's key.
    Credential,
    /// The deployment refuses all requests, each for a reason that seems to be the request's own
    /// fault.
    Refused,
    /// The deployment lacks the model.
    Model,
    /// The deployment lacks one endpoint.
    Endpoint,
}

/// When a suspicion takes effect, and for how long.
struct Rule {
    /// How many different requests must give the sign.
    requests: usize,
    first: Duration,
    most: Duration,
}

impl Rule {
    /// `first` and `most` are in seconds.
    const fn of(requests: usize, first: u64, most: u64) -> Self {
        Self { requests, first: Duration::from_secs(first), most: Duration::from_secs(most) }
    }
}

impl Suspicion {
    const fn rule(self) -> Rule {
        match self {
            Self::Credential | Self::Model => Rule::of(2, 30, 600),
            Self::Refused => Rule::of(5, 30, 600),
            Self::Endpoint => Rule::of(2, 300, 300),
        }
    }

    /// The condition of a deployment that is out for it. None: the deployment is only skipped for
    /// an endpoint.
    #[must_use]
    pub const fn condition(self) -> Option<Condition> {
        match self {
            Self::Credential => Some(Condition::Credential),
            Self::Refused => Some(Condition::Refused),
            Self::Model => Some(Condition::Misconfigured),
            Self::Endpoint => None,
        }
    }
}

/// The signs of one suspicion, and what came of them.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Digests of different requests since the last answer, at most [`Rule::requests`].
    pub(super) heard: Vec<u64>,
    pub(super) out: Option<Suspected>,
}

/// A suspicion that took effect.
#[derive(Debug)]
pub(super) struct Suspected {
    pub(super) absence: Absence,
    /// Its duration, if nothing cuts it short. The next one lasts twice as long.
    lasts: Duration,
    /// When its trial began. None: no request tries it.
    pub(super) trial: Option<Instant>,
}

impl Suspected {
    pub(super) fn is_free(&self, now: Instant) -> bool {
        self.absence.is_over(now) && self.trial.is_none_or(|began| began + TRIAL <= now)
    }
}

impl Row {
    pub(super) fn note(
        &mut self,
        of: Suspicion,
        reason: String,
        request: Option<u64>,
        now: Instant,
    ) -> Change {
        let rule = of.rule();
        let lasts = match &self.out {
            // Sent before the deployment went out.
            Some(out) if out.trial.is_none() && !out.absence.is_over(now) => return Change::None,
            Some(out) => out.lasts.saturating_mul(2).min(rule.most),
            None => {
                if let Some(request) = request.filter(|request| !self.heard.contains(request)) {
                    self.heard.push(request);
                }
                if self.heard.len() < rule.requests && request.is_some() {
                    return Change::None;
                }
                self.heard.truncate(rule.requests);
                rule.first
            }
        };
        let again = self.out.is_some();
        let absence = Absence::new(reason.clone(), lasts, now);
        self.out = Some(Suspected { absence, lasts, trial: None });
        Change::Suspected { reason, again }
    }
}
