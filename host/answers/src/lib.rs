//! What an answer says: whether it has content yet ([`commit`]), which tokens it used ([`usage`]), and
//! which model it names ([`rename`]). Functions of bytes, without a socket.

pub mod commit;
pub mod rename;
pub mod usage;

#[cfg(any(test, fuzzing))]
pub use commit::oracle;
pub use usage::Usage;
