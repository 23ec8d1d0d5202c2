//! The traits that an author implements.

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Attempt, Deployment, Needs, Place, Request, Signal, Verdict, Weights};

/// A routing strategy.
///
/// Life cycle: the gateway makes an instance, several for a [`RequestStrategy`]. It configures each
/// one once, and asks it one question at a time. An instance lives until the next configuration, a
/// panic or a time-out. The [`store`](crate::store) outlives it.
pub trait Strategy: Sized + 'static {
    /// One line that says what the strategy does.
    const SUMMARY: &'static str;

    /// The interval of calls to [`assign`](Self::assign), for strategies that weigh live numbers.
    /// At least 100 ms. None: only when eligibility or the configuration change.
    const REFRESH: Option<Duration> = None;

    /// The facts of a request that [`assign_request`](RequestStrategy::assign_request) needs and
    /// that cost work to find.
    const NEEDS: Needs = Needs::NOTHING;

    /// The signals that [`Signals::read`](crate::Signals::read) gives.
    const SIGNALS: &'static [Signal] = &[];

    /// Why requests are routed or refused, in words for operators. A [`Verdict`] names one by its
    /// index.
    const REASONS: &'static [&'static str] = &[];

    /// The type of `routing_parameter`. [`NoParameters`](crate::NoParameters) if there are none.
    ///
    /// The gateway checks the user's values against the schema of this type, and names the line of
    /// `routing.yaml` that breaks it. Use `#[serde(deny_unknown_fields, default)]`, so that a
    /// misspelt parameter is an error and a missing one is not.
    type Parameters: DeserializeOwned + JsonSchema;

    /// Makes an instance. `places` are the deployments of all models that the strategy decides for.
    /// [`Deployment::id`] is an index into them.
    ///
    /// # Errors
    /// The parameters are wrong. The operator sees the text, and the configuration does not take
    /// effect.
    fn configure(parameters: Self::Parameters, places: Vec<Place>) -> Result<Self, String>;

    /// Shares one model's traffic among its eligible deployments. At most one list is empty.
    ///
    /// Called off the request path. The answer stands until the next call.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights;
}

/// A strategy that decides for each request, while the request waits.
pub trait RequestStrategy: Strategy {
    /// Says what happens with this request. At most one list is empty.
    ///
    /// The call has a few milliseconds. After a panic, a time-out or a bad answer, the last answer
    /// of [`assign`](Strategy::assign) decides.
    fn assign_request(
        &mut self,
        request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Verdict;
}

/// A strategy that learns how attempts went.
pub trait Learning: Strategy {
    /// Takes attempts that have finished since the last call.
    ///
    /// Called off the request path, on the instance that answers [`assign`](Strategy::assign). It
    /// passes knowledge through the [`store`](crate::store) to the instances that answer
    /// [`assign_request`](RequestStrategy::assign_request).
    fn outcome(&mut self, attempts: &[Attempt]);
}
