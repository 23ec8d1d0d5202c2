//! The content of a line of the access log.

use std::time::{Duration, SystemTime};

use answers::Usage;
use contract::Picodollars;

/// One line without its attempts. It never contains a prompt or a key.
#[derive(Debug)]
pub struct Record<'a> {
    /// When the request arrived.
    pub time: SystemTime,
    /// The `x-request-id` of the answer.
    pub request_id: &'a str,
    /// The path of the request. Empty if the request could not be read.
    pub path: &'static str,
    /// The id of the model. Empty if the request names no known model.
    pub model: &'a str,
    /// The deployment whose answer the client got.
    pub deployment: Option<&'a str>,
    /// The side of `deployment`.
    pub side: Option<&'static str>,
    /// Status that the client got. 499 if it left before the answer.
    pub status: u16,
    /// How it ended: the name of a `RequestOutcome`.
    pub outcome: &'static str,
    /// The `code` of the error that the client got, if it got one.
    pub error: Option<&'a str>,
    /// Why a strategy routed or refused the request, in its words.
    pub reason: Option<&'a str>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Time in line for places at deployments.
    pub queued: Duration,
    /// From arrival to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// From arrival to the end of the answer.
    pub total: Duration,
    /// Time that engines worked on undelivered answers, over all attempts.
    pub wasted: Duration,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// What the answer took. None without an answer.
    pub usage: Option<Usage>,
    /// The cost of all attempts.
    pub cost: Picodollars,
}

/// One attempt of a request.
#[derive(Debug)]
pub struct AttemptRecord<'a> {
    /// The name of the deployment.
    pub deployment: &'a str,
    /// `ok`, why it failed, or why it was not made, such as `queue_full`.
    pub outcome: &'a str,
    /// Time until the answer began or the attempt failed. If no attempt was made: time in line.
    pub took: Duration,
    /// What it cost.
    pub cost: Picodollars,
}
