//! Limits on the host resources of one instance.

use wasmtime::ResourceLimiter;

/// Maximum elements of all tables of an instance together. An element is a function pointer of 8
/// bytes.
const TABLE_ELEMENTS: usize = 100_000;
/// Maximum core instances of one component, and maximum tables. Languages that link dynamically use
/// dozens.
const INSTANCES: usize = 100;
/// Maximum linear memories of one component. Each takes address space, but no memory before it is
/// used.
const MEMORIES: usize = 8;

/// Maximum bytes that a guest can pass to the host in one call. The host copies them before it can
/// check them.
pub(super) const TRANSFER: usize = 1 << 20;
/// Maximum random bytes that a guest gets in one call.
pub(super) const RANDOM: u64 = 64 << 10;
/// Maximum host objects (clocks, streams) that a guest can hold at a time.
pub(super) const RESOURCES: usize = 1_000;

/// Counts all memories of an instance together, and all tables together.
pub(super) struct Limiter {
    /// Bytes of linear memory that an instance may have.
    limit: usize,
    /// Bytes of `limit` that are left.
    memory: usize,
    /// Table elements that are left.
    elements: usize,
}

impl Limiter {
    /// `memory` is the limit of linear memory in bytes.
    pub(super) fn new(memory: usize) -> Self {
        Self { limit: memory, memory, elements: TABLE_ELEMENTS }
    }

    /// Linear memory in use, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.limit - self.memory
    }
}

/// Subtracts the growth from `left`. False if there is not enough left.
fn take(left: &mut usize, current: usize, desired: usize, maximum: Option<usize>) -> bool {
    // Growth beyond the object's own maximum fails later, and must not be counted.
    if maximum.is_some_and(|maximum| desired > maximum) {
        return false;
    }
    match left.checked_sub(desired.saturating_sub(current)) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(take(&mut self.memory, current, desired, maximum))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(take(&mut self.elements, current, desired, maximum))
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        INSTANCES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn memories_share_one_limit() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(60, 80, None).unwrap());
        assert!(limiter.memory_growing(0, 20, None).unwrap());
        assert!(!limiter.memory_growing(20, 21, None).unwrap());
        assert_eq!(limiter.memory(), 100);
    }

    #[test]
    fn growth_that_fails_by_itself_costs_nothing() {
        let mut limiter = Limiter::new(100);
        assert!(!limiter.memory_growing(0, 60, Some(10)).unwrap());
        assert!(limiter.memory_growing(0, 100, None).unwrap());
    }
}
