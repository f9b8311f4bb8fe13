//! Memory by the page: huge pages, fewer mappings, copies made before they are needed.
//!
//! Used in the zygote, `touch` in its children, `give_back_large_blocks` and `give_back_what_is_free` in the supervisor. Nothing depends on these calls but time: whoever makes them goes on when
//! one is refused.
#![expect(unsafe_code, reason = "a part of `sys`, the one place for raw system calls")]

use super::check;
use super::own_proc::{Alone, Mapping, Mappings};
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

/// Returns freed blocks of 256 KiB and more to the system. By default glibc raises this threshold to the largest block freed so
/// far, up to 32 MiB, and keeps everything smaller (mallopt(3), `M_MMAP_THRESHOLD`).
pub fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: c_int = 256 * 1024;
        // SAFETY: it sets one number.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    }
}

/// Gives the pages back to the system that were freed and that the C allocator keeps, in all of its arenas. It holds up whoever
/// wants memory of an arena meanwhile, for about as long as it takes to look at what is free there.
pub fn give_back_what_is_free() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes only what is free, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0)
    };
}

fn advise(range: &Range<usize>, advice: c_int) -> Result<(), Errno> {
    // SAFETY: of the advices below none changes what memory holds or whether it can be used.
    check(unsafe { libc::madvise(range.start as *mut c_void, range.len(), advice) }.into()).map(drop)
}

/// Pages that this process, and each clone of it, can write to. It holds as long as whoever has it gives none of them back.
#[derive(Debug, Default)]
pub struct WritablePages(Vec<Range<usize>>);

