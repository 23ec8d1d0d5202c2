//! A program, its instances, and guest calls that end at a deadline.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Store, Trap};
use wasmtime_wasi::p2::pipe::SinkOutputStream;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use config::Sandbox;
use contract::{Fault, KnownBudgets, MeanTime, Surroundings};

use super::deadline;
use super::describe::Demand;
use super::interface::ComponentShape;
use super::limits::{Limiter, RANDOM, RESOURCES, TRANSFER};
use super::log_quota::LogQuota;
use super::logging::Log;
use super::machine::Machine;
use super::text::printable;
use super::values::Values;
use super::version::{Guest, Linked};
use super::{LoadError, LoadStage};

/// Host state of one instance.
pub(super) struct StoreData {
    pub(super) log: Log,
    /// The strategy's store, shared with its other instances.
    pub(super) values: Arc<Values>,
    /// The values of its signals during a call.
    pub(super) signals: Vec<f64>,
    /// The budgets whose signals it may ask for.
    pub(super) budgets: KnownBudgets,
    /// What its `configure` asked for.
    pub(super) asking: Asking,
    /// Its time and its chance.
    pub(super) surroundings: Arc<dyn Surroundings>,
    limiter: Limiter,
    /// A clock and random numbers, but no files, network, environment or arguments. The standard
    /// input is empty, and the outputs are discarded.
    wasi: WasiCtx,
    resources: ResourceTable,
}

/// Whether a guest may ask for signals and facts now, and what it asked for.
#[derive(Debug, Default)]
pub(super) enum Asking {
    /// `configure` is not running.
    #[default]
    Closed,
    /// `configure` is running or has just ended. None: it has asked for nothing, so the demand of
    /// `describe` counts.
    Open(Option<Demand>),
}

impl WasiView for StoreData {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.resources }
    }
}

/// A linked component, from which instances are made.
pub(super) struct Program {
    machine: Arc<Machine>,
    linked: Linked,
    sandbox: Sandbox,
    budgets: KnownBudgets,
    reactor: Reactor,
    log_quota: Arc<LogQuota>,
}

/// One instance. It is unusable after a call returned [`Stopped`].
pub(super) struct Instance {
    pub(super) store: Store<StoreData>,
    pub(super) guest: Guest,
    /// The time of its calls.
    pub(super) mean: MeanTime,
}

/// Why a guest call returned no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The guest trapped. The text is Wasmtime's.
    Trap(String),
    /// The call exceeded this deadline.
    TimedOut(Duration),
}

impl Stopped {
    pub(super) fn in_stage(self, what: &str, stage: LoadStage) -> LoadError {
        let what = what.to_owned();
        match self {
            Stopped::Trap(cause) => LoadError::Trap { what, stage, cause },
            Stopped::TimedOut(after) => LoadError::TimedOut { what, stage, after },
        }
    }
}

impl From<Stopped> for Fault {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Trap(cause) => Fault::Trap(cause),
            Stopped::TimedOut(after) => Fault::TimedOut(after),
        }
    }
}

impl Program {
    /// Links a component and checks the types of its exports, without running it.
    pub(super) fn new(
        machine: Arc<Machine>,
        component: &Component,
        shape: ComponentShape,
        sandbox: Sandbox,
        budgets: KnownBudgets,
    ) -> Result<Self, Unfit> {
        let reactor = Reactor::new().map_err(Unfit::Host)?;
        let linked = link(&machine, component, shape).map_err(|e| Unfit::Link(unfit(&e)))?;
        let log_quota = Arc::default();
        Ok(Self { machine, linked, sandbox, budgets, reactor, log_quota })
    }

    /// Makes an instance whose log lines carry `name`. Blocks the thread.
    pub(super) fn instantiate(
        &self,
        name: Arc<str>,
        values: Arc<Values>,
        surroundings: Arc<dyn Surroundings>,
        deadline: Instant,
    ) -> Result<Instance, Stopped> {
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(RESOURCES);
        let state = StoreData {
            log: Log::new(name, Arc::clone(&self.log_quota)),
            values,
            signals: Vec::new(),
            budgets: self.budgets.clone(),
            asking: Asking::Closed,
            surroundings,
            limiter: Limiter::new(self.sandbox.memory),
            wasi: empty_world(),
            resources,
        };
        let mut store = Store::new(&self.machine.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(TRANSFER);
        // The guest yields at each tick of the ticker, so that its deadline can be checked.
        store.epoch_deadline_async_yield_and_update(1);
        store.set_epoch_deadline(1);
        // Tests count the instructions of calls by fuel. An instance with imports runs some before.
        #[cfg(test)]
        let _ = store.set_fuel(u64::MAX);
        let guest = self.call_until(deadline, self.linked.instantiate(&mut store))?;
        Ok(Instance { store, guest, mean: MeanTime::default() })
    }

    /// Share of CPU time that the strategy may use, above 0 and up to 1.
    pub(super) fn cpu_share(&self) -> f64 {
        self.sandbox.cpu_share
    }

    /// When a call that begins now must have ended.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.sandbox.call
    }

