//! The child process that compiles one component: what `gateway compile-strategy` does.
//!
//! The parent writes an [`Order`], one line of JSON, and the component to standard input. The child writes a
//! [`Reply`], one line of JSON, and the machine code to standard output. The child limits its own CPU time and
//! memory before it reads the component, so that a hostile component costs the machine no more than that.

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

/// The subcommand of the executable that a parent starts.
pub const SUBCOMMAND: &str = "compile-strategy";
/// Bytes of the longest line.
pub(super) const LINE: u64 = 16 << 10;

/// What the parent asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    /// Bytes of the component, which follows.
    pub(super) component: u64,
    /// Bytes of the stack of the guest's calls.
    pub(super) stack: usize,
    /// Seconds of CPU time.
    pub(super) seconds: u64,
    /// Bytes of memory.
    pub(super) memory: u64,
    /// Whether traffic goes before it.
    pub(super) is_nice: bool,
}

/// What the child answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reply {
    /// So many bytes of machine code follow.
    Compiled(u64),
    /// The compiler refuses the component, in its own words.
    Refused(String),
    /// The compiler panicked.
    Panicked,
    /// The compiler ran out of memory.
    OutOfMemory,
    /// The child could not get ready.
    Unready(String),
}

/// Does what the parent asks on `input`, and answers on `output`.
///
/// # Errors
/// The input is not that of a parent, or the parent is gone.
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

/// The machine code, or why there is none.
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

/// Sets the limits of this process, which no later code can raise.
fn confine(order: &Order) -> io::Result<()> {
    // A parent that is killed leaves nothing behind. Not all systems have it; there the limits end the child.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // Where the machine is out of memory the kernel ends this process, not the gateway.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    if order.is_nice {
        // A courtesy: without it the component still compiles. At 19 it would hardly get on where the machine is
        // busy.
        let _ = nice(10);
    }
    // The end for its CPU time is no crash to be kept on disk.
    limit(Resource::Core, 0, 0)?;
    // Linux counts the memory that a process can write to; elsewhere there are only its addresses, the executable's
    // included.
    let memory = if cfg!(target_os = "linux") { Resource::Data } else { Resource::As };
    limit(memory, order.memory, order.memory)?;
    // The soft limit sends SIGXCPU, which tells the parent why; the hard one only SIGKILL.
    limit(Resource::Cpu, order.seconds, order.seconds.saturating_add(1))?;
    Ok(())
}

fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    // Whoever started the gateway may have set less.
    let given = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let (current, maximum) = (Some(soft.min(given)), Some(hard.min(given)));
    Ok(setrlimit(resource, Rlimit { current, maximum })?)
}

/// From a component to machine code for engines like this one.
pub(super) fn translate(engine: &Engine, component: &[u8]) -> Result<Vec<u8>, Reply> {
    match catch_unwind(AssertUnwindSafe(|| engine.precompile_component(component))) {
        Ok(Ok(code)) => Ok(code),
        Ok(Err(error)) if error.is::<OutOfMemory>() => Err(Reply::OutOfMemory),
        Ok(Err(error)) => Err(Reply::Refused(printable(&format!("{error:#}"), 1_000))),
        Err(_) => Err(Reply::Panicked),
    }
}
