//! Scrapes of engines: what they tell of their load at `/metrics`. Only engines are asked whose
//! numbers somebody wants.
//!
//! Each place has a task of its own on the control runtime, so that an engine that hangs delays no
//! other one. Only places whose last scrape failed share a limited number of turns. A scrape that
//! fails changes no number: the numbers grow old, and become unknown.

mod ask;
mod place;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use config::{ENGINE_SIGNALS, Scraping};
use contract::{Signal, SignalSet};
use fleet::{Deployment, Fleet};

use crate::probe::calendar::{Calendar, phase};

use ask::Place;
use place::{Asked, Target, Turns};

/// Most scrapes under way at places whose last scrape failed. Such a scrape may take its whole time
/// limit.
const FAILING: usize = 256;

/// Longest delay of a gateway's first scrape, if there are several gateways. They may start
/// together, but none may stay without numbers for long.
const SPREAD: Duration = Duration::from_secs(5);

/// The scrapes of a gateway. Dropping it stops them.
#[derive(Debug)]
pub struct Scrapes {
    scraping: Scraping,
    /// The position of this gateway's scrapes in each period, 0 to 1. It is random, so gateways
    /// that start together do not ask together.
    offset: f64,
    places: HashMap<Place, Running>,
    /// The turns of places whose last scrape failed.
    turns: Arc<Semaphore>,
}

impl Default for Scrapes {
    fn default() -> Self {
        let (scraping, places) = Default::default();
        let turns = Arc::new(Semaphore::new(FAILING));
        Self { scraping, offset: rand::random(), places, turns }
    }
}

/// A place that is scraped.
#[derive(Debug)]
struct Running {
    asked: Arc<Asked>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether one of the signals comes from the engine.
#[must_use]
pub fn is_of_engine(wanted: SignalSet) -> bool {
    let mut of_engine = ENGINE_SIGNALS.iter().map(|(signal, _)| *signal);
    wanted.contains(Signal::EngineAge) || of_engine.any(|signal| wanted.contains(signal))
}

impl Scrapes {
    /// Scrapes the engines of `fleet` whose numbers are wanted, and no other. `wanted` has the
    /// signals that are asked for of each model, in the order of the fleet. A place that stays is
    /// not disturbed: a reload neither delays nor adds a scrape.
    ///
    /// # Panics
    /// If called outside a tokio runtime.
    pub fn follow(
        &mut self,
        fleet: &Fleet,
        wanted: &[SignalSet],
        scraping: Scraping,
        client: &reqwest::Client,
    ) {
        // Other times: every place starts again.
        if self.scraping != scraping {
            self.places.clear();
            self.scraping = scraping;
        }
        let targets = targets(fleet, wanted, scraping);
        self.places.retain(|place, _| targets.contains_key(place));
        let (now, mut new) = (Instant::now(), Vec::new());
        for (place, targets) in targets {
            match self.places.get(&place) {
                Some(running) => running.asked.aim_at(targets),
                None => new.push((place, targets)),
            }
        }
        let (calendar, count) = (Calendar::new(now, scraping.period()), new.len());
        let wait = match scraping.gateways {
            1 => Duration::ZERO,
            _ => scraping.period().min(SPREAD).mul_f64(self.offset),
        };
        for (nth, (place, targets)) in new.into_iter().enumerate() {
            let turns = Turns {
                calendar,
                first: calendar.first(nth, count, now) + wait,
                phase: (phase(&place) + self.offset).fract(),
                failing: Arc::clone(&self.turns),
            };
            let asked = Arc::new(Asked::new(place.clone(), targets, scraping, client.clone()));
            let run = Arc::clone(&asked).run(turns);
            let task = tokio::spawn(run).abort_handle();
            self.places.insert(place, Running { asked, task });
        }
    }
}

/// The engines to scrape, by their place. Tells every engine of the fleet whether it is one.
fn targets(fleet: &Fleet, wanted: &[SignalSet], scraping: Scraping) -> HashMap<Place, Vec<Target>> {
    let mut targets: HashMap<Place, Vec<Target>> = HashMap::new();
    let wants = |model: usize| {
        scraping.always || wanted.get(model).is_some_and(|wanted| is_of_engine(*wanted))
    };
    let models = fleet.models.iter().enumerate();
    let all = || models.clone().flat_map(|(at, m)| m.deployments.iter().map(move |d| (at, d)));
    for (_, deployment) in all().filter(|(model, _)| wants(*model)) {
        let Some(metrics) = &deployment.config.metrics else { continue };
        let origin = metrics.origin(&deployment.config.endpoint.origin);
        let place = targets.entry((origin, metrics.path().to_owned())).or_default();
        Target::add(place, deployment, metrics);
    }
    // Models share engines, so an engine is asked if one of them wants it.
    let asked: HashSet<_> = targets.values().flatten().map(Target::engine).collect();
    for (_, deployment) in all() {
        let is_asked = asked.contains(&Arc::as_ptr(&deployment.engine));
        deployment.engine.ask(is_asked, &scraping);
    }
    targets
}

/// The name of a deployment in the log, which has no addresses.
fn name(deployment: &Deployment) -> String {
    format!("{}/{}", deployment.model, deployment.config.name)
}
