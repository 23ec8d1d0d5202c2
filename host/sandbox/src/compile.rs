//! Compiles components to machine code without disturbing traffic.
//!
//! Compiling takes milliseconds. For a hostile component it takes all the time and memory that it
//! is allowed. So it runs in a child process ([`Compiler::Child`]) that limits itself and can be
//! killed. A canceled load leaves its child running, because the next load may want the same
//! component and take the child over. A child that nobody waits for at the end of a load is killed.
//!
//! Components from files are compiled at a low priority: they take at most a tenth of one core from
//! traffic, and still make progress on a machine without idle time. Built-in strategies keep the
//! normal priority, because they are small and a gateway on a busy machine cannot serve before it
//! has one.

mod job;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::Component;

use config::Sandbox;

use super::cache::{self, Cache};
use super::kept::{Kept, Lease};
use super::source::Bytes;
use super::text::printable;
use super::translate::{Order, Reply, translate};
use super::{LoadError, child};

use job::{Job, Waiting};

/// Maximum number of children: one for the current load, one left by the load before it.
const CHILDREN: usize = 2;
/// Interval at which a waiting thread checks for cancellation and for a free child.
const LOOK: Duration = Duration::from_millis(20);

/// Where components are compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// On a thread of this process. The thread cannot be stopped, and its deadline is wall time.
    /// For short-lived programs and for tests.
    InProcess,
    /// In a child process of this executable. The executable must call
    /// [`compile_for_parent`](super::compile_for_parent) if its first argument is
    /// [`SUBCOMMAND`](super::SUBCOMMAND).
    Child(PathBuf),
}

impl Compiler {
    /// A compiler in a child process of the running executable.
    ///
    /// # Errors
    /// The system does not report the executable's path.
    pub fn child_of_this() -> io::Result<Self> {
        // On Linux this link leads to the running file, even if an upgrade has replaced it on disk.
        match cfg!(target_os = "linux") {
            true => Ok(Self::Child("/proc/self/exe".into())),
            false => std::env::current_exe().map(Self::Child),
        }
    }
}

/// Tells a load that its result is no longer wanted. All clones share one flag.
#[derive(Debug, Clone, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// Cancels every load that was given this or a clone. It cannot be undone.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True once this or a clone was canceled.
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a component was not compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The compiler rejected the component. The text is the compiler's.
    Refused(String),
    /// The compiler panicked: a bug in it.
    Panicked,
    /// The child used up its CPU time.
    OutOfTime,
    /// The compiler used up its memory.
    OutOfMemory,
    /// The child got too little CPU time within this wall time.
    Starved(Duration),
    /// A compilation on a thread of this process exceeded this wall time.
    TimedOut(Duration),
    /// The child crashed or violated the protocol.
    Crashed(String),
    /// The compiler could not be started, or something else on the machine killed it.
    Unavailable(String),
    /// The load was canceled or the job was stopped.
    Canceled,
}

/// Compiles components, and keeps them in memory and on disk.
pub(super) struct Components {
    pub(super) compiler: Compiler,
    /// Machine code on disk, which outlives the process.
    cache: Option<Cache>,
    kept: Mutex<Kept>,
    jobs: Mutex<Vec<Arc<Job>>>,
    /// Held while a thread compiles in this process, so that only one does.
    turn: Arc<Mutex<()>>,
    /// True if the cache was written since it was last tidied.
    wrote: AtomicBool,
}

impl Components {
    /// Starts without components in memory. `cache` may have some on disk.
    pub(super) fn new(compiler: Compiler, cache: Option<Cache>) -> Self {
        let (kept, jobs, turn, wrote) = Default::default();
        Self { compiler, cache, kept, jobs, turn, wrote }
    }

    /// Same compiler, another cache, no components in memory.
    pub(super) fn with_cache(&self, cache: Cache) -> Self {
        Self::new(self.compiler.clone(), Some(cache))
    }

    /// Same cache, another compiler, no components in memory.
    pub(super) fn with_compiler(&self, compiler: Compiler) -> Self {
        Self::new(compiler, self.cache.clone())
    }

    /// Finds a component in memory or in the cache, or compiles it within the limits of `sandbox`.
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
        // A child limits itself.
        let limit = matches!(self.compiler, Compiler::InProcess).then_some(sandbox.compile);
        let compiled = waiting.until(limit, cancellation);
        // A job that is still at work stays listed, so that the next load can take it over.
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

    /// Returns the job that compiles a component: one left by an earlier load, or a new one.
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
            // A stopped job counts until its child has ended.
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
            // The oldest abandoned job is the least likely to be wanted.
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

    /// Starts the thread of a job. The thread must live as long as its child, because the kernel
    /// kills the child when the thread that started it ends.
    fn start(&self, job: Arc<Job>, source: Bytes) -> Result<(), Failure> {
        let (compiler, turn) = (self.compiler.clone(), Arc::clone(&self.turn));
        let work = move || {
            // After a panic the job must still end, or its waiters would wait for ever.
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

    /// Ends a load: evicts surplus components and files, and stops jobs that nobody waits for.
    /// Components in use, or requested by this load, stay. `is_good` says that the load requested
    /// everything that it uses.
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

impl From<Reply> for Failure {
    fn from(reply: Reply) -> Self {
        match reply {
            // Only reached if the length differs from that of the machine code.
            Reply::Compiled(_) => Self::Crashed("its answer has the wrong length".to_owned()),
            // The text is from a process that has read an untrusted component.
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

/// Says what the bytes are if they are no component. The compiler's own error only mentions magic
/// numbers.
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
