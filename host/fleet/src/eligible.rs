//! Which deployments of a model traffic may go to, which of them a strategy is asked about, and what its
//! answer comes to.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use config::{Share, Standby};
use contract::Side;
use contract::{Candidate, Weights};

use super::{Condition, Deployment, FleetModel, State};

/// Deployments that traffic may go to, as positions in their model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Eligible {
    /// Nothing is eligible, so all are that do not ask to be left alone.
    pub panic: bool,
    /// Those the strategy is asked about.
    pub local: Vec<usize>,
    /// Likewise.
    pub remote: Vec<usize>,
    /// Those that keep their configured weight.
    kept: Vec<usize>,
    /// What the configuration leaves to the strategy of the model's traffic, 0 to 1.
    rest: f64,
}

/// A deployment of a model, as far as its eligibility depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prospect {
    /// Which side it is on.
    pub side: Side,
    /// Who decides on its weight.
    pub share: Share,
    /// The configured weight.
    pub weight: f64,
    /// How it is doing.
    pub condition: Condition,
}

impl Eligible {
    /// Those of `model`; `states` are theirs, one each.
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

    /// Those of `prospects`, the deployments of one model.
    #[must_use]
    pub fn among(prospects: &[Prospect], standby: Standby) -> Self {
        let mut eligible: Vec<bool> =
            prospects.iter().map(|prospect| prospect.condition.is_eligible()).collect();
        let kept_only = |eligible: &[bool]| {
            let mut used = prospects.iter().zip(eligible).filter(|(_, e)| **e);
            used.all(|(prospect, _)| prospect.share == Share::Kept && prospect.weight == 0.0)
        };
        // Under `standby: never` what is configured with weight 0 cannot stand in for the others.
        let panic =
            !eligible.contains(&true) || (standby == Standby::Never && kept_only(&eligible));
        if panic {
            let cooling = |prospect: &Prospect| prospect.condition == Condition::Cooling;
            let all = prospects.iter().all(cooling);
            eligible = prospects.iter().map(|prospect| all || !cooling(prospect)).collect();
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

    /// Whether there is anything to ask a strategy.
    #[must_use]
    pub fn is_assigned(&self) -> bool {
        !(self.local.is_empty() && self.remote.is_empty())
    }

    /// The same without those that are not open any more. Asked for each request; mostly nothing has changed.
    #[must_use]
    pub fn still(&self, is_open: impl Fn(usize) -> bool) -> Cow<'_, Self> {
        let is_open = |i: &usize| self.panic || is_open(*i);
        if self.local.iter().chain(&self.remote).all(&is_open) {
            return Cow::Borrowed(self);
        }
        let open = |list: &[usize]| list.iter().copied().filter(&is_open).collect();
        Cow::Owned(Self { local: open(&self.local), remote: open(&self.remote), ..self.clone() })
    }

    /// What a strategy is asked about: local and remote ones.
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

    /// A strategy's answer, one weight for each deployment of the model, 0 for those that were not
    /// asked about.
    #[must_use]
    pub fn spread(&self, answer: &Weights, deployments: usize) -> Vec<f64> {
        let mut all = vec![0.0; deployments];
        let local = self.local.iter().zip(answer.local());
        for (i, weight) in local.chain(self.remote.iter().zip(answer.remote())) {
            all[*i] = *weight;
        }
        all
    }

    /// The weights of all deployments of the model: what the configuration keeps for some, the rest as
    /// `assigned` says (one for each deployment; where it gives nothing to those that are
    /// eligible, evenly), less what slow start holds back. They sum to 1.
    #[must_use]
    pub fn share(&self, model: &FleetModel, states: &[State], assigned: &[f64]) -> Vec<f64> {
        let assigned = self.asked().map(|i| assigned.get(i).copied().unwrap_or(0.0));
        self.shared(model, states, assigned)
    }

    /// The same of a strategy's answer about those that it was asked about.
    #[must_use]
    pub fn share_answer(&self, model: &FleetModel, states: &[State], answer: &Weights) -> Vec<f64> {
        let assigned = answer.local().iter().chain(answer.remote());
        self.shared(model, states, assigned.copied())
    }

    /// The same; `assigned` are the weights of those that a strategy is asked about, in that order.
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
        normalize(&mut weights, self.asked());
        for i in self.asked() {
            weights[i] *= self.rest;
        }
        for &i in &self.kept {
            weights[i] = model.deployments[i].config.weight;
        }
        for i in self.used() {
            weights[i] *= states[i].factor;
        }
        normalize(&mut weights, self.used());
        weights
    }

    /// Those that a strategy is asked about.
    fn asked(&self) -> impl Iterator<Item = usize> + Clone {
        self.local.iter().chain(&self.remote).copied()
    }

    /// Those that traffic may go to.
    fn used(&self) -> impl Iterator<Item = usize> + Clone {
        self.asked().chain(self.kept.iter().copied())
    }
}

/// Divides the weights at `indices` by their sum; makes them even where that is 0.
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
