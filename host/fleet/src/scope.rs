//! What is forbidden to one request. Unlike what is *judged* (ejected, unhealthy), nothing overrides
//! it: not panic mode, not fallback, not a strategy.

use std::time::Instant;

use config::{Capability, DeploymentConfig, Sides};
use contract::Modalities;

use super::{Deployment, QuotaNeeds};

/// What a request needs, as far as the gateway can tell without an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Demand {
    /// A number of tokens that the prompt surely has.
    pub tokens: u64,
    /// What the prompt holds beside text.
    pub input: Modalities,
    /// The request has tools.
    pub tools: bool,
}

/// The deployments of a model that a request may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    sides: Sides,
    least: Demand,
    /// Budgets that have too little left, as bits.
    spent: u64,
    /// What the request needs of quotas. None: no deployment of the model has a quota.
    needs: Option<QuotaNeeds>,
}

/// Why a deployment is forbidden to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// The deployment is on the wrong side.
    Side,
    /// The prompt does not fit its context.
    Context,
    /// The deployment lacks a modality or tools.
    Feature,
    /// A budget that covers it has too little left.
    Budget,
    /// A quota of it has too little left.
    Quota,
}

impl Scope {
    /// Nothing is forbidden.
    pub const ALL: Self = Self {
        sides: Sides::BOTH,
        least: Demand { tokens: 0, input: Modalities::NONE, tools: false },
        spent: 0,
        needs: None,
    };

    /// The scope of a request that may go to `sides`. A demand that no deployment on these sides
    /// meets forbids nothing: the engine's own refusal is then the best answer.
    pub fn of<'a>(
        sides: Sides,
        demand: Demand,
        deployments: impl Iterator<Item = &'a DeploymentConfig> + Clone,
    ) -> Self {
        let within = deployments.filter(|config| sides.has(config.side)).map(|c| c.capability);
        let meets = |demand: Demand| {
            let met = |capability: Capability| demand.is_met_by(&capability);
            within.clone().any(met)
        };
        let mut least = Demand::default();
        for part in demand.parts() {
            let more = least.and(part);
            if meets(more) {
                least = more;
            }
        }
        Self { sides, least, ..Self::ALL }
    }

    /// Leaves out what budgets of these bits cover, too.
    #[must_use]
    pub fn without(self, spent: u64) -> Self {
        Self { spent, ..self }
    }

    /// Leaves out deployments whose quotas have less left than these needs, too.
    #[must_use]
    pub fn needing(self, needs: QuotaNeeds) -> Self {
        Self { needs: Some(needs), ..self }
    }

    /// What the request needs of quotas.
    #[must_use]
    pub fn needs(&self) -> QuotaNeeds {
        self.needs.unwrap_or_default()
    }

    /// Why a deployment is forbidden at the time that `now` tells. None: it is not.
    #[must_use]
    pub fn forbids_now(
        &self,
        deployment: &Deployment,
        now: impl FnOnce() -> Instant,
    ) -> Option<Forbidden> {
        self.forbids(&deployment.config).or_else(|| {
            let needs = self.needs.filter(|_| deployment.quotas.is_some())?;
            deployment.quota_forbids(needs, now()).map(|_| Forbidden::Quota)
        })
    }

    /// Why `config` is forbidden, whatever its quotas have left. None: it is not.
    #[must_use]
    pub fn forbids(&self, config: &DeploymentConfig) -> Option<Forbidden> {
        let capability = &config.capability;
        if !self.sides.has(config.side) {
            Some(Forbidden::Side)
        } else if self.least.tokens > capability.context_length {
            Some(Forbidden::Context)
        } else if !self.least.is_met_by(capability) {
            Some(Forbidden::Feature)
        } else if self.spent & config.budgets != 0 {
            Some(Forbidden::Budget)
        } else {
            None
        }
    }

    /// True if it forbids nothing, whatever the deployments are.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::ALL
    }
}

impl Demand {
    fn is_met_by(&self, capability: &Capability) -> bool {
        self.tokens <= capability.context_length
            && capability.input.has(self.input)
            && (capability.tools || !self.tools)
    }

    fn and(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.max(other.tokens),
            input: self.input.or(other.input),
            tools: self.tools || other.tools,
        }
    }

    /// Its parts, the most telling first.
    fn parts(self) -> [Self; 3] {
        let none = Self::default();
        [
            Self { input: self.input, ..none },
            Self { tools: self.tools, ..none },
            Self { tokens: self.tokens, ..none },
        ]
    }
}
