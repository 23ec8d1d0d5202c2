//! The state of the engine: settings that change while it runs, and counters.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hyper::header::HeaderValue;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::EngineOptions;
use super::capacity::{Capacity, EngineLoad, Place, Places};
use super::metrics::Telling;
use super::prefix_cache::{PrefixCache, Prompt};

/// Longest wait, in seconds: far beyond any use, and within what a clock can add.
const LONGEST: f64 = 86_400.0;

/// The settings that `POST /stub` can change.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Settings {
    /// A down engine answers `/health` and every `/v1` call with 503.
    pub(super) healthy: bool,
    failure_rate: f64,
    latency_ms: u64,
    tokens_per_second: f64,
    prefill_per_second: f64,
    cache: usize,
    pub(super) places: u32,
    queue: u32,
    requests_per_minute: f64,
    /// The status of a refusal.
    pub(super) refusal: u16,
    /// Seconds in the `Retry-After` of a refusal. None: there is none.
    pub(super) retry_after: Option<u64>,
    linger_ms: u64,
    /// How it answers `/metrics`, and after which time.
    pub(super) metrics: Telling,
    pub(super) metrics_ms: u64,
}

impl Settings {
    /// How much the engine takes.
    pub(super) fn capacity(&self) -> Capacity {
        let per_minute = self.requests_per_minute;
        Capacity { places: self.places, queue: self.queue, per_minute }
    }

    /// From the end of a request to the first byte of its answer.
    pub(super) fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms).min(Duration::from_secs_f64(LONGEST))
    }

    /// How long a call goes on whose client has left before its first byte.
    fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms).min(Duration::from_secs_f64(LONGEST))
    }

    /// How long it takes to produce `tokens`.
    pub(super) fn pace(&self, tokens: usize) -> Duration {
        if self.tokens_per_second > 0.0 {
            Duration::from_secs_f64((tokens as f64 / self.tokens_per_second).min(LONGEST))
        } else {
            Duration::ZERO
        }
    }

    /// True if its prompts are read at a set pace, or cached.
    pub(super) fn reads(&self) -> bool {
        self.prefill_per_second > 0.0 || self.cache > 0
    }

    /// How long it takes to read `words` of a prompt.
    fn prefill(&self, words: usize) -> Duration {
        if self.prefill_per_second > 0.0 {
            Duration::from_secs_f64((words as f64 / self.prefill_per_second).min(LONGEST))
        } else {
            Duration::ZERO
        }
    }

    fn check(self) -> Result<Self, String> {
        if !(0.0..=1.0).contains(&self.failure_rate) {
            return Err(format!("failure_rate is {}: it is from 0 to 1", self.failure_rate));
        }
        if !(self.tokens_per_second.is_finite() && self.tokens_per_second >= 0.0) {
            return Err(format!(
                "tokens_per_second is {}: it is 0 (no limit) or more",
                self.tokens_per_second
            ));
        }
        if !(self.prefill_per_second.is_finite() && self.prefill_per_second >= 0.0) {
            return Err(format!(
                "prefill_per_second is {}: it is 0 (no limit) or more",
                self.prefill_per_second
            ));
        }
        if !(self.requests_per_minute.is_finite() && self.requests_per_minute >= 0.0) {
            return Err(format!(
                "requests_per_minute is {}: it is 0 (no limit) or more",
                self.requests_per_minute
            ));
        }
        if !(400..600).contains(&self.refusal) {
            return Err(format!("refusal is {}: it is a status from 400 to 599", self.refusal));
        }
        Ok(self)
    }
}

/// The body of `POST /stub`. Settings that it does not contain stay as they are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EngineChange {
    healthy: Option<bool>,
    failure_rate: Option<f64>,
    latency_ms: Option<u64>,
    tokens_per_second: Option<f64>,
    prefill_per_second: Option<f64>,
    cache: Option<usize>,
    places: Option<u32>,
    queue: Option<u32>,
    requests_per_minute: Option<f64>,
    refusal: Option<u16>,
    /// 0: no `Retry-After`.
    retry_after: Option<u64>,
    linger_ms: Option<u64>,
    metrics: Option<Telling>,
    metrics_ms: Option<u64>,
}

/// Counts of inference calls. `requests` is the sum of the other three.
#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    in_flight: AtomicU64,
    completed: AtomicU64,
    cancelled: AtomicU64,
}

/// The answer of `GET /stub`.
#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    name: &'a str,
    #[serde(flatten)]
    settings: Settings,
    requests: u64,
    in_flight: u64,
    completed: u64,
    cancelled: u64,
}

/// One inference call being answered. Dropped before [`CallGuard::finish`], it counts as cancelled:
/// hyper drops the handler and the body when the client goes away.
#[derive(Debug)]
pub(super) struct CallGuard {
    counters: Arc<Counters>,
    finished: bool,
    /// Held until the answer ends.
    place: Option<Place>,
}

impl CallGuard {
    /// Keeps the place of the call until it ends.
    pub(super) fn hold(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// Records that the whole answer was handed over.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        let ended = if self.finished { &self.counters.completed } else { &self.counters.cancelled };
        ended.fetch_add(1, Relaxed);
        self.counters.in_flight.fetch_sub(1, Relaxed);
    }
}

/// A running engine, shared by its connections.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) name: String,
    /// The name, as the value of the header `x-stub-engine`.
    pub(super) label: HeaderValue,
    pub(super) models: Vec<String>,
    pub(super) api_key: Option<String>,
    settings: ArcSwap<Settings>,
    places: Arc<Places>,
    counters: Arc<Counters>,
    prefix_cache: Mutex<PrefixCache>,
    dice: Mutex<StdRng>,
}

