//! The gateway's log.
//!
//! Messages are cut at 1,024 bytes, and those past the 100th of one call are dropped. In a native build there is
//! no gateway: tests see what was written with [`testing::logged`](crate::testing::logged).

/// How much an operator wants to know of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Of interest to the strategy's author.
    Debug,
    /// What happens in ordinary times.
    Info,
    /// Something to look at.
    Warn,
    /// Something to act on.
    Error,
}

/// Writes a message for the author.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Writes a message about ordinary events.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Writes a message about something to look at.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Writes a message about something to act on.
pub fn error(message: &str) {
    write(Level::Error, message);
}

#[cfg(target_arch = "wasm32")]
use crate::component::log as write;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::stand_in::log as write;
