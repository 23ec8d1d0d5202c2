#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::sync::LazyLock;
use std::time::Instant;

use rustix::process::{Pid, test_kill_process};
use tempfile::TempDir;

use crate::Source;

use super::super::machine::engine;
use super::*;

/// Compiles with `tests/compiler.sh`. The name of the link to it selects its behaviour.
struct Faulty {
    folder: TempDir,
    components: Components,
}

impl Faulty {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/compiler.sh");
        let executable = folder.path().join(name);
        // A link, because no file can be executed that another thread's child still has open for
        // writing.
        symlink(script, &executable).unwrap();
        Self { folder, components: Components::new(Compiler::Child(executable), None) }
    }

    /// Waits until the compiler runs. Returns its process.
    fn pid(&self) -> Pid {
        let file = self.folder.path().join("pid");
        let pid = eventually("the compiler starts", || {
            std::fs::read_to_string(&file).ok()?.trim().parse().ok()
        });
        Pid::from_raw(pid).unwrap()
    }
}

/// Polls `look` until it returns something.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "not in time: {what}");
        thread::sleep(LOOK);
    }
}

fn is_gone(pid: Pid) {
    // A zombie still accepts signals, so this also proves that the child was reaped.
    eventually("no child is left", || test_kill_process(pid).is_err().then_some(()));
}

/// A different component for each number.
fn component(number: usize) -> &'static [u8] {
    wat::parse_str(format!("(component (core module (memory {number})))")).unwrap().leak()
}

fn sandbox(limit: Duration) -> Sandbox {
    Sandbox { compile: limit, compile_memory: 16 << 20, ..Sandbox::default() }
}

fn compile(
    components: &Components,
    bytes: &'static [u8],
    limit: Duration,
    cancellation: &Cancellation,
) -> Result<Lease, LoadError> {
    let source = Source::BuiltIn { name: "x", bytes }.read(None, 1 << 30).unwrap();
    components.compile(&ENGINE, "it", source, &sandbox(limit), cancellation)
}

/// Shared by all tests, because each engine needs its own machine code in memory.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| engine(Sandbox::default().stack).unwrap());
const LONG: Duration = Duration::from_secs(60);

fn fails(name: &str) -> LoadError {
    let faulty = Faulty::new(name);
    compile(&faulty.components, component(1), LONG, &Cancellation::default()).err().unwrap()
}

#[test]
fn how_a_child_ends_is_told_apart() {
    for (name, says, is_transient) in [
        ("reads", "it does not compile: too old", false),
        ("garbage", "the compiler failed on it, this is a bug of the compiler: its answer", false),
        ("short", "its answer has the wrong length", false),
        ("foreign", "its machine code is not for this gateway", false),
        ("silent", "its answer is malformed", false),
        ("endless", "its answer has no end", false),
        ("fails", "it ended with exit status: 2: unrecognized subcommand", false),
        ("crashes", "it ended with signal: 11", false),
        ("aborts", "it ended with signal: 6", false),
        ("panics", "it panicked", false),
        (
            "out-of-time",
            "it is not compiled after 60s of CPU time (`sandbox.compile_timeout`)",
            true,
        ),
        ("out-of-memory", "it takes more than 16 MiB of memory to compile", false),
        ("killed", "there is no compiler for it: it was killed", true),
        ("unready", "there is no compiler for it: no limits", true),
    ] {
        let error = fails(name);
        assert!(error.to_string().contains(says), "{name}: {error}");
        assert_eq!(error.is_transient(), is_transient, "{name}: {error}");
    }
    let components = Components::new(Compiler::Child("/nowhere".into()), None);
    let error = compile(&components, component(1), LONG, &Cancellation::default()).err().unwrap();
    assert!(error.to_string().contains("/nowhere does not start"), "{error}");
}

#[test]
fn a_child_that_gets_no_processor_is_given_up() {
    let faulty = Faulty::new("sleeps");
    let short = Order { component: 1, stack: 1 << 16, seconds: 0, memory: 1 << 30, is_nice: false };
    let failure = child::compile(&faulty.folder.path().join("sleeps"), short, b"x", || false);
    assert_eq!(failure, Err(Failure::Starved(Duration::ZERO)));
}

#[test]
fn a_canceled_load_returns_and_its_child_ends() {
    for name in ["sleeps", "mute"] {
        let faulty = Faulty::new(name);
        // More than a pipe holds: the gateway must not wait for the child to read it.
        let bytes = [component(1), &[0; 1 << 20]].concat().leak();
        let cancellation = Cancellation::default();
        let pid = thread::scope(|scope| {
            let load = || compile(&faulty.components, bytes, LONG, &cancellation);
            let load = scope.spawn(load);
            let pid = faulty.pid();
            cancellation.cancel();
            let error = load.join().unwrap().err().unwrap();
            assert!(matches!(error, LoadError::Canceled { .. }), "{error}");
            pid
        });
        assert!(test_kill_process(pid).is_ok(), "the next load may want it");
        faulty.components.tidy(true);
        is_gone(pid);
    }
}