impl Engine {
    pub(super) fn new(options: EngineOptions) -> io::Result<Self> {
        let settings = Settings {
            healthy: true,
            failure_rate: options.failure_rate,
            latency_ms: millis(options.latency),
            tokens_per_second: options.tokens_per_second,
            prefill_per_second: options.prefill_per_second,
            cache: options.cache,
            places: options.places,
            queue: options.queue,
            requests_per_minute: options.requests_per_minute,
            refusal: options.refusal,
            retry_after: options.retry_after,
            linger_ms: millis(options.linger),
            metrics: Telling::default(),
            metrics_ms: 0,
        };
        let settings = settings.check().map_err(invalid)?;
        Ok(Self {
            label: HeaderValue::from_str(&options.name).map_err(invalid)?,
            name: options.name,
            models: options.models,
            api_key: options.api_key,
            settings: ArcSwap::from_pointee(settings),
            places: Arc::default(),
            counters: Arc::default(),
            prefix_cache: Mutex::default(),
            dice: Mutex::new(options.seed.map_or_else(rand::make_rng, StdRng::seed_from_u64)),
        })
    }

    /// The current settings. An answer keeps those that it began with.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Applies the whole change, or nothing if a value is out of its range.
    pub(super) fn change(&self, change: &EngineChange) -> Result<(), String> {
        let with = |old: &Settings| {
            let new = Settings {
                healthy: change.healthy.unwrap_or(old.healthy),
                failure_rate: change.failure_rate.unwrap_or(old.failure_rate),
                latency_ms: change.latency_ms.unwrap_or(old.latency_ms),
                tokens_per_second: change.tokens_per_second.unwrap_or(old.tokens_per_second),
                prefill_per_second: change.prefill_per_second.unwrap_or(old.prefill_per_second),
                cache: change.cache.unwrap_or(old.cache),
                places: change.places.unwrap_or(old.places),
                queue: change.queue.unwrap_or(old.queue),
                requests_per_minute: change.requests_per_minute.unwrap_or(old.requests_per_minute),
                refusal: change.refusal.unwrap_or(old.refusal),
                retry_after: match change.retry_after {
                    Some(seconds) => Some(seconds).filter(|seconds| *seconds > 0),
                    None => old.retry_after,
                },
                linger_ms: change.linger_ms.unwrap_or(old.linger_ms),
                metrics: change.metrics.unwrap_or(old.metrics),
                metrics_ms: change.metrics_ms.unwrap_or(old.metrics_ms),
            };
            new.check()
        };
        // Checked once: the current settings are valid, so only the change itself can be invalid.
        with(&self.settings.load())?;
        self.settings.rcu(|old| with(old).unwrap_or_else(|_| Settings::clone(old)));
        self.places.changed();
        Ok(())
    }

    /// Words of a prompt that are cached, and the time to read the others.
    pub(super) fn look_up(&self, settings: &Settings, prompt: &Prompt) -> (usize, Duration) {
        let cache = self.prefix_cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (cached, read) = cache.split(prompt);
        (cached, settings.prefill(read))
    }

    /// Caches a prompt that was read.
    pub(super) fn keep(&self, settings: &Settings, prompt: &Prompt) {
        let mut cache = self.prefix_cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.keep(prompt, settings.cache);
    }

    /// Waits for a place, then for the latency and the prefill. None: the engine refuses the call.
    /// If this future is dropped, the work goes on until the engine notices that its client left.
    pub(super) async fn work(
        self: &Arc<Self>,
        settings: &Settings,
        prefill: Duration,
    ) -> Option<Place> {
        let (engine, latency) = (Arc::clone(self), settings.latency().saturating_add(prefill));
        let work = async move {
            let place = engine.places.enter(|| engine.settings.load().capacity()).await?;
            tokio::time::sleep(latency).await;
            Some(place)
        };
        let linger = settings.linger();
        if linger.is_zero() {
            return work.await;
        }
        let (here, left) = oneshot::channel::<()>();
        let abandoned = async move {
            // The other end is dropped with the client.
            left.await.ok();
            tokio::time::sleep(linger).await;
        };
        let work = tokio::spawn(async move {
            tokio::select! {
                place = work => place,
                () = abandoned => None,
            }
        });
        let place = work.await.ok().flatten();
        drop(here);
        place
    }

    /// The calls that are worked on and that wait.
    pub(super) fn load(&self) -> EngineLoad {
        self.places.load()
    }

    /// Takes a call off the allowance. Returns the seconds until the next one if none is left.
    pub(super) fn spend(&self, settings: &Settings) -> Result<(), f64> {
        self.places.spend(settings.capacity(), Instant::now())
    }

    /// Counts a call in. The guard counts it out. The number is unique in this engine.
    pub(super) fn begin(&self) -> (u64, CallGuard) {
        let number = self.counters.requests.fetch_add(1, Relaxed);
        self.counters.in_flight.fetch_add(1, Relaxed);
        (number, CallGuard { counters: Arc::clone(&self.counters), finished: false, place: None })
    }

    /// Draws whether a call fails.
    pub(super) fn fails(&self, settings: &Settings) -> bool {
        settings.failure_rate > 0.0
            && self
                .dice
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .random_bool(settings.failure_rate)
    }

    pub(super) fn status(&self) -> Status<'_> {
        Status {
            name: &self.name,
            settings: Settings::clone(&self.settings.load()),
            requests: self.counters.requests.load(Relaxed),
            in_flight: self.counters.in_flight.load(Relaxed),
            completed: self.counters.completed.load(Relaxed),
            cancelled: self.counters.cancelled.load(Relaxed),
        }
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
