//! Write a routing strategy for the gateway in Rust.
//!
//! A strategy is a type that implements [`Strategy`], and [`RequestStrategy`] if it decides for
//! each request. [`export!`] makes a WebAssembly component of it, for the contract `wit/0.3.0-draft`.
//! A strategy sees numbers and names, never a prompt, a URL or a key. It has no files and no network;
//! time and chance come from the gateway ([`clock`]), or from a simulator.
//!
//! ```
//! use std::time::Duration;
//!
//! use gateway_strategy::parameters::Fraction;
//! use gateway_strategy::{
//!     Deployment, Place, Request, RequestStrategy, Strategy, Verdict, Weights,
//! };
//!
//! /// `routing_parameter`. The comments become the descriptions in the schema.
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields, default)]
//! pub struct Parameters {
//!     /// The weight of a remote deployment relative to a local one with the same load.
//!     remote: Fraction,
//! }
//!
//! impl Default for Parameters {
//!     fn default() -> Self {
//!         Self { remote: Fraction::percent(50) }
//!     }
//! }
//!
//! pub struct LeastBusy {
//!     remote: f64,
//!     places: Vec<Place>,
//! }
//!
//! impl Strategy for LeastBusy {
//!     const SUMMARY: &'static str = "Less traffic to deployments that have more to do";
//!     // The load changes, so the gateway calls `assign` every second.
//!     const REFRESH: Option<Duration> = Some(Duration::from_secs(1));
//!
//!     type Parameters = Parameters;
//!
//!     fn configure(parameters: Parameters, places: Vec<Place>) -> Result<Self, String> {
//!         Ok(Self { remote: parameters.remote.get(), places })
//!     }
//!
//!     fn assign(&mut self, local: &[Deployment], remote: &[Deployment]) -> Weights {
//!         let spare = |one: &Deployment| 1.0 / (1.0 + one.load(self.places[one.place()].capacity));
//!         let mut weights = Weights::each(local, remote, spare);
//!         weights.remote.iter_mut().for_each(|weight| *weight *= self.remote);
//!         weights.or_even()
//!     }
//! }
//!
//! impl RequestStrategy for LeastBusy {
//!     /// Streamed requests stay local while there is a local deployment.
//!     fn assign_request(
//!         &mut self,
//!         request: &Request,
//!         local: &[Deployment],
//!         remote: &[Deployment],
//!     ) -> Verdict {
//!         let weights = self.assign(local, remote);
//!         if request.stream { weights.sides(1.0).into() } else { weights.into() }
//!     }
//! }
//!
//! gateway_strategy::export!(LeastBusy, request);
//!
//! // In `#[test]` functions:
//! use gateway_strategy::testing::{self, Fleet};
//!
//! let fleet = Fleet::new().local("gpu").capacity(4).in_flight(4).remote("api");
//! let mut strategy: LeastBusy = fleet.configure("{}");
//! assert_eq!(fleet.ask(&mut strategy), [0.5, 0.5]);
//! let streamed = Request { stream: true, ..Request::default() };
//! assert_eq!(fleet.ask_for(&mut strategy, &streamed), [1.0, 0.0]);
//!
//! let refused = testing::configured::<LeastBusy>(r#"{"remote": 2}"#, fleet.places).err();
//! assert_eq!(refused.unwrap(), "`remote`: 2 is not a number from 0 to 1");
//! // Asks about generated fleets: every answer must be good, and the same from every instance.
//! testing::check_requests::<LeastBusy>("{}");
//! ```
//!
//! `Cargo.toml` needs `crate-type = ["cdylib", "rlib"]` under `[lib]`, and the dependencies
//! `schemars`, `serde` (with `derive`) and this crate. `cargo test` tests the strategy natively.
//! `cargo build --release --target wasm32-wasip2` builds the component.
//!
//! # Answers
//!
//! The gateway draws by [`Weights`] without replacement. The first one drawn gets the request, the
//! others are its fallbacks. For a fixed *order*, give steeply falling weights ([`Order::steep`]):
//! the draw follows it all but always. A weight of 0 is standby: used last, in random order, and
//! never if `fallback.standby` is `never`.

pub mod clock;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component;
mod export;
pub mod hash;
pub mod log;
#[cfg(any(target_arch = "wasm32", test))]
#[allow(unsafe_code, reason = "an allocator hands out addresses")]
mod memory;
mod order;
pub mod pacing;
pub mod parameters;
mod rendezvous;
mod signals;
pub mod store;
mod strategy;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod types;
mod verdict;
mod weights;

/// The allocator of every component that is made with this crate.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static BLOCKS: memory::Blocks = memory::Blocks::new();

pub use order::{Order, STEP, squash};
pub use parameters::NoParameters;
pub use rendezvous::{Bound, Rendezvous};
pub use signals::{Signal, Signals, ask};
pub use strategy::{Learning, RequestStrategy, Strategy};
pub use types::{
    Attempt, Condition, Deployment, Ending, Modalities, Needs, Place, Price, Request, Side,
};
pub use verdict::{Hedge, Plan, Tiers, Verdict, WhenFull};
pub use weights::Weights;
