//! What a seed stands for: engines with their faults, models, and clients.

mod draw;

use std::time::Duration;

use config::{Ejection, Fallback, Sides, SlowStart};
use contract::Side;
use routing::InferenceEndpoint;

/// A scene. The same seed gives the same one.
#[derive(Debug)]
pub struct Scene {
    pub(crate) seed: u64,
    pub(crate) plot: Plot,
    /// When clients stop to send requests.
    pub(crate) lasts: Duration,
    pub(crate) engines: Vec<EngineScene>,
    pub(crate) models: Vec<ModelScene>,
    pub(crate) clients: Vec<ClientScene>,
    pub(crate) fallback: Fallback,
    pub(crate) ejection: Ejection,
    pub(crate) slow_start: SlowStart,
    pub(crate) timeouts: TimeLimits,
    /// Time between two probes of an engine. None: none are sent.
    pub(crate) probing: Option<Duration>,
}

/// What a scene is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plot {
    /// Faults of all kinds.
    Faults,
    /// The first engine is asked for more than it can do, and has no fault.
    Full,
    /// One client repeats a request that fails everywhere. No engine has a fault.
    Poison,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimits {
    pub(crate) connect: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) idle: Duration,
    pub(crate) total: Duration,
}

/// One engine, which may serve several models.
#[derive(Debug, Clone)]
pub(crate) struct EngineScene {
    pub(crate) side: Side,
    /// Requests that it works on at a time.
    pub(crate) places: u32,
    /// New numbers of places, in the order of time.
    pub(crate) changes: Vec<(Duration, u32)>,
    /// Requests that wait in the engine. Others are refused.
    pub(crate) queue: usize,
    pub(crate) refusal: Refusal,
    /// Tokens of prompt and answer.
    pub(crate) context: u64,
    /// Time before the first content.
    pub(crate) prefill: Duration,
    /// Time between two chunks.
    pub(crate) gap: Duration,
    /// It sends the head of a stream before the first content.
    pub(crate) early: bool,
    pub(crate) faults: Vec<Fault>,
}

/// How a full engine refuses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// The status is in the body of a 200.
    pub(crate) in_body: bool,
    pub(crate) retry_after: Option<Duration>,
}

/// A time in which an engine fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) kind: FaultKind,
    /// The share of requests that meet it.
    pub(crate) share: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The process is gone: connections are refused, and those open break.
    Down,
    /// Connections are never made.
    Unreachable,
    /// Requests are taken and never answered.
    Hangs,
    /// The connection breaks before an answer.
    Dies,
    /// An answer of this status.
    Status(u16),
    /// An answer of 200 with an error of this number in its body.
    InBody(u16),
    /// The answer is cut at any byte, and framed as it should not be or not at all.
    Cut,
    /// The answer stops at any byte.
    Freezes,
    /// A page of HTML with 200.
    Page,
    /// Nothing with 200.
    Empty,
    /// The key is refused.
    Key,
    /// The model is not there.
    NoModel,
}

#[derive(Debug)]
pub(crate) struct ModelScene {
    pub(crate) deployments: Vec<DeploymentScene>,
    pub(crate) total: Duration,
    pub(crate) sides: Sides,
}

#[derive(Debug)]
pub(crate) struct DeploymentScene {
    /// Position of its engine.
    pub(crate) engine: usize,
    /// 0: standby.
    pub(crate) weight: f64,
    pub(crate) max: u32,
    pub(crate) queue: u32,
    pub(crate) wait: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientScene {
    pub(crate) model: usize,
    /// When its first request comes.
    pub(crate) first: Duration,
    /// Time between two requests.
    pub(crate) pause: Duration,
    /// Its requests come whatever became of those before.
    pub(crate) open: bool,
    /// The share of requests that it leaves before their end.
    pub(crate) leaves: f64,
    /// How often it repeats a request that failed.
    pub(crate) retries: u32,
    pub(crate) stream: bool,
    pub(crate) endpoint: InferenceEndpoint,
    pub(crate) sides: Sides,
    pub(crate) nature: Nature,
    /// All its requests are this one. None: each is another one.
    pub(crate) text: Option<u64>,
}

/// What engines make of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    Good,
    /// Every engine says that it is wrong.
    Wrong,
    /// Every engine fails at it, in this way.
    Poison(FaultKind),
    /// It has this many tokens, which engines with a smaller context say.
    Long(u64),
    /// Every engine refuses it with this status, for its own sake.
    Refused(u16),
}

impl Scene {
    /// The scene of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        draw::scene(seed)
    }
}

impl EngineScene {
    /// The number of places at this time.
    pub(crate) fn places_at(&self, time: Duration) -> u32 {
        let passed = self.changes.iter().take_while(|(at, _)| *at <= time);
        passed.last().map_or(self.places, |(_, places)| *places)
    }

    /// True if no request fails there through a fault of its own.
    pub(crate) fn is_innocent(&self) -> bool {
        self.faults.is_empty()
    }
}
