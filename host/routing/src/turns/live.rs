//! The live state of a model's deployments, as an itinerary asks for it.

use std::time::{Duration, Instant};

use answers::refusal::Feature;
use contract::Modalities;
use fleet::{FleetModel, Route, Scope, now};

use crate::{Deployments, InferenceEndpoint, Lack, Unfit};

/// The current state of a model's deployments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Live<'a> {
    pub(super) model: &'a FleetModel,
    pub(super) route: &'a Route,
    pub(super) endpoint: InferenceEndpoint,
    pub(super) scope: Scope,
    /// How long the request waits at least, because a budget is spent that covers the others.
    pub(super) holds: Duration,
}

impl Deployments for Live<'_> {
    fn is_eligible(&self, at: usize) -> bool {
        self.route.states[at].is_eligible()
    }

    fn is_open(&self, at: usize, now: Instant) -> bool {
        let deployment = &self.model.deployments[at];
        deployment.is_open(now) && !deployment.lacks(self.endpoint as usize, now)
    }

    fn cools_until(&self, at: usize, now: Instant) -> Option<Instant> {
        self.model.deployments[at].cools_until(now)
    }

    fn is_up(&self, at: usize) -> bool {
        self.model.deployments[at].health.as_ref().is_none_or(|health| health.is_up())
    }

    fn is_failing(&self, at: usize) -> bool {
        self.model.deployments[at].load.is_failing()
    }

    fn patience(&self, at: usize) -> Duration {
        self.model.deployments[at].config.concurrency.wait.max(self.holds)
    }

    fn is_forbidden(&self, at: usize) -> bool {
        !self.scope.is_all() && self.scope.forbids_now(&self.model.deployments[at], now).is_some()
    }

    fn fits(&self, at: usize, unfit: Unfit) -> bool {
        let capability = |at: usize| self.model.deployments[at].config.capability;
        let has = |what| capability(at).input.has(what);
        match unfit.lack {
            Lack::Context => {
                let said = unfit.context_length.unwrap_or(u64::MAX);
                capability(at).context_length > capability(unfit.at).context_length.min(said)
            }
            Lack::Feature(Feature::Tools) => capability(at).tools,
            Lack::Feature(Feature::Images) => has(Modalities::IMAGE),
            Lack::Feature(Feature::Audio) => has(Modalities::AUDIO),
            Lack::Feature(Feature::Video) => has(Modalities::VIDEO),
            Lack::Feature(Feature::Other) => false,
        }
    }
}
