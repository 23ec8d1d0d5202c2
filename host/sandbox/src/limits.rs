//! What one instance may take of the host.

use wasmtime::ResourceLimiter;

/// Elements of all tables of an instance together: function pointers, 8 bytes each.
const TABLE_ELEMENTS: usize = 100_000;
/// Core instances, and tables, of one component: languages that link dynamically use dozens.
const INSTANCES: usize = 100;
/// Linear memories of one component; each takes address space, not memory, before it is used.
const MEMORIES: usize = 8;

/// Bytes a guest can hand to the host in one call: what the host copies before it looks at it.
pub(super) const TRANSFER: usize = 1 << 20;
/// Random bytes a guest gets in one call.
pub(super) const RANDOM: u64 = 64 << 10;
/// Host objects (clocks, streams) a guest can hold at a time.
pub(super) const RESOURCES: usize = 1_000;

/// Counts all memories, and all tables, of an instance together.
pub(super) struct Limiter {
    /// Bytes that an instance may have.
    limit: usize,
    /// Bytes that are left of them.
    memory: usize,
    /// Table elements that are left.
    elements: usize,
}

impl Limiter {
    /// `memory` is in bytes.
    pub(super) fn new(memory: usize) -> Self {
        Self { limit: memory, memory, elements: TABLE_ELEMENTS }
    }

    /// Bytes in use.
    pub(super) fn memory(&self) -> usize {
        self.limit - self.memory
    }
}

/// Takes the growth out of what is left, if there is enough.
fn take(left: &mut usize, current: usize, desired: usize, maximum: Option<usize>) -> bool {
    // Past its own maximum the growth fails anyway, and must not be charged.
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
