//! Reads upstream answers: whether there is content yet ([`commit`]), how many tokens were used
//! ([`usage`]), and which model is named ([`rename`]). Works on bytes and does no I/O.

pub mod commit;
pub mod rename;
pub mod usage;

#[cfg(any(test, fuzzing))]
pub use commit::oracle;
pub use usage::Usage;
