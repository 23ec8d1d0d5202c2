//! The memory of a component: freed blocks wait in lists by size for the next call.
//!
//! Calls of a strategy allocate alike: lists of deployments, weights, a few strings. After the first
//! calls each finds the blocks of the one before, so a call costs a few instructions for each block
//! and takes no new memory. An arena that is reset after each call would be quicker still, but would
//! also take away what a strategy keeps.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

/// The smallest and the largest block, as powers of two. Larger ones come from the system, which
/// joins what is freed.
const SMALLEST: u32 = 4;
const LARGEST: u32 = 14;
const SIZES: usize = (LARGEST - SMALLEST + 1) as usize;
/// Bytes that are taken from the system at a time, to be cut into blocks.
const CHUNK: usize = 1 << 16;
/// Every block begins at a multiple of this.
const ALIGN: usize = 1 << SMALLEST;

/// An allocator for one thread.
#[derive(Debug)]
pub(crate) struct Blocks {
    /// The first free block of each size. A free block begins with the address of the next one.
    free: [Cell<*mut u8>; SIZES],
    /// The part of the last chunk that was not cut into blocks yet.
    rest: Cell<*mut u8>,
    left: Cell<usize>,
}

// SAFETY: a component has one thread. Nothing else may use this type.
unsafe impl Sync for Blocks {}

impl Blocks {
    /// Without memory.
    #[must_use]
    pub(crate) const fn new() -> Self {
        Self {
            free: [const { Cell::new(ptr::null_mut()) }; SIZES],
            rest: Cell::new(ptr::null_mut()),
            left: Cell::new(0),
        }
    }

    /// A new block of so many bytes, a power of two from 16 to [`CHUNK`]. Null: there is no memory.
    #[cold]
    fn cut(&self, size: usize) -> *mut u8 {
        if self.left.get() < size {
            // What is left of the old chunk stays unused: less than the largest block.
            // SAFETY: the layout has a size.
            let chunk = unsafe { System.alloc(Layout::from_size_align_unchecked(CHUNK, ALIGN)) };
            if chunk.is_null() {
                return chunk;
            }
            self.rest.set(chunk);
            self.left.set(CHUNK);
        }
        let block = self.rest.get();
        // SAFETY: `size` bytes are left in the chunk.
        self.rest.set(unsafe { block.add(size) });
        self.left.set(self.left.get() - size);
        block
    }
}

/// The index of the list of blocks for this layout. None: it comes from the system.
fn list(layout: &Layout) -> Option<usize> {
    let bits = usize::BITS - layout.size().saturating_sub(1).leading_zeros();
    let bits = bits.max(SMALLEST);
    (bits <= LARGEST && layout.align() <= ALIGN).then_some((bits - SMALLEST) as usize)
}

// SAFETY: a block is in use or in the list of its size, never both, and lists are by layout alone.
unsafe impl GlobalAlloc for Blocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(list) = list(&layout) else { return unsafe { System.alloc(layout) } };
        let block = self.free[list].get();
        if block.is_null() {
            return self.cut(ALIGN << list);
        }
        // SAFETY: a free block begins with the address of the next one, and is aligned for it.
        self.free[list].set(unsafe { block.cast::<*mut u8>().read() });
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(list) = list(&layout) else { return unsafe { System.dealloc(block, layout) } };
        // SAFETY: the block has at least 16 bytes, is aligned for a pointer, and is not in use.
        unsafe { block.cast::<*mut u8>().write(self.free[list].get()) };
        self.free[list].set(block);
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller vouches for the size.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (list(&layout), list(&wanted)) {
            (None, None) => unsafe { System.realloc(block, layout, size) },
            (old, new) if old == new => block,
            _ => {
                let moved = unsafe { self.alloc(wanted) };
                if !moved.is_null() {
                    // SAFETY: both blocks have at least the smaller of the two sizes.
                    unsafe {
                        ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                }
                moved
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).expect("a layout")
    }

    #[test]
    fn sizes_have_lists() {
        let of = |size| list(&layout(size));
        assert_eq!([of(1), of(16), of(17), of(32)], [Some(0), Some(0), Some(1), Some(1)]);
        assert_eq!([of(16 << 10), of((16 << 10) + 1)], [Some(SIZES - 1), None]);
        assert_eq!(list(&Layout::from_size_align(8, 32).expect("a layout")), None);
    }

    #[test]
    fn a_freed_block_is_the_next_of_its_size() {
        let blocks = Blocks::new();
        // SAFETY: blocks are freed once, with their layouts, and not used after it.
        unsafe {
            let [a, b] = [blocks.alloc(layout(40)), blocks.alloc(layout(64))];
            assert!(a != b && a.addr().is_multiple_of(ALIGN));
            blocks.dealloc(a, layout(40));
            blocks.dealloc(b, layout(64));
            assert_eq!(blocks.alloc(layout(33)), b);
            assert_eq!(blocks.alloc(layout(50)), a);
            assert_ne!(blocks.alloc(layout(200)), a);
        }
    }

    #[test]
    fn what_grows_keeps_its_content() {
        let blocks = Blocks::new();
        // SAFETY: as above.
        unsafe {
            let mut block = blocks.alloc(layout(1));
            block.write(7);
            let mut size = 1;
            while size < 1 << 18 {
                block = blocks.realloc(block, layout(size), size * 2);
                assert_eq!(block.read(), 7);
                block.add(size).write(9);
                size *= 2;
                assert_eq!(block.add(size / 2).read(), 9);
            }
            let small = blocks.realloc(block, layout(size), 10);
            assert_eq!(small.read(), 7);
            assert_eq!(blocks.realloc(small, layout(10), 16), small, "it has room");
        }
    }

    #[test]
    fn calls_take_no_new_memory() {
        let blocks = Blocks::new();
        let call = || {
            // SAFETY: as above.
            unsafe {
                let sizes = [448, 64, 24, 512];
                let all = sizes.map(|size| blocks.alloc(layout(size)));
                all.into_iter().zip(sizes).for_each(|(at, size)| blocks.dealloc(at, layout(size)));
            }
        };
        call();
        let left = blocks.left.get();
        (0..1_000).for_each(|_| call());
        assert_eq!(blocks.left.get(), left);
    }
}
