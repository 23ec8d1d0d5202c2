//! The arguments of a strategy: the records of `wit/0.3.0-draft/routing.wit` in Rust.

/// Who runs a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The user runs it. It is paid for already.
    Local,
    /// A provider runs it. It is paid by the token.
    Remote,
}

/// A price in US dollars per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Dollars per token of the prompt.
    pub prompt: f64,
    /// Dollars per token of the prompt that the provider has in its cache.
    pub cached: f64,
    /// Dollars per token of the answer.
    pub completion: f64,
}

/// The properties of a deployment that stay the same as long as an instance lives.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The deployment's name, such as `gpu-a`. Unique within its model.
    pub name: String,
    /// The id of the model it runs.
    pub model: String,
    /// The number of that model: [`Request::model`].
    pub model_number: u32,
    /// Who runs it.
    pub side: Side,
    /// The configured share, from 0 to 1. No strategy has changed it.
    pub weight: f64,
    /// The configured number of requests at a time. At least 1.
    pub capacity: u32,
    /// The price, if it is configured.
    pub price: Option<Price>,
    /// The limit on tokens of prompt and answer together.
    pub context_length: u64,
    /// What a prompt may hold beside text.
    pub takes: Modalities,
    /// Whether it takes tools.
    pub tools: bool,
    /// The words that the configuration gives it.
    pub tags: Vec<String>,
}

/// What a prompt holds beside text, or a deployment takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modalities {
    /// Pictures.
    pub image: bool,
    /// Sound.
    pub audio: bool,
    /// Moving pictures.
    pub video: bool,
}

impl Place {
    /// Checks that `places` has a deployment of this name.
    ///
    /// # Errors
    /// There is none. The text lists the names there are, for the operator.
    pub fn named(name: &str, places: &[Self]) -> Result<(), String> {
        /// The text lists at most this many names.
        const SHOWN: usize = 16;

        let mut known: Vec<&str> = places.iter().map(|place| &*place.name).collect();
        if known.contains(&name) {
            return Ok(());
        }
        known.sort_unstable();
        known.dedup();
        let more = match known.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        known.truncate(SHOWN);
        Err(format!("no deployment is named `{name}`; there are {}{more}", known.join(", ")))
    }
}

/// How an eligible deployment is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing is wrong.
    Healthy,
    /// It came back, and its limit is rising.
    SlowStart,
    /// It is out of use but for one trial at a time.
    HalfOpen,
    /// It gives no first byte in time though it answers others: one trial at a time.
    Stalled,
}

impl Condition {
    /// The condition of a number of the contract. The generated code calls it.
    #[doc(hidden)]
    #[must_use]
    pub fn _lift(number: u8) -> Self {
        match number {
            1 => Self::SlowStart,
            2 => Self::HalfOpen,
            3 => Self::Stalled,
            _ => Self::Healthy,
        }
    }
}

/// The state of a deployment at the time of the call. A number that is not known is NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deployment {
    /// The index of its [`Place`] in the list that `configure` got.
    pub id: u32,
    /// Requests at the deployment that have not ended.
    pub in_flight: u32,
    /// Requests in this gateway's queue for the deployment.
    pub queued: u32,
    /// Requests that it takes at a time now: its capacity, or less where its refusals taught so.
    pub limit: u32,
    /// How it is doing.
    pub condition: Condition,
    /// Time to first byte in milliseconds: an exponentially weighted moving average over recent
    /// requests. Failures count as slow ones.
    pub latency: f64,
    /// Time to the end of a good answer in milliseconds, an average of the same kind.
    pub duration: f64,
    /// The share of its recent attempts that failed, from 0 to 1.
    pub error_rate: f64,
    /// The share of its recent attempts that it refused because it was full, from 0 to 1.
    pub refused_rate: f64,
}

/// A deployment that fails counts as busy as if at most this share of its attempts failed.
const WORST: f64 = 0.95;

impl Deployment {
    /// The index of its [`Place`].
    #[must_use]
    pub fn place(&self) -> usize {
        self.id as usize
    }

    /// The average time to first byte. None before its first answer.
    #[must_use]
    pub fn latency(&self) -> Option<f64> {
        (!self.latency.is_nan()).then_some(self.latency)
    }

