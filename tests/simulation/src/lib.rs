//! A simulation of the gateway: engines with faults and clients of all kinds in simulated time, around
//! the code that serves. A seed gives a scene, and the same seed gives it again.
//!
//! ```text
//! clients --> driver: Turns (itinerary, places, line, permits, blame) --> engines
//!               |      Commit (what is whole, what is cut)        <-- answers in pieces
//!               +--> Record: judges each step by what engines did and saw
//! ```
//! Time is tokio's clock, paused: it jumps to the next timer. There is no socket and no thread.

mod checks;
mod clients;
mod driver;
mod engine;
mod luck;
mod request;
mod scene;
mod world;

use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

pub use checks::{Rule, Violation};
pub use scene::Scene;
pub use world::Counts;

use scene::Plot;
use world::World;

/// Before a scene, so that its times are not at the very start of the process's clock.
const LEAD: Duration = Duration::from_secs(10);
/// After a scene: longer than a deployment can be out.
const AFTER: Duration = Duration::from_secs(1000);

/// The result of a scene.
#[derive(Debug)]
pub struct Run {
    /// The first rule that did not hold.
    pub violation: Option<Violation>,
    /// What happened, how often.
    pub counts: Counts,
    /// What happened, line by line, if asked for: all, or what concerns the request of the violation.
    pub trace: Vec<String>,
}

/// What to keep of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// Nothing.
    Off,
    /// Every event.
    All,
    /// Every event, written to standard error when it happens: a scene may never end.
    Printed,
    /// The events of the request that a rule did not hold for, and those of no request.
    OfViolation,
}

/// Runs the scene of a seed.
#[must_use]
pub fn run(seed: u64, trace: Trace) -> Run {
    let run = catch_unwind(AssertUnwindSafe(|| run_unguarded(seed, trace)));
    run.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let (at, what) = (Duration::ZERO, what.unwrap_or_default());
        let violation = Violation { rule: Rule::Panicked, at, request: None, what };
        Run { violation: Some(violation), counts: Counts::default(), trace: Vec::new() }
    })
}

fn run_unguarded(seed: u64, trace: Trace) -> Run {
    luck::begin_jitter(seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O");
    let world = LocalSet::new().block_on(&runtime, async {
        sleep(LEAD).await;
        let (world, plan) = World::new(Scene::of(seed), trace);
        let play = play(Rc::clone(&world), plan);
        tokio::select! {
            biased;
            () = world.violated.notified() => {}
            () = play => {}
        }
        world
    });
    let violation = world.violation();
    let of = match (trace, &violation) {
        (Trace::OfViolation, Some(violation)) => violation.request,
        _ => None,
    };
    Run { counts: *world.counts.borrow(), trace: world.trace(of), violation }
}

/// Plays a scene to its end.
async fn play(world: Rc<World>, plan: routing::Plan) {
    spawn_local(Rc::clone(&world).decide(plan));
    for (at, engine) in world.engines.iter().enumerate() {
        spawn_local(Rc::clone(engine).live());
        if let Some(every) = world.scene.probing {
            spawn_local(Rc::clone(&world).probe(at, every));
        }
    }
    let clients = world.scene.clients.iter().zip(0..);
    let clients: Vec<_> = clients
        .map(|(scene, number)| spawn_local(clients::client(Rc::clone(&world), *scene, number)))
        .collect();
    if world.scene.plot == Plot::Full {
        sleep_until(world.began + checks::SETTLED).await;
        let before = world.engines[0].places.work();
        sleep_until(world.began + world.scene.lasts).await;
        world.judge_use(before);
    }
    world.counts.borrow_mut().poisoned += u64::from(world.scene.plot == Plot::Poison);
    for client in clients {
        if client.await.is_err() {
            world.violated(Rule::Panicked, None, "a client's task panicked".into());
        }
    }
    // Clients of an open loop may have left requests under way.
    let longest = world.scene.models.iter().map(|model| model.total).max().unwrap_or_default();
    let end = Instant::now() + longest * 8;
    while world.under_way.get() > 0 && Instant::now() < end {
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_millis(100)).await;
    world.judge_rest();
    world.judge_deployments();
    sleep(AFTER).await;
    world.judge_return();
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.attempts += other.attempts;
        self.whole += other.whole;
        self.broken += other.broken;
        self.rejected += other.rejected;
        self.unanswered += other.unanswered;
        self.refusals += other.refusals;
        self.left += other.left;
        self.extra += other.extra;
        self.decisions += other.decisions;
        self.ejections += other.ejections;
        self.pauses += other.pauses;
        self.waits += other.waits;
        self.measured += other.measured;
        self.poisoned += other.poisoned;
    }
}
