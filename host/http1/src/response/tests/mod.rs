//! Tests of the reader of answers, without sockets.

mod answers;
mod splits;

use crate::oracle::response::{End, Read, read};
