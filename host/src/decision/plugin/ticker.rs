//! The clock of running guests.
//!
//! Compiled code looks at its engine's epoch at every loop and call, and gives the thread back when
//! the epoch has moved: that is what makes an endless loop stoppable. Somebody must move it, and only
//! while a guest runs: an idle gateway wakes for nothing.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use wasmtime::Engine;

/// How long a guest can go without giving the thread back.
const TICK: Duration = Duration::from_millis(5);

/// Moves the epoch of one engine while at least one of its guests runs.
pub(super) struct Ticker {
    clock: Arc<Clock>,
}

#[derive(Default)]
struct Clock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Calls in progress.
    running: usize,
    closed: bool,
}

impl Clock {
    fn change(&self, change: impl FnOnce(&mut State)) {
        // A counter is right even where a thread panicked beside it.
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits for a call; false once the ticker is gone.
    fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |state: &mut State| state.running == 0 && !state.closed;
        let state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        !state.closed
    }
}

impl Ticker {
    pub(super) fn start(engine: Engine) -> io::Result<Self> {
        let clock = Arc::new(Clock::default());
        let hands = Arc::clone(&clock);
        thread::Builder::new().name("strategy-clock".to_owned()).spawn(move || {
            while hands.wait() {
                thread::sleep(TICK);
                engine.increment_epoch();
            }
        })?;
        Ok(Self { clock })
    }

    /// Keeps the clock going until what it returns is dropped.
    pub(super) fn run(&self) -> Running<'_> {
        self.clock.change(|state| state.running += 1);
        Running { clock: &self.clock }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.clock.change(|state| state.closed = true);
    }
}

/// One call in progress.
pub(super) struct Running<'a> {
    clock: &'a Clock,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.clock.change(|state| state.running -= 1);
    }
}
