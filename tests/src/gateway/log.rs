//! The output of a process.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::DEADLINE;

/// The output of a process, kept as it comes.
#[derive(Debug, Clone)]
pub struct Log(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    ended: bool,
}

impl Log {
    /// Reads `source` to its end on a thread of its own.
    #[must_use]
    pub fn follow(mut source: impl Read + Send + 'static) -> Self {
        let log = Self(Arc::default());
        let writer = log.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(read @ 1..) = source.read(&mut chunk) {
                writer.kept().bytes.extend_from_slice(&chunk[..read]);
            }
            writer.kept().ended = true;
        });
        log
    }

    /// All of it so far.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept().bytes).into_owned()
    }

    /// All of it, once the process has ended.
    pub(super) fn text_at_end(&self) -> String {
        let start = Instant::now();
        while !self.kept().ended && start.elapsed() < DEADLINE {
            std::thread::yield_now();
        }
        self.text()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
