//! Loads a configuration: reads and checks the files, loads the strategies, and tries the plan.
//! Repeats this whenever a file changes. After an error the configuration in use stays.

mod load;
mod loading;
mod log;
mod seen;
mod strategies;
mod vault;
mod watch;

pub use load::{Loaded, Loader, Refused};
pub(crate) use loading::Loading;
pub(crate) use log::open as open_log;
pub use seen::Seen;
pub(crate) use vault::file_of_user;
pub(crate) use watch::{Reloaded, watch};
