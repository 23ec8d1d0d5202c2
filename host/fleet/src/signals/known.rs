//! Reads the signals of a deployment.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use contract::{Signal, SignalScope};

use crate::{Deployment, Slots};

use super::{DeploymentSignals, Records, RequestSignals};

/// Prices of a deployment in dollars, as strategies are told them. What an attempt has cost is
/// counted exactly: see [`Tariff`](crate::Tariff).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Prices {
    /// Of a token of the prompt.
    pub prompt: f64,
    /// Of a token of the prompt that comes from the deployment's cache.
    pub cached: f64,
    /// Of a token of the answer.
    pub completion: f64,
    /// Of a request, whatever its tokens.
    pub request: f64,
}

impl Prices {
    /// Expected cost in dollars of a request with this many tokens, of which `cached` tokens of the
    /// prompt come from the deployment's cache. An unknown number of tokens is NaN. It costs nothing
    /// if the price is 0.
    #[must_use]
    pub fn cost(self, prompt: f64, cached: f64, completion: f64) -> f64 {
        let cost = |tokens: f64, price: f64| if price == 0.0 { 0.0 } else { tokens * price };
        self.request
            + cost(prompt - cached, self.prompt)
            + cost(cached, self.cached)
            + cost(completion, self.completion)
    }
}

/// What the signals of a deployment are read from beside its records.
#[derive(Debug, Clone, Copy)]
pub struct SignalSource<'a> {
    /// Its places.
    pub slots: &'a Slots,
    /// Requests that wait for one of them.
    pub waiting: usize,
    /// Its prices.
    pub prices: Prices,
}

impl Deployment {
    /// The value of a signal at `now`, for `request` or, without one, off the request path. NaN if
    /// it is not known, or not of a deployment.
    #[must_use]
    pub fn signal(&self, signal: Signal, request: Option<&RequestSignals>, now: Instant) -> f64 {
        match signal {
            Signal::EngineRunning
            | Signal::EngineWaiting
            | Signal::EngineKv
            | Signal::EnginePrefixHit
            | Signal::EngineAge => self.engine.value(signal, now),
            Signal::QuotaRequests | Signal::QuotaUsed | Signal::QuotaResets => {
                self.quota_signal(signal, now)
            }
            _ => {
                let (slots, waiting) = (&*self.slots, self.slots.waiting());
                let source = SignalSource { slots, waiting, prices: self.prices };
                self.signals.value(signal, source, request, now)
            }
        }
    }

    /// The signals of the deployment that are known without a request.
    pub fn known_signals(&self, now: Instant) -> impl Iterator<Item = (Signal, f64)> {
        let own = |signal: &Signal| signal.facts().scope == SignalScope::Deployment;
        let value = move |signal| (signal, self.signal(signal, None, now));
        Signal::ALL.into_iter().filter(own).map(value).filter(|(_, value)| !value.is_nan())
    }
}

