//! The strategy `local-first`: all traffic to local deployments, remote ones on standby.
//!
//! [`policy`] is the whole decision and knows nothing of WebAssembly, so that it is tested as any
//! Rust is. `component` exports it, and exists only in a WebAssembly build.

#[cfg(target_arch = "wasm32")]
mod component;
pub mod policy;
