//! Strategies as WebAssembly components. No other crate of the host uses Wasmtime.
//!
//! A strategy is untrusted code. It runs within the memory, stack and time of [`Sandbox`], without
//! files, network or environment, and everything that it returns is checked. A load has these
//! stages, each with its own [`LoadError`]:
//!
//! 1. [`locate`] the component;
//! 2. read it, and check its size and digest;
//! 3. compile it with a [`Compiler`] under limits, or find it compiled in memory or in the
//!    [`Cache`];
//! 4. check its imports against an allow-list, and derive the version from its exports;
//! 5. instantiate and `describe` ([`PluginHost::load`] ends here);
//! 6. the caller checks the parameters against
//!    [`Description::parameters`](contract::Description::parameters);
//! 7. `configure` ([`Opened::configure`]), which gives a [`Plugin`].
//!
//! Every guest call blocks its thread for at most [`Sandbox::call`], and must not be made inside an
//! async runtime. Only the calls of [`Strategy::on_path`](contract::Strategy::on_path) are
//! asynchronous.
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
mod idle;
mod interface;
mod kept;
mod limits;
mod log_quota;
mod logging;
mod machine;
mod meter;
mod path;
mod plugin;
mod recipe;
mod source;
mod system;
mod text;
mod ticker;
mod translate;
mod v0_1_0;
mod v0_2_0;
mod v0_3_0;
mod values;
mod version;

#[cfg(test)]
mod tests;

pub use anatomy::{Anatomy, Import, Parts};
pub use cache::Cache;
pub use compile::{Cancellation, Compiler};
pub use error::{LoadError, LoadStage};
pub use host::{LoadTimes, Opened, PluginHost};
pub use interface::Provider;
pub use plugin::Plugin;
pub use source::{Source, locate, places};
pub use system::System;
pub use text::printable;
pub use translate::{SUBCOMMAND, compile_for_parent};
pub use values::StoreRefusal;
pub use version::AskedSignal;
