//! Measures the costs of a strategy: compilation, instances, calls and memory.
//!
//! Calls are made as the gateway makes them. `assign` blocks, as on the decision thread.
//! `assign-request` goes through [`PathStrategy::weigh`](contract::PathStrategy::weigh) on a
//! runtime like those that serve. Both reuse one instance.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use super::question::unknown;
use config::Sandbox;
use contract::{
    Candidate, Facts, Needs, Place, Price, Question, Role, Side, Situation, Strategy as _,
};
use sandbox::{Plugin, PluginHost, Source};

/// Numbers of deployments in a call.
const SIZES: [usize; 4] = [2, 8, 32, 128];
/// Number of measured compilations.
const COMPILES: usize = 3;
/// Fresh instances: warm-up, then measured.
const INSTANCES: (usize, usize) = (3, 200);
/// Instances alive at one time to measure the memory of one.
const ALIVE: usize = 16;
/// Calls: warm-up, then measured.
const CALLS: (usize, usize) = (2_000, 20_000);
/// No sample is begun after this time, so that a slow strategy gets fewer.
const PATIENCE: Duration = Duration::from_secs(3);

/// All measurements. Times are in microseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Costs {
    /// Time from bytes to machine code, without a cache.
    pub compile: Samples,
    /// Time to make a configured instance: instantiation, `describe`, `configure`.
    pub instance: Samples,
    /// Times of calls, by function and number of deployments.
    pub calls: Vec<CallCosts>,
    /// Memory of one instance.
    pub memory: Memory,
}

/// Times of one function's calls with a number of deployments.
#[derive(Debug, Clone, Serialize)]
pub struct CallCosts {
    /// `assign` or `assign-request`.
    pub function: &'static str,
    /// Number of deployments. Half of them are local.
    pub deployments: usize,
    /// Times of the calls.
    #[serde(flatten)]
    pub times: Samples,
}

/// Quantiles of samples, by the nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Samples {
    /// Half of the samples took at most this, in microseconds.
    pub p50_us: f64,
    /// 99 % of the samples took at most this, in microseconds.
    pub p99_us: f64,
    /// Number of samples, at least 1.
    pub samples: usize,
}

/// Memory of one instance in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Linear memory after the `assign` calls: the largest of all measured fleet sizes.
    pub linear: usize,
    /// Growth of the process's resident memory per instance. None if the system does not report it.
    pub resident: Option<u64>,
}

/// Measures a strategy with these parameters, which must fit its schema.
///
/// # Errors
/// The strategy cannot be loaded, refuses the parameters, or fails a call.
pub fn run(source: &Source, sandbox: &Sandbox, parameters: &Value) -> anyhow::Result<Costs> {
    // Calls follow each other without a pause, so any other share would be used up.
    let sandbox = &Sandbox { cpu_share: 1.0, ..*sandbox };
    let mut compiles = Vec::new();
    for _ in 0..COMPILES {
        // A new host each time, because a host compiles a component only once.
        compiles.push(PluginHost::new()?.load(source, None, sandbox)?.times().compile);
    }
    let strategy = PluginHost::new()?.load(source, None, sandbox)?;
    let fresh = |size, instances| {
        strategy.again()?.configure(parameters, places(size), Role::Live, instances)
    };
    let mut instances = Sampler::new(INSTANCES);
    while instances.wants() {
        let begun = Instant::now();
        let instance = fresh(8, 0)?;
        instances.add(begun.elapsed());
        drop(instance);
    }
    let instance = Samples::of(instances.samples);
    let (mut calls, mut linear) = (Vec::new(), 0);
    for deployments in SIZES {
        let mut plugin = fresh(deployments, 1)?;
        let times = assign(&mut plugin)?;
        calls.push(CallCosts { function: "assign", deployments, times });
        linear = linear.max(plugin.memory().unwrap_or(0));
    }
    for deployments in SIZES.into_iter().filter(|_| strategy.is_on_path()) {
        let plugin = fresh(deployments, 1)?;
        let times = assign_request(&plugin)?;
        calls.push(CallCosts { function: "assign-request", deployments, times });
    }
    let before = resident();
    let alive = (0..ALIVE).map(|_| fresh(8, 0)).collect::<Result<Vec<Plugin>, _>>()?;
    let grown = resident().zip(before).map(|(after, before)| after.saturating_sub(before));
    let resident = grown.map(|grown| grown / alive.len() as u64);
    let memory = Memory { linear, resident };
    Ok(Costs { compile: Samples::of(compiles), instance, calls, memory })
}

fn assign(plugin: &mut Plugin) -> anyhow::Result<Samples> {
    let places = plugin.places().to_vec();
    let (local, remote) = candidates(&places);
    let signals = unknown(&plugin.description().signals, places.len());
    let situation = Situation { local: &local, remote: &remote, signals: &signals };
    let mut sampler = Sampler::new(CALLS);
    while sampler.wants() {
        let begun = Instant::now();
        plugin.assign(situation)?;
        sampler.add(begun.elapsed());
    }
    Ok(Samples::of(sampler.samples))
}

