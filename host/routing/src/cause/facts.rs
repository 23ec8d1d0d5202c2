//! The consequences of a [`Cause`]: the columns of the table, and the rows that most causes start
//! from.

use std::fmt;

use http::StatusCode;

use contract::Ending;
use fleet::{FailureKind, Suspicion, Waste};

#[cfg(doc)]
use super::Cause;

/// The consequences of a [`Cause`]: one row of the table.
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

/// The effect of a failure on its deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The failure counts towards ejection.
    Failure(FailureKind),
    /// The deployment is full, and takes fewer requests for a time.
    Limited,
    /// A stall if the deployment answered others meanwhile, else a failure of the answer.
    Late,
    /// The failure is a sign of this suspicion. The deployment goes out of use only after different
    /// requests gave the same sign.
    Suspicion(Suspicion),
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
    /// The engine's alone, if it sent a message.
    Engine,
    /// The gateway's, followed by the engine's.
    Both,
}

/// A fixed text, with a status appended if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wording {
    pub(super) text: &'static str,
    pub(super) status: Option<StatusCode>,
}

impl Wording {
    pub(super) const fn plain(text: &'static str) -> Self {
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
pub(super) const LOST: Charged = Charged::Deployment(Effect::Failure(FailureKind::Connection));

/// The default row: the deployment failed to answer, and another one may succeed.
pub(super) const FAILED: CauseFacts = CauseFacts {
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
pub(super) const TIMED_OUT: CauseFacts = CauseFacts {
    waste: Some(Waste::Timeout),
    status: StatusCode::GATEWAY_TIMEOUT,
    ending: Ending::TimedOut,
    ..FAILED
};

/// The row of a failure of the gateway itself, which ends the request.
pub(super) const OURS: CauseFacts =
    CauseFacts { charged: Charged::Gateway, elsewhere: false, ..FAILED };

/// The row of an answer that has a status and perhaps words.
pub(super) const ANSWERED: CauseFacts = CauseFacts { speaker: Speaker::Both, ..FAILED };

/// The row of a deployment that is full. It works, and nobody is charged with a failure.
pub(super) const FULL: CauseFacts = CauseFacts {
    charged: Charged::Deployment(Effect::Limited),
    waste: None,
    ending: Ending::Refused,
    ..ANSWERED
};

/// The row of a refusal. The engine did no work, and would refuse the same request again.
pub(super) const REFUSED: CauseFacts =
    CauseFacts { waste: None, speaker: Speaker::Engine, again: false, ..FAILED };

pub(super) const fn suspect(of: Suspicion) -> Charged {
    Charged::Deployment(Effect::Suspicion(of))
}

impl CauseFacts {
    /// Sets the status that the client gets.
    pub(super) const fn told(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) const fn worded(self, label: &'static str, text: &'static str) -> Self {
        Self { label: Wording::plain(label), text: Wording::plain(text), ..self }
    }

    /// Sets `label` and `text`, each with the status appended.
    pub(super) const fn answered(
        self,
        label: &'static str,
        text: &'static str,
        status: StatusCode,
    ) -> Self {
        let status = Some(status);
        let (label, text) = (Wording { text: label, status }, Wording { text, status });
        Self { label, text, ..self }
    }
}
