//! Returns free memory to the system.

/// Returns free pages to the system with `malloc_trim(3)`. glibc keeps them for later allocations,
/// but the memory of a load is not needed again before the next load. Does nothing with other C
/// libraries. Locks each heap in turn, so it must not run on a serving thread.
#[allow(unsafe_code)]
pub(crate) fn give_back() {
    // SAFETY: the function takes no pointer, touches only free memory, and locks each heap that it
    // visits.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}
