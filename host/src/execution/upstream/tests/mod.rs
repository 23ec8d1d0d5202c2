//! The reader of answers without sockets, and the pool.

#![allow(clippy::unwrap_used)]

mod answers;
mod pool;
mod splits;

use super::fuzzing::{End, Read, read};
