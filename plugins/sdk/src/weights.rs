//! The weights that a strategy answers with.

use crate::Deployment;

/// The shares of the traffic, in the order of the arguments of `assign` or `assign_request`.
///
/// Weights are relative: the gateway divides them by their sum. Each is finite and at least 0, and
/// at least one is above 0. A weight of 0 is standby: used only after every deployment of positive
/// weight has failed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights {
    /// One weight for each deployment of `local`, in its order.
    pub local: Vec<f64>,
    /// One weight for each deployment of `remote`, in its order.
    pub remote: Vec<f64>,
}

impl Weights {
    /// The weight that `weight` gives each deployment.
    pub fn each(
        local: &[Deployment],
        remote: &[Deployment],
        mut weight: impl FnMut(&Deployment) -> f64,
    ) -> Self {
        let local = local.iter().map(&mut weight).collect();
        Self { local, remote: remote.iter().map(weight).collect() }
    }

    /// Gives the local side `local_share`, from 0 to 1, and the remote side the rest. Within a side
    /// the proportions stay; a side whose weights are all 0 shares evenly. If one side is empty,
    /// the other one gets everything.
    #[must_use]
    pub fn sides(mut self, local_share: f64) -> Self {
        let local_share = match (self.local.is_empty(), self.remote.is_empty()) {
            (true, _) => 0.0,
            (_, true) => 1.0,
            _ => local_share.clamp(0.0, 1.0),
        };
        scale(&mut self.local, local_share);
        scale(&mut self.remote, 1.0 - local_share);
        self
    }

    /// Multiplies each weight by its deployment's size relative to the largest one, at least 0.01.
    /// Equal weights then share by size, and steeply falling weights keep their order.
    #[must_use]
    pub fn share_by(
        mut self,
        local: &[Deployment],
        remote: &[Deployment],
        size: impl Fn(&Deployment) -> f64,
    ) -> Self {
        let all = || local.iter().chain(remote);
        let largest = all().map(&size).fold(0.0, f64::max);
        for (weight, one) in self.iter_mut().zip(all()) {
            // `max` also turns NaN (0 / 0) into 0.01.
            *weight *= (size(one) / largest).max(0.01);
        }
        self
    }

    /// These weights. Equal weights instead, if the sum is not finite or not above 0.
    #[must_use]
    pub fn or_even(mut self) -> Self {
        let sum: f64 = self.iter_mut().map(|weight| *weight).sum();
        if !(sum.is_finite() && sum > 0.0) {
            self.iter_mut().for_each(|weight| *weight = 1.0);
        }
        self
    }

    /// All weights, local ones first.
    pub fn iter(&self) -> impl Iterator<Item = f64> {
        self.local.iter().chain(&self.remote).copied()
    }

    /// All weights, local ones first, mutable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.local.iter_mut().chain(&mut self.remote)
    }
}

/// Scales a list to the sum `total`.
fn scale(list: &mut [f64], total: f64) {
    let sum: f64 = list.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 deployments")]
    let count = list.len() as f64;
    for weight in list {
        *weight = if sum > 0.0 { total * *weight / sum } else { total / count };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(local: &[f64], remote: &[f64]) -> Weights {
        Weights { local: local.to_vec(), remote: remote.to_vec() }
    }

    #[test]
    fn sides_get_their_shares() {
        let shared = |local: &[f64], remote: &[f64]| weights(local, remote).sides(0.75);
        assert_eq!(shared(&[1.0, 3.0], &[7.0]), weights(&[0.1875, 0.5625], &[0.25]));
        assert_eq!(shared(&[0.0, 0.0], &[0.0]), weights(&[0.375, 0.375], &[0.25]));
        assert_eq!(shared(&[], &[1.0, 3.0]), weights(&[], &[0.25, 0.75]));
        assert_eq!(shared(&[5.0], &[]), weights(&[1.0], &[]));
    }

    #[test]
    fn unusable_weights_become_even() {
        assert_eq!(weights(&[0.0], &[0.0]).or_even(), weights(&[1.0], &[1.0]));
        assert_eq!(weights(&[f64::NAN], &[2.0]).or_even(), weights(&[1.0], &[1.0]));
        assert_eq!(weights(&[0.0], &[2.0]).or_even(), weights(&[0.0], &[2.0]));
    }

    #[test]
    fn equal_weights_share_by_size() {
        let idle = crate::testing::deployment(0);
        let [a, b, c] = [1, 4, 0].map(|in_flight| Deployment { in_flight, ..idle });
        let size = |one: &Deployment| one.requests();
        let shared = weights(&[1.0, 1.0], &[1.0]).share_by(&[a, b], &[c], size);
        assert_eq!(shared, weights(&[0.25, 1.0], &[0.01]));
        let none = weights(&[1.0], &[1e-6]).share_by(&[c], &[c], size);
        assert_eq!(none, weights(&[0.01], &[1e-8]));
    }
}
