//! Small values that outlive an instance. All instances of a strategy share them. They survive
//! panics and swaps, and end with the gateway's process. The last writer wins.
//!
//! In a native build there is no gateway. Each thread, and so each test, has a store of its own.
//! Time stands still in it, so no value expires.

/// Why the store refused a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The key is empty, or longer than 128 bytes.
    Key,
    /// The value is longer than 4,096 bytes. In [`add`]: it is not a number of 8 bytes.
    Value,
    /// The store holds 4,096 keys, or 1 MiB of keys and values.
    Full,
    /// The key has another value than was expected.
    Other,
}

/// The value of a key. None: never set, removed, or expired.
#[must_use]
pub fn get(key: &str) -> Option<Vec<u8>> {
    inner::get(key)
}

/// Sets a value for `ttl` milliseconds. Without a `ttl` it stays until it is removed.
///
/// # Errors
/// The store refused the value.
pub fn set(key: &str, value: &[u8], ttl: Option<u32>) -> Result<(), Refusal> {
    inner::set(key, value, ttl)
}

/// Sets a value if the key still has the value `old`. None: if it has none.
///
/// # Errors
/// [`Refusal::Other`] if the value is another, or the store refused it.
pub fn compare_and_set(
    key: &str,
    old: Option<&[u8]>,
    value: &[u8],
    ttl: Option<u32>,
) -> Result<(), Refusal> {
    inner::compare_and_set(key, old, value, ttl)
}

/// Adds to a number and returns the sum, which wraps around. A key without a value is 0. The value is
/// the number's 8 bytes, the lowest first. A time that was set for it stays.
///
/// # Errors
/// The store refused the value, or it is no such number.
pub fn add(key: &str, delta: i64) -> Result<i64, Refusal> {
    inner::add(key, delta)
}

/// Removes a key. A missing key is no error.
pub fn remove(key: &str) {
    inner::remove(key);
}

#[cfg(target_arch = "wasm32")]
use crate::component::values as inner;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::stand_in as inner;
