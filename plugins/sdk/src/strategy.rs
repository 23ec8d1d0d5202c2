//! What an author implements.

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Attempt, Deployment, Needs, Place, Request, Weights};

/// A routing strategy.
///
/// Life cycle: the gateway makes instances, several where requests are to be weighed, and configures each one
/// once. An instance is asked one question at a time, and lives until the next configuration, a
/// panic or a time-out. What is to outlive it goes to the [`store`](crate::store).
pub trait Strategy: Sized + 'static {
    /// What it does, in one line.
    const SUMMARY: &'static str;

    /// How often [`assign`](Self::assign) is called even if nothing happened: for strategies that weigh live
    /// numbers. At least 100 ms. None: only when eligibility or the configuration change.
    const REFRESH: Option<Duration> = None;

    /// What [`assign_request`](RequestStrategy::assign_request) is to be told beside what costs
    /// nothing.
    const NEEDS: Needs = Needs::NOTHING;

    /// Its `routing_parameter`; [`NoParameters`](crate::NoParameters) where it has none.
    ///
    /// The gateway checks the user's values against the schema of this type, and names the line of
    /// `routing.yaml` that breaks it. Use `#[serde(deny_unknown_fields, default)]`, so that a
    /// misspelt parameter is an error and a missing one is not.
    type Parameters: DeserializeOwned + JsonSchema;

    /// Makes an instance. `places` are the deployments of all models that the strategy decides for;
    /// [`Deployment::id`] is an index into them.
    ///
    /// # Errors
    /// What is wrong with the parameters, for the operator: the configuration that has them is not
    /// put in use.
    fn configure(parameters: Self::Parameters, places: Vec<Place>) -> Result<Self, String>;

    /// Shares one model's traffic among its eligible deployments. Not both lists are empty.
    ///
    /// Called off the request path. What it says stands until the next call.
    fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights;
}

/// A strategy that is asked for each request, while the request waits.
pub trait RequestStrategy: Strategy {
    /// Shares this request among its model's eligible deployments: the gateway draws by the weights.
    /// Not both lists are empty.
    ///
    /// There are a few milliseconds for it. After a panic, a time-out or an answer that is not good,
    /// what [`assign`](Strategy::assign) said last decides.
    fn assign_request(
        &mut self,
        request: &Request,
        local: &[Deployment],
        remote: &[Deployment],
    ) -> Weights;
}

/// A strategy that is told how attempts went.
pub trait Learning: Strategy {
    /// Takes attempts that have finished since the last call.
    ///
    /// Called off the request path, on the instance that answers [`assign`](Strategy::assign): what
    /// those that answer [`assign_request`](RequestStrategy::assign_request) are to know of it goes through
    /// the [`store`](crate::store).
    fn outcome(&mut self, attempts: &[Attempt]);
}
