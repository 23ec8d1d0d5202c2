//! Tests that load strategies into their own process.
//!
//! A binary of its own, so that the end-to-end tests link neither Wasmtime nor the strategies.

mod components;
mod components_0_1_0;
mod components_0_2_0;
mod generated_guests;
mod host;
