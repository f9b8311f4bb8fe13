//! Where the interpreter's small objects lie: side by side, in memory that can be put into huge pages.
//!
//! Runs in the zygote; installed before the interpreter starts. `CPython` takes memory for small objects in arenas of 1 MiB,
//! by a `mmap` each, wherever there is room. Ours come from one region after the other, each aligned to a huge page. Children
//! go on where the zygote stopped, to the end of the huge page that was begun, and then by `mmap` as without this.

use crate::sys::memory::HUGE;
use pyo3::ffi;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is reserved at a time. Address space only: it takes memory as it is used.
const REGION: usize = 16 * HUGE;

/// The rest of the region at hand: its first free address, and its end.
static NEXT: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);

/// Whether new regions may be begun: until the zygote's heap is complete.
static GROWING: AtomicUsize = AtomicUsize::new(1);

extern "C" fn allocate(_context: *mut c_void, size: usize) -> *mut c_void {
    let next = NEXT.load(Ordering::Relaxed);
    if END.load(Ordering::Relaxed) - next >= size {
        NEXT.store(next + size, Ordering::Relaxed);
        return next as *mut c_void;
    }
    if GROWING.load(Ordering::Relaxed) == 1 && size <= REGION {
        let reserved = map(REGION + HUGE);
        if !reserved.is_null() {
            let start = reserved.addr().next_multiple_of(HUGE);
            unmap(reserved.addr(), start);
            unmap(start + REGION, reserved.addr() + REGION + HUGE);
            NEXT.store(start + size, Ordering::Relaxed);
            END.store(start + REGION, Ordering::Relaxed);
            return start as *mut c_void;
        }
    }
    map(size)
}

extern "C" fn free(_context: *mut c_void, start: *mut c_void, size: usize) {
    unmap(start.addr(), start.addr() + size);
}

/// New memory, null where there is none.
fn map(size: usize) -> *mut c_void {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: the kernel chooses a place where nothing is.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED { std::ptr::null_mut() } else { start }
}

fn unmap(start: usize, end: usize) {
    if start < end {
        // SAFETY: every range given here came from `map`, and nobody uses it any more.
        unsafe { libc::munmap(start as *mut c_void, end - start) };
    }
}

/// Has the interpreter take its arenas from here. Before it starts, and once.
pub(super) fn install() {
    let mut ours = ffi::PyObjectArenaAllocator { ctx: std::ptr::null_mut(), alloc: Some(allocate), free: Some(free) };
    // SAFETY: the two functions are the pair that CPython asks for, and it copies the struct.
    unsafe { ffi::PyObject_SetArenaAllocator(&raw mut ours) };
}

/// No arena is begun beyond the huge page at hand from now on, and what was reserved is given back: a child's memory limit
/// counts from what the zygote has.
pub(super) fn complete() {
    GROWING.store(0, Ordering::Relaxed);
    let end = END.load(Ordering::Relaxed);
    let kept = NEXT.load(Ordering::Relaxed).next_multiple_of(HUGE);
    unmap(kept, end);
    END.store(kept.min(end), Ordering::Relaxed);
}
