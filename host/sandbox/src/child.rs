//! The gateway's side of the child process that compiles a component.
//!
//! Unlike a compiling thread, a child can be killed, and its memory returns to the system. Its
//! answer is trusted like this executable, because the gateway runs it as machine code.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::compile::Failure;
use super::text::printable;
use super::translate::{LINE, Order, Reply, SUBCOMMAND};

/// Interval at which the parent checks whether the child is still wanted.
const LOOK: Duration = Duration::from_millis(20);
/// Wall time limit as a multiple of the CPU time limit. On a busy machine a child with a fair share
/// of CPU uses up its CPU time before that.
const SHARE: u32 = 30;
/// Bytes kept of the child's standard error.
const WORDS: usize = 4 << 10;

/// Compiles `component` in a child process of `executable`. Blocks until the child ends,
/// `is_unwanted` returns true, or the wall time limit is over.
pub(super) fn compile(
    executable: &Path,
    order: Order,
    component: &[u8],
    is_unwanted: impl Fn() -> bool,
) -> Result<Vec<u8>, Failure> {
    let started = Running::start(executable, order, component);
    let mut running = started.map_err(|error| {
        Failure::Unavailable(format!("{} does not start: {error}", executable.display()))
    })?;
    let patience = Duration::from_secs(order.seconds).saturating_mul(SHARE);
    let begun = Instant::now();
    let status = loop {
        if is_unwanted() {
            return Err(Failure::Canceled);
        }
        if begun.elapsed() > patience {
            return Err(Failure::Starved(patience));
        }
        let status = running.step().map_err(|error| Failure::Crashed(error.to_string()))?;
        if let Some(status) = status {
            break status;
        }
        // A genuine answer fits into the child's memory limit.
        if running.said.len() as u64 > order.memory {
            return Err(Failure::Crashed("its answer has no end".to_owned()));
        }
    };
    running.answer(status)
}

/// A running child. Dropping it kills and reaps the child.
struct Running<'a> {
    child: Child,
    /// None once everything is written, or the child stopped reading.
    input: Option<ChildStdin>,
    /// The unwritten rest of the order, which is sent before the component.
    order: Vec<u8>,
    /// The unwritten rest of the component.
    component: &'a [u8],
    /// None once the child has closed it.
    output: Option<ChildStdout>,
    said: Vec<u8>,
    errors: Option<ChildStderr>,
    words: Vec<u8>,
}

impl<'a> Running<'a> {
    fn start(executable: &Path, order: Order, component: &'a [u8]) -> io::Result<Self> {
        let mut order = serde_json::to_vec(&order)?;
        order.push(b'\n');
        let mut command = Command::new(executable);
        // The gateway's environment holds keys, which a compromised compiler must not see. The
        // process group of its own keeps Ctrl-C from killing the child before the gateway stops.
        command.arg0("gateway").arg(SUBCOMMAND).env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (input, output, errors) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (said, words) = (Vec::new(), Vec::new());
        let running = Self { child, input, order, component, output, said, errors, words };
        // An error from here on drops `running`, which kills the child.
        running.input.as_ref().map(set_nonblocking).transpose()?;
        running.output.as_ref().map(set_nonblocking).transpose()?;
        running.errors.as_ref().map(set_nonblocking).transpose()?;
        Ok(running)
    }

    /// Waits at most [`LOOK`] until a pipe is ready, and transfers as much as possible without
    /// blocking. Returns the status once the child has ended.
    fn step(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.output.is_none() && self.errors.is_none() {
            // The child has closed both pipes and is about to end.
            let status = self.child.try_wait()?;
            if status.is_none() {
                std::thread::sleep(LOOK);
            }
            return Ok(status);
        }
        self.wait()?;
        self.write()?;
        read(&mut self.output, &mut self.said, usize::MAX)?;
        read(&mut self.errors, &mut self.words, WORDS)?;
        Ok(None)
    }

    /// Waits at most [`LOOK`] until one of the pipes is ready.
    fn wait(&self) -> io::Result<()> {
        let mut pipes = Vec::with_capacity(3);
        pipes.extend(self.input.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        pipes.extend(self.output.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        pipes.extend(self.errors.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
        match poll(&mut pipes, Some(&limit)) {
            Err(error) if error != rustix::io::Errno::INTR => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Writes as much input as the pipe takes without blocking.
    fn write(&mut self) -> io::Result<()> {
        while let Some(pipe) = &mut self.input {
            let rest = if self.order.is_empty() { self.component } else { &self.order };
            if rest.is_empty() {
                self.input = None;
                break;
            }
            match pipe.write(rest) {
                Ok(written) if self.order.is_empty() => self.component = &self.component[written..],
                Ok(written) => drop(self.order.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The child stopped reading. Its exit status says why.
                Err(_) => self.input = None,
            }
        }
        Ok(())
    }

    /// Parses the answer of a child that has ended.
    fn answer(mut self, status: ExitStatus) -> Result<Vec<u8>, Failure> {
        if !status.success() {
            return Err(self.failure(status));
        }
        let end = self.said.iter().take(LINE as usize).position(|byte| *byte == b'\n');
        let line = &self.said[..end.unwrap_or(0)];
        let reply: Reply = serde_json::from_slice(line)
            .map_err(|_| Failure::Crashed("its answer is malformed".to_owned()))?;
        self.said.drain(..=line.len());
        match reply {
            Reply::Compiled(length) if length == self.said.len() as u64 => {
                Ok(std::mem::take(&mut self.said))
            }
            refusal => Err(refusal.into()),
        }
    }

    /// Derives the cause from the status and the standard error of a child that failed.
    fn failure(&self, status: ExitStatus) -> Failure {
        let words = String::from_utf8_lossy(&self.words);
        let last = printable(words.trim_end().lines().last().unwrap_or_default(), 300);
        let is = |signal: Signal| status.signal() == Some(signal.as_raw());
        if is(Signal::XCPU) {
            return Failure::OutOfTime;
        }
        // The standard library prints this before it aborts.
        if is(Signal::ABORT) && words.contains("memory allocation of") {
            return Failure::OutOfMemory;
        }
        if is(Signal::KILL) {
            return Failure::Unavailable(
                "it was killed, perhaps because the machine is out of memory".to_owned(),
            );
        }
        let separator = if last.is_empty() { "" } else { ": " };
        Failure::Crashed(format!("it ended with {status}{separator}{last}"))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Both do nothing if the child was already reaped, and cannot fail for a running one.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_nonblocking(pipe: &impl AsFd) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(pipe, true)?)
}

/// Reads from the pipe without blocking. Appends to `to` until it has `most` bytes, and discards
/// the rest.
fn read(pipe: &mut Option<impl Read>, to: &mut Vec<u8>, most: usize) -> io::Result<()> {
    let Some(from) = pipe else { return Ok(()) };
    let mut chunk = [0; 64 << 10];
    match from.read(&mut chunk) {
        Ok(0) => *pipe = None,
        Ok(length) => to.extend_from_slice(&chunk[..length.min(most.saturating_sub(to.len()))]),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
