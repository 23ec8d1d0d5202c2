//! The answer to a client whose bytes are not a valid request.

use std::fmt;

/// Why a client's bytes are refused. The connection is closed after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// A status of the 400 class.
    pub status: u16,
    /// `code` of the error object.
    pub code: &'static str,
    /// For people to read. Contains nothing that the client sent.
    pub message: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for Refusal {}
