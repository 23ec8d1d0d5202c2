//! An OpenAI-compatible gateway whose routing strategies are WebAssembly components.

pub mod config;
pub mod decision;
pub mod stub;