    /// The average time to the end of an answer. None before its first good one.
    #[must_use]
    pub fn duration(&self) -> Option<f64> {
        (!self.duration.is_nan()).then_some(self.duration)
    }

    /// Requests in flight and in the queue. Those in flight are scaled up by the error rate: a
    /// deployment that fails fast has few of them, and must not look idle.
    #[must_use]
    pub fn requests(&self) -> f64 {
        let good = 1.0 - self.error_rate.clamp(0.0, WORST);
        (f64::from(self.in_flight) + 1.0) / good - 1.0 + f64::from(self.queued)
    }

    /// [`requests`](Self::requests) per place. 1 is full, more is a queue.
    #[must_use]
    pub fn load(&self, capacity: u32) -> f64 {
        self.requests() / f64::from(capacity.max(1))
    }

    /// The number of free places, but at least a hundredth of `capacity`. A full deployment may
    /// have room a moment later, so it keeps a small share.
    #[must_use]
    pub fn room(&self, capacity: u32) -> f64 {
        f64::from(capacity.max(1)) * (1.0 - self.load(capacity)).max(0.01)
    }

    /// The expected milliseconds to first byte for a request sent now. None: the latency is unknown.
    /// See [`first_byte_of`](Self::first_byte_of).
    #[must_use]
    pub fn first_byte(&self) -> Option<f64> {
        self.latency().map(|latency| self.first_byte_of(latency))
    }

    /// The same, if the deployment had this `latency`.
    ///
    /// While a place is free, the more of them are taken the longer it takes: up to twice the
    /// latency. A request that finds none waits for its turn. A place is held for the whole
    /// answer, so each round of turns takes the average [`duration`](Self::duration), or the
    /// latency where that is unknown.
    #[must_use]
    pub fn first_byte_of(&self, latency: f64) -> f64 {
        let limit = f64::from(self.limit.max(1));
        // An average of 0 would hide how many requests are in flight.
        let latency = latency.max(1e-3);
        let (taken, before) =
            (self.requests().min(limit), (self.requests() + 1.0 - limit).max(0.0));
        let round = self.duration().unwrap_or(latency).max(latency);
        latency * (1.0 + taken / limit) + round * before / limit
    }
}

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

/// The facts of a request that cost work to find. The gateway finds only those that are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// [`Request::prompt_tokens`].
    pub prompt_tokens: bool,
    /// [`Request::session`].
    pub session: bool,
    /// [`Request::prefixes`].
    pub prefixes: bool,
    /// [`Request::tenant_name`].
    pub tenant_name: bool,
}

impl Needs {
    /// No fact.
    pub const NOTHING: Self =
        Self { prompt_tokens: false, session: false, prefixes: false, tenant_name: false };
}

/// The facts of a request. They never include the prompt or a credential.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The number of the requested model: [`Place::model_number`].
    pub model: u32,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// Tokens of the prompt, estimated from its length. Only with [`Needs::prompt_tokens`], for
    /// requests with a text prompt.
    pub prompt_tokens: Option<u32>,
    /// The request's own limit on tokens of the answer.
    pub max_output_tokens: Option<u32>,
    /// A hash that all requests of a session share. The same on every gateway. Only with
    /// [`Needs::session`].
    pub session: Option<u64>,
    /// Hashes of the first block of the prompt, of the first two blocks, and so on. The same on
    /// every gateway. Only with [`Needs::prefixes`].
    pub prefixes: Vec<u64>,
    /// A hash of the value of the header that `request.tenant_header` names. The same on every
    /// gateway.
    pub tenant: Option<u64>,
    /// That value. Only with [`Needs::tenant_name`].
    pub tenant_name: Option<String>,
    /// What the prompt holds beside text, where that tells the model's deployments apart.
    pub holds: Modalities,
    /// Whether it comes with tools, where that tells the model's deployments apart.
    pub tools: bool,
    /// How urgent it is, from the header that `request.priority_header` names: larger is more
    /// urgent.
    pub priority: i32,
    /// The milliseconds to first byte that it asks for, from the header that
    /// `request.objective_header` names.
    pub objective: Option<u32>,
    /// How often the strategy has held it.
    pub held: u32,
    /// The headers that `request.headers` lists, names in lower case.
    pub headers: Vec<(String, String)>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A whole answer.
    Ok,
    /// An error of the client's own making.
    ClientError,
    /// The client left.
    Cancelled,
    /// The deployment refused it because it was full or over its allowance.
    Refused,
    /// No first byte in time, while the deployment answered others.
    Stalled,
    /// Another error, or no connection.
    Failed,
    /// A time-out.
    TimedOut,
    /// The answer broke off.
    Broken,
    /// Cancelled, because another attempt of the request began its answer first.
    Hedged,
}

