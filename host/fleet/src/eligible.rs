//! Decides which deployments of a model may get traffic, which of them the strategy is asked about,
//! and how its answer becomes weights.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use config::{Share, Standby};
use contract::{Candidate, Side, Weights};

use super::{Condition, Deployment, FleetModel, State};

/// The deployments that may get traffic, as positions in their model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Eligible {
    /// Panic mode: nothing was eligible, so all deployments are, except cooling ones and those whose
    /// quota is used up.
    pub panic: bool,
    /// Local deployments that the strategy is asked about.
    pub local: Vec<usize>,
    /// Remote deployments that the strategy is asked about.
    pub remote: Vec<usize>,
    /// Deployments that keep their configured weight.
    kept: Vec<usize>,
    /// The share of the model's traffic that the strategy distributes, 0 to 1.
    rest: f64,
}

/// The facts about a deployment that decide its eligibility.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prospect {
    /// The side it is on: local or remote.
    pub side: Side,
    /// Says who sets its weight: the configuration or the strategy.
    pub share: Share,
    /// The configured weight. 0 is standby.
    pub weight: f64,
    /// Its condition in the snapshot.
    pub condition: Condition,
}

impl Eligible {
    /// The eligible deployments of `model`. `states` has one entry per deployment.
    #[must_use]
    pub fn of(model: &FleetModel, states: &[State], standby: Standby) -> Self {
        let prospect = |(deployment, state): (&Arc<Deployment>, &State)| Prospect {
            side: deployment.config.side,
            share: deployment.config.share,
            weight: deployment.config.weight,
            condition: state.condition,
        };
        let prospects: Vec<Prospect> = model.deployments.iter().zip(states).map(prospect).collect();
        Self::among(&prospects, standby)
    }

    /// The eligible ones of `prospects`, the deployments of one model.
    #[must_use]
    pub fn among(prospects: &[Prospect], standby: Standby) -> Self {
        let mut eligible: Vec<bool> =
            prospects.iter().map(|prospect| prospect.condition.is_eligible()).collect();
        let kept_only = |eligible: &[bool]| {
            let mut used = prospects.iter().zip(eligible).filter(|(_, e)| **e);
            used.all(|(prospect, _)| prospect.share == Share::Kept && prospect.weight == 0.0)
        };
        // Under `standby: never` a deployment of weight 0 cannot replace the others, so it does not
        // count.
        let panic =
            !eligible.contains(&true) || (standby == Standby::Never && kept_only(&eligible));
        if panic {
            // A request may wait for a cooling deployment. Nothing overrides the pause that it
            // asked for, nor a quota.
            let is_usable = |prospect: &Prospect| !prospect.condition.is_forbidden();
            eligible = prospects.iter().map(is_usable).collect();
        }
        let mut found = Self { panic, ..Self::default() };
        for (i, prospect) in prospects.iter().enumerate().filter(|(i, _)| eligible[*i]) {
            match (prospect.share, prospect.side) {
                (Share::Kept, _) => found.kept.push(i),
                (Share::Assigned, Side::Local) => found.local.push(i),
                (Share::Assigned, Side::Remote) => found.remote.push(i),
            }
        }
        let kept: f64 = found.kept.iter().map(|i| prospects[*i].weight).sum();
        found.rest = (1.0 - kept).max(0.0);
        found
    }

    /// True if there is a deployment to ask the strategy about.
    #[must_use]
    pub fn is_assigned(&self) -> bool {
        !(self.local.is_empty() && self.remote.is_empty())
    }

