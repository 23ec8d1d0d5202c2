//! What the two files say, checked.
//!
//! `models.yaml` and `routing.yaml` are read into raw types (serde) that mirror what a user writes, and
//! turned once into the types of this module, which cannot hold a value that makes no sense. All
//! errors of both files are collected; nothing starts on half a configuration.

mod checked;
mod document;

pub use checked::*;
pub use document::Document;
