//! The compilation of one component, and the threads that wait for it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::Engine;

use crate::translate::Order;

use super::{Cancellation, Failure, LOOK, lock};

/// The compilation of one component, on a thread of its own.
pub(super) struct Job {
    pub(super) engine: Engine,
    digest: String,
    /// Its limits. A load with other limits needs another job.
    pub(super) order: Order,
    /// Number of threads that wait for the result.
    waiting: AtomicUsize,
    stopped: AtomicBool,
    /// None while the job is at work.
    pub(super) result: Mutex<Option<Result<Arc<Vec<u8>>, Failure>>>,
    ended: Condvar,
}

impl Job {
    pub(super) fn new(engine: Engine, digest: String, order: Order) -> Self {
        let (waiting, stopped, result, ended) = Default::default();
        Self { engine, digest, order, waiting, stopped, result, ended }
    }

    pub(super) fn is_for(&self, engine: &Engine, digest: &str, order: Order) -> bool {
        let is_same = self.digest == digest && Engine::same(&self.engine, engine);
        is_same && self.order == order && !self.is_stopped()
    }

    /// True if no thread waits for the result.
    pub(super) fn is_left(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(super) fn is_at_work(&self) -> bool {
        lock(&self.result).is_none()
    }

    pub(super) fn end(&self, compiled: Result<Vec<u8>, Failure>) {
        *lock(&self.result) = Some(compiled.map(Arc::new));
        self.ended.notify_all();
    }
}

/// One waiter, counted in [`Job::waiting`] until it is dropped.
pub(super) struct Waiting {
    pub(super) job: Arc<Job>,
}

impl Waiting {
    pub(super) fn on(job: &Arc<Job>) -> Self {
        job.waiting.fetch_add(1, Ordering::Relaxed);
        Self { job: Arc::clone(job) }
    }

    /// Waits for the machine code until `limit` or cancellation.
    pub(super) fn until(
        &self,
        limit: Option<Duration>,
        cancellation: &Cancellation,
    ) -> Result<Arc<Vec<u8>>, Failure> {
        let begun = Instant::now();
        let mut result = lock(&self.job.result);
        loop {
            if let Some(result) = &*result {
                return result.clone();
            }
            if cancellation.is_canceled() {
                return Err(Failure::Canceled);
            }
            if let Some(limit) = limit
                && begun.elapsed() >= limit
            {
                return Err(Failure::TimedOut(limit));
            }
            let waited = self.job.ended.wait_timeout(result, LOOK);
            result = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.job.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
