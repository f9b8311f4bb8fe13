//! Memory by the page: huge pages, fewer mappings, copies made before they are needed.
//!
//! Used in the zygote, `touch` in its children, `give_back_large_blocks` in the supervisor. Nothing depends on these calls but time: whoever makes them goes on when
//! one is refused.
#![expect(unsafe_code, reason = "a part of `sys`, the one place for raw system calls")]

use super::check;
use libc::{c_int, c_long, c_void};
use nix::errno::Errno;
use std::ops::Range;

/// A huge page, and what it is aligned to: 2 MiB, on `x86_64` and, with pages of 4 KiB, on aarch64.
pub const HUGE: usize = 2 * 1024 * 1024;

/// The size of a page.
#[must_use]
pub fn page_size() -> usize {
    // SAFETY: it takes one constant and has no effect.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Has the C allocator give large blocks back to the system as soon as they are freed, whatever was freed before: by itself it
/// raises the size from which on it does so to that of the largest block so far, up to 32 MiB, and keeps what is smaller.
pub fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: c_int = 256 * 1024;
        // SAFETY: it sets one number.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    }
}

fn advise(range: &Range<usize>, advice: c_int) -> Result<(), Errno> {
    // SAFETY: of the advices below none changes what memory holds or whether it can be used.
    check(unsafe { libc::madvise(range.start as *mut c_void, range.len(), advice) }.into()).map(drop)
}

/// Makes pages this process's own by writing to each what it holds. A call would do the same for no less: `MADV_POPULATE_WRITE`
/// took 2.5 µs a page for pages that lie apart, a fault 1.7 µs (Linux 6.18, in a virtual machine).
///
/// `range` is mapped for writing, and no other thread uses it.
pub fn touch(range: &Range<usize>) {
    for page in range.clone().step_by(page_size()) {
        let byte = page as *mut u8;
        // SAFETY: the caller says that it can be written to, and the byte stays as it is.
        unsafe { byte.write_volatile(byte.read_volatile()) };
    }
}

/// Puts private memory of any origin into huge pages; what it holds stays. `range` is a multiple of [`HUGE`] in start and length.
///
/// # Errors
/// `EINVAL` before Linux 6.1 and for what can't be in huge pages, `ENOMEM` and `EAGAIN` when none are free.
pub fn collapse(range: &Range<usize>) -> Result<(), Errno> {
    /// Since Linux 6.1; not in every C library's headers.
    const MADV_COLLAPSE: c_int = 25;
    advise(range, MADV_COLLAPSE)
}

/// What may be done with memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Constants.
    Read,
    /// Variables.
    ReadWrite,
    /// Machine code.
    ReadExecute,
}

impl Access {
    fn protection(self) -> c_int {
        match self {
            Self::Read => libc::PROT_READ,
            Self::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
            Self::ReadExecute => libc::PROT_READ | libc::PROT_EXEC,
        }
    }
}

/// Replaces `window` by huge pages that hold the same: `part`, which lies in it, is all that is mapped there now. The rest of
/// it reads as zero afterwards.
///
/// # Errors
/// As [`replace_by_anonymous`].
pub fn replace_by_huge_pages(window: &Range<usize>, part: &Range<usize>, access: Access) -> Result<(), Errno> {
    let copy = map_aligned(window.len())?;
    // Where the kernel has none, it is ordinary pages.
    let _ = advise(&copy, libc::MADV_HUGEPAGE);
    exchange(window, part, &copy, access)
}

/// Replaces what is mapped at `range`, by whichever mappings, by one that is no file's and holds the same.
///
/// The exchange is one call, so machine code can be replaced while it runs. The process must have one thread, or what another
/// writes meanwhile is lost.
///
/// # Errors
/// `ENOMEM`; `EACCES` where a security module forbids executable memory that is no file's. Nothing has changed then.
pub fn replace_by_anonymous(range: &Range<usize>, access: Access) -> Result<(), Errno> {
    exchange(range, range, &map(range.len())?, access)
}

