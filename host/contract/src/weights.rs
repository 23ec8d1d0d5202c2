//! The weights that a strategy answers, and those that the gateway uses after checking them.

/// A strategy's answer before any check.
#[derive(Debug, Clone, PartialEq)]
pub struct RawWeights {
    /// In the order of the local candidates.
    pub local: Vec<f64>,
    /// In the order of the remote candidates.
    pub remote: Vec<f64>,
}

/// Checked weights: of the right lengths, finite, at least 0, and summing to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    local: Vec<f64>,
    remote: Vec<f64>,
}

/// Why an answer was refused. An answer is refused as a whole, because half of a policy is another
/// policy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadWeights {
    /// A list does not have one weight per deployment.
    #[error("{got} {side} weights for {want} {side} deployments")]
    Length {
        /// Which list: `local` or `remote`.
        side: &'static str,
        /// Its length.
        got: usize,
        /// How many deployments were asked about.
        want: usize,
    },
    /// A weight is NaN, infinite or negative.
    #[error("{side} weight {index} is {value}: weights are finite and at least 0")]
    Number {
        /// Which list: `local` or `remote`.
        side: &'static str,
        /// Position in the list, from 0.
        index: usize,
        /// The number.
        value: f64,
    },
    /// No weight is above 0, or the sum is not finite.
    #[error("the weights sum to {0}: at least one is above 0")]
    Sum(f64),
}

impl Weights {
    /// Checks an answer and divides it by its sum.
    ///
    /// # Errors
    /// The first problem found.
    pub fn check(raw: RawWeights, locals: usize, remotes: usize) -> Result<Self, BadWeights> {
        let RawWeights { mut local, mut remote } = raw;
        for (side, list, want) in [("local", &local, locals), ("remote", &remote, remotes)] {
            if list.len() != want {
                return Err(BadWeights::Length { side, got: list.len(), want });
            }
            let bad = |w: &f64| !w.is_finite() || *w < 0.0;
            if let Some(index) = list.iter().position(bad) {
                return Err(BadWeights::Number { side, index, value: list[index] });
            }
        }
        let sum: f64 = local.iter().chain(&remote).sum();
        if !sum.is_finite() || sum <= 0.0 {
            return Err(BadWeights::Sum(sum));
        }
        for w in local.iter_mut().chain(&mut remote) {
            *w /= sum;
        }
        Ok(Self { local, remote })
    }

    /// Equal weights that sum to 1. Both lists are empty if both counts are 0.
    #[must_use]
    pub fn even(locals: usize, remotes: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 deployments")]
        let each = 1.0 / (locals + remotes).max(1) as f64;
        Self { local: vec![each; locals], remote: vec![each; remotes] }
    }

    /// In the order of the local candidates.
    #[must_use]
    pub fn local(&self) -> &[f64] {
        &self.local
    }

    /// In the order of the remote candidates.
    #[must_use]
    pub fn remote(&self) -> &[f64] {
        &self.remote
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(local: &[f64], remote: &[f64]) -> Result<Weights, BadWeights> {
        let raw = RawWeights { local: local.to_vec(), remote: remote.to_vec() };
        Weights::check(raw, 2, 1)
    }

    #[test]
    fn an_answer_is_divided_by_its_sum() {
        let weights = check(&[1.0, 2.0], &[1.0]).expect("good");
        assert_eq!(weights.local(), [0.25, 0.5]);
        assert_eq!(weights.remote(), [0.25]);
    }

    #[test]
    fn every_kind_of_bad_answer_is_refused() {
        assert!(matches!(
            check(&[1.0], &[1.0]),
            Err(BadWeights::Length { side: "local", got: 1, want: 2 })
        ));
        assert!(matches!(check(&[1.0, 1.0], &[]), Err(BadWeights::Length { side: "remote", .. })));
        assert!(matches!(
            check(&[1.0, f64::NAN], &[1.0]),
            Err(BadWeights::Number { index: 1, .. })
        ));
        assert!(matches!(check(&[1.0, f64::INFINITY], &[1.0]), Err(BadWeights::Number { .. })));
        assert!(matches!(
            check(&[1.0, 1.0], &[-0.1]),
            Err(BadWeights::Number { side: "remote", .. })
        ));
        assert!(matches!(check(&[0.0, 0.0], &[0.0]), Err(BadWeights::Sum(_))));
        assert!(matches!(check(&[f64::MAX, f64::MAX], &[0.0]), Err(BadWeights::Sum(_))));
    }

    #[test]
    fn subnormal_weights_stay_a_share() {
        let weights = check(&[5e-324, 0.0], &[0.0]).expect("good");
        assert_eq!(weights.local(), [1.0, 0.0]);
    }

    #[test]
    fn even_weights_sum_to_one() {
        let even = Weights::even(3, 1);
        assert_eq!((even.local(), even.remote()), (&[0.25; 3][..], &[0.25][..]));
        assert_eq!(Weights::even(0, 2).remote(), [0.5; 2]);
        let none = Weights::even(0, 0);
        assert!(none.local().is_empty() && none.remote().is_empty());
    }
}
