//! From bytes to machine code, without being felt by traffic.
//!
//! Compiling takes from milliseconds to, for a hostile component, as long as it is let, and memory in proportion. So
//! it happens in a child process ([`Compiler::Child`]) that can be stopped and that limits itself. A load that is
//! canceled leaves its child at work: the load that follows may want the same component, and takes over. What no
//! load has taken over at its end is stopped.
//!
//! Strangers' code is compiled at a low priority: it takes at most a tenth of one core from traffic, and still gets on
//! where the machine has no idle time. The built-in strategies are small, and a gateway on a busy machine needs one
//! before it can serve.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::Engine;
use wasmtime::component::Component;

use config::Sandbox;

use super::cache::{self, Cache};
use super::kept::{Kept, Lease};
use super::source::Bytes;
use super::text::printable;
use super::translate::{Order, Reply, translate};
use super::{LoadError, child};

/// Children at work at a time: one for the load under way, one that the load before it has left.
const CHILDREN: usize = 2;
/// Between two looks of a thread that waits.
const LOOK: Duration = Duration::from_millis(20);

/// Where components are compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// On a thread of this process. It cannot be stopped, and its deadline is wall time: for programs that end
    /// soon, and for tests.
    InProcess,
    /// In a child process of this executable, which calls [`compile_for_parent`](super::compile_for_parent) where
    /// its first argument is [`SUBCOMMAND`](super::SUBCOMMAND).
    Child(PathBuf),
}

impl Compiler {
    /// A child process of the executable that runs now.
    ///
    /// # Errors
    /// The system does not tell which it is.
    pub fn child_of_this() -> io::Result<Self> {
        // On Linux this link leads to what runs, also where an upgrade has put another file in its place.
        match cfg!(target_os = "linux") {
            true => Ok(Self::Child("/proc/self/exe".into())),
            false => std::env::current_exe().map(Self::Child),
        }
    }
}

/// Tells a load that its result is not wanted any more. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// Cancels the load.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has.
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a component was not compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The compiler refuses it, in its own words.
    Refused(String),
    /// A panic of the compiler.
    Panicked,
    /// All of its CPU time was used up.
    OutOfTime,
    /// All of its memory was used up.
    OutOfMemory,
    /// It got too little CPU time on this machine.
    Starved(Duration),
    /// On a thread of this process it took longer than this.
    TimedOut(Duration),
    /// The child ended as no compiler does.
    Crashed(String),
    /// There is no child, or something else on the machine ended it.
    Unavailable(String),
    /// Nobody waits for it any more.
    Canceled,
}

/// Compiles components, and keeps them.
pub(super) struct Components {
    pub(super) compiler: Compiler,
    /// What outlives the process.
    cache: Option<Cache>,
    kept: Mutex<Kept>,
    jobs: Mutex<Vec<Arc<Job>>>,
    /// Held by the thread that compiles in this process.
    turn: Arc<Mutex<()>>,
    /// Something was written to the cache since it was tidied.
    wrote: AtomicBool,
}

impl Components {
    /// None are compiled yet; `cache` may have some.
    pub(super) fn new(compiler: Compiler, cache: Option<Cache>) -> Self {
        let (kept, jobs, turn, wrote) = Default::default();
        Self { compiler, cache, kept, jobs, turn, wrote }
    }

    /// The same with another cache.
    pub(super) fn with_cache(&self, cache: Cache) -> Self {
        Self::new(self.compiler.clone(), Some(cache))
    }

    /// The same with another compiler.
    pub(super) fn with_compiler(&self, compiler: Compiler) -> Self {
        Self::new(compiler, self.cache.clone())
    }

    /// Compiles a component within the limits of `sandbox`, or finds it compiled.
    pub(super) fn compile(
        &self,
        engine: &Engine,
        what: &str,
        source: Bytes,
        sandbox: &Sandbox,
        cancellation: &Cancellation,
    ) -> Result<Lease, LoadError> {
        if let Some(found) = not_a_component(&source.bytes) {
            return Err(LoadError::NotAComponent { what: what.to_owned(), found });
        }
        let digest = source.digest.clone();
        if let Some(component) = lock(&self.kept).find(engine, &digest) {
            return Ok(component);
        }
        let cached = self.cache.as_ref().and_then(|cache| cache.find(engine, &digest));
        let component = match cached {
            Some(component) => component,
            None => {
                let translated = self.translate(engine, source, sandbox, cancellation);
                translated.map_err(|failure| LoadError::of(failure, what, sandbox))?
            }
        };
        Ok(lock(&self.kept).keep(digest, component))
    }

    fn translate(
        &self,
        engine: &Engine,
        source: Bytes,
        sandbox: &Sandbox,
        cancellation: &Cancellation,
    ) -> Result<Component, Failure> {
        let digest = source.digest.clone();
        let waiting = self.job(engine, source, sandbox, cancellation)?;
        let limit = matches!(self.compiler, Compiler::InProcess).then_some(sandbox.compile);
        let compiled = waiting.until(limit, cancellation);
        if !matches!(compiled, Err(Failure::Canceled | Failure::TimedOut(_))) {
            lock(&self.jobs).retain(|job| !Arc::ptr_eq(job, &waiting.job));
        }
        let code = compiled?;
        let component = cache::load(engine, &code).map_err(|error| {
            Failure::Crashed(format!("its machine code is not for this gateway: {error:#}"))
        })?;
        if let Some(cache) = &self.cache {
            cache.keep(engine, &digest, &code);
            self.wrote.store(true, Ordering::Relaxed);
        }
        Ok(component)
    }

