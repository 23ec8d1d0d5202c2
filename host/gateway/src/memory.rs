//! Memory that is free, and that the system does not have back yet.

/// Gives the system the pages back that nothing is on any more: glibc keeps them for what may come, and what a
/// load took does not come again before the next one (`malloc_trim(3)`; with other C libraries nothing happens).
/// Goes through all heaps, each locked meanwhile: not for a thread that serves.
#[allow(unsafe_code)]
pub(crate) fn give_back() {
    // SAFETY: it takes no pointer, touches free memory alone, and locks each heap that it looks at.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}
