//! The access log: one JSON line per request, written by a thread of its own.
//!
//! A request puts its line into a bounded buffer and goes on. If the disk is full or slow, lines
//! are dropped and counted. No request ever waits for the log.
//!
//! A few milliseconds after its first line, the whole buffer is written in one call. A request
//! needs four system calls. Waking a thread and writing for every line took two or three more, and
//! yet more if the file is in a watched folder.

#[cfg(test)]
mod documented;
mod line;
mod record;

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use prometheus::IntCounter;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use config::LogOutput;

pub use record::{AttemptRecord, Record};

/// Bytes of lines that may wait for the writer.
const MOST: usize = 4 << 20;
/// How long the first line waits for others.
const GATHER: Duration = Duration::from_millis(10);

thread_local! {
    /// Memory for the line being built, kept from line to line.
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The access log in use, if any. A reload may change it. A line goes to the log that is in use
/// when its request ends.
#[derive(Debug, Default)]
pub struct Logging(ArcSwapOption<(LogOutput, AccessLog)>);

impl Logging {
    /// Logs to `output` from now on. None: no log. `dropped` counts lost lines.
    ///
    /// # Errors
    /// If the output cannot be opened. The log then stays as it was.
    pub fn change(&self, output: Option<&LogOutput>, dropped: &IntCounter) -> io::Result<()> {
        let is_same = |log: &Arc<(LogOutput, AccessLog)>| Some(&log.0) == output;
        if self.0.load().as_ref().is_some_and(is_same) {
            return Ok(());
        }
        let start = |output: &LogOutput| {
            let log = AccessLog::start(output, dropped.clone())?;
            Ok::<_, io::Error>(Arc::new((output.clone(), log)))
        };
        self.0.store(output.map(start).transpose()?);
        Ok(())
    }

    /// The log, if there is one.
    #[must_use]
    pub fn log(&self) -> Option<AccessLog> {
        self.0.load().as_ref().map(|log| log.1.clone())
    }

    /// Writes one line, if there is a log: see [`AccessLog::write`].
    pub fn write<'a>(
        &self,
        record: &Record<'_>,
        attempts: impl Iterator<Item = AttemptRecord<'a>>,
    ) {
        if let Some(log) = self.0.load().as_ref() {
            log.1.write(record, attempts);
        }
    }
}

/// A handle of the writer. The writer ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct AccessLog {
    last: Arc<Last>,
    dropped: IntCounter,
}

/// Ends the writer when the last handle is dropped.
#[derive(Debug)]
struct Last(Arc<Shared>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.tell(|waiting| waiting.closed = true);
    }
}

/// The state that requests and the writer share.
#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    told: Condvar,
}

/// The work that waits for the writer.
#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    count: u64,
    reopen: bool,
    flushes: Vec<SyncSender<()>>,
    closed: bool,
}

impl Waiting {
    /// Whether the writer must not wait for more lines.
    fn is_urgent(&self) -> bool {
        self.reopen || self.closed || !self.flushes.is_empty()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, what: impl FnOnce(&mut Waiting)) {
        what(&mut self.lock());
        self.told.notify_one();
    }

    /// Waits for work, gathers more lines for a moment, and takes all of it.
    fn next(&self) -> Waiting {
        let idle = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.is_urgent();
        let waiting = self.told.wait_while(self.lock(), idle);
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let gather = |waiting: &mut Waiting| !waiting.is_urgent() && waiting.lines.len() < MOST / 2;
        let gathered = self.told.wait_timeout_while(waiting, GATHER, gather);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting)
    }
}

impl AccessLog {
    /// Opens the output and starts the writer.
    ///
    /// # Errors
    /// If the file cannot be opened for appending.
    pub fn start(output: &LogOutput, dropped: IntCounter) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let (output, counter) = (Output::open(output.clone())?, dropped.clone());
        let inbox = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write(&inbox, output, &counter))?;
        Ok(Self { last: Arc::new(Last(shared)), dropped })
    }

    /// Queues one line, or drops and counts it. `attempts` are all attempts in order, and every
    /// deployment that had no place for the request.
    pub fn write<'a>(
        &self,
        record: &Record<'_>,
        attempts: impl Iterator<Item = AttemptRecord<'a>>,
    ) {
        // While a thread ends its buffer may be gone.
        let mut line = LINE.try_with(Cell::take).unwrap_or_default();
        line::write(&mut line, record, attempts);
        self.queue(&line);
        line.clear();
        let _ = LINE.try_with(|kept| kept.set(line));
    }

    fn queue(&self, line: &[u8]) {
        let shared = &self.last.0;
        let mut waiting = shared.lock();
        if waiting.lines.len() + line.len() > MOST {
            return self.dropped.inc();
        }
        let is_first = waiting.lines.is_empty();
        let was_less = waiting.lines.len() < MOST / 2;
        waiting.lines.extend_from_slice(line);
        waiting.count += 1;
        let is_half_full = was_less && waiting.lines.len() >= MOST / 2;
        drop(waiting);
        if is_first || is_half_full {
            shared.told.notify_one();
        }
    }

    /// Reopens the file after a rotation renamed it.
    pub fn reopen(&self) {
        self.last.0.tell(|waiting| waiting.reopen = true);
    }

    /// Waits until every line queued so far is written, for at most 2 s. It blocks: for the end of
    /// the process only.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        self.last.0.tell(|waiting| waiting.flushes.push(done));
        // On an error the writer is gone or stuck: there is nothing to wait for.
        let _ = wait.recv_timeout(Duration::from_secs(2));
    }
}

fn write(shared: &Shared, mut output: Output, dropped: &IntCounter) {
    loop {
        let Waiting { lines, count, reopen, flushes, closed } = shared.next();
        if !lines.is_empty() && output.write(&lines).is_err() {
            dropped.inc_by(count);
        }
        if reopen && let Err(error) = output.reopen() {
            tracing::error!(%error, "the access log could not be reopened");
        }
        for done in flushes {
            // The receiver may have given up waiting.
            let _ = done.send(());
        }
        if closed {
            return;
        }
    }
}

/// Opens a file for appending, or a FIFO that has a reader. Without one it fails at once.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path)?;
    // The writer has a thread of its own, which may wait.
    let flags = fcntl_getfl(&file)?;
    fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

struct Output {
    to: LogOutput,
    file: Option<File>,
}

impl Output {
    fn open(to: LogOutput) -> io::Result<Self> {
        let file = match &to {
            LogOutput::Stdout => None,
            LogOutput::File(path) => Some(open(path)?),
        };
        Ok(Self { to, file })
    }

    fn reopen(&mut self) -> io::Result<()> {
        *self = Self::open(self.to.clone())?;
        Ok(())
    }

    /// Writes whole lines in one call, so that lines of several processes do not mix.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(lines),
            None => {
                let mut out = io::stdout();
                out.write_all(lines)?;
                out.flush()
            }
        }
    }
}
