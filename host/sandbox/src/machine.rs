//! A wasmtime engine set up for strategies, with its clock.

use anyhow::{Context, anyhow};
use wasmtime::{Config, Engine};

use super::ticker::Ticker;

/// Stack that the host's own functions find below a guest's, in bytes.
const HOST_STACK: usize = 1 << 20;

/// One engine and what keeps its guests stoppable. The stack of a guest is a property of the
/// engine, so there is one machine for each stack size in use.
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

    /// A machine whose engine has these settings, for the same `stack`.
    pub(super) fn with(settings: &Config, stack: usize) -> anyhow::Result<Self> {
        let engine = made(settings, stack)?;
        let ticker = Ticker::start(engine.clone()).context("the thread of its clock")?;
        Ok(Self { engine, ticker, stack })
    }
}

/// An engine whose guests have `stack` bytes. Machine code that one such engine made is for all of
/// them, in this process and in others.
pub(super) fn engine(stack: usize) -> anyhow::Result<Engine> {
    made(&settings(stack), stack)
}

/// The settings of an engine whose guests can be stopped.
pub(super) fn settings(stack: usize) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .async_stack_size(stack.saturating_add(HOST_STACK))
        .max_wasm_stack(stack);
    config
}

fn made(settings: &Config, stack: usize) -> anyhow::Result<Engine> {
    Engine::new(settings).map_err(|e| anyhow!("an engine with {stack} bytes of stack: {e:#}"))
}