#[test]
fn dropping_the_host_leaves_no_child() {
    let faulty = Faulty::new("sleeps");
    let cancellation = Cancellation::default();
    thread::scope(|scope| {
        scope.spawn(|| compile(&faulty.components, component(1), LONG, &cancellation));
        faulty.pid();
        cancellation.cancel();
    });
    let pid = faulty.pid();
    let Faulty { folder, components } = faulty;
    drop(components);
    is_gone(pid);
    drop(folder);
}

#[test]
fn children_at_work_are_few() {
    let faulty = Faulty::new("sleeps");
    let mut pids = Vec::new();
    for number in 0..4 {
        let cancellation = Cancellation::default();
        thread::scope(|scope| {
            scope.spawn(|| compile(&faulty.components, component(number), LONG, &cancellation));
            let pid = eventually("another compiler starts", || {
                Some(faulty.pid()).filter(|pid| pids.last() != Some(pid))
            });
            pids.push(pid);
            cancellation.cancel();
        });
    }
    pids[..2].iter().for_each(|pid| is_gone(*pid));
    assert!(pids[2..].iter().all(|pid| test_kill_process(*pid).is_ok()));
    faulty.components.tidy(false);
    pids[2..].iter().for_each(|pid| is_gone(*pid));
}

#[test]
fn the_next_load_takes_over_what_was_canceled() {
    let components = Components::new(Compiler::InProcess, None);
    let turn = lock(&components.turn);
    let canceled = Cancellation::default();
    canceled.cancel();
    let error = compile(&components, component(1), LONG, &canceled).err().unwrap();
    assert!(matches!(error, LoadError::Canceled { .. }), "{error}");
    let first = Arc::clone(&lock(&components.jobs)[0]);
    thread::scope(|scope| {
        let load = || compile(&components, component(1), LONG, &Cancellation::default());
        let load = scope.spawn(load);
        eventually("it is waited for", || (!first.is_left()).then_some(()));
        assert_eq!(lock(&components.jobs).len(), 1);
        drop(turn);
        load.join().unwrap().unwrap();
    });
    assert!(lock(&components.jobs).is_empty());
}

#[test]
fn other_limits_are_another_job() {
    let components = Components::new(Compiler::InProcess, None);
    let turn = lock(&components.turn);
    let canceled = Cancellation::default();
    canceled.cancel();
    for limit in [LONG, LONG, 2 * LONG] {
        assert!(compile(&components, component(1), limit, &canceled).is_err());
    }
    assert_eq!(lock(&components.jobs).len(), 2);
    drop(turn);
}

#[test]
fn a_job_stopped_before_its_turn_compiles_nothing() {
    let components = Components::new(Compiler::InProcess, None);
    let never = Cancellation::default();
    let turn = lock(&components.turn);
    let error =
        compile(&components, component(1), Duration::from_millis(20), &never).err().unwrap();
    assert_eq!(error.to_string(), "it is not compiled after 20ms (`sandbox.compile_timeout`)");
    let job = Arc::clone(&lock(&components.jobs)[0]);
    components.tidy(true);
    drop(turn);
    eventually("the job ends", || (!job.is_at_work()).then_some(()));
    assert_eq!(*lock(&job.result), Some(Err(Failure::Canceled)));
    compile(&components, component(1), LONG, &never).unwrap();
}

#[test]
fn a_hundred_components_compile_once() {
    let folder = tempfile::tempdir().unwrap();
    let cache = || Some(Cache::at(folder.path().join("cache")));
    let all: Vec<&'static [u8]> = (0..100).map(component).collect();
    let load = |components: &Components| {
        let never = Cancellation::default();
        let leases: Vec<Lease> =
            all.iter().map(|bytes| compile(components, bytes, LONG, &never).unwrap()).collect();
        components.tidy(true);
        leases
    };
    let first = Components::new(Compiler::InProcess, cache());
    drop(load(&first));
    // From here on nothing can compile.
    let none = Compiler::Child("/nowhere".into());
    let started = Components::new(none, cache());
    let running = load(&started);
    let edited = load(&started);
    assert!(running.iter().zip(&edited).all(|(a, b)| Arc::ptr_eq(a, b)));
    assert_eq!(std::fs::read_dir(folder.path().join("cache")).unwrap().count(), 100);
}
