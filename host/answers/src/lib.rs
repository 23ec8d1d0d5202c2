//! Reads upstream answers: whether there is content yet ([`commit`]), how many tokens were used
//! ([`usage`]), which model is named ([`rename`]), and what an error means ([`refusal`]). Also the
//! load that engines tell: [`exposition`] and [`load_report`]. Works on bytes and does no I/O.

pub mod commit;
pub mod exposition;
pub mod load_report;
mod protobuf;
pub mod refusal;
pub mod rename;
pub mod usage;

#[cfg(any(test, fuzzing))]
use pieces::work::count;

/// Counts the bytes that scanners read, in tests and fuzz targets only.
#[cfg(not(any(test, fuzzing)))]
#[inline(always)]
fn count(_bytes: usize) {}

#[cfg(any(test, fuzzing))]
pub use commit::oracle;
pub use usage::Usage;