    /// The job that compiles a component: one that an earlier load has left, or a new one.
    fn job(
        &self,
        engine: &Engine,
        source: Bytes,
        sandbox: &Sandbox,
        cancellation: &Cancellation,
    ) -> Result<Waiting, Failure> {
        let order = Order {
            component: source.bytes.len() as u64,
            stack: sandbox.stack,
            seconds: sandbox.compile.as_secs_f64().ceil() as u64,
            memory: sandbox.compile_memory,
            is_nice: source.is_foreign(),
        };
        loop {
            let mut jobs = lock(&self.jobs);
            jobs.retain(|job| !job.is_stopped() || job.is_at_work());
            if let Some(job) = jobs.iter().find(|job| job.is_for(engine, &source.digest, order)) {
                return Ok(Waiting::on(job));
            }
            let at_work = jobs.iter().filter(|job| job.is_at_work());
            if at_work.clone().count() < CHILDREN || self.compiler == Compiler::InProcess {
                let job = Arc::new(Job::new(engine.clone(), source.digest.clone(), order));
                self.start(Arc::clone(&job), source)?;
                jobs.push(Arc::clone(&job));
                return Ok(Waiting::on(&job));
            }
            // The one that was left first is the least likely to be wanted.
            if let Some(left) = at_work.clone().find(|job| job.is_left()) {
                left.stop();
            }
            drop(jobs);
            if cancellation.is_canceled() {
                return Err(Failure::Canceled);
            }
            thread::sleep(LOOK);
        }
    }

    /// Starts the thread of a job. It must live as long as its child: the system kills a child with the thread that
    /// started it.
    fn start(&self, job: Arc<Job>, source: Bytes) -> Result<(), Failure> {
        let (compiler, turn) = (self.compiler.clone(), Arc::clone(&self.turn));
        let work = move || {
            let compiled = catch_unwind(AssertUnwindSafe(|| match &compiler {
                Compiler::Child(executable) => {
                    child::compile(executable, job.order, &source.bytes, || job.is_stopped())
                }
                Compiler::InProcess => {
                    let _turn = lock(&turn);
                    if job.is_stopped() {
                        return Err(Failure::Canceled);
                    }
                    translate(&job.engine, &source.bytes).map_err(Failure::from)
                }
            }));
            job.end(compiled.unwrap_or(Err(Failure::Panicked)));
        };
        let spawned = thread::Builder::new().name("strategy-compile".to_owned()).spawn(work);
        spawned.map(drop).map_err(|error| Failure::Unavailable(error.to_string()))
    }

    /// Lets go of what is too much, at the end of a load: of components, files, and jobs that nobody waits for.
    /// What is in use stays, and so does what this load has asked for. `is_good`: it asked for everything it uses.
    pub(super) fn tidy(&self, is_good: bool) {
        lock(&self.jobs).retain(|job| {
            let is_left = job.is_left();
            if is_left {
                job.stop();
            }
            !is_left
        });
        let used = lock(&self.kept).tidy();
        if let Some(cache) = &self.cache
            && self.wrote.swap(false, Ordering::Relaxed)
        {
            cache.tidy(&used, is_good);
        }
    }
}

impl Drop for Components {
    fn drop(&mut self) {
        lock(&self.jobs).iter().for_each(|job| job.stop());
    }
}

/// One component that is being compiled, on a thread of its own.
struct Job {
    engine: Engine,
    digest: String,
    /// Its limits: a load with others needs a job of its own.
    order: Order,
    /// Threads that wait for it.
    waiting: AtomicUsize,
    stopped: AtomicBool,
    /// None: not yet.
    result: Mutex<Option<Result<Arc<Vec<u8>>, Failure>>>,
    ended: Condvar,
}

impl Job {
    fn new(engine: Engine, digest: String, order: Order) -> Self {
        let (waiting, stopped, result, ended) = Default::default();
        Self { engine, digest, order, waiting, stopped, result, ended }
    }

    fn is_for(&self, engine: &Engine, digest: &str, order: Order) -> bool {
        let is_same = self.digest == digest && Engine::same(&self.engine, engine);
        is_same && self.order == order && !self.is_stopped()
    }

    /// Whether nobody waits for it.
    fn is_left(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn is_at_work(&self) -> bool {
        lock(&self.result).is_none()
    }

    fn end(&self, compiled: Result<Vec<u8>, Failure>) {
        *lock(&self.result) = Some(compiled.map(Arc::new));
        self.ended.notify_all();
    }
}

/// One who waits for a job.
struct Waiting {
    job: Arc<Job>,
}

impl Waiting {
    fn on(job: &Arc<Job>) -> Self {
        job.waiting.fetch_add(1, Ordering::Relaxed);
        Self { job: Arc::clone(job) }
    }

    /// The machine code, unless it takes longer than `limit`.
    fn until(
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

impl From<Reply> for Failure {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Compiled(_) => Self::Crashed("it ended without an answer".to_owned()),
            // It may come from a process that has read a stranger's component.
            Reply::Refused(cause) => Self::Refused(printable(&cause, 1_000)),
            Reply::Panicked => Self::Panicked,
            Reply::OutOfMemory => Self::OutOfMemory,
            Reply::Unready(cause) => Self::Unavailable(printable(&cause, 1_000)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the bytes are instead, in words that help; the compiler's own speak of magic numbers.
fn not_a_component(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [] => Some("the file is empty"),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => None,
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Some(
            "it is a core module; build for `wasm32-wasip2`, or wrap it with `wasm-tools component new`",
        ),
        [0, b'a', b's', b'm', ..] => {
            Some("it is of a WebAssembly version this gateway does not know")
        }
        [b'(', ..] => {
            Some("it looks like WebAssembly text; make it binary with `wasm-tools parse`")
        }
        _ => Some("it does not begin like WebAssembly"),
    }
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
