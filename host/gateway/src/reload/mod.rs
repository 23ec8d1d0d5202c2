//! From the files to a plan: read, check, load the strategy, try it; and the same again whenever a
//! file changes. On any error what is in use stays in use.

mod attempt;
mod load;
mod log;
mod seen;
mod strategies;
mod watch;

pub(crate) use attempt::Attempt;
pub use load::{Loaded, Loader, Refused};
pub(crate) use log::open as open_log;
pub use seen::Seen;
pub(crate) use watch::{Reloaded, watch};
