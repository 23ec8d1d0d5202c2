//! The clock that makes running guests yield.
//!
//! Compiled code checks its engine's epoch at every loop and call, and yields when the epoch has
//! moved. This makes an endless loop stoppable. A thread moves the epoch, but only while guests
//! run, so that it never wakes an idle gateway.
//!
//! A guest may be called for each request, so starting a call costs only two atomic additions here.
//! The clock runs on for a while after the last call, so that a series of calls wakes it once. Each
//! tick takes a core from the threads that serve, so the clock ticks slowly while calls are short:
//! when it finds none in progress.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// Time between ticks while a guest runs: how long it runs before it yields, and yields again.
const TICK: Duration = Duration::from_millis(1);
/// Time to the next tick while none runs. A guest that begins meanwhile yields this late at most.
const LOOK: Duration = Duration::from_millis(4);
/// Looks that find no call begun since the one before, until the clock stops.
const LINGER: u32 = 12;

/// Moves the epoch of one engine while at least one of its guests runs.
pub(super) struct Ticker {
    clock: Arc<Clock>,
    hands: Thread,
}

#[derive(Default)]
struct Clock {
    /// Calls in progress.
    running: AtomicUsize,
    /// Calls ever begun, wrapping.
    begun: AtomicUsize,
    /// True if the thread is parked or about to park.
    stopped: AtomicBool,
    closed: AtomicBool,
}

impl Clock {
    /// Moves the epoch while a guest runs, until none has begun for [`LINGER`] looks.
    fn go(&self, engine: &Engine) {
        let (mut idle, mut seen) = (0, self.begun.load(Ordering::Relaxed));
        let mut pause = TICK;
        while idle < LINGER && !self.closed.load(Ordering::Relaxed) {
            thread::sleep(pause);
            let is_running = self.running.load(Ordering::Relaxed) > 0;
            if is_running {
                engine.increment_epoch();
            }
            pause = if is_running { TICK } else { LOOK };
            let begun = self.begun.load(Ordering::Relaxed);
            idle = if is_running || begun != seen { 0 } else { idle + 1 };
            seen = begun;
        }
    }

    /// Parks until a call begins.
    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        // All of these are `SeqCst`: either this loop sees the new call, or the call sees `stopped`
        // and unparks the thread.
        while self.running.load(Ordering::SeqCst) == 0
            && self.stopped.load(Ordering::SeqCst)
            && !self.closed.load(Ordering::SeqCst)
        {
            thread::park();
        }
        self.stopped.store(false, Ordering::SeqCst);
    }
}

impl Ticker {
    pub(super) fn start(engine: Engine) -> io::Result<Self> {
        let clock = Arc::new(Clock::default());
        let shared = Arc::clone(&clock);
        let run = move || {
            while !shared.closed.load(Ordering::SeqCst) {
                shared.stop();
                shared.go(&engine);
            }
        };
        let hands = thread::Builder::new().name("strategy-clock".to_owned()).spawn(run)?;
        Ok(Self { clock, hands: hands.thread().clone() })
    }

    /// Keeps the clock running until the returned guard is dropped.
    pub(super) fn run(&self) -> Running<'_> {
        self.clock.running.fetch_add(1, Ordering::SeqCst);
        self.clock.begun.fetch_add(1, Ordering::Relaxed);
        if self.clock.stopped.load(Ordering::SeqCst) {
            self.clock.stopped.store(false, Ordering::SeqCst);
            self.hands.unpark();
        }
        Running { clock: &self.clock }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.clock.closed.store(true, Ordering::SeqCst);
        self.hands.unpark();
    }
}

/// One call in progress.
pub(super) struct Running<'a> {
    clock: &'a Clock,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.clock.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    use super::*;

    /// Waits until the clock's thread is parked, or about to be.
    fn stopped(ticker: &Ticker) {
        let start = Instant::now();
        while !ticker.clock.stopped.load(Ordering::SeqCst) {
            assert!(start.elapsed() < Duration::from_secs(20), "the clock goes on without a call");
            thread::sleep(TICK);
        }
    }

    #[test]
    fn the_clock_stops_without_calls_and_goes_on_with_the_next() {
        let ticker = Ticker::start(Engine::default()).unwrap();
        for _ in 0..3 {
            stopped(&ticker);
            let running = ticker.run();
            assert!(!ticker.clock.stopped.load(Ordering::SeqCst));
            drop(running);
        }
        stopped(&ticker);
    }
}
