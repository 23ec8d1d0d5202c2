//! What a strategy is told, and what it says: the records of `wit/0.2.0/routing.wit` as Rust has them.

/// Who runs a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The user: it is already paid for.
    Local,
    /// Somebody else: it is paid by the token.
    Remote,
}

/// A price in US dollars per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Of a token of the prompt.
    pub prompt: f64,
    /// Of a token of the answer.
    pub completion: f64,
}

/// What stays the same about a deployment for as long as an instance lives.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The deployment's name, unique within its model: `local-1`, `gpu-a`.
    pub name: String,
    /// The id of the model it runs.
    pub model: String,
    /// Who runs it.
    pub side: Side,
    /// The share the configuration gives it, from 0 to 1, before any strategy.
    pub weight: f64,
    /// Requests it takes at a time, as configured; at least 1.
    pub capacity: u32,
    /// What it costs, where the configuration says so.
    pub price: Option<Price>,
    /// Tokens of prompt and answer together that its model takes.
    pub context_length: u64,
}

/// A deployment as it is at the moment of the call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deployment {
    /// The index of its [`Place`] in the list that `configure` was given.
    pub id: u32,
    /// Requests sent to it and not yet finished.
    pub in_flight: u32,
    /// Requests of this gateway that wait for one of its places.
    pub queued: u32,
    /// Time to first byte in milliseconds, an exponentially weighted moving average over its recent
    /// requests; failures count as slow ones. None before its first answer.
    pub latency: Option<f64>,
    /// The share of its recent attempts that failed, from 0 to 1.
    pub error_rate: f64,
}

impl Deployment {
    /// The index of its [`Place`].
    #[must_use]
    pub fn place(&self) -> usize {
        self.id as usize
    }

    /// Requests it has to do: those in flight, and those that wait for it.
    #[must_use]
    pub fn requests(&self) -> f64 {
        f64::from(self.in_flight) + f64::from(self.queued)
    }

    /// [`requests`](Self::requests) for each of its `capacity` places: 1 is full, more is a queue.
    #[must_use]
    pub fn load(&self, capacity: u32) -> f64 {
        self.requests() / f64::from(capacity.max(1))
    }

    /// How many of its `capacity` places are free; where fewer than a hundredth of them are, that: one that
    /// is full now may have room a moment later, and nobody should be left out for that.
    #[must_use]
    pub fn room(&self, capacity: u32) -> f64 {
        f64::from(capacity.max(1)) * (1.0 - self.load(capacity)).max(0.01)
    }

    /// The milliseconds to first byte that a request sent now may expect: the recent average, and once more
    /// for every round of its places that is waiting already. None: nothing is known.
    #[must_use]
    pub fn first_byte(&self, capacity: u32) -> Option<f64> {
        let rounds = f64::from(self.queued) / f64::from(capacity.max(1));
        self.latency.map(|latency| latency * (1.0 + rounds))
    }
}

/// How to share traffic, in the order of the arguments of `assign` or `assign_request`.
///
/// Weights are relative: the gateway divides them by their sum. Each must be finite and at least 0, and at
/// least one above 0. A weight of 0 means standby: used only after every deployment of positive weight
/// has failed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights {
    /// One weight for each deployment of `local`, in its order.
    pub local: Vec<f64>,
    /// One weight for each deployment of `remote`, in its order.
    pub remote: Vec<f64>,
}

impl Weights {
    /// What `weight` says of each deployment.
    pub fn each(
        local: &[Deployment],
        remote: &[Deployment],
        mut weight: impl FnMut(&Deployment) -> f64,
    ) -> Self {
        let local = local.iter().map(&mut weight).collect();
        Self { local, remote: remote.iter().map(weight).collect() }
    }

    /// `local_share`, from 0 to 1, for the local deployments together, the rest for the remote ones; within a
    /// side as these weights have it, evenly where all of them are 0. The other side gets all where one is
    /// empty.
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

    /// Multiplies each weight by what `size` says of its deployment, as a part of the largest size, no less than a
    /// hundredth: those of one weight share by size, and steeply falling weights stay in order.
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
            // Of sizes that are no numbers, and of no size at all, a hundredth.
            *weight *= (size(one) / largest).max(0.01);
        }
        self
    }

    /// These weights, or, where their sum is not above 0 and finite, the same for all.
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

    /// All weights, local ones first, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.local.iter_mut().chain(&mut self.remote)
    }
}

