//! Why an attempt failed, and what follows from that: one table, row by row in [`Cause::facts`].
//! Two reasons that are handled differently anywhere have two rows here.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

use contract::Ending;
use fleet::{FailureKind, Waste};

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
            Self::FirstByte => TIMED_OUT.worded(self.code(), "first_byte time-out"),
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
    /// 401, 402, 403 or 407: the deployment does not accept the gateway's own credential.
    Credential(StatusCode),
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
    /// The body of an answer of status 200 is an error. The status is set if the request is at
    /// fault.
    Reported(Option<StatusCode>),
    /// The gateway is stopping, and its time for requests in flight is over.
    Stopping,
    /// The gateway itself failed.
    Internal,
}

/// What follows from a [`Cause`]: one row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CauseFacts {
    /// The label in logs and metrics. Bounded: the only number in it is a status.
    pub label: Wording,
    /// The text for people.
    pub text: Wording,
    /// Who is charged, and with what.
    pub charged: Charged,
    /// Why the engine's work was wasted. None if the engine did no work.
    pub waste: Option<Waste>,
    /// The status that the client gets if no other attempt succeeds.
    pub status: StatusCode,
    /// Whose words the client gets in that case.
    pub speaker: Speaker,
    /// True if another deployment may be tried.
    pub elsewhere: bool,
    /// True if the client may succeed by sending the request again at once.
    pub again: bool,
    /// The ending that strategies are told.
    pub ending: Ending,
}

/// Who is charged with a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charged {
    /// The deployment, with this effect.
    Deployment(Effect),
    /// The client.
    Client,
    /// The gateway.
    Gateway,
    /// Nobody: the deployment gave up on this one request.
    Nobody,
}

/// What a failure does to its deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It counts towards ejection.
    Failure(FailureKind),
    /// The deployment cools for a time.
    Limited,
    /// Like `Limited` if the answer names a wait, else a failure of the answer.
    LimitedIfSaid,
    /// The deployment is out of use until a reload or a successful probe.
    Credential,
    /// A failure of the answer, if the attempt had its fair part of the request's time:
    /// [`Overtime`].
    ///
    /// [`Overtime`]: crate::Overtime
    Overtime,
}

/// Whose words the error message contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The gateway's.
    Gateway,
    /// The engine's, if it sent a message.
    Engine,
}

/// A fixed text, with a status appended if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wording {
    text: &'static str,
    status: Option<StatusCode>,
}

impl Wording {
    const fn plain(text: &'static str) -> Self {
        Self { text, status: None }
    }
}

impl fmt::Display for Wording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)?;
        self.status.map_or(Ok(()), |status| write!(f, "{}", status.as_u16()))
    }
}

/// A lost connection. A probe would fail, too.
const LOST: Charged = Charged::Deployment(Effect::Failure(FailureKind::Connection));

/// The default row: the deployment failed to answer, and another one may succeed.
const FAILED: CauseFacts = CauseFacts {
    label: Wording::plain(""),
    text: Wording::plain(""),
    charged: Charged::Deployment(Effect::Failure(FailureKind::Answer)),
    waste: Some(Waste::Broken),
    status: StatusCode::BAD_GATEWAY,
    speaker: Speaker::Gateway,
    elsewhere: true,
    again: true,
    ending: Ending::Failed,
};

/// The row of a time limit.
const TIMED_OUT: CauseFacts = CauseFacts {
    waste: Some(Waste::Timeout),
    status: StatusCode::GATEWAY_TIMEOUT,
    ending: Ending::TimedOut,
    ..FAILED
};

/// The row of a failure of the gateway itself, which ends the request.
const OURS: CauseFacts = CauseFacts { charged: Charged::Gateway, elsewhere: false, ..FAILED };

impl CauseFacts {
    const fn worded(self, label: &'static str, text: &'static str) -> Self {
        Self { label: Wording::plain(label), text: Wording::plain(text), ..self }
    }

    /// Sets `label` and `text`, each with the status appended.
    const fn answered(self, label: &'static str, text: &'static str, status: StatusCode) -> Self {
        let status = Some(status);
        let (label, text) = (Wording { text: label, status }, Wording { text, status });
        Self { label, text, ..self }
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
            Self::Status(_) | Self::Credential(_) | Self::Unexpected(_) => self.answer_facts(),
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
            Self::Reported(None) => FAILED.worded("error_in_body", "answered with an error"),
            Self::Reported(Some(status)) => reported(status),
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
            Self::Credential(status) => CauseFacts {
                text: Wording::plain("did not accept the gateway's credential"),
                charged: Charged::Deployment(Effect::Credential),
                waste: None,
                again: false,
                ..FAILED.answered("credential_", "", status)
            },
            Self::Unexpected(status) => CauseFacts {
                waste: None,
                again: false,
                ..FAILED.answered("status_", "answered ", status)
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
            Self::Status(status) | Self::Credential(status) | Self::Unexpected(status) => {
                Some(status)
            }
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
            ..FAILED
        },
        429 => CauseFacts {
            charged: Charged::Deployment(Effect::Limited),
            waste: None,
            status,
            ending: Ending::Limited,
            ..FAILED
        },
        503 => CauseFacts {
            charged: Charged::Deployment(Effect::LimitedIfSaid),
            waste: None,
            status,
            ..FAILED
        },
        504 => CauseFacts { status, ..FAILED },
        // A gateway behind it, maybe this one, has seen the request before.
        508 => CauseFacts { charged: Charged::Nobody, waste: None, status, again: false, ..FAILED },
        400..=499 => CauseFacts { charged: Charged::Nobody, ..FAILED },
        _ => FAILED,
    }
}

/// The row of an error with this status in the body of an answer of status 200.
const fn reported(status: StatusCode) -> CauseFacts {
    CauseFacts {
        charged: Charged::Client,
        waste: None,
        status,
        speaker: Speaker::Engine,
        again: false,
        ending: match status.as_u16() {
            400..=499 => Ending::ClientError,
            _ => Ending::Failed,
        },
        ..FAILED.worded("error_in_body", "answered with an error")
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
