//! Why an attempt failed, and what follows from that: one table, row by row in [`Cause::facts`].
//! Two reasons that are handled differently anywhere have two rows here.

mod facts;

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

use answers::refusal::Feature;
use contract::Ending;
use fleet::{Suspicion, Waste};

use facts::{ANSWERED, FAILED, FULL, LOST, OURS, REFUSED, TIMED_OUT, suspect};
pub use facts::{CauseFacts, Charged, Effect, Speaker, Wording};

/// The time limit that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// From the start of an attempt to a connection.
    Connect,
    /// From the connection to the first byte of the answer.
    FirstByte,
    /// Between two chunks of the answer.
    Idle,
    /// From the arrival of the request to the end of its answer, over all attempts.
    Total,
    /// Between two pieces of the answer that the client takes.
    ClientIdle,
}

impl Phase {
    /// The `code` of an error object, and the label in logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Connect => "timeout_connect",
            Self::FirstByte => "timeout_first_byte",
            Self::Idle => "timeout_idle",
            Self::Total => "timeout_total",
            Self::ClientIdle => "timeout_client_idle",
        }
    }

    const fn facts(self) -> CauseFacts {
        match self {
            Self::Connect => CauseFacts {
                charged: LOST,
                waste: None,
                ..TIMED_OUT.worded(self.code(), "connect time-out")
            },
            Self::FirstByte => CauseFacts {
                charged: Charged::Deployment(Effect::Late),
                ..TIMED_OUT.worded(self.code(), "first_byte time-out")
            },
            Self::Idle => TIMED_OUT.worded(self.code(), "idle time-out"),
            Self::Total => CauseFacts {
                charged: Charged::Deployment(Effect::Overtime),
                elsewhere: false,
                again: false,
                ..TIMED_OUT.worded(self.code(), "total time-out")
            },
            Self::ClientIdle => CauseFacts {
                charged: Charged::Client,
                elsewhere: false,
                ..TIMED_OUT.worded(self.code(), "client_idle time-out")
            },
        }
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No connection: refused, unreachable, no such name.
    Connect,
    /// No connection, because the gateway itself has no file descriptor or buffer left.
    NoDescriptors,
    /// The connection was made, but TLS failed.
    Tls,
    /// A time limit passed.
    TimedOut(Phase),
    /// The connection broke before an answer.
    Broken,
    /// The answer is not strict HTTP/1.
    Protocol,
    /// A status that another deployment might not give: 408, 429, 5xx.
    Status(StatusCode),
    /// The deployment says that it is full, but its status does not mean that.
    Overloaded(StatusCode),
    /// The request is wrong, wherever it is sent.
    Rejected(StatusCode),
    /// The request does not fit this deployment.
    Unfit(Lack, StatusCode),
    /// The deployment refused this one request: by moderation, a firewall, for want of credit.
    Refused(StatusCode),
    /// The deployment does not accept the gateway's own credential.
    Credential(StatusCode),
    /// The deployment lacks the model.
    NoModel(StatusCode),
    /// The deployment lacks the endpoint.
    NoEndpoint(StatusCode),
    /// A redirect or another status that no client of the API expects.
    Unexpected(StatusCode),
    /// The answer ended before it was whole.
    Truncated,
    /// The answer ended without anything a client could use.
    Empty,
    /// The answer is neither JSON nor an event stream.
    Malformed,
    /// The answer is compressed, although the gateway asked for `identity`.
    Encoded,
    /// The body of an answer of status 200 is an error without a known meaning.
    Reported,
    /// The gateway is stopping, and its time for requests in flight is over.
    Stopping,
    /// The gateway itself failed.
    Internal,
}

/// What a deployment lacks for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// A context that is long enough.
    Context,
    /// A feature.
    Feature(Feature),
}

impl Lack {
    const fn label(self) -> &'static str {
        match self {
            Self::Context => "unfit_context",
            Self::Feature(Feature::Tools) => "unfit_tools",
            Self::Feature(Feature::Images) => "unfit_images",
            Self::Feature(Feature::Audio) => "unfit_audio",
            Self::Feature(Feature::Video) => "unfit_video",
            Self::Feature(Feature::Other) => "unfit_other",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Context => "the request does not fit its context",
            Self::Feature(_) => "it lacks a feature that the request needs",
        }
    }
}

