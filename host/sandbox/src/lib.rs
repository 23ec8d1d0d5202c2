//! Strategies as WebAssembly components: the only module that names wasmtime.
//!
//! A strategy is code from somewhere else, so nothing here believes it. It gets memory, stack and
//! time within [`Sandbox`], no files, no network, no environment, and its answers are only numbers.
//! Loading is a list of stages, each with its own [`LoadError`]:
//!
//! 1. [`locate`]: which bytes are meant;
//! 2. size and digest;
//! 3. compile, by a [`Compiler`] under limits, or find it compiled in the [`Cache`];
//! 4. imports against an allow-list, version from the exports;
//! 5. instantiate and `describe` ([`PluginHost::load`] ends here);
//! 6. the caller checks the parameters against [`Description::parameters`](contract::Description::parameters);
//! 7. `configure` ([`Opened::configure`]), which gives a [`Plugin`].
//!
//! Every call blocks its thread for at most [`Sandbox::call`]; none may be made from inside an
//! async runtime. Only what [`Strategy::on_path`](contract::Strategy::on_path) gives may.
//!
//! [`Sandbox`]: config::Sandbox
//! [`Sandbox::call`]: config::Sandbox::call

mod anatomy;
mod breaker;
mod builtin;
mod cache;
mod child;
mod compile;
mod deadline;
mod describe;
mod error;
mod guest;
mod host;
mod interface;
mod kept;
mod limits;
mod logging;
mod machine;
mod path;
mod recipe;
mod source;
mod text;
mod ticker;
mod translate;
mod v0_1_0;
mod v0_2_0;
mod values;
mod version;

#[cfg(test)]
mod tests;

pub use anatomy::{Anatomy, Import, Parts};
pub use cache::Cache;
pub use compile::{Cancellation, Compiler};
pub use error::{LoadError, LoadStage};
pub use host::{LoadTimes, Opened, Plugin, PluginHost, Role};
pub use interface::Provider;
pub use source::{Source, locate, places};
pub use text::printable;
pub use translate::{SUBCOMMAND, compile_for_parent};
