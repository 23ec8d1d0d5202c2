//! A place that is scraped, and the engines whose numbers come from there.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::Semaphore;

use answers::exposition::Found;
use config::{EngineMetrics, Scraping, Secret};
use fleet::{Deployment, EngineMoment, EngineSignals, Reports};

use crate::probe::calendar::Calendar;

use super::ask::{NotRead, Place, ask};
use super::reading::{Counters, reading, selectors};

/// Time after which a page that was missing is asked for again.
const MISSING: Duration = Duration::from_secs(60);
/// The kind of all failures in [`Reports`]: they share one line a minute.
const SCRAPE: &str = "scrape";
/// Most names of deployments in a line of the log.
const NAMES: usize = 5;
const NO_NUMBER: &str = "no number of a known series in the answer";

/// An engine, and how its numbers are read.
#[derive(Debug, Clone)]
pub(super) struct Target {
    engine: Arc<EngineSignals>,
    metrics: EngineMetrics,
    /// The key of the first deployment that has one.
    key: Option<Secret>,
    /// Names of its deployments, for the log. Shared, because each scrape copies its targets.
    names: Arc<Vec<String>>,
    counters: Option<Counters>,
}

/// A place, shared by its task and by [`Scrapes`](super::Scrapes).
#[derive(Debug)]
pub(super) struct Asked {
    place: Place,
    targets: Mutex<Vec<Target>>,
    scraping: Scraping,
    client: reqwest::Client,
    reports: Reports,
}

/// When a place is scraped.
#[derive(Debug)]
pub(super) struct Turns {
    pub(super) calendar: Calendar,
    pub(super) first: Instant,
    /// Its share of each period, 0 to 1.
    pub(super) phase: f64,
    /// The turns of places whose last scrape failed.
    pub(super) failing: Arc<Semaphore>,
}

impl Target {
    /// Identifies its engine.
    pub(super) fn engine(&self) -> *const EngineSignals {
        Arc::as_ptr(&self.engine)
    }

    /// Adds a deployment to the engines of a place.
    pub(super) fn add(to: &mut Vec<Self>, deployment: &Deployment, metrics: &EngineMetrics) {
        let key = metrics.key(&deployment.config).cloned();
        let is_its = |target: &&mut Self| Arc::ptr_eq(&target.engine, &deployment.engine);
        if let Some(known) = to.iter_mut().find(is_its) {
            known.key = known.key.take().or(key);
            Arc::make_mut(&mut known.names).push(super::name(deployment));
            return;
        }
        let (engine, names) =
            (Arc::clone(&deployment.engine), Arc::new(vec![super::name(deployment)]));
        to.push(Self { engine, metrics: metrics.clone(), key, names, counters: None });
    }
}

impl Asked {
    pub(super) fn new(
        place: Place,
        targets: Vec<Target>,
        scraping: Scraping,
        client: reqwest::Client,
    ) -> Self {
        Self { place, targets: Mutex::new(targets), scraping, client, reports: Reports::default() }
    }

    /// Takes other targets. Those that stay keep their counters.
    pub(super) fn aim_at(&self, mut targets: Vec<Target>) {
        let mut current = self.targets();
        for target in &mut targets {
            let known = current.iter().find(|known| Arc::ptr_eq(&known.engine, &target.engine));
            target.counters = known.and_then(|known| known.counters);
        }
        *current = targets;
    }

    /// Scrapes for ever, once in each period.
    pub(super) async fn run(self: Arc<Self>, turns: Turns) {
        let Turns { calendar, first: mut due, phase, failing } = turns;
        let mut failed = false;
        loop {
            tokio::time::sleep_until(due.into()).await;
            // Never closed, so it gives a turn.
            let turn = if failed { failing.acquire().await.ok() } else { None };
            // A panic is in the log already. The next scrape may succeed.
            let scraped = AssertUnwindSafe(self.scrape()).catch_unwind().await;
            drop(turn);
            let now = Instant::now();
            let jitter = rand::random::<f64>() * 2.0 - 1.0;
            due = match &scraped {
                Ok(Err(NotRead::Missing(_))) => now + MISSING.mul_f64(1.0 + jitter / 10.0),
                _ => calendar.next(phase, jitter, now),
            };
            failed = !matches!(scraped, Ok(Ok(())));
            if let Ok(Err(failure)) = scraped {
                self.tell(&failure, now);
            }
        }
    }

    /// One scrape.
    pub(super) async fn scrape(&self) -> Result<(), NotRead> {
        // Its own copy: no lock is held while it waits, and a reload may change the targets.
        let targets = self.targets().clone();
        let began = Instant::now();
        let moments: Vec<_> = targets.iter().map(|target| target.engine.moment(began)).collect();
        let key = targets.iter().find_map(|target| target.key.as_ref());
        let wanted = targets.iter().flat_map(|target| selectors(&target.metrics)).collect();
        let found = ask(&self.client, &self.place, key, self.scraping.timeout, wanted).await;
        targets.iter().for_each(|target| target.engine.scrapes.inc());
        match found {
            Ok(found) => self.record(&targets, &moments, found),
            Err(failure) => {
                targets.iter().for_each(|target| target.engine.failures.inc());
                Err(failure)
            }
        }
    }

    /// Takes what the selectors of `targets` found, in their order.
    fn record(
        &self,
        targets: &[Target],
        moments: &[EngineMoment],
        found: Vec<Found>,
    ) -> Result<(), NotRead> {
        let (mut found, mut all_known) = (found.into_iter(), true);
        let mut current = self.targets();
        for (target, moment) in targets.iter().zip(moments) {
            let mut counters = target.counters;
            let read = reading(&target.metrics, &mut found, &mut counters);
            let is_its = |now: &&mut Target| Arc::ptr_eq(&now.engine, &target.engine);
            if let Some(now) = current.iter_mut().find(is_its) {
                now.counters = counters;
            }
            target.engine.set_several(read.is_several);
            if target.engine.record(read.numbers, *moment) == 0 {
                target.engine.failures.inc();
                all_known = false;
            }
        }
        if all_known { Ok(()) } else { Err(NO_NUMBER.into()) }
    }

    fn tell(&self, failure: &NotRead, now: Instant) {
        let Some(failures) = self.reports.note(SCRAPE.into(), now) else { return };
        let (deployments, reason) = (self.names(), failure.reason());
        tracing::warn!(deployments, reason, failures, "the load of an engine cannot be read");
    }

    /// Some deployments of this place.
    fn names(&self) -> String {
        let targets = self.targets();
        let all = || targets.iter().flat_map(|target| &*target.names);
        let mut names: Vec<_> = all().take(NAMES).cloned().collect();
        let more = all().count() - names.len();
        if more > 0 {
            names.push(format!("{more} more"));
        }
        names.join(", ")
    }

    fn targets(&self) -> MutexGuard<'_, Vec<Target>> {
        // Poison is harmless: the targets are replaced as a whole.
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
