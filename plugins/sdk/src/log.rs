//! The gateway's log.
//!
//! The gateway cuts messages at 1,024 bytes, and drops those past the 100th of one call. In native
//! builds, tests read the messages with [`testing::logged`](crate::testing::logged).

/// The severity of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the strategy's author.
    Debug,
    /// An ordinary event.
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