/// Makes a list sum to `total`.
fn scale(list: &mut [f64], total: f64) {
    let sum: f64 = list.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 deployments")]
    let count = list.len() as f64;
    for weight in list {
        *weight = if sum > 0.0 { total * *weight / sum } else { total / count };
    }
}

/// Facts of a request that cost work to find: those that a strategy is told only if it asks for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// [`Request::prompt_tokens`].
    pub prompt_tokens: bool,
    /// [`Request::session`].
    pub session: bool,
    /// [`Request::prefixes`].
    pub prefixes: bool,
}

impl Needs {
    /// None of them.
    pub const NOTHING: Self = Self { prompt_tokens: false, session: false, prefixes: false };
}

/// What a strategy is told of a request: never the prompt, never a credential.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The id of the model asked for.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Tokens of the prompt, estimated from its length. Only with [`Needs::prompt_tokens`], and where the
    /// request has a prompt that is text.
    pub prompt_tokens: Option<u32>,
    /// Tokens the answer may have, where the request says so.
    pub max_output_tokens: Option<u32>,
    /// A hash that all requests of one session have in common. Only with [`Needs::session`]. The same
    /// on every gateway.
    pub session: Option<u64>,
    /// Hashes of the prompt's beginnings: of its first block, of its first two, and so on. Only with
    /// [`Needs::prefixes`]. The same on every gateway.
    pub prefixes: Vec<u64>,
    /// Who asks, where the configuration names a header that says so.
    pub tenant: Option<String>,
    /// The request's headers of those that the configuration lists, names in lower case.
    pub headers: Vec<(String, String)>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a whole answer.
    Ok,
    /// With an error that was the client's own fault.
    ClientError,
    /// The client went away.
    Cancelled,
    /// With 429, or 503 and the wish to be left alone.
    Limited,
    /// With another error, or without a connection.
    Failed,
    /// With a time-out.
    TimedOut,
    /// In the middle of the answer.
    Broken,
}

/// One finished attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attempt {
    /// The index of the deployment's [`Place`].
    pub deployment: u32,
    /// How it ended.
    pub ending: Ending,
    /// The HTTP status of the deployment's answer, where there was one.
    pub status: Option<u16>,
    /// Milliseconds to the first byte of content, where there was one.
    pub first_byte: Option<f64>,
    /// Milliseconds to its end.
    pub total: f64,
    /// Tokens of the prompt, where the deployment reported them.
    pub prompt_tokens: Option<u32>,
    /// Tokens of the answer, where the deployment reported them.
    pub completion_tokens: Option<u32>,
    /// What it cost in US dollars, where tokens and prices are known.
    pub cost: Option<f64>,
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
    fn nothing_at_all_is_shared_evenly() {
        assert_eq!(weights(&[0.0], &[0.0]).or_even(), weights(&[1.0], &[1.0]));
        assert_eq!(weights(&[f64::NAN], &[2.0]).or_even(), weights(&[1.0], &[1.0]));
        assert_eq!(weights(&[0.0], &[2.0]).or_even(), weights(&[0.0], &[2.0]));
    }

    #[test]
    fn alike_ones_share_by_size() {
        let idle = Deployment { id: 0, in_flight: 0, queued: 0, latency: None, error_rate: 0.0 };
        let [a, b, c] = [1, 4, 0].map(|in_flight| Deployment { in_flight, ..idle });
        let size = |one: &Deployment| one.requests();
        let shared = weights(&[1.0, 1.0], &[1.0]).share_by(&[a, b], &[c], size);
        assert_eq!(shared, weights(&[0.25, 1.0], &[0.01]));
        let none = weights(&[1.0], &[1e-6]).share_by(&[c], &[c], size);
        assert_eq!(none, weights(&[0.01], &[1e-8]));
    }

    #[test]
    fn a_queue_makes_the_first_byte_later() {
        let one =
            Deployment { id: 0, in_flight: 4, queued: 2, latency: Some(100.0), error_rate: 0.0 };
        assert_eq!((one.load(4), one.first_byte(4)), (1.5, Some(150.0)));
        assert_eq!(Deployment { latency: None, ..one }.first_byte(4), None);
        assert_eq!((one.load(0), one.first_byte(0)), (6.0, Some(300.0)), "never a division by 0");
    }
}
