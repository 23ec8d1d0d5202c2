//! File descriptors. Every connection takes one, and every attempt another. Without free ones the
//! gateway has no room for another socket. Its peers are not at fault.

use std::error::Error;
use std::fs::File;
use std::io;

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most descriptors that room is made for at the start: enough for the connections of the default
/// limits and their attempts. Each takes 8 bytes of kernel memory.
const ROOM: i32 = 32 * 1024;

/// Grows the process's table of descriptors to the size that it will need. Must be called before
/// there is a second thread.
///
/// The table grows by doubling. If threads share it, growing waits until every processor has gone
/// through its scheduler (`synchronize_rcu` in `expand_fdtable` of Linux), and every thread that
/// opens something waits too. A first burst of 200 streams grows the table from 256 to 512: its
/// first events took 31 ms, and take 12 ms with room made before.
pub fn make_room() {
    let room = raise().try_into().map_or(ROOM, |most: i32| most.min(ROOM));
    // The table never shrinks, so using its last number once is enough. If this fails, it grows
    // later.
    let _ = File::open("/dev/null").map(|file| fcntl_dupfd_cloexec(file, room - 1));
}

/// Raises the limit of open files to what the system allows, and returns it.
///
/// The soft limit is low because programs that use `select` break beyond 1024. Other programs are
/// meant to raise it: <https://0pointer.net/blog/file-descriptor-limits.html>.
pub(crate) fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if let Err(error) = &raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let limit = if raised.is_ok() { maximum } else { current };
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Whether a connection failed because the system refused another descriptor or buffer: see
/// socket(2).
pub(crate) fn are_exhausted(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        match io.and_then(Errno::from_io_error) {
            Some(error) if is_exhaustion(error) => return true,
            Some(error) if is_of_the_other_side(error) => return false,
            _ => {}
        }
        // `source` of an `io::Error` skips the error that it wraps.
        cause = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    // The resolver needs descriptors too. Without a free one it reports the error that it met last,
    // such as a library that it could not load. So this tries to open one more.
    let one_more = File::open("/dev/null");
    one_more.is_err_and(|error| Errno::from_io_error(&error).is_some_and(is_exhaustion))
}

fn is_exhaustion(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

/// Errors of connect(2) about the peer or the network: there was a socket.
fn is_of_the_other_side(error: Errno) -> bool {
    use Errno as E;
    matches!(error, E::CONNREFUSED | E::CONNRESET | E::TIMEDOUT | E::HOSTUNREACH | E::NETUNREACH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_said_decides_however_deep_it_is_wrapped() {
        let wrapped = |error: Errno| io::Error::other(io::Error::from(error));
        assert!(are_exhausted(&wrapped(Errno::MFILE)));
        assert!(!are_exhausted(&wrapped(Errno::CONNREFUSED)));
        assert!(!are_exhausted(&wrapped(Errno::NOENT)), "there are descriptors");
        assert!(!are_exhausted(&io::Error::other("no such name")), "there are descriptors");
    }
}
