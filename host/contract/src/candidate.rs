//! A deployment as a strategy sees it.

use super::{Modalities, Side};

/// The facts about a deployment that are fixed while a configuration is in use. A strategy gets the
/// places of all models that it decides for. The position in that list is the [`Candidate::id`].
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Unique within the model.
    pub name: String,
    /// Id of the model it runs.
    pub model: String,
    /// Local if the user runs it, else remote.
    pub side: Side,
    /// Configured share, 0 to 1.
    pub weight: f64,
    /// Requests it takes at a time, as configured; at least 1.
    pub capacity: u32,
    /// Its price, if configured.
    pub price: Option<Price>,
    /// Tokens of prompt and answer together.
    pub context_length: u64,
    /// What a prompt may hold beside text.
    pub takes: Modalities,
    /// Whether it takes tools.
    pub tools: bool,
    /// The words that the configuration gives it.
    pub tags: Vec<String>,
}

impl Place {
    /// A place for one request at a time, of weight 1, without a price, that takes text of any
    /// length.
    #[must_use]
    pub fn new(name: &str, model: &str, side: Side) -> Self {
        Self {
            name: name.to_owned(),
            model: model.to_owned(),
            side,
            weight: 1.0,
            capacity: 1,
            price: None,
            context_length: u64::MAX,
            takes: Modalities::NONE,
            tools: false,
            tags: Vec::new(),
        }
    }
}

/// A deployment as a strategy sees it at one moment: numbers and names, never a URL, a key or a
/// prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    /// Position of `place` among those the strategy was given.
    pub id: u32,
    /// Its fixed facts.
    pub place: &'a Place,
    /// Requests in flight.
    pub in_flight: u32,
    /// Requests that wait for a place at it.
    pub queued: u32,
    /// Requests that it takes at a time now: its capacity, or less where its refusals taught so.
    pub limit: u32,
    /// How it is doing.
    pub state: CandidateState,
    /// Moving average of the time to first byte, in milliseconds. None if there was no answer
    /// lately.
    pub latency: Option<f64>,
    /// Moving average of the time to the end of a good answer, in milliseconds. None if there was
    /// none.
    pub duration: Option<f64>,
    /// Share of its recent attempts that failed, 0 to 1.
    pub error_rate: f64,
    /// Share of its recent attempts that it refused because it was full, 0 to 1.
    pub refused_rate: f64,
}

impl<'a> Candidate<'a> {
    /// A healthy one that nothing is known of yet, with nothing in flight.
    #[must_use]
    pub fn idle(id: u32, place: &'a Place) -> Self {
        Self {
            id,
            place,
            in_flight: 0,
            queued: 0,
            limit: place.capacity,
            state: CandidateState::Healthy,
            latency: None,
            duration: None,
            error_rate: 0.0,
            refused_rate: 0.0,
        }
    }
}

impl Candidate<'_> {
    /// The same numbers, beside another copy of its fixed facts.
    #[must_use]
    pub fn beside(self, place: &Place) -> Candidate<'_> {
        Candidate {
            id: self.id,
            place,
            in_flight: self.in_flight,
            queued: self.queued,
            limit: self.limit,
            state: self.state,
            latency: self.latency,
            duration: self.duration,
            error_rate: self.error_rate,
            refused_rate: self.refused_rate,
        }
    }
}

/// How a deployment is doing that may be given traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CandidateState {
    /// Nothing is wrong.
    Healthy,
    /// It came back, and its limit is rising.
    SlowStart,
    /// It is out of use but for one trial at a time.
    HalfOpen,
    /// It gives no first byte in time though it answers others: one trial at a time.
    Stalled,
}

/// What a strategy is asked about: the eligible deployments of one model. Not both lists are empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Situation<'a> {
    /// The local ones.
    pub local: &'a [Candidate<'a>],
    /// The remote ones.
    pub remote: &'a [Candidate<'a>],
    /// The values of [`Description::signals`](super::Description::signals): a row for each
    /// deployment, local ones first, then the global ones. NaN: unknown.
    pub signals: &'a [f64],
}

/// US dollars per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// For a prompt token.
    pub prompt: f64,
    /// For a prompt token that the provider has in its cache.
    pub cached: f64,
    /// For a completion token.
    pub completion: f64,
}
