//! Memory that is free, and that the system does not have back yet.

/// Gives the system the pages back that nothing is on any more: glibc keeps them for what may come, and what a strategy was
/// compiled in does not come again before the next reload (`malloc_trim(3)`; a no-op with other C libraries).
/// Takes about a millisecond, for which no other thread can allocate: not for a thread that serves.
#[allow(unsafe_code)]
pub(crate) fn give_back() {
    // SAFETY: it takes no pointer, touches free memory alone, and locks each heap that it looks at.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}