impl WritablePages {
    /// Those of `pages`, addresses in order, that can be written to and are not shared. Those side by side are one range.
    #[must_use]
    pub fn among(pages: &[usize], mappings: &Mappings) -> Self {
        let size = page_size();
        let is_writable = |page: &usize| {
            let mut writable = mappings.iter().filter(|mapping| mapping.access() == Some(Access::ReadWrite));
            page.is_multiple_of(size) && writable.any(|mapping| mapping.range().contains(page))
        };
        let pages: Vec<usize> = pages.iter().copied().filter(is_writable).collect();
        let neighbours = pages.chunk_by(|page, next| page + size == *next);
        Self(neighbours.filter_map(|run| Some(*run.first()?..run.last()? + size)).collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn ranges(&self) -> &[Range<usize>] {
        &self.0
    }

    /// Makes them this process's own by writing to each what it holds. A call would do the same for no less:
    /// `MADV_POPULATE_WRITE` took 2.5 µs a page for pages that lie apart, a fault 1.7 µs (Linux 6.18, in a virtual machine).
    pub fn touch(&self, _: &Alone) {
        for page in self.0.iter().flat_map(|range| range.clone().step_by(page_size())) {
            let byte = page as *mut u8;
            // SAFETY: the page can be written to, as `self` proves, and the byte stays as it is: no other thread writes to it.
            unsafe { byte.write_volatile(byte.read_volatile()) };
        }
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

    fn allows(self, other: Self) -> bool {
        self.protection() & other.protection() == other.protection()
    }
}

/// Whether `part` is all that is mapped in `window`, without a gap, and may be used as before if it has `access`.
fn is_all_there(mappings: &Mappings, window: &Range<usize>, part: &Range<usize>, access: Access) -> bool {
    let mut end = part.start;
    for (range, now) in mappings.iter().map(|mapping| (mapping.range(), mapping.access())) {
        let common = range.start.max(window.start)..range.end.min(window.end);
        if common.is_empty() {
            continue;
        }
        if common.start != end || !now.is_some_and(|now| access.allows(now)) {
            return false;
        }
        end = common.end;
    }
    end == part.end && window.start <= part.start && part.end <= window.end
}

/// Replaces `window` by huge pages that hold the same: `part`, which lies in it, is all that is mapped there now. The rest of
/// it reads as zero afterwards.
///
/// # Errors
/// As [`replace_by_anonymous`].
pub fn replace_by_huge_pages(
    _: &Alone,
    mappings: &Mappings,
    window: &Range<usize>,
    part: &Range<usize>,
    access: Access,
) -> Result<(), Errno> {
    if !is_all_there(mappings, window, part, access) {
        return Err(Errno::EINVAL);
    }
    let copy = map_aligned(window.len())?;
    // Where the kernel has none, it is ordinary pages.
    let _ = advise(&copy, libc::MADV_HUGEPAGE);
    // SAFETY: there is no other thread, and `part` is all that is mapped there: this was just looked up.
    unsafe { exchange(window, part, &copy, access) }
}

/// Replaces what is mapped at `range`, by whichever mappings, by one that is no file's and holds the same.
///
/// The exchange is one call, so machine code can be replaced while it runs. What another thread writes meanwhile would be lost.
///
/// # Errors
/// `ENOMEM`; `EACCES` where a security module forbids executable memory that is no file's; `EINVAL` where something else is mapped
/// there than was said, or could no longer be used as before. Nothing has changed then.
pub fn replace_by_anonymous(_: &Alone, mappings: &Mappings, range: &Range<usize>, access: Access) -> Result<(), Errno> {
    if !is_all_there(mappings, range, range, access) {
        return Err(Errno::EINVAL);
    }
    let copy = map(range.len())?;
    // SAFETY: there is no other thread, and all of the range is mapped: this was just looked up.
    unsafe { exchange(range, range, &copy, access) }
}

/// Moves `copy`, which is new, to `window`, after it was given what is at `part`.
///
/// # Safety
/// `part` is all that is mapped at `window`, can be read, and is written to by no other thread; `copy` is as long as `window`.
unsafe fn exchange(
    window: &Range<usize>,
    part: &Range<usize>,
    copy: &Range<usize>,
    access: Access,
) -> Result<(), Errno> {
    let exchanged = (|| {
        for page in part.clone().step_by(page_size()) {
            // SAFETY: by this function's contract.
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
        // SAFETY: the copy is still this function's own.
        let _ = unsafe { unmap(copy) };
    }
    exchanged
}

/// Lets constants be executed too, so that the kernel counts them and the machine code beside them, of one file, as one mapping.
///
/// # Errors
/// `EACCES` where the file may not be executed, `EINVAL` for what is not constant.
pub fn join_machine_code(constants: &Mapping) -> Result<(), Errno> {
    if constants.access() != Some(Access::Read) {
        return Err(Errno::EINVAL);
    }
    let (range, protection) = (constants.range(), Access::ReadExecute.protection());
    // SAFETY: what can be read can still be read, and nothing could be written.
    check(unsafe { libc::mprotect(range.start as *mut c_void, range.len(), protection) }.into()).map(drop)
}

/// Extends the main thread's stack by `bytes`. The kernel extends a stack when it is written to. If the address space is used up by
/// then, it can't, and a process that only wanted to report that ends with SIGSEGV.
///
/// # Safety
/// The calling thread is the main one, and `bytes` far less than `RLIMIT_STACK`.
pub unsafe fn extend_stack(bytes: usize) {
    let here = 0u8;
    let below = (&raw const here).addr() - bytes;
    // SAFETY: nothing is kept below the stack pointer but what is within a page's reach of it, and the kernel extends the main
    // thread's stack to there (`mm/memory.c`, since Linux 4.20 however far below the stack pointer it is).
    unsafe { (below as *mut u8).write_volatile(0) };
}

/// New private memory that begins at a multiple of [`HUGE`].
///
/// # Errors
/// `ENOMEM`.
pub fn map_aligned(length: usize) -> Result<Range<usize>, Errno> {
    let reserved = map(length + HUGE)?;
    let start = reserved.start.next_multiple_of(HUGE);
    for spare in [reserved.start..start, start + length..reserved.end] {
        // SAFETY: a part of what was just reserved.
        let _ = unsafe { unmap(&spare) };
    }
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

/// Gives memory back.
///
/// # Errors
/// `EINVAL` for what is no multiple of a page, `ENOMEM` where a mapping would be split and there may be no more of them.
///
/// # Safety
/// It came from [`map`] or [`map_aligned`], and nobody uses it any more.
pub unsafe fn unmap(range: &Range<usize>) -> Result<(), Errno> {
    if range.is_empty() {
        return Ok(());
    }
    // SAFETY: by this function's contract.
    check(c_long::from(unsafe { libc::munmap(range.start as *mut c_void, range.len()) })).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_side_by_side_are_one_range() {
        let size = page_size();
        let mappings = Mappings::of_lines(&[
            "1000-5000 rw-p 00000000 00:00 0 ",
            "5000-6000 r--p 00000000 00:00 0 ",
            "7000-8000 rw-p 00000000 00:00 0 ",
            "8000-9000 rw-s 00000000 00:01 5 /dev/zero",
        ]);
        assert_eq!(size, 0x1000);
        let pages = WritablePages::among(&[0x1000, 0x2000, 0x3000, 0x3008, 0x5000, 0x6000, 0x7000, 0x8000], &mappings);
        assert_eq!(pages.ranges(), [0x1000..0x4000, 0x7000..0x8000]);
        assert!(WritablePages::among(&[], &mappings).is_empty());
    }

    #[test]
    fn what_is_replaced_is_all_that_is_there() {
        let mappings = Mappings::of_lines(&[
            "2000-4000 r--p 00000000 fe:00 7 /mayfly",
            "4000-5000 rw-p 00002000 fe:00 7 /mayfly",
            "6000-7000 r-xp 00004000 fe:00 7 /mayfly",
        ]);
        let is_all = |window: Range<usize>, part: Range<usize>, access| is_all_there(&mappings, &window, &part, access);
        assert!(is_all(0x1000..0x6000, 0x2000..0x5000, Access::ReadWrite));
        assert!(is_all(0x2000..0x4000, 0x2000..0x4000, Access::Read));
        assert!(!is_all(0x2000..0x5000, 0x2000..0x5000, Access::Read), "variables would be constant");
        assert!(!is_all(0x1000..0x7000, 0x2000..0x5000, Access::ReadWrite), "machine code would be gone");
        assert!(!is_all(0x1000..0x6000, 0x2000..0x6000, Access::ReadWrite), "a part is not mapped");
        assert!(!is_all(0x1000..0x6000, 0x3000..0x5000, Access::ReadWrite), "a part would be gone");
        assert!(!is_all(0x3000..0x6000, 0x2000..0x5000, Access::ReadWrite), "a part lies outside");
    }
}
