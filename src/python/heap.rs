//! Arranges a zygote's heap so that its children write to few of its pages.
//!
//! Runs in the zygote, once, before the first fork. A page that a child writes to is copied first, and each copy costs
//! a fault (about 3 µs on a virtual machine). Imports leave the heap full of holes; what a child allocates would go
//! into them, one page here and one there, hundreds in all. So the holes are filled with blocks that nobody uses:
//! from then on allocations are neighbours, in pages that hold nothing else. Nothing depends on this but time.

use crate::sys::memory::HUGE;
use pyo3::ffi;
use std::ptr::NonNull;

/// Requests of more than this are served by pages of their own.
const LARGEST: usize = 64 * 1024;

/// The sizes that a C allocator tells apart.
const STEP: usize = 16;

/// Stops the filling of a heap that is not laid out as expected.
const MOST_BLOCKS: usize = 200_000;

/// Python's small objects: up to this size, in pools of this size, whose first block follows a header of this size
/// (`Include/internal/pycore_obmalloc.h`, the same from 3.11 to 3.14).
const SMALL: usize = 512;
const POOL: usize = 16 * 1024;
const POOL_HEADER: usize = 48;

/// Moves the end of the C heap to the next multiple of a huge page. Call it before the interpreter starts.
pub(super) fn align() {
    let end = end();
    if let Ok(gap) = libc::intptr_t::try_from(end.next_multiple_of(HUGE) - end) {
        // SAFETY: the allocator expects that others move the end of the heap, and goes on behind (malloc(3), `sbrk`).
        unsafe { libc::sbrk(gap) };
    }
}

/// Fills the holes, and has the C heap go on at the next multiple of a huge page: what is written from now on, here and in the
/// children, lies behind it.
pub(super) fn settle() {
    fill_pools();
    align();
    fill_heap(end());
}

fn end() -> usize {
    // SAFETY: asks where the heap ends.
    unsafe { libc::sbrk(0) }.addr()
}

/// Fills what is free in the pools that hold objects, size by size, until the allocator opens an empty pool.
fn fill_pools() {
    for size in (STEP..=SMALL).step_by(STEP) {
        for _ in 0..MOST_BLOCKS {
            // SAFETY: attached to the interpreter, as everything in this module's parent is.
            let block = unsafe { ffi::PyObject_Malloc(size) };
            if block.is_null() {
                return;
            }
            if block.addr() % POOL == POOL_HEADER {
                // SAFETY: allocated just above, and used by nobody.
                unsafe { ffi::PyObject_Free(block) };
                break;
            }
        }
    }
}

/// Fills the free chunks of the C heap, the large ones first, until every size is served from `end` on.
fn fill_heap(end: usize) {
    let mut blocks = 0;
    for size in (1..=LARGEST / STEP).rev().map(|steps| steps * STEP) {
        while blocks < MOST_BLOCKS {
            blocks += 1;
            // SAFETY: any size may be asked for.
            let Some(block) = NonNull::new(unsafe { libc::malloc(size - 8) }) else { return };
            if block.addr().get() >= end {
                // SAFETY: allocated just above, and used by nobody.
                unsafe { libc::free(block.as_ptr()) };
                break;
            }
        }
    }
}