    /// Runs a call to its end or to the deadline [`Sandbox::call`]. Blocks the thread.
    pub(super) fn call<T>(
        &self,
        call: impl Future<Output = wasmtime::Result<T>>,
    ) -> Result<T, Stopped> {
        self.call_until(self.deadline(), call)
    }

    /// Like [`Self::call`], for one of several calls that share a deadline.
    pub(super) fn call_until<T>(
        &self,
        deadline: Instant,
        call: impl Future<Output = wasmtime::Result<T>>,
    ) -> Result<T, Stopped> {
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = self.reactor.block_on(self.within(left, pin!(call)));
        answer.map_err(|stopped| match stopped {
            // The whole time is what the operator has set.
            Stopped::TimedOut(_) => Stopped::TimedOut(self.sandbox.call),
            trap @ Stopped::Trap(_) => trap,
        })
    }

    /// Like [`Self::call`] on the request path: under the deadline [`Sandbox::request`], and
    /// without blocking.
    pub(super) async fn call_on_path<T>(
        &self,
        call: Pin<&mut impl Future<Output = wasmtime::Result<T>>>,
    ) -> Result<T, Stopped> {
        self.within(self.sandbox.request, call).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        call: Pin<&mut impl Future<Output = wasmtime::Result<T>>>,
    ) -> Result<T, Stopped> {
        let _running = self.machine.ticker.run();
        match deadline::within(limit, call).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(e)) => Err(Stopped::Trap(cause(&e))),
            None => Err(Stopped::TimedOut(limit)),
        }
    }
}

impl Instance {
    /// Prepares a call: lets the guest run for one tick before it yields.
    pub(super) fn begin(&mut self) {
        self.store.set_epoch_deadline(1);
        self.store.data().log.begin();
    }

    /// Linear memory in use, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.store.data().limiter.memory()
    }
}

/// Why a component cannot be linked.
pub(super) enum Unfit {
    /// The system refused the resources of a runtime.
    Host(io::Error),
    /// Imports or exports have the right names but the wrong types.
    Link(String),
}

fn empty_world() -> WasiCtx {
    // The default output is a task with a buffer. This sink discards at no cost.
    WasiCtx::builder()
        .stdout(SinkOutputStream)
        .stderr(SinkOutputStream)
        .max_random_size(RANDOM)
        .build()
}

fn link(
    machine: &Machine,
    component: &Component,
    shape: ComponentShape,
) -> wasmtime::Result<Linked> {
    let mut linker = Linker::new(&machine.engine);
    if shape.wasi {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    }
    Linked::new(&mut linker, component, shape)
}

/// Describes how a component differs from its interface. The error chain leads from the interface
/// to the detail.
fn unfit(error: &wasmtime::Error) -> String {
    printable(&format!("{error:#}"), 1_000)
}

/// Describes a trap in one line. The backtrace goes to the debug log, for the strategy's author.
fn cause(error: &wasmtime::Error) -> String {
    tracing::debug!("a strategy trapped: {}", printable(&format!("{error:?}"), 4_096));
    match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        None => printable(&error.root_cause().to_string(), 500),
    }
}

/// Drives blocking calls and their timers, on the caller's thread. Each program has its own
/// runtime, so that guests of different programs never wait for each other.
struct Reactor {
    /// None only inside `drop`.
    runtime: Option<Runtime>,
}

impl Reactor {
    fn new() -> io::Result<Self> {
        Ok(Self { runtime: Some(Builder::new_current_thread().enable_time().build()?) })
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        match &self.runtime {
            Some(runtime) => runtime.block_on(future),
            None => unreachable!("only `drop` takes the runtime"),
        }
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        // An ordinary drop panics if it happens inside an async runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
