//! What is said to a client whose bytes are no request that could be answered.

use std::fmt;

/// Why bytes of a client go no further. The connection ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// A status of the 400 class.
    pub status: u16,
    /// `code` of the error object.
    pub code: &'static str,
    /// For people. Holds nothing that the client sent.
    pub message: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for Refusal {}