impl DeploymentSignals {
    /// Tokens that answers of the model usually have. None: not known.
    #[must_use]
    pub fn usual_answer(&self) -> Option<u64> {
        let mean = self.model.completion.get();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast saturates, and a mean of counts is not negative"
        )]
        (!mean.is_nan()).then_some(mean.ceil() as u64)
    }

    /// The value of a signal that the host knows by itself: see [`Deployment::signal`].
    #[must_use]
    pub fn value(
        &self,
        signal: Signal,
        source: SignalSource<'_>,
        request: Option<&RequestSignals>,
        now: Instant,
    ) -> f64 {
        let SignalSource { slots, waiting, prices } = source;
        let of_records = |value: &dyn Fn(&Records) -> f64| match self.records.get() {
            Some(records) => value(records),
            None => f64::NAN,
        };
        let quantile = |window: usize, at: usize| {
            let sketch = self.records.get().and_then(|records| records.first_bytes[window].get());
            sketch.map_or(f64::NAN, |sketch| sketch.quantile(at, now))
        };
        match signal {
            Signal::Limit => f64::from(slots.limit()),
            Signal::Stalled => f64::from(u8::from(slots.report().stalled.is_some())),
            Signal::QuotaRequests => slots.quota(now).unwrap_or(f64::NAN),
            Signal::RefusedRate => of_records(&|records| {
                // NaN of none.
                (records.refused.count(now) / records.settled.count(now)).clamp(0.0, 1.0)
            }),
            Signal::DurationMean => of_records(&|records| records.duration.get()),
            Signal::TokensPerSecond => of_records(&|records| records.speed.get()),
            Signal::FirstByteP50 => quantile(0, 0),
            Signal::FirstByteP90 => quantile(0, 1),
            Signal::FirstByteP99 => quantile(0, 2),
            Signal::FirstByteP50Long => quantile(1, 0),
            Signal::FirstByteP90Long => quantile(1, 1),
            Signal::FirstByteP99Long => quantile(1, 2),
            #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 tokens")]
            Signal::PrefillBacklog => {
                of_records(&|records| records.backlog.load(Ordering::Relaxed) as f64)
            }
            Signal::LineWait => {
                let held = of_records(&|records| records.held.get());
                line_wait(slots, waiting, held, now)
            }
            Signal::PrefixTokens => request.map_or(f64::NAN, |request| {
                of_records(&|records| records.prefixes.tokens(request, now))
            }),
            Signal::PricePrompt => prices.prompt,
            Signal::PriceCached => prices.cached,
            Signal::PriceCompletion => prices.completion,
            Signal::RequestCost => {
                request.map_or(f64::NAN, |request| self.cost(request, prices, now))
            }
            Signal::EngineRunning
            | Signal::EngineWaiting
            | Signal::EngineKv
            | Signal::EnginePrefixHit
            | Signal::EngineAge
            | Signal::QuotaUsed
            | Signal::QuotaResets
            | Signal::ModelSequence
            | Signal::BudgetLeft
            | Signal::BudgetElapsed
            | Signal::BudgetPace => f64::NAN,
        }
    }

    /// Estimated cost of a request, in dollars. Its answer has the usual length of the model's
    /// answers, or the longest that the request allows if that is shorter or the only one known.
    fn cost(&self, request: &RequestSignals, prices: Prices, now: Instant) -> f64 {
        let prompt = request.prompt_tokens.map_or(f64::NAN, f64::from);
        let cached =
            self.records.get().map_or(0.0, |records| records.prefixes.tokens(request, now));
        // `max` and `min` ignore NaN.
        let cached = cached.max(0.0);
        let most = request.max_output_tokens.map_or(f64::NAN, f64::from);
        let completion = self.model.completion.get().min(most);
        prices.cost(prompt, cached, completion)
    }
}

/// Expected time in milliseconds until a request that enters the line now gets a place, if a place
/// is held for `held` milliseconds on average. 0 while one is free, NaN if `held` is not known.
fn line_wait(slots: &Slots, waiting: usize, held: f64, now: Instant) -> f64 {
    let (places, opens) = slots.places(now);
    let free = places.saturating_sub(slots.taken());
    let before = u32::try_from(waiting).unwrap_or(u32::MAX);
    if before < free {
        return 0.0;
    }
    // During a pause no place is given, and each of the requests before takes one at its end.
    let pause = match opens {
        Some(opens) if places == 0 => opens.saturating_duration_since(now),
        _ => Duration::ZERO,
    };
    let ends = match places {
        0 => f64::from(before),
        _ => f64::from(before - free) + 1.0,
    };
    let line = if ends == 0.0 { 0.0 } else { ends * held / f64::from(places_of(slots, places)) };
    pause.as_secs_f64() * 1e3 + line
}

/// The places that requests in line share. During a pause those after it count.
fn places_of(slots: &Slots, places: u32) -> u32 {
    if places == 0 { slots.limit().max(1) } else { places }
}
