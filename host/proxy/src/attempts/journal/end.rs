//! How an attempt ended, in the words of each reader.

use std::borrow::Cow;

use contract::Ending;
use fleet::Waste;
use routing::Cause;

use super::RequestOutcome;

/// How an attempt ended.
pub(super) struct End {
    /// The label in the log and the metrics.
    pub(super) outcome: Cow<'static, str>,
    /// The ending as strategies that learn are told it.
    pub(super) ending: Ending,
    /// Status of an answer that was not passed on to the client.
    pub(super) status: Option<u16>,
    /// Why the engine's work was wasted. None: it was not.
    pub(super) waste: Option<Waste>,
    /// The gateway cancelled the upstream's answer.
    pub(super) is_cut: bool,
}

impl End {
    pub(super) fn of(cause: Cause, ending: Ending) -> Self {
        let status = cause.answered().map(|status| status.as_u16());
        let is_cut = matches!(cause, Cause::TimedOut(_) | Cause::Stopping);
        Self { outcome: cause.label(), ending, status, waste: cause.facts().waste, is_cut }
    }

    /// True if the upstream answered with the status of an error.
    pub(super) fn is_error(&self) -> bool {
        self.status.is_some_and(|status| !(200..300).contains(&status))
    }

    /// Another attempt of the request began its answer first.
    pub(super) fn beaten() -> Self {
        let (ending, waste) = (Ending::Hedged, Some(Waste::Hedged));
        Self { outcome: "hedged".into(), ending, status: None, waste, is_cut: true }
    }

    pub(super) fn cancelled() -> Self {
        let (ending, waste) = (Ending::Cancelled, Some(Waste::ClientGone));
        let outcome = RequestOutcome::Cancelled.as_str().into();
        Self { outcome, ending, status: None, waste, is_cut: true }
    }
}
