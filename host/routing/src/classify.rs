//! Finds the [`Cause`] of an answer that is an error, from its status and its words.

use http::StatusCode;

use answers::refusal::Sense;

use super::cause::{Cause, Lack};

/// Where an error stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The answer is the error: the status is the answer's.
    Answer,
    /// The error is in the body of an answer of status 200: its status is a number in it.
    Body,
}

impl Cause {
    /// The cause of an answer of this status, which is no success. `sense` is what its words mean.
    /// `named`: a 404 names something that the client named, such as a response or a file.
    #[must_use]
    pub const fn of_answer(status: StatusCode, sense: Option<Sense>, named: bool) -> Self {
        Self::of_status(status, sense, named, Place::Answer)
    }

    /// The cause of an error in the body of an answer of status 200. `status` is the number in it.
    #[must_use]
    pub const fn of_body(status: Option<StatusCode>, sense: Option<Sense>, named: bool) -> Self {
        match (status, sense) {
            (Some(status), _) => Self::of_status(status, sense, named, Place::Body),
            (None, None) => Self::Reported,
            (None, Some(sense)) => {
                let status = match sense {
                    Sense::TooLong | Sense::Lacks(_) => StatusCode::BAD_REQUEST,
                    Sense::Billing => StatusCode::PAYMENT_REQUIRED,
                    Sense::Refused => StatusCode::FORBIDDEN,
                    Sense::Key => StatusCode::UNAUTHORIZED,
                    Sense::Model | Sense::Endpoint => StatusCode::NOT_FOUND,
                    Sense::Full => StatusCode::TOO_MANY_REQUESTS,
                };
                Self::of_sense(sense, status)
            }
        }
    }

    const fn of_status(status: StatusCode, sense: Option<Sense>, named: bool, at: Place) -> Self {
        match (status.as_u16(), sense) {
            (401 | 407, Some(Sense::Refused | Sense::Billing)) => Self::Refused(status),
            (401 | 407, _) => Self::Credential(status),
            (402, _) => Self::Refused(status),
            // These statuses mean full, or given up. Of the words only those about money change
            // that.
            (429, Some(Sense::Billing)) => Self::Refused(status),
            (408 | 409 | 424 | 425 | 429 | 498 | 499 | 529, _) => Self::Status(status),
            // The words are those of another gateway.
            (508, _) if matches!(at, Place::Answer) => Self::Status(status),
            (503, Some(Sense::Model)) => Self::NoModel(status),
            (503, _) => Self::Status(status),
            // A number that is neither a success nor an error.
            (0..=399, _) => Self::Unexpected(status),
            (_, Some(sense)) if counts(sense, status) => Self::of_sense(sense, status),
            (403, _) => Self::Refused(status),
            (405 | 501 | 505, _) => Self::NoEndpoint(status),
            (404, _) if !named => Self::NoEndpoint(status),
            (400..=499, _) => Self::Rejected(status),
            _ => match at {
                Place::Answer => Self::Status(status),
                Place::Body => Self::Reported,
            },
        }
    }

    const fn of_sense(sense: Sense, status: StatusCode) -> Self {
        match sense {
            Sense::TooLong => Self::Unfit(Lack::Context, status),
            Sense::Lacks(feature) => Self::Unfit(Lack::Feature(feature), status),
            Sense::Billing | Sense::Refused => Self::Refused(status),
            Sense::Key => Self::Credential(status),
            Sense::Model => Self::NoModel(status),
            Sense::Endpoint => Self::NoEndpoint(status),
            Sense::Full => match status.as_u16() {
                429 => Self::Status(status),
                _ => Self::Overloaded(status),
            },
        }
    }
}

/// True if a sense counts with this status. A 5xx is not about keys or money, whatever it quotes.
const fn counts(sense: Sense, status: StatusCode) -> bool {
    status.as_u16() < 500 || !matches!(sense, Sense::Billing | Sense::Refused | Sense::Key)
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
