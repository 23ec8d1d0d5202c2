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
