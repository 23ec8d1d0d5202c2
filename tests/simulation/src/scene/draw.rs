//! Draws a scene.

use std::time::Duration;

use config::{Ambiguous, Ejection, Fallback, RetryBudget, Sides, SlowStart, Standby};
use contract::Side;
use rand::RngExt;
use routing::InferenceEndpoint;

use crate::luck::{Draw, Luck, luck};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
/// The context of an engine that takes every prompt.
const LARGE: u64 = 128_000;
const SMALL: u64 = 8_000;

pub(super) fn scene(seed: u64) -> Scene {
    let mut luck = luck(seed, &[0]);
    match seed % 8 {
        0 => full(seed, &mut luck),
        1 => poison(seed, &mut luck),
        _ => faults(seed, &mut luck),
    }
}

/// Faults of all kinds, one to six engines, one to three models.
fn faults(seed: u64, luck: &mut Luck) -> Scene {
    let timeouts = TimeLimits {
        connect: luck.time(500..2000),
        first_byte: luck.time(2000..8000),
        idle: luck.time(1000..4000),
        total: luck.time(8000..60_000),
    };
    let lasts = luck.time(10_000..30_000);
    let count = luck.pick(&[1, 2, 3, 3, 4, 5, 6]);
    let engines: Vec<_> = (0..count).map(|_| engine(luck, lasts, true)).collect();
    let models = (0..luck.pick(&[1, 1, 1, 2, 3])).map(|_| model(luck, count, timeouts)).collect();
    let mut scene = Scene {
        seed,
        plot: Plot::Faults,
        lasts,
        engines,
        models,
        clients: Vec::new(),
        fallback: fallback(luck),
        ejection: ejection(luck),
        slow_start: slow_start(luck),
        timeouts,
        probing: luck.chance(0.4).then(|| luck.time(1000..5000)),
    };
    let clients = luck.pick(&[1, 2, 4, 8, 16, 40]);
    let fair = luck.chance(0.5);
    for number in 0..clients {
        let mut client = client(luck, &scene, number);
        if fair && matches!(client.nature, Nature::Poison(_) | Nature::Refused(_)) {
            client.nature = Nature::Good;
        }
        scene.clients.push(client);
    }
    scene
}

/// The first engine is local and has no fault. The others may have.
fn full(seed: u64, luck: &mut Luck) -> Scene {
    let mut scene = faults(seed, luck);
    scene.plot = Plot::Full;
    scene.lasts = luck.time(25_000..35_000);
    scene.timeouts.first_byte = scene.timeouts.first_byte.max(4 * SECOND);
    scene.timeouts.total = 60 * SECOND;
    // A deployment in slow start takes less by rule.
    scene.engines.truncate(2);
    if scene.engines.len() < 2 {
        let other = engine(luck, scene.lasts, false);
        scene.engines.push(other);
    }
    let places = luck.random_range(1..=8u32);
    let first = &mut scene.engines[0];
    (first.side, first.places, first.context) = (Side::Local, places, LARGE);
    (first.changes, first.faults) = (Vec::new(), Vec::new());
    if first.queue > 0 {
        // It takes what is configured, and the line is the gateway's.
        first.queue = places as usize;
    }
    first.refusal = Refusal { retry_after: first.refusal.retry_after, ..first.refusal };
    (first.prefill, first.gap) = (luck.time(50..200), luck.time(20..80));
    let other = &mut scene.engines[1];
    (other.side, other.places, other.queue, other.context) = (Side::Remote, 64, 64, LARGE);
    (other.changes, other.prefill, other.gap) = (Vec::new(), luck.time(50..400), 10 * MS);
    let max = match first_max(luck, places, scene.engines[0].queue) {
        Some(max) => max,
        None => places,
    };
    let wait = luck.time(2000..20_000);
    let first = DeploymentScene { engine: 0, weight: 1.0, max, queue: 1000, wait };
    let second = DeploymentScene { engine: 1, weight: 0.0, max: 1000, queue: 1000, wait };
    let total = scene.timeouts.total;
    scene.models = vec![ModelScene { deployments: vec![first, second], total, sides: Sides::BOTH }];
    scene.clients.clear();
    for _ in 0..places * 3 + 2 {
        let first = luck.time(0..500);
        scene.clients.push(ClientScene { first, pause: MS, ..steady(luck) });
    }
    scene
}

