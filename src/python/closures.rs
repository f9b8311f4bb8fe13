//! Callbacks: what C code calls to reach a Python function, as `ctypes.CFUNCTYPE` makes them, without memory that is both writable
//! and executable.
//!
//! The two functions stand in for libffi's own of the same names, in every process that has an interpreter: a program's symbols
//! come before those of its libraries. libffi writes the code of each callback into memory that it also executes, or into a file
//! in memory that it maps twice; the filter refuses both. Here the code is part of the program and only an address is written.
//! There is a fixed number of callbacks, and this room must never make any memory executable.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// How many callbacks can exist at once. Each has its own code, of [`CODE`] bytes.
const MOST: usize = 4096;

/// The distance from one piece of code to the next, in bytes.
const CODE: usize = 32;

/// What lies before each closure: its number. The size keeps the closure aligned as `malloc` aligns.
const HEADER: usize = 16;

/// The closure of each piece of code; null where that is free. The code reads it.
#[unsafe(no_mangle)]
static MAYFLY_CLOSURES: [AtomicPtr<c_void>; MOST] = [const { AtomicPtr::new(std::ptr::null_mut()) }; MOST];

/// Whether every piece was in use when one more was asked for.
static USED_UP: AtomicBool = AtomicBool::new(false);

/// Where the search for a free one begins.
static NEXT: AtomicUsize = AtomicUsize::new(0);

// What libffi would write into each closure, but for the address: the closure in the register where its entry expects it, and a
// jump to that entry, which `ffi_prep_closure_loc` leaves behind the code that it writes into the closure (libffi 3.3 to 3.5,
// src/x86/ffi64.c and src/aarch64/ffi.c).
macro_rules! callbacks {
    ($($instruction:literal),+ $(,)?) => {
        std::arch::global_asm!(
            ".pushsection .text.mayfly_callbacks, \"ax\", @progbits",
            ".balign 32",
            "mayfly_callbacks:",
            ".set mayfly_number, 0",
            ".rept {most}",
            ".balign 32",
            $($instruction,)+
            ".set mayfly_number, mayfly_number + 1",
            ".endr",
            ".balign 32",
            ".popsection",
            most = const MOST,
            closures = sym MAYFLY_CLOSURES,
        );
    };
}

#[cfg(target_arch = "x86_64")]
callbacks!("endbr64", "mov r10, qword ptr [rip + {closures} + 8 * mayfly_number]", "jmp qword ptr [r10 + 24]");

#[cfg(target_arch = "aarch64")]
callbacks!(
    "hint #34", // bti c
    "adrp x17, {closures} + 8 * mayfly_number",
    "add x17, x17, :lo12:{closures} + 8 * mayfly_number",
    "ldr x17, [x17]",
    "ldr x16, [x17, #16]",
    "br x16",
);

unsafe extern "C" {
    /// The first piece of code.
    #[link_name = "mayfly_callbacks"]
    static CALLBACKS: [[u8; CODE]; MOST];
}

/// libffi's `ffi_closure_alloc`: memory for a closure of `size` bytes, and in `code` what C calls to reach it. Null where memory or
/// code has run out.
#[unsafe(no_mangle)]
extern "C" fn ffi_closure_alloc(size: usize, code: *mut *mut c_void) -> *mut c_void {
    let Some(whole) = size.checked_add(HEADER).filter(|_| !code.is_null()) else { return std::ptr::null_mut() };
    // SAFETY: any size may be asked for. Zeroed, as libffi looks for a trampoline of its own in the first bytes.
    let block = unsafe { libc::calloc(1, whole) };
    if block.is_null() {
        return block;
    }
    // SAFETY: the block is `HEADER` bytes longer than the closure.
    let closure = unsafe { block.byte_add(HEADER) };
    let first = NEXT.fetch_add(1, Ordering::Relaxed);
    let free = (0..MOST).map(|step| first.wrapping_add(step) % MOST).find(|&number| {
        let slot = &MAYFLY_CLOSURES[number];
        slot.compare_exchange(std::ptr::null_mut(), closure, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    });
    let Some(number) = free else {
        USED_UP.store(true, Ordering::Relaxed);
        // SAFETY: allocated just above, and used by nobody.
        unsafe { libc::free(block) };
        return std::ptr::null_mut();
    };
    // SAFETY: the block begins with room for its number and is aligned for it; `code` points to a pointer, as libffi asks, and
    // `CALLBACKS` has a piece for each number.
    unsafe {
        block.cast::<usize>().write(number);
        code.write((&raw const CALLBACKS[number]).cast_mut().cast());
    }
    closure
}

/// libffi's `ffi_closure_free`: gives back what [`ffi_closure_alloc`] gave.
///
/// # Safety
/// `closure` is from there and was not given back, or null; its code is not called any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn ffi_closure_free(closure: *mut c_void) {
    if closure.is_null() {
        return;
    }
    // SAFETY: the caller has it from `ffi_closure_alloc`, which put its number before it. A script that hands in anything else
    // harms its own process alone, and an unknown number ends it here.
    unsafe {
        let block = closure.byte_sub(HEADER);
        MAYFLY_CLOSURES[block.cast::<usize>().read()].store(std::ptr::null_mut(), Ordering::Release);
        libc::free(block);
    }
}

/// Whether a callback was ever refused for want of code, and not of memory.
pub(super) fn were_used_up() -> bool {
    USED_UP.load(Ordering::Relaxed)
}
