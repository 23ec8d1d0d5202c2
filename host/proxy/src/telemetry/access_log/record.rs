//! What a line of the access log says.

use std::time::{Duration, SystemTime};

use answers::Usage;

/// One line, but for its attempts. Never a prompt, never a key.
#[derive(Debug)]
pub struct Record<'a> {
    /// When the request arrived.
    pub time: SystemTime,
    /// The `x-request-id` of the answer.
    pub request_id: &'a str,
    /// The path asked for, of those the gateway knows.
    pub path: &'static str,
    /// Canonical id of the model.
    pub model: &'a str,
    /// The deployment that answered.
    pub deployment: Option<&'a str>,
    /// Its side.
    pub side: Option<&'static str>,
    /// Status the client got; 499 where it went away before the answer.
    pub status: u16,
    /// How it ended: `ok`, `error`, `cancelled` (by the client), `broken` (after the first byte).
    pub outcome: &'static str,
    /// The code of the error that the client was told, where it was told one.
    pub error: Option<&'a str>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// In line for a place at a deployment.
    pub queued: Duration,
    /// From arrival to the first byte of the answer.
    pub first_byte: Option<Duration>,
    /// From arrival to the end of the answer.
    pub total: Duration,
    /// How long engines were at work on answers that nobody got, over all attempts.
    pub wasted: Duration,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// Tokens, where the upstream reported them.
    pub usage: Option<Usage>,
}

/// One attempt of a request.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// Where.
    pub deployment: &'a str,
    /// `ok`, why it failed, or why it was not made: `queue_full`, `queue_timeout`, `queue_dispersed`.
    pub outcome: &'a str,
    /// Until the answer began or the attempt failed; where none was made, in line.
    pub took: Duration,
}