/// One finished attempt. A number that is not known is NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attempt {
    /// The index of the deployment's [`Place`].
    pub deployment: u32,
    /// A number that all attempts of one request have in common, and no others.
    pub request: u64,
    /// The session of the request, as [`Request::session`].
    pub session: Option<u64>,
    /// The tenant of the request, as [`Request::tenant`].
    pub tenant: Option<u64>,
    /// How it ended.
    pub ending: Ending,
    /// The HTTP status of the answer. None: no answer came.
    pub status: Option<u16>,
    /// Milliseconds that the request waited for places before this attempt.
    pub queued: f64,
    /// Milliseconds to the first byte of content.
    pub first_byte: f64,
    /// Milliseconds to the end of the attempt.
    pub total: f64,
    /// The probability with which the deployment was drawn, from above 0 to 1.
    pub probability: f64,
    /// Tokens of the prompt, as the deployment reported them.
    pub prompt_tokens: Option<u32>,
    /// Of these, tokens in its cache, as it reported them.
    pub cached_tokens: Option<u32>,
    /// Tokens of the answer, as the deployment reported them.
    pub completion_tokens: Option<u32>,
    /// Of these, tokens of reasoning, as it reported them.
    pub reasoning_tokens: Option<u32>,
    /// The cost in US dollars, if tokens and price are known.
    pub cost: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(local: &[f64], remote: &[f64]) -> Weights {
        Weights { local: local.to_vec(), remote: remote.to_vec() }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let places = |count: usize| -> Vec<Place> {
            let place = |number| crate::testing::place(&format!("gpu-{number}"), Side::Local);
            (0..count).map(place).collect()
        };
        assert_eq!(Place::named("gpu-1", &places(2)), Ok(()));
        let says = "no deployment is named `x`; there are gpu-0, gpu-1";
        assert_eq!(Place::named("x", &places(2)), Err(says.to_owned()));
        let many = Place::named("x", &places(20)).expect_err("there is none");
        assert!(many.ends_with(" and 4 more"), "{many}");
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

    #[test]
    fn a_queue_makes_the_first_byte_later() {
        let one = Deployment {
            in_flight: 4,
            limit: 4,
            latency: 100.0,
            duration: 6_000.0,
            ..crate::testing::deployment(0)
        };
        let first_byte = |in_flight, queued| Deployment { in_flight, queued, ..one }.first_byte();
        assert_eq!([first_byte(0, 0), first_byte(2, 0)], [Some(100.0), Some(150.0)]);
        assert_eq!(first_byte(4, 1), Some(200.0 + 2.0 / 4.0 * 6_000.0), "the second in line");
        let unknown = Deployment { queued: 3, duration: f64::NAN, ..one };
        assert_eq!(unknown.first_byte(), Some(200.0 + 100.0), "a round of the latency at least");
        assert_eq!(Deployment { latency: f64::NAN, ..one }.first_byte(), None);
        let none = Deployment { limit: 0, ..one };
        assert!(none.first_byte().is_some_and(f64::is_finite), "never a division by 0");
        assert_eq!(none.load(0), 4.0);
    }

    #[test]
    fn one_that_fails_looks_busier() {
        let failing = |error_rate| {
            let one = Deployment { in_flight: 3, error_rate, ..crate::testing::deployment(0) };
            one.requests()
        };
        assert_eq!([0.0, 0.5, 1.0].map(failing).map(f64::round), [3.0, 7.0, 79.0]);
    }

    #[test]
    fn conditions_have_the_numbers_of_the_contract() {
        let all =
            [Condition::Healthy, Condition::SlowStart, Condition::HalfOpen, Condition::Stalled];
        for (number, condition) in (0..).zip(all) {
            assert_eq!((Condition::_lift(number), condition as u8), (condition, number));
        }
    }
}
