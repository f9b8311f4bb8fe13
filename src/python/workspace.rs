//! Work buffers that the kernel refuses to `OpenBLAS`: the script is told at once, where it would wait for ever.
//!
//! Runs in every process of the program, and acts in children only. `OpenBLAS` maps a buffer for each thread that multiplies at the same
//! time, and asks again without end when the kernel refuses one. A program's symbols come before those of its libraries, so its
//! question comes here, as every library's does. Whoever else is refused is told so, as always; this room must never refuse anything.

use super::report;
use crate::handover::CONTROL;
use crate::outcome::{Cause, Exception};
use crate::sys;
use crate::wire::{self, Phase, Reply, Up};
use libc::{c_int, c_void, off_t};
use nix::errno::Errno;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// No work buffer is smaller, in bytes. What is smaller is refused often, and to look for who asked takes a while.
const LEAST: usize = 4 * 1024 * 1024;

/// So many callers are looked at: those in this program, and the first beyond.
const CALLERS: usize = 8;

/// `here` of python/causes.py.
static HERE: OnceLock<Py<PyAny>> = OnceLock::new();

/// Whether this is a child with a job: nobody else has a channel to reply on.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// What tells where the script is.
pub(super) fn watch(here: Py<PyAny>) {
    // The second interpreter of a process would have the same function.
    let _ = HERE.set(here);
}

/// From now on the question is answered for good. Call it in a child that has its job.
pub(super) fn begin() {
    IS_ON.store(true, Ordering::Relaxed);
}

/// As the C library's, which libraries of packages would find without it.
///
/// # Safety
/// As `mmap(2)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap(
    address: *mut c_void,
    length: usize,
    protection: c_int,
    flags: c_int,
    descriptor: c_int,
    offset: off_t,
) -> *mut c_void {
    // SAFETY: the caller's arguments, unchanged.
    let given = unsafe { libc::syscall(libc::SYS_mmap, address, length, protection, flags, descriptor, offset) };
    if given == -1 && length >= LEAST && Errno::last() == Errno::ENOMEM && IS_ON.load(Ordering::Relaxed) {
        if is_asked_by_openblas() {
            end(length);
        }
        // The search may have left another.
        Errno::ENOMEM.set();
    }
    given as *mut c_void
}

/// Whether the nearest caller outside this program is a library of `OpenBLAS`.
fn is_asked_by_openblas() -> bool {
    let mut search = Search { left: CALLERS, found: false };
    // SAFETY: the unwinder hands the pointer to `look` for as long as this call lasts.
    unsafe { _Unwind_Backtrace(look, (&raw mut search).cast()) };
    search.found
}

struct Search {
    left: usize,
    found: bool,
}

unsafe extern "C" {
    fn _Unwind_Backtrace(each: extern "C" fn(*mut c_void, *mut c_void) -> c_int, argument: *mut c_void) -> c_int;
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;
    /// The linker's: where the program begins, and where its code ends.
    static __executable_start: u8;
    static etext: u8;
}

extern "C" fn look(frame: *mut c_void, search: *mut c_void) -> c_int {
    const GO_ON: c_int = 0;
    const ENOUGH: c_int = 4;
    // SAFETY: `is_asked_by_openblas` gives it, and nobody else has it meanwhile.
    let search = unsafe { &mut *search.cast::<Search>() };
    // SAFETY: the unwinder gives a frame that it is at.
    let code = unsafe { _Unwind_GetIP(frame) };
    let own = (&raw const __executable_start).addr()..(&raw const etext).addr();
    search.left -= 1;
    if own.contains(&code) && search.left > 0 {
        return GO_ON;
    }
    search.found = is_in_openblas(code);
    ENOUGH
}

/// Whether the object that holds this code is `OpenBLAS`, by its file's name.
fn is_in_openblas(code: usize) -> bool {
    let mut about = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: it looks an address up and reads nothing there; it fills in the struct or leaves it as zeros, which are valid.
    let about = unsafe {
        libc::dladdr(code as *const c_void, about.as_mut_ptr());
        about.assume_init()
    };
    if about.dli_fname.is_null() {
        return false;
    }
    // SAFETY: the name of a loaded object, which stays loaded while its code is being called.
    let name = unsafe { CStr::from_ptr(about.dli_fname) };
    name.to_bytes().windows(8).any(|part| part == b"openblas")
}

/// Replies that memory ran out, and waits to be killed.
fn end(length: usize) -> ! {
    // SAFETY: the interpreter runs. A thread that holds its lock already keeps it; one that does not waits for it, so that the main
    // thread, which holds it once it has a reply, never replies at the same time. It is never given back.
    unsafe { ffi::PyGILState_Ensure() };
    // SAFETY: the line above attached this thread.
    let py = unsafe { Python::assume_attached() };
    report::calm(py);
    let told = HERE.get().and_then(|here| here.bind(py).call0().ok()?.extract::<(Option<u32>, String)>().ok());
    let (line, stack) = told.unwrap_or_default();
    let mebibytes = length >> 20;
    let message = format!(
        "numpy's products take a work buffer of {mebibytes}MB for each thread that multiplies at the same time, and there is no \
         memory for one more; use fewer threads or raise limits.memory_mb"
    );
    let traceback = format!("{stack}MemoryError: {message}\n");
    let exception = Exception { kind: "MemoryError".to_owned(), message, line, column: None, traceback };
    let reply = Reply::Raised { phase: Phase::Run, cause: Cause::Memory { asked: length as u64 }, exception };
    // SAFETY: a jailed child's channel has this number; the script may have closed it, and then nobody hears.
    let channel = unsafe { BorrowedFd::borrow_raw(CONTROL) };
    let frame = wire::encode(&Up::Done(reply)).unwrap_or_default();
    if sys::write_all(channel, &frame).is_err() {
        sys::exit_now(1);
    }
    loop {
        // SAFETY: it looks at no descriptor, and only waits.
        unsafe { libc::poll(std::ptr::null_mut(), 0, -1) };
    }
}
