//! Tells trials, and strategies that learn, how a request went.

use std::time::Duration;

use fleet::{DecidedRequest, Deployment};
use routing::TrialPart;

use super::{End, Journal, RequestOutcome};

impl Journal {
    /// Describes an attempt to a strategy that learns.
    pub(super) fn ended_attempt(
        &self,
        deployment: &Deployment,
        end: &End,
        first_byte: Option<Duration>,
        total: Duration,
    ) -> contract::EndedAttempt {
        let usage = self.usage.filter(|_| first_byte.is_some());
        let tokens = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        contract::EndedAttempt {
            request: self.number,
            session: self.session,
            tenant: self.tenant,
            status: end.status.or_else(|| first_byte.map(|_| self.status)),
            first_byte,
            prompt_tokens: usage.map(|usage| tokens(usage.prompt_tokens)),
            cached_tokens: usage.and_then(|usage| usage.cached_tokens).map(tokens),
            completion_tokens: usage.map(|usage| tokens(usage.completion_tokens)),
            reasoning_tokens: usage.and_then(|usage| usage.reasoning_tokens).map(tokens),
            cost: usage.map(|usage| self.cost(deployment, &usage).as_dollars()),
            ..contract::EndedAttempt::new(deployment.id, end.ending, total)
        }
    }

    /// Tells the trial that the request belongs to how it ended. Requests that their clients
    /// cancelled, wrong requests, and requests that found no room say nothing about the candidate.
    pub(super) fn tell_trial(&mut self) {
        let Some(TrialPart { trial, role }) = self.trial.take() else { return };
        if matches!(
            self.outcome,
            RequestOutcome::Cancelled | RequestOutcome::Rejected | RequestOutcome::Shed
        ) {
            return;
        }
        let attempts = self.tried.iter().filter(|tried| tried.attempted).count();
        let beaten = self.tried.iter().filter(|tried| tried.beaten).count();
        let answered = self.tried.iter().rfind(|tried| tried.answered);
        let paid = answered.zip(self.usage);
        trial.request_ended(
            role,
            DecidedRequest {
                failed: self.status >= 500 || self.outcome == RequestOutcome::Broken,
                attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
                fell_back: attempts > beaten + 1,
                first_byte: self.first_byte,
                cost: paid.map(|(tried, usage)| self.cost(&tried.deployment, &usage).as_dollars()),
            },
        );
    }
}
