//! What the C library's allocator keeps, and when.

/// Room that the heap of a thread is given at first, in bytes, and in what pieces: larger ones come from the system
/// (`M_MMAP_THRESHOLD`, 128 KiB).
const ROOM: usize = 4 << 20;
const PIECE: usize = 64 << 10;

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

/// Lets the heap of this thread grow by as much as the connections of a first burst need without a word to the
/// system. glibc asks for a heap's pages as they are first needed, few at a time, and each time with an
/// mprotect(2): a twentieth of what 200 streams at once took. What was never touched takes no memory.
pub(crate) fn make_room() {
    let room: Vec<Vec<u8>> = (0..ROOM / PIECE).map(|_| Vec::with_capacity(PIECE)).collect();
    // Never used: else it would not be made.
    std::hint::black_box(room);
}
