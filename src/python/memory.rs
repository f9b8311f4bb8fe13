//! Where the interpreter's memory comes from, and whether any was refused.
//!
//! Runs in the zygote and its children. `CPython` asks the C library by functions that can be exchanged; these do what its own do,
//! and take note when the answer is no. A `MemoryError` does not tell: the parser raises one at source that nests too deeply, a
//! script may raise one itself. This room only observes, and must never make a request fail that would succeed.

use pyo3::ffi;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The stack of each thread that a script starts, in bytes, as `THREAD_STACK` of python/runner.py says.
pub(super) const THREAD_STACK: usize = 1024 * 1024;

/// How many bytes were asked for when the system last said no; 0 if it never did.
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// What was asked for when memory was last refused to this process, in bytes.
pub(super) fn refused() -> Option<u64> {
    Some(REFUSED.load(Ordering::Relaxed) as u64).filter(|&bytes| bytes > 0)
}

/// Passes on what the system gave for `size` bytes, and takes note if that is nothing.
pub(super) fn noted(given: *mut c_void, size: usize) -> *mut c_void {
    if given.is_null() {
        REFUSED.store(size, Ordering::Relaxed);
    }
    given
}

extern "C" fn malloc(_context: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: any size may be asked for. CPython expects that no bytes are a block, too.
    noted(unsafe { libc::malloc(size.max(1)) }, size)
}

extern "C" fn calloc(_context: *mut c_void, count: usize, size: usize) -> *mut c_void {
    let (count, size) = if count == 0 || size == 0 { (1, 1) } else { (count, size) };
    // SAFETY: any sizes may be asked for.
    noted(unsafe { libc::calloc(count, size) }, count.saturating_mul(size))
}

extern "C" fn realloc(_context: *mut c_void, block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the interpreter hands in a block that came from here, or null, and uses it no more where it got another.
    noted(unsafe { libc::realloc(block, size.max(1)) }, size)
}

extern "C" fn free(_context: *mut c_void, block: *mut c_void) {
    // SAFETY: the interpreter gives back what came from here, or null, and uses it no more.
    unsafe { libc::free(block) };
}

/// Has the interpreter ask here. Before it starts, and once. Small objects lie in arenas (`arenas.rs`); all else is asked for here,
/// the large ones of every other domain included.
pub(super) fn install() {
    let mut ours = ffi::PyMemAllocatorEx {
        ctx: std::ptr::null_mut(),
        malloc: Some(malloc),
        calloc: Some(calloc),
        realloc: Some(realloc),
        free: Some(free),
    };
    // SAFETY: the four functions take blocks of the C library's as CPython's own do, whose blocks they may be handed; the struct
    // is copied.
    unsafe { ffi::PyMem_SetAllocator(ffi::PyMemAllocatorDomain::PYMEM_DOMAIN_RAW, &raw mut ours) };
}

/// Whether so many bytes could be had now.
pub(super) fn is_there_room(bytes: usize) -> bool {
    let Ok(mapped) = crate::sys::memory::map(bytes) else { return false };
    // SAFETY: mapped just above, and used by nobody.
    let _ = unsafe { crate::sys::memory::unmap(&mapped) };
    true
}
