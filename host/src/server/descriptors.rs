//! File descriptors: every connection takes one, and every attempt another.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets the process open as many as the system allows, and says how many that are.
///
/// The soft limit is low for the sake of programs that use `select`, which breaks beyond 1024; others
/// are meant to raise it themselves: <https://0pointer.net/blog/file-descriptor-limits.html>.
pub(super) fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if let Err(error) = &raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let limit = if raised.is_ok() { maximum } else { current };
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