/// The configured number of places of an engine that has `places`. None: exactly these.
fn first_max(luck: &mut Luck, places: u32, queue: usize) -> Option<u32> {
    // A queue in the engine hides that it is full.
    let more = match queue {
        0 => luck.pick(&[0, 2, 1000]),
        _ => luck.pick(&[0, 2]),
    };
    (more > 0).then_some(places + more)
}

/// Engines without a fault, and one client whose request fails at each of them.
fn poison(seed: u64, luck: &mut Luck) -> Scene {
    let mut scene = faults(seed, luck);
    scene.plot = Plot::Poison;
    scene.engines.clear();
    for _ in 0..luck.random_range(2..=4) {
        let engine = engine(luck, scene.lasts, false);
        scene.engines.push(EngineScene { queue: 64, context: LARGE, ..engine });
    }
    let count = scene.engines.len();
    // The last one may be standby, and answers nobody unless the others do not.
    let used = if luck.chance(0.3) { count - 1 } else { count };
    let deployment = |engine| DeploymentScene {
        engine,
        weight: if engine < used { 1.0 / used as f64 } else { 0.0 },
        max: 1000,
        queue: 1000,
        wait: 5 * SECOND,
    };
    let deployments = (0..count).map(deployment).collect();
    let total = scene.timeouts.total;
    scene.models = vec![ModelScene { deployments, total, sides: Sides::BOTH }];
    scene.fallback.attempts = scene.fallback.attempts.max(2);
    scene.clients.clear();
    for _ in 0..luck.random_range(4..20) {
        let first = luck.time(0..500);
        let pause = luck.time(100..1500);
        scene.clients.push(ClientScene { first, pause, ..steady(luck) });
    }
    let nature = luck.pick(&[
        Nature::Poison(FaultKind::Status(500)),
        Nature::Poison(FaultKind::Dies),
        Nature::Poison(FaultKind::InBody(500)),
        Nature::Wrong,
        Nature::Refused(401),
        Nature::Refused(403),
        Nature::Refused(402),
    ]);
    // After every engine has answered somebody. SDKs repeat a request, also before they have an answer.
    let (first, text) = (5 * SECOND, Some(u64::MAX));
    for _ in 0..luck.pick(&[1, 1, 1, 3, 8]) {
        let pause = luck.time(20..800);
        let evil = ClientScene { first, pause, nature, text, ..steady(luck) };
        scene.clients.push(evil);
    }
    scene
}

/// A client that does nothing special.
fn steady(luck: &mut Luck) -> ClientScene {
    ClientScene {
        model: 0,
        first: Duration::ZERO,
        pause: SECOND,
        open: false,
        leaves: 0.0,
        retries: 0,
        stream: luck.chance(0.6),
        endpoint: InferenceEndpoint::ChatCompletions,
        sides: Sides::BOTH,
        nature: Nature::Good,
        text: None,
    }
}

fn client(luck: &mut Luck, scene: &Scene, number: u64) -> ClientScene {
    let many = scene.clients.len() > 8;
    let endpoint = match luck.random_range(0..10) {
        0 => InferenceEndpoint::Responses,
        1 => InferenceEndpoint::Embeddings,
        _ => InferenceEndpoint::ChatCompletions,
    };
    let nature = match luck.random_range(0..20) {
        0 => Nature::Wrong,
        1 => Nature::Poison(luck.pick(&[FaultKind::Status(500), FaultKind::Dies])),
        2 | 3 => Nature::Long(2 * SMALL),
        4 => Nature::Refused(luck.pick(&[401, 402, 403])),
        _ => Nature::Good,
    };
    ClientScene {
        model: luck.random_range(0..scene.models.len()),
        first: luck.time(0..3000),
        pause: if many { luck.time(800..5000) } else { luck.time(100..2000) },
        open: luck.chance(0.3),
        leaves: luck.pick(&[0.0, 0.0, 0.05, 0.5]),
        retries: luck.pick(&[0, 0, 1, 3]),
        stream: endpoint == InferenceEndpoint::ChatCompletions && luck.chance(0.6),
        endpoint,
        sides: if luck.chance(0.1) { Sides::only(Side::Local) } else { Sides::BOTH },
        nature,
        text: luck.chance(0.2).then_some(number << 40),
    }
}

