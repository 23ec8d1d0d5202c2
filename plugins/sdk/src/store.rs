//! Small values that outlive an instance. All instances of one strategy share them, over panics and over
//! swaps; they end with the gateway's process. The last writer wins.
//!
//! In a native build there is no gateway: each thread, and so each test, has a store of its own, in
//! which time stands still, so that nothing is ever past its time.

/// Why a value was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The key has more than 128 bytes, or none.
    Key,
    /// The value has more than 4,096 bytes.
    Value,
    /// 4,096 keys, or a mebibyte of keys and values, are in use.
    Full,
}

/// The value of a key. None: never set, removed, or past its time.
#[must_use]
pub fn get(key: &str) -> Option<Vec<u8>> {
    inner::get(key)
}

/// Sets a value, for `ttl` milliseconds, or, without one, until it is removed.
///
/// # Errors
/// It was not kept, for the reason that is given.
pub fn set(key: &str, value: &[u8], ttl: Option<u32>) -> Result<(), Refusal> {
    inner::set(key, value, ttl)
}

/// Removes a key. One that is not there is no error.
pub fn remove(key: &str) {
    inner::remove(key);
}

#[cfg(target_arch = "wasm32")]
use crate::component::values as inner;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::stand_in as inner;
