//! A Wasmtime engine for strategies, with its clock.

use anyhow::{Context, anyhow};
use wasmtime::{Config, Engine};

use super::ticker::Ticker;

/// Stack for host functions that a guest calls, in bytes. It is added to the guest's own.
const HOST_STACK: usize = 1 << 20;

/// An engine and the clock that makes its guests stoppable. The stack size is a setting of the
/// engine, so there is one machine for each size in use.
pub(super) struct Machine {
    pub(super) engine: Engine,
    pub(super) ticker: Ticker,
    /// Stack of one call in bytes.
    pub(super) stack: usize,
}

impl Machine {
    /// `stack` is in bytes, above 0.
    pub(super) fn new(stack: usize) -> anyhow::Result<Self> {
        Self::with(&settings(stack), stack)
    }

    /// A machine whose engine has these settings. They must be for the same `stack`.
    pub(super) fn with(settings: &Config, stack: usize) -> anyhow::Result<Self> {
        let engine = made(settings, stack)?;
        let ticker =
            Ticker::start(engine.clone()).context("cannot start the thread of its clock")?;
        Ok(Self { engine, ticker, stack })
    }
}

/// An engine whose guests have `stack` bytes of stack. Its machine code runs on all engines with
/// the same `stack`, in this process and in others.
pub(super) fn engine(stack: usize) -> anyhow::Result<Engine> {
    made(&settings(stack), stack)
}

/// Settings of an engine whose guests can be interrupted.
pub(super) fn settings(stack: usize) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // No contract has async functions. Without this support a store holds no state of tasks.
        .concurrency_support(false)
        .epoch_interruption(true)
        .async_stack_size(stack.saturating_add(HOST_STACK))
        .max_wasm_stack(stack);
    config
}

fn made(settings: &Config, stack: usize) -> anyhow::Result<Engine> {
    Engine::new(settings)
        .map_err(|e| anyhow!("cannot create an engine with {stack} bytes of stack: {e:#}"))
}