fn assign_request(plugin: &Plugin) -> anyhow::Result<Samples> {
    let path = plugin.on_path().context("it does not decide for requests")?;
    let (local, remote) = candidates(plugin.places());
    let facts = facts(path.description().needs);
    let signals = unknown(&plugin.description().signals, plugin.places().len());
    let situation = Situation { local: &local, remote: &remote, signals: &signals };
    let question = Question { model: "m", stream: true, facts: &facts, situation, held: 0 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut sampler = Sampler::new(CALLS);
    runtime.block_on(async {
        while sampler.wants() {
            let begun = Instant::now();
            path.decide(question).await?;
            sampler.add(begun.elapsed());
        }
        Ok(Samples::of(sampler.samples))
    })
}

/// Collects samples after a warm-up.
struct Sampler {
    /// Warm-up samples that are still to be taken.
    warm: usize,
    counted: usize,
    begun: Instant,
    samples: Vec<Duration>,
}

impl Sampler {
    fn new((warm, counted): (usize, usize)) -> Self {
        Self { warm, counted, begun: Instant::now(), samples: Vec::with_capacity(counted) }
    }

    /// True if another sample is needed. There is always at least one.
    fn wants(&self) -> bool {
        let is_slow = self.begun.elapsed() > PATIENCE;
        self.samples.is_empty() || (self.samples.len() < self.counted && !is_slow)
    }

    fn add(&mut self, time: Duration) {
        if self.warm == 0 {
            self.samples.push(time);
            return;
        }
        self.warm = if self.begun.elapsed() > PATIENCE { 0 } else { self.warm - 1 };
        if self.warm == 0 {
            self.begun = Instant::now();
        }
    }
}

impl Samples {
    /// Expects at least one sample.
    fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        let at = |percent: usize| {
            let rank = (samples.len() * percent).div_ceil(100).max(1);
            samples.get(rank - 1).map_or(0.0, |time| time.as_secs_f64() * 1e6)
        };
        Self { p50_us: at(50), p99_us: at(99), samples: samples.len() }
    }
}

/// Places for a benchmark: half of them are local, and all have prices.
fn places(size: usize) -> Vec<Place> {
    let place = |at: usize| {
        let side = if at < size / 2 { Side::Local } else { Side::Remote };
        let price = match side {
            Side::Local => Price { prompt: 0.0, cached: 0.0, completion: 0.0 },
            Side::Remote => Price { prompt: 2.5e-6, cached: 1.25e-6, completion: 1e-5 },
        };
        Place {
            weight: 0.5,
            capacity: 8,
            price: Some(price),
            context_length: 131_072,
            ..Place::new(&format!("{}-{at}", side.as_str()), "m", side)
        }
    };
    (0..size).map(place).collect()
}

/// Candidates for all places, with some load.
fn candidates(places: &[Place]) -> (Vec<Candidate<'_>>, Vec<Candidate<'_>>) {
    let candidate = |(id, place): (u32, _)| Candidate {
        in_flight: id % 7,
        latency: Some(100.0 + f64::from(id)),
        ..Candidate::idle(id, place)
    };
    (0..).zip(places).map(candidate).partition(|candidate| candidate.place.side == Side::Local)
}

/// The facts of a request in a conversation.
fn facts(needs: Needs) -> Facts {
    Facts {
        prompt_tokens: needs.prompt_tokens.then_some(700),
        max_output_tokens: Some(256),
        session: needs.session.then_some(0x5eed),
        prefixes: if needs.prefixes { (1..=8).collect() } else { Vec::new() },
        ..Facts::default()
    }
}

/// Resident memory of this process in bytes. None without Linux's `/proc`.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let times = Samples::of((1..=200).rev().map(Duration::from_micros).collect());
        assert_eq!(
            (times.p50_us.round(), times.p99_us.round(), times.samples),
            (100.0, 198.0, 200)
        );
        let one = Samples::of(vec![Duration::from_micros(3)]);
        assert_eq!((one.p50_us.round(), one.p99_us.round()), (3.0, 3.0));
    }

    #[test]
    fn the_first_calls_do_not_count() {
        let (mut sampler, mut calls) = (Sampler::new((3, 5)), 0);
        while sampler.wants() {
            calls += 1;
            sampler.add(Duration::from_micros(calls));
        }
        assert_eq!(sampler.samples, [4, 5, 6, 7, 8].map(Duration::from_micros));
    }

    #[test]
    fn a_fleet_has_both_sides() {
        let places = places(8);
        let (local, remote) = candidates(&places);
        assert_eq!((local.len(), remote.len()), (4, 4));
        assert_eq!(local[3].id, 3);
    }
}
