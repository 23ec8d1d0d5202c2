//! From the files to a plan: read, check, load the strategy, try it; and the same again whenever a
//! file changes. On any error what is in use stays in use.

mod load;
mod log;
mod seen;
mod strategies;
mod watch;

pub use load::{Loaded, Loader, Refused};
pub(crate) use log::open as open_log;
pub use seen::Seen;
pub(crate) use watch::watch;