    /// The same without the assigned deployments that are no longer open. In panic mode all stay.
    /// Called for each request, so it borrows in the usual case that nothing changed.
    #[must_use]
    pub fn still(&self, is_open: impl Fn(usize) -> bool) -> Cow<'_, Self> {
        let is_open = |i: &usize| self.panic || is_open(*i);
        if self.local.iter().chain(&self.remote).all(&is_open) {
            return Cow::Borrowed(self);
        }
        let open = |list: &[usize]| list.iter().copied().filter(&is_open).collect();
        Cow::Owned(Self { local: open(&self.local), remote: open(&self.remote), ..self.clone() })
    }

    /// The same without deployments that are not allowed. Not even panic mode keeps them.
    #[must_use]
    pub fn within(&self, is_allowed: impl Fn(usize) -> bool) -> Self {
        let allowed = |list: &[usize]| list.iter().copied().filter(|i| is_allowed(*i)).collect();
        let [local, remote, kept] = [&self.local, &self.remote, &self.kept].map(|l| allowed(l));
        Self { local, remote, kept, ..*self }
    }

    /// The local and the remote candidates that the strategy is asked about.
    #[must_use]
    pub fn candidates<'a>(
        &self,
        model: &'a FleetModel,
        states: &[State],
        now: Instant,
    ) -> (Vec<Candidate<'a>>, Vec<Candidate<'a>>) {
        let of = |list: &[usize]| {
            let candidate = |i: &usize| {
                let deployment: &'a Deployment = &model.deployments[*i];
                deployment.candidate(states[*i].condition, now)
            };
            list.iter().map(candidate).collect()
        };
        (of(&self.local), of(&self.remote))
    }

    /// Expands a strategy's answer to one weight per deployment of the model, with 0 for
    /// deployments that it was not asked about.
    #[must_use]
    pub fn spread(&self, answer: &Weights, deployments: usize) -> Vec<f64> {
        let mut all = vec![0.0; deployments];
        let local = self.local.iter().zip(answer.local());
        for (i, weight) in local.chain(self.remote.iter().zip(answer.remote())) {
            all[*i] = *weight;
        }
        all
    }

    /// The weights of all deployments of the model. Kept deployments have their configured weight.
    /// The rest is split in proportion to `assigned` (one weight per deployment), or evenly if
    /// all assigned weights of eligible deployments are 0. Slow start then lowers weights. The
    /// result sums to 1.
    #[must_use]
    pub fn share(&self, model: &FleetModel, states: &[State], assigned: &[f64]) -> Vec<f64> {
        let assigned = self.asked().map(|i| assigned.get(i).copied().unwrap_or(0.0));
        self.shared(model, states, assigned)
    }

    /// Like [`share`](Self::share), for a strategy's answer about these candidates.
    #[must_use]
    pub fn share_answer(&self, model: &FleetModel, states: &[State], answer: &Weights) -> Vec<f64> {
        let assigned = answer.local().iter().chain(answer.remote());
        self.shared(model, states, assigned.copied())
    }

    /// Like [`share`](Self::share), with one weight for each of [`asked`](Self::asked), in that
    /// order.
    fn shared(
        &self,
        model: &FleetModel,
        states: &[State],
        assigned: impl Iterator<Item = f64>,
    ) -> Vec<f64> {
        let mut weights = vec![0.0; model.deployments.len()];
        for (i, assigned) in self.asked().zip(assigned) {
            weights[i] = assigned;
        }
        // The strategy distributes only what the kept weights leave.
        normalize(&mut weights, self.asked());
        for i in self.asked() {
            weights[i] *= self.rest;
        }
        for &i in &self.kept {
            weights[i] = model.deployments[i].config.weight;
        }
        self.lower(&mut weights, |i| states[i].factor);
        normalize(&mut weights, self.used());
        weights
    }

    /// Lowers the weights of deployments in slow start, of which `factor` tells. The weight that it
    /// takes from one of them goes to all in proportion.
    pub fn lower(&self, weights: &mut [f64], factor: impl Fn(usize) -> f64) {
        for i in self.used() {
            weights[i] *= factor(i);
        }
    }

    /// Positions that the strategy is asked about, local ones first.
    fn asked(&self) -> impl Iterator<Item = usize> + Clone {
        self.local.iter().chain(&self.remote).copied()
    }

    /// Positions of all eligible deployments.
    fn used(&self) -> impl Iterator<Item = usize> + Clone {
        self.asked().chain(self.kept.iter().copied())
    }
}

/// Divides the weights at `indices` by their sum, or makes them equal if the sum is 0.
fn normalize(weights: &mut [f64], indices: impl Iterator<Item = usize> + Clone) {
    let sum: f64 = indices.clone().map(|i| weights[i]).sum();
    if sum > 0.0 {
        indices.for_each(|i| weights[i] /= sum);
    } else {
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 deployments")]
        let even = 1.0 / indices.clone().count() as f64;
        indices.for_each(|i| weights[i] = even);
    }
}
