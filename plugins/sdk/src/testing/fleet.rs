//! Fleets for the tests of strategies.

use crate::{
    Condition, Deployment, Modalities, Place, Price, Request, RequestStrategy, Side, Strategy,
    Verdict, Weights, parameters,
};

/// A place of the model `m` with weight 0.5, 8 requests at a time, no price, and a context of 8,192
/// tokens.
#[must_use]
pub fn place(name: &str, side: Side) -> Place {
    Place {
        name: name.to_owned(),
        model: "m".to_owned(),
        model_number: 0,
        side,
        weight: 0.5,
        capacity: 8,
        price: None,
        context_length: 8_192,
        takes: Modalities::default(),
        tools: false,
        tags: Vec::new(),
    }
}

/// An idle deployment of unknown latency.
#[must_use]
pub fn deployment(id: u32) -> Deployment {
    Deployment {
        id,
        in_flight: 0,
        queued: 0,
        limit: 8,
        condition: Condition::Healthy,
        latency: f64::NAN,
        duration: f64::NAN,
        error_rate: 0.0,
        refused_rate: 0.0,
    }
}

/// A new instance, made as the gateway makes it.
///
/// # Errors
/// The strategy refuses the parameters. The text is the operator's.
pub fn configured<S: Strategy>(parameters: &str, places: Vec<Place>) -> Result<S, String> {
    S::configure(parameters::parse(parameters)?, places)
}

/// Places, and the current state of their deployments. All are eligible.
///
/// Build it in steps: `Fleet::new().local("a").capacity(4).in_flight(3).remote("b")`.
/// A setting applies to the deployment named last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fleet {
    /// The places, in the order of their naming.
    pub places: Vec<Place>,
    /// The deployments of the local side.
    pub local: Vec<Deployment>,
    /// The deployments of the remote side.
    pub remote: Vec<Deployment>,
}

impl Fleet {
    /// A fleet without deployments.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a local [`place`] with an idle [`deployment`].
    #[must_use]
    pub fn local(self, name: &str) -> Self {
        self.with(place(name, Side::Local))
    }

    /// Adds a remote [`place`] with an idle [`deployment`].
    #[must_use]
    pub fn remote(self, name: &str) -> Self {
        self.with(place(name, Side::Remote))
    }

    /// Adds this place with an idle [`deployment`].
    #[must_use]
    pub fn with(mut self, place: Place) -> Self {
        let id = u32::try_from(self.places.len()).expect("fewer deployments");
        let side = if place.side == Side::Local { &mut self.local } else { &mut self.remote };
        side.push(Deployment { limit: place.capacity, ..deployment(id) });
        self.places.push(place);
        self
    }

    /// Sets the number of requests at a time.
    #[must_use]
    pub fn capacity(mut self, capacity: u32) -> Self {
        self.last_place().capacity = capacity;
        self.limit(capacity)
    }

    /// Sets the learned number of requests at a time.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.last().limit = limit;
        self
    }

    /// Sets the configured share, from 0 to 1.
    #[must_use]
    pub fn weight(mut self, weight: f64) -> Self {
        self.last_place().weight = weight;
        self
    }

    /// Sets the price in US dollars per token.
    #[must_use]
    pub fn price(mut self, prompt: f64, completion: f64) -> Self {
        self.last_place().price = Some(Price { prompt, cached: prompt, completion });
        self
    }

    /// Sets the limit on tokens of prompt and answer together.
    #[must_use]
    pub fn context_length(mut self, tokens: u64) -> Self {
        self.last_place().context_length = tokens;
        self
    }

    /// Sets the id of the model.
    #[must_use]
    pub fn model(mut self, id: &str) -> Self {
        let known = self.places.iter().find(|place| place.model == id);
        let next = self.places.iter().map(|place| place.model_number).max().unwrap_or_default();
        let number = known.map_or(next + 1, |place| place.model_number);
        let place = self.last_place();
        (place.model, place.model_number) = (id.to_owned(), number);
        self
    }

    /// Sets the requests in flight.
    #[must_use]
    pub fn in_flight(mut self, requests: u32) -> Self {
        self.last().in_flight = requests;
        self
    }

    /// Sets the requests in the queue.
    #[must_use]
    pub fn queued(mut self, requests: u32) -> Self {
        self.last().queued = requests;
        self
    }

    /// Sets the average time to first byte.
    #[must_use]
    pub fn latency(mut self, milliseconds: f64) -> Self {
        self.last().latency = milliseconds;
        self
    }

    /// Sets the average time to the end of an answer.
    #[must_use]
    pub fn duration(mut self, milliseconds: f64) -> Self {
        self.last().duration = milliseconds;
        self
    }

    /// Gives the deployment a tag.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.last_place().tags.push(tag.to_owned());
        self
    }

    /// Sets the share of failed attempts, from 0 to 1.
    #[must_use]
    pub fn error_rate(mut self, share: f64) -> Self {
        self.last().error_rate = share;
        self
    }

    /// A new instance for this fleet's places.
    ///
    /// # Panics
    /// The strategy refuses the parameters.
    #[must_use]
    pub fn configure<S: Strategy>(&self, parameters: &str) -> S {
        configured(parameters, self.places.clone()).expect("good parameters")
    }

    /// The shares that `assign` gives, local deployments first, rounded to five digits. Steeply
    /// falling weights become 1 for the first and 0 for the others.
    ///
    /// # Panics
    /// The gateway would refuse the answer.
    pub fn ask<S: Strategy>(&self, strategy: &mut S) -> Vec<f64> {
        self.shares(&strategy.assign(&self.local, &self.remote))
    }

    /// The shares that `assign_request` gives, in the form of [`ask`](Self::ask).
    ///
    /// # Panics
    /// The gateway would refuse the answer, or the strategy holds or refuses the request.
    pub fn ask_for<S: RequestStrategy>(&self, strategy: &mut S, request: &Request) -> Vec<f64> {
        match self.verdict_for(strategy, request) {
            Verdict::Route(plan) => self.shares(&plan.weights),
            verdict => panic!("no weights: {verdict:?}"),
        }
    }

    /// The weights that `assign_request` gives, local deployments first, as they are.
    ///
    /// # Panics
    /// The strategy holds or refuses the request.
    pub fn ask_order<S: RequestStrategy>(&self, strategy: &mut S, request: &Request) -> Vec<f64> {
        match self.verdict_for(strategy, request) {
            Verdict::Route(plan) => plan.weights.iter().collect(),
            verdict => panic!("no weights: {verdict:?}"),
        }
    }

    /// What `assign_request` says.
    pub fn verdict_for<S: RequestStrategy>(&self, strategy: &mut S, request: &Request) -> Verdict {
        strategy.assign_request(request, &self.local, &self.remote)
    }

    fn shares(&self, weights: &Weights) -> Vec<f64> {
        super::is_good(weights, &self.local, &self.remote).expect("a good answer");
        let rounded = |share: f64| (share * 1e5).round() / 1e5;
        super::shares(weights).into_iter().map(rounded).collect()
    }

    fn last_place(&mut self) -> &mut Place {
        self.places.last_mut().expect("a deployment was named")
    }

    fn last(&mut self) -> &mut Deployment {
        let side = self.last_place().side;
        let side = if side == Side::Local { &mut self.local } else { &mut self.remote };
        side.last_mut().expect("a deployment was named")
    }
}
