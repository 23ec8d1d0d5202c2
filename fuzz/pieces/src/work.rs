//! Counts the bytes that scanners read, so that tests can bound the work by a multiple of the
//! input.
//!
//! A scanner calls [`count`] once for each stretch that it reads. Outside of tests and fuzzing the crates compile
//! the calls away.

use std::cell::Cell;

thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Adds the length of a stretch that is read.
pub fn count(bytes: usize) {
    BYTES.set(BYTES.get() + bytes);
}

/// Runs `scan`. Returns its result, and the number of bytes that scanners read on this thread
/// meanwhile.
pub fn of<T>(scan: impl FnOnce() -> T) -> (T, usize) {
    let before = BYTES.get();
    let done = scan();
    (done, BYTES.get() - before)
}

/// Runs `scan`, and checks its work: at most `factor` bytes read per byte of input, plus `each`
/// bytes per call of `count`.
///
/// # Panics
/// If they look at more.
pub fn bounded<T>(
    factor: usize,
    input: usize,
    (calls, each): (usize, usize),
    scan: impl FnOnce() -> T,
) -> T {
    let (done, work) = of(scan);
    let most = factor * input + each * calls;
    assert!(
        work <= most,
        "{work} bytes were looked at for {input} in {calls} calls: more than {most}"
    );
    done
}
