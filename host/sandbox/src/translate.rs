//! The child process that compiles one component, `gateway compile-strategy`.
//!
//! Standard input has an [`Order`] as one line of JSON, then the component. Standard output gets a
//! [`Reply`] as one line of JSON, then the machine code. The child limits its own CPU time and
//! memory before it reads the component, so that a hostile component cannot take more.

use std::io::{self, BufRead, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, nice, set_parent_process_death_signal, setrlimit,
};
use serde::{Deserialize, Serialize};
use wasmtime::Engine;
use wasmtime::error::OutOfMemory;

use super::machine::engine;
use super::text::printable;

/// Subcommand with which a parent starts its own executable to compile.
pub const SUBCOMMAND: &str = "compile-strategy";
/// Maximum bytes of the line of an order or a reply.
pub(super) const LINE: u64 = 16 << 10;

/// The parent's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    /// Bytes of the component, which follows the line.
    pub(super) component: u64,
    /// Stack of a guest call in bytes. It is a part of the engine's settings.
    pub(super) stack: usize,
    /// Limit of CPU time in seconds.
    pub(super) seconds: u64,
    /// Limit of memory in bytes.
    pub(super) memory: u64,
    /// True to compile at a low priority, after traffic.
    pub(super) is_nice: bool,
}

/// The child's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reply {
    /// This many bytes of machine code follow the line.
    Compiled(u64),
    /// The compiler rejected the component. The text is the compiler's.
    Refused(String),
    /// The compiler panicked.
    Panicked,
    /// The compiler ran out of memory.
    OutOfMemory,
    /// The child could not set its limits or create an engine.
    Unready(String),
}

/// Reads an order and a component from `input`, and writes the reply and the machine code to
/// `output`. Limits this process, which must do nothing else.
///
/// # Errors
/// The input is malformed or ends early, or the parent has closed a pipe.
pub fn compile_for_parent(input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let (reply, code) = match obey(input)? {
        Ok(code) => (Reply::Compiled(code.len() as u64), code),
        Err(reply) => (reply, Vec::new()),
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.write_all(&code)?;
    output.flush()
}

/// Returns the machine code, or the reply that says why there is none.
fn obey(mut input: impl BufRead) -> io::Result<Result<Vec<u8>, Reply>> {
    let mut line = Vec::new();
    (&mut input).take(LINE).read_until(b'\n', &mut line)?;
    let order: Order = serde_json::from_slice(&line)?;
    if let Err(error) = confine(&order) {
        return Ok(Err(Reply::Unready(format!("its limits cannot be set: {error}"))));
    }
    let mut component = Vec::new();
    input.take(order.component).read_to_end(&mut component)?;
    if component.len() as u64 != order.component {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let engine = match engine(order.stack) {
        Ok(engine) => engine,
        Err(error) => return Ok(Err(Reply::Unready(format!("{error:#}")))),
    };
    Ok(translate(&engine, &component))
}

/// Sets the limits of this process. Later code cannot raise them.
fn confine(order: &Order) -> io::Result<()> {
    // The child ends with a parent that is killed. On systems without this signal, the limits end
    // it.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // If the machine runs out of memory, the kernel kills this process rather than the gateway.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    if order.is_nice {
        // Best effort: the component compiles without it, too. At 19 it would hardly progress on a
        // busy machine.
        let _ = nice(10);
    }
    // SIGXCPU must not leave a core dump.
    limit(Resource::Core, 0, 0)?;
    // On Linux the data limit counts private writable memory. Elsewhere only the address space can
    // be limited, which includes the executable's mapping.
    let memory = if cfg!(target_os = "linux") { Resource::Data } else { Resource::As };
    limit(memory, order.memory, order.memory)?;
    // The soft limit sends SIGXCPU, which tells the parent the cause. The hard limit sends only
    // SIGKILL.
    limit(Resource::Cpu, order.seconds, order.seconds.saturating_add(1))?;
    Ok(())
}

fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    // The gateway may have been started with a lower limit, which cannot be raised.
    let given = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let (current, maximum) = (Some(soft.min(given)), Some(hard.min(given)));
    Ok(setrlimit(resource, Rlimit { current, maximum })?)
}

/// Compiles a component to machine code for engines with these settings. A panic becomes a reply.
pub(super) fn translate(engine: &Engine, component: &[u8]) -> Result<Vec<u8>, Reply> {
    match catch_unwind(AssertUnwindSafe(|| engine.precompile_component(component))) {
        Ok(Ok(code)) => Ok(code),
        Ok(Err(error)) if error.is::<OutOfMemory>() => Err(Reply::OutOfMemory),
        Ok(Err(error)) => Err(Reply::Refused(printable(&format!("{error:#}"), 1_000))),
        Err(_) => Err(Reply::Panicked),
    }
}
