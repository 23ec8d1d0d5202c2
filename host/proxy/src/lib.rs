//! The data path: listeners, the API, the attempts of a request, the upstream client, and telemetry
//! for operators.
//!
//! ```text
//! server -> api -> attempts -> upstream
//! ```
//!
//! It routes by the snapshot on the [`Board`](fleet::Board), and does not know who published it.

mod api;
mod attempts;
mod buffers;
pub mod descriptors;
mod gateway;
pub mod probe;
mod render;
pub mod scrape;
pub mod server;
pub mod stop;
pub mod telemetry;
mod timeout;
pub mod tls;
mod upstream;
mod vectored;

#[cfg(feature = "bench")]
pub use attempts::bench;
pub use gateway::Gateway;