impl Cause {
    /// The row of this cause.
    #[must_use]
    pub const fn facts(self) -> CauseFacts {
        match self {
            Self::Connect => CauseFacts {
                charged: LOST,
                waste: None,
                ..FAILED.worded("connect", "could not connect")
            },
            Self::NoDescriptors => CauseFacts {
                waste: None,
                status: StatusCode::SERVICE_UNAVAILABLE,
                elsewhere: true,
                ..OURS.worded("no_descriptors", "the gateway has no file descriptors left")
            },
            Self::Tls => CauseFacts {
                charged: LOST,
                waste: None,
                ..FAILED.worded("tls", "no TLS connection")
            },
            Self::TimedOut(phase) => phase.facts(),
            Self::Broken => CauseFacts {
                charged: LOST,
                ..FAILED.worded("broken", "the connection broke before an answer")
            },
            Self::Protocol => FAILED.worded("protocol", "the answer is not HTTP"),
            Self::Status(_) | Self::Overloaded(_) | Self::Unexpected(_) => self.answer_facts(),
            Self::Rejected(_)
            | Self::Unfit(..)
            | Self::Refused(_)
            | Self::Credential(_)
            | Self::NoModel(_)
            | Self::NoEndpoint(_) => self.refusal_facts(),
            Self::Truncated => CauseFacts {
                charged: LOST,
                ending: Ending::Broken,
                ..FAILED.worded("truncated", "the answer ended before it was whole")
            },
            Self::Empty => FAILED.worded("empty", "the answer ended without content"),
            Self::Malformed => {
                FAILED.worded("malformed", "the answer is neither JSON nor an event stream")
            }
            Self::Encoded => {
                FAILED.worded("encoded", "the answer is compressed, which was not asked for")
            }
            Self::Reported => CauseFacts {
                speaker: Speaker::Both,
                ..FAILED.worded("error_in_body", "answered with an error")
            },
            Self::Stopping => CauseFacts {
                waste: Some(Waste::Stopping),
                status: StatusCode::SERVICE_UNAVAILABLE,
                ..OURS.worded("stopping", "the gateway is stopping")
            },
            Self::Internal => CauseFacts {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                ..OURS.worded("internal_error", "the gateway failed; its log says why")
            },
        }
    }

    /// The rows of answers that failed by their status.
    const fn answer_facts(self) -> CauseFacts {
        match self {
            Self::Status(status) if status.as_u16() == 508 => {
                status_facts(status).answered("status_", "the request comes back from it, ", status)
            }
            Self::Status(status) => status_facts(status).answered("status_", "answered ", status),
            Self::Overloaded(_) => CauseFacts {
                status: StatusCode::SERVICE_UNAVAILABLE,
                ..FULL.worded("overloaded", "is overloaded")
            },
            Self::Unexpected(status) => CauseFacts {
                waste: None,
                again: false,
                ..FAILED.answered("status_", "answered ", status)
            },
            _ => FAILED,
        }
    }

    /// The rows of answers that refuse the request, or the gateway.
    const fn refusal_facts(self) -> CauseFacts {
        match self {
            Self::Rejected(status) => CauseFacts {
                charged: Charged::Client,
                elsewhere: false,
                ending: Ending::ClientError,
                ..REFUSED.worded("rejected", "the request is wrong").told(status)
            },
            Self::Unfit(lack, status) => CauseFacts {
                charged: Charged::Nobody,
                ending: Ending::ClientError,
                ..REFUSED.worded(lack.label(), lack.text()).told(status)
            },
            Self::Refused(status) => CauseFacts {
                charged: suspect(Suspicion::Refused),
                ending: Ending::ClientError,
                ..REFUSED.answered("refused_", "answered ", status).told(status)
            },
            Self::Credential(status) => CauseFacts {
                text: Wording::plain("did not accept the gateway's credential"),
                charged: suspect(Suspicion::Credential),
                speaker: Speaker::Gateway,
                ..REFUSED.answered("credential_", "", status)
            },
            Self::NoModel(_) => CauseFacts {
                charged: suspect(Suspicion::Model),
                speaker: Speaker::Gateway,
                status: StatusCode::NOT_FOUND,
                ..REFUSED.worded("no_model", "it does not have the model")
            },
            Self::NoEndpoint(status) => CauseFacts {
                charged: suspect(Suspicion::Endpoint),
                ..REFUSED.answered("no_endpoint_", "answered ", status).told(status)
            },
            _ => FAILED,
        }
    }

    /// The label in logs and metrics.
    #[must_use]
    pub fn label(self) -> Cow<'static, str> {
        match self.facts().label {
            Wording { text, status: None } => text.into(),
            label => label.to_string().into(),
        }
    }

    /// The status of the deployment's answer, if the attempt failed by it.
    #[must_use]
    pub fn answered(self) -> Option<StatusCode> {
        match self {
            Self::Status(status)
            | Self::Overloaded(status)
            | Self::Rejected(status)
            | Self::Unfit(_, status)
            | Self::Refused(status)
            | Self::Credential(status)
            | Self::NoModel(status)
            | Self::NoEndpoint(status)
            | Self::Unexpected(status) => Some(status),
            _ => None,
        }
    }
}

/// The row of a status that another deployment might not give.
const fn status_facts(status: StatusCode) -> CauseFacts {
    match status.as_u16() {
        408 => CauseFacts {
            charged: Charged::Nobody,
            waste: None,
            status: StatusCode::GATEWAY_TIMEOUT,
            ..ANSWERED
        },
        429 | 503 => FULL.told(status),
        498 | 529 => FULL.told(StatusCode::SERVICE_UNAVAILABLE),
        504 => CauseFacts { status, ..ANSWERED },
        // A gateway behind it, maybe this one, has seen the request before.
        508 => CauseFacts {
            charged: Charged::Nobody,
            waste: None,
            again: false,
            ..FAILED.told(status)
        },
        400..=499 => CauseFacts { charged: Charged::Nobody, waste: None, ..ANSWERED },
        _ => ANSWERED,
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts().text.fmt(f)
    }
}

#[cfg(test)]
#[path = "cause_tests.rs"]
mod tests;
