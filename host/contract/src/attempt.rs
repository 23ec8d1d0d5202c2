//! How attempts ended, as a strategy that learns is told.

use std::time::Duration;

/// How an attempt ended, in the words of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a whole answer.
    Ok,
    /// With an error that was the client's own fault.
    ClientError,
    /// The client went away.
    Cancelled,
    /// The deployment refused it because it was full or over its allowance.
    Refused,
    /// Without a first byte in time, while the deployment answered others.
    Stalled,
    /// With another error, or without a connection.
    Failed,
    /// With a time-out.
    TimedOut,
    /// In the middle of the answer.
    Broken,
    /// Cancelled, because another attempt of the request began its answer first.
    Hedged,
}

/// One attempt that has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EndedAttempt {
    /// The [`Candidate::id`] of the deployment.
    pub deployment: u32,
    /// A number that all attempts of one request have in common, and no others.
    pub request: u64,
    /// The session of the request, if a strategy needs it.
    pub session: Option<u64>,
    /// The hash of the request's tenant.
    pub tenant: Option<u64>,
    /// How it ended.
    pub ending: Ending,
    /// Status of the deployment's answer, if there was one.
    pub status: Option<u16>,
    /// How long the request waited for places before this attempt.
    pub queued: Duration,
    /// Time to the first byte of content, if there was one.
    pub first_byte: Option<Duration>,
    /// Time to the end of the attempt.
    pub total: Duration,
    /// Probability with which the deployment was drawn, above 0 to 1.
    pub probability: f64,
    /// Tokens of the prompt, if reported.
    pub prompt_tokens: Option<u32>,
    /// Tokens of the prompt that were in the deployment's cache, if reported.
    pub cached_tokens: Option<u32>,
    /// Tokens of the answer, if reported.
    pub completion_tokens: Option<u32>,
    /// Tokens of the answer that were reasoning, if reported.
    pub reasoning_tokens: Option<u32>,
    /// Cost in US dollars, if tokens and prices are known.
    pub cost: Option<f64>,
}

impl EndedAttempt {
    /// An attempt of which nothing else is known.
    #[must_use]
    pub fn new(deployment: u32, ending: Ending, total: Duration) -> Self {
        Self {
            deployment,
            request: 0,
            session: None,
            tenant: None,
            ending,
            status: None,
            queued: Duration::ZERO,
            first_byte: None,
            total,
            probability: 1.0,
            prompt_tokens: None,
            cached_tokens: None,
            completion_tokens: None,
            reasoning_tokens: None,
            cost: None,
        }
    }
}
