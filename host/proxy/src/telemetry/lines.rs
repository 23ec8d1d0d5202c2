//! Standard error, written by a thread of its own: nobody may read it, or its disk may be full.
//!
//! A line goes into a bounded queue. Lines that do not fit, or cannot be written, are dropped and
//! counted, and the log tells their number once it can be written again.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that may wait.
const MOST: usize = 1 << 20;

/// A queue of lines and the state of its writer.
#[derive(Debug)]
pub(super) struct Lines {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// Counts the dropped lines.
    pub(super) dropped: IntCounter,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    lines: u64,
    /// Lines that the writer has taken and not finished.
    writing: bool,
}

impl Lines {
    pub(super) fn new(dropped: IntCounter) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), dropped }
    }

    /// Starts the writer.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub(super) fn start(&'static self, mut to: impl Write + Send + 'static) -> io::Result<()> {
        let run = move || {
            let mut told = 0;
            loop {
                self.write(&mut to, &mut told);
            }
        };
        std::thread::Builder::new().name("log".into()).spawn(run).map(drop)
    }

    /// Waits for lines, and writes them. `told`: how many dropped lines the log has reported.
    fn write(&self, to: &mut impl Write, told: &mut u64) {
        let idle = |waiting: &mut Waiting| waiting.text.is_empty();
        let waiting = self.changed.wait_while(self.lock(), idle);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let (text, lines) = (std::mem::take(&mut waiting.text), waiting.lines);
        (waiting.lines, waiting.writing) = (0, true);
        drop(waiting);
        let written = to.write_all(&text).and_then(|()| to.flush());
        self.lock().writing = false;
        self.changed.notify_all();
        if written.is_err() {
            self.dropped.inc_by(lines);
            return;
        }
        let dropped = self.dropped.get();
        if dropped > *told {
            // The queue has been emptied, so this line finds room.
            let lines = dropped - std::mem::replace(told, dropped);
            tracing::warn!(
                lines,
                "lines of this log were dropped, because it could not be written"
            );
        }
    }

    /// Waits until the lines so far are written, for at most this long. It blocks: for the end of
    /// the process only.
    pub(super) fn flush(&self, longest: Duration) {
        let end = Instant::now() + longest;
        let mut waiting = self.lock();
        while waiting.writing || !waiting.text.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.changed.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes whole lines: the log formats a line before it writes it.
impl Write for &'static Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.lock();
        if waiting.text.len() + line.len() > MOST {
            self.dropped.inc();
        } else {
            waiting.text.extend_from_slice(line);
            waiting.lines += 1;
            drop(waiting);
            self.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for &'static Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Writes only while it is allowed to.
    struct Gate(Receiver<io::Result<()>>, Sender<Vec<u8>>);

    impl Write for Gate {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.recv().unwrap()?;
            self.1.send(text.to_vec()).unwrap();
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log() -> (&'static Lines, Sender<io::Result<()>>, Receiver<Vec<u8>>) {
        let lines: &Lines = Box::leak(Box::new(Lines::new(IntCounter::new("a", "b").unwrap())));
        let ((allow, allowed), (wrote, written)) = (channel(), channel());
        lines.start(Gate(allowed, wrote)).unwrap();
        (lines, allow, written)
    }

    #[test]
    fn a_stuck_output_drops_lines_and_holds_up_nobody() {
        let (mut lines, allow, written) = log();
        let line = vec![b'a'; 1000];
        for _ in 0..10_000 {
            lines.write_all(&line).unwrap();
        }
        let dropped = lines.dropped.get();
        assert!(dropped > 10_000 - 2 * MOST as u64 / 1000 && dropped < 10_000, "{dropped}");
        lines.flush(Duration::from_millis(1));
        allow.send(Ok(())).unwrap();
        allow.send(Ok(())).unwrap();
        lines.flush(Duration::from_secs(20));
        let kept: usize = written.try_iter().map(|text| text.len()).sum();
        assert_eq!(kept as u64 / 1000 + dropped, 10_000, "each line is written or counted");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (mut lines, allow, written) = log();
        lines.write_all(b"one\n").unwrap();
        allow.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        while lines.dropped.get() == 0 {
            std::thread::yield_now();
        }
        lines.write_all(b"two\n").unwrap();
        allow.send(Ok(())).unwrap();
        assert_eq!(written.recv().unwrap(), b"two\n");
        assert_eq!(lines.dropped.get(), 1);
    }
}