fn engine(luck: &mut Luck, lasts: Duration, faulty: bool) -> EngineScene {
    let places = luck.random_range(1..=12);
    let changes = match faulty && luck.chance(0.3) {
        true => (1..4).map(|part| (lasts * part / 4, luck.random_range(1..=12))).collect(),
        false => Vec::new(),
    };
    let faults = match faulty && luck.chance(0.6) {
        true => (0..luck.random_range(1..=4)).map(|_| fault(luck, lasts)).collect(),
        false => Vec::new(),
    };
    EngineScene {
        side: luck.pick(&[Side::Local, Side::Local, Side::Remote]),
        places,
        changes,
        queue: luck.pick(&[0, 0, 4, 64]),
        refusal: Refusal {
            status: luck.pick(&[429, 503, 503, 529]),
            in_body: luck.chance(0.2),
            retry_after: luck.chance(0.5).then(|| luck.time(500..3000)),
        },
        context: luck.pick(&[SMALL, LARGE, LARGE]),
        prefill: luck.time(10..400),
        gap: luck.time(5..100),
        early: luck.chance(0.5),
        faults,
    }
}

fn fault(luck: &mut Luck, lasts: Duration) -> Fault {
    use FaultKind::*;
    let kind = luck.pick(&[
        Down,
        Down,
        Unreachable,
        Hangs,
        Hangs,
        Dies,
        Status(500),
        Status(502),
        Status(503),
        Status(504),
        Status(408),
        Status(302),
        InBody(500),
        InBody(503),
        InBody(401),
        Cut,
        Cut,
        Cut,
        Freezes,
        Page,
        Empty,
        Key,
        NoModel,
    ]);
    let from = lasts.mul_f64(luck.random::<f64>());
    let from = Duration::from_millis(u64::try_from(from.as_millis()).unwrap_or_default());
    let to = from + luck.time(200..15_000);
    Fault { from, to, kind, share: luck.pick(&[0.1, 0.5, 1.0, 1.0]) }
}

fn model(luck: &mut Luck, engines: usize, timeouts: TimeLimits) -> ModelScene {
    let mut order: Vec<usize> = (0..engines).collect();
    for at in (1..engines).rev() {
        order.swap(at, luck.random_range(0..=at));
    }
    let most = if luck.chance(0.8) { engines.min(2) } else { 1 };
    order.truncate(luck.random_range(most..=engines));
    let weights: Vec<f64> = order.iter().map(|_| luck.pick(&[0.0, 0.5, 1.0, 1.0, 3.0])).collect();
    let sum: f64 = weights.iter().sum();
    // Like the configuration: weights of a model sum to 1.
    let weight = |at: usize| match sum > 0.0 {
        true => weights[at] / sum,
        false => 1.0 / weights.len() as f64,
    };
    let deployment = |(at, engine)| DeploymentScene {
        engine,
        weight: weight(at),
        max: luck.pick(&[1, 2, 8, 16, 1000, 1000]),
        queue: luck.pick(&[0, 4, 100, 1000]),
        wait: luck.time(100..10_000),
    };
    let deployments = order.into_iter().enumerate().map(deployment).collect();
    let sides = if luck.chance(0.1) { Sides::only(Side::Local) } else { Sides::BOTH };
    ModelScene { deployments, total: timeouts.total, sides }
}

fn fallback(luck: &mut Luck) -> Fallback {
    let scarce =
        RetryBudget { percent: luck.random_range(0..30), per_second: luck.random_range(0..4) };
    Fallback {
        attempts: luck.random_range(1..=4),
        standby: luck.pick(&[Standby::Last, Standby::Last, Standby::Never]),
        ambiguous: luck.pick(&[Ambiguous::Once, Ambiguous::Once, Ambiguous::Never]),
        budget: luck.pick(&[RetryBudget::default(), scarce]),
    }
}

fn ejection(luck: &mut Luck) -> Ejection {
    let base = luck.pick(&[1, 2, 5, 30]) * SECOND;
    let consecutive = luck.pick(&[Some(5), Some(5), Some(2), None]);
    Ejection { consecutive, base, max: base * 10, ..Ejection::default() }
}

fn slow_start(luck: &mut Luck) -> SlowStart {
    let duration = luck.chance(0.5).then(|| luck.time(1000..10_000));
    SlowStart { duration, min_rate: luck.pick(&[0.0, 2.0, 10.0]), ..SlowStart::default() }
}
