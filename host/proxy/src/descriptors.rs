//! File descriptors: every connection takes one, and every attempt another. Those that are out say that the
//! gateway, not whoever it talks to, has no room for another socket.

use std::error::Error;
use std::fs::File;
use std::io;

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that room is made for at the start, at most: for the connections of the default limits, and the
/// attempts. Each takes 8 bytes of the kernel's memory.
const ROOM: i32 = 32 * 1024;

/// Lets the system make room for as many descriptors as will be used. To be called before there is a second thread.
///
/// The table of a process's descriptors grows by doubling, and where threads share it only after every processor has
/// gone through its scheduler (`synchronize_rcu` in `expand_fdtable` of Linux), for which all wait that open
/// something: 31 ms passed until a first burst of 200 streams, in which it grows from 256 to 512, had its first
/// events, and 12 do where there is room.
pub fn make_room() {
    let room = raise().try_into().map_or(ROOM, |most: i32| most.min(ROOM));
    // The table never shrinks: to use its last number once is enough. Where that fails it grows later, as it must.
    let _ = File::open("/dev/null").map(|file| fcntl_dupfd_cloexec(file, room - 1));
}

/// Lets the process open as many as the system allows, and says how many that are.
///
/// The soft limit is low for the sake of programs that use `select`, which breaks beyond 1024; others
/// are meant to raise it themselves: <https://0pointer.net/blog/file-descriptor-limits.html>.
pub(crate) fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if let Err(error) = &raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let limit = if raised.is_ok() { maximum } else { current };
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Whether a connection could not be made because the system refused another descriptor or buffer
/// (socket(2)).
pub(crate) fn are_exhausted(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        match io.and_then(Errno::from_io_error) {
            Some(error) if is_exhaustion(error) => return true,
            Some(error) if is_of_the_other_side(error) => return false,
            _ => {}
        }
        // What an `io::Error` wraps is not its source.
        cause = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    // The resolver needs descriptors too, and where it had none it leaves whatever error it met last: that
    // of a library which it could not load, say.
    let one_more = File::open("/dev/null");
    one_more.is_err_and(|error| Errno::from_io_error(&error).is_some_and(is_exhaustion))
}

fn is_exhaustion(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

/// What connect(2) says of whom it talked to, or of the way there: it had a socket.
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
