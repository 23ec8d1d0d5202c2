//! One program, its instances, and calls into them that always come back.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Store, Trap};
use wasmtime_wasi::p2::pipe::SinkOutputStream;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use config::Sandbox;

use super::deadline;
use super::interface::ComponentShape;
use super::limits::{Limiter, RANDOM, RESOURCES, TRANSFER};
use super::logging::Log;
use super::machine::Machine;
use super::text::printable;
use super::values::Values;
use super::version::{Guest, Linked};

/// What the host keeps for one instance.
pub(super) struct StoreData {
    pub(super) log: Log,
    /// Shared with the strategy's other instances.
    pub(super) values: Arc<Values>,
    limiter: Limiter,
    /// An empty world: a clock and random numbers; no files, network, environment or arguments;
    /// an input at its end and outputs that lead nowhere.
    wasi: WasiCtx,
    resources: ResourceTable,
}

impl WasiView for StoreData {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.resources }
    }
}

/// A component that can be run: instances are made from it.
pub(super) struct Program {
    machine: Arc<Machine>,
    linked: Linked,
    sandbox: Sandbox,
    reactor: Reactor,
}

/// One instance. Of no further use after a call that was [`Stopped`].
pub(super) struct Instance {
    pub(super) store: Store<StoreData>,
    pub(super) guest: Guest,
}

/// Why a call gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The guest trapped, in wasmtime's words.
    Trap(String),
    /// It ran past the deadline.
    TimedOut(Duration),
}

impl Program {
    /// Links a component.
    pub(super) fn new(
        machine: Arc<Machine>,
        component: &Component,
        shape: ComponentShape,
        sandbox: Sandbox,
    ) -> Result<Self, Unfit> {
        let reactor = Reactor::new().map_err(Unfit::Host)?;
        let linked = link(&machine, component, shape).map_err(|e| Unfit::Link(unfit(&e)))?;
        Ok(Self { machine, linked, sandbox, reactor })
    }

    /// Makes an instance; its log lines go under `name`.
    pub(super) fn instantiate(
        &self,
        name: Arc<str>,
        values: Arc<Values>,
    ) -> Result<Instance, Stopped> {
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(RESOURCES);
        let state = StoreData {
            log: Log::new(name),
            values,
            limiter: Limiter::new(self.sandbox.memory),
            wasi: empty_world(),
            resources,
        };
        let mut store = Store::new(&self.machine.engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(TRANSFER);
        store.epoch_deadline_async_yield_and_update(1);
        store.set_epoch_deadline(1);
        let guest = self.call(self.linked.instantiate(&mut store))?;
        Ok(Instance { store, guest })
    }

    /// Runs a call to its end or to the deadline. Blocks.
    pub(super) fn call<T>(
        &self,
        call: impl Future<Output = wasmtime::Result<T>>,
    ) -> Result<T, Stopped> {
        self.reactor.block_on(self.within(self.sandbox.call, pin!(call)))
    }

    /// The same on the request path, under its own deadline, and for whoever awaits it.
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
    /// Begins a call: a full measure of log lines and a tick of time before the first look.
    pub(super) fn begin(&mut self) {
        self.store.set_epoch_deadline(1);
        self.store.data_mut().log.refill();
    }

    /// The same on the request path, where calls are many.
    pub(super) fn begin_on_path(&mut self) {
        self.store.set_epoch_deadline(1);
        self.store.data_mut().log.refill_by_time();
    }

    /// Bytes of linear memory.
    pub(super) fn memory(&self) -> usize {
        self.store.data().limiter.memory()
    }
}

/// Why a component cannot become a program.
pub(super) enum Unfit {
    /// The host cannot run it.
    Host(io::Error),
    /// Its imports or exports have other types than their names promise.
    Link(String),
}

fn empty_world() -> WasiCtx {
    // The default output is a task of the runtime with a buffer in between; this one is nothing.
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

/// How a component differs from its interface: the whole chain, as it goes from the interface in.
fn unfit(error: &wasmtime::Error) -> String {
    printable(&format!("{error:#}"), 1_000)
}

/// A trap in one line. The backtrace is for the strategy's author, who asks for debug logs.
fn cause(error: &wasmtime::Error) -> String {
    tracing::debug!("a strategy trapped: {}", printable(&format!("{error:?}"), 4_096));
    match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        None => printable(&error.root_cause().to_string(), 500),
    }
}

/// What waits for a guest that waits. A runtime of its own, so that a guest shares no thread with
/// anybody.
struct Reactor {
    /// None only while it is being dropped.
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
        // An ordinary drop panics where the last owner lets go inside an async runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
