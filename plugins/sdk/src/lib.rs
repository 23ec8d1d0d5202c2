//! Write a routing strategy for the gateway in Rust.
//!
//! A strategy is a type that implements [`Strategy`], and [`RequestStrategy`] where it wants to see each
//! request; [`export!`] makes a WebAssembly component of it, for the contract `wit/0.2.0`. It sees
//! numbers and names, never a prompt, a URL or a key, and has no files, no network, no clock and no
//! random numbers: the gateway draws by the weights it is given.
//!
//! ```
//! use std::time::Duration;
//!
//! use gateway_strategy::parameters::Fraction;
//! use gateway_strategy::{Deployment, Place, Request, RequestStrategy, Strategy, Weights};
//!
//! /// `routing_parameter`. The comments are what an operator's editor shows.
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields, default)]
//! pub struct Parameters {
//!     /// What a remote deployment counts beside a local one that is as busy.
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
//!     // It weighs live numbers, so `assign` is to be called every second.
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
//!     /// A request whose answer somebody watches stays local, where that can be.
//!     fn assign_request(
//!         &mut self,
//!         request: &Request,
//!         local: &[Deployment],
//!         remote: &[Deployment],
//!     ) -> Weights {
//!         let weights = self.assign(local, remote);
//!         if request.stream { weights.sides(1.0) } else { weights }
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
//! // Good answers to whatever the gateway may ask, the same ones from every instance.
//! testing::check_requests::<LeastBusy>("{}");
//! ```
//!
//! `Cargo.toml` has `crate-type = ["cdylib", "rlib"]` under `[lib]`, this crate, `serde` (with `derive`)
//! and `schemars`. Then `cargo test` tests it as any Rust, and `cargo build --release --target wasm32-wasip2`
//! builds the component.
//!
//! # Answers
//!
//! [`Weights`] are drawn from without replacement: the first is the choice, the others the order of fallback.
//! A strategy that has an *order* in mind gives steeply falling weights ([`Order::steep`]): the draw then all
//! but always is that order. A weight of 0 is not the end of an order but standby: used after all others, in
//! random order, and not at all where `fallback.standby` is `never`.

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component;
mod export;
pub mod hash;
pub mod log;
mod order;
pub mod parameters;
mod rendezvous;
pub mod store;
mod strategy;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod types;

pub use order::{Order, STEP, squash};
pub use parameters::NoParameters;
pub use rendezvous::{Bound, Rendezvous};
pub use strategy::{Learning, RequestStrategy, Strategy};
pub use types::{Attempt, Deployment, Ending, Needs, Place, Price, Request, Side, Weights};