/// Moves `copy`, which is new, to `window`, after it was given what is at `part`.
fn exchange(window: &Range<usize>, part: &Range<usize>, copy: &Range<usize>, access: Access) -> Result<(), Errno> {
    let exchanged = (|| {
        for page in part.clone().step_by(page_size()) {
            // SAFETY: the caller says that `part` is mapped, and all of it can be read.
            let here = unsafe { std::slice::from_raw_parts(page as *const u8, page_size()) };
            // Zeros are there already, and take no memory as long as nobody writes to them.
            if here.iter().any(|byte| *byte != 0) {
                let to = copy.start + (page - window.start);
                // SAFETY: `part` lies in `window`, which is as long as the copy; that was just made and overlaps nothing.
                unsafe { std::ptr::copy_nonoverlapping(here.as_ptr(), to as *mut u8, page_size()) };
            }
        }
        // On aarch64 machine code that was written is not yet what is fetched. The kernel sees to that when pages can be executed
        // for the first time (`arch/arm64/mm/flush.c`), and these are new.
        // SAFETY: the copy is its maker's own.
        check(unsafe { libc::mprotect(copy.start as *mut c_void, copy.len(), access.protection()) }.into())?;
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: what was at `window` goes and what comes holds the same, bit for bit; nothing ran in between but this.
        let moved = unsafe {
            libc::mremap(copy.start as *mut c_void, copy.len(), copy.len(), flags, window.start as *mut c_void)
        };
        if moved == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
    })();
    if exchanged.is_err() {
        let _ = unmap(copy);
    }
    exchanged
}

/// Lets constants be executed too, so that the kernel counts them and the machine code beside them, of one file, as one mapping.
///
/// # Errors
/// `EACCES` where the file may not be executed.
pub fn join_machine_code(range: &Range<usize>) -> Result<(), Errno> {
    let protection = Access::ReadExecute.protection();
    // SAFETY: what can be read can still be read, and nothing can be written.
    check(unsafe { libc::mprotect(range.start as *mut c_void, range.len(), protection) }.into()).map(drop)
}

/// Has the main thread's stack reach `bytes` further down than now. The kernel extends a stack when it is written to, and where
/// the address space is used up it can't: then a process that only wanted to say so ends with SIGSEGV.
///
/// Called by the main thread, and with far less than `RLIMIT_STACK`.
pub fn extend_stack(bytes: usize) {
    let here = 0u8;
    let below = (&raw const here).addr() - bytes;
    // SAFETY: nothing is kept below the stack pointer but what is within a page's reach of it, and the kernel extends the stack
    // to there (`mm/memory.c`, since Linux 4.20 however far below the stack pointer it is).
    unsafe { (below as *mut u8).write_volatile(0) };
}

/// New private memory that begins at a multiple of [`HUGE`].
///
/// # Errors
/// `ENOMEM`.
pub fn map_aligned(length: usize) -> Result<Range<usize>, Errno> {
    let reserved = map(length + HUGE)?;
    let start = reserved.start.next_multiple_of(HUGE);
    let _ = unmap(&(reserved.start..start));
    let _ = unmap(&(start + length..reserved.end));
    Ok(start..start + length)
}

/// New private memory, not yet present.
///
/// # Errors
/// `ENOMEM`.
pub fn map(length: usize) -> Result<Range<usize>, Errno> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: the kernel chooses a place where nothing is.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(start.addr()..start.addr() + length) }
}

/// Gives memory back, which came from [`map`] or [`map_aligned`] and which nobody uses any more.
///
/// # Errors
/// `EINVAL` for what is no multiple of a page, `ENOMEM` where a mapping would be split and there may be no more of them.
pub fn unmap(range: &Range<usize>) -> Result<(), Errno> {
    if range.is_empty() {
        return Ok(());
    }
    // SAFETY: callers own the range.
    check(c_long::from(unsafe { libc::munmap(range.start as *mut c_void, range.len()) })).map(drop)
}
