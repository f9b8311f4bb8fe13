//! Where the interpreter's small objects lie: side by side, in memory that can be put into huge pages.
//!
//! Runs in the zygote; installed before the interpreter starts. `CPython` takes memory for small objects in arenas of 1 MiB,
//! by a `mmap` each, wherever there is room. Ours come from one region after the other, each aligned to a huge page. Children
//! go on where the zygote stopped, to the end of the huge page that was begun, and then by `mmap` as without this.

use super::memory::noted;
use crate::sys::memory::{self, HUGE};
use pyo3::ffi;
use std::ffi::c_void;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What is reserved at a time. Address space only: it takes memory as it is used.
const REGION: usize = 16 * HUGE;

/// The rest of the region at hand: its first free address, and its end.
static NEXT: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);

/// Whether new regions may be begun: until the zygote's heap is complete.
static GROWING: AtomicBool = AtomicBool::new(true);

fn rest() -> Range<usize> {
    NEXT.load(Ordering::Relaxed)..END.load(Ordering::Relaxed)
}

fn set_rest(rest: &Range<usize>) {
    NEXT.store(rest.start, Ordering::Relaxed);
    END.store(rest.end, Ordering::Relaxed);
}

extern "C" fn allocate(_context: *mut c_void, size: usize) -> *mut c_void {
    if rest().len() < size
        && GROWING.load(Ordering::Relaxed)
        && size <= REGION
        && let Ok(region) = memory::map_aligned(REGION)
    {
        set_rest(&region);
    }
    let rest = rest();
    if rest.len() >= size {
        set_rest(&(rest.start + size..rest.end));
        return rest.start as *mut c_void;
    }
    noted(memory::map(size).map_or(std::ptr::null_mut(), |mapped| mapped.start as *mut c_void), size)
}

extern "C" fn free(_context: *mut c_void, start: *mut c_void, size: usize) {
    // SAFETY: the interpreter gives back what `allocate` gave it, and uses it no more.
    let _ = unsafe { memory::unmap(&(start.addr()..start.addr() + size)) };
}

/// Makes the interpreter take its arenas from here. Call it once, before the interpreter starts.
pub(super) fn install() {
    let mut ours = ffi::PyObjectArenaAllocator { ctx: std::ptr::null_mut(), alloc: Some(allocate), free: Some(free) };
    // SAFETY: the two functions are the pair that CPython asks for, and it copies the struct.
    unsafe { ffi::PyObject_SetArenaAllocator(&raw mut ours) };
}

/// No arena is begun beyond the huge page at hand from now on, and what was reserved is given back: a child's memory limit
/// counts from what the zygote has.
pub(super) fn complete() {
    GROWING.store(false, Ordering::Relaxed);
    let rest = rest();
    let kept = rest.start.next_multiple_of(HUGE).min(rest.end);
    // SAFETY: nothing was given of it yet, and from here on nothing will be.
    let _ = unsafe { memory::unmap(&(kept..rest.end)) };
    set_rest(&(rest.start..kept));
}
